//! Who may call: JSON Web Tokens, keys that change, scopes, tenants.

use std::path::Path;
use std::time::{Duration, Instant, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm as Signing, EncodingKey, Header};
use serde_json::{Value, json};
use shelfmark::Catalog;
use shelfmark_http::{Algorithm, Authentication, Claims, Config, Jwt, Scope};
use shelfmark_testkit::Faults;

use crate::support::{ANN, READER, STRANGER, Server, WRITER, store};

const SECRET: &[u8] = b"a secret of more than thirty-two bytes";
const ISSUER: &str = "https://issuer.example.org";
const AUDIENCE: &str = "shelfmark";

/// Seconds since 1970, of the clock that tokens are checked by.
fn now() -> u64 {
    // The system's clock, through a file: elsewhere time comes from the catalog's environment.
    let file = tempfile::NamedTempFile::new().expect("a file");
    let time = file.as_file().metadata().and_then(|metadata| metadata.modified());
    let since = time.expect("a time").duration_since(UNIX_EPOCH);
    since.expect("after 1970").as_secs()
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "exp": now() + 600, "nbf": now() - 5,
        "sub": "ann", "tenantId": "acme", "scope": "openid catalog:read catalog:write"
    })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    if value.is_null() {
        claims.as_object_mut().expect("an object").remove(name);
    } else {
        claims[name] = value;
    }
    claims
}

fn sign(algorithm: Signing, id: Option<&str>, key: &EncodingKey, claims: &Value) -> String {
    let header = Header {
        kid: id.map(str::to_owned),
        ..Header::new(algorithm)
    };
    jsonwebtoken::encode(&header, claims, key).expect("a token")
}

fn serving(authentication: Authentication) -> Server {
    let catalog = Catalog::in_memory().expect("a catalog");
    let config = Config::new(authentication).without_rate_limits();
    Server::serving(catalog, Faults::default(), config)
}

#[track_caller]
fn expect(server: &Server, token: &str, status: u16) -> crate::support::Response {
    let response = server.api("GET", "/data-stores").token(token).send();
    assert_eq!(response.status, status, "{response:?}");
    if status >= 400 {
        response.codes();
        assert!(!response.text.contains(token), "a token came back");
    }
    response
}

#[test]
fn a_token_of_a_shared_secret_says_who_calls() {
    let jwt = Jwt::with_secret(SECRET, ISSUER, AUDIENCE).unwrap();
    let server = serving(Authentication::new().with_jwt(jwt));
    let key = EncodingKey::from_secret(SECRET);
    let sign = |claims: &Value| sign(Signing::HS256, None, &key, claims);
    expect(&server, &sign(&claims()), 200);
    let created = server
        .api("POST", "/data-stores")
        .token(&sign(&claims()))
        .json(&store())
        .send();
    assert_eq!(created.json()["createdBy"], "ann");
    assert_eq!(created.json()["tenantId"], "acme");
    // Another tenant sees nothing of it.
    let other = server
        .api("GET", "/data-stores")
        .token(&sign(&with("tenantId", "other".into())))
        .send();
    assert_eq!(other.json()["total"], 0);
    // A list of scopes is as good as a text.
    expect(&server, &sign(&with("scope", json!(["catalog:admin"]))), 200);

    for (name, value, status) in [
        ("exp", json!(now() - 100), 401),
        ("exp", Value::Null, 401),
        ("nbf", json!(now() + 1000), 401),
        ("iss", json!("https://another.example.org"), 401),
        ("iss", Value::Null, 401),
        ("aud", json!("another"), 401),
        ("aud", Value::Null, 401),
        ("tenantId", Value::Null, 401),
        ("tenantId", json!(""), 401),
        ("tenantId", json!(7), 401),
        ("sub", Value::Null, 401),
        ("sub", json!("x".repeat(256)), 401),
        ("scope", Value::Null, 403),
        ("scope", json!("catalog:write"), 403),
        ("scope", json!("catalog:reader"), 403),
    ] {
        let response = expect(&server, &sign(&with(name, value.clone())), status);
        let challenge = response.header("www-authenticate").unwrap();
        assert!(
            challenge.starts_with("Bearer error="),
            "{name} {value}: {challenge}"
        );
    }
    // Another secret, another algorithm, none, and nonsense.
    let forged = EncodingKey::from_secret(b"another secret of thirty-two bytes!!");
    expect(
        &server,
        &self::sign(Signing::HS256, None, &forged, &claims()),
        401,
    );
    expect(&server, &self::sign(Signing::HS384, None, &key, &claims()), 401);
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
    let payload = URL_SAFE_NO_PAD.encode(claims().to_string());
    expect(&server, &format!("{none}.{payload}."), 401);
    expect(&server, "nonsense", 401);
}

