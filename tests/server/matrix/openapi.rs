//! A small, well-formed request of each operation of the OpenAPI, and what one needs to be permitted for it. An operation that is
//! added does not compile without its request.

use keystead::model::KeyId;
use keystead::model::key::Origin;
use keystead::model::operator::KeyPolicy;
use keystead::wire::openapi::Action;

use super::Resource;
use super::world::{Kept, World};

/// An action, and a resource as statements name it.
pub(super) type Need = (String, String);

/// What is sent.
pub(super) struct Request {
    pub(super) parameters: Vec<(&'static str, String)>,
    /// What must be allowed for it.
    pub(super) needs: Vec<Need>,
}

impl Request {
    fn new(action: Action, resources: &[String], parameters: Vec<(&'static str, String)>) -> Self {
        Self { parameters, needs: resources.iter().map(|resource| (action.permission().to_owned(), resource.clone())).collect() }
    }
}

fn arn(kind: &str, name: &dyn std::fmt::Display) -> String {
    format!("acs:kms:*:*:{kind}/{name}")
}

/// A request about a resource, which is made for it where the operation would use it up; `None` when the operation is about no such
/// thing.
pub(super) async fn request(world: &World, action: Action, resource: Resource) -> Option<Request> {
    let everything = |parameters| (resource == Resource::None).then(|| Request::new(action, &["*".to_owned()], parameters));
    let on_key = |key: &str, more: &[(&'static str, &str)]| {
        let mut parameters = vec![("KeyId", key.to_owned())];
        parameters.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        Some(Request::new(action, &[arn("key", &key)], parameters))
    };
    let on = |kind: &str, name: &str, parameter: &'static str, more: &[(&'static str, &str)]| {
        let mut parameters = vec![(parameter, name.to_owned())];
        parameters.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        Some(Request::new(action, &[arn(kind, &name)], parameters))
    };
    // Both the alias and the key.
    let on_alias = |alias: &str, key: &KeyId| {
        let parameters = vec![("AliasName", format!("alias/{alias}")), ("KeyId", key.to_string())];
        Some(Request::new(action, &[arn("alias", &alias), arn("key", key)], parameters))
    };
    let keys = || world.keys(resource);
    let named = || world.named(resource);
    let wrapping =
        [("WrappingKeySpec", "RSA_2048"), ("WrappingAlgorithm", "RSAES_OAEP_SHA_256"), ("PublicKeyBlob", &*world.recipient)];
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
        | Action::ListApplicationAccessPoints => everything(Vec::new()),
        Action::CreateKey => {
            (resource == Resource::None).then(|| Request::new(action, &[arn("key", &"*")], vec![("Description", "x".to_owned())]))
        }

