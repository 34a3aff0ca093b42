//! Who calls, from where and to where.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::model::oidc::FederatedIdentity;
use crate::model::session::Session;
use crate::model::{AccessKeyId, ClientKeyId, InstanceId};
use crate::service::Trace;

/// A caller of an instance endpoint, known by its client key; what it may do is decided request by request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The instance whose endpoint it called.
    pub instance: InstanceId,
    /// Who.
    pub client_key: ClientKeyId,
    /// From where.
    pub source: IpAddr,
    /// What is found out about its request.
    pub trace: Arc<Trace>,
}

/// Which keys a request of the OpenAPI reaches: by the endpoint that it came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Those of all instances, at the shared gateway.
    Everything,
    /// Those of the instance whose endpoint it is.
    Instance(InstanceId),
}

/// An operator, known by an AccessKey.
#[derive(Clone, Debug)]
pub struct Operator {
    /// Who.
    pub access_key: AccessKeyId,
    /// The role that whoever it is has assumed; with it the AccessKey is of the session.
    pub session: Option<Arc<Session>>,
    /// From where.
    pub source: IpAddr,
    /// To where.
    pub reach: Reach,
    /// What is found out about its request.
    pub trace: Arc<Trace>,
}

/// Somebody whom the token of an OIDC provider names.
#[derive(Clone, Debug)]
pub struct FederatedCaller {
    /// Who, as the token says, which was verified.
    pub identity: FederatedIdentity,
    /// From where.
    pub source: IpAddr,
    /// What is found out about its request.
    pub trace: Arc<Trace>,
}

/// The AccessKey, or the role and the session: whom a person would know.
impl fmt::Display for Operator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.session {
            Some(session) => session.fmt(f),
            None => self.access_key.fmt(f),
        }
    }
}
