//! An adapter beside the mock, and what the adapter told, compared with what the venue has.

use super::server::{API_KEY, Mock, Verifier};
use super::venue::text;
use ringfence_binance::{Ask, Balances, Config, Key, Phase, Ports, Status, Told, run};
use ringfence_ipc::handshake::VenueOrder;
use ringfence_ipc::msg::{Command, CommandKind, OrderState, OrderType, Report, ReportKind, Side, Tif};
use ringfence_ipc::reason::Reason;
use ringfence_ipc::symbol::Symbol;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);
const SECRET: &str = "mock-secret";
/// The gate's life.
pub const EPOCH: u16 = 3;

/// The symbols traded: prices in cents, quantities in 1e-5.
#[must_use]
pub fn symbols() -> Vec<Symbol> {
    ["BTCUSDT", "ETHUSDT"].iter().map(|name| Symbol::new(name, 2, 5, 1, 1).expect("a symbol")).collect()
}

/// What HMAC signs with here.
#[must_use]
pub fn hmac() -> Verifier {
    Verifier::Hmac(SECRET.to_owned())
}

/// A configuration for the mock with short times.
#[must_use]
pub fn config(mock: &Mock) -> Config {
    let mut config = Config::testnet(Key::hmac(API_KEY, SECRET.into()));
    config.rest_url = format!("http://{}", mock.address);
    config.ws_api_url = format!("ws://{}/ws-api/v3", mock.address);
    config.stream_url = format!("ws://{}", mock.address);
    config.recv_window_ms = 1_000;
    config.request_timeout = Duration::from_millis(700);
    config.gap_patience = Duration::from_millis(50);
    config.sweep_interval = Duration::from_millis(400);
    config.reconnect_pause = Duration::from_millis(20);
    config
}

/// An adapter that runs.
#[derive(Debug)]
pub struct Rig {
    /// The venue.
    pub mock: Mock,
    asks: mpsc::Sender<Ask>,
    tells: mpsc::Receiver<Told>,
    /// Every report told so far.
    pub told: Vec<Report>,
    /// The newest snapshot.
    pub snapshot: Vec<VenueOrder>,
    /// What the adapter says of itself.
    pub status: watch::Receiver<Status>,
    balances: watch::Receiver<Balances>,
    sequence: u64,
    entered: BTreeMap<u64, Command>,
    /// Orders of before a wipe: nothing at the venue can be compared with them.
    forgotten: BTreeSet<u64>,
}

/// An order as the reports tell it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Seen {
    status: &'static str,
    /// Trade id, price, quantity.
    fills: BTreeSet<(u64, String, String)>,
}

impl Rig {
    /// Starts an adapter and waits until it trades.
    pub async fn start(mock: &Mock, config: Config) -> Self {
        let (asks, ask_end) = mpsc::channel(64);
        let (told_end, tells) = mpsc::channel(64);
        let epoch = watch::Sender::new(EPOCH).subscribe();
        let (status_end, status) = watch::channel(Status::default());
        let (balance_end, balances) = watch::channel(Balances::default());
        let ports = Ports { asks: ask_end, told: told_end, epoch, status: status_end, balances: balance_end };
        tokio::spawn(async move { run(config, &symbols(), ports).await.expect("a start") });
        let mut rig = Self {
            mock: mock.clone(),
            asks,
            tells,
            told: Vec::new(),
            snapshot: Vec::new(),
            status,
            balances,
            sequence: 0,
            entered: BTreeMap::new(),
            forgotten: BTreeSet::new(),
        };
        rig.trades().await;
        rig
    }

    /// Waits until new orders pass.
    pub async fn trades(&mut self) {
        self.until("trading", |rig| rig.status.borrow().phase == Phase::Trading).await;
    }

    /// A command about order `order_id`.
    pub async fn send(&mut self, command: Command) {
        self.asks.send(Ask::Command(command)).await.expect("an adapter");
    }

    /// A limit order, price in cents, quantity in 1e-5; gives its id.
    pub async fn order(&mut self, side: Side, price: i64, qty: i64, tif: Tif) -> u64 {
        self.sequence += 1;
        let order_id = u64::from(EPOCH) << 48 | self.sequence;
        let command = Command {
            kind: CommandKind::New,
            order_id,
            symbol: 0,
            side,
            order_type: OrderType::Limit,
            tif,
            flags: 0,
            price,
            qty,
            now_ns: 0,
            key: u128::from(order_id),
        };
        self.entered.insert(order_id, command);
        self.send(command).await;
        order_id
    }

    /// Cancels, amends or queries an order.
    pub async fn about(&mut self, order_id: u64, kind: CommandKind, price: i64, qty: i64) {
        let command = Command { kind, price, qty, ..self.entered[&order_id] };
        self.send(command).await;
    }

    /// Takes over what an adapter before this one had entered, as the gate does.
    pub async fn inherit(&mut self, before: &Self) {
        (self.sequence, self.entered) = (before.sequence, before.entered.clone());
        for command in before.entered.values() {
            self.send(Command { kind: CommandKind::Query, ..*command }).await;
        }
    }

