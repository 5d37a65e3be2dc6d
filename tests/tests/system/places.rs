//! Where a gate may not run, and how it says so.

use std::process::{Command, Output};

use ringfence_ipc::counters::Counter;
use ringfence_ipc::handshake::socket;
use ringfence_ipc::msg::{DurabilityTier, Intent, Outcome, Side};
use ringfence_tests::audit::Ledger;
use ringfence_tests::process::{ringfence, run};
use ringfence_tests::world::{PATIENCE, World};
use ringfence_tests::{await_that, process::Process, skipped};

use ringfence_ipc::client::{Client, Event};
use ringfence_ipc::msg::Decision;
use ringfence_ipc::reason::Reason;

/// Starts a gate that must refuse to, and returns what it says.
fn refusal(world: &World) -> String {
    let output = run(&["core", "--config", &world.config_path().display().to_string()], &[]);
    said(&output)
}

fn said(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "it started: {text}");
    text
}

/// One order, decided.
fn decide(client: &mut Client, key: u128) -> Decision {
    client.submit(&Intent::limit(0, Side::Buy, 100, 1000, key, client.now_ns())).unwrap();
    decided(client)
}

fn decided(client: &mut Client) -> Decision {
    let mut decided = None;
    await_that("a decision", PATIENCE, || {
        while let Some(event) = client.poll() {
            match event {
                Event::Decision(decision) => decided = Some(decision),
                Event::Lost => client.reattach(PATIENCE).unwrap(),
                _ => {}
            }
        }
        decided.is_some()
    });
    decided.unwrap()
}

/// The gate still decides, and after a kill everything it decided is there.
fn unharmed(world: &World, core: Process, mut client: Client, first: &Decision) {
    assert_eq!(first.tier, DurabilityTier::Process);
    let second = decide(&mut client, 2);
    core.kill();
    let core = world.start_ready();
    let third = decide(&mut client, 3);
    assert!(core.stop(PATIENCE).success());
    let ledger = Ledger::new(world.journal());
    for (key, told) in [(1, first), (2, &second), (3, &third)] {
        let made = ledger.decided(client.strategy(), key);
        assert_eq!(made.map(|made| made.order_id), Some(told.order_id), "key {key}");
    }
}

#[test]
fn a_second_gate_on_the_same_data_is_refused() {
    let world = World::new(|_| ());
    let core = world.start_ready();
    let mut client = world.attach("hammer");
    let first = decide(&mut client, 1);
    let other = World::new(|config| config.data_dir = world.config.data_dir.clone());
    let said = refusal(&other);
    world.save();
    assert!(said.contains(&world.config.journal_dir().display().to_string()), "{said}");
    unharmed(&world, core, client, &first);
}

#[test]
fn a_second_gate_in_the_same_run_directory_is_refused() {
    let world = World::new(|_| ());
    let core = world.start_ready();
    let mut client = world.attach("hammer");
    let first = decide(&mut client, 1);
    let other = World::new(|config| config.run_dir = world.config.run_dir.clone());
    let said = refusal(&other);
    assert!(said.contains(&world.config.run_dir.display().to_string()), "{said}");
    assert!(world.config.hot_path().exists() && world.config.counters_path().exists());
    unharmed(&world, core, client, &first);
}

#[test]
fn a_stale_socket_is_replaced() {
    let world = World::new(|_| ());
    world.start_ready().kill();
    assert!(world.config.socket_path().exists(), "a killed gate leaves its socket");
    assert!(socket::connect(&world.config.socket_path()).is_err());
    let core = world.start_ready();
    drop(world.attach("hammer"));
    assert!(core.stop(PATIENCE).success());
    assert!(!world.config.run_dir.exists(), "a stopped gate leaves nothing on tmpfs");
}

#[test]
fn a_wrong_configuration_names_its_key() {
    let world = World::new(|_| ());
    let good = std::fs::read_to_string(world.config_path()).unwrap();
    let symbol = "[[symbol]]\nname = \"X\"\ntick = \"0.01\"\nlot = \"1\"\nprice_scale = 2\nqty_scale = 0\n";
    for (what, text, names) in [
        ("an unknown key", format!("wiat = \"spin\"\n{good}"), "did you mean `wait`"),
        (
            "an unknown key in a table",
            good.replace("[journal]", "[journal]\nhot_bytes = 1"),
            "did you mean `hot_size`",
        ),
        (
            "an unknown limit",
            good.replace("dedup_quota", "max_order_quantity = \"1\"\ndedup_quota"),
            "did you mean `max_order_qty`",
        ),
        ("an unknown word", good.replace("wait = \"backoff\"", "wait = \"never\""), "one of backoff, spin"),
        ("a wrong type", good.replace("order_slots = 4096", "order_slots = \"many\""), "order_slots"),
        ("a tick finer than the scale", format!("{good}\n{}", symbol.replace("0.01", "0.001")), "tick"),
        ("a symbol twice", format!("{good}\n{symbol}{symbol}"), "listed twice"),
        ("a role that is none", good.replace("role = \"observer\"", "role = \"king\""), "strategy, operator"),
        (
            "a hot ring of no power of two",
            good.replace("hot_size = \"1 MiB\"", "hot_size = \"1000000 B\""),
            "hot_size",
        ),
    ] {
        assert_ne!(text, good, "{what}: the test changes nothing");
        std::fs::write(world.config_path(), text).unwrap();
        let said = refusal(&world);
        assert!(said.contains(names), "{what}: {said}");
    }
    std::fs::remove_file(world.config_path()).unwrap();
    let said = refusal(&world);
    assert!(said.contains("core.toml"), "{said}");
}

