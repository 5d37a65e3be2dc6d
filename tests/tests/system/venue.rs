//! A venue in another process: the gate, its adapter or both are killed at any moment, and in the end gate and exchange
//! have the same orders and positions, and no order was entered twice.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ringfence_core::config::{Tier, VenueKind};
use ringfence_core::reconcile::view_at;
use ringfence_ipc::client::{AttachOptions, Client, Event, SubmitError};
use ringfence_ipc::counters::Counter;
use ringfence_ipc::handshake::Role;
use ringfence_ipc::msg::{Decision, Intent, IntentKind, OrderId, OrderState, Outcome, Report, Side};
use ringfence_ipc::reason::Reason;
use ringfence_ipc::venue::{VenueClient, VenueEvent};
use ringfence_tests::process::Process;
use ringfence_tests::venue::{Exchange, report};
use ringfence_tests::world::{PATIENCE, World, anybody};
use ringfence_tests::{Dice, await_that, both_cpus, size};
use serde_json::Value;

/// What the gauge says of a venue that is open.
const OPEN: u64 = 3;
const LOST: u64 = 1;

/// A world whose venue is another process.
fn world() -> World {
    World::new(|config| {
        config.venue = VenueKind::External;
        config.clients.push(anybody("venue"));
    })
}

fn log(world: &World) -> PathBuf {
    world.dir().join("exchange.log")
}

fn quiet(world: &World) -> PathBuf {
    world.dir().join("quiet")
}

fn start_venue(world: &World, seed: u64) -> Process {
    let [log, quiet] = [log(world), quiet(world)].map(|path| path.display().to_string());
    let socket = world.config.socket_path().display().to_string();
    let seed = seed.to_string();
    let args = [&socket, &log, &quiet, &seed].map(String::as_str);
    Process::start(env!("CARGO_BIN_EXE_venue").as_ref(), &args, &world.dir().join("venue.log"))
}

fn await_state(world: &World, state: u64) {
    await_that("the venue gets there", PATIENCE, || world.counter(Counter::VenueState) == state);
}

fn adapter(world: &World) -> VenueClient {
    let options = AttachOptions::new(world.config.socket_path(), Role::Venue, "exchange");
    VenueClient::attach(options, PATIENCE).expect("an adapter attaches")
}

/// Orders that rest, cancels and amends of them, over every death of the gate.
fn trade(mut client: Client, seed: u64, stop: &AtomicBool) -> u64 {
    let mut dice = Dice::new(seed);
    let (mut ids, mut key, mut accepted) = (Vec::<OrderId>::new(), u128::from(seed) << 64, 0);
    while !stop.load(Ordering::Relaxed) {
        key += 1;
        let now_ns = client.now_ns();
        let side = if dice.below(2) == 0 { Side::Buy } else { Side::Sell };
        let target = ids.get(dice.below(ids.len().max(1) as u64) as usize).copied();
        let order = Intent::limit(0, side, 100_000 + dice.below(50) as i64, 4_000, key, now_ns);
        let intent = match (dice.below(4), target) {
            (0, Some(id)) => Intent::cancel(0, id, key, now_ns),
            (1, Some(id)) => Intent { kind: IntentKind::Amend, qty: 5_000, ttl_ns_or_target: id, ..order },
            _ => order,
        };
        if client.submit(&intent) == Err(SubmitError::Lost) {
            let _ = client.reattach(PATIENCE);
        }
        while let Some(event) = client.poll() {
            match event {
                Event::Decision(Decision {
                    outcome: Outcome::Accepted, order_id, duplicate: false, ..
                }) => {
                    accepted += 1;
                    ids.push(order_id);
                }
                Event::Lost => client.reattach(PATIENCE).expect("the gate comes back"),
                _ => {}
            }
        }
        if ids.len() > 64 {
            ids.drain(..32);
        }
        std::thread::sleep(Duration::from_micros(300));
    }
    accepted
}

/// The gate's own comparison finds nothing.
fn agrees(world: &World) {
    let options = AttachOptions::new(world.config.socket_path(), Role::Operator, "desk");
    let mut desk = Client::attach_patiently(options, PATIENCE).unwrap();
    let report: Value = serde_json::from_slice(&desk.reconcile(false).unwrap()).unwrap();
    assert_eq!(report["total"], 0, "{report:#}");
}

