//! The metrics of automatic rotation.

use super::exposition::{Exposition, Labels, Type};
use crate::service::InstanceRotations;

/// Writes the families of all instances.
pub(super) fn write(instances: &[InstanceRotations], page: &mut Exposition) {
    let labelled = || instances.iter().map(|of| (Labels::default().with("instance", &of.instance), of));
    let help = "Automatic rotations of keys by this node, by how they ended.";
    let mut family = page.family("keystead_key_rotations_total", Type::Counter, help);
    for (labels, of) in labelled() {
        family.sample(&labels.with("result", "ok"), of.done);
        family.sample(&labels.with("result", "failed"), of.failed);
    }
    let mut family = page.family("keystead_key_rotations_due", Type::Gauge, "Keys that are to be rotated and are not yet.");
    for (labels, of) in labelled() {
        family.sample(&labels, of.due);
    }
}
