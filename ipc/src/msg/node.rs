//! What a node computed, on its way to the node cache.

use super::{DecodeError, PAYLOAD_WORDS, Words, bits, kind};

/// Features of one update at most.
const MAX_FEATURES: usize = 16;
/// Slots of the longest update.
pub const NODE_UPDATE_SLOTS: usize = 3;
const FIRST_FEATURES: usize = PAYLOAD_WORDS - 2;

const _: () = assert!(MAX_FEATURES == crate::cache::MAX_FEATURES);
const _: () = assert!(FIRST_FEATURES + (NODE_UPDATE_SLOTS - 1) * PAYLOAD_WORDS >= MAX_FEATURES);

/// One bucket's values, one to three slots. There is no answer: what the gate made of it stands in the cache, and what
/// it could not use is counted.
///
/// ```text
///  0.0: kind u8 | features u8 | flags u8 | 0 u8 | series u32       0.1: time ns
///  0.2..0.6: features 0..4     1.0..1.6: features 5..11     2.0..2.3: features 12..15     (f64; the rest 0)
///  flags: BACKFILL 1
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NodeUpdate {
    /// Index of the series in the cache's directory.
    pub series: u32,
    /// When the values were made, ns since the Unix epoch.
    pub time_ns: u64,
    /// Filled in afterwards: values that were fed live win.
    pub backfill: bool,
    /// How many of `values` count.
    features: u8,
    values: [f64; MAX_FEATURES],
}

impl NodeUpdate {
    /// Of `values`; `None` when there are none or too many.
    #[must_use]
    pub fn new(series: u32, time_ns: u64, values: &[f64]) -> Option<Self> {
        let mut all = [0.0; MAX_FEATURES];
        all.get_mut(..values.len())?.copy_from_slice(values);
        let update = Self { series, time_ns, backfill: false, features: values.len() as u8, values: all };
        (!values.is_empty()).then_some(update)
    }

    /// The same, filled in afterwards.
    #[must_use]
    pub const fn backfilled(self) -> Self {
        Self { backfill: true, ..self }
    }

    /// The values.
    #[inline]
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values[..usize::from(self.features)]
    }

    /// Slots that it takes.
    #[inline]
    #[must_use]
    pub const fn slots(&self) -> usize {
        slots_of(self.features as usize)
    }

    /// To the wire; [`NodeUpdate::slots`] of them count.
    #[must_use]
    pub fn encode(&self) -> [Words; NODE_UPDATE_SLOTS] {
        let mut slots = [[0; PAYLOAD_WORDS]; NODE_UPDATE_SLOTS];
        slots[0][0] = u64::from(kind::NODE_UPDATE)
            | u64::from(self.features) << 8
            | u64::from(self.backfill) << 16
            | u64::from(self.series) << 32;
        slots[0][1] = self.time_ns;
        for (word, value) in slots.as_flattened_mut()[2..].iter_mut().zip(self.values()) {
            *word = value.to_bits();
        }
        slots
    }

    /// From the wire: every slot of the message.
    ///
    /// # Errors
    /// [`DecodeError`] on another kind, a number of features that does not fit the slots, an undefined flag, or words
    /// behind the last feature that are not zero.
    #[inline]
    pub fn decode(slots: &[Words]) -> Result<Self, DecodeError> {
        let words = slots.as_flattened();
        let head = words.first().copied().unwrap_or(0);
        if head as u8 != kind::NODE_UPDATE {
            return Err(DecodeError::UnknownKind(head as u8));
        }
        let features = bits(head, 8, 8) as usize;
        if features == 0 || features > MAX_FEATURES || slots.len() != slots_of(features) {
            return Err(DecodeError::BadEnum { field: "features", value: features as u64 });
        }
        let (given, rest) = words[2..].split_at(features);
        if bits(head, 17, 15) != 0 || rest.iter().any(|word| *word != 0) {
            return Err(DecodeError::Reserved(0));
        }
        let mut values = [0.0; MAX_FEATURES];
        for (to, word) in values.iter_mut().zip(given) {
            *to = f64::from_bits(*word);
        }
        Ok(Self {
            series: (head >> 32) as u32,
            time_ns: words[1],
            backfill: bits(head, 16, 1) != 0,
            features: features as u8,
            values,
        })
    }
}

const fn slots_of(features: usize) -> usize {
    1 + features.saturating_sub(FIRST_FEATURES).div_ceil(PAYLOAD_WORDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_of_every_length_survive_the_wire() {
        let values: Vec<f64> = (0..MAX_FEATURES).map(|n| n as f64 - 7.5).collect();
        let slots = [1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3];
        for (features, slots) in (1..=MAX_FEATURES).zip(slots) {
            let update = NodeUpdate::new(u32::MAX, u64::MAX, &values[..features]).unwrap();
            for update in [update, update.backfilled()] {
                assert_eq!(update.slots(), slots);
                assert_eq!(NodeUpdate::decode(&update.encode()[..slots]), Ok(update));
                assert!(NodeUpdate::decode(&update.encode()[..slots - 1]).is_err());
            }
        }
        assert!(NodeUpdate::new(0, 1, &[]).is_none() && NodeUpdate::new(0, 1, &[0.0; 17]).is_none());
    }

    #[test]
    fn undefined_bits_are_refused() {
        let good = NodeUpdate::new(3, 9, &[1.0, 2.0]).unwrap().encode()[0];
        let with = |word: usize, value: u64| {
            let mut words = good;
            words[word] = value;
            NodeUpdate::decode(&[words])
        };
        assert!(with(0, good[0]).is_ok());
        for bit in 17..32 {
            assert_eq!(with(0, good[0] | 1 << bit), Err(DecodeError::Reserved(0)));
        }
        for features in [0, 6, 17, 255] {
            let head = good[0] & !0xff00 | features << 8;
            assert!(matches!(with(0, head), Err(DecodeError::BadEnum { field: "features", .. })));
        }
        assert_eq!(with(4, 1), Err(DecodeError::Reserved(0)), "behind the last feature");
        assert_eq!(with(0, good[0] & !0xff | 1), Err(DecodeError::UnknownKind(1)));
        let four = NodeUpdate::new(3, 9, &[1.0; 16]).unwrap().encode();
        assert!(NodeUpdate::decode(&[four[0], four[1], four[2], [0; 7]]).is_err());
        assert!(NodeUpdate::decode(&[]).is_err());
    }
}
