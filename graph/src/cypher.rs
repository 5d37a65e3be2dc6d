//! The graph in Cypher's terms: constraints and indexes, and values as they are written in its text.

use std::fmt::Write as _;

/// One after the other; `Migration.version` says how many a database has. Schema and data never share a transaction in
/// Neo4j, so each statement is one, and may be repeated.
pub const MIGRATIONS: &[&[&str]] = &[&[
    "CREATE CONSTRAINT ringfence_migration IF NOT EXISTS FOR (m:Migration) REQUIRE m.name IS UNIQUE",
    "CREATE CONSTRAINT ringfence_lock IF NOT EXISTS FOR (l:Lock) REQUIRE l.name IS UNIQUE",
    "CREATE CONSTRAINT ringfence_node IF NOT EXISTS FOR (n:Node) REQUIRE n.identity IS UNIQUE",
    "CREATE CONSTRAINT ringfence_queue IF NOT EXISTS FOR (q:Queue) REQUIRE q.topic_key IS UNIQUE",
    "CREATE CONSTRAINT ringfence_tag IF NOT EXISTS FOR (t:Tag) REQUIRE t.name IS UNIQUE",
    "CREATE CONSTRAINT ringfence_strategy IF NOT EXISTS FOR (s:Strategy) REQUIRE s.strategy_id IS UNIQUE",
    "CREATE CONSTRAINT ringfence_sentinel IF NOT EXISTS FOR (v:VersionSentinel) REQUIRE v.sentinel_id IS UNIQUE",
    "CREATE CONSTRAINT ringfence_outbox IF NOT EXISTS FOR (o:Outbox) REQUIRE o.seq IS UNIQUE",
    "CREATE INDEX ringfence_family IF NOT EXISTS FOR (n:Node) ON (n.family)",
    "CREATE INDEX ringfence_node_id IF NOT EXISTS FOR (n:Node) ON (n.node_id)",
    "CREATE INDEX ringfence_orphaned IF NOT EXISTS FOR (n:Node) ON (n.orphaned_at)",
    "CREATE INDEX ringfence_lease IF NOT EXISTS FOR (n:Node) ON (n.lease_until)",
    "CREATE INDEX ringfence_holder IF NOT EXISTS FOR (n:Node) ON (n.lease_holder)",
    "CREATE INDEX ringfence_released IF NOT EXISTS FOR (s:Strategy) ON (s.released_at)",
    "CREATE INDEX ringfence_version IF NOT EXISTS FOR (v:VersionSentinel) ON (v.version)",
    "CREATE INDEX ringfence_line IF NOT EXISTS FOR (v:VersionSentinel) ON (v.line)",
    "CREATE INDEX ringfence_of IF NOT EXISTS FOR (v:VersionSentinel) ON (v.strategy_id)",
    "CREATE INDEX ringfence_retired IF NOT EXISTS FOR (v:VersionSentinel) ON (v.retired_at)",
]];

/// A value in the text of a statement.
pub trait Literal {
    /// Its text; none: there is no such property.
    fn literal(&self) -> Option<String>;
}

impl Literal for i64 {
    fn literal(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Literal for f64 {
    fn literal(&self) -> Option<String> {
        Some(format!("{self:?}"))
    }
}

impl Literal for String {
    fn literal(&self) -> Option<String> {
        Some(quoted(self))
    }
}

impl<T: Literal> Literal for Option<T> {
    fn literal(&self) -> Option<String> {
        self.as_ref().and_then(Literal::literal)
    }
}

impl Literal for Vec<String> {
    fn literal(&self) -> Option<String> {
        let items: Vec<String> = self.iter().map(|item| quoted(item)).collect();
        Some(format!("[{}]", items.join(", ")))
    }
}

/// `{name: value, ..}` of those that have a value.
pub fn map(properties: &[(&str, &dyn Literal)]) -> String {
    let written = |(name, value): &(&str, &dyn Literal)| Some(format!("{name}: {}", value.literal()?));
    format!("{{{}}}", properties.iter().filter_map(written).collect::<Vec<_>>().join(", "))
}

/// A string literal on one line. A parser of Cypher may replace `\uXXXX` before it looks at quotes and backslashes: a quote is
/// never written so, and after a backslash of the text the literal is broken off, lest it and a `u` be taken for such an escape.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('\'');
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\'' => out.push_str("\\'"),
            '\\' => {
                out.push_str("\\\\");
                if characters.peek().is_some() {
                    out.push_str("' + '");
                }
            }
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            other if other.is_control() || ['\u{2028}', '\u{2029}', '\u{feff}'].contains(&other) => {
                // Every control character has at most four digits.
                let _ = write!(out, "\\u{:04X}", u32::from(other));
            }
            other => out.push(other),
        }
    }
    out.push('\'');
    out
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_string_never_ends_early() {
        assert_eq!(quoted("it's"), r"'it\'s'");
        assert_eq!(quoted(r"\"), r"'\\'");
        assert_eq!(quoted(r"\u0027 OR 1"), r"'\\' + 'u0027 OR 1'");
        assert_eq!(quoted("a\nb\u{1}"), "'a\\nb\\u0001'");
        assert_eq!(quoted("'); MATCH (n) DETACH DELETE n; //"), r"'\'); MATCH (n) DETACH DELETE n; //'");
    }
}
