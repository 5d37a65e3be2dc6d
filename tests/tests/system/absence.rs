//! Whoever watches orders goes away: clients and the operator's process, killed and restarted.

use std::time::{Duration, Instant};

use ringfence_core::config::{CoreConfig, OnDisconnect, OnOperatorGone, StrategyConfig};
use ringfence_ipc::client::{AttachOptions, Client, Event};
use ringfence_ipc::counters::Counter;
use ringfence_ipc::handshake::Role;
use ringfence_ipc::journal::{ControlKind, ControlRecord, Record};
use ringfence_ipc::msg::{Intent, IntentKind, Outcome, Side};
use ringfence_ipc::reason::{CancelCause, Scope, StormCause, StormState};
use ringfence_tests::await_that;
use ringfence_tests::diary::Diary;
use ringfence_tests::http::{Shell, post};
use ringfence_tests::process::Process;
use ringfence_tests::world::{PATIENCE, World};

/// Long enough for anything that should not happen to happen.
const QUIET: Duration = Duration::from_millis(300);

fn cancels_within(grace_ms: u64) -> impl FnOnce(&mut CoreConfig) {
    move |config| {
        config.strategies[0].on_disconnect = OnDisconnect::Cancel;
        config.strategies[0].resume_grace_ms = grace_ms;
    }
}

/// A strategy with one resting order.
fn with_an_order(world: &World, key: u128) -> Client {
    let mut client = world.attach("hammer");
    client.submit(&Intent::limit(0, Side::Buy, 100_000, 1000, key, client.now_ns())).unwrap();
    let mut accepted = false;
    await_that("the order rests", PATIENCE, || {
        while let Some(event) = client.poll() {
            accepted |= matches!(event, Event::Report(_));
        }
        accepted
    });
    client
}

fn mass_cancels(world: &World) -> Vec<(Scope, u16, CancelCause)> {
    let journal = world.journal().into_iter();
    journal
        .filter_map(|(_, record)| match record {
            Record::Control(ControlRecord {
                control: ControlKind::CancelOrders { cause, .. },
                scope,
                scope_id,
                client: 0,
                ..
            }) => Some((scope, scope_id, cause)),
            _ => None,
        })
        .collect()
}

fn open_orders(world: &World) -> u64 {
    world.counter(Counter::OpenOrders)
}

#[test]
fn a_dead_strategys_orders_are_cancelled_after_what_it_published() {
    let world = World::new(cancels_within(0));
    let core = world.start_ready();
    let mut quickest = Duration::MAX;
    for round in 1..=5u64 {
        let path = world.dir().join(format!("diary-{round}"));
        drop(Diary::create(&path, 1 << 19));
        let (socket, diary) = (world.config.socket_path().display().to_string(), path.display().to_string());
        let birth = if round == 1 { "new" } else { "reborn" };
        // Every process of it goes on with keys of its own.
        let args = [socket.as_str(), "hammer", &diary, &round.to_string(), birth, "0"];
        let hammer =
            Process::start(env!("CARGO_BIN_EXE_hammer").as_ref(), &args, &world.dir().join("hammer.log"));
        await_that("orders rest", PATIENCE, || open_orders(&world) > 20);
        hammer.kill();
        let died = Instant::now();
        await_that("its orders are cancelled", PATIENCE, || {
            world.counter(Counter::AbandonedCancels) == round
        });
        quickest = quickest.min(died.elapsed());
        await_that("nothing is open", PATIENCE, || open_orders(&world) == 0);
    }
    println!("a strategy's death is seen and its cancels owed within {quickest:?}, the quickest of five");
    assert!(quickest < Duration::from_millis(50));
    assert!(core.stop(PATIENCE).success());
    let strategy = 1;
    assert_eq!(mass_cancels(&world), [(Scope::Strategy, strategy, CancelCause::ClientGone); 5]);
    // Whatever it had published was decided first: no order of it came behind its cancel and before its next life.
    let mut gone = false;
    for (position, record) in world.journal() {
        match record {
            Record::Control(ControlRecord { control: ControlKind::CancelOrders { .. }, .. }) => gone = true,
            Record::Attach(_) => gone = false,
            Record::Decision(made) if gone && made.intent.kind == IntentKind::New => {
                assert_eq!(made.outcome, Outcome::Rejected, "{position}: {made:?}");
            }
            _ => {}
        }
    }
}

#[test]
fn who_comes_back_in_time_keeps_its_orders() {
    let world = World::new(cancels_within(2_000));
    let core = world.start_ready();
    drop(with_an_order(&world, 1));
    std::thread::sleep(QUIET);
    let client = world.attach("hammer");
    std::thread::sleep(Duration::from_millis(2_000));
    assert_eq!((open_orders(&world), world.counter(Counter::AbandonedCancels)), (1, 0));
    drop(client);
    await_that("the grace is over", PATIENCE, || world.counter(Counter::AbandonedCancels) == 1);
    await_that("the order is cancelled", PATIENCE, || open_orders(&world) == 0);
    assert!(core.stop(PATIENCE).success());
}

