//! The report: JSON for machines, Markdown for the README, a page for the eye.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::stats::Row;

/// With more load than this before the run, two spinning processes do not have the two CPUs to themselves.
const BUSY_LOAD: f64 = 0.7;

/// Everything that was found.
pub struct Report {
    /// The machine line.
    pub machine: Value,
    /// How this program was started.
    pub command: String,
    /// Seed of keys and tables.
    pub seed: u64,
    /// Seconds it took.
    pub seconds: f64,
    /// What was measured.
    pub rows: Vec<Row>,
    /// Rows that could not be measured, and why.
    pub failed: Vec<(&'static str, String)>,
}

impl Report {
    /// Writes `report.json`, `report.md` and `report.html` into `dir`.
    ///
    /// # Errors
    /// The directory cannot be made or written.
    pub fn write(&self, dir: &Path) -> Result<()> {
        let write = |name: &str, text: String| {
            std::fs::write(dir.join(name), text)
                .with_context(|| format!("cannot write {}/{name}", dir.display()))
        };
        std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        write("report.json", serde_json::to_string_pretty(&self.json())? + "\n")?;
        write("report.md", self.markdown())?;
        write("report.html", crate::html::page(self))
    }

    fn json(&self) -> Value {
        let failed: Vec<Value> =
            self.failed.iter().map(|(name, why)| json!({ "name": name, "error": why })).collect();
        json!({
            "machine": self.machine, "command": self.command, "seed": self.seed, "seconds": self.seconds.round(),
            "rows": self.rows.iter().map(Row::json).collect::<Vec<_>>(), "failed": failed,
        })
    }

    /// A table and the line that says how it came about.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = String::from(
            "| row | regime | p50 | p99 | p99.9 | max | mean to p99, or rate | x raw line | n | slices (dropped) |\n\
             |---|---|--:|--:|--:|--:|--:|--:|--:|--:|\n",
        );
        for row in &self.rows {
            let cell = |value: Option<f64>| value.map_or("".to_owned(), |value| quantity(value, row.unit));
            let ratio = row.ratio_raw.map_or(String::new(), |ratio| format!("**{ratio:.2}**"));
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "| `{}` | {} | {} | {} | {} | {} | {} | {ratio} | {} | {} ({}) |",
                row.name,
                row.regime,
                cell(row.p50),
                cell(row.p99),
                cell(row.p999),
                cell(row.max),
                cell(row.value),
                row.n,
                row.slices,
                row.dropped,
            );
        }
        for row in &self.rows {
            let lost = row.lost.map_or(String::new(), |lost| format!(", {lost} lost"));
            if let Some(p95) = row.p95 {
                let _ = writeln!(text, "\n`{}`: p95 {}{lost}", row.name, quantity(p95, row.unit));
            }
        }
        for (name, why) in &self.failed {
            let _ = writeln!(text, "\n`{name}` could not be measured: {why}");
        }
        if self.machine["load_before"].as_f64().is_some_and(|load| load > BUSY_LOAD) {
            text +=
                "\n**Other programs were running: these numbers are good for smoke, not for comparison.**\n";
        }
        let machine = |field: &str| self.machine[field].as_str().unwrap_or("?").to_owned();
        let _ = writeln!(
            text,
            "\n{}; {}, {} CPUs, Linux {}, load before {}; {}; seed {}; `{}`; {:.0} s.\n\
             Latencies are round trips; `x raw line` is the mean up to p99 over the raw line's in slices taken in turn.\n\
             Rates: p50, p99 and p99.9 are what so many of the bursts reach.",
            machine("date"),
            machine("cpu"),
            self.machine["cpus"],
            machine("kernel"),
            self.machine["load_before"],
            machine("pinning"),
            self.seed,
            self.command,
            self.seconds,
        );
        text
    }
}

fn quantity(value: f64, unit: &str) -> String {
    match unit {
        "ns" if value < 100.0 => format!("{value:.1} ns"),
        "ns" if value < 10_000.0 => format!("{value:.0} ns"),
        "ns" if value < 10_000_000.0 => format!("{:.1} us", value / 1e3),
        "ns" => format!("{:.1} ms", value / 1e6),
        _ if value < 1e6 => format!("{:.0} k/s", value / 1e3),
        _ => format!("{:.2} M/s", value / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Latencies;

    #[test]
    fn the_report_holds_what_was_measured_and_what_was_not() {
        let mut latencies = Latencies::new().unwrap();
        latencies.add(&[100; 10]);
        let rows = vec![latencies.row("ring_rtt", "near", Some(50.0), 1, 1.0)];
        let report = Report {
            machine: json!({ "cpu": "c", "date": "d", "load_before": 3.5 }),
            command: "bench".to_owned(),
            seed: 1,
            seconds: 2.0,
            rows,
            failed: vec![("raw", "no CPU 1".to_owned())],
        };
        let dir = tempfile::tempdir().unwrap();
        report.write(dir.path()).unwrap();
        let json: Value =
            serde_json::from_str(&std::fs::read_to_string(dir.path().join("report.json")).unwrap()).unwrap();
        assert_eq!(json["rows"][0]["ratio_raw"], 2.0);
        assert_eq!(json["rows"][0]["work_checked"], true);
        assert_eq!(json["failed"][0]["error"], "no CPU 1");
        let text = report.markdown();
        assert!(text.contains("| `ring_rtt` | near | 100 ns |"), "{text}");
        assert!(text.contains("Other programs were running"));
        assert!(text.contains("`raw` could not be measured: no CPU 1"));
    }

    #[test]
    fn quantities_read_well() {
        assert_eq!(quantity(82.04, "ns"), "82.0 ns");
        assert_eq!(quantity(44_000.0, "ns"), "44.0 us");
        assert_eq!(quantity(20_500_000.0, "1/s"), "20.50 M/s");
    }
}
