//! A journal rebuilds the gate, decides the same again, and says what happens to open orders.

use ringfence_ipc::journal::{CloseRecord, StrategyRecord};
use ringfence_ipc::msg::{CommandKind, Intent, IntentKind, OrderState, OrderType, ReportKind, Side, Tif};
use ringfence_ipc::reason::{LimitId, Reason, Scope};

use super::super::{ApplyError, HandedOut, Mismatch, Reentry, Replayer, StrategyTables};
use super::*;
use crate::venue::{PaperConfig, PaperVenue};

#[test]
fn what_was_accepted_at_the_edge_of_the_numbers_is_read_back() {
    let mut rig = Rig::new();
    // The other side's open orders add nothing to this side's sum, and an amend only what it adds to its own order.
    let small = rig.enter(ALICE, BTC, Side::Sell, 100, 1000);
    assert_eq!(rig.try_order(ALICE, BTC, Side::Buy, 1, i64::MAX - 10).reason, Reason::Ok);
    rig.tell(small, ReportKind::Accepted).unwrap();
    let mut amend = with_kind(rig.limit_order(BTC, Side::Sell, 1, i64::MAX - 10), IntentKind::Amend);
    amend.ttl_ns_or_target = small;
    assert_eq!(rig.submit(ALICE, &amend).reason, Reason::Ok);
    assert_eq!(rig.recovered().state_hash(), rig.gate.state_hash());
    assert_eq!(rig.try_order(ALICE, BTC, Side::Buy, 1, 11).reason, Reason::ArithOverflow);
}

#[test]
fn each_open_order_has_one_way_back() {
    let mut rig = Rig::new();
    rig.quote(BTC, 99, 101);
    let sent = rig.enter(ALICE, BTC, Side::Buy, 100, 5);
    let resting = rig.enter(ALICE, BTC, Side::Buy, 100, 5);
    rig.tell(resting, ReportKind::Accepted).unwrap();
    let partly = rig.enter(BOB, BTC, Side::Sell, 100, 5);
    rig.fill(partly, 2, 100);
    let cancelling = rig.enter(ALICE, BTC, Side::Buy, 90, 5);
    rig.tell(cancelling, ReportKind::Accepted).unwrap();
    let all = Intent::cancel(BTC, cancelling, rig.key(), rig.now_ns);
    rig.submit(ALICE, &all);
    let mut ioc = rig.limit_order(BTC, Side::Buy, 100, 5);
    ioc.tif = Tif::Ioc;
    let ioc = rig.submit(ALICE, &ioc).order_id;
    rig.fill(ioc, 1, 100);
    let mut amend = with_kind(rig.limit_order(BTC, Side::Buy, 80, 9), IntentKind::Amend);
    amend.ttl_ns_or_target = resting;
    rig.submit(ALICE, &amend);

    rig.gate = rig.recovered();
    let plan = rig.gate.reenter_commands(HandedOut::Forgotten, rig.now_ns);
    let brief: Vec<_> = plan
        .iter()
        .map(|step| match step {
            Reentry::Command(c) => (c.order_id, format!("{:?} {}", c.kind, c.qty)),
            Reentry::Report(r) => (r.order_id, format!("{:?} {}", r.kind, r.reason)),
        })
        .collect();
    let lost = |kind: &str| format!("{kind} LOST_BEFORE_SEND");
    assert_eq!(
        brief,
        [
            (sent, lost("LostBeforeSend")),
            (resting, lost("CancelRejected")),
            (resting, "Reenter 5".to_owned()),
            (partly, "Reenter 3".to_owned()),
            (cancelling, "Reenter 5".to_owned()),
            (cancelling, "Cancel 5".to_owned()),
            (ioc, lost("Expired")),
        ]
    );
    for step in &plan {
        if let Reentry::Report(report) = step {
            rig.write(Record::Report(*report));
        }
    }
    let open: Vec<_> = rig.gate.open_orders().map(|o| o.order_id).collect();
    assert_eq!(open, [resting, partly, cancelling]);
    let back = Report { reentered: true, ..report(resting, ReportKind::Accepted) };
    assert!(rig.venue(&back).unwrap().reentered);
    assert_eq!(rig.recovered().state_hash(), rig.gate.state_hash());
}

/// A venue that outlives the gate: a paper venue with orders that rest, and what the gate makes of it afterwards.
struct Crash {
    rig: Rig,
    venue: PaperVenue,
    /// Answered by the venue before the crash.
    answered: OrderId,
    /// Handed out, the answer lost with the gate.
    handed_out: OrderId,
    /// Approved, never handed out.
    held_back: OrderId,
}

