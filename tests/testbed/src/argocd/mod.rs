//! Argo CD twice: an API server double ([`ArgocdDouble`]), and its controller for a real API server ([`ArgocdController`]).
//!
//! Both let applications go the way that a test gives them ([`Behaviour`]): compared, synced if the policy is automated or
//! somebody asks for it, progressing, healthy or not. Objects, in requests and in answers, are held against the types of
//! Argo CD 3.6; answers and refusals are worded as its server's.

mod contract;
mod controller;
mod play;
mod policy;
mod server;
mod state;

use std::{
    net::{Ipv4Addr, TcpListener},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use actix_web::{App, HttpServer, dev::ServerHandle, web};
use serde_json::Value;
use tokio::sync::{broadcast, watch};

use crate::{Error, Result};
pub use controller::ArgocdController;
pub use play::Behaviour;
pub use state::Request;
use state::State;

/// The CRDs of Application and AppProject.
pub const CRDS: &str = "argocd.yaml";
/// Argo CD's own namespace.
pub const NAMESPACE: &str = "argocd";
/// How often the controllers look.
const TICK: Duration = Duration::from_millis(60);

/// What listener, controller and test share.
struct Shared {
    state: Mutex<State>,
    events: broadcast::Sender<(&'static str, Value)>,
    cut: watch::Sender<u64>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn tell(&self, events: Vec<(&'static str, Value)>) {
        for event in events {
            // Nobody may be listening.
            let _ = self.events.send(event);
        }
    }
}

/// An Argo CD API server with its controller: sessions, RBAC, projects, applications, the stream of their changes. State is
/// in memory. Ends when dropped.
pub struct ArgocdDouble {
    shared: Arc<Shared>,
    port: u16,
    handle: ServerHandle,
    threads: Vec<JoinHandle<()>>,
    ended: watch::Sender<bool>,
}

impl std::fmt::Debug for ArgocdDouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ArgocdDouble").field("port", &self.port).finish_non_exhaustive()
    }
}

impl ArgocdDouble {
    /// Starts it with the project `default`, the account `admin` (password `admin-password`, token `admin-token`) that may do
    /// anything, and one cluster, its own.
    ///
    /// # Errors
    /// The CRDs can't be read, or no port is free.
    pub async fn start() -> Result<Self> {
        let contract = contract::Contract::load(&crate::kubernetes::crds().join(CRDS))?;
        let what = "listening on 127.0.0.1";
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::io(what))?;
        let port = listener.local_addr().map_err(Error::io(what))?.port();
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new(contract)),
            events: broadcast::channel(1024).0,
            cut: watch::channel(0).0,
        });
        let (started, starts) = tokio::sync::oneshot::channel();
        let data = web::Data::from(Arc::clone(&shared));
        let listening = std::thread::spawn(move || {
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
        let (ended, ends) = watch::channel(false);
        let playing = Arc::clone(&shared);
        let controller = std::thread::spawn(move || {
            while !*ends.borrow() {
                let events = playing.state().play();
                playing.tell(events);
                std::thread::sleep(TICK);
            }
        });
        Ok(Self { shared, port, handle, threads: vec![listening, controller], ended })
    }

    /// `http://127.0.0.1:<port>`
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Adds an account with a password and a token of the same text as the name with `-password` and `-token`, and the
    /// rules of a policy (`p, <name>, applications, get, */*, allow`).
    pub fn account(&self, name: &str, policy: &str) {
        self.shared.state().account(name, policy);
    }

    /// Ends all sessions and revokes all tokens: requests with them are answered by 401. Logging in goes on to work.
    pub fn expire_tokens(&self) {
        self.shared.state().expire();
    }

    /// Says what becomes of an application, from now on.
    pub fn set(&self, name: &str, behaviour: Behaviour) {
        self.shared.state().behaviours.insert(name.to_owned(), behaviour);
    }

    /// Moves all repositories to this commit.
    pub fn push(&self, commit: &str) {
        commit.clone_into(&mut self.shared.state().commit);
    }

    /// Makes a repository one that Argo CD can't read.
    pub fn lock_repository(&self, url: &str) {
        self.shared.state().locked_repositories.push(url.to_owned());
    }

    /// Answers the next requests with this status and no body of Argo CD's, as a proxy before it does.
    pub fn fail(&self, times: usize, status: u16) {
        self.shared.state().failures.extend(std::iter::repeat_n(status, times));
    }

    /// Breaks all open streams.
    pub fn cut_streams(&self) {
        self.shared.cut.send_modify(|count| *count += 1);
    }

    /// Refuses the stream from now on, as a proxy that knows no streams.
    pub fn refuse_streams(&self) {
        self.shared.state().refuses_streams = true;
    }

    /// An application as it is.
    #[must_use]
    pub fn app(&self, namespace: &str, name: &str) -> Option<Value> {
        self.shared.state().apps.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    /// A project as it is.
    #[must_use]
    pub fn project(&self, name: &str) -> Option<Value> {
        self.shared.state().projects.get(name).cloned()
    }

    /// Changes an application, as somebody else may.
    pub fn edit(&self, namespace: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let event = {
            let mut state = self.shared.state();
            state.edit(&(namespace.to_owned(), name.to_owned()), change)
        };
        self.shared.tell(event.into_iter().collect());
    }

    /// The requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.shared.state().requests.clone()
    }

    /// What in requests and answers doesn't fit Argo CD's types.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.shared.state().violations.clone()
    }
}

impl Drop for ArgocdDouble {
    fn drop(&mut self) {
        self.cut_streams();
        let _ = self.ended.send(true);
        drop(self.handle.stop(false));
        for thread in self.threads.drain(..) {
            // A panic has been reported by its thread already.
            let _ = thread.join();
        }
    }
}
