//! Recorded markets: one `<receive time, ns> <JSON as received>` per line, gzip or plain.
//!
//! Every line is one event. What cannot be read (garbage, an over-long line, the torn last line of a file that breaks
//! off) is counted and becomes an empty event; reading goes on wherever it can.

use flate2::bufread::MultiGzDecoder;
use ringfence_binance::{BinanceParser, MAX_LINE_BYTES, MarketBody, MarketEvent, ParseError, Timed};
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;

/// The first bytes of every gzip file.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const BUFFER_BYTES: usize = 128 << 10;

/// What has been read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordingCounts {
    /// Lines, malformed ones included: equal to the events given.
    pub lines: u64,
    /// Lines that became empty events because they could not be read.
    pub malformed: u64,
}

/// A recording being read.
pub struct Recording {
    input: Box<dyn BufRead + Send>,
    parser: BinanceParser,
    line: Vec<u8>,
    counts: RecordingCounts,
    first_ns: Option<u64>,
    latest_ns: u64,
    last_error: Option<ParseError>,
    broken: Option<io::ErrorKind>,
}

impl fmt::Debug for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { counts, broken, .. } = self;
        f.debug_struct("Recording").field("counts", counts).field("broken", broken).finish_non_exhaustive()
    }
}

/// How a line ended.
enum LineEnd {
    Newline,
    /// The file ended; the line holds what came after the last newline.
    File,
    /// The bytes beyond the bound were skipped up to the newline.
    TooLong,
    /// The file could not be read on.
    Broken,
}

impl Recording {
    /// Opens the recording at `path`.
    ///
    /// # Errors
    /// The file cannot be opened or its first bytes cannot be read.
    pub fn open(path: &Path, parser: BinanceParser) -> io::Result<Self> {
        Self::new(File::open(path)?, parser)
    }

    /// Reads a recording from `input`; whether it is gzip is told by its first bytes.
    ///
    /// # Errors
    /// The first bytes cannot be read.
    pub fn new(input: impl Read + Send + 'static, parser: BinanceParser) -> io::Result<Self> {
        let (magic, raw) = peek(input)?;
        let raw = BufReader::with_capacity(BUFFER_BYTES, raw);
        let input: Box<dyn BufRead + Send> = if magic == GZIP_MAGIC {
            Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(raw)))
        } else {
            Box::new(raw)
        };
        Ok(Self {
            input,
            parser,
            line: Vec::new(),
            counts: RecordingCounts::default(),
            first_ns: None,
            latest_ns: 0,
            last_error: None,
            broken: None,
        })
    }

    /// The next line: its receive time, ns (of a line without one: the latest before it), and its event.
    pub fn next_line(&mut self) -> Option<(u64, Result<MarketEvent, ParseError>)> {
        if self.broken.is_some() {
            return None;
        }
        let parsed = match self.read_line() {
            LineEnd::File if self.line.is_empty() => return None,
            LineEnd::Broken if self.line.is_empty() => return None,
            LineEnd::Newline | LineEnd::File => self.parse_line(),
            LineEnd::TooLong => Err(ParseError::TooLong),
            LineEnd::Broken => Err(ParseError::CutOff),
        };
        self.counts.lines += 1;
        if let Err(error) = &parsed {
            self.counts.malformed += 1;
            self.last_error = Some(*error);
        }
        Some((self.latest_ns, parsed))
    }

    /// The next event; a malformed line is an empty one.
    pub fn next_event(&mut self) -> Option<Timed<MarketEvent>> {
        let (ts_ns, parsed) = self.next_line()?;
        let value = parsed.unwrap_or(MarketEvent { symbol: 0, ts_ns, body: MarketBody::Empty });
        Some(Timed { due_ns: ts_ns.saturating_sub(self.first_ns.unwrap_or(ts_ns)), value })
    }

    /// Lines read and malformed so far.
    #[must_use]
    pub const fn counts(&self) -> RecordingCounts {
        self.counts
    }

    /// Depth updates that did not follow on the one before.
    #[must_use]
    pub const fn gaps(&self) -> u64 {
        self.parser.gaps()
    }

    /// Why the latest malformed line was refused.
    #[must_use]
    pub const fn last_error(&self) -> Option<ParseError> {
        self.last_error
    }

    /// Why reading stopped before the recording's end, if it did: a gzip file cut short, a disk error.
    #[must_use]
    pub const fn broken(&self) -> Option<io::ErrorKind> {
        self.broken
    }

    fn parse_line(&mut self) -> Result<MarketEvent, ParseError> {
        let space =
            self.line.iter().take(21).position(|byte| *byte == b' ').ok_or(ParseError::NoTimestamp)?;
        let (digits, json) = self.line.split_at(space);
        let ts_ns = std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok());
        let ts_ns: u64 = ts_ns.ok_or(ParseError::NoTimestamp)?;
        self.first_ns.get_or_insert(ts_ns);
        self.latest_ns = self.latest_ns.max(ts_ns);
        self.parser.parse(json, ts_ns)
    }

    /// Reads the next line, without its end, into `self.line`.
    fn read_line(&mut self) -> LineEnd {
        self.line.clear();
        let mut too_long = false;
        loop {
            let available = match self.input.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.broken = Some(error.kind());
                    return LineEnd::Broken;
                }
            };
            if available.is_empty() {
                return if too_long { LineEnd::TooLong } else { LineEnd::File };
            }
            let newline = available.iter().position(|byte| *byte == b'\n');
            let part = &available[..newline.unwrap_or(available.len())];
            too_long |= self.line.len() + part.len() > MAX_LINE_BYTES;
            if !too_long {
                self.line.extend_from_slice(part);
            }
            let used = part.len() + usize::from(newline.is_some());
            self.input.consume(used);
            if newline.is_some() {
                return if too_long { LineEnd::TooLong } else { LineEnd::Newline };
            }
        }
    }
}

/// The first two bytes (zeros when there are fewer), and the input with them put back.
fn peek(mut input: impl Read + Send + 'static) -> io::Result<([u8; 2], impl Read + Send + 'static)> {
    let mut head = Vec::new();
    input.by_ref().take(GZIP_MAGIC.len() as u64).read_to_end(&mut head)?;
    let magic = head.as_slice().try_into().unwrap_or([0; 2]);
    Ok((magic, Cursor::new(head).chain(input)))
}

#[cfg(test)]
mod tests;
