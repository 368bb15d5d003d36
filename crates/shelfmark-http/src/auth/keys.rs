//! The keys that signatures are checked with. A JWKS file is read again when it changes.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use serde::Deserialize;
use serde_json::Value;

use super::AuthenticationError;
use super::jwt::Algorithm;

/// How long a look at the file stays good.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// One key: which algorithm it is for, and by which id tokens name it.
pub(super) struct Key {
    pub(super) id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

/// The keys of one issuer.
pub(super) enum Keys {
    Secret(Arc<Vec<Key>>),
    File(Arc<KeyFile>),
}

impl fmt::Debug for Keys {
    /// Without the keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Keys::Secret(_) => f.write_str("a shared secret"),
            Keys::File(file) => write!(f, "the JWKS file {}", file.path.display()),
        }
    }
}

impl Keys {
    /// The keys as they are now.
    pub(super) async fn current(&self) -> Arc<Vec<Key>> {
        match self {
            Keys::Secret(keys) => keys.clone(),
            Keys::File(file) => {
                if let Some(keys) = file.fresh() {
                    return keys;
                }
                let again = file.clone();
                match tokio::task::spawn_blocking(move || again.look()).await {
                    Ok(keys) => keys,
                    Err(_) => file.known(),
                }
            }
        }
    }
}

/// A JWKS file and what was last read of it.
pub(super) struct KeyFile {
    path: PathBuf,
    state: Mutex<State>,
}

struct State {
    keys: Arc<Vec<Key>>,
    looked: Instant,
    /// Of the text that was last seen, good or not; none where the file could not be read.
    digest: Option<blake3::Hash>,
}

impl KeyFile {
    pub(super) fn open(path: PathBuf) -> Result<Self, AuthenticationError> {
        let text = std::fs::read(&path).map_err(|error| wrong(&path, error))?;
        let keys = parse(&path, &text)?;
        let state = Mutex::new(State {
            keys: Arc::new(keys),
            looked: Instant::now(),
            digest: Some(blake3::hash(&text)),
        });
        Ok(Self { path, state })
    }

    fn known(&self) -> Arc<Vec<Key>> {
        self.lock().keys.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The keys, unless it is time to look at the file again. Of those who come at that time one is to look.
    fn fresh(&self) -> Option<Arc<Vec<Key>>> {
        let mut state = self.lock();
        if state.looked.elapsed() < LOOK_AGAIN {
            return Some(state.keys.clone());
        }
        state.looked = Instant::now();
        None
    }

    /// Reads the file, and takes its keys if it changed: that is told from its text, since one key is as long as another, and times can be copied. One that cannot be used
    /// leaves the keys as they were: it may be half written.
    fn look(&self) -> Arc<Vec<Key>> {
        let text = std::fs::read(&self.path);
        let digest = text.as_ref().ok().map(|text| blake3::hash(text));
        let mut state = self.lock();
        if digest != state.digest {
            state.digest = digest;
            let keys = text
                .map_err(|error| wrong(&self.path, error))
                .and_then(|text| parse(&self.path, &text));
            match keys {
                Ok(keys) => {
                    state.keys = Arc::new(keys);
                    tracing::info!(path = %self.path.display(), "read the JWKS file again");
                }
                Err(error) => tracing::warn!(%error, "keeping the keys of the JWKS file as they were"),
            }
        }
        state.keys.clone()
    }
}

fn wrong(path: &Path, what: impl fmt::Display) -> AuthenticationError {
    AuthenticationError(format!("cannot use the JWKS file {}: {what}", path.display()))
}

/// A JWKS whose keys are looked at one by one: what cannot be read of one says nothing of the others.
#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

/// The keys of a JWKS file that an allowed algorithm can use. Others, symmetric ones among them, are passed over.
fn parse(path: &Path, text: &[u8]) -> Result<Vec<Key>, AuthenticationError> {
    let Set { keys } = serde_json::from_slice(text).map_err(|error| wrong(path, error))?;
    let keys: Vec<Key> = keys.into_iter().filter_map(usable).collect();
    if keys.is_empty() {
        return Err(wrong(path, "it has no key for RS256, ES256 or EdDSA signatures"));
    }
    Ok(keys)
}

fn usable(jwk: Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(jwk).ok()?;
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::Rs256,
        AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => Algorithm::Es256,
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => Algorithm::EdDsa,
        _ => return None,
    };
    let common = &jwk.common;
    let for_signatures = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature));
    let verifies = common
        .key_operations
        .as_ref()
        .is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    let named = common.key_algorithm.map(|named| named.to_string());
    if !for_signatures || !verifies || named.is_some_and(|named| named != algorithm.name()) {
        return None;
    }
    Some(Key {
        id: common.key_id.clone(),
        algorithm,
        key: DecodingKey::from_jwk(&jwk).ok()?,
    })
}
