//! The listener: one port for the API, for Git and for archives.

use std::{
    collections::hash_map::DefaultHasher,
    hash::{Hash, Hasher},
    io,
    net::{Shutdown, TcpStream},
    os::fd::AsFd,
    time::Duration,
};

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::{
    HttpRequest, HttpResponse,
    body::{self, BodyStream, BoxBody},
    dev::Extensions,
    http::StatusCode,
    http::header,
    rt, web,
};
use bytes::BytesMut;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio_util::io::ReaderStream;

use super::{
    Shared,
    auth::{Credentials, credentials},
    cgi,
    fault::{self, Effect},
    git::Store,
    log::Request,
    openapi::Match,
    pulls,
    routes::{self, Answer, Call, Refusal},
    state::{Access, Repo},
};

const API: &str = "/api/v3";
const GRAPHQL: &str = "/api/graphql";
const LONGEST_BODY: usize = 100 << 20;

/// The connection of a request, so that a fault can cut it.
struct Connection(TcpStream);

/// Keeps a second handle of each accepted connection.
pub(super) fn keep_connection(io: &dyn std::any::Any, extensions: &mut Extensions) {
    let Some(tls) = io.downcast_ref::<TlsStream<rt::net::TcpStream>>() else { return };
    if let Ok(fd) = tls.get_ref().0.as_fd().try_clone_to_owned() {
        extensions.insert(Connection(TcpStream::from(fd)));
    }
}

fn cut(request: &HttpRequest) -> HttpResponse {
    if let Some(Connection(stream)) = request.conn_data() {
        // A connection that is gone already is as wanted.
        let _ = stream.shutdown(Shutdown::Both);
    }
    HttpResponse::ServiceUnavailable().force_close().finish()
}

