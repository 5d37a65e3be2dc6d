//! The venue of a run: the real paper venue, and a road to it that loses, doubles, delays and overstates reports.
//!
//! What the venue itself said is kept as [`Truth`], so that the gate's books can be compared with it at any time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ringfence_ipc::msg::{Command, OrderId, Report, ReportKind, Words};
use ringfence_ipc::symbol::Symbol;

use crate::venue::{PaperConfig, PaperVenue};

/// What may happen to one report on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does not arrive until somebody asks for it again.
    Lost,
    /// It arrives twice.
    Twice,
    /// It arrives at once, and again after others that were sent later.
    Again,
    /// It arrives after others that were sent later.
    Late,
    /// If it is the fill that completes an order: it says more than was asked for.
    Overfilled,
    /// If it ends an order unfilled: a fill follows that says more than was asked for.
    FilledAfterEnd,
    /// A fill follows for an order that nobody entered.
    Stray,
    /// As `Stray`, and twice.
    StrayTwice,
}

/// One order as the venue has it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Truth {
    pub open: bool,
    pub total: i64,
    pub cum: i64,
}

pub struct Street {
    paper: PaperVenue,
    commands: rtrb::Consumer<Command>,
    reports: rtrb::Producer<Report>,
    /// Under way to the gate, in order.
    waiting: VecDeque<Report>,
    /// Delayed, and lost.
    late: Vec<Report>,
    lost: Vec<Report>,
    /// Each befalls the next report, or the next of a kind.
    armed: Vec<(Fault, Option<ReportKind>)>,
    pub truth: BTreeMap<OrderId, Truth>,
    /// Orders of which the gate was told late or not at all.
    pub disturbed: BTreeSet<OrderId>,
    /// Fills that never were.
    invented: u64,
    /// It takes no commands.
    pub stalled: bool,
}

impl Street {
    pub fn new(
        config: PaperConfig,
        symbols: &[Symbol],
        commands: rtrb::Consumer<Command>,
        reports: rtrb::Producer<Report>,
        truth: BTreeMap<OrderId, Truth>,
    ) -> Self {
        Self {
            paper: PaperVenue::new(config, symbols),
            commands,
            reports,
            waiting: VecDeque::new(),
            late: Vec::new(),
            lost: Vec::new(),
            armed: Vec::new(),
            truth,
            disturbed: BTreeSet::new(),
            invented: 0,
            stalled: false,
        }
    }

    pub fn arm(&mut self, fault: Fault, kind: Option<ReportKind>) {
        if self.armed.len() < 8 {
            self.armed.push((fault, kind));
        }
    }

    /// Takes the commands that the gate has sent, shows each to `see`, and executes what is due.
    pub fn work(
        &mut self,
        now_ns: u64,
        mut see: impl FnMut(&Command) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut out = Vec::new();
        while let Some(command) = if self.stalled { None } else { self.commands.pop().ok() } {
            see(&command)?;
            self.paper.on_command(&command, now_ns, &mut out);
        }
        self.paper.advance(now_ns, &mut out);
        out.into_iter().for_each(|report| self.post(report));
        Ok(())
    }

    pub fn on_tape(&mut self, words: &Words, now_ns: u64) {
        let mut out = Vec::new();
        self.paper.on_tape(words, now_ns, &mut out);
        out.into_iter().for_each(|report| self.post(report));
    }

