//! The OpenAPI's operation on the quotas of instances.

use super::Call;
use crate::base::{Error, Result, excerpt};
use crate::service::{QuotaResource, QuotaUse};
use crate::wire::openapi::answers::quotas::{QuotaInfo, QuotaInfosAnswer};

/// The API's ResourceTypes.
const TYPES: [&str; 4] = ["key", "secret", "qps", "vpc"];

pub(super) fn get_kms_instance_quota_infos(call: &Call<'_>) -> Result<Vec<u8>> {
    let wanted = call.parameters.optional("ResourceType");
    if let Some(wanted) = wanted.filter(|wanted| !TYPES.contains(wanted)) {
        let text = format!("The ResourceType {:?} is not known; it is key, secret, qps or vpc.", excerpt(wanted));
        return Err(Error::invalid(text));
    }
    let instance = call.parameters.required_as("KmsInstanceId")?;
    let infos = call.kms.instance_quotas(call.operator, &instance)?.into_iter().map(info);
    call.json(QuotaInfosAnswer {
        kms_instance_id: instance.to_string(),
        kms_instance_quota_infos: infos.filter(|info| wanted.is_none_or(|wanted| info.resource_type == wanted)).collect(),
    })
}

fn info(QuotaUse { resource, quota, used }: QuotaUse) -> QuotaInfo {
    let resource_type = match resource {
        QuotaResource::Key => "key",
        QuotaResource::Secret => "secret",
        QuotaResource::Qps => "qps",
        QuotaResource::Vpc => "vpc",
    };
    QuotaInfo { resource_quota: quota, resource_type, used_quantity: used }
}
