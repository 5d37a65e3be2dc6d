//! Clients that break every rule, each beside an honest one that must not notice.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ringfence_ipc::client::{AttachError, Client, Event, SubmitError};
use ringfence_ipc::counters::{Counter, CountersReader};
use ringfence_ipc::handshake::{Packet, RefusalCode, Role, socket};
use ringfence_ipc::journal::Record;
use ringfence_ipc::msg::{Intent, OperatorExt, Outcome, Side, Words, intent_flags};
use ringfence_ipc::reason::Reason;
use ringfence_ipc::ring::{Producer, head_word};
use ringfence_tests::raw::{Raw, connect, hello, receive, thrown_out};
use ringfence_tests::world::{Here, PATIENCE, World, anybody};
use ringfence_tests::{Dice, await_that};
use rustix::fs::SealFlags;
use rustix::net::SendFlags;

fn order(key: u128, now_ns: u64) -> Intent {
    Intent::limit(0, Side::Buy, 5_000_000, 1000, key, now_ns)
}

/// A client that does everything right while others do not.
struct Honest {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Honest {
    fn start(world: &World) -> Self {
        let client = world.attach("honest");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        Self { stop, thread: std::thread::spawn(move || Self::run(client, &stopped)) }
    }

    fn run(mut client: Client, stop: &AtomicBool) -> u64 {
        let (mut sent, mut answered) = (0, 0);
        while !stop.load(Ordering::Relaxed) || answered < sent || sent < 100 {
            if answered == sent {
                let intent = order(u128::from(sent) + 1, client.now_ns());
                // Refused for its quantity: nothing of it stays open.
                let position = client.submit(&Intent { qty: -1, ..intent }).expect("there is room");
                assert_eq!(position, sent);
                sent += 1;
            }
            match client.poll() {
                Some(Event::Decision(decision)) => {
                    assert_eq!((decision.intent_position, decision.reason), (answered, Reason::BadQty));
                    answered += 1;
                }
                Some(other) => panic!("an honest client is left alone: {other:?}"),
                None => std::thread::sleep(Duration::from_micros(50)),
            }
        }
        answered
    }

    /// Everything it asked was answered, in order, and it was never detached.
    fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        let answered = self.thread.join().expect("the honest client was left alone");
        assert!(answered >= 100);
    }
}

/// A gate, an honest client, and room for a hostile one.
struct Scene {
    world: World,
    gate: Here,
    honest: Honest,
}

impl Scene {
    fn new() -> Self {
        Self::in_world(World::new(|_| ()))
    }

    fn in_world(world: World) -> Self {
        let gate = world.start_here();
        let honest = Honest::start(&world);
        Self { world, gate, honest }
    }

    fn hostile(&self) -> Raw {
        Raw::attach(&self.world.config.socket_path(), "hostile")
    }

    /// The hostile client was thrown out for breaking the ring protocol.
    fn quarantined(self, hostile: &Raw) {
        let refusal = hostile.thrown_out();
        assert!(
            matches!(&refusal, Some((RefusalCode::Protocol, text)) if text.contains("quarantined")),
            "{refusal:?}"
        );
        self.ends_with_quarantines(1);
    }

    fn ends_with_quarantines(self, count: u64) {
        assert_eq!(self.world.counter(Counter::QuarantinedClients), count);
        self.honest.finish();
        self.gate.stop();
    }
}

#[test]
fn sequence_jumps_a_lap() {
    let scene = Scene::new();
    let hostile = scene.hostile();
    let lap = u64::from(hostile.welcome.intents_slots);
    hostile.put(0, &order(1, 1).encode(), head_word(lap, 1));
    scene.quarantined(&hostile);
}

