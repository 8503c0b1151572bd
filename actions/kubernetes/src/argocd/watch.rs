//! Following an application in either mode.

use std::{sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};
use understudy_sdk::ActionError;

use super::{
    api::{ApiClient, ApiError, AppEvent, EventStream},
    application::{AppRef, Application},
};
use crate::client::{Watch, as_value};

/// A stream that has been silent for so long is opened anew: proxies drop idle connections without a word.
const SILENCE: Duration = Duration::from_secs(60);
/// How often the state is asked for where there is no stream.
const POLL: Duration = Duration::from_secs(5);
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// What was seen of an application.
#[derive(Debug)]
pub(crate) enum Seen {
    /// It is like this.
    Is(Box<Application>),
    /// There is none.
    Absent,
    /// Argo CD can't be asked at present.
    Outage(String),
}

/// The states of one application as they come: first the one there is, then each change. Outages are reported, not ended by.
#[derive(Debug)]
pub(crate) enum Watcher {
    /// By the stream of an API server, with polling where there is none.
    Api(Box<ApiWatch>),
    /// By a watch of the cluster, which reports its outages itself.
    Crd(Box<Watch>),
}

impl Watcher {
    pub(crate) fn api(client: Arc<ApiClient>, at: AppRef) -> Self {
        Self::Api(Box::new(ApiWatch {
            client,
            at,
            stream: None,
            pause: Duration::ZERO,
            no_stream: false,
            polled: false,
        }))
    }
    pub(crate) fn crd(watch: Watch) -> Self {
        Self::Crd(Box::new(watch))
    }

    /// The next state. May be dropped before it is done and called again.
    ///
    /// # Errors
    /// It can't be asked for, and time won't change that.
    pub(crate) async fn next(&mut self) -> Result<Seen, ActionError> {
        match self {
            Self::Api(watch) => watch.next().await,
            Self::Crd(watch) => Ok(match watch.next().await? {
                Some(object) => Seen::Is(Box::new(Application::new(as_value(&object)))),
                None => Seen::Absent,
            }),
        }
    }

    /// Why Argo CD can't be asked, where that isn't reported by [`Watcher::next`].
    pub(crate) fn outage(&self) -> Option<String> {
        match self {
            Self::Api(_) => None,
            Self::Crd(watch) => watch.outage(),
        }
    }
}

/// See [`Watcher::Api`].
#[derive(Debug)]
pub(crate) struct ApiWatch {
    client: Arc<ApiClient>,
    at: AppRef,
    stream: Option<EventStream>,
    /// Before the next attempt.
    pause: Duration,
    /// The server, or a proxy before it, doesn't let the stream through.
    no_stream: bool,
    polled: bool,
}

impl ApiWatch {
    async fn next(&mut self) -> Result<Seen, ActionError> {
        loop {
            if let Some(stream) = &mut self.stream {
                match timeout(SILENCE, stream.next()).await {
                    Ok(Ok(Some(AppEvent::Is(app)))) if self.at.is(&app) => return Ok(Seen::Is(Box::new(app))),
                    Ok(Ok(Some(AppEvent::Is(_)))) => continue,
                    Ok(Ok(Some(AppEvent::Gone))) => return Ok(Seen::Absent),
                    Ok(Ok(None)) | Err(_) => self.stream = None,
                    Ok(Err(error)) => {
                        self.stream = None;
                        return self.failed(error);
                    }
                }
                continue;
            }
            if !self.pause.is_zero() {
                sleep(self.pause).await;
            } else if self.no_stream && self.polled {
                sleep(POLL).await;
            }
            match self.ask().await {
                Ok(seen) => {
                    self.pause = Duration::ZERO;
                    self.polled = true;
                    return seen;
                }
                Err(error) => return self.failed(error),
            }
        }
    }

    /// Opens the stream, then asks for the state: what changes in between is in the stream, too.
    async fn ask(&mut self) -> Result<Result<Seen, ActionError>, ApiError> {
        if !self.no_stream {
            match self.client.stream(&self.at).await {
                Ok(stream) => self.stream = Some(stream),
                Err(ApiError::Refused { status: 400 | 403 | 404 | 405 | 501, .. } | ApiError::Foreign { .. }) => {
                    self.no_stream = true;
                }
                Err(error) => return Err(error),
            }
        }
        let found = match self.client.find_once(&self.at).await? {
            Ok(found) => found,
            Err(error) => return Ok(Err(error)),
        };
        Ok(Ok(match found {
            Some(app) => match self.client.details(&app).await {
                Ok(app) => Seen::Is(Box::new(app)),
                // It went in between; what may be listed may be read.
                Err(error) if matches!(error.status(), Some(403 | 404)) => Seen::Absent,
                Err(error) => return Err(error),
            },
            None => Seen::Absent,
        }))
    }

    fn failed(&mut self, error: ApiError) -> Result<Seen, ActionError> {
        self.stream = None;
        if matches!(error, ApiError::Foreign { .. }) && self.polled && !self.no_stream {
            self.no_stream = true;
            return Ok(Seen::Outage(error.to_string()));
        }
        // A server that is starting answers with 500.
        let passing = error.is_passing() || (self.polled && error.status() == Some(500));
        if !passing {
            return Err(error.into());
        }
        self.pause = (self.pause * 2).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
        Ok(Seen::Outage(error.to_string()))
    }
}
