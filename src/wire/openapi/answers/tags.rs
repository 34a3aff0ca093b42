//! The answers of operations on tags.

use serde::Serialize;

wrapped! {
    /// ListResourceTags.
    ResourceTags: "Tags" / "Tag" of ResourceTagItem { key_id, tag_key, tag_value }
    /// The rows of ListTagResources.
    TagResources: "TagResources" / "TagResource" of TagResourceItem { resource_id, resource_type, tag_key, tag_value }
}

/// ListTagResources.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TagResourcesAnswer {
    /// Where the next page begins; empty at the end.
    pub next_token: String,
    /// The rows in their wrapper.
    #[serde(flatten)]
    pub tag_resources: TagResources,
}
