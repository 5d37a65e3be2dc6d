//! Risk limits through shared memory: at the limit it passes, one beyond it does not.

use ringfence_core::config::CoreConfig;
use ringfence_ipc::client::{AttachOptions, Client, Event};
use ringfence_ipc::feed::FeedClient;
use ringfence_ipc::handshake::Role;
use ringfence_ipc::msg::{Decision, Intent, OrderType, Outcome, Quote, Side, Tif};
use ringfence_ipc::reason::{LimitId, Reason};
use ringfence_tests::await_that;
use ringfence_tests::world::{Here, PATIENCE, World};

/// One lot, scaled.
const LOT: i64 = 1000;
/// One whole coin, scaled.
const COIN: i64 = 100_000_000;
/// 60,000.00, scaled.
const PRICE: i64 = 6_000_000;

/// A gate with some limits, and a strategy that tries them.
struct Desk {
    world: World,
    _gate: Here,
    client: Client,
    next_key: u128,
}

impl Desk {
    fn new(edit: impl FnOnce(&mut CoreConfig)) -> Self {
        let world = World::new(edit);
        let gate = world.start_here();
        let client = world.attach("hammer");
        Self { world, _gate: gate, client, next_key: 1 }
    }

    fn limit(&mut self, side: Side, price: i64, qty: i64) -> Intent {
        self.next_key += 1;
        Intent::limit(0, side, price, qty, self.next_key, self.client.now_ns())
    }

    /// Submits all at once; their decisions.
    fn try_all(&mut self, intents: &[Intent]) -> Vec<Decision> {
        for intent in intents {
            self.client.submit(intent).unwrap();
        }
        let mut decisions = Vec::new();
        await_that("decisions", PATIENCE, || {
            while let Some(event) = self.client.poll() {
                if let Event::Decision(decision) = event {
                    decisions.push(decision);
                }
            }
            decisions.len() == intents.len()
        });
        decisions
    }

    fn buy(&mut self, price: i64, qty: i64) -> Decision {
        let intent = self.limit(Side::Buy, price, qty);
        self.try_all(&[intent])[0]
    }

    /// A market whose middle is 60,000.00.
    fn quote(&self) -> FeedClient {
        let options = AttachOptions::new(self.world.config.socket_path(), Role::Feed, "feed");
        let mut feed = FeedClient::attach(options, PATIENCE).unwrap();
        let quote = Quote {
            symbol: 0,
            event: feed.next_event(),
            ts_ns: feed.now_ns(),
            bid_price: PRICE - 1,
            bid_qty: COIN,
            ask_price: PRICE + 1,
            ask_qty: COIN,
        };
        feed.publish(&[quote.encode()]).unwrap();
        await_that("the quote is seen", PATIENCE, || {
            self.client.market().view(0).is_some_and(|v| v.bid_price > 0)
        });
        feed
    }
}

fn passes(decision: &Decision) {
    assert_eq!((decision.outcome, decision.reason), (Outcome::Accepted, Reason::Ok), "{decision:?}");
}

fn trips(decision: &Decision, reason: Reason, limit: LimitId) {
    assert_eq!(
        (decision.outcome, decision.reason, decision.limit_id),
        (Outcome::Rejected, reason, limit),
        "{decision:?}"
    );
}

#[test]
fn max_order_qty_passes_at_the_limit_and_not_beyond() {
    let mut desk = Desk::new(|config| config.strategies[0].limits.max_order_qty = Some("0.5".into()));
    passes(&desk.buy(PRICE, COIN / 2));
    let beyond = desk.buy(PRICE, COIN / 2 + LOT);
    trips(&beyond, Reason::MaxOrderQty, LimitId::MaxOrderQty);
    assert_eq!((beyond.observed, beyond.limit), (COIN / 2 + LOT, COIN / 2));
}

#[test]
fn max_order_notional_passes_at_the_limit_and_not_beyond() {
    let mut desk = Desk::new(|config| config.limits.max_order_notional = Some("30000".into()));
    passes(&desk.buy(PRICE, COIN / 2));
    trips(&desk.buy(PRICE + 1, COIN / 2), Reason::MaxOrderNotional, LimitId::MaxOrderNotionalE8);
    trips(&desk.buy(PRICE, COIN / 2 + LOT), Reason::MaxOrderNotional, LimitId::MaxOrderNotionalE8);
    passes(&desk.buy(PRICE / 2, COIN));
}

