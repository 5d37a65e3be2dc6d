//! The segment around the series: header, directory, arena.
//!
//! ```text
//!  byte
//!     0  magic "RFncache" | layout hash | series at most | lines of the segment
//!    64  series | lines in use                              published last
//!  4096  directory: series at most x 704
//!    ..  arena: the series' blocks, one behind the other
//!
//!  entry
//!     0  interval s u32, period u32 | features u8, id length u8, 0 u16, ring buckets u32 | first line | generation
//!    64  id: 256 bytes, zero-padded
//!   320  feature names: 16 x 24 bytes, zero-padded
//! ```

use super::ReadError;
use super::series::SeriesView;
use super::shape::{MAX_FEATURES, Shape};
use super::spec::{MAX_FEATURE_NAME_BYTES, MAX_NODE_ID_BYTES, NodeSpec};
use super::writer::SeriesWriter;
use crate::atomic::{Ordering, SLOT_WORDS, fence};
use crate::layout::{HASH, HEADER_BYTES, LAYOUT_HASH, MAGIC};
use crate::msg::SLOT_BYTES;
use crate::segment::SegmentError;
use crate::view::{ReadSlots, WriteSlots};

/// Offsets, bytes: in the header, then in an entry.
pub(crate) mod at {
    pub const MAGIC: u64 = u64::from_le_bytes(*b"RFncache");
    pub const MAX_SERIES: usize = 16;
    pub const LINES: usize = 24;
    pub const COUNT: usize = 64;
    pub const USED_LINES: usize = 72;

    pub const ENTRY_SIZE: usize = 0;
    pub const ENTRY_FORM: usize = 8;
    pub const ENTRY_LINE: usize = 16;
    pub const ENTRY_GENERATION: usize = 24;
    pub const ENTRY_ID: usize = 64;
    pub const ENTRY_NAMES: usize = 320;
    pub const ENTRY_BYTES: usize = 704;
}

const ENTRY_LINES: usize = at::ENTRY_BYTES / SLOT_BYTES;
const DIRECTORY_LINE: usize = HEADER_BYTES / SLOT_BYTES;
const ID_BYTES: usize = at::ENTRY_NAMES - at::ENTRY_ID;
/// What a registration that is never undone begins and ends with.
const FIRST_GENERATION: u64 = 1;

const _: () = assert!(MAX_NODE_ID_BYTES < ID_BYTES && at::ENTRY_BYTES.is_multiple_of(SLOT_BYTES));
const _: () = assert!(at::ENTRY_NAMES + MAX_FEATURES * MAX_FEATURE_NAME_BYTES == at::ENTRY_BYTES);

/// Bytes of a segment for `max_series` series whose blocks take at most `budget_bytes`.
#[must_use]
pub const fn segment_bytes(max_series: usize, budget_bytes: usize) -> usize {
    arena_line(max_series) * SLOT_BYTES + budget_bytes / SLOT_BYTES * SLOT_BYTES
}

const fn arena_line(max_series: usize) -> usize {
    DIRECTORY_LINE + max_series * ENTRY_LINES
}

const fn entry_word(index: usize, offset: usize) -> usize {
    (DIRECTORY_LINE + index * ENTRY_LINES) * SLOT_WORDS + offset / 8
}

fn load(slots: &ReadSlots, word: usize) -> u64 {
    slots.load(word / SLOT_WORDS, word % SLOT_WORDS)
}

/// Why a series does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SegmentFull {
    /// The directory is full.
    #[error("all {0} series are taken: raise cache.max_series")]
    Series(usize),
    /// The arena is full.
    #[error("{left} bytes of the budget are left where {needed} are needed: raise cache.budget_bytes")]
    Budget {
        /// Bytes still free.
        left: usize,
        /// Bytes the series needs.
        needed: usize,
    },
}

/// The gate's side. Not `Clone`: the segment has one writer. Registering neither allocates nor calls the kernel.
#[derive(Debug)]
pub struct CacheSegment {
    slots: WriteSlots,
    reader: ReadSlots,
    max_series: usize,
    /// Of every registered series; allocated and touched for as many as there can be.
    digests: Vec<u64>,
    next_line: usize,
}

impl CacheSegment {
    /// Writes the header into fresh memory of [`segment_bytes`].
    ///
    /// # Errors
    /// [`SegmentError::Header`] when the memory is too small for the directory.
    pub fn new(slots: WriteSlots, max_series: usize) -> Result<Self, SegmentError> {
        if max_series > u32::MAX as usize || slots.count() < arena_line(max_series) {
            return Err(SegmentError::Header("series count"));
        }
        let lines = slots.count() as u64;
        for (offset, value) in
            [(HASH, LAYOUT_HASH), (at::MAX_SERIES, max_series as u64), (at::LINES, lines), (MAGIC, at::MAGIC)]
        {
            slots.store(offset / SLOT_BYTES, offset % SLOT_BYTES / 8, value);
        }
        let reader = slots.reader();
        let mut digests = vec![1; max_series];
        digests.clear();
        let mut segment = Self { slots, reader, max_series, digests, next_line: arena_line(max_series) };
        segment.publish();
        Ok(segment)
    }

