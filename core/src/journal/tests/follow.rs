//! The follower beside a living, lapping, dying and returning gate.

use std::time::{Duration, Instant};

use ringfence_ipc::journal::{FollowError, Follower, Record};

use super::{Place, append, read_all};
use crate::journal::{Class, open};

fn follow(follower: &mut Follower, count: usize) -> Vec<(u64, Record)> {
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut seen = Vec::new();
    while seen.len() < count {
        match follower.next().unwrap() {
            Some(found) => seen.push(found),
            None => std::thread::sleep(Duration::from_millis(1)),
        }
        assert!(Instant::now() < deadline, "{} of {count} records", seen.len());
    }
    seen
}

#[test]
fn a_lapped_follower_reads_the_archive_and_returns_to_the_ring() {
    let place = Place::new();
    let (mut writer, archiver) = open(place.options()).unwrap().start(1).unwrap();
    let mut follower = Follower::open(place.hot(), place.archive(), 0).unwrap();
    let mut log = Vec::new();
    for n in 0..5_000 {
        while !writer.room(Class::Reserved) {
            std::thread::yield_now();
        }
        append(&mut writer, n, &mut log);
        if n == 10 {
            assert_eq!(follow(&mut follower, 11), log);
        }
    }
    assert_eq!(follower.lag(), writer.position() - follower.position());
    assert_eq!(follow(&mut follower, log.len() - 11), log[11..]);
    assert!(follower.next().unwrap().is_none() && follower.lag() == 0 && !follower.is_at_close());
    append(&mut writer, 1, &mut log);
    assert_eq!(follower.next().unwrap(), log.last().copied());
    archiver.stop().unwrap();
    assert!(follower.is_at_close());
}

#[test]
fn a_follower_goes_on_across_restarts() {
    let place = Place::new();
    let mut follower = Follower::open(place.hot(), place.archive(), 0).unwrap();
    assert!(follower.next().unwrap().is_none());
    let (mut log, mut seen) = (Vec::new(), Vec::new());
    for epoch in 1..6 {
        let mut opened = open(place.options()).unwrap();
        assert_eq!(read_all(&mut opened).unwrap(), log);
        let (mut writer, archiver) = opened.start(epoch).unwrap();
        for n in 0..300 {
            while !writer.room(Class::Reserved) {
                std::thread::yield_now();
            }
            append(&mut writer, n, &mut log);
        }
        if epoch % 2 == 0 {
            seen.extend(follow(&mut follower, log.len() - seen.len() - 100));
        }
        archiver.stop().unwrap();
    }
    let missing = log.len() - seen.len();
    seen.extend(follow(&mut follower, missing));
    assert_eq!(seen, log);
    assert_eq!(follower.hot().unwrap().header().epoch, 5);
}

#[test]
fn a_follower_resumes_anywhere_and_reads_without_a_gate() {
    let place = Place::new();
    let (mut writer, archiver) = open(place.options()).unwrap().start(1).unwrap();
    let mut log = Vec::new();
    for n in 0..400 {
        while !writer.room(Class::Reserved) {
            std::thread::yield_now();
        }
        append(&mut writer, n, &mut log);
    }
    archiver.stop().unwrap();
    std::fs::remove_file(place.hot()).unwrap();
    for from in [0, 1, 77, 200, 399] {
        let mut follower = Follower::open(place.hot(), place.archive(), log[from].0).unwrap();
        assert_eq!(follow(&mut follower, log.len() - from), log[from..]);
        assert!(follower.next().unwrap().is_none());
    }
}

#[test]
fn a_position_that_did_not_survive_is_an_error() {
    let place = Place::new();
    let (_writer, _archiver) = open(place.options()).unwrap().start(1).unwrap();
    let error = Follower::open(place.hot(), place.archive(), 1_000).err().unwrap();
    assert!(matches!(error, FollowError::Ahead { position: 1_000, end: 1 }), "{error}");
}

#[test]
fn another_journal_under_the_same_path_is_an_error() {
    let (place, other) = (Place::new(), Place::new());
    let (_writer, _archiver) = open(place.options()).unwrap().start(1).unwrap();
    let mut follower = Follower::open(place.hot(), place.archive(), 0).unwrap();
    let (_writer, _archiver) = open(other.options()).unwrap().start(1).unwrap();
    std::fs::rename(other.hot(), place.hot()).unwrap();
    std::thread::sleep(Duration::from_millis(12));
    assert!(matches!(follower.next(), Err(FollowError::OtherJournal { .. })));
}
