//! Journal records: what is written down, word by word.
//!
//! Word 0 of a record's first slot is `kind u8 | slots u8 | per-kind`. Word 7 of every slot belongs to the log (the
//! sequence in the hot ring, the checksum chain in the archive). Decoding is checked: a record from disk is input.
//!
//! ```text
//!  DECISION (2 slots, 3 with an operator's extension)
//!   0.0 kind|slots|outcome u8|tier u8|strategy u16|reason u16     0.1 intent header   0.2 key low   0.3 key high
//!   0.4 price   0.5 quantity   0.6 client timestamp ns
//!   1.0 time to live or target   1.1 now ns   1.2 order id | observed   1.3 0 | limit   1.4 reference price
//!   1.5 reference age us u32 | limit id u16 | account u16   1.6 intent position
//!   2.* OPERATOR_EXT, as on the wire
//!  REPORT (1 slot, 2 for fills)   0.0 kind|slots|state u8|flags u8|reason u16|symbol u16   0.1 order id
//!   0.2 cumulative quantity   0.3 leaves quantity   0.4 gate time ns   0.5 key low   0.6 report u8|0 u8|strategy u16|account u16
//!   1.0 last quantity   1.1 last price   1.2 trade id   1.3 fee e8   1.4 venue time ns   1.5, 1.6 reserved 0
//!  BOOT (2)     0.0 kind|slots|lockstep u1   0.1 epoch   0.2 hash seed   0.3 now ns   0.4 layout hash   0.5 venue u64  0.6 tsc hz
//!               1.* build id, 56 bytes of text
//!  SYMBOL (1)   0.0 kind|slots|id u16|price scale u8|qty scale u8|multiplier.. see code
//!  STRATEGY (1) 0.0 kind|slots|id u16|account u16   0.1..0.3 name, 24 bytes   0.4 now ns
//!  ATTACH (1)   0.0 kind|slots|role u8|detached u8|strategy u16   0.1 now ns  0.2 client id  0.3, 0.4 ticket digest  0.5 pid|uid
//!  LIMIT (1)    0.0 kind|slots|scope u16|scope id u16|limit id u16   0.1 value   0.2 now ns   0.3 config version
//!  CONTROL (1)  0.0 kind|slots|control u16|scope u16|scope id u16   0.1 value   0.2 now ns   0.3 by (client id)
//!  MARK (1)     0.0 kind|slots|0|symbol u16   0.1 now ns   0.2 bid price   0.3 ask price   0.4 last price   0.5 event
//!  CLOSE (1)    0.0 kind|slots   0.1 now ns   0.2..0.5 state hash   0.6 market events
//! ```

use crate::msg::{
    AccountId, DecodeError, DurabilityTier, Intent, OperatorExt, OrderId, OrderState, Outcome, Report,
    ReportKind, Side, StrategyId, SymbolId, Words, bits, intent_flags,
};
use crate::reason::{LimitId, Mode, Reason, Scope};
use crate::symbol::{SYMBOL_NAME_BYTES, Symbol};

/// The most slots one record takes.
pub const MAX_RECORD_SLOTS: usize = 3;
/// The longest strategy name, bytes.
pub const STRATEGY_NAME_BYTES: usize = 24;

const BOOT: u8 = 1;
const SYMBOL: u8 = 2;
const STRATEGY: u8 = 3;
const ATTACH: u8 = 4;
const LIMIT: u8 = 5;
const CONTROL: u8 = 6;
const MARK: u8 = 7;
const DECISION: u8 = 8;
const REPORT: u8 = 9;
const CLOSE: u8 = 10;

/// A record on its way to the log: its slots' payloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordWords {
    words: [Words; MAX_RECORD_SLOTS],
    len: u8,
}

impl RecordWords {
    fn new(kind: u8, len: u8, rest: u64) -> Self {
        let mut words = [[0; 7]; MAX_RECORD_SLOTS];
        words[0][0] = u64::from(kind) | u64::from(len) << 8 | rest << 16;
        Self { words, len }
    }

