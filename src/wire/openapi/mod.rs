//! The RPC-style OpenAPI, version 2016-01-20: its operations, parameters and answers.

pub mod answers;
mod encryption_context;
mod json_parameters;
mod parameters;
mod selecting;
pub mod tags;
pub mod xml;

use std::str::FromStr;

use encryption_context::contexts_of;
pub use encryption_context::{EncryptionContext, aads_alike, refuse_unread_contexts};
pub use json_parameters::{access_control_rules, filters};
pub use parameters::Parameters;
pub use selecting::refuse_unread_selection;

/// The only version.
pub const VERSION: &str = "2016-01-20";
/// The most bytes of a form body: a secret's value has at most 30 KB, an asymmetric ciphertext less.
pub const BODY_LIMIT: usize = 1024 * 1024;

/// How an answer is written: the parameter Format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// The default, also for formats that nobody knows.
    #[default]
    Json,
    /// XML.
    Xml,
}

impl Format {
    /// What the parameters ask for.
    pub fn of(parameters: &Parameters) -> Self {
        match parameters.optional("Format") {
            Some(format) if format.eq_ignore_ascii_case("xml") => Self::Xml,
            Some(_) | None => Self::Json,
        }
    }
}

/// Gives the served operations their names.
macro_rules! actions {
    ($($name:ident),+ $(,)?) => {
        /// An operation that is served, as `Action` or `x-acs-action` names it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "the names are the API's")]
        pub enum Action {
            $($name),+
        }

        impl Action {
            /// Every one of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// What policies call it.
            pub const fn permission(self) -> &'static str {
                match self {
                    $(Self::$name => concat!("kms:", stringify!($name))),+
                }
            }

            /// The API's name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name)),+
                }
            }
        }
    };
}

actions![
    CreateKey,
    DescribeKey,
    ListKeys,
    EnableKey,
    DisableKey,
    ScheduleKeyDeletion,
    CancelKeyDeletion,
    SetDeletionProtection,
    UpdateKeyDescription,
    CreateAlias,
    UpdateAlias,
    DeleteAlias,
    ListAliases,
    ListAliasesByKeyId,
    TagResource,
    UntagResource,
    ListResourceTags,
    TagResources,
    UntagResources,
    ListTagResources,
    CreateKeyVersion,
    ListKeyVersions,
    DescribeKeyVersion,
    UpdateRotationPolicy,
    GetParametersForImport,
    ImportKeyMaterial,
    DeleteKeyMaterial,
    Encrypt,
    Decrypt,
    ReEncrypt,
    GenerateDataKey,
    GenerateDataKeyWithoutPlaintext,
    AsymmetricEncrypt,
    AsymmetricDecrypt,
    AsymmetricSign,
    AsymmetricVerify,
    GetPublicKey,
    ExportDataKey,
    GenerateAndExportDataKey,
    GenerateMac,
    VerifyMac,
    GetKeyPolicy,
    SetKeyPolicy,
    ListKmsInstances,
    GetKmsInstance,
    GetDefaultKmsInstance,
    GetKmsInstanceQuotaInfos,
    OpenKmsService,
    DescribeAccountKmsStatus,
    DescribeRegions,
    CreateNetworkRule,
    DescribeNetworkRule,
    ListNetworkRules,
    UpdateNetworkRule,
    DeleteNetworkRule,
    CreatePolicy,
    DescribePolicy,
    ListPolicies,
    UpdatePolicy,
    DeletePolicy,
    CreateApplicationAccessPoint,
    DescribeApplicationAccessPoint,
    ListApplicationAccessPoints,
    UpdateApplicationAccessPoint,
    DeleteApplicationAccessPoint,
    CreateClientKey,
    GetClientKey,
    ListClientKeys,
    DeleteClientKey,
];

/// What an operation leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: it reads or computes, and may be repeated.
    None,
    /// A change.
    Change,
}

impl Action {
    /// Whether instance endpoints serve it, too: cryptography with one key does not need another endpoint than that of its instance.
    pub fn is_at_instances(self) -> bool {
        CRYPTOGRAPHY.contains(&self) && self != Self::ReEncrypt
    }

