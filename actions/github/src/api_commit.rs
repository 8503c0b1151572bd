//! A commit through GitHub's GraphQL API, for networks that let GitHub's API through but not git.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::json;
use understudy_scm::git::{TrackedFile, tracked_files};
use understudy_sdk::{ActionContext, ActionError, Workspace};

use crate::{
    client::{Client, Route},
    target::Target,
};

/// GitHub refuses larger requests, and all files travel in one.
const MAX_BYTES: u64 = 30 * 1024 * 1024;
/// The file that gives an empty repository the first commit that the API insists on.
const PLACEHOLDER: &str = ".gitkeep";
const INITIALIZE: &str = "Initialize repository";
const MUTATION: &str =
    "mutation ($input: CreateCommitOnBranchInput!) { createCommitOnBranch(input: $input) { commit { oid } } }";

/// Where to commit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) target: &'a Target,
    pub(crate) branch: &'a str,
    /// Prefix of checkpoint keys.
    pub(crate) key: &'a str,
}

#[derive(Serialize)]
struct Addition {
    path: String,
    contents: String,
}

/// Commits a directory's files to a repository without commits; gives the commit's hash. Author is the token's user, and
/// the API knows neither executable files nor links: the log says so.
///
/// # Errors
/// The repository has commits already, the files are too large, or GitHub refused.
pub(crate) async fn commit_directory(
    ctx: &ActionContext,
    client: &Client<'_>,
    place: Place<'_>,
    dir: &Workspace,
    message: &str,
) -> Result<String, ActionError> {
    let files = tracked_files(dir, &ctx.log, &ctx.cancel).await?;
    let total: u64 = files.iter().map(|file| file.size).sum();
    if total > MAX_BYTES {
        return Err(ActionError::failed(format!(
            "The files are too large for GitHub's API ({total} bytes, {MAX_BYTES} are allowed); let git reach the host"
        )));
    }
    let files = representable(ctx, files);
    let keeps_placeholder = files.iter().any(|file| file.path == PLACEHOLDER);
    let head = ctx.checkpoint(&format!("{}.base", place.key), || initialize(client, place)).await?;
    let additions = read(dir.clone(), files).await?;
    let (headline, body) = message.split_once('\n').unwrap_or((message, ""));
    let input = json!({
        "branch": {
            "repositoryNameWithOwner": format!("{}/{}", place.target.owner, place.target.repo),
            "branchName": place.branch,
        },
        "message": {"headline": headline, "body": body.trim_start()},
        "expectedHeadOid": head,
        "fileChanges": {
            "additions": additions,
            "deletions": if keeps_placeholder { json!([]) } else { json!([{"path": PLACEHOLDER}]) },
        },
    });
    ctx.confirm_claim().await?;
    let answer: Answer =
        client.post(&Route::Graphql, &json!({"query": MUTATION, "variables": {"input": input}})).await?;
    answer.commit()
}

/// What the API can carry; a word in the log on the rest.
fn representable(ctx: &ActionContext, files: Vec<TrackedFile>) -> Vec<TrackedFile> {
    let (links, files): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| file.symlink);
    let executables: Vec<_> = files.iter().filter(|file| file.executable).map(|file| file.path.as_str()).collect();
    if !executables.is_empty() {
        ctx.log.warn(format!("GitHub's API can't mark files as executable: {}", executables.join(", ")));
    }
    if !links.is_empty() {
        let links: Vec<_> = links.iter().map(|file| file.path.as_str()).collect();
        ctx.log.warn(format!("GitHub's API can't commit links, they are left out: {}", links.join(", ")));
    }
    files
}

async fn read(dir: Workspace, files: Vec<TrackedFile>) -> Result<Vec<Addition>, ActionError> {
    let read = move || {
        files
            .into_iter()
            .map(|file| {
                let content = dir.read(file.path.as_str())?;
                Ok(Addition { path: file.path.into_string(), contents: STANDARD.encode(content) })
            })
            .collect()
    };
    tokio::task::spawn_blocking(read)
        .await
        .map_err(|_| ActionError::failed("reading the files to commit ended unexpectedly"))?
}

