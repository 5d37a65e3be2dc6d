//! Strategies over HTTP, by the service itself with its embedded engines: what is taken, what is refused, and what two
//! strategies share.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod common;

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::desk::Desk;
use common::{Answer, Shell, start, start_with_strategies};
use ringfence_shell::audit::Query;
use ringfence_shell::http::MAX_BODY_BYTES;
use ringfence_strategies::{Options, Rules, Running, Strategies};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const NOBODY: &str = "00000000-0000-4000-8000-000000000000";
const GZIP: (&str, &str) = ("Content-Encoding", "gzip");
const LIVE: (&str, &str) = ("X-Allow-Live", "true");

/// The service over a directory of its own.
struct Set {
    service: Arc<Strategies>,
    _running: Running,
    _dir: tempfile::TempDir,
}

impl Set {
    fn up() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (service, running) = ringfence_strategies::start(Options {
            store: ringfence_store::Engine::Embedded(dir.path().join("strategies.db")),
            graph: ringfence_graph::Engine::Embedded(dir.path().join("graph.db")),
            topics: ringfence_topics::Engine::Embedded(dir.path().join("topics.db")),
            spool: Some(dir.path().join("spool")),
            rules: Rules::default(),
            duplicate_ttl_ms: 86_400_000,
            workers: 2,
        })
        .unwrap();
        Self { service, _running: running, _dir: dir }
    }

    fn shell(&self) -> Shell {
        start_with_strategies(None, Arc::clone(&self.service))
    }

    fn desk(&self) -> Desk {
        Desk::open_over(|_| (), |auth| start_with_strategies(auth, Arc::clone(&self.service)))
    }
}

/// A node whose id is right.
fn node(kind: &str, code: &str, inputs: &[&Value], tags: &[&str]) -> Value {
    let id = Sha256::digest(format!("{kind}:{code}:config:schema"));
    let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    let inputs: Vec<&Value> = inputs.iter().map(|node| &node["node_id"]).collect();
    json!({"node_id": id, "node_type": kind, "name": code, "interval": 60, "period": 5, "tags": tags, "inputs": inputs,
        "code_hash": code, "config_hash": "config", "schema_hash": "schema", "pre_warmup": false})
}

fn feed(code: &str, tags: &[&str]) -> Value {
    node("StreamInput", code, &[], tags)
}

fn mean(code: &str, of: &Value) -> Value {
    node("ProcessingNode", code, &[of], &[])
}

fn body(nodes: &[&Value]) -> Value {
    json!({"dag_json": json!({"nodes": nodes, "schema_version": "1"}).to_string(), "run_type": "backtest"})
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(bytes).unwrap();
    packer.finish().unwrap()
}

fn submit(shell: &Shell, body: &Value) -> Answer {
    shell.post("/strategies", &body.to_string())
}

/// Takes a strategy that must be taken; its id.
fn taken(shell: &Shell, body: &Value) -> String {
    id_of(&submit(shell, body))
}

fn id_of(answer: &Answer) -> String {
    assert_eq!(answer.status, 202, "{answer:?}");
    answer.json()["strategy_id"].as_str().unwrap().to_owned()
}

fn until_completed(shell: &Shell, id: &str) {
    until(shell, id, |now| now["status"] == "completed");
}

