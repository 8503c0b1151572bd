//! Sends the metrics to a collector, every now and then and at the end.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceResponse;
use prost::Message;
use reqwest::header::CONTENT_TYPE;
use tokio::time::{MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use understudy_scm::{read_body, request_failure};

use super::{Metrics, otlp};
use crate::config::OtlpConfig;

/// How long the last export may hold the end of the service up.
const LAST: Duration = Duration::from_secs(2);
/// What is told of an answer that refuses.
const SHOWN: usize = 300;
/// Longer answers are not read.
const MAX_ANSWER: usize = 1 << 20;

/// Sends metrics until it is told to end.
#[derive(Debug)]
pub struct Push {
    ending: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

/// Why metrics were not taken. They are counted from the start on, so the next export makes up for it.
#[derive(Debug, thiserror::Error)]
enum PushError {
    #[error("the collector can't be reached: {0}")]
    Unreachable(String),
    #[error("the collector answered {status}: {body}")]
    Refused { status: reqwest::StatusCode, body: String },
    #[error("the collector left {count} values out: {reason}")]
    Partly { count: i64, reason: String },
}

impl Push {
    /// Starts to send.
    pub fn start(metrics: Arc<Metrics>, config: OtlpConfig, http: reqwest::Client) -> Self {
        let ending = CancellationToken::new();
        let task = tokio::spawn(Sender::new(metrics, config, http).run(ending.clone()));
        Self { ending, task }
    }
    /// Sends a last time, with all that has been counted by now, and ends.
    pub async fn finish(self) {
        self.ending.cancel();
        let task = self.task.abort_handle();
        match tokio::time::timeout(LAST, self.task).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "sending metrics ended early"),
            Err(_) => {
                task.abort();
                tracing::warn!("the collector does not answer; the last metrics are not sent");
            }
        }
    }
}

struct Sender {
    metrics: Arc<Metrics>,
    config: OtlpConfig,
    http: reqwest::Client,
    resource: Vec<(String, String)>,
}

impl Sender {
    fn new(metrics: Arc<Metrics>, config: OtlpConfig, http: reqwest::Client) -> Self {
        let mut resource = config.resource.clone();
        for (name, value) in [
            ("service.version", env!("CARGO_PKG_VERSION").to_string()),
            ("service.instance.id", uuid::Uuid::new_v4().to_string()),
        ] {
            if !resource.iter().any(|(given, _)| given == name) {
                resource.push((name.to_string(), value));
            }
        }
        Self { metrics, config, http, resource }
    }

    async fn run(self, ending: CancellationToken) {
        tracing::info!(
            endpoint = %shown(&self.config.endpoint),
            interval_ms = self.config.interval.as_millis(),
            "metrics are sent by OpenTelemetry's protocol"
        );
        let first = tokio::time::Instant::now() + self.config.interval;
        let mut ticks = interval_at(first, self.config.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failed = false;
        loop {
            let is_last = tokio::select! {
                biased;
                () = ending.cancelled() => true,
                _ = ticks.tick() => false,
            };
            match self.send().await {
                Ok(()) if failed => {
                    tracing::info!("the collector takes the metrics again");
                    failed = false;
                }
                Ok(()) => {}
                // A collector that is away for long is told of once.
                Err(error) if failed => tracing::debug!(%error, "metrics could not be sent"),
                Err(error) => {
                    tracing::warn!(%error, "metrics could not be sent; the next time they come with what was missed");
                    failed = true;
                }
            }
            if is_last {
                return;
            }
        }
    }

    async fn send(&self) -> Result<(), PushError> {
        let export =
            otlp::export(&self.metrics.registry.gather(), &self.resource, self.metrics.started, SystemTime::now());
        let request = self
            .http
            .post(self.config.endpoint.clone())
            .headers(self.config.headers.clone())
            .header(CONTENT_TYPE, "application/x-protobuf")
            .timeout(self.config.timeout)
            .body(export.encode_to_vec());
        let answer = request.send().await.map_err(|error| PushError::Unreachable(request_failure(error)))?;
        let status = answer.status();
        let body = read_body(answer, MAX_ANSWER).await.unwrap_or_default();
        if !status.is_success() {
            let body: String = String::from_utf8_lossy(&body).chars().filter(|c| !c.is_control()).take(SHOWN).collect();
            return Err(PushError::Refused { status, body });
        }
        // An answer in another format says nothing that is of interest here.
        match ExportMetricsServiceResponse::decode(&body[..]).ok().and_then(|answer| answer.partial_success) {
            Some(partly) if partly.rejected_data_points > 0 => {
                Err(PushError::Partly { count: partly.rejected_data_points, reason: partly.error_message })
            }
            _ => Ok(()),
        }
    }
}

/// The URL without what may be secret in it.
fn shown(url: &url::Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}
