//! The venue itself: one account of ours against a market, a book per symbol, filters, balances, fees. No IO.
//!
//! Numbers are 1e-8. Bodies and codes are those of Binance's documentation.

use ringfence_ipc::symbol::{format_scaled, parse_scaled};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};

/// 1.0.
pub const ONE: i64 = 100_000_000;
/// Fees, both ways: 0.1 %, of what is received.
const FEE_DIVISOR: i64 = 1_000;
const TICK: i64 = 1_000_000;
const STEP: i64 = 1_000;
const MIN_NOTIONAL: i64 = 5 * ONE;

/// A refusal: HTTP status, code, text.
pub type Refusal = (u16, i64, &'static str);

/// An order.
#[derive(Clone, Debug)]
pub struct Order {
    /// The venue's id.
    pub id: u64,
    /// The client's id.
    pub client_id: String,
    /// Its symbol.
    pub symbol: String,
    /// Of our account, not the market's.
    pub ours: bool,
    /// Buy, not sell.
    pub buy: bool,
    /// LIMIT, LIMIT_MAKER or MARKET.
    pub kind: String,
    /// GTC, IOC or FOK.
    pub tif: String,
    /// 0: market.
    pub price: i64,
    /// Total.
    pub qty: i64,
    /// Filled.
    pub done: i64,
    /// As Binance writes it.
    pub status: &'static str,
    time: u64,
}

impl Order {
    fn open(&self) -> bool {
        matches!(self.status, "NEW" | "PARTIALLY_FILLED")
    }

    fn left(&self) -> i64 {
        self.qty - self.done
    }

    /// As `GET /api/v3/order` shows it.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({"symbol": self.symbol, "orderId": self.id, "orderListId": -1, "clientOrderId": self.client_id,
            "price": text(self.price), "origQty": text(self.qty), "executedQty": text(self.done),
            "status": self.status, "timeInForce": self.tif, "type": self.kind,
            "side": if self.buy { "BUY" } else { "SELL" }, "time": self.time, "updateTime": self.time,
            "isWorking": true, "selfTradePreventionMode": "EXPIRE_MAKER"})
    }
}

/// A fill of one of our orders.
#[derive(Clone, Debug)]
pub struct Trade {
    /// Its id, per symbol.
    pub id: u64,
    /// The order's id at the venue.
    pub order_id: u64,
    symbol: String,
    /// Its price.
    pub price: i64,
    /// Its quantity.
    pub qty: i64,
    fee: i64,
    fee_asset: String,
    maker: bool,
    time: u64,
}

/// Free and locked.
pub type Holding = (i64, i64);

/// The venue.
#[derive(Debug, Default)]
pub struct Venue {
    /// Every order by its id.
    pub orders: BTreeMap<u64, Order>,
    /// Our fills.
    pub trades: Vec<Trade>,
    /// What our account has.
    pub balances: BTreeMap<String, Holding>,
    /// How often each client id was accepted.
    pub accepted: HashMap<String, u32>,
    /// Its clock, ms.
    pub now: u64,
    /// User events not yet sent.
    pub events: Vec<Value>,
    /// Market messages not yet sent: stream and data.
    pub market: Vec<(String, Value)>,
    ids: u64,
    executions: u64,
    updates: u64,
}

/// As Binance writes numbers.
#[must_use]
pub fn text(value: i64) -> String {
    format_scaled(value.into(), 8)
}

fn number(text: Option<&String>) -> Result<i64, Refusal> {
    let missing = (400, -1102, "Mandatory parameter was not sent, was empty/null, or malformed.");
    parse_scaled(text.ok_or(missing)?, 8).map_err(|_| (400, -1111, "Parameter has too much precision."))
}

fn assets(symbol: &str) -> (&str, &str) {
    symbol.split_at(symbol.len().saturating_sub(4))
}

fn product(a: i64, b: i64) -> i64 {
    i64::try_from(i128::from(a) * i128::from(b) / i128::from(ONE)).unwrap_or(i64::MAX)
}

