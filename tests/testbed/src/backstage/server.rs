//! The routes.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    web,
};
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::{
    Decision, Fault, LIMITED_USER, PLUGIN, Request, Shared, USER,
    keys::{Key, is_signed, parts, unsigned},
};

/// An answer, or the status and message of a refusal.
type Answer = Result<(u16, Value), (u16, String)>;

/// Answers every request.
pub(super) async fn serve(request: HttpRequest, body: Bytes, shared: web::Data<Shared>) -> HttpResponse {
    let path = request.uri().path_and_query().map_or_else(String::new, ToString::to_string);
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let fault =
        shared.state().faults.iter().rev().find(|(prefix, _)| path.starts_with(prefix)).map(|(_, fault)| *fault);
    let mut log =
        Request { method: request.method().to_string(), path: path.clone(), principal: None, body, status: 0 };
    let answer = match fault {
        Some(Fault::Hang) => {
            shared.state().requests.push(log);
            // Until the client or the test goes away.
            return std::future::pending().await;
        }
        Some(Fault::Status(status)) => {
            log.status = status;
            shared.state().requests.push(log);
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
            return HttpResponse::build(status).content_type("text/html").body("<html>no backend</html>");
        }
        Some(Fault::Refusal(status)) => Err((status, "the test wants it so".to_owned())),
        Some(Fault::Delay(pause)) => {
            actix_web::rt::time::sleep(pause).await;
            answer(&request, &mut log, &shared).await
        }
        None => answer(&request, &mut log, &shared).await,
    };
    let (status, value) = answer.unwrap_or_else(|(status, message)| {
        let name = match status {
            400 => "InputError",
            401 => "AuthenticationError",
            403 => "NotAllowedError",
            404 => "NotFoundError",
            409 => "ConflictError",
            _ => "Error",
        };
        let error = json!({
            "error": {"name": name, "message": message},
            "request": {"method": log.method, "url": log.path},
            "response": {"statusCode": status},
        });
        (status, error)
    });
    log.status = status;
    shared.state().requests.push(log);
    HttpResponse::build(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY)).json(value)
}

async fn answer(request: &HttpRequest, log: &mut Request, shared: &Shared) -> Answer {
    let path = request.uri().path().to_owned();
    let unknown = || Err((404, String::new()));
    let Some(rest) = path.strip_prefix("/api/") else { return unknown() };
    let segments: Vec<String> =
        rest.split('/').map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned()).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match (log.method.as_str(), segments.as_slice()) {
        ("GET", ["auth", ".well-known", "jwks.json"]) => {
            let keys: Vec<Value> = shared.state().user_keys.iter().map(Key::public).collect();
            return Ok((200, json!({ "keys": keys })));
        }
        ("GET", ["auth", "guest", "refresh"]) => return Ok((200, guest(shared))),
        ("GET", [plugin, ".backstage", "auth", "v1", "jwks.json"]) => {
            let state = shared.state();
            let known = ["auth", "catalog", "permission"].contains(plugin) || state.plugin_keys.contains_key(*plugin);
            let keys: Vec<Value> = state.plugin_keys.get(*plugin).map(Key::public).into_iter().collect();
            return if known { Ok((200, json!({ "keys": keys }))) } else { unknown() };
        }
        _ => {}
    }
    let token = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = token.and_then(|value| value.strip_prefix("Bearer "));
    let Some(token) = token else { return Err((401, "Missing credentials".to_owned())) };
    log.principal = Some(principal(token, segments.first().copied().unwrap_or_default(), shared).await?);
    let mut state = shared.state();
    match (log.method.as_str(), segments.as_slice()) {
        ("GET", ["catalog", "entities", "by-name", kind, namespace, name]) => {
            let found = state.entities.get(&format!("{kind}:{namespace}/{name}").to_lowercase());
            found.map(|entity| (200, entity.clone())).ok_or_else(|| {
                (404, format!("No entity named '{name}' found, with kind '{kind}' in namespace '{namespace}'"))
            })
        }
        ("POST", ["catalog", "entities", "by-refs"]) => {
            let refs = log.body["entityRefs"].as_array().cloned().unwrap_or_default();
            let find = |text: &Value| state.entities.get(&text.as_str().unwrap_or_default().to_lowercase()).cloned();
            Ok((200, json!({"items": refs.iter().map(find).collect::<Vec<_>>()})))
        }
        ("POST", ["catalog", "locations"]) => {
            let text = |name: &str| log.body[name].as_str().unwrap_or_default().to_owned();
            let location = (text("type"), text("target"));
            let exists = state.locations.contains(&location);
            let view = json!({"id": uuid::Uuid::new_v4(), "type": location.0, "target": location.1});
            let entity = json!({
                "apiVersion": "backstage.io/v1alpha1", "kind": "Component",
                "metadata": {"name": "registered", "namespace": "default"}, "spec": {},
            });
            if request.query_string() == "dryRun=true" {
                return Ok((201, json!({"location": view, "entities": [entity], "exists": exists})));
            }
            if exists {
                return Err((409, format!("Location {}:{} already exists", location.0, location.1)));
            }
            state.locations.push(location);
            Ok((201, json!({"location": view, "entities": [entity]})))
        }
        ("POST", ["permission", "authorize"]) => {
            let items = log.body["items"].as_array().cloned().unwrap_or_default();
            let decide = |item: &Value| {
                let permission = &item["permission"];
                match state.decisions.get(permission["name"].as_str().unwrap_or_default()) {
                    None | Some(Decision::Allow) => json!({"id": item["id"], "result": "ALLOW"}),
                    Some(Decision::Deny) => json!({"id": item["id"], "result": "DENY"}),
                    Some(Decision::Conditional(conditions)) => json!({
                        "id": item["id"], "result": "CONDITIONAL", "pluginId": "scaffolder",
                        "resourceType": permission["resourceType"], "conditions": conditions,
                    }),
                }
            };
            Ok((200, json!({"items": items.iter().map(decide).collect::<Vec<_>>()})))
        }
        _ => unknown(),
    }
}

