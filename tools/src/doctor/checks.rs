//! What a gate needs of a machine, check by check: what was found, how bad it is, and what to do.

use std::path::PathBuf;

use ringfence_core::config::{CoreConfig, Wait};
use ringfence_ipc::layout::{events_bytes, intents_bytes};

use super::machine::{Access, FileSystem, Machine};

const MIB: u64 = 1 << 20;
/// Descriptors of the core beside its clients: journal, counters, beds, log.
const CORE_FILES: u64 = 64;
/// Descriptors of one client in the core: socket, pidfd, three segments, two bells.
const CLIENT_FILES: u64 = 7;
/// What the `x86-64-v3` level adds that /proc/cpuinfo names.
const CPU_FLAGS: [&str; 6] = ["avx2", "bmi1", "bmi2", "fma", "movbe", "sse4_2"];

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Worth knowing; nothing to do.
    Note,
    /// It works, and is slower or less even than it could be.
    Slow,
    /// It does not work, or not safely.
    Broken,
}

impl Verdict {
    /// The stable word in `--json` and at the beginning of a line.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Note => "note",
            Self::Slow => "slow",
            Self::Broken => "broken",
        }
    }
}

/// The outcome of one check.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Stable name of the check.
    pub check: &'static str,
    pub verdict: Verdict,
    /// What was found.
    pub found: String,
    /// What to do about it; empty when there is nothing to do.
    pub advice: String,
}

/// What the configuration asks of the machine.
#[derive(Clone, Debug)]
pub struct Needs {
    pub wait: Wait,
    pub pin: Option<usize>,
    pub run_dir: PathBuf,
    /// Hot journal ring, bytes.
    pub hot_bytes: u64,
    /// Free bytes on the data disk: the reserve, and one segment beyond it.
    pub disk_bytes: u64,
    pub max_clients: u64,
    /// Memory of all clients' rings, bytes.
    pub rings_bytes: u64,
}

impl Needs {
    /// From a core's configuration.
    pub fn of(config: &CoreConfig) -> Self {
        let sizes = &config.capacity;
        let client = intents_bytes(sizes.intents_slots, 0) + events_bytes(sizes.events_slots);
        let feed = intents_bytes(sizes.intents_slots, sizes.tape_slots) + events_bytes(sizes.events_slots);
        Self {
            wait: config.wait,
            pin: config.pin,
            run_dir: config.run_dir.clone(),
            hot_bytes: config.journal.hot_bytes,
            disk_bytes: config.journal.min_free_bytes.saturating_add(config.journal.segment_bytes),
            max_clients: sizes.max_clients as u64,
            rings_bytes: (client as u64).saturating_mul(sizes.max_clients as u64).saturating_add(feed as u64),
        }
    }
}

/// Every check, in the order in which a reader should care.
pub fn all(machine: &Machine, needs: &Needs) -> Vec<Finding> {
    let checks: [fn(&Machine, &Needs) -> Outcome; 16] = [
        kernel,
        cpu_level,
        tsc,
        clock_source,
        cpus,
        pin,
        isolation,
        governor,
        huge_pages,
        memlock,
        swap,
        files,
        run_fs,
        data_fs,
        permissions,
        machine_state,
    ];
    let names = [
        "kernel",
        "cpu-level",
        "tsc",
        "clock-source",
        "cpus",
        "pin",
        "isolation",
        "governor",
        "huge-pages",
        "memlock",
        "swap",
        "open-files",
        "run-dir",
        "data-disk",
        "permissions",
        "load-and-port",
    ];
    let one = |(check, name): (fn(&Machine, &Needs) -> Outcome, &'static str)| {
        let (verdict, found, advice) = check(machine, needs);
        Finding { check: name, verdict, found, advice }
    };
    checks.into_iter().zip(names).map(one).collect()
}

type Outcome = (Verdict, String, String);

fn good(found: impl Into<String>) -> Outcome {
    (Verdict::Good, found.into(), String::new())
}

fn note(found: impl Into<String>) -> Outcome {
    (Verdict::Note, found.into(), String::new())
}

fn slow(found: impl Into<String>, advice: impl Into<String>) -> Outcome {
    (Verdict::Slow, found.into(), advice.into())
}

fn broken(found: impl Into<String>, advice: impl Into<String>) -> Outcome {
    (Verdict::Broken, found.into(), advice.into())
}

fn kernel(machine: &Machine, _: &Needs) -> Outcome {
    let Some(release) = &machine.kernel else { return note("the kernel does not say its release") };
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    match (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) {
        version if version >= (5, 14) => good(format!("Linux {release}")),
        version if version >= (5, 3) => slow(
            format!("Linux {release} cannot populate mappings ahead (5.14)"),
            "use Linux 5.14 or newer: first touches fault on the hot path here",
        ),
        _ => broken(format!("Linux {release}"), "use Linux 5.14 or newer: sealing and pidfds need 5.3"),
    }
}

