//! GET /metrics: Prometheus text. The gate's numbers are read from its counters file at every scrape.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Method, Response, StatusCode, header};
use axum::response::IntoResponse;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use ringfence_ipc::counters::{self as gate, CountersReader, Histo};

use super::App;
use super::problem::Problem;
use super::read::own_memory_bytes;
use super::venue;
use crate::audit::{LogType, Status};
use crate::order_events;

/// Log-linear, seconds.
const HTTP_BUCKETS_S: [f64; 18] = [
    10e-6, 25e-6, 50e-6, 100e-6, 150e-6, 200e-6, 300e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 25e-3, 50e-3,
    100e-3, 250e-3, 1.0, 5.0,
];
/// Log-linear under 10 us, ns.
const GATE_BUCKETS_NS: [u64; 24] = [
    50,
    100,
    150,
    200,
    250,
    300,
    350,
    400,
    500,
    600,
    700,
    800,
    1_000,
    1_500,
    2_000,
    3_000,
    5_000,
    7_500,
    10_000,
    25_000,
    100_000,
    1_000_000,
    10_000_000,
    1_000_000_000,
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: &'static str,
    status: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabel {
    route: &'static str,
}

/// What the HTTP edge counts.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Family<RouteLabel, Histogram, fn() -> Histogram>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let requests = Family::<RequestLabels, Counter>::default();
        let durations = Family::<RouteLabel, Histogram, fn() -> Histogram>::new_with_constructor(|| {
            Histogram::new(HTTP_BUCKETS_S)
        });
        registry.register("ringfence_http_requests", "HTTP requests by route and status", requests.clone());
        registry.register(
            "ringfence_http_request_duration_seconds",
            "Time from a request's head to its answer's head",
            durations.clone(),
        );
        Self { registry, requests, durations }
    }
}

impl Metrics {
    /// Adds what `app` knows to every scrape. Weak, because the application owns the metrics.
    pub fn watch(&mut self, app: Weak<App>, counters_path: PathBuf) {
        self.registry.register_collector(Box::new(Scrape { app, counters_path }));
    }

    /// Counts one answered request.
    pub fn observe(&self, method: &Method, route: &'static str, status: StatusCode, took: Duration) {
        let method = match *method {
            Method::GET => "GET",
            Method::POST => "POST",
            Method::HEAD => "HEAD",
            Method::PUT => "PUT",
            Method::DELETE => "DELETE",
            Method::OPTIONS => "OPTIONS",
            _ => "OTHER",
        };
        self.requests.get_or_create(&RequestLabels { method, route, status: status.as_u16().into() }).inc();
        self.durations.get_or_create(&RouteLabel { route }).observe(took.as_secs_f64());
    }

    fn text(&self) -> Result<String, fmt::Error> {
        let mut open_metrics = String::with_capacity(16 << 10);
        text::encode(&mut open_metrics, &self.registry)?;
        Ok(prometheus_text(&open_metrics))
    }
}

/// OpenMetrics names a counter's family without `_total`; Prometheus text names it as its samples are named.
fn prometheus_text(open_metrics: &str) -> String {
    let counters: Vec<&str> = open_metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut out = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines().filter(|line| *line != "# EOF") {
        let comment = line.strip_prefix("# HELP ").map(|rest| ("# HELP ", rest));
        let comment = comment.or_else(|| line.strip_prefix("# TYPE ").map(|rest| ("# TYPE ", rest)));
        match comment.and_then(|(kind, rest)| Some((kind, rest.split_once(' ')?))) {
            Some((kind, (name, rest))) if counters.contains(&name) => {
                out.extend([kind, name, "_total ", rest]);
            }
            _ => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

/// GET /metrics
pub async fn metrics(State(app): State<Arc<App>>) -> Response<Body> {
    match app.metrics.text() {
        Ok(text) => {
            let mut response = text.into_response();
            let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            response.headers_mut().insert(header::CONTENT_TYPE, content_type);
            response
        }
        Err(error) => {
            tracing::error!(%error, "metrics could not be written");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "metrics could not be written")
                .into_response()
        }
    }
}

struct Scrape {
    app: Weak<App>,
    counters_path: PathBuf,
}

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scrape").field("counters_path", &self.counters_path).finish_non_exhaustive()
    }
}

