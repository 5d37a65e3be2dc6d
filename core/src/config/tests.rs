//! The table of keys against the structs, the file against its own rewriting, and every way to get a key wrong.

use std::path::PathBuf;

use ringfence_ipc::reason::{LimitId, Scope};
use serde::Deserialize as _;
use toml::{Table, Value};

use super::keys::{KEYS, Key, Kind, LIMITS, SECTIONS};
use super::text::here;
use super::*;

const SMALL: &str = r#"
data_dir = "/data"
run_dir = "/run"

[limits]
max_gross_notional = "1_000_000 USDT"
price_collar = "2.5 %"
dedup_ttl = "5 min"
allow_keyless = true

[[symbol]]
name = "BTCUSDT"
tick = "0.01"
lot = "0.00001"
price_scale = 2
qty_scale = 8
limits.max_order_qty = "0.5 BTC"

[[symbol]]
name = "ETHUSDT"
tick = "0.01"
lot = "0.0001"
price_scale = 2
qty_scale = 8

[[strategy]]
name = "demo"
limits.order_rate = "100 /s"
limits.max_position_qty = "3 units"

[[account]]
id = 3
limits.max_gross_notional = "50000 USDT"

[[client]]
role = "strategy"
name = "*"
uid = 0
"#;

/// A source whose file holds `text`; the directory lives as long as what is returned.
fn source(text: &str) -> (tempfile::TempDir, ConfigSource) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("core.toml");
    std::fs::write(&file, text).unwrap();
    (dir, ConfigSource { file: Some(file), ..ConfigSource::default() })
}

fn load(text: &str) -> Result<CoreConfig, String> {
    let (_dir, source) = source(text);
    source.load().map(|loaded| loaded.config).map_err(|error| error.to_string())
}

/// A value that the key takes.
fn example(key: &Key) -> Value {
    match key.kind {
        Kind::Text | Kind::Path if key.path == "symbol[].name" => "BTCUSDT".into(),
        Kind::Text | Kind::Path if key.path == "currency" => "USDT".into(),
        Kind::Text | Kind::Path => "text".into(),
        Kind::Step => "0.01".into(),
        Kind::Word(words) => words[0].into(),
        Kind::Switch | Kind::Flag => true.into(),
        Kind::TimeOfDay => "09:30:00".into(),
        Kind::Names => Value::Array(vec!["BTCUSDT".into()]),
        Kind::Count { min, max } => min.max(2).min(max).into(),
        Kind::PowerOfTwo { min, .. } => min.into(),
        Kind::Scaled { measure, min, max } => measure.format(min.max(1 << 20).min(max)).into(),
        Kind::Money => "5.5 USDT".into(),
        Kind::Quantity => "0.25 BTC".into(),
    }
}

/// A file in which every key stands.
fn full() -> Table {
    let mut file = Table::new();
    let mut put = |path: &str, value: Value| {
        let mut at = &mut file;
        let parts: Vec<&str> = path.split('.').collect();
        for part in &parts[..parts.len() - 1] {
            let (name, list) = part.strip_suffix("[]").map_or((*part, false), |name| (name, true));
            let empty = if list { Value::Array(vec![Table::new().into()]) } else { Table::new().into() };
            let inner = at.entry(name).or_insert(empty);
            let inner = if list { &mut inner.as_array_mut().unwrap()[0] } else { inner };
            at = inner.as_table_mut().unwrap();
        }
        at.insert(parts[parts.len() - 1].to_owned(), value);
    };
    KEYS.iter().for_each(|key| put(key.path, example(key)));
    for (scope, prefix) in [
        (Scope::Global, ""),
        (Scope::Account, "account[]."),
        (Scope::Symbol, "symbol[]."),
        (Scope::Strategy, "strategy[]."),
    ] {
        here(scope).for_each(|limit| put(&format!("{prefix}limits.{}", limit.key.path), example(&limit.key)));
    }
    file
}

#[test]
fn every_key_of_the_table_is_a_field_and_comes_back_as_it_was_written() {
    let file = full();
    let config = load(&file.to_string()).unwrap();
    assert_eq!(load(&config.to_toml()).unwrap().to_table(), config.to_table());
    let keys = |table: &Table| source::leaves(table).into_iter().map(|(key, _)| key).collect::<Vec<_>>();
    let (mut written, mut expected) = (keys(&config.to_table()), keys(&file));
    written.sort();
    expected.sort();
    assert_eq!(written, expected);
}

