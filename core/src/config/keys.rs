//! Every key a configuration file may hold, once: what it is, what it defaults to, in which range it works, and whether
//! it changes while the gate runs. The loader, the nearest-name messages, `config show` and `docs/configuration.md` all
//! read this table.

use ringfence_ipc::reason::LimitId;

use super::cache::{MOST_BYTES, MOST_SERIES};
use super::unit::Measure;

/// What a value looks like in the file, and what the configuration keeps of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// A path.
    Path,
    /// One of a few words.
    Word(&'static [&'static str]),
    /// A plain decimal number as text: steps of a symbol, in the symbol's own scales.
    Step,
    /// `true` or `false`.
    Switch,
    /// `true` or `false` of a limit, kept as 1 or 0.
    Flag,
    /// A time of the day, `"09:30:00"` UTC, kept as seconds since midnight.
    TimeOfDay,
    /// A list of names.
    Names,
    /// A whole number.
    Count {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// A whole number that is a power of two.
    PowerOfTwo {
        /// Smallest.
        min: i64,
        /// Largest.
        max: i64,
    },
    /// A number with a unit, kept as a scaled integer.
    Scaled {
        /// What it counts.
        measure: Measure,
        /// Smallest, in the measure's own size.
        min: i64,
        /// Largest, in the measure's own size.
        max: i64,
    },
    /// An amount of the currency, up to 8 decimals.
    Money,
    /// A quantity of a symbol's base asset.
    Quantity,
}

/// When a changed value counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// At once, journalled.
    Hot,
    /// For strategies that become known later.
    NewStrategies,
    /// At the next start.
    Restart,
    /// Never within one journal.
    NewJournal,
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its place in the file; `[]` stands for the elements of a list. Of a limit: its name alone.
    pub path: &'static str,
    /// The name of the configuration's field, where it has the unit in it.
    pub field: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// What it is when nobody says otherwise.
    pub default: &'static str,
    /// When a change counts.
    pub change: Change,
    /// What it means.
    pub what: &'static str,
}

/// A limit's key, at every scope that has the limit.
#[derive(Clone, Copy, Debug)]
pub struct LimitKey {
    /// The limit.
    pub id: LimitId,
    /// Its key.
    pub key: Key,
}

const MAX: i64 = i64::MAX;
const ANY: Kind = Kind::Count { min: 0, max: MAX };
const ID: Kind = Kind::Count { min: 0, max: u16::MAX as i64 };

const fn count(min: i64, max: i64) -> Kind {
    Kind::Count { min, max }
}

const fn scaled(measure: Measure, min: i64, max: i64) -> Kind {
    Kind::Scaled { measure, min, max }
}

const MS: Measure = Measure::Time(1_000_000);
const S: Measure = Measure::Time(1_000_000_000);
const PER_CALLER: Kind = count(1, 1_000_000);
const CALLS_PER_S: Kind = scaled(Measure::Rate, 1, 1_000_000);
const DAY_MS: i64 = 86_400_000;
const HOUR: Measure = Measure::Time(3_600_000_000_000);
const RETAIN: Kind = scaled(HOUR, 1, 24 * 36_500);
const RING: Kind = Kind::PowerOfTwo { min: 16, max: 1 << 20 };
const JOURNAL_BYTES: Kind = scaled(Measure::Bytes, 1 << 16, 1 << 40);

const fn key(
    path: &'static str,
    field: &'static str,
    kind: Kind,
    default: &'static str,
    change: Change,
    what: &'static str,
) -> Key {
    Key { path, field, kind, default, change, what }
}

/// Sections whose name in the configuration has the unit in it: their place in the file, and that name.
pub const SECTIONS: &[(&str, &str)] = &[
    ("storm.drawdown", "drawdown_bps"),
    ("storm.feed_gap", "feed_gap_ms"),
    ("storm.round_trip", "round_trip_ms"),
    ("storm.crossed", "crossed_ms"),
    ("storm.reject_rate", "rejects_per_s"),
];

const LEVEL_BPS: Kind = scaled(Measure::Bps, 1, 1_000_000);
const LEVEL_TIME: Kind = scaled(MS, 1, DAY_MS);
const LEVEL_RATE: Kind = scaled(Measure::Rate, 1, 1_000_000_000);
const LEVEL_COUNT: Kind = count(1, 1_000_000_000);
const NEVER: &str = "never";