impl Venue {
    /// A venue that gives our account 10 of every base and 1,000,000 of the quote asset.
    #[must_use]
    pub fn new() -> Self {
        let mut venue = Self { ids: 1, ..Self::default() };
        venue.endow();
        venue
    }

    fn endow(&mut self) {
        let start = [("BTC", 10 * ONE), ("ETH", 10 * ONE), ("USDT", 1_000_000 * ONE)];
        self.balances = start.iter().map(|(asset, free)| ((*asset).to_owned(), (*free, 0))).collect();
    }

    /// The monthly reset of the testnet: orders, fills and balances are as if nothing had been. Ids begin anew.
    pub fn wipe(&mut self) {
        (self.orders, self.trades, self.ids) = (BTreeMap::new(), Vec::new(), 1);
        self.endow();
    }

    /// An order of ours by its client id, the newest of that name.
    #[must_use]
    pub fn find(&self, symbol: &str, client_id: &str) -> Option<&Order> {
        self.orders.values().rev().find(|o| o.ours && o.symbol == symbol && o.client_id == client_id)
    }

    /// Our open orders.
    #[must_use]
    pub fn open(&self) -> Vec<Value> {
        self.orders.values().filter(|order| order.ours && order.open()).map(Order::json).collect()
    }

    /// `GET /api/v3/myTrades` of an order.
    #[must_use]
    pub fn trades_of(&self, order_id: u64, from_id: u64) -> Vec<Value> {
        let ours = self.trades.iter().filter(|trade| trade.order_id == order_id && trade.id >= from_id);
        ours.take(1000)
            .map(|t| {
                json!({"symbol": t.symbol, "id": t.id, "orderId": t.order_id, "price": text(t.price),
                    "qty": text(t.qty), "commission": text(t.fee), "commissionAsset": t.fee_asset,
                    "time": t.time, "isMaker": t.maker, "isBuyer": self.orders.get(&t.order_id).is_some_and(|o| o.buy)})
            })
            .collect()
    }

    /// `GET /api/v3/account`.
    #[must_use]
    pub fn account(&self) -> Value {
        let balances = self.balances.iter().filter(|(_, held)| **held != (0, 0));
        let balances: Vec<Value> = balances
            .map(|(asset, held)| json!({"asset": asset, "free": text(held.0), "locked": text(held.1)}))
            .collect();
        json!({"makerCommission": 10, "canTrade": true, "updateTime": self.now, "balances": balances})
    }

    /// `GET /api/v3/depth`.
    #[must_use]
    pub fn depth(&self, symbol: &str) -> Value {
        let side = |buy: bool| {
            let mut levels: BTreeMap<i64, i64> = BTreeMap::new();
            let open = self.orders.values().filter(|o| o.symbol == symbol && o.buy == buy && o.open());
            open.for_each(|order| *levels.entry(order.price).or_default() += order.left());
            let rows = levels.into_iter().map(|(price, qty)| json!([text(price), text(qty)]));
            let rows: Vec<Value> = rows.collect();
            if buy { rows.into_iter().rev().collect() } else { rows }
        };
        json!({"lastUpdateId": self.updates, "bids": Value::Array(side(true)), "asks": Value::Array(side(false))})
    }

    /// An order of the market's.
    pub fn market_order(&mut self, symbol: &str, buy: bool, price: i64, qty: i64) {
        let order = self.order(symbol, "m", false, buy, "LIMIT", "GTC", price, qty);
        self.work(order);
    }

    #[allow(clippy::too_many_arguments, reason = "an order's terms")]
    fn order(
        &mut self,
        symbol: &str,
        client_id: &str,
        ours: bool,
        buy: bool,
        kind: &str,
        tif: &str,
        price: i64,
        qty: i64,
    ) -> Order {
        self.ids += 1;
        let (client_id, symbol) = (client_id.to_owned(), symbol.to_owned());
        let (kind, tif, time) = (kind.to_owned(), tif.to_owned(), self.now);
        Order {
            id: self.ids,
            client_id,
            symbol,
            ours,
            buy,
            kind,
            tif,
            price,
            qty,
            done: 0,
            status: "NEW",
            time,
        }
    }

