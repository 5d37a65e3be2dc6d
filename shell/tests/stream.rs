//! Streams over a gate in memory: server-sent events, sockets, and both over TLS.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod common;
mod scale;
mod secured;
mod sockets;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{Sse, Stream, start};
use ringfence_shell::gateway::events::Event;

fn numbered(stream: &mut Stream, count: usize) -> Vec<Sse> {
    (0..count).map(|_| stream.next_numbered()).collect()
}

#[test]
fn an_order_arrives_as_events_with_journal_positions() {
    let shell = start();
    let mut stream = shell.stream("/api/stream", &[]);
    let ioc = r#"{"side":"BUY","symbol":"BTCUSDT","qty":2,"price":50000,"tif":"IOC","client_order_id":"f"}"#;
    assert_eq!(shell.post("/api/order", ioc).status, 200);
    let events = numbered(&mut stream, 3);
    let names: Vec<_> = events.iter().map(|e| e.name.as_str()).collect();
    assert_eq!(names, ["order_received", "fill", "order_update"]);
    for event in &events {
        assert_eq!(event.data["type"], event.name.as_str());
        assert_eq!(event.data["client_order_id"], "f");
    }
    assert_eq!(events[2].data["status"], "FILLED");
    assert_eq!(events[1].data["price"], 50_000);
    let state = stream.next().unwrap();
    assert_eq!(
        (state.name.as_str(), state.id, &state.data["status"]),
        ("order_state", None, &"FILLED".into())
    );
}

#[test]
fn a_stream_resumes_without_loss_or_repetition() {
    let shell = start();
    let mut first = shell.stream("/api/stream", &[]);
    (0..10).for_each(|i| assert_eq!(shell.order(&format!("o{i}"), "0.5").status, 200));
    let all: Vec<u64> = numbered(&mut first, 20).iter().filter_map(|e| e.id).collect();
    assert!(all.windows(2).all(|pair| pair[0] < pair[1]), "{all:?}");
    for at in [0, 7, 18] {
        let id = all[at].to_string();
        let mut by_header = shell.stream("/api/stream", &[("Last-Event-ID", &id)]);
        let rest: Vec<u64> = numbered(&mut by_header, 19 - at).iter().filter_map(|e| e.id).collect();
        assert_eq!(rest, all[at + 1..]);
        let mut by_query = shell.stream(&format!("/api/stream?last_id={id}"), &[("Last-Event-ID", "1")]);
        assert_eq!(by_query.next_numbered().id, Some(all[at + 1]), "the query wins");
    }
    assert_eq!(shell.get("/api/stream?last_id=x").field(), "last_id");
}

#[test]
fn a_stranger_to_this_journal_gets_one_snapshot_first() {
    let shell = start();
    assert_eq!(shell.order("open", "0.5").status, 200);
    shell.await_status("open", "ACCEPTED");
    let strangers =
        [("/api/stream?last_id=999999", ""), ("/api/stream", "nonsense"), ("/api/stream?snapshot=1", "")];
    for (path, header) in strangers {
        let headers: &[(&str, &str)] = if header.is_empty() { &[] } else { &[("Last-Event-ID", header)] };
        let mut stream = shell.stream(path, headers);
        let snapshot = stream.next().unwrap();
        assert_eq!(snapshot.name, "snapshot", "{path}");
        let orders = snapshot.data["orders"].as_array().unwrap();
        assert!(orders.iter().any(|order| order["client_order_id"] == "open"), "{path}");
        assert!(snapshot.data["positions"]["items"].is_array() && snapshot.data["market"].is_array());
        let id = snapshot.id.unwrap();
        assert_eq!(shell.order(&format!("next-{id}"), "0.5").status, 200);
        let next = stream.next_numbered();
        assert!(next.id.unwrap() > id && next.name == "order_received", "{next:?}");
        shell.await_status(&format!("next-{id}"), "ACCEPTED");
    }
}

#[test]
fn the_market_is_sampled_and_told_to_newcomers_at_once() {
    let shell = start();
    shell.last_price.store(6_100_000, Ordering::Relaxed);
    let mut stream = shell.stream("/api/stream", &[]);
    let mut market = || loop {
        let event = stream.next().unwrap();
        if event.name == "market" && event.data["symbol"] == "BTCUSDT" {
            return event;
        }
    };
    let event = market();
    assert_eq!((event.id, &event.data["price"]), (None, &61_000.into()));
    shell.last_price.store(6_100_001, Ordering::Relaxed);
    assert_eq!(market().data["price"], 61_000.01);
    let mut late = shell.stream("/api/stream", &[]);
    assert_eq!(late.next().unwrap().name, "market");
}

#[test]
fn a_stalled_stream_is_dropped_and_the_others_see_everything() {
    let shell = start();
    let mut stalled = shell.stream("/api/stream", &[]);
    let mut live = shell.stream("/api/stream", &[]);
    // Far more than sockets hold and a stream may lag.
    let (total, burst) = (20_000, 100);
    let read = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&read);
    let reader = std::thread::spawn(move || {
        for n in 1..=total {
            assert_eq!(live.next_numbered().id, Some(n));
            seen.store(n, Ordering::Relaxed);
        }
    });
    let json = format!("{{\"filler\":\"{}\"}}", "x".repeat(2_000));
    for first in (1..=total).step_by(burst) {
        let event = |id| Event { id: Some(id), name: "fill", json: json.clone() };
        shell.gateway.hub.publish(&(first..first + burst as u64).map(event).collect::<Vec<_>>());
        while !reader.is_finished() && first > read.load(Ordering::Relaxed) + 2_000 {
            std::thread::yield_now();
        }
    }
    reader.join().unwrap();
    // The stalled one is far behind; what it gets at the end is the reason.
    let mut last = None;
    while let Some(event) = stalled.next() {
        last = Some(event);
    }
    let last = last.unwrap();
    assert_eq!((last.name.as_str(), &last.data["error"]), ("error", &"slow_client".into()));
}

#[test]
fn streams_end_when_the_shell_stops_and_are_counted_while_they_live() {
    let shell = start();
    let mut streams: Vec<_> = (0..20).map(|_| shell.stream("/api/stream", &[])).collect();
    assert_eq!(shell.app.stream_count(), 20);
    let began = Instant::now();
    shell.app.close();
    for stream in &mut streams {
        while stream.next().is_some() {}
    }
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_change_of_mode_is_an_event_with_its_position_and_part_of_the_snapshot() {
    let shell = start();
    let mut stream = shell.stream("/api/stream", &[]);
    let killed = shell.post("/api/kill", r#"{"reason":"fat finger"}"#).json();
    let event = stream.next_numbered();
    assert_eq!((event.name.as_str(), event.id), ("mode", killed["journal_seq"].as_u64()));
    assert_eq!((&event.data["passing"], &event.data["reason"]), (&"KILLED".into(), &"fat finger".into()));
    let mut late = shell.stream("/api/stream?snapshot=1", &[]);
    assert_eq!(late.next_numbered().data["guard"]["passing"], "KILLED");
    assert_eq!(shell.post("/api/rearm", r#"{"reason":"checked"}"#).status, 200);
    assert_eq!(stream.next_numbered().data["passing"], "ALLOW_ALL");
    assert_eq!(shell.post("/api/cancel_all", r#"{"symbol":"BTCUSDT"}"#).status, 200);
    let event = stream.next_numbered();
    assert_eq!((event.name.as_str(), &event.data["symbol"]), ("mass_cancel", &"BTCUSDT".into()));
}
