//! Misbehaviour of disks, clocks and people, against real files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::time::DAY_US;
use super::*;

/// 2026-11-21T00:00:00Z
const TODAY_US: u64 = 20_778 * DAY_US;

/// A log in a directory of its own, with a clock that the test turns.
struct Desk {
    dir: TempDir,
    clock: Arc<AtomicU64>,
    options: AuditOptions,
    open: Option<(AuditLog, Auditing)>,
}

impl Desk {
    fn new(edit: impl FnOnce(&mut AuditOptions)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(AtomicU64::new(TODAY_US));
        let told = Arc::clone(&clock);
        let mut options = AuditOptions::new(dir.path());
        options.clock = Arc::new(move || told.fetch_add(1, Ordering::Relaxed));
        // Sweeps are the test's own.
        options.sweep_interval = Duration::from_secs(3600);
        edit(&mut options);
        let mut desk = Self { dir, clock, options, open: None };
        desk.start();
        desk
    }

    fn start(&mut self) {
        self.open = Some(AuditLog::start(self.options.clone()).unwrap());
    }

    fn stop(&mut self) {
        self.open = None;
    }

    fn log(&self) -> &AuditLog {
        &self.open.as_ref().unwrap().0
    }

    /// Records so many, and waits until they are on disk.
    fn write(&self, log_type: LogType, count: usize) {
        let mut last = None;
        for i in 0..count {
            let mut details = Object::default();
            details.put("i", &i);
            last = Some(slot(self.log()).write_durably(Entry::system(log_type, "test", &details)));
        }
        if let Some(on_disk) = last {
            on_disk.blocking_recv().unwrap();
        }
    }

    fn verify(&self) -> Verification {
        verify(self.dir.path(), |_, _| {}).unwrap()
    }

    fn why(&self) -> String {
        let found = self.verify();
        let bad = found.bad.or_else(|| found.series.into_iter().find_map(|series| series.bad));
        bad.map_or_else(String::new, |bad| format!("{} {:?} {}", bad.file, bad.line, bad.why))
    }

    fn files(&self) -> Vec<LogFile> {
        list(self.dir.path()).unwrap()
    }

    fn path(&self, file: &LogFile) -> PathBuf {
        file.path(self.dir.path())
    }

    fn next_day(&self, days: u64) {
        self.clock.fetch_add(days * DAY_US, Ordering::Relaxed);
    }
}

fn entry(log_type: LogType, action: &'static str) -> Entry {
    Entry::system(log_type, action, &Object::default())
}

fn slot(log: &AuditLog) -> Slot {
    let mut found = None;
    until("a place", || {
        found = log.reserve().ok();
        found.is_some()
    });
    found.unwrap()
}

