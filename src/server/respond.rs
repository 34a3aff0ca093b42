//! How answers look: the one table of kinds, statuses and codes, for both protocols.
//!
//! In the OpenAPI and the STS a 404 says one thing: the object that the call names is not there. Programs (Terraform) take any 404 of a
//! read for "gone" and forget the object, so no refused credential, unknown operation or wrong path is one.
//!
//! What the caller is told is the code and the public text; causes go to the log. Codes and statuses are the API's.

use std::borrow::Cow;
use std::time::Duration;

use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use prost::Message;

use super::body::{Body, Unread};
use crate::base::{Error, Kind, Retry};
use crate::service::Unopened;
use crate::wire::instance_protocol::{self, ErrorMessage};
use crate::wire::openapi::answers::ErrorAnswer;
use crate::wire::openapi::{Format, xml};

/// A failure as it is rendered.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
    /// For the log alone.
    pub(super) causes: String,
    /// What the audit says instead of the message, where that repeats what was sent.
    told: Option<&'static str>,
    /// How long to wait before the request is sent again, when that is known.
    retry_after: Option<Duration>,
}

impl Failure {
    /// Why, for the audit: nothing of it is a payload.
    pub(super) fn reason(&self) -> Cow<'_, str> {
        match (self.told, self.causes.is_empty()) {
            (Some(told), _) => told.into(),
            (None, true) => self.message.as_str().into(),
            (None, false) => format!("{} ({})", self.message, self.causes).into(),
        }
    }

    /// Whether it says that the caller may not.
    pub(super) fn is_denial(&self) -> bool {
        [of_kind(Kind::NoPermission).1, ACCESS_DENIED, STS_DENIED, OIDC_DENIED].contains(&self.code)
    }
}

/// What the Security Token Service calls it.
const STS_DENIED: &str = "NoPermission";
/// What it calls it to whom the token of an OIDC provider names.
const OIDC_DENIED: &str = "AuthenticationFail.NoPermission";

/// A failure of the Security Token Service, whose codes are the OpenAPI's but for that of a denial.
pub(super) fn sts_failure(error: Error) -> Failure {
    denied_as(STS_DENIED, error)
}

/// The same of AssumeRoleWithOIDC.
pub(super) fn oidc_failure(error: Error) -> Failure {
    denied_as(OIDC_DENIED, error)
}

fn denied_as(code: &'static str, error: Error) -> Failure {
    let denied = error.kind() == Kind::NoPermission;
    let failure = Failure::from(error);
    if denied { Failure { code, ..failure } } else { failure }
}

/// What a rehearsal is told that would not have been permitted.
const ACCESS_DENIED: &str = "AccessDeniedError";

/// What every caller is told while none can be looked up.
const UNJUDGED: &str = "Callers cannot be looked up at the moment: send the request again.";

/// Milliseconds, more than none: an SDK that is told to retry waits for so long.
const RETRY_AFTER: &str = "x-acs-retry-after";

