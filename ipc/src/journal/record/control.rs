//! Control records: what operators do to the gate, and what the gate does to itself.
//!
//! ```text
//!  CONTROL (1 slot, 2 with a note)
//!   0.0 kind|slots|control u16|scope u16|scope id u16   0.1 value   0.2 now ns   0.3 by (client id; 0: the gate)
//!   0.4 observed   0.5 threshold   0.6 0                1.* note, 56 bytes of text, zero-padded
//!
//!   control          value                                   observed, threshold
//!    1 SET_MODE      mode                                    0
//!    2 STORM         state u8 | cause u8                     what tripped, and at which value
//!    3 REARM         P&L that drawdowns count from, 1e-8     0
//!    4 CANCEL_ORDERS symbol + 1 (0: all) u32 | cause u32     0
//!    5 PNL_PEAK      highest P&L so far, 1e-8                0
//! ```

use super::codec::{RecordWords, pack_text, unpack_text, wire};
use super::types::RecordError;
use crate::msg::{DecodeError, SymbolId, Words, bits};
use crate::reason::{CancelCause, Mode, Scope, StormCause, StormState};

/// The longest note, bytes.
pub const NOTE_BYTES: usize = 56;

const SET_MODE: u64 = 1;
const STORM: u64 = 2;
const REARM: u64 = 3;
const CANCEL_ORDERS: u64 = 4;
const PNL_PEAK: u64 = 5;

/// Why something was done, in the operator's own words: up to 56 bytes of printable ASCII.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Note([u8; NOTE_BYTES]);

impl Note {
    /// No words.
    pub const EMPTY: Self = Self([0; NOTE_BYTES]);

    /// The note that says `text`.
    ///
    /// # Errors
    /// [`DecodeError::BadText`] when it is longer than [`NOTE_BYTES`] or not printable ASCII.
    pub fn new(text: &str) -> Result<Self, DecodeError> {
        let mut bytes = [0; NOTE_BYTES];
        let room = bytes.get_mut(..text.len()).filter(|_| text.bytes().all(is_printable));
        room.ok_or(DecodeError::BadText("note"))?.copy_from_slice(text.as_bytes());
        Ok(Self(bytes))
    }

    /// As much of `text` as a note takes, for texts that nobody can be asked to mend.
    #[must_use]
    pub fn lossy(text: &str) -> Self {
        let printable = text.trim().bytes().filter(|byte| is_printable(*byte));
        let mut bytes = [0; NOTE_BYTES];
        bytes.iter_mut().zip(printable).for_each(|(to, from)| *to = from);
        Self(bytes)
    }

    fn checked(bytes: [u8; NOTE_BYTES]) -> Result<Self, DecodeError> {
        let len = bytes.iter().position(|byte| *byte == 0).unwrap_or(NOTE_BYTES);
        let sound =
            bytes[..len].iter().all(|byte| is_printable(*byte)) && bytes[len..].iter().all(|b| *b == 0);
        if sound { Ok(Self(bytes)) } else { Err(DecodeError::BadText("note")) }
    }

    /// The words.
    #[must_use]
    pub fn text(&self) -> &str {
        let len = self.0.iter().position(|byte| *byte == 0).unwrap_or(NOTE_BYTES);
        std::str::from_utf8(&self.0[..len]).unwrap_or("")
    }

    /// Whether it says nothing but blanks.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.text().trim().is_empty()
    }
}

impl std::fmt::Debug for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self.text(), f)
    }
}

const fn is_printable(byte: u8) -> bool {
    byte.is_ascii_graphic() || byte == b' '
}

/// What a control record does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlKind {
    /// Set the mode of a scope (global or strategy). [`Mode::Killed`] is the kill switch.
    SetMode(Mode),
    /// StormGuard changes its state (global).
    Storm {
        /// Into this one.
        state: StormState,
        /// For this.
        cause: StormCause,
        /// What was seen, in the unit of the threshold's limit; 0 for an operator's act.
        observed: i64,
        /// The limit that it reached; 0 for an operator's act.
        threshold: i64,
    },
    /// Take back a kill (of a scope), and for the whole gate a halt. Needs a note.
    Rearm {
        /// Realised and unrealised less fees, 1e-8: drawdowns count from here again.
        pnl_e8: i64,
    },
    /// Cancel every open order of a scope (global, account or strategy).
    CancelOrders {
        /// Only in this symbol.
        symbol: Option<SymbolId>,
        /// Why.
        cause: CancelCause,
    },
    /// The P&L has risen: drawdowns count from here (global).
    PnlPeak {
        /// Realised and unrealised less fees, 1e-8.
        pnl_e8: i64,
    },
}

/// An operator's act, or the gate's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlRecord {
    /// What is done.
    pub control: ControlKind,
    /// To what.
    pub scope: Scope,
    /// To which.
    pub scope_id: u16,
    /// Gate time, ns.
    pub now_ns: u64,
    /// The client that asked; 0 for the gate itself.
    pub client: u64,
    /// Why.
    pub note: Note,
}

impl ControlRecord {
    /// An act of the gate itself on all of itself, without a note.
    #[must_use]
    pub const fn own(control: ControlKind, now_ns: u64) -> Self {
        Self { control, scope: Scope::Global, scope_id: 0, now_ns, client: 0, note: Note::EMPTY }
    }

