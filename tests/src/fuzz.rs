//! What the fuzzer calls: one function for each decoder of bytes that somebody else wrote. None may panic, and what one
//! accepts must come out again as it went in: nothing is read into bytes that does not stand there.
//!
//! The same functions run on the kept corpus as an ordinary test (`g8_decoders`), without the fuzzer.

mod files;
mod text;
mod words;

/// One decoder.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Names its corpus and its fuzz program.
    pub name: &'static str,
    /// Feeds it.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: [Target; 13] = [
    Target { name: "messages", run: words::messages },
    Target { name: "ring", run: words::ring },
    Target { name: "journal_record", run: words::journal_record },
    Target { name: "handshake", run: words::handshake },
    Target { name: "segment_header", run: files::segment_header },
    Target { name: "hot_ring", run: files::hot_ring },
    Target { name: "archive", run: files::archive },
    Target { name: "checkpoint", run: files::checkpoint },
    Target { name: "order_body", run: text::order_body },
    Target { name: "binance", run: text::binance },
    Target { name: "decimal", run: text::decimal },
    Target { name: "config", run: text::config },
    Target { name: "dag_json", run: text::dag_json },
];

/// The decoder `name`.
///
/// # Panics
/// When there is none.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target of this list");
    (target.run)(data);
}

/// `data` as slots of seven words, the last one filled up with zeros.
fn slots(data: &[u8]) -> Vec<ringfence_ipc::msg::Words> {
    data.chunks(56)
        .map(|chunk| {
            let mut words = [0; 7];
            for (word, bytes) in words.iter_mut().zip(chunk.chunks(8)) {
                let mut raw = [0; 8];
                raw[..bytes.len()].copy_from_slice(bytes);
                *word = u64::from_le_bytes(raw);
            }
            words
        })
        .collect()
}

/// The first `N` bytes, zeros where there are none, and the rest.
fn take<const N: usize>(data: &[u8]) -> ([u8; N], &[u8]) {
    let (head, rest) = data.split_at(data.len().min(N));
    let mut bytes = [0; N];
    bytes[..head.len()].copy_from_slice(head);
    (bytes, rest)
}
