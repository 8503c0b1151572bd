//! A Backstage backend without its scaffolder: the plugins `auth`, `catalog` and `permission`, as far as a scaffolder asks
//! them.
//!
//! It issues users' tokens (with the proof `uip` that limited tokens are made of), publishes and rotates keys, verifies the
//! tokens it gets with the keys that their makers publish, holds entities, and decides permissions as the test says. Any
//! route can be made to fail, to hang or to take its time.

mod keys;
mod server;

use std::{
    collections::{BTreeMap, HashMap},
    net::{Ipv4Addr, TcpListener},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use actix_web::{App, HttpServer, dev::ServerHandle, web};
use serde_json::{Value, json};

use self::keys::{Key, unsigned};
use crate::{Error, Result};

const USER: &str = "vnd.backstage.user";
const LIMITED_USER: &str = "vnd.backstage.limited-user";
const PLUGIN: &str = "vnd.backstage.plugin";
/// How long tokens are valid unless a test says otherwise, in seconds.
const HOUR: i64 = 3600;

/// What a route does instead of answering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It answers with this status and no body of Backstage's.
    Status(u16),
    /// It answers with this status and an error of Backstage's.
    Refusal(u16),
    /// It answers, but later.
    Delay(Duration),
    /// It never answers.
    Hang,
}

/// A request that came.
#[derive(Debug, Clone)]
pub struct Request {
    /// E.g. `GET`.
    pub method: String,
    /// With the query.
    pub path: String,
    /// Who asked: `user:default/jane via plugin:scaffolder`, `plugin:scaffolder`, or nothing.
    pub principal: Option<String>,
    /// The body, where it was JSON.
    pub body: Value,
    /// The answer's status.
    pub status: u16,
}

/// What the permission backend decides.
#[derive(Debug, Clone)]
pub enum Decision {
    /// `ALLOW`
    Allow,
    /// `DENY`
    Deny,
    /// `CONDITIONAL` with these conditions (`{rule, resourceType, params}`, `{anyOf: […]}`, …).
    Conditional(Value),
}

struct State {
    user_keys: Vec<Key>,
    plugin_keys: HashMap<String, Key>,
    entities: BTreeMap<String, Value>,
    locations: Vec<(String, String)>,
    decisions: HashMap<String, Decision>,
    faults: Vec<(String, Fault)>,
    requests: Vec<Request>,
    scaffolder: Option<String>,
    scaffolder_keys: Vec<Value>,
}

struct Shared {
    state: Mutex<State>,
    http: reqwest::Client,
    url: String,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The backend. Ends when dropped.
pub struct BackstageDouble {
    shared: Arc<Shared>,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for BackstageDouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BackstageDouble").field("url", &self.shared.url).finish_non_exhaustive()
    }
}

