//! Where metrics are sent to by OpenTelemetry's protocol: `backend.metrics.otlp`, or the environment variables that all of
//! OpenTelemetry's SDKs know.

use std::{collections::HashMap, time::Duration};

use percent_encoding::percent_decode_str;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::{ConfigError, reader::Reader};

/// Where metrics are sent to, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpConfig {
    /// The receiver of metrics, `http://collector:4318/v1/metrics`.
    pub endpoint: Url,
    /// What the receiver wants to see; their values are not printed.
    pub headers: HeaderMap,
    /// How often.
    pub interval: Duration,
    /// How long an export may take.
    pub timeout: Duration,
    /// Who sends: `service.name` and what else the operator says of it.
    pub resource: Vec<(String, String)>,
}

/// The path of metrics below an endpoint for everything.
const METRICS: &str = "v1/metrics";

/// Reads it; `None` where metrics are not sent. The configuration counts more than the environment.
///
/// # Errors
/// A value is wrong.
pub(super) fn read(
    place: &Reader<'_>,
    env: &HashMap<String, String>,
    warnings: &mut Vec<String>,
) -> Result<Option<OtlpConfig>, ConfigError> {
    let env = Environment(env);
    let configured = place.at("endpoint")?;
    let endpoint = match configured.string()? {
        Some(text) => Some(below(text).ok_or_else(|| configured.wrong("no http or https URL"))?),
        None if env.is_off() => None,
        None => env.endpoint()?,
    };
    let Some(endpoint) = endpoint else { return Ok(None) };
    if configured.value().is_none()
        && let Some((name, protocol)) = env.first(&["EXPORTER_OTLP_METRICS_PROTOCOL", "EXPORTER_OTLP_PROTOCOL"])
        && protocol != "http/protobuf"
    {
        warnings.push(format!(
            "no metrics are sent: {name} is {protocol}, and this version speaks http/protobuf only. Set it to that, and the \
             endpoint to the collector's port for it, as a rule 4318; or set backend.metrics.otlp.endpoint"
        ));
        return Ok(None);
    }
    let mut headers = env.headers()?;
    for (name, member) in place.at("headers")?.members()? {
        let value = member.string()?.ok_or_else(|| member.expected("a text"))?;
        let (name, value) = header(&name, value).ok_or_else(|| member.wrong("no header and its value"))?;
        headers.insert(name, value);
    }
    let interval_place = place.at("interval")?;
    let interval = match interval_place.duration()? {
        Some(interval) => interval,
        None => env.milliseconds(&["METRIC_EXPORT_INTERVAL"])?.unwrap_or(Duration::from_secs(60)),
    };
    if interval.is_zero() {
        return Err(interval_place.wrong("must be longer than nothing"));
    }
    let timeout = match place.at("timeout")?.duration()? {
        Some(timeout) => timeout,
        None => env
            .milliseconds(&["EXPORTER_OTLP_METRICS_TIMEOUT", "EXPORTER_OTLP_TIMEOUT"])?
            .unwrap_or(Duration::from_secs(10)),
    };
    Ok(Some(OtlpConfig { endpoint, headers, interval, timeout, resource: env.resource() }))
}

/// An endpoint for everything, with the path of metrics behind it.
fn below(text: &str) -> Option<Url> {
    url(&format!("{}/{METRICS}", text.trim_end_matches('/')))
}

fn url(text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))
}

fn header(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    let name = name.trim().parse().ok()?;
    let mut value = HeaderValue::from_str(value.trim()).ok()?;
    value.set_sensitive(true);
    Some((name, value))
}

/// The variables `OTEL_…`; empty ones count as absent.
struct Environment<'e>(&'e HashMap<String, String>);

