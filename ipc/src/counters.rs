//! The gate's counters: a file on tmpfs that outlives the gate, so that a dead one can be inspected.
//!
//! ```text
//!      0  magic | layout hash of counters and segments
//!     64  counters, 128 words: one line group for each writing thread
//!   1088  rejects by reason code, 128 words
//!   2112  histograms: sum, maximum, 960 buckets each
//!     ..  attached clients, two lines each (client_table)
//! ```
//!
//! Every counter has one writing thread, so counting is a relaxed load and a relaxed store. A reader sees each word
//! whole, and different words at slightly different times.

use std::path::Path;

use crate::client_table::{self, ClientRow, TABLE_LINES, TableWriter};
pub use crate::histogram::Histogram;
use crate::histogram::{HISTOGRAM_LINES, HistogramWriter};
use crate::layout::LAYOUT_HASH;
use crate::msg::SLOT_BYTES;
use crate::reason::Reason;
use crate::segment::{Mapping, SegmentError};
use crate::view::{ReadSlots, WriteSlots};

const MAGIC: u64 = u64::from_le_bytes(*b"RFcounts");
const WORDS_PER_LINE: usize = SLOT_BYTES / 8;
const COUNTERS: usize = 128;
const REASONS: usize = 128;
const COUNTERS_AT: usize = SLOT_BYTES;
const REJECTS_AT: usize = COUNTERS_AT + COUNTERS * 8;
const HISTOGRAMS_AT: usize = REJECTS_AT + REASONS * 8;
const CLIENTS_AT: usize = HISTOGRAMS_AT + Histo::ALL.len() * HISTOGRAM_LINES * SLOT_BYTES;
const FILE_BYTES: usize = CLIENTS_AT + TABLE_LINES * SLOT_BYTES;

const _: () = assert!(REJECTS_AT == 1088 && HISTOGRAMS_AT == 2112);

