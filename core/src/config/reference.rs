//! The reference of every key, from the one table.

use std::fmt::Write as _;

use ringfence_ipc::reason::Scope;

use super::keys::{Change, KEYS, Key, Kind, LIMITS};
use crate::gate::is_legal;

/// Two Markdown tables: every key, and every limit with the scopes that have it.
#[must_use]
pub fn reference() -> String {
    let mut text = String::from("| key | value | default | a change counts | |\n|---|---|---|---|---|\n");
    for key in KEYS {
        let _ = writeln!(text, "{}", row(key, &change(key.change), key.what));
    }
    text.push_str("\n| limit | value | default | a change counts | scopes | |\n|---|---|---|---|---|---|\n");
    for limit in LIMITS {
        let scopes = Scope::ALL.iter().filter(|scope| is_legal(**scope, limit.id)).map(|scope| scope.name());
        let scopes = scopes.collect::<Vec<_>>().join(", ");
        let _ = writeln!(
            text,
            "{}",
            row(&limit.key, &change(limit.key.change), &format!("{scopes} | {}", limit.key.what))
        );
    }
    text
}

fn row(key: &Key, change: &str, what: &str) -> String {
    format!("| `{}` | {} | {} | {change} | {what} |", key.path, value(key.kind), key.default)
}

fn change(change: Change) -> String {
    match change {
        Change::Hot => "at once",
        Change::NewStrategies => "for new strategies",
        Change::Restart => "at restart",
        Change::NewJournal => "in a new data_dir",
    }
    .to_owned()
}

fn value(kind: Kind) -> String {
    let most = |max: i64| if max == i64::MAX { String::new() } else { format!(" to {max}") };
    match kind {
        Kind::Text => "text".into(),
        Kind::Path => "path".into(),
        Kind::Step => "decimal, as text".into(),
        Kind::Word(words) => words.join(", "),
        Kind::Switch | Kind::Flag => "true, false".into(),
        Kind::TimeOfDay => "time of the day, e.g. `\"09:30:00\"`".into(),
        Kind::Names => "list, e.g. `[\"BTCUSDT\"]`".into(),
        Kind::Count { min, max } => {
            format!("number, {min}{}", if max == i64::MAX { " up".into() } else { most(max) })
        }
        Kind::PowerOfTwo { min, max } => format!("power of two, {min}{}", most(max)),
        Kind::Scaled { measure, min, max } => {
            format!("{} to {} ({})", measure.format(min), measure.format(max), measure.names())
        }
        Kind::Money => "money, e.g. `\"50000 USDT\"`".into(),
        Kind::Quantity => "quantity, e.g. `\"0.5 BTC\"`".into(),
    }
}
