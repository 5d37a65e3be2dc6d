//! What the header declares: numbers, and structs of numbers.

use std::ffi::c_char;

/// It worked.
pub const RF_OK: i32 = 0;
/// rf_poll: there is an event.
pub const RF_EVENT: i32 = 1;
/// A pointer is NULL or misaligned, or a value is not defined.
pub const RF_ERR_ARGUMENT: i32 = -1;
/// No attached client has this handle.
pub const RF_ERR_HANDLE: i32 = -2;
/// Another thread is using this handle.
pub const RF_ERR_BUSY: i32 = -3;
/// The ring is full: poll, then try again.
pub const RF_ERR_FULL: i32 = -4;
/// The gate is gone: poll until RF_EVENT_LOST, then rf_resume.
pub const RF_ERR_LOST: i32 = -5;
/// The gate's memory contradicts the protocol: rf_resume or detach.
pub const RF_ERR_FAULT: i32 = -6;
/// No gate answers; trying again may help.
pub const RF_ERR_NO_GATE: i32 = -7;
/// The gate said no; trying again will not help.
pub const RF_ERR_REFUSED: i32 = -8;
/// This process has RF_MAX_CLIENTS attachments.
pub const RF_ERR_TOO_MANY: i32 = -9;
/// There is no such thing, or no value yet.
pub const RF_ERR_UNKNOWN: i32 = -10;
/// A defect in this library: the handle is unusable.
pub const RF_ERR_INTERNAL: i32 = -11;

/// Attachments of one process at most.
pub const RF_MAX_CLIENTS: usize = 64;

/// Sends intents of its own.
pub const RF_ROLE_STRATEGY: u32 = 1;
/// Reads the market; sends nothing.
pub const RF_ROLE_OBSERVER: u32 = 5;

/// Intent kinds.
pub const RF_NEW: u8 = 1;
/// Target: `ttl_ns_or_target`, an order id.
pub const RF_CANCEL: u8 = 2;
/// As RF_CANCEL; price and quantity are the new ones.
pub const RF_AMEND: u8 = 3;

/// Sides.
pub const RF_BUY: u8 = 0;
/// Sells.
pub const RF_SELL: u8 = 1;
/// Order types.
pub const RF_LIMIT: u8 = 0;
/// At any price within the gate's band.
pub const RF_MARKET: u8 = 1;
/// Times in force: until cancelled.
pub const RF_GTC: u8 = 0;
/// Fills at once what it can, the rest expires.
pub const RF_IOC: u8 = 1;
/// Fills at once and whole, or expires.
pub const RF_FOK: u8 = 2;
/// Until the day's end.
pub const RF_DAY: u8 = 3;
/// Intent flag: the target of a cancel is a key, low half in `price`, high half in `qty`.
pub const RF_FLAG_BY_KEY: u16 = 1;
/// Intent flag: never takes liquidity.
pub const RF_FLAG_POST_ONLY: u16 = 2;

/// Event kinds: nothing.
pub const RF_EVENT_NONE: u32 = 0;
/// `body.decision`: the answer to an intent.
pub const RF_EVENT_DECISION: u32 = 1;
/// `body.report`: news of an order.
pub const RF_EVENT_REPORT: u32 = 2;
/// `body.step`: lockstep; submit, then rf_step_done.
pub const RF_EVENT_STEP: u32 = 3;
/// The gate is gone, or detached this client: rf_resume.
pub const RF_EVENT_LOST: u32 = 4;

/// A handle. 0 is none.
pub type RfClient = u64;

/// How to attach.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct RfOptions {
    /// sizeof(rf_options).
    pub struct_size: u32,
    /// RF_ROLE_*.
    pub role: u32,
    /// The gate's control socket.
    pub socket_path: *const c_char,
    /// The strategy's name.
    pub name: *const c_char,
    /// The 32 bytes of the key file, or NULL.
    pub key: *const u8,
    /// Bounds the handshake; 0: 5000.
    pub timeout_ms: u32,
    /// 1: a market source at full speed waits for rf_market_seen.
    pub paced: u32,
}

/// What a strategy asks.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct RfIntent {
    /// Idempotency key: the same key is never executed twice.
    pub key_low: u64,
    /// Its upper half.
    pub key_high: u64,
    /// Scaled by the symbol's price_scale; 0 for market orders.
    pub price: i64,
    /// Scaled by the symbol's qty_scale.
    pub qty: i64,
    /// Gate time (rf_now_ns) at which it was made.
    pub client_ts_ns: u64,
    /// RF_NEW: time to live, ns, 0 for ever. RF_CANCEL, RF_AMEND: the order.
    pub ttl_ns_or_target: u64,
    /// The symbol's id (rf_symbol).
    pub symbol: u16,
    /// RF_NEW, RF_CANCEL, RF_AMEND.
    pub kind: u8,
    /// RF_BUY, RF_SELL.
    pub side: u8,
    /// RF_LIMIT, RF_MARKET.
    pub order_type: u8,
    /// RF_GTC, RF_IOC, RF_FOK, RF_DAY.
    pub tif: u8,
    /// RF_FLAG_*.
    pub flags: u16,
}