fn cpu_level(machine: &Machine, _: &Needs) -> Outcome {
    if machine.cpu_flags.is_empty() {
        return note("the CPU does not say what it can");
    }
    let missing: Vec<&str> =
        CPU_FLAGS.into_iter().filter(|flag| !machine.cpu_flags.iter().any(|has| has == flag)).collect();
    if missing.is_empty() {
        return good("x86-64-v3");
    }
    broken(
        format!("the CPU lacks {}", missing.join(", ")),
        "build for this CPU: change target-cpu in .cargo/config.toml",
    )
}

fn tsc(machine: &Machine, _: &Needs) -> Outcome {
    let has = |flag: &str| machine.cpu_flags.iter().any(|known| known == flag);
    if has("constant_tsc") && has("nonstop_tsc") {
        return good("invariant TSC");
    }
    slow(
        "the TSC is not invariant: gate time comes from CLOCK_MONOTONIC, about 20 ns a read",
        "use a CPU, or a virtual machine type, that shows constant_tsc and nonstop_tsc",
    )
}

fn clock_source(machine: &Machine, _: &Needs) -> Outcome {
    match machine.clock_source.as_deref() {
        None => note("the kernel does not say its clock source"),
        Some("tsc") => good("tsc"),
        Some(other) => slow(
            format!("{other}: the kernel does not trust the TSC"),
            "boot with clocksource=tsc tsc=reliable, if the host's TSC is sound",
        ),
    }
}

fn cpus(machine: &Machine, needs: &Needs) -> Outcome {
    let (count, spinners) = (machine.cpus.len().max(1), usize::from(needs.wait == Wait::Spin));
    let found = format!("{count} usable, {spinners} spinning (--wait {})", wait_word(needs.wait));
    if spinners >= count {
        return broken(found, "use --wait backoff or park, or give the process another CPU");
    }
    if count == 1 {
        return slow(found, "give the gate a CPU of its own: strategy and gate take turns on this one");
    }
    good(found)
}

fn wait_word(wait: Wait) -> &'static str {
    match wait {
        Wait::Backoff => "backoff",
        Wait::Spin => "spin",
        Wait::Park => "park",
    }
}

fn pin(machine: &Machine, needs: &Needs) -> Outcome {
    match needs.pin {
        None => slow("the gate thread is not pinned", "start with --pin CPU, best an isolated one"),
        Some(cpu) if machine.cpus.is_empty() || machine.cpus.contains(&cpu) => good(format!("CPU {cpu}")),
        Some(cpu) => broken(
            format!("CPU {cpu} is not among {:?}, which this process may use", machine.cpus),
            "name one of them, or widen the process's CPU set",
        ),
    }
}

fn isolation(machine: &Machine, needs: &Needs) -> Outcome {
    let advice = "boot with isolcpus=N nohz_full=N rcu_nocbs=N and start with --pin N";
    match needs.pin {
        _ if machine.isolated.is_empty() => {
            slow("no CPU is isolated: others run where the gate runs", advice)
        }
        Some(cpu) if machine.isolated.contains(&cpu) => good(format!("CPU {cpu} is isolated")),
        _ => slow(format!("CPUs {:?} are isolated, the gate runs elsewhere", machine.isolated), advice),
    }
}

fn governor(machine: &Machine, _: &Needs) -> Outcome {
    match machine.governors.as_slice() {
        [] => note("not visible here: the firmware or the host decides"),
        [one] if one == "performance" => good("performance"),
        others => slow(
            format!("{}: clocks change under the gate", others.join(", ")),
            "cpupower frequency-set --governor performance",
        ),
    }
}

fn huge_pages(machine: &Machine, _: &Needs) -> Outcome {
    match machine.huge_pages.as_deref() {
        None => {
            slow("the kernel has no transparent huge pages", "use a kernel with CONFIG_TRANSPARENT_HUGEPAGE")
        }
        Some("never") => slow(
            "transparent huge pages are off: large tables miss the address cache",
            "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
        ),
        Some(word) => good(format!("transparent huge pages: {word}")),
    }
}

fn memlock(machine: &Machine, needs: &Needs) -> Outcome {
    let need = needs.hot_bytes.saturating_add(needs.rings_bytes).saturating_add(2 * MIB);
    if machine.lockable_bytes >= need {
        let limit = match machine.lockable_bytes {
            u64::MAX => "no limit".to_owned(),
            bytes => format!("{} MiB", bytes / MIB),
        };
        return good(format!("{limit}, {} MiB needed", need.div_ceil(MIB)));
    }
    slow(
        format!(
            "{} MiB may be locked, {} MiB are needed: pages can leave memory",
            machine.lockable_bytes / MIB,
            need.div_ceil(MIB)
        ),
        "raise `ulimit -l`, LimitMEMLOCK= of the unit, or memlock in /etc/security/limits.conf",
    )
}

