//! Whatever happens: fills never exceed orders, prices never beat limits, reports add up, and the same input gives
//! the same output.

use super::floor::*;
use crate::venue::PaperConfig;
use proptest::prelude::*;
use ringfence_ipc::msg::{Command, CommandKind, OrderType, Report, ReportKind, Side, Tif, intent_flags};
use std::collections::HashMap;

#[derive(Clone, Debug)]
enum Op {
    Command(Command),
    Quote { bid: i64, spread: i64, qty: i64 },
    Trade { aggressor: Side, price: i64, qty: i64 },
    Depth { levels: Vec<(Side, i64, i64)>, snapshot: bool },
    Wait(u64),
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(BUY), Just(SELL)]
}

fn command() -> impl Strategy<Value = Command> {
    let kind = prop_oneof![
        6 => Just(CommandKind::New),
        2 => Just(CommandKind::Cancel),
        2 => Just(CommandKind::Amend),
        1 => Just(CommandKind::Reenter)
    ];
    let tif = prop_oneof![4 => Just(Tif::Gtc), 1 => Just(Tif::Ioc), 1 => Just(Tif::Fok), 1 => Just(Tif::Day)];
    let order_type = prop_oneof![6 => Just(OrderType::Limit), 1 => Just(OrderType::Market)];
    let flags = prop_oneof![5 => Just(0), 1 => Just(intent_flags::POST_ONLY)];
    (kind, 1..40_u64, side(), 88..112_i64, 1..12_i64, tif, order_type, flags).prop_map(
        |(kind, order_id, side, price, qty, tif, order_type, flags)| {
            // An id keeps its side, as the gate's do.
            let side = if order_id % 2 == 0 { side } else { BUY };
            Command { kind, tif, order_type, flags, ..limit(order_id, side, price, qty) }
        },
    )
}

fn op() -> impl Strategy<Value = Op> {
    let level = (side(), 90..110_i64, 0..9_i64);
    prop_oneof![
        4 => command().prop_map(Op::Command),
        3 => (90..110_i64, 1..4_i64, 0..9_i64).prop_map(|(bid, spread, qty)| Op::Quote { bid, spread, qty }),
        2 => (side(), 88..112_i64, 1..9_i64).prop_map(|(aggressor, price, qty)| Op::Trade { aggressor, price, qty }),
        2 => (prop::collection::vec(level, 1..5), any::<bool>())
            .prop_map(|(levels, snapshot)| Op::Depth { levels, snapshot }),
        1 => (0..1_000_u64).prop_map(Op::Wait),
    ]
}

fn run(config: PaperConfig, ops: &[Op]) -> (Vec<Report>, Floor) {
    let mut floor = Floor::blank(config);
    let mut reports = Vec::new();
    for op in ops {
        reports.extend(match op {
            Op::Command(command) => floor.send(command),
            Op::Quote { bid, spread, qty } => floor.quote(*bid, *qty, bid + spread, *qty),
            Op::Trade { aggressor, price, qty } => floor.trade(*aggressor, *price, *qty),
            Op::Depth { levels, snapshot } => floor.depth(levels, *snapshot),
            Op::Wait(ns) => floor.advance(floor.now_ns + ns),
        });
    }
    reports.extend(floor.advance(floor.now_ns + 1_000_000_000));
    (reports, floor)
}

#[derive(Default)]
struct Ledger {
    total: i64,
    limit: Option<i64>,
    cum: i64,
    ended: bool,
}

/// Replays the reports against the commands, knowing nothing of the venue.
fn check(ops: &[Op], reports: &[Report], floor: &Floor) {
    let mut orders: HashMap<u64, Ledger> = HashMap::new();
    let commands = |id: u64| {
        ops.iter().filter_map(move |op| match op {
            Op::Command(command) if command.order_id == id => Some(command),
            _ => None,
        })
    };
    let (mut last_trade, mut last_ns) = (INSTANT.trade_id_base, 0);
    for report in reports {
        assert!(report.ts_ns >= last_ns, "time went back");
        last_ns = report.ts_ns;
        let order = orders.entry(report.order_id).or_default();
        if report.kind == ReportKind::CancelRejected {
            assert_eq!(report.cum_qty, if order.ended { 0 } else { order.cum });
            continue;
        }
        assert!(!order.ended, "a report after the end: {report:?}");
        match report.kind {
            ReportKind::Accepted => order.total = report.leaves_qty,
            ReportKind::Amended => order.total = report.cum_qty + report.leaves_qty,
            ReportKind::Fill => {
                last_trade += 1;
                assert_eq!(report.trade_id, last_trade);
                assert!(report.last_qty > 0);
                order.cum += report.last_qty;
                assert!(order.cum <= order.total, "overfilled: {report:?}");
                order.limit = Some(report.last_price);
                let bound = |c: &Command| {
                    c.order_type == OrderType::Market
                        || (report.last_price - c.price) * report.side.sign() <= 0
                };
                assert!(commands(report.order_id).any(bound), "worse than every limit asked for: {report:?}");
            }
            _ => order.ended = true,
        }
        assert_eq!(report.cum_qty, order.cum);
        if !order.ended {
            assert_eq!(report.cum_qty + report.leaves_qty, order.total);
            order.ended = order.cum == order.total;
        }
        assert_eq!(report.state.is_terminal(), order.ended, "{report:?}");
    }
    let open = orders.values().filter(|order| order.total > 0 && !order.ended).count();
    assert_eq!(floor.venue.open_orders(), open);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn reports_add_up_and_repeat(ops in prop::collection::vec(op(), 1..80), latency_ns in 0..500_u64) {
        let config = PaperConfig { latency_ns, jitter_ns: latency_ns / 2, reject_ppm: 50_000, ..INSTANT };
        let (reports, floor) = run(config, &ops);
        check(&ops, &reports, &floor);
        let (again, _) = run(config, &ops);
        prop_assert_eq!(reports, again);
    }
}

fn extreme() -> impl Strategy<Value = i64> {
    prop_oneof![any::<i64>(), -2..3_i64, Just(i64::MAX), Just(i64::MIN), (i64::MAX - 3)..=i64::MAX]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_tape_and_no_command_can_make_it_panic(
        messages in prop::collection::vec((30..38_u8, 0..32_u8, 0..4_u8, any::<bool>(), prop::array::uniform6(extreme())), 1..40),
        commands in prop::collection::vec((command(), extreme(), extreme()), 1..20),
        latency_ns in prop_oneof![Just(0), Just(u64::MAX)],
    ) {
        let mut floor = Floor::blank(PaperConfig { latency_ns, jitter_ns: u64::MAX, ..INSTANT });
        let mut out = Vec::new();
        let mut commands = commands.into_iter().cycle();
        for (kind, flags, levels, known, rest) in messages {
            let symbol = if known { 0 } else { 9 };
            let head = u64::from(kind) | u64::from(flags) << 8 | u64::from(levels) << 16 | symbol << 48;
            let rest = rest.map(|word| word as u64);
            floor.venue.on_tape(&[head, 1, rest[1], rest[2], rest[3], rest[4], rest[5]], rest[0], &mut out);
            if let Some((command, price, qty)) = commands.next() {
                floor.venue.on_command(&Command { price, qty, ..command }, rest[0], &mut out);
            }
        }
        floor.venue.advance(u64::MAX, &mut out);
        prop_assert!(out.iter().all(|report| report.leaves_qty >= 0 && report.cum_qty >= 0));
    }
}
