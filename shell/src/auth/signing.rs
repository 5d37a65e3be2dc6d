//! Signing keys and the tokens they sign.
//!
//! A key has one algorithm for ever: a token's `kid` chooses the key, the key chooses the algorithm, and what the token
//! itself says must agree. The newest key signs; earlier ones verify until their longest token has ended.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use rusqlite::Transaction;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use super::AuthError;
use super::random::{base64url, hex};
use super::store::Store;

/// The `kid` of the configured secret; every other is a thumbprint in hex.
const HS256_KID: &str = "hs256";
/// No token of ours is longer, bytes.
const MAX_TOKEN_BYTES: usize = 2048;

/// What a token is for; the `typ` of its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenType {
    /// Authorises requests.
    Access,
    /// Is exchanged for new tokens, once.
    Refresh,
}

impl TokenType {
    /// As in the header.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Access => "at+jwt",
            Self::Refresh => "rt+jwt",
        }
    }
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who made it.
    pub iss: String,
    /// Whom it is for.
    pub aud: String,
    /// The user.
    pub sub: String,
    /// The family it belongs to.
    pub sid: String,
    /// Its own id.
    pub jti: String,
    /// When it was made, Unix seconds.
    pub iat: u64,
    /// When it begins, Unix seconds.
    pub nbf: u64,
    /// When it ends, Unix seconds.
    pub exp: u64,
}

/// What every token must say.
#[derive(Clone, Debug)]
pub struct TokenRules {
    /// `iss`.
    pub issuer: String,
    /// `aud`.
    pub audience: String,
    /// How far clocks may differ.
    pub leeway: Duration,
}

struct Key {
    kid: String,
    algorithm: Algorithm,
    encoding: EncodingKey,
    decoding: DecodingKey,
    /// The public half, of a key that has one.
    public: Option<Vec<u8>>,
    created_at: u64,
    retired_at: Option<u64>,
}

/// The keys that sign and verify; the newest comes first.
pub struct KeyRing {
    keys: Vec<Key>,
    hmac: Option<Key>,
    rules: TokenRules,
}

/// One key as operators see it.
#[derive(Debug, Serialize, ToSchema)]
pub struct KeyInfo {
    /// Its id.
    pub kid: String,
    /// Its algorithm.
    pub alg: &'static str,
    /// When it was made, Unix seconds.
    pub created_at: u64,
    /// Since when it only verifies, Unix seconds.
    pub retired_at: Option<u64>,
    /// Whether it signs new tokens.
    pub signs: bool,
}

fn ed25519(pkcs8: &[u8], created_at: u64, retired_at: Option<u64>) -> Result<Key, AuthError> {
    let pair = Ed25519KeyPair::from_pkcs8(pkcs8)
        .map_err(|_| AuthError::Internal("a stored signing key is broken"))?;
    let public = pair.public_key().as_ref().to_vec();
    Ok(Key {
        kid: hex(&Sha256::digest(&public)[..8]),
        algorithm: Algorithm::EdDSA,
        encoding: EncodingKey::from_ed_der(pkcs8),
        decoding: DecodingKey::from_ed_der(&public),
        public: Some(public),
        created_at,
        retired_at,
    })
}

