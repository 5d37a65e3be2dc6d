//! A submission as a client sends it, checked in the order that the answers promise: body, schema, checksum, ids, cycles.

use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use flate2::read::GzDecoder;
use ringfence_dag::{
    Dag, ExecutionDomain, Limits, Loc, MissingConfigHash, Order, SchemaIssue, Verification, crc32,
    topological_order, verify,
};
use ringfence_store::RunType;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::Refused;

/// What is taken.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Of one DAG.
    pub dag: Limits,
    /// The largest body, before and after it is unpacked, bytes.
    pub body_bytes: usize,
    /// Worlds of one strategy.
    pub worlds: usize,
    /// What becomes of ids that cannot be verified.
    pub missing_config_hash: MissingConfigHash,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            dag: Limits::default(),
            // Base64 takes a third more than what it holds.
            body_bytes: 12 << 20,
            worlds: 256,
            missing_config_hash: MissingConfigHash::default(),
        }
    }
}

/// How it was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Its bytes are gzip.
    pub gzip: bool,
    /// The caller may, and wants to, trade.
    pub allow_live: bool,
}

/// A submission that can be carried out.
#[derive(Debug)]
pub struct Submission {
    pub(crate) dag: Dag,
    pub(crate) order: Order,
    pub(crate) verified: Vec<Verification>,
    pub(crate) meta: Map<String, Value>,
    pub(crate) run_type: Option<RunType>,
    pub(crate) worlds: Vec<String>,
    pub(crate) wants_sentinel: bool,
    /// Why it does not run live, though it asked to.
    pub(crate) downgrade_reason: Option<&'static str>,
    pub(crate) crc32: u32,
}

const NO_GUARD: &str = "live needs the header X-Allow-Live: true from somebody who may trade";

impl Submission {
    /// Reads a body.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn read(body: &[u8], sent: Sent, rules: &Rules) -> Result<Self, Refused> {
        let unpacked;
        let body = if sent.gzip {
            unpacked = unpack(body, rules.body_bytes)?;
            &unpacked
        } else {
            body
        };
        if body.len() > rules.body_bytes {
            return Err(too_large(rules.body_bytes));
        }
        let body: Value = serde_json::from_slice(body)
            .map_err(|error| Refused::bad(format!("the body is no JSON: {error}")))?;
        let Value::Object(mut body) = body else {
            return Err(Refused::bad(
                "the body is no JSON object: send {\"dag_json\": .., \"run_type\": ..}",
            ));
        };
        let mut issues = Vec::new();
        let dag_json = match body.remove("dag_json") {
            Some(Value::String(text)) => dag_bytes(&text)?,
            Some(dag @ Value::Object(_)) => dag.to_string().into_bytes(),
            found => {
                let kind = if found.is_some() { "string_type" } else { "missing" };
                add(&mut issues, kind, "dag_json", found, "the DAG as JSON, or as base64 of it");
                Vec::new()
            }
        };
        let worlds = worlds(body.remove("world_ids"), rules.worlds, &mut issues);
        let mut run_type = run_type(body.remove("run_type"), &worlds, &mut issues);
        let meta = match body.remove("meta") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(meta)) => meta,
            found => {
                add(&mut issues, "dict_type", "meta", found, "an object");
                Map::new()
            }
        };
        let wants_sentinel = flag(body.remove("insert_sentinel"), &mut issues);
        let claimed = checksum(body.remove("node_ids_crc32"), &mut issues);
        if !issues.is_empty() {
            return Err(Refused::Invalid(issues));
        }
        let dag = Dag::parse(&dag_json, &rules.dag)?;
        let crc32 = crc32(dag.nodes().iter().map(|node| node.node_id.as_str()));
        if claimed.is_some_and(|claimed| claimed != crc32) {
            return Err(Refused::bad("node id checksum mismatch"));
        }
        let verified =
            verify(&dag, rules.missing_config_hash).map_err(|mismatches| Refused::mismatch(&mismatches))?;
        let order = topological_order(&dag)?;
        let mut downgrade_reason = None;
        if run_type == Some(RunType::Live) && !sent.allow_live {
            (run_type, downgrade_reason) = (Some(RunType::DryRun), Some(NO_GUARD));
        }
        Ok(Self { dag, order, verified, meta, run_type, worlds, wants_sentinel, downgrade_reason, crc32 })
    }

    /// Two submissions with one key are the same.
    pub(crate) fn duplicate_key(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.dag.hash());
        hash.update(self.run_type.map_or("", RunType::name));
        hash.update([0]);
        let mut worlds: Vec<_> = self.worlds.iter().collect();
        worlds.sort_unstable();
        for world in worlds {
            hash.update((world.len() as u64).to_le_bytes());
            hash.update(world);
        }
        hash.finalize().into()
    }
}

