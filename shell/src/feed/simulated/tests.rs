use super::*;
use crate::feed::BookMirror;
use ringfence_ipc::msg::Side;

fn table() -> Vec<Symbol> {
    vec![
        Symbol::new("BTCUSDT", 2, 5, 1, 1).unwrap(),
        Symbol::new("ETHUSDT", 2, 8, 1, 10_000).unwrap(),
        Symbol::new("COIN", 0, 0, 5, 1).unwrap(),
    ]
}

fn market(seed: u64) -> Simulated {
    Simulated::new(&SimulatedConfig::for_table(&table(), seed, 1_000))
}

#[test]
fn the_same_seed_is_the_same_market() {
    let run = |seed| -> Vec<_> {
        let mut market = market(seed);
        (0..2_000).map(|_| market.next_event()).collect()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn every_event_makes_sense() {
    let (table, mut market) = (table(), market(3));
    let mut mirror = BookMirror::new(table.len());
    let (mut last_due_ns, mut quotes, mut trades, mut depths) = (0, 0, 0, 0);
    for _ in 0..30_000 {
        assert_eq!(market.next_due_ns(), market.clone().next_event().due_ns);
        let Timed { due_ns, value } = market.next_event();
        assert!(due_ns >= last_due_ns && value.ts_ns == 1_000 + due_ns);
        last_due_ns = due_ns;
        let symbol = &table[usize::from(value.symbol)];
        let on_grid = |price: i64, qty: i64| price > 0 && price % symbol.tick == 0 && qty % symbol.lot == 0;
        match &value.body {
            MarketBody::Quote { bid_price, bid_qty, ask_price, ask_qty } => {
                quotes += 1;
                assert!(bid_price < ask_price && *bid_qty > 0 && *ask_qty > 0);
                assert!(on_grid(*bid_price, *bid_qty) && on_grid(*ask_price, *ask_qty));
            }
            MarketBody::Trade { price, qty, aggressor, .. } => {
                trades += 1;
                assert!(on_grid(*price, *qty) && *qty > 0);
                let touch = mirror.best(value.symbol, aggressor.opposite());
                assert!(touch.is_none_or(|(touch, _)| touch == *price));
            }
            MarketBody::Depth { levels, .. } => {
                depths += 1;
                assert!(levels.iter().all(|level| on_grid(level.price, level.qty)));
            }
            MarketBody::Empty => panic!("an event that says nothing"),
        }
        mirror.apply(&value);
        let [bid, ask] = [Side::Buy, Side::Sell].map(|side| mirror.best(value.symbol, side));
        assert!(bid.zip(ask).is_none_or(|((bid, _), (ask, _))| bid < ask), "crossed");
    }
    let per_second = 30_000 * 1_000_000_000 / last_due_ns / table.len() as u64;
    assert!((180..=220).contains(&per_second), "{per_second} events a second and symbol");
    assert!(quotes > trades && trades > depths && depths > 1_000, "{quotes} {trades} {depths}");
}

#[test]
fn the_price_moves_but_stays_in_sight() {
    let mut market = Simulated::new(&SimulatedConfig::for_table(&table()[..1], 4, 0));
    let mut mids = Vec::new();
    for _ in 0..200 * 600 {
        if let MarketBody::Quote { bid_price, ask_price, .. } = market.next_event().value.body {
            mids.push((bid_price + ask_price) / 2);
        }
    }
    let (low, high) = (*mids.iter().min().unwrap(), *mids.iter().max().unwrap());
    println!("ten minutes between {low} and {high}");
    assert!(high - low > 6_000, "a flat line: {low} to {high}");
    assert!(low > 5_700_000 && high < 6_300_000, "beyond 5 % in ten minutes: {low} to {high}");
}

#[test]
fn without_symbols_time_still_passes() {
    let mut market = Simulated::new(&SimulatedConfig { seed: 1, start_ns: 0, symbols: Vec::new() });
    let dues: Vec<_> = (0..3).map(|_| market.next_event().due_ns).collect();
    assert_eq!(dues, [0, 5_000_000, 10_000_000]);
}

#[test]
fn extreme_symbols_do_not_overflow() {
    let extreme = |symbol: Symbol, start_price| SimulatedSymbol { symbol, start_price };
    let symbols = vec![
        extreme(Symbol::new("A", 16, 0, 1, 1).unwrap(), i64::MAX),
        extreme(Symbol::new("B", 0, 16, i64::MAX / 1_000, 1).unwrap(), 1),
        extreme(Symbol::new("C", 0, 16, 1, i64::MAX).unwrap(), -5),
    ];
    let mut market = Simulated::new(&SimulatedConfig { seed: 1, start_ns: u64::MAX - 10, symbols });
    for _ in 0..5_000 {
        market.next_event();
    }
}
