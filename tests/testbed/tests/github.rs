//! The GitHub double, used as its clients use GitHub.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use crypto_box::{PublicKey, aead::OsRng};
use serde_json::{Value, json};
use understudy_testbed::{
    Error,
    github::{Access, DEFAULT_TOKEN, Fault, GithubDouble, GithubOptions, SeedFile, Token},
    http::Client,
    programs,
};

async fn double() -> GithubDouble {
    GithubDouble::start(GithubOptions::default()).await.unwrap()
}

fn assert_clean(github: &GithubDouble) {
    assert_eq!(github.violations(), Vec::<String>::new());
}

/// A work tree with one commit on `main`.
async fn work_tree(github: &GithubDouble, dir: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    git(github, DEFAULT_TOKEN, dir, &["init", "--quiet", "--initial-branch=main"]).await.unwrap();
    git(github, DEFAULT_TOKEN, dir, &["add", "--all"]).await.unwrap();
    commit(github, dir, "first").await;
}

async fn commit(github: &GithubDouble, dir: &Path, message: &str) {
    let args =
        ["-c", "user.name=T", "-c", "user.email=t@t.invalid", "commit", "--quiet", "--allow-empty", "-m", message];
    git(github, DEFAULT_TOKEN, dir, &args).await.unwrap();
}

async fn git(github: &GithubDouble, token: &str, dir: &Path, args: &[&str]) -> understudy_testbed::Result<Vec<u8>> {
    let mut command = github.git(token);
    let run = programs::output(command.current_dir(dir).args(args));
    // A client that waits for ever is a failure, not a reason to wait with it.
    tokio::time::timeout(Duration::from_secs(180), run).await.expect("git ends in time")
}

fn url(github: &GithubDouble, repo: &str) -> String {
    format!("{}/{repo}.git", github.web_url())
}

