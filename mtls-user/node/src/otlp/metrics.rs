//! The daemon's metrics in OTLP form.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum,
    number_data_point,
};

use super::Resource;
use super::notice::scope;
use crate::metrics::{Kind, Points};

/// The request for some metrics: counters count from `start`; both times are nanoseconds since the
/// Unix epoch.
pub fn request(
    points: &[Points],
    resource: &Resource,
    start: u64,
    now: u64,
) -> ExportMetricsServiceRequest {
    let metrics = points.iter().filter(|points| !points.samples.is_empty());
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(resource.message()),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(scope()),
                metrics: metrics.map(|points| metric(points, start, now)).collect(),
                schema_url: String::new(),
            }],
            schema_url: String::new(),
        }],
    }
}

fn metric(points: &Points, start: u64, now: u64) -> Metric {
    let samples = points.samples.iter().map(|(values, value)| {
        let labels = points.metric.labels.iter().zip(values);
        NumberDataPoint {
            attributes: labels.map(|(name, value)| label(name, value)).collect(),
            start_time_unix_nano: start,
            time_unix_nano: now,
            value: Some(number_data_point::Value::AsDouble(*value)),
            ..NumberDataPoint::default()
        }
    });
    let data_points = samples.collect();
    Metric {
        name: points.metric.name.into(),
        description: points.metric.help.into(),
        data: Some(match points.metric.kind {
            Kind::Counter => Data::Sum(Sum {
                data_points,
                aggregation_temporality: AggregationTemporality::Cumulative.into(),
                is_monotonic: true,
            }),
            Kind::Gauge => Data::Gauge(Gauge { data_points }),
        }),
        ..Metric::default()
    }
}

fn label(name: &str, value: &str) -> KeyValue {
    KeyValue {
        key: name.into(),
        value: Some(AnyValue {
            value: Some(Any::StringValue(value.into())),
        }),
        ..KeyValue::default()
    }
}
