//! Fills for orders that the gate does not know: an order whose slot was taken again, or one that never was the gate's.
//!
//! Their quantity is real at the venue and belongs to no strategy here: it is in no position and in no exposure. It is
//! kept by order, so that a repeat counts once and a reconciliation can name it, and from the first one on the gate
//! passes only what reduces (`docs/decisions/0016`).

use std::io::{self, Write};

use ringfence_ipc::journal::StrayRecord;
use ringfence_ipc::journal::checkpoint::{BodyWriter, Item, Part, StrayPart};
use ringfence_ipc::msg::{Report, ReportKind, SymbolId};
use ringfence_ipc::reason::Mode;

use super::apply::{contradiction, within};
use super::tables::touched;
use super::{ApplyError, Gate, RestoreError};

/// Orders that are kept apart; what comes after them is kept in one sum for each symbol.
const NAMED: usize = 256;

/// What came in for one order; `order_id` 0: for all that no longer fit, of one symbol.
pub type StrayView = StrayPart;

const BLANK: StrayPart =
    StrayPart { order_id: 0, symbol: 0, cum_qty: 0, net_qty: 0, last_trade_id: 0, fills: 0 };

/// Everything that came in for nobody.
#[derive(Debug)]
pub(super) struct Strays {
    entries: Box<[StrayPart]>,
    used: usize,
}

impl Strays {
    pub fn new(max_symbols: u16) -> Self {
        Self { entries: touched(NAMED + usize::from(max_symbols), BLANK), used: 0 }
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &StrayPart> {
        self.entries[..self.used].iter()
    }

    fn find(&self, order_id: u64, symbol: SymbolId) -> Option<usize> {
        self.iter().position(|entry| entry.order_id == order_id && entry.symbol == symbol)
    }

    /// The entry that a fill of this order goes to; one that is new takes a place.
    fn entry(&mut self, order_id: u64, symbol: SymbolId) -> Option<&mut StrayPart> {
        let order_id = match self.find(order_id, symbol) {
            Some(at) => return self.entries.get_mut(at),
            None if self.iter().filter(|entry| entry.order_id != 0).count() < NAMED => order_id,
            None => 0,
        };
        let at = self.find(order_id, symbol).unwrap_or(self.used);
        self.used = self.used.max(at + 1);
        let entry = self.entries.get_mut(at)?;
        (entry.order_id, entry.symbol) = (order_id, symbol);
        Some(entry)
    }
}

impl Gate {
    /// What a fill that names no order of the gate's adds, ready for the journal; `None`: nothing, because it is no
    /// fill, has been recorded before, or names no symbol. Changes nothing.
    #[must_use]
    pub fn stray(&self, report: &Report, now_ns: u64) -> Option<StrayRecord> {
        let sane = report.last_qty > 0 && report.last_price > 0 && report.cum_qty > 0 && report.order_id != 0;
        let known = self.symbol(report.symbol).is_some() && self.orders.get(report.order_id).is_none();
        if report.kind != ReportKind::Fill || !sane || !known {
            return None;
        }
        let before = self.strays.find(report.order_id, report.symbol).map(|at| self.strays.entries[at]);
        let qty = match before {
            Some(before) if report.cum_qty <= before.cum_qty || report.trade_id == before.last_trade_id => {
                return None;
            }
            Some(before) => report.cum_qty - before.cum_qty,
            // What was filled while the order was known is in its position already.
            None => report.last_qty,
        };
        Some(StrayRecord {
            order_id: report.order_id,
            symbol: report.symbol,
            side: report.side,
            qty,
            price: report.last_price,
            cum_qty: report.cum_qty,
            trade_id: report.trade_id,
            fee_e8: report.fee_e8,
            key_low: report.key_low,
            venue_ts_ns: report.venue_ts_ns,
            now_ns,
        })
    }

    /// What came in for orders that the gate does not know.
    pub fn strays(&self) -> impl ExactSizeIterator<Item = &StrayView> {
        self.strays.iter()
    }

    pub(super) fn apply_stray(&mut self, position: u64, record: &StrayRecord) -> Result<(), ApplyError> {
        within(position, "symbol", record.symbol, self.cap.max_symbols)?;
        if record.qty <= 0 {
            return contradiction(position, "a stray fill without a quantity");
        }
        let Some(entry) = self.strays.entry(record.order_id, record.symbol) else {
            return contradiction(position, "more symbols have stray fills than there are symbols");
        };
        entry.cum_qty = record.cum_qty;
        entry.net_qty = entry.net_qty.saturating_add(record.qty.saturating_mul(record.side.sign()));
        entry.last_trade_id = record.trade_id;
        entry.fills += 1;
        if self.mode == Mode::AllowAll {
            self.mode = Mode::CancelOnly;
        }
        self.refresh_barriers();
        Ok(())
    }

    /// Writes the part [`Part::Strays`], the last of a checkpoint.
    ///
    /// # Errors
    /// Those of the medium.
    pub fn save_strays<W: Write>(&self, body: &mut BodyWriter<W>) -> io::Result<()> {
        body.part(Part::Strays, self.strays.iter().len())?;
        self.strays.iter().try_for_each(|entry| body.item(&entry.encode()))
    }

    pub(super) fn restore_stray(&mut self, item: &Item<'_>) -> Result<(), RestoreError> {
        let part = StrayPart::decode(item)?;
        let place = self.strays.entries.get_mut(self.strays.used).ok_or(item.bad("one too many"))?;
        *place = part;
        self.strays.used += 1;
        Ok(())
    }
}
