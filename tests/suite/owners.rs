//! Permissions of users, beside a Backstage: whom the permission backend is asked about, and what owners see.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use understudy_testbed::{
    backstage::{BackstageDouble, Decision, Fault},
    process::ServiceOptions,
};

use crate::support::{Reply, Running, TASKS, binary, template};

const ANN: &str = "user:default/ann";
const BOB: &str = "user:default/bob";
const STATIC: &str = "static-token-0123456789";
const READER: &str = "may-only-read-0123456789";
const APPLY: &str = "/api/scaffolder/.well-known/backstage/permissions/apply-conditions";
const COOKIE: &str = "/api/scaffolder/.backstage/auth/v1/cookie";
const LIMIT: Duration = Duration::from_secs(60);

/// A service beside a Backstage that decides.
struct Pair {
    backstage: BackstageDouble,
    service: Running,
}

impl Pair {
    async fn start() -> Self {
        let backstage = BackstageDouble::start().await.unwrap();
        let config = json!({
            "permission": {"enabled": true},
            "backend": {"auth": {"externalAccess": [
                {"type": "static", "options": {"token": STATIC, "subject": "ci"}},
                {
                    "type": "static", "options": {"token": READER, "subject": "reader"},
                    "accessRestrictions": [{"plugin": "scaffolder", "permissionAttribute": {"action": ["read"]}}],
                },
            ]}},
        });
        let options = ServiceOptions::new(binary()).config(backstage.app_config()).config(config.to_string());
        let service = Running::with(options).await;
        backstage.scaffolder_at(service.service.base_url());
        let steps = json!([{"id": "log", "action": "debug:log", "input": {"message": "hello"}}]);
        backstage.add_entity(serde_json::from_str(&template("hello", &steps)).unwrap());
        Self { backstage, service }
    }
    async fn send(&self, method: &str, path: &str, token: &str, body: Option<&Value>) -> Reply {
        let headers = [
            ("content-type".to_string(), "application/json".to_string()),
            ("authorization".to_string(), format!("Bearer {token}")),
        ];
        self.service.request(method, path, &headers, body.map(Value::to_string).as_deref()).await
    }
    async fn start_task(&self, token: &str) -> Reply {
        self.send("POST", TASKS, token, Some(&json!({"templateRef": "hello", "values": {}}))).await
    }
    /// Starts a task and waits for its end; gives its id.
    async fn run(&self, token: &str) -> String {
        let answer = self.start_task(token).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        let id = answer.json().unwrap()["id"].as_str().unwrap().to_string();
        let deadline = Instant::now() + LIMIT;
        loop {
            let task = self.send("GET", &format!("{TASKS}/{id}"), STATIC, None).await.json().unwrap();
            if task["status"] == "completed" {
                return id;
            }
            assert!(Instant::now() < deadline, "task {id} is still {}", task["status"]);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    /// The ids that a caller's list shows, and how many it says there are.
    async fn listed(&self, token: &str, query: &str) -> (Vec<String>, Value) {
        let answer = self.send("GET", &format!("{TASKS}{query}"), token, None).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let body = answer.json().unwrap();
        let ids = body["tasks"].as_array().unwrap().iter().map(|task| task["id"].as_str().unwrap().to_string());
        (ids.collect(), body["totalTasks"].clone())
    }
}

fn owned_by(users: &[&str]) -> Value {
    json!({"rule": "IS_TASK_OWNER", "resourceType": "scaffolder-task", "params": {"createdBy": users}})
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_see_their_tasks_and_no_others() {
    let pair = Pair::start().await;
    let (ann, bob) = (pair.backstage.user_token(ANN), pair.backstage.user_token(BOB));
    let of_ann = pair.run(&ann).await;
    let of_bob = pair.run(&bob).await;
    let of_service = pair.run(STATIC).await;
    assert_eq!(pair.listed(&ann, "").await.1, 3);

    for permission in ["scaffolder.task.read", "scaffolder.task.cancel"] {
        pair.backstage.decide(permission, Decision::Conditional(json!({"anyOf": [owned_by(&[ANN])]})));
    }
    assert_eq!(pair.listed(&ann, "").await, (vec![of_ann.clone()], json!(1)));
    assert_eq!(pair.listed(&ann, &format!("?createdBy={BOB}")).await, (vec![], json!(0)));
    assert_eq!(pair.listed(&ann, "?status=completed&limit=1").await, (vec![of_ann.clone()], json!(1)));
    // Services are not asked about.
    assert_eq!(pair.listed(STATIC, "").await.1, 3);
    for (method, path, task, status) in [
        ("GET", "", &of_ann, 200),
        ("GET", "", &of_bob, 403),
        ("GET", "", &of_service, 403),
        ("GET", "/events", &of_bob, 403),
        ("GET", "/eventstream", &of_ann, 200),
        ("GET", "/eventstream", &of_bob, 403),
        ("POST", "/cancel", &of_bob, 403),
        ("POST", "/cancel", &of_ann, 200),
        ("POST", "/retry", &of_bob, 403),
    ] {
        let answer = pair.send(method, &format!("{TASKS}/{task}{path}"), &ann, None).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
    }

    pair.backstage.decide("scaffolder.task.read", Decision::Conditional(json!({"not": owned_by(&[ANN])})));
    // A task of nobody's is in no list with a condition, whichever way it is put.
    assert_eq!(pair.listed(&ann, "").await, (vec![of_bob.clone()], json!(1)));

    pair.backstage.decide("scaffolder.task.create", Decision::Deny);
    let denied = pair.start_task(&ann).await;
    assert_eq!((denied.status, &*denied.error_message()), (403, ""));
    assert_eq!(pair.start_task(STATIC).await.status, 201);

    let asked = pair.backstage.requests();
    let asked: Vec<_> = asked.iter().filter(|request| request.path == "/api/permission/authorize").collect();
    assert!(!asked.is_empty() && asked.iter().all(|request| request.status == 200));
    for request in asked {
        let principal = request.principal.as_deref().unwrap_or_default();
        assert!([ANN, BOB].iter().any(|user| principal == format!("{user} via plugin:scaffolder")), "{principal}");
    }
    pair.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn access_restrictions_decide_about_services() {
    let pair = Pair::start().await;
    assert_eq!(pair.send("GET", TASKS, READER, None).await.status, 200);
    let denied = pair.start_task(READER).await;
    assert_eq!((denied.status, &*denied.error_message()), (403, ""));
    assert_eq!(pair.backstage.count("/api/permission"), 0);
    pair.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permission_backend_that_hangs_or_fails_stops_users_only() {
    let pair = Pair::start().await;
    let ann = pair.backstage.user_token(ANN);
    for fault in [Fault::Status(502), Fault::Refusal(500), Fault::Hang] {
        pair.backstage.fail("/api/permission", fault);
        let answer = pair.send("GET", TASKS, &ann, None).await;
        assert_eq!(answer.status, 503, "{fault:?}: {}", answer.text());
        assert_eq!(pair.send("GET", TASKS, STATIC, None).await.status, 200);
        pair.backstage.heal();
        assert_eq!(pair.send("GET", TASKS, &ann, None).await.status, 200);
    }
    assert!(pair.service.service.logs().contains("nothing is allowed"), "{}", pair.service.service.logs());
    pair.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_are_applied_for_other_plugins() {
    let pair = Pair::start().await;
    let ann = pair.backstage.user_token(ANN);
    let plugin = pair.backstage.plugin_token("permission", "scaffolder", None).unwrap();
    let (mine, other) = (pair.run(&ann).await, pair.run(STATIC).await);
    let item = |refs: Value, conditions: Value| json!({"items": [{"id": "1", "resourceRef": refs, "resourceType": "scaffolder-task", "conditions": conditions}]});
    for (refs, conditions, expected) in [
        (json!(mine), owned_by(&[ANN]), json!("ALLOW")),
        (json!(other), owned_by(&[ANN]), json!("DENY")),
        (json!([mine, other, mine]), json!({"not": owned_by(&[ANN])}), json!(["DENY", "ALLOW", "DENY"])),
    ] {
        let answer = pair.send("POST", APPLY, &plugin, Some(&item(refs, conditions))).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json().unwrap(), json!({"items": [{"id": "1", "result": expected}]}));
    }
    let bad = json!({"rule": "IS_TASK_OWNER", "resourceType": "scaffolder-task", "params": {"createdBy": "x"}});
    let answer = pair.send("POST", APPLY, &plugin, Some(&item(json!(mine), bad))).await;
    assert_eq!(answer.status, 400);
    assert!(answer.error_message().starts_with("Parameters to rule are invalid; caused by ["), "{}", answer.text());
    assert_eq!(answer.json().unwrap()["error"]["cause"]["name"], "ZodError");
    // A user could find out whose tasks there are.
    let answer = pair.send("POST", APPLY, &ann, Some(&item(json!(other), owned_by(&[ANN])))).await;
    assert_eq!((answer.status, &*answer.error_message()), (403, ""));
    pair.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cookie_is_issued_to_users_and_opens_nothing() {
    let pair = Pair::start().await;
    let ann = pair.backstage.user_token(ANN);
    let set = |reply: &Reply| {
        let found = reply.headers.iter().find(|(name, _)| name == "set-cookie");
        found.map(|(_, value)| value.clone())
    };
    let issued = pair.send("GET", COOKIE, &ann, None).await;
    assert_eq!(issued.status, 200, "{}", issued.text());
    let expires_at = issued.json().unwrap()["expiresAt"].as_str().unwrap().to_string();
    let cookie = set(&issued).expect("a cookie");
    assert!(cookie.starts_with("backstage-auth=ey") && cookie.contains("; HttpOnly"), "{cookie}");
    let pair_of_cookie = cookie.split(';').next().unwrap().to_string();

    // One that lasts is not issued again.
    let headers = [
        ("authorization".to_string(), format!("Bearer {ann}")),
        ("cookie".to_string(), format!("other=1; {pair_of_cookie}")),
    ];
    let again = pair.service.request("GET", COOKIE, &headers, None).await;
    assert_eq!((again.status, set(&again)), (200, None));
    assert_eq!(again.json().unwrap()["expiresAt"], json!(expires_at));
    // Anything else in its place is passed over.
    for wrong in ["backstage-auth=nonsense".to_string(), format!("{pair_of_cookie}x")] {
        let headers = [("authorization".to_string(), format!("Bearer {ann}")), ("cookie".to_string(), wrong)];
        let answer = pair.service.request("GET", COOKIE, &headers, None).await;
        assert!(answer.status == 200 && set(&answer).is_some(), "{}", answer.text());
    }

    let alone = pair.service.request("GET", TASKS, &[("cookie".to_string(), pair_of_cookie)], None).await;
    assert_eq!(alone.status, 401, "{}", alone.text());
    let answer = pair.send("GET", COOKIE, STATIC, None).await;
    assert_eq!((answer.status, &*answer.error_message()), (403, "This endpoint does not allow 'service' credentials"));
    let cleared = pair.send("DELETE", COOKIE, &ann, None).await;
    assert_eq!((cleared.status, cleared.text()), (204, String::new()));
    assert!(set(&cleared).unwrap().starts_with("backstage-auth=; "), "{cleared:?}");
    pair.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_act_as_the_user_they_act_for() {
    let pair = Pair::start().await;
    let ann = pair.backstage.user_token(ANN);
    let mine = pair.run(&ann).await;
    pair.run(STATIC).await;
    let registry = "/api/scaffolder/.backstage/actions/v1/actions";
    let tasks = format!("{registry}/scaffolder:list-scaffolder-tasks/invoke");
    let answer = pair.send("POST", &tasks, &ann, Some(&json!({"owned": true}))).await;
    let output = answer.json().unwrap()["output"].clone();
    assert_eq!((&output["totalTasks"], &output["tasks"][0]["id"]), (&json!(1), &json!(mine)), "{}", answer.text());

    pair.backstage.decide("scaffolder.task.read", Decision::Deny);
    pair.backstage.decide("scaffolder.task.create", Decision::Deny);
    pair.backstage.decide("scaffolder.template.dry-run", Decision::Deny);
    let run = format!("{registry}/scaffolder:execute-template/invoke");
    let dry = format!("{registry}/scaffolder:dry-run-template/invoke");
    for (path, input, status) in [
        (&tasks, json!({}), 403),
        (&run, json!({"templateRef": "hello", "values": {}}), 403),
        // Who may not run templates dry doesn't see that one can.
        (&dry, json!({"templateYaml": ""}), 404),
    ] {
        let answer = pair.send("POST", path, &ann, Some(&input)).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
    }
    let list = pair.send("GET", registry, &ann, None).await.json().unwrap();
    let names: Vec<&str> =
        list["actions"].as_array().unwrap().iter().map(|action| action["name"].as_str().unwrap()).collect();
    assert!(!names.contains(&"dry-run-template") && names.len() == 4, "{names:?}");
    pair.service.stop().await;
}
