//! Metrics by OpenTelemetry's protocol: a receiver that decodes them with OpenTelemetry's own messages.

use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{KeyValue, any_value},
    metrics::v1::{Metric, metric::Data, number_data_point},
};
use prost::Message;
use serde_json::{Value, json};
use understudy_testbed::process::{ServiceOptions, free_port};
use wiremock::{
    Mock, MockServer, Request, ResponseTemplate,
    matchers::{header, method, path},
};

use crate::support::{Running, TASKS, TempDir, binary, locations, template, write};

const LIMIT: Duration = Duration::from_secs(60);

async fn receiver(status: u16) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/v1/metrics"))
        .and(header("content-type", "application/x-protobuf"))
        .and(header("api-key", "hunter2"))
        .respond_with(ResponseTemplate::new(status))
        .mount(&server)
        .await;
    server
}

/// The exports so far.
async fn exports(server: &MockServer) -> Vec<ExportMetricsServiceRequest> {
    let requests = server.received_requests().await.unwrap();
    let decode = |request: &Request| ExportMetricsServiceRequest::decode(&request.body[..]).expect("an export");
    requests.iter().map(decode).collect()
}

/// Waits for so many exports.
async fn wait_for(server: &MockServer, count: usize) -> Vec<ExportMetricsServiceRequest> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let exports = exports(server).await;
        if exports.len() >= count {
            return exports;
        }
        assert!(Instant::now() < deadline, "only {} exports came", exports.len());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn service(dir: &TempDir, options: impl FnOnce(ServiceOptions) -> ServiceOptions) -> Running {
    let steps = json!([{"id": "a", "name": "Say hello", "action": "debug:log", "input": {"message": "hello"}},
        {"id": "b", "name": "Nothing", "if": false, "action": "debug:log"}]);
    write(dir.path.join("ok.yaml"), template("counted", &steps));
    write(dir.path.join("bad.yaml"), template("failing", &json!([{"id": "a", "name": "Fail", "action": "nope"}])));
    let templates = locations(&[&dir.path.join("ok.yaml"), &dir.path.join("bad.yaml")]);
    Running::with(options(ServiceOptions::new(binary()).config(templates))).await
}

fn metric<'e>(export: &'e ExportMetricsServiceRequest, name: &str) -> &'e Metric {
    let metrics = &export.resource_metrics[0].scope_metrics[0].metrics;
    metrics.iter().find(|metric| metric.name == name).unwrap_or_else(|| panic!("no {name} in {metrics:#?}"))
}

fn attributes(attributes: &[KeyValue]) -> Value {
    let text = |pair: &KeyValue| match pair.value.as_ref().and_then(|value| value.value.clone()) {
        Some(any_value::Value::StringValue(text)) => Value::from(text),
        Some(any_value::Value::IntValue(number)) => Value::from(number),
        other => panic!("{other:?}"),
    };
    Value::Object(attributes.iter().map(|pair| (pair.key.clone(), text(pair))).collect())
}

/// The value of a counter or gauge with these attributes.
fn number(metric: &Metric, wanted: &Value) -> Option<f64> {
    let points = match metric.data.as_ref().unwrap() {
        Data::Sum(sum) => {
            assert!(sum.is_monotonic && sum.aggregation_temporality == 2, "{sum:?}");
            &sum.data_points
        }
        Data::Gauge(gauge) => &gauge.data_points,
        other => panic!("{other:?}"),
    };
    let point = points.iter().find(|point| attributes(&point.attributes) == *wanted)?;
    assert!(point.start_time_unix_nano > 0 && point.time_unix_nano >= point.start_time_unix_nano, "{point:?}");
    match point.value {
        Some(number_data_point::Value::AsDouble(value)) => Some(value),
        other => panic!("{other:?}"),
    }
}

