//! Nodes on the control socket: registering them, and the lease of their producer.

use super::codec::{HandshakeError, Reader, put_text};
use crate::cache::{MAX_FEATURE_NAME_BYTES, MAX_FEATURES, MAX_NODE_ID_BYTES, NodeSpec};

const REGISTER: u8 = 1;
const RELEASE: u8 = 2;

/// What a client may ask about nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeRequest {
    /// Register a node, or find it registered.
    Register {
        /// The node.
        spec: NodeSpec,
        /// Also take its lease: from then on only this client feeds it, until it releases it or is gone.
        produce: bool,
    },
    /// Give the lease of a series back.
    Release {
        /// Its index.
        series: u32,
    },
}

/// Why the gate said no to a node; the attachment goes on. Numbers are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum NodeRefusal {
    /// The directory or the budget is full.
    Full = 1,
    /// It is registered with a shorter window.
    Period = 2,
    /// It is registered with other features.
    Features = 3,
    /// Another client feeds it.
    LeaseTaken = 4,
    /// This client does not hold that lease.
    NotHeld = 5,
    /// This role has no nodes.
    Role = 6,
}

impl NodeRefusal {
    pub(super) const fn from_wire(value: u16) -> Option<Self> {
        Some(match value {
            1 => Self::Full,
            2 => Self::Period,
            3 => Self::Features,
            4 => Self::LeaseTaken,
            5 => Self::NotHeld,
            6 => Self::Role,
            _ => return None,
        })
    }
}

pub(super) fn encode(request: &NodeRequest, out: &mut Vec<u8>) {
    match request {
        NodeRequest::Register { spec, produce } => {
            out.push(REGISTER);
            out.push(u8::from(*produce));
            out.extend(spec.shape().interval_s().to_le_bytes());
            out.extend(spec.shape().period().to_le_bytes());
            put_text(out, spec.id(), MAX_NODE_ID_BYTES);
            out.push(spec.features().len() as u8);
            for name in spec.features() {
                put_text(out, name, MAX_FEATURE_NAME_BYTES);
            }
        }
        NodeRequest::Release { series } => {
            out.push(RELEASE);
            out.extend(series.to_le_bytes());
        }
    }
}

pub(super) fn decode(r: &mut Reader<'_>) -> Result<NodeRequest, HandshakeError> {
    match r.u8()? {
        REGISTER => {
            let produce = r.bool("produce")?;
            let (interval_s, period) = (r.u32()?, r.u32()?);
            let id = r.text(MAX_NODE_ID_BYTES, "node id")?;
            let count = usize::from(r.u8()?);
            if count > MAX_FEATURES {
                return Err(HandshakeError::Field("features"));
            }
            let name = |_| r.text(MAX_FEATURE_NAME_BYTES, "feature");
            let features = (0..count).map(name).collect::<Result<Vec<_>, _>>()?;
            let spec = NodeSpec::new(&id, interval_s, period, &features);
            Ok(NodeRequest::Register { spec: spec.map_err(|_| HandshakeError::Field("node"))?, produce })
        }
        RELEASE => Ok(NodeRequest::Release { series: r.u32()? }),
        _ => Err(HandshakeError::Field("node request")),
    }
}