#[test]
fn claims_can_have_other_names() {
    let claims_named = Claims {
        tenant: "org".into(),
        subject: "user".into(),
        scopes: "permissions".into(),
    };
    let jwt = Jwt::with_secret(SECRET, ISSUER, AUDIENCE)
        .unwrap()
        .claims(claims_named);
    let server = serving(Authentication::new().with_jwt(jwt));
    let key = EncodingKey::from_secret(SECRET);
    let mut claims = claims();
    expect(&server, &sign(Signing::HS256, None, &key, &claims), 401);
    claims["org"] = "acme".into();
    claims["user"] = "bob".into();
    claims["permissions"] = json!(["catalog:write"]);
    let token = sign(Signing::HS256, None, &key, &claims);
    let created = server
        .api("POST", "/data-stores")
        .token(&token)
        .json(&store())
        .send();
    assert_eq!(
        (created.status, &created.json()["createdBy"]),
        (201, &json!("bob"))
    );
}

/// A key pair of each algorithm: its PKCS #8 form as PEM.
fn pem(der: &[u8]) -> Vec<u8> {
    format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        STANDARD.encode(der)
    )
    .into_bytes()
}

fn rsa() -> EncodingKey {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
    let der: Pkcs8V1Der<'_> = pair.as_der().expect("its form");
    EncodingKey::from_rsa_pem(&pem(der.as_ref())).expect("a key")
}

fn ec() -> EncodingKey {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
    let der = pair.to_pkcs8v1().expect("its form");
    EncodingKey::from_ec_pem(&pem(der.as_ref())).expect("a key")
}

fn ed() -> EncodingKey {
    let pair = Ed25519KeyPair::generate().expect("a key");
    let der: Pkcs8V1Der<'_> = pair.as_der().expect("its form");
    EncodingKey::from_ed_pem(&pem(der.as_ref())).expect("a key")
}

fn jwk(key: &EncodingKey, algorithm: Signing, id: Option<&str>) -> Jwk {
    let mut jwk = Jwk::from_encoding_key(key, algorithm).expect("a public key");
    jwk.common.key_id = id.map(str::to_owned);
    jwk
}

fn write(path: &Path, keys: &[Jwk]) {
    std::fs::write(path, json!({ "keys": keys }).to_string()).expect("written");
}

#[test]
fn keys_of_a_jwks_file_are_read_again_when_it_changes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("jwks.json");
    let (rsa, ec, ed) = (rsa(), ec(), ed());
    let symmetric = Jwk::from_encoding_key(&EncodingKey::from_secret(SECRET), Signing::HS256).unwrap();
    write(
        &path,
        &[
            jwk(&rsa, Signing::RS256, Some("rsa")),
            jwk(&ec, Signing::ES256, Some("ec")),
            symmetric,
        ],
    );
    let jwt = Jwt::with_jwks_file(&path, ISSUER, AUDIENCE).unwrap();
    let server = serving(Authentication::new().with_jwt(jwt));
    let claims = claims();
    let of_rsa = sign(Signing::RS256, Some("rsa"), &rsa, &claims);
    let of_ec = sign(Signing::ES256, None, &ec, &claims);
    let of_ed = sign(Signing::EdDSA, Some("ed"), &ed, &claims);
    expect(&server, &of_rsa, 200);
    expect(&server, &of_ec, 200);
    expect(&server, &of_ed, 401);
    // Not by the name of another key, nor by the symmetric one, nor by another hash.
    expect(&server, &sign(Signing::RS256, Some("ec"), &rsa, &claims), 401);
    let secret = EncodingKey::from_secret(SECRET);
    expect(&server, &sign(Signing::HS256, None, &secret, &claims), 401);
    expect(&server, &sign(Signing::RS512, Some("rsa"), &rsa, &claims), 401);

    // Half a file changes nothing, a whole one everything.
    std::fs::write(&path, "{\"keys\": [").unwrap();
    std::thread::sleep(Duration::from_millis(1100));
    expect(&server, &of_rsa, 200);
    write(&path, &[jwk(&ed, Signing::EdDSA, Some("ed"))]);
    await_status(&server, &of_ed, 200);
    expect(&server, &of_rsa, 401);
}

