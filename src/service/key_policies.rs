//! Key policies: GetKeyPolicy and SetKeyPolicy.

use std::sync::Arc;

use super::Kms;
use super::aliases::{key_id, resource_of};
use super::requests::Operator;
use super::snapshot::Changed;
use crate::base::{Error, Kind, Result, excerpt};
use crate::model::operator::KeyPolicy;

impl Kms {
    /// GetKeyPolicy, of a key by its id or ARN: the text as it was given, or the default policy.
    ///
    /// # Errors
    /// [`Kind::KeyNotFound`]; [`Kind::ResourceNotFound`] for a policy of another name than `default`.
    pub fn key_policy(&self, _: &Operator, key: &str, name: Option<&str>) -> Result<String> {
        let entry = self.known(&key_id(resource_of(key))?)?;
        check_name(name)?;
        let policy = entry.key.policy.as_deref().unwrap_or_else(|| KeyPolicy::default_policy());
        Ok(policy.text().to_owned())
    }

    /// SetKeyPolicy, of a key by its id or ARN. Holds at once on this node.
    ///
    /// # Errors
    /// As [`Kms::key_policy`].
    pub async fn set_key_policy(&self, operator: &Operator, key: &str, name: Option<&str>, policy: KeyPolicy) -> Result<()> {
        let id = key_id(resource_of(key))?;
        check_name(name)?;
        let policy = Arc::new(policy);
        self.store
            .change_key(&id, |key| {
                key.policy = Some(Arc::clone(&policy));
                Ok(())
            })
            .await?;
        self.follow(Changed::Key(&id)).await;
        tracing::info!(key = %id, by = %operator.access_key, "a key policy was set");
        Ok(())
    }
}

fn check_name(name: Option<&str>) -> Result<()> {
    match name {
        None | Some(KeyPolicy::NAME) => Ok(()),
        Some(other) => {
            let other = excerpt(other);
            let text = format!("There is no key policy {other:?}; the only one is called {}.", KeyPolicy::NAME);
            Err(Error::new(Kind::ResourceNotFound, text))
        }
    }
}
