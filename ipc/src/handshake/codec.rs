//! Handshake packets as bytes: little-endian, length-checked, no trailing bytes.

use super::node::{self, NodeRefusal, NodeRequest};
use super::{
    ControlDone, ControlRefusal, ControlRequest, HandedOutMark, Hello, NAME_BYTES, RefusalCode, Role,
    SnapshotPart, Ticket, Welcome, control,
};
use crate::msg::Words;

/// The largest packet either side sends.
pub const MAX_PACKET_BYTES: usize = 4096;
/// Missed events that fit one packet: each is one or two slots of 56 bytes and a count byte.
pub const MISSED_PER_PACKET: usize = 32;
/// Bytes of an answer that fit one packet.
pub const PART_BYTES: usize = 4_000;
/// Eventfds that one welcome brings at most.
pub const MAX_BELLS: usize = 2;

const HELLO: u8 = 1;
const WELCOME: u8 = 2;
const MAPPED: u8 = 3;
const MISSED: u8 = 4;
const ACTIVE: u8 = 5;
const REFUSED: u8 = 6;
const CONTROL: u8 = 7;
const CONTROL_DONE: u8 = 8;
const CONTROL_REFUSED: u8 = 9;
const NODE: u8 = 10;
const NODE_GRANTED: u8 = 11;
const NODE_REFUSED: u8 = 12;
const CONFIG_REFUSED: u8 = 13;
const RECONCILED: u8 = 14;
const RECONCILE_REFUSED: u8 = 15;
const HANDED_OUT: u8 = 16;
const VENUE_SNAPSHOT: u8 = 17;
const MAGIC: u32 = u32::from_le_bytes(*b"RFv1");
const TEXT_BYTES: usize = 200;

/// Every packet of the conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the payload types carry the docs")]
pub enum Packet {
    Hello(Hello),
    Welcome(Welcome),
    Mapped,
    /// Events as they would have stood in the ring: a decision is one slot, a report two.
    Missed(Vec<Vec<Words>>),
    Active {
        journal_position: u64,
    },
    Refused {
        code: RefusalCode,
        text: String,
    },
    Control(ControlRequest),
    ControlDone(ControlDone),
    ControlRefused(ControlRefusal),
    Node(NodeRequest),
    NodeGranted {
        series: u32,
    },
    NodeRefused {
        code: NodeRefusal,
        text: String,
    },
    /// Limits stand as they stood; why, in words.
    ConfigRefused {
        text: String,
    },
    /// A part of the JSON that answers a reconciliation, at most [`PART_BYTES`].
    Reconciled {
        last: bool,
        part: Vec<u8>,
    },
    /// There is nothing to compare; why, in words.
    ReconcileRefused {
        text: String,
    },
    HandedOut(HandedOutMark),
    VenueSnapshot(SnapshotPart),
}

/// Why bytes are no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The packet ends before its fields do.
    #[error("packet is too short")]
    Short,
    /// Bytes follow the last field.
    #[error("packet is too long")]
    Trailing,
    /// A field holds an undefined value.
    #[error("field `{0}` is not valid")]
    Field(&'static str),
}

