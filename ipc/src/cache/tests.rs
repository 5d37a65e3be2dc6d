//! The bytes of the cache: what a reader makes of what the writer wrote, and of what it never would.

use std::time::{Duration, Instant};

use super::shape::{ANNOUNCED_LINE, STATE_LINE, state};
use super::*;
use crate::layout::{HASH, MAGIC};
use crate::msg::SLOT_BYTES;
use crate::view::WriteSlots;

const NS: u64 = 1_000_000_000;

/// A series of 1 s buckets that is written as the gate does.
struct Series {
    block: WriteSlots,
    writer: SeriesWriter,
    view: SeriesView,
    buckets: u64,
    newest: Option<(u64, Vec<u64>)>,
}

impl Series {
    fn new(period: u32, features: usize) -> Self {
        let shape = Shape::new(1, period, features).unwrap();
        let block = WriteSlots::heap(shape.lines());
        let view = SeriesView::new(block.reader(), shape).unwrap();
        let writer = SeriesWriter::new(block.clone(), shape);
        Self { block, writer, view, buckets: u64::from(shape.buckets()), newest: None }
    }

    fn row(&self, bucket: u64, value: f64) -> Vec<u64> {
        let features = (0..self.view.shape().features()).map(|f| (value + f as f64).to_bits());
        std::iter::once(Stamp::live(bucket * NS + 1).0).chain(features).collect()
    }

    fn feed(&mut self, bucket: u64, value: f64, run: u32) {
        let row = self.row(bucket, value);
        match self.newest.take() {
            Some((newest, last)) if newest < bucket => {
                self.writer.claim(bucket);
                self.writer.close((newest % self.buckets) as u32, &last);
            }
            Some(_) => {}
            None => self.writer.set_origin(bucket),
        }
        self.writer.publish(Place::new(bucket, (bucket % self.buckets) as u32, run), &row);
        self.newest = Some((bucket, row));
    }
}

#[test]
fn a_window_is_what_was_fed_around_every_corner() {
    for (period, features) in [(1, 1), (2, 5), (7, 6), (60, 1), (10, 13), (10, 14), (33, 16)] {
        let mut series = Series::new(period, features);
        let mut buffer = WindowBuffer::of(series.view.shape());
        for n in 0..u64::from(period) * 5 + 40 {
            let bucket = 1000 + n;
            series.feed(bucket, 0.5, (n as u32 + 1).min(period));
            series.feed(bucket, n as f64, (n as u32 + 1).min(period));
            let slots = (n as usize + 1).min(period as usize);
            let window = series.view.window(slots, &mut buffer).unwrap();
            assert_eq!((window.slots(), window.newest_bucket(), window.filled()), (slots, bucket, slots));
            let peek = series.view.peek(slots).unwrap();
            for at in 0..slots {
                let back = (slots - 1 - at) as u64;
                assert_eq!(window.stamp(at), Stamp::live((bucket - back) * NS + 1));
                assert_eq!(peek.stamp(at), Some(window.stamp(at)));
                for feature in 0..features {
                    let expected = (n - back) as f64 + feature as f64;
                    assert_eq!(window.value(at, feature), expected, "{period} {features} {n} {at}");
                    assert_eq!(peek.value(at, feature), Some(expected));
                }
            }
            assert!(peek.holds() && peek.value(slots, 0).is_none() && peek.value(0, features).is_none());
            assert_eq!(window.values(0).next_back(), Some(n as f64));
        }
    }
}

#[test]
fn the_newest_value_is_polled_once() {
    let mut series = Series::new(3, 7);
    let mut newest = Newest::default();
    assert!(!series.view.poll(&mut newest));
    assert_eq!(series.view.newest(&mut newest), Err(ReadError::Empty));
    for n in 1..50 {
        series.feed(n / 3, n as f64, 1);
        assert!(series.view.poll(&mut newest));
        assert_eq!((newest.version, newest.bucket(), newest.value(6)), (n, n / 3, n as f64 + 6.0));
        assert!(!series.view.poll(&mut newest), "nothing newer");
    }
    (50..=56).for_each(|n| series.feed(n, n as f64, 1));
    assert!(series.view.poll(&mut newest));
    assert_eq!(newest.version, 56, "the ones between are gone");
}

