//! `keystead quick-create`: policy, access point and client key in one go, and the three files for the client.

use std::path::Path;

use super::assembly;
use super::files::{Files, failed, write_new_secret};
use crate::base::{Clock, Error, Kind, Result, SystemClock};
use crate::config::Config;
use crate::model::{InstanceId, Name};
use crate::service::{Kms, REFRESH};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

pub(super) async fn run(path: &Path, instance: &InstanceId, name: &Name, out: &Path) -> Result<()> {
    let config = Config::load(path)?;
    if !config.instances.iter().any(|known| known.id == *instance) {
        let known: Vec<_> = config.instances.iter().map(|known| known.id.as_str()).collect();
        return Err(Error::new(
            Kind::InstanceNotFound,
            format!("There is no instance {instance}; there are {}.", known.join(", ")),
        ));
    }
    if !out.is_dir() {
        return Err(Error::invalid(format!("There is no folder {}.", out.display())));
    }
    let ca_file = out.join(format!("PrivateKmsCA_{instance}.pem"));
    let store = assembly::store(&config).await?;
    let made = Kms::quick_create(&store, instance, name, SystemClock.now()).await?;
    store.close().await;
    let id = &made.client_key.id;
    let key_file = out.join(format!("clientKey_{id}.json"));
    let password_file = out.join(format!("clientKey_{id}_Password.txt"));
    let json = serde_json::json!({ "KeyId": id.as_str(), "PrivateKeyData": STANDARD.encode(made.private_key.expose()) });
    write_new_secret(&key_file, json.to_string().as_bytes())?;
    write_new_secret(&password_file, made.password.expose())?;
    // The same for every client of the installation.
    std::fs::write(&ca_file, &made.ca_chain_pem).map_err(|error| failed(&ca_file, &error))?;
    if Files::of(&config).is_served() {
        // A server that runs looks at the change counter this often; after twice that it knows the client key.
        tokio::time::sleep(2 * REFRESH).await;
    }
    println!("application access point  {name}: all keys and secrets of {instance}, any address, five years");
    println!("client key                {}", key_file.display());
    println!("its password              {}", password_file.display());
    println!("CA certificates           {}", ca_file.display());
    Ok(())
}