/// What the gate's journal makes of every order, against what the exchange did.
fn same_books(world: &World) {
    let exchange = Exchange::open(&log(world));
    let view = view_at(&world.config.hot_path(), &world.config.journal_dir(), None).unwrap();
    assert_eq!(view.strays, []);
    let mut compared = 0;
    for listed in exchange.orders() {
        let order = &listed.order;
        assert_eq!(listed.entered, 1, "order {} was entered again", order.order_id);
        let Some(here) = view.orders.get(&order.order_id) else { continue };
        compared += 1;
        assert_eq!((here.state, here.cum_qty), (order.state, order.cum_qty), "{here:?} {order:?}");
        if !order.state.is_terminal() {
            assert_eq!((Some(here.price), here.qty), (order.price, order.qty), "{here:?} {order:?}");
        }
    }
    for here in view.orders.values().filter(|order| !order.state.is_terminal()) {
        assert!(exchange.orders().any(|l| l.order.order_id == here.order_id), "only the gate has {here:?}");
    }
    let positions = exchange.positions();
    let here: i64 = view.positions.iter().map(|position| position.qty).sum();
    assert_eq!(here, positions.get(&0).copied().unwrap_or(0));
    assert!(compared > 20, "something was traded");
}

/// Who is killed in a round.
#[derive(Clone, Copy, Debug)]
enum Kill {
    Gate,
    Adapter,
    Both,
}

fn lives_through(kill: Kill, seed: u64, tier: Tier) {
    let _cpus = both_cpus();
    let mut world = world();
    world.config.journal.tier = tier;
    world.save();
    let mut core = Some(world.start_ready());
    let mut venue = Some(start_venue(&world, seed));
    await_state(&world, OPEN);
    let stop = AtomicBool::new(false);
    let mut dice = Dice::new(seed);
    let accepted = std::thread::scope(|scope| {
        let (core, venue) = (&mut core, &mut venue);
        let strategy = world.attach("hammer");
        let trading = scope.spawn(|| trade(strategy, seed, &stop));
        for round in 0..size("RINGFENCE_VENUE_KILLS", 6) {
            std::thread::sleep(Duration::from_millis(100 + dice.below(150)));
            if matches!(kill, Kill::Gate | Kill::Both) {
                core.take().into_iter().for_each(Process::kill);
            }
            if matches!(kill, Kill::Adapter | Kill::Both) {
                venue.take().into_iter().for_each(Process::kill);
            }
            *core = core.take().or_else(|| Some(world.start_ready()));
            *venue = venue.take().or_else(|| Some(start_venue(&world, seed + round)));
            await_state(&world, OPEN);
        }
        std::thread::sleep(Duration::from_millis(100));
        agrees(&world);
        stop.store(true, Ordering::Relaxed);
        trading.join().expect("the strategy lives on")
    });
    assert!(accepted > 50, "{accepted} accepted");
    std::fs::write(quiet(&world), "").unwrap();
    std::thread::sleep(Duration::from_millis(200));
    await_state(&world, OPEN);
    agrees(&world);
    let (core, mut venue) = core.zip(venue).expect("both were started again");
    assert!(venue.is_running(), "{}", venue.said());
    assert!(core.stop(PATIENCE).success());
    same_books(&world);
}

#[test]
fn the_gate_is_killed_and_its_adapter_lives_on() {
    lives_through(Kill::Gate, 1, Tier::Process);
}

#[test]
fn the_adapter_is_killed_and_the_gate_lives_on() {
    lives_through(Kill::Adapter, 2, Tier::Process);
}

#[test]
fn both_are_killed() {
    lives_through(Kill::Both, 3, Tier::Process);
}

#[test]
fn the_gate_is_killed_while_commands_wait_for_the_disk() {
    lives_through(Kill::Gate, 4, Tier::Power);
}

#[test]
fn the_adapter_is_killed_while_commands_wait_for_the_disk() {
    lives_through(Kill::Adapter, 5, Tier::Power);
}

/// A strategy and what it was told.
struct Desk {
    client: Client,
    key: u128,
    reports: Vec<Report>,
}

impl Desk {
    fn new(world: &World) -> Self {
        Self { client: world.attach("hammer"), key: 0, reports: Vec::new() }
    }

    fn ask(&mut self, make: impl FnOnce(u128, u64) -> Intent) -> Decision {
        self.key += 1;
        let intent = make(self.key, self.client.now_ns());
        self.client.submit(&intent).unwrap();
        let mut decision = None;
        await_that("a decision", PATIENCE, || {
            match self.client.poll() {
                Some(Event::Decision(told)) => decision = Some(told),
                Some(Event::Report(report)) => self.reports.push(report),
                _ => {}
            }
            decision.is_some()
        });
        decision.unwrap()
    }

    fn buy(&mut self) -> Decision {
        self.ask(|key, now_ns| Intent::limit(0, Side::Buy, 100_000, 4_000, key, now_ns))
    }

    fn cancel(&mut self, id: OrderId) -> Decision {
        self.ask(|key, now_ns| Intent::cancel(0, id, key, now_ns))
    }

    /// Waits until the newest report about the order says so.
    fn await_told(&mut self, id: OrderId, state: OrderState) -> Report {
        let mut found = None;
        await_that("a report", PATIENCE, || {
            if let Some(Event::Report(report)) = self.client.poll() {
                self.reports.push(report);
            }
            found = self.reports.iter().rev().find(|r| r.order_id == id).copied();
            found.is_some_and(|r| r.state == state)
        });
        found.unwrap()
    }
}