/// The figures of `/metrics` by series.
async fn scraped(listen: &str, series: &str) -> f64 {
    let client = understudy_testbed::http::Client::new(format!("http://{listen}")).unwrap();
    let text = client.get("/metrics").await.unwrap().text();
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no {series} in\n{text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_and_steps_are_exported_under_upstreams_names_and_as_prometheus_sees_them() {
    let collector = receiver(200).await;
    let listen = format!("127.0.0.1:{}", free_port().unwrap());
    let config = json!({"backend": {"metrics": {
        "prometheus": {"listen": listen},
        "otlp": {"endpoint": collector.uri(), "headers": {"api-key": "hunter2"}, "interval": "250ms"},
    }}});
    let dir = TempDir::new();
    let running = service(&dir, |options| {
        options
            .config(config.to_string())
            .env("OTEL_SERVICE_NAME", "portal")
            .env("OTEL_RESOURCE_ATTRIBUTES", "team=a%20b")
    })
    .await;
    for name in ["counted", "counted", "failing"] {
        let id = running.create_task(&json!({"templateRef": name, "values": {}})).await;
        running.finish(&id, LIMIT).await;
    }
    assert_eq!(running.get(&format!("{TASKS}/nope")).await.status, 404);
    let seen = exports(&collector).await.len();
    let exports = wait_for(&collector, seen + 2).await;
    let export = exports.last().unwrap();

    let resource = attributes(&export.resource_metrics[0].resource.as_ref().unwrap().attributes);
    assert_eq!((&resource["service.name"], &resource["team"]), (&json!("portal"), &json!("a b")));
    assert!(resource["service.instance.id"].is_string() && resource["service.version"].is_string(), "{resource}");
    let scope = export.resource_metrics[0].scope_metrics[0].scope.as_ref().unwrap();
    assert_eq!(scope.name, "understudy");

    for (name, wanted, series, expected) in [
        (
            "scaffolder.task.count",
            json!({"template": "template:default/counted", "result": "ok"}),
            r#"scaffolder_task_count{result="ok",template="template:default/counted"}"#,
            2.0,
        ),
        (
            "scaffolder.task.count",
            json!({"template": "template:default/failing", "result": "failed"}),
            r#"scaffolder_task_count{result="failed",template="template:default/failing"}"#,
            1.0,
        ),
        (
            "scaffolder.step.count",
            json!({"template": "template:default/counted", "step": "Nothing", "result": "skipped"}),
            r#"scaffolder_step_count{result="skipped",step="Nothing",template="template:default/counted"}"#,
            2.0,
        ),
    ] {
        assert_eq!(number(metric(export, name), &wanted), Some(expected), "{name} {wanted}");
        assert_eq!(scraped(&listen, series).await, expected, "{series}");
        assert_eq!(metric(export, name).unit, "");
    }
    for (name, own, unit, wanted, count) in [
        (
            "scaffolder.task.duration",
            r#"scaffolder_task_duration_sum{result="ok",template="template:default/counted"}"#,
            "s",
            json!({"template": "template:default/counted", "result": "ok"}),
            2,
        ),
        (
            "scaffolder.step.duration",
            r#"scaffolder_step_duration_sum{result="ok",step="Say hello",template="template:default/counted"}"#,
            "s",
            json!({"template": "template:default/counted", "step": "Say hello", "result": "ok"}),
            2,
        ),
        (
            "http.server.request.duration",
            r#"http_server_request_duration_seconds_sum{method="GET",route="/api/scaffolder/v2/tasks/{taskId}",status="404"}"#,
            "s",
            json!({
                "http.request.method": "GET", "http.route": "/api/scaffolder/v2/tasks/{taskId}",
                "http.response.status_code": 404,
            }),
            1,
        ),
    ] {
        let metric = metric(export, name);
        assert_eq!(metric.unit, unit, "{name}");
        let Some(Data::Histogram(histogram)) = &metric.data else { panic!("{metric:?}") };
        assert_eq!(histogram.aggregation_temporality, 2);
        let found = histogram.data_points.iter().find(|point| attributes(&point.attributes) == wanted);
        let point = found.unwrap_or_else(|| panic!("no {wanted} in {histogram:#?}"));
        assert_eq!((point.count, point.bucket_counts.iter().sum::<u64>()), (count, count));
        assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
        let sum = scraped(&listen, own).await;
        assert!((point.sum.unwrap() - sum).abs() < 1e-9, "{name}: {point:?} and {sum}");
    }
    assert!(number(metric(export, "process.memory.usage"), &json!({})).unwrap() > 1_000_000.0);
    assert!(scraped(&listen, "process_resident_memory_bytes").await > 1_000_000.0);
    assert!(scraped(&listen, "process_cpu_seconds_total").await >= 0.0);
    assert!(scraped(&listen, "process_open_fds").await > 3.0);
    running.stop().await;
}

/// Nothing that was counted is lost with the end of the service, however long the interval is.
#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_service_sends_what_is_left() {
    let collector = receiver(200).await;
    let dir = TempDir::new();
    let running = service(&dir, |options| {
        options
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("{}/", collector.uri()))
            .env("OTEL_EXPORTER_OTLP_HEADERS", "api-key=hunter2")
            .env("OTEL_METRIC_EXPORT_INTERVAL", "3600000")
    })
    .await;
    let id = running.create_task(&json!({"templateRef": "counted", "values": {}})).await;
    running.finish(&id, LIMIT).await;
    assert!(exports(&collector).await.is_empty());
    running.stop().await;
    let exports = exports(&collector).await;
    assert_eq!(exports.len(), 1);
    let wanted = json!({"template": "template:default/counted", "result": "ok"});
    assert_eq!(number(metric(&exports[0], "scaffolder.task.count"), &wanted), Some(1.0));
}

/// A collector that refuses, or is not there, is told of once and holds nothing up.
#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_fails_holds_nothing_up() {
    let refusing = receiver(503).await;
    // One that takes requests and does not answer holds the end up for no longer than it must.
    let hanging = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = json!({"backend": {"metrics": {"otlp": {
        "endpoint": format!("http://{}", hanging.local_addr().unwrap()), "timeout": "1h", "interval": "1h",
    }}}});
    let dir = TempDir::new();
    let running = service(&dir, |options| options.config(config.to_string())).await;
    running.stop().await;
    drop(hanging);
    let nowhere = format!("http://127.0.0.1:{}", free_port().unwrap());
    for (endpoint, told) in
        [(refusing.uri(), "the collector answered 503"), (nowhere, "the collector can't be reached")]
    {
        let otlp = json!({"endpoint": endpoint, "headers": {"api-key": "hunter2"}, "interval": "50ms"});
        let config = json!({"backend": {"metrics": {"otlp": otlp}}}).to_string();
        let dir = TempDir::new();
        let running = service(&dir, |options| options.config(config)).await;
        running.service.wait_for_log(told, LIMIT).await.unwrap();
        let id = running.create_task(&json!({"templateRef": "counted", "values": {}})).await;
        let (status, _) = running.finish(&id, LIMIT).await;
        assert_eq!(status, "completed");
        let logs = running.service.logs();
        assert_eq!(logs.matches("metrics could not be sent;").count(), 1, "{logs}");
        assert!(!logs.contains("hunter2"), "{logs}");
        running.stop().await;
    }
}