#[test]
fn sequence_goes_back() {
    let scene = Scene::new();
    let hostile = scene.hostile();
    let (mut intents, mut events) = hostile.ends();
    let lap = u64::from(hostile.welcome.intents_slots);
    for key in 1..=lap + 3 {
        while intents.push1(&order(u128::from(key), 1).encode()).unwrap().is_none() {
            std::thread::yield_now();
        }
        hostile.decision(&mut events);
    }
    // The slot after the last message still says "one lap ago": now it says two.
    let next = lap + 3;
    hostile.put(next, &[0; 7], head_word(0, 1));
    scene.quarantined(&hostile);
}

#[test]
fn garbage_words() {
    let world = World::new(|_| ());
    let scene = Scene::in_world(world);
    let mut dice = Dice::new(11);
    let mut word = || dice.below(1 << 53) << 11 | dice.below(1 << 11);
    let rounds = 20;
    for round in 0..rounds {
        let name = format!("hostile-{}", round % 4);
        let path = scene.world.config.socket_path();
        await_that("the name is free again", PATIENCE, || {
            Raw::begin(&path, &hello(Role::Strategy, &name)).is_ok_and(|hostile| {
                hostile.mapped().unwrap();
                for slot in 0..u64::from(hostile.welcome.intents_slots) {
                    let words: Words = std::array::from_fn(|_| word());
                    // Bit 63 never stands in a sequence of this ring.
                    hostile.put(slot, &words, word() | 1 << 63);
                }
                assert_eq!(hostile.thrown_out().map(|(code, _)| code), Some(RefusalCode::Protocol));
                true
            })
        });
    }
    scene.ends_with_quarantines(rounds);
}

#[test]
fn head_without_continuation() {
    let scene = Scene::new();
    let hostile = scene.hostile();
    hostile.put(0, &order(1, 1).encode(), head_word(0, 2));
    scene.quarantined(&hostile);
}

#[test]
fn continuation_as_head() {
    let scene = Scene::new();
    let hostile = scene.hostile();
    hostile.put(0, &order(1, 1).encode(), ringfence_ipc::ring::continuation_word(0));
    scene.quarantined(&hostile);
}

#[test]
fn announces_a_message_that_is_too_long() {
    let scene = Scene::new();
    let hostile = scene.hostile();
    hostile.put(0, &order(1, 1).encode(), head_word(0, 5));
    scene.quarantined(&hostile);
}

#[test]
fn dies_mid_write() {
    let scene = Scene::new();
    let hostile = scene.hostile();
    for key in 1..=3 {
        hostile.put_well(key - 1, &order(u128::from(key), 1).encode());
    }
    // The payload is there, the sequence is not; of the next one the continuation is there, the head is not.
    hostile.slots().store_payload(3, &order(4, 1).encode());
    let strategy = hostile.welcome.strategy;
    drop(hostile);
    await_that("the dead one's name is free", PATIENCE, || {
        Client::attach(scene.world.options("hostile")).is_ok_and(|client| client.strategy() == strategy)
    });
    let keys = |journal: Vec<(u64, Record)>| -> Vec<u128> {
        let of = |(_, record)| match record {
            Record::Decision(made) if made.strategy == strategy => Some(made.intent.key),
            _ => None,
        };
        journal.into_iter().filter_map(of).collect()
    };
    assert_eq!(
        keys(scene.world.journal()),
        [1, 2, 3],
        "what was published is decided, what was not is nothing"
    );
    scene.ends_with_quarantines(0);
}

