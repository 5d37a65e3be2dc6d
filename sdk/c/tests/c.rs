//! The library as a C program meets it: the header is current, the example trades with a real gate and survives its
//! death, and a program that gets everything wrong gets errors.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use ringfence_ipc::client::AttachOptions;
use ringfence_ipc::feed::FeedClient;
use ringfence_ipc::handshake::Role;
use ringfence_ipc::journal::Record;
use ringfence_ipc::msg::{IntentKind, Outcome, Quote};
use ringfence_tests::process::workspace;
use ringfence_tests::skipped;
use ringfence_tests::world::{PATIENCE, World};

/// What every Rust static library asks of the system.
const SYSTEM_LIBRARIES: [&str; 5] = ["-lgcc_s", "-lpthread", "-lm", "-ldl", "-lc"];

/// The static library, built beside this test in the same profile.
fn library() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let test = std::env::current_exe().unwrap();
        let profile = test.parent().and_then(Path::parent).unwrap();
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "ringfence-c", "--target-dir"]);
        build.arg(profile.parent().unwrap());
        if profile.file_name().is_some_and(|name| name != "debug") {
            build.arg("--profile").arg(profile.file_name().unwrap());
        }
        assert!(build.current_dir(workspace()).status().unwrap().success(), "the library does not build");
        profile.join("libringfence_c.a")
    })
}

/// Compiles `source` with every warning an error. `None`: there is no C compiler.
fn compiled(source: &str, dir: &Path) -> Option<PathBuf> {
    let program = dir.join("program");
    let mut cc = Command::new("cc");
    cc.args([
        "-std=c11",
        "-D_POSIX_C_SOURCE=200809L",
        "-O1",
        "-Wall",
        "-Wextra",
        "-Wpedantic",
        "-Werror",
        "-I",
    ]);
    cc.arg(workspace().join("ipc/include")).arg(workspace().join(source)).arg(library());
    cc.args(SYSTEM_LIBRARIES).arg("-o").arg(&program);
    match cc.output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{source} does not compile:\n{said}");
            Some(program)
        }
        Err(error) => {
            skipped("c", &format!("cc: {error} (apt-get install gcc libc6-dev)"));
            None
        }
    }
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// One quote, so that the gate has a reference; the feed stays attached.
fn quoted(world: &World) -> FeedClient {
    let options = AttachOptions { role: Role::Feed, ..world.options("feed") };
    let mut feed = FeedClient::attach(options, PATIENCE).unwrap();
    let quote = Quote {
        symbol: 0,
        event: feed.next_event(),
        ts_ns: feed.now_ns(),
        bid_price: 6_000_000,
        bid_qty: 1_000_000,
        ask_price: 6_000_100,
        ask_qty: 1_000_000,
    };
    feed.publish(&[quote.encode()]).unwrap();
    ringfence_tests::await_that("the quote is applied", PATIENCE, || feed.market().latest_event() > 0);
    feed
}

#[test]
fn header_is_current() {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(crate_dir.join("cbindgen.toml")).unwrap();
    let bindings = cbindgen::Builder::new().with_crate(crate_dir).with_config(config).generate().unwrap();
    let mut fresh = Vec::new();
    bindings.write(&mut fresh);
    let path = workspace().join("ipc/include/ringfence.h");
    if std::env::var_os("RINGFENCE_WRITE_HEADER").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &fresh).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stored == String::from_utf8(fresh).unwrap(),
        "{} is not what sdk/c says: RINGFENCE_WRITE_HEADER=1 cargo test -p ringfence-c header",
        path.display()
    );
}

#[test]
fn the_example_trades_with_a_real_gate() {
    let world = World::new(|_| ());
    let Some(program) = compiled("examples/c/quote.c", world.dir()) else { return };
    let gate = world.start_here();
    let _feed = quoted(&world);
    let output =
        Command::new(&program).arg(world.config.socket_path()).args(["BTCUSDT", "20"]).output().unwrap();
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    let count = |what: &str| said.lines().filter(|line| line.starts_with(what)).count();
    assert_eq!((count("accepted: order"), count("cancel accepted")), (20, 20), "{said}");
    gate.stop();
    let decided = |kind: IntentKind| {
        let is_one = |record: &Record| matches!(record, Record::Decision(d) if d.intent.kind == kind && d.outcome == Outcome::Accepted);
        world.journal().iter().filter(|(_, record)| is_one(record)).count()
    };
    assert_eq!((decided(IntentKind::New), decided(IntentKind::Cancel)), (20, 20));
}

#[test]
fn the_example_survives_the_gate() {
    let world = World::new(|_| ());
    let Some(program) = compiled("examples/c/quote.c", world.dir()) else { return };
    let core = world.start_ready();
    let mut child = Command::new(&program)
        .arg(world.config.socket_path())
        .args(["BTCUSDT", "3000"])
        .stdout(Stdio::from(std::fs::File::create(world.dir().join("said")).unwrap()))
        .spawn()
        .unwrap();
    let said = || std::fs::read_to_string(world.dir().join("said")).unwrap_or_default();
    ringfence_tests::await_that("it trades", PATIENCE, || {
        world.journal().iter().filter(|(_, record)| matches!(record, Record::Decision(_))).count() > 20
    });
    core.kill();
    let core = world.start_ready();
    let deadline = Instant::now() + 3 * PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            let _ = child.kill();
            panic!("it does not end:\n{}", said());
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let said = said();
    assert!(status.success(), "{said}");
    assert!(said.contains("the gate is gone: resuming"), "it did not notice:\n{said}");
    let answers =
        said.lines().filter(|line| line.starts_with("accepted: order") || line.starts_with("rejected:"));
    assert_eq!(answers.count(), 3000, "every bid has one answer");
    assert!(core.stop(PATIENCE).success());
}

#[test]
fn a_program_that_gets_everything_wrong_gets_errors() {
    let world = World::new(|_| ());
    let Some(program) = compiled("sdk/c/tests/hostile.c", world.dir()) else { return };
    let gate = world.start_here();
    let output = Command::new(&program).arg(world.config.socket_path()).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    gate.stop();
}