fn crash() -> Crash {
    let mut rig = Rig::new();
    let symbols = [rig.gate.symbol(BTC).unwrap()];
    let mut venue =
        PaperVenue::new(PaperConfig { latency_ns: 0, jitter_ns: 0, ..PaperConfig::default() }, &symbols);
    let mut reports = Vec::new();
    let mut ids = (0..3).map(|n| rig.enter(ALICE, BTC, Side::Buy, 90 + n, 5)).collect::<Vec<_>>();
    for command in &rig.commands[..2] {
        venue.on_command(command, rig.now_ns, &mut reports);
    }
    let accepted = reports[0];
    rig.venue(&accepted).unwrap();
    rig.gate = rig.recovered();
    let held_back = ids.pop().unwrap();
    Crash { answered: ids[0], handed_out: ids[1], held_back, rig, venue }
}

impl Crash {
    /// Carries out what the gate wants; says which commands went to the venue.
    fn come_back(&mut self, handed_out: HandedOut) -> Vec<(OrderId, CommandKind)> {
        let (mut sent, mut answers) = (Vec::new(), Vec::new());
        for step in self.rig.gate.reenter_commands(handed_out, self.rig.now_ns) {
            match step {
                Reentry::Report(report) => self.rig.write(Record::Report(report)),
                Reentry::Command(command) => {
                    sent.push((command.order_id, command.kind));
                    self.venue.on_command(&command, self.rig.now_ns, &mut answers);
                }
            }
        }
        for id in sent.iter().map(|(id, _)| *id).filter(|id| *id != self.answered) {
            let state = self.rig.gate.order(id).unwrap().state;
            let open_question = matches!(state, OrderState::Unknown | OrderState::PendingCancel);
            assert!(open_question, "until the venue has said: {state:?}");
        }
        for answer in answers {
            // What the gate knows already changes nothing.
            let _ = self.rig.venue(&answer);
        }
        assert!(sent.iter().all(|(_, kind)| *kind != CommandKind::New), "nothing is sent blindly");
        assert_eq!(self.rig.recovered().state_hash(), self.rig.gate.state_hash());
        sent
    }

    fn states(&self) -> [OrderState; 3] {
        [self.answered, self.handed_out, self.held_back].map(|id| self.rig.gate.order(id).unwrap().state)
    }
}

#[test]
fn above_the_handed_out_mark_is_lost_before_send_and_below_is_asked_for() {
    let mut crash = crash();
    let sent = crash.come_back(HandedOut::UpTo(crash.handed_out));
    assert_eq!(sent, [(crash.answered, CommandKind::Query), (crash.handed_out, CommandKind::Query)]);
    assert_eq!(crash.states(), [OrderState::Accepted, OrderState::Accepted, OrderState::Rejected]);
    let open: i64 = crash.rig.gate.positions().map(|p| p.open_buys).sum();
    assert_eq!(open, 10, "what was never sent is released, the rest stays reserved");
}

#[test]
fn when_the_adapter_died_too_everything_is_asked_for() {
    let mut crash = crash();
    let sent = crash.come_back(HandedOut::Unknown);
    assert_eq!(sent.len(), 3);
    // The venue never saw the third: it says so, and only then its reservation goes.
    assert_eq!(crash.states(), [OrderState::Accepted, OrderState::Accepted, OrderState::Rejected]);
}

#[test]
fn a_venue_that_forgot_gets_back_what_rested_and_nothing_that_it_never_answered() {
    let mut crash = crash();
    crash.venue = PaperVenue::new(
        PaperConfig { latency_ns: 0, jitter_ns: 0, ..PaperConfig::default() },
        &[crash.rig.gate.symbol(BTC).unwrap()],
    );
    let sent = crash.come_back(HandedOut::Forgotten);
    assert_eq!(sent, [(crash.answered, CommandKind::Reenter)]);
    assert_eq!(crash.states(), [OrderState::Accepted, OrderState::Rejected, OrderState::Rejected]);
}

#[test]
fn a_pending_cancel_and_a_pending_amend_are_asked_again_behind_the_query() {
    let mut crash = crash();
    let cancel = Intent::cancel(BTC, crash.handed_out, crash.rig.key(), crash.rig.now_ns);
    crash.rig.submit(ALICE, &cancel);
    let mut amend = with_kind(crash.rig.limit_order(BTC, Side::Buy, 80, 9), IntentKind::Amend);
    amend.ttl_ns_or_target = crash.answered;
    crash.rig.submit(ALICE, &amend);
    crash.rig.gate = crash.rig.recovered();
    let (answered, handed_out) = (crash.answered, crash.handed_out);
    let sent = crash.come_back(HandedOut::UpTo(handed_out));
    let expected = [
        (answered, CommandKind::Query),
        (answered, CommandKind::Amend),
        (handed_out, CommandKind::Query),
        (handed_out, CommandKind::Cancel),
    ];
    assert_eq!(sent, expected);
    assert_eq!(crash.states(), [OrderState::Accepted, OrderState::Cancelled, OrderState::Rejected]);
    assert_eq!(crash.rig.gate.order(answered).map(|o| (o.price, o.qty)), Some((80, 9)));
}

