//! Which segments nobody needs any more.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use ringfence_ipc::journal::archive::SegmentHeader;
use ringfence_ipc::journal::chained::Segments as _;
use ringfence_ipc::journal::{SegmentDir, registry};
use ringfence_ipc::msg::SLOT_BYTES;
use tracing::{info, warn};

/// How much of the journal is kept. With neither bound everything is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// What lies further back than this many bytes of slots may go.
    pub bytes: Option<u64>,
    /// What was last written longer ago than this may go.
    pub age: Option<Duration>,
    /// A follower that is further behind than this many bytes of slots is not waited for.
    pub max_lag_bytes: u64,
}

impl Retention {
    /// How many of the oldest segments may go: whole ones below `floor`, beyond either bound. `segments` are first
    /// positions and ages, ascending; the last one always stays.
    #[must_use]
    pub fn removable(&self, segments: &[(u64, Duration)], floor: u64, end: u64) -> usize {
        let may_go = |pair: &&[(u64, Duration)]| {
            let ((_, age), (next, _)) = (pair[0], pair[1]);
            let bytes_after = end.saturating_sub(next).saturating_mul(SLOT_BYTES as u64);
            let beyond = self.bytes.is_some_and(|bytes| bytes_after >= bytes)
                || self.age.is_some_and(|limit| age >= limit);
            next <= floor && beyond
        };
        segments.windows(2).take_while(may_go).count()
    }

    /// Removes what may go from the archive in `dir`; `floor` is the oldest position that a recovery may begin at.
    /// Followers registered under `run_dir` are waited for as long as they keep up. Returns how many segments went.
    ///
    /// # Errors
    /// Those of the disk; what is left is still one log.
    pub fn enforce(&self, dir: &Path, run_dir: &Path, floor: u64, end: u64) -> io::Result<usize> {
        if self.bytes.is_none() && self.age.is_none() {
            return Ok(0);
        }
        let floor = floor.min(self.slowest_follower(run_dir, end));
        let now = SystemTime::now();
        let mut segments = Vec::new();
        for first in SegmentDir::new(dir).firsts()? {
            let written = std::fs::metadata(dir.join(SegmentHeader::file_name(first)))?.modified()?;
            segments.push((first, now.duration_since(written).unwrap_or_default()));
        }
        let count = self.removable(&segments, floor, end);
        // The oldest first: whatever interrupts this leaves a log without a hole.
        for (first, _) in &segments[..count] {
            std::fs::remove_file(dir.join(SegmentHeader::file_name(*first)))?;
        }
        if count > 0 {
            File::open(dir)?.sync_all()?;
            info!(
                segments = count,
                oldest = segments[count].0,
                "journal segments that nobody needs are removed"
            );
        }
        Ok(count)
    }

    /// The position of the slowest follower that is waited for.
    fn slowest_follower(&self, run_dir: &Path, end: u64) -> u64 {
        let mut slowest = u64::MAX;
        for (name, position) in registry::registered(run_dir) {
            let lag_bytes = end.saturating_sub(position).saturating_mul(SLOT_BYTES as u64);
            if lag_bytes <= self.max_lag_bytes {
                slowest = slowest.min(position);
                continue;
            }
            warn!(
                follower = name,
                position,
                lag_bytes,
                "a follower is too far behind: the journal does not wait for it any more; if its position goes, it must \
                 start again from a checkpoint"
            );
            registry::drop_follower(run_dir, &name);
        }
        slowest
    }
}
