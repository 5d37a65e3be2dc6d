//! Ringfence's numbers, with their method.
//!
//! Two virtual CPUs whose distance changes while they are measured: so every latency is taken in short slices, each
//! between two probes of the raw cache line, in turn with slices of that raw line, and reported as a ratio to it.
//! Every row checks that its work was done. Started by `cargo xtask bench`.

mod args;
mod html;
mod machine;
mod peer;
mod raw;
mod report;
mod rows;
mod slice;
mod stats;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;

use args::{Options, Role};
use machine::{NEAR_CPU, pin};
use report::Report;
use rows::Bench;
use slice::{ByRegime, Ticks};

fn main() -> ExitCode {
    let outcome = args::parse(std::env::args().skip(1)).and_then(|role| match role {
        Role::Measure(options) => run(options),
        Role::Peer(path) => peer::run(&path).map(|()| true),
        Role::Strategy(socket, number, seed) => rows::strategies::run(&socket, number, seed).map(|()| true),
        Role::Gate(path) => rows::gate_process::run(&path).map(|()| true),
    });
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures and reports; false when a row could not be measured.
fn run(options: Options) -> Result<bool> {
    let started = Instant::now();
    let selected = rows::selected(&options.only, options.sweep)?;
    let machine = machine::describe();
    pin(NEAR_CPU)?;
    let clock = Ticks::calibrate();
    let link = peer::Link::start_peer()?;
    let raw = raw::RawLine::new(&link, clock)?;
    let mut bench = Bench { options, link, raw, raw_total: ByRegime::new()?, clock };
    let (mut rows, mut failed) = (Vec::new(), Vec::new());
    for (name, measure) in selected {
        let row_started = Instant::now();
        match measure(&mut bench, name) {
            Ok(found) => rows.extend(found),
            Err(error) => failed.push((name, format!("{error:#}"))),
        }
        eprintln!("{name}: {:.1} s", row_started.elapsed().as_secs_f64());
    }
    let report = Report {
        machine,
        command: std::env::args().skip(1).fold("cargo xtask bench".to_owned(), |line, arg| line + " " + &arg),
        seed: bench.options.seed,
        seconds: started.elapsed().as_secs_f64(),
        rows,
        failed,
    };
    report.write(&bench.options.out)?;
    println!("{}", report.markdown());
    println!("written to {}/report.json, .md and .html", bench.options.out.display());
    Ok(report.failed.is_empty())
}
