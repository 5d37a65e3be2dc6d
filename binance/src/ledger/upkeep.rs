//! Lost and found: what happens to all orders at once.

use super::order::{Doubt, Order, is_open};
use super::{Ledger, Mode};
use crate::wire::OrderInfo;
use ringfence_ipc::msg::OrderId;
use std::collections::HashMap;

impl Ledger {
    /// Events are missing from here on: what the orders are is unknown until it is compared.
    pub(crate) fn lost(&mut self, now_ms: u64) {
        if self.mode == Mode::Lost {
            return;
        }
        self.mode = Mode::Lost;
        self.each_open(now_ms, |ledger, order| ledger.unknown(order, now_ms));
    }

    /// Events arrive again; orders are compared before trading resumes.
    pub(crate) fn reconciling(&mut self) {
        self.mode = Mode::Reconciling;
    }

    /// Everything is compared.
    pub(crate) fn trading(&mut self) {
        self.mode = Mode::Trading;
    }

    fn each_open(&mut self, now_ms: u64, mut change: impl FnMut(&mut Self, &mut Order)) {
        let mut open: Vec<OrderId> =
            self.orders.values().filter(|o| !o.ended).map(|o| o.command.order_id).collect();
        open.sort_unstable();
        for id in open {
            self.with(id, now_ms, |ledger, order| change(ledger, order));
        }
    }

    /// The venue's open orders, as of a question sent at `sent_ms`. An order that should be there and is not, is asked for.
    pub(crate) fn compare(&mut self, open: &[OrderInfo], sent_ms: u64, now_ms: u64) {
        let mut listed: HashMap<OrderId, (u16, &OrderInfo)> = HashMap::new();
        self.counts.strays = 0;
        for info in open {
            let Some(id) = Self::ours(info) else { continue };
            if self.orders.contains_key(&id.order_id) {
                let newest = listed.entry(id.order_id).or_insert((id.generation, info));
                if id.generation >= newest.0 {
                    *newest = (id.generation, info);
                }
            } else {
                self.counts.strays += 1;
            }
        }
        let absent_until_ms = self.absent_after(sent_ms);
        self.each_open(now_ms, |ledger, order| {
            // Whatever is under way says more than a list that is older.
            if order.doing.is_some() || order.doubt != Doubt::None {
                return;
            }
            match listed.get(&order.command.order_id) {
                Some((generation, info)) if *generation == order.generation && is_open(info) => {
                    ledger.observe(order, info, now_ms);
                }
                _ if order.touched_ms < sent_ms => {
                    order.absent_until_ms = order.absent_until_ms.max(absent_until_ms);
                    order.doubt(Doubt::State, now_ms);
                }
                _ => {}
            }
        });
    }
}
