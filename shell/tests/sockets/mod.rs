//! `/api/ws` by what clients do with it, and by what they should not.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ringfence_shell::gateway::events::Event;
use ringfence_shell::http::Rules;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderName;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, HandshakeError, Message, WebSocket};

use crate::common::desk::Desk;
use crate::common::{Shell, start, start_ruled};

/// A client.
pub struct Socket(pub WebSocket<TcpStream>);

/// Opens one; the status of the refusal otherwise.
fn open(shell: &Shell, path: &str, headers: &[(&str, &str)]) -> Result<Socket, u16> {
    let stream = TcpStream::connect(shell.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut request = format!("ws://{}{path}", shell.address).into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    match tokio_tungstenite::tungstenite::client(request, stream) {
        Ok((socket, _)) => Ok(Socket(socket)),
        Err(HandshakeError::Failure(Error::Http(response))) => Err(response.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

fn connect(shell: &Shell) -> Socket {
    open(shell, "/api/ws", &[]).unwrap()
}

impl Socket {
    fn send(&mut self, value: &Value) {
        self.0.send(Message::text(value.to_string())).unwrap();
    }

    /// The next message; none at the end.
    fn next(&mut self) -> Option<Value> {
        loop {
            match self.0.read() {
                Ok(Message::Text(text)) => return Some(serde_json::from_str(&text).unwrap()),
                Ok(Message::Close(_)) | Err(Error::ConnectionClosed) => return None,
                Ok(_) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn next_where(&mut self, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        loop {
            let message = self.next().expect("the socket was closed");
            if wanted(&message) {
                return message;
            }
        }
    }

    /// The answer to a request.
    fn answer(&mut self, id: &str) -> Value {
        self.next_where(|message| message["id"] == id && message.get("status").is_some())
    }

    fn ask(&mut self, value: &Value) -> Value {
        self.send(value);
        self.answer(value["id"].as_str().unwrap())
    }

    /// The next order event.
    fn numbered(&mut self) -> Value {
        self.next_where(|message| message.get("event").is_some() && message["id"].is_u64())
    }

    /// The last event before the end, and the close frame's code.
    fn last_words(&mut self) -> (Value, u16) {
        let mut last = Value::Null;
        loop {
            match self.0.read() {
                Ok(Message::Text(text)) => last = serde_json::from_str(&text).unwrap(),
                Ok(Message::Close(frame)) => return (last, frame.unwrap().code.into()),
                Ok(_) => {}
                Err(error) => panic!("{error} after {last}"),
            }
        }
    }
}

fn order(id: &str, client_order_id: &str) -> Value {
    json!({"id": id, "op": "order", "side": "BUY", "symbol": "BTCUSDT", "qty": "0.5", "price": "61000.5",
           "client_order_id": client_order_id})
}

fn error(answer: &Value) -> (u64, &str) {
    (answer["status"].as_u64().unwrap(), answer["body"]["error"].as_str().unwrap_or("?"))
}

#[test]
fn orders_and_cancels_are_answered_as_over_http() {
    let shell = start();
    let mut socket = connect(&shell);
    let placed = socket.ask(&order("1", "a"));
    assert_eq!((&placed["status"], &placed["body"]["duplicate"]), (&200.into(), &false.into()), "{placed}");
    let again = shell.order("a", "0.5").json();
    assert_eq!(
        (&again["duplicate"], &again["venue_order_id"]),
        (&true.into(), &placed["body"]["venue_order_id"])
    );
    let repeated = socket.ask(&order("2", "a"));
    assert_eq!(repeated["body"]["duplicate"], true);
    let mut other = order("3", "a");
    other["qty"] = "0.6".into();
    assert_eq!(error(&socket.ask(&other)), (409, "duplicate_client_order_id"));
    let mut off_tick = order("4", "b");
    off_tick["price"] = "61000.501".into();
    let refused = socket.ask(&off_tick);
    assert_eq!(
        (error(&refused), &refused["body"]["details"]["field"]),
        ((400, "bad_params"), &"price".into())
    );
    shell.await_status("a", "ACCEPTED");
    let cancelled = socket.ask(&json!({"id": "5", "op": "cancel", "client_order_id": "a"}));
    assert_eq!(cancelled["status"], 200, "{cancelled}");
    let unknown = socket.ask(&json!({"id": "6", "op": "cancel", "client_order_id": "nobody"}));
    assert_eq!(error(&unknown), (404, "not_found"));
    assert_eq!(socket.ask(&json!({"id": "7", "op": "ping"}))["body"], json!({"ok": true}));
}

#[test]
fn orders_are_audited_and_counted_as_over_http() {
    let shell = start();
    let mut socket = connect(&shell);
    assert_eq!(socket.ask(&order("1", "audited"))["status"], 200);
    let logs = shell.get("/api/audit/logs?type=order&action=order").json();
    let record = &logs["logs"][0];
    assert_eq!(record["details"]["request"]["client_order_id"], "audited", "{logs}");
    assert_eq!((&record["details"]["status"], &record["user_id"]), (&200.into(), &"local".into()));
    let metrics = shell.get("/metrics").body;
    let counted = r#"ringfence_http_requests_total{method="POST",route="/api/order",status="200"} 1"#;
    assert!(metrics.contains(counted), "{metrics}");
}

#[test]
fn a_gate_that_is_away_is_said_so_and_the_socket_lives_on() {
    let shell = start();
    let mut socket = connect(&shell);
    shell.switches.dead.store(true, Ordering::Relaxed);
    while shell.gateway.gate.is_connected() {
        std::thread::yield_now();
    }
    let away = socket.ask(&order("1", "a"));
    assert_eq!(error(&away), (503, "execution_unavailable"));
    assert!(away["retry_after_s"].as_u64().is_some_and(|seconds| seconds >= 1), "{away}");
    assert_eq!(socket.ask(&json!({"id": "2", "op": "ping"}))["status"], 200);
}

#[test]
fn events_are_those_of_the_stream_with_the_same_ids() {
    let shell = start();
    let (mut socket, mut stream) = (connect(&shell), shell.stream("/api/stream", &[]));
    assert_eq!(socket.ask(&json!({"id": "s", "op": "subscribe"}))["status"], 200);
    for n in 0..5 {
        assert_eq!(shell.order(&format!("o{n}"), "0.5").status, 200);
    }
    let mut ids = Vec::new();
    for _ in 0..10 {
        let (message, event) = (socket.numbered(), stream.next_numbered());
        assert_eq!(
            (message["id"].as_u64(), message["event"].as_str()),
            (event.id, Some(event.name.as_str()))
        );
        assert_eq!(message["data"], event.data);
        ids.push(event.id.unwrap());
    }
    for at in [0, 4, 8] {
        let mut resumed = connect(&shell);
        assert_eq!(resumed.ask(&json!({"id": "s", "op": "subscribe", "last_id": ids[at]}))["status"], 200);
        let rest: Vec<u64> = (at + 1..10).map(|_| resumed.numbered()["id"].as_u64().unwrap()).collect();
        assert_eq!(rest, ids[at + 1..]);
    }
}

#[test]
fn a_place_that_cannot_be_resumed_from_is_a_snapshot_first() {
    let shell = start();
    assert_eq!(shell.order("open", "0.5").status, 200);
    shell.await_status("open", "ACCEPTED");
    for ask in [json!({"last_id": 999_999}), json!({"snapshot": true})] {
        let mut socket = connect(&shell);
        let mut request = json!({"id": "s", "op": "subscribe"});
        request.as_object_mut().unwrap().extend(ask.as_object().unwrap().clone());
        assert_eq!(socket.ask(&request)["status"], 200);
        let first = socket.next().unwrap();
        assert_eq!(first["event"], "snapshot", "{request}");
        assert!(first["data"]["orders"].as_array().unwrap().iter().any(|o| o["client_order_id"] == "open"));
    }
    let mut socket = connect(&shell);
    let bad = socket.ask(&json!({"id": "s", "op": "subscribe", "last_id": "x"}));
    assert_eq!((error(&bad), &bad["body"]["details"]["field"]), ((400, "bad_params"), &"last_id".into()));
}

#[test]
fn the_market_is_told_in_its_newest_state_only() {
    let shell = start();
    shell.last_price.store(6_100_000, Ordering::Relaxed);
    let mut socket = connect(&shell);
    socket.send(&json!({"id": "s", "op": "subscribe"}));
    let first = socket.next_where(|m| m["event"] == "market" && m["data"]["symbol"] == "BTCUSDT");
    assert_eq!((&first["data"]["price"], first.get("id")), (&61_000.into(), None));
    for step in 1..=50 {
        shell.last_price.store(6_100_000 + step, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(4));
    }
    let mut seen = 0;
    socket.next_where(|m| {
        seen += usize::from(m["event"] == "market" && m["data"]["symbol"] == "BTCUSDT");
        m["data"]["price"] == 61_000.5 && m["data"]["symbol"] == "BTCUSDT"
    });
    assert!(seen < 25, "{seen} of 50 prices");
}

#[test]
fn nothing_is_told_before_it_is_asked_for() {
    let shell = start();
    let mut socket = connect(&shell);
    assert_eq!(shell.order("a", "0.5").status, 200);
    shell.await_status("a", "ACCEPTED");
    socket.send(&json!({"id": "p", "op": "ping"}));
    assert_eq!(socket.next().unwrap()["id"], "p");
}

#[test]
fn malformed_messages_are_answered_and_nothing_else_is_lost() {
    let shell = start();
    let mut socket = connect(&shell);
    let long = "i".repeat(65);
    for (text, field) in [
        ("{", "body"),
        ("[]", "body"),
        ("nul", "body"),
        (r#"{"op":"ping"}"#, "id"),
        (r#"{"id":7,"op":"ping"}"#, "id"),
        (r#"{"id":"","op":"ping"}"#, "id"),
        (&format!(r#"{{"id":"{long}","op":"ping"}}"#), "id"),
        (r#"{"id":"1"}"#, "op"),
        (r#"{"id":"1","op":"dance"}"#, "op"),
        (r#"{"id":"1","id":"2","op":"ping"}"#, "id"),
    ] {
        socket.0.send(Message::text(text)).unwrap();
        let answer = socket.next().unwrap();
        assert_eq!(
            (&answer["status"], &answer["body"]["details"]["field"]),
            (&400.into(), &field.into()),
            "{text}"
        );
    }
    assert_eq!(socket.ask(&order("after", "after"))["status"], 200);
}

#[test]
fn a_binary_message_is_refused_and_the_socket_lives_on() {
    let shell = start();
    let mut socket = connect(&shell);
    socket.0.send(Message::binary(order("1", "a").to_string().into_bytes())).unwrap();
    assert_eq!(error(&socket.next().unwrap()), (400, "bad_json"));
    assert_eq!(socket.ask(&order("2", "a"))["body"]["duplicate"], false, "the binary one was no order");
}

#[test]
fn an_order_in_fragments_is_one_order() {
    let shell = start();
    let mut socket = connect(&shell);
    let text = order("1", "a").to_string();
    let parts: Vec<&[u8]> = text.as_bytes().chunks(7).collect();
    for (n, part) in parts.iter().enumerate() {
        let code = if n == 0 { Data::Text } else { Data::Continue };
        let frame = Frame::message(part.to_vec(), OpCode::Data(code), n + 1 == parts.len());
        socket.0.send(Message::Frame(frame)).unwrap();
        if n == 3 {
            socket.0.send(Message::Ping("between".into())).unwrap();
        }
    }
    assert_eq!(socket.answer("1")["status"], 200);
}

#[test]
fn an_oversized_message_ends_the_socket_and_what_came_before_it_is_answered() {
    let shell = start();
    let mut socket = connect(&shell);
    socket.send(&order("1", "kept"));
    socket
        .0
        .send(Message::text(format!(r#"{{"id":"2","op":"ping","x":"{}"}}"#, "x".repeat(200_000))))
        .unwrap();
    assert_eq!(socket.answer("1")["status"], 200);
    let (last, code) = socket.last_words();
    assert_eq!((&last["event"], &last["data"]["error"], code), (&"error".into(), &"too_large".into(), 1009));
    shell.await_status("kept", "ACCEPTED");
}

#[test]
fn frames_that_break_the_protocol_end_the_socket_and_say_why() {
    let shell = start();
    for (bytes, error, code) in [
        (b"\x81\x02{}".to_vec(), "bad_frame", 1002),
        (b"\xf1\x80\0\0\0\0".to_vec(), "bad_frame", 1002),
        (b"\x80\x80\0\0\0\0".to_vec(), "bad_frame", 1002),
        (b"\x81\x81\0\0\0\0\xff".to_vec(), "bad_text", 1007),
    ] {
        let mut socket = connect(&shell);
        socket.0.get_mut().write_all(&bytes).unwrap();
        let (last, got) = socket.last_words();
        assert_eq!((&last["data"]["error"], got), (&error.into(), code), "{bytes:?}");
    }
}

#[test]
fn an_id_that_is_at_work_is_refused_and_free_again_once_answered() {
    let shell = start();
    let mut socket = connect(&shell);
    shell.switches.mute.store(true, Ordering::Relaxed);
    socket.send(&order("same", "first"));
    socket.send(&order("same", "second"));
    assert_eq!(error(&socket.answer("same")), (409, "duplicate_request_id"));
    // Not answered in time: its outcome is unknown, and that is said.
    assert_eq!(error(&socket.answer("same")), (503, "execution_unavailable"));
    shell.switches.mute.store(false, Ordering::Relaxed);
    assert_eq!(socket.ask(&order("same", "third"))["status"], 200);
}

#[test]
fn more_requests_than_may_be_at_work_wait_and_every_one_is_answered() {
    let shell = start_ruled(Rules { outstanding: 4, ..Rules::default() });
    let mut socket = connect(&shell);
    for n in 0..200 {
        socket.send(&order(&format!("r{n}"), &format!("o{n}")));
    }
    let mut answered: Vec<String> = (0..200)
        .map(|_| {
            let answer = socket.next().unwrap();
            assert_eq!(answer["status"], 200, "{answer}");
            answer["id"].as_str().unwrap().to_owned()
        })
        .collect();
    answered.sort();
    answered.dedup();
    assert_eq!(answered.len(), 200);
}

#[test]
fn a_flood_of_messages_is_told_to_wait_and_nothing_of_it_is_done() {
    let shell = start_ruled(Rules { messages_per_s: 20, ..Rules::default() });
    let mut socket = connect(&shell);
    for n in 0..60 {
        socket.send(&order(&format!("r{n}"), &format!("o{n}")));
    }
    let answers: Vec<Value> = (0..60).map(|_| socket.next().unwrap()).collect();
    let refused: Vec<&Value> = answers.iter().filter(|answer| error(answer).0 == 429).collect();
    assert!((20..=40).contains(&refused.len()), "{}", refused.len());
    for answer in refused {
        assert_eq!((error(answer), &answer["retry_after_s"]), ((429, "rate_limited"), &1.into()));
        let id = answer["id"].as_str().unwrap().replace('r', "o");
        assert_eq!(shell.get(&format!("/api/order_state?client_order_id={id}")).status, 404, "{id}");
    }
}

#[test]
fn a_flood_of_pings_ends_the_socket() {
    let shell = start_ruled(Rules { messages_per_s: 20, ..Rules::default() });
    let mut socket = connect(&shell);
    let ping = [0x89, 0x80, 0, 0, 0, 0].repeat(100);
    socket.0.get_mut().write_all(&ping).unwrap();
    let (last, code) = socket.last_words();
    assert_eq!((&last["data"]["error"], code), (&"rate_limited".into(), 1008));
}

#[test]
fn a_silent_peer_is_pinged_and_then_closed() {
    let quick = |ms| Duration::from_millis(ms);
    let shell = start_ruled(Rules { ping_every: quick(50), idle_within: quick(300), ..Rules::default() });
    let mut socket = connect(&shell);
    // A library's client answers pings while it reads: it may stay for as long as it likes.
    socket.0.get_mut().set_read_timeout(Some(quick(50))).unwrap();
    let began = Instant::now();
    while began.elapsed() < quick(900) {
        match socket.0.read() {
            Ok(message) => assert!(message.is_ping(), "{message}"),
            Err(Error::Io(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    let stream = socket.0.get_mut();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.windows(6).any(|bytes| bytes == b"\"idle\""), "{rest:?}");
}

#[test]
fn a_slow_client_is_dropped_with_a_final_error_and_the_others_see_everything() {
    let shell = start();
    let (mut stalled, mut live) = (connect(&shell), connect(&shell));
    for socket in [&mut stalled, &mut live] {
        assert_eq!(socket.ask(&json!({"id": "s", "op": "subscribe"}))["status"], 200);
    }
    let total = 20_000_u64;
    let json = format!("{{\"filler\":\"{}\"}}", "x".repeat(2_000));
    for first in (1..=total).step_by(100) {
        let event = |id| Event { id: Some(id), name: "fill", json: json.clone() };
        shell.gateway.hub.publish(&(first..first + 100).map(event).collect::<Vec<_>>());
        (first..first + 100).for_each(|id| assert_eq!(live.numbered()["id"], id));
    }
    let (last, code) = stalled.last_words();
    assert_eq!((&last["data"]["error"], code), (&"slow_client".into(), 1013));
}

#[test]
fn what_is_at_work_is_answered_before_the_shell_stops() {
    let shell = start();
    let mut socket = connect(&shell);
    assert_eq!(socket.ask(&order("1", "a"))["status"], 200);
    assert_eq!(shell.app.stream_count(), 1);
    shell.app.close();
    let (_, code) = socket.last_words();
    assert_eq!(code, 1001);
    drop(socket);
    for _ in 0..200 {
        if shell.app.stream_count() == 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the socket's place is not free");
}

#[test]
fn a_close_is_echoed_after_what_was_asked_is_answered() {
    let shell = start();
    let mut socket = connect(&shell);
    socket.send(&order("1", "a"));
    socket.0.close(None).unwrap();
    assert_eq!(socket.answer("1")["status"], 200);
    assert!(socket.next().is_none());
    shell.await_status("a", "ACCEPTED");
}

#[test]
fn only_a_websocket_of_this_origin_is_opened() {
    let shell = start();
    let plain = shell.get("/api/ws");
    assert_eq!((plain.status, plain.header("Upgrade")), (426, Some("websocket")));
    let own = format!("http://{}", shell.address);
    assert!(open(&shell, "/api/ws", &[("Origin", &own)]).is_ok());
    for origin in ["https://evil.example", "null", "http://127.0.0.1:1", ""] {
        assert_eq!(open(&shell, "/api/ws", &[("Origin", origin)]).err(), Some(403), "{origin}");
    }
    assert_eq!(open(&shell, "/api/ws", &[("Host", "evil.example")]).err(), Some(403));
    assert_eq!(open(&shell, "/api/ws", &[("Sec-WebSocket-Version", "12")]).err(), Some(426));
}

#[test]
fn permissions_count_for_each_request_and_as_they_are_now() {
    let desk = Desk::open(|_| ());
    let viewer = desk.user("vera", "viewer");
    let bearer = format!("Bearer {viewer}");
    let mut socket = open(&desk.shell, "/api/ws", &[("Authorization", &bearer)]).unwrap();
    assert_eq!(error(&socket.ask(&order("1", "a"))), (403, "forbidden"));
    assert_eq!(
        error(&socket.ask(&json!({"id": "2", "op": "cancel", "client_order_id": "a"}))),
        (403, "forbidden")
    );
    let granted = desk.as_admin("POST", "/api/auth/roles", &json!({"user_id": "vera", "role": "trader"}));
    assert_eq!(granted.status, 200);
    assert_eq!(socket.ask(&order("3", "a"))["status"], 200, "as of now");
    assert_eq!(desk.as_admin("DELETE", "/api/auth/users?user_id=vera", &Value::Null).status, 200);
    let (last, code) = socket.last_words();
    assert_eq!((&last["data"]["error"], code), (&"unauthorized".into(), 1008));
}

#[test]
fn a_ticket_opens_one_socket_and_a_viewer_sees_the_market_alone() {
    let desk = Desk::open(|_| ());
    assert_eq!(open(&desk.shell, "/api/ws", &[]).err(), Some(401));
    let ticket = desk.as_admin("POST", "/api/stream/ticket", &Value::Null).json();
    let path = format!("/api/ws?ticket={}", ticket["ticket"].as_str().unwrap());
    let mut socket = open(&desk.shell, &path, &[]).unwrap();
    assert_eq!(open(&desk.shell, &path, &[]).err(), Some(401), "once");
    assert_eq!(socket.ask(&order("1", "a"))["status"], 200);

    let key = desk.key(&desk.admin, &["read:market"]);
    let mut viewer = open(&desk.shell, "/api/ws", &[("X-API-Key", &key)]).unwrap();
    desk.shell.last_price.store(6_100_000, Ordering::Relaxed);
    assert_eq!(viewer.ask(&json!({"id": "s", "op": "subscribe", "snapshot": true}))["status"], 200);
    assert_eq!(socket.ask(&order("2", "b"))["status"], 200);
    for _ in 0..3 {
        desk.shell.last_price.fetch_add(1, Ordering::Relaxed);
        let event = viewer.next().unwrap();
        assert_eq!(event["event"], "market", "{event}");
    }
}

#[test]
fn requests_count_in_the_same_buckets_as_over_http() {
    use ringfence_shell::auth::limits::Rate;
    let slow = Rate { capacity: 6, refill: Duration::from_secs(3600) };
    let desk = Desk::open(|config| config.limits.requests = slow);
    let key = desk.key(&desk.admin, &["read:market", "write:orders", "write:cancel"]);
    let mut socket = open(&desk.shell, "/api/ws", &[("X-API-Key", &key)]).unwrap();
    for n in 0..5 {
        assert_eq!(socket.ask(&order(&format!("{n}"), &format!("o{n}")))["status"], 200);
    }
    let over = socket.ask(&order("5", "o5"));
    assert_eq!(error(&over), (429, "rate_limited"));
    assert!(over["retry_after_s"].as_u64().unwrap() > 1);
    let way_out = socket.ask(&json!({"id": "c", "op": "cancel", "client_order_id": "o0"}));
    assert_eq!(way_out["status"], 200, "cancels have their own bucket: {way_out}");
}
