//! Finished events in both forms that streams speak: server-sent text, and WebSocket frames. A server's frames are not
//! masked, so that they too are made once, when somebody first wants them, and shared by every reader.

use std::sync::OnceLock;

use axum::body::Bytes;
use tokio_tungstenite::tungstenite::protocol::frame::FrameHeader;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

/// How a stream is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `id`, `event` and `data` lines.
    Sse,
    /// One text frame for each event: `{"event":..,"id":..,"data":..}`.
    WebSocket,
}

/// Some events, finished.
#[derive(Clone, Debug, Default)]
pub struct Rendered {
    sse: Bytes,
    frames: OnceLock<Bytes>,
}

impl From<Bytes> for Rendered {
    fn from(sse: Bytes) -> Self {
        Self { sse, frames: OnceLock::new() }
    }
}

impl Rendered {
    /// All of it.
    pub fn text(&self, form: Form) -> Bytes {
        match form {
            Form::Sse => self.sse.clone(),
            Form::WebSocket => self.frames.get_or_init(|| frames(&self.sse)).clone(),
        }
    }

    /// What follows the first `skip` bytes of its server-sent text, where an event begins.
    pub fn after(&self, skip: usize, form: Form) -> Bytes {
        match form {
            Form::Sse => self.sse.slice(skip..),
            Form::WebSocket if skip == 0 => self.text(form),
            Form::WebSocket => frames(&self.sse[skip..]),
        }
    }
}

/// Appends one text frame.
pub fn write_frame(payload: &[u8], out: &mut Vec<u8>) {
    let header = FrameHeader { opcode: OpCode::Data(Data::Text), ..FrameHeader::default() };
    // Only a writer that fails can fail it, and a vector does not.
    let _ = header.format(payload.len() as u64, out);
    out.extend_from_slice(payload);
}

/// Every event of server-sent text as a frame. Comments are for that form alone.
fn frames(sse: &[u8]) -> Bytes {
    // What is rendered here is JSON and ASCII.
    let text = std::str::from_utf8(sse).unwrap_or_default();
    let mut out = Vec::with_capacity(sse.len() + sse.len() / 8);
    let (mut id, mut name, mut payload) = (None, "", Vec::new());
    for line in text.lines() {
        if let Some(value) = line.strip_prefix("id: ") {
            id = Some(value);
        } else if let Some(value) = line.strip_prefix("event: ") {
            name = value;
        } else if let Some(data) = line.strip_prefix("data: ") {
            payload.clear();
            payload.extend_from_slice(b"{\"event\":\"");
            payload.extend_from_slice(name.as_bytes());
            payload.push(b'"');
            if let Some(id) = id.take() {
                payload.extend_from_slice(b",\"id\":");
                payload.extend_from_slice(id.as_bytes());
            }
            payload.extend_from_slice(b",\"data\":");
            payload.extend_from_slice(data.as_bytes());
            payload.push(b'}');
            write_frame(&payload, &mut out);
        }
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "retry: 1000\n: connected\n\nid: 7\nevent: fill\ndata: {\"a\":\"x\"}\n\nevent: market\ndata: {}\n\n";

    fn payloads(mut bytes: &[u8]) -> Vec<String> {
        let mut all = Vec::new();
        while let [0x81, length, rest @ ..] = bytes {
            let (payload, rest) = rest.split_at(usize::from(*length));
            all.push(String::from_utf8(payload.to_vec()).unwrap());
            bytes = rest;
        }
        assert!(bytes.is_empty());
        all
    }

    #[test]
    fn both_forms_tell_the_same_and_frames_are_made_once() {
        let rendered = Rendered::from(Bytes::from_static(TEXT.as_bytes()));
        let first = rendered.text(Form::WebSocket);
        assert_eq!(
            payloads(&first),
            [r#"{"event":"fill","id":7,"data":{"a":"x"}}"#, r#"{"event":"market","data":{}}"#]
        );
        assert_eq!(rendered.text(Form::WebSocket).as_ptr(), first.as_ptr());
        assert_eq!(rendered.text(Form::Sse), TEXT);
    }

    #[test]
    fn the_rest_of_a_batch_is_told_from_where_a_reader_resumes() {
        let rendered = Rendered::from(Bytes::from_static(TEXT.as_bytes()));
        let at = TEXT.find("event: market").unwrap();
        assert_eq!(payloads(&rendered.after(at, Form::WebSocket)), [r#"{"event":"market","data":{}}"#]);
        assert_eq!(rendered.after(at, Form::Sse), &TEXT[at..]);
    }
}