#[test]
fn installed_tables_and_recovered_tables_are_the_same() {
    let rig = Rig::new();
    let mut live = Gate::new(CAP, SEED, 1);
    for (position, record) in &rig.journal {
        if let Record::Strategy(s) = record {
            let tables = StrategyTables::new(s, live.dedup_quota(s.strategy), live.hash_seed(), &CAP);
            live.install(tables).unwrap();
            let again = StrategyTables::new(s, 1, 0, &CAP);
            assert!(live.install(again).is_err(), "a strategy has tables already");
        }
        live.apply(*position, record).unwrap();
    }
    assert_eq!(live.state_hash(), rig.gate.state_hash());
    assert_eq!(live.strategy_by_name("bob"), Some((BOB, 1)));
    assert_eq!(live.free_strategy_id(), Some(0));
    let alien = StrategyRecord { strategy: 99, account: 0, name: [0; 24], now_ns: 0 };
    assert!(live.install(StrategyTables::new(&alien, 1, 0, &CAP)).is_err());
}

#[test]
fn ids_grow_across_restarts() {
    let mut rig = Rig::new();
    let before = rig.enter(ALICE, BTC, Side::Buy, 100, 1);
    rig.write(Record::Boot(BootRecord {
        epoch: 2,
        hash_seed: SEED + 1,
        now_ns: 0,
        layout_hash: 0,
        lockstep: false,
        build_id: [0; 40],
    }));
    let after = rig.enter(ALICE, BTC, Side::Buy, 100, 1);
    assert_eq!((after >> 48, after > before), (2, true));
    assert_eq!(rig.recovered().state_hash(), rig.gate.state_hash());
}

#[test]
fn replay_decides_the_same_again_and_notices_when_not() {
    let mut rig = Rig::with(CAP, &[(Scope::Strategy, ALICE, LimitId::MaxOrderQty, 10)]);
    rig.quote(BTC, 99, 101);
    for qty in [5, 11, 10] {
        rig.try_order(ALICE, BTC, Side::Buy, 100, qty);
    }
    let mut market = rig.limit_order(BTC, Side::Sell, 0, 10);
    market.order_type = OrderType::Market;
    assert_eq!(rig.submit(ALICE, &market).reason, Reason::Ok);
    let intent = rig.limit_order(ETH, Side::Buy, 1, 1);
    rig.operate(BOB, 1, intent);
    let state_hash = rig.gate.state_hash();
    rig.write(Record::Close(CloseRecord { now_ns: rig.now_ns, state_hash, market_events: 0 }));
    let report = Replayer::new(CAP).run(rig.journal.iter().copied()).unwrap();
    assert_eq!((report.decisions, report.closes, report.mismatches), (5, 1, 0), "{:?}", report.first);
    assert_eq!(report.state_hash, state_hash);

    let mut forged = rig.journal.clone();
    for (_, record) in &mut forged {
        if let Record::Decision(d) = record
            && d.outcome == Outcome::Rejected
        {
            d.observed += 1;
        }
    }
    let report = Replayer::new(CAP).run(forged).unwrap();
    assert_eq!(report.mismatches, 2, "the decision and, through its stored answer, the state");
    assert!(matches!(report.first[0], Mismatch::Decision { .. }));
    assert!(matches!(report.first[1], Mismatch::State { .. }));
}

#[test]
fn a_journal_that_does_not_fit_together_is_refused_without_a_trace() {
    let mut rig = Rig::new();
    let id = rig.enter(ALICE, BTC, Side::Buy, 100, 5);
    rig.fill(id, 2, 100);
    let last_decision =
        *rig.journal.iter().rev().find(|(_, r)| matches!(r, Record::Decision(_))).map(|(_, r)| r).unwrap();
    let Record::Decision(decision) = last_decision else { unreachable!() };
    let Some((_, Record::Report(booked))) = rig.journal.last().copied() else { unreachable!() };
    let mut fresh = decision;
    fresh.intent.key = 5;
    let hash = rig.gate.state_hash();
    let wrong = [
        last_decision,
        Record::Decision(ringfence_ipc::journal::DecisionRecord { strategy: 3, ..fresh }),
        Record::Decision(fresh),
        Record::Decision(ringfence_ipc::journal::DecisionRecord {
            order_id: id + 1,
            intent: Intent { symbol: 3, ..fresh.intent },
            ..fresh
        }),
        Record::Decision(ringfence_ipc::journal::DecisionRecord {
            order_id: id + 1,
            intent: Intent { price: i64::MAX, qty: i64::MAX, ..fresh.intent },
            ..fresh
        }),
        Record::Report(booked),
        Record::Report(Report { cum_qty: 4, last_qty: 1, trade_id: 99, ..booked }),
        Record::Report(Report { order_id: 12, ..booked }),
        Record::Symbol { id: 4, symbol: rig.gate.symbol(BTC).unwrap() },
        Record::Symbol { id: BTC, symbol: Symbol::new("BTCUSDT", 3, 0, 1, 1).unwrap() },
    ];
    for record in wrong {
        let error = rig.gate.apply(1_000, &record).unwrap_err();
        assert!(matches!(error, ApplyError::Capacity { .. } | ApplyError::Contradiction { .. }));
        assert_eq!(rig.gate.state_hash(), hash, "{record:?}");
    }
}