/// Until the server answers a token with this status.
#[track_caller]
fn await_status(server: &Server, token: &str, status: u16) {
    let began = Instant::now();
    while server.api("GET", "/data-stores").token(token).send().status != status {
        assert!(
            began.elapsed() < Duration::from_secs(30),
            "the keys stay as they were"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Keys of one kind are of one length, and what copies a file may copy its times as well.
#[test]
fn a_key_is_withdrawn_by_a_file_of_the_same_length_and_time() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("jwks.json");
    let (old, new) = (ed(), ed());
    write(&path, &[jwk(&old, Signing::EdDSA, Some("key"))]);
    let before = std::fs::metadata(&path).unwrap();
    let jwt = Jwt::with_jwks_file(&path, ISSUER, AUDIENCE).unwrap();
    let server = serving(Authentication::new().with_jwt(jwt));
    let sign = |key: &EncodingKey| sign(Signing::EdDSA, Some("key"), key, &claims());
    expect(&server, &sign(&old), 200);
    let replacement = directory.path().join("replacement");
    write(&replacement, &[jwk(&new, Signing::EdDSA, Some("key"))]);
    let file = std::fs::File::options().write(true).open(&replacement).unwrap();
    file.set_modified(before.modified().unwrap()).unwrap();
    std::fs::rename(&replacement, &path).unwrap();
    let after = std::fs::metadata(&path).unwrap();
    assert_eq!(
        (after.len(), after.modified().unwrap()),
        (before.len(), before.modified().unwrap())
    );
    await_status(&server, &sign(&new), 200);
    expect(&server, &sign(&old), 401);
}

#[test]
fn a_key_that_is_unusable_or_not_for_signatures_is_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("jwks.json");
    let (ec, rsa, ed) = (ec(), rsa(), ed());
    let other = |base: &Jwk, name: &str, value: Value| {
        let mut jwk = json!(base);
        jwk[name] = value;
        jwk
    };
    let broken = other(&jwk(&rsa, Signing::RS256, None), "n", "!".into());
    let for_encryption = other(
        &jwk(&ed, Signing::EdDSA, None),
        "key_ops",
        json!(["encrypt", "wrapKey"]),
    );
    let unheard_of = json!({ "kty": "AKP", "alg": "ML-DSA-44", "pub": "AA" });
    let others = [broken, for_encryption, unheard_of];
    std::fs::write(&path, json!({ "keys": others }).to_string()).unwrap();
    assert!(Jwt::with_jwks_file(&path, ISSUER, AUDIENCE).is_err());
    let good = other(&jwk(&ec, Signing::ES256, None), "key_ops", json!(["verify"]));
    let all: Vec<&Value> = others.iter().chain([&good]).collect();
    std::fs::write(&path, json!({ "keys": all }).to_string()).unwrap();
    let jwt = Jwt::with_jwks_file(&path, ISSUER, AUDIENCE).unwrap();
    let server = serving(Authentication::new().with_jwt(jwt));
    expect(&server, &sign(Signing::ES256, None, &ec, &claims()), 200);
    expect(&server, &sign(Signing::EdDSA, None, &ed, &claims()), 401);
}

/// What a token says has to be understood is not.
#[test]
fn a_token_with_a_critical_extension_is_refused() {
    let jwt = Jwt::with_secret(SECRET, ISSUER, AUDIENCE).unwrap();
    let server = serving(Authentication::new().with_jwt(jwt));
    let header = Header {
        crit: Some(vec!["exp".into()]),
        ..Header::new(Signing::HS256)
    };
    let token = jsonwebtoken::encode(&header, &claims(), &EncodingKey::from_secret(SECRET)).unwrap();
    expect(&server, &token, 401);
}

#[test]
fn only_allowed_algorithms_count() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("jwks.json");
    let (ec, ed) = (ec(), ed());
    write(
        &path,
        &[jwk(&ec, Signing::ES256, None), jwk(&ed, Signing::EdDSA, None)],
    );
    let jwt = Jwt::with_jwks_file(&path, ISSUER, AUDIENCE)
        .unwrap()
        .algorithms([Algorithm::EdDsa]);
    let server = serving(Authentication::new().with_jwt(jwt));
    expect(&server, &sign(Signing::EdDSA, None, &ed, &claims()), 200);
    expect(&server, &sign(Signing::ES256, None, &ec, &claims()), 401);
}

