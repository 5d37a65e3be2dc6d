//! The promises of the port.

use std::time::Duration;

use ringfence_topics::{
    Draft, Engine, MAX_BATCH_MESSAGES, MAX_MESSAGE_BYTES, Stored, TopicError, TopicSpec, Topics, Writer,
};

const PATIENCE: Duration = Duration::from_secs(10);
/// Long enough for a message that should not be there.
const A_WHILE: Duration = Duration::from_millis(300);

fn spec(name: &str, partitions: u32) -> TopicSpec<'_> {
    TopicSpec {
        name,
        partitions,
        replicas: 3,
        retention: Some(Duration::from_secs(3600)),
        retention_bytes: None,
    }
}

fn draft<'a>(topic: &'a str, key: &'a str, value: &'a str) -> Draft<'a> {
    Draft { topic, key: key.as_bytes(), value: value.as_bytes() }
}

/// Reads `count` messages, and finds that there are no more.
fn read(topics: &dyn Topics, topic: &str, partition: u32, from: u64, count: usize) -> Vec<Stored> {
    let mut reader = topics.reader(topic, partition, from).unwrap();
    let mut found = Vec::new();
    while found.len() < count {
        let next = reader.next(count - found.len(), PATIENCE).unwrap();
        assert!(!next.is_empty(), "{topic}: {} of {count}", found.len());
        found.extend(next);
    }
    assert_eq!(reader.next(1, A_WHILE).unwrap(), []);
    assert!(found.is_sorted_by(|a, b| a.offset < b.offset));
    found
}

fn values(found: &[Stored]) -> Vec<String> {
    found.iter().map(|message| String::from_utf8(message.value.clone()).unwrap()).collect()
}

fn append(writer: &mut Box<dyn Writer>, topic: &str, texts: &[&str], mark: &str) {
    let drafts: Vec<Draft<'_>> = texts.iter().map(|text| draft(topic, text, text)).collect();
    writer.append(&drafts, mark.as_bytes()).unwrap();
}

/// Everything that needs no broken engine.
pub fn all(engine: &Engine) {
    let topics = engine.open().unwrap();
    creation(&*topics);
    order_and_offsets(&*topics);
    keys(&*topics);
    refusals(&*topics);
    marks(engine);
    fencing(&*topics);
    crowd(&*topics);
}

fn creation(topics: &dyn Topics) {
    let first = topics.create(&spec("created", 2)).unwrap();
    assert_eq!((first.existed, first.partitions), (false, 2));
    let again = topics.create(&spec("created", 5)).unwrap();
    assert_eq!((again.existed, again.partitions), (true, 2));
    for bad in ["", ".", "..", "a b", "a/b", "ü", &"x".repeat(250)] {
        assert!(matches!(topics.create(&spec(bad, 1)), Err(TopicError::Name(_))), "{bad:?}");
        assert!(matches!(topics.writer(bad), Err(TopicError::Name(_))), "{bad:?}");
    }
    assert!(matches!(topics.create(&spec("wide", 0)), Err(TopicError::Partitions(0))));
    assert!(matches!(topics.create(&spec("wide", 65)), Err(TopicError::Partitions(65))));
}

fn order_and_offsets(topics: &dyn Topics) {
    topics.create(&spec("ordered", 1)).unwrap();
    let mut writer = topics.writer("ordered-writer").unwrap();
    let texts: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    for (number, batch) in texts.chunks(300).enumerate() {
        let batch: Vec<&str> = batch.iter().map(String::as_str).collect();
        append(&mut writer, "ordered", &batch, &number.to_string());
    }
    let found = read(topics, "ordered", 0, 0, texts.len());
    assert_eq!(values(&found), texts);
    assert_eq!(found[7].key, b"7");
    let middle = read(topics, "ordered", 0, found[500].offset, 500);
    assert_eq!(values(&middle), texts[500..]);
    // A reader that waits sees what comes.
    let mut reader = topics.reader("ordered", 0, found[999].offset + 1).unwrap();
    assert_eq!(reader.next(10, Duration::ZERO).unwrap(), []);
    append(&mut writer, "ordered", &["late"], "4");
    assert_eq!(values(&reader.next(10, PATIENCE).unwrap()), ["late"]);
}

