//! Aliases, and what they and ARNs mean where a key is named.

use super::Kms;
use super::requests::{AliasOf, Operator, Page, Paged};
use super::snapshot::Changed;
use crate::base::{Error, Kind, Result, excerpt};
use crate::model::algorithm::KeySpec;
use crate::model::key::Key;
use crate::model::{Alias, KeyId};

impl Kms {
    /// The key that a text names: an id, an alias, or the ARN of either. Whether there is such a key is not looked at.
    ///
    /// # Errors
    /// [`Kind::MissingParameter`], [`Kind::AliasNotFound`]; [`Kind::KeyNotFound`] for what is no id of a key.
    pub(super) fn resolve(&self, text: &str) -> Result<KeyId> {
        let name = resource_of(text);
        if !name.starts_with(Alias::PREFIX) {
            return key_id(name);
        }
        let alias: Alias = name.parse().map_err(|_| unknown_alias(name))?;
        let known = self.snapshot.judging()?.aliases.get(&alias).cloned();
        known.ok_or_else(|| self.snapshot.unusable.or("aliases", alias.as_str(), || unknown_alias(name)))
    }

    /// The same for the audit: nothing for what is neither.
    pub fn key_named(&self, text: &str) -> Option<KeyId> {
        self.resolve(text).ok()
    }

    /// The spec of a key, if there is such a key.
    pub fn key_spec(&self, id: &KeyId) -> Option<KeySpec> {
        Some(self.snapshot.key(id)?.key.spec)
    }

    /// CreateAlias.
    ///
    /// # Errors
    /// [`Kind::AliasExists`], [`Kind::KeyNotFound`], [`Kind::StateForbids`] for a key that waits for its deletion.
    pub async fn create_alias(&self, _: &Operator, alias: &Alias, key: &str) -> Result<()> {
        self.store.create_alias(alias, &key_id(key)?, Key::takes_alias).await?;
        self.follow(Changed::Alias(alias)).await;
        Ok(())
    }

    /// UpdateAlias: binds it to another key.
    ///
    /// # Errors
    /// [`Kind::AliasNotFound`], [`Kind::KeyNotFound`], [`Kind::KeyPendingDeletion`] of the key that it is to be bound to.
    pub async fn update_alias(&self, _: &Operator, alias: &Alias, key: &str) -> Result<()> {
        let agrees = |key: &Key| match key.takes_alias() {
            Ok(()) => Ok(()),
            Err(_) => key.state.usable(key.id.as_str()),
        };
        self.store.update_alias(alias, &key_id(key)?, agrees).await?;
        self.follow(Changed::Alias(alias)).await;
        Ok(())
    }

    /// DeleteAlias: the key stays.
    ///
    /// # Errors
    /// [`Kind::AliasNotFound`].
    pub async fn delete_alias(&self, _: &Operator, alias: &Alias) -> Result<()> {
        self.store.delete_alias(alias).await?;
        self.follow(Changed::Alias(alias)).await;
        Ok(())
    }

    /// ListAliases, by name; with a key those of that key alone (ListAliasesByKeyId).
    ///
    /// # Errors
    /// [`Kind::KeyNotFound`].
    pub fn list_aliases(&self, _: &Operator, key: Option<&str>, page: Page) -> Result<Paged<AliasOf>> {
        let key = key.map(key_id).transpose()?;
        if let Some(key) = &key {
            self.known(key)?;
        }
        let access = self.snapshot.access();
        let wanted = access.aliases.iter().filter(|(_, of)| key.as_ref().is_none_or(|key| key == *of));
        Ok(Paged::cut(wanted.map(|(alias, key)| AliasOf { alias: alias.clone(), key: key.clone() }).collect(), page))
    }
}

/// Whether a key is named by an alias.
pub(super) fn is_alias(text: &str) -> bool {
    resource_of(text).starts_with(Alias::PREFIX)
}

pub(super) fn unknown_alias(text: &str) -> Error {
    Error::new(Kind::AliasNotFound, format!("There is no alias {:?}.", excerpt(resource_of(text))))
}

/// One text for a key that there is not and for one that is not told of.
pub(super) fn no_key(id: &KeyId) -> Error {
    Error::new(Kind::KeyNotFound, format!("There is no key {id}."))
}

/// The id of a key where nothing else is taken.
pub(super) fn key_id(text: &str) -> Result<KeyId> {
    if text.is_empty() {
        return Err(Error::new(Kind::MissingParameter, "The parameter KeyId is missing."));
    }
    // What is not a key id is the id of no key.
    text.parse().map_err(|_| Error::new(Kind::KeyNotFound, format!("There is no key {:?}.", excerpt(text))))
}

/// What an ARN names: `acs:kms:<region>:<account>:key/<id>` or `…:alias/<name>`; anything else is taken as it is. Region and account
/// are not looked at: programs that come from elsewhere have those of there.
pub(super) fn resource_of(text: &str) -> &str {
    let Some(rest) = text.strip_prefix("acs:kms:") else { return text };
    let Some(resource) = rest.splitn(3, ':').nth(2) else { return text };
    resource.strip_prefix("key/").unwrap_or(resource)
}

#[cfg(test)]
mod tests {
    use super::resource_of;

    #[test]
    fn an_arn_names_a_key_or_an_alias() {
        for (text, named) in [
            ("acs:kms:cn-hangzhou:1234:key/key-a", "key-a"),
            ("acs:kms:keystead:0:alias/a/b", "alias/a/b"),
            ("alias/a", "alias/a"),
            ("key-a", "key-a"),
            ("acs:kms:x", "acs:kms:x"),
        ] {
            assert_eq!(resource_of(text), named);
        }
    }
}
