//! Where a configuration comes from: defaults, then the file, then the environment, then flags. The later wins.
//!
//! A source can be read again: that is what a reload does.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use toml::{Table, Value};

use super::keys::{KEYS, Key, Kind, LIMITS};
use super::text::{self, Assets, KeyError, nearest};
use super::{ConfigError, CoreConfig};

/// What every environment variable of ours begins with.
const ENV_PREFIX: &str = "RINGFENCE_";
/// How variables with secrets end: those are no configuration, and stay out of everything that may be printed.
const SECRETS: [&str; 3] = ["_PASSWORD", "_SECRET", "_API_KEY"];
/// Names that other programs of this kind use, the key each stands for, and the unit its bare number has.
const ALIASES: [(&str, &str, &str); 2] = [
    ("HFT_EXPOSURE_MAX_SYMBOLS", "limits.exposure_max_symbols", ""),
    ("HFT_DEDUP_TTL_S", "limits.dedup_ttl", " s"),
];

/// Which layer a value comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said otherwise.
    #[default]
    Default,
    /// The file.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// A flag of the command line.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// A file, what the environment says, and what flags say.
#[derive(Clone, Debug, Default)]
pub struct ConfigSource {
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// Variables whose names may be ours.
    pub environment: Vec<(String, String)>,
    /// `KEY=VALUE` of flags, keys as in the file; an element of a list is named: `strategy.demo.limits.max_open_orders`.
    pub flags: Vec<(String, String)>,
}

/// A configuration and where each of its values comes from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The checked configuration.
    pub config: CoreConfig,
    /// By key as in the file; what is not listed is a default.
    pub origins: BTreeMap<String, Origin>,
}

impl ConfigSource {
    /// `file` and this process's environment.
    #[must_use]
    pub fn new(file: &Path) -> Self {
        let ours =
            |name: &str| name.starts_with(ENV_PREFIX) || ALIASES.iter().any(|(alias, ..)| *alias == name);
        let secret = |name: &str| SECRETS.iter().any(|end| name.ends_with(end));
        let environment = std::env::vars().filter(|(name, _)| ours(name) && !secret(name)).collect();
        Self { file: Some(file.to_owned()), environment, flags: Vec::new() }
    }

    /// Reads every layer and checks the whole.
    ///
    /// # Errors
    /// [`ConfigError`], naming the layer and the key.
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        let (tree, origins) = self.tree()?;
        let label = |error: KeyError| {
            let key = error.key();
            let inside = |k: &str| k.strip_prefix(key).is_some_and(|rest| rest.starts_with('.'));
            let origin =
                origins.iter().find(|(k, _)| *k == key || inside(k)).map(|(_, origin)| origin.clone());
            let origin = origin.or_else(|| self.file.clone().map(Origin::File)).unwrap_or_default();
            ConfigError::Key { origin, error: error.into() }
        };
        let read = text::read(&tree).map_err(label)?;
        let origin = self.file.clone().unwrap_or_default();
        let config = CoreConfig::deserialize(Value::Table(read))
            .map_err(|error| ConfigError::Parse { path: origin, message: error.to_string() })?;
        config.check()?;
        Ok(Loaded { config, origins })
    }

    /// The layers laid over each other, not yet checked, and who said what.
    fn tree(&self) -> Result<(Table, BTreeMap<String, Origin>), ConfigError> {
        let mut origins = BTreeMap::new();
        let mut tree = match &self.file {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|source| ConfigError::Read { path: path.clone(), source })?;
                let parsed = text.parse::<Table>();
                parsed.map_err(|e| ConfigError::Parse { path: path.clone(), message: e.to_string() })?
            }
            None => Table::new(),
        };
        for (key, _) in leaves(&tree) {
            origins.insert(key, Origin::File(self.file.clone().unwrap_or_default()));
        }
        for (name, value) in &self.environment {
            let origin = Origin::Environment(name.clone());
            let Some((key, value)) = from_environment(name, value)
                .map_err(|error| ConfigError::Key { origin: origin.clone(), error: error.into() })?
            else {
                continue;
            };
            let laid = lay(&mut tree, &key, &value);
            laid.map_err(|error| ConfigError::Key { origin: origin.clone(), error: error.into() })?;
            origins.insert(key, origin);
        }
        for (key, value) in &self.flags {
            let laid = lay(&mut tree, key, value);
            laid.map_err(|error| ConfigError::Key { origin: Origin::Flag, error: error.into() })?;
            origins.insert(key.clone(), Origin::Flag);
        }
        Ok((tree, origins))
    }
}

impl Loaded {
    /// Every key that has a value, as the file would say it, and where it comes from; in the file's order.
    #[must_use]
    pub fn effective(&self) -> Vec<(String, String, Origin)> {
        let tree = self.config.to_table();
        let origin = |key: &str| self.origins.get(key).cloned().unwrap_or_default();
        leaves(&tree)
            .into_iter()
            .map(|(key, value)| (origin(&key), key, value))
            .map(|(o, k, v)| (k, v, o))
            .collect()
    }
}

