//! A gate in memory: decides by three rules, remembers keys, and writes its journal to a channel.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use ringfence_ipc::handshake::{ControlDone, ControlRefusal, ControlRequest};
use ringfence_ipc::journal::{
    ConfigOrigin, ConfigRecord, ControlKind, ControlRecord, DecisionRecord, LimitRecord, Record,
};
use ringfence_ipc::msg::{
    Decision, DurabilityTier, Intent, IntentKind, OperatorExt, OrderState, Outcome, Report, ReportKind, Tif,
    intent_flags,
};
use ringfence_ipc::reason::{CancelCause, LimitId, Mode, Reason, Scope, StormCause, StormState};
use ringfence_shell::gateway::pump::{ControlFailure, GateLink, LinkError, LinkEvent, LinkRefusal};

/// Orders of more than this are refused by the gate in memory.
const MAX_QTY: i64 = 1_000_000;

/// What tests change while the gate runs.
#[derive(Default)]
pub struct Switches {
    /// The gate dies at the next poll and comes back when this is false again.
    pub dead: AtomicBool,
    /// The gate takes intents and says nothing.
    pub mute: AtomicBool,
    /// How many more times the ring is full.
    pub full: AtomicU64,
    /// The reason that every order is refused with; 0: none.
    pub refuse: AtomicU64,
}

/// Decides by three rules, remembers keys, and writes its journal to a channel.
pub struct MemoryGate {
    journal: mpsc::Sender<(u64, Record)>,
    switches: Arc<Switches>,
    events: VecDeque<LinkEvent>,
    known: HashMap<(u16, u128), (Intent, Decision)>,
    orders: HashMap<u64, (Intent, OperatorExt)>,
    position: u64,
    submitted: u64,
    lost: bool,
    killed: bool,
    version: u64,
}

impl MemoryGate {
    /// Knows open orders alone.
    fn limit(
        &mut self,
        (scope, scope_id): (Scope, u16),
        limit: &str,
        value: &str,
    ) -> Result<ControlDone, ControlFailure> {
        if limit != "max_open_orders" {
            return Err(ControlFailure::Config(format!("unknown key `{limit}`")));
        }
        let value =
            value.parse().map_err(|_| ControlFailure::Config(format!("`{limit}` must be a whole number")))?;
        self.version += 1;
        let (version, journal_seq, origin) = (self.version, self.position, ConfigOrigin::Operator);
        self.write(
            1,
            Record::Config(ConfigRecord { origin, changes: 1, version, now_ns: 1, client: 1, digest: 0 }),
        );
        let limit = LimitId::MaxOpenOrders;
        self.write(
            1,
            Record::Limit(LimitRecord { scope, scope_id, limit, value, now_ns: 1, config_version: version }),
        );
        Ok(ControlDone { journal_seq, cancelling: 0 })
    }

    pub fn new(journal: mpsc::Sender<(u64, Record)>, switches: Arc<Switches>) -> Self {
        Self {
            journal,
            switches,
            events: VecDeque::new(),
            known: HashMap::new(),
            orders: HashMap::new(),
            position: 10,
            submitted: 0,
            lost: false,
            killed: false,
            version: 0,
        }
    }

    fn decide(&self, intent: &Intent) -> (Decision, bool) {
        let seq = self.position;
        let refused =
            |reason, limit_id, observed, limit| (Outcome::Rejected, reason, limit_id, 0, observed, limit);
        let switch = Reason::from_wire(self.switches.refuse.load(Ordering::Relaxed)).unwrap_or(Reason::Ok);
        let target = intent.ttl_ns_or_target;
        let (outcome, reason, limit_id, order_id, observed, limit) = match intent.kind {
            IntentKind::New if switch != Reason::Ok => refused(switch, LimitId::None, 0, 0),
            IntentKind::New if intent.qty > MAX_QTY => {
                refused(Reason::MaxOrderQty, LimitId::MaxOrderQty, intent.qty, MAX_QTY)
            }
            IntentKind::New => (Outcome::Accepted, Reason::Ok, LimitId::None, 1 << 48 | seq, 0, 0),
            IntentKind::Cancel if !self.orders.contains_key(&target) => {
                refused(Reason::OrderTerminal, LimitId::None, 0, 0)
            }
            _ => (Outcome::Accepted, Reason::Ok, LimitId::None, target, 0, 0),
        };
        let decision = Decision {
            outcome,
            reason,
            limit_id,
            duplicate: false,
            tier: DurabilityTier::Process,
            intent_position: self.submitted,
            journal_seq: if reason.is_transient() { 0 } else { seq },
            decided_at_ns: intent.client_ts_ns + 700,
            key_low: intent.key as u64,
            order_id,
            observed,
            limit,
        };
        (decision, !reason.is_transient())
    }

