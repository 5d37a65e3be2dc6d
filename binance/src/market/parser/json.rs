//! The JSON of Binance's messages, read in one pass into borrowed fields.

use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use std::fmt;

/// A line: a stream message, or a REST snapshot without a stream name.
#[derive(Debug, Deserialize)]
pub(super) struct Line<'a> {
    #[serde(borrow)]
    pub(super) stream: Option<&'a str>,
    #[serde(borrow)]
    pub(super) data: Option<Data<'a>>,
    #[serde(rename = "lastUpdateId")]
    pub(super) last_update_id: Option<u64>,
    #[serde(borrow)]
    pub(super) bids: Option<Vec<(&'a str, &'a str)>>,
    #[serde(borrow)]
    pub(super) asks: Option<Vec<(&'a str, &'a str)>>,
}

/// The fields of all three streams; which of them are there depends on the stream.
#[derive(Debug, Deserialize)]
pub(super) struct Data<'a> {
    #[serde(rename = "s")]
    pub(super) symbol: Option<&'a str>,
    #[serde(rename = "U")]
    pub(super) first_update_id: Option<u64>,
    #[serde(rename = "u")]
    pub(super) update_id: Option<u64>,
    #[serde(rename = "b", borrow)]
    pub(super) bid: Option<SideField<'a>>,
    #[serde(rename = "B")]
    pub(super) bid_qty: Option<&'a str>,
    #[serde(rename = "a", borrow)]
    pub(super) ask: Option<SideField<'a>>,
    #[serde(rename = "A")]
    pub(super) ask_qty: Option<&'a str>,
    #[serde(rename = "t")]
    pub(super) trade_id: Option<u64>,
    #[serde(rename = "p")]
    pub(super) price: Option<&'a str>,
    #[serde(rename = "q")]
    pub(super) qty: Option<&'a str>,
    #[serde(rename = "m")]
    pub(super) buyer_was_maker: Option<bool>,
}

/// `b` and `a` are a price in a book ticker and levels in a depth update.
#[derive(Debug)]
pub(super) enum SideField<'a> {
    Price(&'a str),
    Levels(Vec<(&'a str, &'a str)>),
}

impl<'de: 'a, 'a> Deserialize<'de> for SideField<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SideVisitor)
    }
}

struct SideVisitor;

impl<'de> Visitor<'de> for SideVisitor {
    type Value = SideField<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a price or a list of [price, quantity]")
    }

    fn visit_borrowed_str<E: Error>(self, price: &'de str) -> Result<Self::Value, E> {
        Ok(SideField::Price(price))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut levels = Vec::new();
        while let Some(level) = seq.next_element()? {
            levels.push(level);
        }
        Ok(SideField::Levels(levels))
    }
}
