//! Alerts go to the configured webhook.

use std::future::Future;
use std::pin::Pin;

use crate::base::Result;
use crate::config::Config;
use crate::model::alert::Alert;
use crate::service::AlertReceiver;
use crate::webhook::{TIMEOUT, Webhook};
use crate::wire::alerts;

/// The webhook of the configuration, if there is one.
pub(super) fn webhook(config: &Config) -> Result<Option<Webhook>> {
    let Some(alerts) = &config.alerts else { return Ok(None) };
    Webhook::new(alerts.webhook.clone(), alerts.ca_file.as_deref(), TIMEOUT).map(Some)
}

impl AlertReceiver for Webhook {
    fn send<'a>(&'a self, alert: &'a Alert) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>> {
        Box::pin(async move { self.post(alerts::to_json(alert)?).await })
    }
}
