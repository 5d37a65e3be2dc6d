//! The node cache's one writer, free of IO: registration up to a budget, producer leases, feeds, backfills.
//!
//! It writes the memory that readers map ([`ringfence_ipc::cache`]); nothing here allocates, waits or reads a clock.
//! What counts as ready is a question of the reader's ([`Consumer`]), asked of the same memory.

mod series;
#[cfg(test)]
mod tests;

use ringfence_ipc::cache::{CacheSegment, CacheView, Consumer, NodeSpec, ReadError, SegmentFull};
use ringfence_ipc::msg::NodeUpdate;
use ringfence_ipc::segment::SegmentError;
use ringfence_ipc::view::{ReadSlots, WriteSlots};

use series::{Origin, Series};

/// What a value became.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fed {
    /// The first value of a new newest bucket.
    Opened,
    /// The newest bucket's new value.
    Updated,
    /// A closed bucket's value: it was missing, or is corrected.
    Placed,
    /// Nothing: the bucket holds a live value, and this one was filled in afterwards.
    Kept,
    /// Nothing: its bucket has left the window.
    Outside,
}

/// Why a value was refused. Each is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FeedError {
    /// There is no such series.
    #[error("series {0} is not registered: register the node, then feed it under the index that was granted")]
    UnknownSeries(u32),
    /// Somebody else, or nobody, holds the series' lease.
    #[error("the feeder does not hold the lease of this series: take it first")]
    NotProducer,
    /// Another number of values than registered.
    #[error("{given} values where the node has {expected}")]
    Features {
        /// Values given.
        given: usize,
        /// Features registered.
        expected: usize,
    },
    /// The time is 0 or beyond the year 2116.
    #[error("time {0} ns is none that a value can have")]
    Time(u64),
    /// A value is not a finite number: leave the bucket out instead.
    #[error("a value is not a finite number: leave the bucket out, so that readers see it missing")]
    NotFinite,
}

/// Why a node was not registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// No room.
    #[error(transparent)]
    Full(#[from] SegmentFull),
    /// It is registered with a shorter window.
    #[error("the node is registered with a period of {kept}: ask for no more")]
    Period {
        /// Buckets kept.
        kept: u32,
    },
    /// It is registered with other features.
    #[error("the node is registered with other features: use those, or another node id")]
    Features,
    /// Another client feeds it.
    #[error("client {0} holds the lease of this node: read it, or wait until that client is gone")]
    LeaseTaken(u64),
}

/// Why [`Cache::feed_for`] could not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CacheError {
    /// The value was refused.
    #[error(transparent)]
    Feed(#[from] FeedError),
    /// The consumer cannot compute.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// What has happened since the cache began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Live values taken.
    pub feeds: u64,
    /// Values taken that were filled in afterwards.
    pub backfills: u64,
    /// Live values whose bucket had left the window.
    pub late: u64,
    /// How often a bucket did not follow its predecessor.
    pub gaps: u64,
    /// Values refused.
    pub rejects: u64,
    /// Of these: from a client without the lease.
    pub rejects_no_lease: u64,
}

/// What became of a bulk backfill, in buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Written.
    pub filled: u64,
    /// Left alone, because they hold live values.
    pub kept: u64,
    /// Outside the window.
    pub outside: u64,
    /// Refused: see [`FeedError`].
    pub refused: u64,
}

/// The cache as its writer has it.
#[derive(Debug)]
pub struct Cache {
    segment: CacheSegment,
    reader: ReadSlots,
    series: Vec<Option<Series>>,
    /// Who feeds each series, once more and side by side: a client that goes is looked for in all of them.
    leases: Vec<u64>,
    stats: Stats,
}

impl Cache {
    /// In fresh, zeroed memory of [`ringfence_ipc::cache::segment_bytes`]. Everything a feed or a registration will need
    /// is allocated and touched here.
    ///
    /// # Errors
    /// [`SegmentError::Header`] when the memory is too small for the directory.
    pub fn new(slots: WriteSlots, max_series: usize) -> Result<Self, SegmentError> {
        let reader = slots.reader();
        let segment = CacheSegment::new(slots, max_series)?;
        let series = (0..max_series).map(|_| None).collect();
        Ok(Self { segment, reader, series, leases: vec![0; max_series], stats: Stats::default() })
    }

    /// The readers' view of it.
    ///
    /// # Errors
    /// Never for memory that this cache writes.
    pub fn view(&self) -> Result<CacheView, SegmentError> {
        CacheView::new(self.reader.clone())
    }

    /// Registers a node for `client`, or finds it registered; with `produce`, also takes its lease. Returns the index
    /// of its series.
    ///
    /// # Errors
    /// [`RegisterError`]; nothing has changed then.
    pub fn register(&mut self, spec: &NodeSpec, client: u64, produce: bool) -> Result<u32, RegisterError> {
        let index = match self.segment.find(spec) {
            Some(index) => self.check_same(index, spec, client, produce)?,
            None => {
                let index = self.segment.len();
                let writer = self.segment.register(spec)?;
                if let Some(place) = self.series.get_mut(index) {
                    *place = Some(Series::new(writer));
                }
                index
            }
        };
        if produce {
            self.lease(index, client);
        }
        Ok(index as u32)
    }

