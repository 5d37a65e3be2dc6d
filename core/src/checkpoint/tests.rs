//! Checkpoints with real files, real threads and real damage.

mod busy;
mod replay;
mod table;
mod worker;

use std::path::PathBuf;
use std::time::Duration;

use ringfence_ipc::journal::checkpoint::{Checkpoint, CheckpointHeader};
use ringfence_ipc::journal::{Follower, Record};

use super::{Recovery, Replica, files, recover};
use crate::journal::{JournalOptions, open};
use busy::{Busy, CAP};

/// A journal in a directory that goes away with the test.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn archive(&self) -> PathBuf {
        self.dir.path().join("journal")
    }

    fn hot(&self) -> PathBuf {
        self.dir.path().join("hot")
    }

    fn options(&self) -> JournalOptions {
        JournalOptions {
            hot_bytes: 1 << 20,
            segment_bytes: 64 << 10,
            sync_interval: Duration::from_millis(2),
            min_free_bytes: 0,
            ..JournalOptions::new(self.archive(), self.hot())
        }
    }

    /// One life of a gate: recovers, works for so many steps, stops in good order.
    fn live(&self, epoch: u16, steps: u64) -> Busy {
        let mut opened = open(self.options()).unwrap();
        let recovery = recover(&self.archive(), &mut opened.log, CAP).unwrap();
        let (writer, archiver) = opened.start(epoch).unwrap();
        let mut busy = Busy::new(recovery.recovered, epoch, writer);
        (0..steps).for_each(|_| busy.step());
        busy.close();
        archiver.stop().unwrap();
        busy
    }

    /// Reads the journal into a gate as boot does.
    fn recover(&self) -> Result<Recovery, super::RecoverError> {
        let mut opened = open(self.options())?;
        recover(&self.archive(), &mut opened.log, CAP)
    }

    fn records(&self) -> Vec<(u64, Record)> {
        let mut follower = Follower::open(self.hot(), self.archive(), 0).unwrap();
        std::iter::from_fn(|| follower.next().unwrap()).collect()
    }

    /// Writes a checkpoint of everything before the record numbered `records` (from the journal's first); its position.
    fn checkpoint(&self, records: usize) -> u64 {
        let mut follower = Follower::open(self.hot(), self.archive(), 0).unwrap();
        let mut replica = Replica::new(CAP);
        for _ in 0..records {
            let (position, record) = follower.next().unwrap().unwrap();
            replica.apply(position, &record).unwrap();
        }
        let header = CheckpointHeader {
            journal_id: follower.hot().unwrap().header().journal_id,
            position: follower.position(),
            epoch: u64::from(replica.gate().epoch()),
            chain: follower.chain().unwrap(),
            state_hash: replica.gate().state_hash(),
        };
        files::write(&self.archive(), &header, |body| replica.save(body)).unwrap();
        header.position
    }

    fn path_of(&self, checkpoint: u64) -> PathBuf {
        self.archive().join(Checkpoint::file_name(checkpoint))
    }
}
