//! Records to words and back. Decoding is checked: a record from disk is input.

use super::control::ControlRecord;
use super::types::*;
use crate::msg::{
    AccountId, DecodeError, DurabilityTier, Intent, OperatorExt, OrderState, Outcome, Report, ReportKind,
    Side, StrategyId, Words, bits, intent_flags,
};
use crate::reason::{LimitId, Reason, Scope};
use crate::symbol::{SYMBOL_NAME_BYTES, Symbol};

/// The most slots one record takes.
pub const MAX_RECORD_SLOTS: usize = 3;

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
const CAPACITY: u8 = 11;
const CONFIG: u8 = 12;
const STRAY: u8 = 13;

/// A record on its way to the log: its slots' payloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordWords {
    pub(super) words: [Words; MAX_RECORD_SLOTS],
    len: u8,
}

const fn first_word(kind: u8, len: u8, rest: u64) -> u64 {
    kind as u64 | (len as u64) << 8 | rest << 16
}

impl RecordWords {
    pub(super) fn new(kind: u8, len: u8, rest: u64) -> Self {
        let mut words = [[0; 7]; MAX_RECORD_SLOTS];
        words[0][0] = first_word(kind, len, rest);
        Self { words, len }
    }

    /// The payloads, in order.
    #[must_use]
    pub fn slots(&self) -> &[Words] {
        &self.words[..usize::from(self.len)]
    }
}

/// What a decision record says beside its intent: the order gate fills it in and writes [`DecisionHead::slots`] straight
/// into the log, without a [`DecisionRecord`] between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecisionHead {
    /// As in [`DecisionRecord`].
    pub strategy: StrategyId,
    /// As in [`DecisionRecord`].
    pub account: AccountId,
    /// The operator's extension follows as a third slot.
    pub extended: bool,
    /// As in [`DecisionRecord`].
    pub outcome: Outcome,
    /// As in [`DecisionRecord`].
    pub reason: Reason,
    /// As in [`DecisionRecord`].
    pub limit_id: LimitId,
    /// As in [`DecisionRecord`].
    pub tier: DurabilityTier,
    /// As in [`DecisionRecord`].
    pub now_ns: u64,
    /// Accepted: the order id. Rejected: the observed value.
    pub value: u64,
    /// Rejected: the limit's value; otherwise 0.
    pub limit: i64,
    /// As in [`DecisionRecord`].
    pub reference_price: i64,
    /// As in [`DecisionRecord`].
    pub reference_age_us: u32,
    /// As in [`DecisionRecord`].
    pub intent_position: u64,
}

impl DecisionHead {
    /// The record's first two slots, around the words of an intent that decodes.
    #[inline(always)]
    #[must_use]
    pub const fn slots(&self, intent: &Words) -> [Words; 2] {
        let len = if self.extended { 3 } else { 2 };
        let rest = self.outcome as u64
            | (self.tier as u64) << 8
            | (self.strategy as u64) << 16
            | (self.reason as u64) << 32;
        let [header, key_low, key_high, price, qty, client_ts_ns, ttl_or_target] = *intent;
        [
            [first_word(DECISION, len, rest), header, key_low, key_high, price, qty, client_ts_ns],
            [
                ttl_or_target,
                self.now_ns,
                self.value,
                self.limit as u64,
                self.reference_price as u64,
                self.reference_age_us as u64 | (self.limit_id as u64) << 32 | (self.account as u64) << 48,
                self.intent_position,
            ],
        ]
    }
}

