//! What a venue's adapter says over the control socket: what it handed out before, and what its venue has.

use super::codec::{HandshakeError, Reader};
use crate::msg::{AccountId, Key, OrderId, OrderState, Side, SymbolId};

/// Lines that fit one packet.
pub const SNAPSHOT_LINES_PER_PACKET: usize = 64;

const ORDER: u8 = 1;
const POSITION: u8 = 2;

/// What an adapter handed to its venue before this attachment. Said with the ticket of its last attachment, between
/// welcome and "mapped"; without it anything may have been handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandedOutMark {
    /// The gate's life that it was last attached to.
    pub epoch: u16,
    /// Every new order up to this id may have been handed out, none above it was.
    pub order_id: OrderId,
}

/// An order as a venue has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VenueOrder {
    /// The gate's id of it.
    pub order_id: OrderId,
    /// Its client key, if the venue tells.
    pub key: Option<Key>,
    /// Its symbol.
    pub symbol: SymbolId,
    /// Buy or sell.
    pub side: Side,
    /// Scaled price; none: a market order.
    pub price: Option<i64>,
    /// Scaled total quantity.
    pub qty: i64,
    /// Scaled quantity filled.
    pub cum_qty: i64,
    /// Where it is in its life.
    pub state: OrderState,
}

/// A position as a venue has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VenuePosition {
    /// Whose; none: of all accounts together.
    pub account: Option<AccountId>,
    /// In what.
    pub symbol: SymbolId,
    /// Signed, scaled.
    pub qty: i64,
    /// Fees of its fills, 1e-8, if the venue tells.
    pub fees_e8: Option<i128>,
}

/// One line of a venue's snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotLine {
    /// An order.
    Order(VenueOrder),
    /// A position.
    Position(VenuePosition),
}

/// A part of a venue's snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotPart {
    /// Of which request this is the answer.
    pub number: u64,
    /// At most [`SNAPSHOT_LINES_PER_PACKET`].
    pub lines: Vec<SnapshotLine>,
    /// With the last part: what holds for the whole.
    pub end: Option<SnapshotEnd>,
}

/// What holds for a whole snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotEnd {
    /// When it was taken, ns since the epoch of Unix.
    pub taken_ns: u64,
    /// The newest order that may have reached the venue: later ones were on their way.
    pub last_order_id: OrderId,
    /// The venue tells its positions: one that is not among the lines is flat.
    pub has_positions: bool,
}

impl HandedOutMark {
    pub(super) fn encode(self, out: &mut Vec<u8>) {
        out.extend(self.epoch.to_le_bytes());
        out.extend(self.order_id.to_le_bytes());
    }

    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, HandshakeError> {
        Ok(Self { epoch: r.u16()?, order_id: r.u64()? })
    }
}

impl SnapshotPart {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.number.to_le_bytes());
        let lines = &self.lines[..self.lines.len().min(SNAPSHOT_LINES_PER_PACKET)];
        out.push(lines.len() as u8);
        lines.iter().for_each(|line| line.encode(out));
        out.push(u8::from(self.end.is_some()));
        if let Some(end) = &self.end {
            out.extend(end.taken_ns.to_le_bytes());
            out.extend(end.last_order_id.to_le_bytes());
            out.push(u8::from(end.has_positions));
        }
    }

    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, HandshakeError> {
        let number = r.u64()?;
        let count = usize::from(r.u8()?);
        if count > SNAPSHOT_LINES_PER_PACKET {
            return Err(HandshakeError::Field("lines"));
        }
        let lines = (0..count).map(|_| SnapshotLine::decode(r)).collect::<Result<_, _>>()?;
        let end = if r.bool("end")? {
            let (taken_ns, last_order_id) = (r.u64()?, r.u64()?);
            Some(SnapshotEnd { taken_ns, last_order_id, has_positions: r.bool("has_positions")? })
        } else {
            None
        };
        Ok(Self { number, lines, end })
    }
}

impl SnapshotLine {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Order(order) => {
                out.push(ORDER);
                out.extend(order.order_id.to_le_bytes());
                put(out, order.key.map(u128::to_le_bytes));
                out.extend(order.symbol.to_le_bytes());
                out.push(order.side as u8);
                put(out, order.price.map(i64::to_le_bytes));
                out.extend(order.qty.to_le_bytes());
                out.extend(order.cum_qty.to_le_bytes());
                out.push(order.state as u8);
            }
            Self::Position(position) => {
                out.push(POSITION);
                put(out, position.account.map(u16::to_le_bytes));
                out.extend(position.symbol.to_le_bytes());
                out.extend(position.qty.to_le_bytes());
                put(out, position.fees_e8.map(i128::to_le_bytes));
            }
        }
    }

    fn decode(r: &mut Reader<'_>) -> Result<Self, HandshakeError> {
        match r.u8()? {
            ORDER => Ok(Self::Order(VenueOrder {
                order_id: r.u64()?,
                key: r.option()?.map(u128::from_le_bytes),
                symbol: r.u16()?,
                side: Side::from_wire(r.u8()?.into()).ok_or(HandshakeError::Field("side"))?,
                price: r.option()?.map(i64::from_le_bytes),
                qty: r.u64()? as i64,
                cum_qty: r.u64()? as i64,
                state: OrderState::from_wire(r.u8()?.into()).ok_or(HandshakeError::Field("state"))?,
            })),
            POSITION => Ok(Self::Position(VenuePosition {
                account: r.option()?.map(u16::from_le_bytes),
                symbol: r.u16()?,
                qty: r.u64()? as i64,
                fees_e8: r.option()?.map(i128::from_le_bytes),
            })),
            _ => Err(HandshakeError::Field("line")),
        }
    }
}

fn put<const N: usize>(out: &mut Vec<u8>, bytes: Option<[u8; N]>) {
    out.push(u8::from(bytes.is_some()));
    out.extend(bytes.iter().flatten());
}
