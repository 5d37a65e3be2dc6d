//! The fields of a node, checked one by one; everything that is wrong is gathered, so that a client learns it at once.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::error::{Loc, MAX_ISSUES, SchemaIssue, shown};
use crate::model::{Limits, MatchMode, Node, TagQuery};

/// Seconds between two values of a node.
const INTERVAL_S: RangeInclusive<u32> = 1..=86_400;
/// Values that a node looks at.
const PERIOD: RangeInclusive<u32> = 1..=10_000;
/// Characters of a tag.
const MAX_TAG_CHARS: usize = 100;

/// What is wrong so far.
pub(crate) struct Issues<'a> {
    pub(crate) limits: &'a Limits,
    pub(crate) found: Vec<SchemaIssue>,
}

impl Issues<'_> {
    pub(crate) fn add(&mut self, kind: &'static str, loc: &[Loc], input: &Value, msg: impl Into<String>) {
        if self.found.len() < MAX_ISSUES {
            self.found.push(SchemaIssue { kind, loc: loc.to_vec(), msg: msg.into(), input: shown(input) });
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.found.len() >= MAX_ISSUES
    }
}

/// The node that is written in `value`, the one number `index` of its DAG; none when it is no object. What is wrong with
/// it is in `issues` then.
pub(crate) fn node(value: &Value, index: usize, issues: &mut Issues<'_>) -> Option<Node> {
    let here = vec![Loc::Field("nodes"), Loc::Item(index)];
    let Some(object) = value.as_object() else {
        issues.add("dict_type", &here, value, "a node is an object");
        return None;
    };
    let mut fields = Fields { object, here, issues };
    let node_type = fields.name("node_type");
    let interval_s = fields.number("interval", INTERVAL_S);
    let tags = fields.tags("tags").unwrap_or_default();
    let dependencies = fields.ids("dependencies");
    let inputs = fields.ids("inputs");
    let match_mode = fields.match_mode(object.get("match_mode"), vec![Loc::Field("match_mode")]);
    Some(Node {
        node_id: fields.name("node_id"),
        name: fields.text("name").unwrap_or_default(),
        period: fields.number("period", PERIOD),
        inputs: inputs.or_else(|| dependencies.clone()).unwrap_or_default(),
        dependencies,
        code_hash: fields.hash("code_hash"),
        config_hash: fields.text("config_hash"),
        schema_hash: fields.hash("schema_hash"),
        schema_compat_id: fields.schema_compat_id(),
        pre_warmup: fields.flag("pre_warmup"),
        params: ["params", "config"]
            .iter()
            .filter_map(|name| object.get(*name))
            .find(|v| !v.is_null())
            .cloned(),
        tag_query: (node_type == "TagQueryNode").then(|| fields.tag_query(&tags, match_mode, interval_s)),
        node_type,
        interval_s,
        tags,
    })
}

struct Fields<'a, 'b, 'c> {
    object: &'a Map<String, Value>,
    here: Vec<Loc>,
    issues: &'b mut Issues<'c>,
}

