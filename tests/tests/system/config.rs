//! Configuration and the journal: what a restart may change, and what the journal knows by itself.

use std::ops::Range;

use ringfence_core::config::SymbolConfig;
use ringfence_ipc::client::{AttachOptions, Client, ControlError, Event};
use ringfence_ipc::handshake::{ControlRequest, Role};
use ringfence_ipc::journal::{ConfigOrigin, ConfigRecord, Note, Record};
use ringfence_ipc::msg::{Decision, Intent, Outcome, Side, Tif};
use ringfence_ipc::reason::{LimitId, Reason, Scope};
use ringfence_tests::process::{Process, run};
use ringfence_tests::world::{PATIENCE, World};
use ringfence_tests::{await_that, size};
use rustix::process::Signal;

/// One accepted order, so that the journal holds something that depends on the size of the tables.
fn one_order(world: &World) {
    let core = world.start_ready();
    let mut client = world.attach("hammer");
    client.submit(&Intent::limit(0, Side::Buy, 100, 1000, 1, client.now_ns())).unwrap();
    await_that("a decision", PATIENCE, || match client.poll() {
        Some(Event::Decision(decision)) => {
            assert_eq!(decision.outcome, Outcome::Accepted);
            true
        }
        _ => false,
    });
    drop(client);
    assert!(core.stop(PATIENCE).success());
}

#[test]
fn a_restart_keeps_the_order_table_and_may_enlarge_the_others() {
    let mut world = World::new(|_| ());
    one_order(&world);
    world.config.capacity.order_slots *= 2;
    world.save();
    let refused = run(&["core", "--config", &world.config_path().display().to_string()], &[]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("capacity.order_slots to 4096"), "{said}");
    world.config.capacity.order_slots /= 2;
    world.config.capacity.max_positions *= 2;
    world.config.capacity.max_strategies *= 2;
    world.save();
    let core = world.start_ready();
    drop(world.attach("newcomer"));
    assert!(core.stop(PATIENCE).success());
}

#[test]
fn what_a_strategy_may_trade_follows_the_file_from_start_to_start() {
    let mut world = World::new(|config| {
        let other = SymbolConfig { name: "ETHUSDT".into(), ..config.symbols[0].clone() };
        config.symbols.push(other);
    });
    let (btc, eth) = ("BTCUSDT".to_owned(), "ETHUSDT".to_owned());
    let mut key = 0;
    for (symbols, trades) in [
        (Some(vec![btc.clone()]), [true, false]),
        (Some(vec![eth]), [false, true]),
        (Some(Vec::new()), [false, false]),
        (None, [true, true]),
        (Some(vec![btc]), [true, false]),
    ] {
        world.config.strategies[0].symbols = symbols.clone();
        world.save();
        let core = world.start_ready();
        let mut client = world.attach("hammer");
        for (symbol, may) in (0..).zip(trades) {
            key += 1;
            let intent = Intent::limit(symbol, Side::Buy, 100, 1000, key, client.now_ns());
            client.submit(&intent).unwrap();
            let mut told = None;
            await_that("a decision", PATIENCE, || {
                let event = client.poll();
                told = told
                    .or(event.and_then(|e| if let Event::Decision(d) = e { Some(d.reason) } else { None }));
                told.is_some()
            });
            let reason = if may { Reason::Ok } else { Reason::NotEntitled };
            assert_eq!(told, Some(reason), "{symbols:?}, symbol {symbol}");
        }
        core.kill();
    }
}

#[test]
fn replay_needs_nothing_but_the_journal() {
    let world = World::new(|_| ());
    one_order(&world);
    std::fs::remove_file(world.config_path()).unwrap();
    let data = world.config.data_dir.display().to_string();
    let replayed = run(&["replay", "--data", &data, "--json"], &[]);
    let said = String::from_utf8_lossy(&replayed.stdout).into_owned();
    assert!(replayed.status.success() && said.contains("\"mismatches\":0"), "{said}");
}