#[test]
fn stops_reading_events() {
    // The venue answers late and all at once: more reports than the ring has room for.
    let world = World::new(|config| {
        config.paper.latency_ns = 100_000_000;
        config.capacity.intents_slots = 1024;
    });
    let scene = Scene::in_world(world);
    let mut client = scene.world.attach("sleeper");
    let orders = 700;
    for key in 1..=orders {
        client.submit(&order(key, client.now_ns())).unwrap();
    }
    await_that("the sleeper is detached", PATIENCE, || !client.is_connected());
    let (mut decisions, mut reports, mut losses) = (Vec::new(), Vec::new(), 0);
    await_that("every answer", PATIENCE, || {
        while let Some(event) = client.poll() {
            match event {
                Event::Decision(decision) => decisions.push(decision),
                Event::Report(report) => reports.push(report),
                Event::Step(_) => {}
                Event::Lost => {
                    losses += 1;
                    client.reattach(PATIENCE).unwrap();
                }
            }
        }
        decisions.len() == orders as usize && reports.len() >= orders as usize
    });
    assert!(losses > 0 && client.unanswered() == 0);
    let positions: Vec<u64> = decisions.iter().map(|decision| decision.intent_position).collect();
    assert_eq!(positions, (0..orders as u64).collect::<Vec<_>>(), "each once, in order");
    assert!(decisions.iter().all(|decision| decision.outcome == Outcome::Accepted && !decision.duplicate));
    let booked = scene.world.journal().into_iter().filter_map(|(position, record)| match record {
        Record::Report(report) if report.strategy == client.strategy() => Some(position),
        _ => None,
    });
    let told: Vec<u64> = reports.iter().map(|report| report.journal_seq).collect();
    assert_eq!(told, booked.collect::<Vec<_>>(), "every report, once, in the journal's order");
    scene.ends_with_quarantines(0);
}

/// Submits until the gate has had enough, reading every answer while `reads`.
fn submit_until_thrown_out(hostile: &Raw, intents: &mut Producer, from: u128) {
    let mut key = from;
    await_that("the gate looks at the lie", PATIENCE, || {
        for _ in 0..64 {
            let refused = Intent { qty: -1, ..order(key, 1) };
            match intents.push1(&refused.encode()) {
                Ok(Some(_)) => key += 1,
                Ok(None) => break,
                Err(fault) => panic!("the gate keeps the protocol: {fault}"),
            }
        }
        let poll = socket::set_timeout(hostile.socket.as_fd(), Duration::from_millis(1));
        poll.unwrap();
        !matches!(socket::receive(hostile.socket.as_fd(), true), Ok(socket::Received::Nothing))
    });
}

#[test]
fn lies_that_it_has_consumed_what_was_never_produced() {
    let scene = Scene::new();
    let hostile = scene.hostile();
    let (mut intents, _events) = hostile.ends();
    // Taking the ends published an honest 0.
    hostile.claim_consumed(1 << 40);
    submit_until_thrown_out(&hostile, &mut intents, 1);
    scene.ends_with_quarantines(1);
}

#[test]
fn lies_that_it_has_not_consumed_what_it_had() {
    let scene = Scene::new();
    let hostile = scene.hostile();
    let (mut intents, mut events) = hostile.ends();
    for key in 1..=1500 {
        while intents.push1(&Intent { qty: -1, ..order(key, 1) }.encode()).unwrap().is_none() {
            std::thread::yield_now();
        }
        hostile.decision(&mut events);
    }
    hostile.claim_consumed(3);
    submit_until_thrown_out(&hostile, &mut intents, 1501);
    scene.ends_with_quarantines(1);
}

#[test]
fn writes_undefined_kinds() {
    let scene = Scene::new();
    let hostile = scene.hostile();
    let (mut intents, mut events) = hostile.ends();
    let good = order(1, 1).encode();
    let mut bad: Vec<Words> = [0_u8, 6, 7, 16, 17, 32, 48, 49, 64, 99, 255]
        .map(|kind| [good[0] & !0xff | u64::from(kind), good[1], good[2], good[3], good[4], good[5], good[6]])
        .into();
    // Enumerations outside their range, and flags that do not exist.
    bad.extend([8, 16, 24].map(|at| [good[0] | 0x77 << at, 2, 0, good[3], good[4], good[5], good[6]]));
    bad.push([good[0] | 0x8000 << 32, 3, 0, good[3], good[4], good[5], good[6]]);
    for words in &bad {
        intents.push1(words).unwrap().expect("there is room");
        let decision = hostile.decision(&mut events);
        assert_eq!((decision.outcome, decision.reason), (Outcome::Rejected, Reason::Malformed), "{words:x?}");
        assert_eq!(decision.journal_seq, 0, "nothing of it is stored");
    }
    intents.push1(&good).unwrap().expect("there is room");
    assert_eq!(hostile.decision(&mut events).outcome, Outcome::Accepted, "the ring goes on");
    let counters = CountersReader::open(&scene.world.config.counters_path()).unwrap();
    assert_eq!(counters.reject(Reason::Malformed), bad.len() as u64);
    scene.ends_with_quarantines(0);
}

