//! G12: gate, shell and strategy are stopped, slowed, killed and restarted in every order, while orders go in through
//! rings and HTTP. Nothing is lost, nothing is done twice, and a death is seen within 50 ms.
//! `RINGFENCE_G12_ROUNDS` says how many rounds.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ringfence_core::config::StrategyConfig;
use ringfence_ipc::client::{AttachOptions, Client};
use ringfence_ipc::counters::Counter;
use ringfence_ipc::handshake::Role;
use ringfence_ipc::journal::Record;
use ringfence_ipc::msg::{IntentKind, Outcome};
use ringfence_tests::audit::Ledger;
use ringfence_tests::http::{Shell, post};
use ringfence_tests::process::Process;
use ringfence_tests::world::{PATIENCE, World};
use ringfence_tests::{Dice, Stalls, both_cpus, size};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::kills::{Strategy, verify};

/// Rounds with one journal: recovery reads all of it.
const ROUNDS_PER_JOURNAL: u64 = 20;
/// A death is seen within this, beside what the machine itself was stalled meanwhile.
const SEEN_WITHIN: Duration = Duration::from_millis(50);
/// Rest of the strategy after each burst of 32 intents.
const PAUSE: Duration = Duration::from_millis(4);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Gate,
    Shell,
    Strategy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// Runs a few ms at a time.
    Slow,
    /// Stands still until the end of the round.
    Stopped,
    /// Dies, and comes back at the end of the round.
    Killed,
    /// Ends in good order, and comes back.
    Restarted,
}

const ORDERS: [[Who; 3]; 6] = {
    use Who::{Gate, Shell, Strategy};
    [
        [Gate, Shell, Strategy],
        [Gate, Strategy, Shell],
        [Shell, Gate, Strategy],
        [Shell, Strategy, Gate],
        [Strategy, Gate, Shell],
        [Strategy, Shell, Gate],
    ]
};

/// Orders over HTTP, one after another, each under its id until it is answered for good, whatever happens to the shell.
struct Trader {
    stop: Arc<AtomicBool>,
    address: Arc<Mutex<SocketAddr>>,
    thread: JoinHandle<Vec<(String, Value)>>,
}

impl Trader {
    fn start(address: SocketAddr) -> Self {
        let (stop, address) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(address)));
        let (stopped, at) = (Arc::clone(&stop), Arc::clone(&address));
        let thread = std::thread::spawn(move || {
            let mut placed = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let id = format!("g12-{}", placed.len());
                let body = json!({"side": "BUY", "symbol": "BTCUSDT", "qty": "0.00001", "price": "1000.00", "client_order_id": id});
                loop {
                    let address = *at.lock().unwrap();
                    match post(address, "/api/order", &body.to_string()) {
                        Ok(answer) if answer.status == 200 => {
                            placed.push((id, answer.body));
                            break;
                        }
                        Ok(answer) => assert!(matches!(answer.status, 503 | 504), "{answer:?}"),
                        // The shell is away: the same order goes to the next one.
                        Err(_) => {}
                    }
                    std::thread::sleep(Duration::from_millis(3));
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            placed
        });
        Self { stop, address, thread }
    }
}

/// Everybody, and what was seen of their deaths.
struct Cast<'a> {
    world: &'a World,
    core: Option<Process>,
    shell: Option<Process>,
    strategy: Option<Strategy>,
    watcher: Option<Client>,
    stalls: Stalls,
    dice: Dice,
    seen: Vec<(Who, Duration)>,
    births: u64,
}

impl<'a> Cast<'a> {
    fn new(world: &'a World, seed: u64) -> Self {
        let core = Some(world.start_ready());
        let shell = Some(Shell::launch(world));
        let strategy = Some(Strategy::start_paced(world, seed, "new", PAUSE));
        let (stalls, dice) = (Stalls::watch(), Dice::new(seed));
        Self { world, core, shell, strategy, watcher: None, stalls, dice, seen: Vec::new(), births: seed }
    }