#[test]
fn what_cannot_be_used_is_refused_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("file");
    assert!(Jwt::with_jwks_file(&path, ISSUER, AUDIENCE).is_err());
    write(&path, &[]);
    assert!(Jwt::with_jwks_file(&path, ISSUER, AUDIENCE).is_err());
    assert!(Jwt::with_secret(b"short", ISSUER, AUDIENCE).is_err());
    std::fs::write(&path, "token-alone\n").unwrap();
    assert!(Authentication::new().with_token_file(&path).is_err());
    std::fs::write(&path, "token acme ann catalog:everything\n").unwrap();
    let error = Authentication::new().with_token_file(&path).unwrap_err();
    assert!(!error.to_string().contains("token acme"), "{error}");
}

#[test]
fn a_token_file_names_tenants_subjects_and_scopes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokens");
    std::fs::write(
        &path,
        "# for tests\n\nfirst acme ann\nsecond acme bob catalog:read\n",
    )
    .unwrap();
    let server = serving(Authentication::new().with_token_file(&path).unwrap());
    let post = |token: &str| {
        server
            .api("POST", "/data-stores")
            .token(token)
            .json(&store())
            .send()
    };
    let created = post("first");
    assert_eq!((created.status, &created.json()["ownerId"]), (201, &json!("ann")));
    post("second").fails(403, "FORBIDDEN");
    expect(&server, "second", 200);
    expect(&server, "#", 401);
}

#[test]
fn scopes_and_tenants_keep_callers_apart() {
    let server = Server::start();
    let store = server.new_store();
    let path = format!("/data-stores/{}", store["id"].as_str().unwrap());
    assert_eq!(server.api("GET", &path).token(READER).send().status, 200);
    server
        .api("GET", &path)
        .token(WRITER)
        .send()
        .fails(403, "FORBIDDEN");
    server
        .api("GET", &path)
        .token(STRANGER)
        .send()
        .fails(404, "NOT_FOUND");
    let patch = json!([{ "op": "add", "path": "/name", "value": "x" }]);
    let changed = |token: &str| server.api("PATCH", &path).token(token).json(&patch).send();
    changed(READER).fails(403, "FORBIDDEN");
    changed(STRANGER).fails(404, "NOT_FOUND");
    assert_eq!(changed(WRITER).json()["lastModifiedBy"], "walt");
    let seen = server.api("GET", "/data-stores").token(STRANGER).send();
    assert_eq!(seen.json()["total"], 0);
    assert_eq!(Scope::from_name("catalog:write"), Some(Scope::Write));
}

#[test]
fn headers_that_are_no_bearer_token_are_refused() {
    let server = Server::start();
    for value in ["Basic YTpi", "Bearer", "Bearer ", ANN] {
        let request = server.api("GET", "/data-stores").without_token();
        request
            .header("authorization", value)
            .send()
            .fails(401, "UNAUTHORIZED");
    }
    let twice = server
        .api("GET", "/data-stores")
        .header("authorization", "Bearer x");
    twice.send().fails(401, "UNAUTHORIZED");
    // The scheme's name may be written in any case.
    let lower = server.api("GET", "/data-stores").without_token();
    let lower = lower.header("authorization", &format!("bearer {ANN}")).send();
    assert_eq!(lower.status, 200);
}

#[test]
fn without_authentication_only_who_is_told_so_gets_in() {
    let server = serving(Authentication::new());
    server
        .api("GET", "/data-stores")
        .without_token()
        .send()
        .fails(401, "UNAUTHORIZED");
    let anonymous = shelfmark_http::Principal::with_all_scopes("default", "anonymous");
    let server = serving(Authentication::new().with_anonymous(anonymous));
    let fine = server.api("GET", "/data-stores").without_token().send();
    assert_eq!(fine.status, 200);
    expect(&server, "a wrong token stays wrong", 401);
}
