//! The OpenAPI's signatures: ACS3-HMAC-SHA256 and ACS4-HMAC-SHA256 in headers, RPC HMAC-SHA1 and HMAC-SHA256 in parameters.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::AUTHORIZATION;
use hyper::http::request::Parts;

use super::WINDOW;
use crate::base::{SecretBytes, Timestamp, excerpt};
use crate::model::AccessKeyId;
use crate::model::operator::AccessKeyState;
use crate::model::session::Session;
use crate::server::nonces::{Nonces, Novelty, Owner};
use crate::server::respond::Refusal;
use crate::service::requests::{Operator, Reach};
use crate::service::{Kms, KnownAccessKey, TemporaryCredentials, Trace, Unopened};
use crate::wire::openapi::{Action, Effect, Parameters, UNSERVED, VERSION};
use crate::wire::signing::{self, Acs, Acs4Scope, AcsScheme, Authorization, RpcMethod};
use crate::wire::{date, sts};

/// How long a nonce is remembered: a request dated at the far end of the window is good until the window has passed it twice.
const KEEP: Duration = WINDOW.saturating_mul(2);

/// What holds the token of a session: a parameter, or in ACS3 and ACS4 a header.
const TOKEN: &str = "SecurityToken";
const TOKEN_HEADER: &str = "x-acs-security-token";

/// A request with what its signature covers.
pub(in crate::server) struct Signed<'a> {
    /// Method and headers.
    pub(in crate::server) request: &'a Parts,
    /// The query, decoded.
    pub(in crate::server) query: &'a Parameters,
    /// Query and form body, decoded.
    pub(in crate::server) all: &'a Parameters,
    /// The body.
    pub(in crate::server) body: &'a [u8],
}

/// What requests are signed with.
enum Credential {
    AccessKey(Arc<KnownAccessKey>),
    Temporary(TemporaryCredentials),
}

/// Who signed a request, and what it says of itself.
pub(in crate::server) struct Signer<'a> {
    operation: &'a str,
    nonce: &'a str,
    access_key: AccessKeyId,
    session: Option<Arc<Session>>,
}

impl Credential {
    /// The AccessKey of this id; that of a session comes with its token.
    fn find(kms: &Kms, id: &str, token: Option<&str>) -> Result<Self, Refusal> {
        // First, for sessions, too: their roles are looked up by the use cases.
        let known = kms.access_key(id).map_err(|_| Refusal::Unjudged)?;
        match (id.starts_with(AccessKeyId::OF_SESSIONS), token) {
            (true, Some(token)) => kms.session(id, token).map(Self::Temporary).map_err(Refusal::SecurityToken),
            (true, None) => Err(Refusal::MissingSecurityToken),
            (false, Some(_)) => Err(Refusal::SecurityToken(Unopened::Foreign)),
            (false, None) => known.map(Self::AccessKey).ok_or_else(|| Refusal::UnknownAccessKey(excerpt(id).to_owned())),
        }
    }

    fn secret(&self) -> &SecretBytes {
        match self {
            Self::AccessKey(known) => &known.secret,
            Self::Temporary(temporary) => &temporary.secret,
        }
    }

    /// Who it is, if it may be used now: told to nobody but the holder of the secret.
    fn usable(self, now: Timestamp) -> Result<(AccessKeyId, Option<Arc<Session>>), Refusal> {
        match self {
            Self::AccessKey(known) => match known.info.state {
                AccessKeyState::Active => Ok((known.info.id.clone(), None)),
                AccessKeyState::Inactive => Err(Refusal::InactiveAccessKey(known.info.id.to_string())),
            },
            Self::Temporary(TemporaryCredentials { session, .. }) if session.expires <= now => {
                Err(Refusal::ExpiredSecurityToken(date::to_iso(session.expires)))
            }
            Self::Temporary(TemporaryCredentials { id, session, .. }) => Ok((id, Some(session))),
        }
    }
}

/// The header as text; one that is given twice is none.
pub(super) fn header<'a>(request: &'a Parts, name: &str) -> Option<&'a str> {
    let mut values = request.headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok().map(str::trim),
        (None | Some(_), _) => None,
    }
}

