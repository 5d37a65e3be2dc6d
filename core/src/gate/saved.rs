//! The decision state to a checkpoint and back: one pair of functions for each part.
//!
//! Whatever a later decision can depend on is in a checkpoint: what the state hash covers, and what it does not (slots,
//! seeds, final orders that a late fill may still find). Sums are not: they are added up again, and the hash proves that
//! they came out the same.

use std::io::{self, Write};

use ringfence_ipc::journal::checkpoint::{
    BodyWriter, Checkpoint, CheckpointError, EntitlementPart, GatePart, Item, LimitPart, OrderPart, Part,
    PositionPart, StrategyPart, SymbolPart,
};
use ringfence_ipc::journal::{LimitRecord, Record};

use super::conduct::{Conduct, Loss};
use super::limits::StrategyLimits;
use super::market::Prices;
use super::modes::Barrier;
use super::orders::{OpenList, Order};
use super::tables::{NO_POSITION, StrategyTables, touched};
use super::window::DedupWindow;
use super::{ApplyError, Capacity, ConfigState, Gate};

/// Why a checkpoint does not become a gate.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// An item holds what no writer writes.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// It does not fit the capacity it says.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// What came out has another state hash than what went in.
    #[error("the restored state has another hash than the one that was saved")]
    State,
}

impl Gate {
    /// Writes the parts [`Part::Gate`] to [`Part::Orders`].
    ///
    /// # Errors
    /// Those of the medium.
    pub fn save<W: Write>(&self, body: &mut BodyWriter<W>) -> io::Result<()> {
        body.part(Part::Gate, 1)?;
        body.item(&self.save_gate().encode())?;
        self.save_limits(body)?;
        self.save_entitlements(body)?;
        self.save_symbols(body)?;
        self.save_strategies(body)?;
        self.save_windows(body)?;
        self.save_positions(body)?;
        let orders = self.orders.by_age();
        body.part(Part::Orders, orders.len())?;
        orders.into_iter().try_for_each(|order| body.item(&order.save().encode()))
    }

    /// The gate that a checkpoint holds.
    ///
    /// # Errors
    /// [`RestoreError`] when it holds what no gate holds, or does not give the state whose hash it carries.
    pub fn restore(saved: &Checkpoint) -> Result<Self, RestoreError> {
        let head = saved.items(Part::Gate).next().ok_or(missing("one item"))?;
        let head = GatePart::decode(&head)?;
        let mut gate = Self::new(capacity(&head)?, head.hash_seed, head.epoch);
        gate.mode = head.mode;
        saved.items(Part::Limits).try_for_each(|item| gate.restore_limit(&item))?;
        saved.items(Part::Entitlements).try_for_each(|item| gate.restore_entitlement(&item))?;
        saved.items(Part::Symbols).try_for_each(|item| gate.restore_symbol(&item))?;
        gate.restore_strategies(saved)?;
        saved.items(Part::Positions).try_for_each(|item| gate.restore_position(&item))?;
        saved.items(Part::Orders).try_for_each(|item| gate.restore_order(&item))?;
        saved.items(Part::Positions).for_each(|item| gate.restore_bounds(&PositionPart::decode(&item)));
        saved.items(Part::Strays).try_for_each(|item| gate.restore_stray(&item))?;
        gate.orders.continue_at(head.next_sequence);
        gate.restore_guards(&head);
        if gate.state_hash() == saved.header().state_hash { Ok(gate) } else { Err(RestoreError::State) }
    }

    fn save_gate(&self) -> GatePart {
        let (cap, storm) = (self.cap.record(0), self.storm());
        GatePart {
            mode: self.mode,
            epoch: self.epoch,
            hash_seed: self.hash_seed,
            next_sequence: self.orders.next_sequence(),
            order_slots: cap.order_slots,
            max_positions: cap.max_positions,
            max_symbols: cap.max_symbols,
            max_strategies: cap.max_strategies,
            max_accounts: cap.max_accounts,
            orders_arrival_ns: self.orders_arrival_ns,
            day_ends_ns: self.day_ends_ns,
            storm: storm.state,
            storm_cause: storm.cause,
            storm_since_ns: storm.since_ns,
            pnl_peak_e8: storm.pnl_peak_e8,
            config_version: self.config.version,
            config_digest: self.config.digest,
            config_missing: self.config.missing,
        }
    }

