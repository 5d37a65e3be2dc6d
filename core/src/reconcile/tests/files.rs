use proptest::prelude::*;

use super::*;

fn file() -> SnapshotFile {
    let view = view();
    SnapshotFile::of(&honest(&view), &view.symbols)
}

fn text(file: &SnapshotFile) -> String {
    serde_json::to_string_pretty(file).unwrap()
}

#[test]
fn a_snapshot_survives_its_own_json() {
    let view = view();
    let read: SnapshotFile = serde_json::from_str(&text(&file())).unwrap();
    assert_eq!(read.read(&view).unwrap(), honest(&view));
    let report = differences(&view, &honest(&self::view()));
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
}

#[test]
fn a_field_that_cannot_be_read_is_named() {
    type Change = fn(&mut SnapshotFile);
    let cases: [(&str, Change); 8] = [
        ("orders[0].order_id: `0x1`", |f| f.orders[0].order_id = "0x1".into()),
        ("orders[1].side: `buy`", |f| f.orders[1].side = "buy".into()),
        ("orders[0].price: `1e5`", |f| f.orders[0].price = Some("1e5".into())),
        ("orders[0].qty: `0.0001` is more decimals", |f| f.orders[0].qty = "0.0001".into()),
        ("orders[0].state: `OPEN`", |f| f.orders[0].state = "OPEN".into()),
        ("orders[0].client_key: `xyz`", |f| f.orders[0].client_key = Some("xyz".into())),
        ("positions[0].qty: ``", |f| f.positions.iter_mut().flatten().for_each(|p| p.qty.clear())),
        ("last_order_id: `now`", |f| f.last_order_id = Some("now".into())),
    ];
    for (told, change) in cases {
        let mut file = file();
        change(&mut file);
        let error = file.read(&view()).unwrap_err().to_string();
        assert!(error.starts_with(told), "{error}");
    }
}

#[test]
fn unknown_fields_are_errors_and_unknown_symbols_differences() {
    let odd = text(&file()).replacen("\"venue\"", "\"vendor\": 1, \"venue\"", 1);
    let error = serde_json::from_str::<SnapshotFile>(&odd).unwrap_err().to_string();
    assert!(error.contains("unknown field `vendor`"), "{error}");
    let mut file = file();
    file.orders.push(OrderLine { symbol: "DOGE".into(), order_id: "9".into(), ..file.orders[0].clone() });
    let view = view();
    assert_eq!(codes(&view, &file.read(&view).unwrap()), [Code::UnknownSymbol]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever bytes a file holds: an error, or a snapshot that can be compared.
    #[test]
    fn no_file_breaks_the_reader(cut in 0usize..2_000, flip in 0usize..2_000, byte: u8) {
        let mut bytes = text(&file()).into_bytes();
        let at = flip % bytes.len();
        bytes[at] = byte;
        bytes.truncate(if cut < 1_000 { bytes.len() } else { cut - 1_000 });
        if let Ok(file) = serde_json::from_slice::<SnapshotFile>(&bytes) {
            let view = view();
            let _ = file.read(&view).map(|snapshot| differences(&view, &snapshot).total);
        }
    }
}
