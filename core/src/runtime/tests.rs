//! G4 where it counts: the reactor itself, pass by pass, between a hostile client and an honest one.

use ringfence_ipc::atomic::SEQUENCE_WORD;
use ringfence_ipc::handshake::Role;
use ringfence_ipc::journal::AttachRecord;
use ringfence_ipc::msg::{Decision, Intent, MAX_SLOTS, Side, StrategyId, Words, kind, kind_of};
use ringfence_ipc::ring::{Consumer, Producer, continuation_word, head_word};
use ringfence_ipc::view::{WriteSlots, WriteWord};

use super::mailbox::{PortFault, ToGate};
use super::port::{About, ClientPort};
use super::*;

mod external;

const INTENTS: usize = 64;
const EVENTS: usize = 1024;
/// What one client may make a pass do, at most.
const DECISIONS_PER_PASS: u64 = 16;

/// A gate without its control thread: the test hands clients over, and takes back who was thrown out.
struct Stage {
    reactor: Reactor,
    to_gate: rtrb::Producer<ToGate>,
    from_gate: rtrb::Consumer<FromGate>,
    clients: u64,
    /// Writes the journal down for as long as the gate lives.
    _archiver: Archiver,
    _dir: tempfile::TempDir,
}

fn config(dir: &std::path::Path) -> CoreConfig {
    let text = format!(
        r#"
data_dir = "{dir}/data"
run_dir = "{dir}/run"
venue = "null"
[journal]
hot_bytes = 4194304
segment_bytes = 67108864
min_free_bytes = 1
[capacity]
order_slots = 1024
max_strategies = 4
max_positions = 16
max_clients = 4
[limits]
dedup_quota = 1024
[[symbol]]
name = "BTCUSDT"
tick = "0.01"
lot = "0.00001"
price_scale = 2
qty_scale = 8
[[strategy]]
name = "honest"
account = 0
[[strategy]]
name = "hostile"
account = 0
"#,
        dir = dir.display()
    );
    toml::from_str(&text).expect("a configuration")
}

impl Stage {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let config = config(dir.path());
        boot::make_dir(&config.run_dir, 0o750).expect("a run directory");
        let booted = boot::boot(&config).expect("a gate");
        let market = GateSegment::create("market", layout::market_bytes(1)).expect("a segment");
        let writer = MarketWriter::new(market.mapping(), &booted.symbols, 1).expect("cells");
        let (to_gate, inbox) = rtrb::RingBuffer::new(MAILBOX_SLOTS);
        let (outbox, from_gate) = rtrb::RingBuffer::new(MAILBOX_SLOTS);
        let reactor = Reactor::new(Parts {
            gate: booted.gate,
            journal: booted.writer,
            venue: VenuePort::Null { venue: NullVenue, reports: touched_vec(REPORT_SLOTS, BLANK_REPORT) },
            clock: booted.clock,
            market: Quotes::new(writer, 1),
            nodes: Nodes::new(&cache_segment(&config.cache).expect("memory"), &config.cache)
                .expect("a cache"),
            counters: CountersWriter::create(&config.counters_path()).expect("counters"),
            inbox,
            outbox,
            max_clients: config.capacity.max_clients,
            max_strategies: usize::from(config.capacity.max_strategies),
            kill: std::sync::Arc::default(),
            kill_cancels_orders: true,
            lagging_patience_ns: config.capacity.lagging_patience_ms * 1_000_000,
            held: Held::new(0, 0),
        });
        Self { reactor, to_gate, from_gate, clients: 0, _archiver: booted.archiver, _dir: dir }
    }

    /// A served client; what comes back are its sides of the rings.
    fn attach(&mut self, role: Role, strategy: StrategyId) -> Rings {
        self.serve(role, strategy, |port, record| ToGate::Attach { port, record })
    }

    fn serve(
        &mut self,
        role: Role,
        strategy: StrategyId,
        mail: impl FnOnce(Box<ClientPort>, AttachRecord) -> ToGate,
    ) -> Rings {
        self.clients += 1;
        let (intents, events) = (WriteSlots::heap(INTENTS), WriteSlots::heap(EVENTS));
        let (intents_consumed, events_consumed) = (WriteWord::heap(), WriteWord::heap());
        let port = Box::new(ClientPort {
            client: self.clients,
            role,
            strategy,
            intents: Consumer::new(intents.reader(), intents_consumed.clone(), 0),
            events: Producer::new(events.clone(), events_consumed.reader(), 0),
            tape: None,
            market_seen: None,
            paced_limit: None,
            dead_man: false,
            draining: false,
            lagging: WriteWord::heap(),
            lagging_since_ns: 0,
            about: About::default(),
            seen: (0, 0),
        });
        let record = AttachRecord {
            role,
            detached: false,
            strategy,
            now_ns: self.reactor.now_ns(),
            client: self.clients,
            ticket_digest: 0,
            pid: 0,
            uid: 0,
        };
        let sent = self.to_gate.push(mail(port, record));
        assert!(sent.is_ok(), "the mailbox has room");
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while !matches!(self.from_gate.pop(), Ok(FromGate::Attached { client, .. }) if client == self.clients)
        {
            assert!(std::time::Instant::now() < deadline, "the journal makes no room for an attachment");
            self.reactor.pass();
        }
        Rings { client: self.clients, intents, intents_consumed, events, events_consumed }
    }

    /// Who the gate gave back since the last look.
    fn retired(&mut self) -> Option<(u64, Option<PortFault>)> {
        while let Ok(message) = self.from_gate.pop() {
            if let FromGate::Retired { port, fault } = message {
                return Some((port.client, fault));
            }
        }
        None
    }
}

