//! The OpenAPI's operations on keys and instances: parameters in, use case, JSON out.

use super::{Call, rotation};
use crate::base::{Error, Result, excerpt};
use crate::model::InstanceId;
use crate::model::algorithm::KeySpec;
use crate::model::instance::ProtectionLevel;
use crate::model::key::{Arrival, DeletionProtection, Presence, StorageMechanism};
use crate::service::requests::{CreateKey, KeyDescription, KeyFilter};
use crate::tier::{Ability, Support};
use crate::wire::openapi::answers::{
    AlgorithmSupport, Attributes, BindVpcs, DefaultInstanceAnswer, Extension, InstanceAnswer, KeyAnswer, KeyItem, KeyMetadata,
    Keys, KmsInstance, KmsInstanceItem, KmsInstances,
};
use crate::wire::openapi::filters;
use crate::wire::{arn, date};

pub(super) async fn create_key(call: &Call<'_>) -> Result<Vec<u8>> {
    let parameters = call.parameters;
    let request = CreateKey {
        instance: parameters.optional_as("DKMSInstanceId")?,
        protection_level: parameters.optional_as("ProtectionLevel")?,
        storage_mechanism: parameters.optional_as("KeyStorageMechanism")?,
        spec: parameters.optional_as("KeySpec")?,
        usage: parameters.optional_as("KeyUsage")?,
        origin: parameters.optional_as("Origin")?,
        description: parameters.optional("Description").unwrap_or_default().to_owned(),
        rotation: rotation::interval(call)?,
        tags: parameters.json_tags("Tags")?,
        policy: parameters.optional_as("Policy")?,
    };
    let description = call.kms.create_key(call.operator, request).await?;
    call.json(KeyAnswer { key_metadata: metadata(description) })
}

pub(super) fn describe_key(call: &Call<'_>) -> Result<Vec<u8>> {
    let description = call.kms.describe_key(call.operator, call.parameters.required("KeyId")?)?;
    call.json(KeyAnswer { key_metadata: metadata(description) })
}

fn metadata(description: KeyDescription) -> KeyMetadata {
    let KeyDescription { key, protection_level, attributes, abilities, import, rotated, rotation, encryptions } = description;
    let algorithms = abilities.iter().filter_map(|line| {
        let algorithm = match line.ability {
            Ability::Encrypt(algorithm) => algorithm.name(),
            Ability::Sign(algorithm) => algorithm.name(),
            Ability::Mac(algorithm) => algorithm.name(),
            Ability::Generate | Ability::Import | Ability::Unwrap(_) => return None,
        };
        Some(AlgorithmSupport { algorithm, support: support(&line.support) })
    });
    KeyMetadata {
        arn: arn("key", &key.id),
        automatic_rotation: rotation.name(),
        creation_date: date::to_iso(key.created),
        creator: key.creator,
        dkms_instance_id: key.instance.to_string(),
        delete_date: key.delete_at.map(date::to_iso),
        deletion_protection: match key.deletion_protection {
            DeletionProtection::Disabled => "Disabled",
            DeletionProtection::Enabled(_) => "Enabled",
        },
        deletion_protection_description: match key.deletion_protection {
            DeletionProtection::Disabled => None,
            DeletionProtection::Enabled(why) => Some(why),
        },
        description: key.description,
        key_id: key.id.to_string(),
        key_spec: key.spec.name(),
        key_state: key.state.name(),
        key_usage: key.usage.name(),
        last_rotation_date: date::to_iso(rotated),
        material_expire_time: match key.presence {
            Presence::Until(end) => date::to_iso(end),
            Presence::Present | Presence::Absent => String::new(),
        },
        next_rotation_date: rotation.schedule().map(|schedule| date::to_iso(schedule.next)),
        origin: key.origin.name(),
        primary_key_version: key.spec.is_symmetric().then(|| key.primary_version.to_string()),
        protection_level: protection_level.name(),
        rotation_interval: rotation.schedule().map(|schedule| schedule.interval.to_string()),
        keystead: Extension {
            storage_mechanism: match protection_level {
                ProtectionLevel::Hsm => StorageMechanism::HsmInternal.name(),
                ProtectionLevel::Software => "Software",
            },
            encryptions,
            attributes: attributes.map(|attributes| Attributes {
                local: attributes.local,
                sensitive: attributes.sensitive,
                always_sensitive: attributes.always_sensitive,
                extractable: attributes.extractable,
                never_extractable: attributes.never_extractable,
            }),
            import: import.as_ref().map(|import| match attributes.map(|attributes| attributes.arrival) {
                Some(Arrival::Unwrapped) => "unwrapped in the token by C_UnwrapKey".to_owned(),
                Some(Arrival::Generated | Arrival::Created) | None => support(import),
            }),
            algorithms: algorithms.collect(),
        },
    }
}

