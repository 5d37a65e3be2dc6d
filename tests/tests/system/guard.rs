//! Kill switch, HALT and StormGuard in a running gate.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ringfence_core::config::{CoreConfig, Levels, Limits, Lockstep, StormConfig, StrategyConfig, Tier};
use ringfence_ipc::client::{AttachOptions, Client, ControlError, Event};
use ringfence_ipc::counters::Counter;
use ringfence_ipc::feed::FeedClient;
use ringfence_ipc::handshake::{ControlRefusal, ControlRequest, Role};
use ringfence_ipc::journal::{ControlKind, ControlRecord, Note, Record};
use ringfence_ipc::msg::{Decision, Intent, IntentKind, Outcome, Quote, ReportKind, Side};
use ringfence_ipc::reason::{Mode, Reason, Scope, StormCause, StormState};
use ringfence_tests::diary::Diary;
use ringfence_tests::hammer::Hammer;
use ringfence_tests::http::{Shell, post};
use ringfence_tests::process::{Process, run};
use ringfence_tests::world::{PATIENCE, World};
use ringfence_tests::{await_that, both_cpus, size};
use rustix::process::{Pid, Signal, kill_process};

const LOT: i64 = 1000;
const COIN: i64 = 100_000_000;
const PRICE: i64 = 6_000_000;

fn note(text: &str) -> Note {
    Note::new(text).unwrap()
}

fn operator(world: &World) -> Client {
    let options = AttachOptions::new(world.config.socket_path(), Role::Operator, "desk");
    Client::attach_patiently(options, PATIENCE).unwrap()
}

fn rearm(client: &mut Client, reason: &str) -> Result<(), ControlError> {
    let (scope, scope_id) = (Scope::Global, 0);
    client.control(ControlRequest::Rearm { scope, scope_id, note: note(reason) }).map(drop)
}

/// Submits one intent and waits for its decision.
fn decide(client: &mut Client, intent: &Intent) -> Decision {
    client.submit(intent).unwrap();
    let mut decided = None;
    await_that("a decision", PATIENCE, || {
        while let Some(event) = client.poll() {
            match event {
                Event::Decision(decision) => decided = Some(decision),
                Event::Lost => client.reattach(PATIENCE).unwrap(),
                _ => {}
            }
        }
        decided.is_some()
    });
    decided.unwrap()
}

/// Keys that no test uses twice.
fn buy(client: &Client, key: &mut u128, price: i64) -> Intent {
    *key += 1;
    Intent::limit(0, Side::Buy, price, LOT, *key, client.now_ns())
}

// ---- the kill switch, pulled in every way while a strategy hammers ----

/// One way to pull it.
type Pull = fn(&World, &Process, &Shell);

