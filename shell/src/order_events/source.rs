//! The journal from a mark on, as messages.
//!
//! Reports name orders by number; what their callers call them stands in the decisions before. So reading begins at a
//! checkpoint at or before the mark, or at the first record, and nothing is told before the mark. Where neither is left, it
//! begins at the mark with the names of a later checkpoint; where the mark's segment is gone, too, the stretch up to the
//! oldest checkpoint is told as one `gap`.

use std::path::Path;

use ringfence_ipc::journal::chained::ArchiveError;
use ringfence_ipc::journal::checkpoint::Checkpoint;
use ringfence_ipc::journal::hot::HotReader;
use ringfence_ipc::journal::registry::Place;
use ringfence_ipc::journal::{FIRST_POSITION, FollowError, Follower, Record, SegmentDir};

use super::mark::Mark;
use super::render::Teller;
use crate::gateway::projection::Projection;

/// Records read at once; also the most messages of one append.
const BURST: usize = 1024;
/// Under which name the journal waits for this follower.
const NAME: &str = "order-events";

/// The journal that the gate of this run directory writes; none before its first start.
pub(super) fn journal_id(hot_path: &Path) -> Option<u64> {
    HotReader::open(hot_path).ok().map(|hot| hot.header().journal_id)
}

/// Where the journal ends, as far as it shows.
pub(super) fn journal_end(hot_path: &Path) -> Option<u64> {
    HotReader::open(hot_path).ok().map(|hot| hot.end())
}

/// Messages, and the mark that goes with them.
pub(super) struct Batch {
    /// Key and value.
    pub messages: Vec<(String, String)>,
    /// The mark once they are in the topic.
    pub after: Mark,
    /// There is no more right now.
    pub is_last: bool,
    /// How many of the messages tell of something missing.
    pub gaps: u64,
}

/// Reads.
pub(super) struct Source {
    follower: Follower,
    teller: Teller,
    /// Nothing below is told again.
    from: Mark,
    /// What could not be read any more: first position and the first one after it.
    gap: Option<(u64, u64)>,
    place: Place,
}

impl Source {
    /// Begins at `mark`.
    ///
    /// # Errors
    /// [`FollowError`].
    pub fn begin(hot_path: &Path, archive_dir: &Path, journal: u64, mark: Mark) -> Result<Self, FollowError> {
        let mut place = Place::beside(hot_path, NAME);
        // Before the oldest position is looked up: from here on it stays.
        place.tell(FIRST_POSITION);
        let (follower, teller, start) = start(hot_path, archive_dir, journal, mark)?;
        let gap = (start > mark.next).then_some((mark.next, start));
        let from = Mark { next: mark.next.max(start), ..mark };
        Ok(Self { follower, teller, from, gap, place })
    }

    /// What follows `mark`, at most one burst.
    ///
    /// # Errors
    /// [`FollowError`].
    pub fn next(&mut self, mark: Mark) -> Result<Batch, FollowError> {
        let mut batch = Batch { messages: Vec::new(), after: mark, is_last: true, gaps: 0 };
        if let Some((from, to)) = self.gap.take() {
            tracing::error!(
                from,
                to,
                "order events are missing: the journal's segments went before they were published"
            );
            batch.messages.push(self.teller.gap(from, to));
            batch.gaps = 1;
        }
        for _ in 0..BURST {
            let Some((position, record)) = self.follower.next()? else {
                self.reached(&mut batch);
                return Ok(batch);
            };
            if let Record::Boot(boot) = &record
                && position < self.from.next
                && boot.epoch > self.from.epoch
                && self.from.epoch > 0
            {
                tracing::warn!(
                    position,
                    published = self.from.next,
                    "a loss of power took back what was published: it is told again as it is now, under a new epoch"
                );
                self.from.next = position;
            }
            let told = self.teller.tell(position, &record);
            if position >= self.from.next {
                batch.messages.extend(told);
            }
        }
        batch.is_last = false;
        self.reached(&mut batch);
        Ok(batch)
    }

    fn reached(&self, batch: &mut Batch) {
        let next = self.follower.position();
        if next > self.from.next || !batch.messages.is_empty() {
            batch.after = Mark { next, epoch: self.teller.epoch() };
        }
    }

    /// Nothing new is in the topic: the journal keeps what follows `mark`.
    pub fn keep(&mut self, mark: Mark) {
        self.place.tell(mark.next);
    }

    /// Everything before `mark` is in the topic.
    pub fn done(&mut self, mark: Mark) {
        self.from = mark;
        self.place.tell(mark.next);
    }

    /// Where the journal ends, as far as it shows.
    pub fn end(&self) -> u64 {
        self.follower.position() + self.follower.lag()
    }
}

/// A follower and what it knows, at or before `mark` where that is possible; and the first position that can be told.
fn start(
    hot_path: &Path,
    archive_dir: &Path,
    journal: u64,
    mark: Mark,
) -> Result<(Follower, Teller, u64), FollowError> {
    let oldest = SegmentDir::new(archive_dir).oldest()?;
    let listed = match Checkpoint::list(archive_dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        listed => listed.map_err(ArchiveError::List)?,
    };
    let usable = |position: &u64| *position >= oldest;
    let before = listed.iter().rev().filter(|position| usable(position) && **position <= mark.next);
    for position in before {
        match restored(archive_dir, journal, *position) {
            // One of a later life may hold what was taken back in between.
            Some((teller, chain)) if mark.epoch >= teller.epoch() => {
                let follower = Follower::open_chained(hot_path, archive_dir, *position, Some(chain))?;
                return Ok((follower, teller, FIRST_POSITION));
            }
            _ => {}
        }
    }
    if oldest == FIRST_POSITION {
        let follower = Follower::open(hot_path, archive_dir, FIRST_POSITION)?;
        return Ok((follower, Teller::new(journal), FIRST_POSITION));
    }
    for position in listed.iter().filter(|position| usable(position)) {
        if let Some((mut teller, chain)) = restored(archive_dir, journal, *position) {
            if oldest <= mark.next {
                // Nothing is missing but what callers called some orders that ended before the checkpoint.
                teller.begin_in(mark.epoch);
                let follower = Follower::open(hot_path, archive_dir, mark.next)?;
                return Ok((follower, teller, FIRST_POSITION));
            }
            let follower = Follower::open_chained(hot_path, archive_dir, *position, Some(chain))?;
            return Ok((follower, teller, *position));
        }
    }
    Err(FollowError::Gone { position: mark.next, oldest })
}

fn restored(archive_dir: &Path, journal: u64, position: u64) -> Option<(Teller, u32)> {
    let restored = Checkpoint::read(archive_dir, position)
        .and_then(|saved| Ok((Projection::restore(&saved)?, saved.header().chain)));
    match restored {
        Ok((projection, chain)) => Some((Teller::restore(journal, projection), chain)),
        Err(error) => {
            tracing::warn!(position, %error, "a checkpoint is passed over");
            None
        }
    }
}