    /// The payloads, in order.
    #[must_use]
    pub fn slots(&self) -> &[Words] {
        &self.words[..usize::from(self.len)]
    }
}

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The first word names no record kind.
    #[error("unknown record kind {0}")]
    UnknownKind(u8),
    /// The slot count is not the kind's.
    #[error("a record of kind {kind} cannot take {slots} slots")]
    BadLength {
        /// The record kind.
        kind: u8,
        /// The slot count found.
        slots: u8,
    },
    /// A field holds what no writer writes.
    #[error("record field: {0}")]
    Field(#[from] DecodeError),
}

/// A new life of the gate begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootRecord {
    /// Counts the lives of this journal's gate, from 1.
    pub epoch: u16,
    /// Seed of the dedup hash.
    pub hash_seed: u64,
    /// Gate time at boot, ns.
    pub now_ns: u64,
    /// `ringfence_ipc` layout hash of the writer.
    pub layout_hash: u64,
    /// The gate's clock is the tape's (lockstep).
    pub lockstep: bool,
    /// Version of the program, ASCII, zero-padded.
    pub build_id: [u8; 40],
}

/// A strategy is known under this id from here on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StrategyRecord {
    /// Its id.
    pub strategy: StrategyId,
    /// The account it trades for.
    pub account: AccountId,
    /// Its name, ASCII, zero-padded.
    pub name: [u8; STRATEGY_NAME_BYTES],
    /// Gate time, ns.
    pub now_ns: u64,
}

impl StrategyRecord {
    /// The name as text.
    #[must_use]
    pub fn name(&self) -> &str {
        let len = self.name.iter().position(|b| *b == 0).unwrap_or(STRATEGY_NAME_BYTES);
        std::str::from_utf8(&self.name[..len]).unwrap_or("?")
    }
}

/// What a connection may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Role {
    /// Its own intents.
    Strategy = 1,
    /// Intents for any strategy, and control.
    Operator = 2,
    /// Market data.
    Feed = 3,
    /// Reports.
    Venue = 4,
    /// Nothing.
    Observer = 5,
}

impl Role {
    /// The role a number stands for.
    #[must_use]
    pub const fn from_wire(value: u64) -> Option<Self> {
        match value {
            1 => Some(Self::Strategy),
            2 => Some(Self::Operator),
            3 => Some(Self::Feed),
            4 => Some(Self::Venue),
            5 => Some(Self::Observer),
            _ => None,
        }
    }
}

/// A client came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttachRecord {
    /// Its role.
    pub role: Role,
    /// It left (or died, or was detached) instead of coming.
    pub detached: bool,
    /// Its strategy; 0 for roles without one.
    pub strategy: StrategyId,
    /// Gate time, ns.
    pub now_ns: u64,
    /// Counts attachments of this journal.
    pub client: u64,
    /// First 16 bytes of SHA-256 over the resume ticket: who presents the ticket may resume.
    pub ticket_digest: u128,
    /// The peer's process, as the kernel told it.
    pub pid: u32,
    /// The peer's user, as the kernel told it.
    pub uid: u32,
}

/// A limit takes this value from here on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitRecord {
    /// What it is set for.
    pub scope: Scope,
    /// The account, symbol or strategy; 0 for the whole gate.
    pub scope_id: u16,
    /// Which limit.
    pub limit: LimitId,
    /// Its value, in the limit's unit.
    pub value: i64,
    /// Gate time, ns.
    pub now_ns: u64,
    /// Version of the configuration it came with.
    pub config_version: u64,
}

/// What a control record does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlKind {
    /// Set the mode of a scope (global or strategy).
    SetMode(Mode),
}

/// An operator's act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlRecord {
    /// What is done.
    pub control: ControlKind,
    /// To what.
    pub scope: Scope,
    /// To which.
    pub scope_id: u16,
    /// Gate time, ns.
    pub now_ns: u64,
    /// The client that asked; 0 for the gate itself.
    pub client: u64,
}

/// The market as the gate's P&L sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkRecord {
    /// The symbol.
    pub symbol: SymbolId,
    /// Gate time, ns.
    pub now_ns: u64,
    /// Best bid, scaled; 0: none.
    pub bid_price: i64,
    /// Best ask, scaled; 0: none.
    pub ask_price: i64,
    /// Last trade, scaled; 0: none.
    pub last_price: i64,
    /// Number of the market event it was taken at.
    pub event: u64,
}