#[test]
fn operator_flag_from_a_strategy() {
    let scene = Scene::new();
    let hostile = scene.hostile();
    let (mut intents, mut events) = hostile.ends();
    let flagged = Intent { flags: intent_flags::OPERATOR, ..order(1, 1) }.encode();
    let ext = OperatorExt::new(1, 0, "mine", 0).unwrap().encode();
    let messages: [&[Words]; 3] = [&[flagged], &[flagged, ext], &[order(2, 1).encode(), ext]];
    for message in messages {
        intents.push(message).unwrap().expect("there is room");
        let decision = hostile.decision(&mut events);
        assert_eq!((decision.outcome, decision.reason), (Outcome::Rejected, Reason::RoleForbidden));
    }
    scene.ends_with_quarantines(0);
}

#[test]
fn a_strategy_may_not_control_the_gate() {
    let scene = Scene::new();
    let mut client = scene.world.attach("hostile");
    let request = ringfence_ipc::handshake::ControlRequest::Stop;
    assert!(client.control(request).is_err());
    await_that("it is thrown out", PATIENCE, || !client.is_connected());
    scene.ends_with_quarantines(0);
}

#[test]
fn seals_first() {
    let scene = Scene::new();
    let path = scene.world.config.socket_path();
    for seals in [SealFlags::SEAL, SealFlags::FUTURE_WRITE, SealFlags::FUTURE_WRITE | SealFlags::SEAL] {
        let mut outcome = None;
        await_that("the name is free", PATIENCE, || {
            let Ok(hostile) = Raw::begin(&path, &hello(Role::Strategy, "hostile")) else { return false };
            rustix::fs::fcntl_add_seals(&hostile.intents_fd, seals).unwrap();
            outcome = Some(hostile.mapped());
            true
        });
        let sealed_shut = seals.contains(SealFlags::SEAL);
        let refused = matches!(outcome, Some(Err((RefusalCode::Seals, _))));
        // The one seal that the gate adds anyway changes nothing when it is there before.
        assert_eq!(refused, sealed_shut, "{seals:?}: {outcome:?}");
    }
    scene.ends_with_quarantines(0);
}

#[test]
fn never_says_mapped() {
    let scene = Scene::new();
    let path = scene.world.config.socket_path();
    let hostile = Raw::begin(&path, &hello(Role::Strategy, "hostile")).unwrap();
    let silent = connect(&path);
    assert!(Client::attach(scene.world.options("hostile")).is_err(), "the name is taken meanwhile");
    let _ = hostile.thrown_out();
    let _ = thrown_out(&silent);
    drop(scene.world.attach("hostile"));
    scene.ends_with_quarantines(0);
}

#[test]
fn floods_the_control_socket_with_connections() {
    let scene = Scene::new();
    let path = scene.world.config.socket_path();
    for _ in 0..2000 {
        // A full backlog refuses by itself.
        drop(socket::connect(&path));
    }
    await_that("most are held back", PATIENCE, || scene.world.counter(Counter::AttachesRefused) > 500);
    // Others attach as soon as the flood is over.
    drop(Client::attach_patiently(scene.world.options("late"), PATIENCE).unwrap());
    scene.ends_with_quarantines(0);
}

