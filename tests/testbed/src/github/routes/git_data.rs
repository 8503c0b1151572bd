//! Git's objects and references over the API.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Answer, Call, Outcome, Refusal};
use crate::github::{
    git::Reference,
    git_objects::{NewCommit, NewEntry, Update},
    state::{Access, Repo},
};

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::Http { status: 422, message: message.into(), errors: None }
}

fn text<'v>(body: &'v Value, name: &str) -> &'v str {
    body[name].as_str().unwrap_or_default()
}

/// As GitHub, which refuses to write into a repository without commits.
async fn writable(call: &Call) -> Result<Repo, Refusal> {
    let repo = call.repo(Access::Write)?;
    match call.shared.store.branches(&repo.owner, &repo.name).await?.is_empty() {
        true => Err(Refusal::new(409, "Git Repository is empty.")),
        false => Ok(repo),
    }
}

pub(super) async fn create_blob(call: Call) -> Outcome {
    let repo = writable(&call).await?;
    let content = text(&call.body, "content");
    let content = match text(&call.body, "encoding") {
        "base64" => STANDARD.decode(content.replace('\n', "")).map_err(|_| invalid("content is not valid Base64"))?,
        _ => content.as_bytes().to_vec(),
    };
    let sha = call.shared.store.write_blob(&repo.owner, &repo.name, &content).await?;
    let url = format!("{}/git/blobs/{sha}", call.urls().repo(&repo));
    Ok(Answer::Json(201, json!({"url": url, "sha": sha})))
}

pub(super) async fn create_tree(call: Call) -> Outcome {
    let repo = writable(&call).await?;
    let store = &call.shared.store;
    let mut entries = Vec::new();
    for entry in call.body["tree"].as_array().into_iter().flatten() {
        let path = text(entry, "path").to_owned();
        if path.is_empty() || path.split('/').any(|part| matches!(part, "" | "." | ".." | ".git")) {
            return Err(invalid("tree.path contains a malformed path component"));
        }
        let sha = match entry["content"].as_str() {
            Some(content) => Some(store.write_blob(&repo.owner, &repo.name, content.as_bytes()).await?),
            None => entry["sha"].as_str().map(str::to_owned),
        };
        entries.push(NewEntry { path, mode: text(entry, "mode").to_owned(), sha });
    }
    let place = (repo.owner.as_str(), repo.name.as_str());
    let sha = store.write_tree(place, call.body["base_tree"].as_str(), &entries).await?;
    let sha = sha.ok_or_else(|| invalid("GitRPC::BadObjectState"))?;
    let url = format!("{}/git", call.urls().repo(&repo));
    let listed = store.tree(&repo.owner, &repo.name, &sha, "").await?.unwrap_or_default();
    let listed: Vec<_> = listed
        .iter()
        .map(|entry| {
            let url = format!("{url}/{}s/{}", entry.kind, entry.sha);
            json!({"path": entry.name, "mode": entry.mode, "type": entry.kind, "sha": entry.sha, "url": url})
        })
        .collect();
    let url = format!("{url}/trees/{sha}");
    Ok(Answer::Json(201, json!({"sha": sha, "url": url, "tree": listed, "truncated": false})))
}

pub(super) async fn create_commit(call: Call) -> Outcome {
    let repo = writable(&call).await?;
    let store = &call.shared.store;
    let parents: Vec<String> =
        call.body["parents"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    let email = format!("{}@users.noreply.github.com", call.login);
    let author = match &call.body["author"] {
        Value::Object(_) => (text(&call.body["author"], "name"), text(&call.body["author"], "email")),
        _ => (call.login.as_str(), email.as_str()),
    };
    let commit =
        NewCommit { tree: text(&call.body, "tree"), parents: &parents, message: text(&call.body, "message"), author };
    let sha = store.write_commit(&repo.owner, &repo.name, &commit).await?;
    let sha = sha.ok_or_else(|| invalid("Tree SHA or parent SHA does not exist"))?;
    let history = store.history((&repo.owner, &repo.name), &sha, None, 0, 1).await?;
    let commit = history.first().ok_or_else(Refusal::not_found)?;
    Ok(Answer::Json(201, call.urls().git_commit(&repo, commit)))
}

pub(super) async fn create_ref(call: Call) -> Outcome {
    let repo = writable(&call).await?;
    let (reference, sha) = (text(&call.body, "ref").to_owned(), text(&call.body, "sha").to_owned());
    if reference.matches('/').count() < 2 || !reference.starts_with("refs/") {
        return Err(invalid("Reference name must start with 'refs' and have at least two slashes"));
    }
    let known = call.shared.store.references(&repo.owner, &repo.name).await?;
    if known.iter().any(|known| known.name == reference) {
        return Err(invalid("Reference already exists"));
    }
    set(&call, &repo, reference, sha, true, 201).await
}

pub(super) async fn update_ref(call: Call) -> Outcome {
    let repo = writable(&call).await?;
    let reference = format!("refs/{}", call.param("ref"));
    let known = call.shared.store.references(&repo.owner, &repo.name).await?;
    if !known.iter().any(|known| known.name == reference) {
        return Err(invalid("Reference does not exist"));
    }
    let sha = text(&call.body, "sha").to_owned();
    set(&call, &repo, reference, sha, call.body["force"] == true, 200).await
}

async fn set(call: &Call, repo: &Repo, reference: String, sha: String, force: bool, status: u16) -> Outcome {
    let place = (repo.owner.as_str(), repo.name.as_str());
    match call.shared.store.set_reference(place, &reference, &sha, force).await? {
        Update::Done => {}
        Update::NoObject => return Err(invalid("Object does not exist")),
        Update::NotForward => return Err(invalid("Update is not a fast forward")),
    }
    call.shared.pushed(&repo.owner, &repo.name).await?;
    let reference = Reference { name: reference, kind: "commit".to_owned(), sha };
    Ok(Answer::Json(status, call.urls().reference(repo, &reference)))
}
