//! The whole shell: pump, follower, samplers and HTTP, started together and stopped together.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use crate::audit::AuditLog;
use crate::config::ShellConfig;
use crate::error::ShellError;
use crate::gateway::link::ClientLink;
use crate::gateway::market::{Quotes, SAMPLE_EVERY};
use crate::gateway::{Gateway, Settings, follow, pump};
use crate::http::{self, App, AppConfig, Tls};
use crate::order_events;

/// How often streams may see the account.
const ACCOUNT_EVERY: Duration = Duration::from_millis(250);
/// How long sockets may take to answer what they were asked when the shell stops.
const SOCKETS_END_WITHIN: Duration = Duration::from_secs(3);
/// Rings, journal segments, recordings, standard streams.
const OTHER_DESCRIPTORS: u64 = 128;

/// Serves until `shutdown` is ready, then ends every stream and drains. `ready` is told the bound address as soon as
/// requests are taken; the gate need not run yet.
///
/// # Errors
/// [`ShellError`] when it cannot start.
pub async fn serve(
    config: ShellConfig,
    ready: impl FnOnce(SocketAddr),
    shutdown: impl Future<Output = ()>,
) -> Result<(), ShellError> {
    if config.auth.is_none() && !config.bind.ip().is_loopback() {
        return Err(ShellError::NotLoopback(config.bind));
    }
    raise_descriptor_limit();
    let tls = config.tls.map(Tls::open).transpose()?;
    if tls.is_none() && !config.bind.ip().is_loopback() {
        tracing::warn!(bind = %config.bind, "without TLS whoever is in between reads credentials: set server.tls_cert");
    }
    let dir = config.audit.dir.clone();
    // Dropped last: everything that still ends is recorded.
    let (audit, _auditing) =
        AuditLog::start(config.audit).map_err(|source| ShellError::Audit { dir, source })?;
    let bind = |source| ShellError::Bind { address: config.bind, source };
    let listener = TcpListener::bind(config.bind).await.map_err(bind)?;
    let address = listener.local_addr().map_err(bind)?;

    let (markets, mut new_markets) = tokio::sync::mpsc::unbounded_channel::<Quotes>();
    let socket = config.socket.clone();
    let (gate, _pump) = pump::start(move || {
        let markets = markets.clone();
        // The receiver is gone only when the shell stops.
        ClientLink::attach(&socket, move |quotes| drop(markets.send(quotes)))
    })?;
    let settings = Settings {
        account: config.account,
        manual_strategy: config.manual_strategy,
        starting_balances: config.starting_balances,
        stale_after: config.stale_after,
        live_market: config.live_market.clone(),
        venue_balances: config.venue.as_ref().map(|venue| venue.balances.clone()),
    };
    let gateway = Arc::new(Gateway::new(settings, gate));
    let (hot_path, archive_dir) = (config.hot_path, config.archive_dir);
    let _following = follow::start(Arc::clone(&gateway), hot_path.clone(), archive_dir.clone())?;
    let publishing = config.order_events.map(|options| order_events::start(options, hot_path, archive_dir));
    let (order_events, _publishing) = publishing.transpose()?.unzip();
    let app = App::new(
        Arc::clone(&gateway),
        AppConfig {
            counters_path: config.counters_path,
            socket: config.socket,
            market_source: config.market_source,
            live_market: config.live_market,
            venue: config.venue,
            market_symbol: config.market_symbol,
            audit,
            order_events,
            auth: config.auth.clone(),
            sockets: http::Rules::default(),
            tls: tls.clone(),
            strategies: config.strategies,
        },
    );
    let router = http::router(Arc::clone(&app));
    let serving = tokio::spawn(http::serve(listener, tls.clone(), router, app.closing()));
    if let Some(auth) = config.auth {
        tokio::spawn(auth.keep());
    }
    let sampling = async {
        loop {
            tokio::select! {
                Some(quotes) = new_markets.recv() => gateway.board.source(Some(quotes)),
                () = sample(&app, &gateway) => {}
            }
        }
    };
    // Without a certificate a hangup means what it means to any process.
    let mut hangups = tls.as_ref().map(|_| signal(SignalKind::hangup())).transpose()?;
    let reloading = async {
        let (Some(hangups), Some(tls)) = (&mut hangups, &tls) else { return std::future::pending().await };
        while hangups.recv().await.is_some() {
            if let Err(error) = tls.reload() {
                tracing::error!(%error, "the certificate that was read before still counts");
            }
        }
    };
    ready(address);
    tokio::select! {
        () = shutdown => {}
        () = sampling => {}
        () = reloading => {}
    }
    app.close();
    // A panic in a connection's task ended that connection alone; the listener has none of its own.
    let _ = serving.await;
    // Sockets have left their connections behind. One that does not end in time is cut.
    let _ = tokio::time::timeout(SOCKETS_END_WITHIN, app.streams_ended()).await;
    Ok(())
}

/// Every stream is a descriptor, and a shell's usual soft limit is 1,024.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let wanted = (http::MAX_CONNECTIONS + http::MAX_STREAMS) as u64 + OTHER_DESCRIPTORS;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return;
    }
    let current = Some(limit.maximum.map_or(wanted, |maximum| maximum.min(wanted)));
    let raised = setrlimit(Resource::Nofile, Rlimit { current, maximum: limit.maximum });
    if raised.is_err() || current < Some(wanted) {
        tracing::warn!(?current, wanted, "few descriptors: raise the limit (ulimit -n) for many streams");
    }
}

/// Samples market and account for streams, for good.
pub async fn sample(app: &App, gateway: &Gateway) {
    let mut market = interval(SAMPLE_EVERY);
    let mut account = interval(ACCOUNT_EVERY);
    market.set_missed_tick_behavior(MissedTickBehavior::Delay);
    account.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut shown = None;
    loop {
        tokio::select! {
            _ = market.tick() => gateway.sample_market(),
            _ = account.tick() => {
                let counts = gateway.look(|p| (p.counts.fills, p.counts.orders_accepted, p.orders.open_count()));
                if shown.replace(counts) != Some(counts) {
                    app.publish_account();
                }
            }
        }
    }
}