fn keys(topics: &dyn Topics) {
    topics.create(&spec("keyed", 3)).unwrap();
    let mut writer = topics.writer("keyed-writer").unwrap();
    let names: Vec<String> = (0..20).map(|n| format!("key-{n}")).collect();
    for round in 0..5u8 {
        let drafts: Vec<Draft<'_>> = names
            .iter()
            .map(|name| Draft { topic: "keyed", key: name.as_bytes(), value: std::slice::from_ref(&round) })
            .collect();
        writer.append(&drafts, b"").unwrap();
    }
    let mut seen = 0;
    for partition in 0..3 {
        let mut reader = topics.reader("keyed", partition, 0).unwrap();
        let mut found = Vec::new();
        loop {
            let next = reader.next(1000, Duration::from_secs(1)).unwrap();
            if next.is_empty() {
                break;
            }
            found.extend(next);
        }
        for name in &names {
            let of: Vec<u8> = found.iter().filter(|m| m.key == name.as_bytes()).map(|m| m.value[0]).collect();
            assert!(of.is_empty() || of == [0, 1, 2, 3, 4], "{name} in {partition}: {of:?}");
        }
        assert!(found.len() < 100, "every key went to partition {partition}");
        seen += found.len();
    }
    assert_eq!(seen, 100);
}

fn refusals(topics: &dyn Topics) {
    topics.create(&spec("refused", 1)).unwrap();
    let mut writer = topics.writer("refused-writer").unwrap();
    append(&mut writer, "refused", &["before"], "1");
    let large = "x".repeat(MAX_MESSAGE_BYTES);
    let refused = |writer: &mut Box<dyn Writer>, drafts: &[Draft<'_>]| {
        let error = writer.append(drafts, b"2").unwrap_err();
        assert!(error.is_refusal(), "{error}");
        assert_eq!(writer.mark(), Some(&b"1"[..]));
        error
    };
    let error = refused(&mut writer, &[draft("refused", "a", "fine"), draft("refused", "b", &large)]);
    assert!(matches!(error, TopicError::Oversize { .. }), "{error}");
    let error = refused(&mut writer, &[draft("refused", "a", "fine"), draft("no-such-topic", "b", "b")]);
    assert!(matches!(error, TopicError::Unknown(_)), "{error}");
    let many = vec![draft("refused", "a", "a"); MAX_BATCH_MESSAGES + 1];
    assert!(matches!(refused(&mut writer, &many), TopicError::Batch { .. }));
    assert!(matches!(topics.reader("no-such-topic", 0, 0), Err(TopicError::Unknown(_))));
    assert!(matches!(topics.reader("refused", 1, 0), Err(TopicError::Unknown(_))));
    let most = &large[..MAX_MESSAGE_BYTES - 1];
    writer.append(&[draft("refused", "c", most)], b"3").unwrap();
    let found = read(topics, "refused", 0, 0, 2);
    assert_eq!((found[0].value.as_slice(), found[1].value.len()), (&b"before"[..], most.len()));
}

fn marks(engine: &Engine) {
    let topics = engine.open().unwrap();
    topics.create(&spec("marked", 1)).unwrap();
    let mut writer = topics.writer("marked-writer").unwrap();
    assert_eq!(writer.mark(), None);
    append(&mut writer, "marked", &["a"], "first");
    // A mark without a message.
    for number in 0..40 {
        writer.append(&[], number.to_string().as_bytes()).unwrap();
    }
    append(&mut writer, "marked", &["b"], "last");
    drop((writer, topics));
    let topics = engine.open().unwrap();
    assert_eq!(topics.writer("marked-writer").unwrap().mark(), Some(&b"last"[..]));
    assert_eq!(topics.writer("other-writer").unwrap().mark(), None);
    assert_eq!(values(&read(&*topics, "marked", 0, 0, 2)), ["a", "b"]);
}