impl Signed<'_> {
    /// Checks everything that comes before a use case of the KMS. The nonce was not used, and is not taken yet: first the request
    /// must be one that is served now.
    pub(in crate::server) fn check(&self, kms: &Kms, nonces: &Nonces, reach: &Reach) -> Result<(Action, Signer<'_>), Refusal> {
        let signer = self.signer(kms, VERSION)?;
        // Which operations there are is told to who may call one.
        let action: Action = signer.named(UNSERVED)?;
        match reach {
            Reach::Instance(_) if !action.is_at_instances() => return Err(Refusal::AtSharedGateway(action.name())),
            Reach::Instance(_) | Reach::Everything => {}
        }
        signer.is_new(nonces, kms.now())?;
        Ok((action, signer))
    }

    /// The same for the Security Token Service.
    pub(in crate::server) fn check_sts(&self, kms: &Kms, nonces: &Nonces) -> Result<(sts::Action, Signer<'_>), Refusal> {
        let signer = self.signer(kms, sts::VERSION)?;
        let action: sts::Action = signer.named(sts::UNSERVED)?;
        signer.is_new(nonces, kms.now())?;
        Ok((action, signer))
    }

    /// Who signed the request, which is of this version of an API.
    fn signer(&self, kms: &Kms, served: &'static str) -> Result<Signer<'_>, Refusal> {
        let authorization = header(self.request, AUTHORIZATION.as_str());
        let operation = self.named(authorization, "Action", "x-acs-action")?;
        let version = self.named(authorization, "Version", "x-acs-version")?;
        if version != served {
            return Err(Refusal::UnknownVersion { is: excerpt(version).to_owned(), served });
        }
        let (credential, nonce) = match authorization {
            Some(authorization) => self.check_acs(kms, authorization)?,
            None => self.check_rpc(kms)?,
        };
        let (access_key, session) = credential.usable(kms.now())?;
        Ok(Signer { operation, nonce, access_key, session })
    }

    /// What a parameter says; in ACS3 and ACS4, which sign headers, a header may say it instead. RPC clients send the headers, too, but do
    /// not sign them: there they mean nothing.
    fn named(&self, authorization: Option<&str>, parameter: &'static str, in_header: &str) -> Result<&str, Refusal> {
        authorization
            .map_or_else(|| Ok(self.all.optional(parameter)), |_| self.said(parameter, in_header))?
            .ok_or(Refusal::Missing(parameter))
    }

    /// What a parameter says, or a header. Whoever says two things is not understood as one of them.
    pub(super) fn said(&self, parameter: &'static str, in_header: &str) -> Result<Option<&str>, Refusal> {
        match (self.all.optional(parameter), header(self.request, in_header)) {
            (Some(said), Some(other)) if said != other => Err(Refusal::Contradictory(parameter)),
            (Some(said), _) | (None, Some(said)) => Ok(Some(said)),
            (None, None) => Ok(None),
        }
    }

    /// The AccessKey that signed in the headers, and the nonce.
    fn check_acs(&self, kms: &Kms, authorization: &str) -> Result<(Credential, &str), Refusal> {
        let scheme = || excerpt(authorization.split(' ').next().unwrap_or_default()).to_owned();
        let parsed = Authorization::parse(authorization).ok_or_else(|| Refusal::SignatureMethod(scheme()))?;
        let date = header(self.request, "x-acs-date").ok_or(Refusal::Missing("x-acs-date"))?;
        let nonce = header(self.request, "x-acs-signature-nonce").ok_or(Refusal::Missing("x-acs-signature-nonce"))?;
        let hash = header(self.request, "x-acs-content-sha256").ok_or(Refusal::Missing("x-acs-content-sha256"))?;
        check_date(date, kms.now())?;
        let token = self.said(TOKEN, TOKEN_HEADER)?;
        let credential = Credential::find(kms, parsed.credential, token)?;
        let mut headers = Vec::new();
        for name in &parsed.signed_headers {
            // A header that is named and not there, or there twice, cannot have been signed.
            let value =
                self.signed_header(name).ok_or_else(|| Refusal::SignatureDoesNotMatch(format!("(no single header {name})")))?;
            headers.push(((*name).to_owned(), value.to_owned()));
        }
        let signed = Acs {
            scheme: parsed.scheme,
            method: self.request.method.as_str(),
            query: self.query.pairs(),
            headers: &headers,
            content_sha256: hash,
        };
        // A derived key is good on its day alone.
        let in_scope = match parsed.scheme {
            AcsScheme::V3 => true,
            AcsScheme::V4(Acs4Scope { date: day, .. }) => date.get(..10).is_some_and(|date| date.replace('-', "") == day),
        };
        let covers = |name: &str| parsed.signed_headers.contains(&name);
        let complete = ["x-acs-action", "x-acs-version", "x-acs-date", "x-acs-signature-nonce", "x-acs-content-sha256", TOKEN_HEADER]
            .iter()
            .all(|name| covers(name) || header(self.request, name).is_none())
            // It says whether the body is parameters.
            && (self.body.is_empty() || covers("content-type"));
        if !complete
            || !in_scope
            || hash != signing::sha256_hex(self.body)
            || !signed.verifies(credential.secret(), parsed.signature)
        {
            return Err(Refusal::SignatureDoesNotMatch(signed.string_to_sign()));
        }
        Ok((credential, nonce))
    }

    /// HTTP/2 has the host in its pseudo-header (RFC 9113, section 8.3.1).
    fn signed_header(&self, name: &str) -> Option<&str> {
        let authority = || self.request.uri.authority().filter(|_| name == "host").map(|authority| authority.as_str());
        header(self.request, name).or_else(authority)
    }

    /// The AccessKey that signed in the parameters, and the nonce.
    fn check_rpc(&self, kms: &Kms) -> Result<(Credential, &str), Refusal> {
        let parameter = |name: &'static str| self.all.optional(name).ok_or(Refusal::Missing(name));
        let signature = parameter("Signature")?;
        let named = parameter("SignatureMethod")?;
        let version = self.all.optional("SignatureVersion") == Some("1.0");
        let method = RpcMethod::named(named).filter(|_| version);
        let method = method.ok_or_else(|| Refusal::SignatureMethod(excerpt(named).to_owned()))?;
        let (id, nonce) = (parameter("AccessKeyId")?, parameter("SignatureNonce")?);
        check_date(parameter("Timestamp")?, kms.now())?;
        let credential = Credential::find(kms, id, self.all.optional(TOKEN))?;
        let text = signing::rpc_string_to_sign(self.request.method.as_str(), self.all.pairs());
        if !signing::rpc_verifies(method, &text, credential.secret(), signature) {
            return Err(Refusal::SignatureDoesNotMatch(text));
        }
        Ok((credential, nonce))
    }
}

