//! The cache's writer through the eyes of a reader.

mod model;

use ringfence_ipc::cache::{
    CacheView, Consumer, GapPolicy, Newest, NodeSpec, ReadError, SegmentFull, SeriesView, Stamp, TIME_END_NS,
    WindowBuffer, segment_bytes,
};
use ringfence_ipc::msg::NodeUpdate;
use ringfence_ipc::view::WriteSlots;

use super::{Cache, CacheError, Fed, FeedError, Merged, RegisterError, Stats};

const NS: u64 = 1_000_000_000;
const CLIENT: u64 = 7;

fn cache(max_series: usize) -> (Cache, CacheView) {
    let slots = WriteSlots::heap(segment_bytes(max_series, 1 << 20) / 64);
    let cache = Cache::new(slots, max_series).unwrap();
    let view = cache.view().unwrap();
    (cache, view)
}

fn spec(id: &str, interval_s: u32, period: u32, features: usize) -> NodeSpec {
    let names: Vec<String> = (0..features).map(|n| format!("f{n}")).collect();
    NodeSpec::new(id, interval_s, period, &names).unwrap()
}

/// A cache with one series of 1 s buckets that `CLIENT` feeds.
fn one(period: u32, features: usize) -> (Cache, u32, SeriesView) {
    let (mut cache, view) = cache(4);
    let index = cache.register(&spec("node", 1, period, features), CLIENT, true).unwrap();
    let series = view.open("node", 1).unwrap();
    (cache, index, series)
}

fn stamps(series: &SeriesView, slots: usize) -> Vec<Stamp> {
    let mut buffer = WindowBuffer::default();
    let window = series.window(slots, &mut buffer).unwrap();
    (0..slots).map(|at| window.stamp(at)).collect()
}

#[test]
fn feed_says_what_became_of_the_value() {
    let (mut cache, index, series) = one(3, 1);
    let mut feed = |time_ns: u64| cache.feed(CLIENT, index, time_ns, &[time_ns as f64]).unwrap();
    assert_eq!(feed(100 * NS), Fed::Opened);
    assert_eq!(feed(100 * NS + 5), Fed::Updated);
    assert_eq!(feed(100 * NS + 4), Fed::Updated, "the last one wins, not the latest");
    assert_eq!(feed(101 * NS - 1), Fed::Updated);
    assert_eq!(feed(101 * NS), Fed::Opened);
    assert_eq!(feed(104 * NS), Fed::Opened);
    assert_eq!(feed(102 * NS + 9), Fed::Placed);
    assert_eq!(feed(101 * NS), Fed::Outside);
    assert_eq!(stamps(&series, 3), [Stamp::live(102 * NS + 9), Stamp(0), Stamp::live(104 * NS)]);
    let expected = Stats { feeds: 7, late: 1, gaps: 1, ..Stats::default() };
    assert_eq!((*cache.stats(), series.late(), series.gaps()), (expected, 1, 1));
}

#[test]
fn feed_for_says_whether_the_consumer_can_compute() {
    let (mut cache, view) = cache(2);
    let fast = cache.register(&spec("fast", 1, 5, 1), CLIENT, true).unwrap();
    let slow = cache.register(&spec("slow", 60, 2, 1), CLIENT, true).unwrap();
    let mut consumer = Consumer::new(GapPolicy::Fail, 0);
    consumer.declare(view.open("fast", 1).unwrap(), 2).unwrap();
    consumer.declare(view.open("slow", 60).unwrap(), 1).unwrap();
    let mut feed = |index, time_s: u64| cache.feed_for(CLIENT, index, time_s * NS, &[1.0], &mut consumer);
    assert_eq!(feed(fast, 60), Ok(false));
    assert_eq!(feed(fast, 61), Ok(false), "the other one has nothing yet");
    assert_eq!(feed(slow, 60), Ok(true));
    assert_eq!(feed(fast, 63), Err(CacheError::Read(ReadError::Gap { bucket: 62 })));
    assert_eq!(feed(fast, 62), Ok(true));
    let refused = feed(fast, 0);
    assert_eq!(refused, Err(CacheError::Feed(FeedError::Time(0))));
}

