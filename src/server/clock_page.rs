//! Whether the date is relied on for what cannot be undone: its line in `/readyz` while it is not, and its metric.

use super::exposition::{Exposition, Labels, Type};
use crate::base::{Result, Timestamp};

/// What `/readyz` says while nothing is destroyed. It is served all the same.
pub(super) fn line(settled: &Result<Timestamp>) -> String {
    settled.as_ref().err().map_or_else(String::new, |why| {
        format!("clock waiting: what is to be destroyed because its time has come is kept: {}\n", why.message().replace('\n', " "))
    })
}

/// Writes its family.
pub(super) fn write(settled: &Result<Timestamp>, page: &mut Exposition) {
    let help = "1 while the date is relied on to destroy keys, material and audit records whose time has come.";
    page.family("keystead_clock_settled", Type::Gauge, help).sample(&Labels::default(), u8::from(settled.is_ok()));
}