    pub(super) fn encode(&self, kind: u8) -> RecordWords {
        let (control, value, observed, threshold) = match self.control {
            ControlKind::SetMode(mode) => (SET_MODE, mode as u64, 0, 0),
            ControlKind::Storm { state, cause, observed, threshold } => {
                (STORM, state as u64 | (cause as u64) << 8, observed as u64, threshold as u64)
            }
            ControlKind::Rearm { pnl_e8 } => (REARM, pnl_e8 as u64, 0, 0),
            ControlKind::CancelOrders { symbol, cause } => {
                let symbol = symbol.map_or(0, |symbol| u64::from(symbol) + 1);
                (CANCEL_ORDERS, symbol | (cause as u64) << 32, 0, 0)
            }
            ControlKind::PnlPeak { pnl_e8 } => (PNL_PEAK, pnl_e8 as u64, 0, 0),
        };
        let rest = control | (self.scope as u64) << 16 | u64::from(self.scope_id) << 32;
        let slots = if self.note == Note::EMPTY { 1 } else { 2 };
        let mut record = RecordWords::new(kind, slots, rest);
        record.words[0][1..6].copy_from_slice(&[value, self.now_ns, self.client, observed, threshold]);
        pack_text(&self.note.0, &mut record.words[1]);
        record
    }

    pub(super) fn decode(slots: &[Words]) -> Result<Self, RecordError> {
        let w = &slots[0];
        let rest = w[0] >> 16;
        let control = match bits(rest, 0, 16) {
            SET_MODE => ControlKind::SetMode(wire(Mode::from_wire(w[1]), "mode", w[1])?),
            STORM => ControlKind::Storm {
                state: wire(StormState::from_wire(bits(w[1], 0, 8)), "storm", w[1])?,
                cause: wire(StormCause::from_wire(w[1] >> 8), "cause", w[1])?,
                observed: w[4] as i64,
                threshold: w[5] as i64,
            },
            REARM => ControlKind::Rearm { pnl_e8: w[1] as i64 },
            CANCEL_ORDERS => ControlKind::CancelOrders {
                symbol: match bits(w[1], 0, 32) {
                    0 => None,
                    n => Some(wire(u16::try_from(n - 1).ok(), "symbol", n)?),
                },
                cause: wire(CancelCause::from_wire(w[1] >> 32), "cause", w[1])?,
            },
            PNL_PEAK => ControlKind::PnlPeak { pnl_e8: w[1] as i64 },
            other => return Err(DecodeError::BadEnum { field: "control", value: other }.into()),
        };
        let storm = matches!(control, ControlKind::Storm { .. });
        if w[6] != 0 || (!storm && (w[4] | w[5]) != 0) {
            return Err(DecodeError::Reserved(0).into());
        }
        let note = slots.get(1).map(|words| Note::checked(unpack_text(words))).transpose()?;
        if note == Some(Note::EMPTY) {
            return Err(DecodeError::BadText("note").into());
        }
        Ok(Self {
            control,
            scope: wire(Scope::from_wire(bits(rest, 16, 16)), "scope", bits(rest, 16, 16))?,
            scope_id: bits(rest, 32, 16) as u16,
            now_ns: w[2],
            client: w[3],
            note: note.unwrap_or(Note::EMPTY),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Record;
    use super::*;

    fn record(control: ControlKind, note: &str) -> ControlRecord {
        ControlRecord { note: Note::new(note).unwrap(), ..ControlRecord::own(control, 7) }
    }

    #[test]
    fn every_control_survives_the_log_with_and_without_a_note() {
        let storm = |observed| ControlKind::Storm {
            state: StormState::Halt,
            cause: StormCause::Drawdown,
            observed,
            threshold: i64::MIN,
        };
        let cancel = |symbol| ControlKind::CancelOrders { symbol, cause: CancelCause::ClientGone };
        let controls = [
            ControlKind::SetMode(Mode::Killed),
            storm(-1),
            storm(0),
            ControlKind::Rearm { pnl_e8: -5 },
            cancel(None),
            cancel(Some(0)),
            cancel(Some(u16::MAX)),
            ControlKind::PnlPeak { pnl_e8: i64::MAX },
        ];
        for control in controls {
            for note in ["", "x", "the desk asked for it", &"w".repeat(NOTE_BYTES)] {
                let record = Record::Control(record(control, note));
                let words = record.encode();
                assert_eq!(words.slots().len(), if note.is_empty() { 1 } else { 2 });
                assert_eq!(Record::decode(words.slots()), Ok(record));
            }
        }
    }

    #[test]
    fn notes_are_printable_and_fit() {
        assert!(Note::new(&"w".repeat(NOTE_BYTES + 1)).is_err());
        for bad in ["a\nb", "\0", "ü", "a\0b", "\u{7f}"] {
            assert!(Note::new(bad).is_err(), "{bad:?}");
        }
        assert!(Note::new("   ").unwrap().is_blank());
        assert_eq!(Note::lossy(" fat\n finger \u{1f4a5} ").text(), "fat finger ");
        assert_eq!(Note::lossy(&"w".repeat(99)).text().len(), NOTE_BYTES);
    }

    #[test]
    fn what_no_writer_writes_does_not_decode() {
        let good = record(ControlKind::SetMode(Mode::Killed), "x").encode(6);
        let decode = |at: (usize, usize), value: u64| {
            let mut slots = good.slots().to_vec();
            slots[at.0][at.1] = value;
            Record::decode(&slots)
        };
        assert!(decode((0, 1), 99).is_err(), "an unknown mode");
        assert!(decode((0, 4), 1).is_err(), "an observed value of a mode");
        assert!(decode((0, 6), 1).is_err(), "a reserved word");
        assert!(decode((1, 0), 0).is_err(), "a note that begins with nothing");
        assert!(decode((1, 3), 0x0a).is_err(), "bytes behind the note's end");
        let head = good.slots()[0][0];
        assert!(decode((0, 0), head | 0xff << 16).is_err(), "an unknown control");
    }
}
