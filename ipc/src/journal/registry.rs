//! Followers that the journal waits for: each says in a file of its own how far it has read.
//!
//! ```text
//!  <run directory>/followers/<name>, one page on tmpfs
//!  byte 0  magic "RFfollow" | position of the next record it will read
//! ```
//!
//! A follower need not register to read. It does so that segments it has not read are not removed under it. One that is
//! too far behind loses its file: it is not waited for any more, and goes on as long as what it needs is still there.
//! The gate waits for nobody once it has stopped, and takes the entries away with its run directory.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::segment::{Mapping, SegmentError};
use crate::view::WriteWord;

/// The longest name.
pub const FOLLOWER_NAME_BYTES: usize = 32;

const DIR: &str = "followers";
const BYTES: usize = 4096;
const MAGIC: u64 = u64::from_le_bytes(*b"RFfollow");
const POSITION_OFFSET: usize = 8;

/// Why a follower cannot register.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// Names are file names.
    #[error("a follower's name is 1 to 32 of a-z 0-9 -, not `{0}`")]
    Name(String),
    /// The run directory is not there or not writable.
    #[error("cannot register in {path}: {source}; start the gate first, or give its run directory")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file cannot be mapped.
    #[error(transparent)]
    Segment(#[from] SegmentError),
}

/// A follower's entry; it goes when this is dropped. That of a process that died stays until it is too far behind.
#[derive(Debug)]
pub struct Registration {
    path: PathBuf,
    position: WriteWord,
}

impl Registration {
    /// Registers `name` under `run_dir`, waiting at `position`. An older entry of that name is replaced.
    ///
    /// # Errors
    /// [`RegisterError`] when the name or the directory is unusable.
    pub fn new(run_dir: &Path, name: &str, position: u64) -> Result<Self, RegisterError> {
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if name.is_empty() || name.len() > FOLLOWER_NAME_BYTES || !name.bytes().all(legal) {
            return Err(RegisterError::Name(name.to_owned()));
        }
        let dir = run_dir.join(DIR);
        match std::fs::create_dir(&dir) {
            Err(source) if source.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(RegisterError::Directory { path: run_dir.to_owned(), source });
            }
            _ => {}
        }
        let path = dir.join(name);
        let mapping = Mapping::create_file(&path, BYTES)?;
        let word = mapping.write_word(POSITION_OFFSET)?;
        word.publish(position);
        mapping.write_word(0)?.publish(MAGIC);
        Ok(Self { path, position: word })
    }

    /// Everything below `position` is read.
    #[inline]
    pub fn publish(&self, position: u64) {
        self.position.publish(position);
    }

    /// Whether the entry is still there; without it nobody waits.
    #[must_use]
    pub fn is_waited_for(&self) -> bool {
        self.path.exists()
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // Already gone, or left to be found too far behind: neither is worth a word.
        let _ = std::fs::remove_file(&self.path);
        // The last one leaves nothing behind; while there are others this is refused.
        let _ = self.path.parent().map(std::fs::remove_dir);
    }
}

/// How often a [`Place`] looks whether it is still waited for.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The entry of a follower that outlives gates: it is made anew when it is gone.
#[derive(Debug)]
pub struct Place {
    run_dir: PathBuf,
    name: &'static str,
    entry: Option<Registration>,
    looked: Option<Instant>,
}

impl Place {
    /// A place for `name` beside the hot journal at `hot_path`; taken with the first [`Place::tell`].
    #[must_use]
    pub fn beside(hot_path: &Path, name: &'static str) -> Self {
        let run_dir = hot_path.parent().unwrap_or(Path::new(".")).to_owned();
        Self { run_dir, name, entry: None, looked: None }
    }

    /// Everything below `position` is read. Now and then looks whether a gate has come back, or has given this follower
    /// up while it was slow, and registers anew. Without a gate nobody waits, and nothing needs to.
    pub fn tell(&mut self, position: u64) {
        if self.looked.is_none_or(|at| at.elapsed() >= LOOK_EVERY) {
            self.looked = Some(Instant::now());
            if !self.entry.as_ref().is_some_and(Registration::is_waited_for) {
                // The old entry goes first: its end must not take the new one's file along.
                self.entry = None;
                self.entry = Registration::new(&self.run_dir, self.name, position).ok();
            }
        }
        if let Some(entry) = &self.entry {
            entry.publish(position);
        }
    }
}

/// Every follower registered under `run_dir`, and its position. What is no entry is skipped.
#[must_use]
pub fn registered(run_dir: &Path) -> Vec<(String, u64)> {
    let Ok(entries) = std::fs::read_dir(run_dir.join(DIR)) else { return Vec::new() };
    let read = |path: &Path| {
        let mapping = Mapping::open_file(path, false).ok().filter(|m| m.len_bytes() == BYTES)?;
        let whole = mapping.read_word(0).ok()?.get_acquire() == MAGIC;
        whole.then(|| mapping.read_word(POSITION_OFFSET).map(|word| word.get_acquire()).ok())?
    };
    let named = |path: PathBuf| Some((path.file_name()?.to_str()?.to_owned(), read(&path)?));
    entries.flatten().filter_map(|entry| named(entry.path())).collect()
}

/// Takes every entry away: the gate of `run_dir` waits for nobody any more.
pub fn close(run_dir: &Path) {
    // Nobody registered is as good.
    let _ = std::fs::remove_dir_all(run_dir.join(DIR));
}

/// Takes a follower's entry away.
pub fn drop_follower(run_dir: &Path, name: &str) {
    // Gone already is as good.
    let _ = std::fs::remove_file(run_dir.join(DIR).join(name));
}
