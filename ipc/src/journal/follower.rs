//! Following the journal: the hot ring while it can be kept up with, the archive where it cannot.
//!
//! A follower only reads, holds no lock, and is never waited for. In tier `power` it sees what is on disk. It survives restarts of the gate: a new hot ring is
//! a new file, and everything before its start is in the archive by then.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::archive::{Tail, chain_seed};
use super::chain::chain_words;
use super::chained::{ArchiveError, Segments};
use super::hot::{HotError, HotReader, Look, status};
use super::reader::SegmentDir;
use super::record::{Record, RecordError};
use super::scan::{Scan, SegmentReader};
use super::{FIRST_POSITION, POSITION_LIMIT};
use crate::segment::SegmentError;

/// How often an idle follower looks for a new hot ring or, without one, for new records in the archive.
const RECHECK: Duration = Duration::from_millis(10);
/// Changes of source within one call: hot to archive to the next segment, and once more after a restart.
const MAX_TURNS: usize = 6;

/// Why a follower cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The hot ring cannot be read.
    #[error("cannot follow the hot ring {path}: {source}")]
    Hot {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: HotError,
    },
    /// The archive cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The hot ring holds what no gate writes.
    #[error(
        "the hot ring holds no record at position {position}: is this a position that a record starts at?"
    )]
    Damaged {
        /// Where.
        position: u64,
    },
    /// The bytes at this position are no record of this version.
    #[error("the record at position {position} cannot be decoded: {source}")]
    Undecodable {
        /// Where.
        position: u64,
        /// Why.
        source: RecordError,
    },
    /// The segment that held this position is gone.
    #[error("position {position} is older than the oldest segment ({oldest}): start again from a snapshot")]
    Gone {
        /// The position asked for.
        position: u64,
        /// First position still there.
        oldest: u64,
    },
    /// The journal is shorter than what was already read: records that were never on disk did not survive a reboot.
    #[error(
        "the journal ends at {end}, position {position} was read before: rebuild what was derived from it"
    )]
    Ahead {
        /// The position asked for.
        position: u64,
        /// Where the journal ends.
        end: u64,
    },
    /// The files now belong to another journal.
    #[error("the hot ring {path} belongs to another journal: rebuild what was derived from the old one")]
    OtherJournal {
        /// The file.
        path: PathBuf,
    },
}

/// Reads records in order, live.
#[derive(Debug)]
pub struct Follower {
    hot_path: PathBuf,
    place: SegmentDir,
    hot: Option<(HotReader, u64)>,
    segment: Option<SegmentReader<File>>,
    position: u64,
    /// The checksum chain before `position`, where it is known.
    chain: Option<u32>,
    journal_id: Option<u64>,
    checked: Option<Instant>,
}

impl Follower {
    /// Starts at `from`, where a record must start; 0 stands for the very first. The gate need not run yet.
    ///
    /// # Errors
    /// [`FollowError`] when a hot ring is there but cannot be followed from this position.
    pub fn open(
        hot_path: impl AsRef<Path>,
        archive_dir: impl AsRef<Path>,
        from: u64,
    ) -> Result<Self, FollowError> {
        Self::open_chained(hot_path, archive_dir, from, None)
    }

    /// As [`Self::open`], the checksum chain before `from` being known, as a checkpoint says it.
    ///
    /// # Errors
    /// As [`Self::open`]; a journal with another chain there is found when it is read from its archive.
    pub fn open_chained(
        hot_path: impl AsRef<Path>,
        archive_dir: impl AsRef<Path>,
        from: u64,
        chain: Option<u32>,
    ) -> Result<Self, FollowError> {
        let mut follower = Self {
            hot_path: hot_path.as_ref().to_owned(),
            place: SegmentDir::new(archive_dir.as_ref()),
            hot: None,
            segment: None,
            position: from.clamp(FIRST_POSITION, POSITION_LIMIT),
            chain,
            journal_id: None,
            checked: None,
        };
        follower.find_hot()?;
        Ok(follower)
    }

    /// The next record and its position; `None` when there is none right now. Never blocks on the gate.
    ///
    /// # Errors
    /// [`FollowError`]; the follower stays where it is.
    #[allow(clippy::should_implement_trait, reason = "`None` is not the end")]
    pub fn next(&mut self) -> Result<Option<(u64, Record)>, FollowError> {
        for _ in 0..MAX_TURNS {
            let in_ring = self.hot.as_ref().is_some_and(|(hot, _)| self.position >= hot.header().start);
            if (self.segment.is_some() || !in_ring)
                && let Some(found) = self.read_archive()?
            {
                return Ok(Some(found));
            }
            let Some((hot, _)) = self.hot.as_ref().filter(|(hot, _)| self.position >= hot.header().start)
            else {
                if self.find_hot()? {
                    continue;
                }
                return Ok(None);
            };
            let look = if self.position < hot.shown_pos() { hot.look(self.position) } else { Look::NotYet };
            match look {
                Look::Record(record) => {
                    let position = self.position;
                    let slots = record.slots();
                    let record = Record::decode(slots)
                        .map_err(|source| FollowError::Undecodable { position, source })?;
                    self.position += slots.len() as u64;
                    self.chain = self.chain.map(|chain| slots.iter().fold(chain, chain_words));
                    return Ok(Some((position, record)));
                }
                Look::NotYet => {
                    if !self.find_hot()? {
                        return Ok(None);
                    }
                }
                Look::Overwritten => {
                    if let Some(found) = self.read_archive()? {
                        return Ok(Some(found));
                    }
                }
                Look::Damaged => return Err(FollowError::Damaged { position: self.position }),
            }
        }
        Ok(None)
    }

