//! One look at the counters file, and what happened between two.

use std::path::Path;
use std::time::{Duration, Instant};

use ringfence_ipc::client_table::ClientRow;
use ringfence_ipc::counters::{Counter, CountersReader, Histo, Histogram};
use ringfence_ipc::reason::{Mode, Reason};
use ringfence_ipc::segment::SegmentError;
use serde_json::{Map, Value, json};

/// Counters that only grow, shown as rates too.
const RATES: [Counter; 9] = [
    Counter::Intents,
    Counter::Accepted,
    Counter::Rejected,
    Counter::TransientRejects,
    Counter::Duplicates,
    Counter::Commands,
    Counter::Reports,
    Counter::Fills,
    Counter::MarketMessages,
];

/// Everything a counters file says at one time.
pub struct Sample {
    taken: Instant,
    values: Vec<(Counter, u64)>,
    pub rejects: Vec<(Reason, u64)>,
    histograms: Vec<(Histo, Histogram)>,
    pub clients: Vec<(usize, ClientRow)>,
}

impl Sample {
    /// Reads the file; a gate that started again has a new one.
    pub fn take(path: &Path) -> Result<Self, SegmentError> {
        let reader = CountersReader::open(path)?;
        Ok(Self {
            taken: Instant::now(),
            values: Counter::ALL.iter().map(|counter| (*counter, reader.get(*counter))).collect(),
            rejects: reader.rejects().collect(),
            histograms: Histo::ALL.iter().map(|histo| (*histo, reader.histogram(*histo))).collect(),
            clients: reader.clients(),
        })
    }

    pub fn get(&self, counter: Counter) -> u64 {
        self.values.iter().find(|(known, _)| *known == counter).map_or(0, |(_, value)| *value)
    }

    /// The global mode.
    pub fn mode(&self) -> &'static str {
        Mode::from_wire(self.get(Counter::Mode)).map_or("?", Mode::name)
    }

    /// Slots written that are not in the archive, and not on disk.
    pub fn journal_lag(&self) -> (u64, u64) {
        let written = self.get(Counter::JournalPos);
        let lag = |counter| written.saturating_sub(self.get(counter));
        (lag(Counter::ArchivedPos), lag(Counter::DurablePos))
    }

    /// What was counted since `earlier`, or in the gate's whole life.
    pub fn histogram(&self, histo: Histo, earlier: Option<&Self>) -> Histogram {
        let of = |sample: &Self| {
            sample.histograms.iter().find(|(known, _)| *known == histo).map(|(_, copy)| copy.clone())
        };
        match (of(self), earlier.and_then(of)) {
            (Some(now), Some(then)) => now.since(&then),
            (Some(now), None) => now,
            (None, _) => Histogram::default(),
        }
    }

    /// How often `counter` went up per second since `earlier`.
    pub fn rate(&self, counter: Counter, earlier: Option<&Self>) -> f64 {
        let Some(earlier) = earlier else { return 0.0 };
        let passed = self.taken.saturating_duration_since(earlier.taken).max(Duration::from_micros(1));
        self.get(counter).saturating_sub(earlier.get(counter)) as f64 / passed.as_secs_f64()
    }

    /// Everything as JSON; rates and latencies are those since `earlier`.
    pub fn json(&self, earlier: Option<&Self>) -> Value {
        let counters: Map<String, Value> =
            self.values.iter().map(|(counter, value)| (counter.name().to_owned(), (*value).into())).collect();
        let rates: Map<String, Value> = RATES
            .iter()
            .map(|counter| (counter.name().to_owned(), self.rate(*counter, earlier).into()))
            .collect();
        let rejects: Map<String, Value> =
            self.rejects.iter().map(|(reason, count)| (reason.name().to_owned(), (*count).into())).collect();
        let latency: Map<String, Value> = Histo::ALL
            .iter()
            .map(|histo| (histo.name().to_owned(), percentiles(&self.histogram(*histo, earlier))))
            .collect();
        let clients: Vec<Value> = self.clients.iter().map(|(_, row)| client(row)).collect();
        let (archive_lag, durable_lag) = self.journal_lag();
        json!({
            "mode": self.mode(), "counters": counters, "per_second": rates, "rejects": rejects,
            "latency_ns": latency, "clients": clients,
            "journal_lag_slots": {"archive": archive_lag, "disk": durable_lag},
        })
    }
}

fn percentiles(of: &Histogram) -> Value {
    json!({"count": of.count(), "p50": of.percentile(0.5), "p99": of.percentile(0.99),
        "p999": of.percentile(0.999), "max_ever": of.max()})
}

fn client(row: &ClientRow) -> Value {
    json!({
        "client": row.client, "role": row.role.name(), "name": row.name(), "strategy": row.strategy,
        "mode": row.mode.name(), "pid": row.pid, "attached_ns": row.attached_ns,
        "lagging_since_ns": row.lagging_since_ns,
        "intents": {"read": row.intents_read, "waiting": row.intents_waiting, "capacity": row.intents_capacity},
        "events": {"written": row.events_written, "unread": row.events_unread, "capacity": row.events_capacity},
    })
}
