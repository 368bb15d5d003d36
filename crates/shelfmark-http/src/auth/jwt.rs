//! JSON Web Tokens: signature, issuer, audience, times, and the claims that make a principal.

use std::path::PathBuf;
use std::sync::Arc;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{DecodingKey, Validation};
use serde_json::{Map, Value};

use super::keys::{Key, KeyFile, Keys};
use super::{AuthenticationError, Principal, Scope};

/// The longest name of a tenant or an actor, in bytes, as the catalog has it.
const MAX_NAME: usize = 255;
/// The shortest shared secret, in bytes: as long as what HS256 makes.
const MIN_SECRET: usize = 32;

/// How a token may be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// HMAC with SHA-256 and a shared secret.
    Hs256,
    /// RSA (PKCS #1 v1.5) with SHA-256.
    Rs256,
    /// ECDSA over P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// As `alg` in a token names it.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Hs256 => "HS256",
            Algorithm::Rs256 => "RS256",
            Algorithm::Es256 => "ES256",
            Algorithm::EdDsa => "EdDSA",
        }
    }

    fn of(algorithm: jsonwebtoken::Algorithm) -> Option<Self> {
        match algorithm {
            jsonwebtoken::Algorithm::HS256 => Some(Algorithm::Hs256),
            jsonwebtoken::Algorithm::RS256 => Some(Algorithm::Rs256),
            jsonwebtoken::Algorithm::ES256 => Some(Algorithm::Es256),
            jsonwebtoken::Algorithm::EdDSA => Some(Algorithm::EdDsa),
            _ => None,
        }
    }
}

/// Which claims say who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The tenant: `tenantId` by default.
    pub tenant: String,
    /// The subject: `sub` by default.
    pub subject: String,
    /// The scopes, a list or one text with blanks between: `scope` by default.
    pub scopes: String,
}

impl Default for Claims {
    fn default() -> Self {
        Self {
            tenant: "tenantId".to_owned(),
            subject: "sub".to_owned(),
            scopes: "scope".to_owned(),
        }
    }
}

/// Which JSON Web Tokens are accepted: signed by a known key with an allowed algorithm, of this issuer, for this audience, not expired (`exp`), and not before their time (`nbf`).
/// A clock may differ by 60 seconds.
#[derive(Debug)]
pub struct Jwt {
    keys: Keys,
    algorithms: Vec<Algorithm>,
    issuer: String,
    audience: String,
    claims: Claims,
}

impl Jwt {
    /// Tokens that any key of a JWKS file signed. The file is read again once it has changed. RS256, ES256 and EdDSA are allowed, until [`Jwt::algorithms`] says
    /// otherwise.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is not a JWKS, or has no key for these algorithms.
    pub fn with_jwks_file(
        path: impl Into<PathBuf>,
        issuer: impl Into<String>,
        audience: impl Into<String>,
    ) -> Result<Self, AuthenticationError> {
        let file = KeyFile::open(path.into())?;
        let algorithms = vec![Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa];
        Ok(Self::new(
            Keys::File(Arc::new(file)),
            algorithms,
            issuer.into(),
            audience.into(),
        ))
    }

    /// Tokens signed with a shared secret, by HS256.
    ///
    /// # Errors
    ///
    /// The secret is shorter than 32 bytes.
    pub fn with_secret(
        secret: &[u8],
        issuer: impl Into<String>,
        audience: impl Into<String>,
    ) -> Result<Self, AuthenticationError> {
        if secret.len() < MIN_SECRET {
            let what = format!(
                "a shared secret needs {MIN_SECRET} bytes or more; this one has {}",
                secret.len()
            );
            return Err(AuthenticationError(what));
        }
        let key = Key {
            id: None,
            algorithm: Algorithm::Hs256,
            key: DecodingKey::from_secret(secret),
        };
        let keys = Keys::Secret(Arc::new(vec![key]));
        Ok(Self::new(
            keys,
            vec![Algorithm::Hs256],
            issuer.into(),
            audience.into(),
        ))
    }

    fn new(keys: Keys, algorithms: Vec<Algorithm>, issuer: String, audience: String) -> Self {
        Self {
            keys,
            algorithms,
            issuer,
            audience,
            claims: Claims::default(),
        }
    }

    /// Only these algorithms. Keys of others stay unused.
    #[must_use]
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.algorithms = algorithms.into_iter().collect();
        self
    }

    /// Other names of claims.
    #[must_use]
    pub fn claims(mut self, claims: Claims) -> Self {
        self.claims = claims;
        self
    }

    /// Who the token speaks for; the error says what is wrong with it, without showing any of it.
    pub(super) async fn verify(&self, token: &str) -> Result<Principal, String> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| "the token is malformed".to_owned())?;
        let algorithm = Algorithm::of(header.alg)
            .filter(|algorithm| self.algorithms.contains(algorithm))
            .ok_or("the token is signed with an algorithm that is not allowed")?;
        // What it lists must be understood, or the token refused.
        if header.crit.is_some() {
            return Err("the token has a critical extension, and none is known".to_owned());
        }
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.validate_nbf = true;
        let keys = self.keys.current().await;
        let mut refused = "the token is signed with a key that is not known".to_owned();
        for key in keys.iter() {
            // A token that names a key is checked with that key alone.
            let named = header.kid.is_none() || key.id.is_none() || header.kid == key.id;
            if key.algorithm != algorithm || !named {
                continue;
            }
            match jsonwebtoken::decode::<Map<String, Value>>(token, &key.key, &validation) {
                Ok(data) => return self.principal(&data.claims),
                Err(error) => refused = told(error.kind()).to_owned(),
            }
        }
        Err(refused)
    }

    fn principal(&self, claims: &Map<String, Value>) -> Result<Principal, String> {
        let text = |name: &str| {
            let text = claims.get(name).and_then(Value::as_str);
            text.filter(|text| !text.trim().is_empty() && text.len() <= MAX_NAME)
                .map(str::to_owned)
                .ok_or_else(|| {
                    format!("the token needs the claim {name}: a text of at most {MAX_NAME} bytes")
                })
        };
        let scopes = match claims.get(&self.claims.scopes) {
            Some(Value::String(names)) => names.split_whitespace().filter_map(Scope::from_name).collect(),
            Some(Value::Array(names)) => {
                let names = names.iter().filter_map(Value::as_str);
                names.filter_map(Scope::from_name).collect()
            }
            _ => Vec::new(),
        };
        Ok(Principal {
            tenant: text(&self.claims.tenant)?,
            subject: text(&self.claims.subject)?,
            scopes,
        })
    }
}

fn told(kind: &ErrorKind) -> &'static str {
    match kind {
        ErrorKind::ExpiredSignature => "the token has expired",
        ErrorKind::ImmatureSignature => "the token is not valid yet",
        ErrorKind::InvalidSignature => "the signature of the token is wrong",
        ErrorKind::InvalidIssuer => "the token is of another issuer",
        ErrorKind::InvalidAudience => "the token is for another audience",
        ErrorKind::MissingRequiredClaim(_) => "the token lacks one of the claims exp, iss and aud",
        _ => "the token is malformed",
    }
}
