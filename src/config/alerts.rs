//! `[alerts]`: where alerts are sent.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::wrong;
use crate::base::Result;
use crate::webhook::WebhookUrl;

/// Where alerts are sent.
pub struct Alerts {
    /// Each is posted there.
    pub webhook: WebhookUrl,
    /// What its certificate is signed by; else what the system trusts.
    pub ca_file: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AlertsTable {
    webhook: String,
    ca_file: Option<PathBuf>,
}

/// Relative paths are relative to `folder`.
pub(super) fn alerts(table: AlertsTable, folder: &Path) -> Result<Alerts> {
    let webhook = table.webhook.parse().map_err(|error: crate::base::Error| wrong(format!("[alerts]: {}", error.message())))?;
    Ok(Alerts { webhook, ca_file: table.ca_file.map(|path| folder.join(path)) })
}
