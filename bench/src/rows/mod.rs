//! One module per kind of row, and the table of all rows.

pub mod ring;
pub mod rtrb;
pub mod uds;

use anyhow::{Result, ensure};

use crate::args::Options;
use crate::peer::Link;
use crate::raw::RawLine;
use crate::slice::{ByRegime, Ticks, measure};
use crate::stats::Row;

/// What every row needs.
pub struct Bench {
    /// How to measure.
    pub options: Options,
    /// The peer process.
    pub link: Link,
    /// The raw line to it.
    pub raw: RawLine,
    /// All raw slices of the run.
    pub raw_total: ByRegime,
    /// The TSC's rate.
    pub clock: Ticks,
}

/// A row, or several of one name, and how to measure it.
type Measure = fn(&mut Bench, &'static str) -> Result<Vec<Row>>;

/// Every row, in report order.
pub const ALL: &[(&str, Measure)] = &[
    ("raw", raw_line),
    ("ring_rtt", ring_rtt),
    ("peer_rtrb", peer_rtrb),
    ("peer_uds", peer_uds),
    ("peer_uds_spinning", peer_uds_spinning),
];

fn raw_line(bench: &mut Bench, name: &'static str) -> Result<Vec<Row>> {
    // Measured like any other row, so its ratio to the slices in turn with it shows how far the method can be trusted.
    let mut subject = RawLine::new(&bench.link, bench.clock)?;
    measure(name, &mut subject, &mut bench.raw, &mut bench.raw_total, bench.options.row_time())
}

fn ring_rtt(bench: &mut Bench, name: &'static str) -> Result<Vec<Row>> {
    let mut subject = ring::RingEcho::new(&bench.link, bench.clock)?;
    measure(name, &mut subject, &mut bench.raw, &mut bench.raw_total, bench.options.row_time())
}

fn peer_rtrb(bench: &mut Bench, name: &'static str) -> Result<Vec<Row>> {
    let mut subject = rtrb::RtrbEcho::new(bench.clock)?;
    let rows = measure(name, &mut subject, &mut bench.raw, &mut bench.raw_total, bench.options.row_time())?;
    subject.finish()?;
    Ok(rows)
}

fn peer_uds(bench: &mut Bench, name: &'static str) -> Result<Vec<Row>> {
    let mut subject = uds::SocketEcho::blocking(&bench.link, bench.clock);
    measure(name, &mut subject, &mut bench.raw, &mut bench.raw_total, bench.options.row_time())
}

fn peer_uds_spinning(bench: &mut Bench, name: &'static str) -> Result<Vec<Row>> {
    let mut subject = uds::SocketEcho::spinning(&bench.link, bench.clock);
    measure(name, &mut subject, &mut bench.raw, &mut bench.raw_total, bench.options.row_time())
}

/// The rows that `only` names, or all.
///
/// # Errors
/// A name that no row has.
pub fn selected(only: &[String]) -> Result<Vec<(&'static str, Measure)>> {
    for name in only {
        let known: Vec<&str> = ALL.iter().map(|(known, _)| *known).collect();
        ensure!(known.contains(&name.as_str()), "no row `{name}`; there are {}", known.join(", "));
    }
    Ok(ALL.iter().filter(|(name, _)| only.is_empty() || only.iter().any(|o| o == name)).copied().collect())
}
