//! The OpenAPI's operations on what becomes of keys, and on aliases: parameters in, use case, JSON out.

use super::Call;
use crate::base::{Error, Kind, Result};
use crate::model::Alias;
use crate::model::key::DeletionProtection;
use crate::service::requests::AliasOf;
use crate::wire::arn;
use crate::wire::openapi::answers::{AliasItem, Aliases, Done};

fn key_id<'a>(call: &Call<'a>) -> Result<&'a str> {
    call.parameters.required("KeyId")
}

fn alias(call: &Call<'_>) -> Result<Alias> {
    call.parameters.required_as("AliasName")
}

pub(super) async fn enable_key(call: &Call<'_>) -> Result<Vec<u8>> {
    call.kms.enable_key(call.operator, key_id(call)?).await?;
    call.json(Done {})
}

pub(super) async fn disable_key(call: &Call<'_>) -> Result<Vec<u8>> {
    call.kms.disable_key(call.operator, key_id(call)?).await?;
    call.json(Done {})
}

pub(super) async fn schedule_key_deletion(call: &Call<'_>) -> Result<Vec<u8>> {
    call.parameters.required("PendingWindowInDays")?;
    let days = call.parameters.number("PendingWindowInDays", crate::service::DELETION_WINDOW_DAYS, 0)?;
    call.kms.schedule_key_deletion(call.operator, key_id(call)?, days).await?;
    call.json(Done {})
}

pub(super) async fn cancel_key_deletion(call: &Call<'_>) -> Result<Vec<u8>> {
    call.kms.cancel_key_deletion(call.operator, key_id(call)?).await?;
    call.json(Done {})
}

/// One of KeyId and ProtectedResourceArn names the key.
pub(super) async fn set_deletion_protection(call: &Call<'_>) -> Result<Vec<u8>> {
    let parameters = call.parameters;
    if parameters.optional("KmsInstanceId").is_some() {
        return Err(Error::unsupported(
            "The parameter KmsInstanceId is not served: keys are protected from deletion, instances are not.",
        ));
    }
    let why = parameters.optional("DeletionProtectionDescription").unwrap_or_default().to_owned();
    let protection =
        parameters.switch("EnableDeletionProtection", DeletionProtection::Disabled, DeletionProtection::Enabled(why))?;
    let protection =
        protection.ok_or_else(|| Error::new(Kind::MissingParameter, "The parameter EnableDeletionProtection is missing."))?;
    let key = match (parameters.optional("KeyId"), parameters.optional("ProtectedResourceArn")) {
        (Some(key), Some(arn)) if !arn.ends_with(&format!(":key/{key}")) && arn != key => {
            return Err(Error::invalid("The parameters KeyId and ProtectedResourceArn name different keys."));
        }
        (Some(key), _) | (None, Some(key)) => key,
        (None, None) => {
            return Err(Error::new(Kind::MissingParameter, "The parameter KeyId is missing, and ProtectedResourceArn is, too."));
        }
    };
    call.kms.set_deletion_protection(call.operator, key, protection).await?;
    call.json(Done {})
}

pub(super) async fn update_key_description(call: &Call<'_>) -> Result<Vec<u8>> {
    call.kms.update_key_description(call.operator, key_id(call)?, call.parameters.given("Description")?).await?;
    call.json(Done {})
}

pub(super) async fn create_alias(call: &Call<'_>) -> Result<Vec<u8>> {
    call.kms.create_alias(call.operator, &alias(call)?, key_id(call)?).await?;
    call.json(Done {})
}

pub(super) async fn update_alias(call: &Call<'_>) -> Result<Vec<u8>> {
    call.kms.update_alias(call.operator, &alias(call)?, key_id(call)?).await?;
    call.json(Done {})
}

pub(super) async fn delete_alias(call: &Call<'_>) -> Result<Vec<u8>> {
    call.kms.delete_alias(call.operator, &alias(call)?).await?;
    call.json(Done {})
}

pub(super) fn list_aliases(call: &Call<'_>) -> Result<Vec<u8>> {
    list(call, None)
}

pub(super) fn list_aliases_by_key_id(call: &Call<'_>) -> Result<Vec<u8>> {
    list(call, Some(key_id(call)?))
}

fn list(call: &Call<'_>, key: Option<&str>) -> Result<Vec<u8>> {
    let listed = call.kms.list_aliases(call.operator, key, call.page(10)?)?;
    let item = |one: &AliasOf| AliasItem {
        // An alias begins with what its ARN has before the name.
        alias_arn: arn("alias", &one.alias.as_str().strip_prefix(Alias::PREFIX).unwrap_or_default()),
        alias_name: one.alias.to_string(),
        key_id: one.key.to_string(),
    };
    call.json_list(Aliases::new(listed.items.iter().map(item).collect()), listed.page, listed.total)
}
