//! `up` with a certificate, and the commands that talk to it.

use std::process::{Command, Output};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use ringfence_tests::process::{Process, ringfence};
use ringfence_tests::world::PATIENCE;
use ringfence_tests::{await_that, both_cpus};
use tempfile::TempDir;

fn ordered(url: &str, ca: Option<&str>) -> Output {
    let mut command = Command::new(ringfence());
    command.args(["order", "BUY", "BTCUSDT", "0.001", "1", "--url", url, "--json"]);
    if let Some(ca) = ca {
        command.args(["--ca", ca]);
    }
    command.output().unwrap()
}

#[test]
fn commands_speak_tls_to_a_shell_whose_certificate_they_are_told() {
    let _turn = both_cpus();
    let dir = TempDir::with_prefix("ringfence-test-").unwrap();
    let file = |name: &str| dir.path().join(name).display().to_string();
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(file("cert.pem"), cert.pem()).unwrap();
    std::fs::write(file("key.pem"), signing_key.serialize_pem()).unwrap();
    let (certificate, key) =
        (format!("server.tls_cert={}", file("cert.pem")), format!("server.tls_key={}", file("key.pem")));
    let (data, log) = (file("data"), dir.path().join("up.log"));
    let args = ["up", "--bind", "127.0.0.1:0", "--data", &data, "--set", &certificate, "--set", &key];
    let up = Process::start(ringfence(), &args, &log);
    await_that("up is ready", PATIENCE, || up.said().contains("ringfence is up: https://"));
    let address = std::fs::read_to_string(dir.path().join("data/shell.addr")).unwrap();
    let port = address.trim().rsplit(':').next().unwrap().to_owned();
    let url = format!("https://localhost:{port}");
    await_that("an order is decided, over TLS", PATIENCE, || {
        let output = ordered(&url, Some(&file("cert.pem")));
        // The price is far from the market: the gate says so, and nobody before it.
        String::from_utf8_lossy(&output.stdout).contains("PRICE_COLLAR")
            || String::from_utf8_lossy(&output.stderr).contains("PRICE_COLLAR")
    });
    let stranger = ordered(&url, None);
    let said = String::from_utf8_lossy(&stranger.stderr).into_owned();
    assert!(!stranger.status.success() && said.contains("certificate"), "{said}");
    let not_a_certificate = ordered(&url, Some(&file("key.pem")));
    let said = String::from_utf8_lossy(&not_a_certificate.stderr).into_owned();
    assert!(said.contains("holds no certificate in PEM"), "{said}");
    assert!(up.stop(PATIENCE).success());
    let said = std::fs::read_to_string(&log).unwrap();
    assert!(!said.contains("ERROR"), "a stop is no error: {said}");
}
