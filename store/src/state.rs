//! The state machine: which states there are, and which moves.

/// Where a strategy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// In the queue.
    Submitted,
    /// A worker holds it.
    Processing,
    /// Its nodes are known, new ones and shared ones.
    Mapped,
    /// Its client executes it.
    Executing,
    /// Done.
    Completed,
    /// Given up; why stands in its error.
    Failed,
    /// Ended by its owner.
    Deleted,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Submitted,
        Self::Processing,
        Self::Mapped,
        Self::Executing,
        Self::Completed,
        Self::Failed,
        Self::Deleted,
    ];

    /// In tables, events and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Submitted => "submitted",
            Self::Processing => "processing",
            Self::Mapped => "mapped",
            Self::Executing => "executing",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Deleted => "deleted",
        }
    }

    /// By its name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// The four names that clients see. What was deleted has failed to whoever still asks.
    #[must_use]
    pub const fn public_name(self) -> &'static str {
        match self {
            Self::Submitted => "queued",
            Self::Processing | Self::Mapped | Self::Executing => "processing",
            Self::Completed => "completed",
            Self::Failed | Self::Deleted => "failed",
        }
    }

    /// Nothing more is done with it.
    #[must_use]
    pub const fn is_ended(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Deleted)
    }

    /// Another strategy with the same DAG may be submitted.
    #[must_use]
    pub const fn frees_duplicate_key(self) -> bool {
        matches!(self, Self::Failed | Self::Deleted)
    }

    /// The legal moves.
    #[must_use]
    pub const fn may_become(self, to: Self) -> bool {
        match self {
            Self::Submitted => matches!(to, Self::Processing | Self::Failed | Self::Deleted),
            Self::Processing => matches!(to, Self::Submitted | Self::Mapped | Self::Failed | Self::Deleted),
            Self::Mapped => {
                matches!(to, Self::Executing | Self::Completed | Self::Failed | Self::Deleted)
            }
            Self::Executing => matches!(to, Self::Completed | Self::Failed | Self::Deleted),
            Self::Completed | Self::Failed => matches!(to, Self::Deleted),
            Self::Deleted => false,
        }
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::State;

    #[test]
    fn every_state_has_a_name_of_its_own_and_leads_to_deletion() {
        for state in State::ALL {
            assert_eq!(State::parse(state.name()), Some(state));
            assert_eq!(state.may_become(State::Deleted), state != State::Deleted);
            assert!(!state.may_become(state));
            assert!(["queued", "processing", "completed", "failed"].contains(&state.public_name()));
        }
        assert_eq!(State::parse("queued"), None);
    }

    #[test]
    fn an_ended_strategy_never_lives_again() {
        for from in State::ALL.into_iter().filter(|state| state.is_ended()) {
            assert!(State::ALL.into_iter().all(|to| to.is_ended() || !from.may_become(to)));
        }
    }
}
