//! The comparison itself: two values in, a report out.

use std::collections::{BTreeMap, BTreeSet};

use ringfence_ipc::msg::{AccountId, OrderState, SymbolId};
use ringfence_ipc::symbol::format_scaled;

use super::{Code, Difference, GateView, Report, UnknownOrder, VenueOrder, VenuePosition, VenueSnapshot};
use crate::gate::OrderView;

/// Compares what the gate believes with what the venue says.
///
/// An order counts as on its way, and as no difference, when it is open here, unlisted there, and newer than the newest
/// that had reached the venue; where the venue does not tell the newest, when it has never answered for it. While a
/// cancel is under way the venue may still have the order; while an amend is, under either of its terms.
#[must_use]
pub fn differences(view: &GateView, snapshot: &VenueSnapshot) -> Report {
    let mut comparison = Comparison {
        view,
        snapshot,
        report: Report {
            venue: snapshot.venue.clone(),
            taken_ns: snapshot.taken_ns,
            journal_position: view.position,
            ..Report::default()
        },
    };
    comparison.freshness();
    comparison.listed_orders();
    comparison.unlisted_orders();
    comparison.strays();
    comparison.positions();
    comparison.strangers();
    comparison.report
}

struct Comparison<'a> {
    view: &'a GateView,
    snapshot: &'a VenueSnapshot,
    report: Report,
}

fn difference(code: Code, here: impl Into<String>, there: impl Into<String>) -> Difference {
    Difference {
        code,
        order_id: None,
        strategy: None,
        account: None,
        symbol: None,
        here: here.into(),
        there: there.into(),
        act: code.act().to_owned(),
    }
}

