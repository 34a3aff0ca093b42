//! The OpenAPI's signatures: ACS3-HMAC-SHA256 and ACS4-HMAC-SHA256 in headers, RPC HMAC-SHA1 and HMAC-SHA256 in parameters.

use std::net::IpAddr;
use std::sync::Arc;

use hyper::header::AUTHORIZATION;
use hyper::http::request::Parts;

use super::WINDOW;
use crate::base::{Timestamp, excerpt};
use crate::model::operator::AccessKeyState;
use crate::server::nonces::{Nonces, Novelty};
use crate::server::respond::Refusal;
use crate::service::requests::{Operator, Reach};
use crate::service::{Kms, KnownAccessKey, Trace};
use crate::wire::date;
use crate::wire::openapi::{Action, Parameters, UNSERVED, VERSION};
use crate::wire::signing::{self, Acs, Acs4Scope, AcsScheme, Authorization, RpcMethod};

/// A request whose caller is known.
pub(in crate::server) struct Authenticated {
    /// What it wants.
    pub(in crate::server) action: Action,
    /// Who.
    pub(in crate::server) operator: Operator,
}

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
    /// The peer.
    pub(in crate::server) source: IpAddr,
    /// What the endpoint reaches.
    pub(in crate::server) reach: &'a Reach,
}

/// The header as text; one that is given twice is none.
fn header<'a>(request: &'a Parts, name: &str) -> Option<&'a str> {
    let mut values = request.headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok().map(str::trim),
        (None | Some(_), _) => None,
    }
}

impl Signed<'_> {
    /// Checks everything that comes before the use case, which fills `trace`.
    pub(in crate::server) fn check(&self, kms: &Kms, nonces: &Nonces, trace: Arc<Trace>) -> Result<Authenticated, Refusal> {
        let authorization = header(self.request, AUTHORIZATION.as_str());
        let name = self.named(authorization, "Action", "x-acs-action")?;
        let version = self.named(authorization, "Version", "x-acs-version")?;
        if version != VERSION {
            return Err(Refusal::UnknownVersion(excerpt(version).to_owned()));
        }
        let (access_key, nonce) = match authorization {
            Some(authorization) => self.check_acs(kms, authorization)?,
            None => self.check_rpc(kms)?,
        };
        // Told to nobody but the holder of the secret.
        let access_key = match access_key.info.state {
            AccessKeyState::Active => access_key.info.id.clone(),
            AccessKeyState::Inactive => return Err(Refusal::InactiveAccessKey(access_key.info.id.to_string())),
        };
        // Which operations there are is told to who may call one.
        let action: Action = name.parse().map_err(|()| match UNSERVED.contains(&name) {
            true => Refusal::UnservedAction(name.to_owned()),
            false => Refusal::UnknownAction(excerpt(name).to_owned()),
        })?;
        match self.reach {
            Reach::Instance(_) if !action.is_at_instances() => return Err(Refusal::AtSharedGateway(action.name())),
            Reach::Instance(_) | Reach::Everything => {}
        }
        // A request dated at the far end of the window is good until the window has passed it twice.
        match nonces.take(access_key.as_str(), nonce, action.effect(), kms.now(), 2 * WINDOW) {
            Novelty::New => {
                let operator = Operator { access_key, source: self.source, reach: self.reach.clone(), trace };
                Ok(Authenticated { action, operator })
            }
            Novelty::Used => Err(Refusal::NonceUsed),
            Novelty::Full => Err(Refusal::TooManyNonces),
        }
    }

    /// What a parameter says; in ACS3 and ACS4, which sign headers, a header may say it instead. RPC clients send the headers, too, but do
    /// not sign them: there they mean nothing.
    fn named(&self, authorization: Option<&str>, parameter: &'static str, in_header: &str) -> Result<&str, Refusal> {
        let named = self.all.optional(parameter).or_else(|| authorization.and_then(|_| header(self.request, in_header)));
        named.ok_or(Refusal::Missing(parameter))
    }

    /// The AccessKey that signed in the headers, and the nonce.
    fn check_acs(&self, kms: &Kms, authorization: &str) -> Result<(Arc<KnownAccessKey>, &str), Refusal> {
        let scheme = || excerpt(authorization.split(' ').next().unwrap_or_default()).to_owned();
        let parsed = Authorization::parse(authorization).ok_or_else(|| Refusal::SignatureMethod(scheme()))?;
        let date = header(self.request, "x-acs-date").ok_or(Refusal::Missing("x-acs-date"))?;
        let nonce = header(self.request, "x-acs-signature-nonce").ok_or(Refusal::Missing("x-acs-signature-nonce"))?;
        let hash = header(self.request, "x-acs-content-sha256").ok_or(Refusal::Missing("x-acs-content-sha256"))?;
        check_date(date, kms.now())?;
        let access_key = access_key(kms, parsed.credential)?;
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
        let complete = ["x-acs-action", "x-acs-version", "x-acs-date", "x-acs-signature-nonce", "x-acs-content-sha256"]
            .iter()
            .all(|name| covers(name) || header(self.request, name).is_none())
            // It says whether the body is parameters.
            && (self.body.is_empty() || covers("content-type"));
        if !complete
            || !in_scope
            || hash != signing::sha256_hex(self.body)
            || !signed.verifies(&access_key.secret, parsed.signature)
        {
            return Err(Refusal::SignatureDoesNotMatch(signed.string_to_sign()));
        }
        Ok((access_key, nonce))
    }

    /// HTTP/2 has the host in its pseudo-header (RFC 9113, section 8.3.1).
    fn signed_header(&self, name: &str) -> Option<&str> {
        let authority = || self.request.uri.authority().filter(|_| name == "host").map(|authority| authority.as_str());
        header(self.request, name).or_else(authority)
    }

    /// The AccessKey that signed in the parameters, and the nonce.
    fn check_rpc(&self, kms: &Kms) -> Result<(Arc<KnownAccessKey>, &str), Refusal> {
        let parameter = |name: &'static str| self.all.optional(name).ok_or(Refusal::Missing(name));
        let signature = parameter("Signature")?;
        let named = parameter("SignatureMethod")?;
        let version = self.all.optional("SignatureVersion") == Some("1.0");
        let method = RpcMethod::named(named).filter(|_| version);
        let method = method.ok_or_else(|| Refusal::SignatureMethod(excerpt(named).to_owned()))?;
        let (id, nonce) = (parameter("AccessKeyId")?, parameter("SignatureNonce")?);
        check_date(parameter("Timestamp")?, kms.now())?;
        let access_key = access_key(kms, id)?;
        let text = signing::rpc_string_to_sign(self.request.method.as_str(), self.all.pairs());
        if !signing::rpc_verifies(method, &text, &access_key.secret, signature) {
            return Err(Refusal::SignatureDoesNotMatch(text));
        }
        Ok((access_key, nonce))
    }
}

fn access_key(kms: &Kms, id: &str) -> Result<Arc<KnownAccessKey>, Refusal> {
    kms.access_key(id).ok_or_else(|| Refusal::UnknownAccessKey(excerpt(id).to_owned()))
}

fn check_date(text: &str, now: Timestamp) -> Result<(), Refusal> {
    match date::from_iso(text) {
        Some(sent) if sent.distance(now) <= WINDOW => Ok(()),
        Some(_) | None => Err(Refusal::IllegalTimestamp),
    }
}
