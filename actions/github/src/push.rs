//! Filling a repository with the workspace's files.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use chrono::{DateTime, Utc};
use understudy_scm::git::{Author, PushRequest, init_and_push, is_connection_failure, tree_id};
use understudy_sdk::{ActionContext, ActionError, ErrorName, Workspace};
use url::Url;

use crate::{
    GithubDeps,
    api_commit::{self, Place},
    existing,
    session::Session,
};

/// For the whole push; large trees over slow lines take minutes.
const PUSH_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// What to push and how to sign for it.
#[derive(Debug, Default)]
pub(crate) struct PushSettings {
    pub(crate) source_path: Option<String>,
    pub(crate) default_branch: String,
    pub(crate) message: Option<String>,
    pub(crate) author_name: Option<String>,
    pub(crate) author_email: Option<String>,
}

/// What is on the branch now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pushed {
    /// The branch's commit.
    pub(crate) commit: String,
    /// The branch had this content before.
    pub(crate) unchanged: bool,
}

/// Pushes the files as the default branch's first commit, once per task under the checkpoint `key`. A branch that has the
/// same content already is left as it is.
///
/// # Errors
/// The source path leads nowhere, or the push failed.
pub(crate) async fn push_workspace(
    ctx: &ActionContext,
    deps: &GithubDeps,
    session: &Session<'_>,
    settings: &PushSettings,
    remote_url: &str,
    key: &str,
) -> Result<Pushed, ActionError> {
    let Session { client, target, access } = session;
    check_remote(remote_url, &target.host, &access.api_base_url)?;
    let given = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
    // A run that ended after its push left a branch behind; with the same time this run's commit is the same.
    let time: DateTime<Utc> = ctx.checkpoint(&format!("{key}.time"), || async { Ok(Utc::now()) }).await?;
    let request = PushRequest {
        dir: source_directory(&ctx.workspace, settings.source_path.as_deref())?,
        remote_url: remote_url.to_string(),
        username: "x-access-token".to_string(),
        password: access.current_token().await?,
        branch: settings.default_branch.clone(),
        message: given(&settings.message)
            .or_else(|| given(&deps.default_commit_message))
            .unwrap_or_else(|| "initial commit".to_string()),
        author: Author {
            name: given(&settings.author_name).unwrap_or_else(|| deps.default_author.0.clone()),
            email: given(&settings.author_email).unwrap_or_else(|| deps.default_author.1.clone()),
        },
        time: time.into(),
        timeout: PUSH_TIMEOUT,
    };
    let mut unchanged = ctx.checkpoints.load(key).await?.is_some();
    if unchanged {
        ctx.log.info(format!("An earlier run of this task pushed to {target} already"));
    }
    let found = AtomicBool::new(false);
    let commit = ctx
        .checkpoint(key, || async {
            let (dir, message) = (request.dir.clone(), request.message.clone());
            match init_and_push(request, &ctx.log, &ctx.cancel, || ctx.confirm_claim()).await {
                Err(error) if is_connection_failure(&error) => {
                    ctx.log.warn(format!("{}; committing through GitHub's API instead", error.message()));
                    let place = Place { target, branch: &settings.default_branch, key };
                    api_commit::commit_directory(ctx, client, place, &dir, &message).await
                }
                Err(error) if *error.name() == ErrorName::ConflictError => {
                    let branch = &settings.default_branch;
                    let head = existing::head(client, target, branch).await?;
                    match head {
                        Some(head) if head.tree() == tree_id(&dir, &ctx.log, &ctx.cancel).await? => {
                            ctx.log.info(format!(
                                "The branch {branch} of {target} has the same content already (commit {}); nothing is \
                                 pushed",
                                head.sha
                            ));
                            found.store(true, Ordering::Relaxed);
                            Ok(head.sha)
                        }
                        _ => Err(error.map_message(|text| format!("{text}. Its content is not what this step pushes"))),
                    }
                }
                result => {
                    let pushed = result?;
                    if pushed.already_there {
                        ctx.log.info(format!(
                            "The branch {} of {target} is at this commit already ({}); nothing is pushed",
                            settings.default_branch, pushed.commit
                        ));
                        found.store(true, Ordering::Relaxed);
                    }
                    Ok(pushed.commit)
                }
            }
        })
        .await?;
    unchanged |= found.into_inner();
    Ok(Pushed { commit, unchanged })
}

