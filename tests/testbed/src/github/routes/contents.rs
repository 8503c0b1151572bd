//! Commits, archives and files.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Answer, Call, Outcome, Refusal, branches::page};
use crate::github::{
    git::{Entry, SeedFile},
    state::{Access, Download, Repo},
};

async fn is_empty(call: &Call, repo: &Repo) -> Result<bool, Refusal> {
    Ok(call.shared.store.branches(&repo.owner, &repo.name).await?.is_empty())
}

/// The commit that `reference` names.
async fn resolved(call: &Call, repo: &Repo, reference: &str) -> Result<Option<String>, Refusal> {
    Ok(call.shared.store.resolve(&repo.owner, &repo.name, reference).await?)
}

pub(super) async fn commits(call: Call) -> Outcome {
    let repo = call.repo(Access::Read)?;
    if is_empty(&call, &repo).await? {
        return Err(Refusal::new(409, "Git Repository is empty."));
    }
    let from = call.query("sha").unwrap_or(&repo.default_branch);
    let sha = resolved(&call, &repo, from).await?.ok_or_else(Refusal::not_found)?;
    let (skip, count) = page(&call);
    let place = (repo.owner.as_str(), repo.name.as_str());
    let history = call.shared.store.history(place, &sha, call.query("path"), skip, count).await?;
    Ok(Answer::Json(200, history.iter().map(|commit| call.urls().commit(&repo, commit)).collect()))
}

pub(super) async fn commit(call: Call) -> Outcome {
    let repo = call.repo(Access::Read)?;
    if is_empty(&call, &repo).await? {
        return Err(Refusal::new(409, "Git Repository is empty."));
    }
    let reference = call.param("ref");
    let missing = || {
        let message = format!("No commit found for SHA: {reference}");
        Refusal::Http { status: 422, message, errors: None }
    };
    let sha = resolved(&call, &repo, reference).await?.ok_or_else(missing)?;
    if call.accept.contains("sha") {
        return Ok(Answer::Raw("application/vnd.github.v3.sha", sha.into()));
    }
    let history = call.shared.store.history((&repo.owner, &repo.name), &sha, None, 0, 1).await?;
    let commit = history.first().ok_or_else(missing)?;
    Ok(Answer::Json(200, call.urls().commit(&repo, commit)))
}

pub(super) async fn status(call: Call) -> Outcome {
    let repo = call.repo(Access::Read)?;
    let sha = resolved(&call, &repo, call.param("ref")).await?.ok_or_else(Refusal::not_found)?;
    let url = format!("{}/commits/{sha}", call.urls().repo(&repo));
    let state = call.state();
    let status = json!({
        "state": "pending",
        "statuses": [],
        "sha": sha,
        "total_count": 0,
        "repository": call.urls().minimal_repository(&state, &repo),
        "commit_url": url,
        "url": format!("{url}/status"),
    });
    Ok(Answer::Json(200, status))
}

/// Answers with the place of the archive, which is fetched from another host with a key of its own, as with github.com.
pub(super) async fn tarball(call: Call) -> Outcome {
    let repo = call.repo(Access::Read)?;
    let reference = match call.param("ref") {
        "" => &repo.default_branch,
        named => named,
    };
    let sha = resolved(&call, &repo, reference).await?.ok_or_else(Refusal::not_found)?;
    let key = Uuid::new_v4().simple().to_string();
    let place = format!("{}/{}/legacy.tar.gz/{sha}?token={key}", call.urls().archives, repo.full_name());
    let download = Download { owner: repo.owner, repo: repo.name, sha };
    call.state().downloads.insert(key, download);
    Ok(Answer::Found(place))
}

/// How the caller wants content.
#[derive(PartialEq)]
enum Form {
    Json,
    Raw,
    Object,
}

fn form(accept: &str) -> Form {
    if accept.contains(".raw") {
        Form::Raw
    } else if accept.contains(".object") {
        Form::Object
    } else {
        Form::Json
    }
}

pub(super) async fn get(call: Call) -> Outcome {
    let repo = call.repo(Access::Read)?;
    if is_empty(&call, &repo).await? {
        return Err(Refusal::new(404, "This repository is empty."));
    }
    let reference = call.query("ref").filter(|reference| !reference.is_empty()).unwrap_or(&repo.default_branch);
    let missing = || Refusal::new(404, format!("No commit found for the ref {reference}"));
    let sha = resolved(&call, &repo, reference).await?.ok_or_else(missing)?;
    let path = call.param("path").trim_matches('/');
    if path.split('/').any(|part| part == "..") {
        return Err(Refusal::not_found());
    }
    match found(&call, &repo, &sha, path).await? {
        Found::File(entry) => file(&call, &repo, reference, path, &entry).await,
        Found::Directory(entries) => {
            let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
            let entries: Vec<_> = entries
                .iter()
                .map(|entry| call.urls().content(&repo, reference, &format!("{prefix}{}", entry.name), entry))
                .collect();
            if form(&call.accept) != Form::Object {
                return Ok(Answer::Json(200, Value::Array(entries)));
            }
            let name = path.rsplit('/').next().unwrap_or_default().to_owned();
            let entry = Entry { mode: "040000".to_owned(), kind: "tree".to_owned(), sha, size: 0, name };
            let mut object = call.urls().content(&repo, reference, path, &entry);
            object["entries"] = Value::Array(entries);
            Ok(Answer::Json(200, object))
        }
    }
}

