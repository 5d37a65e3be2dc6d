//! What the run sees of the gate, held against the model after every step.

use std::collections::{BTreeMap, VecDeque};

use ringfence_ipc::journal::{DecisionRecord, Record};
use ringfence_ipc::msg::{
    Command, CommandKind, Decision, IntentKind, OrderState, Outcome, Report, intent_flags,
};
use ringfence_ipc::reason::{Reason, Scope};

use super::client::{Asked, Told};
use super::model::{Ask, Booked, Expected, Model, Sent};
use super::setting::STRATEGIES;
use super::world::{Check, World, blank_model, text};
use crate::gate::{Gate, Space};
use ringfence_ipc::journal::hot::Look;

/// Passes in a row that may find something to do.
const PASSES: usize = 1_000;

fn hold(holds: bool, what: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { Err(what()) }
}

/// A command that reached the venue: the next that must leave, or a cancel that is owed.
pub fn sent(model: &mut Model, to_send: &mut VecDeque<Sent>, command: &Command) -> Check {
    let seen = (command.kind, command.order_id, command.price, command.qty);
    if to_send.front() == Some(&seen) {
        to_send.pop_front();
        return Ok(());
    }
    let owed = model.owed.get_mut(&command.order_id).filter(|(left, _)| *left > 0);
    if let Some(owed) = owed.filter(|_| command.kind == CommandKind::Cancel) {
        *owed = (owed.0 - 1, true);
        return Ok(());
    }
    hold(false, || format!("sent {seen:?}, expected {:?} or one of {:?}", to_send.front(), model.owed))
}

impl World {
    /// Runs the gate until it finds nothing to do, and looks at everything it did.
    pub fn settle(&mut self) -> Check {
        let now_ns = self.now_ns;
        for _ in 0..PASSES {
            let life = self.life();
            life.reactor.tape_now_ns = Some(now_ns);
            let before = life.street.untaken();
            let busy = life.reactor.pass();
            let taken = before - life.street.untaken();
            self.learn(taken)?;
            self.control_thread()?;
            for client in self.clients.iter_mut().filter(|client| !client.slow) {
                client.read()?;
            }
            if !busy {
                return self.compare();
            }
        }
        Err(format!("{PASSES} passes in a row were busy"))
    }

    /// What stands in the journal since the last look.
    fn fresh_records(&mut self) -> Result<VecDeque<(u64, Record)>, String> {
        let mut fresh = VecDeque::new();
        loop {
            let at = self.next_position;
            match self.life().hot.look(at) {
                Look::Record(words) => {
                    let record = Record::decode(words.slots()).map_err(text)?;
                    self.next_position += words.slots().len() as u64;
                    self.log.push((at, record));
                    fresh.push_back((at, record));
                }
                Look::NotYet => return Ok(fresh),
                Look::Overwritten | Look::Damaged => return Err(format!("the hot ring is damaged at {at}")),
            }
        }
    }

    /// One pass: first the mail, then `taken` reports, then intents, in this order.
    fn learn(&mut self, taken: usize) -> Check {
        let mut fresh = self.fresh_records()?;
        let is_mail = |(_, r): &mut (u64, Record)| {
            !matches!(r, Record::Report(_) | Record::Decision(_) | Record::Stray(_))
        };
        while let Some((at, record)) = fresh.pop_front_if(is_mail) {
            self.model.recorded(at, &record);
        }
        for _ in 0..taken {
            let report = self.delivered.pop_front().ok_or("a report was taken that nobody sent")?;
            let forgotten = self.model.order(report.order_id).is_none();
            if let Some(booked) = self.model.reported(&report) {
                same_report(&report, &booked, fresh.pop_front())?;
            } else if forgotten && report.last_qty > 0 {
                self.forgotten.insert(report.order_id);
                if let Some(qty) = self.model.stray(&report) {
                    let record = fresh.pop_front();
                    same_stray(&report, qty, record)?;
                    let of = (report.order_id, report.symbol);
                    self.model.strayed(of, report.side, qty, report.cum_qty, report.trade_id);
                }
            }
        }
        let mut told = Vec::new();
        for client in &mut self.clients {
            told.push(client.spy()?);
        }
        self.compare_told(&told)?;
        let mut answers: Vec<VecDeque<Decision>> = told.into_iter().map(answers).collect();
        for (at, record) in fresh {
            let Record::Decision(decision) = record else {
                return Err(format!("unexpected at {at}: {record:?}"));
            };
            self.decided(at, &decision, &mut answers)?;
        }
        for (who, answers) in answers.into_iter().enumerate() {
            for answer in answers {
                let asked = self.clients[who].unserved.pop_front().ok_or("an answer to nothing")?;
                self.judge(&asked, Some(&answer), None)?;
            }
        }
        Ok(())
    }