impl Comparison<'_> {
    fn name(&self, symbol: SymbolId) -> String {
        self.view.symbols.get(&symbol).map_or_else(|| format!("#{symbol}"), |s| s.name().to_owned())
    }

    fn qty(&self, symbol: SymbolId, qty: i128) -> String {
        format_scaled(qty, self.view.symbols.get(&symbol).map_or(0, |s| s.qty_scale))
    }

    fn price(&self, symbol: SymbolId, price: Option<i64>) -> String {
        let scale = self.view.symbols.get(&symbol).map_or(0, |s| s.price_scale);
        price.map_or_else(|| "market".to_owned(), |price| format_scaled(price.into(), scale))
    }

    /// Whether both sides are of the same moment.
    fn freshness(&mut self) {
        let (view, snapshot) = (self.view, self.snapshot);
        if let Some(epoch) = snapshot.epoch.filter(|epoch| *epoch != view.epoch) {
            let (here, there) = (format!("life {}", view.epoch), format!("life {epoch}"));
            return self.report.add(difference(Code::StaleSnapshot, here, there));
        }
        match snapshot.journal_position {
            Some(position) if position != view.position => {
                let here = format!("journal position {}", view.position);
                let there = format!("journal position {position}");
                self.report.add(difference(Code::StaleSnapshot, here, there));
            }
            None if snapshot.taken_ns < view.last_report_ns => {
                let here = format!("a report booked at {} ns", view.last_report_ns);
                let there = format!("taken at {} ns", snapshot.taken_ns);
                self.report.add(difference(Code::StaleSnapshot, here, there));
            }
            _ => {}
        }
    }

    fn listed_orders(&mut self) {
        let mut seen = BTreeSet::new();
        for there in &self.snapshot.orders {
            self.report.orders += 1;
            let of = |difference: Difference| Difference {
                order_id: Some(there.order_id.to_string()),
                symbol: Some(self.name(there.symbol)),
                ..difference
            };
            if !seen.insert(there.order_id) {
                let twice = of(difference(Code::ListedTwice, "once", "twice"));
                self.report.add(twice);
                continue;
            }
            match self.view.orders.get(&there.order_id) {
                Some(here) => self.compare(here, there),
                // A final order may have left the gate's table long ago.
                None if there.state.is_terminal() => {}
                None => {
                    let qty = self.qty(there.symbol, there.qty.into());
                    let price = self.price(there.symbol, there.price);
                    let what = format!("{} {} {qty} @ {price}", there.state.name(), there.side.name());
                    let unknown = of(difference(Code::UnknownHere, "no such order", what));
                    self.report.add(unknown);
                }
            }
        }
    }

    /// One order that both sides have.
    fn compare(&mut self, here: &OrderView, there: &VenueOrder) {
        let mut found = Vec::new();
        let mut differ = |code, here: String, there: String| found.push(difference(code, here, there));
        if here.symbol != there.symbol {
            differ(Code::SymbolDiffers, self.name(here.symbol), self.name(there.symbol));
        }
        if here.side != there.side {
            differ(Code::SideDiffers, here.side.name().into(), there.side.name().into());
        }
        if let Some(key) = there.key.filter(|key| *key != here.key) {
            differ(Code::KeyDiffers, format!("{:032x}", here.key), format!("{key:032x}"));
        }
        if here.cum_qty != there.cum_qty {
            let qty = |qty: i64| self.qty(here.symbol, qty.into());
            differ(Code::CumQtyDiffers, qty(here.cum_qty), qty(there.cum_qty));
        }
        if here.state == OrderState::Unknown {
            self.unknown(here, Some(there));
        } else if !states_agree(here.state, there.state) {
            differ(Code::StateDiffers, here.state.name().into(), there.state.name().into());
        }
        if !here.state.is_terminal() && !there.state.is_terminal() {
            let own_price = (here.price != 0).then_some(here.price);
            let amended = (here.amend_qty != 0).then_some((Some(here.amend_price), here.amend_qty));
            let is_amended = amended == Some((there.price, there.qty));
            if !is_amended && there.price != own_price {
                let price = |price| self.price(here.symbol, price);
                differ(Code::PriceDiffers, price(own_price), price(there.price));
            }
            if !is_amended && there.qty != here.qty {
                let qty = |qty: i64| self.qty(here.symbol, qty.into());
                differ(Code::QtyDiffers, qty(here.qty), qty(there.qty));
            }
        }
        for found in found {
            let of = Self::of_order(here, self.name(here.symbol), found);
            self.report.add(of);
        }
    }

    fn of_order(order: &OrderView, symbol: String, difference: Difference) -> Difference {
        Difference {
            order_id: Some(order.order_id.to_string()),
            strategy: Some(order.strategy),
            account: Some(order.account),
            symbol: Some(symbol),
            ..difference
        }
    }

    fn unknown(&mut self, here: &OrderView, there: Option<&VenueOrder>) {
        let unknown = UnknownOrder {
            order_id: here.order_id.to_string(),
            strategy: here.strategy,
            symbol: self.name(here.symbol),
            cum_qty: self.qty(here.symbol, here.cum_qty.into()),
            venue_state: there.map(|there| there.state.name().to_owned()),
            venue_cum_qty: there.map(|there| self.qty(here.symbol, there.cum_qty.into())),
        };
        if self.report.unknown.len() < super::MAX_DIFFERENCES {
            self.report.unknown.push(unknown);
        }
    }

    /// Orders that are open here and that the venue does not list.
    fn unlisted_orders(&mut self) {
        let listed: BTreeSet<_> = self.snapshot.orders.iter().map(|order| order.order_id).collect();
        let view = self.view;
        let open = view.orders.values().filter(|order| !order.state.is_terminal());
        for order in open.filter(|order| !listed.contains(&order.order_id)) {
            self.report.orders += 1;
            let under_way = match self.snapshot.last_order_id {
                Some(last) => order.order_id > last,
                None => order.state == OrderState::PendingNew,
            };
            // Filled whole while an amend is under way: the venue has closed it, and its answer will say so.
            if under_way || order.leaves_qty() == 0 {
                self.report.in_flight += 1;
            } else if order.state == OrderState::Unknown {
                self.unknown(order, None);
            } else {
                let qty = self.qty(order.symbol, order.leaves_qty().into());
                let here = format!("{} with {qty} left", order.state.name());
                let unlisted = difference(Code::UnknownAtVenue, here, "not listed");
                let of = Self::of_order(order, self.name(order.symbol), unlisted);
                self.report.add(of);
            }
        }
    }

    fn strays(&mut self) {
        for stray in self.view.strays.iter().filter(|stray| stray.net_qty != 0) {
            let there = format!(
                "{} filled in {} fills, the last is trade {}",
                self.qty(stray.symbol, stray.net_qty.into()),
                stray.fills,
                stray.last_trade_id
            );
            self.report.add(Difference {
                order_id: (stray.order_id != 0).then(|| stray.order_id.to_string()),
                symbol: Some(self.name(stray.symbol)),
                ..difference(Code::StrayFill, "in no position", there)
            });
        }
    }

    /// Quantity and fees over the positions of an account, or of all of them.
    fn booked(&self, account: Option<AccountId>, symbol: SymbolId) -> (i128, i128) {
        let of = |p: &&crate::gate::PositionView| {
            p.symbol == symbol && account.is_none_or(|account| account == p.account)
        };
        self.view
            .positions
            .iter()
            .filter(of)
            .fold((0, 0), |(qty, fees_e8), p| (qty + i128::from(p.qty), p.fees_e8.saturating_add(fees_e8)))
    }

    fn stray_qty(&self, symbol: SymbolId) -> i128 {
        let of = self.view.strays.iter().filter(|stray| stray.symbol == symbol);
        of.map(|stray| i128::from(stray.net_qty)).sum()
    }

    fn positions(&mut self) {
        let Some(lines) = &self.snapshot.positions else { return };
        let told: BTreeMap<(Option<AccountId>, SymbolId), &VenuePosition> =
            lines.iter().map(|line| ((line.account, line.symbol), line)).collect();
        let mut wanted: BTreeSet<(Option<AccountId>, SymbolId)> = told.keys().copied().collect();
        // A venue that tells one sum for all accounts in some symbol does so in each.
        let pooled = told.keys().all(|(account, _)| account.is_none());
        for p in &self.view.positions {
            let own = told.contains_key(&(Some(p.account), p.symbol)) || !pooled;
            wanted.insert((Some(p.account).filter(|_| own), p.symbol));
        }
        for (account, symbol) in wanted {
            let (qty, fees_e8) = self.booked(account, symbol);
            let there = told.get(&(account, symbol));
            let there_qty = there.map_or(0, |line| i128::from(line.qty));
            self.report.positions += 1;
            let of = |name: String, difference| Difference { account, symbol: Some(name), ..difference };
            // What came in for nobody is named by itself.
            let strays = self.stray_qty(symbol);
            if there_qty != qty && (strays == 0 || there_qty != qty + strays) {
                let (here, there) = (self.qty(symbol, qty), self.qty(symbol, there_qty));
                let differs = of(self.name(symbol), difference(Code::PositionDiffers, here, there));
                self.report.add(differs);
            }
            let fees = there.and_then(|line| line.fees_e8).filter(|fees| *fees != fees_e8 && strays == 0);
            if let Some(there_e8) = fees {
                let (here, there) = (format_scaled(fees_e8, 8), format_scaled(there_e8, 8));
                let differs = of(self.name(symbol), difference(Code::FeesDiffer, here, there));
                self.report.add(differs);
            }
        }
    }

    fn strangers(&mut self) {
        for stranger in &self.snapshot.strangers {
            self.report.add(Difference {
                order_id: stranger.order_id.map(|id| id.to_string()),
                symbol: Some(stranger.symbol.clone()),
                ..difference(Code::UnknownSymbol, "no such symbol", stranger.qty.clone())
            });
        }
    }
}

/// Whether both may be true at once. A cancel under way leaves an order open at the venue.
const fn states_agree(here: OrderState, there: OrderState) -> bool {
    match (here.is_terminal(), there.is_terminal()) {
        (true, true) => here as u8 == there as u8,
        (false, false) => !matches!(there, OrderState::Unknown),
        _ => false,
    }
}
