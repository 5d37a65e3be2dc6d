//! Opening a journal: lock, recover, read everything once, start a fresh hot ring.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ringfence_ipc::journal::archive::{DurableMark, ReadAt, SEGMENT_HEADER_BYTES, SegmentHeader, chain_seed};
use ringfence_ipc::journal::chained::{ArchiveScan, Segments};
use ringfence_ipc::journal::hot::{
    HotError, HotHeader, HotReader, Look, MAX_HOT_SLOTS, MIN_HOT_SLOTS, status,
};
use ringfence_ipc::journal::scan::{Scan, SegmentReader};
use ringfence_ipc::journal::{ArchiveError, FIRST_POSITION, MAX_RECORD_SLOTS, Record};
use ringfence_ipc::msg::SLOT_BYTES;
use ringfence_ipc::segment::{Mapping, SegmentError};

use super::archiver::{Archiver, HotStage, OnError, Pump};
use super::blocks::BLOCK_BYTES;
use super::medium::{DirMedium, Medium};
use super::recovery::{ArchiveState, HotState, classify_hot, decide};
use super::segments::SegmentWriter;
use super::{JournalError, Writer};

const DEFAULT_BYTES: u64 = 256 << 20;
const MIN_SEGMENT_BYTES: u64 = 4096;
const MAX_SEGMENT_BYTES: u64 = 16 << 30;

/// Where a journal lives and how it is kept.
#[derive(Clone, Debug)]
pub struct JournalOptions {
    /// Directory of the archive, on a disk.
    pub dir: PathBuf,
    /// File of the hot ring, on tmpfs.
    pub hot_path: PathBuf,
    /// Bytes of the hot ring's slots: a power of two, at least 64 KiB. Default 256 MiB.
    pub hot_bytes: u64,
    /// Bytes of one segment's slots: a multiple of 4 KiB, 4 KiB to 16 GiB. Default 256 MiB.
    pub segment_bytes: u64,
    /// The longest that written records wait for a sync. Default 20 ms.
    pub sync_interval: Duration,
    /// Free bytes on the archive's disk below which new orders are refused; at least what the hot ring can hold, and a
    /// segment more. Default 1 GiB.
    pub min_free_bytes: u64,
    /// Tier `power`: whatever is appended is synced at once, and followers are shown nothing before. Default: no.
    pub power: bool,
}

impl JournalOptions {
    /// The defaults.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, hot_path: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            hot_path: hot_path.into(),
            hot_bytes: DEFAULT_BYTES,
            segment_bytes: DEFAULT_BYTES,
            sync_interval: Duration::from_millis(20),
            min_free_bytes: 1 << 30,
            power: false,
        }
    }

    /// Free bytes of the disk below which new orders are refused. Segments are allocated whole: when orders stop, what
    /// the ring holds must still fit, and a segment for cancels.
    #[must_use]
    pub fn low_water_bytes(&self) -> u64 {
        let segments = self.hot_bytes.div_ceil(self.segment_bytes) + 1;
        self.min_free_bytes.max(segments * (self.segment_bytes + SEGMENT_HEADER_BYTES))
    }

    fn check(&self) -> Result<(), JournalError> {
        let slots = self.hot_bytes / SLOT_BYTES as u64;
        if !self.hot_bytes.is_power_of_two() || !(MIN_HOT_SLOTS..=MAX_HOT_SLOTS).contains(&slots) {
            return Err(JournalError::Option {
                option: "hot_bytes",
                rule: "a power of two, 64 KiB to 256 GiB",
            });
        }
        let fits = (MIN_SEGMENT_BYTES..=MAX_SEGMENT_BYTES).contains(&self.segment_bytes);
        if !fits || !self.segment_bytes.is_multiple_of(BLOCK_BYTES as u64) {
            return Err(JournalError::Option {
                option: "segment_bytes",
                rule: "a multiple of 4 KiB, 4 KiB to 16 GiB",
            });
        }
        Ok(())
    }
}

/// What recovery found and did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveryReport {
    /// How the archive ended.
    pub archive: ArchiveState,
    /// What the hot ring held.
    pub hot: HotState,
    /// Where the archive's whole records ended.
    pub archive_end: u64,
    /// Slots taken from the hot ring.
    pub hot_slots: u64,
    /// A torn tail was cut.
    pub cut: bool,
    /// The life before stopped in good order.
    pub closed: bool,
    /// Newest epoch in the archive's and the hot ring's headers; 0 for a new journal.
    pub last_epoch: u64,
}

