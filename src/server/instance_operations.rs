//! The operations of the instance protocol: message in, use case, message out. An operation is one arm and one function.

use prost::Message;
use zeroize::Zeroize;

use super::limiter::Limiter;
use super::respond::{Failure, Refusal};
use crate::base::{Error, Result, SecretBytes};
use crate::model::algorithm::MessageType;
use crate::model::{KeyId, KeyVersionId};
use crate::service::Kms;
use crate::service::requests::{
    AdvanceDecrypt, Caller, DataKeyPair, Decrypt, Encrypt, Form, GenerateDataKey, GenerateDataKeyPair, KeyFormat, KeyReference,
    Sign, Verify,
};
use crate::wire::instance_protocol::*;
use crate::wire::openapi::aads_alike;

/// A message, and the key version that it came from.
pub(super) struct Answered {
    pub(super) body: Vec<u8>,
    pub(super) version: Option<String>,
}

impl Answered {
    fn with(version: &KeyVersionId, body: Vec<u8>) -> Self {
        Self { body, version: Some(version.to_string()) }
    }
}

/// One request: who, what id it has, which key version its header names.
struct Call<'a> {
    kms: &'a Kms,
    caller: &'a Caller,
    request_id: &'a str,
    version: Option<KeyVersionId>,
}

/// Serves an operation, and notes in `resource` which key the request names.
pub(super) async fn serve(
    (kms, limiter): (&Kms, Option<&Limiter>),
    caller: &Caller,
    operation: Operation,
    version: Option<KeyVersionId>,
    body: &[u8],
    request_id: &str,
    resource: &mut Option<String>,
) -> Result<Answered, Failure> {
    if version.is_some() && !operation.uses_key_version() {
        let text = format!("The operation {} uses no key version: leave out the header {KEY_VERSION_HEADER}.", operation.name());
        return Err(Error::invalid(text).into());
    }
    let key_of_version = version.as_ref().map(KeyVersionId::key);
    let call = Call { kms, caller, request_id, version };
    let admission = Admission { kms, limiter, operation, key_of_version };
    let answered = match operation {
        Operation::Encrypt => call.encrypt(read(&admission, body, resource)?).await,
        Operation::AdvanceEncrypt => call.advance_encrypt(read(&admission, body, resource)?).await,
        Operation::Decrypt => call.decrypt(read(&admission, body, resource)?).await,
        Operation::AdvanceDecrypt => call.advance_decrypt(read(&admission, body, resource)?).await,
        Operation::Sign => call.sign(read(&admission, body, resource)?).await,
        Operation::Verify => call.verify(read(&admission, body, resource)?).await,
        Operation::GetPublicKey => call.get_public_key(read(&admission, body, resource)?).await,
        Operation::GenerateRandom => call.generate_random(read(&admission, body, resource)?).await,
        Operation::GenerateDataKey => call.generate_data_key(read(&admission, body, resource)?).await,
        Operation::AdvanceGenerateDataKey => call.advance_generate_data_key(read(&admission, body, resource)?).await,
        Operation::GenerateDataKeyPair => call.generate_data_key_pair(read(&admission, body, resource)?).await,
        Operation::GenerateDataKeyPairWithoutPlaintext => {
            call.generate_data_key_pair_without_plaintext(read(&admission, body, resource)?).await
        }
        Operation::AdvanceGenerateDataKeyPair => call.advance_generate_data_key_pair(read(&admission, body, resource)?).await,
        Operation::AdvanceGenerateDataKeyPairWithoutPlaintext => {
            call.advance_generate_data_key_pair_without_plaintext(read(&admission, body, resource)?).await
        }
        Operation::GetSecretValue => Err(Error::unsupported("This installation keeps no secrets.")),
    };
    Ok(answered?)
}

/// What decides whether an operation is within its limit.
struct Admission<'a> {
    kms: &'a Kms,
    limiter: Option<&'a Limiter>,
    operation: Operation,
    /// The key of the version that the header names.
    key_of_version: Option<KeyId>,
}

/// Reads the message, and notes which key it names. Which limit the operation has depends on the key.
fn read<M: Numbered + Named>(admission: &Admission<'_>, body: &[u8], resource: &mut Option<String>) -> Result<M, Refusal> {
    let message: M = decode(body).map_err(|malformed| {
        Refusal::Malformed(match malformed {
            Malformed::Unreadable => "The body is not the protobuf message of the operation.".to_owned(),
            Malformed::UnknownField(number) => format!("The message of the operation has no field {number}."),
        })
    })?;
    *resource = message.resource().map(str::to_owned);
    if let Some(limiter) = admission.limiter {
        let named = message.resource().and_then(|text| admission.kms.key_named(text)).or_else(|| admission.key_of_version.clone());
        limiter.admit_operation(admission.kms, admission.operation, named.as_ref())?;
    }
    Ok(message)
}