#[test]
fn backfill_fills_what_is_missing_and_live_values_win() {
    let (mut cache, index, series) = one(6, 2);
    for bucket in [103, 105] {
        cache.feed(CLIENT, index, bucket * NS, &[1.0, 2.0]).unwrap();
    }
    let rows: Vec<(u64, [f64; 2])> =
        (98..=106).rev().map(|bucket| (bucket * NS + 1, [bucket as f64, 0.0])).collect();
    let merged = cache
        .backfill(CLIENT, index, rows.iter().map(|(time_ns, values)| (*time_ns, values.as_slice())))
        .unwrap();
    // 106 comes first and begins a bucket of its own: 98..=100 have left the window then.
    assert_eq!(merged, Merged { filled: 4, kept: 2, outside: 3, refused: 0 });
    let filled = |bucket: u64| Stamp::backfilled(bucket * NS + 1);
    let live = |bucket: u64| Stamp::live(bucket * NS);
    assert_eq!(
        stamps(&series, 6),
        [filled(101), filled(102), live(103), filled(104), live(105), filled(106)]
    );
    assert_eq!(series.generation(), 2, "one generation for all of it");
    let again = [(104 * NS, [9.0, 9.0].as_slice()), (104 * NS, &[f64::NAN, 0.0]), (105 * NS, &[1.0])];
    let merged = cache.backfill(CLIENT, index, again).unwrap();
    assert_eq!(merged, Merged { filled: 1, refused: 2, ..Merged::default() }, "the later backfill wins");
    assert_eq!(cache.feed(CLIENT, index, 102 * NS, &[5.0, 5.0]), Ok(Fed::Placed), "live over filled in");
    assert_eq!(stamps(&series, 6)[1], live(102));
    assert_eq!(cache.stats().late, 0);
    assert_eq!((cache.stats().backfills, cache.stats().rejects), (5, 2));
}

#[test]
fn an_empty_series_is_backfilled_oldest_first_and_goes_on_live() {
    let (mut cache, index, series) = one(50, 1);
    let values: Vec<[f64; 1]> = (0..200).map(|n| [f64::from(n)]).collect();
    let rows = (0..200).map(|n| ((1000 + n as u64) * NS, values[n].as_slice()));
    assert_eq!(cache.backfill(CLIENT, index, rows).unwrap().filled, 200);
    assert_eq!(cache.feed(CLIENT, index, 1199 * NS, &[7.0]), Ok(Fed::Updated), "live over the newest");
    let update = NodeUpdate::new(index, 1199 * NS, &[8.0]).unwrap().backfilled();
    assert_eq!(cache.apply(CLIENT, &update), Ok(Fed::Kept));
    let mut buffer = WindowBuffer::default();
    let window = series.ready_window(50, GapPolicy::Fail, &mut buffer).unwrap();
    assert_eq!((window.value(0, 0), window.value(49, 0)), (150.0, 7.0));
}

#[test]
fn a_gap_that_is_filled_joins_what_lies_around_it() {
    let (mut cache, index, series) = one(1000, 1);
    for bucket in (1..=700).filter(|bucket| *bucket != 650) {
        cache.feed(CLIENT, index, bucket * NS, &[1.0]).unwrap();
    }
    let mut buffer = WindowBuffer::default();
    let mut ready = |slots| series.ready_window(slots, GapPolicy::Fail, &mut buffer).map(|_| ());
    assert_eq!((ready(50), ready(51)), (Ok(()), Err(ReadError::Gap { bucket: 650 })));
    cache.feed(CLIENT, index, 650 * NS, &[1.0]).unwrap();
    assert_eq!((ready(700), ready(701)), (Ok(()), Err(ReadError::NotReady { filled: 700, needed: 701 })));
}

#[test]
fn updates_of_others_are_refused_and_counted() {
    let (mut cache, index, series) = one(3, 2);
    cache.feed(CLIENT, index, 5 * NS, &[1.0, 2.0]).unwrap();
    let mut newest = Newest::default();
    series.newest(&mut newest).unwrap();
    let attacks: [(u64, u32, u64, &[f64], FeedError); 9] = [
        (8, index, 6 * NS, &[1.0, 2.0], FeedError::NotProducer),
        (0, index, 6 * NS, &[1.0, 2.0], FeedError::NotProducer),
        (CLIENT, 1, 6 * NS, &[1.0, 2.0], FeedError::UnknownSeries(1)),
        (CLIENT, u32::MAX, 6 * NS, &[1.0, 2.0], FeedError::UnknownSeries(u32::MAX)),
        (CLIENT, index, 6 * NS, &[1.0], FeedError::Features { given: 1, expected: 2 }),
        (CLIENT, index, 6 * NS, &[1.0, 2.0, 3.0], FeedError::Features { given: 3, expected: 2 }),
        (CLIENT, index, 0, &[1.0, 2.0], FeedError::Time(0)),
        (CLIENT, index, TIME_END_NS, &[1.0, 2.0], FeedError::Time(TIME_END_NS)),
        (CLIENT, index, u64::MAX, &[1.0, 2.0], FeedError::Time(u64::MAX)),
    ];
    for (client, index, time_ns, values, error) in attacks {
        assert_eq!(cache.feed(client, index, time_ns, values), Err(error));
    }
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::from_bits(0x7ff0_0000_0000_0001)] {
        assert_eq!(cache.feed(CLIENT, index, 6 * NS, &[1.0, value]), Err(FeedError::NotFinite));
    }
    assert_eq!((cache.stats().rejects, cache.stats().rejects_no_lease), (13, 2));
    assert!(!series.poll(&mut newest), "nothing of it is seen");
    assert_eq!(cache.feed(CLIENT, index, TIME_END_NS - 1, &[1.0, f64::MIN_POSITIVE / 2.0]), Ok(Fed::Opened));
}

