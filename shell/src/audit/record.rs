//! One record as one line, and what binds it to the line before. docs/audit.md draws the bytes.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::time;

/// The longest line that is written or read, its newline included.
pub const MAX_LINE_BYTES: usize = 16 << 10;
/// The most that `details` may take.
pub const MAX_DETAILS_BYTES: usize = 8 << 10;
/// The most characters of any other field.
pub const MAX_FIELD_CHARS: usize = 128;

const PREV_KEY: &[u8] = b",\"prev_hash\":\"";
const HASH_KEY: &[u8] = b"\",\"hash\":\"";
const END: &[u8] = b"\"}";
const HASH_CHARS: usize = 64;
/// From `prev_hash` to the end of a line without its newline.
const TAIL_BYTES: usize = PREV_KEY.len() + HASH_CHARS + HASH_KEY.len() + HASH_CHARS + END.len();

/// What a record is about; every type has files of its own, and its own retention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LogType {
    /// Logins, tokens, roles.
    Auth,
    /// Everything that decides what is traded: orders, cancels, modes, limits, configuration.
    Order,
    /// API keys.
    ApiKey,
    /// What was refused before it had an effect, and access to this log.
    Access,
    /// What failed inside.
    Error,
}

impl LogType {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Auth, Self::Order, Self::ApiKey, Self::Access, Self::Error];

    /// Its stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Order => "order",
            Self::ApiKey => "api_key",
            Self::Access => "access",
            Self::Error => "error",
        }
    }

    /// The type of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|log_type| log_type.name() == name)
    }

    /// Whether a request is answered only once its record is on disk.
    #[must_use]
    pub const fn is_durable(self) -> bool {
        matches!(self, Self::Auth | Self::ApiKey)
    }

    pub(super) const fn index(self) -> usize {
        self as usize
    }
}

/// Whose doing it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Who<'a> {
    /// The user.
    pub user_id: &'a str,
    /// From where.
    pub ip_address: &'a str,
    /// The request's own id.
    pub request_id: &'a str,
    /// What ties several requests together.
    pub correlation_id: &'a str,
}

/// A JSON object's text, made field by field; no field may be put twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object(Vec<u8>);

impl Object {
    /// Adds a field; `value` is text, a number, a flag or a plain structure of these.
    pub fn put<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        self.name(name);
        // Those always serialize, and memory takes every write.
        let _ = serde_json::to_writer(&mut self.0, value);
    }

    /// Adds a field that is an object itself.
    pub fn put_object(&mut self, name: &str, object: &Self) {
        self.name(name);
        self.0.push(b'{');
        self.0.extend_from_slice(&object.0);
        self.0.push(b'}');
    }

    fn name(&mut self, name: &str) {
        if !self.is_empty() {
            self.0.push(b',');
        }
        let _ = serde_json::to_writer(&mut self.0, name);
        self.0.push(b':');
    }

    /// Whether it has no field.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What is to be recorded; time and hashes are the writer's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is about.
    pub log_type: LogType,
    /// The line's fields from `log_type` to `details`.
    fields: Object,
}

impl Entry {
    /// An entry: `action` is what was done, e.g. `order`, `kill`; `details` say the rest, never secrets, never whole bodies.
    #[must_use]
    pub fn new(log_type: LogType, action: &str, who: &Who<'_>, details: &Object) -> Self {
        let mut fields = Object(Vec::with_capacity(details.0.len() + 256));
        fields.put("log_type", log_type.name());
        for (name, value) in [
            ("action", action),
            ("user_id", who.user_id),
            ("ip_address", who.ip_address),
            ("request_id", who.request_id),
            ("correlation_id", who.correlation_id),
        ] {
            fields.put(name, clip(value));
        }
        if details.0.len() <= MAX_DETAILS_BYTES {
            fields.put_object("details", details);
        } else {
            let mut dropped = Object::default();
            dropped.put("dropped", "too long");
            fields.put_object("details", &dropped);
        }
        Self { log_type, fields }
    }

    /// An entry of the shell's own.
    #[must_use]
    pub fn system(log_type: LogType, action: &str, details: &Object) -> Self {
        Self::new(log_type, action, &Who { user_id: "system", ..Who::default() }, details)
    }

