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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_go_to_a_webhook() {
        let parse = |text: &str| alerts(toml::from_str(text).unwrap(), Path::new("/srv"));
        let parsed = parse("webhook = \"https://alerts.example.com/a\"\nca_file = \"ca.pem\"").unwrap();
        assert_eq!(parsed.webhook.to_string(), "https://alerts.example.com:443");
        assert_eq!(parsed.ca_file.as_deref(), Some(Path::new("/srv/ca.pem")));
        let refused = parse("webhook = \"http://alerts.example.com\"").err().unwrap();
        assert!(refused.message().contains("[alerts]"), "{refused}");
    }
}
