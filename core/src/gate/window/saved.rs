//! A dedup window to a checkpoint and back, slot by slot: what is restored takes the same places and forgets at the
//! same moments.

use ringfence_ipc::journal::checkpoint::{CheckpointError, Item, Part};
use ringfence_ipc::msg::{IntentKind, Outcome, StrategyId};
use ringfence_ipc::reason::{LimitId, Reason};

use super::{
    Bucket, DedupWindow, Entry, FINGERPRINT, GENERATION_SHIFT, GENERATIONS, LANES, MIN_SLOTS, Side, touched,
};

const MAX_SLOTS: usize = 1 << 31;

impl DedupWindow {
    /// Everything but keys and spills.
    pub fn save_head(&self, strategy: StrategyId) -> [u64; Part::Windows.words()] {
        let mut words = [0; Part::Windows.words()];
        words[..7].copy_from_slice(&[
            u64::from(strategy) | (self.entries.len() as u64) << 16,
            self.seed[0],
            self.seed[1],
            u64::from(self.current) | u64::from(self.expired) << 16,
            self.swept as u64,
            self.per_generation,
            self.horizon_ns,
        ]);
        words[7..15].copy_from_slice(&self.counts);
        words[15..23].copy_from_slice(&self.newest_ns);
        words[23..31].copy_from_slice(&self.opened_ns);
        words
    }

    /// Every key with its place, also those that are forgotten and not swept yet: they decide where the next one goes.
    pub fn save_keys(&self, strategy: StrategyId) -> impl Iterator<Item = [u64; Part::Keys.words()]> {
        let tags = self.tags.iter().flat_map(|bucket| bucket.0);
        tags.zip(self.entries.iter()).zip(0u64..).filter(|((tag, _), _)| *tag != 0).map(
            move |((tag, e), slot)| {
                let kind = e.kind.map_or(0, |kind| kind as u64);
                [
                    u64::from(strategy) | u64::from(tag) << 16 | slot << 32,
                    e.key as u64,
                    (e.key >> 64) as u64,
                    e.content,
                    e.journal_seq,
                    e.decided_at_ns,
                    e.value,
                    e.limit as u64,
                    e.reason as u64 | (e.limit_id as u64) << 16 | (e.outcome as u64) << 32 | kind << 40,
                    0,
                    0,
                ]
            },
        )
    }

    /// Every bucket that spilled.
    pub fn save_spills(&self, strategy: StrategyId) -> impl Iterator<Item = [u64; Part::Spills.words()]> {
        let spilled = self.sides.iter().map(|side| side.spilled).zip(0u64..).filter(|(bits, _)| *bits != 0);
        spilled.map(move |(bits, bucket)| [u64::from(strategy) | u64::from(bits) << 16 | bucket << 32])
    }

    /// A window without keys, and whose it is.
    pub fn restore_head(item: &Item<'_>) -> Result<(StrategyId, Self), CheckpointError> {
        let slots = usize::try_from(item.word(0) >> 16).map_err(|_| item.bad("slots"))?;
        if !slots.is_power_of_two() || !(MIN_SLOTS..=MAX_SLOTS).contains(&slots) {
            return Err(item.bad("slots"));
        }
        let buckets = slots / LANES;
        let eight = |first: usize| std::array::from_fn(|i| item.word(first + i));
        let window = Self {
            tags: touched(buckets, Bucket([0; LANES])),
            entries: touched(slots, Entry::EMPTY),
            sides: touched(buckets, Side { free: u32::MAX, spilled: 0 }),
            seed: [item.word(1), item.word(2)],
            current: item.word(3) as u16,
            expired: (item.word(3) >> 16) as u16,
            swept: usize::try_from(item.word(4)).map_err(|_| item.bad("sweep"))?,
            counts: eight(7),
            newest_ns: eight(15),
            opened_ns: eight(23),
            per_generation: item.word(5).max(1),
            horizon_ns: item.word(6),
        };
        let sane = (1..=GENERATIONS).contains(&window.current)
            && window.expired & FINGERPRINT == 0
            && window.swept <= buckets;
        if sane { Ok((item.word(0) as u16, window)) } else { Err(item.bad("generations")) }
    }

    /// Puts a remembered key back into its place.
    pub fn restore_key(&mut self, item: &Item<'_>) -> Result<(), CheckpointError> {
        let (head, kinds) = (item.word(0), item.word(8));
        let (tag, slot) = ((head >> 16) as u16, (head >> 32) as usize);
        let entry = Entry {
            key: item.wide(1),
            content: item.word(3),
            journal_seq: item.word(4),
            decided_at_ns: item.word(5),
            value: item.word(6),
            limit: item.word(7) as i64,
            reason: Reason::from_wire(kinds & 0xffff).ok_or(item.bad("reason"))?,
            limit_id: LimitId::from_wire(kinds >> 16 & 0xffff).ok_or(item.bad("limit id"))?,
            outcome: Outcome::from_wire(kinds >> 32 & 0xff).ok_or(item.bad("outcome"))?,
            kind: match kinds >> 40 {
                0 => None,
                kind => Some(IntentKind::from_wire(kind).ok_or(item.bad("intent kind"))?),
            },
        };
        if slot >= self.entries.len() || tag >> GENERATION_SHIFT == 0 {
            return Err(item.bad("place"));
        }
        let (bucket, lane) = (slot / LANES, slot % LANES);
        self.tags[bucket].0[lane] = tag;
        self.sides[bucket].free &= !(1 << lane);
        self.entries[slot] = entry;
        Ok(())
    }

    /// Notes again that a bucket spilled.
    pub fn restore_spill(&mut self, item: &Item<'_>) -> Result<(), CheckpointError> {
        let word = item.word(0);
        let side = self.sides.get_mut((word >> 32) as usize).ok_or(item.bad("bucket"))?;
        side.spilled = (word >> 16) as u8;
        Ok(())
    }
}
