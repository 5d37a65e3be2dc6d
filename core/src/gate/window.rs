//! The dedup window of one strategy: which keys were decided, and how.
//!
//! ```text
//!  tags     [bucket 0: 32 x u16 = one line][bucket 1]...      tag = generation u3 | fingerprint u13; 0 = empty
//!  entries  [slot 0: one line][slot 1]...                     slot = bucket * 32 + lane
//!  sides    [bucket 0: u32 free lanes, u8 spilled][bucket 1]  bit g of spilled: keys of generation g went next door
//! ```
//!
//! Nothing is ever deleted by key. Keys belong to generations; four are live. When the youngest is full or old enough,
//! the oldest expires: its tags count as free from then on, a sweep clears one bucket per insert, and `horizon` becomes
//! its newest client timestamp. An unknown key stamped at or before the horizon may be a repeat whose answer is gone, so
//! it is stale: a repeat is never executed twice, at any rate.
//!
//! Only journalled decisions are inserted, so a replay of the journal rebuilds the window exactly.

use ringfence_ipc::hint::{prefetch_read, prefetch_write};
use ringfence_ipc::msg::{IntentKind, Key, Outcome};
use ringfence_ipc::reason::{LimitId, Reason};

use super::tables::touched;

mod saved;

/// Tags of one bucket: one cache line.
const LANES: usize = 32;
/// Generations that are live at once.
const LIVE: u16 = 4;
/// Generation numbers run 1..=7; the three that are not live keep a freshly expired one apart from the next.
const GENERATIONS: u16 = 7;
const GENERATION_SHIFT: u32 = 13;
const FINGERPRINT: u16 = (1 << GENERATION_SHIFT) - 1;
const MIN_SLOTS: usize = 2 * LANES;

const _: () = assert!(GENERATIONS > LIVE && GENERATIONS < 8, "a generation is three bits, and 0 means empty");
const _: () = assert!(size_of::<Bucket>() == 64 && size_of::<Entry>() == 64);

#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Bucket([u16; LANES]);

/// What is known of a bucket without its tags.
#[derive(Clone, Copy, Debug)]
struct Side {
    /// Lanes whose tag is 0. Those of an expired generation join when the sweep comes by.
    free: u32,
    /// Bit g: keys of generation g spilled to the neighbour.
    spilled: u8,
}

/// What was decided under one key: one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Entry {
    /// The whole key; tags only hint.
    pub key: Key,
    /// Digest of the intent's content, see [`DedupWindow::content`].
    pub content: u64,
    /// Journal position of the decision.
    pub journal_seq: u64,
    /// When it was decided, gate time ns.
    pub decided_at_ns: u64,
    /// Accepted: the order id. Rejected: the observed value.
    pub value: u64,
    /// Rejected: the limit's value.
    pub limit: i64,
    /// Why.
    pub reason: Reason,
    /// Which limit.
    pub limit_id: LimitId,
    /// Accepted or rejected.
    pub outcome: Outcome,
    /// What was asked; `None`: nothing yet, a cancel came first.
    pub kind: Option<IntentKind>,
}

impl Entry {
    const EMPTY: Self = Self {
        key: 0,
        content: 0,
        journal_seq: 0,
        decided_at_ns: 0,
        value: 0,
        limit: 0,
        reason: Reason::Ok,
        limit_id: LimitId::None,
        outcome: Outcome::Rejected,
        kind: None,
    };
}

/// Where a new key goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    hash: u64,
    place: Place,
}

/// A slot, and in the high half after how many rotations it is free: one word, so that it travels in a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place(u64);

impl Place {
    const fn new(bucket: usize, lane: usize, rotations: u16) -> Self {
        Self((rotations as u64) << 32 | (bucket * LANES + lane) as u64)
    }

    const fn slot(self) -> usize {
        self.0 as u32 as usize
    }

