//! What every operation takes and answers. Who may use it, and what all of them have in common, stand in its row of
//! `routes.rs` and in the module above.

use axum::http::Method;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};

use super::super::json::Done;
use super::super::{audit, auth, config, gate, limits, operate, orders, read};
use super::field::{Field, any, flag, list, number, text, words};
use super::operation::Operation as Op;
use super::strategies;
use crate::auth::permission::{Permission, Role};
use crate::auth::{KeyMade, TokenPair, UserView};
use crate::gateway::OrdersBody;
use crate::gateway::account::{AccountBody, PositionsBody};
use crate::gateway::events::OrderStateBody;
use crate::gateway::guarding::GuardBody;
use crate::gateway::market::MarketBody;

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const ICON: &str = "image/svg+xml";
const JSON: &str = "application/json";
const CONTROL_CONFLICTS: [&str; 3] = ["killed", "nothing_to_rearm", "kill_file"];

/// Every operation.
pub fn operations() -> Vec<Op> {
    [process(), market(), trading(), operating(), auditing(), identity(), strategies::operations()].concat()
}

/// An object that is told elsewhere.
fn object(about: &'static str) -> RefOr<Schema> {
    ObjectBuilder::new().schema_type(Type::Object).description(Some(about)).into()
}

fn process() -> Vec<Op> {
    let page = |path, summary, content_type| Op::get(path, "Page", summary).serves(content_type);
    vec![
        page("/", "The page", HTML),
        page("/app.js", "Its script", SCRIPT),
        page("/chart.js", "Its chart", SCRIPT),
        page("/login.js", "Its login", SCRIPT),
        page("/style.css", "Its style", STYLE),
        page("/icon.svg", "Its icon", ICON),
        page("/favicon.ico", "Its icon, where browsers look for it", ICON),
        page("/docs", "This document, to read", HTML),
        page("/docs.js", "Its script", SCRIPT),
        page("/docs.css", "Its style", STYLE),
        page("/openapi.json", "This document", JSON),
        Op::get("/health", "Process", "The process lives").ok::<Done>(),
        Op::get("/api/health", "Process", "The process lives, and the gate answers")
            .about("503 with the same body while the gate is away.")
            .ok::<read::Health>()
            .answers::<read::Health>(503),
        Op::get("/metrics", "Process", "Prometheus text")
            .about("Public unless `auth.public_metrics = false`; then `read:config`.")
            .serves("text/plain; version=0.0.4; charset=utf-8"),
        Op::get("/api/config", "Process", "What the shell runs with").ok::<config::Config>(),
        Op::post("/api/config", "Process", "Changes what may change while it runs")
            .about(
                "`market_symbol` counts at once and until the next start. The others may repeat what is; anything else \
                 is refused with what to do. All or nothing.",
            )
            .takes([
                words("market_source", &config::SOURCES, "Where the market comes from."),
                text("market_symbol", "The symbol of `/api/market` without one.").example("BTCUSDT"),
                words("execution_mode", &config::MODES, "The venue; `sim_engine` is the paper venue."),
                flag("auth_enabled", "Whether logins are needed."),
            ])
            .ok::<config::Config>()
            .fails(409, &["restart_required"])
            .fails(422, &["unsupported"]),
        Op::post("/api/config/reload", "Process", "Has the gate read its configuration file again")
            .ok::<limits::Changed>()
            .fails(404, &["not_found"])
            .fails(409, &CONTROL_CONFLICTS)
            .fails(422, &["config_refused"])
            .asks_gate(),
        Op::get("/api/execution/ping", "Process", "Whether a new order would pass gate and venue").ok::<read::Ping>(),
        Op::get("/api/gate", "Process", "Latencies (ns), counters and rejects of the gate")
            .ok::<gate::GateBody>()
            .asks_gate(),
    ]
}

