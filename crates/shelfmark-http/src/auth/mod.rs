//! Who calls: bearer tokens, signed or from a list.

mod jwt;
mod keys;

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

pub use jwt::{Algorithm, Claims, Jwt};

use crate::error::Failure;

/// What a token lets its bearer do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// Reading: `catalog:read`.
    Read,
    /// Creating, changing and deleting: `catalog:write`.
    Write,
    /// Everything, the others included: `catalog:admin`.
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Scope; 3] = [Scope::Read, Scope::Write, Scope::Admin];

    /// As tokens name it.
    pub fn name(self) -> &'static str {
        match self {
            Scope::Read => "catalog:read",
            Scope::Write => "catalog:write",
            Scope::Admin => "catalog:admin",
        }
    }

    /// The scope of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }
}

/// Who calls, on behalf of which tenant, and what for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Principal {
    /// The tenant, all that the caller reaches.
    pub tenant: String,
    /// The actor that changes are ascribed to, and whose rate tiers are spent.
    pub subject: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
}

impl Principal {
    /// A caller with these scopes.
    pub fn new(
        tenant: impl Into<String>,
        subject: impl Into<String>,
        scopes: impl IntoIterator<Item = Scope>,
    ) -> Self {
        Self {
            tenant: tenant.into(),
            subject: subject.into(),
            scopes: scopes.into_iter().collect(),
        }
    }

    /// A caller who may do everything in its tenant.
    pub fn with_all_scopes(tenant: impl Into<String>, subject: impl Into<String>) -> Self {
        Self::new(tenant, subject, Scope::ALL)
    }

    /// Whether it may do what `scope` names.
    pub fn has(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin)
    }
}

/// Why authentication cannot be set up: what is wrong with which file or option.
#[derive(Debug)]
pub struct AuthenticationError(pub(crate) String);

impl fmt::Display for AuthenticationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for AuthenticationError {}

/// Which bearer tokens are accepted. Without any, every request to the API is answered with 401.
///
/// ```
/// use shelfmark_http::{Algorithm, Authentication, Jwt};
///
/// # fn main() -> Result<(), shelfmark_http::AuthenticationError> {
/// let secret = b"thirty-two bytes or more of noise";
/// let jwt = Jwt::with_secret(secret, "https://issuer.example.org", "shelfmark")?;
/// let authentication = Authentication::new().with_jwt(jwt);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Authentication {
    jwt: Option<Arc<Jwt>>,
    tokens: HashMap<blake::Digest, Arc<Principal>>,
    anonymous: Option<Arc<Principal>>,
}

impl fmt::Debug for Authentication {
    /// Without the tokens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authentication")
            .field("jwt", &self.jwt)
            .field("static_tokens", &self.tokens.len())
            .field("anonymous", &self.anonymous)
            .finish()
    }
}

/// Tokens are found by digest, so that how long a look-up takes tells nothing of how much of a guess was right.
mod blake {
    pub(super) type Digest = [u8; 32];

    pub(super) fn digest(token: &str) -> Digest {
        *blake3::hash(token.as_bytes()).as_bytes()
    }
}

impl Authentication {
    /// Accepts nobody yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Accepts JSON Web Tokens.
    #[must_use]
    pub fn with_jwt(mut self, jwt: Jwt) -> Self {
        self.jwt = Some(Arc::new(jwt));
        self
    }

    /// Accepts this very token, for development and tests.
    #[must_use]
    pub fn with_static_token(mut self, token: impl AsRef<str>, principal: Principal) -> Self {
        self.tokens
            .insert(blake::digest(token.as_ref()), Arc::new(principal));
        self
    }

    /// Accepts the tokens of a file, for development: a token, a tenant, a subject and scopes a line, separated by blanks; all scopes where none is
    /// named. Empty lines and those that begin with `#` are passed over.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or a line is not of that form.
    pub fn with_token_file(mut self, path: impl AsRef<Path>) -> Result<Self, AuthenticationError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|error| {
            AuthenticationError(format!("cannot read the token file {}: {error}", path.display()))
        })?;
        for (index, line) in text.lines().enumerate() {
            let mut words = line.split_whitespace();
            let Some(token) = words.next().filter(|word| !word.starts_with('#')) else {
                continue;
            };
            let wrong = |what: &str| {
                AuthenticationError(format!(
                    "line {} of the token file {}: {what}",
                    index + 1,
                    path.display()
                ))
            };
            let (Some(tenant), Some(subject)) = (words.next(), words.next()) else {
                return Err(wrong("needs a token, a tenant and a subject"));
            };
            let mut scopes = Vec::new();
            for word in words {
                scopes.push(Scope::from_name(word).ok_or_else(|| wrong("names a scope that there is not"))?);
            }
            if scopes.is_empty() {
                scopes.extend(Scope::ALL);
            }
            self = self.with_static_token(token, Principal::new(tenant, subject, scopes));
        }
        Ok(self)
    }

    /// Takes every request without a token for one of `principal`. Only for a server that nobody else can reach.
    #[must_use]
    pub fn with_anonymous(mut self, principal: Principal) -> Self {
        self.anonymous = Some(Arc::new(principal));
        self
    }

    /// Who sent the request.
    pub(crate) async fn authenticate(&self, headers: &HeaderMap) -> Result<Arc<Principal>, Failure> {
        let token = match bearer(headers)? {
            Some(token) => token,
            None => {
                return self.anonymous.clone().ok_or_else(|| {
                    Failure::unauthorized("Bearer", "send a token: Authorization: Bearer <access_token>")
                });
            }
        };
        if let Some(principal) = self.tokens.get(&blake::digest(token)) {
            return Ok(principal.clone());
        }
        match &self.jwt {
            Some(jwt) => jwt.verify(token).await.map(Arc::new).map_err(refused),
            None => Err(refused("the token is not known".to_owned())),
        }
    }
}

fn refused(why: String) -> Failure {
    Failure::unauthorized("Bearer error=\"invalid_token\"", why)
}

/// The bearer token of a request, if it has an `Authorization` header.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Failure> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let token = value.to_str().ok().and_then(|text| {
        let (scheme, token) = text.split_once(' ')?;
        let token = token.trim();
        (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
    });
    match token {
        Some(token) if values.next().is_none() => Ok(Some(token)),
        _ => Err(Failure::unauthorized(
            "Bearer error=\"invalid_request\"",
            "the Authorization header must be one \"Bearer <access_token>\"",
        )),
    }
}
