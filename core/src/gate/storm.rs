//! StormGuard: NORMAL, WARM, STORM, HALT, from what the reactor measures.
//!
//! Escalation is at once: an input that reaches a threshold takes the guard to that threshold's state, over as many
//! states as it takes. Stepping down is slow: one state at a time, after `storm_clear_checks` checks in a row that found
//! less than the present state, and not before `storm_cooldown_ns` in it. HALT is left by an operator's re-arm alone.
//!
//! ```text
//!            drawdown, feed gap, round trip, crossed book, rejects, full queues, operator
//!            ───────────────────────────▶ at once ───────────────────────────▶
//!   NORMAL ◀──────────── WARM ◀──────────────── STORM            HALT ──re-arm──▶ NORMAL
//!            clear + cooldown   clear + cooldown
//! ```
//!
//! A check only looks; the transition that it returns is journalled and applied like any other record, so recovery and
//! replay go through the same states without measuring anything.

use ringfence_ipc::journal::{ControlKind, ControlRecord};
use ringfence_ipc::reason::{LimitId, StormCause, StormState};

use super::Gate;
use super::limits::{ABSENT, LimitSet};
use super::views::pnl_e8;

const BPS: i128 = 10_000;
const DEFAULT_CLEAR_CHECKS: i64 = 10;
const DEFAULT_COOLDOWN_NS: i64 = 5_000_000_000;
const DEFAULT_CHECK_INTERVAL_NS: i64 = 10_000_000;
const INPUTS: usize = 6;

/// By input: what it is called, and from which value on it is WARM, STORM, HALT.
pub const THRESHOLDS: [(StormCause, [LimitId; 3]); INPUTS] = [
    (
        StormCause::Drawdown,
        [LimitId::StormDrawdownWarmBps, LimitId::StormDrawdownStormBps, LimitId::StormDrawdownHaltBps],
    ),
    (
        StormCause::FeedGap,
        [LimitId::StormFeedGapWarmNs, LimitId::StormFeedGapStormNs, LimitId::StormFeedGapHaltNs],
    ),
    (
        StormCause::RoundTrip,
        [LimitId::StormRoundTripWarmNs, LimitId::StormRoundTripStormNs, LimitId::StormRoundTripHaltNs],
    ),
    (
        StormCause::CrossedBook,
        [LimitId::StormCrossedWarmNs, LimitId::StormCrossedStormNs, LimitId::StormCrossedHaltNs],
    ),
    (StormCause::Rejects, [LimitId::StormRejectsWarm, LimitId::StormRejectsStorm, LimitId::StormRejectsHalt]),
    (
        StormCause::QueueFull,
        [LimitId::StormFullChecksWarm, LimitId::StormFullChecksStorm, LimitId::StormFullChecksHalt],
    ),
];
const LEVELS: [StormState; 3] = [StormState::Warm, StormState::Storm, StormState::Halt];

/// What a check looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StormInputs {
    /// Gate time, ns.
    pub now_ns: u64,
    /// Realised and unrealised less fees, 1e-8; `None`: not known yet.
    pub pnl_e8: Option<i64>,
    /// Since the last market message, ns; 0 before the first.
    pub feed_gap_ns: u64,
    /// The slowest first answer of the venue since the last check, or how long one has been waited for, ns.
    pub round_trip_ns: u64,
    /// How long the longest crossed book has been crossed, ns; 0: none is.
    pub crossed_ns: u64,
    /// Journalled rejects, the gate's and the venue's, of the last second.
    pub rejects: u64,
    /// Checks in a row that found the venue's ring or the journal full.
    pub full_checks: u64,
}

/// The thresholds as the checks read them.
#[derive(Clone, Copy, Debug)]
pub(super) struct StormLimits {
    thresholds: [[i64; 3]; INPUTS],
    /// 0: no drawdown is measured.
    capital_e8: i64,
    clear_checks: i64,
    cooldown_ns: u64,
    interval_ns: u64,
}

impl StormLimits {
    pub fn of(set: &LimitSet) -> Self {
        let or = |limit, default: i64| set.get(limit).unwrap_or(default).max(0);
        let mut thresholds = [[ABSENT; 3]; INPUTS];
        for (values, (_, limits)) in thresholds.iter_mut().zip(THRESHOLDS) {
            *values = limits.map(|limit| set.get(limit).unwrap_or(ABSENT));
        }
        Self {
            thresholds,
            capital_e8: or(LimitId::StormCapitalE8, 0),
            clear_checks: or(LimitId::StormClearChecks, DEFAULT_CLEAR_CHECKS),
            cooldown_ns: or(LimitId::StormCooldownNs, DEFAULT_COOLDOWN_NS) as u64,
            interval_ns: or(LimitId::StormCheckIntervalNs, DEFAULT_CHECK_INTERVAL_NS).max(1) as u64,
        }
    }

    fn any(&self) -> bool {
        self.thresholds.iter().flatten().any(|threshold| *threshold != ABSENT)
    }

    fn measures_drawdown(&self) -> bool {
        self.capital_e8 > 0 && self.thresholds[0].iter().any(|threshold| *threshold != ABSENT)
    }

