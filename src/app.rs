//! The one place where the parts meet: from a configuration to a service that serves.
//!
//! A binary of your own adds actions to those built in:
//!
//! ```no_run
//! # use understudy::{app::{App, AppError}, config::{Config, LoadOptions}};
//! # async fn serve(my_action: impl understudy_sdk::Action) -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::load(&LoadOptions::from_process(Vec::new())?)?;
//! App::builder(config).action(my_action).build().await?.serve().await?;
//! # Ok(())
//! # }
//! ```

use std::{
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use actix_web::{
    HttpResponse, HttpServer,
    dev::{Server, ServerHandle},
    middleware::from_fn,
    web::{self, Data},
};
use tokio::{
    runtime::Handle,
    signal::unix::{Signal, SignalKind, signal},
    task::JoinError,
};
use tokio_util::sync::CancellationToken;
use tracing_actix_web::TracingLogger;
use understudy_actions_core::templating::Templating;
use understudy_scm::Scm;
use understudy_sdk::{Action, Catalog, DynAction, Registry, Typed};

use crate::{
    api::{self, ApiParts, ApiState, ConnectionGuard, Edge, Lifecycle, Phase},
    audit::Auditor,
    auth::{Auth, KeyFileError},
    catalog::{
        CatalogFactory, EmbeddedCatalog, RemoteCatalog,
        query::{EntityFilter, EntityQuery, Fields},
    },
    config::{AuthPolicy, Config, DatabaseConfig},
    discovery::OWN_PLUGIN,
    metrics::{self, Metrics, push::Push},
    permission::Permissions,
    store::{StoreError, Stores},
    tasks::{EngineDeps, EngineSettings, TaskService, log::log_level, plugin_actions::PluginActions, runner::Runner},
    telemetry::RequestLog,
    workspaces::Workspaces,
};

/// How long running steps get to stop before their tasks are handed over anyway. Together with the time for requests
/// below the ten seconds that container runtimes grant.
const STEP_GRACE: Duration = Duration::from_secs(6);
/// How long open requests get, in seconds.
const REQUEST_GRACE: u64 = 2;

/// How many connections are served at once, where the system allows that many open files.
const MOST_CONNECTIONS: usize = 10_000;

/// How long the start waits for the catalog's locations to be read.
const CATALOG_PATIENCE: Duration = Duration::from_secs(20);

/// Why the service can't start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppError {
    /// A value of the configuration is wrong.
    #[error("{0}")]
    Config(String),
    /// A key file of `backend.auth.pluginKeyStore` can't be used.
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    /// The database can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The address can't be listened on.
    #[error("can't listen on {address}: {source}; is the port in use? backend.listen sets another")]
    Listen {
        /// Host and port.
        address: std::net::SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The address for the metrics can't be listened on.
    #[error(
        "can't listen on {address} for metrics: {source}; is the port in use? backend.metrics.prometheus.listen sets another"
    )]
    ListenForMetrics {
        /// Host and port.
        address: std::net::SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The server or its signals broke.
    #[error("the server can't go on: {0}")]
    Server(#[from] std::io::Error),
}

/// Collects what a service is made of.
pub struct AppBuilder {
    config: Config,
    actions: Vec<Arc<dyn DynAction>>,
}

impl AppBuilder {
    /// Adds an action; it takes the place of a built-in one with the same id.
    #[must_use]
    pub fn action<A: Action>(self, action: A) -> Self {
        self.dyn_action(Arc::new(Typed(action)))
    }
    /// Adds an action whose types are erased.
    #[must_use]
    pub fn dyn_action(mut self, action: Arc<dyn DynAction>) -> Self {
        self.actions.push(action);
        self
    }
    /// Opens the database and makes the parts. Nothing runs or listens yet.
    ///
    /// # Errors
    /// A value of the configuration is wrong, or the database can't be used.
    pub async fn build(self) -> Result<App, AppError> {
        let Self { config, actions } = self;
        let parts = Parts::new(&config, actions).await?;
        let http = parts.scm.http_client().map_err(|error| AppError::Config(error.message().to_owned()))?;
        let auth = Auth::new(&config.auth, &config.discovery, parts.stores.keys.clone(), http)?;
        let permissions = if config.permission_enabled {
            Permissions::enabled(auth.clone(), config.discovery.clone(), http.clone())
        } else {
            Permissions::disabled(auth.clone())
        };
        let offered_actions = config.backend.actions.clone();
        let plugin_actions =
            PluginActions::new(auth.clone(), config.discovery.clone(), http.clone(), offered_actions.clone());
        let remote = config
            .discovery
            .is_elsewhere("catalog")
            .then(|| RemoteCatalog::new(&config.discovery, auth.clone(), http.clone()));
        let embedded = remote.is_none().then(|| parts.catalog.clone());
        let catalog_url = remote.as_ref().map(|catalog| catalog.url().to_string());
        let catalog = remote.map_or_else(|| parts.catalog_factory(), RemoteCatalog::factory);
        let metrics = Arc::new(Metrics::new().map_err(|error| AppError::Config(error.to_string()))?);
        let auditor = Auditor::new(&config.audit);
        let provider = &config.scaffolder.workspace_provider;
        let workspaces = Workspaces::new(provider, parts.stores.workspaces.clone(), http.clone());
        let workspaces = workspaces.map_err(|error| AppError::Config(error.to_string()))?.map(Arc::new);
        if let Some(workspaces) = &workspaces {
            match workspaces.probe().await {
                Err(error) if error.is_passing() => tracing::warn!(%error, "workspaces can't be saved at present"),
                probed => probed.map_err(|error| AppError::Config(format!("scaffolder.taskRecovery.s3: {error}")))?,
            }
        }
        let tasks = TaskService::new(EngineDeps {
            store: parts.stores.tasks.clone(),
            workspaces,
            registry: parts.registry.clone(),
            templating: parts.templating.clone(),
            catalog: catalog.clone(),
            config: EngineSettings::from_config(&config, log_level(std::env::var("LOG_LEVEL").ok().as_deref())),
            plugin_actions: Some(plugin_actions),
            policy: Arc::new(permissions.clone()),
            observer: metrics.clone(),
            auditor: auditor.clone(),
            runtime: Handle::current(),
        });
        let lifecycle = Lifecycle::starting();
        let edge = Edge::new(&config.server, lifecycle.clone(), metrics.clone()).map_err(AppError::Config)?;
        let state = ApiState::new(ApiParts {
            tasks: tasks.clone(),
            actions: parts.registry.clone(),
            catalog,
            embedded: embedded.clone(),
            auth,
            permissions,
            auditor,
            offered_actions,
            external_url: config.discovery.external(OWN_PLUGIN),
            store: parts.stores.tasks.clone(),
            lifecycle: lifecycle.clone(),
        });
        let stopping = CancellationToken::new();
        Ok(App {
            config,
            parts,
            embedded,
            catalog_url,
            tasks,
            state: Data::new(state),
            edge: Data::new(edge),
            metrics,
            lifecycle,
            stopping,
        })
    }
}

/// The parts that need no engine: what `understudy run` works with too.
pub struct Parts {
    scm: Scm,
    templating: Templating,
    registry: Registry,
    stores: Stores,
    catalog: Arc<EmbeddedCatalog>,
}

impl Parts {
    /// Makes them, with these actions besides the built-in ones.
    ///
    /// # Errors
    /// A value of the configuration is wrong, or the database can't be used.
    pub async fn new(config: &Config, actions: Vec<Arc<dyn DynAction>>) -> Result<Self, AppError> {
        install_tls_provider();
        let scm = Scm::from_config(&config.raw).map_err(AppError::Config)?;
        let templating = templating(config, &scm)?;
        let mut registry = built_in_actions(config, &templating)?;
        for action in actions {
            registry.register_dyn(action);
        }
        let stores = Stores::open(&config.backend, &config.scaffolder.secrets).await?;
        let catalog = EmbeddedCatalog::open(stores.catalog.clone(), scm.clone(), &config.catalog_locations).await?;
        let catalog = Arc::new(catalog);
        Ok(Self { scm, templating, registry, stores, catalog })
    }
    /// Integrations and readers.
    pub fn scm(&self) -> &Scm {
        &self.scm
    }
    /// The template language.
    pub fn templating(&self) -> &Templating {
        &self.templating
    }
    /// The actions.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }
    /// Runs templates without a store.
    pub fn runner(&self) -> Runner {
        Runner::new(self.registry.clone(), self.templating.clone(), self.catalog_factory())
    }
    /// The embedded catalog, the same for everybody.
    fn catalog_factory(&self) -> CatalogFactory {
        let catalog: Arc<dyn Catalog> = self.catalog.clone();
        Arc::new(move |_| Arc::clone(&catalog))
    }
}

/// The template language as the configuration sets it up.
///
/// # Errors
/// A filter or global that can't be used; [`Config::load`] has refused such ones already.
pub fn templating(config: &Config, scm: &Scm) -> Result<Templating, AppError> {
    Templating::with_language(scm, config.scaffolder.templating.clone()).map_err(|errors| {
        let texts: Vec<_> = errors.iter().map(ToString::to_string).collect();
        AppError::Config(texts.join("\n"))
    })
}

/// The actions that come with the service.
///
/// # Errors
/// A value of the configuration that a provider reads is wrong.
pub fn built_in_actions(config: &Config, templating: &Templating) -> Result<Registry, AppError> {
    let mut registry = Registry::new();
    let scm = templating.scm();
    understudy_actions_core::register(
        &mut registry,
        understudy_actions_core::CoreDeps { scm: scm.clone(), templating: templating.clone() },
    );
    #[cfg(feature = "github")]
    understudy_actions_github::register(
        &mut registry,
        understudy_actions_github::GithubDeps {
            scm: scm.clone(),
            default_author: config.scaffolder.default_author.clone(),
            default_commit_message: config.scaffolder.default_commit_message.clone(),
        },
    );
    #[cfg(feature = "kubernetes")]
    understudy_actions_kubernetes::register(
        &mut registry,
        understudy_actions_kubernetes::KubernetesDeps {
            clusters: understudy_actions_kubernetes::Clusters::from_config(&config.raw).map_err(AppError::Config)?,
            argocd: understudy_actions_kubernetes::argocd::ArgocdDeps {
                config: understudy_actions_kubernetes::argocd::ArgocdConfig::from_config(&config.raw)
                    .map_err(AppError::Config)?,
                http: scm.http_client().map_err(|error| AppError::Config(error.message().to_owned()))?.clone(),
                pod_namespace: std::env::var("POD_NAMESPACE").ok(),
            },
        },
    );
    #[cfg(not(any(feature = "github", feature = "kubernetes")))]
    let _ = config;
    Ok(registry)
}

/// Makes ring the provider of TLS for all clients of this process.
pub fn install_tls_provider() {
    // An error means that somebody was here before, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// How many connections are served at once: a quarter of the files that may be open, since each is two, and the rest is for
/// tasks and the database. Further ones wait until others end.
fn connection_limit() -> usize {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(files / 4).unwrap_or(MOST_CONNECTIONS).clamp(64, MOST_CONNECTIONS)
}

/// Lets the service open as many files as the system allows it: each waiting task may hold a connection, and the usual
/// limit of 1024 is one for programs that can't cope with more.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "the number of open files can't be raised; many waiting tasks may be too many");
        }
    }
}

