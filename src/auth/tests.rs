//! Tokens made, verified, passed on; over a store in memory. What needs counterparts is in `tests/suite`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use understudy_scm::Scm;

use super::{
    jwk::Jwk,
    jwt::{Unverified, unsigned, with_signature},
    *,
};
use crate::{
    config::{Config, DatabaseConfig, LoadOptions},
    store::{SqliteStore, StoredKey},
};

struct Setup {
    auth: Auth,
    store: Arc<SqliteStore>,
    dir: tempfile::TempDir,
}

impl Setup {
    async fn new(config: &str) -> Self {
        Self::with(config, |_| {}).await
    }
    async fn with(config: &str, prepare: impl FnOnce(&camino::Utf8Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = camino::Utf8PathBuf::from_path_buf(dir.path().to_owned()).unwrap();
        prepare(&root);
        std::fs::write(root.join("app-config.yaml"), config).unwrap();
        let config = Config::load(&LoadOptions { root, ..LoadOptions::default() }).unwrap();
        let store = Arc::new(SqliteStore::open(&DatabaseConfig::SqliteMemory).await.unwrap());
        let scm = Scm::from_config(&json!({})).unwrap();
        let http = scm.http_client().unwrap();
        let auth = Auth::new(&config.auth, &config.discovery, store.clone(), http).unwrap();
        Self { auth, store, dir }
    }
    async fn refused(&self, token: &str) -> String {
        self.auth.authenticate(Some(token)).await.unwrap_err().to_string()
    }
}

const EXTERNAL: &str = "
backend:
  auth:
    externalAccess:
      - {type: static, options: {token: other-plugins-only, subject: restricted}, accessRestrictions: [{plugin: catalog}, {plugin: search}]}
      - {type: static, options: {token: static-token-123, subject: curl}}
      - {type: static, options: {token: partly-restricted, subject: partly}, accessRestrictions: [{plugin: scaffolder, permission: a}, {plugin: catalog}, {plugin: search, permission: b}]}
      - {type: legacy, options: {secret: c2VjcmV0, subject: old}}
";

fn legacy_token(secret: &[u8], header: &Value, claims: &Value) -> String {
    let unsigned = unsigned(header, claims);
    let tag = ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret), unsigned.as_bytes());
    with_signature(unsigned, tag.as_ref())
}

#[tokio::test]
async fn nobody_needs_credentials_where_none_are_configured() {
    let setup = Setup::new("{}").await;
    let nobody = setup.auth.authenticate(None).await.unwrap();
    assert_eq!(nobody.principal, Principal::None);
    assert!(setup.auth.plugin_token(&nobody, "catalog").await.unwrap().is_none());
    assert_eq!(setup.refused("anything").await, "Illegal token");
    assert!(setup.auth.public_keys().await.unwrap().is_empty());
}

#[tokio::test]
async fn clients_with_external_access_are_recognised() {
    let setup = Setup::new(EXTERNAL).await;
    assert_eq!(setup.auth.authenticate(None).await.unwrap_err().to_string(), "Missing credentials");
    let curl = setup.auth.authenticate(Some("static-token-123")).await.unwrap();
    assert_eq!(curl.principal, Principal::Service { subject: "curl".into(), restrictions: None });
    let refused = setup.auth.authenticate(Some("other-plugins-only")).await.unwrap_err();
    assert_eq!(refused.name(), ErrorName::NotAllowedError);
    assert_eq!(refused.to_string(), "This token's access is restricted to plugin(s) 'catalog', 'search'");
    for wrong in ["static-token-12", "static-token-1234", "STATIC-TOKEN-123"] {
        assert_eq!(setup.refused(wrong).await, "Illegal token");
    }
    let partly = setup.auth.authenticate(Some("partly-restricted")).await.unwrap();
    let Principal::Service { restrictions: Some(restrictions), .. } = &partly.principal else { panic!() };
    assert!(restrictions.allow("a", None) && !restrictions.allow("b", None));
    // What is restricted here is passed on as far as the restrictions reach, also after the task was stored.
    let stored = Credentials::from_stored(&partly.to_stored()).unwrap();
    for credentials in [partly, stored] {
        assert!(setup.auth.plugin_token(&credentials, "catalog").await.unwrap().is_some());
        let refused = setup.auth.plugin_token(&credentials, "permission").await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            "Access to target plugin 'permission' is not included in token's access restrictions"
        );
        let refused = setup.auth.plugin_token(&credentials, "search").await.unwrap_err();
        assert_eq!(refused.to_string(), "Access to target plugin 'search' is restricted and cannot be delegated");
    }
}

