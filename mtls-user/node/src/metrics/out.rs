//! Destinations of metric samples: a page, or a list for other formats.

use std::fmt;

use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabel, EncodeLabelSet, LabelSetEncoder, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use smol_str::SmolStr;

use super::catalog::{Kind, Metric};

/// A metric's samples, each with its label values.
#[derive(Debug)]
pub struct Points {
    /// The metric.
    pub metric: Metric,
    /// The samples.
    pub samples: Vec<(Vec<SmolStr>, f64)>,
}

/// A number of either kind.
#[derive(Clone, Copy)]
pub(super) enum Value {
    Whole(u64),
    Real(f64),
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

/// A destination of samples.
pub(super) enum Out<'a> {
    Text(DescriptorEncoder<'a>),
    Points(&'a mut Vec<Points>),
}

impl Out<'_> {
    pub(super) fn family(
        &mut self,
        metric: &Metric,
        fill: impl FnOnce(&mut Family<'_>) -> fmt::Result,
    ) -> fmt::Result {
        match self {
            Self::Text(encoder) => {
                let kind = match metric.kind {
                    Kind::Counter => MetricType::Counter,
                    Kind::Gauge => MetricType::Gauge,
                };
                let encoder = encoder.encode_descriptor(metric.name, metric.help, None, kind)?;
                fill(&mut Family::Text {
                    encoder,
                    kind: metric.kind,
                    names: metric.labels,
                })
            }
            Self::Points(points) => {
                let mut samples = Vec::new();
                fill(&mut Family::Points(&mut samples))?;
                points.push(Points {
                    metric: *metric,
                    samples,
                });
                Ok(())
            }
        }
    }

    /// A metric with one label.
    pub(super) fn each<L: AsRef<str>, V: Into<Value>>(
        &mut self,
        metric: &Metric,
        values: impl IntoIterator<Item = (L, V)>,
    ) -> fmt::Result {
        self.family(metric, |family| {
            for (label, value) in values {
                family.add(&[label.as_ref()], value)?;
            }
            Ok(())
        })
    }

    /// A metric without labels.
    pub(super) fn one(&mut self, metric: &Metric, value: impl Into<Value>) -> fmt::Result {
        self.family(metric, |family| family.add(&[], value))
    }
}

pub(super) enum Family<'a> {
    Text {
        encoder: MetricEncoder<'a>,
        kind: Kind,
        names: &'static [&'static str],
    },
    Points(&'a mut Vec<(Vec<SmolStr>, f64)>),
}

impl Family<'_> {
    pub(super) fn add(&mut self, values: &[&str], value: impl Into<Value>) -> fmt::Result {
        let value = value.into();
        match self {
            Self::Points(samples) => {
                let number = match value {
                    Value::Whole(n) => n as f64,
                    Value::Real(x) => x,
                };
                samples.push((values.iter().map(SmolStr::new).collect(), number));
                Ok(())
            }
            Self::Text {
                encoder,
                kind,
                names: [],
            } => write(encoder, *kind, value),
            Self::Text {
                encoder,
                kind,
                names,
            } => {
                debug_assert_eq!(values.len(), names.len());
                let labels = Pairs { names, values };
                write(&mut encoder.encode_family(&labels)?, *kind, value)
            }
        }
    }
}

fn write(encoder: &mut MetricEncoder<'_>, kind: Kind, value: Value) -> fmt::Result {
    match (kind, value) {
        (Kind::Counter, Value::Whole(n)) => encoder.encode_counter::<NoLabelSet, _, u64>(&n, None),
        (Kind::Counter, Value::Real(x)) => encoder.encode_counter::<NoLabelSet, _, u64>(&x, None),
        (Kind::Gauge, Value::Whole(n)) => encoder.encode_gauge(&n),
        (Kind::Gauge, Value::Real(x)) => encoder.encode_gauge(&x),
    }
}

/// Names of labels with their values.
struct Pairs<'a> {
    names: &'static [&'static str],
    values: &'a [&'a str],
}

impl EncodeLabelSet for Pairs<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        for (name, value) in self.names.iter().zip(self.values) {
            (*name, *value).encode(encoder.encode_label())?;
        }
        Ok(())
    }
}