/// A service, ready to serve.
pub struct App {
    config: Config,
    parts: Parts,
    /// Our own catalog, where it is in use.
    embedded: Option<Arc<EmbeddedCatalog>>,
    /// Where the catalog is, when it is another one.
    catalog_url: Option<String>,
    tasks: TaskService,
    state: Data<ApiState>,
    edge: Data<Edge>,
    metrics: Arc<Metrics>,
    lifecycle: Lifecycle,
    stopping: CancellationToken,
}

impl App {
    /// Starts to collect what a service is made of.
    pub fn builder(config: Config) -> AppBuilder {
        AppBuilder { config, actions: Vec::new() }
    }

    /// Serves until SIGTERM or SIGINT, then hands running tasks back to the queue and ends. It listens from the beginning;
    /// requests that come before the start is over wait for that.
    ///
    /// # Errors
    /// The address can't be listened on, or the server breaks.
    pub async fn serve(self) -> Result<(), AppError> {
        let address = self.config.backend.listen;
        raise_file_limit();
        // Bound before anything runs, so that a second process on the same port touches no task.
        let listen = |source| AppError::Listen { address, source };
        let listener = bind(address).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let mut signals = Signals::new()?;
        for warning in &self.config.warnings {
            tracing::warn!("{warning}");
        }
        let metrics = self.config.server.metrics_listen.map(|address| self.metrics_server(address)).transpose()?;
        let push = match &self.config.otlp {
            Some(config) => Some(Push::start(self.metrics.clone(), config.clone(), self.http()?)),
            None => None,
        };
        let server = self.server(listener).map_err(listen)?;
        let handle = server.handle();
        let mut server = tokio::spawn(server);
        let broken = |ended: Result<std::io::Result<()>, JoinError>| {
            ended.unwrap_or_else(|error| Err(std::io::Error::other(error))).map_err(AppError::Server)
        };

        let asked_to_end = tokio::select! {
            loaded = self.load_catalog() => {
                loaded?;
                false
            }
            ended = &mut server => return broken(ended),
            _ = signals.next() => true,
        };
        if !asked_to_end {
            self.tasks.start_workers();
            self.keep_catalog_fresh();
            self.follow_catalog();
            self.lifecycle.enter(Phase::Up);
            self.announce(address);
            tokio::select! {
                ended = &mut server => return broken(ended),
                signal = signals.next() => tracing::info!(signal, "shutting down"),
            }
            self.lifecycle.enter(Phase::Draining);
            tokio::select! {
                () = tokio::time::sleep(self.config.server.shutdown_delay) => {}
                signal = signals.next() => tracing::warn!(signal, "not serving for the rest of backend.lifecycle.serverShutdownDelay"),
            }
        }
        self.lifecycle.enter(Phase::Down);
        self.stopping.cancel();
        tokio::select! {
            () = self.tasks.shutdown(STEP_GRACE) => {}
            signal = signals.next() => tracing::warn!(signal, "not waiting for running steps any longer"),
        }
        handle.stop(true).await;
        if let Some(metrics) = metrics {
            metrics.stop(false).await;
        }
        self.parts.stores.tasks.close().await;
        // Last, since this depends on somebody else.
        if let Some(push) = push {
            push.finish().await;
        }
        tracing::info!("ended");
        Ok(())
    }

