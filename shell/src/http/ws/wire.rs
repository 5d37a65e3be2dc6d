//! A WebSocket without IO: bytes go in, messages come out, and what must be written is left as bytes.

use std::io::{self, Read, Write};

use axum::body::Bytes;
use tokio_tungstenite::tungstenite::error::{Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame};
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, WebSocket};

/// Bytes read at once, and held of what is not yet a message.
pub const READ_BYTES: usize = 4096;

/// What the protocol reads from and writes to.
#[derive(Default)]
struct Memory {
    input: Vec<u8>,
    read: usize,
    output: Vec<u8>,
}

impl Read for Memory {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = &self.input[self.read..];
        if rest.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let bytes = rest.len().min(buffer.len());
        buffer[..bytes].copy_from_slice(&rest[..bytes]);
        self.read += bytes;
        Ok(bytes)
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Why nothing more can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// A stable code.
    pub error: &'static str,
    /// What is wrong, and what to do.
    pub message: String,
    /// What the close frame says.
    pub code: CloseCode,
}

/// The server's end.
pub struct Wire {
    socket: WebSocket<Memory>,
    message_bytes: usize,
}

impl Wire {
    /// Takes messages of at most `message_bytes`, in however many frames.
    #[must_use]
    pub fn new(message_bytes: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES)
            .write_buffer_size(0)
            .max_message_size(Some(message_bytes))
            .max_frame_size(Some(message_bytes));
        Self {
            socket: WebSocket::from_raw_socket(Memory::default(), Role::Server, Some(config)),
            message_bytes,
        }
    }

    /// Takes bytes from the peer.
    pub fn feed(&mut self, bytes: &[u8]) {
        let memory = self.socket.get_mut();
        memory.input.drain(..std::mem::take(&mut memory.read));
        memory.input.extend_from_slice(bytes);
    }

    /// The next message; none before more bytes come.
    ///
    /// # Errors
    /// [`Broken`]: the connection must be closed.
    pub fn next(&mut self) -> Result<Option<Message>, Broken> {
        let broken = |error, message: String, code| Err(Broken { error, message, code });
        match self.socket.read() {
            Ok(message) => Ok(Some(message)),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(Error::Capacity(_)) => {
                let message =
                    format!("a message has at most {} bytes: send less at once", self.message_bytes);
                broken("too_large", message, CloseCode::Size)
            }
            Err(Error::Utf8(_)) => {
                broken("bad_text", "a text message must be UTF-8: mend the sender".into(), CloseCode::Invalid)
            }
            Err(Error::Protocol(error @ ProtocolError::UnmaskedFrameFromClient)) => {
                broken("bad_frame", format!("{error}: mask every frame"), CloseCode::Protocol)
            }
            Err(error) => broken("bad_frame", format!("{error}: mend the sender"), CloseCode::Protocol),
        }
    }

    /// What the protocol itself answers, pongs and the echo of a close.
    pub fn take_output(&mut self) -> Option<Bytes> {
        let output = std::mem::take(&mut self.socket.get_mut().output);
        (!output.is_empty()).then(|| output.into())
    }
}

/// A ping.
pub const PING: Bytes = Bytes::from_static(b"\x89\x00");

/// A close frame that says why.
#[must_use]
pub fn close(code: CloseCode, reason: &'static str) -> Bytes {
    let mut out = Vec::with_capacity(64);
    // A vector takes everything.
    let _ = Frame::close(Some(CloseFrame { code, reason: reason.into() })).format(&mut out);
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![first, 0x80 | payload.len() as u8, 0, 0, 0, 0];
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn a_message_in_single_bytes_and_in_fragments_is_one_message() {
        let mut wire = Wire::new(64);
        let ping = frame(0x89, b"p");
        let all = [frame(0x01, b"ab"), ping, frame(0x80, b"cd")].concat();
        let mut seen = Vec::new();
        for byte in all {
            wire.feed(&[byte]);
            while let Some(message) = wire.next().unwrap() {
                seen.push(message);
            }
        }
        assert_eq!(seen, [Message::Ping("p".into()), Message::text("abcd")]);
        assert_eq!(wire.take_output().unwrap(), [0x8a, 1, b'p'][..], "the pong is left to be written");
    }

    #[test]
    fn what_breaks_the_protocol_is_named() {
        let unmasked = [0x81, 1, b'x'].to_vec();
        let long = [frame(0x01, &[b'x'; 60]), frame(0x80, &[b'x'; 60])].concat();
        for (bytes, error) in [
            (unmasked, "bad_frame"),
            (frame(0x83, b""), "bad_frame"),
            (frame(0xc1, b"x"), "bad_frame"),
            (frame(0x80, b"x"), "bad_frame"),
            (frame(0x81, b"\xff"), "bad_text"),
            (frame(0x81, &[b'x'; 100]), "too_large"),
            (long, "too_large"),
        ] {
            let mut wire = Wire::new(64);
            wire.feed(&bytes);
            let broken = loop {
                match wire.next() {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("{bytes:?} passed"),
                    Err(broken) => break broken,
                }
            };
            assert_eq!(broken.error, error, "{bytes:?}: {broken:?}");
        }
    }
}
