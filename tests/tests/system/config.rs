//! Configuration and the journal: what a restart may change, and what the journal knows by itself.

use ringfence_ipc::client::Event;
use ringfence_ipc::msg::{Intent, Outcome, Side};
use ringfence_tests::await_that;
use ringfence_tests::process::run;
use ringfence_tests::world::{PATIENCE, World};

/// One accepted order, so that the journal holds something that depends on the size of the tables.
fn one_order(world: &World) {
    let core = world.start_ready();
    let mut client = world.attach("hammer");
    client.submit(&Intent::limit(0, Side::Buy, 100, 1000, 1, client.now_ns())).unwrap();
    await_that("a decision", PATIENCE, || match client.poll() {
        Some(Event::Decision(decision)) => {
            assert_eq!(decision.outcome, Outcome::Accepted);
            true
        }
        _ => false,
    });
    drop(client);
    assert!(core.stop(PATIENCE).success());
}

#[test]
fn a_restart_keeps_the_order_table_and_may_enlarge_the_others() {
    let mut world = World::new(|_| ());
    one_order(&world);
    world.config.capacity.order_slots *= 2;
    world.save();
    let refused = run(&["core", "--config", &world.config_path().display().to_string()], &[]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("capacity.order_slots to 4096"), "{said}");
    world.config.capacity.order_slots /= 2;
    world.config.capacity.max_positions *= 2;
    world.config.capacity.max_strategies *= 2;
    world.save();
    let core = world.start_ready();
    drop(world.attach("newcomer"));
    assert!(core.stop(PATIENCE).success());
}

#[test]
fn replay_needs_nothing_but_the_journal() {
    let world = World::new(|_| ());
    one_order(&world);
    std::fs::remove_file(world.config_path()).unwrap();
    let data = world.config.data_dir.display().to_string();
    let replayed = run(&["replay", "--data", &data, "--json"], &[]);
    let said = String::from_utf8_lossy(&replayed.stdout).into_owned();
    assert!(replayed.status.success() && said.contains("\"mismatches\":0"), "{said}");
}