    fn http(&self) -> Result<reqwest::Client, AppError> {
        let http = self.parts.scm.http_client().map_err(|error| AppError::Config(error.message().to_owned()))?;
        Ok(http.clone())
    }

    /// Serves the metrics at an address of their own, which needs no credentials and which clients need not reach.
    fn metrics_server(&self, address: SocketAddr) -> Result<ServerHandle, AppError> {
        let listen = |source| AppError::ListenForMetrics { address, source };
        let metrics = Data::from(self.metrics.clone());
        let server = HttpServer::new(move || {
            actix_web::App::new().app_data(metrics.clone()).route("/metrics", web::get().to(scrape))
        })
        .workers(1)
        .disable_signals()
        .listen(TcpListener::bind(address).map_err(listen)?)
        .map_err(listen)?
        .run();
        let handle = server.handle();
        tokio::spawn(server);
        tracing::info!(%address, "metrics for Prometheus at /metrics");
        Ok(handle)
    }

    /// The HTTP server, not running yet.
    fn server(&self, listener: TcpListener) -> std::io::Result<Server> {
        let timeouts = &self.config.server.timeouts;
        let (state, edge) = (self.state.clone(), self.edge.clone());
        let connections = ConnectionGuard::new(timeouts);
        let watch = connections.clone().watch();
        let stopping = self.stopping.clone();
        tokio::spawn(async move { stopping.run_until_cancelled(watch).await });
        let server = HttpServer::new(move || {
            actix_web::App::new()
                .app_data(state.clone())
                .app_data(edge.clone())
                .configure(api::routes)
                .wrap(from_fn(api::edge))
                .wrap(TracingLogger::<RequestLog>::new())
        })
        .on_connect(move |stream, data| connections.on_connect(stream, data))
        .client_request_timeout(timeouts.head)
        .client_disconnect_timeout(timeouts.stalled)
        .keep_alive(timeouts.keep_alive)
        .disable_signals()
        .shutdown_timeout(REQUEST_GRACE);
        let workers = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let server = server.workers(workers).max_connections(connection_limit() / workers);
        Ok(server.listen(listener)?.run())
    }

