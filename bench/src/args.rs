//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};

/// What this process is.
pub enum Role {
    /// The one that measures.
    Measure(Options),
    /// The far end of raw line, ring and socket; maps the given file.
    Peer(PathBuf),
    /// A complete gate process with its configuration in the given file.
    Gate(PathBuf),
    /// One of many strategies: the gate's socket, its number, the seed.
    Strategy(String, u64, u64),
}

/// How to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Under a minute in total: fewer slices, wider noise.
    pub quick: bool,
    /// Instead of the usual rows those over many strategies.
    pub sweep: bool,
    /// Rows to run; all when empty.
    pub only: Vec<String>,
    /// Where the report goes.
    pub out: PathBuf,
    /// Seed of keys and hash tables.
    pub seed: u64,
}

impl Options {
    /// How long one row's slices go on.
    pub const fn row_time(&self) -> Duration {
        if self.quick { Duration::from_millis(2_500) } else { Duration::from_secs(25) }
    }

    /// How long one row over HTTP runs.
    pub const fn http_time(&self) -> Duration {
        if self.quick { Duration::from_millis(1_000) } else { Duration::from_secs(10) }
    }

    /// How long one `strategies_N` runs.
    pub const fn sweep_time(&self) -> Duration {
        if self.quick { Duration::from_secs(1) } else { Duration::from_secs(5) }
    }

    /// How long `gate_sustained` runs.
    pub const fn sustained_time(&self) -> Duration {
        if self.quick { Duration::from_secs(5) } else { Duration::from_secs(30) }
    }
}

/// Reads the arguments after the program's name.
///
/// # Errors
/// An argument that means nothing, said with the usage.
pub fn parse(args: impl Iterator<Item = String>) -> Result<Role> {
    let mut options = Options {
        quick: false,
        sweep: false,
        only: Vec::new(),
        out: PathBuf::from("target/bench"),
        seed: 0x5eed,
    };
    let mut args = args.peekable();
    while let Some(arg) = args.next() {
        match (arg.as_str(), args.peek()) {
            ("--peer", Some(path)) => return Ok(Role::Peer(PathBuf::from(path))),
            ("--gate", Some(path)) => return Ok(Role::Gate(PathBuf::from(path))),
            ("--strategy", Some(_)) => {
                let mut word = || args.next().unwrap_or_default();
                return Ok(Role::Strategy(word(), word().parse()?, word().parse()?));
            }
            ("--quick", _) => options.quick = true,
            ("--sweep", _) => options.sweep = true,
            ("--only", Some(_)) => {
                while let Some(name) = args.next_if(|next| !next.starts_with("--")) {
                    options.only.push(name);
                }
            }
            ("--out", Some(_)) => options.out = args.next().map_or(options.out, PathBuf::from),
            ("--seed", Some(seed)) => {
                options.seed = seed.parse()?;
                args.next();
            }
            _ => bail!(
                "cannot read `{arg}`\nusage: bench [--quick] [--sweep] [--only NAME..] [--seed N] [--out DIR]"
            ),
        }
    }
    Ok(Role::Measure(options))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measure(line: &str) -> Option<Options> {
        match parse(line.split_whitespace().map(str::to_owned)) {
            Ok(Role::Measure(options)) => Some(options),
            _ => None,
        }
    }

    #[test]
    fn rows_are_listed_up_to_the_next_option() {
        let options = measure("--only raw ring_rtt --quick --seed 7").unwrap();
        assert_eq!(options.only, ["raw", "ring_rtt"]);
        assert!(options.quick);
        assert_eq!(options.seed, 7);
    }

    #[test]
    fn unknown_arguments_are_refused() {
        assert!(measure("--fast").is_none());
        assert!(measure("--seed x").is_none());
        assert!(measure("--only").is_none());
    }
}
