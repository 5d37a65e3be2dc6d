//! Adapters that lie about who they are and what they were handed, and others that speak for one.

use std::os::fd::AsFd as _;

use ringfence_core::config::VenueKind;
use ringfence_ipc::counters::Counter;
use ringfence_ipc::handshake::{
    HandedOutMark, Hello, Packet, RefusalCode, Role, SnapshotPart, Ticket, socket,
};
use ringfence_ipc::msg::{Report, ReportKind, Words};
use ringfence_ipc::ring::{continuation_word, head_word};
use ringfence_tests::raw::{Raw, hello};
use ringfence_tests::venue::report;
use ringfence_tests::world::{PATIENCE, World, anybody};
use ringfence_tests::{Dice, await_that};

use super::Scene;

fn scene() -> Scene {
    Scene::in_world(World::new(|config| {
        config.venue = VenueKind::External;
        config.clients.push(anybody("venue"));
    }))
}

fn begin(scene: &Scene, role: Role, ticket: Option<Ticket>) -> Result<Raw, RefusalCode> {
    let hello = Hello { ticket, ..hello(role, "exchange") };
    let mut begun = Err(RefusalCode::Internal);
    await_that("the place is free", PATIENCE, || {
        begun = Raw::begin(&scene.world.config.socket_path(), &hello).map_err(|(code, _)| code);
        !matches!(begun, Err(RefusalCode::NameTaken))
    });
    begun
}

fn adapter(scene: &Scene) -> Raw {
    let raw = begin(scene, Role::Venue, None).unwrap();
    raw.mapped().unwrap();
    raw
}

fn say(raw: &Raw, packet: &Packet) -> Option<RefusalCode> {
    socket::send(raw.socket.as_fd(), packet, &[]).unwrap();
    raw.thrown_out().map(|(code, _)| code)
}

#[test]
fn an_adapter_states_only_what_can_be() {
    let scene = scene();
    let first = adapter(&scene);
    let epoch = first.welcome.epoch;
    let ticket = first.welcome.ticket;
    let busy = Raw::begin(&scene.world.config.socket_path(), &hello(Role::Venue, "exchange"));
    assert_eq!(busy.map(drop).map_err(|(code, _)| code), Err(RefusalCode::NameTaken));
    drop(first);
    let mark = |epoch: u16, order_id: u64| Packet::HandedOut(HandedOutMark { epoch, order_id });
    for (ticket, lie) in [
        (None, mark(epoch, 1)),
        (Some(ticket), mark(epoch + 1, 1)),
        (Some(ticket), mark(epoch, u64::from(epoch + 1) << 48)),
        (Some(ticket), mark(epoch, u64::MAX)),
    ] {
        let raw = begin(&scene, Role::Venue, ticket).unwrap();
        assert_eq!(say(&raw, &lie), Some(RefusalCode::Protocol), "{lie:?}");
    }
    let honest = begin(&scene, Role::Venue, Some(ticket)).unwrap();
    socket::send(honest.socket.as_fd(), &mark(epoch, u64::from(epoch) << 48), &[]).unwrap();
    honest.mapped().unwrap();
    drop(honest);
    drop(adapter(&scene));
    assert_eq!(
        begin(&scene, Role::Venue, Some(ticket)).map(drop),
        Err(RefusalCode::Ticket),
        "another adapter may have been given orders since"
    );
    scene.ends_with_quarantines(0);
}

#[test]
fn a_strategy_speaks_for_no_venue() {
    let scene = scene();
    let raw = begin(&scene, Role::Strategy, None).unwrap();
    let mark = HandedOutMark { epoch: 0, order_id: 0 };
    assert_eq!(say(&raw, &Packet::HandedOut(mark)), Some(RefusalCode::Protocol));
    let raw = begin(&scene, Role::Strategy, None).unwrap();
    raw.mapped().unwrap();
    let part = SnapshotPart { number: 1, lines: Vec::new(), end: None };
    assert_eq!(say(&raw, &Packet::VenueSnapshot(part.clone())), Some(RefusalCode::Identity));
    let raw = begin(&scene, Role::Strategy, None).unwrap();
    raw.mapped().unwrap();
    let words = report(1, ReportKind::Cancelled).encode();
    raw.put(1, &words[1], continuation_word(1));
    raw.put(0, &words[0], head_word(0, 2));
    await_that("a report from a strategy is refused as an intent", PATIENCE, || {
        scene.world.counter(Counter::Intents) > 0
    });
    let venue = adapter(&scene);
    socket::send(venue.socket.as_fd(), &Packet::VenueSnapshot(part), &[]).unwrap();
    assert_eq!(
        say(&venue, &Packet::Mapped),
        Some(RefusalCode::Protocol),
        "what nobody asked for is not heard"
    );
    scene.ends_with_quarantines(0);
}

#[test]
fn garbage_from_an_adapter_is_quarantined_and_reports_of_nothing_change_nothing() {
    let scene = scene();
    let mut dice = Dice::new(17);
    for round in 0..10_u64 {
        let raw = adapter(&scene);
        for slot in 0..u64::from(raw.welcome.intents_slots) {
            let words: Words = std::array::from_fn(|_| dice.below(1 << 53) << 11 | dice.below(1 << 11));
            // Bit 63 never stands in a sequence of this ring.
            raw.put(slot, &words, dice.below(1 << 53) | 1 << 63);
        }
        assert_eq!(raw.thrown_out().map(|(code, _)| code), Some(RefusalCode::Protocol), "round {round}");
    }
    let raw = adapter(&scene);
    let (mut reports, _) = raw.ends();
    for kind in ReportKind::ALL {
        let numbers = [i64::MIN, -1, 0, 1, i64::MAX].map(|n| dice.below(2) as i64 * n);
        let [last_qty, last_price, cum_qty, leaves_qty, fee_e8] = numbers;
        let lie =
            Report { last_qty, last_price, cum_qty, leaves_qty, fee_e8, ..report(dice.below(9), *kind) };
        assert!(reports.push(&lie.encode()).unwrap().is_some());
    }
    await_that("all of it is looked at", PATIENCE, || reports.free() == Ok(reports.capacity()));
    let lap = u64::from(raw.welcome.intents_slots);
    raw.put(reports.position(), &[0; 7], head_word(reports.position() + lap, 1));
    assert_eq!(raw.thrown_out().map(|(code, _)| code), Some(RefusalCode::Protocol), "a sequence that jumps");
    scene.ends_with_quarantines(11);
}
