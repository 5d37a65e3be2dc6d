//! Malformed bodies: every one is a 400 that names its field.

mod common;

use common::start;

#[test]
fn every_malformed_order_names_its_field() {
    let shell = start();
    let with = |field: &str, value: &str| {
        let mut fields = vec![
            ("side", r#""BUY""#),
            ("symbol", r#""BTCUSDT""#),
            ("qty", "0.5"),
            ("price", "61000.5"),
            ("client_order_id", r#""m""#),
        ];
        fields.retain(|(name, _)| *name != field);
        let mut body: Vec<String> =
            fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        if !value.is_empty() {
            body.push(format!("\"{field}\":{value}"));
        }
        format!("{{{}}}", body.join(","))
    };
    for (field, values) in [
        ("side", &["", "\"HOLD\"", "1", "null", "\"\"", "[]"][..]),
        ("symbol", &["", "\"NOPE\"", "7", "\"\"", "{}", "\"BTCUSDTBTCUSDTBTCUSDT\""]),
        (
            "qty",
            &[
                "",
                "0",
                "-1",
                "\"NaN\"",
                "1e309",
                "1e-3",
                "1E2",
                "\"Infinity\"",
                "0.123456",
                "0.00001",
                "\" 1\"",
                "\"1,5\"",
                "99999999999999999999",
                "true",
                "\"0x10\"",
                "\"\"",
                "\"٣\"",
            ],
        ),
        (
            "price",
            &["", "0", "-0.01", "61000.505", "\"nan\"", "1e5", "false", "\"1 000\"", "92233720368547758.08"],
        ),
        ("type", &["\"STOP\"", "1"]),
        ("tif", &["\"GTD\"", "[]"]),
        ("strategy_id", &["\"nobody\"", "77", "{}"]),
        (
            "client_order_id",
            &["\"a b\"", "\"\"", "\"0123456789012345678901234567890123456\"", "5", "\"ä\"", "\"s1-ff\""],
        ),
    ] {
        for value in values {
            let answer = shell.post("/api/order", &with(field, value));
            assert_eq!(answer.status, 400, "{field}={value}: {answer:?}");
            assert_eq!(answer.json()["error"], "bad_params", "{field}={value}");
            assert_eq!(answer.field(), field, "{field}={value}");
        }
    }
    for body in ["", "[]", "{", "nul", "{\"side\":NaN}", "\"x\"", "{\"side\":\"BUY\"}{}", "\u{0}"] {
        let answer = shell.post("/api/order", body);
        assert_eq!(answer.status, 400, "{body}");
        assert!(["body", "side"].contains(&answer.field().as_str()), "{body}: {answer:?}");
    }
    let market = r#"{"side":"BUY","symbol":"BTCUSDT","qty":1,"price":1,"type":"MARKET"}"#;
    assert_eq!(shell.post("/api/order", market).field(), "price");
    let off_tick = r#"{"side":"BUY","symbol":"ETHUSDT","qty":"1","price":"2000.01"}"#;
    assert_eq!(shell.post("/api/order", off_tick).field(), "price");
    assert_eq!(
        shell.get("/api/orders_state").json()["items"].as_array().unwrap().len(),
        0,
        "nothing went out"
    );
}