    /// Every order so far is of before a wipe.
    pub fn forget(&mut self) {
        self.forgotten = self.entered.keys().copied().collect();
    }

    /// Reads reports until `ready`.
    ///
    /// # Panics
    /// When that takes too long.
    pub async fn until(&mut self, what: &str, ready: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !ready(self) {
            assert!(
                Instant::now() < deadline,
                "{what}: {:?}\n{:#?}",
                self.status.borrow().clone(),
                self.told
            );
            self.hear().await;
        }
    }

    /// What the venue has, compared.
    pub async fn asks_snapshot(&mut self) -> Vec<VenueOrder> {
        self.snapshot.clear();
        self.asks.send(Ask::Snapshot(1)).await.expect("an adapter");
        self.until("a snapshot", |rig| !rig.snapshot.is_empty()).await;
        self.snapshot.clone()
    }

    async fn hear(&mut self) {
        match tokio::time::timeout(Duration::from_millis(5), self.tells.recv()).await {
            Ok(Some(Told::Report(report))) => self.told.push(report),
            Ok(Some(Told::Snapshot { orders, .. })) => self.snapshot = orders,
            Ok(None) | Err(_) => {}
        }
    }

    /// Waits for a report of this kind about the order.
    pub async fn report(&mut self, order_id: u64, kind: ReportKind) -> Report {
        let is = |report: &&Report| report.order_id == order_id && report.kind == kind;
        self.until(&format!("{kind:?} of {order_id}"), |rig| rig.told.iter().any(|report| is(&report))).await;
        *self.told.iter().rfind(is).expect("just seen")
    }

    /// The kinds told about an order.
    #[must_use]
    pub fn kinds(&self, order_id: u64) -> Vec<ReportKind> {
        self.told.iter().filter(|report| report.order_id == order_id).map(|report| report.kind).collect()
    }

    /// The reason of the order's last report.
    #[must_use]
    pub fn reason(&self, order_id: u64) -> Option<Reason> {
        self.told.iter().rfind(|report| report.order_id == order_id).map(|report| report.reason)
    }

    /// Orders, fills and balances as told.
    fn mine(&self) -> BTreeMap<u64, Seen> {
        let mut all: BTreeMap<u64, Seen> = BTreeMap::new();
        for report in self.told.iter().filter(|report| !self.forgotten.contains(&report.order_id)) {
            let seen = all.entry(report.order_id).or_default();
            if report.kind == ReportKind::Fill {
                let (price, qty) = (text(report.last_price * 1_000_000), text(report.last_qty * 1_000));
                let news = seen.fills.insert((report.trade_id, price, qty));
                assert!(news, "a fill was told twice: {report:?}");
            }
            let ended = matches!(seen.status, "FILLED" | "CANCELED" | "EXPIRED" | "REJECTED");
            if report.kind == ReportKind::CancelRejected || ended {
                continue;
            }
            seen.status = match report.state {
                OrderState::Accepted | OrderState::PendingNew | OrderState::PendingCancel => "NEW",
                OrderState::PartiallyFilled => "PARTIALLY_FILLED",
                OrderState::Filled => "FILLED",
                OrderState::Cancelled => "CANCELED",
                OrderState::Rejected => "REJECTED",
                OrderState::Expired => "EXPIRED",
                OrderState::Unknown => "UNKNOWN",
            };
        }
        all.retain(|_, seen| seen.status != "REJECTED");
        all
    }

    /// The same as the venue has it: of a replaced order its last generation.
    fn theirs(&self) -> BTreeMap<u64, Seen> {
        self.mock.venue(|venue| {
            let mut all = BTreeMap::new();
            for order in venue.orders.values().filter(|order| order.ours) {
                let id = order.client_id.split('-').nth(1).and_then(|hex| u64::from_str_radix(hex, 16).ok());
                let fills = venue.trades.iter().filter(|trade| trade.order_id == order.id);
                let fills = fills.map(|trade| (trade.id, text(trade.price), text(trade.qty))).collect();
                let status = if order.status == "EXPIRED_IN_MATCH" { "EXPIRED" } else { order.status };
                all.insert(id.expect("an id of ours"), Seen { status, fills });
            }
            all
        })
    }

    fn balances_agree(&self) -> bool {
        let balances = self.balances.borrow().clone();
        self.mock.venue(|venue| {
            venue.balances.iter().all(|(asset, held)| {
                let known = balances.get(asset);
                (known.free_e8, known.locked_e8) == *held
            })
        })
    }

    /// Waits until orders, fills and balances are the venue's, and no order was placed twice.
    ///
    /// # Panics
    /// When they do not become so.
    pub async fn agrees(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while !(self.mine() == self.theirs() && self.balances_agree()) {
            assert!(
                Instant::now() < deadline,
                "told {:#?}\nthe venue has {:#?}\nbalances {:?}\n{:?}",
                self.mine(),
                self.theirs(),
                self.balances.borrow().clone(),
                self.status.borrow().clone()
            );
            self.hear().await;
        }
        let twice = self.mock.venue(|venue| venue.accepted.clone());
        assert!(twice.values().all(|times| *times == 1), "placed twice: {twice:?}");
    }
}