    const fn rotations(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// What the window knows of a key.
#[derive(Clone, Copy, Debug)]
pub(super) enum Probe<'a> {
    /// It was decided.
    Known(&'a Entry),
    /// It is new, and this is its place.
    Vacant(Spot),
    /// It is new, and there is no place until the sweep is round.
    Full,
}

#[derive(Debug)]
pub(super) struct DedupWindow {
    tags: Box<[Bucket]>,
    entries: Box<[Entry]>,
    sides: Box<[Side]>,
    seed: [u64; 2],
    /// The generation that inserts go to, 1..=7.
    current: u16,
    /// `generation << 13` of the one whose tags are being swept; 0: none yet.
    expired: u16,
    /// Buckets swept since the last rotation; a rotation needs all of them.
    swept: usize,
    /// Keys per generation, by generation number.
    counts: [u64; 8],
    /// Newest client timestamp per generation, ns.
    newest_ns: [u64; 8],
    /// First insert per generation, gate time ns.
    opened_ns: [u64; 8],
    per_generation: u64,
    horizon_ns: u64,
}

impl DedupWindow {
    /// Remembers at least 3/4 `quota` keys and, but for a sweep that is not round yet, at most `quota`.
    pub fn new(quota: usize, seed: u64) -> Self {
        let slots = quota.saturating_mul(2).clamp(MIN_SLOTS, 1 << 31).next_power_of_two();
        let buckets = slots / LANES;
        Self {
            tags: touched(buckets, Bucket([0; LANES])),
            entries: touched(slots, Entry::EMPTY),
            sides: touched(buckets, Side { free: u32::MAX, spilled: 0 }),
            seed: [mix(seed, 0x9e37_79b9_7f4a_7c15), mix(seed, 0xd1b5_4a32_d192_ed03)],
            current: 1,
            expired: 0,
            swept: buckets,
            counts: [0; 8],
            newest_ns: [0; 8],
            opened_ns: [0; 8],
            per_generation: (quota as u64 / u64::from(LIVE)).max(1),
            horizon_ns: 0,
        }
    }

    /// Unknown keys stamped at or before this may be repeats, ns.
    pub const fn horizon_ns(&self) -> u64 {
        self.horizon_ns
    }

    /// Keys remembered.
    pub fn keys(&self) -> u64 {
        self.live().map(|g| self.counts[usize::from(g)]).sum()
    }

    /// How far back the window reaches at `now_ns`; 0 when it is empty.
    pub fn age_ns(&self, now_ns: u64) -> u64 {
        let oldest = self.live().filter(|g| self.counts[usize::from(*g)] > 0).last();
        oldest.map_or(0, |g| now_ns.saturating_sub(self.opened_ns[usize::from(g)]))
    }

    /// Every remembered entry, in no particular order.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        let tags = self.tags.iter().flat_map(|bucket| bucket.0);
        tags.zip(self.entries.iter()).filter(|(tag, _)| self.is_live(*tag)).map(|(_, entry)| entry)
    }

    /// Digest of an intent's content: what must be equal for a repeat to be the same intent.
    ///
    /// The timestamp is not part of it, and neither is the operator's extension, whose id the key is made from.
    pub fn content(&self, header: u64, price: u64, qty: u64, ttl_or_target: u64) -> u64 {
        let a = mix(header ^ self.seed[0], price ^ self.seed[1]);
        let b = mix(qty ^ self.seed[1], ttl_or_target ^ self.seed[0]);
        mix(a ^ self.seed[1], b ^ 0xa076_1d64_78bd_642f)
    }

    /// Asks for the lines that probing `key` will read; says which bucket that is.
    #[inline(always)]
    pub fn prefetch(&self, key: Key) -> usize {
        let (bucket, _) = self.place(self.hash(key));
        prefetch_read(&self.tags[bucket]);
        prefetch_read(&self.sides[bucket]);
        bucket
    }

    /// Asks for the line where a new key of this bucket goes.
    #[inline(always)]
    pub fn prefetch_entry(&self, bucket: usize) {
        let lane = self.sides[bucket].free.trailing_zeros() as usize % LANES;
        prefetch_write(&self.entries[bucket * LANES + lane]);
    }

    /// Looks `key` up.
    #[inline(always)]
    pub fn probe(&self, key: Key) -> Probe<'_> {
        let hash = self.hash(key);
        let (home, fingerprint) = self.place(hash);
        if let Some(entry) = self.find(home, fingerprint, key) {
            return Probe::Known(entry);
        }
        let side = self.sides[home];
        if side.spilled != 0
            && let Some(entry) = self.find(home ^ 1, fingerprint, key)
        {
            return Probe::Known(entry);
        }
        if side.free != 0 {
            let place = Place::new(home, side.free.trailing_zeros() as usize, 0);
            // The line that commit will write: on its way while the other steps run.
            prefetch_write(&self.entries[place.slot()]);
            return Probe::Vacant(Spot { hash, place });
        }
        self.crowded(home).map_or(Probe::Full, |place| Probe::Vacant(Spot { hash, place }))
    }

