//! The venue's side of a comparison: in the gate's own numbers ([`VenueSnapshot`]), and as JSON ([`SnapshotFile`]).

use std::collections::BTreeMap;

pub use ringfence_ipc::handshake::{VenueOrder, VenuePosition};
use ringfence_ipc::msg::{AccountId, Key, OrderId, OrderState, Side, SymbolId};
use ringfence_ipc::symbol::{DecimalError, Symbol, format_scaled, parse_scaled};
use serde::{Deserialize, Serialize};

use super::GateView;

/// The largest snapshot file that is read, bytes.
pub const MAX_SNAPSHOT_BYTES: u64 = 64 << 20;

/// A line about a symbol that the gate does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stranger {
    /// The symbol's name.
    pub symbol: String,
    /// The order, if it is one's.
    pub order_id: Option<OrderId>,
    /// Its quantity, as the venue writes it.
    pub qty: String,
}

/// What a venue says it has, in the gate's own numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VenueSnapshot {
    /// Its name.
    pub venue: String,
    /// When it was taken, ns since the epoch of Unix.
    pub taken_ns: u64,
    /// The gate's life that it belongs to, if the venue knows.
    pub epoch: Option<u16>,
    /// It is of the moment before this journal position, if that is known.
    pub journal_position: Option<u64>,
    /// The newest order that had reached the venue: later ones were on their way.
    pub last_order_id: Option<OrderId>,
    /// Commands that had reached the venue in this life of the gate.
    pub commands: Option<u64>,
    /// Reports that the venue had sent in this life of the gate.
    pub reports: Option<u64>,
    /// Its orders: every open one, and as many final ones as it likes.
    pub orders: Vec<VenueOrder>,
    /// Its positions; none: it does not tell.
    pub positions: Option<Vec<VenuePosition>>,
    /// What it has in symbols that the gate does not know.
    pub strangers: Vec<Stranger>,
}

/// An order of a [`SnapshotFile`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderLine {
    /// The gate's order id, decimal.
    pub order_id: String,
    /// The client key, up to 32 hex digits.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub client_key: Option<String>,
    /// The symbol's name.
    pub symbol: String,
    /// `BUY` or `SELL`.
    pub side: String,
    /// Decimal; none: a market order.
    #[serde(default)]
    pub price: Option<String>,
    /// Total quantity, decimal.
    pub qty: String,
    /// Filled quantity, decimal.
    pub cum_qty: String,
    /// `ACCEPTED`, `PARTIALLY_FILLED`, `FILLED`, `CANCELLED`, ..
    pub state: String,
}

/// A position of a [`SnapshotFile`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PositionLine {
    /// The gate's account; none: all of them together.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub account: Option<AccountId>,
    /// The symbol's name.
    pub symbol: String,
    /// Signed, decimal.
    pub qty: String,
    /// Fees, decimal, quote currency.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fees: Option<String>,
}

/// A snapshot as JSON: `docs/reconcile.md`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotFile {
    /// The venue's name.
    pub venue: String,
    /// When it was taken, ns since the epoch of Unix.
    pub taken_ns: u64,
    /// The gate's life that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub epoch: Option<u16>,
    /// It is of the moment before this journal position.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub journal_position: Option<u64>,
    /// The newest order that had reached the venue, decimal.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_order_id: Option<String>,
    /// Commands that had reached the venue.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub commands: Option<u64>,
    /// Reports that the venue had sent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reports: Option<u64>,
    /// Its orders.
    pub orders: Vec<OrderLine>,
    /// Its positions; none: it does not tell.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub positions: Option<Vec<PositionLine>>,
}

/// Why a snapshot cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// A field holds what does not belong there.
    #[error("{list}[{index}].{field}: `{found}` {wants}")]
    Field {
        /// `orders` or `positions`.
        list: &'static str,
        /// Which of them, from 0.
        index: usize,
        /// The field.
        field: &'static str,
        /// What stands there.
        found: String,
        /// What should.
        wants: String,
    },
    /// A field of the snapshot itself.
    #[error("last_order_id: `{0}` is no order id: write it as a decimal number in quotes")]
    LastOrder(String),
}

