//! A medium in memory that fails on purpose: after n writes, at a sync, and by losing power.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use ringfence_ipc::journal::archive::{ReadAt, SECTOR_BYTES, SEGMENT_HEADER_BYTES};
use ringfence_ipc::journal::chained::Segments;

use crate::journal::blocks::BLOCK_BYTES;
use crate::journal::medium::{Medium, SegmentFile};

const SECTOR: usize = SECTOR_BYTES as usize;

/// A small deterministic generator (SplitMix64).
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// One file: what readers see, what the disk has, and which sectors the cache still owes to the disk.
#[derive(Clone, Default)]
struct SimFile {
    seen: Vec<u8>,
    disk: Vec<u8>,
    owed: Vec<bool>,
}

#[derive(Default)]
struct State {
    files: BTreeMap<u64, SimFile>,
    writes_left: Option<u64>,
    dead: bool,
    fail_next_sync: bool,
    free: u64,
}

impl State {
    /// Counts a changing operation; false when it is the one that fails.
    fn alive(&mut self) -> io::Result<bool> {
        if self.dead {
            return Err(io::Error::other("the medium is gone"));
        }
        match &mut self.writes_left {
            Some(0) => {
                self.dead = true;
                Ok(false)
            }
            Some(left) => {
                *left -= 1;
                Ok(true)
            }
            None => Ok(true),
        }
    }
}

#[derive(Clone)]
pub struct Sim(Arc<Mutex<State>>);

pub struct SimHandle {
    sim: Sim,
    first: u64,
}

fn failed<T>() -> io::Result<T> {
    Err(io::Error::other("countdown reached"))
}

impl Sim {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(State { free: u64::MAX, ..State::default() })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Fails the write after `n` more.
    pub fn fail_after(&self, n: u64) {
        self.state().writes_left = Some(n);
    }

    pub fn fail_next_sync(&self) {
        self.state().fail_next_sync = true;
    }

    pub fn set_free(&self, bytes: u64) {
        self.state().free = bytes;
    }

    pub fn is_dead(&self) -> bool {
        self.state().dead
    }

    fn with_files(files: BTreeMap<u64, SimFile>) -> Self {
        let sim = Self::new();
        sim.state().files = files;
        sim
    }

    /// The process died: the cache is as it was.
    pub fn after_kill(&self) -> Self {
        Self::with_files(self.state().files.clone())
    }

    /// Power was lost: each unsynced sector is old, new, or torn in the middle. Disks of 512-byte and of 4 KiB sectors
    /// take turns.
    pub fn after_power_loss(&self, seed: u64) -> Self {
        let mut rng = Rng(seed);
        let unit = if seed.is_multiple_of(2) { SECTOR } else { BLOCK_BYTES };
        let mut files = self.state().files.clone();
        for file in files.values_mut() {
            let len = if rng.below(2) == 0 { file.seen.len() } else { file.disk.len() };
            file.seen.resize(len, 0);
            file.disk.resize(len, 0);
            let owed = file.owed.clone();
            for at in (0..len).step_by(unit) {
                let mut sectors = owed.iter().skip(at / SECTOR).take(unit / SECTOR);
                if !sectors.any(|owed| *owed) {
                    continue;
                }
                let end = len.min(at + unit);
                let kept = match rng.below(3) {
                    0 => 0,
                    1 => end - at,
                    _ => rng.below((end - at) as u64) as usize,
                };
                file.disk[at..at + kept].copy_from_slice(&file.seen[at..at + kept]);
            }
            file.seen.clone_from(&file.disk);
            file.owed = vec![false; len.div_ceil(SECTOR)];
        }
        Self::with_files(files)
    }

    /// Changes a file behind everybody's back.
    pub fn tamper(&self, first: u64, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let file = state.files.get_mut(&first).unwrap();
        change(&mut file.seen);
        file.disk.clone_from(&file.seen);
    }

    /// What readers see of the segment that starts at `first`.
    pub fn bytes(&self, first: u64) -> Option<Vec<u8>> {
        self.state().files.get(&first).map(|file| file.seen.clone())
    }

    pub fn remove(&self, first: u64) {
        self.state().files.remove(&first);
    }
}

impl ReadAt for SimHandle {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.sim.state().files[&self.first].seen[..].read_at(buffer, offset)
    }
}

impl SegmentFile for SimHandle {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        // What direct IO asks for; only the header page is written otherwise.
        let blocks = offset.is_multiple_of(BLOCK_BYTES as u64) && bytes.len().is_multiple_of(BLOCK_BYTES);
        let aligned = bytes.as_ptr().align_offset(BLOCK_BYTES) == 0;
        let in_header = offset + bytes.len() as u64 <= SEGMENT_HEADER_BYTES;
        assert!(in_header || (blocks && aligned), "{} bytes at {offset}", bytes.len());
        let mut state = self.sim.state();
        let whole = state.alive()?;
        let bytes = if whole { bytes } else { &bytes[..bytes.len() / 2 + 1] };
        let file = state.files.get_mut(&self.first).unwrap();
        let at = offset as usize;
        if file.seen.len() < at + bytes.len() {
            file.seen.resize(at + bytes.len(), 0);
        }
        file.seen[at..at + bytes.len()].copy_from_slice(bytes);
        let sectors = file.seen.len().div_ceil(SECTOR);
        file.owed.resize(sectors, false);
        file.owed[at / SECTOR..(at + bytes.len()).div_ceil(SECTOR)].fill(true);
        if whole { Ok(()) } else { failed() }
    }

    fn resize(&self, keep: u64, len: u64) -> io::Result<()> {
        let mut state = self.sim.state();
        if !state.alive()? {
            return failed();
        }
        let file = state.files.get_mut(&self.first).unwrap();
        file.seen.resize(keep as usize, 0);
        file.seen.resize(len as usize, 0);
        file.owed.resize((len as usize).div_ceil(SECTOR), false);
        file.owed[keep as usize / SECTOR..].fill(true);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.sim.state();
        let fails = std::mem::take(&mut state.fail_next_sync) || !state.alive()?;
        let file = state.files.get_mut(&self.first).unwrap();
        let owed = std::mem::take(&mut file.owed);
        file.owed = vec![false; owed.len()];
        if fails {
            // As Linux does: the pages are clean now, and nowhere.
            return failed();
        }
        file.disk.resize(file.seen.len(), 0);
        for (sector, _) in owed.iter().enumerate().filter(|(_, owed)| **owed) {
            let range = sector * SECTOR..file.seen.len().min((sector + 1) * SECTOR);
            file.disk[range.clone()].copy_from_slice(&file.seen[range]);
        }
        Ok(())
    }
}

impl Segments for Sim {
    type File = SimHandle;

    fn firsts(&self) -> io::Result<Vec<u64>> {
        Ok(self.state().files.keys().copied().collect())
    }

    fn open_segment(&self, first: u64) -> io::Result<SimHandle> {
        Ok(SimHandle { sim: self.clone(), first })
    }
}

impl Medium for Sim {
    fn create_segment(&self, first: u64, head: &[u8], len: u64) -> io::Result<SimHandle> {
        let mut state = self.state();
        if !state.alive()? {
            return failed();
        }
        let mut seen = head.to_vec();
        seen.resize(len as usize, 0);
        let owed = vec![false; seen.len().div_ceil(SECTOR)];
        state.files.insert(first, SimFile { disk: seen.clone(), seen, owed });
        drop(state);
        self.open_segment(first)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(self.state().free)
    }
}