#[test]
fn an_older_lap_is_never_taken_for_a_value() {
    let mut series = Series::new(10, 1);
    let mut buffer = WindowBuffer::default();
    for bucket in 0..100 {
        series.feed(bucket, 1.0, 10);
    }
    series.feed(105, 2.0, 1);
    let window = series.view.window(10, &mut buffer).unwrap();
    let filled: Vec<bool> = (0..10).map(|at| window.stamp(at).is_filled()).collect();
    assert_eq!(filled, [true, true, true, true, false, false, false, false, false, true]);
    assert!((4..9).all(|at| window.value(at, 0).is_nan()));
    let peek = series.view.peek(10).unwrap();
    assert!((4..9).all(|at| peek.stamp(at).is_none()) && peek.stamp(3).is_some());
}

#[test]
fn policies_make_of_a_gap_what_they_say() {
    let mut series = Series::new(6, 2);
    let mut buffer = WindowBuffer::default();
    let mut read = |series: &Series, slots, policy| {
        let window = series.view.ready_window(slots, policy, &mut buffer);
        window.map(|window| (0..slots).map(|at| (window.stamp(at), window.value(at, 0))).collect::<Vec<_>>())
    };
    let live = |bucket: u64, value: f64| (Stamp::live(bucket * NS + 1), value);
    assert_eq!(read(&series, 1, GapPolicy::Skip), Err(ReadError::Empty));
    series.feed(100, 1.0, 1);
    series.feed(101, 2.0, 2);
    for policy in [GapPolicy::Skip, GapPolicy::Fail, GapPolicy::Interpolate] {
        assert_eq!(read(&series, 2, policy), Ok(vec![live(100, 1.0), live(101, 2.0)]));
        assert_eq!(read(&series, 3, policy), Err(ReadError::NotReady { filled: 2, needed: 3 }), "warm-up");
    }
    series.feed(104, 8.0, 1);
    assert_eq!(read(&series, 3, GapPolicy::Fail), Err(ReadError::Gap { bucket: 103 }));
    assert_eq!(read(&series, 1, GapPolicy::Fail), Ok(vec![live(104, 8.0)]));
    let skipped = vec![live(100, 1.0), live(101, 2.0), live(104, 8.0)];
    assert_eq!(read(&series, 3, GapPolicy::Skip), Ok(skipped));
    assert_eq!(read(&series, 4, GapPolicy::Skip), Err(ReadError::NotReady { filled: 3, needed: 4 }));
    let mixed = read(&series, 4, GapPolicy::Interpolate).unwrap();
    assert_eq!(mixed[0], live(101, 2.0));
    assert_eq!(mixed[1], (Stamp::synthetic(102 * NS), 4.0));
    assert_eq!(mixed[2].0, Stamp::synthetic(103 * NS));
    assert!((mixed[2].1 - 6.0).abs() < 1e-9);
    assert_eq!(read(&series, 6, GapPolicy::Interpolate), Err(ReadError::NotReady { filled: 5, needed: 6 }));
    assert_eq!(read(&series, 7, GapPolicy::Skip), Err(ReadError::Length { period: 6 }));
    assert_eq!(read(&series, 0, GapPolicy::Skip), Err(ReadError::Length { period: 6 }));
}

#[test]
fn interpolation_between_the_largest_values_stays_finite() {
    let mut series = Series::new(4, 1);
    series.feed(10, f64::MAX, 1);
    series.feed(12, -f64::MAX, 1);
    let mut buffer = WindowBuffer::default();
    let window = series.view.ready_window(3, GapPolicy::Interpolate, &mut buffer).unwrap();
    assert_eq!(window.value(1, 0), 0.0);
}