/// Where a field stands.
#[derive(Clone, Copy)]
struct At(&'static str, usize);

impl At {
    fn bad(self, field: &'static str, found: &str, wants: impl Into<String>) -> SnapshotError {
        let found = found.chars().take(40).collect();
        SnapshotError::Field { list: self.0, index: self.1, field, found, wants: wants.into() }
    }

    fn decimal(self, field: &'static str, text: &str, scale: u8) -> Result<i64, SnapshotError> {
        parse_scaled(text, scale).map_err(|error: DecimalError| {
            self.bad(field, text, format!("is {error}: write a decimal with at most {scale} decimals"))
        })
    }

    fn order_id(self, text: &str) -> Result<OrderId, SnapshotError> {
        text.parse().map_err(|_| self.bad("order_id", text, "is no order id: write it as a decimal number"))
    }
}

impl SnapshotFile {
    /// In the numbers of `view`'s symbols.
    ///
    /// # Errors
    /// [`SnapshotError`] names the field that cannot be read.
    pub fn read(&self, view: &GateView) -> Result<VenueSnapshot, SnapshotError> {
        let mut strangers = Vec::new();
        let mut orders = Vec::with_capacity(self.orders.len());
        for (index, line) in self.orders.iter().enumerate() {
            let (at, known) = (At("orders", index), view.find_symbol(&line.symbol));
            match known {
                Some((id, symbol)) => orders.push(read_order(line, id, symbol, at)?),
                None => strangers.push(Stranger {
                    symbol: line.symbol.clone(),
                    order_id: Some(at.order_id(&line.order_id)?),
                    qty: line.qty.clone(),
                }),
            }
        }
        let mut positions = Vec::new();
        for (index, line) in self.positions.iter().flatten().enumerate() {
            match view.find_symbol(&line.symbol) {
                Some((id, symbol)) => {
                    positions.push(read_position(line, id, symbol, At("positions", index))?);
                }
                None => strangers.push(Stranger {
                    symbol: line.symbol.clone(),
                    order_id: None,
                    qty: line.qty.clone(),
                }),
            }
        }
        let last_order_id = self
            .last_order_id
            .as_ref()
            .map(|text| text.parse().map_err(|_| SnapshotError::LastOrder(text.chars().take(40).collect())));
        Ok(VenueSnapshot {
            venue: self.venue.clone(),
            taken_ns: self.taken_ns,
            epoch: self.epoch,
            journal_position: self.journal_position,
            last_order_id: last_order_id.transpose()?,
            commands: self.commands,
            reports: self.reports,
            orders,
            positions: self.positions.as_ref().map(|_| positions),
            strangers,
        })
    }

    /// What `snapshot` says, as JSON has it.
    #[must_use]
    pub fn of(snapshot: &VenueSnapshot, symbols: &BTreeMap<SymbolId, Symbol>) -> Self {
        let known = |id: SymbolId| symbols.get(&id);
        let order = |o: &VenueOrder| {
            let symbol = known(o.symbol)?;
            Some(OrderLine {
                order_id: o.order_id.to_string(),
                client_key: o.key.map(|key| format!("{key:032x}")),
                symbol: symbol.name().to_owned(),
                side: o.side.name().to_owned(),
                price: o.price.map(|price| format_scaled(price.into(), symbol.price_scale)),
                qty: format_scaled(o.qty.into(), symbol.qty_scale),
                cum_qty: format_scaled(o.cum_qty.into(), symbol.qty_scale),
                state: o.state.name().to_owned(),
            })
        };
        let position = |p: &VenuePosition| {
            let symbol = known(p.symbol)?;
            Some(PositionLine {
                account: p.account,
                symbol: symbol.name().to_owned(),
                qty: format_scaled(p.qty.into(), symbol.qty_scale),
                fees: p.fees_e8.map(|fees_e8| format_scaled(fees_e8, 8)),
            })
        };
        Self {
            venue: snapshot.venue.clone(),
            taken_ns: snapshot.taken_ns,
            epoch: snapshot.epoch,
            journal_position: snapshot.journal_position,
            last_order_id: snapshot.last_order_id.map(|id| id.to_string()),
            commands: snapshot.commands,
            reports: snapshot.reports,
            orders: snapshot.orders.iter().filter_map(order).collect(),
            positions: snapshot.positions.as_ref().map(|all| all.iter().filter_map(position).collect()),
        }
    }
}

fn read_order(line: &OrderLine, id: SymbolId, symbol: &Symbol, at: At) -> Result<VenueOrder, SnapshotError> {
    let key = |text: &String| {
        Key::from_str_radix(text, 16).map_err(|_| at.bad("client_key", text, "is not up to 32 hex digits"))
    };
    let state = OrderState::ALL.iter().find(|state| state.name() == line.state);
    let side = [Side::Buy, Side::Sell].into_iter().find(|side| side.name() == line.side);
    let price = |text: &String| at.decimal("price", text, symbol.price_scale);
    Ok(VenueOrder {
        order_id: at.order_id(&line.order_id)?,
        key: line.client_key.as_ref().map(key).transpose()?,
        symbol: id,
        side: side.ok_or_else(|| at.bad("side", &line.side, "is neither BUY nor SELL"))?,
        price: line.price.as_ref().map(price).transpose()?,
        qty: at.decimal("qty", &line.qty, symbol.qty_scale)?,
        cum_qty: at.decimal("cum_qty", &line.cum_qty, symbol.qty_scale)?,
        state: *state
            .ok_or_else(|| at.bad("state", &line.state, "is no state: ACCEPTED, PARTIALLY_FILLED, .."))?,
    })
}

fn read_position(
    line: &PositionLine,
    id: SymbolId,
    symbol: &Symbol,
    at: At,
) -> Result<VenuePosition, SnapshotError> {
    let fees = |text: &String| at.decimal("fees", text, 8).map(i128::from);
    Ok(VenuePosition {
        account: line.account,
        symbol: id,
        qty: at.decimal("qty", &line.qty, symbol.qty_scale)?,
        fees_e8: line.fees.as_ref().map(fees).transpose()?,
    })
}