/// The records of all earlier lives, to be read to the end before the gate goes on. Memory: one buffer.
///
/// Reading begins at the journal's first record unless [`Self::start_at`] says otherwise.
pub struct RecoveredLog<M: Medium = DirMedium> {
    scan: ArchiveScan<Arc<M>>,
    journal_id: u64,
    oldest: u64,
    /// A reader who knows the state before it has said where to begin.
    placed: bool,
    end: u64,
    failed: bool,
    report: RecoveryReport,
}

impl<M: Medium> RecoveredLog<M> {
    /// Position that the next record will get.
    #[must_use]
    pub const fn next_position(&self) -> u64 {
        self.end
    }

    /// What recovery found and did.
    #[must_use]
    pub const fn report(&self) -> &RecoveryReport {
        &self.report
    }

    /// Identifies the journal.
    #[must_use]
    pub const fn journal_id(&self) -> u64 {
        self.journal_id
    }

    /// The first position that is still there; [`FIRST_POSITION`] unless older segments were removed.
    #[must_use]
    pub const fn oldest_position(&self) -> u64 {
        self.oldest
    }

    /// Begins at `position`, where `chain` is the checksum chain; false when no such record is there, or the records
    /// before it are other ones. The caller has what they led to.
    pub fn start_at(&mut self, position: u64, chain: u32) -> bool {
        let fits = (self.oldest..=self.end).contains(&position)
            && self.scan.seek(position).is_ok_and(|found| found == Some(chain));
        self.placed |= fits;
        fits
    }

    /// Begins at the journal's first record.
    ///
    /// # Errors
    /// [`JournalError::NoStart`] when it is gone, and what reading it meets.
    pub fn start_at_first(&mut self) -> Result<(), JournalError> {
        if self.oldest > FIRST_POSITION {
            return Err(JournalError::NoStart { oldest: self.oldest });
        }
        self.placed = true;
        Ok(self.scan.rewind()?)
    }

    /// Position of the next record that this reader gives.
    fn read(&self) -> u64 {
        self.scan.position().max(FIRST_POSITION)
    }
}

impl<M: Medium> Iterator for RecoveredLog<M> {
    type Item = Result<(u64, Record), JournalError>;

    /// The next record and its position, verified; an error is the last item.
    fn next(&mut self) -> Option<Self::Item> {
        if !self.placed && !self.failed && self.oldest > FIRST_POSITION {
            self.failed = true;
            return Some(Err(JournalError::NoStart { oldest: self.oldest }));
        }
        if self.failed || self.read() >= self.end {
            return None;
        }
        let found = self.scan.next(self.end).map_err(JournalError::from).and_then(|found| {
            let ends_early = JournalError::NotReplayed { read: self.read(), end: self.end };
            found.ok_or(ends_early)
        });
        self.failed = found.is_err();
        Some(found)
    }
}

/// A journal, locked and recovered. Read [`Opened::log`] to its end, then [`Opened::start`].
pub struct Opened<M: Medium = DirMedium> {
    /// The records of all earlier lives.
    pub log: RecoveredLog<M>,
    options: JournalOptions,
    segments: SegmentWriter<M>,
    journal_id: u64,
    on_error: Option<OnError>,
}

/// Locks and recovers the journal, or begins a new one.
///
/// # Errors
/// [`JournalError`]: another gate holds it, the disk failed, or what is there is damaged; nothing was lost by asking.
pub fn open(options: JournalOptions) -> Result<Opened, JournalError> {
    options.check()?;
    let medium = DirMedium::open(&options.dir)?;
    open_on(medium, options)
}

