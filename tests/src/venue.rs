//! A venue of the tests' own, in a process of its own: an exchange that outlives its adapter in a file, one line for
//! everything it ever did, and the adapter that stands between it and the gate.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ringfence_ipc::handshake::{VenueOrder, VenuePosition};
use ringfence_ipc::msg::{
    Command, CommandKind, OrderId, OrderState, OrderType, Report, ReportKind, Side, SymbolId,
};
use ringfence_ipc::reason::Reason;
use ringfence_ipc::venue::{VenueClient, VenueEvent};

use crate::Dice;

/// An order as the exchange has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Terms and state.
    pub order: VenueOrder,
    /// Its newest trade.
    pub trade_id: u64,
    /// How often it was entered: more than once must never be.
    pub entered: u32,
}

/// Keeps every promise of an exchange but that of being fast.
#[derive(Debug)]
pub struct Exchange {
    log: File,
    orders: BTreeMap<OrderId, Listed>,
    trades: u64,
}

impl Exchange {
    /// As `log` has it; a new one when there is none.
    ///
    /// # Panics
    /// When the file cannot be opened or holds what no exchange wrote.
    #[must_use]
    pub fn open(log: &Path) -> Self {
        let past = std::fs::read_to_string(log).unwrap_or_default();
        let file = OpenOptions::new().create(true).append(true).open(log).expect("a log can be opened");
        let mut exchange = Self { log: file, orders: BTreeMap::new(), trades: 0 };
        // A line that was not written to its end never was.
        past.split_inclusive('\n').filter(|line| line.ends_with('\n')).for_each(|line| exchange.apply(line));
        exchange
    }

    /// Every order it ever had.
    pub fn orders(&self) -> impl Iterator<Item = &Listed> {
        self.orders.values()
    }

    /// Signed quantities by symbol.
    #[must_use]
    pub fn positions(&self) -> BTreeMap<SymbolId, i64> {
        let mut sums = BTreeMap::new();
        for Listed { order, .. } in self.orders.values() {
            *sums.entry(order.symbol).or_default() += order.side.sign() * order.cum_qty;
        }
        sums
    }

    /// First written, then done: whoever is killed in between finds it done.
    fn write(&mut self, line: &str) {
        self.log.write_all(format!("{line}\n").as_bytes()).expect("the log can be written");
        self.apply(line);
    }

    fn apply(&mut self, line: &str) {
        let (act, rest) = line.trim_end().split_once(' ').expect("an act and its numbers");
        let n: Vec<i128> = rest.split(' ').map(|text| text.parse().expect("a number")).collect();
        let id = n[0] as OrderId;
        if act == "NEW" {
            let order = VenueOrder {
                order_id: id,
                key: Some(n[5] as u128),
                symbol: n[1] as SymbolId,
                side: if n[2] == 0 { Side::Buy } else { Side::Sell },
                price: Some(n[3] as i64),
                qty: n[4] as i64,
                cum_qty: 0,
                state: OrderState::Accepted,
            };
            let entered = self.orders.get(&id).map_or(0, |listed| listed.entered) + 1;
            self.orders.insert(id, Listed { order, trade_id: 0, entered });
            return;
        }
        let listed = self.orders.get_mut(&id).expect("an order of this exchange");
        let order = &mut listed.order;
        match act {
            "CANCEL" => order.state = OrderState::Cancelled,
            "EXPIRE" => order.state = OrderState::Expired,
            "AMEND" => (order.price, order.qty) = (Some(n[1] as i64), n[2] as i64),
            "FILL" => {
                self.trades = n[2] as u64;
                listed.trade_id = self.trades;
                order.cum_qty += n[1] as i64;
                let full = order.cum_qty >= order.qty;
                order.state = if full { OrderState::Filled } else { OrderState::PartiallyFilled };
            }
            other => panic!("no exchange does `{other}`"),
        }
    }

    /// Does what is commanded, whatever it is; says what it answers.
    pub fn execute(&mut self, command: &Command) -> Vec<Report> {
        let id = command.order_id;
        let working = self.orders.get(&id).filter(|listed| !listed.order.state.is_terminal()).copied();
        match (command.kind, working) {
            (CommandKind::New | CommandKind::Reenter, _) => {
                let Command { symbol, side, price, qty, key, .. } = command;
                self.write(&format!("NEW {id} {symbol} {} {price} {qty} {key}", *side as u8));
                if command.order_type == OrderType::Market {
                    self.write(&format!("EXPIRE {id}"));
                    return vec![report(id, ReportKind::Expired)];
                }
                vec![report(id, ReportKind::Accepted)]
            }
            (CommandKind::Cancel, Some(_)) => {
                self.write(&format!("CANCEL {id}"));
                vec![report(id, ReportKind::Cancelled)]
            }
            (CommandKind::Amend, Some(Listed { order, .. })) if command.qty > order.cum_qty => {
                self.write(&format!("AMEND {id} {} {}", command.price, command.qty));
                let (price, leaves_qty) = (command.price, command.qty - order.cum_qty);
                let amended = report(id, ReportKind::Amended);
                vec![Report { last_price: price, cum_qty: order.cum_qty, leaves_qty, ..amended }]
            }
            (CommandKind::Cancel | CommandKind::Amend, _) => vec![report(id, ReportKind::CancelRejected)],
            (CommandKind::Query, _) => self.recount(id),
        }
    }

