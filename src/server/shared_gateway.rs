//! The shared gateway: the OpenAPI over HTTPS, for operators.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::http::request::Parts;
use hyper::{Method, Request, Response};
use serde::Serialize;

use super::authenticate::openapi::{Authenticated, Signed};
use super::body::{self, Body};
use super::instance_gateway::request_id;
use super::metrics::{Counted, Metrics};
use super::nonces::Nonces;
use super::respond::{self, Failure, Refusal};
use super::{shared_access, shared_crypto, shared_key_life, shared_keys};
use crate::base::{Error, Result};
use crate::service::Kms;
use crate::service::requests::{Operator, Page};
use crate::wire::REGION;
use crate::wire::openapi::answers::{AccountStatusAnswer, Answer, Done, ListAnswer, RegionItem, Regions};
use crate::wire::openapi::{Action, BODY_LIMIT, Parameters};

/// Answers the OpenAPI.
pub(super) struct SharedGateway {
    kms: Arc<Kms>,
    metrics: Arc<Metrics>,
    /// Its name in the metrics.
    endpoint: Arc<str>,
    nonces: Nonces,
}

/// What a request turned out to be, as far as it came.
#[derive(Default)]
struct Known {
    action: Option<Action>,
    caller: Option<String>,
}

/// One request of a known operator.
pub(super) struct Call<'a> {
    pub(super) kms: &'a Arc<Kms>,
    pub(super) operator: &'a Operator,
    pub(super) parameters: &'a Parameters,
    request_id: &'a str,
}

impl SharedGateway {
    pub(super) fn new(kms: Arc<Kms>, metrics: Arc<Metrics>) -> Self {
        Self { kms, metrics, endpoint: "shared".into(), nonces: Nonces::default() }
    }

    /// Answers one request, and writes its line in the log.
    pub(super) async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        let begun = Instant::now();
        let request_id = request_id();
        let host = request.headers().get("host").and_then(|host| host.to_str().ok()).unwrap_or("kms").to_owned();
        let mut known = Known::default();
        let result = self.handle(request, peer, &request_id, &mut known).await;
        let took = begun.elapsed();
        let operation = known.action.map_or("-", Action::name);
        let code = result.as_ref().map_or_else(|failure| failure.code, |_| "OK");
        self.metrics.count(Counted { endpoint: Arc::clone(&self.endpoint), operation, code }, took);
        let causes = result.as_ref().err().map_or("", |failure| failure.causes.as_str());
        tracing::info!(
            request_id, operation, caller = known.caller.as_deref().unwrap_or("-"), source = %peer.ip(), code, causes,
            micros = took.as_micros() as u64, "request"
        );
        match result {
            Ok(json) => respond::openapi_success(json),
            Err(failure) => respond::openapi_failure(&failure, &request_id, &host),
        }
    }

    async fn handle(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        request_id: &str,
        known: &mut Known,
    ) -> Result<Vec<u8>, Failure> {
        if request.method() != Method::POST && request.method() != Method::GET {
            return Err(Refusal::Method.into());
        }
        // What is signed says `/`, whatever the path: another one was not signed.
        if request.uri().path() != "/" {
            return Err(Refusal::NotServed.into());
        }
        let (parts, body) = request.into_parts();
        let body = body::read(&parts.headers, body, BODY_LIMIT).await.map_err(|unread| Refusal::unread(unread, BODY_LIMIT))?;
        let query = Parameters::parse(parts.uri.query().unwrap_or_default().as_bytes())?;
        let all = query.clone().union(form(&parts, &body)?)?;
        let signed = Signed { request: &parts, query: &query, all: &all, body: &body, source: peer.ip() };
        let Authenticated { action, operator } = signed.check(&self.kms, &self.nonces)?;
        known.action = Some(action);
        known.caller = Some(operator.access_key.to_string());
        Ok(Call { kms: &self.kms, operator: &operator, parameters: &all, request_id }.serve(action).await?)
    }
}

/// The parameters of a form body.
fn form(parts: &Parts, body: &Bytes) -> Result<Parameters> {
    let form =
        parts.headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
    if form { Parameters::parse(body) } else { Ok(Parameters::default()) }
}