#[test]
fn a_window_is_copied_again_when_the_ring_moved_or_was_backfilled() {
    let mut series = Series::new(4, 1);
    (0..20).for_each(|bucket| series.feed(bucket, 1.0, 4));
    let moved = series.view.peek(4).unwrap();
    let mended = series.view.peek(4).unwrap();
    assert!(moved.holds());
    // Spare buckets: the ring may go on for a while before it comes round to the oldest.
    let writer = SeriesWriter::new(series.block.clone(), *series.view.shape());
    writer.claim(19 + 13 - 4);
    assert!(moved.holds());
    writer.claim(19 + 13 - 4 + 1);
    assert!(!moved.holds());
    writer.claim(19);
    writer.begin_backfill();
    assert!(!mended.holds());
    assert_eq!(series.view.peek(4).unwrap_err(), ReadError::Busy, "bounded, also while nobody ends it");
    writer.end_backfill();
    assert!(!mended.holds() && series.view.peek(4).unwrap().holds());
    assert_eq!(series.view.generation(), 2);
}

#[test]
fn a_writer_at_full_speed_tears_no_window() {
    let mut series = Series::new(60, 3);
    let view = series.view.clone();
    series.feed(1000, 1000.0, 1);
    let until = Instant::now() + Duration::from_millis(300);
    let thread = std::thread::spawn(move || {
        let mut bucket = 1000;
        while Instant::now() < until {
            for _ in 0..50 {
                bucket += 1;
                series.feed(bucket, bucket as f64, 60.min(bucket as u32 - 999));
                series.feed(bucket, bucket as f64, 60.min(bucket as u32 - 999));
            }
        }
    });
    let mut buffer = WindowBuffer::of(view.shape());
    let (mut reads, mut busy) = (0u64, 0u64);
    while Instant::now() < until {
        match view.ready_window(60, GapPolicy::Fail, &mut buffer) {
            Ok(window) => {
                for at in 0..60 {
                    let bucket = window.newest_bucket() - 59 + at as u64;
                    assert_eq!(window.stamp(at).time_ns() / NS, bucket);
                    assert_eq!(window.value(at, 2), bucket as f64 + 2.0, "torn");
                }
                reads += 1;
            }
            Err(ReadError::NotReady { .. }) => {}
            Err(ReadError::Busy) => busy += 1,
            Err(other) => panic!("{other}"),
        }
    }
    thread.join().unwrap();
    assert!(reads > 10, "{reads} windows, {busy} times busy");
}

#[test]
fn a_writer_that_lies_costs_a_bounded_number_of_tries() {
    let mut series = Series::new(4, 1);
    (0..20).for_each(|bucket| series.feed(bucket, 1.0, 4));
    let mut buffer = WindowBuffer::default();
    for (line, word, lie) in [
        (ANNOUNCED_LINE, 0, u64::MAX),
        (ANNOUNCED_LINE, 0, 7),
        (STATE_LINE, state::GENERATION, 3),
        (STATE_LINE, state::CLAIMED, u64::MAX),
        // A slot that the ring does not have.
        (series.view.shape().version_line(20), 0, Place::new(19, 13, 4).word()),
    ] {
        let truth = series.block.load(line, word);
        series.block.store(line, word, lie);
        assert_eq!(series.view.window(4, &mut buffer).unwrap_err(), ReadError::Busy, "{line} {word}");
        series.block.store(line, word, truth);
        assert!(series.view.window(4, &mut buffer).is_ok());
    }
}

