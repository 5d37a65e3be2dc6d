use super::*;

fn parser() -> BinanceParser {
    let symbol = |name| Symbol::new(name, 2, 5, 1, 1).unwrap();
    BinanceParser::new(&[symbol("ETHUSDT"), symbol("BTCUSDT")])
}

fn parse(message: &str) -> Result<MarketEvent, ParseError> {
    parser().parse(message.as_bytes(), 7)
}

fn stream(kind: &str, data: &str) -> String {
    format!(r#"{{"stream":"btcusdt@{kind}","data":{{"s":"BTCUSDT",{data}}}}}"#)
}

const TICKER: &str = r#""u":9,"b":"61837.63000000","B":"3.78826000","a":"61837.64000000","A":"1.5""#;
const TRADE: &str =
    r#""e":"trade","E":1,"t":373,"p":"61837.63000000","q":"0.02000000","T":2,"m":true,"M":true"#;
const SNAPSHOT: &str = r#"{"lastUpdateId":100,"bids":[["9.50","1.0"],["9.40","2"]],"asks":[["9.60","0.5"]]}"#;

fn update(first: u64, last: u64) -> String {
    stream(
        "depth@100ms",
        &format!(r#""e":"depthUpdate","U":{first},"u":{last},"b":[["9.50","0.00"]],"a":[]"#),
    )
}

#[test]
fn a_book_ticker_is_a_quote() {
    let event = parse(&stream("bookTicker", TICKER)).unwrap();
    let body =
        MarketBody::Quote { bid_price: 6_183_763, bid_qty: 378_826, ask_price: 6_183_764, ask_qty: 150_000 };
    assert_eq!(event, MarketEvent { symbol: 1, ts_ns: 7, body });
}

#[test]
fn a_trade_whose_buyer_was_the_maker_was_sold() {
    let event = parse(&stream("trade", TRADE)).unwrap();
    let body = MarketBody::Trade { price: 6_183_763, qty: 2_000, trade_id: 373, aggressor: Side::Sell };
    assert_eq!(event.body, body);
    let bought = parse(&stream("trade", &TRADE.replace(r#""m":true"#, r#""m":false"#))).unwrap();
    assert!(matches!(bought.body, MarketBody::Trade { aggressor: Side::Buy, .. }));
}

#[test]
fn a_depth_update_is_levels() {
    for kind in ["depth", "depth@100ms"] {
        let event =
            parse(&stream(kind, r#""U":1,"u":2,"b":[["9.50","0.00"]],"a":[["9.6","1"],["9.7","2"]]"#))
                .unwrap();
        let level = |side, price, qty| Level { side, price, qty };
        let levels =
            vec![level(Side::Buy, 950, 0), level(Side::Sell, 960, 100_000), level(Side::Sell, 970, 200_000)];
        assert_eq!(event.body, MarketBody::Depth { levels, snapshot: false });
    }
}

#[test]
fn updates_that_the_snapshot_contains_are_empty_events() {
    let mut parser = parser();
    let mut body = |message: &str| parser.parse(message.as_bytes(), 7).unwrap().body;
    assert!(matches!(body(&update(80, 90)), MarketBody::Depth { snapshot: false, .. }));
    assert!(matches!(body(SNAPSHOT), MarketBody::Depth { snapshot: true, levels } if levels.len() == 3));
    assert_eq!(body(&update(91, 99)), MarketBody::Empty);
    assert_eq!(body(&update(100, 100)), MarketBody::Empty);
    assert!(matches!(body(&update(101, 102)), MarketBody::Depth { snapshot: false, .. }));
}

#[test]
fn updates_newer_than_the_snapshot_that_came_before_it_stay_applied() {
    let mut parser = parser();
    let mut body = |message: &str| parser.parse(message.as_bytes(), 7).unwrap().body;
    body(&update(80, 100));
    body(&update(101, 105).replace(r#"["9.50","0.00"]"#, r#"["9.40","7"]"#));
    body(&update(106, 110));
    let MarketBody::Depth { levels, snapshot: true } = body(SNAPSHOT) else { panic!("no snapshot") };
    let bids: Vec<_> = levels.iter().filter(|l| l.side == Side::Buy).map(|l| (l.price, l.qty)).collect();
    assert_eq!(bids, [(950, 100_000), (940, 200_000), (940, 700_000), (950, 0)], "later ones win");
    for id in 111..200 {
        body(&update(id, id));
    }
    assert_eq!(parser.symbols[1].recent.len(), REMEMBERED_UPDATES);
}

#[test]
fn missing_updates_are_counted() {
    let mut parser = parser();
    for (first, last) in [(1, 5), (6, 9), (11, 12), (12, 14), (u64::MAX, u64::MAX), (1, 2)] {
        parser.parse(update(first, last).as_bytes(), 7).unwrap();
    }
    assert_eq!(parser.gaps(), 2);
}

#[test]
fn a_snapshot_belongs_to_the_only_symbol_or_to_none() {
    assert_eq!(parse(SNAPSHOT), Err(ParseError::SnapshotOfWhat));
    let mut parser = parser();
    parser.parse(stream("trade", TRADE).as_bytes(), 7).unwrap();
    assert_eq!(parser.parse(SNAPSHOT.as_bytes(), 7).unwrap().symbol, 1);
    let other = stream("trade", TRADE).replace("BTCUSDT", "ETHUSDT");
    parser.parse(other.as_bytes(), 7).unwrap();
    assert_eq!(parser.parse(SNAPSHOT.as_bytes(), 7), Err(ParseError::SnapshotOfWhat));
    let mut alone = BinanceParser::new(&[Symbol::new("BTCUSDT", 2, 5, 1, 1).unwrap()]);
    assert_eq!(alone.parse(SNAPSHOT.as_bytes(), 7).unwrap().symbol, 0);
}

#[test]
fn keys_may_come_in_any_order_and_unknown_ones_are_ignored() {
    let message = r#" {"data":{"x":{"deep":[1,2]},"A":"1","a":"2","B":"3","b":"1","s":"BTCUSDT"},"id":5,
        "stream":"btcusdt@bookTicker"} "#;
    let body = MarketBody::Quote { bid_price: 100, bid_qty: 300_000, ask_price: 200, ask_qty: 100_000 };
    assert_eq!(parse(message).unwrap().body, body);
}

#[test]
fn garbage_is_an_error_by_name() {
    use serde_json::error::Category;
    let json = ParseError::Json;
    let cases: &[(&[u8], ParseError)] = &[
        (b"", json(Category::Eof)),
        (b"hello", json(Category::Syntax)),
        (b"[]", json(Category::Data)),
        (b"{\"stream\":\"btcusdt@trade\",\"data\":{\"s\":", json(Category::Eof)),
        (b"{\"stream\":\"btcusdt@trade\",\"data\":{\"s\":\"B\xff\"}}", json(Category::Syntax)),
        (b"{\"stream\":7}", json(Category::Data)),
        (b"{\"lastUpdateId\":1,\"bids\":[],\"asks\":[]} x", json(Category::Syntax)),
        (b"{\"lastUpdateId\":-1,\"bids\":[],\"asks\":[]}", json(Category::Data)),
        (b"{}", ParseError::Missing("lastUpdateId")),
        (b"{\"lastUpdateId\":1}", ParseError::Missing("bids")),
        (b"{\"stream\":\"btcusdt@trade\"}", ParseError::Missing("data")),
    ];
    for (message, error) in cases {
        assert_eq!(parser().parse(message, 1), Err(*error), "{}", String::from_utf8_lossy(message));
    }
}

#[test]
fn deep_nesting_is_no_stack_overflow() {
    let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(parse(&format!(r#"{{"x":{open}{close}}}"#)), Err(ParseError::Missing("lastUpdateId")));
    let nested = stream("depth", &format!(r#""U":1,"u":2,"b":{open}{close},"a":[]"#));
    assert_eq!(parse(&nested), Err(ParseError::Json(serde_json::error::Category::Data)));
}

#[test]
fn a_stream_or_symbol_nobody_knows_is_refused() {
    assert_eq!(parse(&stream("kline_1m", TRADE)), Err(ParseError::UnknownStream));
    assert_eq!(parse(&stream("depth20@100ms", TRADE)), Err(ParseError::UnknownStream));
    assert_eq!(parse(r#"{"stream":"all","data":{"s":"BTCUSDT"}}"#), Err(ParseError::UnknownStream));
    assert_eq!(parse(&stream("trade", TRADE).replace("BTCUSDT", "DOGE")), Err(ParseError::UnknownSymbol));
    assert_eq!(parse(r#"{"stream":"btcusdt@trade","data":{}}"#), Err(ParseError::Missing("s")));
}

#[test]
fn fields_are_missing_by_name() {
    for (kind, data, gone) in [
        ("bookTicker", TICKER, "b"),
        ("bookTicker", TICKER, "B"),
        ("bookTicker", TICKER, "a"),
        ("bookTicker", TICKER, "A"),
        ("trade", TRADE, "p"),
        ("trade", TRADE, "q"),
        ("trade", TRADE, "t"),
        ("trade", TRADE, "m"),
    ] {
        let without = data.replace(&format!("\"{gone}\":"), "\"other\":");
        assert_eq!(parse(&stream(kind, &without)), Err(ParseError::Missing(gone)), "{kind} without {gone}");
    }
    assert_eq!(parse(&stream("depth", r#""u":1,"b":[],"a":[]"#)), Err(ParseError::Missing("U")));
    assert_eq!(parse(&stream("depth", r#""U":1,"b":[],"a":[]"#)), Err(ParseError::Missing("u")));
    assert_eq!(parse(&stream("depth", r#""U":1,"u":1,"b":"1","a":[]"#)), Err(ParseError::Missing("b, a")));
    assert_eq!(parse(&stream("bookTicker", r#""b":[["1","1"]],"B":"1""#)), Err(ParseError::Missing("b")));
}

#[test]
fn numbers_are_exact_or_refused() {
    let number = |field, error| Err(ParseError::Number { field, error });
    let trade = |from: &str, to: &str| parse(&stream("trade", &TRADE.replace(from, to)));
    assert_eq!(trade("61837.63000000", "61837.63100000"), number("p", DecimalError::TooPrecise));
    assert_eq!(trade("61837.63000000", "NaN"), number("p", DecimalError::NotADecimal));
    assert_eq!(trade("61837.63000000", "6e4"), number("p", DecimalError::NotADecimal));
    assert_eq!(trade("0.02000000", "99999999999999999999"), number("q", DecimalError::Overflow));
    assert_eq!(trade("61837.63000000", "0.00"), Err(ParseError::OutOfRange("p")));
    assert_eq!(trade("61837.63000000", "-1"), Err(ParseError::OutOfRange("p")));
    assert_eq!(trade("0.02000000", "0"), Err(ParseError::OutOfRange("q")));
    let level = |text: &str| parse(&stream("depth", &format!(r#""U":1,"u":2,"b":[{text}],"a":[]"#)));
    assert_eq!(level(r#"["0","1"]"#), Err(ParseError::OutOfRange("level price")));
    assert_eq!(level(r#"["1","-1"]"#), Err(ParseError::OutOfRange("level quantity")));
    assert_eq!(level(r#"["1"]"#), Err(ParseError::Json(serde_json::error::Category::Data)));
    assert!(level("").is_ok());
}

#[test]
fn an_empty_side_of_a_quote_needs_no_price() {
    let empty_bid = TICKER.replace("61837.63000000", "0.00000000").replace("3.78826000", "0.00000000");
    let event = parse(&stream("bookTicker", &empty_bid)).unwrap();
    assert!(matches!(event.body, MarketBody::Quote { bid_qty: 0, ask_qty: 150_000, .. }));
    let no_price = TICKER.replace("61837.63000000", "0.00000000");
    assert_eq!(parse(&stream("bookTicker", &no_price)), Err(ParseError::OutOfRange("b")));
}

#[test]
fn more_levels_than_an_event_may_carry_are_refused() {
    let levels = vec![r#"["1.5","1"]"#; MAX_EVENT_LEVELS + 1].join(",");
    let message = stream("depth", &format!(r#""U":1,"u":2,"b":[{levels}],"a":[]"#));
    assert_eq!(parse(&message), Err(ParseError::TooManyLevels));
}

#[test]
fn a_refused_message_leaves_the_parser_as_it_was() {
    let mut parser = parser();
    parser.parse(stream("trade", TRADE).as_bytes(), 7).unwrap();
    let bad = SNAPSHOT.replace("9.60", "x");
    assert!(parser.parse(bad.as_bytes(), 7).is_err());
    assert!(parser.parse(stream("trade", "").as_bytes(), 7).is_err());
    assert!(matches!(
        parser.parse(update(91, 99).as_bytes(), 7).unwrap().body,
        MarketBody::Depth { snapshot: false, .. }
    ));
}

#[test]
fn damaged_messages_never_panic() {
    let originals = [stream("bookTicker", TICKER), stream("trade", TRADE), SNAPSHOT.to_owned(), update(5, 9)];
    let (mut parser, mut state) = (parser(), 1_u64);
    let mut draw = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let (mut read, mut refused) = (0, 0);
    for round in 0..40_000 {
        let mut bytes = originals[round % originals.len()].clone().into_bytes();
        for _ in 0..=draw(3) {
            if bytes.is_empty() {
                break;
            }
            let at = draw(bytes.len());
            match draw(4) {
                0 => bytes[at] = draw(256) as u8,
                1 => bytes[at] = b"0123456789-.eE\"[]{},:"[draw(21)],
                2 => drop(bytes.remove(at)),
                _ => bytes.truncate(at + 1),
            }
        }
        match parser.parse(&bytes, 1) {
            Ok(_) => read += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(read > 1_000 && refused > 10_000, "{read} read, {refused} refused");
}
