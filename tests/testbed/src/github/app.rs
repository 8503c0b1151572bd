//! GitHub Apps: who may speak for one, where it is installed, tokens of installations.

use std::{path::Path, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use rustls::{
    SignatureScheme,
    crypto::ring,
    pki_types::{PrivateKeyDer, pem::PemObject},
    sign::SigningKey,
};
use serde_json::{Value, json};
use tokio::process::Command;

use super::{
    GithubDouble,
    options::Token,
    render::Urls,
    state::{Account, Repo, State, folded, timestamp},
};
use crate::{Error, Result, programs};

/// GitHub takes no App token that lives longer.
const LONGEST: i64 = 600;
const LIFETIME: TimeDelta = TimeDelta::hours(1);

/// An App, as its owner knows it.
#[derive(Debug, Clone)]
pub struct App {
    /// `appId`
    pub id: u64,
    /// `clientId`
    pub client_id: String,
    /// Its name in URLs; its account is `<slug>[bot]`.
    pub slug: String,
    /// `privateKey`, PEM.
    pub private_key: String,
}

/// What the double knows of an App.
#[derive(Clone)]
pub(super) struct KnownApp {
    id: u64,
    client_id: String,
    slug: String,
    key: Arc<dyn SigningKey>,
    installations: Vec<Installation>,
    /// Seconds that a token lives.
    lifetime: TimeDelta,
}

#[derive(Debug, Clone)]
struct Installation {
    id: u64,
    owner: String,
    suspended: Option<DateTime<Utc>>,
    /// Lower-case names; `None`: all.
    selected: Option<Vec<String>>,
    created: DateTime<Utc>,
}

impl KnownApp {
    fn login(&self) -> String {
        format!("{}[bot]", self.slug)
    }

    fn sign(&self, message: &str) -> Option<Vec<u8>> {
        self.key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256])?.sign(message.as_bytes()).ok()
    }

    /// Whether a JSON Web Token is the App's and good now. A signature of this kind has no randomness, so that it can be
    /// made again and compared.
    fn vouches(&self, jwt: &str, now: i64) -> bool {
        let Some((message, signature)) = jwt.rsplit_once('.') else { return false };
        let Some((header, claims)) = message.split_once('.') else { return false };
        let decoded = |part: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
        let (Some(header), Some(claims)) = (decoded(header), decoded(claims)) else { return false };
        let issuer = claims["iss"].as_str().map_or_else(|| claims["iss"].to_string(), str::to_owned);
        let (Some(issued), Some(expires)) = (claims["iat"].as_i64(), claims["exp"].as_i64()) else { return false };
        header["alg"] == "RS256"
            && (issuer == self.id.to_string() || issuer == self.client_id)
            && (issued <= now && now < expires && expires - now <= LONGEST)
            && self.sign(message).is_some_and(|right| URL_SAFE_NO_PAD.encode(right) == signature)
    }
}

impl State {
    /// The App that an `Authorization` header's JSON Web Token vouches for, as a token of it.
    pub(super) fn app_of(&self, header: Option<&str>) -> Option<Token> {
        let (scheme, jwt) = header?.split_once(' ')?;
        let now = Utc::now().timestamp();
        let app = self.apps.iter().find(|app| app.vouches(jwt.trim(), now))?;
        scheme.eq_ignore_ascii_case("bearer").then(|| Token::new("", app.login()).scopes(&[]))
    }

    /// Whether `login` is an App that is installed at an owner's, and for this repository.
    pub(super) fn installed(&self, login: &str, owner: &str, repo: Option<&str>) -> bool {
        let app = self.apps.iter().find(|app| folded(&app.login()) == folded(login));
        let at = |it: &&Installation| folded(&it.owner) == folded(owner) && it.suspended.is_none();
        let installation = app.and_then(|app| app.installations.iter().find(at));
        installation.is_some_and(|it| match (&it.selected, repo) {
            (Some(selected), Some(repo)) => selected.contains(&folded(repo)),
            _ => true,
        })
    }

    /// The App's installations, as JSON.
    pub(super) fn installations(&self, urls: &Urls, login: &str) -> Vec<Value> {
        let app = self.apps.iter().find(|app| app.login() == login);
        app.iter().flat_map(|app| app.installations.iter().map(|it| urls.installation(self, app, it))).collect()
    }

    /// The App's installation that holds a repository.
    pub(super) fn installation_of(&self, urls: &Urls, login: &str, repo: &Repo) -> Option<Value> {
        let app = self.apps.iter().find(|app| app.login() == login)?;
        let at = |it: &&Installation| {
            folded(&it.owner) == folded(&repo.owner)
                && it.selected.as_ref().is_none_or(|selected| selected.contains(&folded(&repo.name)))
        };
        Some(urls.installation(self, app, app.installations.iter().find(at)?))
    }

    /// A new token of an installation: it and when it expires; `Err`: the installation is suspended.
    pub(super) fn issue(&mut self, login: &str, installation: &str) -> Option<std::result::Result<Value, ()>> {
        let app = self.apps.iter().find(|app| app.login() == login)?.clone();
        let installation = app.installations.iter().find(|it| it.id.to_string() == installation)?.clone();
        if installation.suspended.is_some() {
            return Some(Err(()));
        }
        let value = format!("ghs_{}", uuid::Uuid::new_v4().simple());
        self.tokens.push(Token::new(&value, app.login()).scopes(&["repo", "workflow"]));
        Some(Ok(json!({
            "token": value,
            "expires_at": timestamp(Utc::now() + app.lifetime),
            "permissions": permissions(),
            "repository_selection": if installation.selected.is_some() { "selected" } else { "all" },
        })))
    }

