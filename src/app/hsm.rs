//! `keystead hsm`: which tokens there are, what one can do, and how those of the running server are.

pub(super) mod bench;
mod humane;
mod page;
pub(super) mod retry_pin;
mod screen;
pub(super) mod status;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::assembly;
use crate::app::output::say;
use crate::base::{Error, Kind, Result};
use crate::config::{Config, Instance, Keys, PinSource};
use crate::model::InstanceId;
use crate::tier::pkcs11::{self, PinSource as _, Pkcs11Tier, Settings, TokenUri};
use crate::tier::{Support, Tier};

/// Lists the tokens of one module, or of the configured ones.
pub(super) async fn list(config: &Path, module: Option<&Path>) -> Result<()> {
    let modules: BTreeSet<PathBuf> = match module {
        Some(module) => BTreeSet::from([module.to_owned()]),
        None => slots(&Config::load(config)?).map(|slot| slot.module.clone()).collect(),
    };
    if modules.is_empty() {
        return Err(Error::new(
            Kind::InvalidParameter,
            "No instance of the configuration is of the kind Hardware; name a --module.",
        ));
    }
    for module in modules {
        say!("{}", module.display());
        say!(
            "  {:>20}  {:<24} {:<20} {:<14} {:<18} {:<8} {:<10} PIN",
            "slot",
            "label",
            "manufacturer",
            "model",
            "serial",
            "firmware",
            "sessions"
        );
        for token in pkcs11::list(&module).await? {
            let label = if token.initialized { token.label.as_str() } else { "(not initialised)" };
            let sessions = token.session_limit.map_or_else(|| "no limit".to_owned(), |limit| limit.to_string());
            let pin = if token.user_pin_initialized { token.pin_state.to_string() } else { "none".to_owned() };
            say!(
                "  {:>20}  {label:<24} {:<20} {:<14} {:<18} {:<8} {sessions:<10} {pin}",
                token.slot_id,
                token.manufacturer,
                token.model,
                token.serial,
                token.firmware
            );
        }
    }
    Ok(())
}

fn slots(config: &Config) -> impl Iterator<Item = &crate::config::Slot> {
    config.instances.iter().filter_map(|instance| match &instance.keys {
        Keys::Hardware(slot) => Some(slot.as_ref()),
        Keys::Software => None,
    })
}

/// The configured instance of this id.
fn the_instance<'a>(config: &'a Config, id: &InstanceId) -> Result<&'a Instance> {
    config.instances.iter().find(|instance| instance.id == *id).ok_or_else(|| {
        let known: Vec<_> = config.instances.iter().map(|instance| format!("{} ({})", instance.id, instance.name)).collect();
        Error::new(Kind::InstanceNotFound, format!("The configuration has no instance {id}; it has {}.", known.join(", ")))
    })
}

/// Probes the tokens of the configured instances.
pub(super) async fn probe_configured(config: &Path) -> Result<()> {
    let config = Config::load(config)?;
    let mut probed = false;
    for slot in slots(&config) {
        probe(slot.settings(assembly::login_notes(&config)?)).await?;
        probed = true;
    }
    if probed { Ok(()) } else { Err(none_has_a_token()) }
}

fn none_has_a_token() -> Error {
    Error::invalid("No instance of the configuration is of the kind Hardware; name --module, --uri and --pin-file.")
}

/// The token of the configured instance of this id.
fn slot_of<'a>(config: &'a Config, id: &InstanceId) -> Result<&'a crate::config::Slot> {
    match &the_instance(config, id)?.keys {
        Keys::Hardware(slot) => Ok(slot.as_ref()),
        Keys::Software => Err(Error::invalid(format!("The instance {id} has no token: its keys are held in the process."))),
    }
}

/// The one configured token.
fn only_slot(config: &Config) -> Result<&crate::config::Slot> {
    let mut slots = slots(config);
    let only = slots.next().ok_or_else(none_has_a_token)?;
    match slots.next() {
        None => Ok(only),
        Some(_) => Err(Error::invalid("Several instances of the configuration have a token; name one with --instance.")),
    }
}

/// Probes one token.
pub(super) async fn probe_token(module: PathBuf, uri: TokenUri, pin_file: PathBuf) -> Result<()> {
    probe(Settings::new(module, uri, PinSource::File(pin_file).read()?)).await
}

/// Measures the token of a configured instance.
pub(super) async fn bench_configured(config: &Path, instance: Option<&InstanceId>, plan: &bench::Plan) -> Result<()> {
    let config = Config::load(config)?;
    let slot = match instance {
        None => only_slot(&config)?,
        Some(id) => slot_of(&config, id)?,
    };
    bench::run(slot.settings(assembly::login_notes(&config)?), plan).await
}

/// Measures one token.
pub(super) async fn bench_token(module: PathBuf, uri: TokenUri, pin_file: PathBuf, plan: &bench::Plan) -> Result<()> {
    bench::run(Settings::new(module, uri, PinSource::File(pin_file).read()?), plan).await
}

async fn probe(settings: Settings) -> Result<()> {
    let tier = Pkcs11Tier::connect(settings).await?;
    say!("{}, {} sessions", tier.describe().name, tier.sessions());
    say!("  {:<16} {:<26} {:>12}  support", "key spec", "ability", "one round");
    for line in tier.describe().capabilities.iter() {
        let time = line.cost.map_or_else(String::new, |cost| format!("{:.1} µs", cost.as_secs_f64() * 1e6));
        let support = match &line.support {
            Support::Full => "yes".to_owned(),
            Support::Assisted(how) => format!("yes: {how}"),
            Support::Missing(why) => format!("no: {why}"),
        };
        say!("  {:<16} {:<26} {time:>12}  {support}", line.spec.name(), line.ability.to_string());
    }
    tier.close().await
}
