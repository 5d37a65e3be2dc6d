//! A venue in another process, pass by pass: what its adapter may do to a gate, and what the gate keeps for it.

use ringfence_ipc::msg::{Command, CommandKind, OrderId, OrderState, Outcome, Report, ReportKind, VenueCall};
use ringfence_ipc::reason::Reason;

use super::super::external::{External, Stage as Venue};
use super::*;

/// The id of an order that no gate ever gave.
const NOBODYS: OrderId = 77;

fn stage() -> Stage {
    let mut stage = Stage::new();
    let gate = &stage.reactor.gate;
    let venue = External::new(gate.epoch(), gate.capacity().order_slots);
    stage.reactor.venue = VenuePort::External(Box::new(venue));
    stage
}

impl Stage {
    /// An adapter that states this mark; what comes back are its sides of the rings.
    fn attach_adapter(&mut self, mark: Option<OrderId>) -> Rings {
        self.serve(Role::Venue, 0, |port, record| ToGate::AttachVenue { port, record, mark })
    }

    fn venue(&mut self) -> &mut External {
        match &mut self.reactor.venue {
            VenuePort::External(venue) => venue,
            _ => panic!("the venue is another process"),
        }
    }

    fn passes_until(&mut self, what: Venue) {
        for _ in 0..100 {
            self.reactor.pass();
            if self.venue().stage == what {
                return;
            }
        }
        panic!("{:?}, not {what:?}", self.venue().stage);
    }
}

/// An adapter that keeps the rules.
struct Adapter {
    commands: Consumer,
    reports: Producer,
    client: u64,
}

impl Adapter {
    fn of(rings: Rings) -> Self {
        Self {
            commands: Consumer::new(rings.events.reader(), rings.events_consumed, 0),
            reports: Producer::new(rings.intents, rings.intents_consumed.reader(), 0),
            client: rings.client,
        }
    }

    fn next(&mut self) -> Option<Words> {
        let head = self.commands.peek().expect("the gate keeps the protocol")?;
        self.commands.advance(head.slots);
        self.commands.publish();
        Some(head.words)
    }

    fn commands(&mut self) -> Vec<(OrderId, CommandKind)> {
        let words = std::iter::from_fn(|| self.next());
        let commands = words.filter_map(|words| Command::decode(&words).ok());
        commands.map(|command| (command.order_id, command.kind)).collect()
    }

    fn say(&mut self, kind: ReportKind, order_id: OrderId) {
        let report = Report { kind, order_id, ..BLANK_REPORT };
        assert!(self.reports.push(&report.encode()).expect("the gate keeps the protocol").is_some());
    }
}

/// A strategy that buys and cancels.
struct Buyer {
    intents: Producer,
    events: Consumer,
    key: u128,
}

impl Buyer {
    fn attach(stage: &mut Stage) -> Self {
        let rings = stage.attach(Role::Strategy, 1);
        Self {
            intents: Producer::new(rings.intents, rings.intents_consumed.reader(), 0),
            events: Consumer::new(rings.events.reader(), rings.events_consumed, 0),
            key: 0,
        }
    }

    fn ask(&mut self, stage: &mut Stage, make: impl FnOnce(u128, u64) -> Intent) -> Decision {
        self.key += 1;
        let intent = make(self.key, stage.reactor.now_ns());
        self.intents.push1(&intent.encode()).expect("the gate keeps the protocol");
        stage.reactor.pass();
        let mut decision = None;
        while let Some(head) = self.events.peek().expect("the gate keeps the protocol") {
            self.events.advance(head.slots);
            if kind_of(&head.words) == kind::DECISION {
                decision = Decision::decode(&head.words).ok();
            }
        }
        decision.expect("answered in the same pass")
    }

    fn buy(&mut self, stage: &mut Stage) -> Decision {
        self.ask(stage, |key, now_ns| Intent::limit(0, Side::Buy, 100, 1000, key, now_ns))
    }

    fn cancel(&mut self, stage: &mut Stage, id: OrderId) -> Decision {
        self.ask(stage, |key, now_ns| Intent::cancel(0, id, key, now_ns))
    }
}

fn state(stage: &Stage, id: OrderId) -> OrderState {
    stage.reactor.gate.order(id).expect("the gate knows it").state
}

