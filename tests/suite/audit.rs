//! The audit log, through the front door: who asked for what and how it ended, in the lines that Backstage 4.2.0 writes
//! with `NODE_ENV=production`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use understudy_testbed::process::ServiceOptions;

use crate::support::{Running, TASKS, TempDir, binary, locations, write};

const LIMIT: Duration = Duration::from_secs(60);
const TOKEN: &str = "static-token-0123456789";
const AGENT: &str = "audit-test/1";
const ACTIONS: &str = "/api/scaffolder/v2/actions";
const OFFERED: &str = "/api/scaffolder/.backstage/actions/v1/actions/scaffolder";

fn templates() -> String {
    let template = |name: &str, spec: Value| {
        let mut spec = spec;
        spec["owner"] = "user:guest".into();
        spec["type"] = "service".into();
        json!({
            "apiVersion": "scaffolder.backstage.io/v1beta3", "kind": "Template", "metadata": {"name": name}, "spec": spec,
        })
        .to_string()
    };
    let log = json!([{"id": "log", "name": "Log", "action": "debug:log", "input": {"message": "hello"}}]);
    [
        template(
            "ok",
            json!({"parameters": {"required": ["name"], "properties": {"name": {"type": "string"}}}, "steps": log}),
        ),
        template("unknown-action", json!({"steps": [{"id": "a", "action": "nope:nope"}]})),
        template(
            "secret",
            json!({
                "secrets": {"schema": {"type": "object", "required": ["apiKey"], "properties": {"apiKey": {"type": "string"}}}},
                "steps": [{"id": "a", "action": "fetch:plain", "input": {"url": "https://127.0.0.1:1/${{ secrets.apiKey }}"}}],
            }),
        ),
        template("slow", json!({"steps": [{"id": "w", "name": "W", "action": "debug:wait", "input": {"minutes": 5}}]})),
    ]
    .join("\n---\n")
}

struct Audited {
    running: Running,
    _dir: TempDir,
}

