//! What the telemetry tells of the store: what stands in it as if it were to be destroyed, and is not.

use super::exposition::{Exposition, Labels, Type};
use crate::service::Kms;

/// The remarks in `/readyz`.
pub(super) fn lines(kms: &Kms) -> String {
    match kms.refused_orders().as_slice() {
        [] => String::new(),
        [order] => format!("remark: {order}\n"),
        [first, others @ ..] => format!("remark: {first}; and {} more, which are in the log\n", others.len()),
    }
}

/// Writes the families.
pub(super) fn write(kms: &Kms, page: &mut Exposition) {
    let help = "Orders to destroy that stand in the database without a proof, or of what is in use; they are not obeyed.";
    let mut family = page.family("keystead_refused_destructions", Type::Gauge, help);
    family.sample(&Labels::default(), kms.refused_orders().len());
}
