use super::*;

/// A machine on which nothing is missing.
fn fine() -> (Machine, Needs) {
    let flags = ["constant_tsc", "nonstop_tsc"].into_iter().chain(CPU_FLAGS).map(str::to_owned).collect();
    let fs = |is_tmpfs| Some(FileSystem { at: "/somewhere".into(), is_tmpfs, free_bytes: 64 << 30 });
    let machine = Machine {
        kernel: Some("6.1.0-18-amd64".into()),
        cpu_flags: flags,
        cpus: vec![0, 1, 2, 3],
        isolated: vec![3],
        governors: vec!["performance".into()],
        clock_source: Some("tsc".into()),
        huge_pages: Some("madvise".into()),
        lockable_bytes: u64::MAX,
        open_files: 1 << 20,
        load: Some(0.1),
        run_fs: fs(true),
        data_fs: fs(false),
        run_dir: Some(Access { mode: 0o750, uid: 7 }),
        socket: Some(Access { mode: 0o660, uid: 7 }),
        uid: 7,
        ..Machine::default()
    };
    let needs = Needs {
        wait: Wait::Spin,
        pin: Some(3),
        run_dir: "/dev/shm/x".into(),
        hot_bytes: 256 << 20,
        disk_bytes: 512 << 20,
        max_clients: 64,
        rings_bytes: 32 << 20,
    };
    (machine, needs)
}

/// What `check` says once `change` has been made to a machine on which nothing is missing.
fn after(check: &str, change: impl FnOnce(&mut Machine, &mut Needs)) -> Finding {
    let (mut machine, mut needs) = fine();
    change(&mut machine, &mut needs);
    all(&machine, &needs).into_iter().find(|finding| finding.check == check).unwrap()
}

#[test]
fn a_machine_without_flaws_has_none() {
    let (machine, needs) = fine();
    for finding in all(&machine, &needs) {
        assert_eq!(finding.verdict, Verdict::Good, "{finding:?}");
        assert!(finding.advice.is_empty(), "{finding:?}");
    }
}

#[test]
fn every_lack_is_named_with_what_to_do() {
    type Change = fn(&mut Machine, &mut Needs);
    let lacks: [(&str, Verdict, Change); 22] = [
        ("kernel", Verdict::Slow, |m, _| m.kernel = Some("5.10.0".into())),
        ("kernel", Verdict::Broken, |m, _| m.kernel = Some("4.19.0-amd64".into())),
        ("cpu-level", Verdict::Broken, |m, _| m.cpu_flags.retain(|flag| flag != "bmi2")),
        ("tsc", Verdict::Slow, |m, _| m.cpu_flags.retain(|flag| flag != "nonstop_tsc")),
        ("clock-source", Verdict::Slow, |m, _| m.clock_source = Some("hpet".into())),
        ("cpus", Verdict::Broken, |m, _| m.cpus = vec![3]),
        ("cpus", Verdict::Slow, |m, n| (m.cpus, n.wait) = (vec![3], Wait::Park)),
        ("pin", Verdict::Slow, |_, n| n.pin = None),
        ("pin", Verdict::Broken, |_, n| n.pin = Some(9)),
        ("isolation", Verdict::Slow, |m, _| m.isolated.clear()),
        ("isolation", Verdict::Slow, |_, n| n.pin = Some(1)),
        ("governor", Verdict::Slow, |m, _| m.governors = vec!["powersave".into()]),
        ("huge-pages", Verdict::Slow, |m, _| m.huge_pages = Some("never".into())),
        ("memlock", Verdict::Slow, |m, _| m.lockable_bytes = 8 << 20),
        ("swap", Verdict::Slow, |m, _| m.swaps = 1),
        ("open-files", Verdict::Broken, |m, _| m.open_files = 256),
        ("run-dir", Verdict::Slow, |m, _| m.run_fs.as_mut().unwrap().is_tmpfs = false),
        ("data-disk", Verdict::Broken, |m, _| m.data_fs.as_mut().unwrap().free_bytes = 1 << 20),
        ("permissions", Verdict::Broken, |m, _| m.run_dir.as_mut().unwrap().mode = 0o777),
        ("permissions", Verdict::Broken, |m, _| m.run_dir.as_mut().unwrap().uid = 8),
        ("permissions", Verdict::Broken, |m, _| m.socket.as_mut().unwrap().mode = 0o666),
        ("load-and-port", Verdict::Slow, |m, _| m.load = Some(9.0)),
    ];
    for (check, verdict, change) in lacks {
        let finding = after(check, change);
        assert_eq!(finding.verdict, verdict, "{finding:?}");
        assert!(!finding.advice.is_empty(), "{finding:?}");
    }
}

#[test]
fn a_small_tmpfs_is_broken_unless_the_gate_already_lives_there() {
    let small = |m: &mut Machine| m.run_fs.as_mut().unwrap().free_bytes = 64 << 20;
    assert_eq!(after("run-dir", |m, _| small(m)).verdict, Verdict::Good);
    let empty = after("run-dir", |m, _| {
        small(m);
        m.socket = None;
    });
    assert_eq!(empty.verdict, Verdict::Broken);
}

#[test]
fn a_taken_port_matters_only_where_no_gate_runs() {
    let taken = |m: &mut Machine| m.port = Some("something listens there already".into());
    assert_eq!(after("load-and-port", |m, _| taken(m)).verdict, Verdict::Good);
    let other = after("load-and-port", |m, _| {
        taken(m);
        m.socket = None;
    });
    assert_eq!(other.verdict, Verdict::Slow);
}

#[test]
fn a_machine_that_says_nothing_breaks_nothing() {
    let (_, needs) = fine();
    for finding in all(&Machine::default(), &needs) {
        assert!(!finding.found.is_empty(), "{finding:?}");
    }
}
