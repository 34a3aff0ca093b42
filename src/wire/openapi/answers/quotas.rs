//! The answer about the quotas of an instance.

use serde::Serialize;

/// GetKmsInstanceQuotaInfos.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct QuotaInfosAnswer {
    /// Whose.
    pub kms_instance_id: String,
    /// One of each resource.
    pub kms_instance_quota_infos: Vec<QuotaInfo>,
}

/// How much of something there may be, and is.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct QuotaInfo {
    /// Absent when nothing bounds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_quota: Option<u64>,
    /// `key`, `secret`, `qps` or `vpc`.
    pub resource_type: &'static str,
    /// How much there is; absent when that is not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used_quantity: Option<u64>,
}
