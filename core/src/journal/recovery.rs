//! Recovery is a table: how the archive ends and what the hot ring holds decide, nothing else.
//!
//! A crash may leave a torn tail: it is cut. Everything else that is not whole stops the gate with an error that says
//! what to do, because going on would mean forgetting decisions that somebody was told.
//!
//! | archive \ hot | missing, empty, behind | contiguous, torn tail | gap, corrupt, other layout, journal or epoch |
//! |---|---|---|---|
//! | empty, clean, zeros | go on | take the hot records | refuse |
//! | torn slot, torn record | cut, go on | cut, take the hot records | refuse |
//! | lost, hole, bad chain, stale lap, wrong position, undecodable | refuse | refuse | refuse |

use ringfence_ipc::journal::Record;
use ringfence_ipc::journal::archive::Tail;
use ringfence_ipc::journal::hot::{HotReader, Look, Piece};

/// How the archive ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveState {
    /// No record at all.
    Empty,
    /// The last segment is full, or its file ends, behind a whole record.
    Clean,
    /// Preallocated zeros behind a whole record.
    Zeros,
    /// The front part of a slot.
    TornSlot,
    /// The front part of a record of several slots.
    TornRecord,
    /// The records end below the durable mark: what was on disk is gone.
    Lost,
    /// Nothing, then something, within one sector.
    Hole,
    /// The right position, another checksum chain.
    BadChain,
    /// A slot of an earlier position.
    StaleLap,
    /// A slot of a later position, or no slot.
    WrongPosition,
    /// Intact words that this version cannot read.
    Undecodable,
}

impl ArchiveState {
    /// Every state, for walking the table.
    pub const ALL: [Self; 11] = [
        Self::Empty,
        Self::Clean,
        Self::Zeros,
        Self::TornSlot,
        Self::TornRecord,
        Self::Lost,
        Self::Hole,
        Self::BadChain,
        Self::StaleLap,
        Self::WrongPosition,
        Self::Undecodable,
    ];

    /// Names how a scan ended: `any` record was read, and the end is `below_mark`.
    #[must_use]
    pub const fn of(tail: Tail, any: bool, below_mark: bool) -> Self {
        match tail {
            Tail::Clean | Tail::Zeros | Tail::TornSlot | Tail::TornRecord if below_mark => Self::Lost,
            Tail::Clean | Tail::Zeros if !any => Self::Empty,
            Tail::Clean => Self::Clean,
            Tail::Zeros => Self::Zeros,
            Tail::TornSlot => Self::TornSlot,
            Tail::TornRecord => Self::TornRecord,
            Tail::Hole => Self::Hole,
            Tail::BadChain => Self::BadChain,
            Tail::StaleLap => Self::StaleLap,
            Tail::WrongPosition => Self::WrongPosition,
            Tail::Undecodable(_) => Self::Undecodable,
        }
    }
}

/// What the hot ring holds, seen from the archive's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HotState {
    /// No file: a first start, or the machine was rebooted.
    Missing,
    /// It starts at the archive's end and holds nothing yet.
    Empty,
    /// All it holds is in the archive.
    Behind,
    /// Records from the archive's end on.
    Contiguous,
    /// The same, and behind them a record that the gate died in the middle of, seen by nobody.
    TornTail,
    /// It holds later records, but not those from the archive's end on.
    Gap,
    /// A record is damaged, and others follow it.
    Corrupt,
    /// Written by another version, or no hot ring.
    OtherLayout,
    /// Of another journal.
    OtherJournal,
    /// Older than the newest segment, yet it holds records that the archive does not.
    OtherEpoch,
}

impl HotState {
    /// Every state, for walking the table.
    pub const ALL: [Self; 10] = [
        Self::Missing,
        Self::Empty,
        Self::Behind,
        Self::Contiguous,
        Self::TornTail,
        Self::Gap,
        Self::Corrupt,
        Self::OtherLayout,
        Self::OtherJournal,
        Self::OtherEpoch,
    ];
}

/// What to do before the gate goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Zero what stands behind the archive's last whole record.
    pub cut: bool,
    /// Add the hot ring's records to the archive.
    pub take_hot: bool,
}