    fn record(&mut self, decision: &Decision, intent: &Intent, ext: &OperatorExt) {
        let mut intent = *intent;
        intent.flags |= intent_flags::OPERATOR;
        self.write(
            3,
            Record::Decision(DecisionRecord {
                strategy: ext.strategy,
                account: ext.account,
                intent,
                ext: Some(*ext),
                outcome: decision.outcome,
                reason: decision.reason,
                limit_id: decision.limit_id,
                tier: decision.tier,
                now_ns: decision.decided_at_ns,
                order_id: decision.order_id,
                observed: decision.observed,
                limit: decision.limit,
                reference_price: 0,
                reference_age_us: 0,
                intent_position: decision.intent_position,
            }),
        );
    }

    fn write(&mut self, slots: u64, record: Record) {
        let _ = self.journal.send((self.position, record));
        self.position += slots;
    }

    /// The venue in memory: orders rest, IOC orders fill at once, cancels cancel.
    fn venue(&mut self, intent: &Intent, ext: &OperatorExt, order_id: u64) {
        match intent.kind {
            IntentKind::New if intent.tif == Tif::Ioc => {
                let price = if intent.price > 0 { intent.price } else { 6_100_000 };
                self.report(intent, ext, order_id, ReportKind::Fill, OrderState::Filled, (intent.qty, price));
            }
            IntentKind::New => {
                self.orders.insert(order_id, (*intent, *ext));
                self.report(intent, ext, order_id, ReportKind::Accepted, OrderState::Accepted, (0, 0));
            }
            IntentKind::Cancel => {
                if let Some((intent, ext)) = self.orders.remove(&order_id) {
                    self.report(
                        &intent,
                        &ext,
                        order_id,
                        ReportKind::Cancelled,
                        OrderState::Cancelled,
                        (0, 0),
                    );
                }
            }
            _ => {}
        }
    }

    fn report(
        &mut self,
        intent: &Intent,
        ext: &OperatorExt,
        order_id: u64,
        kind: ReportKind,
        state: OrderState,
        last: (i64, i64),
    ) {
        let leaves_qty = if state.is_terminal() { 0 } else { intent.qty - last.0 };
        self.write(
            if last.0 > 0 { 2 } else { 1 },
            Record::Report(Report {
                kind,
                state,
                side: intent.side,
                maker: false,
                late: false,
                reentered: false,
                reason: Reason::Ok,
                symbol: intent.symbol,
                journal_seq: 0,
                order_id,
                last_qty: last.0,
                last_price: last.1,
                cum_qty: last.0,
                ts_ns: 5_000,
                trade_id: self.position,
                fee_e8: 1_000_000,
                leaves_qty,
                key_low: 0,
                venue_ts_ns: 5_000,
                strategy: ext.strategy,
                account: ext.account,
            }),
        );
    }
}

impl MemoryGate {
    /// As the gate admits them: a kill ends with a re-arm that says why.
    fn admit(&mut self, request: &ControlRequest) -> Result<ControlRecord, ControlRefusal> {
        let cancel = |symbol| ControlKind::CancelOrders { symbol, cause: CancelCause::Operator };
        let (control, scope, scope_id, note) = match *request {
            ControlRequest::SetMode { mode, .. } if self.killed && mode != Mode::Killed => {
                return Err(ControlRefusal::Killed);
            }
            ControlRequest::SetMode { scope, scope_id, mode, note, .. } => {
                self.killed = mode == Mode::Killed;
                (ControlKind::SetMode(mode), scope, scope_id, note)
            }
            ControlRequest::Rearm { .. } if !self.killed => return Err(ControlRefusal::NothingToRearm),
            ControlRequest::Rearm { note, .. } if note.is_blank() => {
                return Err(ControlRefusal::NoteRequired);
            }
            ControlRequest::Rearm { scope, scope_id, note } => {
                self.killed = false;
                (ControlKind::Rearm { pnl_e8: 0 }, scope, scope_id, note)
            }
            ControlRequest::Halt { note, .. } => {
                let (state, cause) = (StormState::Halt, StormCause::Operator);
                let control = ControlKind::Storm { state, cause, observed: 0, threshold: 0 };
                (control, Scope::Global, 0, note)
            }
            ControlRequest::CancelOrders { scope, scope_id, symbol, note } => {
                (cancel(symbol), scope, scope_id, note)
            }
            ControlRequest::SetLimit { .. } | ControlRequest::Reload => {
                panic!("limits are no control records")
            }
            ControlRequest::Stop | ControlRequest::Reconcile { .. } => {
                panic!("nobody stops the gate in memory, and it has no venue to ask")
            }
        };
        Ok(ControlRecord { control, scope, scope_id, now_ns: 6_000, client: 1, note })
    }
}