/// proto3 does not tell an empty text from an absent one.
fn parsed<T: std::str::FromStr<Err = Error>>(text: &str) -> Result<Option<T>> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some) }
}

/// IVs are the service's: one that the caller chose twice would give away AES-GCM's key stream.
fn refuse_iv(iv: &[u8]) -> Result<()> {
    if iv.is_empty() { Ok(()) } else { Err(Error::invalid("The parameter Iv is chosen by the service; leave it empty.")) }
}

/// Writes a message and wipes the secret in it.
fn write_secret<M: Message>(mut message: M, secret: impl FnOnce(&mut M) -> &mut Vec<u8>) -> Vec<u8> {
    let body = message.encode_to_vec();
    secret(&mut message).zeroize();
    body
}

fn padding_name(padding: Option<crate::model::algorithm::PaddingMode>) -> String {
    padding.map_or_else(String::new, |padding| padding.name().to_owned())
}

fn key_format(text: &str) -> Result<KeyFormat> {
    match text {
        "" | "PEM" => Ok(KeyFormat::Pem),
        "DER" => Ok(KeyFormat::Der),
        _ => Err(Error::invalid("The parameter KeyFormat is PEM or DER.")),
    }
}

/// What is signed: a message, its digest, or the digest in the older spelling.
fn signed(key: KeyReference, algorithm: &str, older: Vec<u8>, message: Vec<u8>, message_type: &str) -> Result<Sign> {
    let (message, message_type) = match (message.is_empty(), older.is_empty()) {
        (false, false) => {
            return Err(Error::invalid("The parameters Message and Digest are both given; Digest is the older spelling."));
        }
        (true, false) => (older, MessageType::Digest),
        (true | false, true) => (message, parsed(message_type)?.unwrap_or(MessageType::Raw)),
    };
    Ok(Sign { key, algorithm: parsed(algorithm)?, message_type, message })
}

