//! The checksum chain: CRC32C continued from slot to slot.
//!
//! The CRC32 instruction alone would make every slot wait for the one before it: seven steps of three cycles. Here the
//! chain is moved over a slot's length by table, and the slot's own checksum, which waits for nobody, is added:
//! `crc(past + slot) = moved(crc(past)) ^ crc(slot)`. The processor works at several slots at once.

use crate::msg::{PAYLOAD_WORDS, Words};

/// Bytes of a slot that the chain covers.
pub(super) const PAYLOAD_BYTES: usize = PAYLOAD_WORDS * 8;

/// CRC32C's polynomial, bits reversed.
const POLYNOMIAL: u32 = 0x82f6_3b78;
/// What each value of each of the chain's four bytes becomes when a payload of zeros follows.
static MOVED: [[u32; 256]; 4] = moved_table();

/// The chain after a slot with this payload.
#[inline]
pub(super) fn chain_payload(chain: u32, payload: &[u8; PAYLOAD_BYTES]) -> u32 {
    let [a, b, c, d] = chain.to_le_bytes().map(usize::from);
    crc32c::crc32c(payload) ^ (MOVED[0][a] ^ MOVED[1][b]) ^ (MOVED[2][c] ^ MOVED[3][d])
}

/// The chain after a slot with this payload.
#[inline]
pub(super) fn chain_words(chain: u32, words: &Words) -> u32 {
    let mut payload = [0; PAYLOAD_BYTES];
    for (chunk, word) in payload.as_chunks_mut().0.iter_mut().zip(words) {
        *chunk = word.to_le_bytes();
    }
    chain_payload(chain, &payload)
}

const fn moved_table() -> [[u32; 256]; 4] {
    let mut table = [[0; 256]; 4];
    let mut bit = 0;
    while bit < 32 {
        let moved = moved_bit(bit);
        let (byte, mask) = (bit / 8, 1 << (bit % 8));
        let mut value = 0;
        // Moving is linear: the image of a value is the sum of the images of its bits.
        while value < 256 {
            if value & mask != 0 {
                table[byte][value] ^= moved;
            }
            value += 1;
        }
        bit += 1;
    }
    table
}

const fn moved_bit(bit: usize) -> u32 {
    let (mut register, mut step) = (1_u32 << bit, 0);
    while step < PAYLOAD_BYTES * 8 {
        register = (register >> 1) ^ (POLYNOMIAL & (register & 1).wrapping_neg());
        step += 1;
    }
    register
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
    use super::*;

    #[test]
    fn the_chain_is_crc32c_continued() {
        let (mut chain, mut plain) = (7, 7);
        for n in 0..2_000_u64 {
            let byte =
                |i: usize| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(i as u32 * 5) >> 56) as u8;
            let payload: [u8; PAYLOAD_BYTES] = std::array::from_fn(byte);
            chain = chain_payload(chain, &payload);
            plain = crc32c::crc32c_append(plain, &payload);
            assert_eq!(chain, plain, "after {n} slots");
        }
        for bit in 0..32 {
            let payload = [0; PAYLOAD_BYTES];
            assert_eq!(chain_payload(1 << bit, &payload), crc32c::crc32c_append(1 << bit, &payload));
        }
    }
}