/// As [`open`], with the segments on another medium; `options.dir` is not used.
///
/// # Errors
/// As [`open`].
pub fn open_on<M: Medium>(medium: M, options: JournalOptions) -> Result<Opened<M>, JournalError> {
    options.check()?;
    let medium = Arc::new(medium);
    let archive = ArchiveEnd::find(&*medium)?;
    let hot = open_hot(&options.hot_path)?;
    let (hot_state, hot_end) = judge_hot(&hot, &archive);
    let plan = decide(archive.state, hot_state)
        .map_err(|refusal| JournalError::Refused { refusal, position: archive.position })?;

    let ring = match &hot {
        HotFile::Ring(ring) => Some(ring),
        HotFile::Missing | HotFile::Foreign => None,
    };
    let journal_id = match (archive.journal_id, ring) {
        (Some(id), _) => id,
        (None, Some(ring)) => ring.header().journal_id,
        (None, None) => random_id()?,
    };
    let last_epoch = ring.map_or(0, |ring| ring.header().epoch).max(archive.epoch);
    let start = (archive.position, archive.chain.unwrap_or_else(|| chain_seed(journal_id)));
    let slots = options.segment_bytes / SLOT_BYTES as u64;
    let mut segments =
        SegmentWriter::new(Arc::clone(&medium), (journal_id, last_epoch), slots, archive.segment, start);
    segments.settle(archive.durable).map_err(JournalError::io("repairing the archive's tail"))?;
    if let (true, Some(ring)) = (plan.take_hot, ring) {
        require_space(&segments, &options, hot_end - archive.position)?;
        take_hot(ring, &mut segments, hot_end)?;
    }
    let report = RecoveryReport {
        archive: archive.state,
        hot: hot_state,
        archive_end: archive.position,
        hot_slots: segments.synced() - archive.position,
        cut: plan.cut,
        closed: ring.is_some_and(|ring| ring.status() & status::CLOSED != 0),
        last_epoch,
    };
    let log = RecoveredLog {
        scan: ArchiveScan::new(medium)?,
        journal_id,
        oldest: archive.oldest,
        placed: false,
        end: segments.synced(),
        failed: false,
        report,
    };
    Ok(Opened { log, options, segments, journal_id, on_error: None })
}

impl<M: Medium> Opened<M> {
    /// Calls `tell` on the archiver thread when an error stops it. The log and the ring's status say so in any case.
    #[must_use]
    pub fn on_error(mut self, tell: OnError) -> Self {
        self.on_error = Some(tell);
        self
    }

    /// Creates a fresh hot ring, and starts the archiver. `epoch` counts the lives of the gate, from 1.
    ///
    /// # Errors
    /// [`JournalError::NotReplayed`] unless [`Self::log`] was read to its end, [`JournalError::Epoch`] for an epoch
    /// older than the journal's, and what the system refuses.
    pub fn start(mut self, epoch: u16) -> Result<(Writer, Archiver), JournalError> {
        let on_error = self.on_error.take();
        let (writer, pump) = self.start_parts(epoch)?;
        Ok((writer, Archiver::spawn(pump, on_error)?))
    }

    pub(crate) fn start_parts(mut self, epoch: u16) -> Result<(Writer, Pump<M>), JournalError> {
        let (read, end, last) = (self.log.read(), self.log.end, self.log.report.last_epoch);
        if read < end {
            return Err(JournalError::NotReplayed { read, end });
        }
        let asked = u64::from(epoch);
        if asked < last {
            return Err(JournalError::Epoch { asked, last });
        }
        // With room left in the last segment it may start on a full disk: orders are refused, cancels are not.
        require_space(&self.segments, &self.options, MAX_RECORD_SLOTS as u64)?;
        self.segments.set_epoch(asked);
        let capacity = self.options.hot_bytes / SLOT_BYTES as u64;
        let header = HotHeader { journal_id: self.journal_id, epoch: asked, capacity, start: end };
        // Under its name only when whole: followers may open it at any moment.
        let mut temporary = self.options.hot_path.clone().into_os_string();
        temporary.push(".new");
        let mapping = Mapping::create_file(Path::new(&temporary), header.file_bytes())?;
        let stage = HotStage::create(&mapping, &header, self.options.power)?;
        std::fs::rename(&temporary, &self.options.hot_path)
            .map_err(JournalError::io("naming the hot ring"))?;
        if !mapping.report().is_clean() {
            tracing::warn!(report = %mapping.report(), "the hot ring's memory is not settled");
        }
        let writer = Writer::new(&mapping, &header, &stage)?;
        let pump = Pump::new(stage, self.segments, &self.options);
        Ok((writer, pump))
    }
}

