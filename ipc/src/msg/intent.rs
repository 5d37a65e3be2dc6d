//! What a strategy asks for.

use super::{
    AccountId, DecodeError, OrderId, OrderType, PAYLOAD_WORDS, Side, StrategyId, SymbolId, Tif, Words, bits,
    enum_field, kind, wire_enum,
};

/// An idempotency key: chosen by the client, unique per strategy inside the dedup window. 0 means "no key".
pub type Key = u128;

/// Bits of an intent's `flags`.
pub mod flags {
    /// A cancel or amend that names its order by the key in the price and quantity words, not by order id.
    pub const BY_KEY: u16 = 1;
    /// A limit order that must rest: a venue that would fill it at once expires it instead.
    pub const POST_ONLY: u16 = 2;
    /// An operator's intent: one [`super::OperatorExt`] slot follows.
    pub const OPERATOR: u16 = 4;
    /// Every defined flag.
    pub const ALL: u16 = BY_KEY | POST_ONLY | OPERATOR;
}

wire_enum! {
    /// What an intent asks for.
    IntentKind {
        /// A new order.
        New = 1,
        /// Cancel one order.
        Cancel = 2,
        /// Change price and quantity of one order.
        Amend = 3,
        /// Cancel every order of the strategy.
        MassCancel = 4,
        /// Cancel the strategy's orders in the symbol and trade its position there to zero.
        ForceFlat = 5,
    }
}

impl IntentKind {
    /// Its stable name, as journals and order events write it for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Cancel => "cancel",
            Self::Amend => "amend",
            Self::MassCancel => "mass_cancel",
            Self::ForceFlat => "force_flat",
        }
    }
}

/// One order intent, 56 bytes.
///
/// ```text
///  word 0: kind u8 | side u8 | order_type u8 | tif u8 | flags u16 | symbol u16
///  word 1: key, low half          word 2: key, high half
///  word 3: price i64 (BY_KEY cancel: target key, low half)
///  word 4: quantity i64 (BY_KEY cancel: target key, high half)
///  word 5: client timestamp, ns
///  word 6: new: time to live, ns (0 = none); cancel, amend: target order id
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intent {
    /// What is asked.
    pub kind: IntentKind,
    /// Buy or sell; for cancels of no meaning.
    pub side: Side,
    /// Limit or market.
    pub order_type: OrderType,
    /// Time in force.
    pub tif: Tif,
    /// Bits of [`flags`].
    pub flags: u16,
    /// Index into the symbol table.
    pub symbol: SymbolId,
    /// Idempotency key.
    pub key: Key,
    /// Limit price, scaled by the symbol's `price_scale`; 0 for market orders.
    pub price: i64,
    /// Quantity, scaled by the symbol's `qty_scale`; for amends the new total quantity.
    pub qty: i64,
    /// When the client made the intent, gate time ns. A resend keeps it.
    pub client_ts_ns: u64,
    /// See the layout: time to live in ns, or the target order id.
    pub ttl_ns_or_target: u64,
}

impl Intent {
    /// A good-till-cancelled limit order without time to live.
    #[must_use]
    pub const fn limit(
        symbol: SymbolId,
        side: Side,
        price: i64,
        qty: i64,
        key: Key,
        client_ts_ns: u64,
    ) -> Self {
        Self {
            kind: IntentKind::New,
            side,
            order_type: OrderType::Limit,
            tif: Tif::Gtc,
            flags: 0,
            symbol,
            key,
            price,
            qty,
            client_ts_ns,
            ttl_ns_or_target: 0,
        }
    }

    /// A cancel of the order with id `target`.
    #[must_use]
    pub const fn cancel(symbol: SymbolId, target: OrderId, key: Key, client_ts_ns: u64) -> Self {
        let mut intent = Self::limit(symbol, Side::Buy, 0, 0, key, client_ts_ns);
        intent.kind = IntentKind::Cancel;
        intent.ttl_ns_or_target = target;
        intent
    }

