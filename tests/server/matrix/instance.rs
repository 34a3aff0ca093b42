//! A small, well-formed request of each operation of the instance protocol.

use keystead::wire::instance_protocol::*;
use prost::Message;

use super::Resource;
use super::world::World;

/// The message of a request about a resource; `None` when the operation is about no such thing.
pub(super) fn message(world: &World, operation: Operation, resource: Resource) -> Option<Vec<u8>> {
    let about_nothing = resource == Resource::None;
    if operation == Operation::GenerateRandom {
        return about_nothing.then(|| GenerateRandomRequest { length: 16 }.encode_to_vec());
    }
    let keys = world.keys(resource)?;
    let (key_id, pair_id) = (keys.aes.to_string(), keys.ec.to_string());
    let (iv, ciphertext_blob) = (keys.sealed.iv.to_vec(), keys.sealed.ciphertext.clone());
    let (plaintext, key_pair_spec) = (b"x".to_vec(), "EC_P256".to_owned());
    Some(match operation {
        Operation::Encrypt => EncryptRequest { key_id, plaintext, ..EncryptRequest::default() }.encode_to_vec(),
        Operation::Decrypt => DecryptRequest { key_id, iv, ciphertext_blob, ..DecryptRequest::default() }.encode_to_vec(),
        Operation::Sign => SignRequest { key_id: pair_id, message: plaintext, ..SignRequest::default() }.encode_to_vec(),
        Operation::Verify => {
            VerifyRequest { key_id: pair_id, message: plaintext, signature: vec![0; 70], ..VerifyRequest::default() }
                .encode_to_vec()
        }
        Operation::GenerateRandom => return None,
        Operation::GenerateDataKey => GenerateDataKeyRequest { key_id, ..GenerateDataKeyRequest::default() }.encode_to_vec(),
        Operation::GetPublicKey => GetPublicKeyRequest { key_id: pair_id }.encode_to_vec(),
        // Not served: its message is never read.
        Operation::GetSecretValue => Vec::new(),
        Operation::AdvanceEncrypt => {
            AdvanceEncryptRequest { key_id, plaintext, ..AdvanceEncryptRequest::default() }.encode_to_vec()
        }
        // Nothing but the ciphertext says which key is meant.
        Operation::AdvanceDecrypt => {
            AdvanceDecryptRequest { ciphertext_blob: keys.sealed.to_bytes(), ..AdvanceDecryptRequest::default() }.encode_to_vec()
        }
        Operation::AdvanceGenerateDataKey => {
            AdvanceGenerateDataKeyRequest { key_id, ..AdvanceGenerateDataKeyRequest::default() }.encode_to_vec()
        }
        Operation::GenerateDataKeyPair => {
            GenerateDataKeyPairRequest { key_id, key_pair_spec, ..GenerateDataKeyPairRequest::default() }.encode_to_vec()
        }
        Operation::GenerateDataKeyPairWithoutPlaintext => GenerateDataKeyPairWithoutPlaintextRequest {
            key_id,
            key_pair_spec,
            ..GenerateDataKeyPairWithoutPlaintextRequest::default()
        }
        .encode_to_vec(),
        Operation::AdvanceGenerateDataKeyPair => {
            AdvanceGenerateDataKeyPairRequest { key_id, key_pair_spec, ..AdvanceGenerateDataKeyPairRequest::default() }
                .encode_to_vec()
        }
        Operation::AdvanceGenerateDataKeyPairWithoutPlaintext => AdvanceGenerateDataKeyPairWithoutPlaintextRequest {
            key_id,
            key_pair_spec,
            ..AdvanceGenerateDataKeyPairWithoutPlaintextRequest::default()
        }
        .encode_to_vec(),
    })
}