impl Packet {
    /// To bytes, at most [`MAX_PACKET_BYTES`].
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        match self {
            Self::Hello(hello) => encode_hello(hello, &mut out),
            Self::Welcome(w) => {
                out.push(WELCOME);
                out.extend(w.client.to_le_bytes());
                out.extend(w.strategy.to_le_bytes());
                out.extend(w.account.to_le_bytes());
                out.extend(w.epoch.to_le_bytes());
                out.push(u8::from(w.lockstep));
                out.extend(w.intents_slots.to_le_bytes());
                out.extend(w.tape_slots.to_le_bytes());
                out.extend(w.events_slots.to_le_bytes());
                out.extend(w.market_bytes.to_le_bytes());
                out.extend(w.cache_bytes.to_le_bytes());
                out.extend(w.ticket.0);
                out.extend(w.tape_event.to_le_bytes());
                out.push(w.bells);
            }
            Self::Mapped => out.push(MAPPED),
            Self::Missed(events) => {
                out.push(MISSED);
                out.push(events.len() as u8);
                for event in events {
                    out.push(event.len() as u8);
                    out.extend(event.iter().flatten().flat_map(|word| word.to_le_bytes()));
                }
            }
            Self::Active { journal_position } => {
                out.push(ACTIVE);
                out.extend(journal_position.to_le_bytes());
            }
            Self::Refused { code, text } => {
                out.push(REFUSED);
                out.extend((*code as u16).to_le_bytes());
                put_text(&mut out, text, TEXT_BYTES);
            }
            Self::Control(request) => {
                out.push(CONTROL);
                control::encode(request, &mut out);
            }
            Self::ControlDone(done) => {
                out.push(CONTROL_DONE);
                out.extend(done.journal_seq.to_le_bytes());
                out.extend(done.cancelling.to_le_bytes());
            }
            Self::ControlRefused(code) => {
                out.push(CONTROL_REFUSED);
                out.extend((*code as u16).to_le_bytes());
            }
            Self::Node(request) => {
                out.push(NODE);
                node::encode(request, &mut out);
            }
            Self::NodeGranted { series } => {
                out.push(NODE_GRANTED);
                out.extend(series.to_le_bytes());
            }
            Self::NodeRefused { code, text } => {
                out.push(NODE_REFUSED);
                out.extend((*code as u16).to_le_bytes());
                put_text(&mut out, text, TEXT_BYTES);
            }
            Self::ConfigRefused { text } => {
                out.push(CONFIG_REFUSED);
                put_text(&mut out, text, TEXT_BYTES);
            }
            Self::Reconciled { last, part } => {
                let part = &part[..part.len().min(PART_BYTES)];
                out.extend([RECONCILED, u8::from(*last)]);
                out.extend((part.len() as u16).to_le_bytes());
                out.extend(part);
            }
            Self::ReconcileRefused { text } => {
                out.push(RECONCILE_REFUSED);
                put_text(&mut out, text, TEXT_BYTES);
            }
            Self::HandedOut(mark) => {
                out.push(HANDED_OUT);
                mark.encode(&mut out);
            }
            Self::VenueSnapshot(part) => {
                out.push(VENUE_SNAPSHOT);
                part.encode(&mut out);
            }
        }
        debug_assert!(out.len() <= MAX_PACKET_BYTES);
        out
    }

    /// From bytes.
    ///
    /// # Errors
    /// [`HandshakeError`] on anything [`Packet::encode`] does not produce.
    pub fn decode(bytes: &[u8]) -> Result<Self, HandshakeError> {
        let mut r = Reader(bytes);
        let packet = match r.u8()? {
            HELLO => Self::Hello(decode_hello(&mut r)?),
            WELCOME => Self::Welcome(Welcome {
                client: r.u64()?,
                strategy: r.u16()?,
                account: r.u16()?,
                epoch: r.u16()?,
                lockstep: r.bool("lockstep")?,
                intents_slots: r.u32()?,
                tape_slots: r.u32()?,
                events_slots: r.u32()?,
                market_bytes: r.u64()?,
                cache_bytes: r.u64()?,
                ticket: Ticket(r.array()?),
                tape_event: r.u64()?,
                bells: r.bells()?,
            }),
            MAPPED => Self::Mapped,
            MISSED => {
                let count = usize::from(r.u8()?);
                if count > MISSED_PER_PACKET {
                    return Err(HandshakeError::Field("count"));
                }
                Self::Missed((0..count).map(|_| decode_event(&mut r)).collect::<Result<_, _>>()?)
            }
            ACTIVE => Self::Active { journal_position: r.u64()? },
            REFUSED => Self::Refused {
                code: RefusalCode::from_wire(r.u16()?).ok_or(HandshakeError::Field("code"))?,
                text: r.text(TEXT_BYTES, "text")?,
            },
            CONTROL => Self::Control(control::decode(&mut r)?),
            CONTROL_DONE => Self::ControlDone(ControlDone { journal_seq: r.u64()?, cancelling: r.u32()? }),
            CONFIG_REFUSED => Self::ConfigRefused { text: r.text(TEXT_BYTES, "text")? },
            RECONCILED => Self::Reconciled { last: r.bool("last")?, part: r.part()? },
            RECONCILE_REFUSED => Self::ReconcileRefused { text: r.text(TEXT_BYTES, "text")? },
            HANDED_OUT => Self::HandedOut(HandedOutMark::decode(&mut r)?),
            VENUE_SNAPSHOT => Self::VenueSnapshot(SnapshotPart::decode(&mut r)?),
            CONTROL_REFUSED => Self::ControlRefused(
                ControlRefusal::from_wire(r.u16()?).ok_or(HandshakeError::Field("code"))?,
            ),
            NODE => Self::Node(node::decode(&mut r)?),
            NODE_GRANTED => Self::NodeGranted { series: r.u32()? },
            NODE_REFUSED => Self::NodeRefused {
                code: NodeRefusal::from_wire(r.u16()?).ok_or(HandshakeError::Field("code"))?,
                text: r.text(TEXT_BYTES, "text")?,
            },
            _ => return Err(HandshakeError::Field("packet")),
        };
        if r.0.is_empty() { Ok(packet) } else { Err(HandshakeError::Trailing) }
    }
}

