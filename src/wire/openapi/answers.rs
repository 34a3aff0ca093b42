//! The answers as JSON. Lists have their wrapper even when they are empty, nothing is null, and no success has a `Code`: Terraform
//! takes that for a failure.

use serde::Serialize;

/// An error: `{"RequestId","HostId","Code","Message","HttpStatus"}`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ErrorAnswer<'a> {
    /// UUID.
    pub request_id: &'a str,
    /// The endpoint's name.
    pub host_id: &'a str,
    /// The API's code.
    pub code: &'a str,
    /// For a person.
    pub message: &'a str,
    /// As in the status line.
    pub http_status: u16,
}

/// GetKeyPolicy.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PolicyTextAnswer {
    /// JSON, as it was given.
    pub policy: String,
}

/// Any success: its fields and the request's id.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Answer<'a, T> {
    /// UUID.
    pub request_id: &'a str,
    /// What the operation answers.
    #[serde(flatten)]
    pub body: T,
}

/// An answer without fields of its own.
#[derive(Serialize)]
pub struct Done {}

/// CreateKey and DescribeKey.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct KeyAnswer {
    /// All about the key.
    pub key_metadata: KeyMetadata,
}

/// The API's KeyMetadata.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are the API's")]
pub struct KeyMetadata {
    pub arn: String,
    pub automatic_rotation: &'static str,
    pub creation_date: String,
    pub creator: String,
    #[serde(rename = "DKMSInstanceId")]
    pub dkms_instance_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delete_date: Option<String>,
    pub deletion_protection: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_protection_description: Option<String>,
    pub description: String,
    pub key_id: String,
    pub key_spec: &'static str,
    pub key_state: &'static str,
    pub key_usage: &'static str,
    pub last_rotation_date: String,
    pub material_expire_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_rotation_date: Option<String>,
    pub origin: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary_key_version: Option<String>,
    pub protection_level: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rotation_interval: Option<String>,
    pub keystead: Extension,
}

/// What Keystead tells of a key beyond the API: how it is protected and what is done outside the token.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Extension {
    /// `HsmInternal`, or `Software` for a key of a software instance.
    pub storage_mechanism: &'static str,
    /// AES-GCM encryptions counted for the primary version, ahead of the real number; they end at 2^32.
    pub encryptions: u64,
    /// What the token says of the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<Attributes>,
    /// Of an imported key: how its material gets to where it is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub import: Option<String>,
    /// Each algorithm of the key and how it is done.
    pub algorithms: Vec<AlgorithmSupport>,
}

/// The attributes of the object, read back from the token.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are PKCS #11's")]
pub struct Attributes {
    pub local: bool,
    pub sensitive: bool,
    pub always_sensitive: bool,
    pub extractable: bool,
    pub never_extractable: bool,
}

/// How an algorithm is done.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AlgorithmSupport {
    /// The API's name.
    pub algorithm: &'static str,
    /// `full`, or what is done outside the token, or why it is missing.
    pub support: String,
}

/// The part of a list that a page is.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListAnswer<T> {
    /// The items in their wrapper.
    #[serde(flatten)]
    pub items: T,
    /// From 1.
    pub page_number: u32,
    /// From 1 to 100.
    pub page_size: u32,
    /// How many there are in all.
    pub total_count: usize,
}

/// Defines a list's wrapper: `{"Keys":{"Key":[...]}}`.
macro_rules! wrapped {
    ($($(#[$doc:meta])* $name:ident: $outer:literal / $inner:literal of $item:ident { $($field:ident),* })+) => {
        $(
            $(#[$doc])*
            #[derive(Serialize)]
            pub struct $name {
                /// The wrapper.
                #[serde(rename = $outer)]
                pub items: inner::$name,
            }

            /// One of them.
            #[derive(Serialize)]
            #[serde(rename_all = "PascalCase")]
            #[allow(missing_docs, reason = "the fields are the API's")]
            pub struct $item {
                $(pub $field: String),*
            }

            impl $name {
                /// In its wrapper.
                pub fn new(items: Vec<$item>) -> Self {
                    Self { items: inner::$name { items } }
                }
            }
        )+

        /// What is inside the wrappers.
        pub mod inner {
            use serde::Serialize;
            $(
                $(#[$doc])*
                #[derive(Serialize)]
                pub struct $name {
                    /// The list.
                    #[serde(rename = $inner)]
                    pub items: Vec<super::$item>,
                }
            )+
        }
    };
}

wrapped! {
    /// ListKeys.
    Keys: "Keys" / "Key" of KeyItem { key_arn, key_id }
    /// ListKeyVersions.
    KeyVersions: "KeyVersions" / "KeyVersion" of KeyVersionItem { creation_date, key_id, key_version_id }
    /// ListAliases and ListAliasesByKeyId.
    Aliases: "Aliases" / "Alias" of AliasItem { alias_arn, alias_name, key_id }
    /// DescribeRegions: an installation is one region.
    Regions: "Regions" / "Region" of RegionItem { region_id }
    /// ListKmsInstances.
    KmsInstances: "KmsInstances" / "KmsInstance" of KmsInstanceItem { kms_instance_arn, kms_instance_id }
    /// ListNetworkRules; Type is the API's name of the field.
    NetworkRules: "NetworkRules" / "NetworkRule" of NetworkRuleItem { name, r#type }
    /// ListPolicies.
    Policies: "Policies" / "Policy" of PolicyItem { name }
    /// ListApplicationAccessPoints.
    ApplicationAccessPoints: "ApplicationAccessPoints" / "ApplicationAccessPoint" of ApplicationAccessPointItem { authentication_method, name }
}

pub mod quotas;
pub mod tags;

/// DescribeAccountKmsStatus.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct AccountStatusAnswer {
    /// Whether the service may be used: an installation is open to whom it serves.
    pub account_status: &'static str,
}

/// GetDefaultKmsInstance.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct DefaultInstanceAnswer {
    /// Where CreateKey without DKMSInstanceId makes its keys.
    pub default_kms_instance_id: String,
}

/// DescribeKeyVersion.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct KeyVersionAnswer {
    /// The version.
    pub key_version: KeyVersionItem,
}

/// The key and the version that were used.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are the API's")]
pub struct Used {
    pub key_id: String,
    pub key_version_id: String,
}

/// Encrypt, ReEncrypt, AsymmetricEncrypt, GenerateDataKeyWithoutPlaintext.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are the API's")]
pub struct CiphertextAnswer {
    #[serde(flatten)]
    pub used: Used,
    pub ciphertext_blob: String,
}

/// Decrypt, AsymmetricDecrypt.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are the API's")]
pub struct PlaintextAnswer<'a> {
    #[serde(flatten)]
    pub used: Used,
    pub plaintext: &'a str,
}

/// GenerateDataKey.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are the API's")]
pub struct DataKeyAnswer<'a> {
    #[serde(flatten)]
    pub used: Used,
    pub ciphertext_blob: String,
    pub plaintext: &'a str,
}