    /// The series registered so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.digests.len()
    }

    /// Nothing is registered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.digests.is_empty()
    }

    /// Bytes in use: directory entries and blocks of the registered series.
    #[must_use]
    pub fn resident_bytes(&self) -> usize {
        (self.next_line - arena_line(self.max_series) + self.len() * ENTRY_LINES) * SLOT_BYTES
    }

    /// The series of a node at an interval.
    #[must_use]
    pub fn find(&self, spec: &NodeSpec) -> Option<usize> {
        let is_it = |index: &usize| {
            self.digests[*index] == spec.digest()
                && is_entry_of(&self.reader, *index, spec.id(), spec.shape().interval_s())
        };
        (0..self.len()).find(is_it)
    }

    /// Whether series `index` was registered with these features, in this order.
    #[must_use]
    pub fn has_features(&self, index: usize, features: &[String]) -> bool {
        index < self.len()
            && features.len() <= MAX_FEATURES
            && features
                .iter()
                .enumerate()
                .all(|(at, name)| is_text(&self.reader, name_word(index, at), name, 3))
    }

    /// Adds a series that is not there yet; its index is the one that [`CacheSegment::len`] said before.
    ///
    /// # Errors
    /// [`SegmentFull`]; nothing has changed then.
    pub fn register(&mut self, spec: &NodeSpec) -> Result<SeriesWriter, SegmentFull> {
        let (shape, index) = (*spec.shape(), self.len());
        if index >= self.max_series {
            return Err(SegmentFull::Series(self.max_series));
        }
        let Some(block) = self.slots.slice(self.next_line, shape.lines()) else {
            return Err(SegmentFull::Budget {
                left: (self.slots.count() - self.next_line) * SLOT_BYTES,
                needed: shape.lines() * SLOT_BYTES,
            });
        };
        let form = shape.features() as u64 | (spec.id().len() as u64) << 8 | u64::from(shape.buckets()) << 32;
        let words = [
            (at::ENTRY_SIZE, u64::from(shape.interval_s()) | u64::from(shape.period()) << 32),
            (at::ENTRY_FORM, form),
            (at::ENTRY_LINE, self.next_line as u64),
            (at::ENTRY_GENERATION, FIRST_GENERATION),
        ];
        for (offset, value) in words {
            self.slots.store_words(entry_word(index, offset), &[value]);
        }
        store_text(&self.slots, entry_word(index, at::ENTRY_ID), spec.id());
        for (at, name) in spec.features().iter().enumerate() {
            store_text(&self.slots, name_word(index, at), name);
        }
        self.digests.push(spec.digest());
        self.next_line += shape.lines();
        self.publish();
        Ok(SeriesWriter::new(block, shape))
    }

    fn publish(&mut self) {
        let line = at::COUNT / SLOT_BYTES;
        self.slots.store(line, 1, self.next_line as u64);
        fence(Ordering::Release);
        self.slots.store(line, 0, self.digests.len() as u64);
    }
}

const _: () = assert!(at::COUNT.is_multiple_of(SLOT_BYTES) && at::USED_LINES == at::COUNT + 8);

fn name_word(index: usize, feature: usize) -> usize {
    entry_word(index, at::ENTRY_NAMES + feature * MAX_FEATURE_NAME_BYTES)
}

fn text_words(text: &str) -> impl Iterator<Item = u64> + '_ {
    text.as_bytes().chunks(8).map(|chunk| {
        let mut bytes = [0; 8];
        bytes[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(bytes)
    })
}

fn store_text(slots: &WriteSlots, first: usize, text: &str) {
    for (word, value) in (first..).zip(text_words(text)) {
        slots.store_words(word, &[value]);
    }
}

/// Whether `words` words from `first` on hold `text`, zero-padded.
fn is_text(slots: &ReadSlots, first: usize, text: &str, words: usize) -> bool {
    text.len() <= words * 8
        && text_words(text)
            .chain(std::iter::repeat(0))
            .take(words)
            .zip(first..)
            .all(|(w, at)| load(slots, at) == w)
}

