//! The file's words and numbers into the configuration's scaled integers, and back.
//!
//! A file is walked key by key along the table of [`super::keys`]: what is not in the table is refused with the nearest
//! name, a value that is not what its key takes is refused with what it takes. The walk yields the same tree with the
//! configuration's own field names and integers, which serde then takes apart.

use ringfence_ipc::reason::Scope;
use toml::{Table, Value};

use super::keys::{KEYS, Key, Kind, LIMITS, LimitKey, SECTIONS};
use super::source::label;
use super::unit::{UnitError, format_time_of_day, parse_amount, parse_time_of_day};
use crate::gate::is_legal;

/// Decimals of an amount of money.
const MONEY_DECIMALS: u8 = 8;
/// What a quantity of every symbol alike is counted in.
pub(super) const EACH: &str = "units";

/// What is wrong with one key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There is no such key.
    #[error("unknown key `{key}`{}", hint(.nearest))]
    Unknown {
        /// As written.
        key: String,
        /// The nearest that exists.
        nearest: Option<String>,
    },
    /// The limit exists, elsewhere.
    #[error("`{key}`: there is no such limit of a {scope}; it exists for: {elsewhere}")]
    NotHere {
        /// As written.
        key: String,
        /// Where it was written.
        scope: Scope,
        /// Where it would count.
        elsewhere: String,
    },
    /// Its value has another type.
    #[error("`{key}` must be {expected}")]
    Type {
        /// Which key.
        key: String,
        /// What it takes.
        expected: String,
    },
    /// Its value is not what it takes.
    #[error("`{key} = {value}`: {problem}")]
    Value {
        /// Which key.
        key: String,
        /// As written.
        value: String,
        /// Why.
        problem: UnitError,
    },
}

impl KeyError {
    /// The key, as it was written.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Unknown { key, .. }
            | Self::NotHere { key, .. }
            | Self::Type { key, .. }
            | Self::Value { key, .. } => key,
        }
    }
}

fn hint(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or_else(String::new, |name| format!(": did you mean `{name}`?"))
}

/// What amounts and quantities are counted in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assets {
    currency: String,
    /// The base asset of every symbol, by name.
    bases: Vec<(String, String)>,
}

impl Assets {
    /// Of a file's own tree.
    pub(super) fn of(file: &Table) -> Self {
        let text = |table: &Table, key: &str| table.get(key).and_then(Value::as_str).map(str::to_owned);
        let symbols = file.get("symbol").and_then(Value::as_array);
        let names = symbols.into_iter().flatten().filter_map(|symbol| text(symbol.as_table()?, "name"));
        Self::new(&text(file, "currency").unwrap_or_else(super::default_currency), names)
    }

    /// Of symbols quoted in `currency`.
    pub(super) fn new(currency: &str, symbols: impl Iterator<Item = String>) -> Self {
        let base = |name: String| {
            let base =
                name.strip_suffix(currency).filter(|base| !base.is_empty()).unwrap_or(&name).to_owned();
            (name, base)
        };
        Self { currency: currency.to_owned(), bases: symbols.map(base).collect() }
    }

    /// What quantities of `symbol` are counted in, or those of every symbol.
    pub(super) fn quantity(&self, symbol: Option<&str>) -> &str {
        if let Some(symbol) = symbol {
            return self.bases.iter().find(|(name, _)| name == symbol).map_or(EACH, |(_, base)| base);
        }
        match self.bases.split_first() {
            Some(((_, first), rest)) if rest.iter().all(|(_, base)| base == first) => first,
            _ => EACH,
        }
    }
}

impl Key {
    /// What its value looks like.
    fn expected(&self) -> String {
        match self.kind {
            Kind::Text | Kind::Path => "text".into(),
            Kind::Step => "a decimal number as text, e.g. \"0.01\"".into(),
            Kind::Word(words) => format!("one of {}", words.join(", ")),
            Kind::Switch | Kind::Flag => "true or false".into(),
            Kind::TimeOfDay => "a time of the day, UTC, e.g. \"09:30:00\"".into(),
            Kind::Names => "a list of names, e.g. [\"BTCUSDT\"]".into(),
            Kind::Count { .. } => "a whole number".into(),
            Kind::PowerOfTwo { .. } => "a power of two".into(),
            Kind::Scaled { measure, .. } => format!("text with a unit: {}", measure.names()),
            Kind::Money => "text with the currency, e.g. \"50000 USDT\"".into(),
            Kind::Quantity => "text with the asset, e.g. \"0.5 BTC\"".into(),
        }
    }

