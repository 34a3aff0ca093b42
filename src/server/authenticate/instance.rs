//! The instance protocol's checks, in the protocol's order, each with its own error.

use std::borrow::Cow;
use std::sync::Arc;

use hyper::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderValue};
use hyper::http::request::Parts;

use super::WINDOW;
use crate::base::{Error, Timestamp, excerpt};
use crate::model::KeyVersionId;
use crate::model::algorithm::SignatureAlgorithm;
use crate::server::respond::Refusal;
use crate::service::{Kms, VerifiedClientKey};
use crate::tier::public_key::{Validity, sha256};
use crate::wire::instance_protocol::{self, API_VERSION, KEY_VERSION_HEADER, Operation, SIGNATURE_METHOD};
use crate::wire::{date, signing};

/// A request whose caller is known.
pub(in crate::server) struct Authenticated {
    /// What it wants.
    pub(in crate::server) operation: Operation,
    /// Who.
    pub(in crate::server) client_key: Arc<VerifiedClientKey>,
}

/// The key version that a transfer client names. It is a parameter, which is read once the caller is known: these clients make an error without
/// a text of what is said of an unusable header.
pub(in crate::server) fn key_version(request: &Parts) -> Result<Option<KeyVersionId>, Refusal> {
    let malformed = |why: &str| Refusal::Malformed(format!("The header {KEY_VERSION_HEADER}: {why}"));
    let mut values = request.headers.get_all(KEY_VERSION_HEADER).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => match text(value).trim() {
            "" => Ok(None),
            version => version.parse().map(Some).map_err(|error: Error| malformed(error.message())),
        },
        (Some(_), Some(_)) => Err(malformed("It is given more than once.")),
    }
}

/// What clients mean by a value: UTF-8, or what HTTP libraries make of a text that they were not to send, ISO 8859-1.
fn text(value: &HeaderValue) -> Cow<'_, str> {
    let bytes = value.as_bytes();
    std::str::from_utf8(bytes).map_or_else(|_| bytes.iter().copied().map(char::from).collect(), Cow::Borrowed)
}

/// The headers that take part, each at most once.
struct Headers<'a>(&'a Parts);

impl<'a> Headers<'a> {
    /// One that must be there.
    fn required(&self, name: &'static str, shown: &str) -> Result<&'a str, Refusal> {
        self.optional(name, shown)?.ok_or(Refusal::Missing(name))
    }

    fn optional(&self, name: &str, shown: &str) -> Result<Option<&'a str>, Refusal> {
        let mut values = self.0.headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => {
                let text = std::str::from_utf8(value.as_bytes());
                text.map(|text| Some(text.trim())).map_err(|_| Refusal::Unusable(shown.to_owned()))
            }
            (Some(_), Some(_)) => Err(Refusal::Unusable(shown.to_owned())),
        }
    }

    /// All that begin with `x-kms-`, but the parameter among them.
    fn kms(&self) -> Result<Vec<(&'a str, &'a str)>, Refusal> {
        let names = self.0.headers.keys().map(|name| name.as_str());
        let names = names.filter(|name| name.starts_with("x-kms-") && *name != KEY_VERSION_HEADER);
        names.map(|name| Ok((name, self.optional(name, name)?.unwrap_or_default()))).collect()
    }
}

/// Checks everything that comes before the use case.
pub(in crate::server) fn check(kms: &Kms, request: &Parts, body: &[u8]) -> Result<Authenticated, Refusal> {
    let headers = Headers(request);
    let content_type = content_type(&headers)?;
    let operation = operation(&headers)?;

    let method = headers.required("x-kms-signaturemethod", "x-kms-signaturemethod")?;
    let id = headers.required("x-kms-acccesskeyid", "x-kms-acccesskeyid")?;
    let hash = headers.required("content-sha256", "Content-SHA256")?;
    let date = headers.required(DATE.as_str(), "Date")?;
    let authorization = headers.required(AUTHORIZATION.as_str(), "Authorization")?;

    let sent = date::from_http(date).ok_or_else(|| Refusal::Unusable("Date".to_owned()))?;
    let signature = signing::instance_signature(authorization).ok_or_else(|| Refusal::Unusable("Authorization".to_owned()))?;
    if method != SIGNATURE_METHOD {
        return Err(Refusal::Unusable("x-kms-signaturemethod".to_owned()));
    }
    if !signing::is_sha256_of(hash, body) {
        return Err(Refusal::Unusable("Content-SHA256".to_owned()));
    }
    let mut signed = headers.kms()?;
    let version = request.headers.get(KEY_VERSION_HEADER).map(text);
    signed.extend(version.as_deref().map(|version| (KEY_VERSION_HEADER, version.trim())));

    let now = kms.now();
    if sent.distance(now) > WINDOW {
        return Err(Refusal::Skewed);
    }
    let client_key = kms
        .client_key(id)
        .map_err(|_| Refusal::UnjudgedAtInstance)?
        .ok_or_else(|| Refusal::UnknownClientKey(excerpt(id).to_owned()))?;
    let string_to_sign = signing::instance_string_to_sign(request.method.as_str(), hash, content_type, date, &mut signed);
    let verified = client_key.public_key.verify(SignatureAlgorithm::RsaPkcs1Sha256, &sha256(string_to_sign.as_bytes()), &signature);
    match verified {
        Ok(Validity::Valid) => {}
        Ok(Validity::Invalid) | Err(_) => return Err(Refusal::SignatureNotMatch),
    }
    // Told to nobody but the holder of the key.
    check_validity(&client_key, now)?;
    client_key.last_use.note(now);
    Ok(Authenticated { operation, client_key })
}

fn content_type<'a>(headers: &Headers<'a>) -> Result<&'a str, Refusal> {
    let value = headers.optional(CONTENT_TYPE.as_str(), "Content-Type")?.unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case(instance_protocol::CONTENT_TYPE) {
        Ok(value)
    } else {
        Err(Refusal::ContentType(excerpt(value).to_owned()))
    }
}

fn operation(headers: &Headers<'_>) -> Result<Operation, Refusal> {
    let version = headers.required("x-kms-apiversion", "x-kms-apiversion")?;
    if version != API_VERSION {
        return Err(Refusal::ApiVersion(excerpt(version).to_owned()));
    }
    let name = headers.required("x-kms-apiname", "x-kms-apiname")?;
    name.parse().map_err(|()| Refusal::ApiName(excerpt(name).to_owned()))
}

fn check_validity(client_key: &VerifiedClientKey, now: Timestamp) -> Result<(), Refusal> {
    let id = &client_key.id;
    if now < client_key.not_before {
        let from = date::to_iso(client_key.not_before);
        return Err(Refusal::OutOfValidity(format!("The client key {id} is not valid before {from}.")));
    }
    if now > client_key.not_after {
        let until = date::to_iso(client_key.not_after);
        return Err(Refusal::OutOfValidity(format!("The client key {id} expired at {until}: create another one.")));
    }
    Ok(())
}