/// What values a run may share. A strategy that only its worlds rule begins without orders.
pub const fn domain(run_type: Option<RunType>) -> ExecutionDomain {
    match run_type {
        Some(RunType::Backtest) => ExecutionDomain::Backtest,
        Some(RunType::Live) => ExecutionDomain::Live,
        Some(RunType::DryRun) | None => ExecutionDomain::DryRun,
    }
}

fn too_large(limit: usize) -> Refused {
    Refused::TooLarge(format!("the body has more than {limit} bytes: split the strategy"))
}

fn unpack(body: &[u8], limit: usize) -> Result<Vec<u8>, Refused> {
    let mut unpacked = Vec::new();
    let mut reader = GzDecoder::new(body).take(limit as u64 + 1);
    let read = reader.read_to_end(&mut unpacked);
    read.map_err(|error| {
        Refused::bad(format!("the body is no gzip, though its Content-Encoding says so: {error}"))
    })?;
    if unpacked.len() > limit { Err(too_large(limit)) } else { Ok(unpacked) }
}

fn dag_bytes(text: &str) -> Result<Vec<u8>, Refused> {
    let text = text.trim();
    if text.starts_with('{') {
        return Ok(text.as_bytes().to_vec());
    }
    let engine =
        if text.ends_with('=') || text.len().is_multiple_of(4) { &STANDARD } else { &STANDARD_NO_PAD };
    engine
        .decode(text)
        .map_err(|error| Refused::bad(format!("`dag_json` is neither JSON nor base64: {error}")))
}

fn add(
    issues: &mut Vec<SchemaIssue>,
    kind: &'static str,
    field: &'static str,
    found: Option<Value>,
    msg: &str,
) {
    let input = match found.unwrap_or_default() {
        input @ (Value::Null | Value::Bool(_) | Value::Number(_)) => input,
        Value::String(text) => Value::String(text.chars().take(200).collect()),
        Value::Array(items) => Value::String(format!("a list of {}", items.len())),
        Value::Object(fields) => Value::String(format!("an object of {} fields", fields.len())),
    };
    let loc = vec![Loc::Field("body"), Loc::Field(field)];
    issues.push(SchemaIssue { kind, loc, msg: format!("`{field}` is {msg}"), input });
}

fn worlds(found: Option<Value>, most: usize, issues: &mut Vec<SchemaIssue>) -> Vec<String> {
    let list = match &found {
        None | Some(Value::Null) => return Vec::new(),
        Some(Value::Array(list)) if list.len() <= most => list,
        _ => {
            add(issues, "list_type", "world_ids", found, &format!("a list of at most {most} ids"));
            return Vec::new();
        }
    };
    let id = |value: &Value| value.as_str().filter(|id| !id.is_empty() && id.len() <= 256).map(str::to_owned);
    let Some(mut worlds) = list.iter().map(id).collect::<Option<Vec<_>>>() else {
        add(issues, "string_type", "world_ids", found, "a list of ids, each 1 to 256 bytes of text");
        return Vec::new();
    };
    worlds.sort_unstable();
    worlds.dedup();
    worlds
}

fn run_type(found: Option<Value>, worlds: &[String], issues: &mut Vec<SchemaIssue>) -> Option<RunType> {
    const WORDS: &str = "one of backtest, dry-run, live; it may be left out where world_ids are given";
    match &found {
        None | Some(Value::Null) => {
            if worlds.is_empty() {
                add(issues, "missing", "run_type", found, WORDS);
            }
            None
        }
        Some(Value::String(text)) if text == "dryrun" => Some(RunType::DryRun),
        Some(Value::String(text)) if RunType::parse(text).is_some() => RunType::parse(text),
        _ => {
            add(issues, "enum", "run_type", found, WORDS);
            None
        }
    }
}

fn flag(found: Option<Value>, issues: &mut Vec<SchemaIssue>) -> bool {
    match found {
        None | Some(Value::Null) => true,
        Some(Value::Bool(flag)) => flag,
        _ => {
            add(issues, "bool_type", "insert_sentinel", found, "true or false");
            true
        }
    }
}

fn checksum(found: Option<Value>, issues: &mut Vec<SchemaIssue>) -> Option<u32> {
    let found = found.filter(|found| !found.is_null())?;
    let claimed = found.as_u64().and_then(|claimed| u32::try_from(claimed).ok());
    if claimed.is_none() {
        add(issues, "int_type", "node_ids_crc32", Some(found), "a whole number of 32 bits");
    }
    claimed
}
