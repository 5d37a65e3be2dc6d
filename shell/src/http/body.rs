//! Request bodies and queries: JSON objects and forms as named fields whose text is kept exactly.

use std::fmt;
use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::problem::Problem;

/// The largest body taken, bytes.
pub const MAX_BODY_BYTES: usize = 1 << 20;
/// What a body may be.
#[derive(Clone, Copy, Debug)]
pub struct Takes {
    /// So large, bytes as they come.
    pub bytes: usize,
    /// Packed by gzip, too: whoever reads it bounds what it swells to.
    pub gzip: bool,
}

impl Default for Takes {
    fn default() -> Self {
        Self { bytes: MAX_BODY_BYTES, gzip: false }
    }
}

/// More fields than any request has.
const MAX_FIELDS: usize = 64;

/// A field's value as it was written.
#[derive(Clone, PartialEq, Eq)]
enum Value {
    Text(String),
    Number(String),
    Flag(bool),
    Texts(Vec<String>),
    Null,
    Other,
}

/// The fields of a request, by name. Fields that nobody asks for are ignored.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Fields(Vec<(String, Value)>);

/// The fields of a request's body, in its extensions: whoever reads them first need not be the last.
#[derive(Clone)]
pub struct Parsed(Arc<Result<Fields, Problem>>);

impl Parsed {
    /// Of a body with these headers.
    #[must_use]
    pub fn of(headers: &HeaderMap, bytes: &[u8]) -> Self {
        Self(Arc::new(Fields::parse(headers, bytes)))
    }

    /// The fields, if these are any.
    #[must_use]
    pub fn fields(&self) -> Option<&Fields> {
        self.0.as_ref().as_ref().ok()
    }
}

/// Names alone: a value may be a password.
impl fmt::Debug for Fields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

fn bad(field: &str, must: &str) -> Problem {
    Problem::field("bad_params", field, format!("{field} {must}"))
}

impl Fields {
    /// Reads the body of `request`: a JSON object, or a form where the content type says so.
    ///
    /// # Errors
    /// 413 for too large a body, 400 naming the field for anything that is no object of fields.
    pub async fn read(mut request: Request<Body>) -> Result<Self, Problem> {
        if let Some(fields) =
            request.extensions_mut().remove::<Parsed>().and_then(|read| Arc::into_inner(read.0))
        {
            return fields;
        }
        let (parts, bytes) = collect(request, Takes::default()).await?;
        Self::parse(&parts.headers, &bytes)
    }

    /// The fields of a body with these headers.
    ///
    /// # Errors
    /// 400 naming the field for anything that is no object of fields.
    pub fn parse(headers: &HeaderMap, bytes: &[u8]) -> Result<Self, Problem> {
        // curl sends JSON as a form unless told otherwise; no form of ours begins with a brace.
        if is_form(headers) && !bytes.trim_ascii_start().starts_with(b"{") {
            Self::from_form(bytes)
        } else if bytes.trim_ascii().is_empty() {
            Ok(Self::default())
        } else {
            Self::from_json(bytes)
        }
    }