    /// Position of the next record.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// The checksum chain before the next record; known when reading began at the first record, with a chain, or in the
    /// archive.
    #[must_use]
    pub const fn chain(&self) -> Option<u32> {
        self.chain
    }

    /// Slots between this follower and the gate, as far as a hot ring shows.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.hot.as_ref().map_or(0, |(hot, _)| hot.end().saturating_sub(self.position))
    }

    /// The hot ring in use: its epoch, archived and durable positions and status bits.
    #[must_use]
    pub fn hot(&self) -> Option<&HotReader> {
        self.hot.as_ref().map(|(hot, _)| hot)
    }

    /// The gate stopped in good order and every record is read.
    #[must_use]
    pub fn is_at_close(&self) -> bool {
        self.hot()
            .is_some_and(|hot| hot.status() & status::CLOSED != 0 && self.position >= hot.archived_pos())
    }

    /// Looks, not too often, whether the hot path names another ring than the one in use; true when it now does.
    fn find_hot(&mut self) -> Result<bool, FollowError> {
        if self.checked.is_some_and(|at| at.elapsed() < RECHECK) {
            return Ok(false);
        }
        self.checked = Some(Instant::now());
        let inode = match std::fs::metadata(&self.hot_path) {
            Ok(found) => found.ino(),
            Err(_) => return Ok(false),
        };
        if self.hot.as_ref().is_some_and(|(_, ino)| *ino == inode) {
            return Ok(false);
        }
        let hot = match HotReader::open(&self.hot_path) {
            Ok(hot) => hot,
            // Replaced between the two looks: the next call finds the new one.
            Err(HotError::Map(SegmentError::Os { source, .. }))
                if source.kind() == io::ErrorKind::NotFound =>
            {
                return Ok(false);
            }
            Err(source) => return Err(FollowError::Hot { path: self.hot_path.clone(), source }),
        };
        if self.journal_id.is_some_and(|id| id != hot.header().journal_id) {
            return Err(FollowError::OtherJournal { path: self.hot_path.clone() });
        }
        let end = hot.end();
        if self.position > end {
            return Err(FollowError::Ahead { position: self.position, end });
        }
        self.belongs_to(hot.header().journal_id);
        self.hot = Some((hot, inode));
        Ok(true)
    }

    /// Learns which journal it is; before the first record its chain follows from that.
    fn belongs_to(&mut self, journal_id: u64) {
        self.journal_id = Some(journal_id);
        if self.position == FIRST_POSITION {
            self.chain.get_or_insert(chain_seed(journal_id));
        }
    }

    /// The next record from the archive; `None` when the archive has no more, for now.
    fn read_archive(&mut self) -> Result<Option<(u64, Record)>, FollowError> {
        let limit = self.hot.as_ref().map_or(u64::MAX, |(hot, _)| hot.archived_pos().min(hot.shown_pos()));
        if self.position >= limit {
            self.segment = None;
            return Ok(None);
        }
        for _ in 0..MAX_TURNS {
            if self.segment.is_none() && !self.open_segment()? {
                return Ok(None);
            }
            let Some(reader) = &mut self.segment else { return Ok(None) };
            let segment = reader.header().first;
            let scan = reader.next(limit).map_err(|source| ArchiveError::Io { segment, source })?;
            let tail = match scan {
                Scan::Record(position, record) => {
                    (self.position, self.chain) = (reader.position(), Some(reader.chain()));
                    return Ok(Some((position, record)));
                }
                Scan::End(tail) => tail,
            };
            self.segment = None;
            if self.position >= limit {
                return Ok(None);
            }
            // A full segment: the next one starts right here.
            let firsts = self.place.firsts().map_err(ArchiveError::List)?;
            if matches!(tail, Tail::Clean | Tail::Zeros)
                && segment < self.position
                && firsts.contains(&self.position)
            {
                continue;
            }
            if tail.is_crash_trace() && limit == u64::MAX {
                return Ok(None);
            }
            return Err(ArchiveError::Damaged { segment, position: self.position, tail }.into());
        }
        Ok(None)
    }

    /// Opens the segment that holds the position; false when there is none yet.
    fn open_segment(&mut self) -> Result<bool, FollowError> {
        let firsts = match self.place.firsts() {
            Ok(firsts) => firsts,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(e) => return Err(ArchiveError::List(e).into()),
        };
        let Some(segment) = firsts.iter().copied().rev().find(|first| *first <= self.position) else {
            let position = self.position;
            return firsts
                .first()
                .map_or(Ok(false), |oldest| Err(FollowError::Gone { position, oldest: *oldest }));
        };
        let io = |source| ArchiveError::Io { segment, source };
        let file = self.place.open_segment(segment).map_err(io)?;
        let mut reader = SegmentReader::open(file, segment).map_err(|e| ArchiveError::open(segment, e))?;
        let journal_id = reader.header().journal_id;
        if self.journal_id.is_some_and(|id| id != journal_id) {
            return Err(FollowError::OtherJournal { path: self.hot_path.clone() });
        }
        if self.position > reader.header().first + reader.header().capacity {
            let end = reader.header().first + reader.header().capacity;
            return Err(FollowError::Ahead { position: self.position, end });
        }
        reader.seek(self.position).map_err(io)?;
        self.belongs_to(journal_id);
        if self.chain.is_some_and(|chain| chain != reader.chain()) {
            return Err(ArchiveError::Break { segment, expected: self.position }.into());
        }
        self.segment = Some(reader);
        Ok(true)
    }
}
