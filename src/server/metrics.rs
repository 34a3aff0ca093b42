//! Counts of requests, for Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What is counted apart. All three come out of closed sets, so their number is bounded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Counted {
    pub(super) endpoint: String,
    pub(super) operation: &'static str,
    pub(super) code: &'static str,
}

/// The upper edges of the duration's buckets, in seconds.
const BUCKETS: [f64; 10] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.01, 0.05, 0.25, 1.0, 10.0];

#[derive(Default)]
struct Durations {
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
        for (bucket, edge) in durations.buckets.iter_mut().zip(BUCKETS) {
            *bucket += u64::from(seconds <= edge);
        }
    }

    /// The text format, version 0.0.4.
    pub(super) fn render(&self) -> String {
        let name = "keystead_request_duration_seconds";
        let mut text = format!("# HELP {name} Time from a request's headers to its answer.\n# TYPE {name} histogram\n");
        for (Counted { endpoint, operation, code }, durations) in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let labels = format!("endpoint=\"{endpoint}\",operation=\"{operation}\",code=\"{code}\"");
            for (bucket, edge) in durations.buckets.iter().zip(BUCKETS) {
                let _ = writeln!(text, "{name}_bucket{{{labels},le=\"{edge}\"}} {bucket}");
            }
            let _ = writeln!(text, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", durations.count);
            let _ = writeln!(text, "{name}_sum{{{labels}}} {}", durations.sum);
            let _ = writeln!(text, "{name}_count{{{labels}}} {}", durations.count);
        }
        text
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
        let text = metrics.render();
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
