//! Making a repository with all that belongs to it.

use chrono::{DateTime, TimeDelta, Utc};
use http::Method;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::json;
use understudy_sdk::{ActionContext, ActionError, Secret};

use crate::{
    client::{Client, Route},
    error::ApiError,
    existing::{self, Content},
    inputs::{Collaborator, CustomProperty, OidcCustomization, SquashMessage, SquashTitle, Visibility, WorkflowAccess},
    seal::put_secrets,
    target::Target,
};

/// How far GitHub's clock may be from ours.
pub(crate) const CLOCK_SKEW: TimeDelta = TimeDelta::seconds(30);

/// The `type` of accounts that are none of a person.
const ORGANIZATION: &str = "Organization";

/// What the repository is to be like.
#[derive(Debug, Default)]
pub(crate) struct RepositorySettings {
    pub(crate) visibility: Visibility,
    /// Whether GitHub makes a first commit.
    pub(crate) auto_init: Option<bool>,
    pub(crate) description: Option<String>,
    pub(crate) homepage: Option<String>,
    pub(crate) delete_branch_on_merge: bool,
    pub(crate) allow_merge_commit: bool,
    pub(crate) allow_squash_merge: bool,
    pub(crate) squash_merge_commit_title: SquashTitle,
    pub(crate) squash_merge_commit_message: SquashMessage,
    pub(crate) allow_rebase_merge: bool,
    pub(crate) allow_auto_merge: bool,
    pub(crate) allow_update_branch: bool,
    pub(crate) has_projects: Option<bool>,
    pub(crate) has_wiki: Option<bool>,
    pub(crate) has_issues: Option<bool>,
    pub(crate) custom_properties: Option<IndexMap<String, CustomProperty>>,
    /// A user, or `owner/team`, who becomes administrator.
    pub(crate) access: Option<String>,
    pub(crate) collaborators: Vec<Collaborator>,
    pub(crate) topics: Option<Vec<String>>,
    pub(crate) variables: IndexMap<String, String>,
    pub(crate) secrets: IndexMap<String, Secret>,
    pub(crate) oidc: Option<OidcCustomization>,
    pub(crate) subscribe: bool,
    /// Which other repositories may use this one's actions and reusable workflows.
    pub(crate) workflow_access: Option<WorkflowAccess>,
}

/// Under which checkpoint key a repository is made; upstream's, so that a task that it began is not done twice.
#[derive(Debug, Clone, Copy)]
pub(crate) enum CreateKey {
    /// `publish:github`
    Publish,
    /// `github:repo:create`
    Repo,
}

impl CreateKey {
    fn of(self, target: &Target) -> String {
        let prefix = match self {
            Self::Publish => "create.github.repo",
            Self::Repo => "create.repo.and.topics",
        };
        format!("{prefix}.{}.{}", target.owner, target.repo)
    }
}

/// A repository that was made. This is a checkpoint's value, so its member names are those of GitHub's answer, which
/// upstream keeps whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NewRepository {
    pub(crate) clone_url: String,
    pub(crate) html_url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) default_branch: Option<String>,
    /// It was there before, just as the step wants it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) unchanged: bool,
}

/// What GitHub is told of a repository under the same names that it tells it by.
#[derive(Serialize)]
pub(crate) struct Members<'a> {
    allow_auto_merge: bool,
    allow_merge_commit: bool,
    allow_rebase_merge: bool,
    allow_squash_merge: bool,
    allow_update_branch: bool,
    delete_branch_on_merge: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    has_issues: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    has_projects: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    has_wiki: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    homepage: Option<&'a str>,
    squash_merge_commit_message: SquashMessage,
    squash_merge_commit_title: SquashTitle,
}

#[derive(Serialize)]
struct CreateBody<'a> {
    #[serde(flatten)]
    members: Members<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auto_init: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_properties: Option<&'a IndexMap<String, CustomProperty>>,
    name: &'a str,
    private: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    visibility: Option<Visibility>,
}

impl RepositorySettings {
    pub(crate) fn members(&self) -> Members<'_> {
        Members {
            allow_auto_merge: self.allow_auto_merge,
            allow_merge_commit: self.allow_merge_commit,
            allow_rebase_merge: self.allow_rebase_merge,
            allow_squash_merge: self.allow_squash_merge,
            allow_update_branch: self.allow_update_branch,
            delete_branch_on_merge: self.delete_branch_on_merge,
            description: self.description.as_deref(),
            has_issues: self.has_issues,
            has_projects: self.has_projects,
            has_wiki: self.has_wiki,
            homepage: self.homepage.as_deref(),
            squash_merge_commit_message: self.squash_merge_commit_message,
            squash_merge_commit_title: self.squash_merge_commit_title,
        }
    }
}

