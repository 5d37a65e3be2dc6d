//! Statements of one transaction, and what they answer.

use std::collections::HashMap;

use neo4j::transaction::Transaction;
use neo4j::value::graph::Node;
use neo4j::{Neo4jError, ValueReceive, ValueSend};

use crate::identity::from_hex;
use crate::{GraphError, Identity};

/// Rows that one statement is given at most: what the server holds for it stays small.
const CHUNK: usize = 1000;

/// Why a transaction ends without being committed.
pub(super) enum Fault {
    /// The driver or the server; it may be worth another try.
    Driver(Box<Neo4jError>),
    /// What was asked is refused, or what was answered is damaged.
    Graph(GraphError),
}

impl From<Neo4jError> for Fault {
    fn from(error: Neo4jError) -> Self {
        Self::Driver(Box::new(error))
    }
}

impl From<GraphError> for Fault {
    fn from(error: GraphError) -> Self {
        Self::Graph(error)
    }
}

/// Values of a statement, by name.
pub(super) type Values = HashMap<String, ValueSend>;

/// Collects values.
pub(super) fn values<const N: usize>(named: [(&str, ValueSend); N]) -> Values {
    named.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A map as a value.
pub(super) fn map<const N: usize>(named: [(&str, ValueSend); N]) -> ValueSend {
    ValueSend::Map(values(named))
}

/// A list as a value.
pub(super) fn list<T: Into<ValueSend>>(items: impl IntoIterator<Item = T>) -> ValueSend {
    ValueSend::List(items.into_iter().map(Into::into).collect())
}

/// A value that may be missing.
pub(super) fn maybe<T: Into<ValueSend>>(value: Option<T>) -> ValueSend {
    value.map_or(ValueSend::Null, Into::into)
}

/// A count as a value.
pub(super) fn count(count: usize) -> ValueSend {
    ValueSend::Integer(i64::try_from(count).unwrap_or(i64::MAX))
}

/// A transaction under way.
pub(super) struct Work<'a, 'driver> {
    pub(super) transaction: &'a Transaction<'driver, 'a>,
}

impl Work<'_, '_> {
    /// Runs a statement to its end.
    pub(super) fn ask(&self, cypher: &str, values: Values) -> Result<Vec<Row>, Fault> {
        let stream = self.transaction.query(cypher).with_parameters(values).run()?;
        let mut rows = Vec::new();
        for record in stream {
            let entries = record?.into_entries();
            rows.push(Row(entries.map(|(name, value)| (name.to_string(), value)).collect()));
        }
        Ok(rows)
    }

    /// Runs a statement over `$rows`, piece by piece.
    pub(super) fn each(&self, cypher: &str, rows: Vec<ValueSend>) -> Result<Vec<Row>, Fault> {
        let mut answers = Vec::new();
        let mut rows = rows.into_iter().peekable();
        while rows.peek().is_some() {
            let chunk: Vec<ValueSend> = rows.by_ref().take(CHUNK).collect();
            answers.extend(self.ask(cypher, values([("rows", ValueSend::List(chunk))]))?);
        }
        Ok(answers)
    }
}

/// A row of an answer, or the properties of a node in it.
pub(super) struct Row(HashMap<String, ValueReceive>);

impl Row {
    fn take(&mut self, name: &str) -> ValueReceive {
        self.0.remove(name).unwrap_or(ValueReceive::Null)
    }

    fn damaged<T>(name: &str) -> Result<T, Fault> {
        Err(GraphError::Damaged(format!("a property `{name}`")).into())
    }

    pub(super) fn node(&mut self, name: &str) -> Result<Self, Fault> {
        match self.take(name) {
            ValueReceive::Node(Node { properties, .. }) => Ok(Self(properties)),
            _ => Self::damaged(name),
        }
    }

    pub(super) fn text(&mut self, name: &str) -> Result<String, Fault> {
        self.maybe_text(name)?.map_or_else(|| Self::damaged(name), Ok)
    }

    pub(super) fn maybe_text(&mut self, name: &str) -> Result<Option<String>, Fault> {
        match self.take(name) {
            ValueReceive::String(text) => Ok(Some(text)),
            ValueReceive::Null => Ok(None),
            _ => Self::damaged(name),
        }
    }

    pub(super) fn int(&mut self, name: &str) -> Result<i64, Fault> {
        self.maybe_int(name)?.map_or_else(|| Self::damaged(name), Ok)
    }

    pub(super) fn maybe_int(&mut self, name: &str) -> Result<Option<i64>, Fault> {
        match self.take(name) {
            ValueReceive::Integer(number) => Ok(Some(number)),
            ValueReceive::Null => Ok(None),
            _ => Self::damaged(name),
        }
    }

    /// An integer of a narrower type.
    pub(super) fn narrow<T: TryFrom<i64>>(&mut self, name: &str) -> Result<T, Fault> {
        T::try_from(self.int(name)?).or_else(|_| Self::damaged(name))
    }

    pub(super) fn float(&mut self, name: &str) -> Result<f64, Fault> {
        match self.take(name) {
            ValueReceive::Float(number) => Ok(number),
            _ => Self::damaged(name),
        }
    }

    pub(super) fn boolean(&mut self, name: &str) -> Result<bool, Fault> {
        match self.take(name) {
            ValueReceive::Boolean(value) => Ok(value),
            _ => Self::damaged(name),
        }
    }

    pub(super) fn identity(&mut self, name: &str) -> Result<Identity, Fault> {
        Ok(from_hex(&self.text(name)?)?)
    }

    pub(super) fn texts(&mut self, name: &str) -> Result<Vec<String>, Fault> {
        let ValueReceive::List(items) = self.take(name) else { return Self::damaged(name) };
        let text = |item| match item {
            ValueReceive::String(text) => Ok(text),
            _ => Self::damaged(name),
        };
        items.into_iter().map(text).collect()
    }

    /// A list of maps.
    pub(super) fn rows(&mut self, name: &str) -> Result<Vec<Self>, Fault> {
        let ValueReceive::List(items) = self.take(name) else { return Self::damaged(name) };
        let row = |item| match item {
            ValueReceive::Map(entries) => Ok(Self(entries)),
            _ => Self::damaged(name),
        };
        items.into_iter().map(row).collect()
    }
}