    /// Whether two more keys certainly find a place wherever they belong.
    pub fn has_room_beside(&self, key: Key, spot: Spot) -> bool {
        let (home, _) = self.place(self.hash(key));
        let free = |bucket: usize| self.tags[bucket].0.iter().filter(|tag| !self.is_live(**tag)).count();
        let needed = if (spot.place.slot() / LANES) | 1 == home | 1 { 2 } else { 1 };
        free(home) + free(home ^ 1) >= needed
    }

    /// Puts an entry into the place that [`DedupWindow::probe`] found for its key, with nothing inserted between.
    #[inline(always)]
    pub fn insert(&mut self, spot: Spot, entry: Entry, client_ts_ns: u64, now_ns: u64, ttl_ns: u64) {
        let slot = spot.place.slot();
        let (home, fingerprint) = self.place(spot.hash);
        let due = u32::from(self.is_rotation_due(now_ns, ttl_ns));
        for _ in 0..spot.place.rotations().max(due) {
            self.rotate();
        }
        let generation = usize::from(self.current);
        if self.counts[generation] == 0 {
            self.opened_ns[generation] = now_ns;
        }
        self.counts[generation] += 1;
        self.newest_ns[generation] = self.newest_ns[generation].max(client_ts_ns);
        let (bucket, lane) = (slot / LANES, slot % LANES);
        self.tags[bucket].0[lane] = self.current << GENERATION_SHIFT | fingerprint;
        self.sides[bucket].free &= !(1 << lane);
        if bucket != home {
            self.sides[home].spilled |= 1 << generation;
        }
        self.entries[slot] = entry;
        self.sweep_one();
    }

    fn hash(&self, key: Key) -> u64 {
        mix(
            mix(key as u64 ^ self.seed[0], (key >> 64) as u64 ^ self.seed[1]) ^ self.seed[0],
            0xe703_7ed1_a0b4_28db,
        )
    }

    fn place(&self, hash: u64) -> (usize, u16) {
        ((hash >> 16) as usize & (self.tags.len() - 1), hash as u16 & FINGERPRINT)
    }

    #[inline(always)]
    fn find(&self, bucket: usize, fingerprint: u16, key: Key) -> Option<&Entry> {
        let tags = &self.tags[bucket];
        if !may_match(tags, fingerprint) {
            return None;
        }
        self.find_in(bucket, fingerprint, key)
    }

    #[cold]
    #[inline(never)]
    fn find_in(&self, bucket: usize, fingerprint: u16, key: Key) -> Option<&Entry> {
        let tags = &self.tags[bucket];
        let lanes = (0..LANES).filter(|lane| is_match(tags.0[*lane], fingerprint, self.expired));
        lanes.map(|lane| &self.entries[bucket * LANES + lane]).find(|entry| entry.key == key)
    }

    /// The home bucket has no lane that was swept: one of the expired generation, the neighbour, or the place of the
    /// oldest generation once that may go.
    #[cold]
    #[inline(never)]
    fn crowded(&self, home: usize) -> Option<Place> {
        for bucket in [home, home ^ 1] {
            let lane = first_free(&self.tags[bucket], self.expired);
            if lane < LANES {
                return Some(Place::new(bucket, lane, 0));
            }
        }
        if self.swept < self.tags.len() {
            return None;
        }
        // Generations without keys leave nothing to sweep: they go with the oldest that has some.
        let empty =
            (1..LIVE).rev().take_while(|n| self.counts[usize::from(back(self.current, *n))] == 0).count()
                as u16;
        let n = (LIVE - 1).checked_sub(empty).filter(|n| *n > 0)?;
        let oldest = back(self.current, n) << GENERATION_SHIFT;
        for bucket in [home, home ^ 1] {
            let lane = first_free(&self.tags[bucket], oldest);
            if lane < LANES {
                return Some(Place::new(bucket, lane, LIVE - n));
            }
        }
        None
    }

    fn is_rotation_due(&self, now_ns: u64, ttl_ns: u64) -> bool {
        let generation = usize::from(self.current);
        let inserted = self.counts[generation];
        let old = inserted > 0 && now_ns.saturating_sub(self.opened_ns[generation]) >= ttl_ns / 3;
        (inserted >= self.per_generation || old) && self.swept >= self.tags.len()
    }

    #[cold]
    fn rotate(&mut self) {
        let oldest = self.oldest();
        let gone = usize::from(oldest);
        self.horizon_ns = self.horizon_ns.max(self.newest_ns[gone]);
        (self.counts[gone], self.newest_ns[gone], self.opened_ns[gone]) = (0, 0, 0);
        self.expired = oldest << GENERATION_SHIFT;
        self.swept = 0;
        self.current = self.current % GENERATIONS + 1;
    }