    /// A journalled decision, and those before it in the same ring that left no trace.
    fn decided(&mut self, at: u64, d: &DecisionRecord, answers: &mut [VecDeque<Decision>]) -> Check {
        let operator = d.ext.is_some();
        let owner = |c: &super::client::Client| {
            if operator { c.strategy == 0 } else { c.strategy == d.strategy }
        };
        let who = self.clients.iter().position(owner).ok_or("a decision for nobody")?;
        loop {
            let asked = self.clients[who].unserved.pop_front();
            let asked = asked.ok_or_else(|| format!("decided at {at} what nobody asked: {d:?}"))?;
            let answer = answers[who].pop_front();
            if asked.position == d.intent_position {
                return self.judge(&asked, answer.as_ref(), Some((at, d)));
            }
            self.judge(&asked, answer.as_ref(), None)?;
        }
    }

    /// One intent: the answer (unseen where the client is gone) and the record, if there is one.
    fn judge(
        &mut self,
        asked: &Asked,
        answer: Option<&Decision>,
        record: Option<(u64, &DecisionRecord)>,
    ) -> Check {
        let expected = self.model.answer(&asked.ask, self.now_ns);
        let wrong = || format!("{asked:?}: expected {expected:?}, got {answer:?}, journalled {record:?}");
        let fits = match (&expected, record, answer) {
            (Expected::Accepted(id), Some((_, d)), _) => d.outcome == Outcome::Accepted && d.order_id == *id,
            (Expected::Refused(reason), Some((_, d)), _) => {
                !reason.is_transient() && d.outcome == Outcome::Rejected && d.reason == *reason
            }
            (Expected::Duplicate(known), None, Some(a)) => {
                let said = (a.outcome, a.reason, a.journal_seq, a.order_id, a.observed, a.limit);
                let stored =
                    (known.outcome, known.reason, known.seq, known.order_id, known.observed, known.limit);
                let blank = known.outcome == Outcome::Accepted;
                a.duplicate && (said == stored || (blank && said.0 == stored.0 && said.3 == stored.3))
            }
            (Expected::Refused(reason), None, Some(a)) => {
                reason.is_transient() && !a.duplicate && a.reason == *reason
            }
            // Nobody was told: the client is gone.
            (Expected::Duplicate(_), None, None) => true,
            (Expected::Refused(reason), None, None) => reason.is_transient(),
            _ => false,
        };
        let excused = self.no_room(asked, answer) || self.forgot(&asked.ask, answer, record);
        hold(fits || excused, wrong)?;
        if let Some((at, d)) = record {
            let told = answer.is_none_or(|a| {
                (a.journal_seq, a.reason, a.order_id, a.duplicate) == (at, d.reason, d.order_id, false)
            });
            hold(told && d.intent.encode() == asked.ask.words && d.now_ns == self.now_ns, wrong)?;
            if let Some(sent) = self.model.recorded(at, &Record::Decision(*d)) {
                self.to_send.push_back(sent);
            }
        }
        Ok(())
    }

    /// Whether it was refused for want of room, and there is none.
    fn no_room(&mut self, asked: &Asked, answer: Option<&Decision>) -> bool {
        let kind = asked.ask.words[0] as u8;
        let reduces = [IntentKind::Cancel, IntentKind::MassCancel, IntentKind::ForceFlat];
        let needed =
            if reduces.iter().any(|reduces| *reduces as u8 == kind) { Space::Reserved } else { Space::Open };
        let reactor = &mut self.life().reactor;
        let space = reactor.journal_space(1);
        let (journal, venue) = (space < needed, reactor.venue.space() < needed);
        match answer.map(|a| a.reason) {
            Some(Reason::JournalFull) => journal && space != Space::Failed,
            Some(Reason::JournalFailed) => journal && space == Space::Failed,
            Some(Reason::VenueBusy) => venue,
            Some(_) => false,
            None => journal || venue,
        }
    }

