//! What an operator must be permitted for an operation: which actions, on what. The only place that says so; an operation that is
//! added has no other way to be served.
//!
//! An action is called like its operation, but ReEncrypt, which is `kms:ReEncryptFrom` on the one key and `kms:ReEncryptTo` on the
//! other. Lists, and what belongs to the account, are on `*`; to create a key is on `key/*`.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Call;
use super::tags::RESOURCES;
use crate::base::{Kind, Result};
use crate::model::KeyId;
use crate::model::ciphertext::SelfContained;
use crate::service::{Permitted, Subject};
use crate::wire::openapi::{Action, Parameters};

/// Whether the operator may do all that the operation needs.
///
/// # Errors
/// [`Kind::NoPermission`](crate::base::Kind::NoPermission), naming the first that it may not.
///
/// # Returns
/// The parameters of the request; where one names a key by an alias, with the id of the key that was decided about.
pub(super) fn check<'a>(call: &Call<'a>, action: Action) -> Result<Cow<'a, Parameters>> {
    let mut parameters = Cow::Borrowed(call.parameters);
    let on = |subject: Subject<'_>| call.kms.permit_operator(call.operator, action.permission(), &subject).map(drop);
    let named = |kind: &'static str, parameter: &str| on(Subject::Named(kind, given(call, parameter)));
    match action {
        Action::ListKeys
        | Action::ListAliases
        | Action::ListKmsInstances
        | Action::GetDefaultKmsInstance
        | Action::OpenKmsService
        | Action::DescribeAccountKmsStatus
        | Action::DescribeRegions
        | Action::ListNetworkRules
        | Action::ListPolicies
        | Action::ListApplicationAccessPoints => on(Subject::Everything)?,

        Action::CreateKey => {
            on(Subject::Key("*"))?;
            // What decides about the key later is given to it by who may give it to keys.
            for (parameter, permission) in [("Policy", "kms:SetKeyPolicy"), ("Tags", "kms:TagResource")] {
                if call.parameters.optional(parameter).is_some() {
                    call.kms.permit_operator(call.operator, permission, &Subject::Key("*"))?;
                }
            }
        }

        // These take an alias, too.
        Action::DescribeKey
        | Action::CreateKeyVersion
        | Action::ListKeyVersions
        | Action::DescribeKeyVersion
        | Action::Encrypt
        | Action::GenerateDataKey
        | Action::GenerateDataKeyWithoutPlaintext
        | Action::AsymmetricEncrypt
        | Action::AsymmetricDecrypt
        | Action::AsymmetricSign
        | Action::AsymmetricVerify
        | Action::GetPublicKey
        | Action::GenerateAndExportDataKey
        | Action::GenerateMac
        | Action::VerifyMac
        | Action::UpdateRotationPolicy
        | Action::GetParametersForImport
        | Action::ImportKeyMaterial
        | Action::DeleteKeyMaterial
        | Action::TagResource
        | Action::UntagResource
        | Action::ListResourceTags => key(call, action.permission(), "KeyId", &mut parameters)?,

        Action::EnableKey
        | Action::DisableKey
        | Action::ScheduleKeyDeletion
        | Action::CancelKeyDeletion
        | Action::UpdateKeyDescription
        | Action::ListAliasesByKeyId
        | Action::GetKeyPolicy
        | Action::SetKeyPolicy => on(Subject::Key(given(call, "KeyId")))?,

        Action::TagResources | Action::UntagResources => tagged(call, action, Subject::Key(""))?,
        Action::ListTagResources => tagged(call, action, Subject::Everything)?,

        Action::SetDeletionProtection => {
            let named = call.parameters.optional("KeyId").or_else(|| call.parameters.optional("ProtectedResourceArn"));
            on(Subject::Key(named.unwrap_or_default()))?;
        }
        Action::Decrypt | Action::ExportDataKey => on(Subject::Key(encrypting_key(call).as_ref().map_or("", KeyId::as_str)))?,
        Action::ReEncrypt => {
            // What an asymmetric key encrypted does not say by which.
            if call.parameters.optional("SourceKeyId").is_some() {
                key(call, "kms:ReEncryptFrom", "SourceKeyId", &mut parameters)?;
            } else {
                let from = encrypting_key(call);
                let from = Subject::Key(from.as_ref().map_or("", KeyId::as_str));
                call.kms.permit_operator(call.operator, "kms:ReEncryptFrom", &from)?;
            }
            key(call, "kms:ReEncryptTo", "DestinationKeyId", &mut parameters)?;
        }

        Action::CreateAlias => {
            alias(call, action)?;
            on(Subject::Key(given(call, "KeyId")))?;
        }
        // The key that loses the alias is asked, too: who uses that, uses another one then, or none.
        Action::UpdateAlias => {
            alias(call, action)?;
            on(Subject::Key(given(call, "KeyId")))?;
            bound_key(call, action)?;
        }
        Action::DeleteAlias => {
            alias(call, action)?;
            bound_key(call, action)?;
        }

        Action::GetKmsInstance | Action::GetKmsInstanceQuotaInfos => named("keystore", "KmsInstanceId")?,
        Action::CreateNetworkRule | Action::DescribeNetworkRule | Action::UpdateNetworkRule | Action::DeleteNetworkRule => {
            named("network", "Name")?;
        }
        Action::CreatePolicy | Action::DescribePolicy | Action::UpdatePolicy | Action::DeletePolicy => named("policy", "Name")?,
        Action::CreateApplicationAccessPoint
        | Action::DescribeApplicationAccessPoint
        | Action::UpdateApplicationAccessPoint
        | Action::DeleteApplicationAccessPoint => named(ACCESS_POINT, "Name")?,
        Action::CreateClientKey => named(ACCESS_POINT, "AapName")?,
        Action::ListClientKeys => match call.parameters.optional("AapName") {
            Some(name) => on(Subject::Named(ACCESS_POINT, name))?,
            None => on(Subject::Everything)?,
        },
        Action::GetClientKey | Action::DeleteClientKey => {
            let id = given(call, "ClientKeyId").parse();
            let of = id.and_then(|id| call.kms.describe_client_key(call.operator, &id)).map(|key| key.access_point);
            on(Subject::Named(ACCESS_POINT, of.as_ref().map_or("*", |name| name.as_str())))?;
        }
    }
    Ok(parameters)
}

