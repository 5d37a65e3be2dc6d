//! A real Chromium, driven over WebDriver.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::await_that;
use crate::http::{Answer, delete, get, post};
use crate::process::Process;

const DRIVER: &str = "/usr/bin/chromedriver";
const BROWSER: &str = "/usr/bin/chromium";
/// What WebDriver calls the one key of an element's reference.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// A browser starts slowly beside other work.
const PATIENCE: Duration = Duration::from_secs(30);

/// One window.
pub struct Browser {
    _driver: Process,
    address: SocketAddr,
    session: String,
    shots: PathBuf,
}

impl Browser {
    /// Starts driver and browser, with everything they write below `dir`; screenshots go to `shots`.
    ///
    /// # Errors
    /// Why there can be none here.
    ///
    /// # Panics
    /// When they are installed and do not start.
    pub fn start(dir: &Path, shots: &Path) -> Result<Self, String> {
        if !(Path::new(DRIVER).exists() && Path::new(BROWSER).exists()) {
            return Err(format!("no {DRIVER} and {BROWSER}: apt-get install chromium chromium-driver"));
        }
        std::fs::create_dir_all(shots).expect("screenshots have a directory");
        let log = dir.join("driver.log");
        let log_path = format!("--log-path={}", log.display());
        let mut driver = Process::start(Path::new(DRIVER), &["--port=0", &log_path], &log);
        let mut port = None;
        await_that("the driver listens", PATIENCE, || {
            assert!(driver.is_running(), "{}", driver.said());
            let said = driver.said();
            let number = said.split("started successfully on port ").nth(1);
            port = number.and_then(|n| n.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u16>().ok());
            port.is_some()
        });
        let address = SocketAddr::from(([127, 0, 0, 1], port.expect("it was awaited")));
        let profile = dir.join("profile").display().to_string();
        // Nothing but the page may be asked for: a test talks to this machine only.
        let options = json!({ "binary": BROWSER, "args": [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
            "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
            "--window-size=1400,1000", format!("--user-data-dir={profile}")
        ]});
        let wanted = json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}});
        let answer = post(address, "/session", &wanted.to_string()).expect("the driver answers");
        let session = answer.body["value"]["sessionId"].as_str().unwrap_or_else(|| panic!("{answer:?}"));
        Ok(Self { session: session.to_owned(), _driver: driver, address, shots: shots.to_owned() })
    }

    fn ask(&self, path: &str, body: &Value) -> Answer {
        let path = format!("/session/{}/{path}", self.session);
        post(self.address, &path, &body.to_string()).expect("the driver answers")
    }

    fn must(&self, path: &str, body: &Value) -> Value {
        let answer = self.ask(path, body);
        assert_eq!(answer.status, 200, "{path} {body}: {answer:?}");
        answer.body["value"].clone()
    }

    /// Opens `url`.
    pub fn open(&self, url: &str) {
        self.must("url", &json!({ "url": url }));
    }

    /// What the script returns.
    pub fn run(&self, script: &str) -> Value {
        self.must("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// The text of the first element that `selector` finds; empty when there is none.
    #[must_use]
    pub fn text(&self, selector: &str) -> String {
        let script = format!(
            "const e = document.querySelector({selector:?}); return e ? (e.matches('input, select, output') ? e.value : e.innerText) : '';"
        );
        self.run(&script).as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the text of `selector` is what `wanted` wants.
    ///
    /// # Panics
    /// When it does not come to be.
    pub fn await_text(&self, selector: &str, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        let mut text = String::new();
        await_that(&format!("{selector} {what}"), PATIENCE, || {
            text = self.text(selector);
            wanted(&text)
        });
        text
    }

    fn find(&self, selector: &str) -> String {
        let found = self.must("element", &json!({ "using": "css selector", "value": selector }));
        found[ELEMENT].as_str().expect("an element has a reference").to_owned()
    }

    /// Clicks, as a mouse would: what is hidden or covered cannot be clicked.
    pub fn click(&self, selector: &str) {
        self.must(&format!("element/{}/click", self.find(selector)), &json!({}));
    }

    /// Empties a field and types into it.
    pub fn type_into(&self, selector: &str, text: &str) {
        let element = self.find(selector);
        self.must(&format!("element/{element}/clear"), &json!({}));
        self.must(&format!("element/{element}/value"), &json!({ "text": text }));
    }

    /// Types wherever the focus is.
    pub fn press(&self, keys: &str) {
        let act = |kind: &str, key: char| json!({ "type": kind, "value": key.to_string() });
        let actions: Vec<Value> = keys.chars().flat_map(|k| [act("keyDown", k), act("keyUp", k)]).collect();
        self.must("actions", &json!({ "actions": [{ "type": "key", "id": "keys", "actions": actions }] }));
    }

    /// Keeps a picture of the page.
    ///
    /// # Panics
    /// When there is none.
    pub fn screenshot(&self, name: &str) {
        let path = format!("/session/{}/screenshot", self.session);
        let answer = get(self.address, &path).expect("the driver answers");
        let picture = answer.body["value"].as_str().expect("a picture");
        let path = self.shots.join(format!("{name}.png"));
        let bytes = STANDARD.decode(picture).expect("a picture is base64");
        std::fs::write(&path, bytes).expect("a picture can be kept");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The end of the session is the end of the browser; the driver alone would leave it behind.
        let path = format!("/session/{}", self.session);
        let _ = delete(self.address, &path);
    }
}