/// One decided intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecisionRecord {
    /// Who asked.
    pub strategy: StrategyId,
    /// For which account.
    pub account: AccountId,
    /// What was asked.
    pub intent: Intent,
    /// For whom an operator asked, if one did.
    pub ext: Option<OperatorExt>,
    /// The answer.
    pub outcome: Outcome,
    /// Its reason.
    pub reason: Reason,
    /// The limit that tripped.
    pub limit_id: LimitId,
    /// What the answer survives.
    pub tier: DurabilityTier,
    /// When it was decided, ns.
    pub now_ns: u64,
    /// Accepted: the order.
    pub order_id: OrderId,
    /// Rejected: the observed value.
    pub observed: i64,
    /// Rejected: the limit's value.
    pub limit: i64,
    /// The reference price that the collar used, scaled; 0: none.
    pub reference_price: i64,
    /// Its age, microseconds, saturating.
    pub reference_age_us: u32,
    /// Position of the intent in the client's ring.
    pub intent_position: u64,
}

/// The gate stopped in good order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseRecord {
    /// Gate time, ns.
    pub now_ns: u64,
    /// SHA-256 over the canonical state; what a replay must reach.
    pub state_hash: [u8; 32],
    /// Market events the venue consumed.
    pub market_events: u64,
}

/// One journal record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    clippy::large_enum_variant,
    reason = "the payload types carry the docs; records are transient"
)]
pub enum Record {
    Boot(BootRecord),
    Symbol { id: SymbolId, symbol: Symbol },
    Strategy(StrategyRecord),
    Attach(AttachRecord),
    Limit(LimitRecord),
    Control(ControlRecord),
    Mark(MarkRecord),
    Decision(DecisionRecord),
    Report(Report),
    Close(CloseRecord),
}

impl DecisionRecord {
    /// To the log. The hot path calls this directly.
    #[must_use]
    pub fn encode(&self) -> RecordWords {
        let len = if self.ext.is_some() { 3 } else { 2 };
        let rest = self.outcome as u64
            | (self.tier as u64) << 8
            | u64::from(self.strategy) << 16
            | (self.reason as u64) << 32;
        let mut record = RecordWords::new(DECISION, len, rest);
        let intent = self.intent.encode();
        let w = &mut record.words;
        w[0][1..7].copy_from_slice(&intent[0..6]);
        let (value, limit) = match self.outcome {
            Outcome::Accepted => (self.order_id, 0),
            Outcome::Rejected => (self.observed as u64, self.limit as u64),
        };
        w[1] = [
            intent[6],
            self.now_ns,
            value,
            limit,
            self.reference_price as u64,
            u64::from(self.reference_age_us) | (self.limit_id as u64) << 32 | u64::from(self.account) << 48,
            self.intent_position,
        ];
        if let Some(ext) = &self.ext {
            w[2] = ext.encode();
        }
        record
    }

    fn decode(s: &[Words]) -> Result<Self, RecordError> {
        let head = s[0][0] >> 16;
        let outcome = wire(Outcome::from_wire(bits(head, 0, 8)), "outcome", bits(head, 0, 8))?;
        let intent = Intent::decode(&[s[0][1], s[0][2], s[0][3], s[0][4], s[0][5], s[0][6], s[1][0]])?;
        let ext = match s.get(2) {
            Some(words) => Some(OperatorExt::decode(words)?),
            None => None,
        };
        if ext.is_some() != (intent.flags & intent_flags::OPERATOR != 0) {
            return Err(RecordError::BadLength { kind: DECISION, slots: s.len() as u8 });
        }
        let accepted = outcome == Outcome::Accepted;
        Ok(Self {
            strategy: bits(head, 16, 16) as u16,
            account: (s[1][5] >> 48) as u16,
            intent,
            ext,
            outcome,
            reason: wire(Reason::from_wire(bits(head, 32, 16)), "reason", bits(head, 32, 16))?,
            limit_id: wire(LimitId::from_wire(bits(s[1][5], 32, 16)), "limit_id", bits(s[1][5], 32, 16))?,
            tier: wire(DurabilityTier::from_wire(bits(head, 8, 8)), "tier", bits(head, 8, 8))?,
            now_ns: s[1][1],
            order_id: if accepted { s[1][2] } else { 0 },
            observed: if accepted { 0 } else { s[1][2] as i64 },
            limit: if accepted { 0 } else { s[1][3] as i64 },
            reference_price: s[1][4] as i64,
            reference_age_us: s[1][5] as u32,
            intent_position: s[1][6],
        })
    }
}