    /// A new order of ours.
    ///
    /// # Errors
    /// As Binance refuses.
    pub fn place(&mut self, params: &HashMap<String, String>) -> Result<u64, Refusal> {
        let get = |name: &str| params.get(name);
        let symbol = get("symbol").filter(|s| matches!(s.as_str(), "BTCUSDT" | "ETHUSDT"));
        let symbol = symbol.ok_or((400, -1121, "Invalid symbol."))?;
        let client_id = get("newClientOrderId").cloned().unwrap_or_default();
        let kind = get("type").map_or("", String::as_str);
        let buy = match get("side").map(String::as_str) {
            Some("BUY") => true,
            Some("SELL") => false,
            _ => return Err((400, -1117, "Invalid side.")),
        };
        let qty = number(get("quantity"))?;
        let price = if kind == "MARKET" { 0 } else { number(get("price"))? };
        if kind == "LIMIT" && !matches!(get("timeInForce").map(String::as_str), Some("GTC" | "IOC" | "FOK")) {
            return Err((400, -1115, "Invalid timeInForce."));
        }
        if qty < STEP || qty % STEP != 0 {
            return Err((400, -1013, "Filter failure: LOT_SIZE"));
        }
        if price % TICK != 0 {
            return Err((400, -1013, "Filter failure: PRICE_FILTER"));
        }
        if kind != "MARKET" && product(price, qty) < MIN_NOTIONAL {
            return Err((400, -1013, "Filter failure: NOTIONAL"));
        }
        if self.find(symbol, &client_id).is_some_and(Order::open) {
            return Err((400, -2010, "Duplicate order sent."));
        }
        let tif = get("timeInForce").map_or("GTC", String::as_str);
        let order = self.order(symbol, &client_id, true, buy, kind, tif, price, qty);
        if kind == "LIMIT_MAKER" && self.best(&order).is_some() {
            return Err((400, -2010, "Order would immediately match and take."));
        }
        let need = if buy { product(if price == 0 { 0 } else { price }, qty) } else { qty };
        let asset = if buy { assets(symbol).1 } else { assets(symbol).0 }.to_owned();
        let held = self.balances.entry(asset).or_default();
        if held.0 < need {
            return Err((400, -2010, "Account has insufficient balance for requested action."));
        }
        *held = (held.0 - need, held.1 + need);
        *self.accepted.entry(client_id).or_default() += 1;
        let id = order.id;
        self.orders.insert(id, order.clone());
        self.tell(id, "NEW", None, None);
        self.orders.remove(&id);
        self.work(order);
        Ok(id)
    }

    /// The best resting order that this one would take.
    fn best(&self, order: &Order) -> Option<u64> {
        let other =
            self.orders.values().filter(|o| o.symbol == order.symbol && o.buy != order.buy && o.open());
        let fits = other.filter(|o| {
            order.price == 0 || if order.buy { o.price <= order.price } else { o.price >= order.price }
        });
        fits.min_by_key(|o| (if order.buy { o.price } else { -o.price }, o.id)).map(|o| o.id)
    }

    fn work(&mut self, order: Order) {
        let (id, symbol) = (order.id, order.symbol.clone());
        let reachable: i64 = self
            .orders
            .values()
            .filter(|o| o.symbol == order.symbol && o.buy != order.buy && o.open())
            .filter(|o| {
                order.price == 0 || if order.buy { o.price <= order.price } else { o.price >= order.price }
            })
            .map(Order::left)
            .sum();
        self.orders.insert(id, order);
        let killed = self.orders[&id].tif == "FOK" && reachable < self.orders[&id].qty;
        while !killed && self.orders[&id].open() {
            let Some(maker) = self.best(&self.orders[&id]) else { break };
            if self.orders[&maker].ours && self.orders[&id].ours {
                self.finish(maker, "EXPIRED_IN_MATCH", "TRADE_PREVENTION", None);
                continue;
            }
            self.fill(id, maker);
        }
        let order = &self.orders[&id];
        if order.open() && (order.tif != "GTC" || order.kind == "MARKET") {
            self.finish(id, "EXPIRED", "EXPIRED", None);
        }
        self.book(&symbol);
    }