impl<'e> Environment<'e> {
    /// The first of these that is set, with its full name.
    fn first(&self, names: &[&str]) -> Option<(String, &'e str)> {
        names.iter().find_map(|name| {
            let name = format!("OTEL_{name}");
            let value = self.0.get(&name).map(|value| value.trim()).filter(|value| !value.is_empty())?;
            Some((name, value))
        })
    }
    fn text(&self, name: &str) -> Option<&'e str> {
        self.first(&[name]).map(|(_, value)| value)
    }
    /// Whether somebody wants no metrics to be sent.
    fn is_off(&self) -> bool {
        let exporters = self.text("METRICS_EXPORTER").unwrap_or("otlp");
        self.text("SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true"))
            || !exporters.split(',').any(|name| name.trim() == "otlp")
    }
    /// The endpoint of metrics as it stands, or the one for everything.
    fn endpoint(&self) -> Result<Option<Url>, ConfigError> {
        let found = match self.first(&["EXPORTER_OTLP_METRICS_ENDPOINT"]) {
            Some((name, text)) => Some((name, url(text))),
            None => self.first(&["EXPORTER_OTLP_ENDPOINT"]).map(|(name, text)| (name, below(text))),
        };
        found.map(|(name, url)| url.ok_or_else(|| wrong(&name, "no http or https URL"))).transpose()
    }
    /// `name=value` with commas in between, values with percent escapes.
    fn headers(&self) -> Result<HeaderMap, ConfigError> {
        let Some((source, text)) = self.first(&["EXPORTER_OTLP_METRICS_HEADERS", "EXPORTER_OTLP_HEADERS"]) else {
            return Ok(HeaderMap::new());
        };
        let pairs = text.split(',').filter(|pair| !pair.trim().is_empty());
        // What is wrong is not shown: it is a secret as a rule.
        pairs
            .map(|pair| {
                let (name, value) = pair.split_once('=')?;
                header(name, &percent_decode_str(value).decode_utf8().ok()?)
            })
            .collect::<Option<_>>()
            .ok_or_else(|| wrong(&source, "expected name=value with commas in between"))
    }
    fn milliseconds(&self, names: &[&str]) -> Result<Option<Duration>, ConfigError> {
        let Some((name, text)) = self.first(names) else { return Ok(None) };
        let number = text.parse().ok().filter(|number| *number > 0);
        number.map(|number| Some(Duration::from_millis(number))).ok_or_else(|| wrong(&name, "expected milliseconds"))
    }
    /// `OTEL_RESOURCE_ATTRIBUTES` and `OTEL_SERVICE_NAME`, which counts more.
    fn resource(&self) -> Vec<(String, String)> {
        let text = self.text("RESOURCE_ATTRIBUTES").unwrap_or_default();
        let given = text.split(',').filter_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            Some((name.trim().to_string(), percent_decode_str(value.trim()).decode_utf8_lossy().into_owned()))
        });
        let mut attributes: Vec<_> = given.collect();
        let name = self.text("SERVICE_NAME").map(String::from);
        if name.is_some() || !attributes.iter().any(|(name, _)| name == "service.name") {
            attributes.retain(|(name, _)| name != "service.name");
            attributes.insert(0, ("service.name".to_string(), name.unwrap_or_else(|| "understudy".to_string())));
        }
        attributes
    }
}

