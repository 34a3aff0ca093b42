//! `keystead init`: makes what a new installation needs, and nothing that is there already. Where a part of an installation is missing, it
//! makes nothing.

use std::path::Path;

use super::audit;
use super::files::{self, Files, replace};
use super::installation::{check_nothing_is_missing, first_configuration, is_there, new_root_key};
use super::operators::access_key_file;
use crate::app::output::say;
use crate::base::{Clock, Result, SystemClock, Timestamp, durable};
use crate::config::Config;
use crate::model::AccessKeyId;
use crate::service::{
    self,
    certificates::{self, AuthorityMaterial},
};
use crate::store::{ADMINISTRATOR, Authorities, RootKey, Store};

/// What becomes of an administrator's AccessKey that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AccessKey {
    Keep,
    Replace,
}

pub(super) async fn run(path: &Path, access_key: AccessKey) -> Result<()> {
    if is_there(path)? {
        say!("configuration     {}", path.display());
    } else {
        files::write_new_secret(path, first_configuration(path)?.as_bytes())?;
        say!("configuration     {} (new, with a software instance)", path.display());
    }
    let config = Config::load(path)?;
    check_nothing_is_missing(&config)?;
    let files = Files::of(&config);
    files.make_folder()?;
    let store = open_or_make(&config, &files.database()).await?;
    let now = SystemClock.now();
    let authorities = ensure_authorities(&store, now).await?;
    replace(&files.ca(), certificates::ca_chain_pem(&authorities).as_bytes())?;
    say!("CA certificates   {}", files.ca().display());
    let known = store.access_keys().await?.into_iter().find(|key| key.info.owner.as_str() == ADMINISTRATOR);
    let made = match (known, access_key) {
        (Some(key), AccessKey::Keep) => {
            say!("AccessKey         {} (--new-access-key makes another)", key.info.id);
            None
        }
        (None, AccessKey::Keep | AccessKey::Replace) | (Some(_), AccessKey::Replace) => {
            let id = new_access_key(&store, &files, now).await?;
            say!("AccessKey         {id} (new, its secret is in {})", files.access_key().display());
            Some(match access_key {
                AccessKey::Keep => "init",
                AccessKey::Replace => "init --new-access-key",
            })
        }
    };
    say!("audit log         {}", config.audit.directory.display());
    // Run again it changes nothing, and there is nothing to record.
    if let Some(operation) = made {
        audit::record_init(&config, &store, operation).await?;
    }
    store.close().await;
    Ok(())
}

/// The database, with what it is sealed by.
async fn open_or_make(config: &Config, database: &Path) -> Result<Store> {
    let root_key = &config.root_key_file;
    let store = if is_there(root_key)? {
        let store = Store::create(database, &RootKey::load(root_key)?).await?;
        say!("root key          {}", root_key.display());
        store
    } else {
        let new = new_root_key(config);
        if !is_there(&new)? {
            RootKey::generate().write_new(&new)?;
        }
        let store = Store::create(database, &RootKey::load(&new)?).await?;
        durable::rename(&new, root_key).map_err(|error| files::failed(root_key, &error))?;
        say!("root key          {} (new: keep a copy elsewhere)", root_key.display());
        store
    };
    say!("database          {}", database.display());
    Ok(store)
}

async fn ensure_authorities(store: &Store, now: Timestamp) -> Result<AuthorityMaterial> {
    if store.authorities().await?.is_none() {
        let made = certificates::new_authorities(now)?;
        store
            .put_authorities(&Authorities {
                root_certificate: made.root_certificate,
                root_key: made.root_key,
                issuing_certificate: made.issuing_certificate,
                issuing_key: made.issuing_key,
            })
            .await?;
    }
    service::authorities(store).await
}

async fn new_access_key(store: &Store, files: &Files<'_>, now: Timestamp) -> Result<AccessKeyId> {
    let key = service::new_access_key(ADMINISTRATOR.parse()?, now);
    // The file first: a secret that the store has and nobody knows is of no use.
    replace(&files.access_key(), access_key_file(&key).expose())?;
    store.replace_administrator(&key).await?;
    Ok(key.info.id)
}
