//! Nodes on the control socket: to the gate thread, which writes the cache, and back.

use ringfence_ipc::handshake::{NodeRefusal, NodeRequest, Packet, RefusalCode, Role};

use super::super::mailbox::ToGate;
use super::super::nodes::{NodeFault, NodeTurn};
use super::super::peer::Stage;
use super::super::registry::Refusal;
use super::Loop;

impl Loop {
    /// A strategy or an operator asks about a node; whoever only watches or quotes has none.
    pub(super) fn on_node(&mut self, at: usize, request: NodeRequest) -> Result<(), Refusal> {
        let Some(Some(peer)) = self.peers.get_mut(at) else { return Ok(()) };
        peer.stage = Stage::Active;
        if peer.asking || !peer.outgoing.is_empty() {
            return Err((
                RefusalCode::Protocol,
                "one request about a node at a time: read its answer".into(),
            ));
        }
        if matches!(peer.role, Role::Strategy | Role::Operator) {
            let turn = NodeTurn { client: peer.client, request, outcome: Err(NodeFault::NotHeld) };
            self.mail.push_back(ToGate::Node(Box::new(turn)));
            peer.asking = true;
        } else {
            let text = "only strategies and operators have nodes".to_owned();
            peer.outgoing.push_back(Packet::NodeRefused { code: NodeRefusal::Role, text });
        }
        Ok(())
    }

    /// The gate has answered.
    pub(super) fn on_node_answer(&mut self, turn: NodeTurn) {
        if let Some(Some(peer)) = self.find(turn.client).and_then(|at| self.peers.get_mut(at)) {
            peer.asking = false;
            peer.outgoing.push_back(match turn.outcome {
                Ok(series) => Packet::NodeGranted { series },
                Err(fault) => Packet::NodeRefused { code: fault.code(), text: fault.to_string() },
            });
        }
    }
}
