//! The exchange as HTTP users see it: the truth of its adapter, in health, ping and metrics.

use std::fmt;

use prometheus_client::encoding::DescriptorEncoder;
use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use super::metrics::{counter, gauge};
use crate::venue::Venue;

/// Where the exchange stands.
#[derive(Serialize, ToSchema)]
pub(super) struct VenueBody {
    /// New orders pass.
    trading: bool,
    /// `detached`, `connecting`, `connected`, `reconciling`, `trading` or `lost`.
    state: &'static str,
    /// Why it is not trading; empty: it is.
    reason: String,
    /// Why the last request went without an answer.
    last_failure: String,
    /// How far the exchange's clock is ahead.
    clock_offset_ms: i64,
    /// Sessions of user events that were up.
    sessions: u64,
    /// Symbols of the gate that cannot be traded there.
    untraded: Vec<String>,
}

impl VenueBody {
    pub(super) fn new(venue: &Venue) -> Self {
        let (state, reason) = venue.state();
        let status = venue.status.borrow();
        Self {
            trading: venue.is_trading(),
            state,
            reason,
            last_failure: status.last_failure.clone(),
            clock_offset_ms: status.clock_offset_ms,
            sessions: status.sessions,
            untraded: status.untraded.clone(),
        }
    }
}

/// How the live market is doing.
#[derive(Serialize, ToSchema)]
pub(super) struct LiveMarketBody {
    connected: bool,
    connections: u64,
    malformed: u64,
    gaps: u64,
    last_failure: String,
}

impl LiveMarketBody {
    pub(super) fn of(app: &App) -> Option<Self> {
        let status = app.live_market.as_ref()?.borrow().clone();
        Some(Self {
            connected: status.connected,
            connections: status.connections,
            malformed: status.malformed,
            gaps: status.gaps,
            last_failure: status.last_failure,
        })
    }
}

/// Nothing without an exchange, and without a live market.
pub(super) fn metrics(app: &App, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
    if let Some(venue) = &app.venue {
        let trading = u64::from(venue.is_trading());
        let status = venue.status.borrow().clone();
        let (counts, apart_ms) = (status.counts, status.clock_offset_ms.unsigned_abs());
        gauge(out, "ringfence_venue_trading", "1 while new orders pass to the exchange", trading)?;
        gauge(
            out,
            "ringfence_venue_clock_apart_ms",
            "How far the exchange's clock is off, either way",
            apart_ms,
        )?;
        gauge(
            out,
            "ringfence_venue_strays",
            "Open orders there with an id of ours that nobody knows",
            counts.strays,
        )?;
        for (name, help, value) in [
            ("ringfence_venue_sessions", "Sessions of user events that were up", status.sessions),
            ("ringfence_venue_duplicates", "Events and fills that were known already", counts.duplicates),
            ("ringfence_venue_gaps", "Fills that no event brought: they were asked for", counts.gaps),
            (
                "ringfence_venue_foreign_fees",
                "Fees in an asset that is neither base nor quote",
                counts.foreign_fees,
            ),
            ("ringfence_venue_unreadable", "Answers and events that could not be read", counts.unreadable),
        ] {
            counter(out, name, help, value)?;
        }
    }
    if let Some(market) = LiveMarketBody::of(app) {
        gauge(
            out,
            "ringfence_market_connected",
            "1 while the live market comes in",
            market.connected.into(),
        )?;
        counter(out, "ringfence_market_connections", "Connections that were up", market.connections)?;
        counter(out, "ringfence_market_malformed", "Messages that were no market event", market.malformed)?;
        counter(out, "ringfence_market_gaps", "Depth updates that did not follow", market.gaps)?;
    }
    Ok(())
}
