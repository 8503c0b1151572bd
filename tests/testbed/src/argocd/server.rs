//! The listener: paths below `/api/v1`, as the gateway of Argo CD's server has them.

use std::collections::BTreeMap;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web,
};
use bytes::Bytes;
use futures_util::stream;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tokio::sync::{broadcast, watch};

use super::{
    Shared,
    state::{Refusal, Request},
};

/// What came of a request: a body, or what to tell the listeners besides.
type Answer = Result<(Value, Option<(&'static str, Value)>), Refusal>;

/// Answers every request.
pub(super) async fn serve(request: HttpRequest, body: Bytes, shared: web::Data<Shared>) -> HttpResponse {
    let path = request.uri().path().to_owned();
    let body: Option<Value> = serde_json::from_slice(&body).ok();
    let mut log = Request {
        method: request.method().to_string(),
        path: path.clone(),
        query: request.query_string().to_owned(),
        body: body.clone(),
        status: 0,
    };
    if let Some(password) = log.body.as_mut().and_then(|body| body.get_mut("password")) {
        *password = "***".into();
    }
    let failure = shared.state().failures.pop();
    let response = match failure {
        Some(status) => HttpResponse::build(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY))
            .content_type("text/html")
            .body("<html><body>no backend</body></html>"),
        None => answer(&request, &path, body.unwrap_or_default(), &shared),
    };
    log.status = response.status().as_u16();
    shared.state().requests.push(log);
    response
}

fn answer(request: &HttpRequest, path: &str, body: Value, shared: &web::Data<Shared>) -> HttpResponse {
    let Some(rest) = path.strip_prefix("/api/v1/") else { return HttpResponse::NotFound().body("404 page not found") };
    let segments: Vec<String> =
        rest.split('/').map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned()).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let method = request.method().as_str();
    if (method, segments.as_slice()) == ("POST", &["session"]) {
        let made = shared.state().log_in(&body);
        return respond(made.map(|body| (body, None)), shared);
    }
    let token = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    let subject = match shared.state().subject(token) {
        Ok(subject) => subject,
        Err(refusal) => return respond(Err(refusal), shared),
    };
    let pairs: Vec<(String, String)> =
        url::form_urlencoded::parse(request.query_string().as_bytes()).into_owned().collect();
    let projects: Vec<String> =
        pairs.iter().filter(|(name, _)| name == "projects").map(|(_, value)| value.clone()).collect();
    let query: BTreeMap<String, String> = pairs.into_iter().collect();
    let query = |name: &str| query.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let flag = |name: &str, default: bool| query(name).map_or(default, |value| value == "true");
    let mut state = shared.state();
    let answer: Answer = match (method, segments.as_slice()) {
        ("GET", ["stream", "applications"]) => {
            if state.refuses_streams {
                return HttpResponse::build(StatusCode::NOT_IMPLEMENTED).body("no streams here");
            }
            let list = state.list(&subject, query("name"), query("appNamespace"), &projects);
            let now = list["items"].as_array().cloned().unwrap_or_default();
            let events = shared.events.subscribe();
            let cut = shared.cut.subscribe();
            drop(state);
            let filter = Filter {
                subject,
                name: query("name").map(str::to_owned),
                namespace: query("appNamespace").map(str::to_owned),
            };
            return open(filter, now, events, cut, shared.clone());
        }
        ("GET", ["applications"]) => Ok((state.list(&subject, query("name"), query("appNamespace"), &projects), None)),
        ("POST", ["applications"]) => state.create(&subject, body, flag("upsert", false), flag("validate", true)),
        ("GET", ["applications", name]) => {
            state.get(&subject, name, query("appNamespace"), query("project"), query("refresh").is_some())
        }
        ("DELETE", ["applications", name]) => state
            .delete(
                &subject,
                name,
                query("appNamespace"),
                query("project"),
                flag("cascade", true),
                query("propagationPolicy"),
            )
            .map(|event| (json!({}), event)),
        ("POST", ["applications", name, "sync"]) => state.sync(&subject, name, &body),
        ("GET", ["projects", name]) => state.project(&subject, name).map(|project| (project, None)),
        ("POST", ["projects"]) => state.create_project(&subject, &body).map(|project| (project, None)),
        _ => {
            state.violations.push(format!("{method} {path}: the double has no such operation"));
            Err(Refusal { code: 12, message: "Not Implemented".to_owned() })
        }
    };
    drop(state);
    respond(answer, shared)
}

fn respond(answer: Answer, shared: &Shared) -> HttpResponse {
    match answer {
        Ok((body, event)) => {
            shared.tell(event.into_iter().collect());
            HttpResponse::Ok().json(body)
        }
        Err(refusal) => {
            HttpResponse::build(StatusCode::from_u16(refusal.status()).unwrap_or_default()).json(refusal.body())
        }
    }
}

/// Which changes a listener wants and may see.
struct Filter {
    subject: String,
    name: Option<String>,
    namespace: Option<String>,
}

impl Filter {
    fn passes(&self, app: &Value, shared: &Shared) -> bool {
        let is = |wanted: &Option<String>, pointer: &str| {
            wanted.as_deref().is_none_or(|wanted| app.pointer(pointer).and_then(Value::as_str) == Some(wanted))
        };
        is(&self.name, "/metadata/name")
            && is(&self.namespace, "/metadata/namespace")
            && shared.state().may_see(&self.subject, app)
    }
}

fn line(kind: &str, app: &Value) -> Bytes {
    Bytes::from(format!("{}\n", json!({ "result": { "type": kind, "application": app } })))
}

fn open(
    filter: Filter,
    now: Vec<Value>,
    events: broadcast::Receiver<(&'static str, Value)>,
    mut cut: watch::Receiver<u64>,
    shared: web::Data<Shared>,
) -> HttpResponse {
    // A cut from before the stream isn't meant for it.
    cut.mark_unchanged();
    let first: String = now.iter().map(|app| String::from_utf8_lossy(&line("ADDED", app)).into_owned()).collect();
    let start = (Some(Bytes::from(first)), filter, events, cut, shared);
    let body = stream::unfold(start, |(first, filter, mut events, mut cut, shared)| async move {
        if let Some(first) = first {
            return Some((Ok(first), (None, filter, events, cut, shared)));
        }
        loop {
            tokio::select! {
                _ = cut.changed() => return None,
                event = events.recv() => match event {
                    Ok((kind, app)) if filter.passes(&app, &shared) => {
                        let line: Result<Bytes, actix_web::Error> = Ok(line(kind, &app));
                        return Some((line, (None, filter, events, cut, shared)));
                    }
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                },
            }
        }
    });
    HttpResponse::Ok().content_type("application/json").streaming(Box::pin(body))
}