/// To the log: what is not a fill fits one slot. The hot path calls this directly.
#[must_use]
pub fn encode_report(report: &Report) -> RecordWords {
    let long = (report.last_qty | report.last_price | report.fee_e8) != 0
        || (report.trade_id | report.venue_ts_ns) != 0;
    let flags = report.side as u64
        | u64::from(report.maker) << 1
        | u64::from(report.late) << 2
        | u64::from(report.reentered) << 3;
    let rest =
        report.state as u64 | flags << 8 | (report.reason as u64) << 16 | u64::from(report.symbol) << 32;
    let mut record = RecordWords::new(REPORT, if long { 2 } else { 1 }, rest);
    record.words[0][1..].copy_from_slice(&[
        report.order_id,
        report.cum_qty as u64,
        report.leaves_qty as u64,
        report.ts_ns,
        report.key_low,
        report.kind as u64 | u64::from(report.strategy) << 16 | u64::from(report.account) << 32,
    ]);
    record.words[1][..5].copy_from_slice(&[
        report.last_qty as u64,
        report.last_price as u64,
        report.trade_id,
        report.fee_e8 as u64,
        report.venue_ts_ns,
    ]);
    record
}

fn decode_report(slots: &[Words]) -> Result<Report, RecordError> {
    let (head, rest) = (&slots[0], slots[0][0] >> 16);
    let fill = slots.get(1).copied().unwrap_or_default();
    if bits(rest, 12, 4) != 0 || bits(head[6], 8, 8) != 0 || head[6] >> 48 != 0 || (fill[5] | fill[6]) != 0 {
        return Err(DecodeError::Reserved(0).into());
    }
    Ok(Report {
        kind: wire(ReportKind::from_wire(bits(head[6], 0, 8)), "report", bits(head[6], 0, 8))?,
        state: wire(OrderState::from_wire(bits(rest, 0, 8)), "state", bits(rest, 0, 8))?,
        side: if bits(rest, 8, 1) == 1 { Side::Sell } else { Side::Buy },
        maker: bits(rest, 9, 1) == 1,
        late: bits(rest, 10, 1) == 1,
        reentered: bits(rest, 11, 1) == 1,
        reason: wire(Reason::from_wire(bits(rest, 16, 16)), "reason", bits(rest, 16, 16))?,
        symbol: (rest >> 32) as u16,
        journal_seq: 0,
        order_id: head[1],
        cum_qty: head[2] as i64,
        leaves_qty: head[3] as i64,
        ts_ns: head[4],
        key_low: head[5],
        strategy: bits(head[6], 16, 16) as u16,
        account: bits(head[6], 32, 16) as u16,
        last_qty: fill[0] as i64,
        last_price: fill[1] as i64,
        trade_id: fill[2],
        fee_e8: fill[3] as i64,
        venue_ts_ns: fill[4],
    })
}

fn wire<T>(value: Option<T>, field: &'static str, found: u64) -> Result<T, RecordError> {
    value.ok_or(RecordError::Field(DecodeError::BadEnum { field, value: found }))
}

fn pack_text(text: &[u8], words: &mut [u64]) {
    for (i, byte) in text.iter().enumerate() {
        words[i / 8] |= u64::from(*byte) << (i % 8 * 8);
    }
}

fn unpack_text<const N: usize>(words: &[u64]) -> [u8; N] {
    std::array::from_fn(|i| (words[i / 8] >> (i % 8 * 8)) as u8)
}