    fn process(&self, who: Who) -> &Process {
        let process = match who {
            Who::Gate => self.core.as_ref(),
            Who::Shell => self.shell.as_ref(),
            Who::Strategy => self.strategy.as_ref().map(|strategy| &strategy.process),
        };
        process.expect("everybody is there when a round begins")
    }

    fn watch(&mut self) {
        let options = AttachOptions::new(self.world.config.socket_path(), Role::Observer, "watcher");
        self.watcher =
            Some(Client::attach_patiently(options, PATIENCE).expect("a gate that lives takes observers"));
    }

    /// Does `what` to `who`; what must be undone at the end of the round is undone by [`Self::end`].
    fn begin(&mut self, who: Who, what: What, gate_runs: bool) {
        match what {
            What::Slow => {
                for _ in 0..5 {
                    self.process(who).signal(Signal::STOP);
                    std::thread::sleep(Duration::from_millis(3));
                    self.process(who).signal(Signal::CONT);
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
            What::Stopped => self.process(who).signal(Signal::STOP),
            What::Killed => self.kill(who, gate_runs),
            What::Restarted => match who {
                Who::Gate => assert!(self.core.take().unwrap().stop(PATIENCE).success()),
                Who::Shell => assert!(self.shell.take().unwrap().stop(PATIENCE).success()),
                // It finishes what it asked, for which it needs a gate: it is waited for at the end.
                Who::Strategy => self.strategy.as_mut().unwrap().process.close_input(),
            },
        }
    }

    /// Kills `who`; if the gate runs, how soon the others see it is taken down.
    fn kill(&mut self, who: Who, gate_runs: bool) {
        let attached = || self.world.counter(Counter::AttachedClients);
        let before = attached();
        let _ = self.stalls.worst();
        let began = match who {
            Who::Gate => {
                let core = self.core.take().unwrap();
                let began = Instant::now();
                core.kill();
                began
            }
            Who::Shell => {
                let shell = self.shell.take().unwrap();
                let began = Instant::now();
                shell.kill();
                began
            }
            Who::Strategy => {
                let strategy = self.strategy.take().unwrap();
                let began = Instant::now();
                strategy.kill();
                began
            }
        };
        let seen: &dyn Fn() -> bool = match (who, &self.watcher) {
            (Who::Gate, Some(watcher)) => &|| !watcher.is_connected(),
            (Who::Gate, None) => return,
            _ if !gate_runs || before == 0 => return,
            _ => &|| attached() < before,
        };
        while !seen() {
            assert!(began.elapsed() < PATIENCE, "{who:?}'s death is not seen");
            std::thread::sleep(Duration::from_micros(100));
        }
        let (took, stalled) = (began.elapsed(), self.stalls.worst());
        assert!(
            took < SEEN_WITHIN + stalled,
            "{who:?}'s death was seen after {took:?}, {stalled:?} of it stalled"
        );
        self.seen.push((who, took));
    }

    /// Brings `who` back; the shell and the strategy may need a moment more.
    fn end(&mut self, who: Who, what: What) {
        match (who, what) {
            (_, What::Slow) => {}
            (_, What::Stopped) => self.process(who).signal(Signal::CONT),
            (Who::Gate, _) => self.core = Some(self.world.start_ready()),
            (Who::Shell, _) => self.shell = Some(Shell::launch(self.world)),
            (Who::Strategy, What::Restarted) => {}
            (Who::Strategy, _) => self.rebirth(),
        }
    }

    fn rebirth(&mut self) {
        self.births += 1;
        self.strategy = Some(Strategy::start_paced(self.world, self.births, "reborn", PAUSE));
    }

    fn round(&mut self, round: u64, trader: &Trader) {
        self.watch();
        let begin = ORDERS[round as usize % 6];
        let end = ORDERS[self.dice.below(6) as usize];
        let whats = [What::Slow, What::Stopped, What::Killed, What::Restarted];
        // Each gets its own fate; over 64 rounds all combinations come up.
        let fates = HashMap::from([
            (Who::Gate as u8, whats[(round / 16 % 4) as usize]),
            (Who::Shell as u8, whats[(round / 4 % 4) as usize]),
            (Who::Strategy as u8, whats[(round % 4) as usize]),
        ]);
        let fate = |who: Who| fates[&(who as u8)];
        let mut gate_runs = true;
        for who in begin {
            std::thread::sleep(Duration::from_micros(self.dice.below(10_000)));
            self.begin(who, fate(who), gate_runs);
            gate_runs &= who != Who::Gate || fate(who) == What::Slow;
        }
        std::thread::sleep(Duration::from_millis(10 + self.dice.below(40)));
        for who in end {
            self.end(who, fate(who));
        }
        if fate(Who::Strategy) == What::Restarted {
            drop(self.strategy.take().map(Strategy::finish));
            self.rebirth();
        }
        let shell = self.shell.take().expect("the shell was started");
        let served = Shell::serves(shell, self.world);
        *trader.address.lock().unwrap() = served.address;
        self.shell = Some(served.process);
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// `rounds` rounds with one journal; how many orders went in over HTTP, and the deaths seen.
fn live(first: u64, rounds: u64) -> (usize, u64, Vec<(Who, Duration)>) {
    let world = World::new(|config| {
        config.strategies.push(StrategyConfig { name: "manual".into(), ..StrategyConfig::default() });
        config.capacity.order_slots = 1 << 16;
        config.journal.hot_bytes = 4 << 20;
    });
    let mut cast = Cast::new(&world, first + 1);
    let served = Shell::serves(cast.shell.take().unwrap(), &world);
    let trader = Trader::start(served.address);
    cast.shell = Some(served.process);
    for round in first..first + rounds {
        cast.round(round, &trader);
    }
    trader.stop.store(true, Ordering::Relaxed);
    let placed = trader.thread.join().expect("the trader was treated well");
    let diary = cast.strategy.take().unwrap().finish();
    assert!(cast.shell.take().unwrap().stop(PATIENCE).success());
    assert!(cast.core.take().unwrap().stop(PATIENCE).success());
    verify(&world);
    let journal = world.journal();
    let mut by_id: HashMap<String, u64> = HashMap::new();
    for (_, record) in &journal {
        let Record::Decision(made) = record else { continue };
        if made.intent.kind == IntentKind::New
            && made.outcome == Outcome::Accepted
            && let Some(ext) = &made.ext
        {
            *by_id.entry(ext.client_order_id().to_owned()).or_default() += 1;
        }
    }
    for (id, answer) in &placed {
        assert_eq!(by_id.get(id), Some(&1), "{id} was answered with {answer}");
    }
    assert_eq!(by_id.len(), placed.len(), "an order that nobody was told of");
    let ledger = Ledger::new(journal);
    let counts = ledger.check(1, &diary, false);
    (placed.len(), counts.decided, std::mem::take(&mut cast.seen))
}

#[test]
fn g12_stopped_slow_killed_and_restarted_in_every_order_nothing_is_lost_or_doubled() {
    let _turn = both_cpus();
    let rounds = size("RINGFENCE_G12_ROUNDS", 8);
    let (mut done, mut placed, mut decided, mut seen) = (0, 0, 0, Vec::new());
    while done < rounds {
        let now = ROUNDS_PER_JOURNAL.min(rounds - done);
        // A few rounds begin where everybody is killed or stopped; many go through all fates.
        let first = if rounds < 64 { 21 + done } else { done };
        let (orders, decisions, deaths) = live(first, now);
        placed += orders;
        decided += decisions;
        seen.extend(deaths);
        done += now;
    }
    seen.sort_by_key(|(_, took)| *took);
    let worst = seen.last().copied();
    let median = seen.get(seen.len() / 2).map(|(_, took)| *took);
    println!(
        "g12: {rounds} rounds, {placed} orders over HTTP, {decided} decisions read; {} deaths seen, median {median:?}, worst {worst:?}",
        seen.len()
    );
    assert!(placed as u64 > rounds && decided > rounds && !seen.is_empty(), "too little happened");
}
