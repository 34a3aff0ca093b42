//! The OpenAPI's cryptography and the versions that it names: parameters in, use case, JSON out.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Call;
use crate::base::{Error, Result, SecretBytes};
use crate::model::algorithm::{Family, KeySpec, MacAlgorithm};
use crate::model::key::SubjectPublicKeyInfo;
use crate::model::{KeyId, KeyVersionId};
use crate::service::requests::{ExportTo, Exported, OperatorDecrypted, OperatorEncrypted, ReEncryptSource, VersionOf};
use crate::tier::public_key::Validity;
use crate::tier::{PublicKey, Sha256Digest};
use crate::wire::date;
use crate::wire::openapi::EncryptionContext;
use crate::wire::openapi::answers::{
    CiphertextAnswer, DataKeyAnswer, ExportedAnswer, GeneratedAndExportedAnswer, KeyVersionAnswer, KeyVersionItem, KeyVersions,
    MacAnswer, MacVerifiedAnswer, PlaintextAnswer, PublicKeyAnswer, Used, ValueAnswer,
};

fn key<'a>(call: &Call<'a>) -> Result<&'a str> {
    call.parameters.required("KeyId")
}

/// The key and the version that an asymmetric operation names.
fn key_version<'a>(call: &Call<'a>) -> Result<(&'a str, KeyVersionId)> {
    Ok((key(call)?, call.parameters.required_as("KeyVersionId")?))
}

fn bytes(call: &Call<'_>, name: &str) -> Result<Vec<u8>> {
    STANDARD.decode(call.parameters.required(name)?).map_err(|_| Error::invalid(format!("The parameter {name} is not base64.")))
}

fn digest(call: &Call<'_>) -> Result<Sha256Digest> {
    bytes(call, "Digest")?.try_into().map_err(|_| Error::invalid("The parameter Digest is the base64 of 32 bytes."))
}

fn context(call: &Call<'_>, name: &str) -> Result<EncryptionContext> {
    EncryptionContext::read(call.parameters, name)
}

/// A recipient is an enclave of the cloud, to which answers are encrypted.
fn refuse_recipient(call: &Call<'_>) -> Result<()> {
    match call.parameters.optional("Recipient") {
        Some(_) => Err(Error::unsupported("The parameter Recipient is not served.")),
        None => Ok(()),
    }
}

fn used(key: &KeyId, version: &KeyVersionId) -> Used {
    Used { key_id: key.to_string(), key_version_id: version.to_string() }
}

fn ciphertext(call: &Call<'_>, done: &OperatorEncrypted) -> Result<Vec<u8>> {
    call.json(CiphertextAnswer { used: used(&done.key, &done.version), ciphertext_blob: STANDARD.encode(&done.ciphertext) })
}

fn base64(secret: &SecretBytes) -> SecretBytes {
    SecretBytes::new(STANDARD.encode(secret.expose()).into_bytes())
}

fn text(secret: &SecretBytes) -> Result<&str> {
    std::str::from_utf8(secret.expose()).map_err(Error::internal)
}

/// The text as it was given to Encrypt; what others encrypted and is no text, in base64.
fn plaintext(call: &Call<'_>, done: &OperatorDecrypted) -> Result<Vec<u8>> {
    let used = used(&done.key, &done.version);
    match std::str::from_utf8(done.plaintext.expose()) {
        Ok(plaintext) => call.json(PlaintextAnswer { used, plaintext }),
        Err(_) => call.json(PlaintextAnswer { used, plaintext: text(&base64(&done.plaintext))? }),
    }
}

pub(super) async fn encrypt(call: &Call<'_>) -> Result<Vec<u8>> {
    let plaintext = SecretBytes::new(call.parameters.required("Plaintext")?.as_bytes().to_vec());
    let aad = context(call, "EncryptionContext")?.aad();
    ciphertext(call, &call.kms.operator_encrypt(call.operator, key(call)?, aad, plaintext).await?)
}

pub(super) async fn decrypt(call: &Call<'_>) -> Result<Vec<u8>> {
    refuse_recipient(call)?;
    let binding = context(call, "EncryptionContext")?.binding();
    plaintext(call, &call.kms.operator_decrypt(call.operator, binding, &bytes(call, "CiphertextBlob")?).await?)
}

