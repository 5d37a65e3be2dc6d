//! Samples as lines for a person.

use ringfence_ipc::client_table::ClientRow;
use ringfence_ipc::counters::{Counter, Histo};

use super::sample::Sample;
use super::site::{Life, Site};

/// Reasons that are shown, the most frequent first.
const REASONS_SHOWN: usize = 6;

/// The whole picture; rates and latencies are those since `earlier`.
pub fn picture(site: &Site, life: Life, sample: &Sample, earlier: Option<&Sample>) -> String {
    let mut text = head(site, life, sample);
    text += &format!("{}\n{}\n{}\n", traffic(sample, earlier), latency(sample, earlier), journal(sample));
    text += &rejects(sample);
    text += &clients(sample);
    text
}

fn head(site: &Site, life: Life, sample: &Sample) -> String {
    format!(
        "gate {} · pid {} · epoch {} · mode {} · {} clients · {} quarantined · {}\n",
        life.word(),
        sample.get(Counter::GatePid),
        sample.get(Counter::Epoch),
        sample.mode(),
        sample.get(Counter::AttachedClients),
        sample.get(Counter::QuarantinedClients),
        site.run_dir.display(),
    )
}

fn traffic(sample: &Sample, earlier: Option<&Sample>) -> String {
    let part = |name: &str, counter| {
        let rate =
            earlier.map(|_| format!(" ({}/s)", short(sample.rate(counter, earlier)))).unwrap_or_default();
        format!("{name} {}{rate}", short(sample.get(counter) as f64))
    };
    format!(
        "{}  {}  {}  {}  open orders {}\n{}  {}  dedup keys {} over {}  waiting intents {}",
        part("intents", Counter::Intents),
        part("accepted", Counter::Accepted),
        part("commands", Counter::Commands),
        part("fills", Counter::Fills),
        sample.get(Counter::OpenOrders),
        part("market", Counter::MarketMessages),
        part("duplicates", Counter::Duplicates),
        short(sample.get(Counter::DedupKeys) as f64),
        time(sample.get(Counter::DedupEffectiveAgeNs)),
        sample.get(Counter::IntentBacklog),
    )
}

fn latency(sample: &Sample, earlier: Option<&Sample>) -> String {
    let mut text =
        format!("{:<22}{:>10}{:>10}{:>10}{:>10}{:>12}", "latency", "p50", "p99", "p99.9", "max", "count");
    let rows = [
        ("decision", Histo::DecisionNs),
        ("waited in ring", Histo::RingNs),
        ("order round trip", Histo::OrderRoundtripNs),
        ("busy pass (sampled)", Histo::PassNs),
    ];
    for (name, histo) in rows {
        let of = sample.histogram(histo, earlier);
        text += &format!(
            "\n{:<22}{:>10}{:>10}{:>10}{:>10}{:>12}",
            name,
            time(of.percentile(0.5)),
            time(of.percentile(0.99)),
            time(of.percentile(0.999)),
            time(of.max()),
            short(of.count() as f64)
        );
    }
    text
}

fn journal(sample: &Sample) -> String {
    let (archive, disk) = sample.journal_lag();
    format!(
        "journal at {} · {archive} slots not archived · {disk} not on disk · {} records{}{}",
        sample.get(Counter::JournalPos),
        short(sample.get(Counter::JournalRecords) as f64),
        if sample.get(Counter::ArchiveErrors) > 0 { " · ARCHIVER FAILED" } else { "" },
        if sample.get(Counter::DiskLow) > 0 { " · DISK LOW" } else { "" },
    )
}

fn rejects(sample: &Sample) -> String {
    let mut reasons = sample.rejects.clone();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    if reasons.is_empty() {
        return "no rejects\n".to_owned();
    }
    let shown: Vec<String> = reasons
        .iter()
        .take(REASONS_SHOWN)
        .map(|(reason, count)| format!("{} {}", reason.name(), short(*count as f64)))
        .collect();
    let more = reasons.len().saturating_sub(REASONS_SHOWN);
    let more = if more > 0 { format!("  and {more} more reasons") } else { String::new() };
    format!("rejects  {}{more}\n", shown.join("  "))
}

fn clients(sample: &Sample) -> String {
    if sample.clients.is_empty() {
        return "nobody is attached\n".to_owned();
    }
    let mut text = format!(
        "{:<25}{:<10}{:>8}  {:<12}{:<22}{:<22}\n",
        "client", "role", "pid", "mode", "intents ring", "events ring"
    );
    for (_, row) in &sample.clients {
        text += &client(row);
    }
    text
}

fn client(row: &ClientRow) -> String {
    format!(
        "{:<25}{:<10}{:>8}  {:<12}{:<22}{:<22}{}\n",
        row.name(),
        row.role.name(),
        row.pid,
        row.mode.name(),
        fill(row.intents_waiting, row.intents_capacity),
        fill(row.events_unread, row.events_capacity),
        if row.lagging_since_ns == 0 { "" } else { "LAGGING" },
    )
}

/// `[####......] 123/1024`
fn fill(used: u32, capacity: u32) -> String {
    let tenths =
        if capacity == 0 { 0 } else { (u64::from(used) * 10).div_ceil(u64::from(capacity)).min(10) as usize };
    format!("[{}{}] {used}/{capacity}", "#".repeat(tenths), ".".repeat(10 - tenths))
}

/// A count in at most six characters.
pub fn short(value: f64) -> String {
    match value {
        v if v < 1e4 => format!("{v:.0}"),
        v if v < 1e6 => format!("{:.1}k", v / 1e3),
        v if v < 1e9 => format!("{:.2}M", v / 1e6),
        v => format!("{:.2}G", v / 1e9),
    }
}

/// Nanoseconds in a unit that suits them.
pub fn time(ns: u64) -> String {
    match ns {
        0..10_000 => format!("{ns} ns"),
        10_000..10_000_000 => format!("{:.1} us", ns as f64 / 1e3),
        10_000_000..10_000_000_000 => format!("{:.1} ms", ns as f64 / 1e6),
        _ => format!("{:.0} s", ns as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_short() {
        let counts = [(0.0, "0"), (9_999.0, "9999"), (12_345.0, "12.3k"), (5e6, "5.00M"), (7e12, "7000.00G")];
        counts.iter().for_each(|(value, text)| assert_eq!(short(*value), *text));
        let times = [
            (0, "0 ns"),
            (9_999, "9999 ns"),
            (12_345, "12.3 us"),
            (25_000_000, "25.0 ms"),
            (300 * 1_000_000_000, "300 s"),
        ];
        times.iter().for_each(|(ns, text)| assert_eq!(time(*ns), *text));
    }

    #[test]
    fn a_ring_shows_its_fill() {
        assert_eq!(fill(0, 1024), "[..........] 0/1024");
        assert_eq!(fill(1, 1024), "[#.........] 1/1024");
        assert_eq!(fill(1024, 1024), "[##########] 1024/1024");
        assert_eq!(fill(5, 0), "[..........] 5/0");
        assert_eq!(fill(u32::MAX, 1), format!("[##########] {}/1", u32::MAX));
    }
}