fn encode_hello(hello: &Hello, out: &mut Vec<u8>) {
    out.push(HELLO);
    out.extend(MAGIC.to_le_bytes());
    out.extend(hello.version.0.to_le_bytes());
    out.extend(hello.version.1.to_le_bytes());
    out.extend(hello.layout_hash.to_le_bytes());
    out.push(hello.role as u8);
    out.push(u8::from(hello.paced));
    put_text(out, &hello.name, NAME_BYTES);
    put_text(out, &hello.build_id, 40);
    put_option(out, hello.key.as_ref().map(<[u8; 32]>::as_slice));
    put_option(out, hello.ticket.as_ref().map(|ticket| ticket.0.as_slice()));
    out.extend(hello.last_seq.to_le_bytes());
}

fn decode_hello(r: &mut Reader<'_>) -> Result<Hello, HandshakeError> {
    if r.u32()? != MAGIC {
        return Err(HandshakeError::Field("magic"));
    }
    let hello = Hello {
        version: (r.u16()?, r.u16()?),
        layout_hash: r.u64()?,
        role: Role::from_wire(u64::from(r.u8()?)).ok_or(HandshakeError::Field("role"))?,
        paced: r.bool("paced")?,
        name: r.text(NAME_BYTES, "name")?,
        build_id: r.text(40, "build_id")?,
        key: r.option()?,
        ticket: r.option()?.map(Ticket),
        last_seq: r.u64()?,
    };
    if hello.name.is_empty() { Err(HandshakeError::Field("name")) } else { Ok(hello) }
}

fn decode_event(r: &mut Reader<'_>) -> Result<Vec<Words>, HandshakeError> {
    let slots = r.u8()?;
    if !(1..=2).contains(&slots) {
        return Err(HandshakeError::Field("slots"));
    }
    (0..slots)
        .map(|_| {
            let mut words: Words = [0; 7];
            for word in &mut words {
                *word = r.u64()?;
            }
            Ok(words)
        })
        .collect()
}

