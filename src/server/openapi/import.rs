//! The OpenAPI's operations on imported key material: parameters in, use case, JSON out.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Call;
use crate::base::{Error, Kind, Result, Timestamp};
use crate::model::algorithm::WrappingAlgorithm;
use crate::service::requests::ImportKeyMaterial;
use crate::wire::date;
use crate::wire::openapi::answers::{Done, ImportParametersAnswer};

/// The last second that a date of the OpenAPI can say: 9999-12-31T23:59:59Z.
const LAST_SECOND: i64 = 253_402_300_799;

fn key_id<'a>(call: &Call<'a>) -> Result<&'a str> {
    call.parameters.required("KeyId")
}

pub(super) async fn get_parameters_for_import(call: &Call<'_>) -> Result<Vec<u8>> {
    let key = key_id(call)?;
    let algorithm = wrapping_algorithm(call)?;
    let given = call.kms.parameters_for_import(call.operator, key, algorithm).await?;
    call.json(ImportParametersAnswer {
        import_token: STANDARD.encode(&given.token),
        key_id: given.key.to_string(),
        public_key: STANDARD.encode(given.public_key.as_der()),
        token_expire_time: date::to_iso(given.expires),
    })
}

/// What the API has and is not served says why.
fn wrapping_algorithm(call: &Call<'_>) -> Result<WrappingAlgorithm> {
    match call.parameters.required("WrappingKeySpec")? {
        "RSA_2048" => {}
        "EC_SM2" => return Err(Error::unsupported("The WrappingKeySpec EC_SM2 is not served; RSA_2048 is.")),
        _ => return Err(Error::invalid("The parameter WrappingKeySpec is RSA_2048.")),
    }
    match call.parameters.required("WrappingAlgorithm")? {
        "RSAES_PKCS1_V1_5" => Err(Error::unsupported(
            "The WrappingAlgorithm RSAES_PKCS1_V1_5 is not served: answers to it betray what it wraps. Use RSAES_OAEP_SHA_256.",
        )),
        _ => call.parameters.required_as("WrappingAlgorithm"),
    }
}

pub(super) async fn import_key_material(call: &Call<'_>) -> Result<Vec<u8>> {
    let token = call.parameters.required("ImportToken")?;
    let wrapped = call.parameters.required("EncryptedKeyMaterial")?;
    let request = ImportKeyMaterial {
        key: key_id(call)?.to_owned(),
        token: STANDARD
            .decode(token)
            .map_err(|_| Error::new(Kind::InvalidImportToken, "The parameter ImportToken is not as it was given out."))?,
        wrapped: STANDARD
            .decode(wrapped)
            .map_err(|_| Error::new(Kind::InvalidKeyMaterial, "The parameter EncryptedKeyMaterial is not base64."))?,
        expires: expires(call)?,
    };
    call.kms.import_key_material(call.operator, request).await?;
    call.json(Done {})
}

/// Seconds since 1970; 0 and nothing are never.
fn expires(call: &Call<'_>) -> Result<Option<Timestamp>> {
    let Some(text) = call.parameters.optional("KeyMaterialExpireUnix") else { return Ok(None) };
    let seconds = text.parse::<i64>().ok().filter(|seconds| (0..=LAST_SECOND).contains(seconds));
    let seconds = seconds.ok_or_else(|| {
        Error::invalid(format!("The parameter KeyMaterialExpireUnix is seconds since 1970, {LAST_SECOND} at most; 0 is never."))
    })?;
    Ok((seconds > 0).then_some(Timestamp::from_unix(seconds)))
}

pub(super) async fn delete_key_material(call: &Call<'_>) -> Result<Vec<u8>> {
    call.kms.delete_key_material(call.operator, key_id(call)?).await?;
    call.json(Done {})
}