#[derive(Deserialize)]
struct Account {
    #[serde(rename = "type")]
    kind: String,
}

/// Makes the repository and all that belongs to it, once per task: an earlier run's repository is taken over. A repository
/// that has the same settings, and `content` where that is given, is left as it is.
///
/// # Errors
/// The account or team doesn't exist, the repository can't be made (e.g. the name is taken by one that differs), or GitHub
/// refused one of the settings. Collaborators and topics that GitHub refuses are only warned about.
pub(crate) async fn create_repository(
    ctx: &ActionContext,
    client: &Client<'_>,
    target: &Target,
    settings: &RepositorySettings,
    create_key: CreateKey,
    content: Option<Content<'_>>,
) -> Result<NewRepository, ActionError> {
    let key = create_key.of(target);
    if ctx.checkpoints.load(&key).await?.is_some() {
        ctx.log.info(format!("An earlier run of this task made the repository {target} already"));
    }
    ctx.checkpoint(&key, || async {
        let account: Account = client.get(&Route::new(&["users", &target.owner])?).await?;
        check_account(ctx, target, settings, &account.kind)?;
        let admin = Admin::of(settings.access.as_deref(), &target.owner);
        if let Some(Admin::Team(team)) = admin {
            check_team(ctx, client, &target.owner, team).await?;
        }
        // The creation has a checkpoint of its own, so that a run that ended between here and the last setting doesn't
        // find its own repository in its way. Every later request can be repeated.
        let repository = ctx
            .checkpoint(&format!("{key}.created"), || {
                post_repository(ctx, client, target, settings, &account.kind, create_key, content)
            })
            .await?;
        if repository.unchanged {
            return Ok(repository);
        }
        match admin {
            Some(Admin::Team(team)) => set_team(client, target, team, "admin").await?,
            Some(Admin::User(user)) => set_user(client, target, user, "admin").await?,
            None => {}
        }
        add_collaborators(ctx, client, target, &settings.collaborators).await?;
        if let Some(topics) = &settings.topics {
            set_topics(ctx, client, target, topics).await?;
        }
        set_variables(client, target, &settings.variables).await?;
        put_secrets(ctx, client, &target.route(&["actions", "secrets"])?, &settings.secrets).await?;
        if let Some(oidc) = &settings.oidc {
            set_oidc(client, target, oidc).await?;
        }
        if settings.subscribe {
            let route = Route::new(&["repos", &target.owner, &target.repo, "subscription"])?;
            client.put(&route, &json!({ "subscribed": true, "ignored": false })).await?;
        }
        if let Some(level) = settings.workflow_access {
            let route = target.route(&["actions", "permissions", "access"])?;
            client.put(&route, &json!({ "access_level": level })).await?;
        }
        Ok(repository)
    })
    .await
}

/// What only organizations can have. An internal repository of a user would become a public one.
fn check_account(
    ctx: &ActionContext,
    target: &Target,
    settings: &RepositorySettings,
    kind: &str,
) -> Result<(), ActionError> {
    if kind == ORGANIZATION {
        return Ok(());
    }
    if settings.visibility == Visibility::Internal {
        return Err(ActionError::input(format!(
            "repoVisibility is 'internal', but {} is a personal account, and only organizations of an enterprise have \
             internal repositories; choose 'private' or 'public'",
            target.owner
        )));
    }
    if settings.custom_properties.as_ref().is_some_and(|properties| !properties.is_empty()) {
        ctx.log.warn(format!(
            "Skipping customProperties: {} is a personal account, and only organizations have custom properties",
            target.owner
        ));
    }
    Ok(())
}