/// Every key that is no limit, in the order of the documentation.
#[rustfmt::skip]
pub const KEYS: &[Key] = {
    use Change::{Hot, NewJournal, Restart};
    &[
        key("data_dir", "data_dir", Kind::Path, "required", Restart, "durable files: archive segments, lock, summary"),
        key("run_dir", "run_dir", Kind::Path, "required", Restart, "socket, hot journal and counters; on tmpfs"),
        key("currency", "currency", Kind::Text, "USDT", Restart, "the unit of every amount of money"),
        key("wait", "wait", Kind::Word(&["backoff", "spin", "park"]), "backoff", Restart, "how an idle gate thread waits"),
        key("pin", "pin", count(0, 1023), "none", Restart, "CPU to pin the gate thread to"),
        key("venue", "venue", Kind::Word(&["paper", "null", "external", "binance_testnet_spot"]), "paper", Restart, "where commands go"),
        key("lockstep.strategies", "strategies", count(0, 64), "none", Restart, "decide in turns with the tape: strategies that must have attached before the first event"),
        key("lockstep.seed", "seed", ANY, "none", Restart, "seed of everything random in lockstep"),
        key("journal.hot_size", "hot_bytes", JOURNAL_BYTES, "256 MiB", Restart, "hot ring on tmpfs; a power of two"),
        key("journal.segment_size", "segment_bytes", JOURNAL_BYTES, "256 MiB", Restart, "one archive segment"),
        key("journal.min_free", "min_free_bytes", scaled(Measure::Bytes, 0, 1 << 50), "256 MiB", Restart, "below this much free space on the data disk new orders are refused"),
        key("journal.tier", "tier", Kind::Word(&["process", "power"]), "process", Restart, "what a decision survives before it is shown: the process, or the loss of power"),
        key("journal.held_entries", "held_entries", count(64, 1 << 24), "65536", Restart, "tier `power`: answers, reports and commands that wait for the disk at most; beyond it new orders are refused"),
        key("journal.checkpoint_size", "checkpoint_bytes", scaled(Measure::Bytes, 0, 1 << 50), "128 MiB", Restart, "journal growth between two checkpoints; 0: none are written"),
        key("journal.retain_size", "retain_bytes", scaled(Measure::Bytes, 0, 1 << 60), "none", Restart, "segments further back than this are removed once nobody needs them; none: all are kept"),
        key("journal.retain_time", "retain_ns", scaled(Measure::Time(1), 0, 36_500 * DAY_MS * 1_000_000), "none", Restart, "segments last written longer ago than this are removed once nobody needs them; none: all are kept"),
        key("journal.max_lag", "max_lag_bytes", scaled(Measure::Bytes, 0, 1 << 60), "1 GiB", Restart, "a registered follower further behind than this is not waited for"),
        key("capacity.order_slots", "order_slots", Kind::PowerOfTwo { min: 1, max: 1 << 24 }, "65536", NewJournal, "live orders at most"),
        key("capacity.max_strategies", "max_strategies", count(1, 4096), "64", Restart, "strategies ever known, and one"),
        key("capacity.max_positions", "max_positions", count(1, 1 << 24), "4096", Restart, "(strategy, symbol) pairs with a position"),
        key("capacity.max_clients", "max_clients", count(1, 4096), "64", Restart, "attached clients"),
        key("capacity.intents_slots", "intents_slots", RING, "1024", Restart, "slots of a client's intents ring"),
        key("capacity.events_slots", "events_slots", Kind::PowerOfTwo { min: 128, max: 1 << 20 }, "4096", Restart, "slots of a client's events ring"),
        key("capacity.tape_slots", "tape_slots", RING, "16384", Restart, "slots of a feed's tape ring"),
        key("capacity.lagging_patience", "lagging_patience_ms", scaled(MS, 1, DAY_MS), "5 s", Restart, "a client whose full events ring keeps the gate waiting for longer is detached; it may resume"),
        key("cache.budget", "budget_bytes", scaled(Measure::Bytes, 0, MOST_BYTES as i64), "16 MiB", Restart, "memory of the node cache, all series together; 0: no cache"),
        key("cache.max_series", "max_series", count(0, MOST_SERIES as i64), "1024", Restart, "series of the node cache at most"),
        key("paper.latency", "latency_ns", scaled(Measure::Time(1), 0, 60_000_000_000), "500 us", Restart, "gate to paper venue"),
        key("paper.jitter", "jitter_ns", scaled(Measure::Time(1), 0, 60_000_000_000), "100 us", Restart, "added to it at random, up to this much"),
        key("paper.maker_fee", "maker_fee_ppm", scaled(Measure::Ppm, -1_000_000, 1_000_000), "10 bps", Restart, "maker fee, of the notional; negative is a rebate"),
        key("paper.taker_fee", "taker_fee_ppm", scaled(Measure::Ppm, -1_000_000, 1_000_000), "10 bps", Restart, "taker fee, of the notional"),
        key("paper.reject_share", "reject_ppm", scaled(Measure::Ppm, 0, 1_000_000), "0 bps", Restart, "share of new orders refused at random"),
        key("paper.seed", "seed", ANY, "1", Restart, "seed of the paper venue's randomness"),
        key("kill_cancels_orders", "kill_cancels_orders", Kind::Switch, "true", Restart, "the kill switch cancels every open order, unless whoever pulls it says otherwise"),
        key("operator.name", "name", Kind::Text, "shell", Restart, "the operator that the dead-man switch watches"),
        key("operator.on_disconnect", "on_disconnect", Kind::Word(&["keep", "cancel", "cancel_all", "halt"]), "keep", Restart, "what happens when it is gone for longer than its grace"),
        key("operator.resume_grace", "resume_grace_ms", scaled(MS, 0, DAY_MS), "2 s", Restart, "how long it has to come back"),
        key("storm.capital", "capital", Kind::Money, "none", Hot, "what drawdowns are measured against"),
        key("storm.drawdown.warm", "warm", LEVEL_BPS, NEVER, Hot, "WARM from here on: loss since the highest P&L, of the capital"),
        key("storm.drawdown.storm", "storm", LEVEL_BPS, NEVER, Hot, "STORM from here on: loss since the highest P&L, of the capital"),
        key("storm.drawdown.halt", "halt", LEVEL_BPS, NEVER, Hot, "HALT from here on: loss since the highest P&L, of the capital"),
        key("storm.feed_gap.warm", "warm", LEVEL_TIME, NEVER, Hot, "WARM from here on: time without a market message"),
        key("storm.feed_gap.storm", "storm", LEVEL_TIME, NEVER, Hot, "STORM from here on: time without a market message"),
        key("storm.feed_gap.halt", "halt", LEVEL_TIME, NEVER, Hot, "HALT from here on: time without a market message"),
        key("storm.round_trip.warm", "warm", LEVEL_TIME, NEVER, Hot, "WARM from here on: time from an order to the venue's first word"),
        key("storm.round_trip.storm", "storm", LEVEL_TIME, NEVER, Hot, "STORM from here on: time from an order to the venue's first word"),
        key("storm.round_trip.halt", "halt", LEVEL_TIME, NEVER, Hot, "HALT from here on: time from an order to the venue's first word"),
        key("storm.crossed.warm", "warm", LEVEL_TIME, NEVER, Hot, "WARM from here on: time that a book has been crossed"),
        key("storm.crossed.storm", "storm", LEVEL_TIME, NEVER, Hot, "STORM from here on: time that a book has been crossed"),
        key("storm.crossed.halt", "halt", LEVEL_TIME, NEVER, Hot, "HALT from here on: time that a book has been crossed"),
        key("storm.reject_rate.warm", "warm", LEVEL_RATE, NEVER, Hot, "WARM from here on: journalled rejects of gate and venue"),
        key("storm.reject_rate.storm", "storm", LEVEL_RATE, NEVER, Hot, "STORM from here on: journalled rejects of gate and venue"),
        key("storm.reject_rate.halt", "halt", LEVEL_RATE, NEVER, Hot, "HALT from here on: journalled rejects of gate and venue"),
        key("storm.full_checks.warm", "warm", LEVEL_COUNT, NEVER, Hot, "WARM from here on: checks in a row that found the venue's ring or the journal full"),
        key("storm.full_checks.storm", "storm", LEVEL_COUNT, NEVER, Hot, "STORM from here on: checks in a row that found the venue's ring or the journal full"),
        key("storm.full_checks.halt", "halt", LEVEL_COUNT, NEVER, Hot, "HALT from here on: checks in a row that found the venue's ring or the journal full"),
        key("storm.clear_checks", "clear_checks", count(0, 1_000_000), "10", Hot, "checks in a row that must be clear before StormGuard steps down"),
        key("storm.cooldown", "cooldown_ms", scaled(MS, 0, DAY_MS), "5 s", Hot, "shortest time in a state before it steps down"),
        key("storm.check_interval", "check_interval_ms", scaled(MS, 1, DAY_MS), "10 ms", Hot, "time between two checks"),
        key("shell.bind", "bind", Kind::Text, "127.0.0.1:8080", Restart, "where HTTP is served; loopback unless `auth.enabled`"),
        key("shell.account", "account", ID, "0", Restart, "the account that HTTP users trade for"),
        key("shell.manual_strategy", "manual_strategy", Kind::Text, "manual", Restart, "the strategy HTTP orders are booked for unless they name one"),
        key("shell.market_symbol", "market_symbol", Kind::Text, "the first", Restart, "the symbol of `/api/market` without one"),
        key("shell.stale_after", "stale_after_ms", scaled(MS, 1, DAY_MS), "5 s", Restart, "a market without an event for this long is stale"),
        key("shell.market_source", "market_source", Kind::Word(&["replay", "sim", "binance"]), "none", Restart, "where the market comes from; none: the venue, or `sim` where it has none; `replay` is meant when `shell.replay` is set"),
        key("shell.replay", "replay", Kind::Path, "none", Restart, "market from this recording; none: a simulated market"),
        key("shell.speed", "speed", Kind::Text, "1", Restart, "speed of the replay: a factor, or `max`"),
        key("shell.seed", "seed", ANY, "1", Restart, "seed of the simulated market"),
        key("binance.rest_url", "rest_url", Kind::Text, "none", Restart, "base address of REST, without `/api`; none: the spot testnet"),
        key("binance.ws_api_url", "ws_api_url", Kind::Text, "none", Restart, "address of the WebSocket API; none: the spot testnet"),
        key("binance.stream_url", "stream_url", Kind::Text, "none", Restart, "base address of the market streams, without `/stream`; none: the spot testnet"),
        key("binance.allow_mainnet", "allow_mainnet", Kind::Switch, "false", Restart, "addresses other than the testnet's and loopback are allowed; as a venue it needs `auth.enabled`"),
        key("binance.api_key_file", "api_key_file", Kind::Path, "none", Restart, "file of mode 0600 with the API key; none: the variable `BINANCE_API_KEY`"),
        key("binance.secret_file", "secret_file", Kind::Path, "none", Restart, "file of mode 0600 with the key's secret, or the private key in PEM; none: the variable `BINANCE_API_SECRET`"),
        key("binance.recv_window", "recv_window_ms", scaled(MS, 1, 60_000), "5 s", Restart, "how long after its timestamp the venue may still take a request; \"not found\" is final so much later"),
        key("binance.request_timeout", "request_timeout_ms", scaled(MS, 100, 600_000), "10 s", Restart, "how long an answer is waited for; later, what was asked is UNKNOWN"),
        key("binance.max_in_flight", "max_in_flight", count(1, 1024), "32", Restart, "requests under way at once"),
        key("binance.sweep_interval", "sweep_interval_ms", scaled(MS, 100, DAY_MS), "30 s", Restart, "how often open orders are compared while all is well"),
        key("binance.reconnect_pause", "reconnect_pause_ms", scaled(MS, 10, 60_000), "500 ms", Restart, "the first pause before connecting again; it doubles up to 60 times this"),
        key("server.tls_cert", "tls_cert", Kind::Path, "none", Restart, "certificate chain of the shell's listener, PEM; none: plain HTTP. Its files are read again at SIGHUP and at a reload"),
        key("server.tls_key", "tls_key", Kind::Path, "none", Restart, "its private key, PEM"),
        key("audit.queue", "queue", count(1, 1 << 20), "16384", Restart, "requests at work and audit records that wait, together; beyond it requests that change something are refused"),
        key("audit.sync_interval", "sync_interval_ms", scaled(MS, 1, 100), "50 ms", Restart, "an audit record is on disk after this long; those of logins and API keys before the answer"),
        key("audit.max_file_size", "max_file_bytes", scaled(Measure::Bytes, 1 << 16, 1 << 40), "100 MiB", Restart, "an audit file ends here, and at midnight UTC"),
        key("audit.min_free", "min_free_bytes", scaled(Measure::Bytes, 0, 1 << 60), "64 MiB", Restart, "below this much free space on the data disk requests that change something are refused"),
        key("audit.sweep_interval", "sweep_interval_ms", scaled(MS, 1000, 30 * DAY_MS), "3600 s", Restart, "time between two looks for audit files to compress or remove"),
        key("audit.retain_auth", "retain_auth_h", RETAIN, "7776000 s", Restart, "how long records of logins, tokens and roles are kept, at least"),
        key("audit.retain_order", "retain_order_h", RETAIN, "31536000 s", Restart, "how long records of orders, modes, limits and configuration are kept, at least"),
        key("audit.retain_api_key", "retain_api_key_h", RETAIN, "31536000 s", Restart, "how long records of API keys are kept, at least"),
        key("audit.retain_access", "retain_access_h", RETAIN, "1209600 s", Restart, "how long records of refused requests are kept, at least"),
        key("audit.retain_error", "retain_error_h", RETAIN, "2592000 s", Restart, "how long records of errors are kept, at least"),
        key("events.enabled", "enabled", Kind::Switch, "true", Restart, "what happens to orders is published as messages of a topic"),
        key("events.kafka_brokers", "kafka_brokers", Kind::Text, "none", Restart, "the topic is on these brokers, `host:port,..`; none: in `topics.db` of the data directory"),
        key("events.topic", "topic", Kind::Text, "orders.events", Restart, "the topic's name"),
        key("events.replicas", "replicas", count(1, 16), "3", Restart, "copies on Kafka; as many as there are brokers when those are fewer"),
        key("events.retain", "retain_h", RETAIN, "604800 s", Restart, "how long order events are kept, at least; set when the topic is created"),
        key("events.size", "size_bytes", scaled(Measure::Bytes, 1 << 20, 1 << 50), "1 GiB", Restart, "beyond this much in `topics.db` the oldest order events go; set when the topic is created"),
        key("dag.enabled", "enabled", Kind::Switch, "true", Restart, "strategies can be submitted as DAGs"),
        key("dag.duplicate_ttl", "duplicate_ttl_s", scaled(S, 60, 366 * 86_400), "86400 s", Restart, "the same DAG is a duplicate for so long"),
        key("dag.workers", "workers", count(1, 64), "2", Restart, "strategies that are worked on at once"),
        key("dag.missing_config_hash", "missing_config_hash", Kind::Word(&["accept_unverified", "strict"]), "accept_unverified", Restart, "what becomes of nodes whose id cannot be verified for want of `config_hash`: taken and never shared, or refused"),
        key("dag.postgres_url_file", "postgres_url_file", Kind::Path, "none", Restart, "a file, mode 0600, with `postgresql://..`; none: strategies are kept in `dag` of the data directory"),
        key("dag.redis_url_file", "redis_url_file", Kind::Path, "none", Restart, "a file, mode 0600, with `redis://..`, before PostgreSQL"),
        key("dag.spool", "spool", Kind::Switch, "true", Restart, "submissions wait on this host while PostgreSQL is away; `false` where several shells share one"),
        key("dag.neo4j_uri", "neo4j_uri", Kind::Text, "none", Restart, "`bolt://host:port` or `neo4j://..`; none: the graph is kept in `dag` of the data directory"),
        key("dag.neo4j_login_file", "neo4j_login_file", Kind::Path, "none", Restart, "a file, mode 0600, with the user in its first line and the password in its second"),
        key("dag.kafka_brokers", "kafka_brokers", Kind::Text, "none", Restart, "values of nodes go to these brokers, `host:port,..`; none: to `dag` of the data directory"),
        key("auth.enabled", "enabled", Kind::Switch, "false", Restart, "requests need credentials"),
        key("auth.issuer", "issuer", Kind::Text, "ringfence", Restart, "`iss` of every token"),
        key("auth.audience", "audience", Kind::Text, "ringfence-api", Restart, "`aud` of every token"),
        key("auth.access_lives", "access_lives_s", scaled(S, 60, 86_400), "3600 s", Restart, "how long an access token works"),
        key("auth.refresh_lives", "refresh_lives_s", scaled(S, 3600, 366 * 86_400), "604800 s", Restart, "how long a refresh token works"),
        key("auth.leeway", "leeway_s", scaled(S, 0, 30), "10 s", Restart, "how far the clocks of token holders may differ"),
        key("auth.key_lives", "key_lives_s", scaled(S, 3600, 366 * 86_400), "2592000 s", Restart, "a signing key of this age is replaced"),
        key("auth.hashes_at_once", "hashes_at_once", count(1, 64), "2", Restart, "password hashes computed at once; 19 MiB each"),
        key("auth.public_metrics", "public_metrics", Kind::Switch, "true", Restart, "`/metrics` needs no credentials"),
        key("auth.request_capacity", "request_capacity", PER_CALLER, "100", Restart, "requests at once, of a key, user or address"),
        key("auth.request_rate", "request_rate", CALLS_PER_S, "10 /s", Restart, "requests, sustained"),
        key("auth.cancel_capacity", "cancel_capacity", PER_CALLER, "100", Restart, "cancels and kills at once"),
        key("auth.cancel_rate", "cancel_rate", CALLS_PER_S, "10 /s", Restart, "cancels and kills, sustained"),
        key("auth.address_capacity", "address_capacity", PER_CALLER, "400", Restart, "anything at once from one address, before its credentials are looked at"),
        key("auth.address_rate", "address_rate", CALLS_PER_S, "100 /s", Restart, "anything from one address, sustained"),
        key("auth.login_capacity", "login_capacity", PER_CALLER, "10", Restart, "logins and refreshes at once from one address"),
        key("auth.login_interval", "login_interval_ms", scaled(MS, 1, DAY_MS), "6 s", Restart, "time until one address may log in once more"),
        key("symbol[].name", "name", Kind::Text, "required", NewJournal, "name, e.g. `BTCUSDT`; ids count from 0 in the order of the list, which only grows at its end"),
        key("symbol[].tick", "tick", Kind::Step, "required", NewJournal, "smallest price step, in the currency"),
        key("symbol[].lot", "lot", Kind::Step, "required", NewJournal, "smallest quantity step, in the base asset"),
        key("symbol[].price_scale", "price_scale", count(0, 16), "required", NewJournal, "decimals of a price"),
        key("symbol[].qty_scale", "qty_scale", count(0, 16), "required", NewJournal, "decimals of a quantity"),
        key("strategy[].name", "name", Kind::Text, "required", Restart, "a strategy known from the start"),
        key("strategy[].account", "account", ID, "0", NewJournal, "its account"),
        key("strategy[].symbols", "symbols", Kind::Names, "every symbol", Restart, "what it may trade, by name"),
        key("strategy[].on_disconnect", "on_disconnect", Kind::Word(&["keep", "cancel"]), "keep", Restart, "what happens to its open orders when its client is gone for longer than its grace"),
        key("strategy[].resume_grace", "resume_grace_ms", scaled(MS, 0, DAY_MS), "0 s", Restart, "how long its client has to come back"),
        key("account[].id", "id", count(0, 15), "required", Restart, "an account with limits"),
        key("client[].role", "role", Kind::Word(&["strategy", "operator", "feed", "venue", "observer"]), "required", Restart, "what a client may attach as"),
        key("client[].name", "name", Kind::Text, "required", Restart, "under which name; `*` admits any"),
        key("client[].uid", "uid", count(0, u32::MAX as i64), "none", Restart, "the user it must run as"),
        key("client[].key_file", "key_file", Kind::Path, "none", Restart, "the 32-byte key it must present, in a file of mode 0600"),
    ]
};