fn market() -> Vec<Op> {
    vec![
        Op::get("/api/symbols", "Market", "Ticks and lots").ok::<read::Symbols>(),
        Op::get("/api/market", "Market", "The newest price of a symbol")
            .about("`price` is null before the first tick.")
            .query([text("symbol", "Which; the default symbol unless it is there.").example("BTCUSDT")])
            .ok::<MarketBody>()
            .fails(404, &["not_found"]),
        Op::get("/api/stream", "Market", "Server-sent events")
            .about("Events and resuming: see docs/http.md. Market events alone with `read:market`, all with `read:orders`.")
            .query([
                number("last_id", "Everything after the event with this id.").like("^[0-9]+$"),
                text("snapshot", "Anything: a snapshot first."),
            ])
            .header(any("Last-Event-ID", "As `last_id`, which wins."))
            .streams()
            .fails(503, &["too_many_streams"]),
        Op::get("/api/ws", "Market", "Events and orders over a WebSocket")
            .about("Each message is one JSON object with `id` and `op`: see docs/http.md. Orders and cancels need what \
                `/api/order` and `/api/cancel` need.")
            .upgrades()
            .fails(503, &["too_many_streams"]),
        Op::post("/api/stream/ticket", "Market", "A one-time ticket for a stream")
            .about("For clients that cannot set headers: `/api/stream?ticket=`, within `expires_in` seconds.")
            .ok::<auth::Ticket>()
            .asks_auth(),
    ]
}

fn order_id() -> Field {
    text("client_order_id", "The order's own id.").like("^[A-Za-z0-9._:/-]{1,36}$").example("my-1")
}

fn trading() -> Vec<Op> {
    let state = "/api/order_state";
    vec![
        Op::post("/api/order", "Orders", "Enters an order; the answer is the gate's decision")
            .about(
                "Decimals are exact: off-tick, off-lot, NaN and exponents are 400. The same `client_order_id` with the \
                 same order returns the first answer again.",
            )
            .takes([
                words("side", &orders::SIDES, "Side.").must(),
                text("symbol", "Symbol.").must().example("BTCUSDT"),
                number("qty", "Quantity, a multiple of the lot.").must().example("0.01"),
                number("price", "Price, a multiple of the tick; of a LIMIT order alone.").example("60000"),
                words("type", &orders::TYPES, "LIMIT unless it is there."),
                words("order_type", &orders::TYPES, "Another name of `type`."),
                words("tif", &orders::TIFS, "GTC unless it is there; IOC for MARKET."),
                number("strategy_id", "For which strategy it is booked: name or number."),
                order_id(),
            ])
            .ok::<orders::PlacedBody>()
            .fails(409, &["duplicate_client_order_id"])
            .fails(422, &["risk_rejected"])
            .asks_gate()
            .then(Method::GET, state, "client_order_id", "$response.body#/client_order_id")
            .then(Method::POST, "/api/cancel", "client_order_id", "$response.body#/client_order_id"),
        Op::post("/api/cancel", "Orders", "Cancels an order")
            .takes([order_id().must()])
            .ok::<orders::PlacedBody>()
            .fails(404, &["not_found"])
            .fails(409, &["terminal", "duplicate_client_order_id"])
            .fails(422, &["risk_rejected"])
            .asks_gate()
            .then(Method::GET, state, "client_order_id", "$response.body#/client_order_id"),
        Op::post("/api/cancel_all", "Orders", "Cancels every open order, or those of a strategy or symbol")
            .takes([
                number("strategy_id", "Of this strategy alone: name or number."),
                text("symbol", "In this symbol alone."),
                text("reason", "Why: up to 56 characters of printable ASCII."),
            ])
            .ok::<operate::SweptBody>()
            .fails(404, &["not_found"])
            .fails(409, &CONTROL_CONFLICTS)
            .asks_gate(),
        Op::get("/api/orders", "Orders", "The newest 200 events").ok::<orders::Recent>(),
        Op::get("/api/orders_state", "Orders", "Open orders and the newest finished ones").ok::<OrdersBody>(),
        Op::get(state, "Orders", "An order's state")
            .query([order_id().must()])
            .ok::<OrderStateBody>()
            .fails(404, &["not_found"]),
        Op::get("/api/account", "Account", "Balances and totals").ok::<AccountBody>(),
        Op::get("/api/positions", "Account", "Positions with P&L").ok::<PositionsBody>(),
        Op::get("/api/reconcile", "Account", "The gate's books against its venue's")
            .ok_json(object("The report of docs/reconcile.md, as the gate writes it."))
            .fails(429, &["busy"])
            .fails(503, &["no_comparison"]),
    ]
}