impl DecisionRecord {
    /// To the log.
    #[must_use]
    pub fn encode(&self) -> RecordWords {
        let (value, limit) = match self.outcome {
            Outcome::Accepted => (self.order_id, 0),
            Outcome::Rejected => (self.observed as u64, self.limit),
        };
        let head = DecisionHead {
            strategy: self.strategy,
            account: self.account,
            extended: self.ext.is_some(),
            outcome: self.outcome,
            reason: self.reason,
            limit_id: self.limit_id,
            tier: self.tier,
            now_ns: self.now_ns,
            value,
            limit,
            reference_price: self.reference_price,
            reference_age_us: self.reference_age_us,
            intent_position: self.intent_position,
        };
        let [first, second] = head.slots(&self.intent.encode());
        let ext = self.ext.as_ref().map_or([0; 7], OperatorExt::encode);
        RecordWords { words: [first, second, ext], len: if self.ext.is_some() { 3 } else { 2 } }
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

/// A report on its way to the log: what is not a fill fits one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportSlots {
    /// Without numbers of a fill.
    Short([Words; 1]),
    /// With them.
    Long([Words; 2]),
}

/// To the log.
#[inline(always)]
#[must_use]
pub const fn report_slots(report: &Report) -> ReportSlots {
    let long = (report.last_qty | report.last_price | report.fee_e8) != 0
        || (report.trade_id | report.venue_ts_ns) != 0;
    let flags = report.side as u64
        | (report.maker as u64) << 1
        | (report.late as u64) << 2
        | (report.reentered as u64) << 3;
    let rest = report.state as u64 | flags << 8 | (report.reason as u64) << 16 | (report.symbol as u64) << 32;
    let head = [
        first_word(REPORT, if long { 2 } else { 1 }, rest),
        report.order_id,
        report.cum_qty as u64,
        report.leaves_qty as u64,
        report.ts_ns,
        report.key_low,
        report.kind as u64 | (report.strategy as u64) << 16 | (report.account as u64) << 32,
    ];
    if long {
        let fill = [
            report.last_qty as u64,
            report.last_price as u64,
            report.trade_id,
            report.fee_e8 as u64,
            report.venue_ts_ns,
            0,
            0,
        ];
        ReportSlots::Long([head, fill])
    } else {
        ReportSlots::Short([head])
    }
}

fn encode_report(report: &Report) -> RecordWords {
    match report_slots(report) {
        ReportSlots::Short([head]) => RecordWords { words: [head, [0; 7], [0; 7]], len: 1 },
        ReportSlots::Long([head, fill]) => RecordWords { words: [head, fill, [0; 7]], len: 2 },
    }
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

pub(super) fn wire<T>(value: Option<T>, field: &'static str, found: u64) -> Result<T, RecordError> {
    value.ok_or(RecordError::Field(DecodeError::BadEnum { field, value: found }))
}

fn narrow(value: u64, field: &'static str) -> Result<u32, RecordError> {
    wire(u32::try_from(value).ok(), field, value)
}

pub(super) fn pack_text(text: &[u8], words: &mut [u64]) {
    for (i, byte) in text.iter().enumerate() {
        words[i / 8] |= u64::from(*byte) << (i % 8 * 8);
    }
}

pub(super) fn unpack_text<const N: usize>(words: &[u64]) -> [u8; N] {
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
            Self::Control(c) => c.encode(CONTROL),
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
            Self::Config(c) => {
                let mut record = RecordWords::new(CONFIG, 1, c.origin as u64 | u64::from(c.changes) << 16);
                record.words[0][1..6].copy_from_slice(&[
                    c.version,
                    c.now_ns,
                    c.client,
                    c.digest as u64,
                    (c.digest >> 64) as u64,
                ]);
                record
            }
            Self::Stray(s) => {
                let mut record = RecordWords::new(STRAY, 2, s.side as u64 | u64::from(s.symbol) << 16);
                record.words[0][1..].copy_from_slice(&[
                    s.order_id,
                    s.cum_qty as u64,
                    s.qty as u64,
                    s.price as u64,
                    s.now_ns,
                    s.key_low,
                ]);
                record.words[1][..3].copy_from_slice(&[s.trade_id, s.fee_e8 as u64, s.venue_ts_ns]);
                record
            }
            Self::Capacity(c) => {
                let ids = u64::from(c.max_symbols) | u64::from(c.max_strategies) << 16;
                let mut record = RecordWords::new(CAPACITY, 1, ids | u64::from(c.max_accounts) << 32);
                record.words[0][1..4].copy_from_slice(&[
                    u64::from(c.order_slots),
                    u64::from(c.max_positions),
                    c.now_ns,
                ]);
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
            SYMBOL | STRATEGY | ATTACH | LIMIT | MARK | CLOSE | CAPACITY | CONFIG => &[1],
            BOOT | STRAY => &[2],
            DECISION => &[2, 3],
            REPORT | CONTROL => &[1, 2],
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
        let record = match kind {
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
            CONTROL => Self::Control(ControlRecord::decode(slots)?),
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
            CONFIG => Self::Config(ConfigRecord {
                origin: wire(ConfigOrigin::from_wire(bits(rest, 0, 16)), "origin", bits(rest, 0, 16))?,
                changes: bits(rest, 16, 16) as u16,
                version: w[1],
                now_ns: w[2],
                client: w[3],
                digest: u128::from(w[4]) | u128::from(w[5]) << 64,
            }),
            STRAY => Self::Stray(StrayRecord {
                order_id: w[1],
                symbol: bits(rest, 16, 16) as u16,
                side: wire(Side::from_wire(bits(rest, 0, 16)), "side", bits(rest, 0, 16))?,
                qty: w[3] as i64,
                price: w[4] as i64,
                cum_qty: w[2] as i64,
                trade_id: slots[1][0],
                fee_e8: slots[1][1] as i64,
                key_low: w[6],
                venue_ts_ns: slots[1][2],
                now_ns: w[5],
            }),
            CAPACITY => Self::Capacity(CapacityRecord {
                order_slots: narrow(w[1], "order_slots")?,
                max_positions: narrow(w[2], "max_positions")?,
                max_symbols: rest as u16,
                max_strategies: bits(rest, 16, 16) as u16,
                max_accounts: bits(rest, 32, 16) as u16,
                now_ns: w[3],
            }),
            other => return Err(RecordError::UnknownKind(other)),
        };
        // The rare ones are compared with what a writer writes; the frequent two check their own reserved bits.
        let checked = matches!(kind, DECISION | REPORT) || record.encode().slots() == slots;
        if checked { Ok(record) } else { Err(DecodeError::Reserved(0).into()) }
    }
}