/// Every leaf of a tree with its key; elements of lists by their name.
pub(crate) fn leaves(tree: &Table) -> Vec<(String, String)> {
    fn walk(prefix: &str, table: &Table, out: &mut Vec<(String, String)>) {
        for (name, value) in table {
            let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            match value {
                Value::Table(inner) => walk(&key, inner, out),
                Value::Array(elements) => {
                    for (at, element) in elements.iter().enumerate() {
                        match element {
                            Value::Table(inner) => walk(&format!("{key}.{}", label(at, inner)), inner, out),
                            other => out.push((format!("{key}.{}", at + 1), other.to_string())),
                        }
                    }
                }
                leaf => out.push((key, leaf.to_string())),
            }
        }
    }
    let mut out = Vec::new();
    walk("", tree, &mut out);
    out
}

/// What an element of a list is called: its name, its id, or its place.
pub(super) fn label(at: usize, element: &Table) -> String {
    match (element.get("name"), element.get("id")) {
        (Some(Value::String(name)), _) => name.clone(),
        (_, Some(Value::Integer(id))) => id.to_string(),
        _ => (at + 1).to_string(),
    }
}

/// The key a variable stands for, and its value as the file would write it. Lists are for the file and for flags.
fn from_environment(name: &str, value: &str) -> Result<Option<(String, String)>, KeyError> {
    if let Some((_, key, unit)) = ALIASES.iter().find(|(alias, ..)| *alias == name) {
        return Ok(Some(((*key).to_owned(), format!("{value}{unit}"))));
    }
    let Some(rest) = name.strip_prefix(ENV_PREFIX) else { return Ok(None) };
    let variable = |path: &str| path.replace('.', "_").to_ascii_uppercase();
    if let Some(key) = scalars().find(|key| variable(key) == rest) {
        return Ok(Some((key, value.to_owned())));
    }
    // Other programs have variables of this prefix, too; of our own sections every one must be a key.
    let section = |key: &str| key.split_once('.').map(|(section, _)| format!("{}_", variable(section)));
    if scalars().any(|key| section(&key).is_some_and(|section| rest.starts_with(&section))) {
        let names: Vec<String> = scalars().map(|key| variable(&key)).collect();
        let nearest =
            nearest(rest, names.iter().map(String::as_str)).map(|name| format!("{ENV_PREFIX}{name}"));
        return Err(KeyError::Unknown { key: name.to_owned(), nearest });
    }
    Ok(None)
}

/// Every key outside lists.
fn scalars() -> impl Iterator<Item = String> {
    let limits = LIMITS.iter().map(|limit| format!("limits.{}", limit.key.path));
    KEYS.iter().filter(|key| !key.path.contains("[]")).map(|key| key.path.to_owned()).chain(limits)
}

/// Puts `value` at `key`. Whether it may stand there is checked with everything else.
fn lay(tree: &mut Table, key: &str, value: &str) -> Result<(), KeyError> {
    let mut at = tree;
    let mut pattern = String::new();
    let mut rest = key;
    while let Some((name, after)) = rest.split_once('.') {
        let list = format!("{pattern}{name}[].");
        let not_there = || KeyError::Unknown { key: key.to_owned(), nearest: None };
        if KEYS.iter().any(|known| known.path.starts_with(&list)) {
            let elements = at.get_mut(name).and_then(Value::as_array_mut).ok_or_else(not_there)?;
            let (element, after) = after.split_once('.').ok_or_else(not_there)?;
            let found = elements.iter_mut().enumerate().find_map(|(at, value)| {
                let table = value.as_table_mut()?;
                (label(at, table) == element).then_some(table)
            });
            (at, pattern, rest) = (found.ok_or_else(not_there)?, list, after);
        } else {
            let inner = at.entry(name).or_insert_with(|| Value::Table(Table::new()));
            at = inner.as_table_mut().ok_or_else(not_there)?;
            (pattern, rest) = (format!("{pattern}{name}."), after);
        }
    }
    let known = KEYS.iter().find(|known| known.path == format!("{pattern}{rest}"));
    let limit = || LIMITS.iter().map(|limit| &limit.key).find(|key| key.path == rest);
    let known = known.or_else(|| if pattern.ends_with("limits.") { limit() } else { None });
    at.insert(
        rest.to_owned(),
        known.map_or_else(|| Value::String(value.to_owned()), |key| value_of(key, value)),
    );
    Ok(())
}

/// A variable's or flag's text as the file's value.
pub(super) fn value_of(key: &Key, text: &str) -> Value {
    let text = text.trim();
    let typed = match key.kind {
        Kind::Count { .. } | Kind::PowerOfTwo { .. } => {
            text.replace('_', "").parse().ok().map(Value::Integer)
        }
        Kind::Names => {
            let names = text.split(',').filter(|name| !name.is_empty());
            Some(Value::Array(names.map(|name| name.trim().into()).collect()))
        }
        Kind::Switch | Kind::Flag => match text {
            "true" | "1" => Some(Value::Boolean(true)),
            "false" | "0" => Some(Value::Boolean(false)),
            _ => None,
        },
        _ => None,
    };
    typed.unwrap_or_else(|| Value::String(text.to_owned()))
}

impl CoreConfig {
    /// The tree of a file that says all of this.
    #[must_use]
    pub fn to_table(&self) -> Table {
        let tree = Table::try_from(self).unwrap_or_default();
        let names = self.symbols.iter().map(|symbol| symbol.name.clone());
        text::write(&tree, &Assets::new(&self.currency, names))
    }

    /// A file that says all of this.
    #[must_use]
    pub fn to_toml(&self) -> String {
        self.to_table().to_string()
    }
}