    #[inline(always)]
    fn sweep_one(&mut self) {
        if self.swept >= self.tags.len() {
            return;
        }
        self.sweep();
    }

    fn sweep(&mut self) {
        let side = &mut self.sides[self.swept];
        // Without branches, so that it compiles to vector instructions.
        let (mut free, tags) = (0, &mut self.tags[self.swept].0);
        for (lane, tag) in tags.iter_mut().enumerate() {
            *tag = if *tag & !FINGERPRINT == self.expired { 0 } else { *tag };
            free |= u32::from(*tag == 0) << lane;
        }
        side.free = free;
        side.spilled &= !(1u8 << (self.expired >> GENERATION_SHIFT));
        self.swept += 1;
    }

    const fn is_live(&self, tag: u16) -> bool {
        tag > FINGERPRINT && tag & !FINGERPRINT != self.expired
    }

    fn oldest(&self) -> u16 {
        back(self.current, LIVE - 1)
    }

    /// Live generations, youngest first.
    fn live(&self) -> impl Iterator<Item = u16> {
        let current = self.current;
        (0..LIVE).map(move |n| back(current, n))
    }
}

/// The generation `n` before `generation`.
const fn back(generation: u16, n: u16) -> u16 {
    (generation + GENERATIONS - 1 - n) % GENERATIONS + 1
}

/// Multiply and fold: every bit of both words reaches every bit of the result.
const fn mix(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}

const fn is_match(tag: u16, fingerprint: u16, expired: u16) -> bool {
    tag & FINGERPRINT == fingerprint && tag > FINGERPRINT && tag & !FINGERPRINT != expired
}

/// Whether a closer look at a bucket is worth it. Written without early exit so that it compiles to a handful of vector
/// instructions.
#[inline(always)]
fn may_match(bucket: &Bucket, fingerprint: u16) -> bool {
    bucket.0.iter().fold(false, |found, tag| found | (tag & FINGERPRINT == fingerprint))
}

/// The first lane that is empty or holds an expired tag; `LANES` or more: none.
fn first_free(bucket: &Bucket, expired: u16) -> usize {
    let mut first = u16::MAX;
    for (lane, tag) in bucket.0.iter().enumerate() {
        let free = (*tag <= FINGERPRINT) | (*tag & !FINGERPRINT == expired);
        first = first.min(if free { lane as u16 } else { u16::MAX });
    }
    usize::from(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(window: &mut DedupWindow, key: Key, now_ns: u64) -> bool {
        let Probe::Vacant(spot) = window.probe(key) else { return false };
        window.insert(spot, Entry { key, ..Entry::EMPTY }, now_ns, now_ns, u64::MAX);
        true
    }

    fn at_home(window: &DedupWindow, bucket: usize) -> impl Iterator<Item = Key> {
        (1..).filter(move |key| window.place(window.hash(*key)).0 == bucket)
    }

    #[test]
    fn a_full_bucket_spills_to_its_neighbour_and_is_found_there() {
        let mut window = DedupWindow::new(64, 1);
        let keys: Vec<Key> = at_home(&window, 2).take(40).collect();
        for (key, now_ns) in keys.iter().zip(1..) {
            assert!(put(&mut window, *key, now_ns));
        }
        assert!(keys.iter().all(|key| matches!(window.probe(*key), Probe::Known(_))));
        assert_eq!((window.keys(), window.entries().count()), (40, 40));
    }

    #[test]
    fn a_full_pair_gives_up_the_oldest_generation_and_never_a_younger_one() {
        let mut window = DedupWindow::new(128, 1);
        let keys: Vec<Key> = at_home(&window, 0).take(1_000).collect();
        let mut busy = 0;
        for (key, now_ns) in keys.iter().zip(1..) {
            busy += u32::from(!put(&mut window, *key, now_ns));
            let forgotten =
                keys.iter().zip(1..=now_ns).filter(|(k, _)| !matches!(window.probe(**k), Probe::Known(_)));
            // What was stored and is gone is behind the horizon: nobody takes it for new.
            assert!(forgotten.last().is_none_or(|(_, at)| at <= window.horizon_ns() || busy > 0));
        }
        assert!(window.keys() <= 64 && busy == 0, "{} keys, {busy} busy", window.keys());
    }
}