fn is_entry_of(slots: &ReadSlots, index: usize, id: &str, interval_s: u32) -> bool {
    let interval_is = load(slots, entry_word(index, at::ENTRY_SIZE)) as u32 == interval_s;
    let len = load(slots, entry_word(index, at::ENTRY_FORM)) >> 8 & 0xff;
    interval_is && len == id.len() as u64 && is_text(slots, entry_word(index, at::ENTRY_ID), id, ID_BYTES / 8)
}

/// The text in `max_bytes` from word `first` on; one of the greatest length has no zero behind it.
fn read_text(slots: &ReadSlots, first: usize, max_bytes: usize) -> Option<String> {
    let bytes: Vec<u8> =
        (0..max_bytes / 8).flat_map(|word| load(slots, first + word).to_le_bytes()).collect();
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8(bytes[..end].to_vec()).ok()
}

/// What the directory says about one series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// The node's or queue's id.
    pub id: String,
    /// Names of its values, in order.
    pub features: Vec<String>,
    /// Its size.
    pub shape: Shape,
    /// How often this place of the directory was given out.
    pub generation: u64,
}

/// A client's side: reads, never writes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CacheView {
    slots: ReadSlots,
    max_series: usize,
}

impl CacheView {
    /// Checks the header.
    ///
    /// # Errors
    /// [`SegmentError::Header`] when this is no node cache of this version.
    pub fn new(slots: ReadSlots) -> Result<Self, SegmentError> {
        if slots.count() < DIRECTORY_LINE || load(&slots, MAGIC / 8) != at::MAGIC {
            return Err(SegmentError::Header("magic"));
        }
        if load(&slots, HASH / 8) != LAYOUT_HASH {
            return Err(SegmentError::Header("layout hash"));
        }
        let max_series = usize::try_from(load(&slots, at::MAX_SERIES / 8)).unwrap_or(usize::MAX);
        let fits = max_series <= slots.count() / ENTRY_LINES && arena_line(max_series) <= slots.count();
        if !fits || load(&slots, at::LINES / 8) != slots.count() as u64 {
            return Err(SegmentError::Header("series count"));
        }
        Ok(Self { slots, max_series })
    }

    /// Series registered so far; each stays for the life of the gate.
    #[must_use]
    pub fn len(&self) -> usize {
        let count = load(&self.slots, at::COUNT / 8);
        fence(Ordering::Acquire);
        usize::try_from(count).map_or(self.max_series, |count| count.min(self.max_series))
    }

    /// Nothing is registered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Series that the directory has room for.
    #[must_use]
    pub fn max_series(&self) -> usize {
        self.max_series
    }

    /// The index of a node at an interval. Looks through the directory: ask once.
    #[must_use]
    pub fn find(&self, id: &str, interval_s: u32) -> Option<u32> {
        (0..self.len())
            .find(|index| is_entry_of(&self.slots, *index, id, interval_s))
            .map(|index| index as u32)
    }

    /// What series `index` is; `None` when there is none, or its entry is not as a gate of this version writes it.
    #[must_use]
    pub fn info(&self, index: u32) -> Option<NodeInfo> {
        let shape = self.shape(index)?;
        let index = index as usize;
        let id = read_text(&self.slots, entry_word(index, at::ENTRY_ID), ID_BYTES)?;
        let name = |at| read_text(&self.slots, name_word(index, at), MAX_FEATURE_NAME_BYTES);
        let features = (0..shape.features()).map(name).collect::<Option<Vec<_>>>()?;
        let generation = load(&self.slots, entry_word(index, at::ENTRY_GENERATION));
        Some(NodeInfo { id, features, shape, generation })
    }

    /// A reader of series `index`; `None` as for [`CacheView::info`].
    #[must_use]
    pub fn series(&self, index: u32) -> Option<SeriesView> {
        let shape = self.shape(index)?;
        let line = load(&self.slots, entry_word(index as usize, at::ENTRY_LINE));
        let line = usize::try_from(line).ok().filter(|line| *line >= arena_line(self.max_series))?;
        SeriesView::new(self.slots.slice(line, shape.lines())?, shape)
    }

    /// A reader of a node at an interval.
    ///
    /// # Errors
    /// [`ReadError::Unknown`] when it is not registered.
    pub fn open(&self, id: &str, interval_s: u32) -> Result<SeriesView, ReadError> {
        self.find(id, interval_s).and_then(|index| self.series(index)).ok_or(ReadError::Unknown)
    }

    fn shape(&self, index: u32) -> Option<Shape> {
        let index = Some(index as usize).filter(|index| *index < self.len())?;
        let size = load(&self.slots, entry_word(index, at::ENTRY_SIZE));
        let form = load(&self.slots, entry_word(index, at::ENTRY_FORM));
        let features = (form & 0xff) as usize;
        Shape::with_buckets(size as u32, (size >> 32) as u32, features, (form >> 32) as u32)
    }
}