const fn limit(
    id: LimitId,
    path: &'static str,
    field: &'static str,
    kind: Kind,
    default: &'static str,
    what: &'static str,
) -> LimitKey {
    LimitKey { id, key: key(path, field, kind, default, Change::Hot, what) }
}

const NONE: &str = "no limit";

/// Every limit, in the order of the documentation.
#[rustfmt::skip]
pub const LIMITS: &[LimitKey] = &[
    limit(LimitId::MaxOrderQty, "max_order_qty", "max_order_qty", Kind::Quantity, NONE, "largest order"),
    limit(LimitId::MaxOrderNotionalE8, "max_order_notional", "max_order_notional", Kind::Money, NONE, "largest order"),
    limit(LimitId::MaxPositionQty, "max_position_qty", "max_position_qty", Kind::Quantity, NONE, "largest worst-case position in a symbol: per strategy, or of the symbol over all strategies"),
    limit(LimitId::MaxGrossNotionalE8, "max_gross_notional", "max_gross_notional", Kind::Money, NONE, "largest worst-case gross notional"),
    limit(LimitId::PriceCollarBps, "price_collar", "price_collar_bps", scaled(Measure::Bps, 0, 1_000_000), NONE, "farthest price from the reference; a missing, stale or crossed reference refuses"),
    limit(LimitId::ReferenceMaxAgeNs, "reference_max_age", "reference_max_age_ms", scaled(MS, 1, DAY_MS * 366), NONE, "oldest reference the collar accepts"),
    limit(LimitId::MarketBandBps, "market_band", "market_band_bps", scaled(Measure::Bps, 0, 1_000_000), "0 bps", "market orders count at the reference price plus this"),
    limit(LimitId::OrderRatePerS, "order_rate", "order_rate_per_s", scaled(Measure::Rate, 0, 1_000_000_000), NONE, "orders, sustained"),
    limit(LimitId::OrderBurst, "order_burst", "order_burst", count(1, 1_000_000_000), "the rate", "orders at once"),
    limit(LimitId::CancelRatePerS, "cancel_rate", "cancel_rate_per_s", scaled(Measure::Rate, 0, 1_000_000_000), NONE, "cancels, sustained"),
    limit(LimitId::CancelBurst, "cancel_burst", "cancel_burst", count(1, 1_000_000_000), "the rate", "cancels at once"),
    limit(LimitId::MaxOpenOrders, "max_open_orders", "max_open_orders", count(0, 1 << 24), NONE, "open orders"),
    limit(LimitId::ExposureMaxSymbols, "exposure_max_symbols", "exposure_max_symbols", count(0, u16::MAX as i64), NONE, "distinct symbols with exposure"),
    limit(LimitId::DedupTtlNs, "dedup_ttl", "dedup_ttl_s", scaled(Measure::Time(1_000_000_000), 1, 366 * 86_400), "300 s", "how long keys are remembered"),
    LimitKey { id: LimitId::DedupQuota, key: key("dedup_quota", "dedup_quota", count(1, 1 << 24), "65536", Change::NewStrategies, "keys remembered") },
    limit(LimitId::MaxClockSkewNs, "max_clock_skew", "max_clock_skew_ms", scaled(MS, 0, DAY_MS), "1 s", "how far a client's clock may run ahead"),
    limit(LimitId::MarkIntervalNs, "mark_interval", "mark_interval_ms", scaled(MS, 1, DAY_MS), "100 ms", "shortest time between two journalled marks of a symbol"),
    limit(LimitId::AllowKeyless, "allow_keyless", "allow_keyless", Kind::Flag, "false", "intents without a key are allowed"),
    limit(LimitId::SelfCross, "self_cross", "self_cross", Kind::Flag, "false", "an order that would meet an open order of its own strategy is refused"),
    limit(LimitId::MaxRepeats, "max_repeats", "max_repeats", count(1, 1_000_000_000), NONE, "identical orders in a row within `repeat_window`"),
    limit(LimitId::RepeatWindowNs, "repeat_window", "repeat_window_ms", scaled(MS, 0, DAY_MS), "1 s", "how long a row of identical orders lasts"),
    limit(LimitId::MaxOrderToTrade, "max_order_to_trade", "max_order_to_trade", count(0, 1_000_000_000), NONE, "messages per fill, over a day"),
    limit(LimitId::OrderToTradeGrace, "order_to_trade_grace", "order_to_trade_grace", count(0, 1_000_000_000), "0", "messages of a day that need no fill"),
    limit(LimitId::DailyLossSoftE8, "daily_loss_soft", "daily_loss_soft", Kind::Money, NONE, "loss of the day beyond which only what reduces a position passes"),
    limit(LimitId::DailyLossHardE8, "daily_loss_hard", "daily_loss_hard", Kind::Money, NONE, "loss of the day beyond which no order passes but a force flat"),
    limit(LimitId::VenueOrderRatePerS, "venue_order_rate", "venue_order_rate_per_s", scaled(Measure::Rate, 0, 1_000_000_000), NONE, "orders to the venue, all strategies together, sustained"),
    limit(LimitId::VenueOrderBurst, "venue_order_burst", "venue_order_burst", count(1, 1_000_000_000), "the rate", "orders to the venue at once"),
    limit(LimitId::PriceCollarTicks, "price_collar_ticks", "price_collar_ticks", count(0, MAX), NONE, "farthest price from the reference, ticks"),
    limit(LimitId::TradingOpenS, "trading_open", "trading_open_s", Kind::TimeOfDay, "00:00:00", "when the symbol begins to trade, UTC"),
    limit(LimitId::TradingCloseS, "trading_close", "trading_close_s", Kind::TimeOfDay, "24:00:00", "when the symbol ends to trade, UTC"),
];
