//! What the audit log says about orders, against what the journal holds.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::path::Path;

use ringfence_ipc::journal::Record;
use ringfence_ipc::msg::{IntentKind, Outcome};
use ringfence_shell::audit::Stored;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::journal_cmd::{follower, oldest};

/// Differences that are named; the rest is counted.
const MAX_NAMED: usize = 100;

/// What one record claims of the journal.
#[derive(Debug)]
struct Claim {
    action: String,
    client_order_id: String,
    request_id: String,
    accepted: bool,
}

/// What the audit log says about the journal, by position.
#[derive(Debug, Default)]
pub struct Audited {
    claims: HashMap<u64, Vec<Claim>>,
    /// Orders whose outcome the shell never learned.
    unknown: HashSet<String>,
    /// Acts that went well and name no position.
    unproved: Vec<(u64, String)>,
}

#[derive(Deserialize)]
struct Details {
    #[serde(default)]
    outcome: String,
    journal_seq: Option<u64>,
    client_order_id: Option<String>,
    #[serde(default)]
    request: Asked,
}

#[derive(Default, Deserialize)]
struct Asked {
    client_order_id: Option<String>,
}

impl Audited {
    /// Takes in one line of the series `order`.
    pub fn learn(&mut self, line: &[u8]) {
        let Ok(record) = Stored::parse(line) else { return };
        let Ok(details) = serde_json::from_str::<Details>(record.details.get()) else { return };
        let request_id = record.request_id.into_owned();
        let client_order_id = details.client_order_id.or(details.request.client_order_id).unwrap_or_default();
        let accepted = details.outcome == "ok";
        match details.journal_seq.filter(|seq| *seq > 0) {
            Some(seq) => {
                let action = record.action.into_owned();
                self.claims.entry(seq).or_default().push(Claim {
                    action,
                    client_order_id,
                    request_id,
                    accepted,
                });
            }
            None if accepted && matches!(&*record.action, "order" | "cancel") => {
                self.unproved
                    .push((0, format!("request {request_id} went well and names no journal record")));
            }
            None => {
                self.unknown.insert(client_order_id);
            }
        }
    }

    /// Compares with the journal of `data`; `begun`: the audit log still has its beginning.
    pub fn compare(mut self, data: &Path, begun: bool) -> anyhow::Result<Compared> {
        let first = oldest(data)?;
        let from = if begun { 0 } else { self.claims.keys().min().copied().unwrap_or(u64::MAX) };
        let mut follower = follower(data, first)?;
        let mut compared =
            Compared { differences: self.unproved.into_iter().collect(), ..Compared::default() };
        while let Some((position, record)) = follower.next()? {
            if let Some(claims) = self.claims.remove(&position) {
                compared.records += claims.len();
                for claim in claims {
                    if let Some(difference) = claim.against(&record) {
                        compared.differ(position, difference);
                    }
                }
            } else if let Some(id) = by_http(&record) {
                if self.unknown.contains(&id) {
                    compared.unanswered += 1;
                } else if position >= from {
                    compared.unaudited.insert(position, id);
                }
            }
        }
        for (position, claims) in self.claims {
            if position < first {
                compared.gone += claims.len();
            } else {
                let requests: Vec<_> = claims.into_iter().map(|claim| claim.request_id).collect();
                compared.differ(
                    position,
                    format!("request {} names a record that the journal does not have", requests.join(", ")),
                );
            }
        }
        Ok(compared)
    }
}

impl Claim {
    /// What `record` says otherwise.
    fn against(&self, record: &Record) -> Option<String> {
        let request = format!("request {} ({})", self.request_id, self.action);
        let kind = match (self.action.as_str(), record) {
            ("order", Record::Decision(made)) if made.intent.kind == IntentKind::New => Some(made),
            ("cancel", Record::Decision(made)) if made.intent.kind == IntentKind::Cancel => Some(made),
            ("kill" | "rearm" | "mode" | "cancel_all", Record::Control(_)) => return None,
            ("set_limit" | "reload_config", Record::Limit(_) | Record::Config(_)) => return None,
            _ => None,
        };
        let Some(made) = kind else {
            return Some(format!("{request}: the journal has another kind of record here"));
        };
        let id = made.ext.as_ref().map_or("", |ext| ext.client_order_id());
        if id != self.client_order_id {
            return Some(format!(
                "{request}: client_order_id {:?} here, {id:?} in the journal",
                self.client_order_id
            ));
        }
        let accepted = made.outcome == Outcome::Accepted;
        let word = |accepted| if accepted { "accepted" } else { "refused" };
        (accepted != self.accepted)
            .then(|| format!("{request}: {} here, {} in the journal", word(self.accepted), word(accepted)))
    }
}

/// The client order id of a decision that came from an operator.
fn by_http(record: &Record) -> Option<String> {
    let Record::Decision(made) = record else { return None };
    made.ext.as_ref().map(|ext| ext.client_order_id().to_owned())
}

/// What the comparison has found.
#[derive(Debug, Default)]
pub struct Compared {
    /// Audit records that were compared.
    records: usize,
    /// Audit records of journal positions that retention has removed.
    gone: usize,
    /// Decisions whose answer never reached the shell.
    unanswered: usize,
    differences: Vec<(u64, String)>,
    more: usize,
    /// Decisions that no audit record tells of, with their client order ids.
    unaudited: BTreeMap<u64, String>,
}

impl Compared {
    fn differ(&mut self, position: u64, difference: String) {
        if self.differences.len() < MAX_NAMED {
            self.differences.push((position, difference));
        } else {
            self.more += 1;
        }
    }

    /// Whether the two disagree.
    pub fn differs(&self) -> bool {
        !self.differences.is_empty() || !self.unaudited.is_empty()
    }

    /// Takes back what `later` tells of after all.
    pub fn explain(&mut self, later: &Audited) {
        self.unaudited
            .retain(|position, id| !later.claims.contains_key(position) && !later.unknown.contains(id));
    }

    fn named(&self) -> impl Iterator<Item = (u64, String)> {
        let unaudited = self.unaudited.iter().map(|(position, id)| {
            (*position, format!("order {id:?}: decided, and the audit log does not tell of it"))
        });
        self.differences.iter().cloned().chain(unaudited.take(MAX_NAMED))
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        let named = |(position, why): (u64, String)| json!({"journal_seq": position, "why": why});
        json!({"compared": self.records, "beyond_retention": self.gone, "unanswered": self.unanswered,
            "differences": self.differences.len() + self.more + self.unaudited.len(),
            "first": self.named().map(named).collect::<Vec<_>>()})
    }
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, why) in self.named() {
            writeln!(f, "orders   DIFFER  at {position}: {why}")?;
        }
        let differences = self.differences.len() + self.more + self.unaudited.len();
        write!(
            f,
            "orders   {}  {} records compared with the journal, {differences} differences, {} without an answer, {} of \
             journal positions that are gone",
            if differences == 0 { "agree " } else { "DIFFER" },
            self.records,
            self.unanswered,
            self.gone,
        )
    }
}
