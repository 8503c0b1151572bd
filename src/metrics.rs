//! What can be measured: for Prometheus in its text format, and by OpenTelemetry's protocol ([`push`]).
//!
//! Tasks and steps have the names and labels of `@backstage/plugin-scaffolder-backend` 4.2.0 in prom-client's registry
//! (`util/metrics`, `NunjucksWorkflowRunner`).

mod otlp;
mod process;
pub mod push;

use std::time::{Duration, SystemTime};

use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder, core::Collector,
};

use crate::tasks::observe::{LogObserver, Outcome, QueueFigures, TaskObserver};

/// The content type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Upper bounds in seconds: prom-client's, and some for tasks that take longer.
const SECONDS: [f64; 16] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0];

/// The service's metrics.
pub struct Metrics {
    registry: Registry,
    /// Since when it is counted.
    started: SystemTime,
    task_count: IntCounterVec,
    task_duration: HistogramVec,
    step_count: IntCounterVec,
    step_duration: HistogramVec,
    requests: HistogramVec,
    queue_tasks: IntGauge,
    queue_oldest: Gauge,
    queue_wait: Histogram,
    slots: IntGaugeVec,
    claims_failed: IntCounter,
    claims_lost: IntCounter,
    recovered: IntCounter,
}

impl Metrics {
    /// Metrics that have counted nothing yet.
    ///
    /// # Errors
    /// Two of them have the same name, or one has a wrong one, which a test rules out.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let metrics = Self {
            task_count: register(
                &registry,
                IntCounterVec::new(Opts::new("scaffolder_task_count", "Tasks that ended"), &["template", "result"])?,
            )?,
            task_duration: register(
                &registry,
                seconds("scaffolder_task_duration", "Seconds from a task's start to its end", &["template", "result"])?,
            )?,
            step_count: register(
                &registry,
                IntCounterVec::new(
                    Opts::new("scaffolder_step_count", "Steps that ended"),
                    &["template", "step", "result"],
                )?,
            )?,
            step_duration: register(
                &registry,
                seconds(
                    "scaffolder_step_duration",
                    "Seconds from a step's start to its end",
                    &["template", "step", "result"],
                )?,
            )?,
            requests: register(
                &registry,
                seconds(
                    "http_server_request_duration_seconds",
                    "Seconds until a request was answered, until the head for event streams",
                    &["method", "route", "status"],
                )?,
            )?,
            queue_tasks: register(
                &registry,
                IntGauge::new("understudy_queue_tasks", "Tasks that wait for a worker, of all replicas")?,
            )?,
            queue_oldest: register(
                &registry,
                Gauge::new(
                    "understudy_queue_oldest_seconds",
                    "For how long the oldest task that waits for a worker exists",
                )?,
            )?,
            queue_wait: register(
                &registry,
                Histogram::with_opts(
                    HistogramOpts::new(
                        "understudy_queue_wait_seconds",
                        "Seconds from the queue to a worker of this process",
                    )
                    .buckets(SECONDS.to_vec()),
                )?,
            )?,
            slots: register(
                &registry,
                IntGaugeVec::new(
                    Opts::new(
                        "understudy_worker_slots",
                        "Places to work of this process: all, those in use, and tasks that wait without one",
                    ),
                    &["state"],
                )?,
            )?,
            claims_failed: register(
                &registry,
                IntCounter::new(
                    "understudy_claim_errors_total",
                    "Times that the database could not be asked for a task",
                )?,
            )?,
            claims_lost: register(
                &registry,
                IntCounter::new("understudy_claims_lost_total", "Tasks that another replica took from this process")?,
            )?,
            recovered: register(
                &registry,
                IntCounter::new(
                    "understudy_tasks_recovered_total",
                    "Tasks that this process put back into the queue for others",
                )?,
            )?,
            registry,
            started: SystemTime::now(),
        };
        let build =
            Opts::new("understudy_build_info", "Which version runs").const_label("version", env!("CARGO_PKG_VERSION"));
        register(&metrics.registry, IntGauge::with_opts(build)?)?.set(1);
        register(&metrics.registry, process::Process::new()?)?;
        Ok(metrics)
    }

    /// A request was answered. `route` is the pattern of its path, so that there are not as many series as tasks.
    pub fn request_answered(&self, method: &str, route: &str, status: u16, took: Duration) {
        self.requests.with_label_values(&[method, route, &status.to_string()]).observe(took.as_secs_f64());
    }

    /// All metrics; see [`CONTENT_TYPE`].
    ///
    /// # Errors
    /// Never for metrics that [`Metrics::new`] made.
    pub fn text(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, collector: C) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}

fn seconds(name: &str, help: &str, labels: &[&str]) -> Result<HistogramVec, prometheus::Error> {
    HistogramVec::new(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()), labels)
}

impl TaskObserver for Metrics {
    fn step_ended(&self, template: &str, step: &str, outcome: Outcome, took: Duration) {
        LogObserver.step_ended(template, step, outcome, took);
        let labels = [template, step, outcome.as_str()];
        self.step_count.with_label_values(&labels).inc();
        self.step_duration.with_label_values(&labels).observe(took.as_secs_f64());
    }
    fn task_claimed(&self, queued: Duration) {
        self.queue_wait.observe(queued.as_secs_f64());
    }
    fn claim_failed(&self) {
        self.claims_failed.inc();
    }
    fn tasks_recovered(&self, count: usize) {
        self.recovered.inc_by(count.try_into().unwrap_or(u64::MAX));
    }
    fn claim_lost(&self) {
        self.claims_lost.inc();
    }
    fn queue(&self, figures: &QueueFigures) {
        self.queue_tasks.set(figures.open.try_into().unwrap_or(i64::MAX));
        self.queue_oldest.set(figures.oldest_seconds);
        for (state, count) in [("all", figures.slots), ("busy", figures.busy), ("waiting", figures.waiting)] {
            self.slots.with_label_values(&[state]).set(count.try_into().unwrap_or(i64::MAX));
        }
    }
    fn task_ended(&self, template: &str, task_id: &str, outcome: Outcome, took: Duration) {
        LogObserver.task_ended(template, task_id, outcome, took);
        let labels = [template, outcome.as_str()];
        self.task_count.with_label_values(&labels).inc();
        self.task_duration.with_label_values(&labels).observe(took.as_secs_f64());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_upstreams() {
        let metrics = Metrics::new().unwrap();
        metrics.task_ended("template:default/a", "id", Outcome::Ok, Duration::from_millis(300));
        metrics.step_ended("template:default/a", "Fetch", Outcome::Failed, Duration::from_secs(20));
        metrics.request_answered("GET", "/api/scaffolder/v2/tasks/{taskId}", 404, Duration::from_millis(1));
        let text = String::from_utf8(metrics.text().unwrap()).unwrap();
        for line in [
            "scaffolder_task_count{result=\"ok\",template=\"template:default/a\"} 1",
            "scaffolder_task_duration_bucket{result=\"ok\",template=\"template:default/a\",le=\"0.25\"} 0",
            "scaffolder_task_duration_bucket{result=\"ok\",template=\"template:default/a\",le=\"0.5\"} 1",
            "scaffolder_step_count{result=\"failed\",step=\"Fetch\",template=\"template:default/a\"} 1",
            "scaffolder_step_duration_sum{result=\"failed\",step=\"Fetch\",template=\"template:default/a\"} 20",
            "http_server_request_duration_seconds_count{method=\"GET\",route=\"/api/scaffolder/v2/tasks/{taskId}\",status=\"404\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(text.contains("understudy_build_info{version=\""), "{text}");
    }
}