/// 0.001 BTC, scaled.
const QTY: i64 = 100_000;

/// Orders that nothing rests of, so that only the limits decide; `many` of them as fast as the gate takes them.
fn hammer(client: &mut Client, keys: Range<u128>) -> Vec<Decision> {
    let (mut next, mut decisions) = (keys.start, Vec::new());
    await_that("decisions", PATIENCE, || {
        while next < keys.end {
            let now_ns = client.now_ns();
            let intent = Intent { tif: Tif::Ioc, ..Intent::limit(0, Side::Buy, 100, QTY, next, now_ns) };
            if client.submit(&intent).is_err() {
                break;
            }
            next += 1;
        }
        while let Some(event) = client.poll() {
            match event {
                Event::Decision(decision) => decisions.push(decision),
                Event::Lost => panic!("the gate let go of the client: {} decisions", decisions.len()),
                Event::Report(_) | Event::Step(_) => {}
            }
        }
        decisions.len() as u128 == keys.end - keys.start
    });
    decisions
}

fn configs(world: &World) -> Vec<(u64, ConfigRecord)> {
    let record = |(position, record)| if let Record::Config(c) = record { Some((position, c)) } else { None };
    world.journal().into_iter().filter_map(record).collect()
}

/// Writes what the world's configuration says now and has the gate read it; waits until the log says `answer`.
fn reload(world: &World, core: &Process, answer: &str) {
    world.save();
    told(core, answer);
}

fn told(core: &Process, answer: &str) {
    let before = core.said().matches(answer).count();
    core.signal(Signal::HUP);
    await_that(answer, PATIENCE, || core.said().matches(answer).count() > before);
}

#[test]
fn a_reload_under_load_counts_from_one_position_on() {
    let each = size("RINGFENCE_RELOAD_ORDERS", 5_000) as u128;
    let mut world = World::new(|config| {
        config.strategies[0].limits.max_order_qty = Some("0.001".into());
        // Room for everything that follows, however late the client reads it: else the gate lets go of it.
        config.capacity.events_slots = 1 << 16;
    });
    let core = world.start_ready();
    let mut client = world.attach("hammer");
    let strategy = client.strategy();
    hammer(&mut client, 1..each);
    world.config.strategies[0].limits.max_order_qty = Some("0.0005".into());
    world.config.strategies[0].limits.max_open_orders = Some(3);
    world.config.strategies[0].limits.dedup_quota = Some(16_384);
    world.config.limits.price_collar_bps = None;
    world.save();
    core.signal(Signal::HUP);
    let mut next = each;
    await_that("the new limit refuses", PATIENCE, || {
        let decisions = hammer(&mut client, next..next + 200);
        next += 200;
        decisions.last().unwrap().reason == Reason::MaxOrderQty
    });
    hammer(&mut client, next..next + each);
    drop(client);
    assert!(core.stop(PATIENCE).success());

    let journal = world.journal();
    let configs = configs(&world);
    let [(_, boot), (at, new)] = configs[..] else { panic!("{configs:?}") };
    assert_eq!((boot.origin, boot.version), (ConfigOrigin::Boot, 1));
    assert_eq!((new.origin, new.version, new.changes), (ConfigOrigin::Reload, 2, 2));
    let changed: Vec<_> = journal
        .iter()
        .filter(|(position, _)| (at + 1..=at + 2).contains(position))
        .map(|(_, record)| match record {
            Record::Limit(l) => (l.scope, l.scope_id, l.limit, l.value, l.config_version),
            other => panic!("{other:?} within a change"),
        })
        .collect();
    let of = |limit, value| (Scope::Strategy, strategy, limit, value, 2);
    assert_eq!(changed, [of(LimitId::MaxOrderQty, QTY / 2), of(LimitId::MaxOpenOrders, 3)]);
    let (mut before, mut after) = (0, 0);
    for (position, record) in &journal {
        let Record::Decision(decision) = record else { continue };
        if *position < at {
            before += 1;
            assert_eq!(decision.reason, Reason::Ok, "position {position}, the change is at {at}");
        } else {
            after += 1;
            assert_eq!(
                (decision.reason, decision.limit),
                (Reason::MaxOrderQty, QTY / 2),
                "position {position}"
            );
        }
    }
    // What a busy venue turned away stands in no journal.
    assert!(before > 100 && after > 100, "{before} before, {after} after");
    println!(
        "reload at position {at}: {before} decisions before, {after} after (RINGFENCE_RELOAD_ORDERS={each})"
    );
    let data = world.config.data_dir.display().to_string();
    assert!(run(&["replay", "--data", &data], &[]).status.success());
}

