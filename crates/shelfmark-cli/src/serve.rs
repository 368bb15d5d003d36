//! `shelfmark serve`

use std::error::Error;
use std::io::{self, IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{ArgGroup, Args};
use shelfmark::Options;
use shelfmark_http::{Authentication, Claims, Config, Jwt, Principal, RateLimits};
use tracing_subscriber::EnvFilter;

/// Whom requests speak for where there is no authentication.
const ANONYMOUS: (&str, &str) = ("default", "anonymous");
/// Whom the development token speaks for, by default.
const DEVELOPER: (&str, &str) = ("dev", "developer");

/// Serves the catalog of a file over HTTP, and makes the file where there is none. The catalog keeps a change feed from then on. Prints `listening on http://ADDRESS` when it is ready, and ends in
/// order at SIGINT or SIGTERM.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("keys").args(["jwks_file", "secret_file"]))]
pub(crate) struct Serve {
    /// The file of the catalog.
    #[arg(long, value_name = "PATH")]
    file: PathBuf,
    /// Where to listen; port 0 takes a free one. An address that others can reach needs authentication.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Accept this bearer token, with all scopes. For development: others on this machine can see it.
    #[arg(long, value_name = "TOKEN", value_parser = NonEmptyStringValueParser::new())]
    dev_token: Option<String>,
    /// The tenant that the development token speaks for.
    #[arg(long, value_name = "TENANT", default_value = DEVELOPER.0, value_parser = NonEmptyStringValueParser::new())]
    dev_tenant: String,
    /// Accept the bearer tokens of a file: token, tenant, subject and scopes a line. For development.
    #[arg(long, value_name = "PATH")]
    token_file: Option<PathBuf>,
    /// Accept JSON Web Tokens signed (RS256, ES256, EdDSA) by a key of this JWKS file, which is read again when it changes.
    #[arg(long, value_name = "PATH", requires = "issuer", requires = "audience")]
    jwks_file: Option<PathBuf>,
    /// Accept JSON Web Tokens signed (HS256) with the secret in this file.
    #[arg(long, value_name = "PATH", requires = "issuer", requires = "audience")]
    secret_file: Option<PathBuf>,
    /// The `iss` that JSON Web Tokens must have.
    #[arg(long, value_name = "ISSUER", requires = "keys", value_parser = NonEmptyStringValueParser::new())]
    issuer: Option<String>,
    /// The `aud` that JSON Web Tokens must have.
    #[arg(long, value_name = "AUDIENCE", requires = "keys", value_parser = NonEmptyStringValueParser::new())]
    audience: Option<String>,
    /// The claim that names the tenant.
    #[arg(long, value_name = "CLAIM", default_value = "tenantId")]
    tenant_claim: String,
    /// The claim that names the subject.
    #[arg(long, value_name = "CLAIM", default_value = "sub")]
    subject_claim: String,
    /// The claim that has the scopes.
    #[arg(long, value_name = "CLAIM", default_value = "scope")]
    scopes_claim: String,
    /// No limit on how often one subject calls.
    #[arg(long, conflicts_with_all = ["reads_per_minute", "writes_per_minute"])]
    no_rate_limit: bool,
    /// GET requests a minute and subject [default: 1000].
    #[arg(long, value_name = "N")]
    reads_per_minute: Option<NonZeroU32>,
    /// Other requests a minute and subject [default: 100].
    #[arg(long, value_name = "N")]
    writes_per_minute: Option<NonZeroU32>,
    /// The most bytes of a body [default: 8388608].
    #[arg(long, value_name = "BYTES")]
    body_limit: Option<usize>,
    /// How many requests may be inside the catalog at once, short reads apart [default: 64].
    #[arg(long, value_name = "N")]
    max_running: Option<NonZeroUsize>,
    /// How many seconds requests may take to finish at the end [default: 30].
    #[arg(long, value_name = "SECONDS")]
    shutdown_deadline: Option<u64>,
    /// Scheme and authority of the links in answers, where a proxy stands in front.
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
    /// Log as JSON, one object a line. RUST_LOG says how much [default: info].
    #[arg(long)]
    log_json: bool,
}

impl Serve {
    pub(crate) fn run(self) -> Result<(), Box<dyn Error>> {
        self.log();
        let config = self.config()?;
        let catalog = Options::new()
            .change_feed(true)
            .open_or_create(&self.file)
            .map_err(|error| format!("{}: {error}", self.file.display()))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async {
            let stop = signals()?;
            let listener = tokio::net::TcpListener::bind(self.listen)
                .await
                .map_err(|error| format!("cannot listen on {}: {error}", self.listen))?;
            let mut out = io::stdout().lock();
            writeln!(out, "listening on http://{}", listener.local_addr()?)?;
            out.flush()?;
            drop(out);
            Ok(shelfmark_http::serve(listener, catalog, config, stop).await?)
        })
    }

    fn log(&self) {
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(io::stderr)
            .with_ansi(io::stderr().is_terminal());
        if self.log_json {
            subscriber.json().flatten_event(true).init();
        } else {
            subscriber.init();
        }
    }

    fn config(&self) -> Result<Config, Box<dyn Error>> {
        let mut config = Config::new(self.authentication()?);
        if self.no_rate_limit {
            config = config.without_rate_limits();
        } else {
            let defaults = RateLimits::default();
            config = config.rate_limits(RateLimits {
                reads_per_minute: self.reads_per_minute.unwrap_or(defaults.reads_per_minute),
                writes_per_minute: self.writes_per_minute.unwrap_or(defaults.writes_per_minute),
            });
        }
        if let Some(bytes) = self.body_limit {
            config = config.body_limit(bytes);
        }
        if let Some(requests) = self.max_running {
            config = config.max_running(requests.get());
        }
        if let Some(seconds) = self.shutdown_deadline {
            config = config.shutdown_deadline(Duration::from_secs(seconds));
        }
        if let Some(url) = &self.public_url {
            config = config.public_url(url);
        }
        Ok(config)
    }

    fn authentication(&self) -> Result<Authentication, Box<dyn Error>> {
        let mut authentication = Authentication::new();
        let mut configured = false;
        if let Some(token) = &self.dev_token {
            let developer = Principal::with_all_scopes(&self.dev_tenant, DEVELOPER.1);
            authentication = authentication.with_static_token(token, developer);
            configured = true;
        }
        if let Some(path) = &self.token_file {
            authentication = authentication.with_token_file(path)?;
            configured = true;
        }
        let issuer = self.issuer.as_deref().unwrap_or_default();
        let audience = self.audience.as_deref().unwrap_or_default();
        let jwt = if let Some(path) = &self.jwks_file {
            Some(Jwt::with_jwks_file(path, issuer, audience)?)
        } else if let Some(path) = &self.secret_file {
            let secret = std::fs::read(path)
                .map_err(|error| format!("cannot read the secret file {}: {error}", path.display()))?;
            Some(Jwt::with_secret(secret.trim_ascii(), issuer, audience)?)
        } else {
            None
        };
        if let Some(jwt) = jwt {
            let claims = Claims {
                tenant: self.tenant_claim.clone(),
                subject: self.subject_claim.clone(),
                scopes: self.scopes_claim.clone(),
            };
            authentication = authentication.with_jwt(jwt.claims(claims));
            configured = true;
        }
        if configured {
            return Ok(authentication);
        }
        if !self.listen.ip().is_loopback() {
            let refusal = format!(
                "{} can be reached by others: configure authentication (--jwks-file, --secret-file, --token-file or --dev-token), or listen on 127.0.0.1",
                self.listen
            );
            return Err(refusal.into());
        }
        tracing::warn!(
            "no authentication is configured: whoever reaches this machine's loopback may do everything"
        );
        Ok(authentication.with_anonymous(Principal::with_all_scopes(ANONYMOUS.0, ANONYMOUS.1)))
    }
}

/// Ready once the process is asked to end.
fn signals() -> io::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    Ok(async move {
        let interrupt = tokio::signal::ctrl_c();
        #[cfg(unix)]
        tokio::select! {
            _ = interrupt => {}
            _ = terminate.recv() => {}
        }
        #[cfg(not(unix))]
        let _ = interrupt.await;
    })
}