impl Signer<'_> {
    /// The operation, unless the API does not have it, or it is one of those that are not served.
    fn named<A: FromStr<Err = ()>>(&self, unserved: &[&str]) -> Result<A, Refusal> {
        self.operation.parse().map_err(|()| match unserved.contains(&self.operation) {
            true => Refusal::UnservedAction(self.operation.to_owned()),
            false => Refusal::UnknownAction(excerpt(self.operation).to_owned()),
        })
    }

    fn owner(&self) -> Owner<'_> {
        let access_key = self.access_key.as_str();
        Owner { access_key, share: self.session.as_ref().map_or(access_key, |session| session.role_id.as_str()) }
    }

    fn is_new(&self, nonces: &Nonces, now: Timestamp) -> Result<(), Refusal> {
        if nonces.is_used(self.owner(), self.nonce, now, KEEP) { Err(Refusal::NonceUsed) } else { Ok(()) }
    }

    /// Takes the nonce: from now on the request is good no more.
    pub(in crate::server) fn take_nonce(&self, nonces: &Nonces, effect: Effect, now: Timestamp) -> Result<(), Refusal> {
        match nonces.take(self.owner(), self.nonce, effect, now, KEEP) {
            Novelty::New => Ok(()),
            Novelty::Used => Err(Refusal::NonceUsed),
            Novelty::Full => Err(Refusal::TooManyNonces),
        }
    }

    /// The caller of a use case, which fills `trace`.
    pub(in crate::server) fn operator(&self, source: IpAddr, reach: Reach, trace: Arc<Trace>) -> Operator {
        Operator { access_key: self.access_key.clone(), session: self.session.clone(), source, reach, trace }
    }
}

fn check_date(text: &str, now: Timestamp) -> Result<(), Refusal> {
    match date::from_iso(text) {
        Some(sent) if sent.distance(now) <= WINDOW => Ok(()),
        Some(_) | None => Err(Refusal::IllegalTimestamp),
    }
}