pub(super) fn counter(out: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    ConstCounter::new(value).encode(out.encode_descriptor(name, help, None, MetricType::Counter)?)
}

pub(super) fn gauge(out: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let value = i64::try_from(value).unwrap_or(i64::MAX);
    ConstGauge::new(value).encode(out.encode_descriptor(name, help, None, MetricType::Gauge)?)
}

impl Collector for Scrape {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(app) = self.app.upgrade() else { return Ok(()) };
        shell_metrics(&app, &mut out)?;
        venue::metrics(&app, &mut out)?;
        match CountersReader::open(&self.counters_path) {
            Ok(reader) => gate_metrics(&reader, &mut out),
            // Without a gate its metrics are absent, and `ringfence_engine_running` says why.
            Err(_) => Ok(()),
        }
    }
}

fn shell_metrics(app: &App, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let (counts, orders, position) =
        app.gateway.look(|p| (p.counts.clone(), p.orders.open_count(), p.position()));
    let gate = &app.gateway.gate;
    gauge(out, "ringfence_engine_running", "1 while the gate answers", gate.is_connected().into())?;
    gauge(out, "ringfence_sse_clients", "Event streams being served", app.streams.count() as u64)?;
    gauge(
        out,
        "ringfence_pump_queue_depth",
        "Requests that wait to be sent to the gate",
        gate.depth() as u64,
    )?;
    gauge(out, "ringfence_journal_applied_position", "Last journal position in the projection", position)?;
    gauge(out, "ringfence_open_orders", "Orders that still work", orders as u64)?;
    gauge(
        out,
        "ringfence_process_own_memory_bytes",
        "Memory of the shell, without what it shares with the gate",
        own_memory_bytes(),
    )?;
    counter(out, "ringfence_orders_accepted", "Orders accepted by the gate", counts.orders_accepted)?;
    counter(
        out,
        "ringfence_orders_rejected",
        "Orders rejected by the gate for good",
        counts.orders_rejected,
    )?;
    counter(out, "ringfence_fills", "Fills booked", counts.fills)?;
    counter(out, "ringfence_cancels", "Orders that ended cancelled", counts.cancelled)?;
    counter(out, "ringfence_overfills", "Alarm: fills beyond an order's quantity", counts.overfills)?;
    let strays = "Alarm: fills for orders that the gate does not know";
    counter(out, "ringfence_stray_fills", strays, counts.stray_fills)?;
    if let Some(events) = &app.order_events {
        order_event_metrics(events, out)?;
    }
    audit_metrics(&app.audit.status(), out)
}

fn order_event_metrics(events: &order_events::Status, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let lag = "Journal slots whose order events are not published yet";
    gauge(out, "ringfence_order_events_lag_slots", lag, events.lag())?;
    let failing = u64::from(events.state() == order_events::State::Failing);
    gauge(out, "ringfence_order_events_failing", "1 while order events wait in the journal", failing)?;
    counter(out, "ringfence_order_events", "Order events published", events.messages())?;
    let failures = "Times that order events began to wait for their topic's engine";
    counter(out, "ringfence_order_events_failures", failures, events.failures())?;
    let gaps = "Stretches of the journal that were gone before they were published";
    counter(out, "ringfence_order_events_gaps", gaps, events.gaps())
}

