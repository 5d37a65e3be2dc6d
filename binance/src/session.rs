//! User events: one session of the WebSocket API after another. Each is subscribed before it counts, and everything in
//! between is a gap.

use crate::clock::Clock;
use crate::config::Config;
use crate::rest::Rest;
use crate::sign::Params;
use crate::wire::{SessionMessage, UserEvent};
use futures_util::{SinkExt as _, StreamExt as _};
use rustls::RootCertStore;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config};

/// The longest message of a session.
const MAX_MESSAGE_BYTES: usize = 1 << 20;
/// The pause between sessions never exceeds the first one times this.
const MAX_PAUSE_FACTOR: u32 = 60;

/// What a session says.
#[derive(Debug)]
pub(crate) enum Heard {
    /// Subscribed: events come from here on.
    Up,
    /// An event.
    Event(UserEvent),
    /// Something that is no event: an event may be lost.
    Unreadable,
    /// The session is over; the reason.
    Down(String),
}

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

/// Opens a WebSocket. TLS is rustls over aws-lc-rs, with the machine's own roots.
pub(crate) async fn open(url: &str, max_message_bytes: usize, patience: Duration) -> Result<Socket, String> {
    let limits = WebSocketConfig::default()
        .max_message_size(Some(max_message_bytes))
        .max_frame_size(Some(max_message_bytes));
    let connector = if url.starts_with("wss:") { Some(tls()?) } else { None };
    let opening = connect_async_tls_with_config(url, Some(limits), true, connector);
    match timeout(patience, opening).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no connection within {patience:?}")),
    }
}

fn tls() -> Result<Connector, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err("this machine has no root certificates: install ca-certificates".to_owned());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Connector::Rustls(Arc::new(config)))
}

/// A pause of `first`, doubled with every failure up to a bound, and up to a quarter longer by the clock's chance.
pub(crate) fn pause(first: Duration, failures: u32, clock: &Clock) -> Duration {
    let full = first.saturating_mul(2u32.saturating_pow(failures.min(16)).min(MAX_PAUSE_FACTOR));
    full + full.mul_f64((clock.now_ms() % 100) as f64 / 400.0)
}

/// Keeps a session up until nobody listens any more.
pub(crate) async fn run(config: Arc<Config>, rest: Arc<Rest>, heard: mpsc::Sender<Heard>) {
    let mut failures: u32 = 0;
    loop {
        let began = Instant::now();
        let why = one(&config, &rest, &heard).await;
        // A session that lived is no failure: the next one follows at once.
        failures = if began.elapsed() > config.silence_max { 0 } else { failures + 1 };
        if heard.send(Heard::Down(why)).await.is_err() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(pause(config.reconnect_pause, failures.saturating_sub(1), &rest.clock)) => {}
            () = heard.closed() => return,
        }
    }
}

/// One session, and why it ended.
async fn one(config: &Config, rest: &Rest, heard: &mpsc::Sender<Heard>) -> String {
    let mut socket = match open(&config.ws_api_url, MAX_MESSAGE_BYTES, config.request_timeout).await {
        Ok(socket) => socket,
        Err(why) => return why,
    };
    if let Err(why) = subscribe(&mut socket, config, rest).await {
        return why;
    }
    if heard.send(Heard::Up).await.is_err() {
        return "nobody listens".to_owned();
    }
    let end = Instant::now() + config.session_max;
    loop {
        let quiet = Instant::now() + config.silence_max;
        let message = match timeout_at(quiet.min(end), socket.next()).await {
            Ok(Some(Ok(message))) => message,
            Ok(Some(Err(error))) => return error.to_string(),
            Ok(None) => return "the venue closed the session".to_owned(),
            Err(_) if Instant::now() >= end => return "the session is old: another one follows".to_owned(),
            Err(_) => return format!("nothing was heard for {:?}", config.silence_max),
        };
        let said = match message {
            Message::Text(text) => match serde_json::from_str::<SessionMessage>(&text) {
                Ok(SessionMessage { event: Some(UserEvent::Ended), .. }) => {
                    return "the venue ended the subscription".to_owned();
                }
                Ok(SessionMessage { event: Some(event), .. }) => Heard::Event(event),
                Ok(SessionMessage { event: None, .. }) => continue,
                Err(_) => Heard::Unreadable,
            },
            Message::Binary(_) => Heard::Unreadable,
            Message::Close(_) => return "the venue closed the session".to_owned(),
            // Pings are answered by the library with the next flush.
            _ => match socket.flush().await {
                Ok(()) => continue,
                Err(error) => return error.to_string(),
            },
        };
        if heard.send(said).await.is_err() {
            return "nobody listens".to_owned();
        }
    }
}

/// Subscribes: an Ed25519 key logs on first, an HMAC key signs the subscription itself.
async fn subscribe(socket: &mut Socket, config: &Config, rest: &Rest) -> Result<(), String> {
    let params = || {
        let params = Params::default().with("apiKey", config.key.api_key());
        let params = params.with("recvWindow", config.recv_window_ms).with("timestamp", rest.clock.now_ms());
        params.signed_json(&config.key)
    };
    if config.key.is_ed25519() {
        call(socket, config, 1, "session.logon", params()).await?;
        call(socket, config, 2, "userDataStream.subscribe", serde_json::json!({})).await
    } else {
        call(socket, config, 1, "userDataStream.subscribe.signature", params()).await
    }
}

async fn call(
    socket: &mut Socket,
    config: &Config,
    id: u64,
    method: &str,
    params: serde_json::Value,
) -> Result<(), String> {
    let text = serde_json::json!({ "id": id, "method": method, "params": params }).to_string();
    let deadline = Instant::now() + config.request_timeout;
    let late = |_| format!("{method}: no answer within {:?}", config.request_timeout);
    let sent = timeout_at(deadline, socket.send(Message::text(text))).await.map_err(late)?;
    sent.map_err(|error| error.to_string())?;
    loop {
        let message = timeout_at(deadline, socket.next()).await.map_err(late)?;
        let text = match message {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
            Some(Ok(_)) | None => return Err(format!("{method}: the venue closed the session")),
            Some(Err(error)) => return Err(error.to_string()),
        };
        let said: SessionMessage =
            serde_json::from_str(&text).map_err(|_| format!("{method}: an answer that is not understood"))?;
        if said.id != Some(id) {
            continue;
        }
        return match (said.status, said.error) {
            (Some(200), _) => Ok(()),
            (status, Some(error)) => Err(format!(
                "{method}: status {}, code {}: {}; check the API key, its permissions and the clock",
                status.unwrap_or(0),
                error.code,
                error.msg
            )),
            (status, None) => Err(format!("{method}: status {}", status.unwrap_or(0))),
        };
    }
}
