//! Who may attach as what, and which strategy is which: the control thread's own memory.

use std::collections::{HashMap, HashSet};
use std::os::unix::fs::PermissionsExt as _;

use ringfence_ipc::handshake::socket::PeerCredentials;
use ringfence_ipc::handshake::{Hello, RefusalCode, Role, Ticket};
use ringfence_ipc::journal::{STRATEGY_NAME_BYTES, StrategyRecord};
use ringfence_ipc::msg::{AccountId, StrategyId};

use crate::checkpoint::VENUE;
use crate::config::{ClientConfig, ConfigError};

/// A refusal with the text the client is shown.
pub(super) type Refusal = (RefusalCode, String);

/// One entry of the identity list.
struct Identity {
    role: Role,
    name: String,
    uid: Option<u32>,
    key: Option<[u8; 32]>,
}

/// What is known of one strategy.
struct Known {
    id: StrategyId,
    account: AccountId,
    ticket_digest: Option<u128>,
    attached: bool,
}

/// What is known of the venue's adapter.
#[derive(Default)]
struct Adapter {
    ticket_digest: Option<u128>,
    attached: bool,
}

/// Identities, strategies and tickets.
pub(super) struct Registry {
    identities: Vec<Identity>,
    strategies: HashMap<String, Known>,
    max_strategies: u16,
    feed_attached: bool,
    /// The venue's adapter; none: the gate's venue has none.
    venue: Option<Adapter>,
    /// Thrown out for a fault, and not back since.
    quarantined: HashSet<(Role, StrategyId)>,
}

/// Who a hello turned out to be.
pub(super) struct Admitted {
    pub strategy: StrategyId,
    pub account: AccountId,
    /// The strategy is new: the gate must be told before the client is served.
    pub new_strategy: Option<StrategyRecord>,
}

impl Registry {
    /// Reads key files; a key file that others can read is refused.
    pub fn new(
        clients: &[ClientConfig],
        max_strategies: u16,
        has_adapter: bool,
    ) -> Result<Self, ConfigError> {
        let identities = clients.iter().map(Identity::read).collect::<Result<_, _>>()?;
        Ok(Self {
            identities,
            strategies: HashMap::new(),
            max_strategies,
            feed_attached: false,
            venue: has_adapter.then(Adapter::default),
            quarantined: HashSet::new(),
        })
    }

    /// Recovery: a strategy record was in the journal.
    pub fn recover_strategy(&mut self, record: &StrategyRecord) {
        let known =
            Known { id: record.strategy, account: record.account, ticket_digest: None, attached: false };
        self.strategies.insert(record.name().to_owned(), known);
    }

    /// The strategy of this name, if it is known.
    pub fn id_of(&self, name: &str) -> Option<StrategyId> {
        self.strategies.get(name).map(|known| known.id)
    }

    /// Whether a strategy has this id.
    pub fn knows(&self, id: StrategyId) -> bool {
        self.strategies.values().any(|known| known.id == id)
    }

    /// The name of a strategy.
    pub fn name_of(&self, id: StrategyId) -> Option<&str> {
        self.strategies.iter().find(|(_, known)| known.id == id).map(|(name, _)| name.as_str())
    }

    /// The id after the highest known.
    pub fn next_strategy(&self) -> StrategyId {
        self.strategies.values().map(|known| known.id).max().map_or(1, |id| id.saturating_add(1))
    }

    /// Checks a hello against the identity list, names and tickets, and marks its name attached.
    pub fn admit(&mut self, hello: &Hello, peer: PeerCredentials, now_ns: u64) -> Result<Admitted, Refusal> {
        let listed = self.identities.iter().any(|identity| identity.admits(hello, peer));
        if !listed {
            let text = format!(
                "uid {} may not attach as {:?} `{}`: add a [[client]] entry to the core's configuration",
                peer.uid, hello.role, hello.name
            );
            return Err((RefusalCode::Identity, text));
        }
        match hello.role {
            Role::Strategy => self.admit_strategy(hello, now_ns),
            Role::Feed if self.feed_attached => {
                Err((RefusalCode::NameTaken, "a feed is attached already; one at a time".into()))
            }
            Role::Venue => self.admit_venue(hello),
            role => {
                self.feed_attached |= role == Role::Feed;
                Ok(Admitted { strategy: 0, account: 0, new_strategy: None })
            }
        }
    }

    /// A ticket that is not the newest belongs to an adapter after which another was given orders.
    fn admit_venue(&mut self, hello: &Hello) -> Result<Admitted, Refusal> {
        let Some(adapter) = &mut self.venue else {
            let text = "this gate runs its venue inside its own process: set venue = \"external\"";
            return Err((RefusalCode::Identity, text.into()));
        };
        if adapter.attached {
            return Err((RefusalCode::NameTaken, "an adapter is attached already; one at a time".into()));
        }
        if hello.ticket.is_some_and(|ticket| adapter.ticket_digest != Some(ticket.digest())) {
            let text = "another adapter was attached since: attach without the ticket".to_owned();
            return Err((RefusalCode::Ticket, text));
        }
        adapter.attached = true;
        Ok(Admitted { strategy: VENUE, account: 0, new_strategy: None })
    }

