//! Tags: TagResource(s), UntagResource(s), ListResourceTags, ListTagResources. They are in the snapshot; nothing is read from the store.

use std::collections::BTreeSet;

use super::Kms;
use super::aliases::key_id;
use super::requests::{Operator, TagFilter, TagPage, TagRow, Untag};
use super::snapshot::{Changed, KeyEntry};
use crate::base::{Error, Kind, Result};
use crate::model::KeyId;
use crate::model::tags::{TagKey, TaggedResource, Tags};

/// Rows of a page of ListTagResources (the API's number).
const ROWS: usize = 200;

impl Kms {
    /// TagResources: adds tags to each of the resources or gives them new values, to all or to none.
    ///
    /// # Errors
    /// [`Kind::ResourceIdNotFound`], [`Kind::LimitExceeded`].
    pub async fn tag(&self, operator: &Operator, resources: &[TaggedResource], tags: &Tags) -> Result<()> {
        self.change_tags(operator, "added", resources, |present| present.add(tags)).await
    }

    /// UntagResources: removes tags from each of the resources; what is not there is passed over.
    ///
    /// # Errors
    /// [`Kind::ResourceIdNotFound`].
    pub async fn untag(&self, operator: &Operator, resources: &[TaggedResource], which: &Untag) -> Result<()> {
        let remove = |present: &mut Tags| {
            match which {
                Untag::All => present.clear(),
                Untag::Keys(keys) => keys.iter().for_each(|key| present.remove(key)),
            }
            Ok(())
        };
        self.change_tags(operator, "removed", resources, remove).await
    }

    /// TagResource, of a key by its id.
    ///
    /// # Errors
    /// [`Kind::KeyNotFound`], [`Kind::LimitExceeded`].
    pub async fn tag_key(&self, operator: &Operator, key: &str, tags: &Tags) -> Result<()> {
        self.tag(operator, &[TaggedResource::Key(key_id(key)?)], tags).await.map_err(no_key)
    }

    /// UntagResource, of a key by its id.
    ///
    /// # Errors
    /// [`Kind::KeyNotFound`].
    pub async fn untag_key(&self, operator: &Operator, key: &str, which: &Untag) -> Result<()> {
        self.untag(operator, &[TaggedResource::Key(key_id(key)?)], which).await.map_err(no_key)
    }

    /// What was changed holds here when this returns.
    async fn change_tags(
        &self,
        operator: &Operator,
        what: &'static str,
        resources: &[TaggedResource],
        change: impl Fn(&mut Tags) -> Result<()> + Send + Sync,
    ) -> Result<()> {
        self.store.change_tags(resources, change).await?;
        self.follow(Changed::Keys(resources)).await;
        for resource in resources {
            tracing::info!(r#type = resource.resource_type().name(), id = resource.id(), what, by = %operator.access_key, "tags were changed");
        }
        Ok(())
    }

    /// ListResourceTags: the tags of a key by its id.
    ///
    /// # Errors
    /// [`Kind::KeyNotFound`].
    pub fn list_resource_tags(&self, _: &Operator, key: &str) -> Result<(KeyId, Tags)> {
        let entry = self.known(&key_id(key)?)?;
        Ok((entry.key.id.clone(), entry.tags.clone()))
    }

    /// ListTagResources: all tags of the resources that are named, or of all, if they have the tags that are asked for; by id and tag key.
    /// `after` is where the last page ended.
    ///
    /// # Errors
    /// [`Kind::ResourceIdNotFound`].
    pub fn list_tag_resources(
        &self,
        _: &Operator,
        resources: &[TaggedResource],
        filters: &[TagFilter],
        after: Option<&(TaggedResource, TagKey)>,
    ) -> Result<TagPage> {
        let mut entries = if resources.is_empty() { self.snapshot.keys() } else { Vec::new() };
        for resource in resources.iter().collect::<BTreeSet<_>>() {
            match resource {
                TaggedResource::Key(id) => entries.push(self.known(id).map_err(no_resource)?),
            }
        }
        entries.retain(|entry| filters.iter().all(|filter| has(entry, filter)));
        entries.sort_by(|a, b| a.key.id.cmp(&b.key.id));
        let rows = entries.iter().flat_map(|entry| {
            let resource = TaggedResource::Key(entry.key.id.clone());
            entry.tags.iter().map(move |(key, value)| TagRow { resource: resource.clone(), key: key.clone(), value: value.clone() })
        });
        let rows = rows.filter(|row| after.is_none_or(|(resource, key)| (&row.resource, &row.key) > (resource, key)));
        let mut rows: Vec<_> = rows.take(ROWS + 1).collect();
        let more = rows.len() > ROWS;
        rows.truncate(ROWS);
        let next = rows.last().filter(|_| more).map(|row| (row.resource.clone(), row.key.clone()));
        Ok(TagPage { rows, next })
    }
}

fn has(entry: &KeyEntry, filter: &TagFilter) -> bool {
    entry.tags.get(filter.key.as_str()).is_some_and(|value| filter.value.as_ref().is_none_or(|wanted| wanted == value))
}

/// What is named as a key is missed as a key.
fn no_key(error: Error) -> Error {
    if error.kind() == Kind::ResourceIdNotFound { Error::new(Kind::KeyNotFound, error.message()) } else { error }
}

/// What is named as a resource is missed as a resource.
fn no_resource(error: Error) -> Error {
    if error.kind() == Kind::KeyNotFound { Error::new(Kind::ResourceIdNotFound, error.message()) } else { error }
}
