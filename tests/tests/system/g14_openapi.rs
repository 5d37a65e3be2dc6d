//! G14: schemathesis asks a whole `ringfence up` what its own `/openapi.json` allows, and what it forbids; no answer may
//! be a 5xx, or one that the document does not have.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use ringfence_tests::http::{post, request_as};
use ringfence_tests::process::{Process, ringfence, workspace};
use ringfence_tests::world::PATIENCE;
use ringfence_tests::{await_that, size, skipped};
use serde_json::{Value, json};
use tempfile::TempDir;

const CHECKS: &[&str] = &[
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
    "allow_header_conformance",
    "use_after_free",
];
/// Whether credentials are asked for can be seen only where they are.
const CHECKS_OF_LOGINS: &[&str] = &["ignored_auth"];
/// Whatever stops orders, or takes the caller's own credentials away, comes after everything else.
const LAST: &str = "^/(api/(auth|kill|mode|rearm|limits|config)|admin)";

/// A gate, a shell, a venue and a market.
struct Up {
    process: Process,
    dir: TempDir,
}

impl Up {
    fn start(options: &[&str]) -> Self {
        let dir = TempDir::with_prefix("ringfence-test-").unwrap();
        let data = dir.path().join("data").display().to_string();
        let mut args = vec!["up", "--bind", "127.0.0.1:0", "--data", &data];
        args.extend(options);
        let process = Process::start(ringfence(), &args, &dir.path().join("up.log"));
        let up = Self { process, dir };
        await_that("up is ready", PATIENCE, || up.process.said().contains("ringfence is up"));
        up
    }

    fn address(&self) -> SocketAddr {
        std::fs::read_to_string(self.dir.path().join("data/shell.addr")).unwrap().trim().parse().unwrap()
    }

    /// A key that may do everything, of the administrator that the first start made.
    fn key(&self) -> String {
        let said = self.process.said();
        let password = said.split("with the password ").nth(1).unwrap().split_whitespace().next().unwrap();
        let login = json!({"user_id": "admin", "password": password}).to_string();
        let session = post(self.address(), "/api/auth/login", &login).unwrap();
        let bearer = format!("Bearer {}", session.body["access_token"].as_str().unwrap());
        let ask = |method, path, body: &str| {
            request_as(self.address(), Some(("Authorization", bearer.as_str())), method, path, body).unwrap()
        };
        let document = ask("GET", "/openapi.json", "").body;
        let fields = "/paths/~1api~1auth~1keys/post/requestBody/content/application~1json/schema/properties";
        let all = &document.pointer(fields).unwrap()["permissions"]["items"]["enum"];
        let made = ask("POST", "/api/auth/keys", &json!({"name": "g14", "permissions": all}).to_string());
        made.body["api_key"].as_str().unwrap_or_else(|| panic!("{made:?}")).to_owned()
    }
}

/// One run over a part of the document; how many cases it was.
fn run(tool: &Path, up: &Up, key: &str, part: (&str, &str), checks: &[&str], examples: u64) -> u64 {
    let report = up.dir.path().join("report.json");
    let config = workspace().join("tests/schemathesis.toml");
    let (choose, paths) = part;
    let ran = Command::new(tool)
        .arg("--config-file")
        .arg(config)
        .args(["run", &format!("http://{}/openapi.json", up.address()), choose, paths])
        .args([
            "--max-examples",
            &examples.to_string(),
            "--seed",
            &size("RINGFENCE_G14_SEED", 14).to_string(),
        ])
        .args(["--checks", &checks.join(","), "--no-color", "--warnings", "off"])
        .args(["--generation-database", "none", "--report", "json", "--report-json-path"])
        .arg(&report)
        .env("RINGFENCE_API_KEY", key)
        .current_dir(up.dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    let report: Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    assert_eq!(report["complete"], true, "{said}");
    for phase in ["coverage", "fuzzing", "stateful"] {
        assert_eq!(report["phases"][phase]["status"], "success", "{phase}:\n{said}");
    }
    report["test_cases"]["generated"].as_u64().unwrap()
}

fn everything(test: &str, options: &[&str], login: bool) {
    let Some(tool) = std::env::var_os("RINGFENCE_SCHEMATHESIS") else {
        return skipped(test, "schemathesis is not there: `cargo xtask test` installs it");
    };
    let (tool, examples) = (Path::new(&tool), size("RINGFENCE_G14_EXAMPLES", 5));
    let mut up = Up::start(options);
    let key = if login { up.key() } else { "none".to_owned() };
    let checks = [CHECKS, if login { CHECKS_OF_LOGINS } else { &[] }].concat();
    let first = run(tool, &up, &key, ("--exclude-path-regex", LAST), &checks, examples);
    let last = run(tool, &up, &key, ("--include-path-regex", LAST), &checks, examples);
    assert!(up.process.is_running(), "{}", up.process.said());
    let said = up.process.said();
    assert!(!said.contains("panicked") && !said.contains("starting it again"), "{said}");
    println!(
        "G14 {test}: {} cases ({first} + {last}), {examples} examples an operation, 0 x 5xx",
        first + last
    );
    assert!(up.process.stop(PATIENCE).success());
}

#[test]
fn g14_without_logins_every_answer_is_one_that_the_document_has() {
    everything("g14_without_logins_every_answer_is_one_that_the_document_has", &[], false);
}

#[test]
fn g14_with_logins_every_answer_is_one_that_the_document_has() {
    // Logins are answered, and not only counted.
    let options = ["--set", "auth.enabled=true", "--set", "auth.login_capacity=1000000"];
    everything("g14_with_logins_every_answer_is_one_that_the_document_has", &options, true);
}
