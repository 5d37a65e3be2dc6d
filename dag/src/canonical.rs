//! JSON with one spelling: what is hashed.
//!
//! Keys are sorted by code point at every level, nothing stands between tokens, non-ASCII stands as it is, and only what
//! JSON demands is escaped. Integers stand in decimal, floats as Python writes them: this is what
//! `json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)` gives, which existing clients hash.

use std::fmt::Write;

use serde_json::Value;

/// `value` in its one spelling.
#[must_use]
pub fn canonical_json(value: &Value) -> String {
    canonical_json_without(value, &|_| false)
}

/// The same without the keys that are `left_out`, at every level.
pub(crate) fn canonical_json_without(value: &Value, left_out: &dyn Fn(&str) -> bool) -> String {
    let mut text = String::new();
    write(&mut text, value, left_out);
    text
}

/// A float as Python's `repr` writes it: the shortest digits that mean it, always with a point or an exponent.
#[must_use]
pub fn python_float_repr(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let shortest = format!("{value:e}");
    let (digits, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let behind_first = digits.bytes().filter(u8::is_ascii_digit).count() - 1;
    if (-4..16).contains(&exponent) {
        let decimals = behind_first.saturating_add_signed(-exponent as isize);
        let text = half_even(value, format!("{value:.decimals$}"), value.to_string());
        return if text.contains('.') { text } else { text + ".0" };
    }
    let text = half_even(value, format!("{value:.behind_first$e}"), shortest.clone());
    let digits = text.split_once('e').map_or(digits, |(digits, _)| digits);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
}

/// Two shortest spellings can be equally near to a float. Rust takes the larger, Python the even one, which is what
/// `rounded` to as many digits gives, unless that means another float.
fn half_even(value: f64, rounded: String, shortest: String) -> String {
    if rounded.parse() == Ok(value) { rounded } else { shortest }
}

/// Goes as deep as `value` does: at most [`MAX_DEPTH`](crate::MAX_DEPTH), where it was read here.
fn write(text: &mut String, value: &Value, left_out: &dyn Fn(&str) -> bool) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) => text.push_str(&python_float_repr(float)),
            None => text.push_str(&number.to_string()),
        },
        Value::String(value) => string(text, value),
        Value::Array(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                write(text, item, left_out);
            }
            text.push(']');
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().filter(|(key, _)| !left_out(key)).collect();
            fields.sort_unstable_by_key(|(key, _)| key.as_str());
            text.push('{');
            for (at, (key, value)) in fields.into_iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                string(text, key);
                text.push(':');
                write(text, value, left_out);
            }
            text.push('}');
        }
    }
}

fn string(text: &mut String, value: &str) {
    text.push('"');
    for character in value.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            // Writing into a string cannot fail.
            '\0'..='\u{1f}' => _ = write!(text, "\\u{:04x}", u32::from(character)),
            _ => text.push(character),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_sorted_at_every_level_and_text_stays_as_it_is() {
        let value =
            json!({"b": [{"z": 1, "a": null}], "a": "é\u{1f600}\n\"\\\u{7f}\u{1}", "B": true, "ä": {}});
        let expected =
            "{\"B\":true,\"a\":\"é\u{1f600}\\n\\\"\\\\\u{7f}\\u0001\",\"b\":[{\"a\":null,\"z\":1}],\"ä\":{}}";
        assert_eq!(canonical_json(&value), expected);
    }

    #[test]
    fn floats_stand_as_python_writes_them() {
        let cases = [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (0.1, "0.1"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (123_456_789_012_345_680.0, "1.2345678901234568e+17"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (-1.5e-7, "-1.5e-07"),
            (1e100, "1e+100"),
            (5e-324, "5e-324"),
            (2_f64.powi(-25), "2.9802322387695312e-08"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::NAN, "nan"),
            (f64::NEG_INFINITY, "-inf"),
        ];
        for (value, expected) in cases {
            assert_eq!(python_float_repr(value), expected);
        }
        assert_eq!(canonical_json(&json!([1, 1.0, -3, u64::MAX])), "[1,1.0,-3,18446744073709551615]");
    }

    /// Bit patterns of all kinds, and decimals as people write them.
    fn many_floats() -> Vec<f64> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let bits = (0..6_000).map(|_| f64::from_bits(next())).collect::<Vec<_>>();
        let decimals = (0..6_000).map(|at| next() as i32 as f64 / 10_f64.powi(at % 12)).collect::<Vec<_>>();
        // Halves of halves: where two spellings are equally near.
        let dyadic = (0..6_000).map(|at| (next() >> (12 + at % 50)) as f64 * 2_f64.powi(-(at % 90)));
        let dyadic = dyadic.collect::<Vec<_>>();
        let near =
            (-30..30).flat_map(|e| [-1_i64, 0, 1].map(|by| (10_f64.powi(e).to_bits() as i64 + by) as u64));
        let powers = (0..2047_u64).map(|exponent| exponent << 52).chain((0..52).map(|bit| 1 << bit));
        let floats = near.chain(powers).map(f64::from_bits).collect::<Vec<_>>();
        bits.into_iter()
            .chain(decimals)
            .chain(dyadic)
            .chain(floats)
            .filter(|value| value.is_finite())
            .collect()
    }

    #[test]
    fn python_itself_writes_the_same() {
        let script = "import json,sys\nfor line in sys.stdin:\n v=json.loads(line)\n \
                      print(json.dumps(v,sort_keys=True,separators=(',',':'),ensure_ascii=False))";
        let child = Command::new("python3")
            .args(["-X", "utf8", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = child else {
            println!("python3 is not installed: nothing was compared (apt-get install python3)");
            return;
        };
        let texts =
            ["é", "\u{2028}\u{1f600}", "\"\\/\u{8}\u{c}\n\r\t\0\u{1f}\u{7f}\u{80}", "\u{ffff}\u{e000}"];
        let mut values: Vec<Value> = many_floats().into_iter().map(Value::from).collect();
        values
            .extend(texts.map(
                |text| json!({text: [text, {"z": 1, "a": -0.0, "Z": u64::MAX}], "\u{1f600}": i64::MIN}),
            ));
        let lines: String = values.iter().map(|value| format!("{value}\n")).collect();
        let mut input = child.stdin.take().unwrap();
        // Python may answer before it has read all: whoever writes must not be the one who reads.
        let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        let output = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.lines().count(), values.len());
        for (value, python) in values.iter().zip(output.lines()) {
            assert_eq!(canonical_json(value), python);
        }
        println!("{} values are written as Python writes them", values.len());
    }

    proptest! {
        #[test]
        fn what_is_written_means_the_same_and_is_written_the_same_again(float in any::<f64>(), text in ".*") {
            prop_assume!(float.is_finite());
            let value = json!({text.clone(): [float, text], "": null});
            let canonical = canonical_json(&value);
            let again = crate::json::read(canonical.as_bytes()).unwrap();
            prop_assert_eq!(&again, &value);
            prop_assert_eq!(canonical_json(&again), canonical);
        }
    }
}