#[test]
fn the_collar_fails_closed_without_a_market_and_holds_at_its_edge_with_one() {
    let mut desk = Desk::new(|config| {
        config.limits.price_collar_bps = Some(500);
        config.limits.reference_max_age_ms = Some(60_000);
    });
    let blind = desk.buy(PRICE, LOT);
    assert_eq!((blind.outcome, blind.reason), (Outcome::Rejected, Reason::ReferenceMissing), "{blind:?}");
    let market = {
        let intent = desk.limit(Side::Buy, 0, LOT);
        Intent { order_type: OrderType::Market, tif: Tif::Ioc, ..intent }
    };
    assert_eq!(desk.try_all(&[market])[0].reason, Reason::ReferenceMissing);
    let _feed = desk.quote();
    passes(&desk.buy(PRICE + PRICE / 20, LOT));
    trips(&desk.buy(PRICE + PRICE / 20 + 1, LOT), Reason::PriceCollar, LimitId::PriceCollarBps);
    passes(&desk.buy(PRICE - PRICE / 20, LOT));
    trips(&desk.buy(PRICE - PRICE / 20 - 1, LOT), Reason::PriceCollar, LimitId::PriceCollarBps);
}

#[test]
fn the_collar_fails_closed_on_a_stale_market() {
    let mut desk = Desk::new(|config| {
        config.limits.price_collar_bps = Some(500);
        config.limits.reference_max_age_ms = Some(50);
    });
    let _feed = desk.quote();
    await_that("the market grows stale", PATIENCE, || desk.buy(PRICE, LOT).reason == Reason::ReferenceStale);
}

#[test]
fn the_position_limit_counts_the_worst_case() {
    let mut desk = Desk::new(|config| config.strategies[0].limits.max_position_qty = Some("0.01".into()));
    let limit = COIN / 100;
    passes(&desk.buy(PRICE / 2, limit - LOT));
    trips(&desk.buy(PRICE / 2, 2 * LOT), Reason::PositionLimit, LimitId::MaxPositionQty);
    passes(&desk.buy(PRICE / 2, LOT));
    trips(&desk.buy(PRICE / 2, LOT), Reason::PositionLimit, LimitId::MaxPositionQty);
    // The other side has its own worst case.
    let sell = |desk: &mut Desk, qty| {
        let intent = desk.limit(Side::Sell, PRICE * 2, qty);
        desk.try_all(&[intent])[0]
    };
    passes(&sell(&mut desk, limit));
    trips(&sell(&mut desk, LOT), Reason::PositionLimit, LimitId::MaxPositionQty);
}

#[test]
fn the_gross_notional_limit_counts_every_open_order() {
    let mut desk = Desk::new(|config| config.strategies[0].limits.max_gross_notional = Some("60000".into()));
    passes(&desk.buy(PRICE, COIN / 2));
    passes(&desk.buy(PRICE, COIN / 2));
    trips(&desk.buy(1, LOT * 1000), Reason::GrossNotionalLimit, LimitId::MaxGrossNotionalE8);
}

#[test]
fn the_order_rate_lets_a_burst_through_and_no_more() {
    let burst = 20;
    let mut desk = Desk::new(|config| {
        config.strategies[0].limits.order_rate_per_s = Some(1);
        config.strategies[0].limits.order_burst = Some(burst);
    });
    let intents: Vec<Intent> = (0..burst + 5).map(|_| desk.limit(Side::Buy, PRICE / 2, LOT)).collect();
    let decisions = desk.try_all(&intents);
    let accepted = decisions.iter().filter(|decision| decision.outcome == Outcome::Accepted).count();
    // A machine that stalls for a second gives one more.
    assert!((burst..=burst + 2).contains(&(accepted as i64)), "{accepted} of {burst}");
    trips(decisions.last().unwrap(), Reason::OrderRate, LimitId::OrderBurst);
    // A reject for the rate is not stored: the same key may try again.
    await_that("the bucket fills again", PATIENCE, || {
        desk.try_all(&intents[intents.len() - 1..])[0].outcome == Outcome::Accepted
    });
}

#[test]
fn the_open_order_limit_counts_open_orders() {
    let mut desk = Desk::new(|config| config.strategies[0].limits.max_open_orders = Some(3));
    let open: Vec<Decision> = (0..3).map(|_| desk.buy(PRICE / 2, LOT)).collect();
    open.iter().for_each(passes);
    trips(&desk.buy(PRICE / 2, LOT), Reason::OpenOrders, LimitId::MaxOpenOrders);
    desk.next_key += 1;
    let cancel = Intent::cancel(0, open[0].order_id, desk.next_key, desk.client.now_ns());
    passes(&desk.try_all(&[cancel])[0]);
    await_that("the cancelled order makes room", PATIENCE, || {
        desk.buy(PRICE / 2, LOT).outcome == Outcome::Accepted
    });
}