fn until(what: &str, mut ready: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !ready() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A stopped log of three files, the first of them archived.
fn three_files() -> Desk {
    let mut desk = Desk::new(|_| {});
    desk.write(LogType::Order, 4);
    for _ in 0..2 {
        desk.next_day(1);
        desk.write(LogType::Order, 3);
        let swept = desk.log().sweep();
        assert!(swept.errors.is_empty(), "{swept:?}");
    }
    desk.stop();
    let archived: Vec<bool> = desk.files().iter().map(|file| file.archived).collect();
    assert_eq!(archived, [true, true, false]);
    assert_eq!(desk.why(), "");
    desk
}

fn lines(path: &Path) -> Vec<Vec<u8>> {
    std::fs::read(path).unwrap().split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

#[test]
fn flips_any_byte() {
    let desk = three_files();
    let mut paths: Vec<PathBuf> = desk.files().iter().map(|file| desk.path(file)).collect();
    paths.push(desk.dir.path().join("heads"));
    for path in paths {
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            for by in [0x20, 0xff] {
                let mut bytes = good.clone();
                bytes[at] ^= by;
                std::fs::write(&path, &bytes).unwrap();
                // The last bits before an archive's checksum and length only fill a byte.
                let archive = path.extension().is_some_and(|end| end == "gz");
                let fills = archive && by == 0x20 && at == good.len() - 9;
                assert!(fills || !desk.verify().holds(), "{}: byte {at} ^ {by:#x}", path.display());
            }
        }
        std::fs::write(&path, &good).unwrap();
    }
    assert_eq!(desk.why(), "");
}

#[test]
fn removes_any_line_or_swaps_two() {
    let desk = three_files();
    let path = desk.path(desk.files().last().unwrap());
    let good = lines(&path);
    for at in 0..good.len() {
        let mut less = good.clone();
        less.remove(at);
        std::fs::write(&path, less.concat()).unwrap();
        assert!(!desk.verify().holds(), "line {at} removed");
        let mut twice = good.clone();
        twice.insert(at, good[at].clone());
        std::fs::write(&path, twice.concat()).unwrap();
        assert!(!desk.verify().holds(), "line {at} twice");
    }
    for at in 1..good.len() {
        let mut swapped = good.clone();
        swapped.swap(at - 1, at);
        std::fs::write(&path, swapped.concat()).unwrap();
        assert!(!desk.verify().holds(), "lines {at} and the one before swapped");
    }
}

#[test]
fn truncates_at_any_byte() {
    let desk = three_files();
    for file in desk.files() {
        let path = desk.path(&file);
        let good = std::fs::read(&path).unwrap();
        for length in 0..good.len() {
            std::fs::write(&path, &good[..length]).unwrap();
            assert!(!desk.verify().holds(), "{} cut to {length} of {}", file.name(), good.len());
        }
        std::fs::write(&path, &good).unwrap();
    }
}

#[test]
fn removes_any_file() {
    let desk = three_files();
    for file in desk.files() {
        let (path, aside) = (desk.path(&file), desk.dir.path().join("aside"));
        std::fs::rename(&path, &aside).unwrap();
        assert!(!desk.verify().holds(), "{} removed", file.name());
        std::fs::rename(&aside, &path).unwrap();
    }
    std::fs::remove_file(desk.dir.path().join("heads")).unwrap();
    assert!(desk.why().contains("heads"), "{}", desk.why());
}

#[test]
fn writes_the_chain_anew_from_the_middle() {
    let desk = three_files();
    let file = *desk.files().last().unwrap();
    let good = lines(&desk.path(&file));
    let (_, mut last) = record::check_line(good[0].strip_suffix(b"\n").unwrap()).unwrap();
    let mut forged = good[0].clone();
    for _ in 1..good.len() {
        let (line, hash) = entry(LogType::Order, "forged").line(file.day * DAY_US, &last);
        forged.extend(line);
        last = hash;
    }
    std::fs::write(desk.path(&file), forged).unwrap();
    assert!(desk.why().contains("not the one that was synced"), "{}", desk.why());
}

#[test]
fn dies_in_the_middle_of_a_line() {
    let mut desk = Desk::new(|_| {});
    desk.write(LogType::Auth, 3);
    desk.stop();
    let path = desk.path(&desk.files()[0]);
    let mut torn = std::fs::read(&path).unwrap();
    let whole = torn.len() as u64;
    torn.extend_from_slice(br#"{"timestamp":17"#);
    std::fs::write(&path, &torn).unwrap();
    let found = desk.verify();
    assert!(found.holds());
    assert_eq!(found.series[0].torn_bytes, torn.len() as u64 - whole);
    desk.start();
    desk.write(LogType::Auth, 1);
    desk.stop();
    let said = String::from_utf8(lines(&path)[3].clone()).unwrap();
    assert!(said.contains(r#""action":"audit_torn_line_cut""#) && said.contains(r#""bytes":15"#), "{said}");
    let found = desk.verify();
    assert!(found.holds());
    assert_eq!((found.series[0].records, found.series[0].torn_bytes), (5, 0));
}

#[test]
fn a_broken_chain_is_said_and_never_mended() {
    for harm in ["flip", "truncate", "remove"] {
        let mut desk = Desk::new(|_| {});
        desk.write(LogType::Order, 5);
        desk.stop();
        let path = desk.path(&desk.files()[0]);
        let mut bytes = std::fs::read(&path).unwrap();
        match harm {
            "flip" => bytes[400] ^= 1,
            "truncate" => bytes = lines(&path)[..4].concat(),
            _ => {}
        }
        std::fs::write(&path, &bytes).unwrap();
        if harm == "remove" {
            std::fs::remove_file(&path).unwrap();
        }
        desk.start();
        desk.write(LogType::Order, 2);
        assert_eq!(desk.log().status().broken.len(), 1, "{harm}");
        desk.stop();
        if harm != "remove" {
            assert_eq!(std::fs::read(&path).unwrap(), bytes, "the harmed file stays as it is");
        }
        assert!(!desk.verify().holds(), "{harm}: a new start does not mend it");
        desk.start();
        desk.write(LogType::Order, 2);
        desk.stop();
        assert!(!desk.verify().holds(), "{harm}: nor does another");
    }
}

#[test]
fn a_file_ends_at_its_size_and_the_chain_goes_on() {
    let mut desk = Desk::new(|options| options.max_file_bytes = 4096);
    desk.write(LogType::Order, 100);
    let files = desk.files();
    assert!(files.len() > 5);
    for file in &files {
        // It may be compressed between two looks.
        let found = [*file, file.archived(true)].iter().find_map(|file| desk.path(file).metadata().ok());
        assert!(found.unwrap().len() <= 4096, "{}", file.name());
    }
    assert_eq!(
        files.iter().map(|file| file.number).collect::<Vec<_>>(),
        (1..=files.len() as u64).collect::<Vec<_>>()
    );
    desk.stop();
    assert_eq!(desk.verify().series[1].records, 100);
    desk.start();
    desk.write(LogType::Order, 1);
    desk.stop();
    assert_eq!((desk.why(), desk.verify().series[1].records), (String::new(), 101));
}

#[test]
fn a_file_ends_at_midnight() {
    let desk = Desk::new(|_| {});
    desk.clock.store(TODAY_US + DAY_US - 10_000_000, Ordering::Relaxed);
    desk.write(LogType::Order, 1);
    desk.clock.store(TODAY_US + DAY_US, Ordering::Relaxed);
    desk.write(LogType::Order, 1);
    let days: Vec<u64> = desk.files().iter().map(|file| file.day - TODAY_US / DAY_US).collect();
    assert_eq!(days, [0, 1]);
    // Also where nobody writes any more.
    desk.next_day(1);
    until("the idle file ends", || {
        let _ = desk.log().sweep();
        desk.files().iter().all(|file| file.archived)
    });
    assert_eq!(desk.why(), "");
    desk.write(LogType::Order, 1);
    assert_eq!((desk.files().len(), desk.why()), (3, String::new()));
}

#[test]
fn retention_removes_exactly_what_is_due() {
    let mut desk = Desk::new(|_| {});
    for day in 0..8 {
        desk.clock.store(TODAY_US + day * DAY_US, Ordering::Relaxed);
        for log_type in LogType::ALL {
            desk.write(log_type, 2);
        }
    }
    desk.stop();
    desk.options.retain = [10, 20, 20, 3, 5].map(|days| DAY * days);
    // One second before day 8 begins, what ended 3 days before is that of day 3 and earlier.
    desk.clock.store(TODAY_US + 8 * DAY_US - 1_000_000, Ordering::Relaxed);
    desk.start();
    let kept = |desk: &Desk, log_type: LogType| -> Vec<u64> {
        let files = desk.files().into_iter().filter(|file| file.log_type == log_type);
        files.map(|file| file.day - TODAY_US / DAY_US).collect()
    };
    let sweep = |desk: &Desk| {
        let swept = desk.log().sweep();
        assert!(swept.errors.is_empty() && !swept.more, "{swept:?}");
    };
    sweep(&desk);
    assert_eq!(kept(&desk, LogType::Access), [4, 5, 6, 7]);
    assert_eq!(kept(&desk, LogType::Error), [2, 3, 4, 5, 6, 7]);
    assert_eq!(kept(&desk, LogType::Auth), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(desk.why(), "");
    desk.clock.store(TODAY_US + 8 * DAY_US, Ordering::Relaxed);
    sweep(&desk);
    assert_eq!(kept(&desk, LogType::Access), [5, 6, 7, 8]);
    assert_eq!(kept(&desk, LogType::Error), [3, 4, 5, 6, 7, 8]);
    desk.stop();
    assert_eq!(desk.why(), "");
    // What retention did not remove is a theft.
    let first = *desk.files().iter().find(|file| file.log_type == LogType::Access).unwrap();
    std::fs::remove_file(desk.path(&first)).unwrap();
    assert!(desk.why().contains("retention did not remove it"), "{}", desk.why());
}

#[test]
fn a_sweep_that_was_interrupted_is_done_again() {
    let mut desk = three_files();
    let archived = desk.files()[0];
    // It died after the archive was there, and before the file was removed; and within another archive.
    let mut text = Vec::new();
    let packed = std::fs::File::open(desk.path(&archived)).unwrap();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(packed), &mut text).unwrap();
    std::fs::write(desk.path(&archived.archived(false)), text).unwrap();
    std::fs::write(desk.dir.path().join("order-00000009-20261121.ndjson.gz.tmp"), "half").unwrap();
    assert_eq!((desk.files().len(), desk.why()), (3, String::new()));
    desk.next_day(1);
    desk.start();
    until("all is archived", || {
        let _ = desk.log().sweep();
        desk.files().iter().all(|file| file.archived && !desk.path(&file.archived(false)).exists())
    });
    desk.stop();
    assert!(desk.files().iter().all(|file| file.archived));
    assert_eq!((desk.files().len(), desk.why()), (3, String::new()));
    assert!(
        std::fs::read_dir(desk.dir.path()).unwrap().all(|e| !e
            .unwrap()
            .file_name()
            .to_string_lossy()
            .ends_with(".tmp"))
    );
}

#[test]
fn a_full_queue_gives_no_place_until_one_is_free() {
    let desk = Desk::new(|options| options.queue = 3);
    let mut slots: Vec<Slot> = (0..3).map(|_| desk.log().reserve().unwrap()).collect();
    assert_eq!(desk.log().reserve().err(), Some(Unavailable::Full));
    drop(slots.pop());
    slots.push(desk.log().reserve().unwrap());
    assert_eq!(desk.log().status().refused, 1);
    for slot in slots {
        slot.write_durably(entry(LogType::Order, "test")).blocking_recv().unwrap();
    }
    until("places are free", || desk.log().status().queue_depth == 0);
    assert_eq!(desk.verify().series[1].records, 3);
}

#[test]
fn a_full_disk_loses_nothing_and_refuses_what_comes_next() {
    let mut desk = Desk::new(|_| {});
    desk.stop();
    // The log goes on with an empty file, and writing there fails as on a full disk.
    let file = LogFile { log_type: LogType::Order, number: 1, day: TODAY_US / DAY_US, archived: false };
    std::fs::write(desk.path(&file), "").unwrap();
    desk.start();
    std::fs::remove_file(desk.path(&file)).unwrap();
    std::os::unix::fs::symlink("/dev/full", desk.path(&file)).unwrap();
    let mut waits = slot(desk.log()).write_durably(entry(LogType::Order, "first"));
    until("the log fails", || desk.log().reserve().is_err());
    assert!(matches!(desk.log().reserve(), Err(Unavailable::Failing(_))));
    assert!(desk.log().status().failing.is_some());
    assert!(waits.try_recv().is_err(), "it is not on disk");
    assert_eq!(desk.log().query(&Query::default(), || false).unwrap().total, 0, "reads go on");
    std::fs::remove_file(desk.path(&file)).unwrap();
    std::fs::write(desk.path(&file), "").unwrap();
    waits.blocking_recv().unwrap();
    desk.write(LogType::Order, 1);
    assert_eq!((desk.why(), desk.verify().series[1].records), (String::new(), 2));
}

#[test]
fn too_little_free_space_refuses_before_the_disk_is_full() {
    let desk = Desk::new(|options| options.min_free_bytes = u64::MAX);
    until("the log refuses", || desk.log().reserve().is_err());
    assert!(desk.log().status().failing.unwrap().contains("audit.min_free"));
}

#[test]
fn a_second_writer_is_refused() {
    let desk = Desk::new(|_| {});
    let refused = AuditLog::start(desk.options.clone()).err().unwrap();
    assert!(refused.to_string().contains("another process"), "{refused}");
}

#[test]
fn a_record_is_on_disk_in_time() {
    let desk = Desk::new(|_| {});
    desk.write(LogType::Order, 1);
    assert!(slot(desk.log()).write(entry(LogType::Order, "late")).is_none(), "orders do not wait");
    // The heads tell what is synced.
    let synced = || heads::read(desk.dir.path()).unwrap().unwrap()[LogType::Order.index()].records;
    let written = || desk.log().status().written[LogType::Order.index()];
    until("it is written", || written() == 2);
    let began = Instant::now();
    until("it is synced", || synced() == 2);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[test]
fn questions_are_answered_newest_first_over_all_files_while_others_write() {
    let desk = Desk::new(|options| options.max_file_bytes = 64 << 10);
    desk.write(LogType::Order, 900);
    desk.next_day(1);
    desk.write(LogType::Access, 100);
    let _ = desk.log().sweep();
    assert!(desk.files().iter().any(|file| file.archived) && desk.files().iter().any(|file| !file.archived));
    let log = desk.log().clone();
    let writing = std::thread::spawn(move || {
        for _ in 0..2000 {
            drop(slot(&log).write(entry(LogType::Error, "noise")));
        }
    });
    let ask = |edit: &dyn Fn(&mut Query)| {
        let mut query = Query::default();
        edit(&mut query);
        desk.log().query(&query, || false).unwrap()
    };
    let number = |record: &serde_json::value::RawValue| -> (String, u64) {
        let value: Value = serde_json::from_str(record.get()).unwrap();
        (value["log_type"].as_str().unwrap().to_owned(), value["details"]["i"].as_u64().unwrap())
    };
    for _ in 0..20 {
        let page = ask(&|q| (q.action, q.limit, q.offset) = (Some("test".into()), 5, 98));
        let told: Vec<_> = page.logs.iter().map(|record| number(record)).collect();
        let expected = [("access", 1), ("access", 0), ("order", 899), ("order", 898), ("order", 897)];
        assert_eq!(told, expected.map(|(log_type, i)| (log_type.to_owned(), i)));
        assert_eq!((page.total, page.unreadable), (1000, 0));
    }
    let only = ask(&|q| (q.log_type, q.offset, q.limit) = (Some(LogType::Order), 899, 10));
    assert_eq!((only.logs.len(), only.total), (1, 900));
    assert_eq!(ask(&|q| (q.log_type, q.end_us) = (Some(LogType::Order), TODAY_US)).total, 0);
    assert_eq!(ask(&|q| (q.action, q.start_us) = (Some("test".into()), TODAY_US + DAY_US)).total, 100);
    assert_eq!(ask(&|q| q.user_id = Some("nobody".into())).total, 0);
    writing.join().unwrap();
    assert!(matches!(desk.log().query(&Query::default(), || true), Err(QueryError::Stopped)));
}
