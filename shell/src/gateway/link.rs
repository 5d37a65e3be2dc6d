//! The shared-memory client as the pump's link, and the market it brings.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ringfence_ipc::client::{AttachError, AttachOptions, Client, ControlError, Event, SubmitError};
use ringfence_ipc::handshake::{ControlDone, ControlRequest, Role};
use ringfence_ipc::msg::{Intent, OperatorExt};

use super::market::Quotes;
use super::pump::{ControlFailure, GateLink, LinkError, LinkEvent, LinkRefusal, PumpError};

/// Bounds one handshake: the pump answers nobody meanwhile.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(1);
/// The name the shell attaches under.
const NAME: &str = "shell";

/// An operator's attachment. Every (re-)attachment maps a new market segment, told to `on_market`.
pub struct ClientLink<F> {
    client: Client,
    on_market: F,
}

impl From<AttachError> for LinkError {
    fn from(error: AttachError) -> Self {
        Self { transient: error.is_transient(), message: error.to_string() }
    }
}

impl<F: Fn(Quotes) + Send + 'static> ClientLink<F> {
    /// Attaches to the gate at `socket` as operator.
    ///
    /// # Errors
    /// [`LinkError`] when there is no gate, or it refuses.
    pub fn attach(socket: &Path, on_market: F) -> Result<Self, LinkError> {
        let options =
            AttachOptions { timeout: HANDSHAKE_WITHIN, ..AttachOptions::new(socket, Role::Operator, NAME) };
        let link = Self { client: Client::attach(options)?, on_market };
        link.tell_market();
        Ok(link)
    }

    fn tell_market(&self) {
        let market = self.client.market().clone();
        (self.on_market)(Arc::new(move |symbol| market.view(symbol)));
    }
}

impl<F: Fn(Quotes) + Send + 'static> GateLink for ClientLink<F> {
    fn submit_for(&mut self, intent: &Intent, ext: &OperatorExt) -> Result<u64, LinkRefusal> {
        self.client.submit_for(intent, ext).map_err(|error| match error {
            SubmitError::Full => LinkRefusal::Full,
            SubmitError::Lost => LinkRefusal::Lost,
            SubmitError::Fault(fault) => {
                tracing::error!(%fault, "the gate broke the ring protocol");
                LinkRefusal::Lost
            }
        })
    }

    fn control(&mut self, request: ControlRequest) -> Result<ControlDone, ControlFailure> {
        self.client.control(request).map_err(|error| match error {
            ControlError::Refused(refusal) => refusal.into(),
            ControlError::Config(text) | ControlError::Reconcile(text) => ControlFailure::Config(text),
            ControlError::Connection(error) => {
                tracing::warn!(%error, "a control request was not answered");
                PumpError::Unknown.into()
            }
        })
    }

    fn poll(&mut self) -> Option<LinkEvent> {
        self.client.poll().map(|event| match event {
            Event::Decision(decision) => LinkEvent::Decision(decision),
            Event::Lost => LinkEvent::Lost,
            Event::Report(_) | Event::Step(_) => LinkEvent::Other,
        })
    }

    fn reattach(&mut self, patience: Duration) -> Result<(), LinkError> {
        self.client.reattach(patience)?;
        self.tell_market();
        Ok(())
    }

    fn now_ns(&self) -> u64 {
        self.client.now_ns()
    }
}
