//! The client order id: the gate's order id in a form that the venue takes, and back.

use ringfence_ipc::msg::OrderId;

/// An order at the venue. A replacement of an order is another order there: the next generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ClientId {
    pub(crate) order_id: OrderId,
    pub(crate) generation: u16,
}

impl ClientId {
    /// `rf-<order id, 16 hex digits>-<generation, hex>`: at most 24 of the 36 characters allowed.
    pub(crate) fn text(self) -> String {
        format!("rf-{:016x}-{:x}", self.order_id, self.generation)
    }

    /// What [`ClientId::text`] wrote; `None` for everybody else's ids.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (order_id, generation) = text.strip_prefix("rf-")?.split_once('-')?;
        let id = Self {
            order_id: u64::from_str_radix(order_id, 16).ok()?,
            generation: u16::from_str_radix(generation, 16).ok()?,
        };
        (id.text() == text).then_some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_comes_back_as_it_went() {
        for (order_id, generation) in [(0, 0), (1 << 48 | 7, 1), (u64::MAX, u16::MAX)] {
            let id = ClientId { order_id, generation };
            assert!(id.text().len() <= 36);
            assert_eq!(ClientId::parse(&id.text()), Some(id));
        }
    }

    #[test]
    fn ids_of_others_are_not_ours() {
        for text in [
            "",
            "rf-",
            "web_123",
            "rf-7-0",
            "rf-0000000000000007-00",
            "rf-000000000000000g-0",
            "rf-+000000000000007-0",
        ] {
            assert_eq!(ClientId::parse(text), None, "{text}");
        }
    }
}