    /// Whether the answer is one that a dedup window may give that has forgotten keys.
    fn forgot(&self, ask: &Ask, answer: Option<&Decision>, record: Option<(u64, &DecisionRecord)>) -> bool {
        if !self.setting.forgets {
            return false;
        }
        if let Some((_, d)) = record {
            let by_key = d.intent.flags & intent_flags::BY_KEY != 0;
            let reserves = by_key && d.intent.kind == IntentKind::Cancel && d.order_id == 0;
            let key = (d.strategy, d.intent.key);
            let known = self.model.answers.get(&key).is_some_and(|known| known.asked.is_some());
            // A cancel that came first may be forgotten; what was decided once is never decided again.
            return reserves || (!known && self.model.answers.contains_key(&key));
        }
        let stamped_ns = ask.words[5];
        let newest_ns = self.model.newest_ns.values().copied().max().unwrap_or(0);
        answer.is_none_or(|a| match a.reason {
            Reason::StaleKey => !a.duplicate && stamped_ns <= newest_ns,
            Reason::DedupBusy => !a.duplicate,
            Reason::CancelledBeforeArrival => a.duplicate,
            _ => false,
        })
    }

    /// Reports in the event rings say what the journal says.
    fn compare_told(&self, told: &[Vec<Told>]) -> Check {
        for event in told.iter().flatten() {
            if let Told::Report(report) = event {
                let at = self.log.binary_search_by_key(&report.journal_seq, |(at, _)| *at);
                let record = at.ok().map(|at| self.log[at].1);
                let same = matches!(record, Some(Record::Report(r)) if Report { journal_seq: report.journal_seq, ..r } == *report);
                hold(same, || format!("told {report:?}, journalled {record:?}"))?;
            }
        }
        Ok(())
    }

    /// Modes, orders, positions and exposure are the model's; and the venue has nothing that is not reserved.
    fn compare(&mut self) -> Check {
        let Self { life: Some(life), model, .. } = self else { return Ok(()) };
        let gate = &life.reactor.gate;
        let modes = STRATEGIES.iter().map(|(id, ..)| Some(*id)).chain([None]);
        for of in modes {
            hold(gate.mode(of) == model.mode(of), || format!("mode of {of:?}"))?;
        }
        let mut open = 0;
        for order in model.orders.values() {
            open += usize::from(order.is_open());
            let view = gate.order(order.id);
            let same = view.is_some_and(|v| {
                (v.state, v.price, v.qty, v.cum_qty) == (order.state, order.price, order.qty, order.cum)
                    && (v.strategy, v.symbol, v.side) == (order.strategy, order.symbol, order.side)
            });
            hold(same, || format!("order: expected {order:?}, is {view:?}"))?;
        }
        hold(gate.open_order_count() == open, || {
            format!("{} open, expected {open}", gate.open_order_count())
        })?;
        compare_sums(gate, model)?;
        for (id, truth) in life.street.truth.iter().filter(|(_, truth)| truth.open) {
            let reserved = model.order(*id).filter(|o| o.is_open()).map_or(-1, |o| o.reserved_qty());
            hold(reserved >= truth.total - truth.cum, || {
                format!("order {id:#x} works at the venue with {truth:?}, reserved are {reserved}")
            })?;
        }
        Ok(())
    }

    /// Once the venue has taken every command: no cancel is owed any more, and none was forgotten.
    pub fn compare_owed(&mut self) -> Check {
        let Self { life: Some(life), model, to_send, .. } = self else { return Ok(()) };
        if life.street.commands_waiting() > 0 || life.reactor.gate.mass_cancels_owed() > 0 {
            return Ok(());
        }
        hold(to_send.is_empty(), || format!("never left for the venue: {to_send:?}"))?;
        for (id, (_, sent)) in std::mem::take(&mut model.owed) {
            let waits = !sent && model.order(id).is_some_and(|o| o.state == OrderState::PendingCancel);
            hold(!waits, || format!("the owed cancel of {id:#x} never left"))?;
        }
        Ok(())
    }

    /// Marks are no decision.
    pub fn read_marks(&mut self) -> Check {
        let fresh = self.fresh_records()?;
        hold(fresh.iter().all(|(_, r)| matches!(r, Record::Mark(_))), || format!("no marks: {fresh:?}"))
    }

    pub fn read_close(&mut self) -> Check {
        let fresh = self.fresh_records()?;
        let fits = |r: &Record| matches!(r, Record::Mark(_) | Record::Close(_));
        hold(fresh.iter().all(|(_, r)| fits(r)), || format!("at close: {fresh:?}"))
    }

