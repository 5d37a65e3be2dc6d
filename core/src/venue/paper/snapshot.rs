//! What the paper venue says it has, for a reconciliation; and what it is told it had in an earlier life.

use ringfence_ipc::msg::SymbolId;

use super::PaperVenue;
use super::order::{Holding, Order};
use crate::reconcile::{VenueOrder, VenuePosition, VenueSnapshot};

impl PaperVenue {
    /// What earlier lives have left in `symbol`: signed scaled quantity and fees. The venue forgets with its process; its
    /// fills are in the journal.
    pub fn resume_holding(&mut self, symbol: SymbolId, qty: i64, fees_e8: i128) {
        if let Some(holding) = self.till.holdings.get_mut(usize::from(symbol)) {
            holding.qty += i128::from(qty);
            holding.fees_e8 = holding.fees_e8.saturating_add(fees_e8);
        }
    }

    /// Everything it has after all reports so far: orders that rest, and one position for each symbol, of all accounts
    /// together. Commands still on their way are not in it; its newest order tells which.
    #[must_use]
    pub fn snapshot(&self, taken_ns: u64) -> VenueSnapshot {
        let resting = self.markets.iter().flat_map(|market| market.bids.iter().chain(market.asks.iter()));
        let position = |(symbol, holding): (SymbolId, &Holding)| VenuePosition {
            account: None,
            symbol,
            qty: holding.qty.clamp(i64::MIN.into(), i64::MAX.into()) as i64,
            fees_e8: Some(holding.fees_e8),
        };
        VenueSnapshot {
            venue: "paper".to_owned(),
            taken_ns,
            last_order_id: Some(self.newest_entered),
            orders: resting.map(told).collect(),
            positions: Some((0..).zip(&self.till.holdings).map(position).collect()),
            ..VenueSnapshot::default()
        }
    }
}

/// Only limit orders rest.
fn told(order: &Order) -> VenueOrder {
    VenueOrder {
        order_id: order.id,
        key: order.key,
        symbol: order.symbol,
        side: order.side,
        price: Some(order.price),
        qty: order.total,
        cum_qty: order.cum,
        state: order.working_state(),
    }
}
