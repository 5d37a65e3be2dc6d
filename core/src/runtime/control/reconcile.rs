//! A reconciliation on its way: control thread to venue and gate, a thread of its own that compares, and back.
//!
//! ```text
//!  control ──Snapshot{n}──▶ paper ──snapshot──────────────▶ worker: rebuilds the gate before position P from the
//!     │                       └─ mark n among the reports      journal, compares, writes JSON
//!     │◀── VenueMark{n, P} ── gate (finds it in its turn)       │
//!     └──────────────────────────────── P ─────────────────────▶└── answer ──▶ control ──parts──▶ operator
//! ```
//!
//! An adapter in another process is asked by a call among its commands, which the gate places there, and answers in parts
//! over the control socket; its mark comes among its reports just so.
//!
//! The mark passes through the same ring as the reports: before P the gate has booked exactly those that the snapshot
//! reflects. One comparison at a time; the gate thread does nothing for it but look at one report.

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use ringfence_ipc::client::MAX_ANSWER_BYTES;
use ringfence_ipc::handshake::{PART_BYTES, Packet, RefusalCode, Role, SnapshotLine, SnapshotPart};
use ringfence_ipc::wake::Bell;
use tracing::warn;

use super::super::mailbox::ToGate;
use super::super::missed::JournalPaths;
use super::super::paper_thread::ToPaper;
use super::super::peer::{Peer, Stage};
use super::Loop;
use crate::reconcile::{SnapshotFile, VenueSnapshot, differences, view_at};

/// How long the venue, and then the gate, may take for their part.
const PATIENCE: Duration = Duration::from_secs(5);
/// Orders and positions of one snapshot at most.
const MAX_SNAPSHOT_LINES: usize = 1 << 20;
/// The comparison yields to everything that trades.
const NICE: i32 = 10;

/// One that is under way.
pub(super) struct Reconciling {
    client: u64,
    number: u64,
    marks: Sender<u64>,
    answers: Receiver<Result<Vec<u8>, String>>,
    /// What an adapter has told so far.
    told: Option<Told>,
}

/// An adapter's snapshot on its way.
struct Told {
    snapshot: VenueSnapshot,
    answer: Sender<VenueSnapshot>,
}

/// What the worker needs.
struct Work {
    journal: JournalPaths,
    snapshots: Receiver<VenueSnapshot>,
    marks: Receiver<u64>,
    /// Only what the venue says, not compared.
    snapshot_only: bool,
}

impl Loop {
    /// An operator wants the books compared.
    pub(super) fn on_reconcile(&mut self, at: usize, snapshot_only: bool) {
        let Some(client) = self.peers.get(at).and_then(Option::as_ref).map(|peer| peer.client) else {
            return;
        };
        match self.begin_reconciling(client, snapshot_only) {
            Ok(()) => self.controls += 1,
            Err(text) => self.tell_reconciled(client, Err(text)),
        }
    }

    fn begin_reconciling(&mut self, client: u64, snapshot_only: bool) -> Result<(), String> {
        if self.reconciling.is_some() {
            return Err("another comparison is under way: try again in a moment".into());
        }
        let adapter = self.control.asks_adapter;
        let attached = |peer: &Peer| peer.role == Role::Venue && matches!(peer.stage, Stage::Active);
        if adapter && !self.peers.iter().flatten().any(attached) {
            return Err(
                "no adapter is attached: start it, or give the venue's snapshot with --venue FILE".into()
            );
        }
        if !adapter && self.control.to_paper.is_none() {
            return Err("this gate's venue cannot be asked (null venue, or lockstep): give its snapshot with --venue \
                        FILE"
                .into());
        }
        self.snapshots += 1;
        let number = self.snapshots;
        let ((answer, snapshots), (marks, marked)) = (bounded(1), bounded(1));
        let mut told = None;
        match &self.control.to_paper {
            _ if adapter => {
                self.mail.push_back(ToGate::AskVenue { number });
                told = Some(Told { snapshot: VenueSnapshot::default(), answer });
            }
            Some(to_paper) => to_paper
                .try_send(ToPaper::Snapshot { number, answer })
                .map_err(|_| "the venue takes no requests right now: try again in a moment".to_owned())?,
            None => {}
        }
        let journal = self.control.setup.journal.clone();
        let work = Work { journal, snapshots, marks: marked, snapshot_only };
        let (done, answers) = bounded(1);
        let worker = move || drop(done.send(work.run()));
        std::thread::Builder::new()
            .name("ringfence-rec".into())
            .spawn(worker)
            .map_err(|error| format!("no thread for the comparison: {error}"))?;
        self.reconciling = Some(Reconciling { client, number, marks, answers, told });
        self.control.bells.iter_mut().for_each(Bell::ring_if_parked);
        Ok(())
    }