    fn check_same(
        &self,
        index: usize,
        spec: &NodeSpec,
        client: u64,
        produce: bool,
    ) -> Result<usize, RegisterError> {
        let Some(Some(series)) = self.series.get(index) else { return Err(RegisterError::Features) };
        let kept = *series.shape();
        if kept.features() != spec.features().len() || !self.segment.has_features(index, spec.features()) {
            return Err(RegisterError::Features);
        }
        if spec.shape().period() > kept.period() {
            return Err(RegisterError::Period { kept: kept.period() });
        }
        if produce && ![0, client].contains(&series.producer()) {
            return Err(RegisterError::LeaseTaken(series.producer()));
        }
        Ok(index)
    }

    fn lease(&mut self, index: usize, client: u64) {
        if let (Some(Some(series)), Some(lease)) = (self.series.get_mut(index), self.leases.get_mut(index)) {
            *lease = client;
            series.set_producer(client);
        }
    }

    /// Gives the lease of a series back. `false`: `client` did not hold it.
    pub fn release(&mut self, index: u32, client: u64) -> bool {
        let held = client != 0 && self.leases.get(index as usize) == Some(&client);
        if held {
            self.lease(index as usize, 0);
        }
        held
    }

    /// A client is gone: whatever it fed may be fed by others.
    pub fn release_all(&mut self, client: u64) {
        for index in 0..self.segment.len() {
            self.release(index as u32, client);
        }
    }

    /// Feeds one live value of `client`.
    ///
    /// # Errors
    /// [`FeedError`]; it is counted, and nothing has changed.
    #[inline]
    pub fn feed(&mut self, client: u64, index: u32, time_ns: u64, values: &[f64]) -> Result<Fed, FeedError> {
        let fed = self.put(client, index, time_ns, values, Origin::Live)?;
        self.stats.feeds += u64::from(fed != Fed::Outside);
        Ok(fed)
    }

    /// Feeds one live value and says whether `consumer` can compute now: what a node's own `feed` returns.
    ///
    /// # Errors
    /// [`CacheError::Feed`] when the value was refused, [`CacheError::Read`] when the consumer's policy is to fail.
    pub fn feed_for(
        &mut self,
        client: u64,
        index: u32,
        time_ns: u64,
        values: &[f64],
        consumer: &mut Consumer,
    ) -> Result<bool, CacheError> {
        self.feed(client, index, time_ns, values)?;
        Ok(consumer.ready()?)
    }

    /// Applies what a client sent.
    ///
    /// # Errors
    /// As [`Cache::feed`].
    #[inline]
    pub fn apply(&mut self, client: u64, update: &NodeUpdate) -> Result<Fed, FeedError> {
        if !update.backfill {
            return self.feed(client, update.series, update.time_ns, update.values());
        }
        let fed = self.put(client, update.series, update.time_ns, update.values(), Origin::Backfill)?;
        self.stats.backfills += u64::from(!matches!(fed, Fed::Outside | Fed::Kept));
        Ok(fed)
    }

    #[inline]
    fn put(
        &mut self,
        client: u64,
        index: u32,
        time_ns: u64,
        values: &[f64],
        origin: Origin,
    ) -> Result<Fed, FeedError> {
        let admitted = match self.series.get_mut(index as usize) {
            Some(Some(series)) => series.admit(client, time_ns, values).map(|()| series),
            _ => Err(FeedError::UnknownSeries(index)),
        };
        match admitted {
            Ok(series) => Ok(series.put(time_ns, values, origin, &mut self.stats)),
            Err(error) => Err(self.refused(error)),
        }
    }

    #[cold]
    fn refused(&mut self, error: FeedError) -> FeedError {
        self.stats.rejects += 1;
        self.stats.rejects_no_lease += u64::from(error == FeedError::NotProducer);
        error
    }

    /// Fills in many buckets at once, in any order; readers see all of them or none. Live values win; of two that were
    /// filled in, the later one.
    ///
    /// # Errors
    /// [`FeedError::UnknownSeries`] and [`FeedError::NotProducer`]; a row that is refused for itself is counted and left
    /// out.
    pub fn backfill<'a>(
        &mut self,
        client: u64,
        index: u32,
        rows: impl IntoIterator<Item = (u64, &'a [f64])>,
    ) -> Result<Merged, FeedError> {
        let stats = &mut self.stats;
        let leased = match self.series.get_mut(index as usize) {
            Some(Some(series)) if series.producer() == client && client != 0 => Ok(series),
            Some(Some(_)) => Err(FeedError::NotProducer),
            _ => Err(FeedError::UnknownSeries(index)),
        };
        match leased {
            Ok(series) => {
                let merged = series.merge(client, rows, stats);
                stats.backfills += merged.filled;
                stats.rejects += merged.refused;
                Ok(merged)
            }
            Err(error) => Err(self.refused(error)),
        }
    }

    /// What has happened so far.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Series registered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.segment.len()
    }

    /// Nothing is registered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.segment.is_empty()
    }

    /// Bytes in use: directory entries and blocks, payload included.
    #[must_use]
    pub fn resident_bytes(&self) -> usize {
        self.segment.resident_bytes()
    }
}
