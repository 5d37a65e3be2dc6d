//! Journal records into state: recovery and replay, and every live record that is not a decision or report.

use ringfence_ipc::journal::{DecisionRecord, LimitRecord, MarkRecord, Record, StrategyRecord};
use ringfence_ipc::msg::{IntentKind, Outcome, Report, Side, SymbolId, intent_flags};
use ringfence_ipc::reason::{LimitId, Scope};
use ringfence_ipc::symbol::Symbol;

use super::limits::{
    DEFAULT_DEDUP_QUOTA, GlobalLimits, Notional, Rate, StrategyLimits, SymbolLimits, is_legal,
};
use super::market::Prices;
use super::pipeline::Plan;
use super::position::Contract;
use super::storm::StormLimits;
use super::tables::StrategyTables;
use super::window::Probe;
use super::{ApplyError, ConfigState, Gate};

impl Gate {
    /// Applies one journal record of any kind at its position. Recovery is applying all of them in order.
    ///
    /// A `Strategy` record allocates the strategy's tables unless they are installed, a `Capacity` record whatever
    /// changes its size; no other record allocates.
    ///
    /// # Errors
    /// [`ApplyError`] when the record does not fit the capacity or the state that the records before it built; nothing
    /// has changed then.
    pub fn apply(&mut self, position: u64, record: &Record) -> Result<(), ApplyError> {
        match record {
            Record::Boot(boot) => {
                (self.epoch, self.hash_seed) = (boot.epoch, boot.hash_seed);
                Ok(())
            }
            Record::Symbol { id, symbol } => self.apply_symbol(position, *id, symbol),
            Record::Strategy(strategy) => self.apply_strategy(position, strategy),
            Record::Limit(limit) => self.apply_limit(position, limit),
            Record::Config(config) => {
                let (version, digest, missing) = (config.version, config.digest, config.changes);
                self.config = ConfigState { version, digest, missing };
                Ok(())
            }
            Record::Control(control) => self.apply_control(position, control),
            Record::Mark(mark) => self.apply_mark(position, mark),
            Record::Decision(decision) => self.apply_decision(position, decision),
            Record::Report(report) => self.apply_booked(position, report),
            Record::Stray(stray) => self.apply_stray(position, stray),
            Record::Capacity(capacity) => self.apply_capacity(position, capacity),
            Record::Attach(_) | Record::Close(_) => Ok(()),
        }
    }

    /// How many keys the tables of a strategy must be built for; a window keeps the size it was born with.
    #[must_use]
    pub fn dedup_quota(&self, strategy: u16) -> usize {
        let own =
            self.limit_sets.strategies.get(usize::from(strategy)).and_then(|s| s.get(LimitId::DedupQuota));
        quota_of(own, self.limit_sets.global.get(LimitId::DedupQuota))
    }

    fn apply_symbol(&mut self, position: u64, id: SymbolId, symbol: &Symbol) -> Result<(), ApplyError> {
        within(position, "symbol", id, self.cap.max_symbols)?;
        let state = &mut self.symbols[usize::from(id)];
        let moved = state.positions > 0
            && (state.symbol.name != symbol.name
                || state.symbol.price_scale != symbol.price_scale
                || state.symbol.qty_scale != symbol.qty_scale
                || state.symbol.contract_multiplier != symbol.contract_multiplier);
        if moved {
            return contradiction(position, "a symbol with positions cannot change its name or contract");
        }
        state.symbol = *symbol;
        state.contract = Contract::of(symbol);
        state.known = true;
        Ok(())
    }

    fn apply_strategy(&mut self, position: u64, record: &StrategyRecord) -> Result<(), ApplyError> {
        within(position, "strategy", record.strategy, self.cap.max_strategies)?;
        within(position, "account", record.account, self.cap.max_accounts)?;
        let quota = self.dedup_quota(record.strategy);
        let (cap, seed) = (self.cap, self.hash_seed);
        let limits = StrategyLimits::of(
            &self.limit_sets.strategies[usize::from(record.strategy)],
            &self.limit_sets.global,
        );
        let place = &mut self.strategies[usize::from(record.strategy)];
        if place.as_ref().is_some_and(|t| t.account != record.account || t.name != record.name) {
            return contradiction(position, "a strategy cannot change its account or name");
        }
        let tables = place.get_or_insert_with(|| StrategyTables::new(record, quota, seed, &cap));
        tables.registered = true;
        tables.limits = limits;
        self.refresh_barriers();
        Ok(())
    }