fn support(support: &Support) -> String {
    match support {
        Support::Full => "full".to_owned(),
        Support::Assisted(how) => how.clone(),
        Support::Missing(why) => format!("missing: {why}"),
    }
}

pub(super) fn list_keys(call: &Call<'_>) -> Result<Vec<u8>> {
    let page = call.page(10)?;
    let filters = call.parameters.optional("Filters").map_or(Ok(Vec::new()), conditions)?;
    let listed = call.kms.list_keys(call.operator, &filters, page)?;
    let items = listed.items.iter().map(|id| KeyItem { key_arn: arn("key", id), key_id: id.to_string() }).collect();
    call.json_list(Keys::new(items), listed.page, listed.total)
}

/// What to filter by; the tags' keys and values are one condition.
fn conditions(text: &str) -> Result<Vec<KeyFilter>> {
    let mut by_key = filters(text)?;
    let mut take = |key: &str| by_key.extract_if(.., |(known, _)| known == key).flat_map(|(_, values)| values).collect::<Vec<_>>();
    let (keys, values) = (take("TagKey"), take("TagValue"));
    let tag = (!keys.is_empty() || !values.is_empty()).then_some(Ok(KeyFilter::Tag { keys, values }));
    by_key.into_iter().map(|(key, values)| filter(&key, values)).chain(tag).collect()
}

fn filter(key: &str, values: Vec<String>) -> Result<KeyFilter> {
    fn parse<T: std::str::FromStr<Err = Error>>(values: &[String]) -> Result<Vec<T>> {
        values.iter().map(|value| value.parse()).collect()
    }
    Ok(match key {
        "KeyState" => KeyFilter::State(parse(&values)?),
        "KeySpec" => KeyFilter::Spec(parse::<KeySpec>(&values)?),
        "KeyUsage" => KeyFilter::Usage(parse(&values)?),
        "ProtectionLevel" => KeyFilter::ProtectionLevel(parse(&values)?),
        "DKMSInstanceId" => KeyFilter::Instance(values),
        "KeyId" | "keyId" => KeyFilter::Id(values),
        "Creator" => KeyFilter::Creator(values),
        "CreatorType" => KeyFilter::CreatorType(parse(&values)?),
        "AliasName" => KeyFilter::AliasName(values),
        _ => {
            let known = "KeyState, KeySpec, KeyUsage, ProtectionLevel, CreatorType, DKMSInstanceId, KeyId, AliasName, Creator, TagKey, \
                         TagValue";
            let key = excerpt(key);
            return Err(Error::invalid(format!("The filter {key:?} is not served; {known} are.")));
        }
    })
}

pub(super) fn list_kms_instances(call: &Call<'_>) -> Result<Vec<u8>> {
    let names = call.parameters.optional("Filters").map_or(Ok(None), instance_names)?;
    let listed = call.kms.list_instances(call.operator, names.as_deref(), call.page(20)?);
    let item = |id: &InstanceId| KmsInstanceItem { kms_instance_arn: arn("keystore", id), kms_instance_id: id.to_string() };
    call.json_list(KmsInstances::new(listed.items.iter().map(item).collect()), listed.page, listed.total)
}

/// The names to filter instances by, if there are any; the API does not say what else there is.
fn instance_names(text: &str) -> Result<Option<Vec<String>>> {
    let mut names = Vec::new();
    for (key, values) in filters(text)? {
        if key != "InstanceName" {
            return Err(Error::invalid(format!("The filter {:?} is not served; InstanceName is.", excerpt(&key))));
        }
        names.extend(values);
    }
    Ok((!names.is_empty()).then_some(names))
}

pub(super) fn get_default_kms_instance(call: &Call<'_>) -> Result<Vec<u8>> {
    call.json(DefaultInstanceAnswer { default_kms_instance_id: call.kms.default_instance(call.operator)?.to_string() })
}

pub(super) fn get_kms_instance(call: &Call<'_>) -> Result<Vec<u8>> {
    let described = call.kms.describe_instance(call.operator, &call.parameters.required_as("KmsInstanceId")?)?;
    let instance = described.instance;
    call.json(InstanceAnswer {
        kms_instance: KmsInstance {
            bind_vpcs: BindVpcs::default(),
            ca_certificate_chain_pem: described.ca_chain_pem,
            create_time: date::to_iso(instance.created),
            instance_id: instance.id.to_string(),
            instance_name: instance.name,
            key_num: described.keys,
            product_type: instance.kind.name(),
            product_version: "3",
            status: "Connected",
        },
    })
}