/// Who becomes the repository's administrator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Admin<'a> {
    Team(&'a str),
    User(&'a str),
}

impl<'a> Admin<'a> {
    /// The owner of a personal account needs no access to it.
    fn of(access: Option<&'a str>, owner: &str) -> Option<Self> {
        let access = access.filter(|access| !access.is_empty())?;
        let mut parts = access.split('/');
        match (parts.next(), parts.next()) {
            (Some(org), Some(team)) if org == owner => Some(Self::Team(team)),
            _ => (access != owner).then_some(Self::User(access)),
        }
    }
}

async fn check_team(ctx: &ActionContext, client: &Client<'_>, org: &str, team: &str) -> Result<(), ActionError> {
    let route = Route::new(&["orgs", org, "teams", team])?;
    match client.send(&Method::GET, &route, None::<&()>).await {
        Err(error) if error.is_status(404) => Err(ActionError::not_found(format!(
            "Received 'Not Found' from the API; one of org: {org} or team: {team} was not found within GitHub."
        ))),
        // A token that may add teams need not be allowed to look at them.
        Err(error) => {
            let error = error.survivable()?;
            ctx.log.warn(format!("Could not look up the team {org}/{team}, {error}"));
            Ok(())
        }
        Ok(_) => Ok(()),
    }
}

/// The repository if it can only be the one that an earlier run of this task asked for: created since that run said that
/// it would, and still empty but for GitHub's own first commit, where that was asked for.
async fn find_own(
    client: &Client<'_>,
    target: &Target,
    since: DateTime<Utc>,
    auto_init: bool,
) -> Result<Option<NewRepository>, ActionError> {
    #[derive(Deserialize)]
    struct Found {
        created_at: DateTime<Utc>,
        #[serde(flatten)]
        repository: NewRepository,
    }
    let found: Found = match client.get(&Route::new(&["repos", &target.owner, &target.repo])?).await {
        Ok(found) => found,
        Err(error) => return error.survivable().map(|_| None),
    };
    if found.created_at < since - CLOCK_SKEW {
        return Ok(None);
    }
    let commits = Route::new(&["repos", &target.owner, &target.repo, "commits"])?;
    match client.get::<Vec<IgnoredAny>>(&commits).await {
        // GitHub's answer for a repository without commits.
        Err(error) if error.is_status(409) => Ok(Some(found.repository)),
        Err(error) => error.survivable().map(|_| None),
        Ok(commits) => Ok((auto_init && commits.len() == 1).then_some(found.repository)),
    }
}

async fn post_repository(
    ctx: &ActionContext,
    client: &Client<'_>,
    target: &Target,
    settings: &RepositorySettings,
    account_type: &str,
    key: CreateKey,
    content: Option<Content<'_>>,
) -> Result<NewRepository, ActionError> {
    let organization = account_type == ORGANIZATION;
    let route =
        if organization { Route::new(&["orgs", &target.owner, "repos"])? } else { Route::new(&["user", "repos"])? };
    let body = CreateBody {
        members: settings.members(),
        auto_init: settings.auto_init,
        custom_properties: settings.custom_properties.as_ref().filter(|_| organization),
        name: &target.repo,
        private: settings.visibility == Visibility::Private,
        visibility: organization.then_some(settings.visibility),
    };
    // A run that ended before it heard GitHub's answer leaves only its intention behind.
    let key = format!("{}.intended", key.of(target));
    let earlier = ctx.checkpoints.load(&key).await?.and_then(|value| serde_json::from_value(value).ok());
    if earlier.is_none() {
        let now = serde_json::to_value(Utc::now()).map_err(|error| ActionError::failed(error.to_string()))?;
        ctx.checkpoints.succeeded(&key, &now).await?;
    }
    match client.post(&route, &body).await {
        Ok(repository) => Ok(repository),
        Err(error) => {
            let error = error.survivable()?;
            if let Some(since) = earlier
                && error.is_status(422)
                && let Some(repository) = find_own(client, target, since, settings.auto_init == Some(true)).await?
            {
                ctx.log.info(format!(
                    "Going on with the repository {}/{}, which an earlier run of this task created",
                    target.owner, target.repo
                ));
                return Ok(repository);
            }
            let mut reason = error.to_string();
            if error.says_exists()
                && let Some(existing) = existing::look(ctx, client, target, settings, content).await?
            {
                if existing.differences.is_empty() {
                    let same = if content.is_some() { "settings and the same content" } else { "settings" };
                    ctx.log.info(format!(
                        "The repository {target} exists already with the same {same}; nothing is changed"
                    ));
                    return Ok(NewRepository { unchanged: true, ..existing.repository });
                }
                reason =
                    format!("{reason}. It differs from what this step would make: {}", existing.differences.text());
            }
            Err(ActionError::failed(format!("Failed to create the {account_type} repository {target}, {reason}"))
                .with_source(error))
        }
    }
}

async fn set_user(client: &Client<'_>, target: &Target, user: &str, permission: &str) -> Result<(), ApiError> {
    let route = Route::new(&["repos", &target.owner, &target.repo, "collaborators", user])?;
    client.put(&route, &json!({ "permission": permission })).await
}

async fn set_team(client: &Client<'_>, target: &Target, team: &str, permission: &str) -> Result<(), ApiError> {
    let Target { owner, repo, .. } = target;
    let route = Route::new(&["orgs", owner, "teams", team, "repos", owner, repo])?;
    client.put(&route, &json!({ "permission": permission })).await
}

async fn add_collaborators(
    ctx: &ActionContext,
    client: &Client<'_>,
    target: &Target,
    collaborators: &[Collaborator],
) -> Result<(), ActionError> {
    for collaborator in collaborators {
        let (access, name, result) = match collaborator {
            Collaborator::User(given) => {
                (&given.access, &given.user, set_user(client, target, entity_name(&given.user), &given.access).await)
            }
            Collaborator::Team(given) => {
                (&given.access, &given.team, set_team(client, target, entity_name(&given.team), &given.access).await)
            }
        };
        if let Err(error) = result {
            let error = error.survivable()?;
            ctx.log.warn(format!("Skipping {access} access for {name}, {error}"));
        }
    }
    Ok(())
}

/// The name in an entity reference, or the text itself.
fn entity_name(reference: &str) -> &str {
    reference.rfind([':', '/']).map_or(reference, |at| &reference[at + 1..])
}

async fn set_topics(
    ctx: &ActionContext,
    client: &Client<'_>,
    target: &Target,
    topics: &[String],
) -> Result<(), ActionError> {
    let route = Route::new(&["repos", &target.owner, &target.repo, "topics"])?;
    let names: Vec<String> = topics.iter().map(|topic| topic.to_lowercase()).collect();
    if let Err(error) = client.put(&route, &json!({ "names": names })).await {
        let error = error.survivable()?;
        ctx.log.warn(format!("Skipping topics {}, {error}", topics.join(" ")));
    }
    Ok(())
}

async fn set_variables(
    client: &Client<'_>,
    target: &Target,
    variables: &IndexMap<String, String>,
) -> Result<(), ApiError> {
    let Target { owner, repo, .. } = target;
    let all = Route::new(&["repos", owner, repo, "actions", "variables"])?;
    for (name, value) in variables {
        let body = json!({ "name": name, "value": value });
        match client.send(&Method::POST, &all, Some(&body)).await {
            // An earlier run of this task got as far as this.
            Err(error) if error.is_status(409) => {
                let route = Route::new(&["repos", owner, repo, "actions", "variables", name])?;
                client.send(&Method::PATCH, &route, Some(&body)).await?;
            }
            other => {
                other?;
            }
        }
    }
    Ok(())
}

async fn set_oidc(client: &Client<'_>, target: &Target, oidc: &OidcCustomization) -> Result<(), ApiError> {
    #[derive(Serialize)]
    struct Body<'a> {
        #[serde(skip_serializing_if = "Option::is_none")]
        use_default: Option<bool>,
        #[serde(skip_serializing_if = "Option::is_none")]
        include_claim_keys: Option<&'a [String]>,
    }
    let route = Route::new(&["repos", &target.owner, &target.repo, "actions", "oidc", "customization", "sub"])?;
    let body = Body { use_default: oidc.use_default, include_claim_keys: oidc.include_claim_keys.as_deref() };
    client.put(&route, &body).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_becomes_administrator() {
        for (access, owner, expected) in [
            (None, "o", None),
            (Some(""), "o", None),
            (Some("o"), "o", None),
            (Some("u"), "o", Some(Admin::User("u"))),
            (Some("o/t"), "o", Some(Admin::Team("t"))),
        ] {
            assert_eq!(Admin::of(access, owner), expected, "{access:?}");
        }
    }

    #[test]
    fn entity_references_are_stripped() {
        for (reference, name) in
            [("jane", "jane"), ("user:jane", "jane"), ("user:default/jane", "jane"), ("default/jane", "jane")]
        {
            assert_eq!(entity_name(reference), name);
        }
    }
}