    fn admit_strategy(&mut self, hello: &Hello, now_ns: u64) -> Result<Admitted, Refusal> {
        if let Some(known) = self.strategies.get_mut(&hello.name) {
            if known.attached {
                let text = format!("strategy `{}` is attached already; one process at a time", hello.name);
                return Err((RefusalCode::NameTaken, text));
            }
            if hello.ticket.is_some_and(|ticket| known.ticket_digest != Some(ticket.digest())) {
                let text = "the resume ticket is not this strategy's newest: attach without one".to_owned();
                return Err((RefusalCode::Ticket, text));
            }
            known.attached = true;
            return Ok(Admitted { strategy: known.id, account: known.account, new_strategy: None });
        }
        let id = self.next_strategy();
        if id >= self.max_strategies {
            let text =
                format!("all {} strategies are taken: raise capacity.max_strategies", self.max_strategies);
            return Err((RefusalCode::Full, text));
        }
        let record = strategy_record(&hello.name, id, 0, now_ns);
        let known = Known { id, account: 0, ticket_digest: None, attached: true };
        self.strategies.insert(hello.name.clone(), known);
        Ok(Admitted { strategy: id, account: 0, new_strategy: Some(record) })
    }

    /// The ticket a new attachment was given; [`VENUE`]: the adapter's.
    pub fn set_ticket(&mut self, strategy: StrategyId, digest: u128) {
        if let Some(adapter) = self.venue.as_mut().filter(|_| strategy == VENUE) {
            adapter.ticket_digest = Some(digest);
        }
        if let Some(known) = self.strategies.values_mut().find(|known| known.id == strategy) {
            known.ticket_digest = Some(digest);
        }
    }

    /// A client was thrown out for a fault; says how many have been and are not back.
    pub fn quarantine(&mut self, role: Role, strategy: StrategyId) -> u64 {
        self.quarantined.insert((role, strategy));
        self.quarantined.len() as u64
    }

    /// A client is served; says as [`Self::quarantine`].
    pub fn served(&mut self, role: Role, strategy: StrategyId) -> u64 {
        self.quarantined.remove(&(role, strategy));
        self.quarantined.len() as u64
    }

    /// A client is gone: its name is free again.
    pub fn release(&mut self, role: Role, strategy: StrategyId) {
        match role {
            Role::Strategy => {
                if let Some(known) = self.strategies.values_mut().find(|known| known.id == strategy) {
                    known.attached = false;
                }
            }
            Role::Feed => self.feed_attached = false,
            Role::Venue => {
                if let Some(adapter) = &mut self.venue {
                    adapter.attached = false;
                }
            }
            _ => {}
        }
    }

    /// A fresh ticket.
    pub fn new_ticket() -> std::io::Result<Ticket> {
        Ok(Ticket(random_bytes()?))
    }
}

impl Identity {
    fn read(client: &ClientConfig) -> Result<Self, ConfigError> {
        let bad = |text: String| ConfigError::Value(format!("[[client]] `{}`: {text}", client.name));
        let role = client.role().ok_or_else(|| bad(format!("unknown role `{}`", client.role)))?;
        if client.uid.is_none() && client.key_file.is_none() {
            return Err(bad("give a uid, a key_file or both".into()));
        }
        let key = match &client.key_file {
            None => None,
            Some(path) => {
                let io = |source| ConfigError::Read { path: path.clone(), source };
                let mode = std::fs::metadata(path).map_err(io)?.permissions().mode();
                if mode & 0o077 != 0 {
                    return Err(bad(format!("{} is readable by others: chmod 600 it", path.display())));
                }
                let bytes = std::fs::read(path).map_err(io)?;
                Some(bytes.try_into().map_err(|_| bad(format!("{} must hold 32 bytes", path.display())))?)
            }
        };
        Ok(Self { role, name: client.name.clone(), uid: client.uid, key })
    }

    fn admits(&self, hello: &Hello, peer: PeerCredentials) -> bool {
        self.role == hello.role
            && (self.name == "*" || self.name == hello.name)
            && self.uid.is_none_or(|uid| uid == peer.uid)
            && self.key.is_none_or(|key| hello.key.is_some_and(|given| same_bytes(&key, &given)))
    }
}

/// Compares without telling by its duration where the first difference is.
fn same_bytes(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.iter().zip(b).fold(0, |difference, (x, y)| difference | (x ^ y)) == 0
}

/// A strategy record for a name that fits (the handshake bounds it).
pub(super) fn strategy_record(name: &str, id: StrategyId, account: AccountId, now_ns: u64) -> StrategyRecord {
    StrategyRecord { strategy: id, account, name: name_bytes(name), now_ns }
}

/// A name, zero-padded.
pub(super) fn name_bytes(name: &str) -> [u8; STRATEGY_NAME_BYTES] {
    let mut bytes = [0; STRATEGY_NAME_BYTES];
    for (to, from) in bytes.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    bytes
}

/// Bytes from the kernel's generator.
pub(super) fn random_bytes<const N: usize>() -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(bytes)
}