fn text_header(request: &HttpRequest, name: &str) -> Option<String> {
    request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

/// Answers every request.
pub(super) async fn serve(request: HttpRequest, payload: web::Payload, shared: web::Data<Shared>) -> HttpResponse {
    let path = request.uri().path().to_owned();
    let api = path.strip_prefix(API).filter(|rest| rest.starts_with('/')).map(str::to_owned);
    // As on github.com, the API is offered at the root too, where no page of a repository could be.
    let api = api.or_else(|| shared.contract.knows_path(&path).then(|| path.clone()));
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let mut credentials = credentials(given, &shared.state().tokens);
    if api.as_deref().is_some_and(is_for_apps) {
        credentials.token = shared.state().app_of(given);
    }
    let mut log = Request {
        method: request.method().to_string(),
        path: api.clone().unwrap_or_else(|| path.clone()),
        query: redacted(&path, request.query_string()),
        scheme: credentials.scheme.clone(),
        login: credentials.token.as_ref().map(|token| token.login.clone()),
        api_version: text_header(&request, "x-github-api-version"),
        body: None,
        status: 0,
    };

    let effect = fault::take(&mut shared.faults(), &log.method, &log.path);
    match &effect {
        Some(Effect::Delay(time)) => tokio::time::sleep(*time).await,
        Some(Effect::Disconnect) => {
            shared.record(log);
            return cut(&request);
        }
        _ => {}
    }
    let response = match (&effect, api) {
        (Some(Effect::Answer { status, headers, body }), api) => {
            if api.is_some() {
                log.body = body_of(payload).await.ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
            }
            injected(*status, headers, body)
        }
        (_, _) if path == GRAPHQL => graphql(payload, &shared, &credentials, &mut log).await,
        (_, Some(rest)) => rest_call(&request, payload, &shared, &credentials, &rest, &mut log).await,
        (_, None) if path.starts_with("/codeload/") => archive(&request, &shared).await,
        (_, None) if path.starts_with("/raw/") => raw(&path, &shared, &credentials).await,
        (_, None) => git(&request, payload, &shared, &credentials, &path).await,
    };
    if matches!(effect, Some(Effect::DisconnectAfter)) {
        // The work of a streamed answer is done when its last byte is there.
        let _unsent = body::to_bytes(response.into_body()).await;
        shared.record(log);
        return cut(&request);
    }
    log.status = response.status().as_u16();
    shared.record(log);
    match effect {
        Some(Effect::Truncate(bytes)) => truncated(response, bytes).await,
        _ => response,
    }
}

/// The answer up to so many bytes of its body; what fails there makes the listener close the connection.
async fn truncated(response: HttpResponse, bytes: usize) -> HttpResponse {
    let (head, body) = response.into_parts();
    let whole = body::to_bytes(body).await.unwrap_or_default();
    let kept = whole.slice(..bytes.min(whole.len()));
    let pieces = [Ok(kept), Err(io::Error::other("cut by a fault"))];
    head.set_body(BoxBody::new(BodyStream::new(futures_util::stream::iter(pieces))))
}

/// Keys of archives are secrets, too.
fn redacted(path: &str, query: &str) -> String {
    if path.starts_with("/codeload/") { String::new() } else { query.to_owned() }
}

fn injected(status: u16, headers: &[(String, String)], body: &Value) -> HttpResponse {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    for (name, value) in headers {
        response.insert_header((name.as_str(), value.as_str()));
    }
    if body.is_null() { response.finish() } else { response.json(body) }
}

async fn body_of(mut payload: web::Payload) -> Result<BytesMut, &'static str> {
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| "the body broke off")?;
        if body.len() + chunk.len() > LONGEST_BODY {
            return Err("the body is too large");
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// GitHub's error body.
fn error(status: u16, message: &str, documentation: &str, errors: Option<Value>) -> Value {
    let mut body = json!({"message": message});
    if let Some(errors) = errors {
        body["errors"] = errors;
    }
    body["documentation_url"] =
        json!(if documentation.is_empty() { "https://docs.github.com/rest" } else { documentation });
    body["status"] = json!(status.to_string());
    body
}

fn json_response(status: u16, body: &Value) -> HttpResponse {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let reset = chrono::Utc::now().timestamp() + 3600;
    HttpResponse::build(status)
        .content_type("application/json; charset=utf-8")
        .insert_header(("x-github-media-type", "github.v3; format=json"))
        .insert_header(("x-ratelimit-limit", "5000"))
        .insert_header(("x-ratelimit-remaining", "4999"))
        .insert_header(("x-ratelimit-reset", reset.to_string()))
        .insert_header(("x-ratelimit-resource", "core"))
        .body(if body.is_null() { String::new() } else { body.to_string() })
}

/// The GraphQL API, which has no description to be held against.
async fn graphql(
    payload: web::Payload,
    shared: &web::Data<Shared>,
    credentials: &Credentials,
    log: &mut Request,
) -> HttpResponse {
    let body = body_of(payload).await.ok().and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let Some(body) = body else { return json_response(400, &error(400, "Problems parsing JSON", "", None)) };
    "/graphql".clone_into(&mut log.path);
    log.body = Some(body.clone());
    let Some(token) = &credentials.token else {
        return json_response(401, &error(401, "This endpoint requires you to be authenticated.", "", None));
    };
    let violated = |text: String| {
        let answer = json_response(500, &error(500, &text, "", None));
        shared.violation(text);
        answer
    };
    match pulls::graphql(shared, &token.login, &body).await {
        Ok(Some(answer)) => json_response(200, &answer),
        Ok(None) => violated("POST /graphql: the double does not know this query".to_owned()),
        Err(error) => violated(format!("POST /graphql: the double failed: {error}")),
    }
}

async fn rest_call(
    request: &HttpRequest,
    payload: web::Payload,
    shared: &web::Data<Shared>,
    credentials: &Credentials,
    path: &str,
    log: &mut Request,
) -> HttpResponse {
    let bytes = match body_of(payload).await {
        Ok(bytes) => bytes,
        Err(detail) => return json_response(400, &error(400, detail, "", None)),
    };
    let body: Option<Value> = match bytes.is_empty() {
        true => None,
        false => match serde_json::from_slice(&bytes) {
            Ok(body) => Some(body),
            Err(_) => return json_response(400, &error(400, "Problems parsing JSON", "", None)),
        },
    };
    log.body.clone_from(&body);
    let Some(token) = &credentials.token else {
        let message = if credentials.scheme.is_some() { "Bad credentials" } else { "Requires authentication" };
        return json_response(401, &error(401, message, "", None));
    };
    let line = log.line();
    let violated = |faults: Vec<String>| {
        let text = format!("{line}: {}", faults.join("; "));
        let answer = json_response(500, &error(500, &text, "", None));
        shared.violation(text);
        answer
    };

    let method = if request.method() == "HEAD" { "GET" } else { request.method().as_str() };
    let Some(found) = shared.contract.find(method, path) else {
        return violated(vec!["the double offers no such operation".to_owned()]);
    };
    let query = url::form_urlencoded::parse(request.query_string().as_bytes()).into_owned().collect::<Vec<_>>();
    let faults = shared.contract.check_request(&found, &query, body.as_ref());
    if !faults.is_empty() {
        return violated(faults);
    }
    let Match { operation, params } = found;
    let accept = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let call = Call {
        shared: shared.clone().into_inner(),
        operation: operation.clone(),
        login: token.login.clone(),
        scopes: token.scopes.clone(),
        params,
        query,
        body: body.unwrap_or(Value::Null),
        accept: accept.to_owned(),
    };
    let (status, answer) = match routes::run(call).await {
        Ok(Answer::Json(status, body)) => (status, Some(body)),
        Ok(Answer::Empty(status)) => (status, None),
        Ok(Answer::Found(place)) => {
            let faults = shared.contract.check_answer(&operation, 302, None);
            if !faults.is_empty() {
                return violated(faults);
            }
            return HttpResponse::Found().insert_header((header::LOCATION, place)).finish();
        }
        Ok(Answer::Raw(kind, body)) => return HttpResponse::Ok().content_type(kind).body(body),
        Err(Refusal::Http { status, message, errors }) => {
            (status, Some(error(status, &message, &operation.documentation, errors)))
        }
        Err(Refusal::Internal(error)) => return violated(vec![format!("the double failed: {error}")]),
    };
    let faults = shared.contract.check_answer(&operation, status, answer.as_ref());
    if !faults.is_empty() {
        return violated(faults);
    }
    let answer = answer.unwrap_or(Value::Null);
    let etag = (method == "GET" && status == 200).then(|| format!("W/\"{:x}\"", hash_of(&answer)));
    let known = request.headers().get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let mut response = match &etag {
        Some(etag) if known == Some(etag) => HttpResponse::NotModified().finish(),
        _ => json_response(status, &answer),
    };
    if let Some(etag) = etag.and_then(|etag| header::HeaderValue::from_str(&etag).ok()) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    if let Ok(scopes) = header::HeaderValue::from_str(&token.scopes.join(", ")) {
        response.headers_mut().insert(header::HeaderName::from_static("x-oauth-scopes"), scopes);
    }
    response
}

/// Whether an operation is for Apps, which vouch for themselves.
fn is_for_apps(path: &str) -> bool {
    path.starts_with("/app/") || (path.starts_with("/repos/") && path.ends_with("/installation"))
}

fn hash_of(answer: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    answer.to_string().hash(&mut hasher);
    hasher.finish()
}

/// An archive that `tarball` pointed to.
async fn archive(request: &HttpRequest, shared: &web::Data<Shared>) -> HttpResponse {
    let query = url::form_urlencoded::parse(request.query_string().as_bytes());
    let key = query.into_owned().find(|(name, _)| name == "token").map(|(_, key)| key).unwrap_or_default();
    let Some(download) = shared.state().downloads.get(&key).cloned() else {
        return HttpResponse::NotFound().body("404: Not Found");
    };
    let name = format!("{}-{}-{}", download.owner, download.repo, &download.sha[..download.sha.len().min(7)]);
    let child = shared.store.archive(&download.owner, &download.repo, &download.sha, &name);
    let stdout = child.and_then(|mut child| {
        let stdout = child.stdout.take().ok_or_else(|| std::io::Error::other("git archive has no output"))?;
        Ok((stdout, child))
    });
    match stdout {
        Ok((stdout, child)) => {
            let body = ReaderStream::new(stdout).map(move |chunk| {
                // The child lives as long as its output is read.
                let _running = &child;
                chunk
            });
            HttpResponse::Ok()
                .content_type("application/x-gzip")
                .insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename={name}.tar.gz")))
                .streaming(body)
        }
        Err(error) => {
            shared.violation(format!("the double failed to write an archive: {error}"));
            HttpResponse::InternalServerError().finish()
        }
    }
}

/// `download_url` and `rawBaseUrl`: `/raw/<owner>/<repo>/<ref>/<path>`, the reference being one segment.
async fn raw(path: &str, shared: &web::Data<Shared>, credentials: &Credentials) -> HttpResponse {
    let missing = || HttpResponse::NotFound().body("404: Not Found");
    let path = percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned();
    let mut parts = path.trim_start_matches("/raw/").splitn(4, '/').map(str::to_owned);
    let (Some(owner), Some(name), Some(reference), Some(file)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return missing();
    };
    if may(shared, credentials, &owner, &name, false).is_err() {
        return missing();
    }
    match shared.store.file(&owner, &name, &reference, &file).await {
        Ok(Some(content)) => HttpResponse::Ok().content_type("application/octet-stream").body(content),
        Ok(None) => missing(),
        Err(error) => {
            shared.violation(format!("the double failed: {error}"));
            HttpResponse::InternalServerError().finish()
        }
    }
}

/// Splits `/owner/repo.git/rest`; the `.git` may be missing.
fn git_path(path: &str) -> Option<(String, String, &str)> {
    let mut parts = path.trim_start_matches('/').splitn(3, '/');
    let (owner, repo, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let decoded = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    matches!(rest, "info/refs" | "git-upload-pack" | "git-receive-pack")
        .then(|| (decoded(owner), decoded(repo.strip_suffix(".git").unwrap_or(repo)), rest))
}

async fn git(
    request: &HttpRequest,
    payload: web::Payload,
    shared: &web::Data<Shared>,
    credentials: &Credentials,
    path: &str,
) -> HttpResponse {
    let Some((owner, name, rest)) = git_path(path) else { return HttpResponse::NotFound().body("Not Found") };
    let pushing = rest == "git-receive-pack" || request.query_string().contains("service=git-receive-pack");
    let repo = match may(shared, credentials, &owner, &name, pushing) {
        Ok(repo) => repo,
        Err(response) => return *response,
    };
    let mut command = shared.store.command();
    command.arg("http-backend").env("GIT_PROJECT_ROOT", shared.store.root()).env("GIT_HTTP_EXPORT_ALL", "1");
    if let Some(token) = &credentials.token {
        if !token.scopes.iter().any(|scope| scope == "workflow") {
            command.env("TESTBED_WITHOUT_WORKFLOW", "1");
        }
        let admin = shared.state().access(Some(&token.login), &repo) == Some(Access::Admin);
        let enforced = |rules: &Value| rules["enforce_admins"] == true || !admin;
        let closed = |rules: &Value| rules["required_pull_request_reviews"].is_object() && enforced(rules);
        let names: Vec<_> =
            repo.protection.iter().filter(|(_, it)| closed(&it.rules)).map(|(branch, _)| branch.as_str()).collect();
        command.env("TESTBED_PROTECTED", names.join("\n"));
    }
    let info = format!("/{}/{rest}", Store::relative(&owner, &name));
    let user = credentials.token.as_ref().map(|token| token.login.as_str());
    let after = shared.clone();
    let done = async move || {
        if pushing && let Err(error) = after.pushed(&owner, &name).await {
            after.violation(format!("the double failed after a push: {error}"));
        }
    };
    match cgi::run(command, request, payload, &info, user, done).await {
        Ok(response) => response,
        Err(error) => {
            shared.violation(format!("the double failed: {error}"));
            HttpResponse::InternalServerError().finish()
        }
    }
}

/// The repository, when these credentials may read it or push to it.
fn may(
    shared: &Shared,
    credentials: &Credentials,
    owner: &str,
    name: &str,
    pushing: bool,
) -> Result<Repo, Box<HttpResponse>> {
    let challenge = |message: &'static str| {
        let mut response = HttpResponse::Unauthorized();
        Box::new(response.insert_header((header::WWW_AUTHENTICATE, "Basic realm=\"GitHub\"")).body(message))
    };
    let state = shared.state();
    let repo = state.repo(owner, name);
    let Some(token) = &credentials.token else {
        if credentials.scheme.is_some() {
            return Err(challenge(
                "Invalid username or token. Password authentication is not supported for Git operations.",
            ));
        }
        let open = repo.filter(|repo| !pushing && !repo.private());
        return open.cloned().ok_or_else(|| challenge("No anonymous write access."));
    };
    let seen = repo.and_then(|repo| Some((repo, state.access(Some(&token.login), repo)?)));
    let Some((repo, access)) = seen else {
        return Err(Box::new(HttpResponse::NotFound().body("Repository not found.")));
    };
    let scope = token.scopes.iter().any(|scope| scope == "repo" || (scope == "public_repo" && !repo.private()));
    if pushing && (access < Access::Write || !scope) {
        let text = format!("Permission to {}.git denied to {}.", repo.full_name(), token.login);
        return Err(Box::new(HttpResponse::Forbidden().body(text)));
    }
    Ok(repo.clone())
}

/// How long a stopped listener may take to close its connections.
pub(super) const SHUTDOWN: Duration = Duration::from_secs(1);