    /// What an order is now, its fills first.
    fn recount(&self, id: OrderId) -> Vec<Report> {
        let Some(listed) = self.orders.get(&id) else {
            return vec![Report { reason: Reason::VenueReject, ..report(id, ReportKind::Rejected) }];
        };
        let mut told = Vec::new();
        if listed.order.cum_qty > 0 {
            told.push(fill(listed, listed.order.cum_qty));
        }
        told.extend(match listed.order.state {
            OrderState::Cancelled => Some(report(id, ReportKind::Cancelled)),
            OrderState::Expired => Some(report(id, ReportKind::Expired)),
            OrderState::Filled => None,
            _ => Some(report(id, ReportKind::Accepted)),
        });
        told
    }

    /// Somebody trades with one of the orders.
    pub fn trade(&mut self, dice: &mut Dice) -> Option<Report> {
        let working: Vec<OrderId> =
            self.orders.values().filter(|l| !l.order.state.is_terminal()).map(|l| l.order.order_id).collect();
        let id = *working.get(dice.below(working.len().max(1) as u64) as usize)?;
        let order = self.orders[&id].order;
        let qty = 1 + dice.below((order.qty - order.cum_qty) as u64) as i64;
        self.write(&format!("FILL {id} {qty} {}", self.trades + 1));
        Some(fill(&self.orders[&id], qty))
    }

    fn positions_told(&self) -> Vec<VenuePosition> {
        let positions = self.positions().into_iter();
        positions.map(|(symbol, qty)| VenuePosition { account: None, symbol, qty, fees_e8: None }).collect()
    }
}

/// A report of this kind about an order.
#[must_use]
pub fn report(order_id: OrderId, kind: ReportKind) -> Report {
    Report { kind, order_id, ..Report::snapshot_mark(0) }
}

fn fill(listed: &Listed, last_qty: i64) -> Report {
    let order = &listed.order;
    Report {
        side: order.side,
        symbol: order.symbol,
        last_qty,
        last_price: order.price.unwrap_or(0),
        cum_qty: order.cum_qty,
        trade_id: listed.trade_id,
        leaves_qty: order.qty - order.cum_qty,
        ..report(order.order_id, ReportKind::Fill)
    }
}

/// The adapter: carries commands to the exchange and its word to the gate until told to stop; trades go on while the
/// gate is away, and end once `quiet` is there.
///
/// # Panics
/// When it is refused for good.
pub fn serve(mut client: VenueClient, exchange: &mut Exchange, seed: u64, quiet: &Path, stop: &AtomicBool) {
    let mut dice = Dice::new(seed);
    let mut looks = 0_u64;
    let mut trades = true;
    while !stop.load(Ordering::Relaxed) {
        looks += 1;
        if looks.is_multiple_of(64) {
            trades = !quiet.exists();
        }
        if trades
            && dice.below(8) == 0
            && let Some(trade) = exchange.trade(&mut dice)
        {
            client.report(&trade).expect("a gate comes back in time");
        }
        match client.poll() {
            Some(VenueEvent::Command(command)) => {
                for answer in exchange.execute(&command) {
                    client.report(&answer).expect("a gate comes back in time");
                }
            }
            Some(VenueEvent::Snapshot(number)) => {
                let orders: Vec<VenueOrder> = exchange.orders().map(|listed| listed.order).collect();
                let positions = exchange.positions_told();
                let now_ns = client.now_ns();
                let last = client.handed_out().map_or(0, |mark| mark.order_id);
                // A gate that died meanwhile asks again.
                let _ = client.answer_snapshot(number, now_ns, last, &orders, Some(&positions));
            }
            Some(VenueEvent::Lost) => {
                assert_eq!(client.fault(), None, "the gate keeps the protocol");
                client.reattach(Duration::from_secs(30)).expect("the gate takes its adapter back");
            }
            None => std::thread::sleep(Duration::from_micros(100)),
        }
    }
}