fn until(shell: &Shell, id: &str, is_there: impl Fn(&Value) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let now = shell.get(&format!("/strategies/{id}/status"));
        assert_eq!(now.status, 200, "{now:?}");
        if is_there(&now.json()) {
            return;
        }
        assert!(now.json()["status"] != "failed" && Instant::now() < deadline, "{now:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn leases(shell: &Shell, id: &str, nodes: &Value) -> Vec<Value> {
    let answer = shell.post(&format!("/strategies/{id}/lease"), &nodes.to_string());
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["leases"].as_array().unwrap().clone()
}

/// Says no in the shape that clients know; the detail.
fn refused(answer: &Answer, status: u16) -> Value {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let body = answer.json();
    assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
    body["detail"].clone()
}

#[test]
fn a_dag_is_taken_plain_as_base64_and_packed_and_its_plan_follows() {
    let set = Set::up();
    let shell = set.shell();
    let all = ["plain", "text", "base64", "gzip"].map(|code| {
        let (feed, tag) = (feed(code, &["btc"]), format!("{code}-mean"));
        let mean = mean(&tag, &feed);
        let mut body = body(&[&feed, &mean]);
        let text = body["dag_json"].as_str().unwrap().to_owned();
        match code {
            "plain" => body["dag_json"] = serde_json::from_str(&text).unwrap(),
            "base64" => body["dag_json"] = STANDARD.encode(text).into(),
            _ => {}
        }
        let answer = if code == "gzip" {
            shell.send("POST", "/strategies", &[GZIP], &packed(body.to_string().as_bytes()))
        } else {
            submit(&shell, &body)
        };
        let told = answer.json();
        assert!(told["queue_map"].is_object() && told["node_ids_crc32"].is_u64(), "{told}");
        assert_eq!(told["downgraded"], false);
        id_of(&answer)
    });
    for id in &all {
        until_completed(&shell, id);
        let detail = shell.get(&format!("/strategies/{id}")).json();
        assert_eq!((&detail["strategy_id"], &detail["submitted_by"]), (&id.as_str().into(), &"local".into()));
        for name in ["new_nodes", "reuse_nodes", "queue_mappings", "execution_plan"] {
            assert!(!detail["plan"][name].is_null(), "{name}: {detail}");
        }
    }
    let page = shell.get("/strategies?limit=3").json();
    let listed = |page: &Value| -> Vec<String> {
        let all = page["strategies"].as_array().unwrap().iter();
        all.map(|one| one["strategy_id"].as_str().unwrap().to_owned()).collect()
    };
    let rest = shell.get(&format!("/strategies?after={}", page["next"])).json();
    assert_eq!([listed(&page), listed(&rest)].concat(), all, "in the order of their 202s");
    assert!(rest["next"].is_null());
}

#[test]
fn the_same_dag_again_is_409_with_the_first_id_until_that_is_deleted() {
    let set = Set::up();
    let shell = set.shell();
    let body = body(&[&feed("again", &[])]);
    let first = taken(&shell, &body);
    assert_eq!(refused(&submit(&shell, &body), 409), json!({ "strategy_id": first }));
    let mut other = body.clone();
    other["run_type"] = "dry-run".into();
    assert_ne!(taken(&shell, &other), first, "for another run it is another strategy");
    until_completed(&shell, &first);
    let gone = shell.send("DELETE", &format!("/strategies/{first}"), &[], b"");
    assert_eq!(gone.status, 200, "{gone:?}");
    assert_ne!(taken(&shell, &body), first);
}

#[test]
fn of_the_same_dag_many_times_at_once_one_is_taken() {
    let set = Set::up();
    let shell = set.shell();
    let body = body(&[&feed("at once", &[])]);
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|_| scope.spawn(|| submit(&shell, &body))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let first: Vec<_> = answers.iter().filter(|answer| answer.status == 202).map(id_of).collect();
    assert_eq!(first.len(), 1, "{answers:?}");
    for answer in answers.iter().filter(|answer| answer.status != 202) {
        assert_eq!(refused(answer, 409), json!({ "strategy_id": first[0] }));
    }
}

#[test]
fn what_contradicts_itself_or_cannot_be_read_is_400() {
    let set = Set::up();
    let shell = set.shell();
    let feed = feed("bad", &[]);
    let mut wrong = body(&[&feed]);
    wrong["node_ids_crc32"] = 7.into();
    let answer = submit(&shell, &wrong);
    assert_eq!((answer.status, answer.body.as_str()), (400, r#"{"detail":"node id checksum mismatch"}"#));

    let mut stranger = feed.clone();
    stranger["node_id"] = "0".repeat(64).into();
    let detail = refused(&submit(&shell, &body(&[&stranger])), 400);
    let mismatch = &detail["node_id_mismatch"][0];
    assert_eq!(
        (&mismatch["index"], &mismatch["node_id"], &mismatch["expected"]),
        (&0.into(), &stranger["node_id"], &feed["node_id"])
    );

    let (mut one, mut two) = (mean("one", &feed), mean("two", &feed));
    one["inputs"] = json!([two["node_id"]]);
    two["inputs"] = json!([one["node_id"]]);
    let detail = refused(&submit(&shell, &body(&[&one, &two])), 400);
    assert!(detail.as_str().unwrap().contains("cycle"), "{detail}");

    for garbage in [
        "",
        "nonsense",
        "[]",
        "{\"dag_json\":",
        r#"{"dag_json":"%%%","run_type":"backtest"}"#,
        r#"{"dag_json":"bm9uc2Vuc2U=","run_type":"backtest"}"#,
        r#"{"dag_json":"{\"nodes\":","run_type":"backtest"}"#,
    ] {
        assert!(refused(&shell.post("/strategies", garbage), 400).is_string(), "{garbage}");
    }
    let unpacked = shell.send("POST", "/strategies", &[GZIP], b"{}");
    assert!(refused(&unpacked, 400).as_str().unwrap().contains("gzip"), "{unpacked:?}");
}

#[test]
fn what_lacks_a_field_is_422_with_its_place() {
    let set = Set::up();
    let shell = set.shell();
    let mut lacking = body(&[&feed("lacking", &[])]);
    lacking.as_object_mut().unwrap().remove("run_type");
    for path in ["/strategies", "/strategies/dry-run", "/strategies?explain=1"] {
        let detail = refused(&shell.post(path, &lacking.to_string()), 422);
        assert_eq!(
            (&detail[0]["type"], &detail[0]["loc"]),
            (&"missing".into(), &json!(["body", "run_type"]))
        );
        assert!(detail[0]["msg"].is_string() && detail[0].get("input").is_some(), "{detail}");
    }
    for (path, place) in [
        ("/strategies?limit=0", json!(["query", "limit"])),
        ("/strategies?limit=1001", json!(["query", "limit"])),
        ("/strategies?after=-1", json!(["query", "after"])),
        ("/queues/by_tag", json!(["query", "tags"])),
        ("/queues/by_tag?tags=,", json!(["query", "tags"])),
        ("/queues/by_tag?tags=a&interval=soon", json!(["query", "interval"])),
        ("/queues/by_tag?tags=a&match_mode=most", json!(["query", "match_mode"])),
        ("/queues/by_tag?tags=a&match=most", json!(["query", "match"])),
    ] {
        assert_eq!(refused(&shell.get(path), 422)[0]["loc"], place, "{path}");
    }
    let report = shell.post(&format!("/strategies/{NOBODY}/report"), r#"{"state":"dancing"}"#);
    assert_eq!(refused(&report, 422)[0]["loc"], json!(["body", "state"]));
    assert_eq!(
        refused(&shell.post("/strategies?explain=maybe", "{}"), 422)[0]["loc"],
        json!(["query", "explain"])
    );
}

#[test]
fn only_submissions_may_be_large_or_packed_and_neither_without_end() {
    let set = Set::up();
    let shell = set.shell();
    let bomb = packed(&vec![b' '; 64 << 20]);
    assert!(bomb.len() < 1 << 17);
    let most = Rules::default().body_bytes;
    for path in ["/strategies", "/strategies/dry-run"] {
        assert!(refused(&shell.send("POST", path, &[GZIP], &bomb), 413).is_string());
        let large = vec![b' '; most + 1];
        assert!(refused(&shell.send("POST", path, &[], &large), 413).is_string());
        for encoding in ["deflate", "br", "gzip, gzip", "zstd"] {
            let answer = shell.send("POST", path, &[("Content-Encoding", encoding)], &bomb);
            assert!(refused(&answer, 415).is_string(), "{encoding}");
        }
        let twice = shell.send("POST", path, &[GZIP, GZIP], &bomb);
        assert_eq!(twice.status, 415);
        let padded = [vec![b' '; 2 * MAX_BODY_BYTES], b"{}".to_vec()].concat();
        assert_eq!(
            refused(&shell.send("POST", path, &[], &padded), 422)[0]["loc"],
            json!(["body", "dag_json"])
        );
    }
    for path in [format!("/strategies/{NOBODY}/lease"), format!("/strategies/{NOBODY}/report")] {
        assert_eq!(shell.send("POST", &path, &[GZIP], &packed(b"{}")).status, 415);
        assert_eq!(shell.send("POST", &path, &[], &vec![b' '; MAX_BODY_BYTES + 1]).status, 413);
    }
}

#[test]
fn an_unknown_strategy_is_404_whatever_is_asked_of_it() {
    let set = Set::up();
    let shell = set.shell();
    for id in [NOBODY, "x", "%FF", "%00", "..%2f..", &"9".repeat(3_000)] {
        for (method, path, body) in [
            ("GET", format!("/strategies/{id}"), ""),
            ("GET", format!("/strategies/{id}/status"), ""),
            ("DELETE", format!("/strategies/{id}"), ""),
            ("POST", format!("/strategies/{id}/report"), r#"{"state":"completed"}"#),
            ("POST", format!("/strategies/{id}/lease"), "{}"),
        ] {
            let detail = refused(&shell.send(method, &path, &[], body.as_bytes()), 404);
            assert!(detail.as_str().unwrap().contains("GET /strategies"), "{method} {path}: {detail}");
        }
    }
    for path in ["/strategies/", "/strategies/a/b", "/strategies/a/status/", "/queues"] {
        assert_eq!(shell.get(path).json()["error"], "not_found", "{path}");
    }
    assert_eq!(shell.get("/strategies//status").status, 404);
}

#[test]
fn live_runs_only_for_those_who_say_so_and_may() {
    let set = Set::up();
    let mut count = 0;
    let mut live = || {
        count += 1;
        let mut body = body(&[&feed(&format!("live {count}"), &[])]);
        body["run_type"] = "live".into();
        body.to_string()
    };
    let downgraded = |answer: Answer| {
        id_of(&answer);
        assert_eq!(answer.json()["downgraded"], answer.json()["downgrade_reason"].is_string());
        answer.json()["downgraded"].as_bool().unwrap()
    };
    {
        let shell = set.shell();
        let send = |headers: &[(&str, &str)], body: String| {
            downgraded(shell.send("POST", "/strategies", headers, body.as_bytes()))
        };
        assert!(send(&[], live()));
        assert!(send(&[("X-Allow-Live", "yes")], live()));
        assert!(!send(&[LIVE], live()), "with authentication off it is this machine's user who says so");
    }
    let desk = set.desk();
    let trader = desk.user("tina", "trader");
    for (token, is) in [(&trader, true), (&desk.admin, false)] {
        let bearer = format!("Bearer {token}");
        let headers = [("Authorization", bearer.as_str()), LIVE];
        assert_eq!(downgraded(desk.shell.send("POST", "/strategies", &headers, live().as_bytes())), is);
    }
}

#[test]
fn a_node_that_another_strategy_computes_is_reused_and_leased_once() {
    let set = Set::up();
    let shell = set.shell();
    let feed = feed("shared", &["btc"]);
    let (shared, own) = (mean("shared mean", &feed), mean("own mean", &feed));
    let first = taken(&shell, &body(&[&feed, &shared]));
    until_completed(&shell, &first);
    let held = leases(&shell, &first, &json!({}));
    assert_eq!(held.len(), 2);
    assert!(held.iter().all(|lease| lease["granted"] == true), "{held:?}");

    let second = body(&[&feed, &shared, &own]);
    for path in ["/strategies/dry-run", "/strategies?explain=1"] {
        let tried = shell.post(path, &second.to_string());
        assert_eq!(tried.status, 200, "{tried:?}");
        let tried = tried.json();
        let decisions: Vec<_> = tried["nodes"].as_array().unwrap().iter().collect();
        for node in decisions {
            let wanted = if node["node_id"] == own["node_id"] { "compute" } else { "reuse" };
            assert_eq!(node["decision"], wanted, "{node}");
            assert!(!node["why"].as_str().unwrap().is_empty());
        }
    }
    assert_eq!(
        shell.get("/strategies").json()["strategies"].as_array().unwrap().len(),
        1,
        "nothing happened"
    );

    let second = taken(&shell, &second);
    until_completed(&shell, &second);
    let plan = shell.get(&format!("/strategies/{second}")).json()["plan"].clone();
    assert!(plan["reuse_nodes"].to_string().contains(shared["node_id"].as_str().unwrap()), "{plan}");
    assert!(plan["new_nodes"].to_string().contains(own["node_id"].as_str().unwrap()), "{plan}");
    for lease in leases(&shell, &second, &json!({"nodes": [shared["node_id"], own["node_id"]]})) {
        assert_eq!(lease["granted"], lease["node_id"] == own["node_id"], "{lease}");
    }
    let again = leases(&shell, &first, &json!({"nodes": [shared["node_id"]]}));
    assert_eq!((again.len(), &again[0]["granted"]), (1, &true.into()), "whoever has it goes on");
}

#[test]
fn a_client_that_executes_by_itself_reports_how_it_goes() {
    let set = Set::up();
    let shell = set.shell();
    let mut body = body(&[&feed("report", &[])]);
    body["meta"] = json!({"executor": "client"});
    let id = taken(&shell, &body);
    until(&shell, &id, |now| now["state"] == "mapped");
    let report = |body: Value| shell.post(&format!("/strategies/{id}/report"), &body.to_string());
    assert_eq!(report(json!({"state": "executing"})).status, 200);
    let failed = report(json!({"state": "failed", "error": "out of memory"}));
    assert_eq!((failed.status, &failed.json()["status"]), (200, &"failed".into()), "{failed:?}");
    let now = shell.get(&format!("/strategies/{id}/status")).json();
    assert_eq!((&now["status"], &now["error"]), (&"failed".into(), &"out of memory".into()));
    assert_ne!(taken(&shell, &body), id, "a failed strategy frees its DAG");
}

#[test]
fn topics_are_found_by_any_or_all_of_their_tags() {
    let set = Set::up();
    let shell = set.shell();
    let (spot, perp) = (feed("spot", &["btc", "spot"]), feed("perp", &["btc", "perp"]));
    let id = taken(&shell, &body(&[&spot, &perp]));
    until_completed(&shell, &id);
    leases(&shell, &id, &json!({}));
    let found = |query: &str| -> usize {
        let answer = shell.get(&format!("/queues/by_tag?{query}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()["queues"].as_array().unwrap().len()
    };
    for (query, count) in [
        ("tags=btc&interval=60", 2),
        ("tags=btc", 2),
        ("tags=spot,perp&interval=60", 2),
        ("tags=spot,perp&interval=60&match_mode=any", 2),
        ("tags=spot,perp&interval=60&match_mode=all", 0),
        ("tags=btc,spot&interval=60&match_mode=all", 1),
        ("tags=btc,spot&interval=60&match=all", 1),
        ("tags=btc,spot&match_mode=any&match=all", 2),
        ("tags=btc&interval=61", 0),
        ("tags=eth&interval=60", 0),
    ] {
        assert_eq!(found(query), count, "{query}");
    }
    assert_eq!(shell.get("/queues/by_tag?tags=btc&match=all").header("deprecation"), Some("true"));
    assert_eq!(shell.get("/queues/by_tag?tags=btc&match_mode=all").header("deprecation"), None);
}

#[test]
fn readers_read_and_try_and_only_submitters_submit() {
    let set = Set::up();
    let desk = set.desk();
    let (reader, submitter) =
        (desk.key(&desk.admin, &["strategies:read"]), desk.key(&desk.admin, &["strategies:submit"]));
    let send = |key: &str, method: &str, path: &str, body: &str| {
        desk.shell.send(method, path, &[("X-API-Key", key)], body.as_bytes())
    };
    let id = format!("/strategies/{NOBODY}");
    for (method, path) in [
        ("POST", "/strategies".to_owned()),
        ("POST", "/strategies?explain=1".to_owned()),
        ("DELETE", id.clone()),
        ("POST", format!("{id}/report")),
        ("POST", format!("{id}/lease")),
    ] {
        let answer = send(&reader, method, &path, "{}");
        assert_eq!((answer.status, &answer.json()["error"]), (403, &"forbidden".into()), "{method} {path}");
        assert_eq!(answer.json()["details"]["permissions"], json!(["strategies:submit"]));
        assert!(!matches!(send(&submitter, method, &path, "{}").status, 401 | 403), "{method} {path}");
    }
    for path in ["/strategies", &id, "/queues/by_tag?tags=a"] {
        assert_eq!(send(&submitter, "GET", path, "").status, 403, "{path}");
        assert!(!matches!(send(&reader, "GET", path, "").status, 401 | 403), "{path}");
    }
    for key in [&reader, &submitter] {
        assert_eq!(send(key, "POST", "/strategies/dry-run", "{}").status, 422);
    }
    let large = vec![b' '; 2 * MAX_BODY_BYTES];
    for (key, status) in [("", 401), (&*reader, 403)] {
        let headers: &[_] = if key.is_empty() { &[] } else { &[("X-API-Key", key)] };
        let answer = desk.shell.send("POST", "/strategies", headers, &large);
        assert_eq!(answer.status, status, "and nothing of it is read first");
    }
    let body = body(&[&feed("mine", &[])]).to_string();
    let id = id_of(&send(&submitter, "POST", "/strategies", &body));
    assert_eq!(
        desk.as_admin("GET", &format!("/strategies/{id}"), &Value::Null).json()["submitted_by"],
        "admin"
    );
}

#[test]
fn a_shell_without_strategies_says_so_everywhere() {
    let shell = start();
    let body = body(&[&feed("nowhere", &[])]).to_string();
    let id = format!("/strategies/{NOBODY}");
    for (method, path) in [
        ("POST", "/strategies".to_owned()),
        ("POST", "/strategies/dry-run".to_owned()),
        ("GET", "/strategies".to_owned()),
        ("GET", id.clone()),
        ("GET", format!("{id}/status")),
        ("DELETE", id.clone()),
        ("POST", format!("{id}/report")),
        ("POST", format!("{id}/lease")),
        ("GET", "/queues/by_tag?tags=a".to_owned()),
    ] {
        let answer = shell.send(method, &path, &[], body.as_bytes());
        assert!(refused(&answer, 503).is_string(), "{method} {path}");
        assert!(answer.header("retry-after").is_some(), "{method} {path}");
    }
}

#[test]
fn labels_and_records_go_by_the_route_and_no_body_is_copied() {
    let set = Set::up();
    let shell = set.shell();
    let body = body(&[&feed("hush hush", &[])]);
    let bytes = body.to_string();
    shell.send("POST", "/strategies", &[("X-Request-Id", "one")], bytes.as_bytes());
    shell.send("POST", "/strategies", &[("X-Request-Id", "two"), GZIP], &packed(bytes.as_bytes()));
    shell.send("POST", "/strategies/dry-run", &[("X-Request-Id", "three")], bytes.as_bytes());
    let id = format!("/strategies/{NOBODY}");
    shell.send("DELETE", &id, &[("X-Request-Id", "four")], b"");
    shell.send("POST", &format!("{id}/report"), &[("X-Request-Id", "five")], br#"{"state":"failed"}"#);
    shell.send("POST", &format!("{id}/lease"), &[("X-Request-Id", "six")], br#"{"nodes":["a"]}"#);
    let text = shell.get("/metrics").body;
    assert!(text.contains(r#"route="/strategies/{id}/lease""#) && !text.contains(NOBODY), "{text}");

    let deadline = Instant::now() + Duration::from_secs(5);
    let records: Vec<Value> = loop {
        let found = shell.audit.query(&Query::default(), || false).unwrap();
        if found.total >= 6 {
            break found.logs.iter().map(|log| serde_json::from_str(log.get()).unwrap()).collect();
        }
        assert!(Instant::now() < deadline, "{} records", found.total);
        std::thread::sleep(Duration::from_millis(5));
    };
    let of = |id: &str| records.iter().find(|record| record["request_id"] == id).unwrap();
    for (id, action) in [
        ("one", "submit_strategy"),
        ("two", "submit_strategy"),
        ("three", "try_strategy"),
        ("four", "delete_strategy"),
        ("five", "report_strategy"),
        ("six", "lease_strategy"),
    ] {
        let record = of(id);
        assert_eq!((&record["action"], &record["log_type"]), (&action.into(), &"access".into()));
        assert!(!record.to_string().contains("hush") && !record.to_string().contains("nodes"), "{record}");
    }
    assert_eq!(of("five")["details"]["request"]["state"], "failed");
    let first = of("one")["details"]["strategy_id"].as_str().unwrap();
    assert_eq!(of("two")["details"]["strategy_id"], first, "the duplicate names the one that is there");
}