impl<'a> Fields<'a, '_, '_> {
    /// The field, unless it is absent or null.
    fn given(&self, name: &str) -> Option<&'a Value> {
        self.object.get(name).filter(|value| !value.is_null())
    }

    fn wrong(&mut self, kind: &'static str, below: &[Loc], input: &Value, msg: impl Into<String>) {
        let loc = [&self.here[..], below].concat();
        self.issues.add(kind, &loc, input, msg);
    }

    fn checked_text(&mut self, value: &Value, below: &[Loc]) -> Option<String> {
        let most = self.issues.limits.string_bytes;
        match value.as_str() {
            None => self.wrong("string_type", below, value, "this is a text"),
            Some(text) if text.len() > most => {
                self.wrong("string_too_long", below, value, format!("this has at most {most} bytes"));
            }
            Some(text) => return Some(text.to_owned()),
        }
        None
    }

    fn text(&mut self, name: &'static str) -> Option<String> {
        let value = self.given(name)?;
        self.checked_text(value, &[Loc::Field(name)])
    }

    fn missing(&mut self, name: &'static str) {
        self.wrong("missing", &[Loc::Field(name)], &Value::Null, format!("`{name}` is missing: add it"));
    }

    /// A text that must be there and not be empty.
    fn name(&mut self, name: &'static str) -> String {
        if self.given(name).is_none() {
            self.missing(name);
            return String::new();
        }
        let text = self.text(name);
        if text.as_deref() == Some("") {
            let msg = format!("`{name}` is empty: say one");
            self.wrong("string_too_short", &[Loc::Field(name)], &"".into(), msg);
        }
        text.unwrap_or_default()
    }

    /// A fingerprint. The field must be there; null and empty say that it could not be computed.
    fn hash(&mut self, name: &'static str) -> Option<String> {
        if !self.object.contains_key(name) {
            self.missing(name);
        }
        self.text(name).filter(|hash| !hash.is_empty())
    }

    fn number(&mut self, name: &'static str, range: RangeInclusive<u32>) -> Option<u32> {
        let value = self.given(name)?;
        let below = [Loc::Field(name)];
        if !value.is_i64() && !value.is_u64() {
            self.wrong("int_type", &below, value, format!("`{name}` is an integer or null"));
            return None;
        }
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
        let (least, most) = (*range.start(), *range.end());
        match number {
            Some(number) if range.contains(&number) => return Some(number),
            Some(0) => {
                self.wrong("greater_than_equal", &below, value, format!("`{name}` is at least {least}"))
            }
            None if value.as_i64().is_some_and(|number| number < 0) => {
                self.wrong("greater_than_equal", &below, value, format!("`{name}` is at least {least}"));
            }
            _ => self.wrong("less_than_equal", &below, value, format!("`{name}` is at most {most}")),
        }
        None
    }

    fn flag(&mut self, name: &'static str) -> bool {
        let Some(value) = self.given(name) else { return false };
        value.as_bool().unwrap_or_else(|| {
            self.wrong("bool_type", &[Loc::Field(name)], value, format!("`{name}` is true or false"));
            false
        })
    }

    /// The items of a list that is at most `most` long.
    fn items(&mut self, value: &'a Value, below: &[Loc], most: usize) -> &'a [Value] {
        match value.as_array() {
            None => self.wrong("list_type", below, value, "this is a list"),
            Some(items) if items.len() > most => {
                self.wrong("too_long", below, value, format!("this list has at most {most} items"));
            }
            Some(items) => return items,
        }
        &[]
    }

    fn ids(&mut self, name: &'static str) -> Option<Vec<String>> {
        let value = self.given(name)?;
        let items = self.items(value, &[Loc::Field(name)], self.issues.limits.inputs);
        let texts = items.iter().enumerate().filter_map(|(at, item)| {
            let below = [Loc::Field(name), Loc::Item(at)];
            self.checked_text(item, &below)
        });
        Some(texts.collect())
    }

    fn tags(&mut self, name: &'static str) -> Option<Vec<String>> {
        let value = self.given(name)?;
        Some(self.tag_list(value, &[Loc::Field(name)]))
    }

    fn tag_list(&mut self, value: &'a Value, below: &[Loc]) -> Vec<String> {
        let items = self.items(value, below, self.issues.limits.tags);
        let legal = |tag: &str| {
            (1..=MAX_TAG_CHARS).contains(&tag.len())
                && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
        };
        let mut tags = Vec::with_capacity(items.len());
        for (at, item) in items.iter().enumerate() {
            let below = [below, &[Loc::Item(at)]].concat();
            match item.as_str() {
                None => self.wrong("string_type", &below, item, "a tag is a text"),
                Some(tag) if legal(tag) => tags.push(tag.to_owned()),
                Some(_) => {
                    let msg = format!("a tag has 1 to {MAX_TAG_CHARS} characters of A-Z a-z 0-9 _ . -");
                    self.wrong("string_pattern_mismatch", &below, item, msg);
                }
            }
        }
        tags
    }

    fn match_mode(&mut self, value: Option<&Value>, below: Vec<Loc>) -> Option<MatchMode> {
        let value = value.filter(|value| !value.is_null())?;
        let mode = value.as_str().and_then(MatchMode::parse);
        if mode.is_none() {
            self.wrong("enum", &below, value, "`match_mode` is any or all");
        }
        mode
    }

    /// What a tag query asks for. The public SDK says it in `params`, and again in fields of the node; `params` wins, since
    /// the node's id is over them.
    fn tag_query(
        &mut self,
        tags: &[String],
        match_mode: Option<MatchMode>,
        interval_s: Option<u32>,
    ) -> TagQuery {
        let params = self.given("params").and_then(Value::as_object);
        let param = |name| params.and_then(|params| params.get(name)).filter(|value| !value.is_null());
        let list = |name| param(name).filter(|value| value.as_array().is_none_or(|items| !items.is_empty()));
        let below = |name| vec![Loc::Field("params"), Loc::Field(name)];
        let mut wanted = if let Some(value) = list("query_tags") {
            self.tag_list(value, &below("query_tags"))
        } else if let Some(value) = list("tags") {
            self.tag_list(value, &below("tags"))
        } else {
            self.tags("query_tags").unwrap_or_else(|| tags.to_vec())
        };
        wanted.sort_unstable();
        wanted.dedup();
        let mode = self.match_mode(param("match_mode"), below("match_mode"));
        let own = param("interval").and_then(Value::as_u64).and_then(|own| u32::try_from(own).ok());
        TagQuery {
            tags: wanted,
            mode: mode.or(match_mode).unwrap_or_default(),
            interval_s: interval_s.or(own.filter(|own| INTERVAL_S.contains(own))),
        }
    }

    /// Under its own name, or the older one.
    fn schema_compat_id(&mut self) -> Option<String> {
        let mut named = |name| self.text(name).map(|id| id.trim().to_owned()).filter(|id| !id.is_empty());
        let (own, older) = (named("schema_compat_id"), named("schema_id"));
        if let (Some(own), Some(older)) = (&own, &older)
            && own != older
        {
            let msg = "`schema_compat_id` and `schema_id` differ: send `schema_compat_id` alone";
            self.wrong("value_error", &[Loc::Field("schema_id")], &older.as_str().into(), msg);
        }
        own.or(older)
    }
}