#[test]
fn floods_its_connection_with_packets() {
    let scene = Scene::new();
    let hostile = scene.hostile();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let flood = std::thread::spawn(move || {
        let mut sent = 0_u64;
        let socket = hostile.socket.as_fd();
        while !stopped.load(Ordering::Relaxed) && socket::send(socket, &Packet::Mapped, &[]).is_ok() {
            sent += 1;
        }
        sent
    });
    for number in 0..5 {
        drop(Client::attach_patiently(scene.world.options(&format!("other-{number}")), PATIENCE).unwrap());
    }
    await_that("the flood is cut off", PATIENCE, || flood.is_finished());
    stop.store(true, Ordering::Relaxed);
    flood.join().unwrap();
    scene.ends_with_quarantines(0);
}

#[test]
fn sends_garbage_packets() {
    let scene = Scene::new();
    let path = scene.world.config.socket_path();
    let mut dice = Dice::new(17);
    for length in [1_usize, 3, 4, 5, 16, 100, 1000, 4096, 4097, 8192, 60_000] {
        let socket = connect(&path);
        let mut bytes: Vec<u8> = (0..length).map(|_| dice.below(256) as u8).collect();
        if length > 5 {
            // As if it were one of ours, to reach deeper.
            bytes[..4].copy_from_slice(b"RFv1");
            bytes[4] = (dice.below(8) + 1) as u8;
        }
        rustix::net::send(&socket, &bytes, SendFlags::NOSIGNAL).unwrap();
        let refusal = thrown_out(&socket);
        assert!(
            matches!(refusal, Some((RefusalCode::Protocol | RefusalCode::Version, _))),
            "{length}: {refusal:?}"
        );
    }
    // What is well formed and comes at the wrong time.
    for packet in
        [Packet::Mapped, Packet::Active { journal_position: 1 }, Packet::ControlDone { journal_seq: 1 }]
    {
        let socket = connect(&path);
        socket::send(socket.as_fd(), &packet, &[]).unwrap();
        assert_eq!(thrown_out(&socket).map(|(code, _)| code), Some(RefusalCode::Protocol), "{packet:?}");
    }
    scene.ends_with_quarantines(0);
}

#[test]
fn speaks_another_version() {
    let scene = Scene::new();
    let path = scene.world.config.socket_path();
    let good = hello(Role::Strategy, "hostile");
    let mut other_major = good.clone();
    other_major.version.0 += 1;
    let mut other_layout = good.clone();
    other_layout.layout_hash ^= 1;
    for hello in [other_major, other_layout] {
        let refusal = Raw::begin(&path, &hello).err().map(|(code, _)| code);
        assert_eq!(refusal, Some(RefusalCode::Version));
    }
    let mut other_minor = good;
    other_minor.version.1 += 1;
    Raw::begin(&path, &other_minor).expect("a newer minor version is served").mapped().unwrap();
    scene.ends_with_quarantines(0);
}

#[test]
fn passes_fds_to_the_gate() {
    let scene = Scene::new();
    let path = scene.world.config.socket_path();
    let (read_end, write_end) = rustix::pipe::pipe().unwrap();
    let socket = connect(&path);
    let packet = Packet::Hello(hello(Role::Strategy, "hostile"));
    socket::send(socket.as_fd(), &packet, &[write_end.as_fd(); 3]).unwrap();
    let (answer, fds) = receive(&socket).expect("the hello is answered all the same");
    assert!(matches!(answer, Packet::Welcome(_)) && fds.len() == 3, "{answer:?}");
    drop(write_end);
    // Nobody holds the other end any more, the gate least of all.
    assert_eq!(rustix::io::read(&read_end, &mut [0; 1]).unwrap(), 0);
    scene.ends_with_quarantines(0);
}