fn commands(venue: &mut VenueClient, count: usize) -> Vec<ringfence_ipc::msg::Command> {
    let mut commands = Vec::new();
    await_that("commands", PATIENCE, || {
        if let Some(VenueEvent::Command(command)) = venue.poll() {
            commands.push(command);
        }
        commands.len() == count
    });
    commands
}

#[test]
fn without_an_adapter_only_cancels_pass_and_they_are_kept() {
    use ringfence_ipc::msg::CommandKind::{Cancel, New, Query};
    use ringfence_ipc::msg::ReportKind;
    let world = world();
    let gate = world.start_here();
    let mut desk = Desk::new(&world);
    let busy = desk.buy();
    assert_eq!((busy.outcome, busy.reason, busy.order_id), (Outcome::Rejected, Reason::VenueBusy, 0));
    let mut venue = adapter(&world);
    await_state(&world, OPEN);
    let (first, second) = (desk.buy().order_id, desk.buy().order_id);
    assert_eq!(
        commands(&mut venue, 2).iter().map(|c| (c.order_id, c.kind)).collect::<Vec<_>>(),
        [(first, New), (second, New)]
    );
    venue.report(&report(first, ReportKind::Accepted)).unwrap();
    desk.await_told(first, OrderState::Accepted);
    drop(venue);
    await_state(&world, LOST);
    desk.await_told(first, OrderState::Unknown);
    desk.await_told(second, OrderState::Unknown);
    assert_eq!(desk.cancel(first).outcome, Outcome::Accepted);
    assert_eq!(desk.buy().reason, Reason::VenueBusy);
    let mut venue = adapter(&world);
    let asked = commands(&mut venue, 3);
    let asked: Vec<_> = asked.iter().map(|c| (c.order_id, c.kind)).collect();
    assert_eq!(asked, [(first, Query), (first, Cancel), (second, Query)]);
    assert_eq!(world.counter(Counter::VenueState), 2, "until it has answered");
    assert_eq!(desk.buy().reason, Reason::VenueBusy);
    venue.report(&report(first, ReportKind::Cancelled)).unwrap();
    venue.report(&report(second, ReportKind::Rejected)).unwrap();
    desk.await_told(first, OrderState::Cancelled);
    desk.await_told(second, OrderState::Rejected);
    await_state(&world, OPEN);
    assert_eq!(desk.buy().outcome, Outcome::Accepted);
    gate.stop();
}

#[test]
fn above_the_mark_is_lost_before_send_and_below_is_asked_for() {
    use ringfence_ipc::msg::CommandKind::{New, Query};
    use ringfence_ipc::msg::ReportKind;
    let world = world();
    let core = world.start_ready();
    let mut desk = Desk::new(&world);
    let mut venue = adapter(&world);
    await_that("it was told where it begins", PATIENCE, || {
        assert_eq!(venue.poll(), None);
        venue.handed_out().is_some()
    });
    await_state(&world, OPEN);
    let (given, kept) = (desk.buy().order_id, desk.buy().order_id);
    assert_eq!(commands(&mut venue, 1)[0].kind, New);
    core.kill();
    await_that("the gate's end is seen", PATIENCE, || !venue.is_connected());
    assert_eq!(venue.poll(), Some(VenueEvent::Lost));
    assert_eq!(venue.poll(), None, "what a dead gate left in the ring is not handed out");
    // Done at the venue while no gate was there.
    venue.report(&report(given, ReportKind::Accepted)).unwrap();
    let core = world.start_ready();
    desk.client.reattach(PATIENCE).unwrap();
    venue.reattach(PATIENCE).unwrap();
    let lost = desk.await_told(kept, OrderState::Rejected);
    assert_eq!((lost.kind, lost.reason), (ReportKind::LostBeforeSend, Reason::LostBeforeSend));
    let asked = commands(&mut venue, 1)[0];
    assert_eq!((asked.kind, asked.order_id), (Query, given));
    desk.await_told(given, OrderState::Accepted);
    await_state(&world, OPEN);
    let third = desk.buy().order_id;
    assert_eq!(commands(&mut venue, 1)[0].order_id, third);

    // The same for an adapter that leaves a living gate and comes back.
    let kept = desk.buy().order_id;
    venue.reattach(PATIENCE).unwrap();
    let asked: Vec<_> = commands(&mut venue, 2).iter().map(|c| (c.order_id, c.kind)).collect();
    assert_eq!(asked, [(given, Query), (third, Query)]);
    let lost = desk.await_told(kept, OrderState::Rejected);
    assert_eq!(lost.kind, ReportKind::LostBeforeSend);
    assert!(core.stop(PATIENCE).success());
}
