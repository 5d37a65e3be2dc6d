//! Journal records for people: one line each, names instead of ids, decimals instead of scaled integers.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use anyhow::Context as _;
use ringfence_ipc::journal::chained::ArchiveScan;
use ringfence_ipc::journal::checkpoint::{Checkpoint, CheckpointError, Part, StrategyPart, SymbolPart};
use ringfence_ipc::journal::{DecisionRecord, Record, SegmentDir, StrategyRecord};
use ringfence_ipc::msg::{IntentKind, Key, OrderId, OrderType, Outcome, Report, ReportKind};
use ringfence_ipc::reason::Reason;
use ringfence_ipc::symbol::{Symbol, format_scaled};

use crate::export;

/// What ids mean.
#[derive(Default)]
pub struct Names {
    symbols: HashMap<u16, Symbol>,
    strategies: HashMap<u16, String>,
}

impl Names {
    /// Those that a checkpoint knows.
    ///
    /// # Errors
    /// When a part cannot be read.
    pub fn of(saved: &Checkpoint) -> Result<Self, CheckpointError> {
        let mut names = Self::default();
        for item in saved.items(Part::Symbols) {
            let part = SymbolPart::decode(&item)?;
            names.symbols.insert(part.id, part.symbol);
        }
        for item in saved.items(Part::Strategies) {
            let StrategyPart { strategy, account, name, .. } = StrategyPart::decode(&item)?;
            names.learn(&Record::Strategy(StrategyRecord { strategy, account, name, now_ns: 0 }));
        }
        Ok(names)
    }

    /// Takes what a record says about names.
    pub fn learn(&mut self, record: &Record) {
        match record {
            Record::Symbol { id, symbol } => drop(self.symbols.insert(*id, *symbol)),
            Record::Strategy(s) => drop(self.strategies.insert(s.strategy, s.name().to_owned())),
            _ => {}
        }
    }

    fn symbol(&self, id: u16) -> String {
        self.symbols.get(&id).map_or_else(|| format!("symbol#{id}"), |symbol| symbol.name().to_owned())
    }

    fn strategy(&self, id: u16) -> String {
        self.strategies.get(&id).cloned().unwrap_or_else(|| format!("strategy#{id}"))
    }

    fn price(&self, symbol: u16, value: i64) -> String {
        format_scaled(value.into(), self.symbols.get(&symbol).map_or(0, |s| s.price_scale))
    }

    fn qty(&self, symbol: u16, value: i64) -> String {
        format_scaled(value.into(), self.symbols.get(&symbol).map_or(0, |s| s.qty_scale))
    }
}

/// Which records are asked for.
pub struct Wanted {
    key: Option<Key>,
    client_order_id: Option<String>,
    orders: HashSet<OrderId>,
    all: bool,
}

impl Wanted {
    /// From the arguments.
    ///
    /// # Errors
    /// When the key is none.
    pub fn parse(order: Option<&str>, key: Option<&str>) -> anyhow::Result<Self> {
        let key = key.map(|text| Key::from_str_radix(text, 16)).transpose();
        let key = key.context("--key takes up to 32 hex digits, as `journal export` prints them")?;
        let id = order.and_then(|text| match text.strip_prefix("0x") {
            Some(hex) => OrderId::from_str_radix(hex, 16).ok(),
            None => text.parse().ok(),
        });
        Ok(Self {
            all: key.is_none() && order.is_none(),
            key,
            client_order_id: order.map(str::to_owned),
            orders: id.into_iter().collect(),
        })
    }

    /// Whether `record` is one of them. An order that a decision names is followed from there on.
    pub fn takes(&mut self, record: &Record) -> bool {
        if self.all {
            return true;
        }
        match record {
            Record::Decision(d) => {
                let named = d.ext.as_ref().is_some_and(|ext| {
                    self.client_order_id.as_deref().is_some_and(|id| ext.client_order_id() == id)
                });
                let target =
                    d.intent.kind != IntentKind::New && self.orders.contains(&d.intent.ttl_ns_or_target);
                let ours = named
                    || self.key == Some(d.intent.key)
                    || (d.order_id != 0 && self.orders.contains(&d.order_id))
                    || target;
                if ours && d.order_id != 0 {
                    self.orders.insert(d.order_id);
                }
                ours
            }
            Record::Report(report) => self.orders.contains(&report.order_id),
            Record::Stray(stray) => self.orders.contains(&stray.order_id),
            _ => false,
        }
    }
}