impl Call<'_> {
    /// Serves an operation: one arm, one function.
    async fn serve(&self, action: Action) -> Result<Vec<u8>> {
        match action {
            Action::CreateKey => shared_keys::create_key(self).await,
            Action::DescribeKey => shared_keys::describe_key(self),
            Action::ListKeys => shared_keys::list_keys(self),
            Action::EnableKey => shared_key_life::enable_key(self).await,
            Action::DisableKey => shared_key_life::disable_key(self).await,
            Action::ScheduleKeyDeletion => shared_key_life::schedule_key_deletion(self).await,
            Action::CancelKeyDeletion => shared_key_life::cancel_key_deletion(self).await,
            Action::SetDeletionProtection => shared_key_life::set_deletion_protection(self).await,
            Action::UpdateKeyDescription => shared_key_life::update_key_description(self).await,
            Action::CreateAlias => shared_key_life::create_alias(self).await,
            Action::UpdateAlias => shared_key_life::update_alias(self).await,
            Action::DeleteAlias => shared_key_life::delete_alias(self).await,
            Action::ListAliases => shared_key_life::list_aliases(self),
            Action::ListAliasesByKeyId => shared_key_life::list_aliases_by_key_id(self),
            Action::CreateKeyVersion => shared_crypto::create_key_version(self).await,
            Action::ListKeyVersions => shared_crypto::list_key_versions(self),
            Action::DescribeKeyVersion => shared_crypto::describe_key_version(self),
            Action::Encrypt => shared_crypto::encrypt(self).await,
            Action::Decrypt => shared_crypto::decrypt(self).await,
            Action::ReEncrypt => shared_crypto::re_encrypt(self).await,
            Action::GenerateDataKey => shared_crypto::generate_data_key(self).await,
            Action::GenerateDataKeyWithoutPlaintext => shared_crypto::generate_data_key_without_plaintext(self).await,
            Action::AsymmetricEncrypt => shared_crypto::asymmetric_encrypt(self).await,
            Action::AsymmetricDecrypt => shared_crypto::asymmetric_decrypt(self).await,
            Action::AsymmetricSign => shared_crypto::asymmetric_sign(self).await,
            Action::AsymmetricVerify => shared_crypto::asymmetric_verify(self).await,
            Action::GetPublicKey => shared_crypto::get_public_key(self).await,
            Action::ListKmsInstances => shared_keys::list_kms_instances(self),
            Action::GetKmsInstance => shared_keys::get_kms_instance(self),
            Action::GetDefaultKmsInstance => shared_keys::get_default_kms_instance(self),
            Action::OpenKmsService => self.json(Done {}),
            Action::DescribeAccountKmsStatus => self.json(AccountStatusAnswer { account_status: "Enabled" }),
            Action::DescribeRegions => self.json(Regions::new(vec![RegionItem { region_id: REGION.to_owned() }])),
            Action::CreateNetworkRule => shared_access::create_network_rule(self).await,
            Action::DescribeNetworkRule => shared_access::describe_network_rule(self),
            Action::ListNetworkRules => shared_access::list_network_rules(self),
            Action::UpdateNetworkRule => shared_access::update_network_rule(self).await,
            Action::DeleteNetworkRule => shared_access::delete_network_rule(self).await,
            Action::CreatePolicy => shared_access::create_policy(self).await,
            Action::DescribePolicy => shared_access::describe_policy(self),
            Action::ListPolicies => shared_access::list_policies(self),
            Action::UpdatePolicy => shared_access::update_policy(self).await,
            Action::DeletePolicy => shared_access::delete_policy(self).await,
            Action::CreateApplicationAccessPoint => shared_access::create_access_point(self).await,
            Action::DescribeApplicationAccessPoint => shared_access::describe_access_point(self),
            Action::ListApplicationAccessPoints => shared_access::list_access_points(self),
            Action::UpdateApplicationAccessPoint => shared_access::update_access_point(self).await,
            Action::DeleteApplicationAccessPoint => shared_access::delete_access_point(self).await,
            Action::CreateClientKey => shared_access::create_client_key(self).await,
            Action::GetClientKey => shared_access::get_client_key(self),
            Action::ListClientKeys => shared_access::list_client_keys(self),
            Action::DeleteClientKey => shared_access::delete_client_key(self).await,
        }
    }

    /// The answer as JSON, with the request's id.
    pub(super) fn json<T: Serialize>(&self, body: T) -> Result<Vec<u8>> {
        serde_json::to_vec(&Answer { request_id: self.request_id, body }).map_err(Error::internal)
    }

    /// The page that is asked for.
    pub(super) fn page(&self, default_size: u32) -> Result<Page> {
        let number = self.parameters.number("PageNumber", 1..=u32::MAX, 1)?;
        Ok(Page { number, size: self.parameters.number("PageSize", 1..=100, default_size)? })
    }

    /// A page of a list as JSON.
    pub(super) fn json_list<T: Serialize>(&self, items: T, page: Page, total: usize) -> Result<Vec<u8>> {
        self.json(ListAnswer { items, page_number: page.number, page_size: page.size, total_count: total })
    }
}