    /// A cancel of the order that was asked for under `target`, whether the gate has seen it yet or not.
    #[must_use]
    pub const fn cancel_by_key(symbol: SymbolId, target: Key, key: Key, client_ts_ns: u64) -> Self {
        let mut intent = Self::cancel(symbol, 0, key, client_ts_ns);
        intent.flags = flags::BY_KEY;
        intent.price = target as u64 as i64;
        intent.qty = (target >> 64) as u64 as i64;
        intent
    }

    /// The key that a `BY_KEY` cancel names.
    #[must_use]
    pub const fn target_key(&self) -> Key {
        (self.price as u64 as u128) | ((self.qty as u64 as u128) << 64)
    }

    /// To the wire.
    #[must_use]
    pub const fn encode(&self) -> Words {
        [
            self.kind as u64
                | (self.side as u64) << 8
                | (self.order_type as u64) << 16
                | (self.tif as u64) << 24
                | (self.flags as u64) << 32
                | (self.symbol as u64) << 48,
            self.key as u64,
            (self.key >> 64) as u64,
            self.price as u64,
            self.qty as u64,
            self.client_ts_ns,
            self.ttl_ns_or_target,
        ]
    }

    /// From the wire.
    ///
    /// # Errors
    /// [`DecodeError`] on an unknown kind, an enum out of range or an undefined flag.
    #[inline]
    pub fn decode(w: &Words) -> Result<Self, DecodeError> {
        let kind = IntentKind::from_wire(bits(w[0], 0, 8)).ok_or(DecodeError::UnknownKind(w[0] as u8))?;
        let flags = bits(w[0], 32, 16) as u16;
        if flags & !flags::ALL != 0 {
            return Err(DecodeError::BadEnum { field: "flags", value: u64::from(flags) });
        }
        Ok(Self {
            kind,
            side: enum_field!(Side, w[0], 8, 8, "side"),
            order_type: enum_field!(OrderType, w[0], 16, 8, "order_type"),
            tif: enum_field!(Tif, w[0], 24, 8, "tif"),
            flags,
            symbol: bits(w[0], 48, 16) as u16,
            key: key_of(w),
            price: w[3] as i64,
            qty: w[4] as i64,
            client_ts_ns: w[5],
            ttl_ns_or_target: w[6],
        })
    }
}

/// The idempotency key of an intent that is not decoded yet (steps 1 to 3 need no more than header and key).
#[must_use]
pub const fn key_of(w: &Words) -> Key {
    (w[1] as u128) | ((w[2] as u128) << 64)
}

/// The longest client order id, bytes (Binance's `newClientOrderId` allows as many).
pub const CLIENT_ORDER_ID_BYTES: usize = 36;

/// The second slot of an operator's intent: for whom it is, and the id the HTTP user gave it.
///
/// ```text
///  word 0: kind u8 = OPERATOR_EXT | id length u8 | strategy u16 | account u16 | reserved u16
///  words 1..=5: client order id, ASCII, zero-padded (36 of 40 bytes)      word 6: correlation id
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperatorExt {
    /// The strategy that the intent is decided and booked for.
    pub strategy: StrategyId,
    /// The account that the strategy must belong to.
    pub account: AccountId,
    /// The client order id's bytes; `client_order_id_len` of them count.
    pub client_order_id: [u8; CLIENT_ORDER_ID_BYTES],
    /// How many bytes of `client_order_id` count, 0..=36.
    pub client_order_id_len: u8,
    /// Ties the HTTP request's audit record to the journal record.
    pub correlation_id: u64,
}

impl OperatorExt {
    /// For `strategy` under `client_order_id`.
    ///
    /// # Errors
    /// [`DecodeError::BadText`] when the id is longer than 36 bytes or not printable ASCII.
    pub fn new(
        strategy: StrategyId,
        account: AccountId,
        client_order_id: &str,
        correlation_id: u64,
    ) -> Result<Self, DecodeError> {
        let id = client_order_id.as_bytes();
        if id.len() > CLIENT_ORDER_ID_BYTES || !id.iter().all(u8::is_ascii_graphic) {
            return Err(DecodeError::BadText("client_order_id"));
        }
        let mut bytes = [0; CLIENT_ORDER_ID_BYTES];
        bytes[..id.len()].copy_from_slice(id);
        Ok(Self {
            strategy,
            account,
            client_order_id: bytes,
            client_order_id_len: id.len() as u8,
            correlation_id,
        })
    }