impl GateLink for MemoryGate {
    fn control(&mut self, request: ControlRequest) -> Result<ControlDone, ControlFailure> {
        match request {
            ControlRequest::SetLimit { scope, scope_id, limit, value } => {
                return self.limit((scope, scope_id), limit.text(), value.text());
            }
            ControlRequest::Reload => return Err(ControlFailure::Config("no file here".into())),
            _ => {}
        }
        let record = self.admit(&request)?;
        let journal_seq = self.position;
        self.write(if record.note.is_blank() { 1 } else { 2 }, Record::Control(record));
        let only = match record.control {
            ControlKind::CancelOrders { symbol, .. } => symbol,
            _ => return Ok(ControlDone { journal_seq, cancelling: 0 }),
        };
        let concerned = |intent: &Intent| only.is_none_or(|symbol| symbol == intent.symbol);
        let (gone, kept): (HashMap<_, _>, HashMap<_, _>) =
            std::mem::take(&mut self.orders).into_iter().partition(|(_, (intent, _))| concerned(intent));
        self.orders = kept;
        for (order_id, (intent, ext)) in &gone {
            let (kind, state) = (ReportKind::Cancelled, OrderState::Cancelled);
            self.report(intent, ext, *order_id, kind, state, (0, 0));
        }
        Ok(ControlDone { journal_seq, cancelling: gone.len() as u32 })
    }

    fn submit_for(&mut self, intent: &Intent, ext: &OperatorExt) -> Result<u64, LinkRefusal> {
        if self.switches.full.load(Ordering::Relaxed) > 0 {
            self.switches.full.fetch_sub(1, Ordering::Relaxed);
            return Err(LinkRefusal::Full);
        }
        self.submitted += 1;
        if self.switches.mute.load(Ordering::Relaxed) {
            return Ok(self.submitted);
        }
        let key = (ext.strategy, intent.key);
        let same = |a: &Intent| {
            (a.side, a.symbol, a.price, a.qty) == (intent.side, intent.symbol, intent.price, intent.qty)
        };
        let decision = match self.known.get(&key) {
            Some((first, decision)) if same(first) => {
                Decision { duplicate: true, intent_position: self.submitted, ..*decision }
            }
            Some((_, decision)) => Decision {
                outcome: Outcome::Rejected,
                reason: Reason::IdempotencyConflict,
                intent_position: self.submitted,
                ..*decision
            },
            None => {
                let (decision, stored) = self.decide(intent);
                if stored {
                    self.known.insert(key, (*intent, decision));
                    self.record(&decision, intent, ext);
                }
                if decision.outcome == Outcome::Accepted {
                    self.venue(intent, ext, decision.order_id);
                }
                decision
            }
        };
        self.events.push_back(LinkEvent::Decision(decision));
        Ok(self.submitted)
    }

    fn poll(&mut self) -> Option<LinkEvent> {
        if self.switches.dead.load(Ordering::Relaxed) && !self.lost {
            self.lost = true;
            return Some(LinkEvent::Lost);
        }
        self.events.pop_front()
    }

    fn reattach(&mut self, _: Duration) -> Result<(), LinkError> {
        if self.switches.dead.load(Ordering::Relaxed) {
            return Err(LinkError { transient: true, message: "dead".into() });
        }
        self.lost = false;
        Ok(())
    }

    fn now_ns(&self) -> u64 {
        1_000_000
    }
}