impl BackstageDouble {
    /// Starts it on a free port, with the user `user:default/guest` in its catalog.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start() -> Result<Self> {
        Self::start_on(0).await
    }

    /// As [`BackstageDouble::start`], on this port.
    ///
    /// # Errors
    /// The port is in use.
    pub async fn start_on(port: u16) -> Result<Self> {
        crate::http::install_crypto_provider();
        let what = "listening on 127.0.0.1";
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(Error::io(what))?;
        let port = listener.local_addr().map_err(Error::io(what))?.port();
        let state = State {
            user_keys: vec![Key::new()?],
            plugin_keys: HashMap::new(),
            entities: BTreeMap::new(),
            locations: Vec::new(),
            decisions: HashMap::new(),
            faults: Vec::new(),
            requests: Vec::new(),
            scaffolder: None,
            scaffolder_keys: Vec::new(),
        };
        let http = reqwest::Client::builder().no_proxy().build().map_err(Error::http("building the HTTP client"))?;
        let shared = Arc::new(Shared { state: Mutex::new(state), http, url: format!("http://127.0.0.1:{port}") });
        let (started, starts) = tokio::sync::oneshot::channel();
        let data = web::Data::from(Arc::clone(&shared));
        let thread = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let server =
                    HttpServer::new(move || App::new().app_data(data.clone()).default_service(web::to(server::serve)))
                        .workers(1)
                        .disable_signals()
                        .shutdown_timeout(1)
                        .listen(listener);
                match server {
                    Ok(server) => {
                        let running = server.run();
                        let _ = started.send(Ok(running.handle()));
                        let _ = running.await;
                    }
                    Err(error) => drop(started.send(Err(error))),
                }
            });
        });
        let handle = match starts.await {
            Ok(Ok(handle)) => handle,
            Ok(Err(error)) => return Err(Error::io("starting the listener")(error)),
            Err(_) => return Err(Error::unexpected("the listener", "its thread ended at once")),
        };
        let backstage = Self { shared, handle, thread: Some(thread) };
        backstage.add_entity(json!({
            "apiVersion": "backstage.io/v1alpha1", "kind": "User",
            "metadata": {"name": "guest", "namespace": "default"}, "spec": {"memberOf": []},
        }));
        Ok(backstage)
    }

    /// `http://127.0.0.1:<port>`
    #[must_use]
    pub fn url(&self) -> &str {
        &self.shared.url
    }

    /// The part of `app-config.yaml` (JSON) that sends a scaffolder to this backend.
    #[must_use]
    pub fn app_config(&self) -> String {
        json!({"discovery": {"endpoints": [{
            "target": format!("{}/api/{{{{pluginId}}}}", self.url()),
            "plugins": ["auth", "catalog", "permission", "notifications", "mcp-actions"],
        }]}})
        .to_string()
    }

    /// Says where the scaffolder is, whose keys verify the tokens it sends.
    pub fn scaffolder_at(&self, url: impl Into<String>) {
        self.shared.state().scaffolder = Some(url.into());
    }

    /// A user's token, valid for an hour.
    #[must_use]
    pub fn user_token(&self, entity_ref: &str) -> String {
        self.user_token_for(entity_ref, HOUR)
    }

    /// A user's token, valid for so many seconds; it may have ended already.
    #[must_use]
    pub fn user_token_for(&self, entity_ref: &str, seconds: i64) -> String {
        let now = chrono::Utc::now().timestamp();
        let issued = now.min(now + seconds - 1);
        self.sign_user(
            USER,
            json!({
                "iss": format!("{}/api/auth", self.url()), "sub": entity_ref, "aud": "backstage",
                "iat": issued, "exp": now + seconds,
            }),
        )
    }

    /// A token with these claims and the newest of the users' keys; the type `vnd.backstage.user` gets its `uip`.
    #[must_use]
    pub fn sign_user(&self, typ: &str, mut claims: Value) -> String {
        let state = self.shared.state();
        // There is always a key: rotation adds before it removes.
        let Some(key) = state.user_keys.last() else { return String::new() };
        if typ == USER {
            let header = json!({"typ": LIMITED_USER, "alg": "ES256", "kid": key.id});
            let limited = json!({"sub": claims["sub"], "iat": claims["iat"], "exp": claims["exp"]});
            claims["uip"] = key.signature(&unsigned(&header, &limited)).into();
        }
        key.sign(typ, &claims)
    }

    /// A token that a plugin of this backend shows to another one, in the name of a user whose limited token is given.
    ///
    /// # Errors
    /// No key can be made.
    pub fn plugin_token(&self, plugin: &str, audience: &str, on_behalf_of: Option<&str>) -> Result<String> {
        let now = chrono::Utc::now().timestamp();
        let mut claims = json!({"sub": plugin, "aud": audience, "iat": now, "exp": now + HOUR});
        if let Some(limited) = on_behalf_of {
            claims["obo"] = limited.into();
        }
        let mut state = self.shared.state();
        if !state.plugin_keys.contains_key(plugin) {
            state.plugin_keys.insert(plugin.to_owned(), Key::new()?);
        }
        Ok(state.plugin_keys[plugin].sign(PLUGIN, &claims))
    }

    /// Signs with a new key from now on; `keep`: the old ones stay published.
    ///
    /// # Errors
    /// No key can be made.
    pub fn rotate_user_keys(&self, keep: bool) -> Result<()> {
        let key = Key::new()?;
        let mut state = self.shared.state();
        if !keep {
            state.user_keys.clear();
        }
        state.user_keys.push(key);
        Ok(())
    }

    /// Adds an entity, or replaces the one of the same reference.
    pub fn add_entity(&self, entity: Value) {
        let reference = server::reference(&entity);
        self.shared.state().entities.insert(reference, entity);
    }

    /// The locations that were registered: type and target.
    #[must_use]
    pub fn locations(&self) -> Vec<(String, String)> {
        self.shared.state().locations.clone()
    }

    /// Says what is decided about a permission from now on; those nobody speaks of are allowed.
    pub fn decide(&self, permission: &str, decision: Decision) {
        self.shared.state().decisions.insert(permission.to_owned(), decision);
    }

    /// Makes the routes whose paths start like this fail, until [`BackstageDouble::heal`].
    pub fn fail(&self, path: &str, fault: Fault) {
        self.shared.state().faults.push((path.to_owned(), fault));
    }

    /// Ends all faults.
    pub fn heal(&self) {
        self.shared.state().faults.clear();
    }

    /// The requests so far, in the order of their answers.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.shared.state().requests.clone()
    }

    /// How many requests came for paths that start like this.
    #[must_use]
    pub fn count(&self, path: &str) -> usize {
        self.requests().iter().filter(|request| request.path.starts_with(path)).count()
    }
}

impl Drop for BackstageDouble {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take() {
            // A panic has been reported by its thread already.
            let _ = thread.join();
        }
    }
}
