//! `keystead quick-create` and `keystead aap create`: access for a client, and the files that it gets.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::assembly;
use super::audit::{Done, Witness};
use super::files::{check_folder, failed, until_known, write_new_secret};
use crate::app::output::say;
use crate::base::{Clock, Error, Kind, Result, SystemClock};
use crate::config::Config;
use crate::model::{InstanceId, Name};
use crate::service::{FIVE_YEARS, HandedOut, Kms, NewAccess};
use crate::store::Store;
use crate::wire::date;

/// Who is to have access.
pub(super) enum Callers {
    /// Whoever gets a client key that is valid for so many seconds.
    ClientKey { seconds: i64 },
    /// The sessions of the role of the access point's name.
    Role,
}

/// Everything of one instance, from anywhere, for five years.
pub(super) async fn quick_create(path: &Path, instance: InstanceId, name: Name, out: &Path) -> Result<()> {
    make(path, "quick-create", NewAccess::everything(name, instance)?, &Callers::ClientKey { seconds: FIVE_YEARS }, out).await
}

/// What is named, from where it is named.
pub(super) async fn create(path: &Path, new: NewAccess, callers: &Callers, out: &Path) -> Result<()> {
    make(path, "aap create", new, callers, out).await
}

async fn make(path: &Path, operation: &'static str, new: NewAccess, callers: &Callers, out: &Path) -> Result<()> {
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
    let witness = Witness::begin(&config, &store).await?;
    let name = new.name.clone();
    let made = match callers {
        Callers::ClientKey { seconds } => for_client_key(&store, new, *seconds, out).await,
        Callers::Role => for_role(&store, new).await,
    };
    let done = Done { operation, instance: Some(instance.as_str()), resource: Some(name.as_str()) };
    let made = witness.end(&store, done, made).await;
    store.close().await;
    let Made { told, ca_chain_pem } = made?;
    until_known(&config).await;
    say!("{summary}\n{told}");
    let ca_file = out.join(format!("PrivateKmsCA_{instance}.pem"));
    // The same for every client of the installation.
    std::fs::write(&ca_file, &ca_chain_pem).map_err(|error| failed(&ca_file, &error))?;
    say!("CA certificates           {}", ca_file.display());
    Ok(())
}

/// What was made: what is said of it, and what its callers must trust.
struct Made {
    told: String,
    ca_chain_pem: String,
}

async fn for_client_key(store: &Store, new: NewAccess, seconds: i64, out: &Path) -> Result<Made> {
    let mut written = Written::default();
    let made = Kms::create_access(store, new, seconds, SystemClock.now(), |made| written.write(made, out)).await;
    let made = made.inspect_err(|_| written.remove())?;
    Ok(Made { told: written.told(&made), ca_chain_pem: made.ca_chain_pem })
}

async fn for_role(store: &Store, new: NewAccess) -> Result<Made> {
    let (role, ca_chain_pem) = Kms::create_access_of_role(store, new).await?;
    let told = format!("for sessions of           {}; there is no client key", role.arn());
    Ok(Made { told, ca_chain_pem })
}

/// The files of a client key. They are written before the store knows of it, since nobody gets it a second time.
#[derive(Default)]
pub(super) struct Written {
    key: PathBuf,
    password: PathBuf,
    files: Vec<PathBuf>,
}

impl Written {
    pub(super) fn write(&mut self, made: &HandedOut, out: &Path) -> Result<()> {
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
    pub(super) fn remove(&self) {
        for file in &self.files {
            let _ = std::fs::remove_file(file);
        }
    }

    /// Where it is.
    pub(super) fn told(&self, made: &HandedOut) -> String {
        format!(
            "client key                {}, valid until {}\nits password              {}",
            self.key.display(),
            date::to_iso(made.client_key.not_after),
            self.password.display()
        )
    }
}
