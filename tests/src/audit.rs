//! Compares what strategies were told with what the journal says. Every disagreement is a panic that names it.

use std::collections::{BTreeMap, HashMap, HashSet};

use ringfence_ipc::journal::{DecisionRecord, Record};
use ringfence_ipc::msg::{
    Decision, DurabilityTier, Intent, IntentKind, Outcome, Report, ReportKind, StrategyId, Words, kind,
};

use crate::diary::{REBORN, SENT};

/// What an audit counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Intents that went into a ring.
    pub sent: u64,
    /// Decisions read by strategies.
    pub decided: u64,
    /// Of these: repeats of a stored decision.
    pub duplicates: u64,
    /// Of these: not stored, by reason.
    pub transient: BTreeMap<&'static str, u64>,
    /// Decisions in the journal.
    pub journalled: u64,
    /// New orders accepted in the journal.
    pub orders: u64,
    /// Fills in the journal.
    pub fills: u64,
    /// Intents published by a process that died before it could read the answer, and decided all the same.
    pub drained: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.sent += other.sent;
        self.decided += other.decided;
        self.duplicates += other.duplicates;
        for (reason, count) in other.transient {
            *self.transient.entry(reason).or_default() += count;
        }
        self.journalled += other.journalled;
        self.orders += other.orders;
        self.fills += other.fills;
        self.drained += other.drained;
    }
}

/// A journal, checked in itself.
pub struct Ledger {
    decisions: HashMap<u64, DecisionRecord>,
    by_key: HashMap<(StrategyId, u128), u64>,
    reports: HashMap<StrategyId, HashMap<u64, Report>>,
    /// What it holds.
    pub counts: Counts,
}

impl Ledger {
    /// Checks that each key was decided once, each order id given once, each fill booked once.
    ///
    /// # Panics
    /// When one was not.
    #[must_use]
    pub fn new(journal: Vec<(u64, Record)>) -> Self {
        let mut ledger = Self {
            decisions: HashMap::new(),
            by_key: HashMap::new(),
            reports: HashMap::new(),
            counts: Counts::default(),
        };
        let (mut order_ids, mut fills) = (HashSet::new(), HashSet::new());
        for (position, record) in journal {
            match record {
                Record::Decision(made) => {
                    ledger.counts.journalled += 1;
                    let earlier = ledger.by_key.insert((made.strategy, made.intent.key), position);
                    assert_eq!(earlier, None, "one key was decided twice: {made:?} at {position}");
                    if made.intent.kind == IntentKind::New && made.outcome == Outcome::Accepted {
                        ledger.counts.orders += 1;
                        assert!(order_ids.insert(made.order_id), "an order id was given twice: {made:?}");
                    }
                    ledger.decisions.insert(position, made);
                }
                Record::Report(report) => {
                    if report.kind == ReportKind::Fill {
                        ledger.counts.fills += 1;
                        let id = (report.symbol, report.trade_id);
                        assert!(fills.insert(id), "a fill was booked twice: {report:?}");
                    }
                    ledger.reports.entry(report.strategy).or_default().insert(position, report);
                }
                _ => {}
            }
        }
        ledger
    }

    /// Where the decision about `key` stands.
    #[must_use]
    pub fn decided(&self, strategy: StrategyId, key: u128) -> Option<&DecisionRecord> {
        self.by_key.get(&(strategy, key)).and_then(|position| self.decisions.get(position))
    }

    /// Checks one strategy's diary: every decision it read is the journal's, to the word; whatever its last process
    /// sent has exactly one; every report it read is the journal's, once, and with `every_report` none is missing.
    ///
    /// # Panics
    /// When one is not.
    pub fn check(&self, strategy: StrategyId, diary: &[Words], every_report: bool) -> Counts {
        let mut counts = Counts::default();
        let lives: Vec<&[Words]> = diary.split(|words| words[0] == REBORN).collect();
        let mut reports = 0;
        for (number, life) in lives.iter().enumerate() {
            let last = number + 1 == lives.len();
            let (life_counts, told) = self.check_life(strategy, life, last);
            counts += life_counts;
            reports += told;
        }
        let journalled = self.reports.get(&strategy).map_or(0, HashMap::len);
        assert!(!every_report || reports == journalled, "read {reports} reports of {journalled}");
        counts
    }

    fn check_life(&self, strategy: StrategyId, life: &[Words], last: bool) -> (Counts, usize) {
        let mut counts = Counts::default();
        let mut sent: HashMap<u64, u64> = HashMap::new();
        let mut answered: HashSet<u64> = HashSet::new();
        let mut reports = HashSet::new();
        for words in life {
            if words[0] == SENT {
                counts.sent += 1;
                assert_eq!(sent.insert(words[2], words[1]), None, "position {} was given twice", words[2]);
            } else if words[0] as u8 == kind::DECISION {
                let decision = Decision::decode(words).expect("a diary holds what the client decoded");
                counts.decided += 1;
                counts.duplicates += u64::from(decision.duplicate);
                let position = decision.intent_position;
                assert_eq!(
                    sent.get(&position),
                    Some(&decision.key_low),
                    "an answer to something else: {decision:?}"
                );
                assert!(answered.insert(position), "position {position} was answered twice");
                if decision.tier == DurabilityTier::None && !decision.duplicate {
                    *counts.transient.entry(decision.reason.name()).or_default() += 1;
                } else {
                    self.same(strategy, &decision);
                }
            } else if words[0] as u8 == kind::REPORT {
                assert!(reports.insert(words[1]), "a report was told twice: {words:?}");
                let booked = self.reports.get(&strategy).and_then(|of| of.get(&words[1]));
                let booked = booked.unwrap_or_else(|| panic!("the journal lost a report: {words:?}"));
                let told = Report { journal_seq: words[1], ..*booked }.encode()[0];
                assert_eq!(&told, words, "a report that the journal has otherwise");
            } else {
                assert!(Intent::decode(words).is_ok(), "no entry: {words:?}");
            }
        }
        for (position, key) in &sent {
            if !answered.contains(position) {
                assert!(!last, "position {position}, key {key}: sent and never answered");
                counts.drained += u64::from(self.decided(strategy, u128::from(*key)).is_some());
            }
        }
        (counts, reports.len())
    }

    fn same(&self, strategy: StrategyId, told: &Decision) {
        let at = told.journal_seq;
        let made = self.decisions.get(&at);
        let made = made.unwrap_or_else(|| panic!("an acknowledged decision is lost: {told:?}"));
        let journal = (made.strategy, made.intent.key as u64, made.outcome, made.reason, made.limit_id);
        let diary = (strategy, told.key_low, told.outcome, told.reason, told.limit_id);
        assert_eq!(journal, diary, "position {at} says otherwise");
        let journal = (made.order_id, made.observed, made.limit, made.now_ns);
        let diary = (told.order_id, told.observed, told.limit, told.decided_at_ns);
        assert_eq!(journal, diary, "position {at} says otherwise");
    }
}