    fn app_mut(&mut self, app: &App, owner: &str) -> Result<&mut Installation> {
        let known = self.apps.iter_mut().find(|known| known.id == app.id);
        let found = known.and_then(|app| app.installations.iter_mut().find(|it| folded(&it.owner) == folded(owner)));
        found.ok_or_else(|| Error::unexpected(format!("the App {} at {owner}", app.slug), "it is not installed there"))
    }
}

fn permissions() -> Value {
    json!({"administration": "write", "actions": "write", "contents": "write", "metadata": "read",
           "pull_requests": "write", "secrets": "write", "workflows": "write"})
}

impl GithubDouble {
    /// Registers an App that is installed at these owners' for all repositories.
    ///
    /// # Errors
    /// [`Error::MissingProgram`] without `openssl`, which makes its key.
    pub async fn add_app(&self, slug: &str, owners: &[&str]) -> Result<App> {
        let private_key = new_key(self.dir.path()).await?;
        let bad = |detail: String| Error::unexpected("the App's private key", detail);
        let der = PrivateKeyDer::from_pem_slice(private_key.as_bytes()).map_err(|error| bad(error.to_string()))?;
        let key = ring::sign::any_supported_type(&der).map_err(|error| bad(error.to_string()))?;
        let mut state = self.shared.state();
        let id = state.next_id();
        let installation = |state: &mut State, owner: &&str| Installation {
            id: state.next_id(),
            owner: (*owner).to_owned(),
            suspended: None,
            selected: None,
            created: Utc::now(),
        };
        let installations = owners.iter().map(|owner| installation(&mut state, owner)).collect();
        let (client_id, slug) = (format!("Iv1.{id:016x}"), slug.to_owned());
        let known =
            KnownApp { id, client_id: client_id.clone(), slug: slug.clone(), key, installations, lifetime: LIFETIME };
        state.apps.push(known);
        Ok(App { id, client_id, slug, private_key })
    }

    /// Tokens of the App issued from now on say that they expire after this time. (They go on to work: use
    /// [`GithubDouble::revoke_token`] for the end of one.)
    pub fn set_app_token_lifetime(&self, app: &App, lifetime: TimeDelta) {
        for known in self.shared.state().apps.iter_mut().filter(|known| known.id == app.id) {
            known.lifetime = lifetime;
        }
    }

    /// Suspends or resumes an App's installation.
    ///
    /// # Errors
    /// [`Error::Unexpected`] when it isn't installed there.
    pub fn suspend_app(&self, app: &App, owner: &str, suspended: bool) -> Result<()> {
        self.shared.state().app_mut(app, owner)?.suspended = suspended.then(Utc::now);
        Ok(())
    }

    /// Restricts an App's installation to some repositories.
    ///
    /// # Errors
    /// [`Error::Unexpected`] when it isn't installed there.
    pub fn select_repositories(&self, app: &App, owner: &str, repos: &[&str]) -> Result<()> {
        self.shared.state().app_mut(app, owner)?.selected = Some(repos.iter().map(|repo| folded(repo)).collect());
        Ok(())
    }

    /// The tokens that the App's installations have been given, oldest first.
    #[must_use]
    pub fn app_tokens(&self, app: &App) -> Vec<String> {
        let login = format!("{}[bot]", app.slug);
        let state = self.shared.state();
        state.tokens.iter().filter(|token| token.login == login).map(|token| token.value.clone()).collect()
    }
}

/// A private key in the form that GitHub hands out.
async fn new_key(dir: &Path) -> Result<String> {
    let mut command = Command::new(programs::find("openssl")?);
    command.args(["genrsa", "-traditional", "2048"]).current_dir(dir);
    let pem = programs::output(&mut command).await?;
    Ok(String::from_utf8_lossy(&pem).into_owned())
}

impl Urls {
    /// `installation`
    fn installation(&self, state: &State, app: &KnownApp, installation: &Installation) -> Value {
        let account = state.account(&installation.owner);
        // GitHub's description wants a user who is an enterprise as well.
        let shown = account.map(|account| {
            let mut shown = self.simple_user(account);
            for (name, value) in [("name", &account.login), ("slug", &account.login)] {
                shown[name] = json!(value);
            }
            shown["created_at"] = json!(timestamp(account.created));
            shown["updated_at"] = json!(timestamp(account.created));
            shown
        });
        let suspended_by = installation.suspended.and(account).map(|account| self.simple_user(account));
        json!({
            "id": installation.id,
            "account": shown,
            "repository_selection": if installation.selected.is_some() { "selected" } else { "all" },
            "access_tokens_url": format!("{}/app/installations/{}/access_tokens", self.api, installation.id),
            "repositories_url": format!("{}/installation/repositories", self.api),
            "html_url": format!("{}/settings/installations/{}", self.web, installation.id),
            "app_id": app.id,
            "app_slug": app.slug,
            "target_id": account.map_or(0, |account: &Account| account.id),
            "target_type": if account.is_some_and(|account| account.organization) { "Organization" } else { "User" },
            "permissions": permissions(),
            "events": [],
            "created_at": timestamp(installation.created),
            "updated_at": timestamp(installation.created),
            "single_file_name": null,
            "has_multiple_single_files": false,
            "single_file_paths": [],
            "suspended_by": suspended_by,
            "suspended_at": installation.suspended.map(timestamp),
        })
    }
}