/// Makes sure that the token is sent where it belongs: to the host the step named or to that of its API, and not in the
/// clear unless the API itself is.
fn check_remote(remote_url: &str, host: &str, api_base_url: &str) -> Result<(), ActionError> {
    let api = Url::parse(api_base_url).ok();
    let remote = Url::parse(remote_url).ok().filter(|remote| {
        let place = (remote.host_str(), remote.port_or_known_default());
        let same = |other: &Url| (other.host_str(), other.port_or_known_default()) == place;
        let named = Url::parse(&format!("{}://{host}", remote.scheme())).ok();
        let clear = api.as_ref().is_some_and(|api| api.scheme() == "http");
        (remote.scheme() == "https" || (remote.scheme() == "http" && clear))
            && (named.as_ref().is_some_and(same) || api.as_ref().is_some_and(same))
    });
    match remote {
        Some(_) => Ok(()),
        None => Err(ActionError::not_allowed(format!(
            "GitHub gave {remote_url} as the repository's clone URL, which is not an https URL on {host}; the token is not \
             sent there. Correct the host name in the server's settings or in the integration"
        ))),
    }
}

/// The directory to push (`getRepoSourceDirectory` of `@backstage/plugin-scaffolder-node` 0.13.7): beneath the workspace
/// whatever `..` or `/` the path starts with.
pub(crate) fn source_directory(workspace: &Workspace, source_path: Option<&str>) -> Result<Workspace, ActionError> {
    let mut parts: Vec<&str> = Vec::new();
    for part in source_path.unwrap_or_default().split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    if parts.is_empty() {
        return Ok(workspace.clone());
    }
    let path = parts.join("/");
    workspace
        .sub(&path)
        .map_err(|error| ActionError::input(format!("Invalid source path '{path}': {error}")).with_source(error))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_token_stays_on_the_host() {
        let public = "https://api.github.com";
        for (remote, host, api, fine) in [
            ("https://github.com/o/r.git", "github.com", public, true),
            ("https://GitHub.com:443/o/r.git", "github.com", public, true),
            ("https://api.github.com/o/r.git", "github.com", public, true),
            ("https://127.0.0.1:7208/o/r.git", "127.0.0.1:7208", "https://127.0.0.1:7208/api/v3", true),
            ("http://127.0.0.1:7208/o/r.git", "127.0.0.1:7208", "http://127.0.0.1:7208/api/v3", true),
            ("http://github.com/o/r.git", "github.com", public, false),
            ("https://github.com:8443/o/r.git", "github.com", public, false),
            ("https://github.com.evil.example/o/r.git", "github.com", public, false),
            ("https://github.com@evil.example/o/r.git", "github.com", public, false),
            ("https://evil.example/o/r.git", "github.com", public, false),
            ("git://github.com/o/r.git", "github.com", public, false),
            ("", "github.com", public, false),
        ] {
            let result = check_remote(remote, host, api);
            assert_eq!(result.is_ok(), fine, "{remote}");
            if let Err(error) = result {
                assert!(error.to_string().starts_with("NotAllowedError: GitHub gave"), "{error}");
            }
        }
    }

    #[test]
    fn the_source_stays_in_the_workspace() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_str().unwrap();
        let workspace = Workspace::create(root).unwrap();
        workspace.create_dir_all("a/b").unwrap();
        std::os::unix::fs::symlink("/etc", dir.path().join("out")).unwrap();
        for (given, expected) in [
            (None, Some("")),
            (Some("./"), Some("")),
            (Some("a"), Some("/a")),
            (Some("./a/b/"), Some("/a/b")),
            (Some("../../a"), Some("/a")),
            (Some("/a"), Some("/a")),
            (Some("a/../../a/b"), Some("/a/b")),
            (Some("missing"), None),
            (Some("out"), None),
        ] {
            let found = source_directory(&workspace, given);
            match expected {
                Some(tail) => {
                    let expected = format!("{}{tail}", workspace.root());
                    assert_eq!(found.unwrap().root().as_str(), expected, "{given:?}");
                }
                None => assert!(found.unwrap_err().message().starts_with("Invalid source path"), "{given:?}"),
            }
        }
    }
}
