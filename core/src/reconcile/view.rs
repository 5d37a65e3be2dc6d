//! The gate's side of a comparison.

use std::collections::BTreeMap;

use ringfence_ipc::msg::{OrderId, SymbolId};
use ringfence_ipc::symbol::Symbol;

use crate::gate::{Gate, OrderView, PositionView, StrayView};

/// What a gate believes at one moment.
#[derive(Clone, Debug, Default)]
pub struct GateView {
    /// Journal position of the first record that is not in it.
    pub position: u64,
    /// The gate's life.
    pub epoch: u16,
    /// Gate time of the last report that is in it, ns; 0: not known.
    pub last_report_ns: u64,
    /// The symbol table.
    pub symbols: BTreeMap<SymbolId, Symbol>,
    /// Every order that can still be found, open or final.
    pub orders: BTreeMap<OrderId, OrderView>,
    /// Every position.
    pub positions: Vec<PositionView>,
    /// Fills that are in no position.
    pub strays: Vec<StrayView>,
}

impl GateView {
    /// What `gate` believes before the journal's `position`.
    #[must_use]
    pub fn of(gate: &Gate, position: u64, last_report_ns: u64) -> Self {
        let symbols = (0..gate.capacity().max_symbols).filter_map(|id| Some((id, gate.symbol(id)?)));
        Self {
            position,
            epoch: gate.epoch(),
            last_report_ns,
            symbols: symbols.collect(),
            orders: gate.known_orders().map(|order| (order.order_id, order)).collect(),
            positions: gate.positions().collect(),
            strays: gate.strays().copied().collect(),
        }
    }

    /// The symbol with this name.
    #[must_use]
    pub fn find_symbol(&self, name: &str) -> Option<(SymbolId, &Symbol)> {
        self.symbols.iter().find(|(_, symbol)| symbol.name() == name).map(|(id, symbol)| (*id, symbol))
    }
}