    fn fill(&mut self, taker: u64, maker: u64) {
        let price = self.orders[&maker].price;
        let qty = self.orders[&taker].left().min(self.orders[&maker].left());
        self.ids += 1;
        let id = self.ids;
        let symbol = self.orders[&maker].symbol.clone();
        let aggressor_sold = !self.orders[&taker].buy;
        for (order_id, is_maker) in [(maker, true), (taker, false)] {
            let Some(order) = self.orders.get_mut(&order_id) else { continue };
            order.done += qty;
            order.status = if order.done == order.qty { "FILLED" } else { "PARTIALLY_FILLED" };
            if !order.ours {
                continue;
            }
            let (base, quote) = assets(&symbol);
            let (buy, limit) = (order.buy, order.price);
            let (got, paid) = if buy { (qty, product(price, qty)) } else { (product(price, qty), qty) };
            let fee = got / FEE_DIVISOR;
            let (into, out) = if buy { (base, quote) } else { (quote, base) };
            let locked = if buy { product(limit, qty) } else { qty };
            let held = self.balances.entry(out.to_owned()).or_default();
            *held = (held.0 + locked - paid, held.1 - locked);
            self.balances.entry(into.to_owned()).or_default().0 += got - fee;
            let (fee_asset, time) = (into.to_owned(), self.now);
            let trade = Trade {
                id,
                order_id,
                symbol: symbol.clone(),
                price,
                qty,
                fee,
                fee_asset,
                maker: is_maker,
                time,
            };
            self.tell(order_id, "TRADE", Some(&trade), None);
            self.trades.push(trade);
        }
        self.market.push((
            format!("{}@trade", symbol.to_lowercase()),
            json!({"e": "trade", "E": self.now, "s": symbol, "t": id, "p": text(price), "q": text(qty),
                "T": self.now, "m": aggressor_sold, "M": true}),
        ));
    }

    /// Ends an open order and frees what it locked.
    fn finish(&mut self, id: u64, status: &'static str, what: &str, cancel_id: Option<&str>) {
        let Some(order) = self.orders.get_mut(&id) else { return };
        order.status = status;
        let (base, quote) = assets(&order.symbol);
        let (asset, locked) =
            if order.buy { (quote, product(order.price, order.left())) } else { (base, order.left()) };
        if order.ours {
            let held = self.balances.entry(asset.to_owned()).or_default();
            *held = (held.0 + locked, held.1 - locked);
            self.tell(id, what, None, cancel_id);
        }
    }

    /// Cancels an order of ours.
    ///
    /// # Errors
    /// As Binance refuses.
    pub fn cancel(&mut self, symbol: &str, client_id: &str) -> Result<Value, Refusal> {
        let order = self.find(symbol, client_id).filter(|order| order.open());
        let id = order.ok_or((400, -2011, "Unknown order sent."))?.id;
        self.ids += 1;
        let cancel_id = format!("cancel{}", self.ids);
        self.finish(id, "CANCELED", "CANCELED", Some(&cancel_id));
        self.book(symbol);
        let mut said = self.orders[&id].json();
        said["origClientOrderId"] = client_id.into();
        said["clientOrderId"] = cancel_id.into();
        said["transactTime"] = said["updateTime"].take();
        said.as_object_mut().map(|fields| fields.remove("updateTime"));
        Ok(said)
    }

    /// `PUT /api/v3/order/amend/keepPriority`.
    ///
    /// # Errors
    /// As Binance refuses.
    pub fn reduce(&mut self, symbol: &str, client_id: &str, qty: &str) -> Result<Value, Refusal> {
        let order = self.find(symbol, client_id).filter(|order| order.open());
        let id = order
            .ok_or((400, -2038, "Order amend (quantity reduction) is not supported for this symbol."))?
            .id;
        let qty = number(Some(&qty.to_owned()))?;
        let (now, order) = (self.now, self.orders.get_mut(&id).ok_or((400, -2013, "Order does not exist."))?);
        if qty >= order.qty || qty <= order.done {
            return Err((400, -2038, "The requested action would change no state; rejecting."));
        }
        let freed = if order.buy { product(order.price, order.qty - qty) } else { order.qty - qty };
        let asset = if order.buy { assets(symbol).1 } else { assets(symbol).0 };
        order.qty = qty;
        let held = self.balances.entry(asset.to_owned()).or_default();
        *held = (held.0 + freed, held.1 - freed);
        self.tell(id, "REPLACED", None, Some(client_id));
        self.book(symbol);
        Ok(
            json!({"transactTime": now, "executionId": self.executions, "amendedOrder": self.orders[&id].json()}),
        )
    }