    fn post(&mut self, mut report: Report) {
        let meant = |(_, kind): &(Fault, Option<ReportKind>)| kind.is_none_or(|kind| kind == report.kind);
        let fault = self.armed.iter().position(meant).map(|at| self.armed.remove(at).0);
        let completes = report.kind == ReportKind::Fill && report.leaves_qty == 0;
        if completes && fault == Some(Fault::Overfilled) {
            (report.last_qty, report.cum_qty) = (report.last_qty + 3, report.cum_qty + 3);
        }
        self.believe(&report);
        if matches!(fault, Some(Fault::Lost | Fault::Late)) {
            self.disturbed.insert(report.order_id);
        }
        match fault {
            Some(Fault::Lost) => self.lost.push(report),
            Some(Fault::Late) => self.late.push(report),
            Some(Fault::Twice) => self.waiting.extend([report, report]),
            Some(Fault::Again) => {
                self.waiting.push_back(report);
                self.late.push(report);
            }
            Some(Fault::Stray | Fault::StrayTwice) => {
                let stray = Report { order_id: report.order_id + (1 << 40), ..self.fill_like(&report, 2, 2) };
                let times = if fault == Some(Fault::Stray) { 1 } else { 2 };
                self.waiting.push_back(report);
                self.waiting.extend((0..times).map(|_| stray));
            }
            Some(Fault::FilledAfterEnd) => {
                self.waiting.push_back(report);
                let truth = self.truth.get(&report.order_id).copied().unwrap_or_default();
                if truth.total > 0 && matches!(report.kind, ReportKind::Cancelled | ReportKind::Expired) {
                    let cum = truth.total + 2;
                    let fill = self.fill_like(&report, cum - truth.cum, cum);
                    self.believe(&fill);
                    self.waiting.push_back(fill);
                }
            }
            Some(Fault::Overfilled) | None => self.waiting.push_back(report),
        }
    }

    /// A fill that never was, of the order that `report` is about.
    fn fill_like(&mut self, report: &Report, last_qty: i64, cum_qty: i64) -> Report {
        self.invented += 1;
        let trade_id = 1 << 60 | self.invented;
        Report {
            kind: ReportKind::Fill,
            last_qty,
            last_price: 1_000,
            cum_qty,
            leaves_qty: 0,
            trade_id,
            ..*report
        }
    }

    fn believe(&mut self, report: &Report) {
        use ReportKind as K;
        let truth = self.truth.entry(report.order_id).or_default();
        match report.kind {
            K::Accepted | K::Amended => {
                (truth.open, truth.total) = (true, report.cum_qty + report.leaves_qty);
            }
            K::Fill => (truth.open, truth.cum) = (report.leaves_qty > 0, report.cum_qty),
            K::Cancelled | K::Rejected | K::Expired => truth.open = false,
            K::CancelRejected | K::Unknown | K::LostBeforeSend => {}
        }
    }

    /// Hands as many reports to the gate as fit; returns them.
    pub fn deliver(&mut self) -> Vec<Report> {
        let mut delivered = Vec::new();
        while !self.reports.is_full()
            && let Some(report) = self.waiting.pop_front()
        {
            delivered.push(report);
            // There was room for it.
            let _ = self.reports.push(report);
        }
        delivered
    }

    /// Reports that the gate has not taken yet.
    pub fn untaken(&self) -> usize {
        self.reports.buffer().capacity() - self.reports.slots()
    }

    /// What was delayed arrives now.
    pub fn release_late(&mut self) {
        self.waiting.extend(self.late.drain(..));
    }

    /// Somebody asks the venue for everything it has said: what was lost or is late arrives now, and nothing more is lost.
    pub fn reconcile(&mut self) {
        self.armed.clear();
        self.stalled = false;
        self.waiting.extend(self.lost.drain(..));
        self.release_late();
    }

    /// Asked for an order that it does not have open: whatever it was, nothing more will come of it.
    pub fn answer_for(&mut self, order_id: OrderId, like: &Report) {
        let cum_qty = self.truth.get(&order_id).map_or(0, |truth| truth.cum);
        self.waiting.push_back(Report { kind: ReportKind::Expired, order_id, cum_qty, ..*like });
    }

    /// Nothing is under way, in either direction.
    pub fn is_quiet(&self) -> bool {
        self.waiting.is_empty() && self.commands.is_empty() && self.paper.next_due_ns().is_none()
    }

    pub fn commands_waiting(&self) -> usize {
        self.commands.slots()
    }
}