#[test]
fn a_file_that_cannot_work_changes_nothing() {
    let mut world = World::new(|config| config.strategies[0].limits.max_order_qty = Some("0.001".into()));
    let core = world.start_ready();
    let mut client = world.attach("hammer");
    world.config.strategies[0].limits.max_order_qty = Some("0.0001".into());
    world.save();
    let good = std::fs::read_to_string(world.config_path()).unwrap();
    for (from, to, answer) in [
        ("max_order_qty", "max_order_quantity", "did you mean `max_order_qty`?"),
        ("0.0001 BTC", "0.0001", "the unit is missing"),
        ("wait = \"backoff\"", "wait = \"spin\"", "restart the gate to change `wait`"),
        ("max_clients = 16", "max_clients = 17", "restart the gate to change `capacity.max_clients`"),
        ("dedup_quota = 16384", "dedup_quota = 9", "keeps the size it was made with"),
        ("name = \"hammer\"", "name = \"hummer\"", "restart the gate to change"),
    ] {
        assert!(good.contains(from), "{from}");
        std::fs::write(world.config_path(), good.replacen(from, to, 1)).unwrap();
        told(&core, answer);
    }
    std::fs::remove_file(world.config_path()).unwrap();
    told(&core, "No such file");
    assert!(hammer(&mut client, 1..50).iter().all(|decision| decision.outcome == Outcome::Accepted));
    assert_eq!(configs(&world).len(), 1);
    // The mended file counts, and reading it once more changes nothing.
    reload(&world, &core, "limits are in force");
    assert!(hammer(&mut client, 50..99).iter().all(|decision| decision.reason == Reason::MaxOrderQty));
    reload(&world, &core, "nothing changes");
    assert_eq!(configs(&world).len(), 2);
    drop(client);
    assert!(core.stop(PATIENCE).success());
}

#[test]
fn limits_survive_a_kill_and_the_file_counts_when_it_says_something_new() {
    let mut world = World::new(|config| config.strategies[0].limits.max_order_qty = Some("0.001".into()));
    let core = world.start_ready();
    assert!(core.said().contains("limits of strategy hammer: max_order_qty 0.001 BTC"), "{}", core.said());
    let refused = |world: &World, keys: Range<u128>| {
        let decisions = hammer(&mut world.attach("hammer"), keys);
        decisions.iter().all(|decision| decision.reason == Reason::MaxOrderQty)
    };
    world.config.strategies[0].limits.max_order_qty = Some("0.0005".into());
    reload(&world, &core, "limits are in force");
    core.kill();
    let core = world.start_ready();
    assert!(refused(&world, 1..20));
    assert_eq!(configs(&world).len(), 2, "the same file changes nothing");
    core.kill();
    world.config.strategies[0].limits.max_order_qty = None;
    world.save();
    let core = world.start_ready();
    assert!(!refused(&world, 20..40));
    assert!(core.stop(PATIENCE).success());
    let (_, last) = configs(&world)[2];
    assert_eq!((last.origin, last.version, last.changes), (ConfigOrigin::Boot, 3, 1));
}

