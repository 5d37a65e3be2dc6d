//! Signing: parameters are percent-encoded first, and what was encoded is signed and sent, byte for byte.

use aws_lc_rs::hmac;
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret as _, SecretString};
use std::fmt;
use std::sync::Arc;

/// What a query string holds as it is: RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// An API key and what signs for it.
#[derive(Clone)]
pub struct Key {
    api_key: SecretString,
    signer: Arc<Signer>,
}

enum Signer {
    Hmac(Box<hmac::Key>),
    Ed25519(Ed25519KeyPair),
}

/// The text is no Ed25519 private key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an Ed25519 private key in PKCS#8 PEM: `openssl genpkey -algorithm ed25519` makes one")]
pub struct KeyError;

impl Key {
    /// An HMAC-SHA256 key.
    #[must_use]
    pub fn hmac(api_key: &str, secret: SecretString) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
        Self { api_key: api_key.into(), signer: Arc::new(Signer::Hmac(Box::new(key))) }
    }

    /// An Ed25519 key; `pem` is its private half in PKCS#8.
    ///
    /// # Errors
    /// [`KeyError`]; it never shows the text.
    pub fn ed25519(api_key: &str, pem: &SecretString) -> Result<Self, KeyError> {
        let body = pem
            .expose_secret()
            .trim()
            .strip_prefix("-----BEGIN PRIVATE KEY-----")
            .and_then(|rest| rest.strip_suffix("-----END PRIVATE KEY-----"))
            .ok_or(KeyError)?;
        let body: SecretString = body.split_whitespace().collect::<String>().into();
        let der = BASE64_STANDARD.decode(body.expose_secret()).map_err(|_| KeyError)?;
        let pair = Ed25519KeyPair::from_pkcs8(&der).map_err(|_| KeyError)?;
        Ok(Self { api_key: api_key.into(), signer: Arc::new(Signer::Ed25519(pair)) })
    }

    /// Whether a WebSocket session can log on with it.
    #[must_use]
    pub fn is_ed25519(&self) -> bool {
        matches!(*self.signer, Signer::Ed25519(_))
    }

    /// The public half: it names the account, so it is not shown either.
    pub(crate) fn api_key(&self) -> &str {
        self.api_key.expose_secret()
    }

    /// The signature of `payload`: hex of HMAC-SHA256, base64 of Ed25519. Not yet percent-encoded.
    #[must_use]
    pub fn sign(&self, payload: &str) -> String {
        match &*self.signer {
            Signer::Hmac(key) => {
                let tag = hmac::sign(key, payload.as_bytes());
                tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
            }
            Signer::Ed25519(pair) => BASE64_STANDARD.encode(pair.sign(payload.as_bytes())),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_ed25519() { "Ed25519" } else { "HMAC-SHA256" };
        write!(f, "Key({kind}, [redacted])")
    }
}

/// Parameters of one request, in the order in which they are sent.
#[derive(Clone, Debug, Default)]
pub struct Params(Vec<(&'static str, String)>);

impl Params {
    /// With one more.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.0.push((name, value.to_string()));
        self
    }

    /// As a query string, percent-encoded.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut out = String::new();
        for (name, value) in &self.0 {
            if !out.is_empty() {
                out.push('&');
            }
            out.push_str(name);
            out.push('=');
            out.extend(utf8_percent_encode(value, RESERVED));
        }
        out
    }

    /// As a query string with its signature at the end.
    #[must_use]
    pub fn signed(&self, key: &Key) -> String {
        let payload = self.encode();
        let signature = key.sign(&payload);
        format!("{payload}&signature={}", utf8_percent_encode(&signature, RESERVED))
    }

    /// For the WebSocket API: signed in the order of the names, sent as JSON.
    #[must_use]
    pub fn signed_json(mut self, key: &Key) -> serde_json::Value {
        self.0.sort_unstable_by_key(|(name, _)| *name);
        let signature = key.sign(&self.encode());
        let fields = self.0.into_iter().chain([("signature", signature)]);
        let number = |name, text: String| match (name, text.parse::<u64>()) {
            ("timestamp" | "recvWindow", Ok(number)) => serde_json::Value::from(number),
            _ => serde_json::Value::from(text),
        };
        fields.map(|(name, text)| (name.to_owned(), number(name, text))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The key pair and the signatures of Binance's public documentation, "SIGNED endpoint examples".
    const API_KEY: &str = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A";
    const SECRET: &str = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j";

    fn order(symbol: &str) -> Params {
        Params::default()
            .with("symbol", symbol)
            .with("side", "BUY")
            .with("type", "LIMIT")
            .with("timeInForce", "GTC")
            .with("quantity", 1)
            .with("price", "0.1")
            .with("recvWindow", 5000)
            .with("timestamp", 1_499_827_319_559u64)
    }

    #[test]
    fn hmac_signs_as_the_documentation_does() {
        let key = Key::hmac(API_KEY, SECRET.into());
        let signed = order("LTCBTC").signed(&key);
        assert_eq!(
            signed,
            "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000&\
             timestamp=1499827319559&\
             signature=c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"
        );
    }

    #[test]
    fn parameters_are_encoded_before_they_are_signed() {
        let key = Key::hmac(API_KEY, SECRET.into());
        let signed = order("１２３４５６").signed(&key);
        assert!(signed.starts_with("symbol=%EF%BC%91%EF%BC%92%EF%BC%93%EF%BC%94%EF%BC%95%EF%BC%96&side=BUY"));
        assert!(
            signed.ends_with("=e1353ec6b14d888f1164ae9af8228a3dbd508bc82eb867db8ab6046442f33ef3"),
            "{signed}"
        );
    }

    #[test]
    fn ed25519_signs_as_rfc_8032_does() {
        // Test 1 of RFC 8032: the empty message.
        let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let bytes: Vec<u8> =
            (0..32).map(|i| u8::from_str_radix(&seed[2 * i..2 * i + 2], 16).expect("hex")).collect();
        // PKCS#8 version 1 of an Ed25519 seed: RFC 8410.
        let mut der =
            vec![0x30, 0x2e, 0x02, 0x01, 0, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
        der.extend(bytes);
        let pem = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            BASE64_STANDARD.encode(der)
        );
        let key = Key::ed25519("k", &pem.into()).expect("a key");
        let signature = BASE64_STANDARD.decode(key.sign("")).expect("base64");
        let expected = "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46b\
                        d25bf5f0595bbe24655141438e7a100b";
        assert_eq!(signature.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), expected);
    }

    #[test]
    fn a_key_never_shows_itself() {
        let key = Key::hmac(API_KEY, SECRET.into());
        let shown = format!("{key:?}");
        assert!(!shown.contains(API_KEY) && !shown.contains(SECRET), "{shown}");
        assert_eq!(Key::ed25519("k", &"not a key".into()).err(), Some(KeyError));
    }
}