    /// The configuration's value of the file's; `symbol` is the one the key stands in.
    ///
    /// # Errors
    /// [`KeyError`] naming `at`, the key as it was written.
    pub(super) fn read(
        &self,
        at: &str,
        value: &Value,
        assets: &Assets,
        symbol: Option<&str>,
    ) -> Result<Value, KeyError> {
        let wrong = |problem| KeyError::Value { key: at.to_owned(), value: value.to_string(), problem };
        let typed = || KeyError::Type { key: at.to_owned(), expected: self.expected() };
        let within = |number: i64, min: i64, max: i64, show: &dyn Fn(i64) -> String| {
            if (min..=max).contains(&number) {
                return Ok(Value::Integer(number));
            }
            let negative = number < 0 && min == 0;
            let range = UnitError::Range { min: show(min), max: show(max) };
            Err(wrong(if negative { UnitError::Negative } else { range }))
        };
        match (self.kind, value) {
            (Kind::Text | Kind::Path | Kind::Step, Value::String(_)) => Ok(value.clone()),
            (Kind::Word(words), Value::String(text)) if words.contains(&text.as_str()) => Ok(value.clone()),
            (Kind::Flag, Value::Boolean(on)) => Ok(i64::from(*on).into()),
            (Kind::TimeOfDay, Value::String(text)) => {
                parse_time_of_day(text).map(Value::Integer).ok_or_else(typed)
            }
            (Kind::Names, Value::Array(names)) if names.iter().all(Value::is_str) => Ok(value.clone()),
            (Kind::Switch, Value::Boolean(_)) => Ok(value.clone()),
            (Kind::Count { min, max }, Value::Integer(number)) => {
                within(*number, min, max, &|n| n.to_string())
            }
            (Kind::PowerOfTwo { min, max }, Value::Integer(number)) => {
                if u64::try_from(*number).is_ok_and(u64::is_power_of_two) {
                    within(*number, min, max, &|n| n.to_string())
                } else {
                    Err(typed())
                }
            }
            (Kind::Scaled { measure, min, max }, Value::String(text)) => {
                let number = measure.parse(text).map_err(wrong)?;
                within(number, min, max, &|n| measure.format(n))
            }
            (Kind::Scaled { .. } | Kind::Money | Kind::Quantity, Value::Integer(_) | Value::Float(_)) => {
                let units = match self.kind {
                    Kind::Scaled { measure, .. } => measure.names(),
                    Kind::Money => assets.currency.clone(),
                    _ => assets.quantity(symbol).to_owned(),
                };
                Err(wrong(UnitError::Missing { units }))
            }
            (Kind::Money, Value::String(text)) => {
                parse_amount(text, &assets.currency, Some(MONEY_DECIMALS)).map(Value::String).map_err(wrong)
            }
            (Kind::Quantity, Value::String(text)) => {
                let unit = assets.quantity(symbol);
                let parsed = parse_amount(text, unit, None).or_else(|error| {
                    // "units" always says what is meant: so much of whatever symbol it is.
                    if symbol.is_none() {
                        parse_amount(text, EACH, None).map_err(|_| error)
                    } else {
                        Err(error)
                    }
                });
                parsed.map(Value::String).map_err(wrong)
            }
            _ => Err(typed()),
        }
    }

    /// The file's value of the configuration's.
    pub(super) fn write(&self, value: &Value, assets: &Assets, symbol: Option<&str>) -> Value {
        match (self.kind, value) {
            (Kind::Flag, Value::Integer(number)) => Value::Boolean(*number != 0),
            (Kind::TimeOfDay, Value::Integer(seconds)) => format_time_of_day(*seconds).into(),
            (Kind::Scaled { measure, .. }, Value::Integer(number)) => measure.format(*number).into(),
            (Kind::Money, Value::String(amount)) => format!("{amount} {}", assets.currency).into(),
            (Kind::Quantity, Value::String(amount)) => format!("{amount} {}", assets.quantity(symbol)).into(),
            _ => value.clone(),
        }
    }
}