fn operator(world: &World) -> Client {
    let options = AttachOptions::new(world.config.socket_path(), Role::Operator, "desk");
    Client::attach_patiently(options, PATIENCE).unwrap()
}

fn set(client: &mut Client, scope: (Scope, u16), limit: &str, value: &str) -> Result<u64, ControlError> {
    let note = |text| Note::new(text).unwrap();
    let (limit, value) = (note(limit), note(value));
    let done =
        client.control(ControlRequest::SetLimit { scope: scope.0, scope_id: scope.1, limit, value })?;
    Ok(done.journal_seq)
}

#[test]
fn an_operator_sets_a_limit_that_outlives_the_gate_until_the_file_is_applied() {
    let world = World::new(|config| config.strategies[0].limits.max_order_qty = Some("0.001".into()));
    let core = world.start_ready();
    let strategy = world.attach("hammer").strategy();
    let of = (Scope::Strategy, strategy);
    let mut desk = operator(&world);
    for (scope, limit, value, said) in [
        (of, "max_order_kty", "1 BTC", "did you mean `max_order_qty`?"),
        (of, "max_order_qty", "1", "the unit is missing: write the number and one of BTC"),
        (of, "max_order_qty", "1 ETH", "`ETH` is no unit of this key"),
        (of, "max_order_qty", "-1 BTC", "must not be negative"),
        (of, "max_order_qty", "0.000000001 BTC", "is finer than 0.00000001 BTC"),
        (of, "price_collar", "5 bps", "it exists for: global, symbol"),
        (of, "dedup_quota", "5", "keeps the size it was made with"),
        ((Scope::Strategy, 14), "max_open_orders", "5", "there is no strategy 14"),
        ((Scope::Symbol, 1), "max_order_qty", "5 BTC", "there is no symbol 1"),
        ((Scope::Account, 99), "max_gross_notional", "5 USDT", "there is no account 99"),
        ((Scope::Global, 1), "price_collar", "5 bps", "there is no global 1"),
    ] {
        match set(&mut desk, scope, limit, value) {
            Err(ControlError::Config(text)) => assert!(text.contains(said), "{limit} {value}: {text}"),
            other => panic!("{limit} {value}: {other:?}"),
        }
    }
    assert_eq!(configs(&world).len(), 1);
    let position = set(&mut desk, of, "max_order_qty", "0.0005 BTC").unwrap();
    assert_eq!(set(&mut desk, of, "max_order_qty", "0.0005 BTC").unwrap(), position, "nothing to change");
    let made = configs(&world);
    assert_eq!(made[1].0, position);
    assert_eq!((made.len(), made[1].1.origin, made[1].1.changes), (2, ConfigOrigin::Operator, 1));
    let refused = |keys: Range<u128>| {
        let decisions = hammer(&mut world.attach("hammer"), keys);
        decisions.iter().all(|decision| decision.reason == Reason::MaxOrderQty)
    };
    assert!(refused(1..20));
    drop(desk);
    core.kill();
    let core = world.start_ready();
    assert!(refused(20..40), "the file says nothing new");
    told(&core, "limits are in force");
    assert!(!refused(40..60), "the file was applied");
    let mut desk = operator(&world);
    set(&mut desk, of, "max_order_qty", "none").unwrap();
    let reloaded = desk.control(ControlRequest::Reload).unwrap().journal_seq;
    assert_eq!(desk.control(ControlRequest::Reload).unwrap().journal_seq, reloaded, "nothing to change");
    let mut stranger = world.attach("hammer");
    let request = ControlRequest::Reload;
    assert!(
        matches!(stranger.control(request), Err(ControlError::Connection(_))),
        "strategies set no limits"
    );
    drop((desk, stranger));
    assert!(core.stop(PATIENCE).success());
    let origins: Vec<_> = configs(&world).iter().map(|(_, config)| config.origin).collect();
    use ConfigOrigin::{Boot, Operator, Reload};
    assert_eq!(origins, [Boot, Operator, Reload, Operator, Reload]);
}