    /// Behind everything else: what is judged and folded from the rest.
    fn restore_guards(&mut self, head: &GatePart) {
        (self.orders_arrival_ns, self.day_ends_ns) = (head.orders_arrival_ns, head.day_ends_ns);
        self.config = ConfigState {
            version: head.config_version,
            digest: head.config_digest,
            missing: head.config_missing,
        };
        self.storm.enter(head.storm, head.storm_cause, head.storm_since_ns);
        self.storm.set_pnl_peak(head.pnl_peak_e8);
        for tables in self.strategies.iter_mut().flatten() {
            tables.conduct.judge(&tables.limits);
        }
        self.refresh_barriers();
    }

    fn save_entitlements<W: Write>(&self, body: &mut BodyWriter<W>) -> io::Result<()> {
        body.part(Part::Entitlements, self.entitlements.iter().count())?;
        for (strategy, symbol) in self.entitlements.iter() {
            body.item(&EntitlementPart { strategy, symbol }.encode())?;
        }
        Ok(())
    }

    fn restore_entitlement(&mut self, item: &Item<'_>) -> Result<(), RestoreError> {
        let part = EntitlementPart::decode(item)?;
        let known = self.entitlements.set(part.strategy, part.value());
        if known { Ok(()) } else { Err(item.bad("strategy or symbol").into()) }
    }

    fn save_limits<W: Write>(&self, body: &mut BodyWriter<W>) -> io::Result<()> {
        body.part(Part::Limits, self.limits().count())?;
        for (scope, scope_id, limit, value) in self.limits() {
            body.item(&LimitPart { scope, scope_id, limit, value }.encode())?;
        }
        Ok(())
    }

    fn restore_limit(&mut self, item: &Item<'_>) -> Result<(), RestoreError> {
        let LimitPart { scope, scope_id, limit, value } = LimitPart::decode(item)?;
        let record = LimitRecord { scope, scope_id, limit, value, now_ns: 0, config_version: 0 };
        Ok(self.apply(0, &Record::Limit(record))?)
    }

    fn save_symbols<W: Write>(&self, body: &mut BodyWriter<W>) -> io::Result<()> {
        let known = || (0..).zip(&self.symbols).filter(|(_, s)| s.known);
        body.part(Part::Symbols, known().count())?;
        for (id, s) in known() {
            let part = SymbolPart {
                id,
                symbol: s.symbol,
                bid_price: s.marked.bid,
                ask_price: s.marked.ask,
                last_price: s.marked.last,
                marked_ns: s.marked_ns,
                mark_price: s.mark_price,
                orders_arrival_ns: s.orders_arrival_ns,
            };
            body.item(&part.encode())?;
        }
        Ok(())
    }

    fn restore_symbol(&mut self, item: &Item<'_>) -> Result<(), RestoreError> {
        let part = SymbolPart::decode(item)?;
        self.apply(0, &Record::Symbol { id: part.id, symbol: part.symbol })?;
        let state = &mut self.symbols[usize::from(part.id)];
        state.marked = Prices { bid: part.bid_price, ask: part.ask_price, last: part.last_price };
        (state.marked_ns, state.mark_price) = (part.marked_ns, part.mark_price);
        state.orders_arrival_ns = part.orders_arrival_ns;
        Ok(())
    }

    fn saved_strategies(&self) -> impl Iterator<Item = &StrategyTables> {
        self.strategies.iter().flatten().map(|tables| &**tables).filter(|tables| tables.registered)
    }