impl Audited {
    async fn start(config: &str, log_level: &str) -> Self {
        let dir = TempDir::new();
        let path = dir.path.join("templates.yaml");
        write(&path, templates());
        let access = json!({"backend": {"auth": {"externalAccess": [
            {"type": "static", "options": {"token": TOKEN, "subject": "ci"}},
        ]}}});
        let options = ServiceOptions::new(binary())
            .config(locations(&[&path]))
            .config(access.to_string())
            .config(config)
            .env("NODE_ENV", "production")
            .env("LOG_LEVEL", log_level);
        Self { running: Running::with(options).await.authorized(TOKEN), _dir: dir }
    }
    /// The audit lines so far.
    fn lines(&self) -> Vec<Value> {
        let logs = self.running.service.logs();
        let whole = logs.rfind('\n').map_or("", |end| &logs[..end]);
        let lines =
            whole.lines().map(|line| serde_json::from_str::<Value>(line).expect("every line of the log is JSON"));
        lines.filter(|line| line["isAuditEvent"] == true).collect()
    }
    /// The two lines about an act whose last one has come, where `is_meant` tells it from others of its kind.
    async fn pair(&self, kind: &str, is_meant: impl Fn(&Value) -> bool) -> [Value; 2] {
        let deadline = Instant::now() + LIMIT;
        loop {
            let lines = self.lines();
            let found: Vec<Value> = lines.into_iter().filter(|line| kind_of(line) == kind && is_meant(line)).collect();
            if let [begun, ended] = &found[..] {
                assert_eq!(begun["status"], "initiated", "{begun}");
                return [begun.clone(), ended.clone()];
            }
            assert!(
                found.len() < 2 && Instant::now() < deadline,
                "{kind}: {found:#?}\n{}",
                self.running.service.logs()
            );
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }
    /// Checks how the act that the caller's request to this URL was begins and ends.
    async fn check(&self, kind: &str, request: (&str, &str), begun: Value, ended: Value, outcome: Result<(), &str>) {
        let (method, url) = request;
        let is_meant = |line: &Value| {
            // The test's own looks at tasks come from another client.
            line["actor"]["userAgent"] == AGENT
                && line["request"] == json!({"url": url, "method": method})
                && ["templateRef", "taskId"].iter().all(|name| {
                    begun.get(*name).is_none_or(|value| {
                        // The reference may change its letters in between.
                        let shown = line["meta"][*name].as_str().unwrap_or_default();
                        value.as_str().unwrap_or_default().eq_ignore_ascii_case(shown)
                    })
                })
        };
        let [first, last] = self.pair(kind, is_meant).await;
        let level = if matches!(kind, "task/create" | "task/cancel" | "task/retry") { "medium" } else { "low" };
        for (line, meta) in [(&first, begun), (&last, ended)] {
            assert_eq!(
                (&line["severityLevel"], &line["plugin"], &line["service"]),
                (&level.into(), &"scaffolder".into(), &"backstage".into()),
                "{line}"
            );
            assert_eq!(line["level"], if level == "low" { "debug" } else { "info" }, "{line}");
            assert_eq!(
                line["actor"],
                json!({"actorId": "ci", "ip": "127.0.0.1", "hostname": "127.0.0.1", "userAgent": AGENT}),
                "{line}"
            );
            let meta_shown = line.get("meta").cloned().unwrap_or_else(|| json!({}));
            let mut expected = meta;
            if let Some((_, action_type)) = kind.split_once('/') {
                expected["actionType"] = action_type.into();
            }
            assert_eq!(meta_shown, expected, "{line}");
        }
        let event = kind.split('/').next().unwrap();
        assert_eq!(first["message"], format!("scaffolder.{event}"));
        match outcome {
            Ok(()) => assert_eq!((&last["status"], &last["message"]), (&"succeeded".into(), &first["message"])),
            Err(error) => {
                let (name, text) = error.split_once(": ").unwrap();
                assert_eq!(
                    (&last["status"], &last["message"], &last["name"], &last["stack"]),
                    (&"failed".into(), &format!("scaffolder.{event} {text}").into(), &name.into(), &error.into())
                );
            }
        }
    }
    /// As [`Audited::check`], for an act whose details don't change.
    async fn check_own(&self, kind: &str, request: (&str, &str), meta: Value, outcome: Result<(), &str>) {
        self.check(kind, request, meta.clone(), meta, outcome).await;
    }
    async fn send(&self, method: &str, path: &str, body: Option<&Value>) -> crate::support::Reply {
        let headers = [
            ("authorization", format!("Bearer {TOKEN}")),
            ("content-type", "application/json".into()),
            ("user-agent", AGENT.into()),
        ]
        .map(|(name, value)| (name.to_string(), value));
        let body = body.map(Value::to_string);
        self.running.request(method, path, &headers, body.as_deref()).await
    }
}

/// `task/<actionType>`, or the event's id.
fn kind_of(line: &Value) -> String {
    let id = line["eventId"].as_str().unwrap_or_default();
    line["meta"]["actionType"].as_str().map_or_else(|| id.to_string(), |action| format!("{id}/{action}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_has_its_beginning_and_its_end() {
    let audited = Audited::start("{}", "debug").await;
    let none = || json!({});

    // Forms.
    let form = |reference: &str| format!("/api/scaffolder/v2/templates/{reference}/parameter-schema");
    for (path, begun, ended, outcome) in [
        ("default/template/ok", "template:default/ok", "Template:default/ok", Ok(())),
        (
            "default/template/nope",
            "template:default/nope",
            "template:default/nope",
            Err("NotFoundError: Template template:default/nope not found"),
        ),
        (
            "default/user/ok",
            "user:default/ok",
            "user:default/ok",
            Err("InputError: Invalid kind, only 'Template' kind is supported"),
        ),
    ] {
        audited.send("GET", &form(path), None).await;
        let (begun, ended) = (json!({"templateRef": begun}), json!({"templateRef": ended}));
        audited.check("template-parameter-schema", ("GET", &form(path)), begun, ended, outcome).await;
    }

    // Actions.
    audited.send("GET", ACTIONS, None).await;
    audited.check("action-fetch", ("GET", ACTIONS), none(), none(), Ok(())).await;

    // Tasks that are created, or not.
    let create = |reference: &str, values: Value, secrets: Value| json!({"templateRef": reference, "values": values, "secrets": secrets});
    let created = audited.send("POST", TASKS, Some(&create("ok", json!({"name": "x"}), none()))).await;
    let id = created.json().unwrap()["id"].as_str().unwrap().to_string();
    let meta = |reference: &str| json!({"templateRef": reference});
    audited.check("task/create", ("POST", TASKS), meta("ok"), json!({"templateRef": "ok", "taskId": id}), Ok(())).await;
    for (reference, error) in [
        ("template:default/ok", "AggregateError: Could not create entity"),
        ("template:default/nope", "NotFoundError: Template template:default/nope not found"),
        ("template:default/secret", "InputError: Secrets validation failed"),
    ] {
        assert!(audited.send("POST", TASKS, Some(&create(reference, none(), none()))).await.status >= 400);
        audited.check("task/create", ("POST", TASKS), meta(reference), meta(reference), Err(error)).await;
    }

    // Lists.
    for (path, outcome) in [
        (format!("{TASKS}?limit=3"), Ok(())),
        (
            format!("{TASKS}?order=up"),
            Err("InputError: Invalid order parameter \"up\", expected \"<asc or desc>:<field name>\""),
        ),
    ] {
        audited.send("GET", &path, None).await;
        audited.check("task/list", ("GET", &path), none(), none(), outcome).await;
    }

    // One task; each route also with an id that no task has.
    let task = |id: &str| json!({"taskId": id});
    audited.running.wait_status(&id, LIMIT, |status| status == "completed").await;
    for (method, below, kind) in [
        ("GET", "", "task/get"),
        ("GET", "/eventstream", "task/stream"),
        ("GET", "/events", "task/events"),
        ("POST", "/cancel", "task/cancel"),
        ("POST", "/retry", "task/retry"),
    ] {
        for (id, outcome) in [(&*id, Ok(())), ("nope", Err("NotFoundError: No task with id 'nope' found"))] {
            let path = format!("{TASKS}/{id}{below}");
            let answer = audited.send(method, &path, (method == "POST").then(|| json!({})).as_ref()).await;
            assert_eq!(answer.status < 400, outcome.is_ok(), "{}", answer.text());
            audited.check_own(kind, (method, &path), task(id), outcome).await;
        }
    }
    // Another try of a task that has not ended: one end, and that it failed.
    let slow = audited.send("POST", TASKS, Some(&create("slow", none(), none()))).await;
    let slow = slow.json().unwrap()["id"].as_str().unwrap().to_string();
    let path = format!("{TASKS}/{slow}/retry");
    audited.running.wait_status(&slow, LIMIT, |status| status == "processing").await;
    let refused = audited.send("POST", &path, Some(&json!({}))).await;
    assert_eq!(refused.status, 409, "{}", refused.text());
    let error = format!("ConflictError: {}", refused.error_message());
    audited.check_own("task/retry", ("POST", &path), task(&slow), Err(&error)).await;

    audited.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dry_runs_and_offered_actions_are_audited_too() {
    let audited = Audited::start("{}", "debug").await;
    let path = "/api/scaffolder/v2/dry-run";
    let parameters = json!({"properties": {"a": {"type": "string"}}});
    let dry_run = |name: &str, value: Value, action: &str| {
        let template = json!({
            "apiVersion": "scaffolder.backstage.io/v1beta3", "kind": "Template", "metadata": {"name": name},
            "spec": {"type": "x", "owner": "u", "parameters": parameters, "steps": [{"id": "s", "action": action}]},
        });
        json!({"template": template, "values": {"a": value}, "secrets": {"k": "hunter2"}, "directoryContents": []})
    };
    for (number, (name, value, action, outcome)) in [
        ("fine", json!("s"), "debug:log", Ok(())),
        ("typed", json!(1), "debug:log", Err("AggregateError: Could not execute dry run")),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = audited.send("POST", path, Some(&dry_run(name, value, action))).await;
        assert_eq!(answer.status == 200, outcome.is_ok(), "{}", answer.text());
        let lines = wait_for_lines(&audited, "task/dry-run", 2 * (number + 1)).await;
        let [begun, ended] = &lines[2 * number..] else { panic!("{lines:?}") };
        assert_eq!(begun["meta"], json!({"actionType": "dry-run"}));
        let meta = json!({"actionType": "dry-run", "templateRef": format!("Template:default/{name}"), "parameters": parameters});
        assert_eq!((&ended["meta"], &ended["level"]), (&meta, &"debug".into()));
        match outcome {
            Ok(()) => assert_eq!(ended["status"], "succeeded"),
            Err(error) => assert_eq!((&ended["status"], &ended["stack"]), (&"failed".into(), &error.into())),
        }
    }
    // Not a template at all.
    let answer =
        audited.send("POST", path, Some(&json!({"template": {}, "values": {}, "directoryContents": []}))).await;
    assert!(answer.status >= 400);
    let lines = wait_for_lines(&audited, "task/dry-run", 6).await;
    assert_eq!((&lines[5]["status"], &lines[5]["meta"]), (&"failed".into(), &json!({"actionType": "dry-run"})));

    // What agents do through the actions registry is audited in their name.
    for (action, input, kinds) in [
        ("list-scaffolder-actions", json!({}), "action-fetch"),
        ("list-scaffolder-tasks", json!({}), "task/list"),
        ("execute-template", json!({"templateRef": "template:default/ok", "values": {"name": "x"}}), "task/create"),
    ] {
        let path = format!("{OFFERED}:{action}/invoke");
        let answer = audited.send("POST", &path, Some(&input)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let [begun, ended] = audited.pair(kinds, |line| line["request"]["url"] == *path).await;
        assert_eq!((&begun["actor"]["actorId"], &ended["status"]), (&"ci".into(), &"succeeded".into()));
    }
    assert!(!audited.running.service.logs().contains("hunter2"));
    audited.running.stop().await;
}

async fn wait_for_lines(audited: &Audited, kind: &str, count: usize) -> Vec<Value> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let lines: Vec<Value> = audited.lines().into_iter().filter(|line| kind_of(line) == kind).collect();
        if lines.len() >= count {
            return lines;
        }
        assert!(Instant::now() < deadline, "only {lines:#?}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_audited_with_their_parameters_and_without_secrets() {
    let audited = Audited::start("scaffolder: {auditor: {taskParameterMaxLength: 20}}", "info").await;
    let create = async |body: Value| {
        let created = audited.send("POST", TASKS, Some(&body)).await;
        assert_eq!(created.status, 201, "{}", created.text());
        created.json().unwrap()["id"].as_str().unwrap().to_string()
    };
    let long = "x".repeat(30);
    let ok = create(json!({"templateRef": "ok", "values": {"name": long, "list": [1, "short"]}})).await;
    let unknown = create(json!({"templateRef": "unknown-action", "values": {}})).await;
    let secret =
        create(json!({"templateRef": "secret", "values": {"a": "is hunter2"}, "secrets": {"apiKey": "hunter2"}})).await;
    let slow = create(json!({"templateRef": "slow", "values": {}})).await;

    let cut = format!("{}...<truncated>", "x".repeat(20));
    for (id, reference, parameters, error) in [
        (&ok, "ok", json!({"name": cut, "list": [1, "short"]}), None),
        (
            &unknown,
            "unknown-action",
            json!({}),
            Some("NotFoundError: Template action with ID 'nope:nope' is not registered"),
        ),
        (&secret, "secret", json!({"a": "is ***"}), Some("")),
    ] {
        let [begun, ended] = audited.pair("task/execution", |line| line["meta"]["taskId"] == **id).await;
        for line in [&begun, &ended] {
            assert_eq!(
                line["meta"],
                json!({
                    "actionType": "execution", "taskId": id, "taskParameters": parameters,
                    "templateRef": format!("template:default/{reference}"),
                })
            );
            assert_eq!(line["actor"], json!({"actorId": "plugin:scaffolder"}));
            assert_eq!((&line["severityLevel"], &line["level"]), (&"medium".into(), &"info".into()));
            assert!(line.get("request").is_none(), "{line}");
        }
        match error {
            None => assert_eq!(ended["status"], "succeeded", "{ended}"),
            Some(error) => {
                assert_eq!(ended["status"], "failed", "{ended}");
                assert!(ended["stack"].as_str().unwrap().starts_with(error), "{ended}");
            }
        }
    }
    // Nothing that is merely read is in a log of level info.
    assert!(audited.lines().iter().all(|line| line["severityLevel"] == "medium"), "{:#?}", audited.lines());

    // A cancelled run, and one that the end of the service interrupts.
    let interrupted = create(json!({"templateRef": "slow", "values": {}})).await;
    for id in [&slow, &interrupted] {
        audited.running.wait_status(id, LIMIT, |status| status == "processing").await;
    }
    audited.send("POST", &format!("{TASKS}/{slow}/cancel"), None).await;
    let [_, ended] = audited.pair("task/execution", |line| line["meta"]["taskId"] == *slow).await;
    assert_eq!(
        (&ended["status"], &ended["message"]),
        (&"failed".into(), &format!("scaffolder.task Step w (W) of task {slow} has been cancelled.").into())
    );
    let mut running = audited.running;
    assert!(running.service.terminate(LIMIT).await.unwrap().success());
    let logs = running.service.logs();
    let told = logs.lines().filter(|line| line.contains(&interrupted) && line.contains("\"execution\""));
    let told: Vec<Value> = told.map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(told.len(), 2, "{told:#?}");
    assert_eq!(told[1]["message"], "scaffolder.task the service shuts down, and the task goes back to the queue");
    assert!(!logs.contains("hunter2"), "{logs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn severities_have_the_levels_of_the_configuration() {
    let mappings = json!({"backend": {"auditor": {"severityLogLevelMappings": {"low": "warn", "medium": "debug"}}}});
    let audited = Audited::start(&mappings.to_string(), "info").await;
    audited.send("GET", ACTIONS, None).await;
    audited.send("GET", &format!("{TASKS}?limit=1"), None).await;
    let created = audited.send("POST", TASKS, Some(&json!({"templateRef": "ok", "values": {"name": "x"}}))).await;
    let id = created.json().unwrap()["id"].as_str().unwrap().to_string();
    audited.running.finish(&id, LIMIT).await;
    let lines = wait_for_lines(&audited, "task/list", 2).await;
    assert!(lines.iter().all(|line| line["level"] == "warn"), "{lines:#?}");
    let lines = audited.lines();
    assert!(lines.iter().all(|line| line["severityLevel"] == "low"), "{lines:#?}");
    assert!(lines.iter().any(|line| line["eventId"] == "action-fetch"));

    // Wrong settings are told at the start.
    for (config, told) in [
        ("backend: {auditor: {severityLogLevelMappings: {high: loud}}}", "severityLogLevelMappings.high"),
        ("scaffolder: {auditor: {taskParameterMaxLength: -2}}", "scaffolder.auditor.taskParameterMaxLength"),
        ("scaffolder: {auditor: {taskParameterMaxLength: 1.5}}", "scaffolder.auditor.taskParameterMaxLength"),
    ] {
        let refused = understudy_testbed::process::Service::start(ServiceOptions::new(binary()).config(config)).await;
        let Err(understudy_testbed::Error::EndedEarly { logs, .. }) = refused else { panic!("{config} is taken") };
        assert!(logs.contains(told), "{logs}");
    }
    audited.running.stop().await;
}