fn operating() -> Vec<Op> {
    let strategy = || number("strategy_id", "Of this strategy alone: name or number.");
    let cancel = || flag("cancel_orders", "Whether open orders are cancelled, too.");
    let reason = || text("reason", "Why: up to 56 characters of printable ASCII.");
    let act = |path, summary| {
        Op::post(path, "Operation", summary)
            .ok::<operate::Acted>()
            .fails(404, &["not_found"])
            .fails(409, &CONTROL_CONFLICTS)
            .asks_gate()
    };
    vec![
        Op::get("/api/mode", "Operation", "What passes, and why").ok::<GuardBody>(),
        act("/api/mode", "Sets what passes").takes([
            words("mode", &operate::MODES, "HALT is for the whole gate.").must(),
            strategy(),
            cancel(),
            reason(),
        ]),
        act("/api/kill", "Nothing but cancels leaves from here on").takes([strategy(), cancel(), reason()]),
        act("/api/rearm", "Takes back a kill or a halt").takes([reason().must(), strategy()]),
        Op::get("/api/limits", "Operation", "Every limit that is set").ok::<limits::LimitsBody>(),
        Op::post("/api/limits", "Operation", "Sets a limit, or takes it back")
            .takes([
                words("scope", &limits::SCOPES, "`global` unless it is there."),
                number("of", "Which account, symbol or strategy."),
                text("limit", "Which, as in docs/risk.md.").must().example("max_open_orders"),
                number("value", "With its unit, as in the configuration; `none` takes it back.").must(),
            ])
            .ok::<limits::Changed>()
            .fails(404, &["not_found"])
            .fails(409, &CONTROL_CONFLICTS)
            .fails(422, &["config_refused"])
            .asks_gate(),
    ]
}

fn auditing() -> Vec<Op> {
    let moment = "ISO 8601, or seconds since 1970.";
    vec![
        Op::get("/api/audit/logs", "Audit", "Records, newest first")
            .query([
                words("type", &audit::TYPES, "Of this type alone."),
                text("user_id", "Of this user alone."),
                text("action", "Of this action alone."),
                text("start_time", moment),
                text("end_time", moment),
                number("limit", "At most so many, 1 to 1,000; 100 unless it is there."),
                number("offset", "So many are left out first, up to 100,000."),
            ])
            .ok::<audit::Logs>(),
        Op::get("/api/audit/stats", "Audit", "How the log is, and what it takes up").ok::<audit::Stats>(),
        Op::post("/api/audit/archive", "Audit", "Compresses and removes what is due").ok::<audit::Archived>(),
    ]
}

