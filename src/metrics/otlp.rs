//! The metrics as OpenTelemetry's protocol has them.
//!
//! They are read from the registry that Prometheus reads, so that the figures of both agree. Names and units of tasks and
//! steps are those of the OpenTelemetry instruments of `@backstage/plugin-scaffolder-backend` 4.2.0, those of requests and of
//! the process are OpenTelemetry's conventions, and others have a `.` behind their first word.

use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value},
    metrics::v1::{
        AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
        ScopeMetrics, Sum, metric::Data, number_data_point,
    },
    resource::v1::Resource,
};
use prometheus::proto::{LabelPair, MetricFamily, MetricType};

/// Name in Prometheus' registry, name here, unit.
const NAMES: [(&str, &str, &str); 11] = [
    ("scaffolder_task_count", "scaffolder.task.count", ""),
    ("scaffolder_task_duration", "scaffolder.task.duration", "s"),
    ("scaffolder_step_count", "scaffolder.step.count", ""),
    ("scaffolder_step_duration", "scaffolder.step.duration", "s"),
    ("http_server_request_duration_seconds", "http.server.request.duration", "s"),
    ("process_cpu_seconds_total", "process.cpu.time", "s"),
    ("process_resident_memory_bytes", "process.memory.usage", "By"),
    ("process_virtual_memory_bytes", "process.memory.virtual", "By"),
    ("process_open_fds", "process.unix.file_descriptor.count", "{file_descriptor}"),
    ("process_max_fds", "process.unix.file_descriptor.limit", "{file_descriptor}"),
    ("process_threads", "process.thread.count", "{thread}"),
];

/// Labels of requests and what OpenTelemetry calls them.
const REQUEST_LABELS: [(&str, &str); 3] =
    [("method", "http.request.method"), ("route", "http.route"), ("status", "http.response.status_code")];

/// An export of all metrics, counted since `started`.
pub(super) fn export(
    families: &[MetricFamily],
    resource: &[(String, String)],
    started: SystemTime,
    now: SystemTime,
) -> ExportMetricsServiceRequest {
    let times = Times { start: nanos(started), now: nanos(now) };
    let metrics = families.iter().filter_map(|family| metric(family, times)).collect();
    let scope = InstrumentationScope {
        name: "understudy".to_string(),
        version: env!("CARGO_PKG_VERSION").to_string(),
        ..InstrumentationScope::default()
    };
    let attributes = resource.iter().map(|(name, value)| attribute(name, value)).collect();
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(Resource { attributes, ..Resource::default() }),
            scope_metrics: vec![ScopeMetrics { scope: Some(scope), metrics, ..ScopeMetrics::default() }],
            ..ResourceMetrics::default()
        }],
    }
}

/// From when on something is counted, and when it is told.
#[derive(Clone, Copy)]
struct Times {
    start: u64,
    now: u64,
}

fn nanos(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).ok().and_then(|since| since.as_nanos().try_into().ok()).unwrap_or_default()
}

fn metric(family: &MetricFamily, times: Times) -> Option<Metric> {
    let (name, unit) = name_and_unit(family.name());
    let is_request = name == "http.server.request.duration";
    let attributes = |labels: &[LabelPair]| labels.iter().map(|label| labelled(label, is_request)).collect::<Vec<_>>();
    let numbers = |value: fn(&prometheus::proto::Metric) -> f64| {
        let point = |metric: &prometheus::proto::Metric| NumberDataPoint {
            attributes: attributes(metric.get_label()),
            start_time_unix_nano: times.start,
            time_unix_nano: times.now,
            value: Some(number_data_point::Value::AsDouble(value(metric))),
            ..NumberDataPoint::default()
        };
        family.get_metric().iter().map(point).collect()
    };
    let temporality = AggregationTemporality::Cumulative.into();
    let data = match family.get_field_type() {
        MetricType::COUNTER => Data::Sum(Sum {
            data_points: numbers(|metric| metric.get_counter().get_value()),
            aggregation_temporality: temporality,
            is_monotonic: true,
        }),
        MetricType::GAUGE => Data::Gauge(Gauge { data_points: numbers(|metric| metric.get_gauge().get_value()) }),
        MetricType::HISTOGRAM => {
            let points = family.get_metric().iter().map(|metric| HistogramDataPoint {
                attributes: attributes(metric.get_label()),
                start_time_unix_nano: times.start,
                time_unix_nano: times.now,
                ..histogram(metric.get_histogram())
            });
            Data::Histogram(Histogram { data_points: points.collect(), aggregation_temporality: temporality })
        }
        // The registry has none of these.
        MetricType::SUMMARY | MetricType::UNTYPED => return None,
    };
    Some(Metric {
        name,
        description: family.help().to_string(),
        unit: unit.to_string(),
        data: Some(data),
        ..Metric::default()
    })
}

/// Counts between the bounds, where Prometheus counts what is below each.
fn histogram(histogram: &prometheus::proto::Histogram) -> HistogramDataPoint {
    let count = histogram.get_sample_count();
    let mut below = 0;
    let mut bucket_counts = Vec::new();
    let mut explicit_bounds = Vec::new();
    for bucket in histogram.get_bucket().iter().filter(|bucket| bucket.upper_bound().is_finite()) {
        explicit_bounds.push(bucket.upper_bound());
        bucket_counts.push(bucket.cumulative_count().saturating_sub(below));
        below = bucket.cumulative_count();
    }
    bucket_counts.push(count.saturating_sub(below));
    let sum = Some(histogram.get_sample_sum());
    HistogramDataPoint { count, sum, bucket_counts, explicit_bounds, ..HistogramDataPoint::default() }
}

fn name_and_unit(name: &str) -> (String, &'static str) {
    if let Some((_, name, unit)) = NAMES.iter().find(|(own, _, _)| *own == name) {
        return ((*name).to_string(), unit);
    }
    let name = name.strip_suffix("_total").unwrap_or(name);
    let (name, unit) = match name.strip_suffix("_seconds") {
        Some(name) => (name, "s"),
        None => (name, ""),
    };
    (name.replacen('_', ".", 1), unit)
}

fn labelled(label: &LabelPair, is_request: bool) -> KeyValue {
    let known = REQUEST_LABELS.iter().find(|(own, _)| is_request && *own == label.name());
    let name = known.map_or(label.name(), |(_, name)| name);
    match label.value().parse() {
        Ok(status) if name == "http.response.status_code" => KeyValue {
            value: Some(AnyValue { value: Some(any_value::Value::IntValue(status)) }),
            ..attribute(name, "")
        },
        _ => attribute(name, label.value()),
    }
}

fn attribute(name: &str, value: &str) -> KeyValue {
    KeyValue {
        key: name.to_string(),
        value: Some(AnyValue { value: Some(any_value::Value::StringValue(value.to_string())) }),
        ..KeyValue::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_upstreams_and_opentelemetrys() {
        for (own, name, unit) in [
            ("scaffolder_step_duration", "scaffolder.step.duration", "s"),
            ("understudy_queue_oldest_seconds", "understudy.queue_oldest", "s"),
            ("understudy_claims_lost_total", "understudy.claims_lost", ""),
            ("understudy_build_info", "understudy.build_info", ""),
            ("process_start_time_seconds", "process.start_time", "s"),
        ] {
            assert_eq!(name_and_unit(own), (name.to_string(), unit));
        }
    }
}