macro_rules! named {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $value:literal, $text:literal;)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(usize)]
        pub enum $name { $($(#[$vmeta])* $variant = $value),+ }
        impl $name {
            /// Every one, in file order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
            /// The stable name used in metrics and reports.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
    };
}

named! {
    /// A counter (only grows within an epoch) or a gauge (is set). Numbers are word indices; each group of eight words
    /// that starts a comment has one writing thread.
    Counter {
        // The gate thread.
        /// Intents read from all rings.
        Intents = 0, "intents";
        /// Intents accepted.
        Accepted = 1, "accepted";
        /// Intents rejected for good: journalled and stored.
        Rejected = 2, "rejected";
        /// Intents answered with a stored decision.
        Duplicates = 3, "duplicates";
        /// Intents rejected without being stored.
        TransientRejects = 4, "transient_rejects";
        /// Fills booked.
        Fills = 5, "fills";
        /// Venue reports booked, fills among them.
        Reports = 6, "reports";
        /// Commands handed to the venue.
        Commands = 7, "commands";
        /// Records written to the journal.
        JournalRecords = 8, "journal_records";
        /// Market messages read.
        MarketMessages = 10, "market_messages";
        /// Messages that could not be decoded, or that the role may not send.
        MalformedMessages = 11, "malformed_messages";
        /// Peers that broke the ring protocol.
        Faults = 12, "faults";
        /// Passes of the reactor.
        Passes = 13, "passes";
        /// Passes that found work.
        BusyPasses = 14, "busy_passes";
        /// Times an intent had to wait for its client's full event ring.
        FullEventRings = 15, "full_event_rings";
        /// Gauge: journal position of the next record.
        JournalPos = 16, "journal_pos";
        /// Gauge: the global mode's number.
        Mode = 17, "mode";
        /// Gauge: orders open.
        OpenOrders = 18, "open_orders";
        /// Gauge: keys remembered over all strategies.
        DedupKeys = 19, "dedup_keys";
        /// Gauge: age of the oldest key that is certainly remembered, ns.
        DedupEffectiveAgeNs = 20, "dedup_effective_age_ns";
        /// Gauge: gate time of the last sign of life, ns.
        HeartbeatNs = 22, "heartbeat_ns";
        /// Venue reports that were not booked: they named no order, or repeated a fill.
        UnbookedReports = 24, "unbooked_reports";
        /// Gauge: slots waiting in all intent rings at the last look.
        IntentBacklog = 25, "intent_backlog";
        /// Gauge: StormGuard's state, its number.
        StormState = 26, "storm_state";
        /// Gauge: the number of what put it there.
        StormCause = 27, "storm_cause";
        /// Gauge: gate time at which it got there, ns.
        StormSinceNs = 28, "storm_since_ns";
        /// Times StormGuard changed its state.
        StormTransitions = 29, "storm_transitions";
        /// Times the kill switch was pulled.
        Kills = 30, "kills";
        /// Times orders were cancelled because whoever watched them was gone.
        AbandonedCancels = 31, "abandoned_cancels";
        /// Live values taken into the node cache.
        NodeFeeds = 32, "node_feeds";
        /// Values taken into the node cache that were filled in afterwards.
        NodeBackfills = 33, "node_backfills";
        /// Live values of nodes whose bucket had left the window.
        NodeLate = 34, "node_late";
        /// How often a node's bucket did not follow its predecessor.
        NodeGaps = 35, "node_gaps";
        /// Values of nodes refused.
        NodeRejects = 36, "node_rejects";
        /// Of these: from a client that does not hold the node's lease.
        NodeRejectsNoLease = 37, "node_rejects_no_lease";
        /// Gauge: series in the node cache.
        NodeSeries = 38, "node_series";
        /// Gauge: bytes of the node cache in use.
        NodeCacheBytes = 39, "node_cache_bytes";
        /// Gauge: tier `power`: answers, reports and commands that wait for the disk.
        HeldEntries = 40, "held_entries";
        /// Tier `power`: answers, reports and commands that a failed disk kept from ever being shown.
        Unreleased = 41, "unreleased";
        /// Times the gate thread went to sleep until somebody woke it (`--wait park`).
        Parks = 42, "parks";
        /// Of these sleeps: ended by somebody who brought work, not by themselves.
        ParksWoken = 43, "parks_woken";
        /// Alarm: reports that took an order beyond its quantity. Booked all the same.
        Overfills = 44, "overfills";
        /// Alarm: fills for an order that the gate does not know (any more): journalled, in no position.
        StrayFills = 45, "stray_fills";
        /// Gauge: the venue in another process: 1 without an adapter, 2 asked for its orders, 3 open; 0: it is in this one.
        VenueState = 46, "venue_state";

        // The control thread.
        /// Gauge: clients attached.
        AttachedClients = 64, "attached_clients";
        /// Attachments granted.
        Attaches = 65, "attaches";
        /// Attachments refused.
        AttachesRefused = 66, "attaches_refused";
        /// Gauge: mappings whose pages could not be locked.
        MlockRefused = 67, "mlock_refused";
        /// Gauge: the gate's epoch.
        Epoch = 68, "epoch";
        /// Gauge: the gate's process id.
        GatePid = 69, "gate_pid";
        /// Gauge: clients that were thrown out for a fault and have not come back since.
        QuarantinedClients = 70, "quarantined_clients";
        /// Clients detached because they did not read their events.
        LaggingDetached = 71, "lagging_detached";

        // The archiver.
        /// Gauge: journal position up to which records are in the archive.
        ArchivedPos = 72, "archived_pos";
        /// Gauge: journal position up to which the archive is synced to disk.
        DurablePos = 73, "durable_pos";
        /// Failed archive writes and syncs.
        ArchiveErrors = 74, "archive_errors";
        /// Gauge: 1 while the archive's disk is nearly full.
        DiskLow = 75, "disk_low";

        // The venue thread.
        /// Commands read by the venue.
        VenueCommands = 80, "venue_commands";
        /// Reports written by the venue.
        VenueReports = 81, "venue_reports";
        /// Tape messages applied to the book.
        VenueTapeMessages = 82, "venue_tape_messages";
        /// Market events consumed, over all lives of the journal.
        MarketEvents = 83, "market_events";
        /// Gauge: 1 once the tape has ended.
        TapeFinished = 84, "tape_finished";
        /// Tape messages that could not be decoded or make no sense as a market.
        VenueMalformed = 85, "venue_malformed";
    }
}

named! {
    /// A histogram of nanoseconds, each with one writing thread.
    Histo {
        /// Gate thread: from an intent being seen to its decision being published.
        DecisionNs = 0, "decision_ns";
        /// Gate thread: from the client's timestamp to the intent being seen.
        RingNs = 1, "ring_ns";
        /// Gate thread: from a command to its first report.
        OrderRoundtripNs = 2, "order_roundtrip_ns";
        /// Gate thread: one busy pass of the reactor, from its first clock read to its end; one pass in 64 is timed.
        PassNs = 3, "pass_ns";
    }
}

const _: () = {
    let mut i = 0;
    while i < Counter::ALL.len() {
        assert!((Counter::ALL[i] as usize) < COUNTERS, "the counter lies outside its array");
        i += 1;
    }
    let mut i = 0;
    while i < Reason::ALL.len() {
        assert!((Reason::ALL[i] as usize) < REASONS, "the reason lies outside its array");
        i += 1;
    }
};

/// Counts. Clones share the file; each counter and histogram belongs to one thread all the same.
#[derive(Clone, Debug)]
pub struct CountersWriter {
    counters: WriteSlots,
    rejects: WriteSlots,
    histograms: Vec<HistogramWriter>,
    clients: TableWriter,
}

impl CountersWriter {
    /// Creates the file with all counters 0, replacing an older one.
    ///
    /// # Errors
    /// [`SegmentError`] when the file cannot be made.
    pub fn create(path: &Path) -> Result<Self, SegmentError> {
        let mapping = Mapping::create_file(path, FILE_BYTES)?;
        mapping.store(8, LAYOUT_HASH)?;
        mapping.store(0, MAGIC)?;
        Self::of(&mapping)
    }

    /// Opens the file of an earlier writer and counts on.
    ///
    /// # Errors
    /// [`SegmentError`] when there is none, or it is of another version.
    pub fn open(path: &Path) -> Result<Self, SegmentError> {
        Self::of(&checked(path, true)?)
    }

    fn of(mapping: &Mapping) -> Result<Self, SegmentError> {
        let histogram =
            |h: &Histo| mapping.write_slots(histogram_at(*h), HISTOGRAM_LINES).map(HistogramWriter);
        Ok(Self {
            counters: mapping.write_slots(COUNTERS_AT, COUNTERS / WORDS_PER_LINE)?,
            rejects: mapping.write_slots(REJECTS_AT, REASONS / WORDS_PER_LINE)?,
            histograms: Histo::ALL.iter().map(histogram).collect::<Result<_, _>>()?,
            clients: TableWriter(mapping.write_slots(CLIENTS_AT, TABLE_LINES)?),
        })
    }

    /// Shows the client at place `at`. For the gate thread only.
    pub fn show_client(&self, at: usize, row: &ClientRow) {
        self.clients.set(at, row);
    }

    /// Shows that nobody is at place `at`. For the gate thread only.
    pub fn hide_client(&self, at: usize) {
        self.clients.clear(at);
    }

    /// Adds 1.
    #[inline]
    pub fn inc(&self, counter: Counter) {
        self.add(counter, 1);
    }

    /// Adds `n`.
    #[inline]
    pub fn add(&self, counter: Counter, n: u64) {
        add(&self.counters, counter as usize, n);
    }

    /// Sets a gauge.
    #[inline]
    pub fn set(&self, counter: Counter, value: u64) {
        let index = counter as usize;
        self.counters.store(index / WORDS_PER_LINE, index % WORDS_PER_LINE, value);
    }

    /// The value now.
    #[inline]
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        let index = counter as usize;
        self.counters.load(index / WORDS_PER_LINE, index % WORDS_PER_LINE)
    }

    /// Counts one reject under its reason. For the gate thread only.
    #[inline]
    pub fn reject(&self, reason: Reason) {
        add(&self.rejects, reason as usize, 1);
    }

    /// Rejects counted under `reason`. For the gate thread only.
    #[must_use]
    pub fn rejected(&self, reason: Reason) -> u64 {
        let index = reason as usize;
        self.rejects.load(index / WORDS_PER_LINE, index % WORDS_PER_LINE)
    }

    /// Counts one duration, ns.
    #[inline]
    pub fn record(&self, histogram: Histo, value_ns: u64) {
        self.record_n(histogram, value_ns, 1);
    }

    /// Counts `n` durations of the same length, ns: a batch measured with one pair of clock reads.
    #[inline]
    pub fn record_n(&self, histogram: Histo, value_ns: u64, n: u64) {
        self.histograms[histogram as usize].record(value_ns, n);
    }
}

#[inline]
fn add(words: &WriteSlots, index: usize, n: u64) {
    let (line, word) = (index / WORDS_PER_LINE, index % WORDS_PER_LINE);
    words.store(line, word, words.load(line, word).wrapping_add(n));
}

/// Reads a counters file, whether its gate lives or not. A restarted gate makes a new file: open it again then.
#[derive(Clone, Debug)]
pub struct CountersReader {
    counters: ReadSlots,
    rejects: ReadSlots,
    histograms: Vec<ReadSlots>,
    clients: ReadSlots,
}

impl CountersReader {
    /// Opens the file read-only.
    ///
    /// # Errors
    /// [`SegmentError`] when there is none, or it is of another version.
    pub fn open(path: &Path) -> Result<Self, SegmentError> {
        let mapping = checked(path, false)?;
        let histogram = |h: &Histo| mapping.read_slots(histogram_at(*h), HISTOGRAM_LINES);
        Ok(Self {
            counters: mapping.read_slots(COUNTERS_AT, COUNTERS / WORDS_PER_LINE)?,
            rejects: mapping.read_slots(REJECTS_AT, REASONS / WORDS_PER_LINE)?,
            histograms: Histo::ALL.iter().map(histogram).collect::<Result<_, _>>()?,
            clients: mapping.read_slots(CLIENTS_AT, TABLE_LINES)?,
        })
    }

    /// The attached clients, each with its place.
    #[must_use]
    pub fn clients(&self) -> Vec<(usize, ClientRow)> {
        client_table::read(&self.clients)
    }

    /// A counter's value.
    #[must_use]
    pub fn get(&self, counter: Counter) -> u64 {
        let index = counter as usize;
        self.counters.load(index / WORDS_PER_LINE, index % WORDS_PER_LINE)
    }

    /// Rejects under one reason.
    #[must_use]
    pub fn reject(&self, reason: Reason) -> u64 {
        let index = reason as usize;
        self.rejects.load(index / WORDS_PER_LINE, index % WORDS_PER_LINE)
    }

    /// Every reason that was counted at least once.
    pub fn rejects(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        Reason::ALL.iter().map(|reason| (*reason, self.reject(*reason))).filter(|(_, n)| *n > 0)
    }

    /// A copy of a histogram.
    #[must_use]
    pub fn histogram(&self, histogram: Histo) -> Histogram {
        Histogram::read(&self.histograms[histogram as usize])
    }
}

const fn histogram_at(histogram: Histo) -> usize {
    HISTOGRAMS_AT + histogram as usize * HISTOGRAM_LINES * SLOT_BYTES
}

fn checked(path: &Path, writable: bool) -> Result<Mapping, SegmentError> {
    let mapping = Mapping::open_file(path, writable)?;
    if mapping.load(0)? != MAGIC {
        return Err(SegmentError::Header("magic"));
    }
    if mapping.load(8)? != LAYOUT_HASH || mapping.len_bytes() != FILE_BYTES {
        return Err(SegmentError::Header("layout hash"));
    }
    Ok(mapping)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_outlive_their_writer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("counters");
        let writer = CountersWriter::create(&path).unwrap();
        writer.inc(Counter::Intents);
        writer.add(Counter::Intents, 4);
        writer.set(Counter::Epoch, 7);
        writer.reject(Reason::PriceCollar);
        writer.record(Histo::DecisionNs, 100);
        drop(writer);
        let reader = CountersReader::open(&path).unwrap();
        assert_eq!((reader.get(Counter::Intents), reader.get(Counter::Epoch)), (5, 7));
        assert_eq!(reader.rejects().collect::<Vec<_>>(), [(Reason::PriceCollar, 1)]);
        let decisions = reader.histogram(Histo::DecisionNs);
        assert_eq!((decisions.count(), decisions.max(), decisions.percentile(0.5)), (1, 100, 100));
        assert_eq!(reader.histogram(Histo::PassNs).count(), 0);
        CountersWriter::open(&path).unwrap().inc(Counter::Intents);
        assert_eq!(reader.get(Counter::Intents), 6);
    }

    #[test]
    fn counters_do_not_touch_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("counters");
        let writer = CountersWriter::create(&path).unwrap();
        for counter in Counter::ALL {
            writer.set(*counter, *counter as u64 + 1);
        }
        Reason::ALL.iter().for_each(|reason| writer.reject(*reason));
        let reader = CountersReader::open(&path).unwrap();
        assert!(Counter::ALL.iter().all(|c| reader.get(*c) == *c as u64 + 1));
        assert_eq!(reader.rejects().count(), Reason::ALL.len());
        assert!(Histo::ALL.iter().all(|h| reader.histogram(*h).count() == 0));
    }

    #[test]
    fn another_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("counters");
        Mapping::create_file(&path, FILE_BYTES).unwrap();
        assert!(matches!(CountersReader::open(&path), Err(SegmentError::Header("magic"))));
        Mapping::open_file(&path, true).unwrap().store(0, MAGIC).unwrap();
        assert!(matches!(CountersReader::open(&path), Err(SegmentError::Header("layout hash"))));
    }
}
