//! The end of a run in numbers.

use ringfence_ipc::counters::{Counter, CountersReader, Histo};
use ringfence_ipc::msg::StrategyId;
use ringfence_ipc::symbol::{NOTIONAL_DECIMALS, Symbol, format_scaled};

use crate::gate::Gate;
use crate::summary::{Percentiles, PositionSummary, Summary};

pub(super) fn build(
    gate: &Gate,
    symbols: &[Symbol],
    counters: &CountersReader,
    records: u64,
    epoch: u16,
    state_hash: &[u8; 32],
) -> Summary {
    let residence = counters.histogram(Histo::DecisionNs);
    let totals = gate.totals();
    let rejected = counters.rejects().map(|(reason, count)| (reason.name().to_owned(), count)).collect();
    let position = |view: crate::gate::PositionView| {
        let symbol = &symbols[usize::from(view.symbol)];
        PositionSummary {
            strategy: strategy_name(gate, view.strategy),
            symbol: symbol.name().to_owned(),
            qty: format_scaled(i128::from(view.qty), symbol.qty_scale),
            cost: format_scaled(view.cost_e16, NOTIONAL_DECIMALS),
            realised: format_scaled(view.realised_e16, NOTIONAL_DECIMALS),
            unrealised: format_scaled(view.unrealised_e16, NOTIONAL_DECIMALS),
            fees: format_scaled(view.fees_e8, 8),
        }
    };
    Summary {
        market_events: counters.get(Counter::MarketEvents),
        malformed_messages: counters.get(Counter::MalformedMessages) + counters.get(Counter::VenueMalformed),
        intents: counters.get(Counter::Intents),
        accepted: counters.get(Counter::Accepted),
        rejected,
        fills: totals.fills,
        duplicates: counters.get(Counter::Duplicates),
        pnl: format_scaled(totals.pnl_e16(), NOTIONAL_DECIMALS),
        positions: gate.positions().map(position).collect(),
        decision_ns: Percentiles {
            p50: residence.percentile(0.5),
            p99: residence.percentile(0.99),
            p999: residence.percentile(0.999),
            max: residence.max(),
        },
        journal_records: records,
        epoch: u64::from(epoch),
        state_hash: state_hash.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

fn strategy_name(gate: &Gate, id: StrategyId) -> String {
    gate.strategies()
        .find(|(known, ..)| *known == id)
        .map_or_else(|| id.to_string(), |(.., name)| name.to_owned())
}