    /// The client order id as text.
    #[must_use]
    pub fn client_order_id(&self) -> &str {
        let len = usize::from(self.client_order_id_len).min(CLIENT_ORDER_ID_BYTES);
        std::str::from_utf8(&self.client_order_id[..len]).unwrap_or("")
    }

    /// To the wire.
    #[must_use]
    pub fn encode(&self) -> Words {
        let mut w = [0; PAYLOAD_WORDS];
        w[0] = u64::from(kind::OPERATOR_EXT)
            | u64::from(self.client_order_id_len) << 8
            | u64::from(self.strategy) << 16
            | u64::from(self.account) << 32;
        for (i, byte) in self.client_order_id.iter().enumerate() {
            w[1 + i / 8] |= u64::from(*byte) << (i % 8 * 8);
        }
        w[6] = self.correlation_id;
        w
    }

    /// From the wire.
    ///
    /// # Errors
    /// [`DecodeError`] on another kind, an over-long id, bytes that are not printable ASCII or not zero after it.
    pub fn decode(w: &Words) -> Result<Self, DecodeError> {
        if w[0] as u8 != kind::OPERATOR_EXT {
            return Err(DecodeError::UnknownKind(w[0] as u8));
        }
        if bits(w[0], 48, 16) != 0 {
            return Err(DecodeError::Reserved(0));
        }
        let len = bits(w[0], 8, 8) as usize;
        let byte = |i: usize| (w[1 + i / 8] >> (i % 8 * 8)) as u8;
        let valid = len <= CLIENT_ORDER_ID_BYTES
            && (0..len).all(|i| byte(i).is_ascii_graphic())
            && (len..40).all(|i| byte(i) == 0);
        if !valid {
            return Err(DecodeError::BadText("client_order_id"));
        }
        let mut client_order_id = [0; CLIENT_ORDER_ID_BYTES];
        for (i, b) in client_order_id.iter_mut().enumerate() {
            *b = byte(i);
        }
        Ok(Self {
            strategy: bits(w[0], 16, 16) as u16,
            account: bits(w[0], 32, 16) as u16,
            client_order_id,
            client_order_id_len: len as u8,
            correlation_id: w[6],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intent_survives_the_wire() {
        let intent = Intent {
            tif: Tif::Ioc,
            flags: flags::POST_ONLY,
            ..Intent::limit(7, Side::Sell, -5, i64::MAX, u128::MAX - 9, 42)
        };
        assert_eq!(Intent::decode(&intent.encode()), Ok(intent));
        let cancel = Intent::cancel_by_key(3, 0x1234_5678_9abc_def0_0fed_cba9_8765_4321, 5, 6);
        assert_eq!(
            Intent::decode(&cancel.encode()).unwrap().target_key(),
            0x1234_5678_9abc_def0_0fed_cba9_8765_4321
        );
    }

    #[test]
    fn undefined_numbers_are_refused() {
        let good = Intent::limit(0, Side::Buy, 1, 1, 1, 1).encode();
        for (at, field) in [(8, "side"), (16, "order_type"), (24, "tif"), (32, "flags")] {
            let mut w = good;
            w[0] |= 0x80 << at;
            assert!(matches!(Intent::decode(&w), Err(DecodeError::BadEnum { field: f, .. }) if f == field));
        }
        let mut w = good;
        w[0] = (w[0] & !0xff) | 0xee;
        assert_eq!(Intent::decode(&w), Err(DecodeError::UnknownKind(0xee)));
    }

    #[test]
    fn operator_ext_survives_the_wire_and_refuses_hidden_bytes() {
        let ext = OperatorExt::new(3, 1, "web-000123/A:b.c_d-eeeeeeeeeeeeeeeee", 99).unwrap();
        assert_eq!(OperatorExt::decode(&ext.encode()), Ok(ext));
        let mut w = OperatorExt::new(3, 1, "abc", 99).unwrap().encode();
        w[5] = 1;
        assert_eq!(OperatorExt::decode(&w), Err(DecodeError::BadText("client_order_id")));
        assert!(OperatorExt::new(0, 0, &"x".repeat(37), 0).is_err());
    }
}