fn audit_metrics(audit: &Status, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let mut records =
        out.encode_descriptor("ringfence_audit_records", "Audit records written", None, MetricType::Counter)?;
    for (log_type, count) in LogType::ALL.iter().zip(audit.written) {
        let labels = [("log_type", log_type.name())];
        records.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
    }
    let depth = audit.queue_depth as u64;
    gauge(out, "ringfence_audit_queue_depth", "Requests at work and audit records that wait", depth)?;
    counter(
        out,
        "ringfence_audit_unavailable",
        "Requests refused because nothing could be recorded",
        audit.refused,
    )?;
    counter(out, "ringfence_audit_missed", "Refusals of requests that were not recorded", audit.missed)?;
    gauge(
        out,
        "ringfence_audit_failing",
        "1 while the audit log cannot be written",
        audit.failing.is_some().into(),
    )?;
    let broken = audit.broken.len() as u64;
    gauge(out, "ringfence_audit_broken_chains", "Audit chains found broken since the start", broken)?;
    ConstGauge::new(audit.sync_age.as_secs_f64()).encode(out.encode_descriptor(
        "ringfence_audit_sync_age_seconds",
        "Time since the audit log was last synced",
        None,
        MetricType::Gauge,
    )?)
}

fn gate_metrics(reader: &CountersReader, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
    latency(
        out,
        "gateway_dispatch_latency_ns",
        "Intent seen to decision published, ns",
        reader,
        Histo::DecisionNs,
    )?;
    latency(out, "ringfence_gate_ring_ns", "Client timestamp to intent seen, ns", reader, Histo::RingNs)?;
    latency(
        out,
        "ringfence_gate_order_roundtrip_ns",
        "Command to its first report, ns",
        reader,
        Histo::OrderRoundtripNs,
    )?;
    let mut rejects =
        out.encode_descriptor("gateway_reject", "Intents rejected by reason", None, MetricType::Counter)?;
    for (reason, count) in reader.rejects() {
        let labels = [("reason", reason.name())];
        rejects.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
    }
    let value = |c| reader.get(c);
    counter(
        out,
        "gateway_dedup_hits",
        "Intents answered with a stored decision",
        value(gate::Counter::Duplicates),
    )?;
    let backlog = value(gate::Counter::IntentBacklog);
    gauge(out, "gateway_intent_channel_depth", "Slots waiting in all intent rings", backlog)?;
    let resident = value(gate::Counter::NodeCacheBytes);
    gauge(out, "qmtl_nodecache_resident_bytes", "Bytes of the node cache in use", resident)?;
    for counter in gate::Counter::ALL {
        let name = format!("ringfence_gate_{}", counter.name());
        gauge(out, &name, "The gate's own counter or gauge of this name", value(*counter))?;
    }
    Ok(())
}

fn latency(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    reader: &CountersReader,
    histogram: Histo,
) -> fmt::Result {
    let h = reader.histogram(histogram);
    let mut below = 0;
    let mut buckets = Vec::with_capacity(GATE_BUCKETS_NS.len() + 1);
    for bound in GATE_BUCKETS_NS {
        let at_most = h.count_at_most(bound).max(below);
        buckets.push((bound as f64, at_most - below));
        below = at_most;
    }
    let count = h.count().max(below);
    buckets.push((f64::MAX, count - below));
    out.encode_descriptor(name, help, None, MetricType::Histogram)?.encode_histogram::<NoLabelSet>(
        h.sum() as f64,
        count,
        &buckets,
        None,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_named_as_prometheus_names_them() {
        let metrics = Metrics::default();
        metrics.observe(&Method::GET, "/health", StatusCode::OK, Duration::from_micros(20));
        let text = metrics.text().unwrap();
        assert!(text.contains("# TYPE ringfence_http_requests_total counter\n"), "{text}");
        assert!(
            text.contains(r#"ringfence_http_requests_total{method="GET",route="/health",status="200"} 1"#),
            "{text}"
        );
        assert!(
            text.contains(r#"ringfence_http_request_duration_seconds_bucket{le="+Inf",route="/health"} 1"#),
            "{text}"
        );
        assert!(!text.contains("# EOF"));
    }
}