#[test]
fn random_memory_is_read_without_panic() {
    let mut random = 0x5eed_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let shape = Shape::new(3, 9, 7).unwrap();
    let block = WriteSlots::heap(shape.lines());
    let view = SeriesView::new(block.reader(), shape).unwrap();
    let (mut buffer, mut newest) = (WindowBuffer::default(), Newest::default());
    for _ in 0..20_000 {
        let (line, word) = ((next() % shape.lines() as u64) as usize, (next() % 8) as usize);
        let value = if next() % 3 == 0 { next() } else { next() % 32 };
        block.store(line, word, value);
        block.store(ANNOUNCED_LINE, 0, next() % 8);
        for policy in [GapPolicy::Skip, GapPolicy::Fail, GapPolicy::Interpolate] {
            let _ = view.ready_window(1 + (next() % 9) as usize, policy, &mut buffer);
        }
        view.poll(&mut newest);
        if let Ok(peek) = view.peek(9) {
            let _ = (0..9).filter_map(|at| peek.stamp(at)).count();
            let _ = peek.holds();
        }
    }
}

#[test]
fn a_consumer_waits_for_every_upstream() {
    let (mut fast, mut slow) = (Series::new(4, 1), Series::new(4, 1));
    let mut consumer = Consumer::new(GapPolicy::Fail, NS / 2);
    assert_eq!(consumer.ready(), Ok(false), "nothing declared");
    assert_eq!(consumer.declare(fast.view.clone(), 5), Err(ReadError::Length { period: 4 }));
    consumer.declare(fast.view.clone(), 3).unwrap();
    consumer.declare(slow.view.clone(), 1).unwrap();
    (10..13).for_each(|bucket| fast.feed(bucket, 1.0, bucket as u32 - 9));
    assert_eq!((consumer.ready(), consumer.watermark_ns()), (Ok(false), 0), "one has nothing");
    slow.feed(11, 2.0, 1);
    assert_eq!(consumer.ready(), Ok(true));
    assert_eq!(consumer.watermark_ns(), 11 * NS + 1 - NS / 2);
    assert_eq!(consumer.window(1).unwrap().value(0, 0), 2.0);
    // The same bucket again with an older time: the watermark stays.
    slow.writer.publish(Place::new(11, 11, 1), &[Stamp::live(11 * NS).0, 0]);
    assert_eq!(consumer.watermark_ns(), 11 * NS + 1 - NS / 2);
    fast.feed(14, 1.0, 1);
    assert_eq!(consumer.ready(), Err(ReadError::Gap { bucket: 13 }));
}

fn segment(max_series: usize, budget: usize) -> (WriteSlots, CacheSegment, CacheView) {
    let slots = WriteSlots::heap(segment_bytes(max_series, budget) / SLOT_BYTES);
    let writer = CacheSegment::new(slots.clone(), max_series).unwrap();
    let view = CacheView::new(slots.reader()).unwrap();
    (slots, writer, view)
}

#[test]
fn registered_nodes_are_found_by_id_and_interval() {
    let (_, mut segment, view) = segment(4, 64 << 10);
    assert!(view.is_empty() && view.open("a", 1).is_err() && view.info(0).is_none());
    let long = "x".repeat(MAX_NODE_ID_BYTES);
    let names = ["v".to_owned(), "y".repeat(MAX_FEATURE_NAME_BYTES)];
    let specs = [
        NodeSpec::new("a", 1, 5, &["v"]),
        NodeSpec::new("a", 60, 5, &["v"]),
        NodeSpec::new(&long, 1, 9, &names),
    ]
    .map(Result::unwrap);
    for (index, spec) in specs.iter().enumerate() {
        segment.register(spec).unwrap();
        assert_eq!(view.find(spec.id(), spec.shape().interval_s()), Some(index as u32));
        let info = view.info(index as u32).unwrap();
        assert_eq!((info.id.as_str(), info.features.as_slice()), (spec.id(), spec.features()));
        assert_eq!((info.shape, info.generation), (*spec.shape(), 1));
        assert_eq!(view.series(index as u32).unwrap().shape(), spec.shape());
        assert!(segment.has_features(index, spec.features()));
        assert_eq!(view.len(), index + 1);
    }
    assert!(!segment.has_features(0, specs[2].features()) && !segment.has_features(9, specs[0].features()));
    assert!(view.find("", 1).is_none() && view.find(&"x".repeat(300), 1).is_none());
    assert!(view.find("a\0", 1).is_none(), "padding is no character");
}

