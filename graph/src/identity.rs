//! Compute identities: 32 bytes in memory, 64 lower hex in storage.

use crate::GraphError;

/// What a node computes, as a hash. Two nodes of one identity are one node.
pub type Identity = [u8; 32];

/// 64 lower hex.
#[must_use]
pub fn to_hex(identity: &Identity) -> String {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble & 15)]);
    identity.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

/// The inverse of [`to_hex`], for what stands in storage.
pub(crate) fn from_hex(text: &str) -> Result<Identity, GraphError> {
    let damaged = || GraphError::Damaged(format!("the identity `{}`", text.escape_debug()));
    let mut identity = [0; 32];
    if text.len() != 64 {
        return Err(damaged());
    }
    for (byte, pair) in identity.iter_mut().zip(text.as_bytes().chunks(2)) {
        let nibble = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        let (high, low) = nibble(pair[0]).zip(nibble(pair[1])).ok_or_else(damaged)?;
        *byte = high << 4 | low;
    }
    Ok(identity)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]
    use super::*;

    #[test]
    fn hex_goes_there_and_back_and_nothing_else_is_taken() {
        let identity: Identity = std::array::from_fn(|n| u8::try_from(n * 8 + 3).unwrap());
        let text = to_hex(&identity);
        assert_eq!(text.get(..8), Some("030b131b"));
        assert_eq!(from_hex(&text).unwrap(), identity);
        for bad in ["", "0", &text[1..], &text.to_uppercase(), &"ü".repeat(32), &format!("{text}0")] {
            assert!(matches!(from_hex(bad), Err(GraphError::Damaged(_))), "{bad}");
        }
    }
}