/// Gives the empty repository its branch; gives the commit's hash.
async fn initialize(client: &Client<'_>, place: Place<'_>) -> Result<String, ActionError> {
    #[derive(Deserialize)]
    struct Created {
        commit: Commit,
    }
    #[derive(Deserialize)]
    struct Commit {
        sha: String,
    }
    #[derive(Deserialize)]
    struct Known {
        sha: String,
        commit: Text,
    }
    #[derive(Deserialize)]
    struct Text {
        message: String,
    }
    let Target { owner, repo, .. } = place.target;
    match client.get::<Vec<Known>>(&Route::new(&["repos", owner, repo, "commits"])?).await {
        // GitHub's answer for a repository without commits.
        Err(error) if error.is_status(409) => {}
        Err(error) => return Err(error.into()),
        Ok(known) => {
            return match &known[..] {
                // An earlier run of this task got as far as this.
                [only] if only.commit.message == INITIALIZE => Ok(only.sha.clone()),
                _ => Err(ActionError::conflict(format!(
                    "The repository {owner}/{repo} has commits already and is not overwritten; the push may have \
                     succeeded although its answer was lost"
                ))),
            };
        }
    }
    let body = json!({"message": INITIALIZE, "content": "", "branch": place.branch});
    let route = Route::new(&["repos", owner, repo, "contents", PLACEHOLDER])?;
    let created: Created = client.put_for(&route, &body).await?;
    Ok(created.commit.sha)
}

#[derive(Deserialize)]
struct Answer {
    data: Option<Data>,
    #[serde(default)]
    errors: Vec<GraphqlError>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    create_commit_on_branch: Option<Payload>,
}

#[derive(Deserialize)]
struct Payload {
    commit: Option<NewCommit>,
}

#[derive(Deserialize)]
struct NewCommit {
    oid: String,
}

#[derive(Deserialize)]
struct GraphqlError {
    message: String,
}