impl Record {
    /// To the log.
    #[must_use]
    pub fn encode(&self) -> RecordWords {
        match self {
            Self::Decision(decision) => decision.encode(),
            Self::Report(report) => encode_report(report),
            Self::Boot(boot) => {
                let mut record = RecordWords::new(BOOT, 2, u64::from(boot.lockstep));
                record.words[0][1..5].copy_from_slice(&[
                    u64::from(boot.epoch),
                    boot.hash_seed,
                    boot.now_ns,
                    boot.layout_hash,
                ]);
                pack_text(&boot.build_id, &mut record.words[1]);
                record
            }
            Self::Symbol { id, symbol } => {
                let rest =
                    u64::from(*id) | u64::from(symbol.price_scale) << 16 | u64::from(symbol.qty_scale) << 24;
                let mut record = RecordWords::new(SYMBOL, 1, rest);
                let w = &mut record.words[0];
                pack_text(&symbol.name, &mut w[1..3]);
                w[3] = symbol.tick as u64;
                w[4] = symbol.lot as u64;
                w[5] = u64::from(symbol.contract_multiplier);
                record
            }
            Self::Strategy(s) => {
                let mut record =
                    RecordWords::new(STRATEGY, 1, u64::from(s.strategy) | u64::from(s.account) << 16);
                pack_text(&s.name, &mut record.words[0][1..4]);
                record.words[0][4] = s.now_ns;
                record
            }
            Self::Attach(a) => {
                let rest = a.role as u64 | u64::from(a.detached) << 8 | u64::from(a.strategy) << 16;
                let mut record = RecordWords::new(ATTACH, 1, rest);
                record.words[0][1..6].copy_from_slice(&[
                    a.now_ns,
                    a.client,
                    a.ticket_digest as u64,
                    (a.ticket_digest >> 64) as u64,
                    u64::from(a.pid) | u64::from(a.uid) << 32,
                ]);
                record
            }
            Self::Limit(l) => {
                let rest = l.scope as u64 | u64::from(l.scope_id) << 16 | (l.limit as u64) << 32;
                let mut record = RecordWords::new(LIMIT, 1, rest);
                record.words[0][1..4].copy_from_slice(&[l.value as u64, l.now_ns, l.config_version]);
                record
            }
            Self::Control(c) => {
                let ControlKind::SetMode(mode) = c.control;
                let rest = 1 | (c.scope as u64) << 16 | u64::from(c.scope_id) << 32;
                let mut record = RecordWords::new(CONTROL, 1, rest);
                record.words[0][1..4].copy_from_slice(&[mode as u64, c.now_ns, c.client]);
                record
            }
            Self::Mark(m) => {
                let mut record = RecordWords::new(MARK, 1, u64::from(m.symbol) << 16);
                record.words[0][1..6].copy_from_slice(&[
                    m.now_ns,
                    m.bid_price as u64,
                    m.ask_price as u64,
                    m.last_price as u64,
                    m.event,
                ]);
                record
            }
            Self::Close(c) => {
                let mut record = RecordWords::new(CLOSE, 1, 0);
                record.words[0][1] = c.now_ns;
                pack_text(&c.state_hash, &mut record.words[0][2..6]);
                record.words[0][6] = c.market_events;
                record
            }
        }
    }

    /// How many slots the record that starts with `first` takes, before the rest of it is read.
    ///
    /// # Errors
    /// [`RecordError`] when `first` starts no record.
    pub fn slots_of(first: &Words) -> Result<usize, RecordError> {
        let (kind, slots) = (first[0] as u8, (first[0] >> 8) as u8);
        let legal: &[u8] = match kind {
            SYMBOL | STRATEGY | ATTACH | LIMIT | CONTROL | MARK | CLOSE => &[1],
            BOOT => &[2],
            DECISION => &[2, 3],
            REPORT => &[1, 2],
            _ => return Err(RecordError::UnknownKind(kind)),
        };
        if legal.contains(&slots) {
            Ok(usize::from(slots))
        } else {
            Err(RecordError::BadLength { kind, slots })
        }
    }

