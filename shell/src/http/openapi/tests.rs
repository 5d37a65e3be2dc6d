use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::*;

fn keys(pairs: impl Iterator<Item = (String, &'static str)>) -> BTreeSet<(String, &'static str)> {
    pairs.collect()
}

#[test]
fn every_route_is_told_and_nothing_else_is() {
    let routes = keys(rows().into_iter().map(|row| (row.method.to_string(), row.path)));
    let told = keys(operations().into_iter().map(|op| (op.method.to_string(), op.path)));
    let untold: Vec<_> = routes.difference(&told).collect();
    assert!(untold.is_empty(), "describe these in openapi/table.rs: {untold:?}");
    let unknown: Vec<_> = told.difference(&routes).collect();
    assert!(unknown.is_empty(), "routes.rs has no such rows: {unknown:?}");
    assert_eq!(operations().len(), told.len(), "an operation is told twice");
}

#[test]
fn the_committed_document_is_the_codes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    // A line for each value: what has changed can be read.
    let value: Value = serde_json::from_str(document()).unwrap();
    let told = serde_json::to_string_pretty(&value).unwrap() + "\n";
    if std::env::var_os("RINGFENCE_BLESS").is_some() {
        std::fs::write(&path, &told).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == told,
        "docs/openapi.json is not the code's: RINGFENCE_BLESS=1 cargo test --release -p ringfence-shell --lib openapi"
    );
}

/// Every object of the document, with where it stands.
fn walk<'a>(at: &str, value: &'a Value, seen: &mut Vec<(String, &'a Value)>) {
    match value {
        Value::Object(map) => {
            seen.push((at.to_owned(), value));
            map.iter().for_each(|(name, value)| walk(&format!("{at}/{name}"), value, seen));
        }
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(i, value)| walk(&format!("{at}/{i}"), value, seen));
        }
        _ => {}
    }
}

#[test]
fn every_reference_and_every_link_leads_somewhere() {
    let document: Value = serde_json::from_str(document()).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    let mut seen = Vec::new();
    walk("", &document, &mut seen);
    let names: BTreeSet<&str> = seen.iter().filter_map(|(_, o)| o.get("operationId")?.as_str()).collect();
    let mut links = 0;
    for (at, object) in &seen {
        if let Some(to) = object.get("$ref").and_then(Value::as_str) {
            assert!(document.pointer(&to[1..]).is_some(), "{at}: {to}");
        }
        if at.contains("/links/")
            && let Some(to) = object.get("operationId").and_then(Value::as_str)
        {
            assert!(names.contains(to), "{at}: {to}");
            links += 1;
        }
    }
    assert!(links >= 10, "{links}");
}

#[test]
fn who_may_is_told_of_every_route_that_is_not_public() {
    let document: Value = serde_json::from_str(document()).unwrap();
    for row in rows() {
        let operation = &document["paths"][row.path][row.method.as_str().to_ascii_lowercase()];
        let told: BTreeSet<&str> = operation["security"]
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|any| any.as_object().unwrap().values())
            .flat_map(|names| names.as_array().unwrap().iter().filter_map(Value::as_str))
            .collect();
        let wanted = match row.access {
            Access::AnyOf(wanted) | Access::Stream(wanted) => wanted.names(),
            _ => Vec::new(),
        };
        assert_eq!(told, wanted.into_iter().collect(), "{} {}", row.method, row.path);
        let statuses = statuses(row.method.as_str(), row.path).unwrap();
        assert!(statuses.contains(&401) || row.access == Access::Public, "{} {}", row.method, row.path);
    }
}