    /// The parameters that it reads in parts, such as `ResourceId.1`, `Tag.1.Key` and `EncryptionContext.a`. Every other one is one text.
    pub fn read_in_parts(self) -> &'static [&'static str] {
        let lists = LISTS_IN_PARTS.iter().find(|(actions, _)| actions.contains(&self));
        lists.map_or_else(|| contexts_of(self), |(_, names)| names)
    }

    /// What the operation leaves behind.
    pub const fn effect(self) -> Effect {
        match self {
            Self::DescribeKey
            | Self::ListKeys
            | Self::ListAliases
            | Self::ListAliasesByKeyId
            | Self::ListResourceTags
            | Self::ListTagResources
            | Self::ListKeyVersions
            | Self::DescribeKeyVersion
            | Self::Encrypt
            | Self::Decrypt
            | Self::ReEncrypt
            | Self::GenerateDataKey
            | Self::GenerateDataKeyWithoutPlaintext
            | Self::AsymmetricEncrypt
            | Self::AsymmetricDecrypt
            | Self::AsymmetricSign
            | Self::AsymmetricVerify
            | Self::GetPublicKey
            | Self::GetKeyPolicy
            | Self::ExportDataKey
            | Self::GenerateAndExportDataKey
            | Self::GenerateMac
            | Self::VerifyMac
            | Self::ListKmsInstances
            | Self::GetKmsInstance
            | Self::GetDefaultKmsInstance
            | Self::GetKmsInstanceQuotaInfos
            | Self::OpenKmsService
            | Self::DescribeAccountKmsStatus
            | Self::DescribeRegions
            | Self::DescribeNetworkRule
            | Self::ListNetworkRules
            | Self::DescribePolicy
            | Self::ListPolicies
            | Self::DescribeApplicationAccessPoint
            | Self::ListApplicationAccessPoints
            | Self::GetClientKey
            | Self::ListClientKeys => Effect::None,
            Self::CreateKey
            | Self::EnableKey
            | Self::DisableKey
            | Self::ScheduleKeyDeletion
            | Self::CancelKeyDeletion
            | Self::SetDeletionProtection
            | Self::UpdateKeyDescription
            | Self::CreateAlias
            | Self::UpdateAlias
            | Self::DeleteAlias
            | Self::TagResource
            | Self::UntagResource
            | Self::TagResources
            | Self::UntagResources
            | Self::CreateKeyVersion
            | Self::UpdateRotationPolicy
            | Self::GetParametersForImport
            | Self::ImportKeyMaterial
            | Self::DeleteKeyMaterial
            | Self::SetKeyPolicy
            | Self::CreateNetworkRule
            | Self::UpdateNetworkRule
            | Self::DeleteNetworkRule
            | Self::CreatePolicy
            | Self::UpdatePolicy
            | Self::DeletePolicy
            | Self::CreateApplicationAccessPoint
            | Self::UpdateApplicationAccessPoint
            | Self::DeleteApplicationAccessPoint
            | Self::CreateClientKey
            | Self::DeleteClientKey => Effect::Change,
        }
    }
}

/// The cryptographic operations: they leave nothing behind, and have the parameter DryRun.
pub const CRYPTOGRAPHY: &[Action] = &[
    Action::Encrypt,
    Action::Decrypt,
    Action::ReEncrypt,
    Action::GenerateDataKey,
    Action::GenerateDataKeyWithoutPlaintext,
    Action::GenerateAndExportDataKey,
    Action::ExportDataKey,
    Action::AsymmetricEncrypt,
    Action::AsymmetricDecrypt,
    Action::AsymmetricSign,
    Action::AsymmetricVerify,
    Action::GetPublicKey,
    Action::GenerateMac,
    Action::VerifyMac,
];

/// Which operations read which lists in parts.
const LISTS_IN_PARTS: &[(&[Action], &[&str])] = &[
    (&[Action::TagResources, Action::ListTagResources], &["ResourceId", "Tag"]),
    (&[Action::UntagResources], &["ResourceId", "TagKey"]),
];

/// The operations of the API that are not served, and are refused as such; what is in neither list is no operation.
pub const UNSERVED: &[&str] = &[
    "AdvanceEncrypt",
    "BatchGetSecretValue",
    "CertificatePrivateKeyDecrypt",
    "CertificatePrivateKeySign",
    "CertificatePublicKeyEncrypt",
    "CertificatePublicKeyVerify",
    "ConnectKmsInstance",
    "CreateCertificate",
    "CreateSecret",
    "DeleteCertificate",
    "DeleteSecret",
    "DescribeCertificate",
    "DescribeSecret",
    "GetCertificate",
    "GetChallenge",
    "GetManagedDataKey",
    "GetRandomPassword",
    "GetSecretPolicy",
    "GetSecretValue",
    "ListManagedDataKeyVersions",
    "ListSecretVersionIds",
    "ListSecrets",
    "PutSecretValue",
    "ReleaseKmsInstance",
    "RestoreSecret",
    "RotateSecret",
    "SetSecretPolicy",
    "UpdateCertificateStatus",
    "UpdateKmsInstance",
    "UpdateKmsInstanceBindVpc",
    "UpdateSecret",
    "UpdateSecretRotationPolicy",
    "UpdateSecretVersionStage",
    "UploadCertificate",
];

impl FromStr for Action {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.iter().copied().find(|action| action.name() == text).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::access::Permission;

    /// 102 in the two SDKs, and the one that only Terraform calls.
    #[test]
    fn every_operation_of_the_api_is_served_or_refused() {
        let mut names: Vec<_> = Action::ALL.iter().map(|action| action.name()).chain(UNSERVED.iter().copied()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!((names.len(), Action::ALL.len() + UNSERVED.len()), (103, 103));
    }

    #[test]
    fn access_points_grant_sessions_the_cryptography_and_nothing_else() {
        let granted = |action: &str| Permission::of_action(action) == Some(Permission::CryptoServiceKeyUser);
        for action in Action::ALL.iter().filter(|action| **action != Action::ReEncrypt) {
            assert_eq!(granted(action.permission()), CRYPTOGRAPHY.contains(action), "{}", action.name());
        }
        assert!(granted("kms:ReEncryptFrom") && granted("kms:ReEncryptTo"));
        assert_eq!(Permission::of_action("kms:*"), None);
    }
}
