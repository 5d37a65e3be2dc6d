//! The venue on a recorded market. The recordings are not part of the product: `RINGFENCE_DATA` names their folder
//! (default `../shared/data` beside the workspace). The reader here shares no code with the shell's parser.

use super::floor::*;
use crate::venue::{PaperConfig, PaperVenue};
use flate2::read::GzDecoder;
use ringfence_ipc::msg::{
    Command, CommandKind, DepthDelta, Level, Quote, Report, ReportKind, Side, Trade, Words,
};
use ringfence_ipc::symbol::{Symbol, parse_scaled};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::time::Instant;

const EVENTS: u64 = 41_249;
/// Three depth quantities of the recording have six decimals, one more than the symbol's lot.
const QTY_SCALE: u8 = 8;

fn btcusdt() -> Symbol {
    Symbol::new("BTCUSDT", 2, QTY_SCALE, 1, 1_000).unwrap()
}

/// The text after `"key":` up to the next delimiter.
fn field<'a>(json: &'a str, key: &str) -> Option<&'a str> {
    let rest = &json[json.find(&format!("\"{key}\":"))? + key.len() + 3..];
    Some(rest.trim_start_matches('"').split(['"', ',', '}']).next().unwrap_or_default())
}

fn scaled(json: &str, key: &str, scale: u8) -> i64 {
    parse_scaled(field(json, key).unwrap(), scale).unwrap()
}

/// The `[price, quantity]` pairs after `"key":[`.
fn levels(json: &str, key: &str, side: Side) -> Vec<Level> {
    let list = json.split_once(&format!("\"{key}\":[")).unwrap().1;
    let list = list.split_once("]]").map_or("", |(list, _)| if list.starts_with('[') { list } else { "" });
    let pairs = list.split("],[").filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let numbers: Vec<_> = pair.split('"').collect();
            Level {
                side,
                price: parse_scaled(numbers[1], 2).unwrap(),
                qty: parse_scaled(numbers[3], QTY_SCALE).unwrap(),
            }
        })
        .collect()
}

fn depth(event: u64, ts_ns: u64, levels: &[Level], snapshot: bool) -> Vec<Words> {
    let count = levels.len().div_ceil(2).max(1);
    let message = |i: usize| DepthDelta {
        symbol: 0,
        event,
        ts_ns,
        levels: [levels.get(2 * i).copied(), levels.get(2 * i + 1).copied()],
        last: i + 1 == count,
        snapshot: snapshot && i == 0,
    };
    (0..count).map(|i| message(i).encode()).collect()
}

fn event_of(event: u64, line: &str, snapshot_id: &mut u64) -> (u64, Vec<Words>) {
    let (ts, json) = line.split_once(' ').unwrap();
    let ts_ns = ts.parse().unwrap();
    let both = |bids, asks| [levels(json, bids, BUY), levels(json, asks, SELL)].concat();
    let words = match field(json, "stream") {
        Some(stream) if stream.ends_with("@bookTicker") => {
            let (bid_price, bid_qty) = (scaled(json, "b", 2), scaled(json, "B", QTY_SCALE));
            let (ask_price, ask_qty) = (scaled(json, "a", 2), scaled(json, "A", QTY_SCALE));
            vec![Quote { symbol: 0, event, ts_ns, bid_price, bid_qty, ask_price, ask_qty }.encode()]
        }
        Some(stream) if stream.ends_with("@trade") => {
            let (price, qty) = (scaled(json, "p", 2), scaled(json, "q", QTY_SCALE));
            let aggressor = if field(json, "m") == Some("true") { SELL } else { BUY };
            vec![Trade { symbol: 0, event, ts_ns, price, qty, trade_id: event, aggressor }.encode()]
        }
        Some(_) if field(json, "u").unwrap().parse::<u64>().unwrap() <= *snapshot_id => {
            depth(event, ts_ns, &[], false)
        }
        Some(_) => depth(event, ts_ns, &both("b", "a"), false),
        None => {
            *snapshot_id = field(json, "lastUpdateId").unwrap().parse().unwrap();
            depth(event, ts_ns, &both("bids", "asks"), true)
        }
    };
    (ts_ns, words)
}