    /// The record's line at this time after the record with hash `prev`, newline included, and its hash.
    #[must_use]
    pub fn line(&self, now_us: u64, prev: &ChainHash) -> (Vec<u8>, ChainHash) {
        let mut line = Vec::with_capacity(self.fields.0.len() + 512);
        line.extend_from_slice(b"{\"timestamp\":");
        line.extend_from_slice(time::seconds(now_us).as_bytes());
        line.extend_from_slice(b",\"datetime\":\"");
        line.extend_from_slice(time::datetime(now_us).as_bytes());
        line.extend_from_slice(b"\",");
        line.extend_from_slice(&self.fields.0);
        line.extend_from_slice(PREV_KEY);
        line.extend_from_slice(&prev.0);
        let hash = ChainHash::of(&line);
        line.extend_from_slice(HASH_KEY);
        line.extend_from_slice(&hash.0);
        line.extend_from_slice(END);
        line.push(b'\n');
        (line, hash)
    }
}

/// As much of `text` as a field takes.
pub fn clip(text: &str) -> &str {
    text.char_indices().nth(MAX_FIELD_CHARS).map_or(text, |(end, _)| &text[..end])
}

/// A SHA-256 as its 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ChainHash([u8; HASH_CHARS]);

impl ChainHash {
    /// What the very first record of a series names as its predecessor.
    pub const ZERO: Self = Self([b'0'; HASH_CHARS]);

    fn of(bytes: &[u8]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; HASH_CHARS];
        for (pair, byte) in text.chunks_exact_mut(2).zip(Sha256::digest(bytes)) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        Self(text)
    }

    /// Its digits.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The hash with these digits.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let digits = text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        digits.then(|| text.try_into().ok().map(Self))?
    }
}

impl fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It does not have a record's form.
    #[error("it is not a record")]
    Form,
    /// Its bytes are not those that were hashed.
    #[error("its hash does not match its bytes: it was changed")]
    Hash,
    /// The line before it is another one.
    #[error("it does not follow the line before it: a line was removed, added or moved")]
    Link,
    /// It is longer than any record.
    #[error("it is longer than any record")]
    TooLong,
    /// It has no newline.
    #[error("it is cut off")]
    Torn,
    /// It is of another series.
    #[error("it belongs to another log type")]
    Type,
    /// It is of another day than its file.
    #[error("it is of another day than its file's name says")]
    Day,
}

/// A line's own hash and the one it names as its predecessor's; the line without its newline.
///
/// # Errors
/// [`Fault::Form`] or [`Fault::Hash`].
pub fn check_line(line: &[u8]) -> Result<(ChainHash, ChainHash), Fault> {
    let at = line.len().checked_sub(TAIL_BYTES).ok_or(Fault::Form)?;
    let tail = line[at..].strip_prefix(PREV_KEY).ok_or(Fault::Form)?;
    let (prev, tail) = tail.split_at(HASH_CHARS);
    let (hash, end) = tail.strip_prefix(HASH_KEY).ok_or(Fault::Form)?.split_at(HASH_CHARS);
    if end != END {
        return Err(Fault::Form);
    }
    let prev = ChainHash::parse(prev).ok_or(Fault::Form)?;
    let hashed = ChainHash::of(&line[..at + PREV_KEY.len() + HASH_CHARS]);
    if hash == hashed.0 { Ok((prev, hashed)) } else { Err(Fault::Hash) }
}

/// A record that was read, for filters; the line itself is what is shown.
#[derive(Clone, Debug, Deserialize)]
pub struct Stored<'a> {
    #[serde(borrow)]
    timestamp: &'a RawValue,
    /// Its type's name.
    #[serde(borrow)]
    pub log_type: Cow<'a, str>,
    /// What was done.
    #[serde(borrow)]
    pub action: Cow<'a, str>,
    /// Who did it.
    #[serde(borrow)]
    pub user_id: Cow<'a, str>,
    /// The request's own id.
    #[serde(borrow)]
    pub request_id: Cow<'a, str>,
    /// The rest.
    #[serde(borrow)]
    pub details: &'a RawValue,
}

impl<'a> Stored<'a> {
    /// Reads a line.
    ///
    /// # Errors
    /// [`Fault::Form`].
    pub fn parse(line: &'a [u8]) -> Result<Self, Fault> {
        serde_json::from_slice(line).map_err(|_| Fault::Form)
    }