/// The fields serde knows in the section at `path` of a full configuration.
fn fields(path: &[&str]) -> Vec<String> {
    let mut tree = text::read(&full()).unwrap();
    let mut at = &mut tree;
    for part in path {
        at = match at.get_mut(*part).unwrap() {
            Value::Table(inner) => inner,
            Value::Array(elements) => elements[0].as_table_mut().unwrap(),
            other => panic!("{other} is no section"),
        };
    }
    at.insert("no_such_field".into(), 1.into());
    let said = CoreConfig::deserialize(Value::Table(tree)).unwrap_err().to_string();
    let said = said.lines().next().unwrap();
    let (_, list) = said.split_once("expected one of ").or_else(|| said.split_once("expected ")).unwrap();
    list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_field_has_a_key() {
    let sections = [
        "lockstep", "journal", "capacity", "cache", "paper", "storm", "shell", "server", "audit", "events",
        "dag", "auth", "limits",
    ];
    let lists = ["symbol", "strategy", "account", "client"];
    let mut found = 0;
    let mut check = |path: &[&str], prefix: &str| {
        for field in fields(path) {
            let begins =
                |with: &str| KEYS.iter().any(|key| key.path.starts_with(&format!("{prefix}{field}{with}")));
            let renamed = |(path, name): &(&str, &str)| *name == field && path.starts_with(prefix);
            let is_section =
                field == "limits" || begins(".") || begins("[].") || SECTIONS.iter().any(renamed);
            let parent = |key: &Key| key.path.rsplit_once('.').map_or("", |(parent, _)| parent).to_owned();
            let own = KEYS.iter().any(|key| {
                key.field == field && format!("{}.", parent(key)).trim_start_matches('.') == prefix
            });
            let limit = path.last() == Some(&"limits") && LIMITS.iter().any(|limit| limit.key.field == field);
            assert!(is_section || own || limit, "`{prefix}{field}` has no key in the table of keys");
            found += 1;
        }
    };
    check(&[], "");
    sections.iter().for_each(|section| check(&[section], &format!("{section}.")));
    SECTIONS.iter().for_each(|(path, field)| check(&["storm", field], &format!("{path}.")));
    check(&["storm", "full_checks"], "storm.full_checks.");
    lists.iter().for_each(|list| check(&[list], &format!("{list}[].")));
    println!("{found} fields of {} sections", 1 + sections.len() + lists.len());
}

#[test]
fn defaults_are_what_the_table_says() {
    let config = load("data_dir = \"d\"\nrun_dir = \"r\"\n[[symbol]]\nname = \"X\"\ntick = \"1\"\nlot = \"1\"\nprice_scale = 0\nqty_scale = 0\n").unwrap();
    let effective: std::collections::BTreeMap<_, _> =
        source::leaves(&config.to_table()).into_iter().collect();
    for key in KEYS.iter().filter(|key| !key.path.contains("[]") && key.default != "required") {
        let found = effective.get(key.path).map(|value| value.trim_matches('"').to_owned());
        // A limit that is not set stands in no configuration: its default is the gate's.
        if found.is_none() && key.change == keys::Change::Hot {
            continue;
        }
        let expected = (!["none", "the first"].contains(&key.default)).then(|| key.default.to_owned());
        assert_eq!(found, expected, "{}", key.path);
    }
}

#[test]
fn values_become_scaled_integers() {
    let config = load(SMALL).unwrap();
    let records = config.limit_records(0).unwrap();
    let value = |scope, id, limit| {
        records.iter().find(|r| (r.scope, r.scope_id, r.limit) == (scope, id, limit)).map(|r| r.value)
    };
    for (scope, id, limit, expected) in [
        (Scope::Global, 0, LimitId::MaxGrossNotionalE8, 100_000_000_000_000),
        (Scope::Global, 0, LimitId::PriceCollarBps, 250),
        (Scope::Global, 0, LimitId::DedupTtlNs, 300_000_000_000),
        (Scope::Global, 0, LimitId::AllowKeyless, 1),
        (Scope::Account, 3, LimitId::MaxGrossNotionalE8, 5_000_000_000_000),
        (Scope::Symbol, 0, LimitId::MaxOrderQty, 50_000_000),
        (Scope::Strategy, 1, LimitId::OrderRatePerS, 100),
        (Scope::Strategy, 1, LimitId::MaxPositionQty, 300_000_000),
    ] {
        assert_eq!(value(scope, id, limit), Some(expected), "{scope} {id} {limit}");
    }
    assert_eq!(records.len(), 8);
}

#[test]
fn every_mistake_is_named() {
    for (from, to, said) in [
        ("price_collar", "price_colar", "unknown key `limits.price_colar`: did you mean `price_collar`?"),
        (
            "price_collar",
            "price_collar_bps",
            "unknown key `limits.price_collar_bps`: did you mean `price_collar`?",
        ),
        (
            "price_collar",
            "price_collar_limit",
            "unknown key `limits.price_collar_limit`: did you mean `price_collar`?",
        ),
        (
            "[limits]",
            "[journal]\nhot_bytes = 5\n[limits]",
            "unknown key `journal.hot_bytes`: did you mean `hot_size`?",
        ),
        ("[limits]", "[limit]", "unknown key `limit`: did you mean `limits`?"),
        ("[[client]]", "[[clients]]", "unknown key `clients`: did you mean `client`?"),
        ("data_dir", "datadir", "unknown key `datadir`: did you mean `data_dir`?"),
        ("name = \"demo\"", "nam = \"demo\"", "unknown key `strategy.1.nam`: did you mean `name`?"),
        ("run_dir", "zzzzzzzz", "unknown key `zzzzzzzz`"),
        (
            "\"2.5 %\"",
            "250",
            "`limits.price_collar = 250`: the unit is missing: write the number and one of bps, %",
        ),
        ("\"2.5 %\"", "\"250\"", "the unit is missing: write the number and one of bps, %"),
        ("\"2.5 %\"", "\"5 s\"", "`s` is no unit of this key: write one of bps, %"),
        ("\"2.5 %\"", "\"0.001 %\"", "is finer than 1 bps, the finest this key holds"),
        ("\"2.5 %\"", "\"-1 bps\"", "must not be negative"),
        ("\"2.5 %\"", "\"1000001 bps\"", "must be 0 bps to 1000000 bps"),
        ("\"2.5 %\"", "\"99999999999999999999 bps\"", "is too large"),
        ("\"2.5 %\"", "\"a lot\"", "is no plain decimal number with a unit"),
        ("\"2.5 %\"", "true", "`limits.price_collar` must be text with a unit: bps, %"),
        ("1_000_000 USDT", "1_000_000 EUR", "`EUR` is no unit of this key: write one of USDT"),
        ("1_000_000 USDT", "1_000_000", "the unit is missing: write the number and one of USDT"),
        ("1_000_000 USDT", "0.000000001 USDT", "is finer than 0.00000001 USDT"),
        ("1_000_000 USDT", "92233720368547758 USDT", "is too large"),
        ("1_000_000 USDT", "-1 USDT", "must not be negative"),
        ("0.5 BTC", "0.5 ETH", "`ETH` is no unit of this key: write one of BTC"),
        ("\"0.5 BTC\"", "0.5", "the unit is missing: write the number and one of BTC"),
        ("0.5 BTC", "0.123456789 BTC", "more decimals than this symbol has"),
        ("3 units", "3 BTC", "`BTC` is no unit of this key: write one of units"),
        ("100 /s", "1 /min", "is finer than 1 /s"),
        ("allow_keyless = true", "allow_keyless = 1", "`limits.allow_keyless` must be true or false"),
        (
            "limits.order_rate",
            "limits.price_collar",
            "there is no such limit of a strategy; it exists for: global, symbol",
        ),
        (
            "role = \"strategy\"",
            "role = \"king\"",
            "`client.*.role` must be one of strategy, operator, feed, venue, observer",
        ),
        ("price_scale = 2", "price_scale = \"2\"", "`symbol.BTCUSDT.price_scale` must be a whole number"),
        ("price_scale = 2", "price_scale = 17", "must be 0 to 16"),
        ("tick = \"0.01\"", "tick = 0.01", "`symbol.BTCUSDT.tick` must be a decimal number as text"),
        (
            "[limits]",
            "[capacity]\norder_slots = 1000\n[limits]",
            "`capacity.order_slots` must be a power of two",
        ),
        (
            "[limits]",
            "[journal]\nhot_size = \"1000000 B\"\n[limits]",
            "journal.hot_size must be a power of two",
        ),
        ("[limits]", "limits = 5\n[x]", "`limits` must be a section: [limits]"),
        ("[[account]]", "[account]", "`account` must be a list: [[account]]"),
        ("id = 3", "id = 16", "must be 0 to 15"),
        ("name = \"ETHUSDT\"", "name = \"BTCUSDT\"", "listed twice"),
    ] {
        let text = SMALL.replacen(from, to, 1);
        assert_ne!(text, SMALL, "{from}");
        let error = load(&text).expect_err(to);
        assert!(error.contains(said), "{to}: {error}");
        assert!(error.contains("core.toml") || !error.contains('`'), "{to}: {error}");
    }
}

#[test]
fn flags_win_over_the_environment_over_the_file_over_the_default() {
    let (_dir, mut source) = source(SMALL);
    let seen = |source: &ConfigSource, key: &str| {
        let loaded = source.load().unwrap();
        let found = loaded.effective().into_iter().find(|(name, ..)| name == key).unwrap();
        (found.1.trim_matches('"').to_owned(), found.2)
    };
    let file = Origin::File(source.file.clone().unwrap());
    assert_eq!(seen(&source, "journal.min_free"), ("256 MiB".into(), Origin::Default));
    assert_eq!(seen(&source, "limits.price_collar"), ("250 bps".into(), file.clone()));
    let name = "RINGFENCE_LIMITS_PRICE_COLLAR";
    source.environment = vec![(name.into(), "300 bps".into()), ("RINGFENCE_STATE_DIR".into(), "x".into())];
    assert_eq!(seen(&source, "limits.price_collar"), ("300 bps".into(), Origin::Environment(name.into())));
    source.flags = vec![("limits.price_collar".into(), "4 %".into())];
    assert_eq!(seen(&source, "limits.price_collar"), ("400 bps".into(), Origin::Flag));
    source.flags.push(("strategy.demo.limits.max_open_orders".into(), "7".into()));
    assert_eq!(seen(&source, "strategy.demo.limits.max_open_orders"), ("7".into(), Origin::Flag));
    assert_eq!(seen(&source, "strategy.demo.limits.order_rate"), ("100 /s".into(), file));
}

#[test]
fn names_of_other_programs_are_known() {
    let (_dir, mut source) = source(SMALL);
    source.environment =
        vec![("HFT_DEDUP_TTL_S".into(), "60".into()), ("HFT_EXPOSURE_MAX_SYMBOLS".into(), "9".into())];
    let limits = source.load().unwrap().config.limits;
    assert_eq!((limits.dedup_ttl_s, limits.exposure_max_symbols), (Some(60), Some(9)));
}

#[test]
fn a_mistake_in_the_environment_or_a_flag_says_where_it_stands() {
    let (_dir, good) = source(SMALL);
    let said = |environment: &[(&str, &str)], flags: &[(&str, &str)]| {
        let own =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let source = ConfigSource { environment: own(environment), flags: own(flags), ..good.clone() };
        source.load().unwrap_err().to_string()
    };
    let error = said(&[("RINGFENCE_LIMITS_PRICE_COLAR", "5 bps")], &[]);
    assert!(error.contains("did you mean `RINGFENCE_LIMITS_PRICE_COLLAR`?"), "{error}");
    let error = said(&[("RINGFENCE_LIMITS_PRICE_COLLAR", "5")], &[]);
    assert!(
        error.contains("environment RINGFENCE_LIMITS_PRICE_COLLAR: ") && error.contains("unit is missing"),
        "{error}"
    );
    let error = said(&[], &[("limits.price_collar", "5")]);
    assert!(error.starts_with("flag: "), "{error}");
    for key in ["limits.nothing", "nothing", "strategy.nobody.limits.max_open_orders", "strategy", "wait"] {
        let error = said(&[], &[(key, "5")]);
        assert!(error.starts_with("flag: ") && error.contains(key), "{key}: {error}");
    }
    let error = said(&[], &[("wait.x", "5")]);
    assert!(error.starts_with("flag: ") && error.contains("`wait` must be one of"), "{error}");
}

#[test]
fn a_file_that_is_none_says_why() {
    let missing = ConfigSource { file: Some(PathBuf::from("/no/such/core.toml")), ..ConfigSource::default() };
    assert!(missing.load().unwrap_err().to_string().contains("/no/such/core.toml"));
    assert!(load("wait = ").unwrap_err().contains("core.toml"));
    assert!(load(&SMALL.replacen("data_dir = \"/data\"", "", 1)).unwrap_err().contains("data_dir"));
    assert!(load("data_dir = \"d\"\nrun_dir = \"r\"\n").unwrap_err().contains("add at least one"));
}

/// `RINGFENCE_BLESS=1` writes the tables anew.
#[test]
fn the_documentation_lists_every_key() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (begin, end) = ("<!-- keys -->\n", "<!-- /keys -->");
    let (before, rest) = text.split_once(begin).expect("the document marks where the keys begin");
    let (listed, after) = rest.split_once(end).expect("the document marks where the keys end");
    if std::env::var_os("RINGFENCE_BLESS").is_some() {
        std::fs::write(path, format!("{before}{begin}{}{end}{after}", reference())).unwrap();
        return;
    }
    assert_eq!(listed, reference(), "docs/configuration.md: run this test with RINGFENCE_BLESS=1");
}