#[tokio::test]
async fn a_created_repository_takes_a_push_and_gives_it_back() {
    let github = double().await;
    let client = github.client().unwrap();
    let created = client.post("/user/repos", &json!({"name": "app", "private": true})).await.unwrap();
    let created = created.expect_json(201).unwrap();
    assert_eq!(created["clone_url"], url(&github, "octocat/app"));
    assert_eq!(created["default_branch"], "main");

    let dir = tempfile::tempdir().unwrap();
    let work = dir.path().join("work");
    work_tree(&github, &work, &[("README.md", "hello\n"), ("a/b.txt", "deep\n")]).await;
    fs::write(work.join("run.sh"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(work.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    // Larger than one chunk, so that the client sends it with chunked encoding.
    fs::write(work.join("big.bin"), pseudo_random(3 << 20)).unwrap();
    git(&github, DEFAULT_TOKEN, &work, &["add", "--all"]).await.unwrap();
    commit(&github, &work, "second").await;

    let target = url(&github, "octocat/app");
    let refused = git(&github, "wrong", &work, &["push", "--quiet", &target, "main"]).await.unwrap_err();
    assert!(refused.to_string().contains("Authentication failed"), "{refused}");
    assert!(github.branches("octocat", "app").await.unwrap().is_empty());

    git(&github, DEFAULT_TOKEN, &work, &["push", "--quiet", &target, "main"]).await.unwrap();
    let head = String::from_utf8(git(&github, DEFAULT_TOKEN, &work, &["rev-parse", "HEAD"]).await.unwrap()).unwrap();
    assert_eq!(github.branches("octocat", "app").await.unwrap(), [("main".to_owned(), head.trim().to_owned())]);

    let back = dir.path().join("back");
    github.clone_to(&back, "octocat", "app", None).await.unwrap();
    assert_eq!(fs::read_to_string(back.join("a/b.txt")).unwrap(), "deep\n");
    assert_eq!(fs::read(back.join("big.bin")).unwrap(), pseudo_random(3 << 20));
    assert_eq!(fs::metadata(back.join("run.sh")).unwrap().permissions().mode() & 0o111, 0o111);

    let pushes: Vec<_> =
        github.requests().into_iter().filter(|request| request.path.ends_with("git-receive-pack")).collect();
    assert_eq!(pushes.last().map(|push| (push.status, push.scheme.as_deref())), Some((200, Some("Basic"))));
    let first = github.requests().into_iter().find(|request| request.path.contains("info/refs")).unwrap();
    assert_eq!((first.status, first.scheme), (401, None));
    assert!(!format!("{:?}", github.requests()).contains(DEFAULT_TOKEN));
    assert_clean(&github);
}

fn pseudo_random(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..length).map(step).collect()
}

#[tokio::test]
async fn tokens_are_checked() {
    let github = double().await;
    let plain = Client::with_ca(github.api_url(), github.ca_pem()).unwrap();
    let table = [
        (None, 401, "Requires authentication"),
        (Some("token nonsense".to_owned()), 401, "Bad credentials"),
        (Some(format!("Digest {DEFAULT_TOKEN}")), 401, "Bad credentials"),
    ];
    for (header, status, message) in table {
        let client = header.iter().fold(plain.clone(), |client, value| client.authorized(value));
        let body = client.get("/user").await.unwrap().expect_json(status).unwrap();
        assert_eq!(body["message"], message, "{header:?}");
    }
    for header in [format!("token {DEFAULT_TOKEN}"), format!("Bearer {DEFAULT_TOKEN}")] {
        let user = plain.clone().authorized(header).get("/user").await.unwrap().expect_json(200).unwrap();
        assert_eq!(user["login"], "octocat");
    }
    github.revoke_token(DEFAULT_TOKEN);
    let body = plain.authorized(format!("token {DEFAULT_TOKEN}")).get("/user").await.unwrap();
    body.expect_json(401).unwrap();
    assert_clean(&github);
}

#[tokio::test]
async fn a_certificate_of_another_ca_is_refused() {
    let (one, other) = (double().await, double().await);
    let client = Client::with_ca(one.api_url(), other.ca_pem()).unwrap();
    assert!(matches!(client.get("/user").await, Err(Error::Http { .. })));
}

#[tokio::test]
async fn everything_that_publishing_needs() {
    let options = GithubOptions::default().user("octocat").user("u1").user("outsider").team("acme", "t2", &[]);
    let github = GithubDouble::start(options).await.unwrap();
    let client = github.client().unwrap();
    let get = async |path: &str| client.get(path).await.unwrap().expect_json(200).unwrap();
    let put = async |path: &str, body: Value| client.put(path, &body).await.unwrap();

    assert_eq!(get("/users/acme").await["type"], "Organization");
    assert_eq!(get("/users/octocat").await["type"], "User");
    assert_eq!(get("/orgs/acme").await["login"], "acme");
    assert_eq!(get("/orgs/acme/teams/platform").await["slug"], "platform");
    let body = json!({
        "allow_auto_merge": false, "allow_merge_commit": true, "allow_rebase_merge": true, "allow_squash_merge": true,
        "allow_update_branch": false, "delete_branch_on_merge": false, "description": "desc", "homepage": "http://h",
        "name": "r", "private": true, "squash_merge_commit_message": "COMMIT_MESSAGES",
        "squash_merge_commit_title": "COMMIT_OR_PR_TITLE", "visibility": "private", "auto_init": true,
    });
    let created = client.post("/orgs/acme/repos", &body).await.unwrap().expect_json(201).unwrap();
    assert_eq!(created["full_name"], "acme/r");
    assert_eq!(get("/repos/Acme/R").await, get("/repos/acme/r").await);

    let repo = "/repos/acme/r";
    assert_eq!(put(&format!("/orgs/acme/teams/platform{repo}"), json!({"permission": "admin"})).await.status, 204);
    assert_eq!(put(&format!("/orgs/acme/teams/t2{repo}"), json!({"permission": "push"})).await.status, 204);
    assert_eq!(put(&format!("{repo}/collaborators/u1"), json!({"permission": "push"})).await.status, 201);
    assert_eq!(
        put(&format!("{repo}/topics"), json!({"names": ["a", "b"]})).await.expect_json(200).unwrap()["names"],
        json!(["a", "b"])
    );
    let variable = json!({"name": "V", "value": "1"});
    let variables = format!("{repo}/actions/variables");
    assert_eq!(client.post(&variables, &variable).await.unwrap().status, 201);
    assert_eq!(client.post(&variables, &variable).await.unwrap().status, 409);
    let update = async |name: &str| {
        let body = json!({"name": name, "value": "2"});
        client.send(reqwest::Method::PATCH, &format!("{variables}/{name}"), Some(&body)).await.unwrap().status
    };
    assert_eq!((update("v").await.as_u16(), update("W").await.as_u16()), (204, 404));
    assert_eq!(get(&format!("{variables}/V")).await["value"], "2");

    let key = get(&format!("{repo}/actions/secrets/public-key")).await;
    let bytes: [u8; 32] = base64_decode(key["key"].as_str().unwrap()).try_into().unwrap();
    let sealed = PublicKey::from(bytes).seal(&mut OsRng, b"hush").unwrap();
    let secret = json!({"encrypted_value": base64_encode(&sealed), "key_id": key["key_id"]});
    assert_eq!(put(&format!("{repo}/actions/secrets/S"), secret.clone()).await.status, 201);
    assert_eq!(put(&format!("{repo}/actions/secrets/S"), secret).await.status, 204);
    let wrong = json!({"encrypted_value": base64_encode(b"no box"), "key_id": key["key_id"]});
    assert_eq!(put(&format!("{repo}/actions/secrets/T"), wrong).await.status, 422);

    let oidc = json!({"use_default": false, "include_claim_keys": ["repo"]});
    assert_eq!(put(&format!("{repo}/actions/oidc/customization/sub"), oidc).await.status, 201);
    assert_eq!(put(&format!("{repo}/subscription"), json!({"subscribed": true, "ignored": false})).await.status, 200);
    assert_eq!(
        put(&format!("{repo}/actions/permissions/access"), json!({"access_level": "organization"})).await.status,
        204
    );

    let rules = json!({
        "required_status_checks": {"strict": true, "contexts": ["ci"]},
        "restrictions": {"users": ["octocat"], "teams": ["platform"]},
        "enforce_admins": true,
        "required_pull_request_reviews": {
            "required_approving_review_count": 1, "require_code_owner_reviews": false, "dismiss_stale_reviews": false,
            "require_last_push_approval": false, "bypass_pull_request_allowances": {"users": ["octocat"], "teams": []},
        },
        "required_conversation_resolution": false, "required_linear_history": false, "block_creations": false,
    });
    let missing = put(&format!("{repo}/branches/none/protection"), rules.clone()).await.expect_json(404).unwrap();
    assert_eq!(missing["message"], "Branch not found");
    let protection = format!("{repo}/branches/main/protection");
    assert_eq!(client.get(&protection).await.unwrap().expect_json(404).unwrap()["message"], "Branch not protected");
    put(&protection, rules.clone()).await.expect_json(200).unwrap();
    let signatures =
        client.send(reqwest::Method::POST, &format!("{protection}/required_signatures"), None).await.unwrap();
    assert_eq!(signatures.expect_json(200).unwrap()["enabled"], true);
    assert_eq!(get(&protection).await["enforce_admins"]["enabled"], true);
    assert_eq!(get(&format!("{repo}/branches")).await[0]["protected"], true);
    assert_eq!(get(&format!("{repo}/branches/main")).await["protection"]["enabled"], true);

    let hook = json!({
        "config": {"url": "http://w", "content_type": "form", "secret": "s", "insecure_ssl": "0"},
        "events": ["push"], "active": true,
    });
    assert_eq!(
        client.post(&format!("{repo}/hooks"), &hook).await.unwrap().expect_json(201).unwrap()["config"]["secret"],
        "********"
    );
    let issue = json!({"title": "T", "body": "B", "labels": ["l"], "assignees": ["octocat"]});
    assert_eq!(client.post(&format!("{repo}/issues"), &issue).await.unwrap().expect_json(201).unwrap()["number"], 1);
    let labels = client.post(&format!("{repo}/issues/1/labels"), &json!({"labels": ["m"]})).await.unwrap();
    assert_eq!(labels.expect_json(200).unwrap().as_array().unwrap().len(), 2);

    let known = github.repository("acme", "r").unwrap();
    assert_eq!(known.visibility, "private");
    assert_eq!(known.teams["platform"], Access::Admin);
    assert_eq!(known.collaborators["u1"], Access::Write);
    assert_eq!(known.variables["V"], "2");
    assert_eq!(known.secrets["S"], "hush");
    assert_eq!(known.protection["main"], rules);
    assert_eq!(known.signed_branches, ["main"]);
    assert_eq!(known.topics, ["a", "b"]);
    assert_eq!((known.hooks.len(), known.issues.len()), (1, 1));

    assert_eq!(client.delete(repo).await.unwrap().status, 204);
    assert!(github.repository("acme", "r").is_none());
    assert_clean(&github);
}

fn base64_decode(text: &str) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

fn base64_encode(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[tokio::test]
async fn refusals_are_githubs() {
    let options = GithubOptions::default()
        .user("octocat")
        .org("acme", &["octocat"])
        .org("closed", &["outsider"])
        .team("acme", "platform", &[])
        .token(Token::new(DEFAULT_TOKEN, "octocat"))
        .token(Token::new("reader", "octocat").scopes(&["read:user"]))
        .token(Token::new("foreign", "outsider"));
    let github = GithubDouble::start(options).await.unwrap();
    let client = github.client().unwrap();
    let post = async |client: &Client, path: &str, body: Value| {
        let answer = client.post(path, &body).await.unwrap();
        (answer.status.as_u16(), answer.json().unwrap())
    };
    assert_eq!(post(&client, "/user/repos", json!({"name": "r", "private": true})).await.0, 201);
    let (status, body) = post(&client, "/user/repos", json!({"name": "R"})).await;
    assert_eq!((status, &body["message"]), (422, &json!("Repository creation failed.")));
    assert_eq!(body["errors"][0]["message"], "name already exists on this account");
    assert!(body["documentation_url"].as_str().unwrap().starts_with("https://docs.github.com/"));

    let (status, body) = post(&client, "/orgs/closed/repos", json!({"name": "r"})).await;
    assert_eq!(
        (status, &body["message"]),
        (403, &json!("You need admin access to the organization before adding a repository to it."))
    );
    assert_eq!(post(&client, "/orgs/nobody/repos", json!({"name": "r"})).await.0, 404);
    let as_token = |token: &str| client.clone().authorized(format!("token {token}"));
    let (status, body) = post(&as_token("reader"), "/user/repos", json!({"name": "s"})).await;
    assert_eq!((status, &body["message"]), (403, &json!("Resource not accessible by personal access token")));
    for path in
        ["/users/nobody", "/orgs/acme/teams/none", "/repos/octocat/none", "/repos/octocat/r/commits/main/status"]
    {
        client.get(path).await.unwrap().expect_json(404).unwrap();
    }
    client.get("/repos/octocat/r/commits").await.unwrap().expect_json(409).unwrap();
    as_token("foreign").get("/repos/octocat/r").await.unwrap().expect_json(404).unwrap();
    as_token("foreign").get("/orgs/acme/teams/platform").await.unwrap().expect_json(404).unwrap();
    let topics = client.put("/repos/octocat/r/topics", &json!({"names": ["Not good!"]})).await.unwrap();
    topics.expect_json(422).unwrap();
    let broken = client.request(reqwest::Method::POST, "/user/repos").body("{").send().await.unwrap();
    assert_eq!(broken.status(), 400);
    assert_clean(&github);
}

#[tokio::test]
async fn archives_and_contents() {
    let github = double().await;
    let files = [
        SeedFile { path: "tpl/template.yaml".into(), content: b"kind: Template\n".to_vec(), executable: false },
        SeedFile { path: "tpl/run.sh".into(), content: b"#!/bin/sh\n".to_vec(), executable: true },
        SeedFile { path: "a b/\u{e4}.bin".into(), content: vec![0, 159, 255], executable: false },
    ];
    let sha = github.seed_repo("acme", "templates", files.to_vec()).await.unwrap();
    let client = github.client().unwrap();
    let get = async |path: &str| client.get(path).await.unwrap().expect_json(200).unwrap();
    assert_eq!(get("/repos/acme/templates").await["private"], false);

    let status = get("/repos/acme/templates/commits/main/status?per_page=0").await;
    assert_eq!(status["sha"], sha);
    let archive_url = status["repository"]["archive_url"].as_str().unwrap();
    assert_eq!(archive_url, format!("{}/repos/acme/templates/{{archive_format}}{{/ref}}", github.api_url()));

    let redirect = client.get(&format!("/repos/acme/templates/tarball/{sha}")).await.unwrap();
    assert_eq!(redirect.status, 302);
    let place = redirect.header("location").unwrap();
    let plain = Client::with_ca("", github.ca_pem()).unwrap();
    let archive = plain.get(place).await.unwrap();
    assert_eq!(archive.status, 200);
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(archive.body.as_ref()));
    let names: Vec<_> = archive
        .entries()
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.header().entry_type().is_file())
        .map(|entry| (entry.path().unwrap().display().to_string(), entry.header().mode().unwrap() & 0o111 != 0))
        .collect();
    let prefix = format!("acme-templates-{}", &sha[..7]);
    let wanted = [("a b/\u{e4}.bin", false), ("tpl/run.sh", true), ("tpl/template.yaml", false)];
    assert_eq!(names, wanted.map(|(name, executable)| (format!("{prefix}/{name}"), executable)));
    assert_eq!(plain.get(&place.replace("token=", "token=0")).await.unwrap().status, 404);
    assert!(place.starts_with("https://127.0.0.1:"), "archives come from another host: {place}");

    let file = get("/repos/acme/templates/contents/tpl/template.yaml?ref=main").await;
    assert_eq!(file["content"], "a2luZDogVGVtcGxhdGUK\n");
    let request = client.request(reqwest::Method::GET, "/repos/acme/templates/contents/a%20b/%C3%A4.bin");
    let raw = request.header("accept", "application/vnd.github.v3.raw").send().await.unwrap();
    assert_eq!(raw.bytes().await.unwrap().as_ref(), [0, 159, 255]);
    let raw = format!("{}/raw/acme/templates/main/tpl/run.sh", github.web_url());
    assert_eq!(plain.get(&raw).await.unwrap().text(), "#!/bin/sh\n");
    assert_eq!(plain.get(&raw.replace("run", "walk")).await.unwrap().status, 404);
    assert_eq!(get("/repos/acme/templates/git/ref/heads/main").await["object"]["sha"], sha);
    assert_eq!(get("/repos/acme/templates/git/matching-refs/heads/ma").await[0]["ref"], "refs/heads/main");
    assert_eq!(get("/repos/acme/templates/git/matching-refs/heads/none").await, json!([]));
    client.get("/repos/acme/templates/git/ref/heads/ma").await.unwrap().expect_json(404).unwrap();
    let root = get("/repos/acme/templates/contents/").await;
    let kinds: Vec<_> =
        root.as_array().unwrap().iter().map(|entry| (entry["name"].clone(), entry["type"].clone())).collect();
    assert_eq!(kinds, [(json!("a b"), json!("dir")), (json!("tpl"), json!("dir"))]);
    client.get("/repos/acme/templates/contents/none").await.unwrap().expect_json(404).unwrap();
    client.get("/repos/acme/templates/contents/tpl?ref=none").await.unwrap().expect_json(404).unwrap();
    assert_eq!(get("/repos/acme/templates/commits?sha=main&per_page=1").await[0]["sha"], sha);
    assert_eq!(get(&format!("/repos/acme/templates/commits/{}", &sha[..7])).await["sha"], sha);

    let made = json!({"message": "add", "content": "eA==", "branch": "main"});
    let put = async |body: &Value| client.put("/repos/acme/templates/contents/new/x.txt", body).await.unwrap();
    let blob = put(&made).await.expect_json(201).unwrap()["content"]["sha"].clone();
    assert_eq!(put(&made).await.status, 422);
    let mut replaced = made.clone();
    replaced["sha"] = blob;
    replaced["content"] = json!("eQ==");
    put(&replaced).await.expect_json(200).unwrap();
    assert_eq!(put(&replaced).await.status, 409);
    assert_eq!(get("/repos/acme/templates/contents/new/x.txt").await["content"], "eQ==\n");
    assert_clean(&github);
}

#[tokio::test]
async fn pushes_are_held_against_scopes_access_and_protection() {
    let options = GithubOptions::default()
        .token(Token::new(DEFAULT_TOKEN, "octocat"))
        .token(Token::new("no-workflow", "octocat").scopes(&["repo"]))
        .token(Token::new("stranger", "other"));
    let github = GithubDouble::start(options).await.unwrap();
    let client = github.client().unwrap();
    client.post("/user/repos", &json!({"name": "r"})).await.unwrap().expect_json(201).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let work = dir.path();
    work_tree(&github, work, &[(".github/workflows/ci.yml", "on: push\n")]).await;
    let target = url(&github, "octocat/r");
    let push = async |token: &str| git(&github, token, work, &["push", "--quiet", &target, "main"]).await;

    let refused = push("no-workflow").await.unwrap_err().to_string();
    assert!(refused.contains("refusing to allow a Personal Access Token to create or update workflow"), "{refused}");
    let refused = push("stranger").await.unwrap_err().to_string();
    assert!(refused.contains("403"), "{refused}");
    push(DEFAULT_TOKEN).await.unwrap();

    let rules = json!({
        "required_status_checks": null, "restrictions": null, "enforce_admins": true,
        "required_pull_request_reviews": {"required_approving_review_count": 1},
    });
    client.put("/repos/octocat/r/branches/main/protection", &rules).await.unwrap().expect_json(200).unwrap();
    commit(&github, work, "second").await;
    let refused = push(DEFAULT_TOKEN).await.unwrap_err().to_string();
    assert!(refused.contains("GH006: Protected branch update failed for refs/heads/main"), "{refused}");

    let missing =
        git(&github, DEFAULT_TOKEN, work, &["push", &url(&github, "octocat/none"), "main"]).await.unwrap_err();
    assert!(missing.to_string().contains("not found"), "{missing}");
    assert_clean(&github);
}

/// What `git` does with long lists of wanted commits.
#[tokio::test]
async fn a_compressed_body_is_understood() {
    use std::io::Write;
    let github = double().await;
    let sha = github.seed_repo("acme", "r", &[("f", "x")]).await.unwrap();
    let line = |text: &str| format!("{:04x}{text}", text.len() + 4);
    let wanted = format!("{}0000{}", line(&format!("want {sha}\n")), line("done\n"));
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(wanted.as_bytes()).unwrap();
    let client = Client::with_ca(github.web_url(), github.ca_pem()).unwrap();
    let request = client.request(reqwest::Method::POST, "/acme/r.git/git-upload-pack");
    let request =
        request.header("content-type", "application/x-git-upload-pack-request").header("content-encoding", "gzip");
    let answer = request.body(packed.finish().unwrap()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let body = answer.bytes().await.unwrap();
    assert!(body.starts_with(b"0008NAK\nPACK"), "{body:?}");
    assert_clean(&github);
}

#[tokio::test]
async fn the_first_branch_becomes_the_default() {
    let github = double().await;
    let client = github.client().unwrap();
    client.post("/user/repos", &json!({"name": "r"})).await.unwrap().expect_json(201).unwrap();
    let dir = tempfile::tempdir().unwrap();
    work_tree(&github, dir.path(), &[("f", "x")]).await;
    git(&github, DEFAULT_TOKEN, dir.path(), &["push", "--quiet", &url(&github, "octocat/r"), "main:trunk"])
        .await
        .unwrap();
    assert_eq!(github.repository("octocat", "r").unwrap().default_branch, "trunk");
    // Public repositories are read without credentials.
    let back = dir.path().join("back");
    let mut clone = github.git("");
    clone.args(["-c", "credential.helper=", "clone", "--quiet", &url(&github, "octocat/r")]).arg(&back);
    programs::output(&mut clone).await.unwrap();
    assert!(back.join("f").is_file());
    assert_clean(&github);
}

#[tokio::test]
async fn a_directory_is_seeded_with_links_and_modes() {
    let github = double().await;
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    fs::write(dir.path().join("sub/run"), "x").unwrap();
    fs::set_permissions(dir.path().join("sub/run"), fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("sub/run", dir.path().join("link")).unwrap();
    fs::write(dir.path().join(".gitignore"), "sub\n").unwrap();
    github.seed_repo("acme", "r", dir.path()).await.unwrap();
    let client = github.client().unwrap();
    let link = client.get("/repos/acme/r/contents/link").await.unwrap().expect_json(200).unwrap();
    assert_eq!((&link["type"], &link["target"]), (&json!("symlink"), &json!("sub/run")));
    let back = dir.path().join("back");
    github.clone_to(&back, "acme", "r", "main").await.unwrap();
    assert_eq!(fs::metadata(back.join("sub/run")).unwrap().permissions().mode() & 0o111, 0o111);
    assert!(back.join("link").is_symlink());
    let error = github.seed_repo("nobody", "r", &[("a", "b")]).await.unwrap_err().to_string();
    assert!(error.contains("nobody/r"), "{error}");
    assert_clean(&github);
}

#[tokio::test]
async fn what_breaks_githubs_description_is_reported() {
    let github = double().await;
    let client = github.client().unwrap();
    let table = [
        (client.post("/user/repos", &json!({"name": 1})).await, "body/name"),
        (client.post("/user/repos", &json!({"description": "no name"})).await, "name"),
        (client.post("/user/repos", &json!({"name": "x", "alow_auto_merge": true})).await, "alow_auto_merge"),
        (client.put("/repos/o/r/topics", &json!({"names": "a"})).await, "body/names"),
        (client.get("/user?nonsense=1").await, "nonsense"),
        (client.get("/repos/o/r/commits?per_page=many").await, "per_page"),
        (client.get("/repos/o/r/frobnicate").await, "no such operation"),
        (client.post("/repos/o/r/branches/main/protection/required_signatures", &json!({"a": 1})).await, "takes none"),
    ];
    let count = table.len();
    for (answer, wanted) in table {
        let answer = answer.unwrap();
        assert_eq!(answer.status, 500);
        assert!(answer.text().contains(wanted), "{wanted} missing in {}", answer.text());
    }
    assert_eq!(github.violations().len(), count);
    assert!(github.violations()[0].starts_with("POST /user/repos: "), "{:?}", github.violations());

    // An answer of the double's own: GitHub's description wants an absolute URI, which this homepage is not.
    let answer = client.post("/user/repos", &json!({"name": "x", "homepage": "not a URI"})).await.unwrap();
    assert_eq!(answer.status, 500);
    assert!(answer.text().contains("answer 201/homepage"), "{}", answer.text());
    assert_eq!(github.take_violations().len(), count + 1);
}

#[tokio::test]
async fn faults() {
    let github = double().await;
    let client = github.client().unwrap();
    github.inject(Fault::error("GET", "/user", 502, "Server Error").times(1));
    github.inject(Fault::secondary_rate_limit("GET", "/user", Duration::from_secs(7)).times(1));
    github.inject(Fault::disconnect("GET", "/user").times(1));
    github.inject(Fault::delay("GET", "/user", Duration::from_millis(300)).times(1));
    github.inject(Fault::disconnect_after("POST", "/user/repos").times(1));
    assert_eq!(client.get("/user").await.unwrap().expect_json(502).unwrap()["message"], "Server Error");
    let limited = client.get("/user").await.unwrap();
    assert_eq!((limited.status.as_u16(), limited.header("retry-after")), (403, Some("7")));
    assert!(client.get("/user").await.is_err());
    let before = std::time::Instant::now();
    assert_eq!(client.get("/user").await.unwrap().status, 200);
    assert!(before.elapsed() >= Duration::from_millis(300));
    assert!(client.post("/user/repos", &json!({"name": "r"})).await.is_err());
    assert!(github.repository("octocat", "r").is_some(), "the work was done before the connection was cut");
    assert_eq!(client.get("/user").await.unwrap().status, 200);
    let statuses: Vec<_> = github.requests().iter().map(|request| request.status).collect();
    assert_eq!(statuses, [502, 403, 0, 200, 0, 200]);

    let dir = tempfile::tempdir().unwrap();
    work_tree(&github, dir.path(), &[("f", "x")]).await;
    let target = url(&github, "octocat/r");
    let push = async || git(&github, DEFAULT_TOKEN, dir.path(), &["push", "--quiet", &target, "main"]).await;
    github.inject(Fault::disconnect("POST", "/*/*/git-receive-pack"));
    push().await.unwrap_err();
    assert!(github.branches("octocat", "r").await.unwrap().is_empty());
    github.clear_faults();
    github.inject(Fault::disconnect_after("POST", "/*/*/git-receive-pack"));
    push().await.unwrap_err();
    assert_eq!(github.branches("octocat", "r").await.unwrap().len(), 1, "the push was taken and its answer lost");
    github.clear_faults();
    push().await.unwrap();

    github.seed_repo("acme", "t", &[("f", "x")]).await.unwrap();
    github.inject(Fault::truncate("GET", "/codeload/**", 10).times(1));
    let place = client.get("/repos/acme/t/tarball/main").await.unwrap().header("location").unwrap().to_owned();
    let plain = Client::with_ca("", github.ca_pem()).unwrap();
    assert!(matches!(plain.get(&place).await, Err(Error::Http { .. })));
    assert_eq!(plain.get(&place).await.unwrap().status, 200);
    assert_clean(&github);
}

#[tokio::test]
async fn dropping_it_frees_port_and_directory() {
    let github = double().await;
    let (port, dir) = (github.port(), github.ca_file().parent().unwrap().to_owned());
    assert!(dir.is_dir());
    drop(github);
    assert!(!dir.exists());
    let again = GithubDouble::start(GithubOptions::default().port(port)).await.unwrap();
    assert_eq!(again.host(), format!("localhost:{port}"));
    assert!(again.app_config().contains(&format!("apiBaseUrl: https://localhost:{port}/api/v3\n      token: ")));
}

#[tokio::test]
#[should_panic(expected = "not as GitHub describes it:\nPOST /user/repos: body")]
async fn a_violation_fails_the_test_of_its_double() {
    let github = double().await;
    let _refused = github.client().unwrap().post("/user/repos", &json!({"name": 1})).await.unwrap();
}