/// A place in the tree: as the table of keys names it, and as a person does.
#[derive(Clone, Debug, Default)]
struct Place {
    pattern: String,
    written: String,
    symbol: Option<String>,
}

fn joined(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

impl Place {
    fn inside(&self, name: &str) -> Self {
        Self {
            pattern: joined(&self.pattern, name),
            written: joined(&self.written, name),
            symbol: self.symbol.clone(),
        }
    }

    /// An element of the list at this place, named after its `name` or `id` if it has one.
    fn element(&self, at: usize, element: &Table) -> Self {
        let name = label(at, element);
        let symbol = (self.pattern == "symbol").then(|| name.clone());
        Self { pattern: format!("{}[]", self.pattern), written: joined(&self.written, &name), symbol }
    }

    /// What limits at this place are set for, if limits stand here.
    fn limits_of(&self) -> Option<Scope> {
        scope_of(self.pattern.strip_suffix("limits")?)
    }

    fn is_section(&self) -> bool {
        let inside =
            |path: &str| path.strip_prefix(self.pattern.as_str()).is_some_and(|r| r.starts_with('.'));
        self.limits_of().is_some() || KEYS.iter().any(|key| inside(key.path))
    }

    fn is_list(&self) -> bool {
        KEYS.iter().any(|key| key.path.strip_prefix(&self.pattern).is_some_and(|rest| rest.starts_with("[]")))
    }

    /// The key `name` in the section at this place; `by`: which of its names is meant.
    fn key(&self, name: &str, by: impl Fn(&Key) -> &str) -> Option<&'static Key> {
        if self.limits_of().is_some() {
            return LIMITS.iter().map(|limit| &limit.key).find(|key| by(key) == name);
        }
        KEYS.iter().find(|key| {
            let parent = key.path.rsplit_once('.').map_or("", |(parent, _)| parent);
            parent == self.pattern && by(key).rsplit('.').next() == Some(name)
        })
    }

    fn unknown(&self, name: &str) -> KeyError {
        let names: Vec<&str> = match self.limits_of() {
            Some(scope) => here(scope).map(|limit| limit.key.path).collect(),
            None => {
                let prefix =
                    if self.pattern.is_empty() { String::new() } else { format!("{}.", self.pattern) };
                let below = KEYS.iter().filter_map(|key| key.path.strip_prefix(prefix.as_str()));
                let first = below.filter_map(|rest| rest.split(['.', '[']).next());
                first.chain((self.may_have_limits()).then_some("limits")).collect()
            }
        };
        // The configuration's own name for it, with the unit in it, is what a programmer writes.
        let own =
            self.key(name, |key| key.field).and_then(|key| key.path.rsplit('.').next()).map(str::to_owned);
        let nearest = own.or_else(|| nearest(name, names.into_iter()));
        KeyError::Unknown { key: joined(&self.written, name), nearest }
    }

    fn may_have_limits(&self) -> bool {
        scope_of(&if self.pattern.is_empty() { String::new() } else { format!("{}.", self.pattern) })
            .is_some()
    }
}

fn scope_of(prefix: &str) -> Option<Scope> {
    Some(match prefix {
        "" => Scope::Global,
        "account[]." => Scope::Account,
        "symbol[]." => Scope::Symbol,
        "strategy[]." => Scope::Strategy,
        _ => return None,
    })
}

/// The limits that exist for a scope.
pub fn here(scope: Scope) -> impl Iterator<Item = &'static LimitKey> {
    LIMITS.iter().filter(move |limit| is_legal(scope, limit.id))
}

/// The name most like `name`, if one is.
pub fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let scored = names.map(|known| (strsim::damerau_levenshtein(name, known), known));
    let (distance, best) = scored.min()?;
    let part = best.starts_with(name) || name.starts_with(best) || best.contains(name);
    (distance <= (name.len() / 3).max(3) || part).then(|| best.to_owned())
}

