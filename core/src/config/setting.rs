//! One limit at a time: as an operator writes it, and as a person reads it.

use ringfence_ipc::journal::LimitRecord;
use ringfence_ipc::reason::{LimitId, Scope};
use ringfence_ipc::symbol::{DecimalError, format_scaled, parse_scaled};
use toml::Value;

use super::keys::{Kind, LIMITS, LimitKey};
use super::text::{Assets, EACH, KeyError, here, legal, nearest};
use super::unit::format_time_of_day;
use super::{CoreConfig, Measure, UnitError, source};

/// What takes a limit back.
const NO_LIMIT: &str = "none";
/// Decimals of money on the wire.
const E8: u8 = 8;

impl CoreConfig {
    fn assets(&self) -> Assets {
        Assets::new(&self.currency, self.symbols.iter().map(|symbol| symbol.name.clone()))
    }

    /// The symbol that quantities of a scope are counted in, and their decimals; none, where symbols differ.
    pub(super) fn quantity(&self, scope: Scope, scope_id: u16) -> (Option<&str>, Option<u8>) {
        if scope == Scope::Symbol {
            let symbol = self.symbols.get(usize::from(scope_id));
            return (symbol.map(|s| s.name.as_str()), symbol.map(|s| s.qty_scale));
        }
        let first = self.symbols.first().map(|s| s.qty_scale);
        (None, first.filter(|scale| self.symbols.iter().all(|s| s.qty_scale == *scale)))
    }

    /// The limit called `name` and the value that `text` gives it for a scope, in the unit of its record; `none` takes
    /// the limit back ([`LimitRecord::NOT_SET`]).
    ///
    /// # Errors
    /// [`KeyError`] saying what the limit takes.
    pub fn limit_value(
        &self,
        scope: Scope,
        scope_id: u16,
        name: &str,
        text: &str,
    ) -> Result<(LimitId, i64), KeyError> {
        let known = |limit: &&LimitKey| limit.key.path == name || limit.id.name() == name;
        let Some(limit) = LIMITS.iter().find(known) else {
            let nearest = nearest(name, here(scope).map(|limit| limit.key.path));
            return Err(KeyError::Unknown { key: name.to_owned(), nearest });
        };
        legal(&limit.key, scope, name)?;
        if text.trim() == NO_LIMIT {
            return Ok((limit.id, LimitRecord::NOT_SET));
        }
        let wrong = |problem| KeyError::Value { key: name.to_owned(), value: text.to_owned(), problem };
        let (symbol, scale) = self.quantity(scope, scope_id);
        let assets = self.assets();
        let read = limit.key.read(name, &source::value_of(&limit.key, text), &assets, symbol)?;
        let value = match (limit.key.kind, &read) {
            (Kind::Scaled { measure: Measure::Time(ns), .. }, Value::Integer(number)) => {
                number.checked_mul(ns).ok_or_else(|| wrong(UnitError::TooLarge))?
            }
            (_, Value::Integer(number)) => *number,
            (_, Value::Boolean(on)) => i64::from(*on),
            (kind, other) => {
                let scale = if kind == Kind::Money { Some(E8) } else { scale };
                let scale = scale.ok_or_else(|| wrong(UnitError::ScalesDiffer))?;
                let number = other.as_str().unwrap_or_default();
                let unit = if kind == Kind::Money { &self.currency } else { assets.quantity(symbol) };
                parse_scaled(number, scale).map_err(|error| {
                    wrong(match error {
                        DecimalError::TooPrecise => {
                            UnitError::TooFine(format!("{} {unit}", format_scaled(1, scale)))
                        }
                        other => other.into(),
                    })
                })?
            }
        };
        Ok((limit.id, value))
    }

    /// A limit's name and value as a file says them.
    #[must_use]
    pub fn limit_text(
        &self,
        scope: Scope,
        scope_id: u16,
        limit: LimitId,
        value: i64,
    ) -> (&'static str, String) {
        let Some(known) = LIMITS.iter().find(|known| known.id == limit) else {
            return (limit.name(), value.to_string());
        };
        let (symbol, scale) = self.quantity(scope, scope_id);
        let assets = self.assets();
        let amount = |scale: u8, unit: &str| {
            let text = format_scaled(i128::from(value), scale);
            let text = if scale > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
            format!("{text} {unit}")
        };
        let text = match (known.key.kind, scale) {
            _ if value == LimitRecord::NOT_SET => NO_LIMIT.to_owned(),
            (Kind::Scaled { measure: Measure::Time(_), .. }, _) => Measure::Time(1).format(value),
            (Kind::Scaled { measure, .. }, _) => measure.format(value),
            (Kind::Flag, _) => (value != 0).to_string(),
            (Kind::TimeOfDay, _) => format_time_of_day(value),
            (Kind::Money, _) => amount(E8, &self.currency),
            (Kind::Quantity, Some(scale)) => amount(scale, assets.quantity(symbol)),
            (Kind::Quantity, None) => format!("{value} of the smallest {EACH}"),
            _ => value.to_string(),
        };
        (known.key.path, text)
    }
}