impl Answer {
    fn commit(self) -> Result<String, ActionError> {
        let commit = self.data.and_then(|data| data.create_commit_on_branch?.commit);
        match commit {
            Some(commit) if self.errors.is_empty() => Ok(commit.oid),
            _ => {
                let errors: Vec<_> = self.errors.into_iter().map(|error| error.message).collect();
                let errors = if errors.is_empty() { "it gave no reason".to_string() } else { errors.join("; ") };
                Err(ActionError::failed(format!("GitHub's API did not take the commit: {errors}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::Value;
    use understudy_scm::GithubAccess;
    use understudy_sdk::Secret;
    use wiremock::{
        Mock, MockServer, ResponseTemplate,
        matchers::{header, method, path},
    };

    use super::*;
    use crate::testing::Bench;

    async fn server(commits: ResponseTemplate, answer: Value) -> MockServer {
        let server = MockServer::start().await;
        let created = json!({"content": {}, "commit": {"sha": "base0"}});
        for (verb, at, answer) in [
            ("GET", "/api/v3/repos/o/r/commits", commits),
            ("PUT", "/api/v3/repos/o/r/contents/.gitkeep", ResponseTemplate::new(201).set_body_json(created)),
            ("POST", "/api/graphql", ResponseTemplate::new(200).set_body_json(answer)),
        ] {
            let mock = Mock::given(method(verb)).and(path(at)).and(header("authorization", "Bearer tok"));
            mock.respond_with(answer).mount(&server).await;
        }
        server
    }

    fn empty() -> ResponseTemplate {
        ResponseTemplate::new(409).set_body_json(json!({"message": "Git Repository is empty."}))
    }

    async fn commit(bench: &Bench, server: &MockServer) -> Result<String, ActionError> {
        let access = GithubAccess::with_token(format!("{}/api/v3", server.uri()), Secret::new("tok"));
        let client = Client::new(reqwest::Client::new(), &access, &bench.ctx)?;
        let target = Target { host: "github.com".into(), owner: "o".into(), repo: "r".into() };
        let place = Place { target: &target, branch: "main", key: "k" };
        commit_directory(&bench.ctx, &client, place, &bench.ctx.workspace, "Start\n\nWith care").await
    }

    fn taken() -> Value {
        json!({"data": {"createCommitOnBranch": {"commit": {"oid": "commit1"}}}})
    }

    #[tokio::test]
    async fn the_files_are_committed_once() {
        let bench = Bench::new();
        let workspace = &bench.ctx.workspace;
        workspace.write("README.md", b"hello", 0o644).unwrap();
        workspace.write("bin/run", b"#!", 0o755).unwrap();
        workspace.write("x.log", b"", 0o644).unwrap();
        workspace.write(".gitignore", b"*.log", 0o644).unwrap();
        workspace.symlink("README.md", "link").unwrap();
        let server = server(empty(), taken()).await;
        assert_eq!(commit(&bench, &server).await.unwrap(), "commit1");
        let requests = server.received_requests().await.unwrap();
        let sent: Value = requests[2].body_json().unwrap();
        assert_eq!(
            sent["variables"]["input"],
            json!({
                "branch": {"repositoryNameWithOwner": "o/r", "branchName": "main"},
                "message": {"headline": "Start", "body": "With care"},
                "expectedHeadOid": "base0",
                "fileChanges": {
                    "additions": [
                        {"path": ".gitignore", "contents": "Ki5sb2c="},
                        {"path": "README.md", "contents": "aGVsbG8="},
                        {"path": "bin/run", "contents": "IyE="},
                    ],
                    "deletions": [{"path": ".gitkeep"}],
                },
            })
        );
        assert_eq!(
            bench.log(),
            [
                "Warn GitHub's API can't mark files as executable: bin/run",
                "Warn GitHub's API can't commit links, they are left out: link",
            ]
        );
        // The branch that the first run made is known to the second.
        commit(&bench, &server).await.unwrap();
        assert_eq!(server.received_requests().await.unwrap().len(), 4);
    }

    #[tokio::test]
    async fn only_its_own_first_commit_is_built_upon() {
        for (message, fine) in [(INITIALIZE, true), ("theirs", false)] {
            let known = json!([{"sha": "known0", "commit": {"message": message}}]);
            let server = server(ResponseTemplate::new(200).set_body_json(known), taken()).await;
            let result = commit(&Bench::new(), &server).await;
            assert_eq!(result.is_ok(), fine, "{message}");
            if let Err(error) = result {
                assert!(error.to_string().starts_with("ConflictError: The repository o/r has commits already"));
            }
        }
    }

    #[tokio::test]
    async fn refusals_of_graphql_are_told() {
        let refused = json!({"data": {"createCommitOnBranch": null}, "errors": [{"message": "Branch is protected"}]});
        for (answer, text) in [(refused, "Branch is protected"), (json!({"data": null}), "it gave no reason")] {
            let server = server(empty(), answer).await;
            let error = commit(&Bench::new(), &server).await.unwrap_err();
            assert_eq!(error.message(), format!("GitHub's API did not take the commit: {text}"));
        }
    }

    #[tokio::test]
    async fn too_many_bytes_are_refused_before_anything_is_asked() {
        let bench = Bench::new();
        bench.ctx.workspace.write("big", &vec![0; usize::try_from(MAX_BYTES).unwrap() + 1], 0o644).unwrap();
        let server = server(empty(), taken()).await;
        let error = commit(&bench, &server).await.unwrap_err();
        assert!(error.message().starts_with("The files are too large for GitHub's API"), "{error}");
        assert!(server.received_requests().await.unwrap().is_empty());
    }
}