#[test]
fn a_lease_has_one_holder_and_dies_with_it() {
    let (mut cache, view) = cache(2);
    let node = spec("node", 1, 3, 1);
    let index = cache.register(&node, 8, false).unwrap();
    let series = view.open("node", 1).unwrap();
    assert_eq!(series.producer(), None, "a consumer declares, it does not feed");
    assert_eq!(cache.feed(8, index, NS, &[1.0]), Err(FeedError::NotProducer));
    assert_eq!(cache.register(&node, CLIENT, true), Ok(index));
    assert_eq!(cache.register(&node, CLIENT, true), Ok(index), "asking twice changes nothing");
    assert_eq!(cache.register(&node, 8, true), Err(RegisterError::LeaseTaken(CLIENT)));
    assert_eq!(cache.register(&node, 8, false), Ok(index));
    assert!(!cache.release(index, 8) && !cache.release(9, CLIENT) && !cache.release(index, 0));
    assert_eq!(series.producer(), Some(CLIENT));
    cache.feed(CLIENT, index, 9 * NS, &[1.0]).unwrap();
    cache.release_all(CLIENT);
    assert_eq!(series.producer(), None);
    assert_eq!(cache.feed(CLIENT, index, 10 * NS, &[1.0]), Err(FeedError::NotProducer));
    assert_eq!(cache.register(&node, 8, true), Ok(index));
    assert_eq!(cache.feed(8, index, 10 * NS, &[1.0]), Ok(Fed::Opened), "what was fed stays");
    assert_eq!(stamps(&series, 2), [Stamp::live(9 * NS), Stamp::live(10 * NS)]);
}

#[test]
fn a_node_is_one_thing_for_everybody() {
    let (mut cache, view) = cache(2);
    let index = cache.register(&spec("node", 1, 10, 2), CLIENT, false).unwrap();
    assert_eq!(cache.register(&spec("node", 1, 4, 2), 8, false), Ok(index), "a shorter window is in it");
    assert_eq!(cache.register(&spec("node", 1, 11, 2), 8, false), Err(RegisterError::Period { kept: 10 }));
    assert_eq!(cache.register(&spec("node", 1, 10, 1), 8, false), Err(RegisterError::Features));
    let other = NodeSpec::new("node", 1, 10, &["f1", "f0"]).unwrap();
    assert_eq!(cache.register(&other, 8, false), Err(RegisterError::Features));
    assert_eq!(cache.register(&spec("node", 60, 10, 2), 8, false), Ok(index + 1), "another interval");
    let full = RegisterError::Full(SegmentFull::Series(2));
    assert_eq!(cache.register(&spec("third", 1, 1, 1), 8, true), Err(full));
    assert_eq!((cache.len(), view.len()), (2, 2));
}

#[test]
fn registration_beyond_the_budget_changes_nothing() {
    let slots = WriteSlots::heap(segment_bytes(8, 4096) / 64);
    let mut cache = Cache::new(slots, 8).unwrap();
    assert!(matches!(
        cache.register(&spec("wide", 1, 10_000, 16), CLIENT, true),
        Err(RegisterError::Full(SegmentFull::Budget { .. }))
    ));
    assert_eq!((cache.len(), cache.resident_bytes()), (0, 0));
    assert!(cache.register(&spec("small", 1, 10, 1), CLIENT, true).is_ok());
    assert!(cache.resident_bytes() > 704 && cache.resident_bytes() < 4096);
}
