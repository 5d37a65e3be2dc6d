//! The report as one page without scripts: latencies on a logarithmic axis, ratios to the raw line as bars.

use std::fmt::Write as _;

use crate::report::Report;
use crate::stats::Row;

const WIDTH: f64 = 900.0;
const LABELS: f64 = 210.0;
const LINE: f64 = 24.0;
/// The latency axis, powers of ten of a nanosecond.
const DECADES: std::ops::RangeInclusive<i32> = 0..=8;
const STYLE: &str = "body{font:14px/1.5 system-ui,sans-serif;max-width:1000px;margin:2em auto;padding:0 1em;color:#1c2330}\
 h2{margin:2em 0 .3em}svg{width:100%;height:auto}text{font:12px system-ui,sans-serif;fill:#1c2330}\
 .axis{stroke:#d5dae3}.span{fill:#9db8e8}.near{fill:#2f6fde}.far{fill:#b5651d}.any{fill:#5a6472}\
 pre{overflow-x:auto;background:#f4f6fa;padding:1em}";

/// The whole page.
#[must_use]
pub fn page(report: &Report) -> String {
    let latencies: Vec<&Row> = report.rows.iter().filter(|row| row.unit == "ns").collect();
    let ratios: Vec<&Row> = report.rows.iter().filter(|row| row.ratio_raw.is_some()).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Ringfence bench</title><style>{STYLE}</style>\n\
         <h1>Ringfence bench</h1>\n\
         <h2>Latency: mark at p50, bar to p99, line to p99.9</h2>\n{}\n\
         <h2>Mean up to p99, times the raw line</h2>\n{}\n\
         <h2>All numbers</h2>\n<pre>{}</pre>\n</html>\n",
        latency_chart(&latencies),
        ratio_chart(&ratios),
        escape(&report.markdown()),
    )
}

fn latency_chart(rows: &[&Row]) -> String {
    let (first, last) = (f64::from(*DECADES.start()), f64::from(*DECADES.end()));
    let x = |ns: f64| LABELS + (ns.max(1.0).log10().min(last) - first) / (last - first) * (WIDTH - LABELS);
    let height = LINE * (rows.len() as f64 + 1.0);
    let mut body = String::new();
    for decade in DECADES {
        let label = ["1 ns", "10", "100", "1 us", "10", "100", "1 ms", "10", "100"];
        let (at, label) = (x(10f64.powi(decade)), label.get(decade as usize).copied().unwrap_or(""));
        // Writing to a string cannot fail, here and below.
        let _ = write!(
            body,
            "<path class=\"axis\" d=\"M{at:.1} 18V{height:.0}\"/><text x=\"{at:.1}\" y=\"12\" text-anchor=\"middle\">{label}</text>"
        );
    }
    for (n, row) in rows.iter().enumerate() {
        let y = LINE * (n as f64 + 1.0);
        let (Some(p50), Some(p99), Some(p999)) = (row.p50, row.p99, row.p999) else { continue };
        let (mark, bar, tail) = (x(p50), x(p99), x(p999));
        let _ = write!(
            body,
            "{}<rect class=\"span\" x=\"{mark:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"2\"/>\
             <rect class=\"span\" x=\"{mark:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"10\"/>\
             <rect class=\"{}\" x=\"{:.1}\" y=\"{:.1}\" width=\"4\" height=\"16\"/>",
            label(row, y),
            y + 10.0,
            (tail - mark).max(0.0),
            y + 6.0,
            (bar - mark).max(0.0),
            row.regime,
            mark - 2.0,
            y + 3.0,
        );
    }
    svg(height, &body)
}

fn ratio_chart(rows: &[&Row]) -> String {
    // Peers that go through the kernel would flatten everything else; their bar ends at the edge, their number stands.
    let edge = 6.0;
    let mut body = String::new();
    for (n, row) in rows.iter().enumerate() {
        let (y, ratio) = (LINE * n as f64, row.ratio_raw.unwrap_or(0.0));
        let width = ratio.min(edge) / edge * (WIDTH - LABELS - 60.0);
        let _ = write!(
            body,
            "{}<rect class=\"{}\" x=\"{LABELS}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"14\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{ratio:.2}</text>",
            label(row, y),
            row.regime,
            y + 4.0,
            LABELS + width + 6.0,
            y + 16.0,
        );
    }
    svg(LINE * rows.len() as f64, &body)
}

fn label(row: &Row, y: f64) -> String {
    let name = format!("{} {}", escape(&row.name), row.regime);
    format!("<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>", LABELS - 10.0, y + 16.0)
}

fn svg(height: f64, body: &str) -> String {
    format!("<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\">{body}</svg>")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Latencies;

    #[test]
    fn the_page_draws_every_row_and_escapes_text() {
        let mut latencies = Latencies::new().unwrap();
        latencies.add(&[100; 10]);
        let report = Report {
            machine: serde_json::json!({}),
            command: "bench <x>".to_owned(),
            seed: 1,
            seconds: 1.0,
            rows: vec![latencies.row("ring_rtt", "near", Some(50.0), 0, 1.0)],
            failed: vec![],
        };
        let page = page(&report);
        assert_eq!(page.matches("ring_rtt near").count(), 2);
        assert!(page.contains(">2.00</text>"));
        assert!(page.contains("bench &lt;x&gt;") && !page.contains("<x>"));
    }
}