/// Status and code of a kind.
pub(super) fn of_kind(kind: Kind) -> (StatusCode, &'static str) {
    match kind {
        // A failed decryption looks like any other wrong value.
        Kind::InvalidParameter | Kind::Undecryptable => (StatusCode::BAD_REQUEST, "InvalidParameter"),
        Kind::MissingParameter => (StatusCode::BAD_REQUEST, "MissingParameter"),
        Kind::UnsupportedOperation => (StatusCode::BAD_REQUEST, "UnsupportedOperation"),
        Kind::UnsupportedByKey => (StatusCode::BAD_REQUEST, "Rejected.UnsupportedOperation"),
        Kind::InvalidTagKey => (StatusCode::BAD_REQUEST, "InvalidParameter.TagKey"),
        Kind::InvalidTagValue => (StatusCode::BAD_REQUEST, "InvalidParameter.TagValue"),
        Kind::DuplicateTagKey => (StatusCode::BAD_REQUEST, "Duplicate.TagKey"),
        Kind::LimitExceeded => (StatusCode::BAD_REQUEST, "Rejected.LimitExceeded"),
        Kind::NoPermission => (StatusCode::FORBIDDEN, "Forbidden.NoPermission"),
        Kind::InstanceNotFound => (StatusCode::FORBIDDEN, "Forbidden.DKMSInstanceNotFound"),
        Kind::KeyNotFound => (StatusCode::NOT_FOUND, "Forbidden.KeyNotFound"),
        Kind::KeyVersionNotFound => (StatusCode::NOT_FOUND, "Forbidden.KeyVersionNotFound"),
        Kind::AliasNotFound => (StatusCode::NOT_FOUND, "Forbidden.AliasNotFound"),
        Kind::ResourceNotFound => (StatusCode::NOT_FOUND, "Forbidden.ResourceNotFound"),
        Kind::ResourceIdNotFound => (StatusCode::NOT_FOUND, "InvalidResourceId.NotFound"),
        Kind::OnlySymmetricKeySupported => (StatusCode::NOT_FOUND, "Forbidden.OnlySymmetricKeySupported"),
        Kind::ResourceExists => (StatusCode::CONFLICT, "Rejected.ResourceExist"),
        Kind::AliasExists => (StatusCode::BAD_REQUEST, "AliasAlreadyExists"),
        Kind::StateForbids => (StatusCode::CONFLICT, "Rejected.StateModifiedFailed"),
        Kind::UnsupportedOrigin => (StatusCode::BAD_REQUEST, "Unsupported.Origin"),
        Kind::UnsupportedProtectionLevel => (StatusCode::BAD_REQUEST, "Unsupported.ProtectionLevel"),
        Kind::InvalidKeyMaterial => (StatusCode::BAD_REQUEST, "InvalidKeyMaterial"),
        Kind::InvalidImportToken => (StatusCode::BAD_REQUEST, "InvalidImportToken"),
        Kind::ExpiredImportToken => (StatusCode::BAD_REQUEST, "ExpiredImportToken"),
        Kind::InvalidOidcToken => (StatusCode::BAD_REQUEST, "AuthenticationFail.OIDCToken.Invalid"),
        Kind::ExpiredOidcToken => (StatusCode::BAD_REQUEST, "AuthenticationFail.OIDCToken.Expired"),
        Kind::KeyDisabled => (StatusCode::CONFLICT, "Rejected.Disabled"),
        Kind::KeyPendingDeletion => (StatusCode::CONFLICT, "Rejected.PendingDeletion"),
        Kind::KeyPendingImport => (StatusCode::CONFLICT, "Rejected.PendingImport"),
        Kind::Throttled => (StatusCode::TOO_MANY_REQUESTS, "Rejected.Throttling"),
        Kind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "InternalFailure"),
        Kind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailableTemporary"),
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (status, code) = of_kind(error.kind());
        Self { status, code, message: error.message().to_owned(), causes: error.causes(), told: None, retry_after: None }
    }
}

/// How the rehearsal of an operation ended (the parameter DryRun): always a failure, and what it would have been tells which. What
/// may go well another time is told as it is.
pub(super) fn rehearsed<T>(outcome: crate::base::Result<T>) -> Failure {
    let failure = match outcome {
        Ok(_) => {
            return Failure {
                status: StatusCode::PRECONDITION_FAILED,
                code: "DryRunOperationError",
                message: "The request would have succeeded, but DryRun is set.".to_owned(),
                causes: String::new(),
                told: None,
                retry_after: None,
            };
        }
        Err(error) if error.retry() == Retry::Later => return error.into(),
        Err(error) => error,
    };
    let code = if failure.kind() == Kind::NoPermission { ACCESS_DENIED } else { "ValidationError" };
    Failure { code, ..failure.into() }
}

