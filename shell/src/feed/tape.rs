//! Market events as tape messages.

use ringfence_binance::{MarketBody, MarketEvent};
use ringfence_ipc::msg::{DepthDelta, Level, Quote, SymbolId, Trade, Words};

/// Appends `event` as the tape messages of event number `number` to `out`: one or more, the last one final.
pub fn encode(number: u64, event: &MarketEvent, out: &mut Vec<Words>) {
    let (symbol, ts_ns) = (event.symbol, event.ts_ns);
    match &event.body {
        MarketBody::Quote { bid_price, bid_qty, ask_price, ask_qty } => {
            let quote = Quote {
                symbol,
                event: number,
                ts_ns,
                bid_price: *bid_price,
                bid_qty: *bid_qty,
                ask_price: *ask_price,
                ask_qty: *ask_qty,
            };
            out.push(quote.encode());
        }
        MarketBody::Trade { price, qty, trade_id, aggressor } => {
            let trade = Trade {
                symbol,
                event: number,
                ts_ns,
                price: *price,
                qty: *qty,
                trade_id: *trade_id,
                aggressor: *aggressor,
            };
            out.push(trade.encode());
        }
        MarketBody::Depth { levels, snapshot } => depth(number, symbol, ts_ns, levels, *snapshot, out),
        MarketBody::Empty => depth(number, symbol, ts_ns, &[], false, out),
    }
}

/// A depth batch of any length; without levels it is one empty message.
pub(super) fn depth(
    number: u64,
    symbol: SymbolId,
    ts_ns: u64,
    levels: &[Level],
    snapshot: bool,
    out: &mut Vec<Words>,
) {
    let messages = levels.len().div_ceil(2).max(1);
    for i in 0..messages {
        let delta = DepthDelta {
            symbol,
            event: number,
            ts_ns,
            levels: [levels.get(2 * i).copied(), levels.get(2 * i + 1).copied()],
            last: i + 1 == messages,
            snapshot: snapshot && i == 0,
        };
        out.push(delta.encode());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringfence_ipc::msg::Side;

    fn depth_of(levels: usize, snapshot: bool) -> Vec<DepthDelta> {
        let level = |i: usize| Level { side: Side::ALL[i % 2], price: i as i64 + 1, qty: i as i64 };
        let body = MarketBody::Depth { levels: (0..levels).map(level).collect(), snapshot };
        let mut out = Vec::new();
        encode(9, &MarketEvent { symbol: 3, ts_ns: 4, body }, &mut out);
        out.iter().map(|words| DepthDelta::decode(words).unwrap()).collect()
    }

    #[test]
    fn every_event_has_exactly_one_final_message_and_it_is_the_last() {
        for levels in [0, 1, 2, 3, 4, 1_001] {
            let sent = depth_of(levels, true);
            assert_eq!(sent.len(), levels.div_ceil(2).max(1));
            assert!(sent.iter().all(|delta| (delta.event, delta.symbol, delta.ts_ns) == (9, 3, 4)));
            assert!(sent.iter().enumerate().all(|(i, delta)| delta.last == (i + 1 == sent.len())));
            assert!(sent.iter().enumerate().all(|(i, delta)| delta.snapshot == (i == 0)));
            assert_eq!(sent.iter().flat_map(|delta| delta.levels).flatten().count(), levels);
        }
    }

    #[test]
    fn an_empty_event_is_one_empty_message() {
        let mut out = Vec::new();
        encode(1, &MarketEvent { symbol: 0, ts_ns: 5, body: MarketBody::Empty }, &mut out);
        let delta = DepthDelta::decode(&out[0]).unwrap();
        assert_eq!((out.len(), delta.last, delta.snapshot, delta.levels), (1, true, false, [None, None]));
    }
}