    /// An adapter tells a part of what it has. One that was not asked for, or is too long, is not listened to.
    pub(super) fn on_venue_snapshot(
        &mut self,
        at: usize,
        part: SnapshotPart,
    ) -> Result<(), super::super::registry::Refusal> {
        let Some(Some(peer)) = self.peers.get_mut(at) else { return Ok(()) };
        peer.stage = Stage::Active;
        if peer.role != Role::Venue {
            return Err((RefusalCode::Identity, "only a venue's adapter may say what it has".into()));
        }
        let Some(reconciling) = self.reconciling.as_mut().filter(|r| r.number == part.number) else {
            return Ok(());
        };
        let Some(mut told) = reconciling.told.take() else { return Ok(()) };
        let snapshot = &mut told.snapshot;
        for line in part.lines {
            match line {
                SnapshotLine::Order(order) => snapshot.orders.push(order),
                SnapshotLine::Position(position) => {
                    snapshot.positions.get_or_insert_default().push(position);
                }
            }
        }
        let positions = snapshot.positions.as_ref().map_or(0, Vec::len);
        if snapshot.orders.len() + positions > MAX_SNAPSHOT_LINES {
            return Err((RefusalCode::Protocol, "a snapshot has no more lines than this".into()));
        }
        let Some(end) = part.end else {
            reconciling.told = Some(told);
            return Ok(());
        };
        snapshot.venue = "external".into();
        snapshot.epoch = Some(self.control.setup.epoch);
        snapshot.taken_ns = end.taken_ns;
        snapshot.last_order_id = Some(end.last_order_id);
        if end.has_positions {
            snapshot.positions.get_or_insert_default();
        }
        // Whoever compares may have given up.
        let _ = told.answer.try_send(told.snapshot);
        Ok(())
    }

    /// The gate has come to a snapshot's mark.
    pub(super) fn on_venue_mark(&self, number: u64, position: u64) {
        if let Some(reconciling) = self.reconciling.as_ref().filter(|r| r.number == number) {
            let _ = reconciling.marks.try_send(position);
        }
    }

    /// Passes a finished comparison on.
    pub(super) fn look_for_reconciled(&mut self) {
        let Some(reconciling) = &self.reconciling else { return };
        let answer = match reconciling.answers.try_recv() {
            Ok(answer) => answer,
            Err(TryRecvError::Empty) => return,
            Err(TryRecvError::Disconnected) => Err("the comparison failed: see the gate's log".to_owned()),
        };
        let client = reconciling.client;
        self.reconciling = None;
        self.controls = self.controls.saturating_sub(1);
        self.tell_reconciled(client, answer);
    }

    fn tell_reconciled(&mut self, client: u64, answer: Result<Vec<u8>, String>) {
        let Some(Some(peer)) = self.find(client).and_then(|at| self.peers.get_mut(at)) else { return };
        match answer {
            Ok(json) => {
                let parts = json.chunks(PART_BYTES).count();
                peer.outgoing.extend(
                    json.chunks(PART_BYTES).zip(1..).map(|(part, number)| Packet::Reconciled {
                        last: number == parts,
                        part: part.to_vec(),
                    }),
                );
            }
            Err(text) => {
                warn!(client, text, "no comparison with the venue");
                peer.outgoing.push_back(Packet::ReconcileRefused { text });
            }
        }
    }
}

impl Work {
    fn run(&self) -> Result<Vec<u8>, String> {
        // Refused, it only takes more of the CPU.
        let _ = rustix::process::setpriority_process(None, NICE);
        let snapshot = self.snapshots.recv_timeout(PATIENCE);
        let snapshot = snapshot.map_err(|_| "the venue did not answer in time: try again".to_owned())?;
        let position = self.marks.recv_timeout(PATIENCE);
        let position = position.map_err(
            |_| "the gate did not book the venue's reports in time: try again when it is less busy",
        )?;
        let snapshot = VenueSnapshot { journal_position: Some(position), ..snapshot };
        let view = view_at(&self.journal.hot, &self.journal.archive, Some(position));
        let view = view.map_err(|error| format!("the gate's books cannot be rebuilt: {error}"))?;
        let json = if self.snapshot_only {
            serde_json::to_vec(&SnapshotFile::of(&snapshot, &view.symbols))
        } else {
            serde_json::to_vec(&differences(&view, &snapshot))
        };
        let json = json.map_err(|error| format!("the answer cannot be written: {error}"))?;
        if json.len() > MAX_ANSWER_BYTES {
            return Err(format!("the answer has {} bytes, at most {MAX_ANSWER_BYTES} are told", json.len()));
        }
        Ok(json)
    }
}