/// Why the gate may not go on, and what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The archive is damaged.
    #[error("the archive is damaged ({0:?}): run `journal verify`, and restore the last segment from a copy")]
    Archive(ArchiveState),
    /// The hot ring and the archive do not meet.
    #[error(
        "the hot ring does not continue the archive: segments are missing or from an older copy; put the newest \
         segments back, or move the hot ring file away to go on without its records"
    )]
    HotGap,
    /// The hot ring is damaged in the middle.
    #[error(
        "the hot ring is damaged: records behind the damage exist; keep a copy of it, then move it away to lose them"
    )]
    HotCorrupt,
    /// The hot ring is of another version.
    #[error(
        "the hot ring was written by another version: recover with that version first, or move the file away"
    )]
    HotLayout,
    /// The hot ring is of another journal.
    #[error("the hot ring belongs to another journal: give every journal its own hot ring file")]
    HotJournal,
    /// The hot ring is left over from an older life of this journal.
    #[error("the hot ring is older than the archive and contradicts it: move the hot ring file away")]
    HotEpoch,
}

/// The table.
///
/// # Errors
/// [`Refusal`] for every state that no crash leaves.
pub const fn decide(archive: ArchiveState, hot: HotState) -> Result<Plan, Refusal> {
    use ArchiveState as A;
    use HotState as H;
    match (archive, hot) {
        (A::Lost | A::Hole | A::BadChain | A::StaleLap | A::WrongPosition | A::Undecodable, _) => {
            Err(Refusal::Archive(archive))
        }
        (_, H::Gap) => Err(Refusal::HotGap),
        (_, H::Corrupt) => Err(Refusal::HotCorrupt),
        (_, H::OtherLayout) => Err(Refusal::HotLayout),
        (_, H::OtherJournal) => Err(Refusal::HotJournal),
        (_, H::OtherEpoch) => Err(Refusal::HotEpoch),
        (A::Empty | A::Clean | A::Zeros, H::Missing | H::Empty | H::Behind) => {
            Ok(Plan { cut: false, take_hot: false })
        }
        (A::Empty | A::Clean | A::Zeros, H::Contiguous | H::TornTail) => {
            Ok(Plan { cut: false, take_hot: true })
        }
        (A::TornSlot | A::TornRecord, H::Missing | H::Empty | H::Behind) => {
            Ok(Plan { cut: true, take_hot: false })
        }
        (A::TornSlot | A::TornRecord, H::Contiguous | H::TornTail) => Ok(Plan { cut: true, take_hot: true }),
    }
}

/// What the hot ring holds, given where and at which epoch the archive ends, and where its own records end.
#[must_use]
pub fn classify_hot(hot: &HotReader, archive_end: u64, archive_epoch: u64) -> (HotState, u64) {
    let header = hot.header();
    if header.start > archive_end {
        return (HotState::Gap, archive_end);
    }
    let mut end = archive_end;
    let stopped = loop {
        match hot.look(end) {
            Look::Record(record) if Record::decode(record.slots()).is_ok() => {
                end += record.slots().len() as u64
            }
            Look::Overwritten if end == archive_end => break Some(HotState::Gap),
            Look::Record(_) | Look::Overwritten | Look::Damaged => break Some(HotState::Corrupt),
            Look::NotYet => break None,
        }
        if end - archive_end > header.capacity {
            break Some(HotState::Corrupt);
        }
    };
    let mut half_written = false;
    for position in end..end + header.capacity {
        match hot.holds(position) {
            None => {}
            Some(Piece::Continuation) if position - end <= 2 && stopped.is_none() => half_written = true,
            Some(_) if stopped.is_some() => {}
            Some(_) => return (HotState::Corrupt, end),
        }
    }
    let state = match stopped {
        Some(state) => state,
        None if end > archive_end && header.epoch < archive_epoch => HotState::OtherEpoch,
        None if half_written => HotState::TornTail,
        None if end > archive_end => HotState::Contiguous,
        None if header.start == archive_end => HotState::Empty,
        None => HotState::Behind,
    };
    (state, end)
}