/// The kind of access points in ARNs. A client key is decided about as its access point; one that there is not, as any.
const ACCESS_POINT: &str = "applicationaccesspoint";

fn given<'a>(call: &Call<'a>, parameter: &str) -> &'a str {
    call.parameters.optional(parameter).unwrap_or_default()
}

/// A key that a parameter names; an alias is replaced by what it was found to point to.
fn key(call: &Call<'_>, permission: &'static str, parameter: &str, parameters: &mut Cow<'_, Parameters>) -> Result<()> {
    match call.kms.permit_operator(call.operator, permission, &Subject::Key(given(call, parameter)))? {
        Permitted::AsNamed => {}
        Permitted::Key(id) => *parameters = Cow::Owned(parameters.with(parameter, id.as_str())),
    }
    Ok(())
}

/// Every key that is tagged; `unnamed` when the request names none.
fn tagged(call: &Call<'_>, action: Action, unnamed: Subject<'_>) -> Result<()> {
    let ids = call.parameters.numbered("ResourceId", RESOURCES)?;
    let subjects = if ids.is_empty() { vec![unnamed] } else { ids.into_iter().map(Subject::Key).collect() };
    subjects.iter().try_for_each(|subject| call.kms.permit_operator(call.operator, action.permission(), subject).map(drop))
}

/// An alias, by the part of its name that its ARN has as the name.
fn alias(call: &Call<'_>, action: Action) -> Result<()> {
    let name = given(call, "AliasName");
    let subject = Subject::Named("alias", name.strip_prefix(crate::model::Alias::PREFIX).unwrap_or(name));
    call.kms.permit_operator(call.operator, action.permission(), &subject).map(drop)
}

/// The key that an alias points to. One that points to none is the use case's to refuse.
fn bound_key(call: &Call<'_>, action: Action) -> Result<()> {
    match call.kms.permit_operator(call.operator, action.permission(), &Subject::Key(given(call, "AliasName"))) {
        Err(error) if error.kind() == Kind::AliasNotFound => Ok(()),
        decided => decided.map(drop),
    }
}

/// The key that a CiphertextBlob names, if it is one.
fn encrypting_key(call: &Call<'_>) -> Option<KeyId> {
    let blob = STANDARD.decode(given(call, "CiphertextBlob")).ok()?;
    Some(SelfContained::parse_blob(&blob)?.version.key())
}
