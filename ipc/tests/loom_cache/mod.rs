//! The node cache: every interleaving of its writer and a reader with at most two preemptions.

use loom::thread;
use ringfence_ipc::cache::{Newest, Place, ReadError, SeriesView, SeriesWriter, Shape, Stamp, WindowBuffer};
use ringfence_ipc::view::WriteSlots;

use super::explore;

const NS: u64 = 1_000_000_000;

/// A series of two buckets in a ring of three, with buckets 7 and 8 in it. A value is its bucket's number, and both
/// features are the same.
fn series() -> (SeriesWriter, SeriesView) {
    let shape = Shape::with_buckets(1, 2, 2, 3).unwrap();
    let block = WriteSlots::heap(shape.lines());
    let view = SeriesView::new(block.reader(), shape).unwrap();
    let mut writer = SeriesWriter::new(block, shape);
    writer.claim(7);
    writer.publish(Place::new(7, 1, 1), &row(7, 7));
    writer.claim(8);
    writer.close(1, &row(7, 7));
    writer.publish(Place::new(8, 2, 2), &row(8, 8));
    (writer, view)
}

fn row(bucket: u64, value: u64) -> [u64; 3] {
    let bits = (value as f64).to_bits();
    [Stamp::live(bucket * NS + value).0, bits, bits]
}

/// Every bucket of the window holds one whole value, of its own bucket.
fn whole(view: &SeriesView) -> Result<[f64; 2], ReadError> {
    let mut buffer = WindowBuffer::default();
    let window = view.window(2, &mut buffer)?;
    let value = |at: usize| {
        let value = window.value(at, 0);
        assert_eq!(value.to_bits(), window.value(at, 1).to_bits(), "torn");
        assert_eq!(
            window.stamp(at),
            Stamp::live((window.newest_bucket() + at as u64 - 1) * NS + value as u64)
        );
        value
    };
    Ok([value(0), value(1)])
}

#[test]
fn a_window_is_whole_while_the_ring_comes_round_to_it() {
    explore(Some(2), || {
        let (mut writer, view) = series();
        let thread = thread::spawn(move || {
            // Bucket 8 goes into the last free slot, bucket 9 over the window's oldest.
            for bucket in 9..=10u64 {
                writer.claim(bucket);
                writer.close(((bucket - 1) % 3) as u32, &row(bucket - 1, bucket - 1));
                writer.publish(Place::new(bucket, (bucket % 3) as u32, 2), &row(bucket, bucket));
            }
        });
        if let Ok([older, newest]) = whole(&view) {
            assert!(newest == older + 1.0 && (8.0..=10.0).contains(&newest), "{older} {newest}");
        }
        thread.join().unwrap();
        assert_eq!(whole(&view), Ok([9.0, 10.0]));
    });
}

#[test]
fn a_window_is_whole_while_a_closed_bucket_is_corrected() {
    explore(Some(2), || {
        let (writer, view) = series();
        let thread = thread::spawn(move || {
            writer.begin_backfill();
            writer.close(1, &row(7, 70));
            writer.end_backfill();
        });
        if let Ok([older, newest]) = whole(&view) {
            assert!((older == 7.0 || older == 70.0) && newest == 8.0);
        }
        let peek = view.peek(2);
        if let Ok(peek) = &peek {
            let (first, second) = (peek.value(0, 0), peek.value(0, 1));
            assert!(!peek.holds() || first == second, "{first:?} {second:?}");
        }
        thread.join().unwrap();
        assert_eq!(whole(&view), Ok([70.0, 8.0]));
    });
}

#[test]
fn the_newest_value_is_polled_whole() {
    explore(Some(2), || {
        let (mut writer, view) = series();
        let mut newest = Newest::default();
        assert!(view.poll(&mut newest));
        let thread = thread::spawn(move || {
            (80..=84).for_each(|value| writer.publish(Place::new(8, 2, 2), &row(8, value)));
        });
        let before = newest.version;
        if view.poll(&mut newest) {
            assert!(newest.version > before);
            assert_eq!(newest.value(0).to_bits(), newest.value(1).to_bits(), "torn");
            assert_eq!(newest.stamp(), Stamp::live(8 * NS + newest.value(0) as u64));
        }
        thread.join().unwrap();
    });
}