#[test]
fn an_impossible_data_directory_is_named() {
    let world = World::new(|_| ());
    let file = world.dir().join("file");
    std::fs::write(&file, "in the way").unwrap();
    let other = World::new(|_| ());
    let text = toml_with(&other, "data_dir", &file.join("data").display().to_string());
    std::fs::write(other.config_path(), text).unwrap();
    let said = refusal(&other);
    assert!(said.contains(&file.display().to_string()), "{said}");
}

/// Starts a gate whose data lie on a file system of its own, mounted with `options` in a namespace of its own. `None`:
/// this user may not do that.
fn start_on_disk(world: &World, options: &str) -> Option<Process> {
    let disk = world.dir().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let config = world.dir().join("core.toml");
    std::fs::write(&config, toml_with(world, "data_dir", &disk.join("data").display().to_string())).unwrap();
    let disk = disk.display().to_string();
    let probe = Command::new("unshare").args(["-rm", "mount", "-t", "tmpfs", "probe", &disk]).status();
    if !probe.is_ok_and(|status| status.success()) {
        return None;
    }
    let script = "mount -t tmpfs -o \"$1\" ringfence-test \"$2\" && exec \"$3\" core --config \"$4\"";
    let (program, config) = (ringfence().display().to_string(), config.display().to_string());
    let args = ["-rm", "sh", "-c", script, "sh", options, &disk, &program, &config];
    Some(Process::start("unshare".as_ref(), &args, &world.dir().join("core.log")))
}

#[test]
fn a_read_only_disk_is_named() {
    let world = World::new(|_| ());
    let Some(mut core) = start_on_disk(&world, "ro") else {
        return skipped("a_read_only_disk_is_named", "no mounts in a namespace of one\'s own here");
    };
    assert!(!core.wait(PATIENCE).success());
    let said = core.said();
    assert!(said.contains("Read-only") && said.contains(&world.dir().display().to_string()), "{said}");
}

#[test]
fn a_full_disk_is_refused_at_start_and_names_what_to_free() {
    let world = World::new(|_| ());
    let Some(mut core) = start_on_disk(&world, "size=1m") else {
        return skipped(
            "a_full_disk_is_refused_at_start_and_names_what_to_free",
            "no mounts in a namespace of one\'s own here",
        );
    };
    assert!(!core.wait(PATIENCE).success());
    let said = core.said();
    let dir = world.dir().join("disk/data/journal").display().to_string();
    assert!(said.contains(&dir) && said.contains("is full") && said.contains("free that"), "{said}");
}

/// New orders stop while there is still room; what takes risk away goes on, and the archive never fails.
#[test]
fn a_disk_that_fills_up_refuses_new_orders_and_takes_cancels() {
    let world = World::new(|config| {
        (config.journal.hot_bytes, config.journal.segment_bytes) = (64 << 10, 64 << 10);
        config.journal.min_free_bytes = 0;
    });
    let test = "a_disk_that_fills_up_refuses_new_orders_and_takes_cancels";
    let Some(core) = start_on_disk(&world, "size=1m") else {
        return skipped(test, "no mounts in a namespace of one\'s own here");
    };
    if !rustix::process::getuid().is_root() {
        return skipped(test, "the gate of another namespace takes no client of ours");
    }
    let mut client = world.attach("hammer");
    let (mut open, mut key) = (std::collections::VecDeque::new(), 0);
    let full = loop {
        key += 1;
        let decision = decide(&mut client, key);
        if decision.reason != Reason::Ok {
            break decision;
        }
        open.push_back(decision.order_id);
        if open.len() > 200 {
            cancel(&mut client, open.pop_front().unwrap(), &mut key);
        }
    };
    assert_eq!((full.reason, full.tier), (Reason::JournalFull, DurabilityTier::None), "after {key}");
    assert_eq!(world.counter(Counter::DiskLow), 1);
    while let Some(order) = open.pop_front() {
        cancel(&mut client, order, &mut key);
    }
    assert_eq!(world.counter(Counter::ArchiveErrors), 0, "{}", core.said());
    println!("{test}: {key} intents filled 1 MiB");
}

fn cancel(client: &mut Client, order: u64, key: &mut u128) {
    *key += 1;
    client.submit(&Intent::cancel(0, order, *key, client.now_ns())).unwrap();
    let decision = decided(client);
    assert_eq!(decision.outcome, Outcome::Accepted, "{decision:?}");
}

/// The world's configuration with the line `key = ...` replaced.
fn toml_with(world: &World, key: &str, value: &str) -> String {
    let text = std::fs::read_to_string(world.config_path()).unwrap();
    let line = text.lines().find(|line| line.starts_with(&format!("{key} = "))).unwrap();
    text.replace(line, &format!("{key} = \"{value}\""))
}
