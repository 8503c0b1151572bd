//! What every answer has in common, and how the service begins and ends: headers, origins, limits, the gate.

use std::time::Duration;

use serde_json::{Value, json};
use understudy_testbed::process::{ServiceOptions, free_port};

use crate::support::{Reply, Running, TASKS, TempDir, binary, locations, template, write};

const ACTIONS: &str = "/api/scaffolder/v2/actions";
const READINESS: &str = "/.backstage/health/v1/readiness";

fn header<'r>(answer: &'r Reply, name: &str) -> Option<&'r str> {
    answer.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

async fn from(running: &Running, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
    let headers: Vec<_> = headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    running.request(method, path, &headers, None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_the_security_headers() {
    let config = "backend: {csp: {connect-src: [\"'self'\", 'http:', 'https:'], upgrade-insecure-requests: false}, \
                  cors: {origin: 'http://*.example'}, health: {headers: {x-served-by: understudy}}}";
    let running = Running::start(config).await;
    let origin = ("origin", "http://a.example");
    for (method, path, headers, status) in [
        ("GET", READINESS, vec![], 200),
        ("GET", "/nope", vec![], 404),
        ("GET", ACTIONS, vec![], 200),
        ("GET", ACTIONS, vec![("if-none-match", "*")], 304),
        ("GET", "/api/scaffolder/v2/actions?x=1", vec![], 400),
        ("OPTIONS", TASKS, vec![origin, ("access-control-request-method", "POST")], 204),
    ] {
        let answer = from(&running, method, path, &headers).await;
        assert_eq!(answer.status, status, "{method} {path}");
        for (name, value) in [
            (
                "content-security-policy",
                "default-src 'self';base-uri 'self';font-src 'self' https: data:;frame-ancestors 'self';img-src 'self' \
                 data:;object-src 'none';script-src 'self' 'unsafe-eval';script-src-attr 'none';style-src 'self' https: \
                 'unsafe-inline';connect-src 'self' http: https:",
            ),
            ("referrer-policy", "no-referrer"),
            ("strict-transport-security", "max-age=15552000; includeSubDomains"),
            ("x-content-type-options", "nosniff"),
            ("x-dns-prefetch-control", "off"),
            ("x-download-options", "noopen"),
            ("x-frame-options", "SAMEORIGIN"),
            ("x-permitted-cross-domain-policies", "none"),
            ("x-xss-protection", "0"),
        ] {
            assert_eq!(header(&answer, name), Some(value), "{name} of {method} {path}");
        }
        let served_by = header(&answer, "x-served-by");
        assert_eq!(served_by, (path == READINESS).then_some("understudy"), "{method} {path}");
        assert!(header(&answer, "x-powered-by").is_none() && header(&answer, "server").is_none());
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn origins_are_told_what_they_may() {
    let config = "backend: {cors: {origin: ['http://*.example', 'https://{a,b}.test:*'], methods: [GET, POST], \
                  credentials: true, allowedHeaders: [authorization], exposedHeaders: [x-a, x-b], maxAge: 60}}";
    let running = Running::start(config).await;
    for (origin, allowed) in [
        ("http://app.example", true),
        ("HTTP://APP.example", true),
        ("https://b.test:3000", true),
        ("http://app.example.evil", false),
        ("http://a/b.example", false),
        ("https://c.test:3000", false),
        ("null", false),
    ] {
        let get = from(&running, "GET", ACTIONS, &[("origin", origin)]).await;
        assert_eq!(get.status, 200, "{origin}");
        assert_eq!(header(&get, "access-control-allow-origin"), allowed.then_some(origin), "{origin}");
        assert_eq!(header(&get, "access-control-expose-headers"), allowed.then_some("x-a,x-b"), "{origin}");
        let preflight =
            from(&running, "OPTIONS", TASKS, &[("origin", origin), ("access-control-request-method", "POST")]).await;
        assert_eq!(preflight.status, if allowed { 204 } else { 200 }, "{origin}");
        assert_eq!(header(&preflight, "access-control-allow-methods"), allowed.then_some("GET,POST"), "{origin}");
        assert_eq!(header(&preflight, "access-control-allow-headers"), allowed.then_some("authorization"), "{origin}");
        assert_eq!(header(&preflight, "access-control-max-age"), allowed.then_some("60"), "{origin}");
        assert_eq!(header(&preflight, "access-control-allow-credentials"), allowed.then_some("true"), "{origin}");
    }
    running.stop().await;
    // Without a word about origins all are allowed, as one that has no name.
    let running = Running::start("backend: {cors: {optionsSuccessStatus: 200}}").await;
    let get = from(&running, "GET", ACTIONS, &[("origin", "http://anywhere.example")]).await;
    assert_eq!(header(&get, "access-control-allow-origin"), Some("*"));
    let preflight = from(&running, "OPTIONS", TASKS, &[("origin", "http://anywhere.example")]).await;
    assert_eq!((preflight.status, preflight.text().as_str()), (200, ""));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_limited_each_for_itself() {
    let config = "backend: {trustProxy: 1, rateLimit: {window: 1h, incomingRequestLimit: 4, ipAllowList: [192.0.2.9], \
                  plugin: {scaffolder: {window: 1h, incomingRequestLimit: 2, ipAllowList: []}}}}";
    let running = Running::start(config).await;
    let one = [("x-forwarded-for", "203.0.113.1")];
    for (path, status, remaining) in [
        (ACTIONS, 200, "1"),
        (ACTIONS, 200, "0"),
        (ACTIONS, 429, "0"),
        ("/api/catalog/entities", 200, "0"),
        (ACTIONS, 429, "0"),
        ("/nope", 429, "0"),
    ] {
        let answer = from(&running, "GET", path, &one).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert_eq!(header(&answer, "x-ratelimit-remaining"), Some(remaining), "{path}");
        assert!(header(&answer, "x-ratelimit-reset").is_some());
        if status == 429 {
            assert_eq!(
                answer.json(),
                Some(json!({"error": {"name": "Error", "message": "Too many requests, please try again later"},
                    "response": {"statusCode": 429}}))
            );
            assert_eq!(header(&answer, "content-type"), Some("application/json; charset=utf-8"));
            let seconds: u64 = header(&answer, "retry-after").unwrap().parse().unwrap();
            assert!((1..=3600).contains(&seconds), "{seconds}");
        }
    }
    // Another client, one that is allowed more, and probes.
    let other = from(&running, "GET", ACTIONS, &[("x-forwarded-for", "203.0.113.1, 203.0.113.2")]).await;
    assert_eq!((other.status, header(&other, "x-ratelimit-limit")), (200, Some("2")));
    for _ in 0..10 {
        let probe = from(&running, "GET", READINESS, &one).await;
        assert_eq!((probe.status, header(&probe, "x-ratelimit-limit")), (200, None));
        let allowed = from(&running, "GET", "/api/catalog/entities", &[("x-forwarded-for", "192.0.2.9")]).await;
        assert_eq!((allowed.status, header(&allowed, "x-ratelimit-limit")), (200, None));
    }
    running.stop().await;
    let running = Running::start("{}").await;
    for _ in 0..20 {
        let answer = from(&running, "GET", ACTIONS, &one).await;
        assert_eq!((answer.status, header(&answer, "x-ratelimit-limit")), (200, None), "there is no limit by default");
    }
    running.stop().await;
}

/// Metrics are at an address of their own, and nowhere by default.
#[tokio::test(flavor = "multi_thread")]
async fn tasks_steps_and_requests_are_counted() {
    let dir = TempDir::new();
    let steps = json!([{"id": "a", "name": "Say hello", "action": "debug:log", "input": {"message": "hello"}},
        {"id": "b", "name": "Nothing", "if": false, "action": "debug:log"}]);
    write(dir.path.join("a.yaml"), template("counted", &steps));
    let listen = format!("127.0.0.1:{}", free_port().unwrap());
    let config = json!({"backend": {"metrics": {"prometheus": {"listen": listen}}}}).to_string();
    let options = ServiceOptions::new(binary()).config(config).config(locations(&[&dir.path.join("a.yaml")]));
    let running = Running::with(options).await;
    let id = running.create_task(&json!({"templateRef": "counted", "values": {}})).await;
    running.finish(&id, Duration::from_secs(60)).await;
    assert_eq!(running.get("/api/scaffolder/v2/tasks/nope").await.status, 404);
    assert_eq!(running.get("/metrics").await.status, 404);
    let client = understudy_testbed::http::Client::new(format!("http://{listen}")).unwrap();
    let answer = client.get("/metrics").await.unwrap();
    assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = answer.text();
    for line in [
        "scaffolder_task_count{result=\"ok\",template=\"template:default/counted\"} 1",
        "scaffolder_task_duration_count{result=\"ok\",template=\"template:default/counted\"} 1",
        "scaffolder_step_count{result=\"ok\",step=\"Say hello\",template=\"template:default/counted\"} 1",
        "scaffolder_step_count{result=\"skipped\",step=\"Nothing\",template=\"template:default/counted\"} 1",
        "http_server_request_duration_seconds_count{method=\"POST\",route=\"/api/scaffolder/v2/tasks\",status=\"201\"} 1",
        "http_server_request_duration_seconds_count{method=\"GET\",route=\"/api/scaffolder/v2/tasks/{taskId}\",status=\"404\"} 1",
        "http_server_request_duration_seconds_count{method=\"GET\",route=\"other\",status=\"404\"} 1",
        "understudy_queue_wait_seconds_count 1",
        "understudy_worker_slots{state=\"all\"} 10",
        "understudy_claims_lost_total 0",
        "understudy_claim_errors_total 0",
        "understudy_tasks_recovered_total 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    for name in [
        "understudy_queue_tasks",
        "understudy_worker_slots{state=\"busy\"}",
        "understudy_worker_slots{state=\"waiting\"}",
    ] {
        assert!(text.lines().any(|line| line.starts_with(name)), "{name} is not in\n{text}");
    }
    running.stop().await;
}

/// Requests that come before the start is over wait for it; health and keys answer at once.
#[tokio::test(flavor = "multi_thread")]
async fn requests_wait_for_the_end_of_the_start() {
    // A host of templates that takes its time.
    let host = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("{}", host.local_addr().unwrap());
    let (dir, port) = (TempDir::new(), free_port().unwrap());
    let config = json!({
        "backend": {
            "listen": format!("127.0.0.1:{port}"), "baseUrl": format!("http://127.0.0.1:{port}"),
            "database": {"client": "better-sqlite3", "connection": {"directory": dir.path}},
            "workingDirectory": dir.path.join("work"), "reading": {"allow": [{"host": target}]},
            "lifecycle": {"startupRequestPauseTimeout": "1m"},
        },
        "catalog": {"locations": [{"type": "url", "target": format!("http://{target}/all.yaml")}]},
    });
    std::fs::create_dir(dir.path.join("work")).unwrap();
    write(dir.path.join("app-config.yaml"), config.to_string());
    let mut child = tokio::process::Command::new(binary())
        .args(["serve", "--config", dir.path.join("app-config.yaml").as_str()])
        // Without the proxies of this machine.
        .env_clear()
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let client = understudy_testbed::http::Client::new(format!("http://127.0.0.1:{port}")).unwrap();
    let (held, _) =
        tokio::time::timeout(Duration::from_secs(60), host.accept()).await.expect("the host is asked").unwrap();

    let readiness = client.get(READINESS).await.unwrap();
    assert_eq!(readiness.status, 503);
    assert_eq!(readiness.json().unwrap(), json!({"message": "Backend has not started yet", "status": "error"}));
    assert_eq!(client.get("/.backstage/health/v1/liveness").await.unwrap().status, 200);
    assert_eq!(client.get("/api/scaffolder/.backstage/auth/v1/jwks.json").await.unwrap().status, 200);
    let paused = tokio::spawn({
        let client = client.clone();
        async move { client.get(ACTIONS).await.unwrap().status.as_u16() }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!paused.is_finished(), "the request does not wait");
    // The host answers that there is nothing.
    drop(held);
    drop(host);
    assert_eq!(paused.await.unwrap(), 200);
    assert_eq!(client.get(READINESS).await.unwrap().status, 200);
    child.kill().await.unwrap();
}

/// `serverShutdownDelay`: load balancers are told first, requests are served meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn the_end_is_announced_before_requests_are_refused() {
    let mut running = Running::start("backend: {lifecycle: {serverShutdownDelay: 3s}}").await;
    running.service.signal(rustix::process::Signal::TERM).unwrap();
    let limit = std::time::Instant::now() + Duration::from_secs(20);
    let mut unready = running.get(READINESS).await;
    while unready.status == 200 {
        assert!(std::time::Instant::now() < limit, "the service is ready although it was asked to end");
        tokio::time::sleep(Duration::from_millis(20)).await;
        unready = running.get(READINESS).await;
    }
    assert_eq!(unready.json(), Some(json!({"message": "Backend is shutting down", "status": "error"})));
    let served = running.get(TASKS).await;
    assert_eq!((served.status, served.json().unwrap()["totalTasks"].clone()), (200, Value::from(0)));
    let status = running.service.wait(Duration::from_secs(30)).await.unwrap();
    assert!(status.success(), "{}", running.service.logs());
}
