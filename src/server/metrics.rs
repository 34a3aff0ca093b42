//! Counts of requests, for Prometheus.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::exposition::{Exposition, Labels, Type};

/// What is counted apart. All three come out of closed sets, so their number is bounded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Counted {
    pub(super) endpoint: Arc<str>,
    pub(super) operation: &'static str,
    pub(super) code: &'static str,
}

/// The upper edges of the duration's buckets, in seconds.
const BUCKETS: [f64; 10] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.01, 0.05, 0.25, 1.0, 10.0];

#[derive(Default)]
struct Durations {
    /// Between each edge and the one before it.
    buckets: [u64; BUCKETS.len()],
    count: u64,
    sum: f64,
}

/// The counts so far.
#[derive(Default)]
pub(super) struct Metrics(Mutex<BTreeMap<Counted, Durations>>);

impl Metrics {
    pub(super) fn count(&self, what: Counted, took: Duration) {
        let seconds = took.as_secs_f64();
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let durations = counts.entry(what).or_default();
        durations.count += 1;
        durations.sum += seconds;
        if let Some(bucket) = durations.buckets.get_mut(BUCKETS.partition_point(|edge| *edge < seconds)) {
            *bucket += 1;
        }
    }

    /// Writes their family.
    pub(super) fn write(&self, page: &mut Exposition) {
        let help = "Time from a request's headers to its answer.";
        let mut family = page.family("keystead_request_duration_seconds", Type::Histogram, help);
        for (Counted { endpoint, operation, code }, durations) in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let labels = Labels::default().with("endpoint", endpoint).with("operation", operation).with("code", code);
            family.histogram(&labels, BUCKETS.into_iter().zip(durations.buckets), durations.count, durations.sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_adds_up() {
        let metrics = Metrics::default();
        let what = || Counted { endpoint: "kst-a".into(), operation: "Encrypt", code: "OK" };
        metrics.count(what(), Duration::from_micros(200));
        metrics.count(what(), Duration::from_secs(60));
        let mut page = Exposition::default();
        metrics.write(&mut page);
        let text = page.into_text();
        let labels = "endpoint=\"kst-a\",operation=\"Encrypt\",code=\"OK\"";
        for line in [
            format!("keystead_request_duration_seconds_bucket{{{labels},le=\"0.0001\"}} 0"),
            format!("keystead_request_duration_seconds_bucket{{{labels},le=\"0.00025\"}} 1"),
            format!("keystead_request_duration_seconds_bucket{{{labels},le=\"10\"}} 1"),
            format!("keystead_request_duration_seconds_bucket{{{labels},le=\"+Inf\"}} 2"),
            format!("keystead_request_duration_seconds_count{{{labels}}} 2"),
        ] {
            assert!(text.contains(&line), "{line} is not in\n{text}");
        }
    }
}