fn wrong(name: &str, reason: &str) -> ConfigError {
    ConfigError::Value { origin: "environment".to_string(), key: name.to_string(), reason: reason.to_string() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::tests::one;

    fn found(config: &str, env: &[(&str, &str)]) -> Option<OtlpConfig> {
        one(config).env(env).load().unwrap().otlp
    }

    #[test]
    fn nothing_is_sent_unless_an_endpoint_is_named() {
        assert_eq!(found("{}", &[]), None);
        assert_eq!(found("{}", &[("OTEL_SERVICE_NAME", "x"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "")]), None);
        for off in [("OTEL_SDK_DISABLED", "TRUE"), ("OTEL_METRICS_EXPORTER", "none")] {
            assert_eq!(found("{}", &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"), off]), None);
        }
        let setup =
            one("{}").env(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]);
        let config = setup.load().unwrap();
        assert_eq!(config.otlp, None);
        assert!(config.warnings.iter().any(|text| text.contains("OTEL_EXPORTER_OTLP_PROTOCOL is grpc")));
    }

    #[test]
    fn the_standard_variables_are_understood() {
        let config = found("{}", &[("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector.example/otel/")]).unwrap();
        assert_eq!(config.endpoint.as_str(), "https://collector.example/otel/v1/metrics");
        assert_eq!((config.interval.as_secs(), config.timeout.as_secs()), (60, 10));
        assert_eq!(config.resource, [("service.name".to_string(), "understudy".to_string())]);
        let config = found(
            "{}",
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://elsewhere"),
                ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://metrics.example/in"),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
                ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b,x=1=2"),
                ("OTEL_METRIC_EXPORT_INTERVAL", "1500"),
                ("OTEL_EXPORTER_OTLP_TIMEOUT", "200"),
                ("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,deployment.environment=prod"),
                ("OTEL_SERVICE_NAME", "scaffolder"),
            ],
        )
        .unwrap();
        assert_eq!(config.endpoint.as_str(), "http://metrics.example/in");
        assert_eq!(
            (&config.headers["api-key"], &config.headers["x"]),
            (&HeaderValue::from_static("a b"), &HeaderValue::from_static("1=2"))
        );
        assert!(!format!("{config:?}").contains("a b"), "{config:?}");
        assert_eq!((config.interval.as_millis(), config.timeout.as_millis()), (1500, 200));
        let pair = |name: &str, value: &str| (name.to_string(), value.to_string());
        assert_eq!(config.resource, [pair("service.name", "scaffolder"), pair("deployment.environment", "prod")]);
    }

    #[test]
    fn the_configuration_counts_more() {
        let text = "backend: {metrics: {otlp: {endpoint: 'http://here:4318', headers: {api-key: k}, interval: 5s, timeout: 2s}}}";
        let env = [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://there"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=other,b=c"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "1500"),
        ];
        let config = found(text, &env).unwrap();
        assert_eq!(config.endpoint.as_str(), "http://here:4318/v1/metrics");
        assert_eq!(
            (&config.headers["api-key"], &config.headers["b"]),
            (&HeaderValue::from_static("k"), &HeaderValue::from_static("c"))
        );
        assert_eq!((config.interval.as_secs(), config.timeout.as_secs()), (5, 2));
    }

    #[test]
    fn mistakes_are_told_without_secrets() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");
        for (config, env, expected) in [
            (
                "{}",
                &[("OTEL_EXPORTER_OTLP_ENDPOINT", "c:4318")][..],
                "environment: OTEL_EXPORTER_OTLP_ENDPOINT: no http or https URL",
            ),
            (
                "{}",
                &[endpoint, ("OTEL_EXPORTER_OTLP_HEADERS", "hunter2")],
                "environment: OTEL_EXPORTER_OTLP_HEADERS: expected name=value",
            ),
            (
                "{}",
                &[endpoint, ("OTEL_METRIC_EXPORT_INTERVAL", "0")],
                "environment: OTEL_METRIC_EXPORT_INTERVAL: expected milliseconds",
            ),
            (
                "backend: {metrics: {otlp: {endpoint: 'ftp://c'}}}",
                &[],
                "backend.metrics.otlp.endpoint: no http or https URL",
            ),
            (
                "backend: {metrics: {otlp: {endpoint: 'http://c', interval: 0s}}}",
                &[],
                "backend.metrics.otlp.interval: must be longer",
            ),
            (
                "backend: {metrics: {otlp: {endpoint: 'http://c', headers: {'a b': hunter2}}}}",
                &[],
                "backend.metrics.otlp.headers.a b: no header",
            ),
        ] {
            let error = one(config).env(env).error();
            assert!(error.contains(expected) && !error.contains("hunter2"), "{error}");
        }
    }
}
