//! The end of a run: no more faults, and everything must come to rest as it should.

use std::collections::BTreeMap;

use ringfence_ipc::journal::Record;
use ringfence_ipc::msg::{Intent, IntentKind, OperatorExt, Side, intent_flags};
use ringfence_ipc::reason::{Mode, Scope};

use super::client::Link;
use super::life::End;
use super::model::Ask;
use super::setting::STRATEGIES;
use super::world::{Check, World, text};
use crate::gate::Replayer;
use crate::journal::tests::sim::Rng;
use crate::runtime::venue_port::BLANK_REPORT;

/// Rounds of "the venue works, everybody reads" that suffice for anything in flight.
const ROUNDS: usize = 200;

fn hold(holds: bool, what: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { Err(what()) }
}

impl World {
    /// Safety was checked on the way; this is liveness.
    pub fn come_to_rest(&mut self) -> Check {
        self.heal()?;
        self.flow()?;
        self.orders_are_where_they_should_be()?;
        self.flow()?;
        // A crowded dedup window may refuse a key; another key finds a place.
        let attempts = if self.setting.forgets { 20 } else { 1 };
        for _ in 0..attempts {
            self.cancel_everything()?;
            self.flow()?;
        }
        hold(self.life().reactor.gate.open_order_count() == 0, || "orders stay open".to_owned())?;
        self.books_agree()?;
        self.everybody_was_answered()?;
        self.journal_tells_it_all()
    }

    /// The disk works, the archiver runs, everybody reads, every mode is open, and the venue repeats what got lost.
    fn heal(&mut self) -> Check {
        self.archiver_stalled = false;
        self.medium.set_free(u64::MAX);
        if self.medium.is_dead() {
            self.restart(End::Killed, &mut Rng(1))?;
        }
        // The archiver looks at the disk's space four times a second.
        self.now_ns += 1_000_000_000;
        self.archive();
        self.control(Scope::Global, 0, Mode::AllowAll);
        for (strategy, ..) in STRATEGIES {
            self.control(Scope::Strategy, strategy, Mode::AllowAll);
        }
        self.clients.iter_mut().for_each(|client| client.slow = false);
        self.street().reconcile();
        Ok(())
    }

    fn flow(&mut self) -> Check {
        for _ in 0..ROUNDS {
            self.now_ns += 10_000_000;
            self.archive();
            self.venue()?;
            for at in 0..self.clients.len() {
                self.attach(at)?;
                self.settle()?;
                self.clients[at].read()?;
            }
            self.settle()?;
            let quiet = self.street().is_quiet() && self.delivered.is_empty();
            if quiet && self.clients.iter().all(|c| c.link == Link::Up && c.unanswered() == 0) {
                return Ok(());
            }
        }
        Err("something stays in flight".to_owned())
    }

    /// Open at the gate is open at the venue. Where a report came late or never, the gate may not know that an order has
    /// ended: then somebody asks the venue, and the order ends.
    fn orders_are_where_they_should_be(&mut self) -> Check {
        let Self { life: Some(life), model, .. } = self else { return Ok(()) };
        for order in model.orders.values().filter(|order| order.is_open()) {
            let truth = life.street.truth.get(&order.id);
            if truth.is_some_and(|t| t.open) {
                continue;
            }
            let disturbed = life.street.disturbed.contains(&order.id);
            hold(disturbed, || format!("{order:?} is open, at the venue: {truth:?}"))?;
            life.street.answer_for(order.id, &BLANK_REPORT);
        }
        Ok(())
    }

    fn cancel_everything(&mut self) -> Check {
        let desk = self.clients.iter().position(|client| client.strategy == 0).ok_or("no operator")?;
        // Beyond the keys that a cancel may have reserved.
        self.next_key += 100;
        for (strategy, account, _) in STRATEGIES {
            self.next_key += 1;
            let all = Intent {
                kind: IntentKind::MassCancel,
                flags: intent_flags::OPERATOR,
                ..Intent::limit(0, Side::Buy, 0, 0, self.next_key, self.now_ns)
            };
            let ext = OperatorExt::new(strategy, account, "desk-2", 8).map_err(text)?;
            let ask = Ask { strategy: 0, operator: true, words: all.encode(), ext: Some(ext.encode()) };
            hold(self.clients[desk].submit(ask)?, || "no room for a mass cancel".to_owned())?;
        }
        self.settle()
    }

    /// Positions are what the venue filled; nothing is reserved for nobody.
    fn books_agree(&mut self) -> Check {
        let Self { life: Some(life), log, forgotten, .. } = self else { return Ok(()) };
        let gate = &life.reactor.gate;
        let mut places = BTreeMap::new();
        for (_, record) in log.iter() {
            if let Record::Report(r) = record {
                places.insert(r.order_id, ((r.strategy, r.symbol), r.side, r.cum_qty));
            }
        }
        let mut filled: BTreeMap<(u16, u16), i128> = BTreeMap::new();
        for (id, (place, side, booked)) in places {
            // A fill that found no order any more is counted by the gate, and by nobody else.
            let truth = life.street.truth.get(&id).filter(|_| !forgotten.contains(&id));
            let cum = truth.map_or(booked, |truth| truth.cum);
            *filled.entry(place).or_default() += i128::from(cum) * i128::from(side.sign());
        }
        for p in gate.positions() {
            let filled = filled.get(&(p.strategy, p.symbol)).copied().unwrap_or(0);
            hold(i128::from(p.qty) == filled, || format!("{p:?}, the venue filled {filled}"))?;
            hold(p.open_buys == 0 && p.open_sells == 0, || format!("reserved for nobody: {p:?}"))?;
        }
        let cost: i128 = gate.positions().map(|p| p.cost_e16.abs()).sum();
        hold(gate.totals().gross_e16 == cost, || "gross is not the positions' cost".to_owned())
    }

    /// Each intent once, each report once to whoever was there.
    fn everybody_was_answered(&mut self) -> Check {
        for client in &self.clients {
            hold(client.asked == client.answered, || {
                format!(
                    "{} asked {} times and has {} answers",
                    client.strategy, client.asked, client.answered
                )
            })?;
            let mine = self.log.iter().filter(|(at, record)| {
                *at >= client.since && matches!(record, Record::Report(r) if r.strategy == client.strategy)
            });
            let mine: Vec<u64> = mine.map(|(at, _)| *at).collect();
            hold(client.heard == mine, || format!("{} was not told every report once", client.strategy))?;
        }
        Ok(())
    }

    /// The journal alone makes the same state again, and decides the same again.
    fn journal_tells_it_all(&mut self) -> Check {
        let state_hash = self.life().reactor.gate.state_hash();
        let replayed = Replayer::from_journal().run(self.log.iter().copied()).map_err(text)?;
        hold(replayed.mismatches == 0, || format!("replay decides otherwise: {:?}", replayed.first))?;
        hold(replayed.state_hash == state_hash, || "replay makes another state".to_owned())
    }
}