    /// Tells our account what happened to an order.
    fn tell(&mut self, id: u64, what: &str, trade: Option<&Trade>, cancel_id: Option<&str>) {
        self.executions += 1;
        let order = &self.orders[&id];
        let (last, price) = trade.map_or((0, 0), |trade| (trade.qty, trade.price));
        let (client_id, original) = match cancel_id {
            Some(cancel_id) => (cancel_id, order.client_id.as_str()),
            None => (order.client_id.as_str(), ""),
        };
        self.events.push(json!({"e": "executionReport", "E": self.now, "s": order.symbol, "c": client_id,
            "S": if order.buy { "BUY" } else { "SELL" }, "o": order.kind, "f": order.tif, "q": text(order.qty),
            "p": text(order.price), "P": "0.00000000", "F": "0.00000000", "g": -1, "C": original, "x": what,
            "X": order.status, "r": "NONE", "i": order.id, "l": text(last), "z": text(order.done), "L": text(price),
            "n": text(trade.map_or(0, |trade| trade.fee)), "N": trade.map(|trade| trade.fee_asset.clone()),
            "T": self.now, "t": trade.map_or(-1, |trade| trade.id.cast_signed()), "I": self.executions,
            "w": order.open(), "m": trade.is_some_and(|trade| trade.maker), "M": false, "O": order.time,
            "V": "EXPIRE_MAKER"}));
        let (base, quote) = assets(&order.symbol);
        let rows = [base, quote].map(|asset| {
            let held = self.balances.get(asset).copied().unwrap_or_default();
            json!({"a": asset, "f": text(held.0), "l": text(held.1)})
        });
        self.events.push(json!({"e": "outboundAccountPosition", "E": self.now, "u": self.now, "B": rows}));
    }

    /// Tells the market how the book is now.
    fn book(&mut self, symbol: &str) {
        self.updates += 1;
        let (depth, name, update) = (self.depth(symbol), symbol.to_lowercase(), self.updates);
        let best =
            |side: &str| depth[side].get(0).cloned().unwrap_or_else(|| json!(["0.00000000", "0.00000000"]));
        let (bid, ask) = (best("bids"), best("asks"));
        self.market.push((
            format!("{name}@bookTicker"),
            json!({"u": update, "s": symbol, "b": bid[0], "B": bid[1], "a": ask[0], "A": ask[1]}),
        ));
        self.market.push((
            format!("{name}@depth@100ms"),
            json!({"e": "depthUpdate", "E": self.now, "s": symbol, "U": update, "u": update,
                "b": depth["bids"], "a": depth["asks"]}),
        ));
    }
}

/// `GET /api/v3/exchangeInfo`.
#[must_use]
pub fn exchange_info() -> Value {
    let symbol = |base: &str| {
        json!({"symbol": format!("{base}USDT"), "status": "TRADING", "baseAsset": base, "quoteAsset": "USDT",
        "amendAllowed": true, "cancelReplaceAllowed": true, "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": text(TICK), "maxPrice": text(1_000_000 * ONE), "tickSize": text(TICK)},
            {"filterType": "LOT_SIZE", "minQty": text(STEP), "maxQty": text(9_000 * ONE), "stepSize": text(STEP)},
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
            {"filterType": "NOTIONAL", "minNotional": text(MIN_NOTIONAL), "applyMinToMarket": true,
             "maxNotional": text(9_000_000 * ONE), "applyMaxToMarket": false, "avgPriceMins": 5}]})
    };
    json!({"timezone": "UTC", "rateLimits": [
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000},
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 100}],
        "exchangeFilters": [], "symbols": [symbol("BTC"), symbol("ETH")]})
}