/// What a client holds: memory it may write as it likes, and memory the gate writes.
struct Rings {
    client: u64,
    intents: WriteSlots,
    intents_consumed: WriteWord,
    events: WriteSlots,
    events_consumed: WriteWord,
}

impl Rings {
    /// Decisions and reports the gate has written, in slots: it writes nothing else.
    fn told(&self, from: u64) -> u64 {
        let there = |at: &u64| {
            let found = self.events.load((*at % EVENTS as u64) as usize, SEQUENCE_WORD);
            ringfence_ipc::ring::number_of(found) == at + 1
        };
        (from..from + EVENTS as u64).take_while(there).count() as u64
    }

    /// The gate's own position in the ring: private to it, asked of its port.
    fn intents_position(&self, stage: &Stage) -> u64 {
        let port = stage.reactor.ports.iter().flatten().find(|port| port.client == self.client);
        port.map_or(0, |port| port.intents.position())
    }
}

/// The honest client: one intent in flight, answered in the pass that sees it.
struct Honest {
    intents: Producer,
    events: Consumer,
    asked: u64,
}

impl Honest {
    fn attach(stage: &mut Stage) -> Self {
        let rings = stage.attach(Role::Strategy, 1);
        Self {
            intents: Producer::new(rings.intents, rings.intents_consumed.reader(), 0),
            events: Consumer::new(rings.events.reader(), rings.events_consumed, 0),
            asked: 0,
        }
    }

    fn ask(&mut self, now_ns: u64) {
        // Refused for its quantity: nothing of it stays open.
        let intent = Intent::limit(0, Side::Buy, 100, -1, u128::from(self.asked) + 1, now_ns);
        let position = self.intents.push1(&intent.encode()).expect("the gate keeps the protocol");
        assert_eq!(position, Some(self.asked));
        self.asked += 1;
    }

    fn is_answered(&mut self) -> bool {
        let mut answered = false;
        while let Some(head) = self.events.peek().expect("the gate keeps the protocol") {
            self.events.advance(head.slots);
            if kind_of(&head.words) == kind::DECISION {
                let decision = Decision::decode(&head.words).expect("a decision");
                assert_eq!(decision.intent_position, self.asked - 1);
                answered = true;
            }
        }
        answered
    }
}

