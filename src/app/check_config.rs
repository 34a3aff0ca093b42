//! `keystead check-config`: reads the configuration and tries what it names, without serving.

use std::path::Path;

use super::{alerts, assembly, audit};
use crate::app::output::say;
use crate::base::Result;
use crate::config::{Config, Keys};
use crate::store::RefusedOrder;

pub(super) async fn run(path: &Path) -> Result<()> {
    let config = Config::load(path)?;
    say!("{} is well-formed", path.display());
    for remark in &config.remarks {
        say!("remark: {remark}");
    }
    let store = assembly::store(&config).await?;
    let keys = store.keys().await?;
    say!("the database opens with the root key and has {} keys", keys.len());
    let erased = store.erased_objects().await?;
    let of_keys = keys.iter().flat_map(|(key, _)| RefusedOrder::of_key(key));
    for order in of_keys.chain(erased.iter().filter_map(RefusedOrder::of_object)) {
        say!("{order}");
    }
    store.close().await;
    audit::check(&config)?;
    if let Some(webhook) = alerts::webhook(&config)? {
        say!("alerts are sent to {}", webhook.url());
    }
    for instance in &config.instances {
        let tier = assembly::tier(&config, &instance.keys).await?;
        let health = tier.health().await;
        let name = tier.describe().name.clone();
        tier.close().await?;
        health?;
        let how = match instance.keys {
            Keys::Hardware(_) => "logged in once, ",
            Keys::Software => "",
        };
        say!("instance {} ({}, {}): {how}works: {name}", instance.id, instance.name, instance.keys.kind());
    }
    Ok(())
}
