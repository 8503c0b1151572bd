//! The service's own log: what it writes, where, and how much.

use std::{io::IsTerminal, time::Instant};

use actix_web::{
    Error, HttpMessage,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
};
use tracing::Span;
use tracing_actix_web::RootSpanBuilder;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// How lines of the log look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for log collectors.
    Json,
}

impl LogFormat {
    /// JSON in production (`NODE_ENV=production`), as Backstage does; text otherwise.
    pub fn from_environment() -> Self {
        match std::env::var("NODE_ENV").as_deref() {
            Ok("production") => Self::Json,
            _ => Self::Text,
        }
    }
}

/// Starts logging to standard error. Lines below the level that the environment asks for are left out: `RUST_LOG` (a
/// filter of tracing), else `LOG_LEVEL` (a level of Backstage's), else `default_level`.
///
/// Does nothing when somebody has started logging already.
pub fn init(format: LogFormat, default_level: &str) {
    let filter = filter(std::env::var("RUST_LOG").ok(), std::env::var("LOG_LEVEL").ok(), default_level);
    let registry = tracing_subscriber::registry().with(filter);
    let result = match format {
        LogFormat::Json => registry
            .with(fmt::layer().json().flatten_event(true).with_span_list(false).with_writer(std::io::stderr))
            .try_init(),
        LogFormat::Text => {
            let color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            registry.with(fmt::layer().with_target(false).with_ansi(color).with_writer(std::io::stderr)).try_init()
        }
    };
    drop(result);
}

fn filter(rust_log: Option<String>, log_level: Option<String>, default_level: &str) -> EnvFilter {
    if let Some(filter) = rust_log.filter(|text| !text.is_empty()).and_then(|text| EnvFilter::try_new(text).ok()) {
        return filter;
    }
    let level = match log_level.map(|level| level.to_ascii_lowercase()).as_deref() {
        Some("error") => "error",
        Some("warn" | "warning") => "warn",
        Some("info" | "http") => "info",
        Some("verbose" | "debug") => "debug",
        Some("silly" | "trace") => "trace",
        _ => default_level,
    };
    // The server tells at level info what the service tells better itself.
    EnvFilter::new(format!("{level},actix_server=warn"))
}

/// Logs each request: method, path, status and time, under an id that the log lines in between carry too. The query is
/// left out, since clients put all sorts of things there.
#[derive(Debug, Clone, Copy)]
pub struct RequestLog;

struct Started(Instant);

impl RootSpanBuilder for RequestLog {
    fn on_request_start(request: &ServiceRequest) -> Span {
        request.extensions_mut().insert(Started(Instant::now()));
        let id = uuid::Uuid::now_v7();
        tracing::info_span!("request", request_id = %id, method = %request.method(), path = request.path())
    }

    fn on_request_end<B: MessageBody>(span: Span, outcome: &Result<ServiceResponse<B>, Error>) {
        let _entered = span.enter();
        match outcome {
            Ok(response) => {
                let status = response.status().as_u16();
                let started = response.request().extensions().get::<Started>().map(|started| started.0);
                let ms = started.map_or(0.0, |started| (started.elapsed().as_secs_f64() * 10_000.0).round() / 10.0);
                // Probes come every few seconds for as long as the service lives.
                if response.request().path().starts_with("/.backstage/health/") {
                    tracing::debug!(status, ms, "answered");
                } else {
                    tracing::info!(status, ms, "answered");
                }
            }
            Err(error) => tracing::error!(%error, "a request was not answered"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_of_backstage_are_understood() {
        for (rust_log, log_level, expected) in [
            (None, None, "actix_server=warn,info"),
            (None, Some("verbose"), "actix_server=warn,debug"),
            (None, Some("WARN"), "actix_server=warn,warn"),
            (Some("understudy=trace"), Some("warn"), "understudy=trace"),
            (Some(""), Some("error"), "actix_server=warn,error"),
        ] {
            let filter = filter(rust_log.map(str::to_string), log_level.map(str::to_string), "info");
            assert_eq!(filter.to_string(), expected, "{rust_log:?} {log_level:?}");
        }
    }
}