enum Found {
    File(Entry),
    Directory(Vec<Entry>),
}

async fn found(call: &Call, repo: &Repo, sha: &str, path: &str) -> Result<Found, Refusal> {
    let store = &call.shared.store;
    if let Some(entries) = store.tree(&repo.owner, &repo.name, sha, path).await? {
        return Ok(Found::Directory(entries));
    }
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    let siblings = store.tree(&repo.owner, &repo.name, sha, parent).await?.unwrap_or_default();
    siblings.into_iter().find(|entry| entry.name == name).map(Found::File).ok_or_else(Refusal::not_found)
}

async fn file(call: &Call, repo: &Repo, reference: &str, path: &str, entry: &Entry) -> Outcome {
    let mut object = call.urls().content(repo, reference, path, entry);
    if entry.kind == "commit" {
        object["submodule_git_url"] = Value::Null;
        return Ok(Answer::Json(200, object));
    }
    let content = call.shared.store.blob(&repo.owner, &repo.name, &entry.sha).await?;
    if form(&call.accept) == Form::Raw {
        return Ok(Answer::Raw("application/vnd.github.v3.raw; charset=utf-8", content.into()));
    }
    if entry.mode == "120000" {
        object["target"] = json!(String::from_utf8_lossy(&content));
        return Ok(Answer::Json(200, object));
    }
    // GitHub breaks the text after every 60 characters.
    let encoded = STANDARD.encode(&content);
    let lines: Vec<_> = encoded.as_bytes().chunks(60).map(String::from_utf8_lossy).collect();
    object["encoding"] = json!("base64");
    object["content"] = json!(lines.iter().map(|line| format!("{line}\n")).collect::<String>());
    Ok(Answer::Json(200, object))
}

/// Creates or replaces one file.
pub(super) async fn put(call: Call) -> Outcome {
    let repo = call.repo(Access::Write)?;
    let store = &call.shared.store;
    let place = (repo.owner.as_str(), repo.name.as_str());
    let branch = call.body["branch"].as_str().unwrap_or(&repo.default_branch).to_owned();
    let path = call.param("path").trim_matches('/').to_owned();
    let invalid =
        |field: &str, message: &str| Refusal::invalid("Invalid request.", "Content", field, "invalid", message);
    if path.is_empty() || path.split('/').any(|part| matches!(part, "" | "." | ".." | ".git")) {
        return Err(invalid("path", "path contains a malformed path component"));
    }
    let content = STANDARD.decode(call.body["content"].as_str().unwrap_or_default().replace('\n', ""));
    let content = content.map_err(|_| invalid("content", "content is not valid Base64"))?;

    let head = resolved(&call, &repo, &format!("heads/{branch}")).await?;
    if head.is_none() && !is_empty(&call, &repo).await? {
        return Err(Refusal::new(404, format!("Branch {branch} not found")));
    }
    let before = match &head {
        Some(sha) => match found(&call, &repo, sha, &path).await {
            Ok(Found::File(entry)) => Some(entry.sha),
            Ok(Found::Directory(_)) => return Err(invalid("path", "path is a directory")),
            Err(Refusal::Http { status: 404, .. }) => None,
            Err(refusal) => return Err(refusal),
        },
        None => None,
    };
    match (&before, call.body["sha"].as_str()) {
        (Some(_), None) => return Err(invalid("sha", "\"sha\" wasn't supplied.")),
        (Some(known), Some(sent)) if known != sent => {
            return Err(Refusal::new(409, format!("{path} does not match {sent}")));
        }
        _ => {}
    }
    let person = |role: &str, field: &str| call.body[role][field].as_str().map(str::to_owned);
    let author = person("author", "name").or_else(|| person("committer", "name")).unwrap_or_else(|| call.login.clone());
    let email = person("author", "email").or_else(|| person("committer", "email"));
    let email = email.unwrap_or_else(|| format!("{}@users.noreply.github.com", call.login));
    let message = call.body["message"].as_str().unwrap_or_default();
    let file = SeedFile { path: path.clone(), content, executable: false };
    let sha = store.add_file(place, &branch, &file, message, (&author, &email)).await?;
    let created = before.is_none();
    call.shared.pushed(&repo.owner, &repo.name).await?;

    let history = store.history(place, &sha, None, 0, 1).await?;
    let commit = history.first().ok_or_else(Refusal::not_found)?;
    let Found::File(entry) = found(&call, &repo, &sha, &path).await? else { return Err(Refusal::not_found()) };
    let body = json!({
        "content": call.urls().content(&repo, &branch, &path, &entry),
        "commit": call.urls().git_commit(&repo, commit),
    });
    Ok(Answer::Json(if created { 201 } else { 200 }, body))
}