    fn apply_limit(&mut self, position: u64, record: &LimitRecord) -> Result<(), ApplyError> {
        self.put_limit(position, record)?;
        self.refresh_limits();
        Ok(())
    }

    /// Applies one `Limit` record after another, the first at `position`: the checks see all of them or none.
    ///
    /// # Errors
    /// As [`Gate::apply`]; those before the one that does not fit are applied then.
    pub fn apply_limits(&mut self, position: u64, records: &[LimitRecord]) -> Result<(), ApplyError> {
        let put = (position..).zip(records).try_for_each(|(at, record)| self.put_limit(at, record));
        self.refresh_limits();
        put
    }

    fn put_limit(&mut self, position: u64, record: &LimitRecord) -> Result<(), ApplyError> {
        if !is_legal(record.scope, record.limit) {
            return contradiction(position, "this limit does not exist for this scope");
        }
        let id = usize::from(record.scope_id);
        let sets = &mut self.limit_sets;
        match record.scope {
            Scope::Global => sets.global.set(record.limit, record.value),
            Scope::Account => {
                within(position, "account", record.scope_id, self.cap.max_accounts)?;
                sets.accounts[id].set(record.limit, record.value);
                self.accounts[id].max_gross = Notional::of(&sets.accounts[id], LimitId::MaxGrossNotionalE8);
            }
            Scope::Symbol => {
                within(position, "symbol", record.scope_id, self.cap.max_symbols)?;
                sets.symbols[id].set(record.limit, record.value);
            }
            Scope::Strategy => {
                within(position, "strategy", record.scope_id, self.cap.max_strategies)?;
                if record.limit != LimitId::Entitlement {
                    sets.strategies[id].set(record.limit, record.value);
                } else if !self.entitlements.set(record.scope_id, record.value) {
                    return contradiction(position, "an entitlement to a symbol beyond the capacity");
                }
            }
        }
        self.config.missing = self.config.missing.saturating_sub(1);
        Ok(())
    }

    /// What the checks read, from what was set. Limits change rarely: all of it at once.
    /// A rate that changes begins with a full bucket: what another rate had left in it says nothing about this one.
    pub(super) fn refresh_limits(&mut self) {
        fn refill(was: Rate, is: Rate, arrival_ns: &mut u64) {
            if was != is {
                *arrival_ns = 0;
            }
        }
        let sets = &self.limit_sets;
        let was = std::mem::replace(&mut self.limits, GlobalLimits::of(&sets.global));
        refill(was.orders, self.limits.orders, &mut self.orders_arrival_ns);
        self.storm.limits = StormLimits::of(&sets.global);
        for (state, own) in self.symbols.iter_mut().zip(&sets.symbols) {
            let was = std::mem::replace(&mut state.limits, SymbolLimits::of(own, &sets.global));
            refill(was.orders, state.limits.orders, &mut state.orders_arrival_ns);
        }
        for (tables, own) in self.strategies.iter_mut().zip(&sets.strategies) {
            if let Some(tables) = tables {
                let was = std::mem::replace(&mut tables.limits, StrategyLimits::of(own, &sets.global));
                refill(was.orders, tables.limits.orders, &mut tables.orders_arrival_ns);
                refill(was.cancels, tables.limits.cancels, &mut tables.cancels_arrival_ns);
                tables.conduct.judge(&tables.limits);
            }
        }
    }

    fn apply_mark(&mut self, position: u64, record: &MarkRecord) -> Result<(), ApplyError> {
        within(position, "symbol", record.symbol, self.cap.max_symbols)?;
        self.keep_day(record.now_ns);
        let marked = Prices { bid: record.bid_price, ask: record.ask_price, last: record.last_price };
        let price = marked.mark();
        if price > 0 {
            self.value_anew(record.symbol, price);
        }
        let state = &mut self.symbols[usize::from(record.symbol)];
        (state.marked, state.marked_ns) = (marked, record.now_ns);
        state.mark_price = if price > 0 { price } else { state.mark_price };
        Ok(())
    }

