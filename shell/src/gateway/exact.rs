//! Scaled integers as plain JSON numbers: no float ever stands between the gate and a reader.

use ringfence_ipc::symbol::format_scaled;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// `value / 10^scale`, written as a JSON number with every digit that counts and none that does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exact {
    /// The scaled integer.
    pub value: i128,
    /// Its decimals.
    pub scale: u8,
}

impl Exact {
    /// A scaled 64-bit value.
    #[must_use]
    pub fn new(value: i64, scale: u8) -> Self {
        Self { value: i128::from(value), scale }
    }

    /// A scaled 128-bit value.
    #[must_use]
    pub const fn wide(value: i128, scale: u8) -> Self {
        Self { value, scale }
    }

    /// The number as text, without trailing zeros after the point.
    #[must_use]
    pub fn text(self) -> String {
        let mut text = format_scaled(self.value, self.scale);
        if self.scale > 0 {
            text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
        }
        text
    }
}

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let one = 10_i128.checked_pow(u32::from(self.scale));
        if let Some(whole) =
            one.filter(|one| self.value % one == 0).and_then(|one| i64::try_from(self.value / one).ok())
        {
            return serializer.serialize_i64(whole);
        }
        RawValue::from_string(self.text()).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

impl PartialSchema for Exact {
    fn schema() -> RefOr<Schema> {
        let about = "A decimal, exact: the gate's scaled integer with every digit that counts.";
        ObjectBuilder::new().schema_type(Type::Number).description(Some(about)).into()
    }
}

impl ToSchema for Exact {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ringfence_ipc::symbol::parse_scaled;

    proptest! {
        #[test]
        fn every_scaled_integer_survives_json(value: i64, scale in 0u8..=16) {
            let text = serde_json::to_string(&Exact::new(value, scale)).unwrap();
            prop_assert_eq!(parse_scaled(&text, scale), Ok(value));
            let raw: Box<RawValue> = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(raw.get(), text.as_str());
        }
    }

    #[test]
    fn numbers_keep_every_digit_and_no_padding() {
        for (value, scale, text) in [
            (6_174_568_i128, 2, "61745.68"),
            (50_000, 5, "0.5"),
            (0, 8, "0"),
            (-5, 2, "-0.05"),
            (100, 0, "100"),
            (100, 2, "1"),
            (i128::from(i64::MAX), 8, "92233720368.54775807"),
        ] {
            assert_eq!(serde_json::to_string(&Exact::wide(value, scale)).unwrap(), text);
        }
    }
}