#[test]
fn g4_a_hostile_adapter_is_quarantined_in_one_pass_and_delays_nobody() {
    let (mut stage, mut random) = (stage(), Random(0x6748));
    let mut honest = Honest::attach(&mut stage);
    let mut hostile = stage.attach_adapter(None);
    let total = passes();
    let (mut told, mut quarantined) = (0, 0_u64);
    for _ in 0..total {
        let position = stage.venue().link.as_ref().map_or(0, |link| link.port.intents.position());
        for _ in 0..=random.next() & 3 {
            misbehave(&mut random, &hostile, position, told);
        }
        // Now and then what it says is a report, of an order that may be anybody's.
        if random.next() & 3 == 0 {
            let kind = ReportKind::ALL[random.next() as usize % ReportKind::ALL.len()];
            let report = Report { kind, order_id: random.next() & 7, ..BLANK_REPORT };
            let words = Report { trade_id: random.next() & 3, ..report }.encode();
            for part in [1, 0] {
                let at = position + part as u64;
                let word = if part == 0 { head_word(at, 2) } else { continuation_word(at) };
                hostile.intents.store_payload((at % INTENTS as u64) as usize, &words[part]);
                hostile.intents.publish((at % INTENTS as u64) as usize, word);
            }
        }
        honest.ask(stage.reactor.now_ns());
        let broken = is_broken(&hostile.intents, position);
        stage.reactor.pass();
        assert!(honest.is_answered(), "in the same pass, whatever others do");
        told += hostile.told(told);
        let retired = stage.retired();
        assert!(!broken || retired.is_some(), "broken at {position} and still served");
        if let Some((client, fault)) = retired {
            assert_eq!(client, hostile.client, "an honest client was thrown out: {fault:?}");
            quarantined += 1;
            hostile = stage.attach_adapter(None);
            told = 0;
        }
    }
    assert!(quarantined > total / 100, "too little happened: {quarantined}");
}

#[test]
fn what_is_no_report_is_counted_and_a_mark_that_nobody_asked_for_is_none() {
    let mut stage = stage();
    let mut adapter = Adapter::of(stage.attach_adapter(None));
    adapter.reports.push1(&[u64::MAX; 7]).unwrap();
    let report = Report { kind: ReportKind::Fill, order_id: NOBODYS, ..BLANK_REPORT }.encode();
    adapter.reports.push1(&report[0]).unwrap();
    adapter.reports.push(&Report::snapshot_mark(1).encode()).unwrap();
    stage.reactor.pass();
    stage.reactor.pass();
    assert_eq!(stage.reactor.counters.get(Counter::MalformedMessages), 3);

    stage.venue().call_snapshot(1);
    adapter.commands();
    for _ in 0..3 {
        adapter.reports.push(&Report::snapshot_mark(1).encode()).unwrap();
    }
    stage.reactor.pass();
    let marks = std::iter::from_fn(|| stage.from_gate.pop().ok());
    assert_eq!(marks.filter(|m| matches!(m, FromGate::VenueMark { number: 1, .. })).count(), 1);
}

#[test]
fn a_mark_stands_where_the_reports_before_it_are_booked() {
    let mut stage = stage();
    let mut buyer = Buyer::attach(&mut stage);
    let mut adapter = Adapter::of(stage.attach_adapter(None));
    stage.passes_until(Venue::Open);
    let (first, second) = (buyer.buy(&mut stage).order_id, buyer.buy(&mut stage).order_id);
    stage.venue().call_snapshot(5);
    assert_eq!(adapter.next(), Some(VenueCall::Begin { known: first - 1 }.encode()));
    adapter.next();
    adapter.next();
    assert_eq!(adapter.next(), Some(VenueCall::Snapshot { number: 5 }.encode()), "behind both orders");
    adapter.say(ReportKind::Accepted, first);
    adapter.reports.push(&Report::snapshot_mark(5).encode()).unwrap();
    adapter.say(ReportKind::Accepted, second);
    let before = stage.reactor.journal.position();
    stage.reactor.pass();
    let after = stage.reactor.journal.position();
    let mark = std::iter::from_fn(|| stage.from_gate.pop().ok())
        .find_map(|m| if let FromGate::VenueMark { position, .. } = m { Some(position) } else { None });
    assert!(mark.is_some_and(|at| before < at && at < after), "{before} < {mark:?} < {after}");
}

#[test]
fn only_what_is_booked_is_published_as_read() {
    let mut stage = stage();
    let mut adapter = Adapter::of(stage.attach_adapter(None));
    let reports = INTENTS as u64 / 2;
    (0..reports).for_each(|_| adapter.say(ReportKind::Accepted, NOBODYS));
    let mut out = Vec::with_capacity(1024);
    stage.venue().take_reports(256, &mut out);
    assert!(!out.is_empty());
    assert_eq!(adapter.reports.free(), Ok(0), "taken, not booked");
    stage.venue().booked();
    assert_eq!(adapter.reports.free(), Ok(2 * out.len() as u64));
}

#[test]
fn an_adapter_that_lies_about_what_it_read_is_thrown_out_by_the_next_look_for_room() {
    let mut stage = stage();
    let mut buyer = Buyer::attach(&mut stage);
    let rings = stage.attach_adapter(None);
    stage.passes_until(Venue::Open);
    rings.events_consumed.publish(1 << 40);
    // The word is read again only when what is known of it says that there is no room.
    let mut thrown_out = None;
    for _ in 0..EVENTS {
        buyer.buy(&mut stage);
        thrown_out = thrown_out.or(stage.retired());
    }
    assert!(matches!(thrown_out, Some((client, Some(PortFault::Ring(_)))) if client == rings.client));
    assert_eq!(stage.reactor.counters.get(Counter::VenueState), 1);
}