    /// The worst state that an input asks for; among equals the first input's.
    fn worst(&self, inputs: &StormInputs, pnl_peak_e8: i64) -> Finding {
        let whole = |value: u64| i64::try_from(value).unwrap_or(i64::MAX - 1);
        let observed = [
            inputs.pnl_e8.map_or(0, |pnl_e8| self.drawdown_bps(pnl_e8, pnl_peak_e8)),
            whole(inputs.feed_gap_ns),
            whole(inputs.round_trip_ns),
            whole(inputs.crossed_ns),
            whole(inputs.rejects),
            whole(inputs.full_checks),
        ];
        let mut worst =
            Finding { state: StormState::Normal, cause: StormCause::None, observed: 0, threshold: 0 };
        for (((cause, _), thresholds), observed) in THRESHOLDS.iter().zip(&self.thresholds).zip(observed) {
            for (state, threshold) in LEVELS.into_iter().zip(*thresholds) {
                if observed >= threshold && state > worst.state {
                    worst = Finding { state, cause: *cause, observed, threshold };
                }
            }
        }
        worst
    }

    /// Rounded down: the threshold is reached when all of it is lost.
    fn drawdown_bps(&self, pnl_e8: i64, pnl_peak_e8: i64) -> i64 {
        if self.capital_e8 == 0 {
            return 0;
        }
        let lost = i128::from(pnl_peak_e8) - i128::from(pnl_e8);
        let bps = lost * BPS / i128::from(self.capital_e8);
        // One below "absent", which no observation may reach.
        bps.clamp(0, i128::from(i64::MAX - 1)) as i64
    }
}

/// A state and what asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Finding {
    state: StormState,
    cause: StormCause,
    observed: i64,
    threshold: i64,
}

impl Finding {
    const fn control(self) -> ControlKind {
        let Self { state, cause, observed, threshold } = self;
        ControlKind::Storm { state, cause, observed, threshold }
    }
}

/// StormGuard as its readers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StormView {
    /// How rough it is.
    pub state: StormState,
    /// Why.
    pub cause: StormCause,
    /// Since when, gate time ns; 0: from the journal's beginning.
    pub since_ns: u64,
    /// The highest P&L, 1e-8, that drawdowns are measured from.
    pub pnl_peak_e8: i64,
}

/// The guard. All of it but the thresholds and `clear_checks` is decision state: journalled records alone move it.
#[derive(Debug)]
pub(super) struct StormGuard {
    pub limits: StormLimits,
    view: StormView,
    /// Checks in a row that found less than the present state.
    clear_checks: i64,
}

impl StormGuard {
    pub fn new() -> Self {
        Self {
            limits: StormLimits::of(&LimitSet::EMPTY),
            view: StormView {
                state: StormState::Normal,
                cause: StormCause::None,
                since_ns: 0,
                pnl_peak_e8: 0,
            },
            clear_checks: 0,
        }
    }

    pub const fn view(&self) -> StormView {
        self.view
    }

    /// One look. The returned control is to be journalled and applied before the next.
    fn check(&mut self, inputs: &StormInputs) -> Option<ControlKind> {
        let StormView { state, since_ns, pnl_peak_e8, .. } = self.view;
        if state == StormState::Halt {
            return None;
        }
        let worst = self.limits.worst(inputs, pnl_peak_e8);
        if worst.state > state {
            return Some(worst.control());
        }
        self.clear_checks = if worst.state < state { self.clear_checks.saturating_add(1) } else { 0 };
        let rested = inputs.now_ns.saturating_sub(since_ns) >= self.limits.cooldown_ns;
        if worst.state < state && rested && self.clear_checks >= self.limits.clear_checks {
            let state = if state == StormState::Storm { StormState::Warm } else { StormState::Normal };
            let calm = Finding { state, cause: StormCause::Calm, observed: 0, threshold: 0 };
            return Some(calm.control());
        }
        // The peak is journalled in steps of a basis point: what is lost of it in a crash is less.
        let step_e8 = (self.limits.capital_e8 / BPS as i64).max(1);
        let risen = |pnl_e8: &i64| *pnl_e8 >= pnl_peak_e8.saturating_add(step_e8);
        inputs
            .pnl_e8
            .filter(|_| self.limits.measures_drawdown())
            .filter(risen)
            .map(|pnl_e8| ControlKind::PnlPeak { pnl_e8 })
    }

    pub fn enter(&mut self, state: StormState, cause: StormCause, now_ns: u64) {
        self.view = StormView { state, cause, since_ns: now_ns, ..self.view };
        self.clear_checks = 0;
    }

    pub fn set_pnl_peak(&mut self, pnl_e8: i64) {
        self.view.pnl_peak_e8 = pnl_e8;
    }
}

/// The P&L of all positions, added up a part at a time, so that no look at it takes long.
#[derive(Clone, Copy, Debug, Default)]
pub struct PnlSweep {
    next: usize,
    sum_e16: i128,
}

impl PnlSweep {
    /// Adds up to `count` positions. Behind the last, the sum: realised and unrealised less fees, 1e-8, saturating.
    pub fn step(&mut self, gate: &Gate, count: usize) -> Option<i64> {
        let (part_e16, next) = gate.pnl_part_e16(self.next, count);
        let sum_e16 = self.sum_e16.saturating_add(part_e16);
        *self = next.map_or(Self::default(), |next| Self { next, sum_e16 });
        next.is_none().then(|| pnl_e8(sum_e16))
    }
}

impl Gate {
    /// StormGuard's state.
    #[must_use]
    pub const fn storm(&self) -> StormView {
        self.storm.view()
    }

    /// How often StormGuard wants to look, ns; `None`: no threshold is set.
    #[must_use]
    pub fn storm_interval_ns(&self) -> Option<u64> {
        self.storm.limits.any().then_some(self.storm.limits.interval_ns)
    }

    /// StormGuard looks at `inputs`. The record that it returns is appended to the journal and then applied.
    pub fn check_storm(&mut self, inputs: &StormInputs) -> Option<ControlRecord> {
        self.storm.check(inputs).map(|control| ControlRecord::own(control, inputs.now_ns))
    }
}