    /// The text of a field that has one, whatever its kind.
    #[must_use]
    pub fn shown(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Value::Text(text) | Value::Number(text) => Some(text),
            Value::Flag(flag) => Some(if *flag { "true" } else { "false" }),
            Value::Texts(_) | Value::Null | Value::Other => None,
        }
    }

    /// The fields of a JSON object.
    ///
    /// # Errors
    /// 400 `bad_json`.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Problem> {
        let fields: Self = serde_json::from_slice(bytes).map_err(|error| {
            bad_body(&format!(
                "the body must be a JSON object (line {}, column {})",
                error.line(),
                error.column()
            ))
        })?;
        fields.checked()
    }

    /// The fields of a form or query.
    ///
    /// # Errors
    /// 400 when a field stands twice.
    pub fn from_form(bytes: &[u8]) -> Result<Self, Problem> {
        let pairs = form_urlencoded::parse(bytes).take(MAX_FIELDS + 1);
        Self(pairs.map(|(name, value)| (name.into_owned(), Value::Text(value.into_owned()))).collect())
            .checked()
    }

    /// The fields of a query string.
    ///
    /// # Errors
    /// 400 when a field stands twice.
    pub fn from_query(query: Option<&str>) -> Result<Self, Problem> {
        Self::from_form(query.unwrap_or_default().as_bytes())
    }

    /// A field that stands twice means two things: which one counts must not depend on who reads it.
    fn checked(self) -> Result<Self, Problem> {
        if self.0.len() > MAX_FIELDS {
            return Err(bad_body("too many fields"));
        }
        for (i, (name, _)) in self.0.iter().enumerate() {
            if self.0[..i].iter().any(|(earlier, _)| earlier == name) {
                return Err(bad(name, "stands twice"));
            }
        }
        Ok(self)
    }

    /// The names of the fields that hold something.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, value)| *value != Value::Null).map(|(name, _)| name.as_str())
    }

    fn get(&self, name: &str) -> &Value {
        self.0.iter().find(|(n, _)| n == name).map_or(&Value::Null, |(_, value)| value)
    }

    /// A text field, if it is there.
    ///
    /// # Errors
    /// 400 when it is no string, or empty.
    pub fn text(&self, name: &str) -> Result<Option<&str>, Problem> {
        match self.get(name) {
            Value::Null => Ok(None),
            Value::Text(text) if !text.is_empty() => Ok(Some(text)),
            Value::Text(_) => Err(bad(name, "must not be empty")),
            _ => Err(bad(name, "must be a string")),
        }
    }

    /// A number's own text, given as JSON number or string.
    ///
    /// # Errors
    /// 400 when it is neither, or empty.
    pub fn number(&self, name: &str) -> Result<Option<&str>, Problem> {
        match self.get(name) {
            Value::Null => Ok(None),
            Value::Number(text) => Ok(Some(text)),
            Value::Text(text) if !text.is_empty() => Ok(Some(text)),
            Value::Text(_) => Err(bad(name, "must not be empty")),
            _ => Err(bad(name, "must be a number")),
        }
    }

    /// True or false, given as JSON or as text.
    ///
    /// # Errors
    /// 400 when it is neither.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, Problem> {
        match self.get(name) {
            Value::Null => Ok(None),
            Value::Flag(flag) => Ok(Some(*flag)),
            Value::Text(text) if text == "true" => Ok(Some(true)),
            Value::Text(text) if text == "false" => Ok(Some(false)),
            _ => Err(bad(name, "must be true or false")),
        }
    }

    /// A list of strings: a JSON array, or text with commas.
    ///
    /// # Errors
    /// 400 when it is neither, or longer than `most`.
    pub fn texts(&self, name: &str, most: usize) -> Result<Option<Vec<String>>, Problem> {
        let list: Vec<String> = match self.get(name) {
            Value::Null => return Ok(None),
            Value::Texts(list) => list.clone(),
            Value::Text(text) => {
                text.split(',').map(|one| one.trim().to_owned()).filter(|one| !one.is_empty()).collect()
            }
            _ => return Err(bad(name, "must be a list of strings")),
        };
        if list.len() > most {
            return Err(bad(name, &format!("must have at most {most} elements")));
        }
        Ok(Some(list))
    }

    /// A text field that must be there.
    ///
    /// # Errors
    /// 400 when it is not there, or no string.
    pub fn required_text(&self, name: &str) -> Result<&str, Problem> {
        self.text(name)?.ok_or_else(|| bad(name, "is required"))
    }

    /// A number field that must be there.
    ///
    /// # Errors
    /// 400 when it is not there, or no number.
    pub fn required_number(&self, name: &str) -> Result<&str, Problem> {
        self.number(name)?.ok_or_else(|| bad(name, "is required"))
    }

    /// One of a few words, any case.
    ///
    /// # Errors
    /// 400 listing the words.
    pub fn choice<T: Copy>(&self, name: &str, words: &[(&str, T)]) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, value)| *value);
        let list = || words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
        found.map(Some).ok_or_else(|| bad(name, &format!("must be one of {}", list())))
    }
}

/// A request's head, and all of its body.
///
/// # Errors
/// 413 for too large a body, 415 for a packed one, 400 when it cannot be read.
pub async fn collect(request: Request<Body>, takes: Takes) -> Result<(Parts, Bytes), Problem> {
    let (parts, body) = request.into_parts();
    // Nothing is unpacked here: what a small body swells to is nobody's concern.
    if is_packed(&parts.headers) && !(takes.gzip && is_gzip(&parts.headers)) {
        let message = "send the body as it is, without Content-Encoding";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding", message));
    }
    if declared(&parts.headers).is_some_and(|bytes| bytes > takes.bytes as u64) {
        return Err(too_large(takes.bytes));
    }
    let bytes = to_bytes(body, takes.bytes).await.map_err(|error| {
        let limit = std::error::Error::source(&error).is_some_and(|s| s.to_string().contains("length limit"));
        if limit { too_large(takes.bytes) } else { bad_body("the body could not be read") }
    })?;
    Ok((parts, bytes))
}

