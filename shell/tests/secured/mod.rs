//! The listener over TLS, by a real client and by those that speak something else.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use ringfence_shell::http::{Tls, TlsFiles};

use crate::common::{Shell, start_tls};

/// A certificate authority of the test's own, and the files of one certificate.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer, dir: tempfile::tempdir().unwrap() }
    }

    fn files(&self) -> TlsFiles {
        let path = |name: &str| self.dir.path().join(name);
        TlsFiles { cert: path("cert.pem"), key: path("key.pem") }
    }

    /// Writes a new certificate; its bytes.
    fn write(&self) -> Vec<u8> {
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let cert = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        let files = self.files();
        std::fs::write(files.cert, cert.pem()).unwrap();
        std::fs::write(files.key, key.serialize_pem()).unwrap();
        cert.der().to_vec()
    }

    fn client(&self) -> reqwest::Client {
        let root = reqwest::Certificate::from_der(self.issuer.der()).unwrap();
        reqwest::Client::builder()
            .tls_certs_only([root])
            .tls_info(true)
            .pool_max_idle_per_host(0)
            .timeout(Duration::from_secs(10))
            .build()
            .unwrap()
    }
}

fn wait<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// The certificate that a new connection gets.
async fn served(client: &reqwest::Client, shell: &Shell) -> Vec<u8> {
    let answer = client.get(format!("https://{}/health", shell.address)).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["strict-transport-security"], "max-age=31536000");
    let info = answer.extensions().get::<reqwest::tls::TlsInfo>().unwrap();
    info.peer_certificate().unwrap().to_vec()
}

#[test]
fn orders_and_streams_go_over_tls_and_a_stranger_is_not_trusted() {
    let authority = Authority::new();
    authority.write();
    let shell = start_tls(Tls::open(authority.files()).unwrap());
    wait(async {
        let client = authority.client();
        let origin = format!("https://{}", shell.address);
        let order = r#"{"side":"buy","symbol":"BTCUSDT","qty":"0.5","price":"61000.5"}"#;
        let post = client.post(format!("{origin}/api/order")).header("Origin", &origin);
        let answer = post.body(order).header("Content-Type", "application/json").send().await.unwrap();
        assert_eq!(answer.status(), 200, "a page of its own may");
        let foreign = format!("http://{}", shell.address);
        let post = client.post(format!("{origin}/api/order")).header("Origin", foreign);
        assert_eq!(post.body(order).send().await.unwrap().status(), 403, "http is another origin");
        let mut stream = client.get(format!("{origin}/api/stream")).send().await.unwrap();
        assert!(stream.chunk().await.unwrap().unwrap().starts_with(b"retry:"));
        let stranger = Authority::new().client();
        assert!(stranger.get(format!("{origin}/health")).send().await.is_err());
    });
}

#[test]
fn a_new_certificate_counts_after_a_reload_and_a_bad_one_does_not() {
    let authority = Authority::new();
    let first = authority.write();
    let tls = Tls::open(authority.files()).unwrap();
    let shell = start_tls(Arc::clone(&tls));
    let client = authority.client();
    wait(async {
        assert_eq!(served(&client, &shell).await, first);
        let second = authority.write();
        assert_eq!(served(&client, &shell).await, first, "not before it is asked for");
        tls.reload().unwrap();
        assert_eq!(served(&client, &shell).await, second);
        std::fs::write(authority.files().cert, "nonsense").unwrap();
        let reload =
            client.post(format!("https://{}/api/config/reload", shell.address)).send().await.unwrap();
        assert_eq!(reload.status(), 422);
        assert!(reload.text().await.unwrap().contains("config_refused"));
        assert_eq!(served(&client, &shell).await, second, "the old one still counts");
    });
}

#[test]
fn files_that_do_not_fit_are_refused_with_what_to_do() {
    let (one, other) = (Authority::new(), Authority::new());
    one.write();
    other.write();
    let (files, strange) = (one.files(), other.files());
    let refused = |cert: &Path, key: &Path| {
        let files = TlsFiles { cert: cert.to_owned(), key: key.to_owned() };
        Tls::open(files).unwrap_err().to_string()
    };
    assert!(refused(&files.cert, &strange.key).contains("cannot be used with the key"));
    assert!(refused(Path::new("/nonexistent"), &files.key).contains("name a PEM file"));
    assert!(refused(&files.cert, &files.cert).contains("the key"));
    assert!(refused(&files.key, &files.key).contains("there is no certificate"));
}

#[test]
fn plain_http_on_a_port_of_tls_is_told_so_and_closed() {
    let authority = Authority::new();
    authority.write();
    let shell = start_tls(Tls::open(authority.files()).unwrap());
    let mut stream = TcpStream::connect(shell.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 400 ") && body.contains("tls_required"), "{answer}");
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{answer}");
}
