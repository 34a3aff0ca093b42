//! The operations of the OpenAPI: from parameters to a use case, and from its outcome to JSON.
//!
//! Called by the gateway with an operator that it has authenticated. One function for each operation, in a file for each family.

mod access;
mod crypto;
mod import;
mod key_life;
mod key_policies;
mod keys;
mod permissions;
mod quotas;
mod rotation;
mod tags;

pub(super) use tags::RESOURCES;

use std::sync::Arc;

use serde::Serialize;

use super::respond::{self, Failure};
use crate::base::{Error, Result};
use crate::service::Kms;
use crate::service::requests::{Operator, Page};
use crate::wire::REGION;
use crate::wire::openapi::answers::{AccountStatusAnswer, Answer, Done, ListAnswer, RegionItem, Regions};
use crate::wire::openapi::{Action, CRYPTOGRAPHY, Parameters, refuse_unread_contexts, refuse_unread_selection};

/// One request of a known operator.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) kms: &'a Arc<Kms>,
    pub(super) operator: &'a Operator,
    pub(super) parameters: &'a Parameters,
    pub(super) request_id: &'a str,
}

/// Whether an operation is rehearsed: the parameter DryRun.
#[derive(Clone, Copy)]
enum Rehearsal {
    No,
    Yes,
}

