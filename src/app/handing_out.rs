//! `keystead quick-create`, `keystead aap create` and `keystead client-key ...`: access for a client, and the files that it gets.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::assembly;
use super::files::{Files, failed, write_new_secret};
use crate::base::{Clock, Error, Kind, Result, SystemClock};
use crate::config::Config;
use crate::model::{ClientKeyId, InstanceId, Name};
use crate::service::{HandedOut, Kms, NewAccess, REFRESH};
use crate::wire::date;

/// Everything of one instance, from anywhere, for five years.
pub(super) async fn quick_create(path: &Path, instance: InstanceId, name: Name, out: &Path) -> Result<()> {
    create(path, NewAccess::everything(name, instance)?, out).await
}

/// What is named, from where it is named.
pub(super) async fn create(path: &Path, new: NewAccess, out: &Path) -> Result<()> {
    let config = Config::load(path)?;
    let instance = new.instance.clone();
    if !config.instances.iter().any(|known| known.id == instance) {
        let known: Vec<_> = config.instances.iter().map(|known| known.id.as_str()).collect();
        let text = format!("There is no instance {instance}; there are {}.", known.join(", "));
        return Err(Error::new(Kind::InstanceNotFound, text));
    }
    check_folder(out)?;
    let resources: Vec<_> = new.resources.iter().map(ToString::to_string).collect();
    let from = if new.sources.is_empty() { "any address".to_owned() } else { new.sources.join(", ") };
    let summary = format!("application access point  {}: {} of {instance}, from {from}", new.name, resources.join(", "));
    let store = assembly::store(&config).await?;
    let mut written = Written::default();
    let made = Kms::create_access(&store, new, SystemClock.now(), |made| written.write(made, out)).await;
    store.close().await;
    let made = made.inspect_err(|_| written.remove())?;
    until_known(&config).await;
    println!("{summary}");
    written.tell(&made);
    let ca_file = out.join(format!("PrivateKmsCA_{instance}.pem"));
    // The same for every client of the installation.
    std::fs::write(&ca_file, &made.ca_chain_pem).map_err(|error| failed(&ca_file, &error))?;
    println!("CA certificates           {}", ca_file.display());
    Ok(())
}

/// A further client key of an access point.
pub(super) async fn create_client_key(path: &Path, access_point: Name, seconds: i64, out: &Path) -> Result<()> {
    let config = Config::load(path)?;
    check_folder(out)?;
    let store = assembly::store(&config).await?;
    let mut written = Written::default();
    let now = SystemClock.now();
    let made = Kms::hand_out_client_key(&store, access_point.clone(), seconds, now, |made| written.write(made, out)).await;
    let made = made.inspect_err(|_| written.remove())?;
    written.tell(&made);
    let id = &made.client_key.id;
    let tables = store.access().await?;
    let others = tables.client_keys.iter().filter(|key| key.access_point == access_point && key.id != *id).count();
    store.close().await;
    until_known(&config).await;
    if others > 0 {
        println!(
            "{access_point} has {others} other client keys, which stay valid: `keystead client-key list --aap {access_point}`."
        );
    }
    Ok(())
}

/// The client keys of one access point or of all.
pub(super) async fn list_client_keys(path: &Path, access_point: Option<&Name>) -> Result<()> {
    let store = assembly::store(&Config::load(path)?).await?;
    let tables = store.access().await?;
    store.close().await;
    if let Some(name) = access_point
        && !tables.access_points.iter().any(|point| point.name == *name)
    {
        return Err(Error::new(Kind::ResourceNotFound, format!("There is no application access point {name}.")));
    }
    let now = SystemClock.now();
    println!("{:<42} {:<21} {:<21} {:<8} access point", "client key", "from", "until", "");
    for key in tables.client_keys.iter().filter(|key| access_point.is_none_or(|name| key.access_point == *name)) {
        let state = if now > key.not_after { "expired" } else { "" };
        let (from, until) = (date::to_iso(key.not_before), date::to_iso(key.not_after));
        println!("{:<42} {from:<21} {until:<21} {state:<8} {}", key.id, key.access_point);
    }
    Ok(())
}

/// It stops working.
pub(super) async fn delete_client_key(path: &Path, id: &ClientKeyId) -> Result<()> {
    let config = Config::load(path)?;
    let store = assembly::store(&config).await?;
    store.delete_client_key(id).await?;
    store.close().await;
    until_known(&config).await;
    println!("The client key {id} is deleted: requests that it signs are refused.");
    Ok(())
}

fn check_folder(out: &Path) -> Result<()> {
    if out.is_dir() { Ok(()) } else { Err(Error::invalid(format!("There is no folder {}.", out.display()))) }
}

/// The files of a client key. They are written before the store knows of it, since nobody gets it a second time.
#[derive(Default)]
struct Written {
    key: PathBuf,
    password: PathBuf,
    files: Vec<PathBuf>,
}

impl Written {
    fn write(&mut self, made: &HandedOut, out: &Path) -> Result<()> {
        let id = &made.client_key.id;
        self.key = out.join(format!("clientKey_{id}.json"));
        self.password = out.join(format!("clientKey_{id}_Password.txt"));
        let json = serde_json::json!({ "KeyId": id.as_str(), "PrivateKeyData": STANDARD.encode(made.private_key.expose()) });
        for (path, bytes) in [(&self.key, json.to_string().as_bytes()), (&self.password, made.password.expose())] {
            write_new_secret(path, bytes)?;
            self.files.push(path.clone());
        }
        Ok(())
    }

    /// The store did not take it.
    fn remove(&self) {
        for file in &self.files {
            let _ = std::fs::remove_file(file);
        }
    }

    fn tell(&self, made: &HandedOut) {
        println!("client key                {}, valid until {}", self.key.display(), date::to_iso(made.client_key.not_after));
        println!("its password              {}", self.password.display());
    }
}

/// A server that runs looks at the change counter this often; after twice that it knows what was written.
async fn until_known(config: &Config) {
    if Files::of(config).is_served() {
        tokio::time::sleep(2 * REFRESH).await;
    }
}