    /// Reads the configured locations. What was read before a restart is there at once, so a slow host holds up the start
    /// for a while only.
    async fn load_catalog(&self) -> Result<(), AppError> {
        let Some(catalog) = self.embedded.clone() else { return Ok(()) };
        let mut refresh = tokio::spawn(async move { catalog.refresh_configured().await });
        match tokio::time::timeout(CATALOG_PATIENCE, &mut refresh).await {
            Ok(Ok(done)) => Ok(done?),
            Ok(Err(error)) => Err(AppError::Server(std::io::Error::other(error))),
            Err(_) => {
                tracing::warn!("reading the catalog's locations takes long; going on with what is known of them");
                Ok(())
            }
        }
    }

    /// Reads all locations again from time to time, until the service stops.
    fn keep_catalog_fresh(&self) {
        let (Some(interval), Some(catalog)) = (self.config.catalog_refresh, self.embedded.clone()) else { return };
        let stopping = self.stopping.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = tokio::time::sleep(interval) => {}
                    () = stopping.cancelled() => return,
                }
                if let Err(error) = catalog.refresh_all().await {
                    tracing::warn!(%error, "the catalog's locations could not be read again");
                }
            }
        });
    }

    /// Takes over what other processes change in the catalog, until the service stops.
    fn follow_catalog(&self) {
        let catalog = Arc::clone(&self.parts.catalog);
        let (changed, stopping) = (self.tasks.catalog_changed(), self.stopping.clone());
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = changed.notified() => {}
                    () = stopping.cancelled() => return,
                }
                if let Err(error) = catalog.reload().await {
                    tracing::warn!(%error, "the catalog could not be read again");
                }
            }
        });
    }

    fn announce(&self, address: std::net::SocketAddr) {
        tracing::info!(%address, base_url = self.config.backend.base_url, "listening");
        match self.config.auth.policy {
            AuthPolicy::Required => tracing::info!("requests need credentials"),
            AuthPolicy::Disabled => {
                tracing::warn!("requests need no credentials: backend.auth.dangerouslyDisableDefaultAuthPolicy is set");
            }
            AuthPolicy::Standalone => tracing::info!(
                "standalone: requests need no credentials, and only this machine can reach the service; docs/drop-in.md \
                 says how to put it beside Backstage, backend.auth.externalAccess gives clients tokens"
            ),
        }
        let database = match &self.config.backend.database {
            DatabaseConfig::SqliteMemory => "in memory: tasks are lost when the service ends".to_string(),
            DatabaseConfig::SqliteFile(path) => path.to_string(),
            DatabaseConfig::Postgres(config) => format!("{} on {}", config.database, config.host),
        };
        let templates = EntityQuery {
            filter: EntityFilter::parse(&["kind=template"]).unwrap_or_default(),
            ..EntityQuery::default()
        };
        tracing::info!(
            database,
            working_directory = %self.config.backend.working_directory,
            actions = self.parts.registry.list().count(),
            catalog = self.catalog_url.as_deref().unwrap_or("embedded"),
            templates = self.embedded.as_ref().map(|own| own.entities(&templates, &Fields::default(), 0, None).len()),
            "ready"
        );
    }
}

/// Listens. Where all addresses are meant, those of IPv4 are enough on a machine without IPv6.
fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let all = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), address.port());
    TcpListener::bind(address).or_else(|error| match error.kind() {
        ErrorKind::AddrInUse | ErrorKind::PermissionDenied => Err(error),
        _ if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) => TcpListener::bind(all),
        _ => Err(error),
    })
}

async fn scrape(metrics: Data<Metrics>) -> HttpResponse {
    match metrics.text() {
        Ok(text) => HttpResponse::Ok().content_type(metrics::CONTENT_TYPE).body(text),
        Err(error) => {
            tracing::error!(%error, "the metrics can't be written");
            HttpResponse::InternalServerError().finish()
        }
    }
}

/// What asks the service to end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, std::io::Error> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
