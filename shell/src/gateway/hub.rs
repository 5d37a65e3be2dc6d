//! Order events on their way to many streams: rendered once, kept for resumption, shared by every reader.
//!
//! Events are kept as batches of finished text, in the form that a reader wants. Only events with an id can be resumed from; those without one
//! (states) follow the event that changed them and are told again when a stream resumes at it.

use std::collections::VecDeque;
use std::sync::RwLock;

use axum::body::Bytes;
use tokio::sync::watch;

use super::events::Event;
use super::lock;
use super::rendered::{Form, Rendered};

/// Events with an id that can be resumed over.
pub const RESUMABLE_EVENTS: usize = 65_536;

/// Events a stream may fall behind before it is dropped.
pub const MAX_BEHIND_EVENTS: u64 = 8_192;

/// Where one event with an id ends in its batch.
struct Mark {
    id: u64,
    end: u32,
}

/// Events of one burst, as they go over the wire.
struct Batch {
    marks: Box<[Mark]>,
    text: Rendered,
}

#[derive(Default)]
struct Log {
    batches: VecDeque<Batch>,
    /// Number of the first batch kept.
    first: u64,
    /// Events with an id ever published, and those still kept.
    published: u64,
    kept: usize,
    /// The newest id ever published or skipped.
    newest_id: u64,
    /// Every event with an id above this one is still here.
    complete_above: u64,
}

/// The order events' ring.
pub struct Hub {
    log: RwLock<Log>,
    head: watch::Sender<u64>,
}

/// Where a stream begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the next event.
    Live,
    /// With what followed this id.
    After(u64),
}

/// What a stream gets next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Events, in the form that was asked for.
    Text(Bytes),
    /// The wanted events are gone: a snapshot has to stand for them.
    Gone,
    /// The stream is too far behind.
    TooSlow,
    /// Nothing yet.
    Wait,
}

/// One stream's place in the ring.
pub struct Cursor {
    next_batch: u64,
    /// Only what follows this id counts in the first batch.
    after: Option<u64>,
    read: u64,
    caught_up: bool,
    gone: bool,
    head: watch::Receiver<u64>,
}

