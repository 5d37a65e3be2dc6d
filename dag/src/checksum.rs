//! The checksum that a client sends beside its node ids.

/// zlib's CRC-32, chained over the UTF-8 bytes of `ids` in the order of the DAG, without a separator.
#[must_use]
pub fn crc32<'a>(ids: impl IntoIterator<Item = &'a str>) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    ids.into_iter().for_each(|id| hasher.update(id.as_bytes()));
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::crc32;

    #[test]
    fn the_vectors_of_the_clients() {
        assert_eq!(crc32([]), 0);
        assert_eq!(crc32(["A", "B"]), 812_207_111);
        assert_eq!(crc32(["AB"]), crc32(["A", "B"]), "no separator");
        assert_ne!(crc32(["B", "A"]), crc32(["A", "B"]));
    }
}
