//! `kill -9` at any moment: nothing acknowledged is lost, nothing is done twice, everybody goes on by themselves.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ringfence_core::config::{Tier, VenueKind};
use ringfence_ipc::client::{Client, Event};
use ringfence_ipc::msg::{Intent, Side, Words};
use ringfence_shell::feed::{PlayerConfig, SourceConfig, Speed, play};
use ringfence_tests::audit::{Counts, Ledger};
use ringfence_tests::diary::{self, Diary};
use ringfence_tests::hammer::Hammer;
use ringfence_tests::process::{Process, ringfence};
use ringfence_tests::world::{PATIENCE, World};
use ringfence_tests::{Dice, both_cpus, size};

/// Kills in one journal: recovery reads all of it, so that long journals would make a test of recovery's speed.
const KILLS_PER_JOURNAL: u64 = 20;
/// A gate lives at most this long after it is ready.
const LIFE_US: u64 = 30_000;
const DIARY_ENTRIES: usize = 1 << 20;

/// A simulated market that finds every new gate by itself.
struct Market {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Market {
    fn start(world: &World) -> Self {
        let config = PlayerConfig {
            socket: world.config.socket_path(),
            source: SourceConfig::Simulated { seed: 7 },
            speed: Speed::Times(20.0),
        };
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || drop(play(&config, &stopped)));
        Self { stop, thread }
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the market does not panic");
    }
}

