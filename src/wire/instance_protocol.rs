//! The instance protocol dkms-gcs-0.2: its operations, and its messages in protobuf (proto3).
//!
//! Field names and numbers are those of the SDKs. No message has a `Debug`: they carry secrets.

use std::str::FromStr;

use prost::Message;
use prost::encoding::{DecodeContext, decode_key, skip_field};

/// The version of the protocol, as `x-kms-apiversion` names it.
pub const API_VERSION: &str = "dkms-gcs-0.2";
/// The only signature method.
pub const SIGNATURE_METHOD: &str = "RSA_PKCS1_SHA_256";
/// The content type of every message.
pub const CONTENT_TYPE: &str = "application/x-protobuf";
/// The most bytes of a body: the protocol's 3 MB.
pub const BODY_LIMIT: usize = 3 * 1024 * 1024;
/// The header of the key version that a cryptographic answer used; in a request the one to use.
pub const KEY_VERSION_HEADER: &str = "x-kms-migrationkeyversionid";

/// An operation, as `x-kms-apiname` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the API's")]
pub enum Operation {
    Encrypt,
    Decrypt,
    Sign,
    Verify,
    GenerateRandom,
    GenerateDataKey,
    GetPublicKey,
    GetSecretValue,
    AdvanceEncrypt,
    AdvanceDecrypt,
    AdvanceGenerateDataKey,
    GenerateDataKeyPair,
    GenerateDataKeyPairWithoutPlaintext,
    AdvanceGenerateDataKeyPair,
    AdvanceGenerateDataKeyPairWithoutPlaintext,
}

impl Operation {
    /// Every one of them.
    pub const ALL: [Self; 15] = [
        Self::Encrypt,
        Self::Decrypt,
        Self::Sign,
        Self::Verify,
        Self::GenerateRandom,
        Self::GenerateDataKey,
        Self::GetPublicKey,
        Self::GetSecretValue,
        Self::AdvanceEncrypt,
        Self::AdvanceDecrypt,
        Self::AdvanceGenerateDataKey,
        Self::GenerateDataKeyPair,
        Self::GenerateDataKeyPairWithoutPlaintext,
        Self::AdvanceGenerateDataKeyPair,
        Self::AdvanceGenerateDataKeyPairWithoutPlaintext,
    ];

    /// The API's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Encrypt => "Encrypt",
            Self::Decrypt => "Decrypt",
            Self::Sign => "Sign",
            Self::Verify => "Verify",
            Self::GenerateRandom => "GenerateRandom",
            Self::GenerateDataKey => "GenerateDataKey",
            Self::GetPublicKey => "GetPublicKey",
            Self::GetSecretValue => "GetSecretValue",
            Self::AdvanceEncrypt => "AdvanceEncrypt",
            Self::AdvanceDecrypt => "AdvanceDecrypt",
            Self::AdvanceGenerateDataKey => "AdvanceGenerateDataKey",
            Self::GenerateDataKeyPair => "GenerateDataKeyPair",
            Self::GenerateDataKeyPairWithoutPlaintext => "GenerateDataKeyPairWithoutPlaintext",
            Self::AdvanceGenerateDataKeyPair => "AdvanceGenerateDataKeyPair",
            Self::AdvanceGenerateDataKeyPairWithoutPlaintext => "AdvanceGenerateDataKeyPairWithoutPlaintext",
        }
    }
}

impl Operation {
    /// Whether it uses a version of a key, which a header may name.
    pub const fn uses_key_version(self) -> bool {
        match self {
            Self::GenerateRandom | Self::GetSecretValue => false,
            Self::Encrypt
            | Self::Decrypt
            | Self::Sign
            | Self::Verify
            | Self::GenerateDataKey
            | Self::GetPublicKey
            | Self::AdvanceEncrypt
            | Self::AdvanceDecrypt
            | Self::AdvanceGenerateDataKey
            | Self::GenerateDataKeyPair
            | Self::GenerateDataKeyPairWithoutPlaintext
            | Self::AdvanceGenerateDataKeyPair
            | Self::AdvanceGenerateDataKeyPairWithoutPlaintext => true,
        }
    }
}

impl FromStr for Operation {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|operation| operation.name() == text).ok_or(())
    }
}

/// A message whose fields are numbered from 1 without a gap.
pub trait Numbered: Message + Default {
    /// How many fields it has, and so the highest number.
    const FIELDS: u32;
}

/// A request that may name what it is about.
pub trait Named {
    /// The key, in the caller's words; nothing in a request that is about none.
    fn resource(&self) -> Option<&str>;
}

/// Why a body is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// It is not protobuf, or a field is of another type.
    Unreadable,
    /// It has a field of a number that the message has not. To ignore it could mean to ignore what the caller relies on.
    UnknownField(u32),
}