/// One event as SSE text.
pub fn write_sse(event: &Event, out: &mut Vec<u8>) {
    if let Some(id) = event.id {
        out.extend_from_slice(format!("id: {id}\n").as_bytes());
    }
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(event.name.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    out.extend_from_slice(event.json.as_bytes());
    out.extend_from_slice(b"\n\n");
}

/// At least the bytes that [`write_sse`] writes.
fn sse_bytes(event: &Event) -> usize {
    const LABELS: usize = "id: \nevent: \ndata: \n\n".len();
    const MAX_DIGITS: usize = 20;
    LABELS + MAX_DIGITS + event.name.len() + event.json.len()
}

impl Default for Hub {
    fn default() -> Self {
        Self { log: RwLock::default(), head: watch::Sender::new(0) }
    }
}

impl Hub {
    /// Publishes one burst of events, in journal order.
    pub fn publish(&self, events: &[Event]) {
        if events.is_empty() {
            return;
        }
        // Kept for long: exactly as large as it must be.
        let mut text = Vec::with_capacity(events.iter().map(sse_bytes).sum());
        let mut marks = Vec::with_capacity(events.len());
        for event in events {
            write_sse(event, &mut text);
            marks.extend(event.id.map(|id| Mark { id, end: text.len() as u32 }));
        }
        let head = {
            let mut log = lock::write(&self.log);
            log.published += marks.len() as u64;
            log.kept += marks.len();
            log.newest_id = marks.last().map_or(log.newest_id, |mark| mark.id);
            log.batches
                .push_back(Batch { marks: marks.into(), text: Bytes::from(text.into_boxed_slice()).into() });
            while log.kept > RESUMABLE_EVENTS
                && let Some(old) = log.batches.pop_front()
            {
                log.first += 1;
                log.kept -= old.marks.len();
                log.complete_above = old.marks.last().map_or(log.complete_above, |mark| mark.id);
            }
            log.first + log.batches.len() as u64
        };
        self.head.send_replace(head);
    }

    /// Forgets everything: events up to `position` were not rendered. Streams get a snapshot instead.
    pub fn skip_to(&self, position: u64) {
        let head = {
            let mut log = lock::write(&self.log);
            log.first += log.batches.len() as u64 + 1;
            log.batches.clear();
            log.kept = 0;
            (log.newest_id, log.complete_above) = (position, position);
            log.first
        };
        self.head.send_replace(head);
    }

    /// A place in the ring. After an id that is no longer (or was never) here, the first [`Next`] is
    /// [`Next::Gone`].
    pub fn cursor(&self, start: Start) -> Cursor {
        let head = self.head.subscribe();
        let log = lock::read(&self.log);
        let end = log.first + log.batches.len() as u64;
        let live =
            Cursor { next_batch: end, after: None, read: log.published, caught_up: true, gone: false, head };
        let Start::After(id) = start else { return live };
        if id < log.complete_above || id > log.newest_id {
            return Cursor { gone: true, ..live };
        }
        // The batch that holds the event `id`, or the first one after it.
        let at = log.batches.partition_point(|batch| batch.marks.last().is_none_or(|mark| mark.id < id));
        let before: usize = log.batches.iter().take(at).map(|batch| batch.marks.len()).sum();
        Cursor {
            next_batch: log.first + at as u64,
            after: Some(id),
            read: log.published - log.kept as u64 + before as u64,
            caught_up: false,
            ..live
        }
    }

    /// The newest id, by which a snapshot is named.
    pub fn newest_id(&self) -> u64 {
        lock::read(&self.log).newest_id
    }

    /// What comes next for `cursor`.
    pub fn next(&self, cursor: &mut Cursor, form: Form) -> Next {
        let log = lock::read(&self.log);
        let end = log.first + log.batches.len() as u64;
        if std::mem::take(&mut cursor.gone) {
            return Next::Gone;
        }
        if cursor.caught_up && log.published - cursor.read > MAX_BEHIND_EVENTS {
            return Next::TooSlow;
        }
        if cursor.next_batch < log.first {
            (cursor.next_batch, cursor.read, cursor.after) = (end, log.published, None);
            return Next::Gone;
        }
        let Some(batch) = log.batches.get((cursor.next_batch - log.first) as usize) else {
            cursor.caught_up = true;
            return Next::Wait;
        };
        cursor.next_batch += 1;
        cursor.read += batch.marks.len() as u64;
        let skip = cursor.after.take().map_or(0, |after| {
            batch.marks.iter().take_while(|mark| mark.id <= after).last().map_or(0, |mark| mark.end as usize)
        });
        Next::Text(batch.text.after(skip, form))
    }
}

impl Cursor {
    /// Waits until the ring has grown.
    pub async fn changed(&mut self) {
        // The hub outlives every stream; without it there is nothing to wait for.
        if self.head.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: u64) -> Event {
        Event { id: Some(id), name: "fill", json: format!("{{\"n\":{id}}}") }
    }

    fn state() -> Event {
        Event { id: None, name: "order_state", json: "{}".into() }
    }

    fn ids(hub: &Hub, cursor: &mut Cursor) -> Vec<u64> {
        let mut all = Vec::new();
        while let Next::Text(text) = hub.next(cursor, Form::Sse) {
            let text = String::from_utf8(text.to_vec()).unwrap();
            all.extend(text.lines().filter_map(|line| line.strip_prefix("id: ")?.parse::<u64>().ok()));
        }
        all
    }

    #[test]
    fn every_resume_point_gives_exactly_what_followed() {
        let hub = Hub::default();
        let all: Vec<u64> = (1..50).map(|n| n * 3).collect();
        for burst in all.chunks(4) {
            hub.publish(&burst.iter().flat_map(|id| [event(*id), state()]).collect::<Vec<_>>());
        }
        for after in 0..=all[all.len() - 1] {
            let mut cursor = hub.cursor(Start::After(after));
            let want: Vec<u64> = all.iter().copied().filter(|id| *id > after).collect();
            assert_eq!(ids(&hub, &mut cursor), want, "after {after}");
        }
    }

    #[test]
    fn the_state_that_follows_the_resume_point_is_told_again() {
        let hub = Hub::default();
        hub.publish(&[event(3), state(), event(6), state()]);
        let mut cursor = hub.cursor(Start::After(3));
        let Next::Text(text) = hub.next(&mut cursor, Form::Sse) else { panic!("no text") };
        assert!(text.starts_with(b"event: order_state\n"));
    }

    #[test]
    fn too_old_and_other_epochs_ask_for_a_snapshot() {
        let hub = Hub::default();
        for id in 1..=(RESUMABLE_EVENTS as u64 + 10) {
            hub.publish(&[event(id)]);
        }
        for stranger in [0, 9, RESUMABLE_EVENTS as u64 + 11] {
            let mut cursor = hub.cursor(Start::After(stranger));
            assert_eq!(hub.next(&mut cursor, Form::Sse), Next::Gone, "{stranger}");
            assert_eq!(hub.next(&mut cursor, Form::Sse), Next::Wait);
        }
        let mut cursor = hub.cursor(Start::After(10));
        assert_eq!(ids(&hub, &mut cursor).len(), RESUMABLE_EVENTS);
    }

    #[test]
    fn a_slow_stream_is_dropped_and_one_that_reads_history_is_not() {
        let hub = Hub::default();
        let mut slow = hub.cursor(Start::Live);
        assert_eq!(hub.next(&mut slow, Form::Sse), Next::Wait);
        for id in 1..=MAX_BEHIND_EVENTS + 1 {
            hub.publish(&[event(id)]);
        }
        let mut history = hub.cursor(Start::After(0));
        assert_eq!(hub.next(&mut slow, Form::Sse), Next::TooSlow);
        assert_eq!(ids(&hub, &mut history).len() as u64, MAX_BEHIND_EVENTS + 1);
    }

    #[test]
    fn events_that_were_never_rendered_are_a_snapshot_not_silence() {
        let hub = Hub::default();
        hub.publish(&[event(1)]);
        let mut live = hub.cursor(Start::Live);
        hub.skip_to(500);
        assert_eq!(hub.next(&mut live, Form::Sse), Next::Gone);
        let mut resumed = hub.cursor(Start::After(1));
        assert_eq!(hub.next(&mut resumed, Form::Sse), Next::Gone);
        hub.publish(&[event(501)]);
        assert_eq!(ids(&hub, &mut live), [501]);
        let mut resumed = hub.cursor(Start::After(500));
        assert_eq!(ids(&hub, &mut resumed), [501]);
    }
}