fn identity() -> Vec<Op> {
    let roles = Role::ALL.map(|role| (role.name(), ()));
    let permissions: Vec<&str> = Permission::ALL.iter().map(|permission| permission.name()).collect();
    let user = || text("user_id", "The user.").must().example("tina");
    let role = || words("role", &roles, "The role.").must();
    let refresh = || text("refresh_token", "The refresh token.").must();
    let id = |op: Op| op.asks_auth();
    let admin = |op: Op| op.asks_auth().fails(404, &["not_found"]);
    let jwks = || {
        let key = ObjectBuilder::new().schema_type(Type::Object);
        let keys = utoipa::openapi::schema::ArrayBuilder::new().items(key);
        ObjectBuilder::new().schema_type(Type::Object).property("keys", keys).required("keys")
    };
    let tokens = |op: Op| {
        let token = "$response.body#/refresh_token";
        op.ok::<TokenPair>().then(Method::POST, "/api/auth/refresh", "refresh_token", token).then(
            Method::POST,
            "/api/auth/logout",
            "refresh_token",
            token,
        )
    };
    vec![
        tokens(id(Op::post("/api/auth/login", "Login", "Begins a session")))
            .takes([user(), text("password", "The password.").must()])
            .fails(401, &["invalid_credentials"]),
        tokens(id(Op::post("/api/auth/refresh", "Login", "Exchanges a refresh token, once")))
            .takes([refresh()])
            .fails(401, &["invalid_refresh_token"]),
        id(Op::post("/api/auth/logout", "Login", "Ends a session"))
            .takes([refresh()])
            .ok::<Done>()
            .fails(401, &["invalid_refresh_token"]),
        id(Op::post("/api/auth/password", "Login", "Changes the caller's password"))
            .about("With an access token alone; ends every session of the user.")
            .takes([text("password", "The one that is.").must(), text("new_password", "The new one.").must()])
            .ok::<Done>()
            .fails(401, &["invalid_credentials"])
            .fails(404, &["not_found"]),
        id(Op::get("/api/auth/keys", "Login", "API keys")).ok::<auth::Keys>(),
        admin(Op::post("/api/auth/keys", "Login", "Makes an API key; its secret is shown once"))
            .takes([
                text("name", "What its owner calls it.").must().example("bot"),
                list("permissions", &permissions, "What it may do; a viewer's unless they are there."),
            ])
            .answers::<KeyMade>(201)
            .fails(409, &["too_many_keys"])
            .then(Method::DELETE, "/api/auth/keys", "key_id", "$response.body#/key_id"),
        admin(Op::delete("/api/auth/keys", "Login", "Revokes an API key, at once"))
            .query([text("key_id", "Which.").must()])
            .ok::<auth::Revoked>(),
        admin(Op::get("/api/auth/roles", "Users", "Users and their roles"))
            .query([text("user_id", "This user alone.")])
            .ok::<auth::Users>(),
        admin(Op::post("/api/auth/roles", "Users", "Gives a role")).takes([user(), role()]).ok::<UserView>(),
        admin(Op::delete("/api/auth/roles", "Users", "Takes a role away"))
            .query([user(), role()])
            .ok::<UserView>()
            .fails(409, &["last_admin"]),
        admin(Op::post("/api/auth/users", "Users", "Makes a user"))
            .takes([
                user(),
                text("password", "At least 12 bytes.").must(),
                role(),
                number("account", "The caller's unless it is there."),
            ])
            .answers::<UserView>(201)
            .fails(409, &["too_many_users", "user_exists"])
            .then(Method::DELETE, "/api/auth/users", "user_id", "$response.body#/user_id")
            .then(Method::GET, "/api/auth/roles", "user_id", "$response.body#/user_id"),
        admin(Op::delete("/api/auth/users", "Users", "Removes a user, with sessions and keys"))
            .query([user()])
            .ok::<Done>()
            .fails(409, &["last_admin"]),
        id(Op::get("/admin/signing_keys", "Tokens", "Keys that sign or verify")).ok::<auth::SigningKeys>(),
        id(Op::post("/admin/signing_keys", "Tokens", "Makes a new signing key"))
            .answers::<auth::Rotated>(201)
            .fails(409, &["too_many_keys"])
            .then(Method::DELETE, "/admin/signing_keys", "kid", "$response.body#/kid"),
        admin(Op::delete("/admin/signing_keys", "Tokens", "Refuses a signing key's tokens, at once"))
            .query([text("kid", "Which.").must()])
            .ok::<Done>()
            .fails(409, &["configured_key"]),
        id(Op::get("/.well-known/jwks.json", "Tokens", "Public keys")).ok_json(jwks()),
        id(Op::get("/events/jwks", "Tokens", "Public keys, as event clients look for them")).ok_json(jwks()),
    ]
}
