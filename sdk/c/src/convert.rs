//! Between the header's structs and the client's types.

use ringfence_ipc::client::{Client, Event};
use ringfence_ipc::market::MarketView;
use ringfence_ipc::msg::{Decision, Intent, IntentKind, Outcome, Report, Step, SymbolId};
use ringfence_ipc::symbol::Symbol;

use crate::memory::Failure;
use crate::types::*;

/// A checked intent: the wire's own decoder judges every number.
#[inline]
pub(crate) fn intent(given: &RfIntent) -> Result<Intent, Failure> {
    let head = u64::from(given.kind)
        | u64::from(given.side) << 8
        | u64::from(given.order_type) << 16
        | u64::from(given.tif) << 24
        | u64::from(given.flags) << 32
        | u64::from(given.symbol) << 48;
    let words = [
        head,
        given.key_low,
        given.key_high,
        given.price.cast_unsigned(),
        given.qty.cast_unsigned(),
        given.client_ts_ns,
        given.ttl_ns_or_target,
    ];
    let intent = Intent::decode(&words).map_err(|error| Failure::new(RF_ERR_ARGUMENT, error.to_string()))?;
    if matches!(intent.kind, IntentKind::New | IntentKind::Cancel | IntentKind::Amend) {
        return Ok(intent);
    }
    Err(Failure::new(RF_ERR_ARGUMENT, "kind must be RF_NEW, RF_CANCEL or RF_AMEND"))
}

pub(crate) fn event(found: &Event) -> RfEvent {
    match found {
        Event::Decision(made) => {
            RfEvent { kind: RF_EVENT_DECISION, body: RfEventBody { decision: decision(made) } }
        }
        Event::Report(told) => RfEvent { kind: RF_EVENT_REPORT, body: RfEventBody { report: report(told) } },
        Event::Step(at) => RfEvent { kind: RF_EVENT_STEP, body: RfEventBody { step: step(at) } },
        Event::Lost => RfEvent {
            kind: RF_EVENT_LOST,
            body: RfEventBody { step: RfStep { event: 0, now_ns: 0, symbol: 0 } },
        },
    }
}

fn decision(made: &Decision) -> RfDecision {
    RfDecision {
        position: made.intent_position,
        journal_seq: made.journal_seq,
        decided_at_ns: made.decided_at_ns,
        key_low: made.key_low,
        order_id: made.order_id,
        observed: made.observed,
        limit: made.limit,
        reason: made.reason as u16,
        limit_id: made.limit_id as u16,
        accepted: u8::from(made.outcome == Outcome::Accepted),
        duplicate: u8::from(made.duplicate),
        tier: made.tier as u8,
    }
}

fn report(told: &Report) -> RfReport {
    RfReport {
        journal_seq: told.journal_seq,
        order_id: told.order_id,
        key_low: told.key_low,
        last_qty: told.last_qty,
        last_price: told.last_price,
        cum_qty: told.cum_qty,
        leaves_qty: told.leaves_qty,
        fee_e8: told.fee_e8,
        trade_id: told.trade_id,
        ts_ns: told.ts_ns,
        venue_ts_ns: told.venue_ts_ns,
        reason: told.reason as u16,
        symbol: told.symbol,
        kind: told.kind as u8,
        state: told.state as u8,
        side: told.side as u8,
        terminal: u8::from(told.state.is_terminal()),
        maker: u8::from(told.maker),
    }
}

fn step(at: &Step) -> RfStep {
    RfStep { event: at.event, now_ns: at.now_ns, symbol: at.symbol }
}

pub(crate) fn symbol(id: SymbolId, symbol: &Symbol) -> RfSymbol {
    RfSymbol {
        tick: symbol.tick,
        lot: symbol.lot,
        id,
        price_scale: symbol.price_scale,
        qty_scale: symbol.qty_scale,
    }
}

pub(crate) fn market(view: &MarketView) -> RfMarket {
    RfMarket {
        bid_price: view.bid_price,
        bid_qty: view.bid_qty,
        ask_price: view.ask_price,
        ask_qty: view.ask_qty,
        last_price: view.last_price,
        event: view.event,
        ts_ns: view.ts_ns,
    }
}

pub(crate) fn info(client: &Client) -> RfInfo {
    RfInfo {
        last_seq: client.last_seq(),
        unanswered: client.unanswered() as u64,
        gate_wakes: client.times_gate_woken(),
        strategy: client.strategy(),
        account: client.account(),
        epoch: client.epoch(),
        connected: u8::from(client.is_connected()),
        lagging: u8::from(client.is_lagging()),
        lockstep: u8::from(client.lockstep()),
    }
}