/// What is wrong with a request before any use case sees it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The body is longer than so many bytes.
    BodyTooLarge(usize),
    /// The body did not arrive.
    BodyBrokenOff,
    /// Instance protocol: neither its method nor its path.
    NotServed,
    /// OpenAPI: another path than `/`, which is what requests are signed for.
    Path,
    /// Instance protocol: the content type.
    ContentType(String),
    /// Instance protocol: `x-kms-apiversion`.
    ApiVersion(String),
    /// Instance protocol: `x-kms-apiname`.
    ApiName(String),
    /// A header or parameter of this name is absent.
    Missing(&'static str),
    /// OpenAPI: the parameter of this name says another thing than the header that stands for it.
    Contradictory(&'static str),
    /// Instance protocol: a header of this name is unusable, or given twice.
    Unusable(String),
    /// The body is not the message of the operation.
    Malformed(String),
    /// Instance protocol: the date is off by more than 15 minutes.
    Skewed,
    /// Instance protocol: there is no such client key.
    UnknownClientKey(String),
    /// Instance protocol: the signature is wrong.
    SignatureNotMatch,
    /// Instance protocol: the client key is not valid yet, or no more.
    OutOfValidity(String),
    /// OpenAPI: an operation of the API that is not served here.
    UnservedAction(String),
    /// OpenAPI: there is no such operation.
    UnknownAction(String),
    /// OpenAPI: another version.
    UnknownVersion { is: String, served: &'static str },
    /// OpenAPI: neither GET nor POST.
    Method,
    /// OpenAPI: not signed, or in a way that is not served.
    SignatureMethod(String),
    /// OpenAPI: there is no such AccessKey.
    UnknownAccessKey(String),
    /// OpenAPI: the AccessKey is disabled.
    InactiveAccessKey(String),
    /// OpenAPI: the AccessKey is of a session, whose token is not there.
    MissingSecurityToken,
    /// OpenAPI: the token of a session does not open.
    SecurityToken(Unopened),
    /// OpenAPI: the session has ended, then.
    ExpiredSecurityToken(String),
    /// OpenAPI: the signature is wrong; our string to sign.
    SignatureDoesNotMatch(String),
    /// OpenAPI: the date is malformed, or off by more than 15 minutes.
    IllegalTimestamp,
    /// OpenAPI: the nonce was used.
    NonceUsed,
    /// OpenAPI: too many requests to remember their nonces.
    TooManyNonces,
    /// More requests than the limit of the endpoint; how long until the next is served.
    Throttled(Duration),
    /// OpenAPI: nobody can be looked up, so that no credential is judged.
    Unjudged,
    /// The same in the instance protocol, whose clients repeat another code.
    UnjudgedAtInstance,
    /// OpenAPI: an operation that an instance endpoint does not serve.
    AtSharedGateway(&'static str),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        // The string to sign holds all parameters of a request.
        let told = matches!(refusal, Refusal::SignatureDoesNotMatch(_)).then_some("The signature does not match the request.");
        let retry_after = if let Refusal::Throttled(wait) = &refusal { Some(*wait) } else { None };
        let (status, code, message) = match refusal {
            Refusal::BodyTooLarge(limit) => {
                (StatusCode::PAYLOAD_TOO_LARGE, "InvalidParameter", format!("The body has at most {limit} bytes."))
            }
            Refusal::BodyBrokenOff => (StatusCode::BAD_REQUEST, "InvalidParameter", "The body did not arrive whole.".to_owned()),
            Refusal::NotServed => {
                (StatusCode::NOT_FOUND, "InvalidParameter", "The only path here is /, by the methods of the protocol.".to_owned())
            }
            Refusal::Path => (StatusCode::BAD_REQUEST, "InvalidParameter", "The only path here is /.".to_owned()),
            Refusal::ContentType(is) => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "InvalidContentType", format!("Content-Type \"{is}\" is unsupported."))
            }
            Refusal::ApiVersion(is) => {
                (StatusCode::BAD_REQUEST, "InvalidApiVersion", format!("The ApiVersion \"{is}\" is invalid."))
            }
            Refusal::ApiName(is) => (StatusCode::BAD_REQUEST, "InvalidApiName", format!("The ApiName \"{is}\" is invalid.")),
            Refusal::Missing(name) => (StatusCode::BAD_REQUEST, "MissingParameter", format!("The parameter {name} is missing.")),
            Refusal::Contradictory(name) => (
                StatusCode::BAD_REQUEST,
                "InvalidParameter",
                format!("The parameter {name} says one thing, and the header that stands for it another."),
            ),
            Refusal::Unusable(name) => (StatusCode::BAD_REQUEST, "InvalidParam", format!("The Param {name} is invalid.")),
            Refusal::Malformed(message) => (StatusCode::BAD_REQUEST, "InvalidParameter", message),
            Refusal::Skewed => (
                StatusCode::BAD_REQUEST,
                "RequestTimeTooSkewed",
                "The difference between the request's date and the current time is more than 15 minutes.".to_owned(),
            ),
            Refusal::UnknownClientKey(id) => (StatusCode::NOT_FOUND, "Unauthorized", format!("The client key {id} is not known.")),
            Refusal::SignatureNotMatch => (
                StatusCode::UNAUTHORIZED,
                "SignatureNotMatch",
                "The signature does not match the request and the client key.".to_owned(),
            ),
            Refusal::OutOfValidity(message) => (StatusCode::FORBIDDEN, "Forbidden.NoPermission", message),
            Refusal::UnservedAction(action) => {
                (StatusCode::BAD_REQUEST, "UnsupportedOperation", format!("The operation {action} is not served by this version."))
            }
            Refusal::UnknownAction(action) => {
                (StatusCode::BAD_REQUEST, "InvalidAction.NotFound", format!("The operation \"{action}\" is not served here."))
            }
            Refusal::UnknownVersion { is, served } => {
                (StatusCode::BAD_REQUEST, "InvalidVersion", format!("The version \"{is}\" is not served; {served} is."))
            }
            Refusal::Method => (StatusCode::FORBIDDEN, "UnsupportedHTTPMethod", "Requests are GET or POST.".to_owned()),
            Refusal::SignatureMethod(is) => (
                StatusCode::BAD_REQUEST,
                "IncompleteSignature",
                format!(
                    "The request is signed by {is}; ACS3-HMAC-SHA256, ACS4-HMAC-SHA256, RPC HMAC-SHA1 and RPC HMAC-SHA256 are served."
                ),
            ),
            Refusal::UnknownAccessKey(id) => {
                (StatusCode::FORBIDDEN, "InvalidAccessKeyId.NotFound", format!("The AccessKey \"{id}\" is not known."))
            }
            Refusal::InactiveAccessKey(id) => (
                StatusCode::FORBIDDEN,
                "Forbidden.AccessKey",
                format!("The AccessKey {id} is disabled: `keystead operator access-key enable` lets it be used again."),
            ),
            Refusal::MissingSecurityToken => (
                StatusCode::BAD_REQUEST,
                "MissingSecurityToken",
                "The AccessKey is of a session: its SecurityToken belongs to the request.".to_owned(),
            ),
            Refusal::SecurityToken(Unopened::Malformed) => {
                (StatusCode::BAD_REQUEST, "InvalidSecurityToken.Malformed", "The SecurityToken is malformed.".to_owned())
            }
            Refusal::SecurityToken(Unopened::Foreign) => (
                StatusCode::BAD_REQUEST,
                "InvalidSecurityToken.MismatchWithAccessKey",
                "The SecurityToken is not that of the AccessKey, or was changed.".to_owned(),
            ),
            Refusal::ExpiredSecurityToken(when) => (
                StatusCode::BAD_REQUEST,
                "InvalidSecurityToken.Expired",
                format!("The SecurityToken expired at {when}: assume the role again."),
            ),
            // One SDK splits this text at the colon and takes the second part.
            Refusal::SignatureDoesNotMatch(ours) => (
                StatusCode::BAD_REQUEST,
                "SignatureDoesNotMatch",
                format!("Specified signature is not matched with our calculation. server string to sign is:{ours}"),
            ),
            Refusal::IllegalTimestamp => (
                StatusCode::BAD_REQUEST,
                "IllegalTimestamp",
                "The request's date is not of the form yyyy-MM-ddTHH:mm:ssZ, or more than 15 minutes off.".to_owned(),
            ),
            Refusal::NonceUsed => {
                (StatusCode::BAD_REQUEST, "SignatureNonceUsed", "The nonce of the request was used already.".to_owned())
            }
            Refusal::TooManyNonces | Refusal::Throttled(_) => {
                (StatusCode::TOO_MANY_REQUESTS, "Rejected.Throttling", "QPS Limit Exceeded".to_owned())
            }
            Refusal::Unjudged => (StatusCode::SERVICE_UNAVAILABLE, of_kind(Kind::Unavailable).1, UNJUDGED.to_owned()),
            Refusal::UnjudgedAtInstance => (StatusCode::TOO_MANY_REQUESTS, of_kind(Kind::Throttled).1, UNJUDGED.to_owned()),
            Refusal::AtSharedGateway(operation) => (
                StatusCode::BAD_REQUEST,
                "UnsupportedOperation",
                format!(
                    "The operation {operation} is served at the shared gateway; this endpoint serves the cryptography of its instance."
                ),
            ),
        };
        Self { status, code, message, causes: String::new(), told, retry_after }
    }
}

