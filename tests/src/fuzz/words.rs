//! Decoders of slots and packets.

use ringfence_ipc::atomic::SEQUENCE_WORD;
use ringfence_ipc::handshake::{MAX_PACKET_BYTES, Packet};
use ringfence_ipc::journal::{MAX_RECORD_SLOTS, Record};
use ringfence_ipc::msg::{
    Command, Decision, DepthDelta, Intent, MAX_SLOTS, NODE_UPDATE_SLOTS, NodeUpdate, OperatorExt, Quote,
    Report, Step, StepDone, TapeEnd, Trade, VenueCall,
};
use ringfence_ipc::ring::Consumer;
use ringfence_ipc::view::{WriteSlots, WriteWord};

use super::{slots, take};

/// Every message of the rings, on any slot.
pub fn messages(data: &[u8]) {
    macro_rules! same {
        ($words:expr, $($message:ident)+) => {
            $(if let Ok(message) = $message::decode($words) {
                assert_eq!(message.encode(), *$words, "{message:?}");
            })+
        };
    }
    for pair in slots(data).chunks(2) {
        let words = &pair[0];
        same!(words, Intent OperatorExt Decision Quote Trade DepthDelta TapeEnd Step StepDone Command VenueCall);
        let Some(tail) = pair.get(1) else { continue };
        if let Ok(report) = Report::decode(words, tail) {
            assert_eq!(report.encode(), [*words, *tail], "{report:?}");
        }
    }
    for chunk in slots(data).chunks(NODE_UPDATE_SLOTS) {
        if let Ok(update) = NodeUpdate::decode(chunk) {
            assert_eq!(update.encode()[..update.slots()], chunk[..update.slots()], "{update:?}");
        }
    }
}

/// A ring's memory: the first byte says where reading starts, the rest are slots with their sequence words.
pub fn ring(data: &[u8]) {
    const CAPACITY: usize = 8;
    let ([start], mut rest) = take::<1>(data);
    let memory = WriteSlots::heap(CAPACITY);
    let mut consumer = Consumer::new(memory.reader(), WriteWord::heap(), u64::from(start));
    let mut run = [[0; 7]; 4];
    while !rest.is_empty() {
        // A slot's number, its sequence relative to the reader's place, then the reader looks.
        let ([slot, framing, number], after) = take::<3>(rest);
        rest = after;
        let sequence = (consumer.position() + 1).wrapping_add(number as i8 as u64) | u64::from(framing) << 60;
        memory.store(usize::from(slot) % CAPACITY, SEQUENCE_WORD, sequence);
        assert!(consumer.peek_run(&mut run) <= run.len());
        match consumer.peek() {
            Ok(Some(head)) => {
                assert!((1..=MAX_SLOTS).contains(&usize::from(head.slots)));
                (1..head.slots).for_each(|index| assert!(consumer.continuation(index).is_ok()));
                consumer.advance(head.slots);
            }
            Ok(None) => {}
            Err(fault) => {
                assert_eq!(consumer.peek(), Err(fault));
                return drop(fault.to_string());
            }
        }
    }
}

/// A journal record of up to three slots.
pub fn journal_record(data: &[u8]) {
    let slots = slots(data);
    let slots = &slots[..slots.len().min(MAX_RECORD_SLOTS)];
    let Some(first) = slots.first() else { return };
    let length = Record::slots_of(first);
    match Record::decode(slots) {
        Ok(record) => {
            assert_eq!(length, Ok(slots.len()), "{record:?}");
            let again = record.encode();
            // The two frequent kinds ignore what their outcome makes meaningless; what they read stands all the same.
            if matches!(record, Record::Decision(_) | Record::Report(_)) {
                assert_eq!(Record::decode(again.slots()), Ok(record));
            } else {
                assert_eq!(again.slots(), slots, "{record:?}");
            }
        }
        Err(error) => drop(error.to_string()),
    }
    if let Ok(length) = length {
        assert!((1..=MAX_RECORD_SLOTS).contains(&length));
    }
}

/// A packet of the control socket.
pub fn handshake(data: &[u8]) {
    match Packet::decode(data) {
        Ok(packet) => {
            let bytes = packet.encode();
            assert!(bytes.len() <= MAX_PACKET_BYTES.max(data.len()));
            assert_eq!(bytes, data, "{packet:?}");
        }
        Err(error) => drop(error.to_string()),
    }
}