pub(super) async fn re_encrypt(call: &Call<'_>) -> Result<Vec<u8>> {
    let parameters = call.parameters;
    let source_context = context(call, "SourceEncryptionContext")?;
    let source = match parameters.optional("SourceKeyId") {
        Some(_) if !source_context.is_empty() => {
            let text =
                "The parameter SourceEncryptionContext belongs to a symmetric source, and SourceKeyId names an asymmetric one.";
            return Err(Error::invalid(text));
        }
        Some(key) => ReEncryptSource::Asymmetric {
            key,
            version: parameters.required_as("SourceKeyVersionId")?,
            algorithm: parameters.required_as("SourceEncryptionAlgorithm")?,
        },
        None => {
            for name in ["SourceKeyVersionId", "SourceEncryptionAlgorithm"] {
                if parameters.optional(name).is_some() {
                    return Err(Error::invalid(format!("The parameter {name} belongs to SourceKeyId, which is missing.")));
                }
            }
            ReEncryptSource::Symmetric(source_context.binding())
        }
    };
    let source = (source, bytes(call, "CiphertextBlob")?);
    let destination = (parameters.required("DestinationKeyId")?, context(call, "DestinationEncryptionContext")?.aad());
    ciphertext(call, &call.kms.re_encrypt(call.operator, source, destination, base64).await?)
}

/// NumberOfBytes, or what KeySpec means.
fn data_key_length(call: &Call<'_>) -> Result<Option<i32>> {
    let parameters = call.parameters;
    let of_spec = match parameters.optional("KeySpec") {
        None => None,
        Some("AES_256") => Some(32),
        Some("AES_128") => Some(16),
        Some(_) => return Err(Error::invalid("The parameter KeySpec of a data key is AES_256 or AES_128.")),
    };
    match parameters.optional("NumberOfBytes") {
        None => Ok(of_spec),
        Some(_) => Ok(i32::try_from(parameters.number("NumberOfBytes", 1..=1024, 0)?).ok()),
    }
}

async fn data_key(call: &Call<'_>) -> Result<(SecretBytes, OperatorEncrypted)> {
    refuse_recipient(call)?;
    let how = (data_key_length(call)?, context(call, "EncryptionContext")?.aad());
    call.kms.operator_data_key(call.operator, key(call)?, how, base64).await
}

pub(super) async fn generate_data_key(call: &Call<'_>) -> Result<Vec<u8>> {
    let (data_key, encrypted) = data_key(call).await?;
    call.json(DataKeyAnswer {
        used: used(&encrypted.key, &encrypted.version),
        ciphertext_blob: STANDARD.encode(&encrypted.ciphertext),
        plaintext: text(&data_key)?,
    })
}

pub(super) async fn generate_data_key_without_plaintext(call: &Call<'_>) -> Result<Vec<u8>> {
    ciphertext(call, &data_key(call).await?.1)
}

pub(super) async fn asymmetric_encrypt(call: &Call<'_>) -> Result<Vec<u8>> {
    let (key, version) = key_version(call)?;
    let algorithm = call.parameters.required_as("Algorithm")?;
    let plaintext = SecretBytes::new(bytes(call, "Plaintext")?);
    ciphertext(call, &call.kms.asymmetric_encrypt(call.operator, (key, &version), algorithm, plaintext).await?)
}

pub(super) async fn asymmetric_decrypt(call: &Call<'_>) -> Result<Vec<u8>> {
    refuse_recipient(call)?;
    let (key, version) = key_version(call)?;
    let algorithm = call.parameters.required_as("Algorithm")?;
    let done = call.kms.asymmetric_decrypt(call.operator, (key, &version), algorithm, bytes(call, "CiphertextBlob")?).await?;
    call.json(PlaintextAnswer { used: used(&done.key, &done.version), plaintext: text(&base64(&done.plaintext))? })
}

pub(super) async fn asymmetric_sign(call: &Call<'_>) -> Result<Vec<u8>> {
    let (key, version) = key_version(call)?;
    let algorithm = call.parameters.required_as("Algorithm")?;
    let signed = call.kms.asymmetric_sign(call.operator, (key, &version), algorithm, digest(call)?).await?;
    call.json(ValueAnswer { used: used(&signed.key, &signed.version), value: STANDARD.encode(&signed.signature) })
}

pub(super) async fn asymmetric_verify(call: &Call<'_>) -> Result<Vec<u8>> {
    let (key, version) = key_version(call)?;
    let algorithm = call.parameters.required_as("Algorithm")?;
    let signed = (digest(call)?, &*bytes(call, "Value")?);
    let verified = call.kms.asymmetric_verify(call.operator, (key, &version), algorithm, signed).await?;
    call.json(ValueAnswer { used: used(&verified.key, &verified.version), value: verified.value })
}