/// The gate's answer to one intent.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct RfDecision {
    /// What rf_submit returned.
    pub position: u64,
    /// Journal position; 0: not journalled.
    pub journal_seq: u64,
    /// Gate time, ns.
    pub decided_at_ns: u64,
    /// Of the intent's key.
    pub key_low: u64,
    /// Accepted: the order.
    pub order_id: u64,
    /// Rejected: what was observed, in the limit's unit.
    pub observed: i64,
    /// Rejected: the limit.
    pub limit: i64,
    /// rf_reason_name; 0 when accepted.
    pub reason: u16,
    /// Which limit; 0 for none.
    pub limit_id: u16,
    /// 1: accepted, 0: rejected.
    pub accepted: u8,
    /// 1: the key was known, this is the first answer again.
    pub duplicate: u8,
    /// What the answer survives: 0 nothing, 1 kill -9, 2 loss of power.
    pub tier: u8,
}

/// News of an order.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct RfReport {
    /// Journal position.
    pub journal_seq: u64,
    /// The order.
    pub order_id: u64,
    /// Of the order's key.
    pub key_low: u64,
    /// A fill's quantity, scaled.
    pub last_qty: i64,
    /// A fill's price, scaled.
    pub last_price: i64,
    /// Filled so far, scaled.
    pub cum_qty: i64,
    /// Still working, scaled.
    pub leaves_qty: i64,
    /// A fill's fee, 1e-8 of the quote currency; negative is a rebate.
    pub fee_e8: i64,
    /// The venue's trade id.
    pub trade_id: u64,
    /// Booked at, gate time ns.
    pub ts_ns: u64,
    /// At the venue, ns.
    pub venue_ts_ns: u64,
    /// The venue's reason for a reject or expiry.
    pub reason: u16,
    /// The symbol.
    pub symbol: u16,
    /// What happened: the numbers of docs/ipc.md.
    pub kind: u8,
    /// The order's state after it: the numbers of docs/ipc.md.
    pub state: u8,
    /// RF_BUY, RF_SELL.
    pub side: u8,
    /// 1: the order is done, nothing more will come.
    pub terminal: u8,
    /// 1: the fill added liquidity.
    pub maker: u8,
}

/// Lockstep: one market event was applied.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct RfStep {
    /// Its number, for rf_step_done.
    pub event: u64,
    /// The tape's time, ns.
    pub now_ns: u64,
    /// Its symbol.
    pub symbol: u16,
}

/// By the event's kind.
#[derive(Clone, Copy)]
#[repr(C)]
pub union RfEventBody {
    /// RF_EVENT_DECISION.
    pub decision: RfDecision,
    /// RF_EVENT_REPORT.
    pub report: RfReport,
    /// RF_EVENT_STEP.
    pub step: RfStep,
}

/// What rf_poll brings.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct RfEvent {
    /// RF_EVENT_*.
    pub kind: u32,
    /// What came.
    pub body: RfEventBody,
}

/// One symbol.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct RfSymbol {
    /// Smallest price step, scaled.
    pub tick: i64,
    /// Smallest quantity step, scaled.
    pub lot: i64,
    /// What intents name it by.
    pub id: u16,
    /// Decimals of a price.
    pub price_scale: u8,
    /// Decimals of a quantity.
    pub qty_scale: u8,
}

/// The newest prices of a symbol, scaled; a quantity of 0: no bid or no ask.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct RfMarket {
    /// Best bid.
    pub bid_price: i64,
    /// Quantity at it.
    pub bid_qty: i64,
    /// Best ask.
    pub ask_price: i64,
    /// Quantity at it.
    pub ask_qty: i64,
    /// Last trade; 0: none yet.
    pub last_price: i64,
    /// Number of the market event.
    pub event: u64,
    /// Its time, ns.
    pub ts_ns: u64,
}

/// An attachment.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct RfInfo {
    /// Journal position up to which everything of one's own has been seen.
    pub last_seq: u64,
    /// Intents without a decision.
    pub unanswered: u64,
    /// How often the gate had to be woken (--wait park).
    pub gate_wakes: u64,
    /// The strategy's number.
    pub strategy: u16,
    /// Its account.
    pub account: u16,
    /// How many lives the gate's journal has seen.
    pub epoch: u16,
    /// 1: the attachment stands.
    pub connected: u8,
    /// 1: the gate waits for this client to read its events, and will detach it.
    pub lagging: u8,
    /// 1: the gate runs in turns with the tape.
    pub lockstep: u8,
}
