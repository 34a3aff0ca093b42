//! Parameters that select what an operation acts on, and the operations that read each. Where an operation does not read one, it is
//! refused: the operation would act on something else than its caller named.

use super::{Action, Parameters};
use crate::base::{Error, Result, excerpt};

/// The parameters of the API that name a key, a version, a protection level or an instance, each with the operations that read it.
const SELECTING: &[(&str, &[Action])] = &[
    (
        "KeyId",
        &[
            Action::DescribeKey,
            Action::EnableKey,
            Action::DisableKey,
            Action::ScheduleKeyDeletion,
            Action::CancelKeyDeletion,
            Action::SetDeletionProtection,
            Action::UpdateKeyDescription,
            Action::CreateAlias,
            Action::UpdateAlias,
            Action::ListAliasesByKeyId,
            Action::TagResource,
            Action::UntagResource,
            Action::ListResourceTags,
            Action::CreateKeyVersion,
            Action::ListKeyVersions,
            Action::DescribeKeyVersion,
            Action::UpdateRotationPolicy,
            Action::GetParametersForImport,
            Action::ImportKeyMaterial,
            Action::DeleteKeyMaterial,
            Action::Encrypt,
            Action::GenerateDataKey,
            Action::GenerateDataKeyWithoutPlaintext,
            Action::AsymmetricEncrypt,
            Action::AsymmetricDecrypt,
            Action::AsymmetricSign,
            Action::AsymmetricVerify,
            Action::GetPublicKey,
            Action::GenerateAndExportDataKey,
            Action::GenerateMac,
            Action::VerifyMac,
            Action::GetKeyPolicy,
            Action::SetKeyPolicy,
        ],
    ),
    (
        "KeyVersionId",
        &[
            Action::DescribeKeyVersion,
            Action::AsymmetricEncrypt,
            Action::AsymmetricDecrypt,
            Action::AsymmetricSign,
            Action::AsymmetricVerify,
            Action::GetPublicKey,
        ],
    ),
    ("SourceKeyId", &[Action::ReEncrypt]),
    ("SourceKeyVersionId", &[Action::ReEncrypt]),
    ("DestinationKeyId", &[Action::ReEncrypt]),
    ("ProtectionLevel", &[Action::CreateKey]),
    ("DKMSInstanceId", &[Action::CreateKey]),
    ("KmsInstanceId", &[Action::GetKmsInstance, Action::GetKmsInstanceQuotaInfos, Action::SetDeletionProtection]),
    ("KmsInstance", &[Action::CreatePolicy]),
];

/// Refuses a selecting parameter that the operation does not read, or whose name has other capitals than the API's. An empty one counts
/// as absent: some clients send every field that they know.
///
/// # Errors
/// [`Kind::InvalidParameter`](crate::base::Kind::InvalidParameter), naming the parameter and the operation.
pub fn refuse_unread_selection(parameters: &Parameters, action: Action) -> Result<()> {
    let unread = |name: &str| {
        let selecting = SELECTING.iter().find(|(selecting, _)| selecting.eq_ignore_ascii_case(name));
        selecting.is_some_and(|(selecting, read_by)| name != *selecting || !read_by.contains(&action))
    };
    match parameters.pairs().iter().find(|(name, value)| !value.is_empty() && unread(name)) {
        None => Ok(()),
        Some((name, _)) => Err(Error::invalid(format!(
            "The operation {} does not read the parameter {:?}: leave it out, or use an operation that has it.",
            action.name(),
            excerpt(name)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_that_the_operation_does_not_read_is_refused_by_its_name() {
        let refused = |action, query: &str| {
            let parameters = Parameters::parse(query.as_bytes()).unwrap();
            refuse_unread_selection(&parameters, action).err().map(|error| error.message().to_owned())
        };
        assert_eq!(refused(Action::Encrypt, "KeyId=a&KeyVersionId="), None);
        assert_eq!(refused(Action::AsymmetricSign, "KeyId=a&KeyVersionId=b"), None);
        for (action, query, name) in [
            (Action::Encrypt, "KeyId=a&KeyVersionId=b", "KeyVersionId"),
            (Action::Decrypt, "KeyId=a", "KeyId"),
            (Action::AsymmetricSign, "KeyId=a&keyVersionId=b", "keyVersionId"),
        ] {
            let said = refused(action, query).unwrap();
            assert!(said.contains(&format!("{name:?}")) && said.contains(action.name()), "{said}");
        }
    }
}
