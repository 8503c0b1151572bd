//! The service's own log: what it writes, where, and how much.

use std::{fmt::Write as _, io::IsTerminal, time::Instant};

use actix_web::{
    Error, HttpMessage,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
};
use serde_json::{Map, Value};
use tracing::{Event, Span, Subscriber, field::Visit};
use tracing_actix_web::RootSpanBuilder;
use tracing_subscriber::{
    EnvFilter,
    fmt::{
        self, FmtContext, FormatEvent, FormatFields,
        format::{Format, Json, JsonFields, Writer},
        time::{FormatTime, SystemTime},
    },
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

/// The target of audit events. Their field `event` is a line of Backstage's log as JSON.
pub const AUDIT_TARGET: &str = "understudy::audit";

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
        LogFormat::Json => registry.with(json_layer(std::io::stderr)).try_init(),
        LogFormat::Text => {
            let color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            registry.with(fmt::layer().with_target(false).with_ansi(color).with_writer(std::io::stderr)).try_init()
        }
    };
    drop(result);
}

fn json_layer<S, W>(writer: W) -> impl tracing_subscriber::Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> fmt::MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = JsonLines(fmt::format().json().flatten_event(true).with_span_list(false));
    fmt::layer().fmt_fields(JsonFields::new()).event_format(lines).with_writer(writer)
}

/// Lines of JSON: audit events as Backstage writes them, with a time; others as tracing does.
struct JsonLines(Format<Json>);

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        if event.metadata().target() != AUDIT_TARGET {
            return self.0.format_event(context, writer, event);
        }
        let mut time = String::new();
        SystemTime.format_time(&mut Writer::new(&mut time))?;
        let mut line = Map::from_iter([("timestamp".to_string(), Value::from(time))]);
        event.record(&mut AuditLine(&mut line));
        writeln!(writer, "{}", Value::Object(line))
    }
}

/// Takes over the members of an audit event.
struct AuditLine<'l>(&'l mut Map<String, Value>);

impl Visit for AuditLine<'_> {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        let mut text = String::new();
        // Writing to a String can't fail; what is no JSON would be a mistake of `audit`, and the line says at least when.
        if field.name() == "event"
            && write!(text, "{value:?}").is_ok()
            && let Ok(members) = serde_json::from_str::<Map<String, Value>>(&text)
        {
            self.0.extend(members);
        }
    }
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
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What a log of JSON gets.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn audit_events_are_written_as_they_are_and_others_as_ever() {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::registry().with(json_layer(move || writer.clone()));
        tracing::subscriber::with_default(subscriber, || {
            let event =
                serde_json::json!({"level": "info", "message": "scaffolder.task a\nb", "meta": {"taskId": "7"}});
            tracing::info!(target: AUDIT_TARGET, event = %event, "scaffolder.task");
            tracing::info!(answer = 42, "an event");
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let [audit, other] = &lines[..] else { panic!("{text}") };
        assert_eq!(
            (&audit["level"], &audit["message"], &audit["meta"]),
            (&"info".into(), &"scaffolder.task a\nb".into(), &serde_json::json!({"taskId": "7"}))
        );
        assert_eq!(
            (&other["level"], &other["message"], &other["answer"]),
            (&"INFO".into(), &"an event".into(), &42.into())
        );
        for line in [audit, other] {
            chrono::DateTime::parse_from_rfc3339(line["timestamp"].as_str().unwrap()).unwrap();
        }
    }

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