fn by_http(_: &World, _: &Process, shell: &Shell) {
    let answer = post(shell.address, "/api/kill", r#"{"reason":"test"}"#).unwrap();
    assert_eq!(
        (answer.status, answer.body["guard"]["passing"].as_str()),
        (200, Some("KILLED")),
        "{answer:?}"
    );
}

fn by_command(_: &World, _: &Process, shell: &Shell) {
    let url = format!("http://{}", shell.address);
    let output = run(&["kill", "--reason", "test", "--url", &url], &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn by_file(world: &World, _: &Process, _: &Shell) {
    std::fs::write(world.config.kill_path(), "").unwrap();
}

fn by_signal(_: &World, core: &Process, _: &Shell) {
    let pid = i32::try_from(core.pid()).ok().and_then(Pid::from_raw).unwrap();
    kill_process(pid, Signal::USR1).unwrap();
}

fn is_control(record: &Record, kind: ControlKind) -> bool {
    matches!(record, Record::Control(ControlRecord { control, .. }) if *control == kind)
}

/// Hammers, kills, hammers on; then the journal tells what left after the kill. Says how many orders were given back
/// unsent.
fn kill_while_hammering(way: &str, tier: Tier, pull: Pull) -> usize {
    let wanted = size("RINGFENCE_KILLED_INTENTS", 3_000);
    let world = World::new(|config| {
        config.journal.tier = tier;
        let limits = Limits::default();
        config.strategies.push(StrategyConfig { name: "manual".into(), limits, ..StrategyConfig::default() });
    });
    let core = world.start_ready();
    let shell = Shell::start(&world);
    let diary = Diary::create(&world.dir().join("diary"), 1 << 20);
    let stop = Arc::new(AtomicBool::new(false));
    let hammer = {
        let (stop, client) = (Arc::clone(&stop), world.attach("hammer"));
        std::thread::spawn(move || Hammer::new(client, diary, 1, 1).run(&stop))
    };
    await_that("orders flow", PATIENCE, || world.counter(Counter::Accepted) > 1_000);
    let pulled = Instant::now();
    pull(&world, &core, &shell);
    await_that("it is killed", PATIENCE, || world.counter(Counter::Mode) == Mode::Killed as u64);
    let took = pulled.elapsed();
    let before = world.counter(Counter::Intents);
    await_that("the hammer goes on", PATIENCE, || world.counter(Counter::Intents) > before + wanted);
    stop.store(true, Ordering::Relaxed);
    hammer.join().expect("the hammer was treated well");
    await_that("every order is cancelled", PATIENCE, || world.counter(Counter::OpenOrders) == 0);
    assert!(core.stop(PATIENCE).success());
    let journal = world.journal();
    let kill = journal.iter().position(|(_, r)| is_control(r, ControlKind::SetMode(Mode::Killed))).unwrap();
    let (mut cancels, mut commands, mut unsent) = (0, 0, 0);
    for (position, record) in &journal[kill..] {
        if matches!(record, Record::Report(report) if report.kind == ReportKind::LostBeforeSend) {
            unsent += 1;
        }
        let Record::Decision(made) = record else { continue };
        match made.intent.kind {
            IntentKind::Cancel | IntentKind::MassCancel => cancels += 1,
            _ if made.outcome == Outcome::Accepted => {
                commands += 1;
                println!("after the kill, at {position}: {made:?}");
            }
            _ => {}
        }
    }
    println!(
        "kill by {way}: {took:?}; then {wanted} intents, {cancels} cancels, {commands} commands; {unsent} given back"
    );
    assert_eq!(commands, 0, "a command left after the kill by {way}");
    let _ = std::fs::remove_file(world.config.kill_path());
    unsent
}

#[test]
fn after_a_kill_no_command_leaves_whichever_way_it_came() {
    let _turn = both_cpus();
    let ways: [(&str, Pull); 4] =
        [("http", by_http), ("command", by_command), ("file", by_file), ("signal", by_signal)];
    for (way, pull) in ways {
        assert_eq!(kill_while_hammering(way, Tier::Process, pull), 0, "nothing waits in tier process");
    }
}

#[test]
fn after_a_kill_no_command_leaves_that_waited_for_the_disk() {
    let _turn = both_cpus();
    // Where the disk has just caught up nothing waits when the kill comes.
    let waited = (0..10).any(|_| kill_while_hammering("signal", Tier::Power, by_signal) > 0);
    assert!(waited, "no order waited for the disk in any round");
}

#[test]
fn the_command_line_reaches_a_gate_without_a_shell() {
    let world = World::new(|_| ());
    let _core = world.start_ready();
    let mut desk = operator(&world);
    let (scope, scope_id) = (Scope::Global, 0);
    let kill =
        ControlRequest::SetMode { scope, scope_id, mode: Mode::Killed, cancel_orders: None, note: note("x") };
    desk.control(kill).unwrap();
    let data = world.config.data_dir.display().to_string();
    let output = run(&["rearm", "--reason", "checked", "--data", &data], &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(world.counter(Counter::Mode), Mode::AllowAll as u64);
}

#[test]
fn the_kill_file_holds_the_gate_until_it_is_gone() {
    let world = World::new(|_| ());
    std::fs::create_dir_all(&world.config.run_dir).unwrap();
    std::fs::write(world.config.kill_path(), "").unwrap();
    let core = world.start_ready();
    let (mut client, mut key) = (world.attach("hammer"), 0);
    let intent = buy(&client, &mut key, PRICE);
    assert_eq!(decide(&mut client, &intent).reason, Reason::Killed, "it was there before the gate");
    let mut desk = operator(&world);
    let refused = rearm(&mut desk, "checked").unwrap_err();
    assert!(matches!(refused, ControlError::Refused(ControlRefusal::KillFile)), "{refused}");
    std::fs::remove_file(world.config.kill_path()).unwrap();
    assert_eq!(decide(&mut client, &intent).reason, Reason::Killed, "only a re-arm takes it back");
    rearm(&mut desk, "checked").unwrap();
    assert_eq!(decide(&mut client, &intent).reason, Reason::Ok);
    assert!(core.stop(PATIENCE).success());
}

// ---- HALT ----

#[test]
fn halt_survives_kill_9_and_needs_an_operator_with_a_reason() {
    let world = World::new(|_| ());
    let mut core = world.start_ready();
    let (mut client, mut key) = (world.attach("hammer"), 0);
    let mut desk = operator(&world);
    let resting = buy(&client, &mut key, PRICE);
    assert_eq!(decide(&mut client, &resting).outcome, Outcome::Accepted);
    let done =
        desk.control(ControlRequest::Halt { cancel_orders: true, note: note("exchange down") }).unwrap();
    assert_eq!(done.cancelling, 1);
    let blocked = buy(&client, &mut key, PRICE);
    assert_eq!(decide(&mut client, &blocked).reason, Reason::Halted);
    for _ in 0..3 {
        core.kill();
        core = world.start_ready();
        let blocked = buy(&client, &mut key, PRICE);
        assert_eq!(decide(&mut client, &blocked).reason, Reason::Halted, "a restart is no re-arm");
    }
    let mut desk = operator(&world);
    for blank in ["", "  "] {
        let refused = rearm(&mut desk, blank).unwrap_err();
        assert!(matches!(refused, ControlError::Refused(ControlRefusal::NoteRequired)), "{refused}");
    }
    // Whoever is no operator is thrown out for asking.
    for (role, name) in [(Role::Strategy, "stranger"), (Role::Observer, "watcher")] {
        let options = AttachOptions::new(world.config.socket_path(), role, name);
        let mut stranger = Client::attach_patiently(options, PATIENCE).unwrap();
        let refused = rearm(&mut stranger, "let me").unwrap_err();
        assert!(matches!(refused, ControlError::Connection(_)), "{refused}");
    }
    let blocked = buy(&client, &mut key, PRICE);
    assert_eq!(decide(&mut client, &blocked).reason, Reason::Halted);
    rearm(&mut desk, "exchange is back").unwrap();
    assert_eq!(decide(&mut client, &blocked).reason, Reason::Ok);
    assert!(core.stop(PATIENCE).success());
    let rearms = world.journal().into_iter().filter_map(|(_, record)| match record {
        Record::Control(ControlRecord { control: ControlKind::Rearm { .. }, note, client, .. }) => {
            Some((note.text().to_owned(), client > 0))
        }
        _ => None,
    });
    assert_eq!(rearms.collect::<Vec<_>>(), [("exchange is back".to_owned(), true)]);
}

// ---- StormGuard, from what really happens ----

/// A gate whose StormGuard looks at one thing, a strategy, and a feed.
struct Weather {
    world: World,
    core: Option<Process>,
    client: Client,
    feed: FeedClient,
    key: u128,
}

impl Weather {
    fn new(storm: StormConfig, edit: impl FnOnce(&mut CoreConfig)) -> Self {
        let world = World::new(|config| {
            config.storm = StormConfig {
                clear_checks: Some(3),
                cooldown_ms: Some(50),
                check_interval_ms: Some(2),
                ..storm
            };
            edit(config);
        });
        let core = Some(world.start_ready());
        let client = world.attach("hammer");
        let options = AttachOptions::new(world.config.socket_path(), Role::Feed, "feed");
        let feed = FeedClient::attach(options, PATIENCE).unwrap();
        Self { world, core, client, feed, key: 0 }
    }

    fn quote(&mut self, bid_price: i64, ask_price: i64) {
        let (event, ts_ns) = (self.feed.next_event(), self.feed.now_ns());
        let quote = Quote { symbol: 0, event, ts_ns, bid_price, bid_qty: COIN, ask_price, ask_qty: COIN };
        self.feed.publish(&[quote.encode()]).unwrap();
    }

    fn buy(&mut self, price: i64) -> Decision {
        let intent = buy(&self.client, &mut self.key, price);
        decide(&mut self.client, &intent)
    }

    fn await_state(&mut self, state: StormState, mut meanwhile: impl FnMut(&mut Self)) {
        await_that(state.name(), PATIENCE, || {
            meanwhile(self);
            self.world.counter(Counter::StormState) == state as u64
        });
    }

    /// It was this cause that brought STORM, orders were refused for it, and calm ended it.
    fn ends(mut self, cause: StormCause) {
        assert!(self.core.take().unwrap().stop(PATIENCE).success());
        let transitions: Vec<_> = self
            .world
            .journal()
            .into_iter()
            .filter_map(|(_, record)| match record {
                Record::Control(ControlRecord {
                    control: ControlKind::Storm { state, cause, .. }, ..
                }) => Some((state, cause)),
                _ => None,
            })
            .collect();
        let calm = StormCause::Calm;
        assert_eq!(transitions[0], (StormState::Storm, cause), "{transitions:?}");
        assert!(transitions.contains(&(StormState::Normal, calm)), "{transitions:?}");
    }
}

fn storm_at(value: i64) -> Levels {
    Levels { storm: Some(value), ..Levels::default() }
}

#[test]
fn a_silent_feed_brings_a_storm_and_its_return_ends_it() {
    let storm = StormConfig { feed_gap_ms: storm_at(300), ..StormConfig::default() };
    let mut weather = Weather::new(storm, |_| ());
    weather.quote(PRICE - 1, PRICE + 1);
    weather.await_state(StormState::Storm, |_| ());
    assert_eq!(weather.buy(PRICE / 2).reason, Reason::StormCancelOnly);
    weather.await_state(StormState::Normal, |weather| weather.quote(PRICE - 1, PRICE + 1));
    weather.ends(StormCause::FeedGap);
}

#[test]
fn a_crossed_book_brings_a_storm() {
    let storm = StormConfig { crossed_ms: storm_at(20), ..StormConfig::default() };
    let mut weather = Weather::new(storm, |_| ());
    weather.quote(PRICE + 1, PRICE - 1);
    weather.await_state(StormState::Storm, |_| ());
    assert_eq!(weather.buy(PRICE / 2).reason, Reason::StormCancelOnly);
    weather.quote(PRICE - 1, PRICE + 1);
    weather.await_state(StormState::Normal, |_| ());
    weather.ends(StormCause::CrossedBook);
}

#[test]
fn a_venue_that_does_not_answer_brings_a_storm() {
    let storm = StormConfig { round_trip_ms: storm_at(100), ..StormConfig::default() };
    let mut weather = Weather::new(storm, |config| config.paper.latency_ns = 1_000_000_000);
    weather.quote(PRICE - 1, PRICE + 1);
    assert_eq!(weather.buy(PRICE / 2).reason, Reason::Ok);
    let asked = Instant::now();
    weather.await_state(StormState::Storm, |_| ());
    assert!(asked.elapsed() < Duration::from_secs(1), "it is seen before the answer comes");
    assert_eq!(weather.buy(PRICE / 2).reason, Reason::StormCancelOnly);
    weather.await_state(StormState::Normal, |_| ());
    weather.ends(StormCause::RoundTrip);
}

#[test]
fn a_burst_of_rejects_brings_a_storm_and_what_is_refused_for_free_does_not() {
    let storm = StormConfig { rejects_per_s: storm_at(20), ..StormConfig::default() };
    let mut weather =
        Weather::new(storm, |config| config.strategies[0].limits.max_order_qty = Some("0.00001".into()));
    for _ in 0..100 {
        let late = Intent { ttl_ns_or_target: 1, ..buy(&weather.client, &mut weather.key, PRICE) };
        let late = Intent { client_ts_ns: late.client_ts_ns - 1_000, ..late };
        assert_eq!(decide(&mut weather.client, &late).reason, Reason::TtlExpired);
    }
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(weather.world.counter(Counter::StormState), StormState::Normal as u64);
    weather.await_state(StormState::Storm, |weather| {
        let large = Intent { qty: 2 * LOT, ..buy(&weather.client, &mut weather.key, PRICE) };
        decide(&mut weather.client, &large);
    });
    weather.await_state(StormState::Normal, |_| ());
    weather.ends(StormCause::Rejects);
}

#[test]
fn a_loss_brings_a_storm_in_which_the_position_can_be_flattened() {
    let storm =
        StormConfig { capital: Some("1000".into()), drawdown_bps: storm_at(100), ..StormConfig::default() };
    let mut weather = Weather::new(storm, |_| ());
    weather.quote(PRICE - 1, PRICE + 1);
    let held = {
        let intent = buy(&weather.client, &mut weather.key, PRICE + 1);
        decide(&mut weather.client, &Intent { qty: COIN / 1000, ..intent })
    };
    assert_eq!(held.reason, Reason::Ok);
    await_that("the fill", PATIENCE, || weather.world.counter(Counter::Fills) == 1);
    // A thousandth of a coin lost 20,000.00 a coin: 20 of 1,000.
    weather.await_state(StormState::Storm, |weather| weather.quote(PRICE - 2_000_001, PRICE - 1_999_999));
    assert_eq!(weather.buy(PRICE / 2).reason, Reason::StormCancelOnly);
    let flat = {
        let intent = buy(&weather.client, &mut weather.key, 0);
        decide(&mut weather.client, &Intent { kind: IntentKind::ForceFlat, qty: 0, ..intent })
    };
    assert_eq!(flat.reason, Reason::Ok);
    await_that("the position is flat", PATIENCE, || weather.world.counter(Counter::Fills) == 2);
    let state = weather.world.counter(Counter::StormState);
    assert_eq!(state, StormState::Storm as u64, "the loss is booked, not gone");
    let _ = weather.core.take().unwrap().stop(PATIENCE);
}

// ---- lockstep ----

/// One run over a market with crossed spells and silences; its state hash and StormGuard's transitions.
fn in_lockstep(events: u64) -> (String, Vec<ControlKind>) {
    let world = World::new(|config| {
        config.lockstep = Some(Lockstep { strategies: 1, seed: 3 });
        config.strategies[0].limits.max_order_qty = Some("0.00002".into());
        config.storm = StormConfig {
            crossed_ms: Levels { warm: Some(2), storm: Some(5), halt: None },
            feed_gap_ms: storm_at(50),
            rejects_per_s: storm_at(200),
            clear_checks: Some(3),
            cooldown_ms: Some(10),
            check_interval_ms: Some(1),
            ..StormConfig::default()
        };
    });
    let gate = world.start_here();
    let mut client = world.attach("hammer");
    let options = AttachOptions::new(world.config.socket_path(), Role::Feed, "feed");
    let mut feed = FeedClient::attach(options, PATIENCE).unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let strategy = {
        let over = Arc::clone(&over);
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let Some(event) = client.poll() else {
                    std::thread::sleep(Duration::from_micros(20));
                    continue;
                };
                let Event::Step(step) = event else { continue };
                let qty = if step.event % 7 == 0 { 3 * LOT } else { LOT };
                let key = u128::from(step.event);
                client.submit(&Intent::limit(0, Side::Buy, PRICE, qty, key, step.now_ns)).unwrap();
                assert!(client.step_done(step.event).unwrap());
            }
        })
    };
    let mut ts_ns = 1_000_000_000;
    for event in 1..=events {
        ts_ns += if event % 250 == 0 { 80_000_000 } else { 1_000_000 };
        let crossed = event % 100 > 90;
        let (bid_price, ask_price) = if crossed { (PRICE + 5, PRICE) } else { (PRICE - 5, PRICE + 5) };
        let quote = Quote { symbol: 0, event, ts_ns, bid_price, bid_qty: COIN, ask_price, ask_qty: COIN };
        await_that("room on the tape", PATIENCE, || feed.publish(&[quote.encode()]).is_ok());
    }
    await_that("the tape ends", PATIENCE, || feed.publish_end().is_ok());
    await_that("the gate has it", PATIENCE, || world.counter(Counter::TapeFinished) == 1);
    over.store(true, Ordering::Relaxed);
    strategy.join().unwrap();
    let summary = gate.stop();
    let transitions = world.journal().into_iter().filter_map(|(_, record)| match record {
        Record::Control(ControlRecord { control: control @ ControlKind::Storm { .. }, .. }) => Some(control),
        _ => None,
    });
    (summary.state_hash, transitions.collect())
}

#[test]
fn lockstep_storms_at_the_same_events_to_the_same_hash() {
    let _turn = both_cpus();
    let events = size("RINGFENCE_LOCKSTEP_EVENTS", 1_500);
    let (first, second) = (in_lockstep(events), in_lockstep(events));
    println!("lockstep: {events} events, {} transitions, {}", first.1.len(), first.0);
    assert!(first.1.len() > 20, "{:?}", first.1);
    assert_eq!(first, second);
}