pub(super) fn verify(world: &World) {
    let data = world.config.data_dir.display().to_string();
    let output = ringfence_tests::process::run(&["journal", "verify", "--data", &data], &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// One journal, `kills` lives ended by force; a strategy thread and a market that live through all of them. In tier
/// `power` the hot ring is lost with every second life.
fn kill_gates(kills: u64, hot_bytes: u64, seed: u64, tier: Tier) -> Counts {
    let world = World::new(|config| {
        config.journal.hot_bytes = hot_bytes;
        config.journal.tier = tier;
    });
    let mut dice = Dice::new(seed);
    let mut core = world.start_ready();
    let client = world.attach("hammer");
    let strategy = client.strategy();
    let diary = Diary::create(&world.dir().join("diary"), DIARY_ENTRIES);
    let stop = Arc::new(AtomicBool::new(false));
    let hammer = {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || Hammer::new(client, diary, 1, seed).run(&stop))
    };
    let market = Market::start(&world);
    for kill in 0..kills {
        std::thread::sleep(Duration::from_micros(dice.below(LIFE_US)));
        core.kill();
        if tier == Tier::Power && kill.is_multiple_of(2) {
            std::fs::remove_file(world.config.hot_path()).expect("a dead gate leaves its hot ring");
        }
        core = world.start_ready();
    }
    std::thread::sleep(Duration::from_millis(50));
    stop.store(true, Ordering::Relaxed);
    let diary = hammer.join().expect("the hammer was treated well");
    market.stop();
    assert!(core.stop(PATIENCE).success());
    verify(&world);
    let ledger = Ledger::new(world.journal());
    let mut counts = ledger.check(strategy, &diary.read(), true);
    counts += ledger.counts.clone();
    counts
}

/// `kills` kills, a few in each journal: `round` is told how many, and its number from 1.
fn in_rounds(test: &str, kills: u64, mut round: impl FnMut(u64, u64) -> Counts) -> Counts {
    let _turn = both_cpus();
    // Building it is no part of what is timed.
    let _ = ringfence();
    let (began, mut done, mut total) = (Instant::now(), 0, Counts::default());
    while done < kills {
        let now = KILLS_PER_JOURNAL.min(kills - done);
        total += round(now, done / KILLS_PER_JOURNAL + 1);
        done += now;
    }
    println!("{test}: {kills} kills in {:?}: {total:?}", began.elapsed());
    total
}

#[test]
fn g1_killed_gate_loses_nothing() {
    let kills = size("RINGFENCE_KILLS", 60);
    let total = in_rounds("g1_killed_gate_loses_nothing", kills, |kills, round| {
        // The smallest hot ring is always lapped: the archiver is behind at every kill.
        let hot_bytes = if round.is_multiple_of(2) { 1 << 20 } else { 64 << 10 };
        kill_gates(kills, hot_bytes, round, Tier::Process)
    });
    assert!(
        total.decided > kills && total.orders > kills && total.fills > 0,
        "too little happened: {total:?}"
    );
}

/// What a strategy was told in tier `power` is there even without the hot ring; nothing it was not told was done.
#[test]
fn g1_killed_gate_in_tier_power_loses_nothing_with_its_hot_ring() {
    let kills = size("RINGFENCE_POWER_KILLS", 40);
    let total = in_rounds("g1_killed_gate_in_tier_power", kills, |kills, round| {
        let hot_bytes = if round.is_multiple_of(2) { 1 << 20 } else { 64 << 10 };
        kill_gates(kills, hot_bytes, round + 3000, Tier::Power)
    });
    assert!(
        total.decided > kills && total.orders > kills && total.fills > 0,
        "too little happened: {total:?}"
    );
}

/// A strategy process to be killed.
pub(super) struct Strategy {
    pub(super) process: Process,
    diary: PathBuf,
}

impl Strategy {
    fn start(world: &World, seed: u64, birth: &str) -> Self {
        Self::start_paced(world, seed, birth, Duration::ZERO)
    }

    /// Rests for `pause` after each burst.
    pub(super) fn start_paced(world: &World, seed: u64, birth: &str, pause: Duration) -> Self {
        let diary = world.dir().join("diary");
        if birth == "new" {
            drop(Diary::create(&diary, DIARY_ENTRIES));
        }
        let (socket, path) = (world.config.socket_path().display().to_string(), diary.display().to_string());
        let (seed, pause_us) = (seed.to_string(), pause.as_micros().to_string());
        let args = [socket.as_str(), "hammer", &path, &seed, birth, &pause_us];
        let log = world.dir().join("hammer.log");
        let process = Process::start(env!("CARGO_BIN_EXE_hammer").as_ref(), &args, &log);
        Self { process, diary }
    }

    pub(super) fn kill(self) {
        self.process.kill();
    }

    pub(super) fn finish(mut self) -> Vec<Words> {
        self.process.close_input();
        let status = self.process.wait(PATIENCE);
        assert!(status.success(), "{}", self.process.said());
        diary::read(&self.diary)
    }
}

/// One journal, `kills` strategy processes ended by force.
fn kill_strategies(kills: u64, round: u64) -> Counts {
    // Room for everything: nothing is refused for want of it, so whatever was published must be in the journal.
    let world = World::new(|config| {
        config.venue = VenueKind::Null;
        config.journal.hot_bytes = 64 << 20;
        config.strategies[0].limits.dedup_quota = Some(1 << 19);
    });
    let mut dice = Dice::new(round + 1000);
    let core = world.start_ready();
    let mut strategy = Strategy::start(&world, round, "new");
    for kill in 0..kills {
        std::thread::sleep(Duration::from_micros(10_000 + dice.below(LIFE_US)));
        strategy.kill();
        strategy = Strategy::start(&world, kill + 2, "reborn");
    }
    std::thread::sleep(Duration::from_millis(50));
    let diary = strategy.finish();
    assert!(core.stop(PATIENCE).success());
    let ledger = Ledger::new(world.journal());
    let mut counts = ledger.check(1, &diary, false);
    counts += ledger.counts.clone();
    for sent in diary.iter().filter(|words| words[0] == diary::SENT) {
        assert!(ledger.decided(1, u128::from(sent[1])).is_some(), "published and not decided: {sent:?}");
    }
    counts
}

#[test]
fn a_killed_strategys_intents_are_drained_and_its_repeats_are_duplicates() {
    let kills = size("RINGFENCE_STRATEGY_KILLS", 15);
    let total = in_rounds("killed strategy", kills, kill_strategies);
    assert!(total.duplicates > kills && total.drained > 0, "too little happened: {total:?}");
}

/// One journal, `kills` gates and strategy processes ended by force, either first.
fn kill_both(kills: u64, round: u64) -> Counts {
    let world = World::new(|config| config.journal.hot_bytes = 1 << 20);
    let mut dice = Dice::new(round + 2000);
    let mut core = world.start_ready();
    let mut strategy = Strategy::start(&world, round, "new");
    for kill in 0..kills {
        std::thread::sleep(Duration::from_micros(5_000 + dice.below(LIFE_US)));
        if dice.below(2) == 0 {
            core.kill();
            strategy.kill();
        } else {
            strategy.kill();
            core.kill();
        }
        core = world.start_ready();
        strategy = Strategy::start(&world, kill + 2, "reborn");
    }
    std::thread::sleep(Duration::from_millis(50));
    let diary = strategy.finish();
    assert!(core.stop(PATIENCE).success());
    verify(&world);
    let ledger = Ledger::new(world.journal());
    let mut counts = ledger.check(1, &diary, false);
    counts += ledger.counts.clone();
    counts
}

#[test]
fn gate_and_strategy_killed_together_lose_nothing() {
    let kills = size("RINGFENCE_STRATEGY_KILLS", 15);
    let total = in_rounds("killed gate and strategy", kills, kill_both);
    assert!(total.duplicates > 0 && total.decided > kills, "too little happened: {total:?}");
}

/// What a client reads until nothing more comes for a while; it re-attaches where it must.
fn everything(client: &mut Client) -> Vec<Event> {
    let (mut events, mut quiet_since) = (Vec::new(), Instant::now());
    while quiet_since.elapsed() < Duration::from_millis(200) {
        let Some(event) = client.poll() else {
            std::thread::sleep(Duration::from_micros(200));
            continue;
        };
        quiet_since = Instant::now();
        if event == Event::Lost {
            client.reattach(PATIENCE).unwrap();
        }
        events.push(event);
    }
    events
}

#[test]
fn a_resume_brings_what_was_missed_and_nothing_older() {
    let world = World::new(|config| config.paper.latency_ns = 1_000_000);
    let core = world.start_ready();
    let mut first = world.attach("hammer");
    for key in 1..=50 {
        first.submit(&Intent::limit(0, Side::Buy, 100, 1000, key, first.now_ns())).unwrap();
    }
    assert_eq!(everything(&mut first).len(), 100, "50 decisions, 50 reports");
    drop(first);
    // A new process of the same strategy, without a ticket: the past is none of its business.
    let mut second = world.attach("hammer");
    let ticket = second.ticket();
    assert_eq!(everything(&mut second), []);
    core.kill();
    let core = world.start_ready();
    let events = everything(&mut second);
    assert_eq!(events[0], Event::Lost);
    // The venue died too: what rested there was entered again, which it says, once for each order.
    let told =
        events.iter().filter(|event| matches!(event, Event::Report(report) if report.reentered)).count();
    assert_eq!((events.len(), told), (51, 50), "{events:?}");
    assert_eq!(second.ticket(), ticket, "a gate may die any number of times: the ticket stays good");
    assert!(core.stop(PATIENCE).success());
}