impl KeyRing {
    /// The stored keys, and the configured secret if there is one: then that one signs.
    ///
    /// # Errors
    /// [`AuthError`] when a stored key cannot be read.
    pub fn load(store: &Store, secret: Option<&SecretString>, rules: TokenRules) -> Result<Self, AuthError> {
        let mut query = store.connection().prepare_cached(
            "SELECT pkcs8, created_at, retired_at FROM signing_keys
             ORDER BY retired_at IS NOT NULL, created_at DESC, retired_at DESC",
        )?;
        let rows = query.query_map((), |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get(1)?, row.get(2)?)))?;
        let mut keys = Vec::new();
        for row in rows {
            let (pkcs8, created_at, retired_at) = row?;
            keys.push(ed25519(&pkcs8, created_at, retired_at)?);
        }
        let hmac = secret.map(|secret| {
            let bytes = secret.expose_secret().as_bytes();
            Key {
                kid: HS256_KID.to_owned(),
                algorithm: Algorithm::HS256,
                encoding: EncodingKey::from_secret(bytes),
                decoding: DecodingKey::from_secret(bytes),
                public: None,
                created_at: 0,
                retired_at: None,
            }
        });
        Ok(Self { keys, hmac, rules })
    }

    /// No key: nothing passes.
    #[must_use]
    pub const fn empty(rules: TokenRules) -> Self {
        Self { keys: Vec::new(), hmac: None, rules }
    }

    /// A new key signs from now on.
    ///
    /// # Errors
    /// [`AuthError`] without randomness or store.
    pub fn rotate(transaction: &Transaction<'_>, now: u64) -> Result<String, AuthError> {
        let failed = |_| AuthError::Internal("no signing key could be generated");
        let pkcs8 = Ed25519KeyPair::generate().and_then(|pair| pair.to_pkcs8()).map_err(failed)?;
        let key = ed25519(pkcs8.as_ref(), now, None)?;
        transaction.execute("UPDATE signing_keys SET retired_at = ?1 WHERE retired_at IS NULL", [now])?;
        transaction.execute(
            "INSERT INTO signing_keys (kid, pkcs8, created_at) VALUES (?1, ?2, ?3)",
            (&key.kid, pkcs8.as_ref(), now),
        )?;
        Ok(key.kid)
    }

    /// Whether the key that signs is older than `age`, or there is none.
    #[must_use]
    pub fn is_due(&self, age: Duration, now: u64) -> bool {
        self.keys
            .iter()
            .find(|key| key.retired_at.is_none())
            .is_none_or(|key| now.saturating_sub(key.created_at) >= age.as_secs())
    }

    /// Whether this key signs or verifies.
    #[must_use]
    pub fn knows(&self, kid: &str) -> bool {
        self.find(kid).is_some()
    }

    /// The public keys as a JWK set. The configured secret has no public half and is not in it.
    #[must_use]
    pub fn jwks(&self) -> serde_json::Value {
        let jwk = |key: &Key| {
            let public = key.public.as_ref()?;
            Some(BTreeMap::from([
                ("kty", "OKP".to_owned()),
                ("crv", "Ed25519".to_owned()),
                ("alg", "EdDSA".to_owned()),
                ("use", "sig".to_owned()),
                ("kid", key.kid.clone()),
                ("x", base64url(public)),
            ]))
        };
        serde_json::json!({ "keys": self.keys.iter().filter_map(jwk).collect::<Vec<_>>() })
    }

    /// Every key, the one that signs first.
    #[must_use]
    pub fn list(&self) -> Vec<KeyInfo> {
        let signer = self.signer().map(|key| key.kid.clone());
        let info = |key: &Key| KeyInfo {
            kid: key.kid.clone(),
            alg: if key.algorithm == Algorithm::HS256 { "HS256" } else { "EdDSA" },
            created_at: key.created_at,
            retired_at: key.retired_at,
            signs: signer.as_ref() == Some(&key.kid),
        };
        self.hmac.iter().chain(&self.keys).map(info).collect()
    }

    fn signer(&self) -> Option<&Key> {
        self.hmac.as_ref().or_else(|| self.keys.iter().find(|key| key.retired_at.is_none()))
    }

    fn find(&self, kid: &str) -> Option<&Key> {
        self.hmac.iter().chain(&self.keys).find(|key| key.kid == kid)
    }

    /// Signs a token of `kind` for `sub` in the family `sid`.
    ///
    /// # Errors
    /// [`AuthError::Internal`].
    pub fn sign(
        &self,
        kind: TokenType,
        (sub, sid, jti): (&str, &str, &str),
        (now, lives): (u64, Duration),
    ) -> Result<String, AuthError> {
        let key = self.signer().ok_or(AuthError::Internal("there is no signing key"))?;
        let header = Header {
            typ: Some(kind.name().to_owned()),
            kid: Some(key.kid.clone()),
            ..Header::new(key.algorithm)
        };
        let claims = Claims {
            iss: self.rules.issuer.clone(),
            aud: self.rules.audience.clone(),
            sub: sub.to_owned(),
            sid: sid.to_owned(),
            jti: jti.to_owned(),
            iat: now,
            nbf: now,
            exp: now.saturating_add(lives.as_secs()),
        };
        encode(&header, &claims, &key.encoding)
            .map_err(|_| AuthError::Internal("a token could not be signed"))
    }

    /// What `token` says, if it is one of ours, of this type, signed, and within its time.
    #[must_use]
    pub fn verify(&self, kind: TokenType, token: &str) -> Option<Claims> {
        if token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let header = decode_header(token).ok()?;
        // Keys are never taken from a token, whatever it offers.
        let offers = header.jku.is_some()
            || header.jwk.is_some()
            || header.x5u.is_some()
            || header.x5c.is_some()
            || header.crit.is_some()
            || header.enc.is_some()
            || header.zip.is_some();
        if offers || header.typ.as_deref() != Some(kind.name()) {
            return None;
        }
        let key = self.find(header.kid.as_deref()?)?;
        if header.alg != key.algorithm {
            return None;
        }
        let mut validation = Validation::new(key.algorithm);
        validation.leeway = self.rules.leeway.as_secs();
        validation.validate_nbf = true;
        validation.set_audience(&[&self.rules.audience]);
        validation.set_issuer(&[&self.rules.issuer]);
        validation.set_required_spec_claims(&["exp", "nbf", "aud", "iss", "sub"]);
        Some(decode::<Claims>(token, &key.decoding, &validation).ok()?.claims)
    }
}
