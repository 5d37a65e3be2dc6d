//! The hot ring by itself: laps, half-written records, a reader that is overtaken.

use ringfence_ipc::journal::hot::{CONTINUATION, HOT_HEADER_BYTES, HotReader, Look};
use ringfence_ipc::journal::{MAX_RECORD_SLOTS, Record};
use ringfence_ipc::segment::Mapping;
use std::time::{Duration, Instant};

use super::sim::Sim;
use super::{Place, close_record, record};
use crate::journal::{Class, open_on};

#[test]
fn dies_mid_write_is_invisible() {
    let place = Place::new();
    let (mut writer, _pump) = open_on(Sim::new(), place.options()).unwrap().start_parts(1).unwrap();
    let end = writer.append(&record(2).encode()) + MAX_RECORD_SLOTS as u64;
    let mapping = Mapping::open_file(&place.hot(), true).unwrap();
    let slots = mapping.write_slots(HOT_HEADER_BYTES, 1024).unwrap();
    slots.publish(end as usize + 1, (end + 2) | CONTINUATION);
    let reader = HotReader::of(&mapping).unwrap();
    assert!(matches!(reader.look(end), Look::NotYet));
    // A head whose continuation is another one's is damage.
    slots.publish(end as usize, (end + 1) | 2 << 61);
    assert!(matches!(reader.look(end), Look::Damaged));
    slots.publish(end as usize, (end + 1) | CONTINUATION);
    assert!(matches!(reader.look(end), Look::Damaged));
}

#[test]
fn the_end_is_found_at_every_fill() {
    let place = Place::new();
    let (mut writer, mut pump) = open_on(Sim::new(), place.options()).unwrap().start_parts(1).unwrap();
    let reader = HotReader::open(&place.hot()).unwrap();
    for n in 0..3_000 {
        assert_eq!(reader.end(), writer.position());
        if !writer.room(Class::Reserved) {
            pump.step(Instant::now(), false).unwrap();
            assert!(writer.room(Class::Reserved));
        }
        writer.append(&close_record(n).encode());
    }
    assert!(matches!(reader.look(1), Look::Overwritten));
}

#[test]
fn a_reader_that_is_overtaken_never_sees_a_mixture() {
    let place = Place::new();
    let (mut writer, mut pump) = open_on(Sim::new(), place.options()).unwrap().start_parts(1).unwrap();
    let reader = HotReader::open(&place.hot()).unwrap();
    let deadline = Instant::now() + Duration::from_millis(300);
    // One slot of every lap is copied over and over while the writer comes round to it.
    let reading = std::thread::spawn(move || {
        let (mut copies, mut position) = (0u64, 1);
        while Instant::now() < deadline {
            for _ in 0..256 {
                match reader.look(position) {
                    Look::Record(found) => {
                        // Key and client time stand in the first slot, gate time in the second.
                        let (n, slots) = ((position - 1) / 2, found.slots());
                        assert_eq!((slots[0][2], slots[0][6], slots[1][1], slots[1][6]), (n, n, n, n));
                        copies += 1;
                    }
                    Look::Overwritten => position += 1024,
                    Look::NotYet => std::hint::spin_loop(),
                    Look::Damaged => panic!("damaged at {position}"),
                }
            }
        }
        copies
    });
    let mut n = 0;
    while !reading.is_finished() {
        while writer.room(Class::Reserved) {
            writer.append(&Record::Decision(super::decision(n, false)).encode());
            n += 1;
        }
        pump.step(Instant::now(), false).unwrap();
    }
    assert!(reading.join().unwrap() > 100);
}
