//! The operations of both protocols without HTTP, TLS and signatures, for callers in the same process that vouch for who is calling,
//! and what comes before TLS: for the fuzz targets (tests/fuzz).

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::AsyncRead;

use super::client_address;
use super::instance_gateway::request_id;
use super::instance_operations;
use super::openapi::Call;
use super::respond::Failure;
use crate::model::KeyVersionId;
use crate::model::proxies::Proxies;
use crate::service::Kms;
use crate::service::requests::{Caller, Operator};
use crate::wire::instance_protocol::Operation;
use crate::wire::openapi::{Action, Parameters};
use crate::wire::sts;

/// What the caller of an operation that failed is told.
#[derive(Debug)]
pub struct Failed {
    /// The API's code.
    pub code: &'static str,
    /// The text with it.
    pub message: String,
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self { code: failure.code, message: failure.message }
    }
}

/// Serves an operation of the OpenAPI: parameters in, JSON out.
///
/// # Errors
/// Whatever the operation refuses.
pub async fn openapi(kms: &Arc<Kms>, operator: &Operator, action: Action, parameters: &Parameters) -> Result<Vec<u8>, Failed> {
    let request_id = &request_id();
    Ok(Call { kms, operator, parameters, request_id }.answer(action).await?)
}

/// Serves an operation of the Security Token Service: parameters in, JSON out.
///
/// # Errors
/// Whatever the operation refuses.
pub fn sts(kms: &Kms, operator: &Operator, action: sts::Action, parameters: &Parameters) -> Result<Vec<u8>, Failed> {
    Ok(super::sts::Call { kms, operator, parameters, request_id: &request_id() }.answer(action)?)
}

/// Serves an operation of the instance protocol: protobuf in, protobuf out. `version` is what a transfer client names in its header.
///
/// # Errors
/// Whatever the operation refuses.
pub async fn instance(
    kms: &Kms,
    caller: &Caller,
    operation: Operation,
    version: Option<KeyVersionId>,
    body: &[u8],
) -> Result<Vec<u8>, Failed> {
    Ok(instance_operations::serve((kms, None), caller, operation, version, body, &request_id(), &mut None).await?.body)
}

/// Who is at the other end of a connection from `peer`: reads what a proxy says of it, and not a byte more. `None` when a proxy does not
/// say it.
pub async fn client_of_connection(
    proxies: &Proxies,
    stream: &mut (impl AsyncRead + Unpin),
    peer: SocketAddr,
) -> Option<SocketAddr> {
    client_address::of_connection(proxies, stream, peer).await
}