        Action::DescribeKey
        | Action::EnableKey
        | Action::ListAliasesByKeyId
        | Action::ListResourceTags
        | Action::ListKeyVersions
        | Action::GetKeyPolicy => on_key(keys()?.aes.as_str(), &[]),
        Action::UpdateKeyDescription => on_key(keys()?.aes.as_str(), &[("Description", "x")]),
        Action::SetDeletionProtection => on_key(keys()?.aes.as_str(), &[("EnableDeletionProtection", "true")]),
        Action::TagResource => on_key(keys()?.aes.as_str(), &[("Tags", "[{\"TagKey\":\"a\",\"TagValue\":\"b\"}]")]),
        Action::UntagResource => on_key(keys()?.aes.as_str(), &[("TagKeys", "[\"a\"]")]),
        Action::TagResources => {
            let more = [("ResourceType", "key"), ("Tag.1.Key", "a"), ("Tag.1.Value", "b")];
            on("key", keys()?.aes.as_str(), "ResourceId.1", &more)
        }
        Action::UntagResources => on("key", keys()?.aes.as_str(), "ResourceId.1", &[("ResourceType", "key"), ("TagKey.1", "a")]),
        Action::ListTagResources => match resource {
            Resource::None => everything(vec![("ResourceType", "key".to_owned())]),
            Resource::InScope | Resource::OutOfScope | Resource::Elsewhere | Resource::Absent => {
                on("key", keys()?.aes.as_str(), "ResourceId.1", &[("ResourceType", "key")])
            }
        },
        Action::DisableKey | Action::CreateKeyVersion => on_key(&world.new_key(resource, Origin::Service).await?, &[]),
        Action::ScheduleKeyDeletion => on_key(&world.new_key(resource, Origin::Service).await?, &[("PendingWindowInDays", "7")]),
        Action::CancelKeyDeletion => on_key(&world.new_doomed_key(resource).await?, &[]),
        Action::UpdateRotationPolicy => on_key(
            &world.new_key(resource, Origin::Service).await?,
            &[("EnableAutomaticRotation", "true"), ("RotationInterval", "365d")],
        ),
        Action::SetKeyPolicy => {
            on_key(&world.new_key(resource, Origin::Service).await?, &[("Policy", KeyPolicy::default_policy().text())])
        }
        Action::DescribeKeyVersion => {
            let keys = keys()?;
            on_key(keys.aes.as_str(), &[("KeyVersionId", keys.sealed.version.as_str())])
        }
        Action::GetParametersForImport => on_key(&world.new_key(resource, Origin::External).await?, &wrapping[..2]),
        Action::ImportKeyMaterial => {
            let key = world.new_key(resource, Origin::External).await?;
            let (token, wrapped) = world.wrapped_material(resource, &key).await;
            on_key(&key, &[("ImportToken", &token), ("EncryptedKeyMaterial", &wrapped), ("KeyMaterialExpireUnix", "0")])
        }
        Action::DeleteKeyMaterial => on_key(&world.new_key(resource, Origin::External).await?, &[]),

        Action::Encrypt => on_key(keys()?.aes.as_str(), &[("Plaintext", "eA==")]),
        Action::GenerateDataKey | Action::GenerateDataKeyWithoutPlaintext => on_key(keys()?.aes.as_str(), &[]),
        Action::GenerateAndExportDataKey => on_key(keys()?.aes.as_str(), &wrapping),
        // The ciphertext says which key is meant.
        Action::Decrypt => {
            let keys = keys()?;
            Some(Request::new(action, &[arn("key", &keys.aes)], vec![("CiphertextBlob", keys.blob())]))
        }
        Action::ExportDataKey => {
            let keys = keys()?;
            let mut parameters = vec![("CiphertextBlob", keys.blob())];
            parameters.extend(wrapping.map(|(name, value)| (name, value.to_owned())));
            Some(Request::new(action, &[arn("key", &keys.aes)], parameters))
        }
        Action::ReEncrypt => {
            let keys = keys()?;
            let needs = ["kms:ReEncryptFrom", "kms:ReEncryptTo"].map(|half| (half.to_owned(), arn("key", &keys.aes)));
            let parameters = vec![("CiphertextBlob", keys.blob()), ("DestinationKeyId", keys.aes.to_string())];
            Some(Request { parameters, needs: needs.to_vec() })
        }
        Action::AsymmetricEncrypt => {
            let keys = keys()?;
            let more = [("KeyVersionId", keys.rsa_version.as_str()), ("Algorithm", "RSAES_OAEP_SHA_256"), ("Plaintext", "eA==")];
            on_key(keys.rsa.as_str(), &more)
        }
        Action::AsymmetricDecrypt => {
            let keys = keys()?;
            let algorithm = ("Algorithm", "RSAES_OAEP_SHA_256");
            let more = [("KeyVersionId", keys.rsa_version.as_str()), algorithm, ("CiphertextBlob", &*keys.rsa_ciphertext)];
            on_key(keys.rsa.as_str(), &more)
        }
        Action::AsymmetricSign => {
            let keys = keys()?;
            let more = [("KeyVersionId", keys.ec_version.as_str()), ("Algorithm", "ECDSA_SHA_256"), ("Digest", DIGEST)];
            on_key(keys.ec.as_str(), &more)
        }
        Action::AsymmetricVerify => {
            let keys = keys()?;
            let signed = [("Digest", DIGEST), ("Value", "eA==")];
            let more = [("KeyVersionId", keys.ec_version.as_str()), ("Algorithm", "ECDSA_SHA_256"), signed[0], signed[1]];
            on_key(keys.ec.as_str(), &more)
        }
        Action::GetPublicKey => {
            let keys = keys()?;
            on_key(keys.ec.as_str(), &[("KeyVersionId", keys.ec_version.as_str())])
        }
        Action::GenerateMac => on_key(keys()?.hmac.as_str(), &[("Algorithm", "HMAC_SHA_256"), ("Message", "eA==")]),
        Action::VerifyMac => {
            let more = [("Algorithm", "HMAC_SHA_256"), ("Message", "eA=="), ("Mac", DIGEST)];
            on_key(keys()?.hmac.as_str(), &more)
        }

