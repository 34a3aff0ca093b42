//! `keystead client-key ...`: client keys of access points, made, listed, changed and deleted.

use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::DAY;
use super::assembly;
use super::audit::{Done, Witness};
use super::files::{check_folder, until_known};
use super::handing_out::Written;
use crate::app::output::say;
use crate::base::{Clock, Error, Kind, Result, SystemClock, Timestamp};
use crate::config::Config;
use crate::model::access::ClientKey;
use crate::model::{ClientKeyId, Name};
use crate::service::Kms;
use crate::store::Store;
use crate::wire::date;

#[derive(Subcommand)]
pub(super) enum ClientKeys {
    /// Make a further client key, as before the end of the one that is used: both are valid, until one is deleted. An access point has
    /// three at the most.
    Create {
        /// The name of the application access point.
        #[arg(long, value_name = "NAME")]
        aap: Name,
        /// For how many days it is valid.
        #[arg(long, value_name = "DAYS", default_value = "365", value_parser = clap::value_parser!(u32).range(1..=36_500))]
        days: u32,
        /// The folder that the two files go to.
        #[arg(long, default_value = ".", value_name = "FOLDER")]
        out: PathBuf,
    },
    /// Change the client key of an access point without a gap: makes a new one, and says how the others are used; with --finish, deletes
    /// the others when nobody uses them any more.
    Rotate {
        /// The name of the application access point.
        #[arg(long, value_name = "NAME")]
        aap: Name,
        /// For how many days the new one is valid.
        #[arg(long, value_name = "DAYS", default_value = "365", value_parser = clap::value_parser!(u32).range(1..=36_500))]
        days: u32,
        /// The folder that the two files go to.
        #[arg(long, default_value = ".", value_name = "FOLDER")]
        out: PathBuf,
        /// Delete all but the newest client key, which must have been used, when the others were not used for --unused-for.
        #[arg(long, conflicts_with_all = ["days", "out"])]
        finish: bool,
        /// For how many hours a client key must not have been used to be deleted.
        #[arg(long, value_name = "HOURS", default_value = "24", requires = "finish", value_parser = clap::value_parser!(u32).range(1..=87_600))]
        unused_for: u32,
    },
    /// List client keys with their dates and their last use.
    List {
        /// The name of the application access point; without it those of all.
        #[arg(long, value_name = "NAME")]
        aap: Option<Name>,
    },
    /// Delete a client key: it stops working.
    Delete {
        /// KAAP....
        #[arg(value_name = "ID")]
        id: ClientKeyId,
    },
}

/// Seconds of an hour.
const HOUR: i64 = 3600;

/// Does what is asked for.
pub(super) async fn run(path: &Path, command: ClientKeys) -> Result<()> {
    match command {
        ClientKeys::Create { aap, days, out } => create(path, &aap, days, &out).await,
        ClientKeys::Rotate { aap, days, out, finish: false, .. } => rotate(path, &aap, days, &out).await,
        ClientKeys::Rotate { aap, finish: true, unused_for, .. } => finish(path, &aap, i64::from(unused_for) * HOUR).await,
        ClientKeys::List { aap } => list(path, aap.as_ref()).await,
        ClientKeys::Delete { id } => delete(path, &id).await,
    }
}

/// A further client key of an access point; gives the others.
async fn hand_out(config: &Config, operation: &'static str, access_point: &Name, days: u32, out: &Path) -> Result<Vec<ClientKey>> {
    check_folder(out)?;
    let store = assembly::store(config).await?;
    let witness = Witness::begin(config, &store).await?;
    let mut written = Written::default();
    let (seconds, now) = (i64::from(days) * DAY, SystemClock.now());
    let made = Kms::hand_out_client_key(&store, access_point.clone(), seconds, now, |made| written.write(made, out)).await;
    let made = made.inspect_err(|_| written.remove());
    let made = witness.end(&store, Done { operation, instance: None, resource: Some(access_point.as_str()) }, made).await?;
    say!("{}", written.told(&made));
    let mut others = of(&store, access_point).await?;
    others.retain(|key| key.id != made.client_key.id);
    store.close().await;
    until_known(config).await;
    Ok(others)
}

async fn create(path: &Path, access_point: &Name, days: u32, out: &Path) -> Result<()> {
    let others = hand_out(&Config::load(path)?, "client-key create", access_point, days, out).await?.len();
    if others > 0 {
        say!("{access_point} has {others} other client keys, which stay valid: `keystead client-key list --aap {access_point}`.");
    }
    Ok(())
}

