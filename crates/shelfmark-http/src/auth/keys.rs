//! The keys that signatures are checked with. A JWKS file is read again when it changes.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, JwkSet, PublicKeyUse};

use super::AuthenticationError;
use super::jwt::Algorithm;

/// How long a look at the file's state stays good.
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
    /// Time of the last change, and length.
    version: Option<(SystemTime, u64)>,
}

impl KeyFile {
    pub(super) fn open(path: PathBuf) -> Result<Self, AuthenticationError> {
        let version = version(&path);
        let keys = read(&path)?;
        let state = Mutex::new(State {
            keys: Arc::new(keys),
            looked: Instant::now(),
            version,
        });
        Ok(Self { path, state })
    }

    fn known(&self) -> Arc<Vec<Key>> {
        self.lock().keys.clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The keys, unless it is time to look at the file again.
    fn fresh(&self) -> Option<Arc<Vec<Key>>> {
        let state = self.lock();
        (state.looked.elapsed() < LOOK_AGAIN).then(|| state.keys.clone())
    }

    /// Reads the file if it changed. One that cannot be read leaves the keys as they were: it may be half written.
    fn look(&self) -> Arc<Vec<Key>> {
        let version = version(&self.path);
        let mut state = self.lock();
        state.looked = Instant::now();
        if version != state.version {
            match read(&self.path) {
                Ok(keys) => {
                    state.keys = Arc::new(keys);
                    state.version = version;
                    tracing::info!(path = %self.path.display(), "read the JWKS file again");
                }
                Err(error) => tracing::warn!(%error, "keeping the keys of the JWKS file as they were"),
            }
        }
        state.keys.clone()
    }
}

fn version(path: &std::path::Path) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// The keys of a JWKS file that an allowed algorithm can use. Others, symmetric ones among them, are passed over.
fn read(path: &std::path::Path) -> Result<Vec<Key>, AuthenticationError> {
    let wrong =
        |what: String| AuthenticationError(format!("cannot use the JWKS file {}: {what}", path.display()));
    let text = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let set: JwkSet = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    let mut keys = Vec::new();
    for jwk in &set.keys {
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => Algorithm::Rs256,
            AlgorithmParameters::EllipticCurve(curve) if curve.curve == EllipticCurve::P256 => {
                Algorithm::Es256
            }
            AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => {
                Algorithm::EdDsa
            }
            _ => continue,
        };
        let for_signatures = matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature));
        let named = jwk.common.key_algorithm.map(|named| named.to_string());
        if !for_signatures || named.is_some_and(|named| named != algorithm.name()) {
            continue;
        }
        keys.push(Key {
            id: jwk.common.key_id.clone(),
            algorithm,
            key: DecodingKey::from_jwk(jwk).map_err(|error| wrong(error.to_string()))?,
        });
    }
    if keys.is_empty() {
        return Err(wrong(
            "it has no key for RS256, ES256 or EdDSA signatures".to_owned(),
        ));
    }
    Ok(keys)
}