#[tokio::test]
async fn legacy_tokens_are_signed_with_the_secret() {
    let setup = Setup::new(EXTERNAL).await;
    let header = json!({"alg": "HS256"});
    let soon = Utc::now().timestamp() + 60;
    let good = legacy_token(b"secret", &header, &json!({"sub": "backstage-server", "exp": soon}));
    let known = setup.auth.authenticate(Some(&good)).await.unwrap();
    assert_eq!(known.principal, Principal::Service { subject: "old".into(), restrictions: None });
    for (secret, header, claims) in [
        (&b"other"[..], &header, json!({"sub": "backstage-server", "exp": soon})),
        (b"secret", &json!({"alg": "none"}), json!({"sub": "backstage-server", "exp": soon})),
        (b"secret", &header, json!({"sub": "somebody", "exp": soon})),
        (b"secret", &header, json!({"sub": "backstage-server", "aud": "x", "exp": soon})),
        (b"secret", &header, json!({"sub": "backstage-server", "exp": 1000})),
    ] {
        assert_eq!(setup.refused(&legacy_token(secret, header, &claims)).await, "Illegal token", "{claims}");
    }
}

#[tokio::test]
async fn own_tokens_are_made_verified_and_used_again() {
    let setup = Setup::new(EXTERNAL).await;
    let own = setup.auth.own_credentials();
    let token = setup.auth.plugin_token(&own, "scaffolder").await.unwrap().unwrap();
    let again = setup.auth.plugin_token(&Credentials::service("external:x"), "scaffolder").await.unwrap().unwrap();
    assert_eq!(token.expose(), again.expose());
    let caller = setup.auth.authenticate(Some(token.expose())).await.unwrap();
    assert_eq!(caller.principal, Principal::Service { subject: "plugin:scaffolder".into(), restrictions: None });
    let parsed = Unverified::parse(token.expose()).unwrap();
    assert_eq!(parsed.typ(), Some("vnd.backstage.plugin"));
    let claims = &parsed.claims;
    assert_eq!((&claims["sub"], &claims["aud"]), (&json!("scaffolder"), &json!("scaffolder")));
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 3600);
    assert!(!claims.contains_key("obo"));
    // The key is published, and one key is enough.
    let keys = setup.auth.public_keys().await.unwrap();
    assert_eq!(keys.len(), 1);
    assert_eq!(keys[0]["kid"].as_str(), parsed.key_id());
    jwk::verify(&Jwk::of_set(&json!({ "keys": keys })).unwrap(), &parsed, "here").unwrap();
    // For somebody else it is not good here, and a changed one isn't either.
    let other = setup.auth.plugin_token(&own, "catalog").await.unwrap().unwrap();
    let text = token.expose();
    let (signed, _) = text.rsplit_once('.').unwrap();
    for wrong in [other.expose().to_string(), format!("{signed}.{}", BASE64.encode([0; 64])), format!("{signed}.")] {
        assert_eq!(setup.refused(&wrong).await, "Failed plugin token verification");
    }
}