fn fencing(topics: &dyn Topics) {
    topics.create(&spec("fenced", 1)).unwrap();
    let mut old = topics.writer("fenced-writer").unwrap();
    append(&mut old, "fenced", &["old"], "1");
    let mut new = topics.writer("fenced-writer").unwrap();
    assert_eq!(new.mark(), Some(&b"1"[..]));
    let error = old.append(&[draft("fenced", "k", "a ghost's")], b"ghost").unwrap_err();
    assert!(!error.is_refusal(), "{error}");
    append(&mut new, "fenced", &["new"], "2");
    assert_eq!(values(&read(topics, "fenced", 0, 0, 2)), ["old", "new"]);
    assert_eq!(topics.writer("fenced-writer").unwrap().mark(), Some(&b"2"[..]));
}

fn crowd(topics: &dyn Topics) {
    topics.create(&spec("crowded", 1)).unwrap();
    std::thread::scope(|scope| {
        for name in ["one", "two", "three"] {
            scope.spawn(move || {
                let mut writer = topics.writer(name).unwrap();
                for number in 0..20u8 {
                    let (first, second) = ([number, 0], [number, 1]);
                    let draft = |value| Draft { topic: "crowded", key: name.as_bytes(), value };
                    writer.append(&[draft(&first[..]), draft(&second[..])], &[number]).unwrap();
                }
            });
        }
    });
    let found = read(topics, "crowded", 0, 0, 3 * 2 * 20);
    for name in ["one", "two", "three"] {
        let own: Vec<&Stored> = found.iter().filter(|m| m.key == name.as_bytes()).collect();
        let expected: Vec<Vec<u8>> = (0..20).flat_map(|number| [vec![number, 0], vec![number, 1]]).collect();
        assert_eq!(own.iter().map(|m| m.value.clone()).collect::<Vec<_>>(), expected, "{name}");
    }
}

/// The embedded log's bound on its size.
pub fn size(engine: &Engine) {
    let topics = engine.open().unwrap();
    topics.create(&TopicSpec { retention_bytes: Some(10_000), ..spec("bounded", 1) }).unwrap();
    let mut writer = topics.writer("bounded-writer").unwrap();
    let value = [7; 100];
    for number in 0..50u8 {
        writer.append(&[Draft { topic: "bounded", key: &[], value: &value }; 10], &[number]).unwrap();
    }
    let mut reader = topics.reader("bounded", 0, 0).unwrap();
    let found = reader.next(1000, PATIENCE).unwrap();
    assert_eq!((found.len(), found[0].offset, found[99].offset), (100, 400, 499));
}

/// The engine breaks under a writer: an error in bounded time, and no more from this writer.
#[allow(dead_code, reason = "an engine of the same process cannot break alone")]
pub fn broken(engine: &Engine, breaks: &mut dyn FnMut()) {
    let topics = engine.open().unwrap();
    topics.create(&spec("broken", 1)).unwrap();
    let mut writer = topics.writer("broken-writer").unwrap();
    append(&mut writer, "broken", &["whole"], "1");
    breaks();
    let began = std::time::Instant::now();
    let error = writer.append(&[draft("broken", "k", "in between")], b"2").unwrap_err();
    assert!(matches!(error, TopicError::Away { .. }), "{error}");
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
    assert!(writer.append(&[], b"3").is_err());
}

/// After [`broken`]: what was acknowledged is there, and what failed is there with its mark or not at all.
#[allow(dead_code, reason = "as above")]
pub fn whole_again(engine: &Engine) {
    let topics = engine.open().unwrap();
    let mut writer = topics.writer("broken-writer").unwrap();
    let expected: &[&str] = match writer.mark() {
        Some(b"1") => &["whole", "after"],
        Some(b"2") => &["whole", "in between", "after"],
        other => panic!("{other:?}"),
    };
    append(&mut writer, "broken", &["after"], "4");
    assert_eq!(values(&read(&*topics, "broken", 0, 0, expected.len())), expected);
}