fn swap(machine: &Machine, _: &Needs) -> Outcome {
    match machine.swaps {
        0 => good("off"),
        count => slow(format!("{count} swap devices are on"), "swapoff -a, or lock everything (see memlock)"),
    }
}

fn files(machine: &Machine, needs: &Needs) -> Outcome {
    let need = needs.max_clients.saturating_mul(CLIENT_FILES).saturating_add(CORE_FILES);
    let found = format!("{} descriptors, {need} for {} clients", machine.open_files, needs.max_clients);
    if machine.open_files >= need {
        return good(found);
    }
    broken(found, "raise `ulimit -n`, or lower capacity.max_clients")
}

fn run_fs(machine: &Machine, needs: &Needs) -> Outcome {
    let Some(FileSystem { at, is_tmpfs, free_bytes }) = &machine.run_fs else {
        return broken(
            format!("{} cannot be asked", needs.run_dir.display()),
            "check its parent directories",
        );
    };
    let need = needs.hot_bytes.saturating_add(2 * MIB);
    let found = format!("{}: {} MiB free, {} MiB needed", at.display(), free_bytes / MIB, need / MIB);
    // A gate that runs there has taken its share already.
    if *free_bytes < need && machine.socket.is_none() {
        return broken(
            found,
            "free space there, enlarge it (mount -o remount,size=..), or lower journal.hot_bytes",
        );
    }
    if !is_tmpfs {
        return slow(
            format!("{found}, no tmpfs"),
            "put run_dir on tmpfs (/dev/shm): a mapping on disk stalls for milliseconds",
        );
    }
    good(format!("{found}, tmpfs"))
}

fn data_fs(machine: &Machine, needs: &Needs) -> Outcome {
    let Some(FileSystem { at, free_bytes, .. }) = &machine.data_fs else {
        return broken("the data directory cannot be asked", "check its parent directories");
    };
    let found =
        format!("{}: {} MiB free, {} MiB needed", at.display(), free_bytes / MIB, needs.disk_bytes / MIB);
    if *free_bytes < needs.disk_bytes {
        return broken(found, "free space: below journal.min_free_bytes new orders are refused");
    }
    good(found)
}

fn permissions(machine: &Machine, needs: &Needs) -> Outcome {
    let dir = needs.run_dir.display();
    let Some(Access { mode, uid }) = machine.run_dir else {
        return note(format!("no gate has run in {dir}"));
    };
    if mode & 0o007 != 0 || mode & 0o020 != 0 {
        return broken(
            format!("{dir} has mode {mode:04o}: others may replace what processes map"),
            format!("chmod 0750 {dir}"),
        );
    }
    if uid != machine.uid && machine.uid != 0 {
        return broken(
            format!("{dir} belongs to user {uid}, you are {}", machine.uid),
            "run as that user, or be in its group to attach",
        );
    }
    match machine.socket {
        None => note(format!("{dir} has mode {mode:04o}; no gate listens in it")),
        Some(socket) if socket.mode & 0o007 != 0 => broken(
            format!("{dir}/core.sock has mode {:04o}: anybody may try to attach", socket.mode),
            format!("chmod 0660 {dir}/core.sock"),
        ),
        Some(socket) => good(format!("{dir} {mode:04o}, core.sock {:04o}", socket.mode)),
    }
}

fn machine_state(machine: &Machine, _: &Needs) -> Outcome {
    let virtual_machine = machine.cpu_flags.iter().any(|flag| flag == "hypervisor");
    let load = machine.load.map_or(String::new(), |load| format!("load {load:.2}"));
    let kind = if virtual_machine { "virtual machine" } else { "bare metal" };
    let found = format!("{load}, {kind}");
    // A port that is taken by this run's own shell is as it should be.
    if let Some(why) = machine.port.as_ref().filter(|_| machine.socket.is_none()) {
        return slow(
            format!("{found}; the shell cannot listen: {why}"),
            "choose another address with --bind",
        );
    }
    if machine.load.is_some_and(|load| load > machine.cpus.len().max(1) as f64) {
        return slow(found, "other work takes the CPUs: move it away, or isolate one for the gate");
    }
    if virtual_machine { note(format!("{found}: its host may move or pause it")) } else { good(found) }
}

#[cfg(test)]
#[path = "checks_tests.rs"]
mod tests;
