//! Journal records as JSON lines, for scripts.

use ringfence_ipc::journal::{ControlKind, ControlRecord, DecisionRecord, Record};
use ringfence_ipc::msg::Report;
use serde_json::{Value, json};

/// One record as one JSON object. All integers are exact; prices and quantities are scaled as the symbol says.
pub fn json(position: u64, record: &Record) -> Value {
    let mut value = match record {
        Record::Boot(boot) => json!({"kind": "boot", "epoch": boot.epoch, "hash_seed": boot.hash_seed,
            "now_ns": boot.now_ns, "lockstep": boot.lockstep, "build_id": text(&boot.build_id)}),
        Record::Symbol { id, symbol } => json!({"kind": "symbol", "id": id, "name": symbol.name(),
            "price_scale": symbol.price_scale, "qty_scale": symbol.qty_scale, "tick": symbol.tick,
            "lot": symbol.lot, "contract_multiplier": symbol.contract_multiplier}),
        Record::Strategy(strategy) => json!({"kind": "strategy", "id": strategy.strategy,
            "account": strategy.account, "name": strategy.name(), "now_ns": strategy.now_ns}),
        Record::Attach(attach) => {
            json!({"kind": "attach", "role": attach.role.name(), "detached": attach.detached,
            "strategy": attach.strategy, "client": attach.client, "pid": attach.pid, "uid": attach.uid,
            "now_ns": attach.now_ns})
        }
        Record::Limit(limit) => {
            json!({"kind": "limit", "scope": limit.scope.name(), "scope_id": limit.scope_id,
            "limit": limit.limit.name(), "value": limit.value, "now_ns": limit.now_ns,
            "config_version": limit.config_version})
        }
        Record::Control(control) => control_json(control),
        Record::Config(c) => json!({"kind": "config", "origin": c.origin.name(), "version": c.version,
            "changes": c.changes, "client": c.client, "digest": format!("{:032x}", c.digest), "now_ns": c.now_ns}),
        Record::Capacity(c) => json!({"kind": "capacity", "order_slots": c.order_slots,
            "max_positions": c.max_positions, "max_symbols": c.max_symbols, "max_strategies": c.max_strategies,
            "max_accounts": c.max_accounts, "now_ns": c.now_ns}),
        Record::Mark(mark) => json!({"kind": "mark", "symbol": mark.symbol, "bid_price": mark.bid_price,
            "ask_price": mark.ask_price, "last_price": mark.last_price, "now_ns": mark.now_ns, "event": mark.event}),
        Record::Decision(decision) => decision_json(decision),
        Record::Report(report) => report_json(report),
        Record::Stray(s) => {
            json!({"kind": "stray", "order_id": s.order_id, "symbol": s.symbol, "side": s.side.name(),
            "last_qty": s.qty, "last_price": s.price, "cum_qty": s.cum_qty, "trade_id": s.trade_id,
            "fee_e8": s.fee_e8, "key_low": s.key_low, "venue_ts_ns": s.venue_ts_ns, "now_ns": s.now_ns})
        }
        Record::Close(close) => {
            let hash = hex(&close.state_hash);
            json!({"kind": "close", "now_ns": close.now_ns, "state_hash": hash, "market_events": close.market_events})
        }
    };
    value["pos"] = position.into();
    value
}

/// An operator's or the gate's own act.
pub fn control_json(c: &ControlRecord) -> Value {
    let mut value = match c.control {
        ControlKind::SetMode(mode) => json!({"control": "set_mode", "mode": mode.name()}),
        ControlKind::Storm { state, cause, observed, threshold } => json!({"control": "storm",
            "state": state.name(), "cause": cause.name(), "observed": observed, "threshold": threshold}),
        ControlKind::Rearm { pnl_e8 } => json!({"control": "rearm", "pnl_e8": pnl_e8}),
        ControlKind::CancelOrders { symbol, cause } => {
            json!({"control": "cancel_orders", "symbol": symbol, "cause": cause.name()})
        }
        ControlKind::PnlPeak { pnl_e8 } => json!({"control": "pnl_peak", "pnl_e8": pnl_e8}),
    };
    value["kind"] = "control".into();
    value["scope"] = c.scope.name().into();
    value["scope_id"] = c.scope_id.into();
    value["client"] = c.client.into();
    value["now_ns"] = c.now_ns.into();
    value["note"] = c.note.text().into();
    value
}

fn decision_json(d: &DecisionRecord) -> Value {
    let i = &d.intent;
    json!({"kind": "decision", "strategy": d.strategy, "account": d.account, "symbol": i.symbol,
        "intent": i.kind.name(), "side": i.side.name(), "type": i.order_type.name(), "tif": i.tif.name(),
        "flags": i.flags, "key": format!("{:032x}", i.key), "price": i.price, "qty": i.qty,
        "client_ts_ns": i.client_ts_ns, "ttl_ns_or_target": i.ttl_ns_or_target, "outcome": d.outcome.name(),
        "reason": d.reason.name(), "limit_id": d.limit_id.name(), "order_id": d.order_id, "observed": d.observed,
        "limit": d.limit, "ref_price": d.reference_price, "ref_age_us": d.reference_age_us, "now_ns": d.now_ns,
        "intent_position": d.intent_position,
        "client_order_id": d.ext.as_ref().map(|ext| ext.client_order_id().to_owned())})
}

fn report_json(r: &Report) -> Value {
    json!({"kind": "report", "report": r.kind.name(), "state": r.state.name(), "order_id": r.order_id,
        "strategy": r.strategy, "account": r.account, "symbol": r.symbol, "side": r.side.name(),
        "last_qty": r.last_qty, "last_price": r.last_price, "cum_qty": r.cum_qty, "leaves_qty": r.leaves_qty,
        "trade_id": r.trade_id, "fee_e8": r.fee_e8, "maker": r.maker, "late": r.late, "reentered": r.reentered,
        "reason": r.reason.name(), "ts_ns": r.ts_ns, "venue_ts_ns": r.venue_ts_ns, "key_low": r.key_low})
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()
}
