//! JSON, read so that it can mean one thing only.
//!
//! An object with a key twice, and an integer that would be rounded, are read differently by different readers; a DAG is
//! hashed and verified, so both are refused. NaN, infinities, numbers beyond a float and lone surrogates are no JSON.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::error::{DagError, clip};

/// Lists and objects that may stand in each other. What reads JSON recursively, this crate included, stays far from the
/// end of its stack; serde_json itself gives up at 128.
pub const MAX_DEPTH: usize = 100;

const _: () = assert!(MAX_DEPTH < 128);

pub(crate) fn read(bytes: &[u8]) -> Result<Value, DagError> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Strict { depth: 0 }.deserialize(&mut deserializer).and_then(|value| {
        deserializer.end()?;
        Ok(value)
    });
    let value = value.map_err(|error| DagError::Garbage(error.to_string()))?;
    if let Some(at) = wide_integer(bytes) {
        return Err(DagError::Garbage(format!(
            "the integer at byte {at} does not fit 64 bits: write it as a text or a float"
        )));
    }
    Ok(value)
}

/// Where in this valid JSON an integer stands that 64 bits do not hold.
fn wide_integer(json: &[u8]) -> Option<usize> {
    let mut at = 0;
    while at < json.len() {
        match json[at] {
            b'"' => {
                at += 1;
                while at < json.len() && json[at] != b'"' {
                    at += if json[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            b'-' | b'0'..=b'9' => {
                let length = json[at..].iter().take_while(|byte| b"+-.eE0123456789".contains(byte)).count();
                let token = str::from_utf8(&json[at..at + length]).unwrap_or_default();
                let integer = !token.contains(['.', 'e', 'E']);
                if integer && token.parse::<i64>().is_err() && token.parse::<u64>().is_err() {
                    return Some(at);
                }
                at += length;
            }
            _ => at += 1,
        }
    }
    None
}

/// Reads a value that stands in `depth` lists and objects.
#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn inside<E: Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(E::custom(format!(
                "lists and objects stand in each other more than {MAX_DEPTH} deep"
            )));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number is not finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(inside)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut fields = Map::new();
        while let Some(key) = object.next_key::<String>()? {
            if fields.contains_key(&key) {
                return Err(A::Error::custom(format!("the key `{}` stands twice in one object", clip(&key))));
            }
            fields.insert(key, object.next_value_seed(inside)?);
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: impl AsRef<[u8]>) -> String {
        let Err(DagError::Garbage(why)) = read(text.as_ref()) else { panic!("taken") };
        why
    }

    #[test]
    fn a_key_twice_is_refused_at_every_level() {
        assert!(refusal(r#"{"a": 1, "a": 1}"#).contains("`a` stands twice"));
        assert!(refusal(r#"[{"b": {"c": 1, "\u0063": 2}}]"#).contains("`c` stands twice"));
        assert!(read(br#"[{"a": 1}, {"a": 2}]"#).is_ok());
    }

    #[test]
    fn numbers_that_are_none_or_would_be_rounded_are_refused() {
        for text in ["NaN", "[Infinity]", "-Infinity", "1e309", "[-1e309]", "01", "+1", ".5", "1.", "0x10"] {
            refusal(text);
        }
        for text in ["18446744073709551616", r#"{"a": [-9223372036854775809]}"#] {
            assert!(refusal(text).contains("64 bits"), "{text}");
        }
        for text in ["18446744073709551615", "-9223372036854775808", r#""18446744073709551616\"""#, "1e300"] {
            assert!(read(text.as_bytes()).is_ok(), "{text}");
        }
    }

    #[test]
    fn floats_are_read_to_the_last_bit() {
        for text in
            ["0.1", "2.2250738585072011e-308", "9007199254740993.0", "1.7976931348623157e308", "5e-324"]
        {
            let value = read(text.as_bytes()).unwrap().as_f64().unwrap();
            assert_eq!(value.to_bits(), text.parse::<f64>().unwrap().to_bits(), "{text}");
        }
    }

    #[test]
    fn lone_surrogates_and_broken_utf8_are_refused_and_pairs_are_read() {
        for text in [r#""\ud800""#, r#""\udc00""#, r#""\ud800\u0041""#] {
            refusal(text);
        }
        refusal(b"\"\xff\"");
        refusal(b"\xef\xbb\xbf{}");
        assert_eq!(read(br#""\ud83d\ude00""#).unwrap(), "\u{1f600}");
    }

    #[test]
    fn depth_is_bounded_by_a_message_that_says_so() {
        let nested = |open: &str, close: &str, depth| open.repeat(depth) + "1" + &close.repeat(depth);
        assert!(read(nested("[", "]", MAX_DEPTH).as_bytes()).is_ok());
        assert!(read(nested(r#"{"a":"#, "}", MAX_DEPTH).as_bytes()).is_ok());
        assert!(refusal(nested("[", "]", MAX_DEPTH + 1)).contains("100 deep"));
        assert!(refusal("[".repeat(1 << 20)).contains("100 deep"));
    }

    #[test]
    fn one_document_and_nothing_behind_it() {
        for text in ["", " ", "{", "{} {}", "{},", "[1,]", "{\"a\"}", "nul", "\"a", "\"\n\""] {
            refusal(text);
        }
    }
}
