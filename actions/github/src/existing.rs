//! A repository that is there although a step was to make it: is it what the step would have made?

use serde::Deserialize;
use serde_json::{Map, Value};
use understudy_scm::git::tree_id;
use understudy_sdk::{ActionContext, ActionError, Workspace};

use crate::{
    client::{Client, Route},
    create::{NewRepository, RepositorySettings},
    differences::Differences,
    error::ApiError,
    inputs::Visibility,
    target::Target,
};

/// Files that a branch is to hold and nothing else.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Content<'a> {
    pub(crate) dir: &'a Workspace,
    pub(crate) branch: &'a str,
}

/// A repository that exists, and how it differs.
#[derive(Debug)]
pub(crate) struct Existing {
    pub(crate) repository: NewRepository,
    pub(crate) differences: Differences,
}

/// A repository as GitHub tells of it. What is absent (the token may not see it, an old server) is not compared.
#[derive(Deserialize)]
struct Known {
    private: bool,
    visibility: Option<Visibility>,
    topics: Option<Vec<String>>,
    custom_properties: Option<Map<String, Value>>,
    #[serde(flatten)]
    repository: NewRepository,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// Looks at the repository; `None` when it can't be seen. Access of people and teams, the OIDC subject, the subscription and
/// the values of secrets are not compared.
///
/// # Errors
/// The task was cancelled, or the workspace can't be read.
pub(crate) async fn look(
    ctx: &ActionContext,
    client: &Client<'_>,
    target: &Target,
    settings: &RepositorySettings,
    content: Option<Content<'_>>,
) -> Result<Option<Existing>, ActionError> {
    let known: Known = match client.get(&target.route(&[])?).await {
        Ok(known) => known,
        Err(error) => return error.survivable().map(|_| None),
    };
    let mut differences = compare_settings(&known, settings)?;
    if differences.is_empty() {
        compare_actions(client, target, settings, &mut differences).await?;
    }
    if differences.is_empty()
        && let Some(content) = content
    {
        compare_content(ctx, client, target, content, &mut differences).await?;
    }
    Ok(Some(Existing { repository: known.repository, differences }))
}

fn compare_settings(known: &Known, settings: &RepositorySettings) -> Result<Differences, ActionError> {
    let mut found = Differences::default();
    let fallback = if known.private { Visibility::Private } else { Visibility::Public };
    found.compare("visibility", &known.visibility.unwrap_or(fallback), &settings.visibility);
    let asked = serde_json::to_value(settings.members()).map_err(|error| ActionError::failed(error.to_string()))?;
    for (name, asked) in asked.as_object().into_iter().flatten() {
        match known.rest.get(name) {
            Some(Value::Null) if asked == "" => {}
            Some(there) => found.compare(name, there, asked),
            None => {}
        }
    }
    if let Some(topics) = &settings.topics {
        let asked = topics.iter().map(|topic| topic.to_lowercase());
        found.compare_sets("topics", known.topics.iter().flatten().cloned(), asked);
    }
    // Personal accounts have none.
    if let Some(there) = &known.custom_properties {
        for (name, asked) in settings.custom_properties.iter().flatten() {
            let asked = serde_json::to_value(asked).map_err(|error| ActionError::failed(error.to_string()))?;
            found.compare(&format!("the custom property {name}"), there.get(name).unwrap_or(&Value::Null), &asked);
        }
    }
    Ok(found)
}

/// Variables with their values, secrets by name. Values don't go into the text.
async fn compare_actions(
    client: &Client<'_>,
    target: &Target,
    settings: &RepositorySettings,
    found: &mut Differences,
) -> Result<(), ActionError> {
    #[derive(Deserialize)]
    struct Variable {
        value: String,
    }
    for (name, value) in &settings.variables {
        match client.get::<Variable>(&target.route(&["actions", "variables", name])?).await {
            Ok(known) if known.value == *value => {}
            Ok(_) => found.add(format!("the variable {name} has another value")),
            Err(error) if error.is_status(404) => found.add(format!("the variable {name} is missing")),
            Err(error) => return Err(error.into()),
        }
    }
    for name in settings.secrets.keys() {
        let route = target.route(&["actions", "secrets", name])?;
        match client.send(&http::Method::GET, &route, None::<&()>).await {
            Ok(_) => {}
            Err(error) if error.is_status(404) => found.add(format!("the secret {name} is missing")),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

async fn compare_content(
    ctx: &ActionContext,
    client: &Client<'_>,
    target: &Target,
    content: Content<'_>,
    found: &mut Differences,
) -> Result<(), ActionError> {
    match head(client, target, content.branch).await {
        Ok(Some(head)) if head.tree() == tree_id(content.dir, &ctx.log, &ctx.cancel).await? => {}
        Ok(Some(_)) => found.add(format!("its branch {} has other content", content.branch)),
        Ok(None) => found.add(format!("it has no branch {}", content.branch)),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// A branch's newest commit.
#[derive(Deserialize)]
pub(crate) struct Head {
    pub(crate) sha: String,
    commit: HeadCommit,
}

#[derive(Deserialize)]
struct HeadCommit {
    tree: HeadTree,
}

#[derive(Deserialize)]
struct HeadTree {
    sha: String,
}

impl Head {
    /// Hash of the commit's tree: the same for the same content.
    pub(crate) fn tree(&self) -> &str {
        &self.commit.tree.sha
    }
}

/// A branch's newest commit; `None` when there is no such branch.
///
/// # Errors
/// What GitHub refuses.
pub(crate) async fn head(client: &Client<'_>, target: &Target, branch: &str) -> Result<Option<Head>, ApiError> {
    let route = Route::new(&["repos", &target.owner, &target.repo, "commits", &format!("heads/{branch}")])?;
    match client.get(&route).await {
        Ok(head) => Ok(Some(head)),
        // No such branch; no commits at all; no such commit.
        Err(error) if [404, 409, 422].iter().any(|status| error.is_status(*status)) => Ok(None),
        Err(error) => Err(error),
    }
}
