//! Journal records: what is written down, word by word.
//!
//! Word 0 of a record's first slot is `kind u8 | slots u8 | per-kind`. Word 7 of every slot belongs to the log (the
//! sequence in the hot ring, the checksum chain in the archive). Decoding is checked: a record from disk is input.
//!
//! ```text
//!  DECISION (2 slots, 3 with an operator's extension)
//!   0.0 kind|slots|outcome u8|tier u8|strategy u16|reason u16     0.1 intent header   0.2 key low   0.3 key high
//!   0.4 price   0.5 quantity   0.6 client timestamp ns
//!   1.0 time to live or target   1.1 now ns   1.2 order id | observed   1.3 0 | limit   1.4 reference price
//!   1.5 reference age us u32 | limit id u16 | account u16   1.6 intent position
//!   2.* OPERATOR_EXT, as on the wire
//!  REPORT (1 slot, 2 for fills)   0.0 kind|slots|state u8|flags u8|reason u16|symbol u16   0.1 order id
//!   0.2 cumulative quantity   0.3 leaves quantity   0.4 gate time ns   0.5 key low   0.6 report u8|0 u8|strategy u16|account u16
//!   1.0 last quantity   1.1 last price   1.2 trade id   1.3 fee e8   1.4 venue time ns   1.5, 1.6 reserved 0
//!  STRAY (2)    0.0 kind|slots|side u16|symbol u16   0.1 order id   0.2 cumulative qty   0.3 qty   0.4 price   0.5 now ns
//!               0.6 key, low half   1.0 trade id   1.1 fee e8   1.2 venue time ns   1.3..1.6 0
//!  BOOT (2)     0.0 kind|slots|lockstep u1   0.1 epoch   0.2 hash seed   0.3 now ns   0.4 layout hash
//!               1.0..1.4 build id, 40 bytes of text
//!  SYMBOL (1)   0.0 kind|slots|id u16|price scale u8|qty scale u8|multiplier.. see code
//!  STRATEGY (1) 0.0 kind|slots|id u16|account u16   0.1..0.3 name, 24 bytes   0.4 now ns
//!  ATTACH (1)   0.0 kind|slots|role u8|detached u8|strategy u16   0.1 now ns  0.2 client id  0.3, 0.4 ticket digest  0.5 pid|uid
//!  LIMIT (1)    0.0 kind|slots|scope u16|scope id u16|limit id u16   0.1 value, or i64::MIN: not set   0.2 now ns   0.3 config version
//!  CONTROL (1, 2 with a note)   see `control`
//!  MARK (1)     0.0 kind|slots|0|symbol u16   0.1 now ns   0.2 bid price   0.3 ask price   0.4 last price   0.5 event
//!  CLOSE (1)    0.0 kind|slots   0.1 now ns   0.2..0.5 state hash   0.6 market events
//!  CAPACITY (1) 0.0 kind|slots|symbols u16|strategies u16|accounts u16   0.1 order slots   0.2 positions   0.3 now ns
//!  CONFIG (1)   0.0 kind|slots|origin u16|changes u16   0.1 version   0.2 now ns   0.3 by (client id)   0.4, 0.5 digest
//! ```

mod codec;
mod control;
mod types;

#[cfg(test)]
mod tests;

pub use codec::{DecisionHead, MAX_RECORD_SLOTS, RecordWords, ReportSlots, report_slots};
pub use control::{ControlKind, ControlRecord, NOTE_BYTES, Note};
pub use types::{
    AttachRecord, BootRecord, CapacityRecord, CloseRecord, ConfigOrigin, ConfigRecord, DecisionRecord,
    LimitRecord, MarkRecord, Record, RecordError, Role, STRATEGY_NAME_BYTES, StrategyRecord, StrayRecord,
};