/// xorshift64*
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// What a client without rules writes between two passes, next to `position`.
fn misbehave(random: &mut Random, rings: &Rings, position: u64, told: u64) {
    let dice = random.next();
    let near = position.wrapping_add(dice >> 40 & 7);
    let slot = (near % INTENTS as u64) as usize;
    let words: Words = std::array::from_fn(|_| random.next());
    let plausible =
        Intent::limit(0, Side::Buy, 100 + (dice >> 50) as i64, 1000, u128::from(dice), 1).encode();
    match dice & 15 {
        // By the rules, or nearly, so that the gate gets somewhere: whole messages of any content.
        0..=5 => {
            let length = (dice >> 8) % MAX_SLOTS as u64 + 1;
            for at in (position..position + length).rev() {
                let slot = (at % INTENTS as u64) as usize;
                rings.intents.store_payload(slot, if dice >> 20 & 1 == 0 { &plausible } else { &words });
                let word = if at == position { head_word(at, length as u8) } else { continuation_word(at) };
                rings.intents.publish(slot, word);
            }
        }
        6 => rings.intents.store_payload(slot, &words),
        7 => rings.intents.publish(slot, head_word(near, 1)),
        8 => rings.intents.publish(slot, head_word(near, (dice >> 8 & 7) as u8 + 1)),
        9 => rings.intents.publish(slot, random.next()),
        10 => rings.events_consumed.set(told.saturating_sub(dice >> 8 & 3)),
        11 => rings.events_consumed.set(random.next()),
        _ => rings.events_consumed.set(told),
    }
}

/// Whether the gate must throw the client out in the pass that looks at this: the document's rules, told again.
fn is_broken(intents: &WriteSlots, position: u64) -> bool {
    let lap = INTENTS as u64;
    let sequence = |at: u64| intents.load((at % lap) as usize, SEQUENCE_WORD);
    let found = sequence(position);
    for length in 1..=MAX_SLOTS as u64 {
        if found == (position + 1) | (length - 1) << 61 {
            return !(1..length).all(|i| sequence(position + i) == (position + i + 1) | 1 << 60);
        }
    }
    if position < lap { found != 0 } else { found % (1 << 60) + lap != position + 1 }
}

fn passes() -> u64 {
    let set = std::env::var("RINGFENCE_G4_PASSES").ok();
    set.and_then(|text| text.replace('_', "").parse().ok()).unwrap_or(300_000)
}

/// Runs `passes()` passes with a hostile client of `role` beside the honest one.
fn beside_hostile(role: Role, strategy: StrategyId, seed: u64) {
    let (mut stage, mut random) = (Stage::new(), Random(seed));
    let mut honest = Honest::attach(&mut stage);
    let mut hostile = stage.attach(role, strategy);
    let (total, began) = (passes(), std::time::Instant::now());
    let (mut told, mut quarantined, mut decided, mut worst) = (0, 0_u64, 0_u64, 0);
    for _ in 0..total {
        let position = hostile.intents_position(&stage);
        for _ in 0..=random.next() & 3 {
            misbehave(&mut random, &hostile, position, told);
        }
        honest.ask(stage.reactor.now_ns());
        let broken = is_broken(&hostile.intents, position);
        stage.reactor.pass();
        assert!(honest.is_answered(), "in the same pass, whatever others do");
        let now_told = hostile.told(told);
        // A report takes two slots, and comes for each order beside its decision.
        worst = worst.max(now_told);
        assert!(now_told <= DECISIONS_PER_PASS * 5, "one client took {now_told} slots in one pass");
        told += now_told;
        decided += now_told;
        let retired = stage.retired();
        assert!(!broken || retired.is_some(), "broken at {position} and still served");
        if let Some((client, fault)) = retired {
            assert_eq!(client, hostile.client, "an honest client was thrown out: {fault:?}");
            quarantined += u64::from(matches!(fault, Some(PortFault::Ring(_))));
            hostile = stage.attach(role, strategy);
            told = 0;
        }
    }
    let rate = total as f64 / began.elapsed().as_secs_f64() / 1e6;
    println!(
        "{role:?}: {total} passes, {rate:.2} M/s, {quarantined} quarantines, {decided} slots told, {worst} at most in one pass"
    );
    assert!(quarantined > total / 100, "too little happened: {quarantined}");
}

#[test]
fn g4_a_hostile_strategy_is_quarantined_in_one_pass_and_delays_nobody() {
    beside_hostile(Role::Strategy, 2, 0x6745);
}

#[test]
fn g4_a_hostile_operator_is_quarantined_in_one_pass_and_delays_nobody() {
    beside_hostile(Role::Operator, 0, 0x6746);
}

#[test]
fn g4_a_hostile_feed_is_quarantined_in_one_pass_and_delays_nobody() {
    beside_hostile(Role::Feed, 0, 0x6747);
}