    /// From the log; `slots` is exactly what [`Record::slots_of`] said.
    ///
    /// # Errors
    /// [`RecordError`] when the words are not what a writer of this version writes.
    pub fn decode(slots: &[Words]) -> Result<Self, RecordError> {
        let first = slots.first().ok_or(RecordError::BadLength { kind: 0, slots: 0 })?;
        let kind = first[0] as u8;
        if Self::slots_of(first)? != slots.len() {
            return Err(RecordError::BadLength { kind, slots: slots.len() as u8 });
        }
        let rest = first[0] >> 16;
        let w = first;
        Ok(match kind {
            BOOT => Self::Boot(BootRecord {
                epoch: w[1] as u16,
                hash_seed: w[2],
                now_ns: w[3],
                layout_hash: w[4],
                lockstep: rest & 1 == 1,
                build_id: unpack_text(&slots[1]),
            }),
            SYMBOL => {
                let symbol = Symbol {
                    name: unpack_text::<SYMBOL_NAME_BYTES>(&w[1..3]),
                    price_scale: bits(rest, 16, 8) as u8,
                    qty_scale: bits(rest, 24, 8) as u8,
                    tick: w[3] as i64,
                    lot: w[4] as i64,
                    contract_multiplier: w[5] as u32,
                };
                let symbol = symbol.checked().map_err(|_| DecodeError::BadText("symbol"))?;
                Self::Symbol { id: rest as u16, symbol }
            }
            STRATEGY => Self::Strategy(StrategyRecord {
                strategy: rest as u16,
                account: bits(rest, 16, 16) as u16,
                name: unpack_text(&w[1..4]),
                now_ns: w[4],
            }),
            ATTACH => Self::Attach(AttachRecord {
                role: wire(Role::from_wire(bits(rest, 0, 8)), "role", bits(rest, 0, 8))?,
                detached: bits(rest, 8, 8) != 0,
                strategy: bits(rest, 16, 16) as u16,
                now_ns: w[1],
                client: w[2],
                ticket_digest: u128::from(w[3]) | u128::from(w[4]) << 64,
                pid: w[5] as u32,
                uid: (w[5] >> 32) as u32,
            }),
            LIMIT => Self::Limit(LimitRecord {
                scope: wire(Scope::from_wire(bits(rest, 0, 16)), "scope", bits(rest, 0, 16))?,
                scope_id: bits(rest, 16, 16) as u16,
                limit: wire(LimitId::from_wire(bits(rest, 32, 16)), "limit_id", bits(rest, 32, 16))?,
                value: w[1] as i64,
                now_ns: w[2],
                config_version: w[3],
            }),
            CONTROL => {
                if bits(rest, 0, 16) != 1 {
                    return Err(DecodeError::BadEnum { field: "control", value: bits(rest, 0, 16) }.into());
                }
                Self::Control(ControlRecord {
                    control: ControlKind::SetMode(wire(Mode::from_wire(w[1]), "mode", w[1])?),
                    scope: wire(Scope::from_wire(bits(rest, 16, 16)), "scope", bits(rest, 16, 16))?,
                    scope_id: bits(rest, 32, 16) as u16,
                    now_ns: w[2],
                    client: w[3],
                })
            }
            MARK => Self::Mark(MarkRecord {
                symbol: bits(rest, 16, 16) as u16,
                now_ns: w[1],
                bid_price: w[2] as i64,
                ask_price: w[3] as i64,
                last_price: w[4] as i64,
                event: w[5],
            }),
            DECISION => Self::Decision(DecisionRecord::decode(slots)?),
            REPORT => Self::Report(decode_report(slots)?),
            CLOSE => Self::Close(CloseRecord {
                now_ns: w[1],
                state_hash: unpack_text(&w[2..6]),
                market_events: w[6],
            }),
            other => return Err(RecordError::UnknownKind(other)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Record> {
        let mut operator = Intent::limit(2, Side::Sell, 61_000_00, 500, 77, 1_000);
        operator.flags = intent_flags::OPERATOR;
        let decision = DecisionRecord {
            strategy: 3,
            account: 9,
            intent: Intent::limit(2, Side::Buy, 61_000_00, 500, 78, 1_000),
            ext: None,
            outcome: Outcome::Rejected,
            reason: Reason::PriceCollar,
            limit_id: LimitId::PriceCollarBps,
            tier: DurabilityTier::Process,
            now_ns: 2_000,
            order_id: 0,
            observed: -300,
            limit: 250,
            reference_price: 60_000_00,
            reference_age_us: 12,
            intent_position: 4,
        };
        vec![
            Record::Boot(BootRecord {
                epoch: 2,
                hash_seed: u64::MAX,
                now_ns: 5,
                layout_hash: 6,
                lockstep: true,
                build_id: *b"ringfence 0.1.0-test....................",
            }),
            Record::Symbol { id: 4, symbol: Symbol::new("BTCUSDT", 2, 5, 1, 1).unwrap() },
            Record::Strategy(StrategyRecord {
                strategy: 1,
                account: 2,
                name: *b"momentum-2026-11-20-long",
                now_ns: 3,
            }),
            Record::Attach(AttachRecord {
                role: Role::Feed,
                detached: true,
                strategy: 7,
                now_ns: 1,
                client: 8,
                ticket_digest: u128::MAX - 5,
                pid: 10,
                uid: 11,
            }),
            Record::Limit(LimitRecord {
                scope: Scope::Strategy,
                scope_id: 65_535,
                limit: LimitId::MaxGrossNotionalE8,
                value: -1,
                now_ns: 2,
                config_version: 3,
            }),
            Record::Control(ControlRecord {
                control: ControlKind::SetMode(Mode::Killed),
                scope: Scope::Global,
                scope_id: 0,
                now_ns: 9,
                client: 1,
            }),
            Record::Mark(MarkRecord {
                symbol: 1,
                now_ns: 2,
                bid_price: 3,
                ask_price: 4,
                last_price: 5,
                event: 6,
            }),
            Record::Decision(decision),
            Record::Decision(DecisionRecord {
                intent: operator,
                ext: Some(OperatorExt::new(3, 9, "web-1", 5).unwrap()),
                outcome: Outcome::Accepted,
                reason: Reason::Ok,
                limit_id: LimitId::None,
                order_id: 1 << 48 | 5,
                observed: 0,
                limit: 0,
                ..decision
            }),
            Record::Report(Report {
                kind: ReportKind::Fill,
                state: OrderState::PartiallyFilled,
                side: Side::Sell,
                maker: true,
                late: false,
                reentered: true,
                reason: Reason::Ok,
                symbol: 2,
                journal_seq: 0,
                order_id: 1 << 48 | 5,
                last_qty: 100,
                last_price: 61_000_00,
                cum_qty: 100,
                ts_ns: 3,
                trade_id: 4,
                fee_e8: -5,
                leaves_qty: 400,
                key_low: 77,
                venue_ts_ns: 6,
                strategy: 3,
                account: 9,
            }),
            Record::Report(Report {
                kind: ReportKind::Expired,
                state: OrderState::Expired,
                side: Side::Buy,
                maker: false,
                late: true,
                reentered: false,
                reason: Reason::NoLiquidity,
                symbol: 2,
                journal_seq: 0,
                order_id: 1 << 48 | 6,
                last_qty: 0,
                last_price: 0,
                cum_qty: 0,
                ts_ns: 3,
                trade_id: 0,
                fee_e8: 0,
                leaves_qty: 0,
                key_low: 78,
                venue_ts_ns: 0,
                strategy: 3,
                account: 9,
            }),
            Record::Close(CloseRecord { now_ns: 1, state_hash: [0xa5; 32], market_events: 41_249 }),
        ]
    }

    #[test]
    fn every_record_survives_the_log() {
        for record in samples() {
            let words = record.encode();
            assert_eq!(Record::slots_of(&words.slots()[0]), Ok(words.slots().len()));
            assert_eq!(Record::decode(words.slots()), Ok(record));
        }
    }

    #[test]
    fn a_record_cut_short_is_an_error_not_a_panic() {
        for record in samples() {
            let words = record.encode();
            assert!(Record::decode(&words.slots()[..words.slots().len() - 1]).is_err());
        }
        assert_eq!(Record::slots_of(&[0; 7]), Err(RecordError::UnknownKind(0)));
    }
}