pub(super) fn put_text(out: &mut Vec<u8>, text: &str, max: usize) {
    let mut end = text.len().min(max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    out.push(end as u8);
    out.extend(&text.as_bytes()[..end]);
}

fn put_option(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    out.push(u8::from(bytes.is_some()));
    out.extend(bytes.unwrap_or_default());
}

pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], HandshakeError> {
        let (head, tail) = self.0.split_at_checked(n).ok_or(HandshakeError::Short)?;
        self.0 = tail;
        Ok(head)
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N], HandshakeError> {
        self.take(N)?.try_into().map_err(|_| HandshakeError::Short)
    }
    pub(super) fn u8(&mut self) -> Result<u8, HandshakeError> {
        Ok(u8::from_le_bytes(self.array()?))
    }
    pub(super) fn u16(&mut self) -> Result<u16, HandshakeError> {
        Ok(u16::from_le_bytes(self.array()?))
    }
    pub(super) fn u32(&mut self) -> Result<u32, HandshakeError> {
        Ok(u32::from_le_bytes(self.array()?))
    }
    pub(super) fn u64(&mut self) -> Result<u64, HandshakeError> {
        Ok(u64::from_le_bytes(self.array()?))
    }
    pub(super) fn bool(&mut self, field: &'static str) -> Result<bool, HandshakeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(HandshakeError::Field(field)),
        }
    }
    fn bells(&mut self) -> Result<u8, HandshakeError> {
        let bells = self.u8()?;
        if usize::from(bells) <= MAX_BELLS { Ok(bells) } else { Err(HandshakeError::Field("bells")) }
    }
    pub(super) fn option<const N: usize>(&mut self) -> Result<Option<[u8; N]>, HandshakeError> {
        if self.bool("option")? { Ok(Some(self.array()?)) } else { Ok(None) }
    }
    fn part(&mut self) -> Result<Vec<u8>, HandshakeError> {
        let len = usize::from(self.u16()?);
        if len > PART_BYTES { Err(HandshakeError::Field("part")) } else { Ok(self.take(len)?.to_vec()) }
    }
    pub(super) fn text(&mut self, max: usize, field: &'static str) -> Result<String, HandshakeError> {
        let len = usize::from(self.u8()?);
        let bytes = self.take(len)?;
        let text = std::str::from_utf8(bytes).map_err(|_| HandshakeError::Field(field))?;
        let printable = text.chars().all(|c| !c.is_control());
        if len > max || !printable { Err(HandshakeError::Field(field)) } else { Ok(text.to_owned()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::NodeSpec;
    use crate::handshake::{SNAPSHOT_LINES_PER_PACKET, SnapshotEnd, SnapshotLine, VenueOrder, VenuePosition};
    use crate::journal::Note;
    use crate::msg::{OrderState, Side};
    use crate::reason::{Mode, Scope};

    /// As many and as long names as a node may have.
    fn widest() -> NodeSpec {
        let names: Vec<String> = (0..16).map(|n| format!("{n:024}")).collect();
        NodeSpec::new(&"x".repeat(249), 86_400, 10_000, &names).unwrap()
    }

    fn resting() -> VenueOrder {
        VenueOrder {
            order_id: 1 << 48 | 5,
            key: Some(u128::MAX),
            symbol: 1,
            side: Side::Sell,
            price: Some(-7),
            qty: 8,
            cum_qty: 3,
            state: OrderState::PartiallyFilled,
        }
    }

    fn samples() -> Vec<Packet> {
        let hello = Hello {
            version: (1, 0),
            layout_hash: 77,
            role: Role::Strategy,
            paced: true,
            name: "demo".into(),
            build_id: "ringfence 0.1.0".into(),
            key: Some([7; 32]),
            ticket: Some(Ticket([9; 16])),
            last_seq: 123,
        };
        vec![
            Packet::Hello(hello.clone()),
            Packet::Hello(Hello { key: None, ticket: None, role: Role::Feed, ..hello }),
            Packet::Welcome(Welcome {
                client: 1,
                strategy: 2,
                account: 3,
                epoch: 4,
                lockstep: true,
                intents_slots: 1024,
                tape_slots: 0,
                events_slots: 4096,
                market_bytes: 8192,
                cache_bytes: 16384,
                ticket: Ticket([1; 16]),
                tape_event: 5,
                bells: 2,
            }),
            Packet::Mapped,
            Packet::Missed(vec![vec![[1; 7]], vec![[2; 7], [3; 7]]]),
            Packet::Missed(vec![vec![[u64::MAX; 7], [0; 7]]; MISSED_PER_PACKET]),
            Packet::Active { journal_position: 9 },
            Packet::Refused { code: RefusalCode::NameTaken, text: "name `demo` is taken".into() },
            Packet::Control(ControlRequest::SetMode {
                scope: Scope::Global,
                scope_id: 0,
                mode: Mode::Killed,
                cancel_orders: Some(false),
                note: Note::new("fat finger").unwrap(),
            }),
            Packet::Control(ControlRequest::Stop),
            Packet::Control(ControlRequest::Reload),
            Packet::Control(ControlRequest::SetLimit {
                scope: Scope::Symbol,
                scope_id: 3,
                limit: Note::new("price_collar").unwrap(),
                value: Note::new("250 bps").unwrap(),
            }),
            Packet::ConfigRefused { text: "the unit is missing".into() },
            Packet::Control(ControlRequest::Halt { cancel_orders: true, note: Note::EMPTY }),
            Packet::Control(ControlRequest::Rearm {
                scope: Scope::Strategy,
                scope_id: 7,
                note: Note::new(&"w".repeat(56)).unwrap(),
            }),
            Packet::Control(ControlRequest::CancelOrders {
                scope: Scope::Account,
                scope_id: 1,
                symbol: Some(3),
                note: Note::EMPTY,
            }),
            Packet::ControlDone(ControlDone { journal_seq: 4, cancelling: 5 }),
            Packet::ControlRefused(ControlRefusal::NoteRequired),
            Packet::Control(ControlRequest::Reconcile { snapshot: true }),
            Packet::Reconciled { last: false, part: vec![7; PART_BYTES] },
            Packet::Reconciled { last: true, part: Vec::new() },
            Packet::ReconcileRefused { text: "no venue of its own".into() },
            Packet::HandedOut(HandedOutMark { epoch: 7, order_id: 7 << 48 | 9 }),
            Packet::VenueSnapshot(SnapshotPart {
                number: 3,
                lines: vec![SnapshotLine::Order(resting()); SNAPSHOT_LINES_PER_PACKET],
                end: Some(SnapshotEnd { taken_ns: 1, last_order_id: 2, has_positions: true }),
            }),
            Packet::VenueSnapshot(SnapshotPart {
                number: 4,
                lines: vec![
                    SnapshotLine::Order(VenueOrder { key: None, price: None, ..resting() }),
                    SnapshotLine::Position(VenuePosition {
                        account: Some(1),
                        symbol: 2,
                        qty: -3,
                        fees_e8: Some(-4),
                    }),
                    SnapshotLine::Position(VenuePosition { account: None, symbol: 2, qty: 3, fees_e8: None }),
                ],
                end: None,
            }),
            Packet::Node(NodeRequest::Register { spec: widest(), produce: true }),
            Packet::Node(NodeRequest::Release { series: u32::MAX }),
            Packet::NodeGranted { series: 7 },
            Packet::NodeRefused { code: NodeRefusal::LeaseTaken, text: "client 3 holds the lease".into() },
        ]
    }

    #[test]
    fn every_packet_survives_the_socket() {
        for packet in samples() {
            let bytes = packet.encode();
            assert!(bytes.len() <= MAX_PACKET_BYTES);
            assert_eq!(Packet::decode(&bytes), Ok(packet));
        }
    }

    #[test]
    fn cut_extended_or_flipped_packets_never_panic_and_never_grow() {
        for packet in samples() {
            let bytes = packet.encode();
            for cut in 0..bytes.len() {
                assert!(Packet::decode(&bytes[..cut]).is_err());
            }
            let mut longer = bytes.clone();
            longer.push(0);
            assert!(Packet::decode(&longer).is_err());
            for at in 0..bytes.len() {
                let mut flipped = bytes.clone();
                flipped[at] ^= 0x80;
                let _ = Packet::decode(&flipped);
            }
        }
    }
}
