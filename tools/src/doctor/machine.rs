//! What this machine says about itself: read once, judged elsewhere.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit};

/// File system type numbers of statfs(2).
const TMPFS_MAGIC: u64 = 0x0102_1994;
/// Bit of CAP_IPC_LOCK in a capability set.
const CAP_IPC_LOCK: u64 = 1 << 14;

/// Everything the checks look at. `None` and empty: the machine does not say.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// Kernel release, e.g. `6.1.0-18-amd64`.
    pub kernel: Option<String>,
    /// Flags of the first CPU.
    pub cpu_flags: Vec<String>,
    /// CPUs this process may run on.
    pub cpus: Vec<usize>,
    /// CPUs that the scheduler leaves alone.
    pub isolated: Vec<usize>,
    /// Frequency governors in use, each once.
    pub governors: Vec<String>,
    /// Current clock source.
    pub clock_source: Option<String>,
    /// Transparent huge pages: the chosen word of `always madvise never`.
    pub huge_pages: Option<String>,
    /// Bytes this process may lock; `u64::MAX`: all it likes.
    pub lockable_bytes: u64,
    /// Descriptors this process may open.
    pub open_files: u64,
    /// Swap devices in use.
    pub swaps: usize,
    /// Load average of the last minute.
    pub load: Option<f64>,
    /// The run directory's file system, or where it will be.
    pub run_fs: Option<FileSystem>,
    /// The data directory's file system, or where it will be.
    pub data_fs: Option<FileSystem>,
    /// Mode and owner of the run directory and of the socket in it, where they exist.
    pub run_dir: Option<Access>,
    pub socket: Option<Access>,
    /// Who runs this.
    pub uid: u32,
    /// Why the shell cannot listen, if it cannot.
    pub port: Option<String>,
}

/// A file system.
#[derive(Clone, Debug)]
pub struct FileSystem {
    /// The existing directory that was asked.
    pub at: PathBuf,
    pub is_tmpfs: bool,
    pub free_bytes: u64,
}

/// Who may use a file.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    pub mode: u32,
    pub uid: u32,
}

impl Machine {
    /// Reads the kernel's files under `root` (`/` but in tests), and asks the kernel for the rest.
    pub fn read(root: &Path, run_dir: &Path, data_dir: &Path, bind: Option<SocketAddr>) -> Self {
        let text =
            |path: &str| std::fs::read_to_string(root.join(path)).ok().map(|text| text.trim().to_owned());
        let cpuinfo = text("proc/cpuinfo").unwrap_or_default();
        let flags = cpuinfo.lines().find_map(|line| line.strip_prefix("flags")).unwrap_or_default();
        let status = text("proc/self/status").unwrap_or_default();
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let capabilities = field("CapEff:").and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0);
        let limit = |resource| getrlimit(resource).current.unwrap_or(u64::MAX);
        Self {
            kernel: text("proc/sys/kernel/osrelease"),
            cpu_flags: flags.split_whitespace().skip(1).map(str::to_owned).collect(),
            cpus: cpu_list(field("Cpus_allowed_list:").unwrap_or_default()),
            isolated: cpu_list(&text("sys/devices/system/cpu/isolated").unwrap_or_default()),
            governors: governors(&root.join("sys/devices/system/cpu")),
            clock_source: text("sys/devices/system/clocksource/clocksource0/current_clocksource"),
            huge_pages: text("sys/kernel/mm/transparent_hugepage/enabled").and_then(|text| chosen(&text)),
            lockable_bytes: if capabilities & CAP_IPC_LOCK == 0 {
                limit(Resource::Memlock)
            } else {
                u64::MAX
            },
            open_files: limit(Resource::Nofile),
            swaps: text("proc/swaps").map_or(0, |text| text.lines().skip(1).count()),
            load: text("proc/loadavg").and_then(|text| text.split(' ').next()?.parse().ok()),
            run_fs: file_system(run_dir),
            data_fs: file_system(data_dir),
            run_dir: access(run_dir),
            socket: access(&run_dir.join("core.sock")),
            uid: rustix::process::getuid().as_raw(),
            port: bind.and_then(|bind| TcpListener::bind(bind).err()).map(|error| reason(&error)),
        }
    }
}

/// `0-2,7` as numbers; what is no number is left out.
fn cpu_list(text: &str) -> Vec<usize> {
    let range = |part: &str| -> Option<std::ops::RangeInclusive<usize>> {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse().ok()?..=last.trim().parse().ok()?)
    };
    text.split(',').filter_map(range).flatten().collect()
}

/// The word in brackets.
fn chosen(text: &str) -> Option<String> {
    Some(text.split_once('[')?.1.split_once(']')?.0.to_owned())
}

fn governors(cpus: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(cpus).into_iter().flatten().flatten();
    let mut found: Vec<String> = entries
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("cpufreq/scaling_governor")).ok())
        .map(|text| text.trim().to_owned())
        .collect();
    found.sort();
    found.dedup();
    found
}

/// The file system of `path`, or of its nearest ancestor that exists.
fn file_system(path: &Path) -> Option<FileSystem> {
    let at = path.ancestors().find(|dir| dir.is_dir())?;
    let stat = rustix::fs::statfs(at).ok()?;
    let block = u64::try_from(stat.f_bsize).unwrap_or(0);
    let is_tmpfs = u64::try_from(stat.f_type).is_ok_and(|kind| kind == TMPFS_MAGIC);
    Some(FileSystem { at: at.to_owned(), is_tmpfs, free_bytes: stat.f_bavail.saturating_mul(block) })
}

fn access(path: &Path) -> Option<Access> {
    let metadata = std::fs::metadata(path).ok()?;
    Some(Access { mode: metadata.permissions().mode() & 0o7777, uid: metadata.uid() })
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "something listens there already".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_read_from_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        put("proc/sys/kernel/osrelease", "6.1.0-18-amd64\n");
        put("proc/cpuinfo", "processor : 0\nflags\t\t: fpu avx2 constant_tsc\n\nprocessor : 1\n");
        put("proc/self/status", "Name:\tx\nCapEff:\t0000000000004000\nCpus_allowed_list:\t0-2,7\n");
        put("sys/devices/system/cpu/isolated", "2,7\n");
        put("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n");
        put("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "powersave\n");
        put("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
        put("proc/swaps", "Filename Type\n/dev/sda2 partition\n");
        put("proc/loadavg", "1.25 1.00 0.50 2/400 1234\n");
        let found = Machine::read(dir.path(), &dir.path().join("run"), dir.path(), None);
        assert_eq!(found.kernel.as_deref(), Some("6.1.0-18-amd64"));
        assert_eq!(found.cpu_flags, ["fpu", "avx2", "constant_tsc"]);
        assert_eq!((found.cpus, found.isolated), (vec![0, 1, 2, 7], vec![2, 7]));
        assert_eq!((found.governors, found.swaps), (vec!["powersave".to_owned()], 1));
        assert_eq!(found.huge_pages.as_deref(), Some("madvise"));
        assert_eq!((found.lockable_bytes, found.load), (u64::MAX, Some(1.25)));
        assert!(found.run_dir.is_none() && found.data_fs.is_some_and(|fs| fs.at == dir.path()));
    }

    #[test]
    fn a_machine_that_says_nothing_is_read_too() {
        let dir = tempfile::tempdir().unwrap();
        let found = Machine::read(dir.path(), dir.path(), dir.path(), None);
        assert!(found.kernel.is_none() && found.cpus.is_empty() && found.governors.is_empty());
        assert_eq!(cpu_list("x-3,,4-,5"), [5]);
        assert_eq!(chosen("never"), None);
    }
}
