//! `keystead hsm retry-pin`: a PIN that was refused is to be tried once more.
//!
//! The server notes refused PINs by keyed fingerprints in the data folder and looks there before each login. What is not noted there
//! any more, it tries again.

use std::path::Path;

use super::{slot_of, status};
use crate::app::assembly;
use crate::app::files::Files;
use crate::app::output::say;
use crate::base::{Error, Kind, Result};
use crate::config::Config;
use crate::model::InstanceId;
use crate::wire::slots::Token;

/// Takes away the notes of the instance's tokens, or of the token of this serial number.
pub(in crate::app) async fn run(config: &Path, id: &InstanceId, serial: Option<String>) -> Result<()> {
    let config = Config::load(config)?;
    let uri = &slot_of(&config, id)?.uri;
    let tokens = match serial {
        Some(serial) => vec![uri.name(&serial, None)],
        None => found(&Files::of(&config), id).await?.iter().map(|token| uri.name(&token.serial, Some(&token.label))).collect(),
    };
    let root_key = config.root_key_file.display();
    if !config.root_key_file.exists() {
        return Err(Error::new(Kind::Unavailable, format!("There is no root key {root_key}, so no PIN was noted as refused.")));
    }
    let notes = assembly::login_notes(&config)?;
    for token in tokens {
        notes.forget(&token)?;
        say!("the PIN of the token of serial {} may be tried once more; a running server does so within a second", token.serial);
    }
    say!("keystead hsm status {id} shows whether it was accepted");
    Ok(())
}

async fn found(files: &Files<'_>, id: &InstanceId) -> Result<Vec<Token>> {
    let hint = "name the token's --serial, which keystead hsm list shows";
    let tokens = status::tokens(files, id).await.map_err(|error| Error::new(Kind::Unavailable, format!("{error} Or {hint}.")))?;
    if tokens.is_empty() {
        return Err(Error::new(Kind::Unavailable, format!("The running server has not found the token of {id} yet; {hint}.")));
    }
    Ok(tokens)
}