/// A new one beside the one that is used.
async fn rotate(path: &Path, access_point: &Name, days: u32, out: &Path) -> Result<()> {
    let others = hand_out(&Config::load(path)?, "client-key rotate", access_point, days, out).await?;
    for key in &others {
        say!("stays valid               {}, until {}, last used: {}", key.id, date::to_iso(key.not_after), last_used(key));
    }
    say!(
        "\nHand the new client key to the program. When it uses nothing else any more:\n    keystead client-key rotate --aap {access_point} \
         --finish"
    );
    Ok(())
}

/// The end of a change: all but the newest are deleted, if the newest is used and they are not.
async fn finish(path: &Path, access_point: &Name, unused_for: i64) -> Result<()> {
    let config = Config::load(path)?;
    let store = assembly::store(&config).await?;
    let mut keys = of(&store, access_point).await?;
    let now = SystemClock.now();
    let Some(newest) = keys.pop() else {
        return Err(Error::new(Kind::ResourceNotFound, format!("{access_point} has no client key.")));
    };
    if keys.is_empty() {
        store.close().await;
        say!("{access_point} has one client key, {}: there is nothing to finish.", newest.id);
        return Ok(());
    }
    if newest.last_used.is_none() {
        let text =
            format!("The newest client key, {}, was not used yet: hand it to the program first. Nothing was deleted.", newest.id);
        return Err(Error::new(Kind::StateForbids, text));
    }
    for key in &keys {
        if let Some(used) = key.last_used
            && now.unix() - used.unix() < unused_for
        {
            let text = format!(
                "The client key {} was used at {}, less than {} hours ago: some program holds it still. Nothing was deleted; \
                 `keystead client-key delete {}` deletes it all the same.",
                key.id,
                date::to_iso(used),
                unused_for / HOUR,
                key.id
            );
            return Err(Error::new(Kind::StateForbids, text));
        }
    }
    for key in &keys {
        forget(&config, &store, "client-key rotate", &key.id).await?;
        say!("deleted                   {}, last used: {}", key.id, last_used(key));
    }
    store.close().await;
    until_known(&config).await;
    say!("remains                   {}, until {}", newest.id, date::to_iso(newest.not_after));
    Ok(())
}

/// Those of an access point, the newest last.
async fn of(store: &Store, access_point: &Name) -> Result<Vec<ClientKey>> {
    let tables = store.access().await?;
    if !tables.access_points.iter().any(|point| point.name == *access_point) {
        return Err(Error::new(Kind::ResourceNotFound, format!("There is no application access point {access_point}.")));
    }
    Ok(tables.client_keys.into_iter().filter(|key| key.access_point == *access_point).collect())
}

fn last_used(key: &ClientKey) -> String {
    key.last_used.map_or_else(|| "never".to_owned(), date::to_iso)
}

/// The client keys of one access point or of all.
async fn list(path: &Path, access_point: Option<&Name>) -> Result<()> {
    let store = assembly::store(&Config::load(path)?).await?;
    let keys = match access_point {
        Some(name) => of(&store, name).await?,
        None => store.access().await?.client_keys,
    };
    store.close().await;
    let now = SystemClock.now();
    say!("{:<42} {:<21} {:<21} {:<21} {:<8} access point", "client key", "from", "until", "last used", "");
    for key in keys {
        let (from, until) = (date::to_iso(key.not_before), date::to_iso(key.not_after));
        say!("{:<42} {from:<21} {until:<21} {:<21} {:<8} {}", key.id, last_used(&key), state(&key, now), key.access_point);
    }
    Ok(())
}

fn state(key: &ClientKey, now: Timestamp) -> &'static str {
    if now > key.not_after { "expired" } else { "" }
}

async fn forget(config: &Config, store: &Store, operation: &'static str, id: &ClientKeyId) -> Result<()> {
    let witness = Witness::begin(config, store).await?;
    let deleted = store.delete_client_key(id).await;
    witness.end(store, Done { operation, instance: None, resource: Some(id.as_str()) }, deleted).await
}

/// It stops working.
async fn delete(path: &Path, id: &ClientKeyId) -> Result<()> {
    let config = Config::load(path)?;
    let store = assembly::store(&config).await?;
    forget(&config, &store, "client-key delete", id).await?;
    store.close().await;
    until_known(&config).await;
    say!("The client key {id} is deleted: requests that it signs are refused.");
    Ok(())
}