/// A file's tree as the configuration's.
///
/// # Errors
/// The first [`KeyError`], in the file's order.
pub(super) fn read(file: &Table) -> Result<Table, KeyError> {
    read_section(file, &Place::default(), &Assets::of(file))
}

fn read_section(section: &Table, place: &Place, assets: &Assets) -> Result<Table, KeyError> {
    let mut read = Table::new();
    for (name, value) in section {
        let inner = place.inside(name);
        let section =
            |expected: &str| KeyError::Type { key: inner.written.clone(), expected: expected.into() };
        if inner.is_list() {
            let elements = value.as_array().ok_or_else(|| section(&format!("a list: [[{name}]]")))?;
            let elements = elements.iter().enumerate().map(|(at, element)| {
                let table = element.as_table().ok_or_else(|| section(&format!("a list: [[{name}]]")))?;
                read_section(table, &inner.element(at, table), assets).map(Value::Table)
            });
            read.insert(name.clone(), Value::Array(elements.collect::<Result<_, _>>()?));
        } else if inner.is_section() {
            let table = value.as_table().ok_or_else(|| section(&format!("a section: [{name}]")))?;
            let field = SECTIONS
                .iter()
                .find(|(path, _)| *path == inner.pattern)
                .map_or(name.as_str(), |(_, field)| field);
            read.insert(field.to_owned(), Value::Table(read_section(table, &inner, assets)?));
        } else {
            let key = place.key(name, |key| key.path).ok_or_else(|| place.unknown(name))?;
            if let Some(scope) = place.limits_of() {
                legal(key, scope, &inner.written)?;
            }
            let value = key.read(&inner.written, value, assets, place.symbol.as_deref())?;
            read.insert(key.field.to_owned(), value);
        }
    }
    Ok(read)
}

/// That the limit of `key` exists for `scope`.
///
/// # Errors
/// [`KeyError::NotHere`], naming the scopes that have it.
pub(super) fn legal(key: &Key, scope: Scope, at: &str) -> Result<(), KeyError> {
    let limit = LIMITS.iter().find(|limit| limit.key.path == key.path);
    if limit.is_none_or(|limit| is_legal(scope, limit.id)) {
        return Ok(());
    }
    let has = |scope: &&Scope| limit.is_some_and(|limit| is_legal(**scope, limit.id));
    let elsewhere = Scope::ALL.iter().filter(has).map(|scope| scope.name()).collect::<Vec<_>>().join(", ");
    Err(KeyError::NotHere { key: at.to_owned(), scope, elsewhere })
}

/// The configuration's tree as a file's, unit by unit.
pub(super) fn write(config: &Table, assets: &Assets) -> Table {
    write_section(config, &Place::default(), assets)
}

fn write_section(section: &Table, place: &Place, assets: &Assets) -> Table {
    let mut written = Table::new();
    for (field, value) in section {
        let renamed = |(path, name): &&(&str, &str)| {
            name == field && path.rsplit_once('.').is_some_and(|(parent, _)| parent == place.pattern)
        };
        let renamed = SECTIONS.iter().find(renamed).and_then(|(path, _)| path.rsplit('.').next());
        let name = &renamed.map_or_else(|| field.clone(), str::to_owned);
        let inner = place.inside(name);
        match value {
            Value::Array(elements) => {
                let elements = elements.iter().enumerate().map(|(at, element)| match element {
                    Value::Table(table) => {
                        Value::Table(write_section(table, &inner.element(at, table), assets))
                    }
                    other => other.clone(),
                });
                written.insert(name.clone(), Value::Array(elements.collect()));
            }
            Value::Table(table) if table.is_empty() => {}
            Value::Table(table) => {
                written.insert(name.clone(), Value::Table(write_section(table, &inner, assets)));
            }
            leaf => {
                // A field without a key is none: a test walks all of them.
                let Some(key) = place.key(field, |key| key.field) else { continue };
                let name = key.path.rsplit('.').next().unwrap_or(key.path);
                written.insert(name.to_owned(), key.write(leaf, assets, place.symbol.as_deref()));
            }
        }
    }
    written
}
