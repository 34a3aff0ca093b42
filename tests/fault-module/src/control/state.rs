//! What the command `state` tells.

use serde_json::{Map, Value, json};

use crate::module::Module;
use crate::slot::{Presence, Return};

/// All of it.
pub fn of(module: &Module) -> Value {
    let slots = module.slots.all();
    let sessions: Map<_, _> = slots
        .iter()
        .filter(|slot| slot.open_sessions() != 0)
        .map(|slot| (slot.visible().to_string(), slot.open_sessions().into()))
        .collect();
    let removed: Map<_, _> = slots
        .iter()
        .filter_map(|slot| {
            let how = match slot.presence() {
                Presence::Present => return None,
                Presence::Removed(Return::AtOnce) => "removed".to_owned(),
                Presence::Removed(Return::AtInitialise) => "removed until-reinit".to_owned(),
                Presence::Awaited(number) => format!("inserted as {number}, awaits C_Initialize"),
            };
            Some((slot.visible().to_string(), how.into()))
        })
        .collect();
    let renumbered: Map<_, _> = slots
        .iter()
        .filter(|slot| slot.visible() != slot.real)
        .map(|slot| (slot.visible().to_string(), slot.real.into()))
        .collect();
    json!({
        "initialised": !module.gate.is_shut(),
        "initialisations": module.initialisations(),
        "sessions": sessions,
        "hung": module.hang.hung(),
        "inside": module.inside(),
        "overlaps": module.overlaps.load(std::sync::atomic::Ordering::Relaxed),
        "rules": module.rules.json(),
        "pending": module.pending(),
        "removed": removed,
        "real_slots": renumbered,
    })
}