#[test]
fn a_lost_venue_makes_its_orders_unknown_and_asks_for_them_at_the_next_one() {
    let mut stage = stage();
    let mut buyer = Buyer::attach(&mut stage);
    assert_eq!(buyer.buy(&mut stage).reason, Reason::VenueBusy, "no adapter was ever there");
    let mut adapter = Adapter::of(stage.attach_adapter(None));
    stage.passes_until(Venue::Open);
    let [resting, unheard, leaving] = [(); 3].map(|()| buyer.buy(&mut stage).order_id);
    adapter.say(ReportKind::Accepted, resting);
    assert_eq!(buyer.cancel(&mut stage, leaving).outcome, Outcome::Accepted);
    assert_eq!(adapter.commands().len(), 4);

    let detach = ToGate::Detach { client: adapter.client };
    assert!(stage.to_gate.push(detach).is_ok());
    stage.passes_until(Venue::Lost);
    assert_eq!([resting, unheard].map(|id| state(&stage, id)), [OrderState::Unknown; 2]);
    assert_eq!(state(&stage, leaving), OrderState::PendingCancel, "its cancel is owed");
    assert_eq!(buyer.buy(&mut stage).reason, Reason::VenueBusy);
    assert_eq!(buyer.cancel(&mut stage, resting).outcome, Outcome::Accepted);

    let mut next = Adapter::of(stage.attach_adapter(None));
    stage.passes_until(Venue::Asking { next: (unheard % 1024) as u32 });
    use CommandKind::{Cancel, Query};
    let mut asked = next.commands();
    asked.sort_unstable();
    let expected =
        [(resting, Cancel), (resting, Query), (unheard, Query), (leaving, Cancel), (leaving, Query)];
    assert_eq!(asked, expected, "each is asked for once, and no order is sent");
    next.say(ReportKind::Rejected, unheard);
    stage.passes_until(Venue::Open);
    assert_eq!(buyer.buy(&mut stage).outcome, Outcome::Accepted);
}

#[test]
fn a_flattening_order_without_a_venue_is_lost_before_it_was_sent() {
    let mut stage = stage();
    let mut buyer = Buyer::attach(&mut stage);
    let mut adapter = Adapter::of(stage.attach_adapter(None));
    stage.passes_until(Venue::Open);
    let bought = buyer.buy(&mut stage).order_id;
    let fill = Report { last_qty: 1000, last_price: 100, cum_qty: 1000, trade_id: 1, ..BLANK_REPORT };
    let fill = Report { kind: ReportKind::Fill, order_id: bought, ..fill };
    adapter.reports.push(&fill.encode()).unwrap();
    stage.reactor.pass();
    assert!(stage.to_gate.push(ToGate::Detach { client: adapter.client }).is_ok());
    stage.passes_until(Venue::Lost);
    let flat = buyer.ask(&mut stage, |key, now_ns| Intent {
        kind: ringfence_ipc::msg::IntentKind::ForceFlat,
        ..Intent::limit(0, Side::Buy, 0, 0, key, now_ns)
    });
    stage.reactor.pass();
    assert_eq!(flat.outcome, Outcome::Accepted, "{flat:?}");
    assert_eq!(state(&stage, flat.order_id), OrderState::Rejected);
    assert_eq!(stage.reactor.gate.open_order_count(), 0, "what it reserved is released");
}

#[test]
fn the_room_of_a_venue_is_looked_at_before_a_decision_and_a_part_is_kept_for_cancels() {
    let mut stage = stage();
    let mut buyer = Buyer::attach(&mut stage);
    let mut adapter = Adapter::of(stage.attach_adapter(None));
    stage.passes_until(Venue::Open);
    let mut ids = Vec::new();
    let refused = loop {
        let decision = buyer.buy(&mut stage);
        if decision.outcome == Outcome::Rejected {
            break decision;
        }
        ids.push(decision.order_id);
        assert!(ids.len() < EVENTS, "a ring of {EVENTS} slots");
    };
    assert_eq!(refused.reason, Reason::VenueBusy);
    assert!(ids.len() > EVENTS / 2);
    assert_eq!(buyer.cancel(&mut stage, ids[0]).outcome, Outcome::Accepted);
    assert_eq!(adapter.commands().len(), ids.len() + 1, "every order and the cancel, nothing lost");
    assert_eq!(buyer.buy(&mut stage).outcome, Outcome::Accepted, "read, there is room again");
}

#[test]
fn an_adapter_that_is_gone_and_writes_on_is_read_a_rings_worth() {
    let mut stage = stage();
    let mut adapter = Adapter::of(stage.attach_adapter(None));
    stage.passes_until(Venue::Open);
    assert!(stage.to_gate.push(ToGate::Detach { client: adapter.client }).is_ok());
    let gone = (0..INTENTS).any(|_| {
        while adapter.reports.has_room(2) == Ok(true) {
            adapter.say(ReportKind::Accepted, NOBODYS);
        }
        stage.reactor.pass();
        stage.venue().link.is_none()
    });
    assert!(gone, "it never ends by itself");
}