/// Whose token this is, as the plugin `here` sees it.
async fn principal(token: &str, here: &str, shared: &Shared) -> Result<String, (u16, String)> {
    let refused = |text: &str| (401, text.to_owned());
    let (header, claims) = parts(token).ok_or_else(|| refused("Illegal token"))?;
    let subject = claims["sub"].as_str().unwrap_or_default().to_owned();
    let now = chrono::Utc::now().timestamp();
    let is_over = |claims: &Value| claims["exp"].as_i64().is_none_or(|end| end <= now);
    match header["typ"].as_str() {
        Some(USER) => {
            let keys: Vec<Value> = shared.state().user_keys.iter().map(Key::public).collect();
            let good = is_signed(token, &keys) && !is_over(&claims);
            if good { Ok(subject) } else { Err(refused("Failed user token verification")) }
        }
        Some(PLUGIN) => {
            let keys = published(&subject, &header["kid"], shared).await?;
            if !is_signed(token, &keys) || is_over(&claims) || claims["aud"] != here {
                return Err(refused("Failed plugin token verification"));
            }
            let Some(limited) = claims["obo"].as_str() else { return Ok(format!("plugin:{subject}")) };
            let (header, user) =
                parts(limited).ok_or_else(|| refused("Invalid user token in plugin token obo claim"))?;
            let keys: Vec<Value> = shared.state().user_keys.iter().map(Key::public).collect();
            if header["typ"] != LIMITED_USER || !is_signed(limited, &keys) || is_over(&user) {
                return Err(refused("Failed user token verification"));
            }
            Ok(format!("{} via plugin:{subject}", user["sub"].as_str().unwrap_or_default()))
        }
        _ => Err(refused("Illegal token")),
    }
}

/// The keys a plugin publishes; those of the scaffolder are asked for where it is.
async fn published(plugin: &str, kid: &Value, shared: &Shared) -> Result<Vec<Value>, (u16, String)> {
    if plugin != "scaffolder" {
        return Ok(shared.state().plugin_keys.get(plugin).map(Key::public).into_iter().collect());
    }
    let (url, known) = {
        let state = shared.state();
        (state.scaffolder.clone(), state.scaffolder_keys.clone())
    };
    if known.iter().any(|key| key["kid"] == *kid) {
        return Ok(known);
    }
    let nowhere = |text: String| (401, format!("the scaffolder's keys can't be had: {text}"));
    let url = url.ok_or_else(|| nowhere("nobody said where it is".to_owned()))?;
    let url = format!("{url}/api/scaffolder/.backstage/auth/v1/jwks.json");
    let answer = shared.http.get(url).send().await.map_err(|error| nowhere(error.to_string()))?;
    let set: Value = answer.json().await.map_err(|error| nowhere(error.to_string()))?;
    let keys = set["keys"].as_array().cloned().unwrap_or_default();
    shared.state().scaffolder_keys.clone_from(&keys);
    Ok(keys)
}

/// What the guest provider tells the frontend.
fn guest(shared: &Shared) -> Value {
    let now = chrono::Utc::now().timestamp();
    let subject = "user:default/guest";
    let state = shared.state();
    let Some(key) = state.user_keys.last() else { return Value::Null };
    let limited_header = json!({"typ": LIMITED_USER, "alg": "ES256", "kid": key.id});
    let limited = json!({"sub": subject, "iat": now, "exp": now + super::HOUR});
    let claims = json!({
        "iss": format!("{}/api/auth", shared.url), "sub": subject, "aud": "backstage", "iat": now,
        "exp": now + super::HOUR, "uip": key.signature(&unsigned(&limited_header, &limited)),
    });
    json!({
        "profile": {},
        "backstageIdentity": {
            "token": key.sign(USER, &claims), "expiresInSeconds": super::HOUR,
            "identity": {"type": "user", "userEntityRef": subject, "ownershipEntityRefs": [subject]},
        },
    })
}

/// The canonical reference of an entity.
pub(super) fn reference(entity: &Value) -> String {
    let text = |pointer: &str, default: &str| {
        entity.pointer(pointer).and_then(Value::as_str).unwrap_or(default).to_lowercase()
    };
    format!("{}:{}/{}", text("/kind", ""), text("/metadata/namespace", "default"), text("/metadata/name", ""))
}