    /// The recovered gate is the one that died, or after a power loss what the promised part of the journal makes.
    pub fn compare_recovered(&mut self, gate: &Gate, end: u64) -> Check {
        if let Some(state_hash) = self.survived.take() {
            hold(end == self.next_position, || {
                format!("recovered to {end}, written to {}", self.next_position)
            })?;
            hold(gate.state_hash() == state_hash, || "recovery made another state".to_owned())?;
        } else {
            hold(end >= self.promised, || format!("recovered to {end}, promised {}", self.promised))?;
            self.log.retain(|(at, _)| *at < end);
            self.next_position = end;
            let mut again = Gate::new(self.setting.cap, 0, 0);
            self.model = blank_model(&self.setting);
            for (at, record) in &self.log {
                again.apply(*at, record).map_err(text)?;
                self.model.recorded(*at, record);
            }
            hold(gate.state_hash() == again.state_hash(), || "the recovered journal is another".to_owned())?;
        }
        self.model.quotes.clear();
        self.model.owed.clear();
        compare_sums(gate, &self.model)
    }

    /// The first records of a life: what became of the orders of the last.
    pub fn began_again(&mut self) -> Check {
        let lost = self.model.lost();
        let mut reports = Vec::new();
        for (at, record) in self.fresh_records()? {
            if let Record::Report(report) = record {
                reports.push((report.order_id, report.kind));
            }
            self.model.recorded(at, &record);
        }
        hold(reports == lost, || format!("after the restart: expected {lost:?}, are {reports:?}"))?;
        self.to_send = self.model.reentries().into();
        self.compare()
    }
}

fn answers(told: Vec<Told>) -> VecDeque<Decision> {
    let decision = |told| match told {
        Told::Decision(decision) => Some(decision),
        Told::Report(_) => None,
    };
    told.into_iter().filter_map(decision).collect()
}

fn same_report(sent: &Report, booked: &Booked, record: Option<(u64, Record)>) -> Check {
    let same = matches!(record, Some((_, Record::Report(r))) if r.order_id == sent.order_id
        && r.kind == sent.kind
        && Booked {
            state: r.state,
            last_qty: r.last_qty,
            cum_qty: r.cum_qty,
            leaves_qty: r.leaves_qty,
            late: r.late,
            overfill: r.reason == Reason::Overfill,
        } == *booked);
    hold(same, || format!("{sent:?}: expected {booked:?}, journalled {record:?}"))
}

fn same_stray(sent: &Report, qty: i64, record: Option<(u64, Record)>) -> Check {
    let same = matches!(record, Some((_, Record::Stray(s))) if s.order_id == sent.order_id
        && (s.symbol, s.side, s.qty, s.price) == (sent.symbol, sent.side, qty, sent.last_price)
        && (s.cum_qty, s.trade_id, s.fee_e8) == (sent.cum_qty, sent.trade_id, sent.fee_e8));
    hold(same, || format!("{sent:?}: expected a stray of {qty}, journalled {record:?}"))
}

fn compare_sums(gate: &Gate, model: &Model) -> Check {
    let levels = [(Scope::Global, 1), (Scope::Account, 2), (Scope::Symbol, 3), (Scope::Strategy, 4)];
    for (scope, count) in levels {
        for id in 0..count {
            let (is, expected) = (gate.gross_e16(scope, id), model.gross(scope, id));
            hold(is.unwrap_or(0) == expected, || {
                format!("gross of {scope} {id}: {is:?}, expected {expected}")
            })?;
        }
    }
    let strays = gate.strays().map(|s| ((s.order_id, s.symbol), (s.cum_qty, s.net_qty, s.last_trade_id)));
    let expected = model.strays.iter().map(|(of, s)| (*of, (s.cum, s.net, s.last_trade)));
    let (strays, expected): (BTreeMap<_, _>, BTreeMap<_, _>) = (strays.collect(), expected.collect());
    hold(strays == expected, || format!("strays {strays:?}, expected {expected:?}"))?;
    hold(gate.positions().count() == model.positions.len(), || "another number of positions".to_owned())?;
    for view in gate.positions() {
        let place = (view.strategy, view.symbol);
        let p = model.positions.get(&place).ok_or("a position too many")?;
        let sums = |side| model.open_sum(Some(place.0), place.1, side);
        let same = i128::from(view.qty) == p.qty
            && (view.cost_e16, view.realised_e16, view.fees_e8) == (p.cost_e16, p.realised_e16, p.fees_e8)
            && view.fills == p.fills
            && i128::from(view.open_buys) == sums(ringfence_ipc::msg::Side::Buy)
            && i128::from(view.open_sells) == sums(ringfence_ipc::msg::Side::Sell);
        hold(same, || format!("position {view:?}, expected {p:?}"))?;
    }
    Ok(())
}