impl Call<'_> {
    /// Serves an operation, or rehearses it: a rehearsal never succeeds, and its failure says how it ended.
    pub(super) async fn answer(&self, action: Action) -> Result<Vec<u8>, Failure> {
        match self.rehearsal(action)? {
            Rehearsal::No => Ok(self.serve(action).await?),
            // What these operations do leaves nothing behind.
            Rehearsal::Yes => Err(respond::rehearsed(self.serve(action).await)),
        }
    }

    fn rehearsal(&self, action: Action) -> Result<Rehearsal> {
        match self.parameters.switch("DryRun", Rehearsal::No, Rehearsal::Yes)?.unwrap_or(Rehearsal::No) {
            Rehearsal::Yes if !CRYPTOGRAPHY.contains(&action) => {
                Err(Error::unsupported(format!("The operation {} has no DryRun.", action.name())))
            }
            rehearsal @ (Rehearsal::Yes | Rehearsal::No) => Ok(rehearsal),
        }
    }

    /// Serves an operation, if the operator may.
    async fn serve(&self, action: Action) -> Result<Vec<u8>> {
        let parameters = permissions::check(self, action)?;
        Call { parameters: &parameters, ..*self }.permitted(action).await
    }

    /// One arm, one function.
    async fn permitted(&self, action: Action) -> Result<Vec<u8>> {
        refuse_unread_contexts(self.parameters, action)?;
        refuse_unread_selection(self.parameters, action)?;
        self.parameters.check_parts(action.read_in_parts())?;
        match action {
            Action::CreateKey => keys::create_key(self).await,
            Action::DescribeKey => keys::describe_key(self),
            Action::ListKeys => keys::list_keys(self),
            Action::EnableKey => key_life::enable_key(self).await,
            Action::DisableKey => key_life::disable_key(self).await,
            Action::ScheduleKeyDeletion => key_life::schedule_key_deletion(self).await,
            Action::CancelKeyDeletion => key_life::cancel_key_deletion(self).await,
            Action::SetDeletionProtection => key_life::set_deletion_protection(self).await,
            Action::UpdateKeyDescription => key_life::update_key_description(self).await,
            Action::CreateAlias => key_life::create_alias(self).await,
            Action::UpdateAlias => key_life::update_alias(self).await,
            Action::DeleteAlias => key_life::delete_alias(self).await,
            Action::ListAliases => key_life::list_aliases(self),
            Action::ListAliasesByKeyId => key_life::list_aliases_by_key_id(self),
            Action::TagResource => tags::tag_resource(self).await,
            Action::UntagResource => tags::untag_resource(self).await,
            Action::ListResourceTags => tags::list_resource_tags(self),
            Action::TagResources => tags::tag_resources(self).await,
            Action::UntagResources => tags::untag_resources(self).await,
            Action::ListTagResources => tags::list_tag_resources(self),
            Action::CreateKeyVersion => crypto::create_key_version(self).await,
            Action::ListKeyVersions => crypto::list_key_versions(self),
            Action::DescribeKeyVersion => crypto::describe_key_version(self),
            Action::UpdateRotationPolicy => rotation::update_rotation_policy(self).await,
            Action::GetParametersForImport => import::get_parameters_for_import(self).await,
            Action::ImportKeyMaterial => import::import_key_material(self).await,
            Action::DeleteKeyMaterial => import::delete_key_material(self).await,
            Action::Encrypt => crypto::encrypt(self).await,
            Action::Decrypt => crypto::decrypt(self).await,
            Action::ReEncrypt => crypto::re_encrypt(self).await,
            Action::GenerateDataKey => crypto::generate_data_key(self).await,
            Action::GenerateDataKeyWithoutPlaintext => crypto::generate_data_key_without_plaintext(self).await,
            Action::AsymmetricEncrypt => crypto::asymmetric_encrypt(self).await,
            Action::AsymmetricDecrypt => crypto::asymmetric_decrypt(self).await,
            Action::AsymmetricSign => crypto::asymmetric_sign(self).await,
            Action::AsymmetricVerify => crypto::asymmetric_verify(self).await,
            Action::GetPublicKey => crypto::get_public_key(self).await,
            Action::ExportDataKey => crypto::export_data_key(self).await,
            Action::GenerateAndExportDataKey => crypto::generate_and_export_data_key(self).await,
            Action::GenerateMac => crypto::generate_mac(self).await,
            Action::VerifyMac => crypto::verify_mac(self).await,
            Action::GetKeyPolicy => key_policies::get_key_policy(self),
            Action::SetKeyPolicy => key_policies::set_key_policy(self).await,
            Action::ListKmsInstances => keys::list_kms_instances(self),
            Action::GetKmsInstance => keys::get_kms_instance(self),
            Action::GetKmsInstanceQuotaInfos => quotas::get_kms_instance_quota_infos(self),
            Action::GetDefaultKmsInstance => keys::get_default_kms_instance(self),
            Action::OpenKmsService => self.json(Done {}),
            Action::DescribeAccountKmsStatus => self.json(AccountStatusAnswer { account_status: "Enabled" }),
            Action::DescribeRegions => self.json(Regions::new(vec![RegionItem { region_id: REGION.to_owned() }])),
            Action::CreateNetworkRule => access::create_network_rule(self).await,
            Action::DescribeNetworkRule => access::describe_network_rule(self),
            Action::ListNetworkRules => access::list_network_rules(self),
            Action::UpdateNetworkRule => access::update_network_rule(self).await,
            Action::DeleteNetworkRule => access::delete_network_rule(self).await,
            Action::CreatePolicy => access::create_policy(self).await,
            Action::DescribePolicy => access::describe_policy(self),
            Action::ListPolicies => access::list_policies(self),
            Action::UpdatePolicy => access::update_policy(self).await,
            Action::DeletePolicy => access::delete_policy(self).await,
            Action::CreateApplicationAccessPoint => access::create_access_point(self).await,
            Action::DescribeApplicationAccessPoint => access::describe_access_point(self),
            Action::ListApplicationAccessPoints => access::list_access_points(self),
            Action::UpdateApplicationAccessPoint => access::update_access_point(self).await,
            Action::DeleteApplicationAccessPoint => access::delete_access_point(self).await,
            Action::CreateClientKey => access::create_client_key(self).await,
            Action::GetClientKey => access::get_client_key(self),
            Action::ListClientKeys => access::list_client_keys(self),
            Action::DeleteClientKey => access::delete_client_key(self).await,
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