/// The BTCUSDT recording as (receive time, tape messages) per event; `None`, loudly, when it is not here.
fn recording() -> Option<Vec<(u64, Vec<Words>)>> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data");
    let folder = std::env::var_os("RINGFENCE_DATA").map_or_else(|| PathBuf::from(beside), PathBuf::from);
    let path = folder.join("btcusdt_20240808.gz");
    let Ok(file) = File::open(&path) else {
        // Written past the test harness, which keeps what passing tests print to itself.
        let _ =
            writeln!(std::io::stderr(), "SKIPPED: no recording at {}; set RINGFENCE_DATA", path.display());
        return None;
    };
    let mut snapshot_id = 0;
    let lines = BufReader::new(GzDecoder::new(file)).lines();
    Some((1..).zip(lines).map(|(event, line)| event_of(event, &line.unwrap(), &mut snapshot_id)).collect())
}

/// A patient trader: every 500 events it cancels what rests and quotes both sides at the touch, and takes a little.
fn trade_along(tape: &[(u64, Vec<Words>)]) -> (PaperVenue, Vec<Report>) {
    let config = PaperConfig { latency_ns: 1_000_000, jitter_ns: 500_000, max_orders: 100, ..INSTANT };
    let mut venue = PaperVenue::new(config, &[btcusdt()]);
    let (mut reports, mut id) = (Vec::new(), 0);
    for (event, (now_ns, words)) in (1_u64..).zip(tape) {
        words.iter().for_each(|words| venue.on_tape(words, *now_ns, &mut reports));
        if event % 500 != 0 {
            continue;
        }
        let book = venue.book(0).unwrap();
        let (bid, ask) = (book.best_bid().unwrap().price, book.best_ask().unwrap().price);
        for old in id.max(3) - 2..=id {
            venue.on_command(&of_kind(CommandKind::Cancel, old, 0, 0), *now_ns, &mut reports);
        }
        for (side, price) in [(BUY, bid), (SELL, ask), (BUY, ask)] {
            id += 1;
            venue.on_command(&Command { ..limit(id, side, price, 1_000_000) }, *now_ns, &mut reports);
        }
    }
    (venue, reports)
}

#[test]
fn a_recorded_market_is_never_crossed_and_ends_where_its_quotes_do() {
    let Some(tape) = recording() else { return };
    let mut venue = PaperVenue::new(INSTANT, &[btcusdt()]);
    let (mut out, mut last_quote) = (Vec::new(), None);
    let started = Instant::now();
    for (now_ns, words) in &tape {
        words.iter().for_each(|words| venue.on_tape(words, *now_ns, &mut out));
        if let Ok(quote) = Quote::decode(&words[0]) {
            last_quote = Some(quote);
        }
        assert!(last_quote.is_none() || !venue.book(0).unwrap().is_crossed());
    }
    println!("{} events through the venue in {:?}", tape.len(), started.elapsed());
    let (quote, book) = (last_quote.unwrap(), venue.book(0).unwrap());
    let best = |level: Option<crate::venue::BookLevel>| level.map(|level| (level.price, level.qty)).unwrap();
    assert_eq!(best(book.best_bid()), (quote.bid_price, quote.bid_qty));
    assert_eq!(best(book.best_ask()), (quote.ask_price, quote.ask_qty));
    assert_eq!((venue.events_seen(), venue.malformed()), (EVENTS, 0));
}

#[test]
fn a_recorded_market_fills_the_same_orders_every_time() {
    let Some(tape) = recording() else { return };
    let (venue, reports) = trade_along(&tape);
    let fills = reports.iter().filter(|report| report.kind == ReportKind::Fill);
    let (made, taken): (Vec<&Report>, Vec<&Report>) = fills.partition(|report: &&Report| report.maker);
    println!("{} reports, {} maker fills, {} taker fills", reports.len(), made.len(), taken.len());
    assert!(made.len() > 20 && taken.len() > 50);
    assert!(venue.open_orders() <= 100);
    let (_, again) = trade_along(&tape);
    assert!(reports == again);
}
