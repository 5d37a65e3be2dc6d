//! Where the gate's threads sleep with `--wait park`, and who may wake them.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use ringfence_ipc::handshake::Role;
use ringfence_ipc::layout::{self, Parking};
use ringfence_ipc::segment::Mapping;
use ringfence_ipc::wake::{Bell, Parked, Sleeper};

use super::CoreError;
use crate::config::{CoreConfig, VenueKind, Wait};

/// The beds of the gate thread and of the venue's; none unless they may park.
#[derive(Clone, Debug, Default)]
pub(super) struct Beds {
    pub gate: Option<Arc<Sleeper>>,
    pub venue: Option<Arc<Sleeper>>,
}

impl Beds {
    /// Beds whose words stand in the market segment, which every client has mapped.
    pub fn new(config: &CoreConfig, market: &Mapping) -> Result<Self, CoreError> {
        if config.wait != Wait::Park {
            return Ok(Self::default());
        }
        let bed = |thread: Parking| -> Result<Arc<Sleeper>, CoreError> {
            let parked = Parked::new(layout::market_parked_mut(market, thread)?);
            Ok(Arc::new(Sleeper::new(parked).map_err(CoreError::Bells)?))
        };
        let has_thread = config.venue != VenueKind::Null && config.lockstep.is_none();
        Ok(Self {
            gate: Some(bed(Parking::Gate)?),
            venue: if has_thread { Some(bed(Parking::Venue)?) } else { None },
        })
    }

    /// Bells for another thread of this process, one for each bed there is.
    pub fn bells<const N: usize>(beds: [&Option<Arc<Sleeper>>; N]) -> Result<Vec<Bell>, CoreError> {
        beds.into_iter().flatten().map(|bed| bed.bell().map_err(CoreError::Bells)).collect()
    }

    /// Eventfds for a client of this role: the gate's, and for feeds the venue's.
    pub fn client_bells(&self, role: Role) -> std::io::Result<Vec<OwnedFd>> {
        let venue = self.venue.as_ref().filter(|_| role == Role::Feed);
        self.gate.iter().chain(venue).map(|bed| bed.add_bell()).collect()
    }

    /// The client is gone: its bells ring in vain.
    pub fn remove(&self, bells: &[OwnedFd]) {
        for (bed, bell) in self.gate.iter().chain(&self.venue).zip(bells) {
            bed.remove_bell(bell);
        }
    }
}