/// How large a body says that it is.
pub fn declared(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn is_packed(headers: &HeaderMap) -> bool {
    let packed = |value: &HeaderValue| !value.as_bytes().eq_ignore_ascii_case(b"identity");
    headers.get_all(header::CONTENT_ENCODING).iter().any(packed)
}

/// Whether a body is packed by gzip, once.
pub fn is_gzip(headers: &HeaderMap) -> bool {
    let mut all = headers.get_all(header::CONTENT_ENCODING).iter();
    let gzip = all.next().is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"gzip"));
    gzip && all.next().is_none()
}

fn bad_body(message: &str) -> Problem {
    Problem::field("bad_json", "body", message)
}

fn too_large(most: usize) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", format!("a body has at most {most} bytes"))
}

fn is_form(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|value| {
        value.trim_start().to_ascii_lowercase().starts_with("application/x-www-form-urlencoded")
    })
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some((name, raw)) = map.next_entry::<String, &RawValue>()? {
                    if fields.len() > MAX_FIELDS {
                        break;
                    }
                    let text = raw.get();
                    let value = match text.as_bytes().first() {
                        Some(b'"') => {
                            Value::Text(serde_json::from_str(text).map_err(serde::de::Error::custom)?)
                        }
                        Some(b'-' | b'0'..=b'9') => Value::Number(text.to_owned()),
                        Some(b't' | b'f') => Value::Flag(text == "true"),
                        Some(b'n') => Value::Null,
                        Some(b'[') => serde_json::from_str(text).map_or(Value::Other, Value::Texts),
                        _ => Value::Other,
                    };
                    fields.push((name, value));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_keeps_its_own_text() {
        let fields =
            Fields::from_json(br#"{"a":0.1000000000000000055511151231257827,"b":"7","c":1e309,"d":null}"#)
                .unwrap();
        assert_eq!(fields.number("a").unwrap(), Some("0.1000000000000000055511151231257827"));
        assert_eq!(fields.number("b").unwrap(), Some("7"));
        assert_eq!(fields.number("c").unwrap(), Some("1e309"));
        assert_eq!(fields.number("d").unwrap(), None);
    }

    #[test]
    fn what_is_no_object_of_fields_is_refused() {
        for body in [
            "[]",
            "1",
            "\"x\"",
            "{",
            "{\"a\":}",
            "{\"a\":NaN}",
            "{}x",
            "{\"a\":1,\"a\":2}",
            "nul",
            "\u{feff}{}",
        ] {
            assert!(Fields::from_json(body.as_bytes()).is_err(), "{body}");
        }
        assert!(Fields::from_json(b"{\"a\":\"\xff\"}").is_err());
        assert!(Fields::from_form(b"a=1&a=2").is_err());
        let many: String = (0..100).map(|i| format!("f{i}=1&")).collect();
        assert!(Fields::from_form(many.as_bytes()).is_err());
    }

    #[test]
    fn flags_are_true_or_false() {
        let fields = Fields::from_json(br#"{"a":true,"b":"false","c":1,"d":"yes"}"#).unwrap();
        assert_eq!((fields.flag("a").unwrap(), fields.flag("b").unwrap()), (Some(true), Some(false)));
        assert_eq!(fields.flag("e").unwrap(), None);
        assert!(fields.flag("c").is_err() && fields.flag("d").is_err());
        assert!(fields.text("a").is_err() && fields.number("a").is_err());
    }

    #[test]
    fn forms_and_json_mean_the_same() {
        let form = Fields::from_form(b"side=buy&note=a%20b+c").unwrap();
        assert_eq!(form.text("note").unwrap(), Some("a b c"));
        assert_eq!(form.choice("side", &[("BUY", 1), ("SELL", 2)]).unwrap(), Some(1));
        assert!(form.choice("note", &[("BUY", 1)]).is_err());
    }
}
