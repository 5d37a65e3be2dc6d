//! What a journal says about a run: who and what it knows, what is set, and its last records.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use ringfence_ipc::journal::archive::SegmentHeader;
use ringfence_ipc::journal::hot::{HotReader, status};
use ringfence_ipc::journal::{FIRST_POSITION, Follower, Record};
use serde_json::{Map, Value, json};

use crate::export;

/// Attachments that are shown.
const ATTACHES_KEPT: usize = 32;

/// A journal read from its beginning.
#[derive(Default)]
pub struct Story {
    records: u64,
    counts: BTreeMap<String, u64>,
    symbols: Vec<Value>,
    strategies: Vec<Value>,
    boots: Vec<Value>,
    /// The last value of whatever is set, by what it is set for.
    limits: BTreeMap<String, Value>,
    controls: BTreeMap<String, Value>,
    attaches: VecDeque<Value>,
    last: VecDeque<(u64, Record)>,
    error: Option<String>,
}

impl Story {
    /// Reads it all, and keeps the `tail` last records. What cannot be read is said, and what was read is kept.
    pub fn read(hot: &Path, archive: &Path, tail: usize) -> Self {
        let mut story = Self::default();
        let mut follower = match Follower::open(hot, archive, FIRST_POSITION) {
            Ok(follower) => follower,
            Err(error) => return Self { error: Some(error.to_string()), ..story },
        };
        loop {
            match follower.next() {
                Ok(Some((position, record))) => story.see(position, record, tail),
                Ok(None) => return story,
                Err(error) => {
                    story.error = Some(error.to_string());
                    return story;
                }
            }
        }
    }

    fn see(&mut self, position: u64, record: Record, tail: usize) {
        self.records += 1;
        match &record {
            Record::Decision(_) => *self.counts.entry("decision".into()).or_default() += 1,
            Record::Report(_) => *self.counts.entry("report".into()).or_default() += 1,
            Record::Mark(_) => *self.counts.entry("mark".into()).or_default() += 1,
            other => self.see_rare(export::json(position, other)),
        }
        self.last.push_back((position, record));
        if self.last.len() > tail {
            self.last.pop_front();
        }
    }

    /// Whatever comes seldom enough to be kept as it is printed.
    fn see_rare(&mut self, value: Value) {
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        let kind = text("kind");
        *self.counts.entry(kind.clone()).or_default() += 1;
        match kind.as_str() {
            "symbol" => self.symbols.push(value),
            "strategy" => self.strategies.push(value),
            "boot" => self.boots.push(value),
            "limit" => {
                let key = format!("{}/{}/{}", text("scope"), value["scope_id"], text("limit"));
                self.limits.insert(key, value);
            }
            "control" => {
                let key = format!("{}/{}", text("scope"), value["scope_id"]);
                self.controls.insert(key, value);
            }
            "attach" => {
                self.attaches.push_back(value);
                if self.attaches.len() > ATTACHES_KEPT {
                    self.attaches.pop_front();
                }
            }
            _ => {}
        }
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        let set: Map<String, Value> =
            self.limits.iter().map(|(key, value)| (key.clone(), value["value"].clone())).collect();
        let modes: Map<String, Value> =
            self.controls.iter().map(|(key, value)| (key.clone(), value["mode"].clone())).collect();
        let last: Vec<Value> =
            self.last.iter().map(|(position, record)| export::json(*position, record)).collect();
        json!({
            "records": self.records, "by_kind": self.counts, "boots": self.boots, "symbols": self.symbols,
            "strategies": self.strategies, "limits": set, "modes_set": modes, "attaches": self.attaches,
            "last_records": last, "error": self.error,
        })
    }
}

/// The hot ring's own words; `null` when there is none.
pub fn hot(path: &Path) -> Value {
    let Ok(hot) = HotReader::open(path) else { return Value::Null };
    let (header, bits) = (hot.header(), hot.status());
    json!({
        "epoch": header.epoch, "capacity_slots": header.capacity, "start": header.start, "end": hot.end(),
        "archived": hot.archived_pos(), "durable": hot.durable_pos(),
        "closed": bits & status::CLOSED != 0, "disk_low": bits & status::DISK_LOW != 0,
        "archiver_failed": bits & status::FAILED != 0,
    })
}

/// The archive's files; nothing in them is read.
pub fn archive(dir: &Path) -> Value {
    let (mut firsts, mut bytes) = (Vec::new(), 0);
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        if let Some(first) = entry.file_name().to_str().and_then(SegmentHeader::parse_file_name) {
            firsts.push(first);
            bytes += entry.metadata().map_or(0, |metadata| metadata.len());
        }
    }
    json!({"segments": firsts.len(), "first_position": firsts.iter().min(), "bytes": bytes})
}