#[test]
fn two_clients_of_the_same_name() {
    let scene = Scene::new();
    let first = scene.world.attach("same");
    let second = Client::attach(scene.world.options("same"));
    assert!(matches!(second, Err(AttachError::Refused { code: RefusalCode::NameTaken, .. })));
    assert!(first.is_connected());
    drop(first);
    drop(scene.world.attach("same"));
    scene.ends_with_quarantines(0);
}

#[test]
fn a_stale_ticket_is_refused() {
    let scene = Scene::new();
    let path = scene.world.config.socket_path();
    let first = scene.world.attach("resumer");
    let stale = first.ticket();
    drop(first);
    let second = scene.world.attach("resumer");
    let newest = second.ticket();
    drop(second);
    let try_with = |ticket| {
        let mut outcome = None;
        await_that("the name is free", PATIENCE, || {
            let hello =
                ringfence_ipc::handshake::Hello { ticket: Some(ticket), ..hello(Role::Strategy, "resumer") };
            let begun = Raw::begin(&path, &hello).map(drop).map_err(|(code, _)| code);
            let taken = begun == Err(RefusalCode::NameTaken);
            outcome = Some(begun);
            !taken
        });
        outcome.unwrap()
    };
    assert_eq!(try_with(stale), Err(RefusalCode::Ticket));
    assert_eq!(try_with(newest), Ok(()));
    scene.ends_with_quarantines(0);
}

#[test]
fn a_wrong_identity_is_refused() {
    let world = World::new(|config| {
        let key_file = config.data_dir.with_file_name("key");
        let mut keyed = anybody("strategy");
        (keyed.name, keyed.key_file) = ("keyed".into(), Some(key_file));
        let mut stranger = anybody("strategy");
        stranger.name = "stranger".into();
        stranger.uid = stranger.uid.map(|uid| uid + 1);
        let mut honest = anybody("strategy");
        honest.name = "honest".into();
        config.clients = vec![keyed, stranger, honest];
    });
    let key_file = world.dir().join("key");
    std::fs::write(&key_file, [7; 32]).unwrap();
    std::fs::set_permissions(&key_file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let scene = Scene::in_world(world);
    let attempt = |role, name: &str, key| {
        let mut options = scene.world.options(name);
        (options.role, options.key) = (role, key);
        Client::attach(options).map(drop)
    };
    for (role, name, key) in [
        (Role::Strategy, "keyed", None),
        (Role::Strategy, "keyed", Some([8; 32])),
        (Role::Strategy, "stranger", None),
        (Role::Strategy, "nobody", None),
        (Role::Operator, "keyed", Some([7; 32])),
        (Role::Venue, "honest", None),
    ] {
        let refused = attempt(role, name, key);
        let identity = matches!(refused, Err(AttachError::Refused { code: RefusalCode::Identity, .. }));
        assert!(identity, "{role:?} {name} {key:?}: {refused:?}");
    }
    attempt(Role::Strategy, "keyed", Some([7; 32])).expect("the right key opens");
    scene.ends_with_quarantines(0);
}

#[test]
fn keeps_only_its_own_ring_full() {
    let scene = Scene::new();
    let mut hostile = scene.world.attach("hostile");
    // Never polls: its own answers fill its own ring, then it is made to wait.
    let mut sent = 0;
    await_that("the ring is full", PATIENCE, || {
        for _ in 0..256 {
            let intent = Intent { qty: -1, ..order(sent + 1, hostile.now_ns()) };
            match hostile.submit(&intent) {
                Ok(_) => sent += 1,
                Err(SubmitError::Full) => return hostile.unanswered() > 1200,
                Err(other) => panic!("{other}"),
            }
        }
        false
    });
    assert!(hostile.is_connected(), "waiting is not a fault");
    let mut answers = 0;
    await_that("every answer", PATIENCE, || {
        while let Some(event) = hostile.poll() {
            answers += u128::from(matches!(event, Event::Decision(_)));
        }
        answers == sent
    });
    scene.ends_with_quarantines(0);
}
