//! `[instance.quota]`, `[instance.limits]`, `[shared.limits]`, `[sts.limits]`: what an instance may hold, and how many requests a second
//! are served.

use std::num::NonZeroU32;

use serde::Deserialize;

use super::wrong;
use crate::base::Result;
use crate::model::InstanceId;
use crate::model::limits::{Group, Limits};
use crate::model::quota::KeyQuota;

#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct QuotaTable {
    keys: Option<u32>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InstanceLimitsTable {
    symmetric: Option<u32>,
    asymmetric: Option<u32>,
    other: Option<u32>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SharedLimitsTable {
    symmetric: Option<u32>,
    asymmetric: Option<u32>,
    create_key: Option<u32>,
    reads: Option<u32>,
    writes: Option<u32>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StsLimitsTable {
    reads: Option<u32>,
    writes: Option<u32>,
    tokens: Option<u32>,
}

/// Nothing is bounded that is not named.
pub(super) fn key_quota(table: Option<QuotaTable>, id: &InstanceId) -> Result<Option<KeyQuota>> {
    match table.and_then(|quota| quota.keys) {
        None => Ok(None),
        Some(keys) => KeyQuota::new(keys).map(Some).ok_or_else(|| wrong(format!("keys of the quota of {id} is at least 1."))),
    }
}

pub(super) fn instance_limits(table: Option<InstanceLimitsTable>) -> Result<Limits> {
    let Some(InstanceLimitsTable { symmetric, asymmetric, other }) = table else { return Ok(Limits::default()) };
    limits("instance", [(Group::Symmetric, symmetric), (Group::Asymmetric, asymmetric), (Group::Other, other)])
}

pub(super) fn shared_limits(table: Option<SharedLimitsTable>) -> Result<Limits> {
    let Some(SharedLimitsTable { symmetric, asymmetric, create_key, reads, writes }) = table else { return Ok(Limits::default()) };
    limits(
        "shared",
        [
            (Group::Symmetric, symmetric),
            (Group::Asymmetric, asymmetric),
            (Group::CreateKey, create_key),
            (Group::Reads, reads),
            (Group::Writes, writes),
        ],
    )
}

pub(super) fn sts_limits(table: Option<StsLimitsTable>) -> Result<Limits> {
    let Some(StsLimitsTable { reads, writes, tokens }) = table else { return Ok(Limits::default()) };
    limits("sts", [(Group::Reads, reads), (Group::Writes, writes), (Group::Tokens, tokens)])
}

fn limits<const N: usize>(of: &str, given: [(Group, Option<u32>); N]) -> Result<Limits> {
    let mut all = Vec::new();
    for (group, limit) in given {
        let Some(limit) = limit else { continue };
        let limit = NonZeroU32::new(limit).filter(|limit| limit.get() <= Limits::MOST);
        let refused = || wrong(format!("{} of [{of}.limits] is between 1 and {} requests a second.", group.name(), Limits::MOST));
        all.push((group, limit.ok_or_else(refused)?));
    }
    Ok(Limits::of(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_has_no_bound() {
        let id = InstanceId::from_entropy([1; 21]);
        let quota = |text: &str| key_quota(Some(toml::from_str(text).unwrap()), &id);
        assert_eq!((quota("keys = 7").unwrap(), quota("").unwrap()), (KeyQuota::new(7), None));
        assert_eq!(key_quota(None, &id).unwrap(), None);
        let parsed = instance_limits(Some(toml::from_str("symmetric = 5\nother = 1000000").unwrap())).unwrap();
        let limits = Group::ALL.map(|group| parsed.get(group).map_or(0, NonZeroU32::get));
        assert_eq!(limits, [5, 0, 1_000_000, 0, 0, 0, 0]);
        let all = "symmetric = 1\nasymmetric = 2\ncreate_key = 3\nreads = 4\nwrites = 5";
        let parsed = shared_limits(Some(toml::from_str(all).unwrap())).unwrap();
        assert_eq!(Group::ALL.map(|group| parsed.get(group).map_or(0, NonZeroU32::get)), [1, 2, 0, 3, 4, 5, 0]);
        let parsed = sts_limits(Some(toml::from_str("writes = 7\ntokens = 8").unwrap())).unwrap();
        assert_eq!(Group::ALL.map(|group| parsed.get(group).map_or(0, NonZeroU32::get)), [0, 0, 0, 0, 0, 7, 8]);
        assert!(instance_limits(None).unwrap().is_empty() && shared_limits(None).unwrap().is_empty());
        assert!(sts_limits(None).unwrap().is_empty());
    }

    #[test]
    fn a_bound_of_nothing_is_refused_by_its_name() {
        let id = InstanceId::from_entropy([1; 21]);
        let refused = key_quota(Some(toml::from_str("keys = 0").unwrap()), &id).unwrap_err();
        assert!(refused.message().contains("at least 1") && refused.message().contains(id.as_str()), "{refused}");
        for text in ["reads = 0", "reads = 1000001"] {
            let refused = shared_limits(Some(toml::from_str(text).unwrap())).unwrap_err();
            assert!(refused.message().contains("reads of [shared.limits]"), "{refused}");
        }
        let refused = sts_limits(Some(toml::from_str("writes = 0").unwrap())).unwrap_err();
        assert!(refused.message().contains("writes of [sts.limits]"), "{refused}");
        assert!(toml::from_str::<InstanceLimitsTable>("reads = 5").is_err(), "that is of the shared gateway");
    }
}