        Action::CreateAlias => on_alias(&world.new_name(), &keys()?.aes),
        Action::UpdateAlias => on_alias(&world.new_alias(resource).await, &keys()?.aes),
        Action::DeleteAlias => {
            named()?;
            let alias = world.new_alias(resource).await;
            // The key that it points to, too.
            let key = world.keys(resource).map_or_else(String::new, |keys| keys.aes.to_string());
            let needed = [arn("alias", &alias), arn("key", &key)];
            Some(Request::new(action, &needed, vec![("AliasName", format!("alias/{alias}"))]))
        }

        Action::GetKmsInstance | Action::GetKmsInstanceQuotaInfos => on("keystore", &named()?.instance, "KmsInstanceId", &[]),
        Action::DescribeNetworkRule => on("network", &named()?.rule, "Name", &[]),
        Action::DescribePolicy => on("policy", &named()?.policy, "Name", &[]),
        Action::DescribeApplicationAccessPoint => on("applicationaccesspoint", &named()?.access_point, "Name", &[]),
        Action::CreateNetworkRule => {
            named().filter(|_| resource != Resource::Absent)?;
            on("network", &world.new_name(), "Name", &[("Type", "Private"), ("SourcePrivateIp", "[\"10.0.0.0/8\"]")])
        }
        Action::UpdateNetworkRule => {
            on("network", &world.new_named(resource, Kept::NetworkRule).await?, "Name", &[("Description", "x")])
        }
        Action::DeleteNetworkRule => on("network", &world.new_named(resource, Kept::NetworkRule).await?, "Name", &[]),
        Action::CreatePolicy => {
            named().filter(|_| resource != Resource::Absent)?;
            let permissions = "[\"RbacPermission/Template/CryptoServiceKeyUser\"]";
            let instance = ("KmsInstance", world.bench.instance.as_str());
            on("policy", &world.new_name(), "Name", &[instance, ("Permissions", permissions), ("Resources", "[\"key/*\"]")])
        }
        Action::UpdatePolicy => on("policy", &world.new_named(resource, Kept::Policy).await?, "Name", &[("Description", "x")]),
        Action::DeletePolicy => on("policy", &world.new_named(resource, Kept::Policy).await?, "Name", &[]),
        Action::CreateApplicationAccessPoint => {
            named().filter(|_| resource != Resource::Absent)?;
            on("applicationaccesspoint", &world.new_name(), "Name", &[("Policies", "[\"key-user\"]")])
        }
        Action::UpdateApplicationAccessPoint => {
            on("applicationaccesspoint", &world.new_named(resource, Kept::AccessPoint).await?, "Name", &[("Description", "x")])
        }
        Action::DeleteApplicationAccessPoint => {
            on("applicationaccesspoint", &world.new_named(resource, Kept::AccessPoint).await?, "Name", &[])
        }
        Action::CreateClientKey => {
            let password = ("Password", "Example-Pass1");
            on("applicationaccesspoint", &world.new_named(resource, Kept::AccessPoint).await?, "AapName", &[password])
        }
        Action::ListClientKeys => match resource {
            Resource::None => everything(Vec::new()),
            Resource::InScope | Resource::OutOfScope | Resource::Elsewhere | Resource::Absent => {
                on("applicationaccesspoint", &named()?.access_point, "AapName", &[])
            }
        },
        // Decided about as its access point.
        Action::GetClientKey | Action::DeleteClientKey => {
            let (access_point, client_key) = world.new_client_key(resource).await?;
            Some(Request::new(action, &[arn("applicationaccesspoint", &access_point)], vec![("ClientKeyId", client_key)]))
        }
    }
}

/// 32 bytes in base64.
const DIGEST: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
