//! The OpenAPI's operations on tags: parameters in, use case, JSON out.

use super::Call;
use crate::base::{Error, Kind, Result, excerpt};
use crate::model::tags::{ResourceType, TagKey, TagValue, TaggedResource, Tags};
use crate::service::requests::{TagFilter, Untag};
use crate::wire::openapi::answers::Done;
use crate::wire::openapi::answers::tags::{ResourceTagItem, ResourceTags, TagResourceItem, TagResources, TagResourcesAnswer};
use crate::wire::openapi::tags::{page_token, row_of_token};

/// The most resources of a call (the API's limit).
pub(in crate::server) const RESOURCES: usize = 50;

/// The key that an older operation names; of the three things that it may name, there are keys here.
fn key<'a>(call: &Call<'a>) -> Result<&'a str> {
    let parameters = call.parameters;
    let named: Vec<_> = ["KeyId", "SecretName", "CertificateId"]
        .into_iter()
        .filter_map(|name| parameters.optional(name).map(|value| (name, value)))
        .collect();
    match named.as_slice() {
        [] => Err(Error::new(Kind::MissingParameter, "The parameter KeyId is missing.")),
        [("KeyId", key)] => Ok(key),
        [(name, _)] => Err(Error::unsupported(format!("The parameter {name} is not served by this version; keys have tags."))),
        _ => Err(Error::invalid("One of the parameters KeyId, SecretName and CertificateId names what is tagged.")),
    }
}

/// The resources that a newer operation names: their type is a must, they themselves may be absent.
fn resources(call: &Call<'_>) -> Result<Vec<TaggedResource>> {
    let resource_type = call.parameters.required_as("ResourceType")?;
    call.parameters.numbered("ResourceId", RESOURCES)?.into_iter().map(|id| resource(resource_type, id)).collect()
}

fn required_resources(call: &Call<'_>) -> Result<Vec<TaggedResource>> {
    let resources = resources(call)?;
    if resources.is_empty() { Err(missing("ResourceId.1")) } else { Ok(resources) }
}

/// What is no id of a key is the id of no key.
fn resource(resource_type: ResourceType, id: &str) -> Result<TaggedResource> {
    match resource_type {
        ResourceType::Key => id
            .parse()
            .map(TaggedResource::Key)
            .map_err(|_| Error::new(Kind::ResourceIdNotFound, format!("There is no key {:?}.", excerpt(id)))),
    }
}

fn missing(name: &str) -> Error {
    Error::new(Kind::MissingParameter, format!("The parameter {name} is missing."))
}

pub(super) async fn tag_resource(call: &Call<'_>) -> Result<Vec<u8>> {
    call.parameters.required("Tags")?;
    call.kms.tag_key(call.operator, key(call)?, &call.parameters.json_tags("Tags")?).await?;
    call.json(Done {})
}

pub(super) async fn untag_resource(call: &Call<'_>) -> Result<Vec<u8>> {
    call.parameters.required("TagKeys")?;
    call.kms.untag_key(call.operator, key(call)?, &Untag::Keys(call.parameters.list_as("TagKeys")?)).await?;
    call.json(Done {})
}

pub(super) fn list_resource_tags(call: &Call<'_>) -> Result<Vec<u8>> {
    let (id, tags) = call.kms.list_resource_tags(call.operator, call.parameters.required("KeyId")?)?;
    let item = |(key, value): (&TagKey, &TagValue)| ResourceTagItem {
        key_id: id.to_string(),
        tag_key: key.to_string(),
        tag_value: value.to_string(),
    };
    call.json(ResourceTags::new(tags.iter().map(item).collect()))
}

pub(super) async fn tag_resources(call: &Call<'_>) -> Result<Vec<u8>> {
    let resources = required_resources(call)?;
    let list = call.parameters.numbered_pairs("Tag", Tags::MOST)?;
    if list.is_empty() {
        return Err(missing("Tag.1.Key"));
    }
    let list = list.into_iter().map(|(key, value)| Ok((key.parse::<TagKey>()?, value.unwrap_or_default().parse::<TagValue>()?)));
    let tags = Tags::from_list(list.collect::<Result<Vec<_>>>()?)?;
    call.kms.tag(call.operator, &resources, &tags).await?;
    call.json(Done {})
}

/// Tag keys that are named are removed, whatever All says.
pub(super) async fn untag_resources(call: &Call<'_>) -> Result<Vec<u8>> {
    let resources = required_resources(call)?;
    let keys = call.parameters.numbered("TagKey", Tags::MOST)?;
    let which = match call.parameters.switch("All", None, Some(Untag::All))?.flatten() {
        _ if !keys.is_empty() => Untag::Keys(keys.into_iter().map(str::parse).collect::<Result<_>>()?),
        Some(all) => all,
        None => return Err(Error::new(Kind::MissingParameter, "The parameter TagKey.1 is missing; All=true removes every tag.")),
    };
    call.kms.untag(call.operator, &resources, &which).await?;
    call.json(Done {})
}

pub(super) fn list_tag_resources(call: &Call<'_>) -> Result<Vec<u8>> {
    let parameters = call.parameters;
    let resources = resources(call)?;
    let mut filters: Vec<TagFilter> = Vec::new();
    for (key, value) in parameters.numbered_pairs("Tag", Tags::MOST)? {
        let filter = TagFilter { key: key.parse()?, value: value.map(str::parse).transpose()? };
        if filters.iter().any(|known| known.key == filter.key) {
            return Err(Error::new(Kind::DuplicateTagKey, format!("The tag key {key} is given twice.")));
        }
        filters.push(filter);
    }
    let after = match parameters.optional("NextToken") {
        None => None,
        Some(token) => {
            let (id, key) = row_of_token(token)?;
            Some((resource(parameters.required_as("ResourceType")?, &id)?, key))
        }
    };
    let page = call.kms.list_tag_resources(call.operator, &resources, &filters, after.as_ref())?;
    let items = page.rows.into_iter().map(|row| TagResourceItem {
        resource_id: row.resource.id().to_owned(),
        resource_type: row.resource.resource_type().name().to_owned(),
        tag_key: row.key.to_string(),
        tag_value: row.value.to_string(),
    });
    call.json(TagResourcesAnswer {
        tag_resources: TagResources::new(items.collect()),
        next_token: page.next.map(|(resource, key)| page_token(resource.id(), &key)).unwrap_or_default(),
    })
}