#[test]
fn registering_stops_at_the_budget_and_at_the_directory() {
    let lines = Shape::new(1, 5, 1).unwrap().lines();
    let (_, mut full, _) = segment(9, 2 * lines * SLOT_BYTES + 63);
    let spec = |n: usize| NodeSpec::new(&format!("n{n}"), 1, 5, &["v"]).unwrap();
    assert_eq!(full.resident_bytes(), 0);
    assert!(full.register(&spec(0)).is_ok() && full.register(&spec(1)).is_ok());
    assert_eq!(full.resident_bytes(), 2 * (lines * SLOT_BYTES + at::ENTRY_BYTES));
    let refused = full.register(&spec(2)).unwrap_err();
    assert_eq!(refused, SegmentFull::Budget { left: 0, needed: lines * SLOT_BYTES });
    assert_eq!(full.len(), 2);
    let (_, mut few, _) = segment(1, 1 << 20);
    few.register(&spec(0)).unwrap();
    assert_eq!(few.register(&spec(1)).unwrap_err(), SegmentFull::Series(1));
    let (_, mut none, view) = segment(0, 0);
    assert_eq!(none.register(&spec(0)).unwrap_err(), SegmentFull::Series(0));
    assert_eq!(view.max_series(), 0);
}

#[test]
fn a_directory_that_is_not_sound_is_refused() {
    let (slots, mut segment, view) = segment(2, 64 << 10);
    segment.register(&NodeSpec::new("a", 1, 5, &["v"]).unwrap()).unwrap();
    for offset in [MAGIC, HASH, at::MAX_SERIES, at::LINES] {
        let (line, word) = (offset / SLOT_BYTES, offset % SLOT_BYTES / 8);
        let good = slots.load(line, word);
        slots.store(line, word, u64::MAX / 3);
        assert!(CacheView::new(slots.reader()).is_err(), "{offset}");
        slots.store(line, word, good);
    }
    let entry = 4096 / SLOT_BYTES;
    for (word, lie) in [(0, 0), (1, 17), (1, u64::MAX), (2, 0), (2, u64::MAX), (2, slots.count() as u64 - 1)]
    {
        let good = slots.load(entry, word);
        slots.store(entry, word, lie);
        assert!(view.series(0).is_none(), "{word} {lie:x}");
        slots.store(entry, word, good);
    }
    slots.store(1, 0, u64::MAX);
    assert_eq!(view.len(), 2, "no more than there can be");
    assert!(view.series(0).is_some() && view.series(1).is_none() && view.series(u32::MAX).is_none());
}

#[test]
fn nodes_that_cannot_be_registered_say_why() {
    let size = Err(SpecError::Size);
    assert_eq!(NodeSpec::new("", 1, 1, &["v"]), Err(SpecError::Id));
    assert_eq!(NodeSpec::new("a b", 1, 1, &["v"]), Err(SpecError::Id));
    assert_eq!(NodeSpec::new("ä", 1, 1, &["v"]), Err(SpecError::Id));
    assert_eq!(NodeSpec::new(&"x".repeat(250), 1, 1, &["v"]), Err(SpecError::Id));
    assert_eq!(NodeSpec::new::<&str>("a", 1, 1, &[]), size);
    assert_eq!(NodeSpec::new("a", 0, 1, &["v"]), size);
    assert_eq!(NodeSpec::new("a", 1, 10_001, &["v"]), size);
    for bad in [["v", "v"], ["v", ""], ["v", "x y"], ["v", "much_too_long_for_a_feature"]] {
        assert_eq!(NodeSpec::new("a", 1, 1, &bad), Err(SpecError::Feature(bad[1].to_owned())));
    }
}
