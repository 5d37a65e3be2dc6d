//! Sources as their reader sees them, and the recordings: they are not part of the product; `RINGFENCE_DATA` names
//! their folder (default `../shared/data` beside the workspace).

use super::*;
use ringfence_ipc::msg::{DepthDelta, Quote, Side, Words};
use ringfence_ipc::symbol::Symbol;
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

/// Three depth quantities of the BTCUSDT recording have six decimals, one more than the symbol's lot.
fn table() -> Vec<Symbol> {
    vec![Symbol::new("BTCUSDT", 2, 8, 1, 1_000).unwrap(), Symbol::new("ETHUSDT", 2, 8, 1, 10_000).unwrap()]
}

/// The recording's path; `None`, loudly, when it is not here.
fn recorded(name: &str) -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data");
    let folder = std::env::var_os("RINGFENCE_DATA").map_or_else(|| PathBuf::from(beside), PathBuf::from);
    let path = folder.join(name);
    if path.exists() {
        return Some(path);
    }
    // Written past the test harness, which keeps what passing tests print to itself.
    let _ = writeln!(std::io::stderr(), "SKIPPED: no recording at {}; set RINGFENCE_DATA", path.display());
    None
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Kinds {
    quotes: u64,
    trades: u64,
    depths: u64,
    empty: u64,
    snapshots: u64,
}

/// Reads a recording whole: kinds, and whether the mirror ends where the quotes do.
fn read(path: &std::path::Path) -> (Source, Kinds) {
    let recording = Recording::open(path, BinanceParser::new(&table())).unwrap();
    let mut source = Source::Recording(Box::new(recording));
    let (mut kinds, mut mirror, mut last_quote) = (Kinds::default(), BookMirror::new(2), None);
    let (mut words, mut number, mut due_ns): (Vec<Words>, u64, u64) = (Vec::new(), 0, 0);
    while let Some(event) = source.next() {
        assert!(event.due_ns >= due_ns);
        due_ns = event.due_ns;
        match &event.value.body {
            MarketBody::Quote { .. } => kinds.quotes += 1,
            MarketBody::Trade { .. } => kinds.trades += 1,
            MarketBody::Depth { snapshot: true, .. } => kinds.snapshots += 1,
            MarketBody::Depth { .. } => kinds.depths += 1,
            MarketBody::Empty => kinds.empty += 1,
        }
        number += 1;
        words.clear();
        encode(number, &event.value, &mut words);
        if let Ok(quote) = Quote::decode(&words[0]) {
            last_quote = Some(quote);
        }
        mirror.apply(&event.value);
    }
    let quote = last_quote.unwrap();
    assert_eq!(mirror.best(quote.symbol, Side::Buy), Some((quote.bid_price, quote.bid_qty)));
    assert_eq!(mirror.best(quote.symbol, Side::Sell), Some((quote.ask_price, quote.ask_qty)));
    (source, kinds)
}

fn check(name: &str, lines: u64, quotes: u64, trades: u64, depths: u64) {
    let Some(path) = recorded(name) else { return };
    let started = Instant::now();
    let (source, kinds) = read(&path);
    println!("{name}: {lines} lines in {:?}", started.elapsed());
    assert_eq!((source.events(), source.malformed()), (lines, 0));
    assert_eq!((kinds.quotes, kinds.trades, kinds.depths + kinds.empty), (quotes, trades, depths));
    assert_eq!(kinds.snapshots, 1);
    let Source::Recording(recording) = source else { return };
    assert_eq!((recording.broken(), recording.gaps()), (None, 0));
}

#[test]
fn every_line_of_the_btcusdt_recording_is_one_event() {
    check("btcusdt_20240808.gz", 41_249, 28_040, 9_757, 3_451);
}

#[test]
fn every_line_of_the_ethusdt_recording_is_one_event() {
    check("ethusdt_20240808.gz", 33_618, 24_077, 6_106, 3_434);
}

#[test]
fn a_simulated_source_never_ends() {
    let config = SimulatedConfig::for_table(&table(), 1, 5);
    let mut source = Source::Simulated(Simulated::new(&config));
    let mut words = Vec::new();
    for number in 1..=1_000 {
        encode(number, &source.next().unwrap().value, &mut words);
    }
    assert_eq!((source.events(), source.malformed()), (1_000, 0));
    let finals = words.iter().filter(|words| !DepthDelta::decode(words).is_ok_and(|delta| !delta.last));
    assert_eq!(finals.count(), 1_000);
}

#[test]
fn speeds() {
    assert_eq!("max".parse(), Ok(Speed::Max));
    assert_eq!("10".parse(), Ok(Speed::Times(10.0)));
    assert_eq!("2.5x".parse(), Ok(Speed::Times(2.5)));
    for bad in ["", "fast", "0", "-1", "inf", "NaN", "1e999"] {
        assert_eq!(bad.parse::<Speed>(), Err(SpeedError(bad.to_owned())));
    }
    assert_eq!(Speed::Max.due_ns(1_000), 0);
    assert_eq!(Speed::Times(4.0).due_ns(1_000), 250);
    assert_eq!(Speed::Times(1e-300).due_ns(u64::MAX), u64::MAX);
}
