//! Tokens of OIDC providers (ID tokens of OpenID Connect Core 1.0, section 2; JWTs, RFC 7519): verified, and what they say of their bearer.
//!
//! The signature comes first: whoever does not have a token that the provider signed learns nothing, not even whether there is such a
//! provider. The time is ours and an argument; the crate that reads the token does not look at its claims.

use std::time::Duration;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::{KeySet, OidcProvider};
use crate::base::date::to_iso;
use crate::base::json::{Object, complaint};
use crate::base::{Error, Kind, Result, Timestamp, excerpt};
use crate::model::Name;

/// The most bytes of a token (the API's).
pub const TOKEN: usize = 20_000;
/// The most characters of a subject: OpenID Connect has 255, and a service account of Kubernetes has its namespace and its name in it.
const SUBJECT: usize = 512;
/// How far the clock of a provider may be ahead of ours.
const AHEAD: Duration = Duration::from_secs(60);
/// 9999-12-31T23:59:59Z, after which dates have another form.
const LAST: f64 = 253_402_300_799.0;

/// Whom the token of a provider names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FederatedIdentity {
    /// The provider.
    pub provider: Name,
    /// Its issuer.
    pub issuer: String,
    /// Who, in the provider's words: `system:serviceaccount:<namespace>:<name>` of Kubernetes.
    pub subject: String,
    /// For whom the token is: at least one of the provider's client ids.
    pub audiences: Vec<String>,
    /// When it was issued.
    pub issued: Timestamp,
    /// Until when it is good.
    pub expires: Timestamp,
}

impl FederatedIdentity {
    /// The ARN of the provider.
    pub fn provider_arn(&self) -> String {
        super::arn_of(&self.provider)
    }
}

/// What whoever has no token that the provider signed is told, whether there is such a provider or not. `why` is for the log.
pub fn not_signed(provider: &str, why: &'static str) -> Error {
    let text = format!("There is no OIDC provider {:?}, or it did not sign the OIDCToken.", excerpt(provider));
    Error::new(Kind::InvalidOidcToken, text).caused_by(why)
}

impl OidcProvider {
    /// Whom a token names, if it is of this provider, for one of its client ids, and good at this time.
    ///
    /// # Errors
    /// [`Kind::InvalidOidcToken`], [`Kind::ExpiredOidcToken`].
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<FederatedIdentity> {
        let claims = self.keys.claims(token).map_err(|unread| match unread {
            Unread::NotSigned(why) => not_signed(&self.arn(), why),
            Unread::Malformed(complaint) => invalid(format!("The claims of the OIDCToken are not understood: {complaint}.")),
        })?;
        if claims.iss != self.issuer.as_str() {
            let (is, expected) = (excerpt(&claims.iss), &self.issuer);
            return Err(invalid(format!("The OIDCToken is of the issuer {is:?}, and not of {expected}.")));
        }
        let audiences = claims.aud.list();
        if !audiences.iter().any(|audience| self.client_ids.has(audience)) {
            let first = excerpt(audiences.first().map_or("", String::as_str));
            let text = format!("The OIDCToken is for {first:?}: no aud of it is a client id of the OIDC provider {}.", self.name);
            return Err(invalid(text));
        }
        if claims.sub.is_empty() || claims.sub.chars().count() > SUBJECT || claims.sub.chars().any(char::is_control) {
            return Err(invalid(format!("The sub of an OIDCToken has between 1 and {SUBJECT} characters that can be printed.")));
        }
        let (NumericDate(issued), NumericDate(expires)) = (claims.iat, claims.exp);
        let begins = claims.nbf.map_or(issued, |NumericDate(nbf)| issued.max(nbf));
        if expires <= now {
            return Err(expired(format!("The OIDCToken expired at {}: take a new one.", to_iso(expires))));
        }
        if begins > now.after(AHEAD) {
            let (begins, now) = (to_iso(begins), to_iso(now));
            return Err(invalid(format!("The OIDCToken is good from {begins} on; here it is {now}.")));
        }
        if issued.after(self.issuance_limit) <= now {
            let (issued, hours) = (to_iso(issued), self.issuance_limit.as_secs() / 3600);
            let text = format!(
                "The OIDCToken was issued at {issued}, and the OIDC provider {} has it good for {hours} hours: take a new one.",
                self.name
            );
            return Err(expired(text));
        }
        let (provider, issuer, subject) = (self.name.clone(), claims.iss, claims.sub);
        Ok(FederatedIdentity { provider, issuer, subject, audiences, issued, expires })
    }
}

fn invalid(text: String) -> Error {
    Error::new(Kind::InvalidOidcToken, text)
}

fn expired(text: String) -> Error {
    Error::new(Kind::ExpiredOidcToken, text)
}

/// Why a token has no claims for us.
enum Unread {
    /// No key of the set signed it.
    NotSigned(&'static str),
    /// One did, and what it signed is malformed.
    Malformed(String),
}

impl KeySet {
    /// What a token claims that one of the keys signed.
    fn claims(&self, token: &str) -> Result<Claims, Unread> {
        if token.len() > TOKEN {
            return Err(Unread::NotSigned("it is longer than a token may be"));
        }
        // Neither `none` nor an algorithm that is not known parses.
        let header = decode_header(token).map_err(|_| Unread::NotSigned("it is no JWT, or its alg is not known"))?;
        // What must be understood (RFC 7515, section 4.1.11) is not.
        if header.crit.is_some() {
            return Err(Unread::NotSigned("it has critical headers"));
        }
        let key = self.key(header.kid.as_deref()).ok_or(Unread::NotSigned("there is no key of its kid in the key set"))?;
        // The key says what it verifies by, and never the token: a shared secret is none of it.
        if !key.is_for(header.alg) {
            return Err(Unread::NotSigned("its key is not for its alg"));
        }
        let mut validation = Validation::new(header.alg);
        validation.required_spec_claims.clear();
        (validation.validate_exp, validation.validate_nbf, validation.validate_aud) = (false, false, false);
        match decode::<Object<Claims>>(token, &key.key, &validation) {
            Ok(data) => Ok(data.claims.0),
            Err(error) => Err(match error.kind() {
                // The header was read already, and claims are read when the signature is found right.
                ErrorKind::Json(error) => Unread::Malformed(complaint(error)),
                _ => Unread::NotSigned("its signature is wrong"),
            }),
        }
    }
}

/// What a token says; what else it says means nothing to us.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: NumericDate,
    iat: NumericDate,
    nbf: Option<NumericDate>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Audience {
    fn list(self) -> Vec<String> {
        match self {
            Self::One(audience) => vec![audience],
            Self::Several(audiences) => audiences,
        }
    }
}

/// Seconds since 1970, perhaps with a fraction (RFC 7519, section 2), which is dropped.
struct NumericDate(Timestamp);

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let seconds = f64::deserialize(deserializer)?;
        if !(0.0..=LAST).contains(&seconds) {
            return Err(D::Error::custom("a date that is none"));
        }
        #[expect(clippy::cast_possible_truncation, reason = "it is in range, and whole seconds are meant")]
        Ok(Self(Timestamp::from_unix(seconds as i64)))
    }
}
