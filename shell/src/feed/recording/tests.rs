use super::*;
use flate2::Compression;
use flate2::write::GzEncoder;
use ringfence_ipc::symbol::Symbol;
use std::io::Write;

const TRADE: &str = r#"{"stream":"btcusdt@trade","data":{"s":"BTCUSDT","t":1,"p":"1.5","q":"1","m":true}}"#;

fn parser() -> BinanceParser {
    BinanceParser::new(&[Symbol::new("BTCUSDT", 2, 5, 1, 1).unwrap()])
}

fn reading(bytes: Vec<u8>) -> Recording {
    Recording::new(Cursor::new(bytes), parser()).unwrap()
}

fn errors(recording: &mut Recording) -> Vec<Option<ParseError>> {
    std::iter::from_fn(|| recording.next_line()).map(|(_, parsed)| parsed.err()).collect()
}

fn lines(count: u64) -> Vec<u8> {
    (1..=count).flat_map(|i| format!("{} {TRADE}\n", i * 10).into_bytes()).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn plain_and_gzip_read_alike() {
    for bytes in [lines(1_000), gzip(&lines(1_000)), [gzip(&lines(500)), gzip(&lines(500))].concat()] {
        let mut recording = reading(bytes);
        assert!(errors(&mut recording).iter().all(Option::is_none));
        assert_eq!(recording.counts(), RecordingCounts { lines: 1_000, malformed: 0 });
        assert_eq!(recording.broken(), None);
    }
}

#[test]
fn an_empty_file_has_no_lines() {
    for bytes in [vec![], gzip(b""), b"\x1f".to_vec()] {
        let lines = bytes.len() as u64 % 2;
        let mut recording = reading(bytes);
        while recording.next_line().is_some() {}
        assert_eq!(recording.counts().lines, lines);
    }
}

#[test]
fn a_last_line_without_newline_counts() {
    let mut bytes = lines(2);
    bytes.pop();
    let mut recording = reading(bytes);
    assert_eq!(errors(&mut recording), [None, None]);
}

#[test]
fn garbage_lines_are_events_too() {
    let mut bytes = lines(1);
    bytes.extend_from_slice(b"\n");
    bytes.extend_from_slice(b"no timestamp\n");
    bytes.extend_from_slice(format!("-5 {TRADE}\n").as_bytes());
    bytes.extend_from_slice(b"99999999999999999999999 {}\n");
    bytes.extend_from_slice(b"11 \xff\xfe\n");
    bytes.extend_from_slice(b"\xff\xfe {}\n");
    bytes.extend_from_slice(b"12 {\"stream\":\n");
    bytes.extend_from_slice(format!("20 {TRADE}\r\n").as_bytes());
    let mut recording = reading(bytes.clone());
    let found = errors(&mut recording);
    let stamp = Some(ParseError::NoTimestamp);
    assert_eq!(found[..5], [None, stamp, stamp, stamp, stamp]);
    assert!(matches!(found[5], Some(ParseError::Json(_))), "not UTF-8");
    assert_eq!(found[6], stamp);
    assert!(matches!(found[7], Some(ParseError::Json(_))), "cut JSON");
    assert_eq!(found[8..], [None]);
    assert_eq!(recording.counts(), RecordingCounts { lines: 9, malformed: 7 });

    let mut recording = reading(bytes);
    let events: Vec<_> = std::iter::from_fn(|| recording.next_event()).collect();
    assert_eq!(events.len(), 9);
    assert_eq!(events.iter().filter(|event| event.value.body == MarketBody::Empty).count(), 7);
    assert_eq!(events.iter().map(|event| event.due_ns).collect::<Vec<_>>(), [0, 0, 0, 0, 0, 1, 1, 2, 10]);
}

#[test]
fn an_over_long_line_is_skipped_and_reading_goes_on() {
    let mut bytes = lines(1);
    bytes.extend_from_slice(b"15 ");
    bytes.resize(bytes.len() + 3 * MAX_LINE_BYTES, b'x');
    bytes.push(b'\n');
    bytes.extend(lines(1));
    bytes.resize(bytes.len() + 2 * MAX_LINE_BYTES, b'y');
    let mut recording = reading(bytes);
    let long = Some(ParseError::TooLong);
    assert_eq!(errors(&mut recording), [None, long, None, long]);
    assert!(recording.line.capacity() <= 2 * MAX_LINE_BYTES, "memory is bounded too");
}

#[test]
fn a_line_of_exactly_the_bound_is_read() {
    let mut line = format!("10 {TRADE}").into_bytes();
    line.resize(MAX_LINE_BYTES, b' ');
    assert_eq!(errors(&mut reading(line.clone())), [None]);
    line.push(b' ');
    assert_eq!(errors(&mut reading(line)), [Some(ParseError::TooLong)]);
}

#[test]
fn a_gzip_file_cut_short_gives_what_is_left_and_says_so() {
    let whole = gzip(&lines(20_000));
    let mut recording = reading(whole[..whole.len() / 2].to_vec());
    let found = errors(&mut recording);
    assert!(found.len() > 1_000 && found.len() < 20_000);
    assert!(found[..found.len() - 1].iter().all(Option::is_none));
    assert!(matches!(found[found.len() - 1], None | Some(ParseError::CutOff)));
    assert_eq!(recording.broken(), Some(io::ErrorKind::UnexpectedEof));
    assert!(recording.next_line().is_none(), "and stays so");
}

#[test]
fn a_damaged_gzip_file_stops_and_says_so() {
    let mut whole = gzip(&lines(2_000));
    let middle = whole.len() / 2;
    whole[middle..middle + 8].fill(0xff);
    let mut recording = reading(whole);
    while recording.next_line().is_some() {}
    assert!(recording.broken().is_some());
    assert!(recording.counts().lines < 2_100);
}

#[test]
fn receive_times_that_go_back_are_due_at_once() {
    let bytes = format!("50 {TRADE}\n40 {TRADE}\n60 {TRADE}\n").into_bytes();
    let mut recording = reading(bytes);
    let events: Vec<_> = std::iter::from_fn(|| recording.next_event()).collect();
    let times: Vec<_> = events.iter().map(|event| (event.due_ns, event.value.ts_ns)).collect();
    assert_eq!(times, [(0, 50), (0, 40), (10, 60)]);
}

#[test]
fn a_missing_file_is_an_error() {
    let error = Recording::open(Path::new("/nonexistent/recording.gz"), parser()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}
