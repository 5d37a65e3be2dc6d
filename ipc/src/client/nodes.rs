//! A client's nodes: registered over the socket, fed through the intents ring, read from the shared cache.

use super::{AttachError, Client};
use crate::cache::{CacheView, NodeSpec};
use crate::handshake::{NodeRefusal, NodeRequest};
use crate::msg::{NodeUpdate, Words};
use crate::ring::Fault;

/// A node that this client registered. It is good for one attachment: after [`Client::reattach`] register it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    series: u32,
    features: usize,
    attachment: u64,
}

impl Node {
    /// Index of its series in the cache's directory.
    #[must_use]
    pub fn series(&self) -> u32 {
        self.series
    }
}

/// Why a node was not registered or released.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The gate said no; the attachment goes on.
    #[error("the gate refused the node ({code:?}): {text}")]
    Refused {
        /// Stable code.
        code: NodeRefusal,
        /// What to do.
        text: String,
    },
    /// The conversation broke.
    #[error(transparent)]
    Attach(#[from] AttachError),
}

/// Why a value was not sent. The gate does not answer values; what it cannot use it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError {
    /// The ring is full: try again.
    #[error("the ring is full: try again")]
    Full,
    /// The gate is gone: poll until it says so, re-attach, register the node again.
    #[error("the gate is gone: poll until Lost, re-attach, and register the node again")]
    Lost,
    /// The node was registered in an earlier attachment.
    #[error("the node was registered before the gate was lost: register it again")]
    Stale,
    /// Another number of values than registered.
    #[error("{given} values where the node has {expected}")]
    Values {
        /// Values given.
        given: usize,
        /// Features registered.
        expected: usize,
    },
    /// The gate's memory contradicts the protocol.
    #[error("the gate broke the ring protocol: {0}")]
    Fault(Fault),
}

impl Client {
    /// The node cache, mapped read-only: every node of the host.
    #[must_use]
    pub fn cache(&self) -> &CacheView {
        &self.connection.cache
    }

    /// Registers a node, or finds it registered. With `produce` this client takes its lease: from then on nobody else
    /// can feed it, until it is released or this client is gone.
    ///
    /// # Errors
    /// [`NodeError`]; nothing has changed then.
    pub fn register_node(&mut self, spec: &NodeSpec, produce: bool) -> Result<Node, NodeError> {
        let series = self.node(NodeRequest::Register { spec: spec.clone(), produce })?;
        let attachment = self.connection.welcome.client;
        Ok(Node { series, features: spec.features().len(), attachment })
    }

    /// Gives the lease of a node back. What was fed stays.
    ///
    /// # Errors
    /// [`NodeRefusal::NotHeld`] when this client does not hold it.
    pub fn release_node(&mut self, node: Node) -> Result<(), NodeError> {
        self.node(NodeRequest::Release { series: node.series }).map(|_| ())
    }

    fn node(&self, request: NodeRequest) -> Result<u32, NodeError> {
        self.connection.node(request)?.map_err(|(code, text)| NodeError::Refused { code, text })
    }

    /// Feeds a node whose lease this client holds. Neither allocates nor calls the kernel.
    ///
    /// # Errors
    /// [`UpdateError`]; nothing was sent then.
    #[inline]
    pub fn update_node(&mut self, node: Node, time_ns: u64, values: &[f64]) -> Result<(), UpdateError> {
        let update = self.node_update(node, time_ns, values)?;
        self.push_update(&update)
    }

    /// Fills in a value of the past: where one was fed live, that one stays.
    ///
    /// # Errors
    /// As [`Client::update_node`].
    pub fn backfill_node(&mut self, node: Node, time_ns: u64, values: &[f64]) -> Result<(), UpdateError> {
        let update = self.node_update(node, time_ns, values)?.backfilled();
        self.push_update(&update)
    }

    #[inline]
    fn node_update(&self, node: Node, time_ns: u64, values: &[f64]) -> Result<NodeUpdate, UpdateError> {
        if node.attachment != self.connection.welcome.client {
            return Err(UpdateError::Stale);
        }
        let wrong = UpdateError::Values { given: values.len(), expected: node.features };
        NodeUpdate::new(node.series, time_ns, values).filter(|_| values.len() == node.features).ok_or(wrong)
    }

    #[inline]
    fn push_update(&mut self, update: &NodeUpdate) -> Result<(), UpdateError> {
        let slots: &[Words] = &update.encode();
        let pushed = match update.slots() {
            1 => self.intents.push1(&slots[0]),
            more => self.intents.push(&slots[..more]),
        };
        match pushed {
            Ok(Some(_)) => {
                self.connection.bells.ring();
                Ok(())
            }
            Ok(None) if self.connection.is_lost() => Err(UpdateError::Lost),
            Ok(None) => Err(UpdateError::Full),
            Err(fault) => {
                self.fault = Some(fault);
                Err(UpdateError::Fault(fault))
            }
        }
    }
}