/// One record as one line.
#[must_use]
pub fn line(names: &Names, position: u64, record: &Record) -> String {
    let (now_ns, text) = match record {
        Record::Boot(b) => (b.now_ns, format!("boot       epoch {}, {}", b.epoch, export::text(&b.build_id))),
        Record::Capacity(c) => {
            (c.now_ns, format!("capacity   {} order slots, {} positions", c.order_slots, c.max_positions))
        }
        Record::Symbol { id, symbol } => (0, format!("symbol     {id} is {}", symbol.name())),
        Record::Strategy(s) => {
            (s.now_ns, format!("strategy   {} is {}, account {}", s.strategy, s.name(), s.account))
        }
        Record::Attach(a) => {
            let what = if a.detached { "left" } else { "came" };
            let who = format!("client {} as {} (pid {}, uid {})", a.client, a.role.name(), a.pid, a.uid);
            (a.now_ns, format!("attach     {who} {what}"))
        }
        Record::Config(c) => {
            let text = format!(
                "config     version {} ({}), {} limits follow",
                c.version,
                c.origin.name(),
                c.changes
            );
            (c.now_ns, text)
        }
        Record::Limit(l) => {
            (l.now_ns, format!("limit      {} {} {} = {}", l.scope, l.scope_id, l.limit, l.value))
        }
        Record::Control(c) => {
            let told = export::control_json(c);
            (c.now_ns, format!("control    {} {} {told}", c.scope, c.scope_id))
        }
        Record::Mark(m) => {
            let price = |value| names.price(m.symbol, value);
            let (bid, ask, last) = (price(m.bid_price), price(m.ask_price), price(m.last_price));
            (m.now_ns, format!("mark       {} bid {bid} ask {ask} last {last}", names.symbol(m.symbol)))
        }
        Record::Decision(d) => (d.now_ns, decision(names, d)),
        Record::Report(r) => (r.ts_ns, report(names, r)),
        Record::Stray(s) => {
            let (qty, price) = (names.qty(s.symbol, s.qty), names.price(s.symbol, s.price));
            let (side, symbol) = (s.side.name(), names.symbol(s.symbol));
            let text = format!("STRAY      order {:#x} {side} {symbol} {qty} @ {price}", s.order_id);
            (s.now_ns, format!("{text}, trade {}: in no position", s.trade_id))
        }
        Record::Close(c) => {
            let hash = export::hex(&c.state_hash[..8]);
            (c.now_ns, format!("close      state {hash}.., {} market events", c.market_events))
        }
    };
    format!("{position:>12} {} {text}", time(now_ns))
}

fn decision(names: &Names, d: &DecisionRecord) -> String {
    let (i, symbol) = (&d.intent, d.intent.symbol);
    let kind = i.kind.name();
    let what = match i.kind {
        IntentKind::New | IntentKind::Amend => {
            let price = match i.order_type {
                OrderType::Market => "market".to_owned(),
                OrderType::Limit => names.price(symbol, i.price),
            };
            let (side, qty) = (i.side.name(), names.qty(symbol, i.qty));
            format!("{kind} {side} {qty} {} @ {price} {}", names.symbol(symbol), i.tif.name())
        }
        IntentKind::ForceFlat => format!("{kind} {}", names.symbol(symbol)),
        IntentKind::Cancel | IntentKind::MassCancel => kind.to_owned(),
    };
    let answer = match d.outcome {
        Outcome::Accepted => format!("accepted, order {:#x}", d.order_id),
        Outcome::Rejected => {
            format!("rejected {} ({} {} > {})", d.reason, d.limit_id, d.observed, d.limit)
        }
    };
    let id = d.ext.as_ref().map(|ext| format!(" id {}", ext.client_order_id())).unwrap_or_default();
    format!("decision   {} {what}: {answer}{id} key {:032x}", names.strategy(d.strategy), i.key)
}

fn report(names: &Names, r: &Report) -> String {
    let fill = if r.kind == ReportKind::Fill {
        let (qty, price) = (names.qty(r.symbol, r.last_qty), names.price(r.symbol, r.last_price));
        format!(" {qty} @ {price}, fee {}", format_scaled(r.fee_e8.into(), 8))
    } else {
        String::new()
    };
    let overfill = r.reason == Reason::Overfill;
    let flags = [(r.late, " late"), (r.reentered, " re-entered"), (overfill, " OVERFILL")];
    let flags: String = flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
    format!(
        "report     order {:#x} {} {}{fill}{flags}, now {} with {} filled and {} left",
        r.order_id,
        r.kind.name(),
        names.symbol(r.symbol),
        r.state.name(),
        names.qty(r.symbol, r.cum_qty),
        names.qty(r.symbol, r.leaves_qty),
    )
}

/// Gate time as UTC time of day; blank where a record has none.
fn time(now_ns: u64) -> String {
    if now_ns == 0 {
        return " ".repeat(18);
    }
    let (s, ns) = (now_ns / 1_000_000_000, now_ns % 1_000_000_000);
    format!("{:02}:{:02}:{:02}.{ns:09}", s / 3600 % 24, s / 60 % 60, s % 60)
}

/// The checksum chain of the archive at `position`, if it reaches so far.
#[must_use]
pub fn chain_at(dir: &Path, position: u64) -> Option<u32> {
    ArchiveScan::new(SegmentDir::new(dir)).ok()?.seek(position).ok()?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_named_by_client_id_hex_or_decimal() {
        for (text, id) in [("0xff", Some(255)), ("255", Some(255)), ("web-1", None)] {
            let wanted = Wanted::parse(Some(text), None).unwrap();
            assert_eq!(wanted.orders.iter().next().copied(), id, "{text}");
            assert_eq!(wanted.client_order_id.as_deref(), Some(text));
        }
        assert!(Wanted::parse(None, Some("xyz")).is_err());
        assert_eq!(Wanted::parse(None, Some("0f")).unwrap().key, Some(15));
        assert!(Wanted::parse(None, None).unwrap().all);
    }

    #[test]
    fn time_is_the_time_of_day() {
        assert_eq!(time(86_400_000_000_000 + 3_661_000_000_005), "01:01:01.000000005");
        assert_eq!(time(0).len(), time(1).len());
    }
}
