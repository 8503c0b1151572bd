//! Beside a Backstage: who is let in, in whose name others are asked, and what happens when they don't answer.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD as BASE64};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use understudy_testbed::{
    backstage::{BackstageDouble, Fault},
    process::ServiceOptions,
};

use crate::support::{Reply, Running, TASKS, binary, completion, messages, template};

const USER: &str = "user:default/guest";
const STATIC: &str = "static-token-0123456789";
const RESTRICTED: &str = "for-the-catalog-only";
const ACTIONS: &str = "/api/scaffolder/v2/actions";
const LIMIT: Duration = Duration::from_secs(60);

/// A service beside a Backstage.
struct Pair {
    backstage: BackstageDouble,
    service: Running,
}

impl Pair {
    async fn start() -> Self {
        Self::with("{}").await
    }
    async fn with(config: &str) -> Self {
        let backstage = BackstageDouble::start().await.unwrap();
        let access = json!({"backend": {"auth": {"externalAccess": [
            {"type": "static", "options": {"token": STATIC, "subject": "curl-client"}},
            {
                "type": "static", "options": {"token": RESTRICTED, "subject": "catalog-client"},
                "accessRestrictions": [{"plugin": "catalog"}],
            },
        ]}}});
        let options =
            ServiceOptions::new(binary()).config(backstage.app_config()).config(access.to_string()).config(config);
        let service = Running::with(options).await;
        backstage.scaffolder_at(service.service.base_url());
        backstage.add_entity(serde_json::from_str(&template("hello", &steps(&[]))).unwrap());
        Self { backstage, service }
    }
    fn user(&self) -> String {
        self.backstage.user_token(USER)
    }
    async fn get(&self, path: &str, token: &str) -> Reply {
        self.service.request("GET", path, &bearer(token), None).await
    }
    async fn post(&self, path: &str, token: &str, body: &Value) -> Reply {
        self.service.request("POST", path, &bearer(token), Some(&body.to_string())).await
    }
    async fn create(&self, token: &str, name: &str) -> Reply {
        self.post(TASKS, token, &json!({"templateRef": format!("template:default/{name}"), "values": {}})).await
    }
    /// Creates a task and waits until it has ended; gives status and events.
    async fn run(&self, token: &str, name: &str) -> (String, Vec<Value>) {
        let answer = self.create(token, name).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        self.ended(answer.json().unwrap()["id"].as_str().unwrap()).await
    }
    async fn ended(&self, id: &str) -> (String, Vec<Value>) {
        let deadline = std::time::Instant::now() + LIMIT;
        loop {
            let task = self.get(&format!("{TASKS}/{id}"), STATIC).await.json().unwrap();
            let status = task["status"].as_str().unwrap().to_string();
            if !matches!(status.as_str(), "open" | "processing") {
                let events = self.get(&format!("{TASKS}/{id}/events"), STATIC).await.json().unwrap();
                return (status, events.as_array().unwrap().clone());
            }
            assert!(std::time::Instant::now() < deadline, "task {id} is still {status}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    /// Whom the catalog saw asking for a path.
    fn principals(&self, path: &str) -> Vec<String> {
        let requests = self.backstage.requests();
        requests.iter().filter(|seen| seen.path.starts_with(path)).filter_map(|seen| seen.principal.clone()).collect()
    }
}

fn steps(more: &[Value]) -> Value {
    let mut steps = vec![json!({"id": "log", "action": "debug:log", "input": {"message": "hello"}})];
    steps.extend_from_slice(more);
    steps.into()
}

fn bearer(token: &str) -> Vec<(String, String)> {
    let mut headers = vec![("content-type".into(), "application/json".into())];
    if !token.is_empty() {
        headers.push(("authorization".into(), format!("Bearer {token}")));
    }
    headers
}

/// Name and message of an error body, with its status.
fn told(answer: &Reply) -> (u16, String) {
    let body = answer.json().unwrap_or_default();
    let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_string();
    (answer.status, format!("{}: {}", text("/error/name"), text("/error/message")))
}

fn refusal(message: &str) -> (u16, String) {
    (401, format!("AuthenticationError: {message}"))
}

/// A token with another header, claims or signature than it was issued with.
fn changed(token: &str, part: usize, change: impl FnOnce(&mut Value)) -> String {
    let mut parts: Vec<String> = token.split('.').map(str::to_string).collect();
    let mut value = serde_json::from_slice(&BASE64.decode(&parts[part]).unwrap()).unwrap();
    change(&mut value);
    parts[part] = BASE64.encode(value.to_string());
    parts.join(".")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_token_a_user_and_nobody() {
    let pair = Pair::start().await;
    let service = pair.create(STATIC, "hello").await;
    assert_eq!(service.status, 201, "{}", service.text());
    let user = pair.create(&pair.user(), "hello").await;
    assert_eq!(user.status, 201, "{}", user.text());
    let nobody = pair.create("", "hello").await;
    assert_eq!(
        (nobody.status, nobody.json().unwrap()),
        (
            401,
            json!({
                "error": {"name": "AuthenticationError", "message": "Missing credentials"},
                "request": {"method": "POST", "url": "/v2/tasks"},
                "response": {"statusCode": 401},
            })
        )
    );
    // The tasks know who made them, and the catalog was asked in their names.
    let task = |answer: &Reply| format!("{TASKS}/{}", answer.json().unwrap()["id"].as_str().unwrap());
    let of_user = pair.get(&task(&user), STATIC).await.json().unwrap();
    assert_eq!((&of_user["createdBy"], &of_user["spec"]["user"]["ref"]), (&json!(USER), &json!(USER)));
    assert_eq!(of_user["spec"]["user"]["entity"]["kind"], "User");
    let of_service = pair.get(&task(&service), STATIC).await.json().unwrap();
    assert!(of_service.get("createdBy").is_none_or(Value::is_null) && of_service["spec"]["user"].get("ref").is_none());
    let asked = pair.principals("/api/catalog/entities/by-name/template/default/hello");
    assert_eq!(asked, ["plugin:scaffolder", "user:default/guest via plugin:scaffolder"]);
    // Its own catalog has no part in this, and what is open stays open.
    assert_eq!(pair.get("/api/catalog/entities", STATIC).await.status, 404);
    assert_eq!(pair.get("/api/scaffolder/v2/nope", "").await.status, 401);
    for path in
        ["/.backstage/health/v1/readiness", "/api/scaffolder/.backstage/auth/v1/jwks.json", "/api/scaffolder/docs"]
    {
        assert_eq!(pair.get(path, "").await.status, 200, "{path}");
    }
    pair.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_are_not_good_are_refused_in_upstreams_words() {
    let pair = Pair::start().await;
    let user = pair.user();
    assert_eq!(pair.get(ACTIONS, &user).await.status, 200);
    let plugin =
        |plugin: &str, audience: &str, obo: Option<&str>| pair.backstage.plugin_token(plugin, audience, obo).unwrap();
    let (signed, signature) = user.rsplit_once('.').unwrap();
    // HS256 with the published key as its secret, the classic confusion of algorithms.
    let keys = pair.service.get("/api/scaffolder/.backstage/auth/v1/jwks.json").await.text();
    let confused = changed(&user, 0, |header| header["alg"] = "HS256".into());
    let mac = ring_hmac(keys.as_bytes(), confused.rsplit_once('.').unwrap().0);
    let confused = format!("{}.{mac}", confused.rsplit_once('.').unwrap().0);
    let failed = "Failed user token verification";
    for (what, token, message) in [
        ("no token at all", "opaque".to_string(), "Illegal token"),
        ("expired", pair.backstage.user_token_for(USER, -60), failed),
        ("tampered claims", changed(&user, 1, |claims| claims["sub"] = "user:default/root".into()), failed),
        ("tampered signature", format!("{signed}.{}AAAA", &signature[..signature.len() - 4]), failed),
        ("no signature", format!("{signed}."), failed),
        ("none", changed(&format!("{signed}."), 0, |header| header["alg"] = "none".into()), failed),
        ("HS256", confused, failed),
        ("unknown key", changed(&user, 0, |header| header["kid"] = "unknown".into()), failed),
        ("another type", changed(&user, 0, |header| header["typ"] = "JWT".into()), failed),
        ("no type, no audience", pair.backstage.sign_user("JWT", json!({"sub": USER})), "Illegal token"),
        ("limited", limited(&user), "Illegal limited user token"),
        ("for another plugin", plugin("catalog", "catalog", None), "Failed plugin token verification"),
        (
            "of a plugin with a user's key",
            pair.backstage.sign_user(
                "vnd.backstage.plugin",
                json!({"sub": "catalog", "aud": "scaffolder", "iat": 1, "exp": 9_999_999_999_i64}),
            ),
            "Failed plugin token verification",
        ),
        (
            "of a plugin with an odd name",
            pair.backstage.sign_user(
                "vnd.backstage.plugin",
                json!({"sub": "../x", "aud": "scaffolder", "iat": 1, "exp": 9_999_999_999_i64}),
            ),
            "Invalid plugin token: forbidden subject format",
        ),
        (
            "for a user with a whole token",
            plugin("catalog", "scaffolder", Some("opaque")),
            "Invalid user token in plugin token obo claim",
        ),
        (
            "for a user whose token is tampered with",
            plugin(
                "catalog",
                "scaffolder",
                Some(&changed(&limited(&user), 1, |claims| claims["sub"] = "user:default/root".into())),
            ),
            failed,
        ),
    ] {
        assert_eq!(told(&pair.get(ACTIONS, &token).await), refusal(message), "{what}");
    }
    let unknown = pair.backstage.sign_user(
        "vnd.backstage.plugin",
        json!({"sub": "nobody", "aud": "scaffolder", "iat": 1, "exp": 9_999_999_999_i64}),
    );
    let (status, message) = told(&pair.get(ACTIONS, &unknown).await);
    assert!(
        status == 401 && message.contains("the source 'nobody' plugin unexpectedly does not have a JWKS"),
        "{message}"
    );
    let restricted = told(&pair.get(ACTIONS, RESTRICTED).await);
    assert_eq!(restricted, (403, "NotAllowedError: This token's access is restricted to plugin(s) 'catalog'".into()));
    let basic = pair.service.request("GET", ACTIONS, &[("authorization".into(), "Basic YTpi".into())], None).await;
    assert_eq!(told(&basic), refusal("Missing credentials"));
    pair.service.stop().await;
}

/// The limited token of a user's token, put together here from what it holds.
fn limited(user: &str) -> String {
    let parts: Vec<Value> =
        user.split('.').take(2).map(|part| serde_json::from_slice(&BASE64.decode(part).unwrap()).unwrap()).collect();
    let header = json!({"typ": "vnd.backstage.limited-user", "alg": parts[0]["alg"], "kid": parts[0]["kid"]});
    let payload = json!({"sub": parts[1]["sub"], "iat": parts[1]["iat"], "exp": parts[1]["exp"]});
    let encode = |value: Value| BASE64.encode(value.to_string());
    format!("{}.{}.{}", encode(header), encode(payload), parts[1]["uip"].as_str().unwrap())
}

fn ring_hmac(secret: &[u8], text: &str) -> String {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
    BASE64.encode(ring::hmac::sign(&key, text.as_bytes()))
}

#[tokio::test(flavor = "multi_thread")]
async fn plugins_may_ask_for_themselves_and_for_users() {
    let pair = Pair::start().await;
    let agent = pair.backstage.plugin_token("mcp-actions", "scaffolder", None).unwrap();
    assert_eq!(pair.get(ACTIONS, &agent).await.status, 200);
    let for_user = pair.backstage.plugin_token("mcp-actions", "scaffolder", Some(&limited(&pair.user()))).unwrap();
    let answer = pair.create(&for_user, "hello").await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let id = answer.json().unwrap()["id"].as_str().unwrap().to_string();
    let (status, _) = pair.ended(&id).await;
    assert_eq!(status, "completed");
    let task = pair.get(&format!("{TASKS}/{id}"), STATIC).await.json().unwrap();
    assert_eq!(task["createdBy"], USER);
    // The plugin's key was fetched once for all of this.
    assert_eq!(pair.backstage.count("/api/mcp-actions/.backstage/auth/v1/jwks.json"), 1);
    assert_eq!(pair.backstage.count("/api/auth/.well-known/jwks.json"), 1);
    pair.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_hang_fail_or_change() {
    let pair = Pair::start().await;
    let keys = "/api/auth/.well-known/jwks.json";
    pair.backstage.fail(keys, Fault::Status(500));
    assert_eq!(told(&pair.get(ACTIONS, &pair.user()).await), refusal("Failed user token verification"));
    pair.backstage.heal();
    pair.backstage.fail(keys, Fault::Hang);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    // All of these wait for one request, which is given up after five seconds; others don't wait.
    let (user, before) = (pair.user(), pair.backstage.count(keys));
    let waiting = futures_util::future::join_all((0..20).map(|_| pair.get(ACTIONS, &user)));
    let other = async { pair.get(ACTIONS, STATIC).await.status };
    let (waited, other) = tokio::join!(waiting, other);
    assert_eq!(other, 200);
    assert!(waited.iter().all(|answer| told(answer) == refusal("Failed user token verification")));
    let asked = pair.backstage.count(keys) - before;
    assert!((1..=5).contains(&asked), "{asked} requests for 20 callers");
    pair.backstage.heal();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(pair.get(ACTIONS, &user).await.status, 200);

    // A new key is looked for at once, and unknown ones don't make us ask without end.
    pair.backstage.rotate_user_keys(true).unwrap();
    assert_eq!(pair.get(ACTIONS, &pair.user()).await.status, 200);
    assert_eq!(pair.get(ACTIONS, &user).await.status, 200);
    let before = pair.backstage.count(keys);
    for number in 0..30 {
        let unknown = changed(&user, 0, |header| header["kid"] = format!("k{number}").into());
        assert_eq!(pair.get(ACTIONS, &unknown).await.status, 401);
    }
    let asked = pair.backstage.count(keys) - before;
    assert!(asked <= 10, "{asked} requests for unknown keys");
    // What is known is good although the auth backend is gone.
    pair.backstage.fail(keys, Fault::Status(503));
    assert_eq!(pair.get(ACTIONS, &user).await.status, 200);
    pair.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_that_refuses_fails_or_takes_its_time() {
    let pair = Pair::start().await;
    let user = pair.user();
    let schema = "/api/scaffolder/v2/templates/default/template/hello/parameter-schema";
    for (fault, expected) in [
        (Fault::Refusal(403), (403, "ResponseError: Request failed with 403 Forbidden".to_string())),
        (Fault::Refusal(401), (401, "ResponseError: Request failed with 401 Unauthorized".to_string())),
        (Fault::Status(500), (500, "ResponseError: Request failed with 500 Internal Server Error".to_string())),
        (Fault::Status(404), (404, "NotFoundError: Template template:default/hello not found".to_string())),
    ] {
        pair.backstage.heal();
        pair.backstage.fail("/api/catalog", fault);
        let answer = pair.get(schema, &user).await;
        assert_eq!(told(&answer), expected, "{fault:?}");
        // Why the catalog refused is part of the answer.
        let cause = answer.json().unwrap().pointer("/error/cause").cloned();
        let told_cause = match fault {
            Fault::Refusal(403) => Some(json!({"name": "NotAllowedError", "message": "the test wants it so"})),
            Fault::Refusal(_) => Some(json!({"name": "AuthenticationError", "message": "the test wants it so"})),
            Fault::Status(500) => cause.clone().filter(|cause| {
                cause["message"].as_str().is_some_and(|text| text.starts_with("Request failed with status 500"))
            }),
            _ => None,
        };
        assert_eq!(cause, told_cause, "{fault:?}");
        assert_eq!(pair.create(&user, "hello").await.status, expected.0, "{fault:?}");
    }
    pair.backstage.heal();
    pair.backstage.fail("/api/catalog", Fault::Delay(Duration::from_secs(2)));
    assert_eq!(pair.get(schema, &user).await.status, 200);
    pair.backstage.heal();
    // A name that is more than a name stays one segment of the path.
    let answer = pair.create(STATIC, "..%2F..%2Flocations").await;
    assert_eq!(told(&answer).0, 404, "{}", answer.text());
    let last = pair.backstage.requests().pop().unwrap();
    assert_eq!(last.path, "/api/catalog/entities/by-name/template/default/..%252F..%252Flocations");
    let before = pair.backstage.requests().len();
    let upwards = json!({"templateRef": "template:../..", "values": {}});
    assert_eq!(pair.post(TASKS, STATIC, &upwards).await.status, 404);
    assert_eq!(pair.backstage.requests().len(), before);
    pair.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_ask_the_catalog_in_the_name_of_who_started_them() {
    let pair = Pair::start().await;
    let url = "https://github.com/my-org/my-repo/blob/main/catalog-info.yaml";
    let register = json!({"id": "register", "action": "catalog:register", "input": {"catalogInfoUrl": url}});
    let fetch = json!({"id": "fetch", "action": "catalog:fetch", "input": {"entityRef": "user:default/guest"}});
    let entity = template("catalog", &steps(&[fetch.clone(), register.clone()]));
    pair.backstage.add_entity(serde_json::from_str(&entity).unwrap());
    let (status, events) = pair.run(&pair.user(), "catalog").await;
    assert_eq!(status, "completed", "{}", messages(&events));
    assert_eq!(pair.backstage.locations(), [("url".to_string(), url.to_string())]);
    assert!(
        pair.principals("/api/catalog/locations").iter().all(|who| who == "user:default/guest via plugin:scaffolder"),
        "{:?}",
        pair.principals("/api/catalog/locations")
    );
    let (status, events) = pair.run(STATIC, "catalog").await;
    assert_eq!(status, "failed");
    assert_eq!(completion(&events)["error"]["message"], "Request failed with 409 Conflict");
    assert_eq!(pair.principals("/api/catalog/locations").last().map(String::as_str), Some("plugin:scaffolder"));
    pair.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_ends_while_the_task_runs() {
    let pair = Pair::start().await;
    let wait = json!({"id": "wait", "action": "debug:wait", "input": {"seconds": 8}});
    let fetch =
        json!({"id": "fetch", "name": "Look", "action": "catalog:fetch", "input": {"entityRef": "user:default/guest"}});
    let entity = template("slow", &steps(&[wait, fetch]));
    pair.backstage.add_entity(serde_json::from_str(&entity).unwrap());
    let answer = pair.create(&pair.backstage.user_token_for(USER, 6), "slow").await;
    assert_eq!(answer.status, 201, "{}", answer.text());
    let id = answer.json().unwrap()["id"].as_str().unwrap().to_string();
    let (status, events) = pair.ended(&id).await;
    assert_eq!(status, "failed", "{}", messages(&events));
    let error = &completion(&events)["error"];
    assert_eq!(error["name"], "AuthenticationError");
    for part in ["the token of user:default/guest expired at", "auth.backstageTokenExpiration", "retry the task"] {
        assert!(error["message"].as_str().unwrap().contains(part), "{error}");
    }
    let failed = events.iter().find(|event| event["body"]["status"] == "failed").expect("a failed step");
    assert_eq!(failed["body"]["stepId"], "fetch");

    // As the text says: a fresh token, and it goes through.
    let retried = pair.post(&format!("{TASKS}/{id}/retry"), &pair.user(), &json!({})).await;
    assert_eq!(retried.status, 201, "{}", retried.text());
    let (status, events) = pair.ended(&id).await;
    assert_eq!(status, "completed", "{}", messages(&events));
    pair.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn own_keys_are_published_and_outlive_the_process() {
    let data = tempfile::tempdir().unwrap();
    let backstage = BackstageDouble::start().await.unwrap();
    backstage.add_entity(serde_json::from_str(&template("hello", &steps(&[]))).unwrap());
    let options = || ServiceOptions::new(binary()).config(backstage.app_config()).data_dir(data.path());
    let keys = "/api/scaffolder/.backstage/auth/v1/jwks.json";
    let mut seen: Vec<Value> = Vec::new();
    for expected in [1, 2] {
        let service = Running::with(options()).await;
        backstage.scaffolder_at(service.service.base_url());
        // A key is made when the first token is.
        assert_eq!(service.get(keys).await.json().unwrap()["keys"].as_array().unwrap().len(), expected - 1);
        let schema = "/api/scaffolder/v2/templates/default/template/hello/parameter-schema";
        let answer = service.request("GET", schema, &bearer(&backstage.user_token(USER)), None).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let now = service.get(keys).await.json().unwrap()["keys"].as_array().unwrap().clone();
        assert_eq!(now.len(), expected);
        assert!(seen.iter().all(|key| now.contains(key)));
        for key in &now {
            assert_eq!((&key["kty"], &key["crv"], &key["alg"]), (&json!("EC"), &json!("P-256"), &json!("ES256")));
            assert!(key.get("d").is_none());
        }
        seen = now;
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_of_backstage_is_enough() {
    // One entry for the scaffolder, in the file that Backstage itself reads: the rest is at backend.baseUrl.
    let backstage = BackstageDouble::start().await.unwrap();
    let config = json!({
        "backend": {"baseUrl": backstage.url()},
        "discovery": {"endpoints": [{"target": "http://127.0.0.1:1/api/{{pluginId}}", "plugins": ["scaffolder"]}]},
    });
    let service = Running::with(ServiceOptions::new(binary()).config(config.to_string())).await;
    backstage.scaffolder_at(service.service.base_url());
    assert_eq!(service.get(ACTIONS).await.status, 401);
    let schema = "/api/scaffolder/v2/templates/default/template/hello/parameter-schema";
    backstage.add_entity(serde_json::from_str(&template("hello", &steps(&[]))).unwrap());
    let answer = service.request("GET", schema, &bearer(&backstage.user_token(USER)), None).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    service.stop().await;
}

/// However an address is written: nobody gets in without credentials, and with them it is the plain one's answer or none.
#[tokio::test(flavor = "multi_thread")]
async fn addresses_in_another_writing_lead_to_the_same_door() {
    let pair = Pair::start().await;
    let port = pair.service.service.port();
    let ask = async |method: &str, path: &str, token: &str| {
        let token = if token.is_empty() { String::new() } else { format!("authorization: Bearer {token}\r\n") };
        let text = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n{token}connection: close\r\n\r\n");
        // As it stands: an HTTP client would mend it.
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        tokio::time::timeout(LIMIT, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_string())
    };
    let forms = |root: &str, rest: &str| {
        let (first, later) = rest.split_at(1);
        let escaped = format!("%{:02x}{later}", first.as_bytes()[0]);
        vec![
            format!("/api/{root}/{rest}"),
            format!("/api/{root}/{rest}/"),
            format!("/api/{root}/{rest}//"),
            format!("/api/{root}/{escaped}"),
            format!("/%61pi/{root}/{rest}"),
            format!("/api/%{:02x}{}/{rest}", root.as_bytes()[0], &root[1..]),
            format!("/api/%{:02X}{}/{escaped}", root.as_bytes()[0], &root[1..]),
            format!("/api%2f{root}/{rest}"),
            format!("/api/{root}%2F{rest}"),
            format!("/api/{root}%252f{rest}"),
            format!("//api/{root}/{rest}"),
            format!("/api//{root}/{rest}"),
            format!("/api/{root}//{rest}"),
            format!("/./api/{root}/{rest}"),
            format!("/api/./{root}/{rest}"),
            format!("/api/{root}/./{rest}"),
            format!("/api/x/../{root}/{rest}"),
            format!("/api/x/%2e%2e/{root}/{rest}"),
            format!("/api/scaffolder/docs/../../{root}/{rest}"),
            format!("/api/scaffolder/.backstage/auth/v1/jwks.json/../../../../../{root}/{rest}"),
            format!("/api/scaffolder/.backstage/auth/v1/jwks.json/%2e%2e/{rest}"),
            format!("/.backstage/health/../../api/{root}/{rest}"),
            format!("/api/{root};x/{rest}"),
            format!("/api/{root}/{rest};x"),
            format!("/api/{root}%00/{rest}"),
            format!("/API/{}/{}", root.to_uppercase(), rest.to_uppercase()),
            format!("http://elsewhere/api/{root}/{rest}"),
        ]
    };
    let mut let_in = 0;
    for (method, root, rest) in [
        ("GET", "scaffolder", "v2/tasks"),
        ("GET", "scaffolder", "v2/actions"),
        ("GET", "scaffolder", "openapi.json"),
        ("GET", "scaffolder", "v2/templating-extensions"),
        ("GET", "scaffolder", ".backstage/actions/v1/actions"),
        ("GET", "scaffolder", ".well-known/backstage/permissions/metadata"),
        ("GET", "catalog", "entities"),
        ("POST", "scaffolder", "v2/tasks"),
    ] {
        let plain = ask(method, &format!("/api/{root}/{rest}"), STATIC).await;
        for path in forms(root, rest) {
            let (status, body) = ask(method, &path, "").await;
            assert!(
                status == 401 || (matches!(status, 400 | 404) && body.is_empty()),
                "{method} {path} without credentials: {status} {body}"
            );
            let answer = ask(method, &path, STATIC).await;
            let is_plain = (answer.0, &answer.1) == (plain.0, &plain.1);
            assert!(
                is_plain || matches!(answer.0, 400 | 404),
                "{method} {path}: {answer:?} instead of {plain:?} or nothing"
            );
            let_in += u32::from(is_plain && answer.0 == 200);
        }
    }
    // Other writings than the plain one are understood as well, or this would not have tried much.
    assert!(let_in > 20, "{let_in}");
    pair.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_reaches_a_service_that_lets_everybody_in() {
    let service = Running::start("{}").await;
    assert_eq!(service.get(ACTIONS).await.status, 200);
    assert!(service.service.logs().contains("only this machine can reach the service"), "{}", service.service.logs());
    service.stop().await;
    let options = ServiceOptions::new(binary()).env("APP_CONFIG_backend_listen", "0.0.0.0:0");
    let refused = understudy_testbed::process::Service::start(options).await.unwrap_err().to_string();
    assert!(refused.contains("nothing is configured that says who may ask"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_credentials_are_not_asked_for_bad_ones_are_still_refused() {
    let pair = Pair::with("backend: {auth: {dangerouslyDisableDefaultAuthPolicy: true}}").await;
    assert_eq!(pair.get(ACTIONS, "").await.status, 200);
    assert_eq!(told(&pair.get(ACTIONS, "opaque").await), refusal("Illegal token"));
    assert_eq!(pair.create(&pair.user(), "hello").await.status, 201);
    // Nobody's calls carry no token, and it is the catalog that says no.
    assert_eq!(
        told(&pair.create("", "hello").await),
        (401, "ResponseError: Request failed with 401 Unauthorized".into())
    );
    pair.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_another_issuer_are_known_by_its_keys() {
    let issuer = BackstageDouble::start().await.unwrap();
    let keys = format!("{}/api/auth/.well-known/jwks.json", issuer.url());
    let entry = |more: Value| {
        let mut options = json!({"url": keys, "issuer": "https://ci.example.com", "audience": "understudy, other"});
        options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"backend": {"auth": {"externalAccess": [{"type": "jwks", "options": options}]}}}).to_string()
    };
    let token = |issued_by: &str, audience: &str| {
        let now = chrono::Utc::now().timestamp();
        // A clock that is a little ahead of ours.
        let claims = json!({
            "sub": "repo:my-org/my-repo", "iss": issued_by, "aud": [audience], "iat": now + 2, "nbf": now + 2,
            "exp": now + 60,
        });
        issuer.sign_user("JWT", claims)
    };
    let service = Running::start(&entry(json!({"subjectPrefix": "ci", "algorithm": "ES256"}))).await;
    let get = async |token: &str| service.request("GET", ACTIONS, &bearer(token), None).await;
    assert_eq!(get(&token("https://ci.example.com", "understudy")).await.status, 200);
    for wrong in [
        token("https://ci.example.com", "backstage"),
        token("https://elsewhere.example.com", "understudy"),
        changed(&token("https://ci.example.com", "understudy"), 1, |claims| claims["sub"] = "root".into()),
    ] {
        assert_eq!(told(&get(&wrong).await), refusal("Illegal token"));
    }
    service.stop().await;
    let service = Running::start(&entry(json!({"algorithm": ["RS256"]}))).await;
    let answer = service.request("GET", ACTIONS, &bearer(&token("https://ci.example.com", "understudy")), None).await;
    assert_eq!(told(&answer), refusal("Illegal token"));
    service.stop().await;
}
