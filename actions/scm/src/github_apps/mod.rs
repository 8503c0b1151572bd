//! Credentials of GitHub Apps: tokens of their installations, cached until shortly before they expire
//! (`SingleInstanceGithubCredentialsProvider` of `@backstage/integration` 2.1.2).

mod api;
mod jwt;

use std::{
    collections::HashMap,
    error::Error as _,
    sync::{Arc, Mutex as SyncMutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::{sync::Mutex, time::Instant};
use understudy_sdk::{ActionError, ErrorName, Secret};

use crate::integrations::{Github, GithubApp};
use api::{Api, Installation, Selection};
use jwt::AppKey;

/// The source of an error that asking later may mend: GitHub is down, or the way to it.
#[derive(Debug, thiserror::Error)]
#[error("GitHub is out of reach at the moment")]
pub(crate) struct OutOfReach;

/// Whether an error about credentials says nothing about them: GitHub could not be asked for them.
pub fn is_out_of_reach(error: &ActionError) -> bool {
    error.source().is_some_and(|source| source.is::<OutOfReach>())
}

/// A cached token is not handed out any more when it has less time left than this.
const SPARE: TimeDelta = TimeDelta::minutes(10);
/// How long the list of installations is believed.
const INSTALLATIONS_BELIEVED: Duration = Duration::from_secs(10 * 60);
/// How soon it may be asked for again when an owner is not on it: somebody may just have installed the App.
const INSTALLATIONS_PAUSE: Duration = Duration::from_secs(30);

/// The Apps of one integration.
#[derive(Debug)]
pub(crate) struct Apps {
    host: String,
    apps: Vec<App>,
}

#[derive(Debug)]
struct App {
    config: GithubApp,
    api: Api,
    /// Held while the list is fetched, so that those who need it meanwhile wait for the one request.
    installations: Mutex<Option<(Instant, Vec<Installation>)>>,
    /// By lower-case owner; each place is held while its token is fetched.
    tokens: SyncMutex<HashMap<String, Arc<Mutex<Option<Token>>>>>,
}

#[derive(Debug, Clone)]
struct Token {
    value: Secret,
    expires: DateTime<Utc>,
    selection: Selection,
    /// Names that GitHub has confirmed to be within a selection, in lower case.
    repositories: Vec<String>,
}

impl Token {
    fn good_at(&self, now: DateTime<Utc>) -> bool {
        self.expires - now > SPARE
    }
}

impl Apps {
    /// `None` for an integration without Apps.
    pub(crate) fn of(github: &Github) -> Option<Self> {
        let apps: Vec<_> = github.apps.iter().map(|config| App::new(config, &github.api_base_url)).collect();
        (!apps.is_empty()).then(|| Self { host: github.host.clone(), apps })
    }

    /// A token for a repository (or, without a name, for what belongs to an owner); `None` when no App is installed there.
    ///
    /// # Errors
    /// The installation is suspended or doesn't include the repository, the private key can't be used, or GitHub refuses.
    pub(crate) async fn token(&self, owner: &str, repo: Option<&str>) -> Result<Option<Secret>, ActionError> {
        let mut first_error = None;
        for app in &self.apps {
            match app.token(owner, repo).await {
                Ok(Some(token)) => return Ok(Some(token)),
                Ok(None) => {}
                Err(error) => first_error = first_error.or(Some(app.explain(&self.host, error))),
            }
        }
        if let Some(error) = first_error {
            return Err(error);
        }
        for app in self.apps.iter().filter(|app| app.config.public_access) {
            // Any installation's token may read what is public.
            if let Some(token) = app.token_of_any().await.map_err(|error| app.explain(&self.host, error))? {
                return Ok(Some(token));
            }
        }
        Ok(None)
    }

    /// Forgets a token that GitHub no longer takes.
    pub(crate) async fn forget(&self, refused: &Secret) {
        for app in &self.apps {
            let places: Vec<_> = app.places().values().cloned().collect();
            for place in places {
                let mut place = place.lock().await;
                if place.as_ref().is_some_and(|token| token.value.expose() == refused.expose()) {
                    *place = None;
                }
            }
        }
    }
}

impl App {
    fn new(config: &GithubApp, api_base_url: &str) -> Self {
        Self {
            config: config.clone(),
            api: Api::new(api_base_url, config.app_id),
            installations: Mutex::default(),
            tokens: SyncMutex::default(),
        }
    }

    fn explain(&self, host: &str, error: ActionError) -> ActionError {
        let message =
            format!("The GitHub App {} of the integration for {host}: {}", self.config.app_id, error.message());
        let explained = ActionError::new(error.name().clone(), message);
        if is_out_of_reach(&error) { explained.with_source(OutOfReach) } else { explained }
    }

    fn places(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Mutex<Option<Token>>>>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn token(&self, owner: &str, repo: Option<&str>) -> Result<Option<Secret>, ActionError> {
        let folded = owner.to_lowercase();
        let allowed = self.config.allowed_installation_owners.as_ref();
        if allowed.is_some_and(|allowed| !allowed.iter().any(|name| name.to_lowercase() == folded)) {
            return Ok(None);
        }
        let place = Arc::clone(self.places().entry(folded.clone()).or_default());
        let mut cached = place.lock().await;
        if !cached.as_ref().is_some_and(|token| token.good_at(Utc::now())) {
            let Some(installation) = self.installation(&folded).await? else { return Ok(None) };
            if installation.suspended {
                return Err(ActionError::failed(format!("its installation for {owner} is suspended")));
            }
            *cached = Some(self.fetch(&installation).await?);
        }
        let Some(token) = cached.as_mut() else { return Ok(None) };
        if let (Selection::Selected, Some(repo)) = (token.selection, repo) {
            let name = repo.to_lowercase();
            if !token.repositories.contains(&name) {
                if !self.api.is_installed_on(&self.jwt()?, owner, repo).await? {
                    // Upstream's words, which people have searched for so far.
                    return Err(ActionError::new(
                        ErrorName::NotAllowedError,
                        format!(
                            "The Backstage GitHub application used in the {owner} organization does not have access to a \
                             repository with the name {repo}; add it to the App's installation"
                        ),
                    ));
                }
                token.repositories.push(name);
            }
        }
        Ok(Some(token.value.clone()))
    }

    async fn token_of_any(&self) -> Result<Option<Secret>, ActionError> {
        let owner = {
            let known = self.installations.lock().await;
            let installations = known.iter().flat_map(|(_, installations)| installations);
            let active = installations.into_iter().find(|installation| !installation.suspended);
            active.map(|installation| installation.owner.clone())
        };
        match owner {
            Some(owner) => self.token(&owner, None).await,
            None => Ok(None),
        }
    }

    async fn fetch(&self, installation: &Installation) -> Result<Token, ActionError> {
        let issued = self.api.issue(&self.jwt()?, installation.id).await?;
        Ok(Token {
            value: issued.token,
            expires: issued.expires,
            selection: issued.selection,
            repositories: Vec::new(),
        })
    }

    /// The installation of an owner, given in lower case.
    async fn installation(&self, owner: &str) -> Result<Option<Installation>, ActionError> {
        let find = |list: &[Installation]| list.iter().find(|it| it.owner.to_lowercase() == owner).cloned();
        let mut known = self.installations.lock().await;
        if let Some((at, list)) = &*known {
            let found = find(list);
            let believed = if found.is_some() { INSTALLATIONS_BELIEVED } else { INSTALLATIONS_PAUSE };
            if at.elapsed() < believed {
                return Ok(found);
            }
        }
        let list = self.api.installations(&self.jwt()?).await?;
        let found = find(&list);
        *known = Some((Instant::now(), list));
        Ok(found)
    }

    fn jwt(&self) -> Result<Secret, ActionError> {
        AppKey::from_pem(&self.config.private_key)
            .and_then(|key| key.token(self.config.app_id))
            .map_err(|reason| ActionError::failed(format!("its privateKey can't be used: {reason}")))
    }
}