/// Reads a request.
///
/// # Errors
/// [`Malformed`].
pub fn decode<M: Numbered>(body: &[u8]) -> Result<M, Malformed> {
    let mut rest = body;
    while !rest.is_empty() {
        let (number, wire_type) = decode_key(&mut rest).map_err(|_| Malformed::Unreadable)?;
        if number > M::FIELDS {
            return Err(Malformed::UnknownField(number));
        }
        skip_field(wire_type, number, &mut rest, DecodeContext::default()).map_err(|_| Malformed::Unreadable)?;
    }
    M::decode(body).map_err(|_| Malformed::Unreadable)
}

/// Defines messages, with the number of their fields.
macro_rules! messages {
    ($($message:ident, $fields:literal: { $(#[$($prost:tt)*] $field:ident: $type:ty,)* })*) => {
        $(
            #[doc = concat!("`", stringify!($message), "` of the protocol.")]
            #[derive(Clone, PartialEq, Message)]
            #[prost(skip_debug)]
            #[allow(missing_docs, reason = "the fields are the API's")]
            pub struct $message {
                $(#[$($prost)*] pub $field: $type,)*
            }

            impl Numbered for $message {
                const FIELDS: u32 = $fields;
            }
        )*
    };
}

messages! {
    EncryptRequest, 6: {
        #[prost(string, tag = "1")] key_id: String,
        #[prost(bytes = "vec", tag = "2")] plaintext: Vec<u8>,
        #[prost(string, tag = "3")] algorithm: String,
        #[prost(bytes = "vec", tag = "4")] aad: Vec<u8>,
        #[prost(bytes = "vec", tag = "5")] iv: Vec<u8>,
        #[prost(string, tag = "6")] padding_mode: String,
    }
    EncryptResponse, 6: {
        #[prost(string, tag = "1")] key_id: String,
        #[prost(bytes = "vec", tag = "2")] ciphertext_blob: Vec<u8>,
        #[prost(bytes = "vec", tag = "3")] iv: Vec<u8>,
        #[prost(string, tag = "4")] request_id: String,
        #[prost(string, tag = "5")] algorithm: String,
        #[prost(string, tag = "6")] padding_mode: String,
    }
    DecryptRequest, 6: {
        #[prost(bytes = "vec", tag = "1")] ciphertext_blob: Vec<u8>,
        #[prost(string, tag = "2")] key_id: String,
        #[prost(string, tag = "3")] algorithm: String,
        #[prost(bytes = "vec", tag = "4")] aad: Vec<u8>,
        #[prost(bytes = "vec", tag = "5")] iv: Vec<u8>,
        #[prost(string, tag = "6")] padding_mode: String,
    }
    DecryptResponse, 5: {
        #[prost(string, tag = "1")] key_id: String,
        #[prost(bytes = "vec", tag = "2")] plaintext: Vec<u8>,
        #[prost(string, tag = "3")] request_id: String,
        #[prost(string, tag = "4")] algorithm: String,
        #[prost(string, tag = "5")] padding_mode: String,
    }
    SignRequest, 5: {
        #[prost(string, tag = "1")] key_id: String,
        #[prost(bytes = "vec", tag = "2")] digest: Vec<u8>,
        #[prost(string, tag = "3")] algorithm: String,
        #[prost(bytes = "vec", tag = "4")] message: Vec<u8>,
        #[prost(string, tag = "5")] message_type: String,
    }
    SignResponse, 5: {
        #[prost(string, tag = "1")] key_id: String,
        #[prost(bytes = "vec", tag = "2")] signature: Vec<u8>,
        #[prost(string, tag = "3")] request_id: String,
        #[prost(string, tag = "4")] algorithm: String,
        #[prost(string, tag = "5")] message_type: String,
    }
    VerifyRequest, 6: {
        #[prost(string, tag = "1")] key_id: String,
        #[prost(bytes = "vec", tag = "2")] digest: Vec<u8>,
        #[prost(bytes = "vec", tag = "3")] signature: Vec<u8>,
        #[prost(string, tag = "4")] algorithm: String,
        #[prost(bytes = "vec", tag = "5")] message: Vec<u8>,
        #[prost(string, tag = "6")] message_type: String,
    }
    VerifyResponse, 5: {
        #[prost(string, tag = "1")] key_id: String,
        #[prost(bool, tag = "2")] value: bool,
        #[prost(string, tag = "3")] request_id: String,
        #[prost(string, tag = "4")] algorithm: String,
        #[prost(string, tag = "5")] message_type: String,
    }
    GenerateRandomRequest, 1: {
        #[prost(int32, tag = "1")] length: i32,
    }
    GenerateRandomResponse, 2: {
        #[prost(bytes = "vec", tag = "1")] random: Vec<u8>,
        #[prost(string, tag = "2")] request_id: String,
    }
    GenerateDataKeyRequest, 4: {
        #[prost(string, tag = "1")] key_id: String,
        #[prost(string, tag = "2")] algorithm: String,
        #[prost(int32, tag = "3")] number_of_bytes: i32,
        #[prost(bytes = "vec", tag = "4")] aad: Vec<u8>,
    }
    GenerateDataKeyResponse, 6: {
        #[prost(string, tag = "1")] key_id: String,
        #[prost(bytes = "vec", tag = "2")] iv: Vec<u8>,
        #[prost(bytes = "vec", tag = "3")] plaintext: Vec<u8>,
        #[prost(bytes = "vec", tag = "4")] ciphertext_blob: Vec<u8>,
        #[prost(string, tag = "5")] request_id: String,
        #[prost(string, tag = "6")] algorithm: String,
    }
    GetPublicKeyRequest, 1: {
        #[prost(string, tag = "1")] key_id: String,
    }
    GetPublicKeyResponse, 3: {
        #[prost(string, tag = "1")] key_id: String,
        #[prost(string, tag = "2")] public_key: String,
        #[prost(string, tag = "3")] request_id: String,
    }
    ErrorMessage, 4: {
        #[prost(int32, tag = "1")] status_code: i32,
        #[prost(string, tag = "2")] error_code: String,
        #[prost(string, tag = "3")] error_message: String,
        #[prost(string, tag = "4")] request_id: String,
    }
    AdvanceEncryptRequest, 6: {
        #[prost(string, tag = "1")] key_id: String,
        #[prost(bytes = "vec", tag = "2")] plaintext: Vec<u8>,
        #[prost(string, tag = "3")] algorithm: String,
        #[prost(bytes = "vec", tag = "4")] aad: Vec<u8>,
        #[prost(bytes = "vec", tag = "5")] iv: Vec<u8>,
        #[prost(string, tag = "6")] padding_mode: String,
    }
    AdvanceEncryptResponse, 7: {
        #[prost(string, tag = "1")] key_id: String,
        #[prost(bytes = "vec", tag = "2")] ciphertext_blob: Vec<u8>,
        #[prost(bytes = "vec", tag = "3")] iv: Vec<u8>,
        #[prost(string, tag = "4")] request_id: String,
        #[prost(string, tag = "5")] algorithm: String,
        #[prost(string, tag = "6")] padding_mode: String,
        #[prost(string, tag = "7")] key_version_id: String,
    }
    AdvanceDecryptRequest, 6: {
        #[prost(bytes = "vec", tag = "1")] ciphertext_blob: Vec<u8>,
        #[prost(string, tag = "2")] key_id: String,
        #[prost(string, tag = "3")] algorithm: String,
        #[prost(bytes = "vec", tag = "4")] aad: Vec<u8>,
        #[prost(bytes = "vec", tag = "5")] iv: Vec<u8>,
        #[prost(string, tag = "6")] padding_mode: String,
    }
    AdvanceDecryptResponse, 6: {
        #[prost(string, tag = "1")] key_id: String,
        #[prost(bytes = "vec", tag = "2")] plaintext: Vec<u8>,
        #[prost(string, tag = "3")] request_id: String,
        #[prost(string, tag = "4")] algorithm: String,
        #[prost(string, tag = "5")] padding_mode: String,
        #[prost(string, tag = "6")] key_version_id: String,
    }
    AdvanceGenerateDataKeyRequest, 3: {
        #[prost(string, tag = "1")] key_id: String,
        #[prost(int32, tag = "2")] number_of_bytes: i32,
        #[prost(bytes = "vec", tag = "3")] aad: Vec<u8>,
    }
    AdvanceGenerateDataKeyResponse, 7: {
        #[prost(string, tag = "1")] key_id: String,
        #[prost(bytes = "vec", tag = "2")] iv: Vec<u8>,
        #[prost(bytes = "vec", tag = "3")] plaintext: Vec<u8>,
        #[prost(bytes = "vec", tag = "4")] ciphertext_blob: Vec<u8>,
        #[prost(string, tag = "5")] request_id: String,
        #[prost(string, tag = "6")] algorithm: String,
        #[prost(string, tag = "7")] key_version_id: String,
    }
    GenerateDataKeyPairRequest, 5: {
        #[prost(string, tag = "1")] key_id: String,
        #[prost(string, tag = "2")] algorithm: String,
        #[prost(string, tag = "3")] key_pair_spec: String,
        #[prost(string, tag = "4")] key_format: String,
        #[prost(bytes = "vec", tag = "5")] aad: Vec<u8>,
    }
    GenerateDataKeyPairResponse, 8: {
        #[prost(string, tag = "1")] key_id: String,
        #[prost(bytes = "vec", tag = "2")] iv: Vec<u8>,
        #[prost(string, tag = "3")] key_pair_spec: String,
        #[prost(bytes = "vec", tag = "4")] private_key_plaintext: Vec<u8>,
        #[prost(bytes = "vec", tag = "5")] private_key_ciphertext_blob: Vec<u8>,
        #[prost(bytes = "vec", tag = "6")] public_key: Vec<u8>,
        #[prost(string, tag = "7")] request_id: String,
        #[prost(string, tag = "8")] algorithm: String,
    }
    GenerateDataKeyPairWithoutPlaintextRequest, 5: {
        #[prost(string, tag = "1")] key_id: String,
        #[prost(string, tag = "2")] algorithm: String,
        #[prost(string, tag = "3")] key_pair_spec: String,
        #[prost(string, tag = "4")] key_format: String,
        #[prost(bytes = "vec", tag = "5")] aad: Vec<u8>,
    }
    GenerateDataKeyPairWithoutPlaintextResponse, 7: {
        #[prost(string, tag = "1")] key_id: String,
        #[prost(bytes = "vec", tag = "2")] iv: Vec<u8>,
        #[prost(string, tag = "3")] key_pair_spec: String,
        #[prost(bytes = "vec", tag = "4")] private_key_ciphertext_blob: Vec<u8>,
        #[prost(bytes = "vec", tag = "5")] public_key: Vec<u8>,
        #[prost(string, tag = "6")] request_id: String,
        #[prost(string, tag = "7")] algorithm: String,
    }
    AdvanceGenerateDataKeyPairRequest, 4: {
        #[prost(string, tag = "1")] key_id: String,
        #[prost(string, tag = "2")] key_pair_spec: String,
        #[prost(string, tag = "3")] key_format: String,
        #[prost(bytes = "vec", tag = "4")] aad: Vec<u8>,
    }
    AdvanceGenerateDataKeyPairResponse, 9: {
        #[prost(string, tag = "1")] key_id: String,
        #[prost(bytes = "vec", tag = "2")] iv: Vec<u8>,
        #[prost(string, tag = "3")] key_pair_spec: String,
        #[prost(bytes = "vec", tag = "4")] private_key_plaintext: Vec<u8>,
        #[prost(bytes = "vec", tag = "5")] private_key_ciphertext_blob: Vec<u8>,
        #[prost(bytes = "vec", tag = "6")] public_key: Vec<u8>,
        #[prost(string, tag = "7")] request_id: String,
        #[prost(string, tag = "8")] algorithm: String,
        #[prost(string, tag = "9")] key_version_id: String,
    }
    AdvanceGenerateDataKeyPairWithoutPlaintextRequest, 4: {
        #[prost(string, tag = "1")] key_id: String,
        #[prost(string, tag = "2")] key_pair_spec: String,
        #[prost(string, tag = "3")] key_format: String,
        #[prost(bytes = "vec", tag = "4")] aad: Vec<u8>,
    }
    AdvanceGenerateDataKeyPairWithoutPlaintextResponse, 8: {
        #[prost(string, tag = "1")] key_id: String,
        #[prost(bytes = "vec", tag = "2")] iv: Vec<u8>,
        #[prost(string, tag = "3")] key_pair_spec: String,
        #[prost(bytes = "vec", tag = "4")] private_key_ciphertext_blob: Vec<u8>,
        #[prost(bytes = "vec", tag = "5")] public_key: Vec<u8>,
        #[prost(string, tag = "6")] request_id: String,
        #[prost(string, tag = "7")] algorithm: String,
        #[prost(string, tag = "8")] key_version_id: String,
    }
}

/// Requests that name a key.
macro_rules! name_a_key {
    ($($message:ident),+ $(,)?) => {
        $(
            impl Named for $message {
                fn resource(&self) -> Option<&str> {
                    Some(&self.key_id)
                }
            }
        )+
    };
}

name_a_key![
    EncryptRequest,
    DecryptRequest,
    SignRequest,
    VerifyRequest,
    GenerateDataKeyRequest,
    GetPublicKeyRequest,
    AdvanceEncryptRequest,
    AdvanceDecryptRequest,
    AdvanceGenerateDataKeyRequest,
    GenerateDataKeyPairRequest,
    GenerateDataKeyPairWithoutPlaintextRequest,
    AdvanceGenerateDataKeyPairRequest,
    AdvanceGenerateDataKeyPairWithoutPlaintextRequest,
];

impl Named for GenerateRandomRequest {
    fn resource(&self) -> Option<&str> {
        None
    }
}