pub(super) async fn get_public_key(call: &Call<'_>) -> Result<Vec<u8>> {
    let (key, version) = key_version(call)?;
    let public = call.kms.public_key_of_version(call.operator, key, &version).await?;
    call.json(PublicKeyAnswer { used: used(&public.key, &public.version), public_key: public.pem })
}

/// The public key that a data key is encrypted to.
fn export_to(call: &Call<'_>) -> Result<ExportTo> {
    let spec: KeySpec = call.parameters.required_as("WrappingKeySpec")?;
    match spec.family() {
        Family::Rsa { .. } => {}
        Family::Aes { .. } | Family::Ec(_) | Family::Hmac(_) => {
            return Err(Error::unsupported(format!(
                "The parameter WrappingKeySpec is RSA_2048, RSA_3072 or RSA_4096, not {spec}."
            )));
        }
    }
    let spki = SubjectPublicKeyInfo::from_der(bytes(call, "PublicKeyBlob")?);
    Ok(ExportTo {
        public_key: PublicKey::from_spki(spec, &spki)
            .map_err(|error| Error::invalid(format!("The parameter PublicKeyBlob: {}", error.message())))?,
        algorithm: call.parameters.required_as("WrappingAlgorithm")?,
    })
}

fn exported(done: &Exported) -> ExportedAnswer {
    ExportedAnswer { used: used(&done.key, &done.version), exported_data_key: STANDARD.encode(&done.data_key) }
}

/// What a blob of GenerateDataKey decrypts to is the base64 of the data key; what is no base64 is the data key itself.
fn from_base64(text: &SecretBytes) -> SecretBytes {
    STANDARD.decode(text.expose()).map_or_else(|_| text.duplicate(), SecretBytes::new)
}

pub(super) async fn export_data_key(call: &Call<'_>) -> Result<Vec<u8>> {
    let source = (context(call, "EncryptionContext")?.binding(), &*bytes(call, "CiphertextBlob")?);
    let to = export_to(call)?;
    call.json(exported(&call.kms.export_data_key(call.operator, source, &to, from_base64).await?))
}

pub(super) async fn generate_and_export_data_key(call: &Call<'_>) -> Result<Vec<u8>> {
    let how = (data_key_length(call)?, context(call, "EncryptionContext")?.aad());
    let to = export_to(call)?;
    let (done, blob) = call.kms.generate_and_export_data_key(call.operator, key(call)?, how, &to, base64).await?;
    call.json(GeneratedAndExportedAnswer { exported: exported(&done), ciphertext_blob: STANDARD.encode(&blob) })
}

pub(super) async fn generate_mac(call: &Call<'_>) -> Result<Vec<u8>> {
    let algorithm: MacAlgorithm = call.parameters.required_as("Algorithm")?;
    let message = SecretBytes::new(bytes(call, "Message")?);
    let done = call.kms.generate_mac(call.operator, key(call)?, algorithm, message).await?;
    call.json(MacAnswer { algorithm: algorithm.name(), key_id: done.key.to_string(), mac: STANDARD.encode(done.code.expose()) })
}

pub(super) async fn verify_mac(call: &Call<'_>) -> Result<Vec<u8>> {
    let algorithm: MacAlgorithm = call.parameters.required_as("Algorithm")?;
    let message = SecretBytes::new(bytes(call, "Message")?);
    let done = call.kms.verify_mac(call.operator, key(call)?, algorithm, (message, &bytes(call, "Mac")?)).await?;
    call.json(MacVerifiedAnswer {
        algorithm: algorithm.name(),
        key_id: done.key.to_string(),
        value: done.validity == Validity::Valid,
    })
}

fn version_item(version: &VersionOf) -> KeyVersionItem {
    KeyVersionItem {
        creation_date: date::to_iso(version.created),
        key_id: version.version.key().to_string(),
        key_version_id: version.version.to_string(),
    }
}

pub(super) async fn create_key_version(call: &Call<'_>) -> Result<Vec<u8>> {
    call.json(KeyVersionAnswer { key_version: version_item(&call.kms.create_key_version(call.operator, key(call)?).await?) })
}

pub(super) fn list_key_versions(call: &Call<'_>) -> Result<Vec<u8>> {
    let listed = call.kms.list_key_versions(call.operator, key(call)?, call.page(10)?)?;
    call.json_list(KeyVersions::new(listed.items.iter().map(version_item).collect()), listed.page, listed.total)
}

pub(super) fn describe_key_version(call: &Call<'_>) -> Result<Vec<u8>> {
    let (key, version) = key_version(call)?;
    call.json(KeyVersionAnswer { key_version: version_item(&call.kms.describe_key_version(call.operator, key, &version)?) })
}