    fn save_strategies<W: Write>(&self, body: &mut BodyWriter<W>) -> io::Result<()> {
        body.part(Part::Strategies, self.saved_strategies().count())?;
        for t in self.saved_strategies() {
            let part = StrategyPart {
                strategy: t.id,
                account: t.account,
                mode: t.mode,
                name: t.name,
                orders_arrival_ns: t.orders_arrival_ns,
                cancels_arrival_ns: t.cancels_arrival_ns,
                repeat_content: t.conduct.repeat_content,
                repeat_since_ns: t.conduct.repeat_since_ns,
                repeats: t.conduct.repeats,
                messages: t.conduct.messages,
                fills: t.conduct.fills,
                day_base_e16: t.conduct.day_base_e16,
                pnl_e16: t.conduct.pnl_e16,
            };
            body.item(&part.encode())?;
        }
        Ok(())
    }

    fn restore_strategies(&mut self, saved: &Checkpoint) -> Result<(), RestoreError> {
        let mut windows: Vec<Option<DedupWindow>> = self.strategies.iter().map(|_| None).collect();
        for item in saved.items(Part::Windows) {
            let (strategy, window) = DedupWindow::restore_head(&item)?;
            *windows.get_mut(usize::from(strategy)).ok_or(item.bad("strategy"))? = Some(window);
        }
        let window_of = |windows: &mut [Option<DedupWindow>], item: &Item<'_>, put: PutBack| {
            let window = windows.get_mut(usize::from(item.word(0) as u16)).and_then(Option::as_mut);
            put(window.ok_or(item.bad("strategy"))?, item)
        };
        saved.items(Part::Keys).try_for_each(|i| window_of(&mut windows, &i, DedupWindow::restore_key))?;
        saved
            .items(Part::Spills)
            .try_for_each(|i| window_of(&mut windows, &i, DedupWindow::restore_spill))?;
        for item in saved.items(Part::Strategies) {
            let part = StrategyPart::decode(&item)?;
            let (id, symbols) = (usize::from(part.strategy), usize::from(self.cap.max_symbols));
            let window = windows.get_mut(id).and_then(Option::take).ok_or(item.bad("window"))?;
            if part.account >= self.cap.max_accounts {
                return Err(item.bad("account").into());
            }
            self.strategies[id] = Some(Box::new(StrategyTables {
                id: part.strategy,
                account: part.account,
                registered: true,
                mode: part.mode,
                name: part.name,
                limits: StrategyLimits::of(&self.limit_sets.strategies[id], &self.limit_sets.global),
                gross_e16: 0,
                orders_arrival_ns: part.orders_arrival_ns,
                cancels_arrival_ns: part.cancels_arrival_ns,
                barrier: Barrier::Open,
                conduct: Conduct {
                    repeat_content: part.repeat_content,
                    repeat_since_ns: part.repeat_since_ns,
                    repeats: part.repeats,
                    messages: part.messages,
                    fills: part.fills,
                    day_base_e16: part.day_base_e16,
                    pnl_e16: part.pnl_e16,
                    loss: Loss::None,
                },
                open: OpenList::EMPTY,
                positions: touched(symbols, NO_POSITION),
                window,
            }));
        }
        Ok(())
    }

    fn save_windows<W: Write>(&self, body: &mut BodyWriter<W>) -> io::Result<()> {
        let windows = || self.saved_strategies().map(|t| (t.id, &t.window));
        body.part(Part::Windows, windows().count())?;
        for (id, window) in windows() {
            body.item(&window.save_head(id))?;
        }
        body.part(Part::Keys, windows().map(|(id, window)| window.save_keys(id).count()).sum())?;
        for (id, window) in windows() {
            window.save_keys(id).try_for_each(|key| body.item(&key))?;
        }
        body.part(Part::Spills, windows().map(|(id, window)| window.save_spills(id).count()).sum())?;
        for (id, window) in windows() {
            window.save_spills(id).try_for_each(|spill| body.item(&spill))?;
        }
        Ok(())
    }

    fn save_positions<W: Write>(&self, body: &mut BodyWriter<W>) -> io::Result<()> {
        body.part(Part::Positions, self.positions_used)?;
        for p in &self.positions[..self.positions_used] {
            let part = PositionPart {
                strategy: p.strategy,
                account: p.account,
                symbol: p.symbol,
                qty: p.qty,
                cost_e16: p.cost_e16,
                realised_e16: p.realised_e16,
                fees_e8: p.fees_e8,
                fills: p.fills,
                highest_buy: p.highest_buy,
                lowest_sell: p.lowest_sell,
            };
            body.item(&part.encode())?;
        }
        Ok(())
    }

    fn restore_position(&mut self, item: &Item<'_>) -> Result<(), RestoreError> {
        let part = PositionPart::decode(item);
        let known = self.registered(part.strategy).is_some_and(|t| t.account == part.account);
        if !known || !self.symbol_or_vacant(part.symbol).known {
            return Err(item.bad("strategy, account or symbol").into());
        }
        let index = self.position_for(part.strategy, part.symbol).ok_or(ApplyError::Capacity {
            position: 0,
            what: "position",
            id: self.positions_used as u64,
            capacity: self.positions.len() as u64,
        })?;
        let symbol = &mut self.symbols[usize::from(part.symbol)];
        symbol.qty = symbol.qty.checked_add(part.qty).ok_or(item.bad("quantity"))?;
        let position = &mut self.positions[index as usize];
        position.cost_e16 = part.cost_e16;
        position.realised_e16 = part.realised_e16;
        (position.fees_e8, position.qty, position.fills) = (part.fees_e8, part.qty, part.fills);
        let worth_e16 = part.cost_e16.checked_abs().ok_or(item.bad("cost"))?;
        self.gross_e16.checked_add(worth_e16).ok_or(item.bad("cost"))?;
        let place =
            Order { position: index, strategy: part.strategy, symbol: part.symbol, ..Order::EMPTY }.place();
        self.add_gross(&place, worth_e16);
        Ok(())
    }

    /// Entering orders moves the bounds: they are set behind them.
    fn restore_bounds(&mut self, part: &PositionPart) {
        let index = self.registered(part.strategy).and_then(|tables| tables.position_in(part.symbol));
        if let Some(position) = index.and_then(|index| self.positions.get_mut(index)) {
            (position.highest_buy, position.lowest_sell) = (part.highest_buy, part.lowest_sell);
        }
    }

    fn restore_order(&mut self, item: &Item<'_>) -> Result<(), RestoreError> {
        let part = OrderPart::decode(item)?;
        let position = self.registered(part.strategy).and_then(|tables| tables.position_in(part.symbol));
        let order = Order::restore(&part, position.ok_or(item.bad("position"))? as u32);
        let (qty, units) =
            if order.is_open() { (order.reserved_qty(), order.reserved_units()) } else { (0, 0) };
        let Some(Some(tables)) = self.strategies.get_mut(usize::from(part.strategy)) else {
            return Err(item.bad("strategy").into());
        };
        if !self.orders.put_back(order, &mut tables.open) {
            return Err(ApplyError::Capacity {
                position: 0,
                what: "order",
                id: part.order_id,
                capacity: self.orders.len() as u64,
            }
            .into());
        }
        let added = self.symbol_or_vacant(part.symbol).contract.notional_e16(units);
        added.and_then(|added| self.gross_e16.checked_add(added)).ok_or(item.bad("reservation"))?;
        self.reserve(&order.place(), qty, units);
        Ok(())
    }
}

type PutBack = fn(&mut DedupWindow, &Item<'_>) -> Result<(), CheckpointError>;

/// The size of the tables that a checkpoint was made with.
fn capacity(head: &GatePart) -> Result<Capacity, CheckpointError> {
    let slots = head.order_slots;
    if !slots.is_power_of_two() || slots.max(head.max_positions) > 1 << 31 {
        return Err(missing("a size that a gate can have"));
    }
    Ok(Capacity {
        order_slots: slots as usize,
        max_positions: head.max_positions as usize,
        max_symbols: head.max_symbols,
        max_strategies: head.max_strategies,
        max_accounts: head.max_accounts,
    })
}

const fn missing(what: &'static str) -> CheckpointError {
    CheckpointError::Field { part: Part::Gate, what }
}
