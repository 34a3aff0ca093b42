//! How the audit log is: its line in `/readyz` while it cannot be written, and its metrics.

use super::exposition::{Exposition, Labels, Type};
use crate::audit::{QUEUE, Status, WhenFull};

/// What `/readyz` says while nothing can be written, and what follows from that.
pub(super) fn line(when_full: WhenFull, why: &str) -> String {
    let why = why.replace('\n', " ");
    match when_full {
        WhenFull::Refuse => format!("audit not ready: the log cannot be written, so every request is refused: {why}\n"),
        WhenFull::Continue => format!("audit failing: the log cannot be written, requests are served all the same: {why}\n"),
    }
}

/// Writes its families.
pub(super) fn write(status: &Status, page: &mut Exposition) {
    let none = Labels::default();
    for (name, what, help, value) in [
        ("keystead_audit_records_total", Type::Counter, "Records that were written.", status.records),
        ("keystead_audit_commits_total", Type::Counter, "Syncs that wrote them.", status.commits),
        ("keystead_audit_failures_total", Type::Counter, "Attempts to write records that failed.", status.failures),
        ("keystead_audit_unrecorded_total", Type::Counter, "Requests that were served without a record.", status.unrecorded),
        ("keystead_audit_refused_total", Type::Counter, "Requests that were refused for want of a record.", status.refused),
        ("keystead_audit_failing", Type::Gauge, "1 while records cannot be written.", u64::from(status.failing.is_some())),
        (
            "keystead_audit_queue_waiting",
            Type::Gauge,
            "Records that wait, those of running requests included.",
            status.waiting as u64,
        ),
        ("keystead_audit_queue_bound", Type::Gauge, "The most that may.", QUEUE as u64),
    ] {
        page.family(name, what, help).sample(&none, value);
    }
}
