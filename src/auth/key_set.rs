//! Published keys, fetched when they are needed and kept for a while.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError, RwLock},
    time::Duration,
};

use tokio::time::Instant;
use understudy_scm::BodyError;

use super::{
    jwk::{self, Jwk},
    jwt::{JwtError, Unverified},
};

/// How long an answer may take (npm `jose` 5).
const TIMEOUT: Duration = Duration::from_secs(5);
/// Keys of this age are fetched again before they are used (npm `jose` 5).
const MAX_AGE: Duration = Duration::from_secs(10 * 60);
/// Keys that could not be fetched again are used up to this age.
const LAST_RESORT: Duration = Duration::from_secs(60 * 60);
/// An unknown key id makes us fetch at most this often, apart from forced reloads (npm `jose` 5).
const COOL_DOWN: Duration = Duration::from_secs(30);
/// After a failure nobody is asked for so long.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);
/// So many reloads may happen in a minute during the cool-down (`@backstage/backend-defaults` 0.18.0, `JwksClient`).
const FORCED_RELOADS: usize = 10;
const FORCED_WINDOW: Duration = Duration::from_secs(60);
/// The largest set that is read.
const MAX_BYTES: usize = 1024 * 1024;

/// The keys at a URL.
pub(super) struct KeySet {
    http: reqwest::Client,
    url: String,
    /// When reloads were forced; `None`: they never are.
    forced: Option<Mutex<VecDeque<Instant>>>,
    cached: RwLock<Cached>,
    reloading: tokio::sync::Mutex<()>,
}

#[derive(Clone, Default)]
struct Cached {
    keys: std::sync::Arc<[Jwk]>,
    fetched: Option<Instant>,
    failed: Option<(Instant, String)>,
}

impl KeySet {
    /// The keys at a URL of Backstage, whose keys change every hour: unknown ones are looked for at once.
    pub(super) fn of_backstage(http: reqwest::Client, url: String) -> Self {
        Self { forced: Some(Mutex::default()), ..Self::of_others(http, url) }
    }
    /// The keys at a URL.
    pub(super) fn of_others(http: reqwest::Client, url: String) -> Self {
        Self { http, url, forced: None, cached: RwLock::default(), reloading: tokio::sync::Mutex::default() }
    }

    /// Whether keys have ever been fetched.
    pub(super) fn has_keys(&self) -> bool {
        self.cached().fetched.is_some()
    }

    /// Checks a token's signature.
    pub(super) async fn verify(&self, token: &Unverified<'_>) -> Result<(), JwtError> {
        if !jwk::is_known(token.algorithm()) {
            return Err(JwtError::Algorithm(token.algorithm().to_string()));
        }
        let cached = self.usable().await?;
        let outcome = jwk::verify(&cached.keys, token, &self.url);
        if !matches!(outcome, Err(JwtError::NoKey(_))) {
            return outcome;
        }
        if cached.fetched.is_some_and(|at| at.elapsed() < COOL_DOWN) && !self.may_force() {
            return outcome;
        }
        let cached = self.reload(cached.fetched).await.map_err(JwtError::Keys)?;
        jwk::verify(&cached.keys, token, &self.url)
    }

    fn cached(&self) -> Cached {
        self.cached.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn usable(&self) -> Result<Cached, JwtError> {
        let cached = self.cached();
        if cached.fetched.is_some_and(|at| at.elapsed() < MAX_AGE) {
            return Ok(cached);
        }
        match self.reload(cached.fetched).await {
            Ok(cached) => Ok(cached),
            Err(reason) if cached.fetched.is_some_and(|at| at.elapsed() < LAST_RESORT) => {
                tracing::warn!(reason, "using the keys fetched earlier");
                Ok(cached)
            }
            Err(reason) => Err(JwtError::Keys(reason)),
        }
    }

    /// Fetches the keys unless somebody has done so since `seen`. Whoever comes meanwhile waits for the same answer.
    async fn reload(&self, seen: Option<Instant>) -> Result<Cached, String> {
        let _reloading = self.reloading.lock().await;
        let cached = self.cached();
        if cached.fetched > seen {
            return Ok(cached);
        }
        if let Some((at, reason)) = &cached.failed
            && at.elapsed() < FAILURE_PAUSE
        {
            return Err(reason.clone());
        }
        let fetched = self.fetch().await;
        let mut cached = self.cached.write().unwrap_or_else(PoisonError::into_inner);
        match fetched {
            Ok(keys) => *cached = Cached { keys: keys.into(), fetched: Some(Instant::now()), failed: None },
            Err(reason) => {
                let reason = format!("the keys at {} can't be had: {reason}", self.url);
                cached.failed = Some((Instant::now(), reason.clone()));
                return Err(reason);
            }
        }
        Ok(cached.clone())
    }

    async fn fetch(&self) -> Result<Vec<Jwk>, String> {
        let request = self.http.get(&self.url).timeout(TIMEOUT).header("accept", "application/json");
        let response = request.send().await.map_err(understudy_scm::request_failure)?;
        if !response.status().is_success() {
            return Err(format!("the answer is {}", response.status()));
        }
        let body = understudy_scm::read_body(response, MAX_BYTES).await.map_err(|error| match error {
            BodyError::Broken(error) => understudy_scm::request_failure(error),
            other => format!("the answer {other}"),
        })?;
        let set = serde_json::from_slice(&body).map_err(|error| format!("the answer is no JSON: {error}"))?;
        Jwk::of_set(&set).ok_or_else(|| "the answer has no list of keys".to_string())
    }

    fn may_force(&self) -> bool {
        let Some(forced) = &self.forced else { return false };
        let mut forced = forced.lock().unwrap_or_else(PoisonError::into_inner);
        while forced.front().is_some_and(|at| at.elapsed() >= FORCED_WINDOW) {
            forced.pop_front();
        }
        let may = forced.len() < FORCED_RELOADS;
        if may {
            forced.push_back(Instant::now());
        }
        may
    }
}
