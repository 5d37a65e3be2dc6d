//! The seven steps, one file each: dedup, policy, exposure, risk, command, commit, dispatch.
//!
//! The order is a type: each step takes what the one before it returns
//! (`Intent -> Fresh -> Permitted -> Sized -> Approved -> Command`), and only `risk` can build an [`risk::Approved`].
//! Steps 1 to 6 only read; `commit` runs after the decision is in the journal.

pub(super) mod command;
pub(super) mod commit;
pub(super) mod dedup;
pub(super) mod dispatch;
mod explain;
pub(super) mod exposure;
pub(super) mod policy;
pub(super) mod risk;

pub use risk::Approved;

use ringfence_ipc::msg::{Intent, IntentKind, intent_flags, kind_of};
use ringfence_ipc::reason::{LimitId, Reason};

use super::Gate;
use super::api::{Request, Verdict};
use super::tables::StrategyTables;
use super::window::Spot;

/// What commit needs from decide and nobody else may see.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Where the key goes in the dedup window; `None`: keyless, or nothing is stored.
    pub(super) spot: Option<Spot>,
    /// Digest of the intent's content.
    pub(super) content: u64,
}

impl Plan {
    pub(super) const NOTHING: Self = Self { spot: None, content: 0 };
}

/// Why a step said no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reject {
    pub reason: Reason,
    pub limit_id: LimitId,
    pub observed: i64,
    pub limit: i64,
}

impl Reject {
    pub const fn plain(reason: Reason) -> Self {
        Self { reason, limit_id: LimitId::None, observed: 0, limit: 0 }
    }

    pub const fn limit(reason: Reason, limit_id: LimitId, observed: i64, limit: i64) -> Self {
        Self { reason, limit_id, observed, limit }
    }
}

/// Whose intent it is, and which.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin<'a> {
    pub req: Request<'a>,
    /// The strategy it is decided for.
    pub tables: &'a StrategyTables,
    pub kind: IntentKind,
}

impl Origin<'_> {
    /// An operator asks for the strategy.
    pub const fn is_operator(&self) -> bool {
        (self.req.words[0] >> 32) as u16 & intent_flags::OPERATOR != 0
    }
}

impl Gate {
    /// The short way of a new order that passes every step. `None`: [`Gate::decide`] it, from the start; nothing has
    /// changed. Both ways are made of the same steps.
    #[inline(always)]
    #[must_use]
    pub fn pass<'a>(&'a self, req: &Request<'a>) -> Option<Approved<'a>> {
        if kind_of(req.words) != IntentKind::New as u8 {
            return None;
        }
        let fresh = dedup::check(self, req).ok()?;
        let permitted = policy::permit(self, fresh).ok()?;
        let intent = Intent::decode(req.words).ok()?;
        risk::pass_new(self, exposure::size_new(self, permitted, intent))
    }

    /// Decides one intent of any kind, with the reason of a refusal. Changes nothing: the caller appends the record to
    /// the journal, publishes the answer and the command, and then calls [`Gate::commit`].
    #[must_use]
    pub fn decide<'a>(&'a self, req: &Request<'a>) -> Verdict<'a> {
        let fresh = match dedup::check(self, req) {
            Ok(fresh) => fresh,
            Err(answer) => return Verdict::Refused(dispatch::early(req, &answer)),
        };
        let permitted = match policy::permit(self, fresh) {
            Ok(permitted) => permitted,
            Err(reject) => return Verdict::Refused(dispatch::transient(req, &reject)),
        };
        let intent = match Intent::decode(req.words) {
            Ok(intent) if exposure::is_sensible(&intent) => intent,
            _ => return Verdict::Refused(dispatch::transient(req, &Reject::plain(Reason::Malformed))),
        };
        let sized = exposure::size(self, permitted, intent);
        match risk::approve(self, sized) {
            Ok(approved) => Verdict::Accepted(approved),
            Err(reject) => Verdict::Refused(dispatch::refuse(&sized, &reject)),
        }
    }
}
