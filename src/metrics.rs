//! Metrics of the server as text in the format that Prometheus reads (OpenMetrics 1.0). The one
//! home of `prometheus-client`.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

/// Media type of the metrics text.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Prefix of every metric's name.
const PREFIX: &str = "asterscribe";

/// A metric: one value, or several that differ in a label.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricFamily {
    /// Name of the metric, without the prefix `asterscribe_` and the suffix `_total`.
    pub name: &'static str,
    /// Help text of the metric.
    pub help: &'static str,
    /// Values of the metric.
    pub values: MetricValues,
}

/// Kind and values of a metric.
#[derive(Debug, Clone, PartialEq)]
pub enum MetricValues {
    /// Present value.
    Gauge(f64),
    /// Present values, by a label of that name.
    Gauges(&'static str, Vec<(&'static str, f64)>),
    /// Count since the start.
    Counter(u64),
    /// Counts since the start, by a label of that name.
    Counters(&'static str, Vec<(&'static str, u64)>),
}

/// Metrics as OpenMetrics text.
///
/// # Errors
/// None in fact: it is written into memory.
pub fn text(metrics: Vec<MetricFamily>) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(MetricsSnapshot(metrics)));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct MetricsSnapshot(Vec<MetricFamily>);

impl Collector for MetricsSnapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for metric in &self.0 {
            metric.encode(&mut encoder)?;
        }
        Ok(())
    }
}

impl MetricFamily {
    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        // These values are made only to ask for their types.
        let kind = match self.values {
            MetricValues::Gauge(_) | MetricValues::Gauges(..) => ConstGauge::new(0.0).metric_type(),
            MetricValues::Counter(_) | MetricValues::Counters(..) => {
                ConstCounter::new(0u64).metric_type()
            }
        };
        let mut encoder = encoder.encode_descriptor(self.name, self.help, None, kind)?;
        match &self.values {
            MetricValues::Gauge(value) => ConstGauge::new(*value).encode(encoder),
            MetricValues::Counter(value) => ConstCounter::new(*value).encode(encoder),
            MetricValues::Gauges(label, values) => values.iter().try_for_each(|(of, value)| {
                let labels = [(*label, *of)];
                ConstGauge::new(*value).encode(encoder.encode_family(&labels)?)
            }),
            MetricValues::Counters(label, values) => values.iter().try_for_each(|(of, value)| {
                let labels = [(*label, *of)];
                ConstCounter::new(*value).encode(encoder.encode_family(&labels)?)
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_prometheus_reads() {
        let metrics = vec![
            MetricFamily {
                name: "calls_open",
                help: "Calls open now",
                values: MetricValues::Gauge(2.0),
            },
            MetricFamily {
                name: "rtp_datagrams",
                help: "Datagrams",
                values: MetricValues::Counters("fate", vec![("admitted", 3), ("not_rtp", 1)]),
            },
        ];
        let expected = "\
# HELP asterscribe_calls_open Calls open now
# TYPE asterscribe_calls_open gauge
asterscribe_calls_open 2.0
# HELP asterscribe_rtp_datagrams Datagrams
# TYPE asterscribe_rtp_datagrams counter
asterscribe_rtp_datagrams_total{fate=\"admitted\"} 3
asterscribe_rtp_datagrams_total{fate=\"not_rtp\"} 1
# EOF
";
        assert_eq!(text(metrics).unwrap(), expected);
    }
}