#[tokio::test]
async fn calls_for_users_carry_their_limited_token_and_end_with_it() {
    let setup = Setup::new(EXTERNAL).await;
    let user = |exp: i64| {
        let header = json!({"typ": "vnd.backstage.user", "alg": "ES256", "kid": "k"});
        let claims =
            json!({"iss": "x", "sub": "user:default/jane", "aud": "backstage", "iat": 1, "exp": exp, "uip": "cHJvb2Y"});
        let token = Secret::new(with_signature(unsigned(&header, &claims), b"x"));
        Credentials::user("user:default/jane", None, token, DateTime::from_timestamp(exp, 0))
    };
    let end = Utc::now().timestamp() + 600;
    let token = setup.auth.plugin_token(&user(end), "catalog").await.unwrap().unwrap();
    let parsed = Unverified::parse(token.expose()).unwrap();
    assert_eq!(parsed.claims["exp"], end);
    let obo = Unverified::parse(parsed.text("obo").unwrap()).unwrap();
    assert_eq!(obo.typ(), Some("vnd.backstage.limited-user"));
    assert_eq!(Value::Object(obo.claims), json!({"sub": "user:default/jane", "iat": 1, "exp": end}));
    // Another user's token is another token, and so is a later one of the same user.
    let later = setup.auth.plugin_token(&user(end + 60), "catalog").await.unwrap().unwrap();
    assert_ne!(later.expose(), token.expose());

    let error = setup.auth.plugin_token(&user(1_795_353_837), "catalog").await;
    let Err(expired) = error else { panic!("a token for the past") };
    assert_eq!(expired.name(), ErrorName::AuthenticationError);
    let text = expired.to_string();
    for part in
        ["user:default/jane expired at 2026-11-22T13:23:57Z", "'catalog'", "auth.backstageTokenExpiration", "retry"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// Moves the time.
async fn later(by: std::time::Duration) {
    tokio::time::pause();
    tokio::time::advance(by).await;
    tokio::time::resume();
}

#[tokio::test]
async fn keys_of_our_own_are_changed_and_the_old_one_stays_published() {
    let setup = Setup::new("{}").await;
    let own = setup.auth.own_credentials();
    let token = async |plugin: &str| setup.auth.plugin_token(&own, plugin).await.unwrap().unwrap();
    let key_of = |token: &Secret| Unverified::parse(token.expose()).unwrap().key_id().unwrap().to_string();
    let minute = std::time::Duration::from_secs(60);

    let first = token("catalog").await;
    later(super::signing::KEY_LIFETIME - minute).await;
    assert_eq!(key_of(&token("permission").await), key_of(&first), "a key signs for an hour");
    later(2 * minute).await;
    let second = token("notifications").await;
    assert_ne!(key_of(&second), key_of(&first));
    assert_eq!(key_of(&token("events").await), key_of(&second));

    // What the first one signed can be verified for as long as it is valid.
    let keys = setup.auth.public_keys().await.unwrap();
    let ids: Vec<_> = keys.iter().map(|key| key["kid"].as_str().unwrap().to_string()).collect();
    assert_eq!(ids.len(), 2);
    let published = Jwk::of_set(&json!({ "keys": keys })).unwrap();
    for token in [&first, &second] {
        assert!(ids.contains(&key_of(token)));
        jwk::verify(&published, &Unverified::parse(token.expose()).unwrap(), "here").unwrap();
    }
    for key in setup.store.keys().await.unwrap() {
        let left = key.expires_at - Utc::now();
        assert!(left > TimeDelta::hours(2) && left <= TimeDelta::hours(3), "{left}");
    }
}

#[tokio::test]
async fn expired_public_keys_are_neither_published_nor_kept() {
    let setup = Setup::new("{}").await;
    let key = |id: &str, minutes: i64| StoredKey {
        id: id.into(),
        key: json!({"kid": id}),
        expires_at: Utc::now() + TimeDelta::minutes(minutes),
    };
    for (id, minutes) in [("old", -1), ("fresh", 1)] {
        setup.store.add_key(&key(id, minutes)).await.unwrap();
    }
    assert_eq!(setup.auth.public_keys().await.unwrap(), [json!({"kid": "fresh"})]);
    let left: Vec<_> = setup.store.keys().await.unwrap().into_iter().map(|key| key.id).collect();
    assert_eq!(left, ["fresh"]);
}

/// A key pair as `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256` and `openssl pkey -pubout` write it.
fn write_keys(root: &camino::Utf8Path) {
    for (name, args) in [
        (
            "private.pem",
            &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "private.pem"][..],
        ),
        ("public.pem", &["pkey", "-in", "private.pem", "-pubout", "-out", "public.pem"]),
        ("other.pem", &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384", "-out", "other.pem"]),
    ] {
        let output = std::process::Command::new("openssl").args(args).current_dir(root).output();
        let output = output.expect("openssl is needed: install it (Debian: openssl)");
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

const STATIC: &str = "
backend:
  auth:
    pluginKeyStore:
      type: static
      static: {keys: [{publicKeyFile: public.pem, privateKeyFile: private.pem, keyId: ours}]}
";

#[tokio::test]
async fn keys_may_come_from_files() {
    let setup = Setup::with(STATIC, write_keys).await;
    let keys = setup.auth.public_keys().await.unwrap();
    assert_eq!((keys.len(), &keys[0]["kid"]), (1, &json!("ours")));
    let token = setup.auth.plugin_token(&setup.auth.own_credentials(), "scaffolder").await.unwrap().unwrap();
    setup.auth.authenticate(Some(token.expose())).await.unwrap();
    assert!(setup.store.keys().await.unwrap().is_empty());

    let root = camino::Utf8PathBuf::from_path_buf(setup.dir.path().to_owned()).unwrap();
    for (text, expected) in [
        (STATIC.replace("private.pem", "other.pem"), "other.pem: "),
        (STATIC.replace("public.pem", "private.pem"), "a PEM file with a PUBLIC KEY for P-256 is wanted"),
        (STATIC.replace("public.pem", "missing.pem"), "missing.pem: No such file"),
    ] {
        std::fs::write(root.join("app-config.yaml"), text).unwrap();
        let config = Config::load(&LoadOptions { root: root.clone(), ..LoadOptions::default() }).unwrap();
        let error = SigningKeys::new(&config.auth.key_store, setup.store.clone()).err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