#[test]
fn who_is_configured_to_keep_keeps() {
    let world = World::new(|_| ());
    let core = world.start_ready();
    drop(with_an_order(&world, 1));
    std::thread::sleep(QUIET);
    assert_eq!(open_orders(&world), 1);
    assert!(core.stop(PATIENCE).success());
    assert_eq!(mass_cancels(&world), []);
}

#[test]
fn a_strategy_that_died_with_its_gate_and_stays_away_is_cancelled() {
    let world = World::new(cancels_within(0));
    let core = world.start_ready();
    let client = with_an_order(&world, 1);
    core.kill();
    drop(client);
    let core = world.start_ready();
    let born = Instant::now();
    await_that("its orders are cancelled", PATIENCE, || world.counter(Counter::AbandonedCancels) == 1);
    let took = born.elapsed();
    assert!(took > Duration::from_secs(3), "everybody has time to come back to a new gate: {took:?}");
    await_that("the order is cancelled", PATIENCE, || open_orders(&world) == 0);
    assert!(core.stop(PATIENCE).success());
}

/// A gate with a shell, an order over HTTP, and an order of a strategy that stays attached; then the shell dies.
fn lose_the_shell(policy: OnOperatorGone) -> (World, Process, Client) {
    let world = World::new(|config| {
        config.operator.on_disconnect = policy;
        config.operator.resume_grace_ms = 100;
        config.strategies.push(StrategyConfig { name: "manual".into(), ..StrategyConfig::default() });
    });
    let core = world.start_ready();
    let client = with_an_order(&world, 1);
    let shell = Shell::start(&world);
    let order = r#"{"side":"BUY","symbol":"BTCUSDT","qty":"0.5","price":"1000.00"}"#;
    assert_eq!(post(shell.address, "/api/order", order).unwrap().status, 200);
    await_that("both rest", PATIENCE, || open_orders(&world) == 2);
    // Another operator comes and goes: nobody watches for it.
    let options = AttachOptions::new(world.config.socket_path(), Role::Operator, "cli");
    drop(Client::attach_patiently(options, PATIENCE).unwrap());
    std::thread::sleep(QUIET);
    assert_eq!(open_orders(&world), 2);
    shell.process.kill();
    (world, core, client)
}

#[test]
fn the_dead_man_switch_cancels_what_nobody_watches() {
    let (world, core, _client) = lose_the_shell(OnOperatorGone::Cancel);
    await_that("the manual order is cancelled", PATIENCE, || open_orders(&world) == 1);
    std::thread::sleep(QUIET);
    assert_eq!(open_orders(&world), 1, "the strategy has a client of its own");
    assert!(core.stop(PATIENCE).success());
    assert_eq!(mass_cancels(&world), [(Scope::Strategy, 2, CancelCause::OperatorGone)]);
}

#[test]
fn the_dead_man_switch_cancels_all() {
    let (world, core, _client) = lose_the_shell(OnOperatorGone::CancelAll);
    await_that("every order is cancelled", PATIENCE, || open_orders(&world) == 0);
    assert_eq!(world.counter(Counter::StormState), StormState::Normal as u64);
    assert!(core.stop(PATIENCE).success());
}

#[test]
fn the_dead_man_switch_halts() {
    let (world, core, _client) = lose_the_shell(OnOperatorGone::Halt);
    await_that("the gate halts", PATIENCE, || world.counter(Counter::StormState) == StormState::Halt as u64);
    assert_eq!(world.counter(Counter::StormCause), StormCause::OperatorGone as u64);
    await_that("every order is cancelled", PATIENCE, || open_orders(&world) == 0);
    let shell = Shell::start(&world);
    let rearmed = post(shell.address, "/api/rearm", r#"{"reason":"the shell is back"}"#).unwrap();
    assert_eq!(rearmed.status, 200, "{rearmed:?}");
    assert_eq!(world.counter(Counter::StormState), StormState::Normal as u64);
    assert!(shell.process.stop(PATIENCE).success());
    assert!(core.stop(PATIENCE).success());
}

#[test]
fn a_shell_that_comes_back_in_time_changes_nothing() {
    let world = World::new(|config| {
        config.operator.on_disconnect = OnOperatorGone::Halt;
        config.operator.resume_grace_ms = 20_000;
    });
    let core = world.start_ready();
    let _client = with_an_order(&world, 1);
    Shell::start(&world).process.kill();
    let shell = Shell::start(&world);
    std::thread::sleep(QUIET);
    assert_eq!((open_orders(&world), world.counter(Counter::StormState)), (1, 0));
    assert!(shell.process.stop(PATIENCE).success());
    assert!(core.stop(PATIENCE).success());
}
