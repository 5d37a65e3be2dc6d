//! Positions with P&L, and balances, as of the last record read.

use std::collections::BTreeMap;

use ringfence_ipc::msg::{AccountId, OrderType, Side, SymbolId};
use ringfence_ipc::symbol::{NOTIONAL_DECIMALS, Symbol};
use serde::Serialize;
use utoipa::ToSchema;

use super::Settings;
use super::exact::Exact;
use super::projection::{Position, Projection};

const FEE_DECIMALS: u8 = 8;
const FEE_TO_NOTIONAL: i128 = 10i128.pow((NOTIONAL_DECIMALS - FEE_DECIMALS) as u32);
/// Quote currencies by which a symbol's name is taken apart, longest first.
const QUOTES: [&str; 9] = ["FDUSD", "USDT", "USDC", "TUSD", "USD", "EUR", "BTC", "ETH", "BNB"];

/// One position.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PositionBody {
    strategy: String,
    symbol: String,
    qty: Exact,
    avg_entry: Option<Exact>,
    mark: Option<Exact>,
    cost: Exact,
    realised: Exact,
    unrealised: Exact,
    fees: Exact,
    pnl: Exact,
    fills: u64,
}

/// `/api/positions`.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PositionsBody {
    ts_ns: u64,
    items: Vec<PositionBody>,
    pnl: Exact,
}

/// One balance.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Balance {
    asset: String,
    free: Exact,
    locked: Exact,
}

/// `/api/account` and, with the positions, the `account` event.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AccountBody {
    ts_ns: u64,
    balances: Vec<Balance>,
    totals: TotalsBody,
}

/// Sums over the positions and open limit orders of an account, all strategies together.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TotalsBody {
    /// Cost of the positions, each without its sign, and what open limit orders would add at their price.
    gross: Exact,
    realised: Exact,
    unrealised: Exact,
    fees: Exact,
    /// Realised and unrealised less fees.
    pnl: Exact,
    fills: u64,
}

fn position_body(
    p: &Projection,
    strategy: u16,
    id: SymbolId,
    symbol: &Symbol,
    held: &Position,
) -> (PositionBody, i128) {
    let mark = p.mark_price(id);
    let unrealised = mark.and_then(|mark| held.unrealised_e16(mark, symbol)).unwrap_or(0);
    let fees_e16 = held.fees_e8.saturating_mul(FEE_TO_NOTIONAL);
    let pnl = held.realised_e16.saturating_add(unrealised).saturating_sub(fees_e16);
    let scale = symbol.price_scale.max(FEE_DECIMALS);
    let entry = held
        .cost_e16
        .checked_div(i128::from(held.qty))
        .map(|cost_per_unit| cost_per_unit / i128::from(symbol.contract_multiplier))
        .map(|unit| Exact::wide(unit, NOTIONAL_DECIMALS - symbol.qty_scale))
        .map(|exact| cut(exact, scale));
    let body = PositionBody {
        strategy: p.names.strategy_name(strategy),
        symbol: symbol.name().to_owned(),
        qty: Exact::new(held.qty, symbol.qty_scale),
        avg_entry: entry,
        mark: mark.map(|mark| Exact::new(mark, symbol.price_scale)),
        cost: Exact::wide(held.cost_e16, NOTIONAL_DECIMALS),
        realised: Exact::wide(held.realised_e16, NOTIONAL_DECIMALS),
        unrealised: Exact::wide(unrealised, NOTIONAL_DECIMALS),
        fees: Exact::wide(held.fees_e8, FEE_DECIMALS),
        pnl: Exact::wide(pnl, NOTIONAL_DECIMALS),
        fills: held.fills,
    };
    (body, pnl)
}

/// The same number with at most `scale` decimals, cut toward zero.
fn cut(exact: Exact, scale: u8) -> Exact {
    if exact.scale <= scale {
        return exact;
    }
    Exact::wide(exact.value / 10i128.pow(u32::from(exact.scale - scale)), scale)
}

/// Every position that ever traded, with P&L at the last mark.
#[must_use]
pub fn positions(p: &Projection) -> PositionsBody {
    let mut total = 0i128;
    let mut items = Vec::new();
    for (strategy, id, held) in p.ledger.iter() {
        let Some(symbol) = p.names.symbol(id) else { continue };
        let (body, pnl) = position_body(p, strategy, id, symbol, held);
        total = total.saturating_add(pnl);
        items.push(body);
    }
    PositionsBody { ts_ns: p.now_ns(), items, pnl: Exact::wide(total, NOTIONAL_DECIMALS) }
}

