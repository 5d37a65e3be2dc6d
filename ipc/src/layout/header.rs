//! Segment headers: written once, and checked before anything behind them is believed.

use super::{HASH, LAYOUT_HASH, MAGIC, events, events_bytes, intents, ring_slots};
use crate::clock::Calibration;
use crate::segment::{Mapping, SegmentError};

/// What the gate says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum GateState {
    /// Not deciding yet.
    Starting = 0,
    /// Deciding.
    Running = 1,
    /// Stopping in good order.
    Stopping = 2,
}

impl GateState {
    /// From the wire.
    #[must_use]
    pub const fn from_wire(value: u64) -> Option<Self> {
        match value {
            0 => Some(Self::Starting),
            1 => Some(Self::Running),
            2 => Some(Self::Stopping),
            _ => None,
        }
    }
}

/// The part of an events header that is written once, before the segment is given away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventsHeader {
    /// The gate's epoch.
    pub epoch: u16,
    /// Slots of the ring.
    pub capacity: u32,
    /// The gate's clock.
    pub calibration: Calibration,
}

/// Writes an events header; the magic last.
///
/// # Errors
/// [`SegmentError`] when the mapping is read-only or too small.
pub fn write_events_header(events: &Mapping, header: &EventsHeader) -> Result<(), SegmentError> {
    events.store(HASH, LAYOUT_HASH)?;
    events.store(events::EPOCH, u64::from(header.epoch))?;
    events.store(events::CAPACITY, u64::from(header.capacity))?;
    for (i, word) in header.calibration.encode().into_iter().enumerate() {
        events.store(events::CALIBRATION + i * 8, word)?;
    }
    events.store(MAGIC, events::MAGIC)
}

/// Reads and checks an events header.
///
/// # Errors
/// [`SegmentError::Header`] naming the first thing that is not as a gate of this version writes it.
pub fn read_events_header(events: &Mapping) -> Result<EventsHeader, SegmentError> {
    check_header(events, events::MAGIC)?;
    let capacity =
        u32::try_from(events.load(events::CAPACITY)?).map_err(|_| SegmentError::Header("capacity"))?;
    let epoch = u16::try_from(events.load(events::EPOCH)?).map_err(|_| SegmentError::Header("epoch"))?;
    if ring_slots(u64::from(capacity)).is_none() || events.len_bytes() != events_bytes(capacity) {
        return Err(SegmentError::Header("capacity"));
    }
    let mut words = [0; 4];
    for (i, word) in words.iter_mut().enumerate() {
        *word = events.load(events::CALIBRATION + i * 8)?;
    }
    let calibration = Calibration::decode(words).ok_or(SegmentError::Header("calibration"))?;
    Ok(EventsHeader { epoch, capacity, calibration })
}

/// The calibration in an events header, checked.
///
/// # Errors
/// As [`read_events_header`], and when this process cannot read the counter that the gate uses.
pub fn read_calibration(events: &Mapping) -> Result<Calibration, SegmentError> {
    let calibration = read_events_header(events)?.calibration;
    calibration.is_usable_here().then_some(calibration).ok_or(SegmentError::Header("clock source"))
}

/// The client marks its segment as mapped.
///
/// # Errors
/// [`SegmentError`] when the mapping is read-only or too small.
pub fn write_intents_header(intents: &Mapping) -> Result<(), SegmentError> {
    intents.store(HASH, LAYOUT_HASH)?;
    intents.store(MAGIC, intents::MAGIC)
}

/// The gate looks whether the client mapped this segment.
///
/// # Errors
/// [`SegmentError::Header`] when the client wrote no header of this version.
pub fn check_intents_header(intents: &Mapping) -> Result<(), SegmentError> {
    check_header(intents, intents::MAGIC)
}

/// Magic and layout hash are those of this version.
pub(crate) fn check_header(mapping: &Mapping, magic: u64) -> Result<(), SegmentError> {
    if mapping.load(MAGIC)? != magic {
        return Err(SegmentError::Header("magic"));
    }
    if mapping.load(HASH)? != LAYOUT_HASH {
        return Err(SegmentError::Header("layout hash"));
    }
    Ok(())
}