/// Refuses when `slots` more slots do not fit the disk.
fn require_space<M: Medium>(
    segments: &SegmentWriter<M>,
    options: &JournalOptions,
    slots: u64,
) -> Result<(), JournalError> {
    let needed = segments.bytes_for(slots);
    if needed == 0 {
        return Ok(());
    }
    let free = segments.medium().free_bytes().map_err(JournalError::io("asking for free disk space"))?;
    if free < needed {
        return Err(JournalError::DiskFull { dir: options.dir.clone(), free, needed });
    }
    Ok(())
}

/// Where and how the archive ends.
struct ArchiveEnd<F> {
    state: ArchiveState,
    oldest: u64,
    position: u64,
    durable: DurableMark,
    chain: Option<u32>,
    journal_id: Option<u64>,
    epoch: u64,
    segment: Option<(F, SegmentHeader)>,
}

impl<F> ArchiveEnd<F> {
    fn find<M: Segments<File = F>>(medium: &M) -> Result<Self, JournalError>
    where
        F: ReadAt,
    {
        let firsts = medium.firsts().map_err(ArchiveError::List)?;
        let (Some(oldest), Some(last)) = (firsts.first().copied(), firsts.last().copied()) else {
            return Ok(Self {
                state: ArchiveState::Empty,
                oldest: FIRST_POSITION,
                position: FIRST_POSITION,
                durable: DurableMark { position: FIRST_POSITION, spare: 0 },
                chain: None,
                journal_id: None,
                epoch: 0,
                segment: None,
            });
        };
        let io = |source| ArchiveError::Io { segment: last, source };
        let file = medium.open_segment(last).map_err(io)?;
        let mut reader = SegmentReader::open(file, last).map_err(|e| ArchiveError::open(last, e))?;
        let tail = loop {
            match reader.next(u64::MAX).map_err(io)? {
                Scan::Record(..) => {}
                Scan::End(tail) => break tail,
            }
        };
        let (position, durable, header) = (reader.position(), reader.durable(), *reader.header());
        Ok(Self {
            state: ArchiveState::of(tail, position > FIRST_POSITION, position < durable.position),
            oldest,
            position,
            durable,
            chain: Some(reader.chain()),
            journal_id: Some(header.journal_id),
            epoch: header.epoch,
            segment: Some((reader.into_source(), header)),
        })
    }
}

enum HotFile {
    Missing,
    Foreign,
    Ring(HotReader),
}

fn open_hot(path: &Path) -> Result<HotFile, JournalError> {
    match HotReader::open(path) {
        Ok(ring) => Ok(HotFile::Ring(ring)),
        Err(HotError::Map(SegmentError::Os { source, .. }))
            if source.kind() == std::io::ErrorKind::NotFound =>
        {
            Ok(HotFile::Missing)
        }
        Err(HotError::Map(error @ SegmentError::Os { .. })) => Err(error.into()),
        Err(_) => Ok(HotFile::Foreign),
    }
}

fn judge_hot<F>(hot: &HotFile, archive: &ArchiveEnd<F>) -> (HotState, u64) {
    match hot {
        HotFile::Missing => (HotState::Missing, archive.position),
        HotFile::Foreign => (HotState::OtherLayout, archive.position),
        HotFile::Ring(ring) if archive.journal_id.is_some_and(|id| id != ring.header().journal_id) => {
            (HotState::OtherJournal, archive.position)
        }
        HotFile::Ring(ring) => classify_hot(ring, archive.position, archive.epoch),
    }
}

fn take_hot<M: Medium>(
    ring: &HotReader,
    segments: &mut SegmentWriter<M>,
    end: u64,
) -> Result<(), JournalError> {
    let step = || JournalError::io("archiving what the hot ring held");
    while segments.staged() < end {
        if segments.stage(ring).map_err(step())? != Look::Record(()) {
            return Err(JournalError::HotDamaged { position: segments.staged() });
        }
        if segments.is_group() {
            segments.write().map_err(step())?;
        }
    }
    segments.close().map_err(step())
}

fn random_id() -> Result<u64, JournalError> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|e| JournalError::Io { step: "asking for randomness", source: e.into() })?;
    Ok(u64::from_le_bytes(bytes))
}