/// The sums of `account`.
fn totals(p: &Projection, account: AccountId) -> TotalsBody {
    let (mut gross, mut realised, mut unrealised, mut fees_e8, mut fills) = (0i128, 0i128, 0i128, 0i128, 0);
    for (strategy, id, held) in p.ledger.iter() {
        let Some(symbol) = p.names.symbol(id) else { continue };
        if p.names.strategy(strategy).is_some_and(|s| s.account != account) {
            continue;
        }
        let marked = p.mark_price(id).and_then(|mark| held.unrealised_e16(mark, symbol));
        gross = gross.saturating_add(held.cost_e16.saturating_abs());
        realised = realised.saturating_add(held.realised_e16);
        unrealised = unrealised.saturating_add(marked.unwrap_or(0));
        fees_e8 = fees_e8.saturating_add(held.fees_e8);
        fills += held.fills;
    }
    for order in p.orders.open().filter(|o| o.account == account && o.order_type == OrderType::Limit) {
        let Some(symbol) = p.names.symbol(order.symbol) else { continue };
        let unit = i128::from(order.price).saturating_mul(symbol.notional_factor());
        gross = gross.saturating_add(unit.saturating_mul(order.leaves_qty().into()));
    }
    let fees_e16 = fees_e8.saturating_mul(FEE_TO_NOTIONAL);
    let pnl = realised.saturating_add(unrealised).saturating_sub(fees_e16);
    TotalsBody {
        gross: Exact::wide(gross, NOTIONAL_DECIMALS),
        realised: Exact::wide(realised, NOTIONAL_DECIMALS),
        unrealised: Exact::wide(unrealised, NOTIONAL_DECIMALS),
        fees: Exact::wide(fees_e8, FEE_DECIMALS),
        pnl: Exact::wide(pnl, NOTIONAL_DECIMALS),
        fills,
    }
}

/// A symbol's base and quote asset. A name that ends in no known quote currency is its own base, quoted in `QUOTE`.
fn assets(symbol: &str) -> (&str, &str) {
    QUOTES
        .iter()
        .find_map(|quote| {
            symbol.strip_suffix(quote).filter(|base| !base.is_empty()).map(|base| (base, *quote))
        })
        .unwrap_or((symbol, "QUOTE"))
}

/// Balances of the account: as its exchange says, or on the paper venue as they are counted here.
#[must_use]
pub fn balances(p: &Projection, settings: &Settings) -> AccountBody {
    let told = settings.venue_balances.as_ref().map(|told| {
        let told = told.borrow();
        let balance = |(asset, held): (&str, ringfence_binance::Balance)| Balance {
            asset: asset.to_owned(),
            free: Exact::new(held.free_e8, 8),
            locked: Exact::new(held.locked_e8, 8),
        };
        told.iter().map(balance).collect()
    });
    AccountBody {
        ts_ns: p.now_ns(),
        balances: told.unwrap_or_else(|| paper(p, settings.account, &settings.starting_balances)),
        totals: totals(p, settings.account),
    }
}

/// Balances of `account` on the paper venue: what it started with plus what trading moved; locked is what its open
/// limit orders would need.
fn paper(p: &Projection, account: AccountId, start: &[(String, i64)]) -> Vec<Balance> {
    let mut sums: BTreeMap<String, (i128, i128)> = BTreeMap::new();
    for (asset, units) in start {
        sums.entry(asset.clone()).or_default().0 += i128::from(*units) * 10i128.pow(NOTIONAL_DECIMALS.into());
    }
    let qty_e16 = |qty: i64, symbol: &Symbol| {
        i128::from(qty) * 10i128.pow((NOTIONAL_DECIMALS - symbol.qty_scale).into())
    };
    for (strategy, id, held) in p.ledger.iter() {
        let Some(symbol) = p.names.symbol(id) else { continue };
        if p.names.strategy(strategy).is_some_and(|s| s.account != account) {
            continue;
        }
        let (base, quote) = assets(symbol.name());
        let base = sums.entry(base.to_owned()).or_default();
        base.0 = base.0.saturating_add(qty_e16(held.qty, symbol));
        let cash = held.cash_e16.saturating_sub(held.fees_e8.saturating_mul(FEE_TO_NOTIONAL));
        let quote = sums.entry(quote.to_owned()).or_default();
        quote.0 = quote.0.saturating_add(cash);
    }
    for order in p.orders.open().filter(|o| o.account == account && o.order_type == OrderType::Limit) {
        let Some(symbol) = p.names.symbol(order.symbol) else { continue };
        let (base, quote) = assets(symbol.name());
        let (asset, amount) = match order.side {
            Side::Sell => (base, qty_e16(order.leaves_qty(), symbol)),
            Side::Buy => {
                let unit = i128::from(order.price).saturating_mul(symbol.notional_factor());
                (quote, unit.saturating_mul(i128::from(order.leaves_qty())))
            }
        };
        let sum = sums.entry(asset.to_owned()).or_default();
        (sum.0, sum.1) = (sum.0.saturating_sub(amount), sum.1.saturating_add(amount));
    }
    let balance = |(asset, (free, locked)): (String, (i128, i128))| Balance {
        asset,
        free: Exact::wide(free, NOTIONAL_DECIMALS),
        locked: Exact::wide(locked, NOTIONAL_DECIMALS),
    };
    sums.into_iter().map(balance).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_come_apart_at_their_quote_currency() {
        assert_eq!(assets("BTCUSDT"), ("BTC", "USDT"));
        assert_eq!(assets("ETHBTC"), ("ETH", "BTC"));
        assert_eq!(assets("USDT"), ("USDT", "QUOTE"));
    }

    #[test]
    fn an_entry_price_is_cut_to_what_can_be_read() {
        assert_eq!(cut(Exact::wide(123_456, 5), 2).text(), "1.23");
        assert_eq!(cut(Exact::wide(-123_456, 5), 8).text(), "-1.23456");
    }
}