    /// When it was written, us.
    #[must_use]
    pub fn timestamp_us(&self) -> Option<u64> {
        time::parse_seconds(self.timestamp.get())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// Every character there is, quotes, newlines and zero among them.
    fn text() -> impl Strategy<Value = String> {
        proptest::collection::vec(any::<char>(), 0..160).prop_map(String::from_iter)
    }

    type Told = (usize, [String; 5], BTreeMap<String, Value>);

    fn told() -> impl Strategy<Value = Told> {
        let detail = prop_oneof![any::<i64>().prop_map(Value::from), text().prop_map(Value::from)];
        let words = (text(), text(), text(), text(), text()).prop_map(|(a, u, i, r, c)| [a, u, i, r, c]);
        (0..5_usize, words, proptest::collection::btree_map(text(), detail, 0..4))
    }

    fn entry((log_type, words, told): &Told) -> Entry {
        let [action, user_id, ip_address, request_id, correlation_id] = words.each_ref().map(String::as_str);
        let mut details = Object::default();
        told.iter().for_each(|(name, value)| details.put(name, value));
        let who = Who { user_id, ip_address, request_id, correlation_id };
        Entry::new(LogType::ALL[*log_type], action, &who, &details)
    }

    proptest! {
        #[test]
        fn a_record_is_one_line_that_says_what_was_told(told in told(), now_us in 0..DAY_MAX_US) {
            let (line, hash) = entry(&told).line(now_us, &ChainHash::ZERO);
            let (newline, line) = line.split_last().unwrap();
            prop_assert!(*newline == b'\n' && !line.contains(&b'\n') && line.len() < MAX_LINE_BYTES);
            prop_assert_eq!(check_line(line), Ok((ChainHash::ZERO, hash)));
            let read = Stored::parse(line).unwrap();
            prop_assert_eq!(read.timestamp_us(), Some(now_us));
            let clip = |text: &str| text.chars().take(MAX_FIELD_CHARS).collect::<String>();
            prop_assert_eq!(read.action, clip(&told.1[0]));
            prop_assert_eq!(read.user_id, clip(&told.1[1]));
            prop_assert_eq!(read.log_type, LogType::ALL[told.0].name());
            let details: BTreeMap<String, Value> = serde_json::from_str(read.details.get()).unwrap();
            prop_assert_eq!(details, told.2);
        }

        #[test]
        fn a_changed_byte_is_found(told in told(), at in any::<prop::sample::Index>(), by in 1..=255_u8) {
            let (mut line, _) = entry(&told).line(1, &ChainHash::ZERO);
            line.pop();
            let at = at.index(line.len());
            line[at] ^= by;
            prop_assert!(check_line(&line).is_err());
        }
    }

    const DAY_MAX_US: u64 = 253_402_300_799_000_000;

    #[test]
    fn the_bytes_are_the_documented_ones() {
        let mut details = Object::default();
        details.put("path", "/api/order");
        details.put("status", &200);
        let who = Who { user_id: "local", ip_address: "127.0.0.1", request_id: "r-1", correlation_id: "c-1" };
        let entry = Entry::new(LogType::Order, "order", &who, &details);
        let (line, _) = entry.line(1_795_271_066_500_000, &ChainHash::ZERO);
        let prefix = concat!(
            r#"{"timestamp":1795271066.500000,"datetime":"2026-11-21T14:24:26.500000Z","log_type":"order","#,
            r#""action":"order","user_id":"local","ip_address":"127.0.0.1","request_id":"r-1","#,
            r#""correlation_id":"c-1","details":{"path":"/api/order","status":200},"#,
            r#""prev_hash":"0000000000000000000000000000000000000000000000000000000000000000"#
        );
        let hash: String = Sha256::digest(prefix).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(String::from_utf8(line).unwrap(), format!("{prefix}\",\"hash\":\"{hash}\"}}\n"));
    }

    #[test]
    fn details_that_are_too_long_are_left_out() {
        let mut details = Object::default();
        details.put("x", &"y".repeat(MAX_DETAILS_BYTES));
        let (line, _) = Entry::system(LogType::Error, "test", &details).line(1, &ChainHash::ZERO);
        assert!(line.len() < 1024 && String::from_utf8(line).unwrap().contains(r#""dropped":"too long""#));
    }
}