impl Call<'_> {
    /// What the request names: the key of its message, which may be empty, and the version of its header.
    fn key(&self, named: String) -> KeyReference {
        match &self.version {
            None => KeyReference::Key(named),
            Some(version) => KeyReference::Version { key: Some(named).filter(|key| !key.is_empty()), version: version.clone() },
        }
    }

    async fn encrypt(&self, request: EncryptRequest) -> Result<Answered> {
        refuse_iv(&request.iv)?;
        let encrypt = Encrypt {
            key: self.key(request.key_id),
            algorithm: parsed(&request.algorithm)?,
            padding: parsed(&request.padding_mode)?,
            aad: request.aad,
            plaintext: SecretBytes::new(request.plaintext),
        };
        let done = self.kms.encrypt(self.caller, Form::Plain, encrypt).await?;
        let answer = EncryptResponse {
            key_id: done.key.to_string(),
            ciphertext_blob: done.ciphertext,
            iv: done.iv.as_bytes().to_vec(),
            request_id: self.request_id.to_owned(),
            algorithm: done.algorithm.to_string(),
            padding_mode: padding_name(done.padding),
        };
        Ok(Answered::with(&done.version, answer.encode_to_vec()))
    }

    async fn advance_encrypt(&self, request: AdvanceEncryptRequest) -> Result<Answered> {
        refuse_iv(&request.iv)?;
        let encrypt = Encrypt {
            key: self.key(request.key_id),
            algorithm: parsed(&request.algorithm)?,
            padding: parsed(&request.padding_mode)?,
            aad: request.aad,
            plaintext: SecretBytes::new(request.plaintext),
        };
        let done = self.kms.encrypt(self.caller, Form::Advance, encrypt).await?;
        let answer = AdvanceEncryptResponse {
            key_id: done.key.to_string(),
            ciphertext_blob: done.ciphertext,
            iv: done.iv.as_bytes().to_vec(),
            request_id: self.request_id.to_owned(),
            algorithm: done.algorithm.to_string(),
            padding_mode: padding_name(done.padding),
            key_version_id: done.version.to_string(),
        };
        Ok(Answered::with(&done.version, answer.encode_to_vec()))
    }

    async fn decrypt(&self, request: DecryptRequest) -> Result<Answered> {
        let decrypt = Decrypt {
            key: self.key(request.key_id),
            algorithm: parsed(&request.algorithm)?,
            padding: parsed(&request.padding_mode)?,
            iv: request.iv,
            // Who names a version is a transfer client.
            aads: if self.version.is_some() { aads_alike(request.aad) } else { vec![request.aad] },
            ciphertext: request.ciphertext_blob,
        };
        let done = self.kms.decrypt(self.caller, decrypt).await?;
        let answer = DecryptResponse {
            key_id: done.key.to_string(),
            plaintext: done.plaintext.into_exposed(),
            request_id: self.request_id.to_owned(),
            algorithm: done.algorithm.to_string(),
            padding_mode: padding_name(done.padding),
        };
        Ok(Answered::with(&done.version, write_secret(answer, |answer| &mut answer.plaintext)))
    }

    async fn advance_decrypt(&self, request: AdvanceDecryptRequest) -> Result<Answered> {
        let decrypt = AdvanceDecrypt {
            key: (self.version.is_some() || !request.key_id.is_empty()).then(|| self.key(request.key_id)),
            algorithm: parsed(&request.algorithm)?,
            padding: parsed(&request.padding_mode)?,
            iv: request.iv,
            aads: aads_alike(request.aad),
            ciphertext: request.ciphertext_blob,
        };
        let done = self.kms.advance_decrypt(self.caller, decrypt).await?;
        let answer = AdvanceDecryptResponse {
            key_id: done.key.to_string(),
            plaintext: done.plaintext.into_exposed(),
            request_id: self.request_id.to_owned(),
            algorithm: done.algorithm.to_string(),
            padding_mode: padding_name(done.padding),
            key_version_id: done.version.to_string(),
        };
        Ok(Answered::with(&done.version, write_secret(answer, |answer| &mut answer.plaintext)))
    }

    async fn sign(&self, request: SignRequest) -> Result<Answered> {
        let sign = signed(self.key(request.key_id), &request.algorithm, request.digest, request.message, &request.message_type)?;
        let message_type = sign.message_type;
        let done = self.kms.sign(self.caller, sign).await?;
        let answer = SignResponse {
            key_id: done.key.to_string(),
            signature: done.signature,
            request_id: self.request_id.to_owned(),
            algorithm: done.algorithm.to_string(),
            message_type: message_type.to_string(),
        };
        Ok(Answered::with(&done.version, answer.encode_to_vec()))
    }

    async fn verify(&self, request: VerifyRequest) -> Result<Answered> {
        let sign = signed(self.key(request.key_id), &request.algorithm, request.digest, request.message, &request.message_type)?;
        let message_type = sign.message_type;
        let done = self.kms.verify(self.caller, Verify { sign, signature: request.signature }).await?;
        let answer = VerifyResponse {
            key_id: done.key.to_string(),
            value: done.value,
            request_id: self.request_id.to_owned(),
            algorithm: done.algorithm.to_string(),
            message_type: message_type.to_string(),
        };
        Ok(Answered::with(&done.version, answer.encode_to_vec()))
    }

    async fn get_public_key(&self, request: GetPublicKeyRequest) -> Result<Answered> {
        let done = self.kms.public_key(self.caller, &self.key(request.key_id)).await?;
        let answer =
            GetPublicKeyResponse { key_id: done.key.to_string(), public_key: done.pem, request_id: self.request_id.to_owned() };
        Ok(Answered::with(&done.version, answer.encode_to_vec()))
    }

    async fn generate_random(&self, request: GenerateRandomRequest) -> Result<Answered> {
        let random = self.kms.generate_random(self.caller, request.length).await?;
        let answer = GenerateRandomResponse { random: random.into_exposed(), request_id: self.request_id.to_owned() };
        Ok(Answered { body: write_secret(answer, |answer| &mut answer.random), version: None })
    }

    async fn generate_data_key(&self, request: GenerateDataKeyRequest) -> Result<Answered> {
        let generate = GenerateDataKey {
            key: self.key(request.key_id),
            algorithm: parsed(&request.algorithm)?,
            number_of_bytes: Some(request.number_of_bytes).filter(|number| *number != 0),
            aad: request.aad,
        };
        let done = self.kms.generate_data_key(self.caller, Form::Plain, generate).await?;
        let answer = GenerateDataKeyResponse {
            key_id: done.encrypted.key.to_string(),
            iv: done.encrypted.iv.as_bytes().to_vec(),
            plaintext: done.plaintext.into_exposed(),
            ciphertext_blob: done.encrypted.ciphertext,
            request_id: self.request_id.to_owned(),
            algorithm: done.encrypted.algorithm.to_string(),
        };
        Ok(Answered::with(&done.encrypted.version, write_secret(answer, |answer| &mut answer.plaintext)))
    }

    async fn advance_generate_data_key(&self, request: AdvanceGenerateDataKeyRequest) -> Result<Answered> {
        let generate = GenerateDataKey {
            key: self.key(request.key_id),
            algorithm: None,
            number_of_bytes: Some(request.number_of_bytes).filter(|number| *number != 0),
            aad: request.aad,
        };
        let done = self.kms.generate_data_key(self.caller, Form::Advance, generate).await?;
        let answer = AdvanceGenerateDataKeyResponse {
            key_id: done.encrypted.key.to_string(),
            iv: done.encrypted.iv.as_bytes().to_vec(),
            plaintext: done.plaintext.into_exposed(),
            ciphertext_blob: done.encrypted.ciphertext,
            request_id: self.request_id.to_owned(),
            algorithm: done.encrypted.algorithm.to_string(),
            key_version_id: done.encrypted.version.to_string(),
        };
        Ok(Answered::with(&done.encrypted.version, write_secret(answer, |answer| &mut answer.plaintext)))
    }

    async fn pair(&self, form: Form, key: String, algorithm: &str, pair: &str, format: &str, aad: Vec<u8>) -> Result<DataKeyPair> {
        let missing = || Error::new(crate::base::Kind::MissingParameter, "The parameter KeyPairSpec is missing.");
        let generate = GenerateDataKeyPair {
            key: self.key(key),
            algorithm: parsed(algorithm)?,
            pair: parsed(pair)?.ok_or_else(missing)?,
            format: key_format(format)?,
            aad,
        };
        self.kms.generate_data_key_pair(self.caller, form, generate).await
    }

    async fn generate_data_key_pair(&self, request: GenerateDataKeyPairRequest) -> Result<Answered> {
        let (spec, format) = (&request.key_pair_spec, &request.key_format);
        let done = self.pair(Form::Plain, request.key_id, &request.algorithm, spec, format, request.aad).await?;
        let answer = GenerateDataKeyPairResponse {
            key_id: done.encrypted.key.to_string(),
            iv: done.encrypted.iv.as_bytes().to_vec(),
            key_pair_spec: done.pair.to_string(),
            private_key_plaintext: done.private_key.into_exposed(),
            private_key_ciphertext_blob: done.encrypted.ciphertext,
            public_key: done.public_key,
            request_id: self.request_id.to_owned(),
            algorithm: done.encrypted.algorithm.to_string(),
        };
        Ok(Answered::with(&done.encrypted.version, write_secret(answer, |answer| &mut answer.private_key_plaintext)))
    }

    async fn generate_data_key_pair_without_plaintext(
        &self,
        request: GenerateDataKeyPairWithoutPlaintextRequest,
    ) -> Result<Answered> {
        let (spec, format) = (&request.key_pair_spec, &request.key_format);
        let done = self.pair(Form::Plain, request.key_id, &request.algorithm, spec, format, request.aad).await?;
        let answer = GenerateDataKeyPairWithoutPlaintextResponse {
            key_id: done.encrypted.key.to_string(),
            iv: done.encrypted.iv.as_bytes().to_vec(),
            key_pair_spec: done.pair.to_string(),
            private_key_ciphertext_blob: done.encrypted.ciphertext,
            public_key: done.public_key,
            request_id: self.request_id.to_owned(),
            algorithm: done.encrypted.algorithm.to_string(),
        };
        Ok(Answered::with(&done.encrypted.version, answer.encode_to_vec()))
    }

    async fn advance_generate_data_key_pair(&self, request: AdvanceGenerateDataKeyPairRequest) -> Result<Answered> {
        let (spec, format) = (&request.key_pair_spec, &request.key_format);
        let done = self.pair(Form::Advance, request.key_id, "", spec, format, request.aad).await?;
        let answer = AdvanceGenerateDataKeyPairResponse {
            key_id: done.encrypted.key.to_string(),
            iv: done.encrypted.iv.as_bytes().to_vec(),
            key_pair_spec: done.pair.to_string(),
            private_key_plaintext: done.private_key.into_exposed(),
            private_key_ciphertext_blob: done.encrypted.ciphertext,
            public_key: done.public_key,
            request_id: self.request_id.to_owned(),
            algorithm: done.encrypted.algorithm.to_string(),
            key_version_id: done.encrypted.version.to_string(),
        };
        Ok(Answered::with(&done.encrypted.version, write_secret(answer, |answer| &mut answer.private_key_plaintext)))
    }

    async fn advance_generate_data_key_pair_without_plaintext(
        &self,
        request: AdvanceGenerateDataKeyPairWithoutPlaintextRequest,
    ) -> Result<Answered> {
        let (spec, format) = (&request.key_pair_spec, &request.key_format);
        let done = self.pair(Form::Advance, request.key_id, "", spec, format, request.aad).await?;
        let answer = AdvanceGenerateDataKeyPairWithoutPlaintextResponse {
            key_id: done.encrypted.key.to_string(),
            iv: done.encrypted.iv.as_bytes().to_vec(),
            key_pair_spec: done.pair.to_string(),
            private_key_ciphertext_blob: done.encrypted.ciphertext,
            public_key: done.public_key,
            request_id: self.request_id.to_owned(),
            algorithm: done.encrypted.algorithm.to_string(),
            key_version_id: done.encrypted.version.to_string(),
        };
        Ok(Answered::with(&done.encrypted.version, answer.encode_to_vec()))
    }
}
