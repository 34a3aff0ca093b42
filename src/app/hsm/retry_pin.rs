//! `keystead hsm retry-pin`: a PIN that was refused is to be tried once more.
//!
//! The server remembers refused PINs by keyed fingerprints in the data folder and looks there before each login. What is forgotten
//! there, it tries again.

use std::path::Path;

use super::{slot_of, status};
use crate::app::assembly;
use crate::app::files::Files;
use crate::app::output::say;
use crate::base::{Error, Kind, Result};
use crate::config::Config;
use crate::model::InstanceId;

/// Forgets the refused PINs of the instance's tokens, or of the token of this serial number.
pub(in crate::app) async fn run(config: &Path, id: &InstanceId, serial: Option<String>) -> Result<()> {
    let config = Config::load(config)?;
    slot_of(&config, id)?;
    let serials = match serial {
        Some(serial) => vec![serial],
        None => found(&Files::of(&config), id).await?,
    };
    let root_key = config.root_key_file.display();
    if !config.root_key_file.exists() {
        return Err(Error::new(Kind::Unavailable, format!("There is no root key {root_key}, so no PIN was noted as refused.")));
    }
    let refused = assembly::refused_pins(&config)?;
    for serial in serials {
        refused.forget(&serial)?;
        say!("the PIN of the token of serial {serial} may be tried once more; a running server does so within a second");
    }
    say!("keystead hsm status {id} shows whether it was accepted");
    Ok(())
}

async fn found(files: &Files<'_>, id: &InstanceId) -> Result<Vec<String>> {
    let hint = "name the token's --serial, which keystead hsm list shows";
    let serials = status::serials(files, id).await.map_err(|error| Error::new(Kind::Unavailable, format!("{error} Or {hint}.")))?;
    if serials.is_empty() {
        return Err(Error::new(Kind::Unavailable, format!("The running server has not found the token of {id} yet; {hint}.")));
    }
    Ok(serials)
}