    fn apply_decision(&mut self, position: u64, record: &DecisionRecord) -> Result<(), ApplyError> {
        let Some(tables) = self.registered(record.strategy) else {
            return contradiction(position, "a decision for a strategy that does not exist");
        };
        let intent = &record.intent;
        let words = intent.encode();
        let content = tables.window.content(words[0], words[3], words[4], words[6]);
        let spot = match intent.key {
            0 => None,
            key => match tables.window.probe(key) {
                Probe::Vacant(spot) => Some(spot),
                Probe::Known(_) => return contradiction(position, "a key is decided twice"),
                Probe::Full => return contradiction(position, "the dedup window is smaller than it was"),
            },
        };
        if record.outcome == Outcome::Accepted {
            self.check_accepted(position, record)?;
        }
        self.enact(record, Plan { spot, content }, position);
        Ok(())
    }

    /// That an accepted decision's order fits the table and the stores.
    fn check_accepted(&self, position: u64, record: &DecisionRecord) -> Result<(), ApplyError> {
        let (intent, id) = (&record.intent, record.order_id);
        let known = self.symbol_or_vacant(intent.symbol).known;
        let ours = || self.orders.get(id).is_some_and(|o| o.strategy == record.strategy && o.is_open());
        let tables = self.registered(record.strategy);
        let fits = match intent.kind {
            IntentKind::New => {
                let has_position = tables.is_some_and(|t| t.position_in(intent.symbol).is_some());
                let sane = intent.qty > 0 && intent.price >= 0 && self.sums_fit(record);
                known
                    && sane
                    && self.orders.admits(id)
                    && (has_position || self.positions_used < self.positions.len())
            }
            IntentKind::ForceFlat => {
                let flat = tables.and_then(|t| self.flattening(t, intent.symbol, record.reference_price));
                known && flat.is_some() && self.orders.admits(id)
            }
            IntentKind::Cancel => ours() || (id == 0 && intent.flags & intent_flags::BY_KEY != 0),
            IntentKind::Amend => ours() && intent.qty > 0 && intent.price > 0 && self.sums_fit(record),
            IntentKind::MassCancel => true,
        };
        if fits {
            Ok(())
        } else {
            contradiction(position, "an accepted decision does not fit the state before it")
        }
    }

    /// A record that decide would not have accepted must not overflow a sum either. Counts as decide does: what the
    /// order adds to its own side, of an amend only what it adds to what the order reserves already.
    fn sums_fit(&self, record: &DecisionRecord) -> bool {
        let intent = &record.intent;
        let amended = self.orders.get(record.order_id).filter(|_| intent.kind == IntentKind::Amend);
        let symbol = self.symbol_or_vacant(amended.map_or(intent.symbol, |order| order.symbol));
        let (side, added_qty, added_e16) = match amended {
            None => {
                let price = self.reserve_price(record);
                let units = price.map(|price| i128::from(price) * i128::from(intent.qty));
                let added_e16 = units.and_then(|units| symbol.contract.notional_e16(units));
                (intent.side, intent.qty, added_e16)
            }
            Some(order) => {
                let (added_qty, added_e16) = order.amend_adds(intent.price, intent.qty, &symbol.contract);
                (order.side, added_qty, added_e16)
            }
        };
        let open = if side == Side::Buy { symbol.open_buys } else { symbol.open_sells };
        added_e16.is_some_and(|added| self.gross_e16.checked_add(added).is_some())
            && open.checked_add(added_qty).is_some()
    }

    fn apply_booked(&mut self, position: u64, record: &Report) -> Result<(), ApplyError> {
        match self.book(record, record.ts_ns) {
            Ok(booked) if (Report { journal_seq: record.journal_seq, ..booked.report }) == *record => {
                self.apply_report(&booked);
                Ok(())
            }
            Ok(_) => contradiction(position, "a report says otherwise than the state before it"),
            Err(_) => contradiction(position, "a report for an order that cannot take it"),
        }
    }
}

/// Keys that a strategy remembers whose own quota is `own`, where the gate's is `global`.
#[must_use]
pub fn quota_of(own: Option<i64>, global: Option<i64>) -> usize {
    let quota = own.or(global).unwrap_or(DEFAULT_DEDUP_QUOTA);
    usize::try_from(quota.clamp(1, 1 << 30)).unwrap_or(1 << 30)
}

pub(super) fn within(position: u64, what: &'static str, id: u16, capacity: u16) -> Result<(), ApplyError> {
    if id < capacity {
        return Ok(());
    }
    Err(ApplyError::Capacity { position, what, id: u64::from(id), capacity: u64::from(capacity) })
}

pub(super) fn contradiction(position: u64, what: &'static str) -> Result<(), ApplyError> {
    Err(ApplyError::Contradiction { position, what })
}