/// AsymmetricSign: the signature in base64. AsymmetricVerify: whether it is right.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are the API's")]
pub struct ValueAnswer<T> {
    #[serde(flatten)]
    pub used: Used,
    pub value: T,
}

/// ExportDataKey.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are the API's")]
pub struct ExportedAnswer {
    #[serde(flatten)]
    pub used: Used,
    pub exported_data_key: String,
}

/// GenerateAndExportDataKey.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are the API's")]
pub struct GeneratedAndExportedAnswer {
    #[serde(flatten)]
    pub exported: ExportedAnswer,
    pub ciphertext_blob: String,
}

/// GenerateMac.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are the API's")]
pub struct MacAnswer {
    pub algorithm: &'static str,
    pub key_id: String,
    pub mac: String,
}

/// VerifyMac.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are the API's")]
pub struct MacVerifiedAnswer {
    pub algorithm: &'static str,
    pub key_id: String,
    pub value: bool,
}

/// GetPublicKey.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are the API's")]
pub struct PublicKeyAnswer {
    #[serde(flatten)]
    pub used: Used,
    pub public_key: String,
}

/// GetParametersForImport.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are the API's")]
pub struct ImportParametersAnswer {
    pub import_token: String,
    pub key_id: String,
    pub public_key: String,
    pub token_expire_time: String,
}

/// GetKmsInstance.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct InstanceAnswer {
    /// All about the instance.
    pub kms_instance: KmsInstance,
}

/// The API's KmsInstance, as far as its fields mean something for a service of one's own.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are the API's")]
pub struct KmsInstance {
    pub bind_vpcs: BindVpcs,
    pub ca_certificate_chain_pem: String,
    pub create_time: String,
    pub instance_id: String,
    pub instance_name: String,
    pub key_num: usize,
    pub product_type: &'static str,
    pub product_version: &'static str,
    pub status: &'static str,
}

/// None: there are no VPCs here.
#[derive(Serialize, Default)]
#[serde(rename_all = "PascalCase")]
pub struct BindVpcs {
    /// Always empty.
    pub bind_vpc: [&'static str; 0],
}

/// CreateNetworkRule and DescribeNetworkRule; the latter has no Name.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are the API's")]
pub struct NetworkRuleAnswer {
    pub arn: String,
    pub description: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub source_private_ip: String,
    pub r#type: &'static str,
}

/// CreatePolicy: lists as strings. DescribePolicy: as arrays.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are the API's")]
pub struct PolicyAnswer<L> {
    pub access_control_rules: String,
    pub arn: String,
    pub description: String,
    pub kms_instance: String,
    pub name: String,
    pub permissions: L,
    pub resources: L,
}

/// CreateApplicationAccessPoint and DescribeApplicationAccessPoint.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are the API's")]
pub struct ApplicationAccessPointAnswer {
    pub arn: String,
    pub authentication_method: &'static str,
    pub description: String,
    pub name: String,
    pub policies: String,
}

/// CreateClientKey.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are the API's")]
pub struct CreatedClientKeyAnswer {
    pub client_key_id: String,
    pub key_algorithm: &'static str,
    pub not_after: String,
    pub not_before: String,
    pub private_key_data: String,
}

/// GetClientKey, and one of ListClientKeys.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are the API's")]
pub struct ClientKeyAnswer {
    pub aap_name: String,
    pub client_key_id: String,
    pub create_time: String,
    pub key_algorithm: &'static str,
    pub key_origin: &'static str,
    pub not_after: String,
    pub not_before: String,
    pub public_key_data: String,
}

/// ListClientKeys: a plain array.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ClientKeysAnswer {
    /// The list.
    pub client_keys: Vec<ClientKeyAnswer>,
}

/// A list as the compact JSON text that Terraform cuts apart: `["a","b"]`.
pub fn compact(items: &[String]) -> String {
    serde_json::Value::from(items).to_string()
}