impl Refusal {
    pub(super) fn unread(unread: Unread, limit: usize) -> Self {
        match unread {
            Unread::TooLarge => Self::BodyTooLarge(limit),
            Unread::BrokenOff => Self::BodyBrokenOff,
        }
    }
}

/// A success of the instance protocol.
pub(super) fn instance_success(body: Vec<u8>, version: Option<&str>) -> Response<Body> {
    let mut response = Response::new(Body::new(Bytes::from(body)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(instance_protocol::CONTENT_TYPE));
    if let Some(version) = version.and_then(|version| HeaderValue::from_str(version).ok()) {
        headers.insert(instance_protocol::KEY_VERSION_HEADER, version);
    }
    response
}

/// A failure of the instance protocol.
pub(super) fn instance_failure(failure: &Failure, request_id: &str) -> Response<Body> {
    let message = ErrorMessage {
        status_code: i32::from(failure.status.as_u16()),
        error_code: failure.code.to_owned(),
        error_message: failure.message.clone(),
        request_id: request_id.to_owned(),
    };
    let mut response = instance_success(message.encode_to_vec(), None);
    *response.status_mut() = failure.status;
    response
}

/// An answer of the OpenAPI, given as JSON, under the root element that it has in XML.
fn openapi(root: &str, json: Vec<u8>, format: Format) -> Result<Response<Body>, Error> {
    let (body, content_type) = match format {
        Format::Json => (json, "application/json;charset=utf-8"),
        Format::Xml => (xml::from_json(root, &json)?, "text/xml;charset=utf-8"),
    };
    let mut response = Response::new(Body::new(Bytes::from(body)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    Ok(response)
}

/// A success of the OpenAPI, with the root element that it has in XML.
pub(super) fn openapi_success(root: &str, json: Vec<u8>, format: Format) -> Result<Response<Body>, Failure> {
    Ok(openapi(root, json, format)?)
}

/// A failure of the OpenAPI, whatever the status.
pub(super) fn openapi_failure(failure: &Failure, format: Format, request_id: &str, host: &str) -> Response<Body> {
    let answer = ErrorAnswer {
        request_id,
        host_id: host,
        code: failure.code,
        message: &failure.message,
        http_status: failure.status.as_u16(),
    };
    let json = || serde_json::to_vec(&answer).unwrap_or_default();
    let written = openapi("Error", json(), format).or_else(|_| openapi("Error", json(), Format::Json));
    let mut response = written.unwrap_or_default();
    *response.status_mut() = failure.status;
    if let Some(wait) = failure.retry_after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait.as_nanos().div_ceil(1_000_000) as u64));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Retry;

    const KINDS: &[Kind] = &[
        Kind::InvalidParameter,
        Kind::MissingParameter,
        Kind::UnsupportedOperation,
        Kind::UnsupportedByKey,
        Kind::InvalidTagKey,
        Kind::InvalidTagValue,
        Kind::DuplicateTagKey,
        Kind::Undecryptable,
        Kind::KeyNotFound,
        Kind::KeyVersionNotFound,
        Kind::AliasNotFound,
        Kind::ResourceNotFound,
        Kind::ResourceIdNotFound,
        Kind::InstanceNotFound,
        Kind::OnlySymmetricKeySupported,
        Kind::ResourceExists,
        Kind::AliasExists,
        Kind::StateForbids,
        Kind::UnsupportedOrigin,
        Kind::UnsupportedProtectionLevel,
        Kind::InvalidKeyMaterial,
        Kind::InvalidImportToken,
        Kind::ExpiredImportToken,
        Kind::InvalidOidcToken,
        Kind::ExpiredOidcToken,
        Kind::LimitExceeded,
        Kind::KeyDisabled,
        Kind::KeyPendingDeletion,
        Kind::KeyPendingImport,
        Kind::NoPermission,
        Kind::Throttled,
        Kind::Unavailable,
        Kind::Internal,
    ];

    /// The SDKs repeat a request on exactly these codes.
    #[test]
    fn what_may_be_repeated_has_a_code_that_the_clients_repeat() {
        let repeated = ["Rejected.Throttling", "ServiceUnavailableTemporary", "InternalFailure"];
        for kind in KINDS {
            let (status, code) = of_kind(*kind);
            assert!(status.is_client_error() || status.is_server_error());
            assert_eq!(repeated.contains(&code), kind.retry() == Retry::Later, "{kind:?}");
        }
    }

    /// Programs take it for "gone".
    #[test]
    fn a_404_is_said_of_what_a_call_names_alone() {
        let gone: Vec<_> = KINDS.iter().copied().filter(|kind| of_kind(*kind).0 == StatusCode::NOT_FOUND).collect();
        let objects =
            [Kind::KeyNotFound, Kind::KeyVersionNotFound, Kind::AliasNotFound, Kind::ResourceNotFound, Kind::ResourceIdNotFound];
        // The Advance operations of the instance protocol, which has its own words.
        assert_eq!(gone, [&objects[..], &[Kind::OnlySymmetricKeySupported]].concat());
        for refusal in [
            Refusal::UnknownAccessKey("a".to_owned()),
            Refusal::UnknownAction("a".to_owned()),
            Refusal::UnservedAction("a".to_owned()),
            Refusal::Path,
            Refusal::SecurityToken(Unopened::Foreign),
        ] {
            assert_ne!(Failure::from(refusal).status, StatusCode::NOT_FOUND);
        }
    }

    #[test]
    fn a_failed_decryption_looks_like_a_wrong_value() {
        assert_eq!(of_kind(Kind::Undecryptable), of_kind(Kind::InvalidParameter));
    }

    #[test]
    fn the_text_of_a_wrong_signature_has_one_colon_before_the_string() {
        let failure = Failure::from(Refusal::SignatureDoesNotMatch("POST&%2F&".into()));
        assert_eq!(failure.message.split(':').nth(1), Some("POST&%2F&"));
    }
}
