//! StormGuard's thresholds, and what happens when whoever watches orders is gone.

use ringfence_ipc::journal::LimitRecord;
use ringfence_ipc::reason::{LimitId, Scope};
use ringfence_ipc::symbol::parse_scaled;
use serde::{Deserialize, Serialize};

use super::ConfigError;
use crate::gate::STORM_THRESHOLDS;

const NS_PER_MS: i64 = 1_000_000;

/// From which value on an input of StormGuard is WARM, STORM, HALT. Absent: never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Levels {
    /// A warning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warm: Option<i64>,
    /// Only what reduces risk passes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storm: Option<i64>,
    /// Only cancels pass, until an operator re-arms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub halt: Option<i64>,
}

/// StormGuard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct StormConfig {
    /// What drawdowns are measured against, quote currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub capital: Option<String>,
    /// Loss since the highest P&L.
    pub drawdown_bps: Levels,
    /// Time without a market message.
    pub feed_gap_ms: Levels,
    /// Time from an order to the venue's first word.
    pub round_trip_ms: Levels,
    /// Time that a book has been crossed.
    pub crossed_ms: Levels,
    /// Journalled rejects of gate and venue within a second.
    pub rejects_per_s: Levels,
    /// Checks in a row that found the venue's ring or the journal full.
    pub full_checks: Levels,
    /// Checks in a row that must be clear before it steps down (default 10).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clear_checks: Option<i64>,
    /// Shortest time in a state before it steps down (default 5000).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cooldown_ms: Option<i64>,
    /// Time between two checks (default 10).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub check_interval_ms: Option<i64>,
}

/// What happens to a strategy's open orders when its client is gone and does not come back in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDisconnect {
    /// They stay.
    #[default]
    Keep,
    /// They are cancelled.
    Cancel,
}

/// What happens when the operator's process is gone and does not come back in time: the dead-man switch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnOperatorGone {
    /// Nothing.
    #[default]
    Keep,
    /// The orders of every strategy that has no client of its own attached are cancelled.
    Cancel,
    /// Every order is cancelled.
    CancelAll,
    /// StormGuard goes into HALT, and every order is cancelled.
    Halt,
}

/// The operator that the dead-man switch watches.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct OperatorConfig {
    /// The name it attaches under; other operators may come and go.
    pub name: String,
    /// What happens when it is gone.
    pub on_disconnect: OnOperatorGone,
    /// How long it has to come back.
    pub resume_grace_ms: u64,
}

impl Default for OperatorConfig {
    fn default() -> Self {
        Self { name: "shell".into(), on_disconnect: OnOperatorGone::Keep, resume_grace_ms: 2000 }
    }
}

impl StormConfig {
    /// Appends a record per limit that is set.
    ///
    /// # Errors
    /// [`ConfigError::Value`] naming the key.
    pub(super) fn push_records(&self, now_ns: u64, out: &mut Vec<LimitRecord>) -> Result<(), ConfigError> {
        let mut set = |limit: LimitId, value: i64| {
            let (scope, scope_id, config_version) = (Scope::Global, 0, 1);
            out.push(LimitRecord { scope, scope_id, limit, value, now_ns, config_version });
        };
        let bad = |key: &str, what: &str| Err(ConfigError::Value(format!("[storm] {key} {what}")));
        let inputs = [
            ("drawdown_bps", self.drawdown_bps, 1),
            ("feed_gap_ms", self.feed_gap_ms, NS_PER_MS),
            ("round_trip_ms", self.round_trip_ms, NS_PER_MS),
            ("crossed_ms", self.crossed_ms, NS_PER_MS),
            ("rejects_per_s", self.rejects_per_s, 1),
            ("full_checks", self.full_checks, 1),
        ];
        for ((key, levels, unit), (_, limits)) in inputs.into_iter().zip(STORM_THRESHOLDS) {
            let mut least = 1;
            for (limit, value) in limits.into_iter().zip([levels.warm, levels.storm, levels.halt]) {
                let Some(value) = value else { continue };
                if value < least {
                    return bad(key, "must be positive and not fall from warm to storm to halt");
                }
                least = value;
                set(limit, value.saturating_mul(unit));
            }
        }
        match &self.capital {
            Some(text) => match parse_scaled(text, 8) {
                Ok(capital_e8) if capital_e8 > 0 => set(LimitId::StormCapitalE8, capital_e8),
                Ok(_) => return bad("capital", "must be positive"),
                Err(error) => return bad("capital", &format!("= \"{text}\": {error}")),
            },
            None if self.drawdown_bps != Levels::default() => {
                return bad("drawdown_bps", "needs capital: set [storm] capital");
            }
            None => {}
        }
        for (key, value, unit, limit) in [
            ("clear_checks", self.clear_checks, 1, LimitId::StormClearChecks),
            ("cooldown_ms", self.cooldown_ms, NS_PER_MS, LimitId::StormCooldownNs),
            ("check_interval_ms", self.check_interval_ms, NS_PER_MS, LimitId::StormCheckIntervalNs),
        ] {
            match value {
                Some(value) if value < 0 => return bad(key, "must not be negative"),
                Some(value) => set(limit, value.saturating_mul(unit)),
                None => {}
            }
        }
        Ok(())
    }
}
