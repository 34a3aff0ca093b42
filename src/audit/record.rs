//! What is recorded of a request, and of the log itself: the fields of a line between the chain's.

use std::borrow::Cow;
use std::net::IpAddr;

use serde::{Deserialize, Serialize, Serializer};

use super::segments::Displaced;
use crate::base::{Timestamp, date};

/// The most bytes of a text that a caller chose; longer ones are cut.
const TEXT: usize = 512;
/// The same for each of several: fifty are a line that is still read, whatever has to be escaped in them.
const TEXT_OF_SEVERAL: usize = 128;

/// Where a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Plane {
    /// An instance endpoint.
    Instance,
    /// The shared gateway.
    Shared,
    /// The Security Token Service.
    Sts,
    /// The command line.
    Command,
    /// The log itself.
    Log,
}

/// What was decided about access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// It was granted; whether it then succeeded is said by the code.
    Allow,
    /// It was refused.
    Deny,
}

/// One record. Of a field that does not apply or is not known nothing is written.
#[derive(Clone, Debug, Serialize)]
pub struct Record<'a> {
    /// When the request ended.
    #[serde(serialize_with = "iso")]
    pub time: Timestamp,
    /// Where it came in.
    pub plane: Plane,
    /// The id that the caller was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<&'a str>,
    /// From where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// Who: a client key, an AccessKey, an OIDC provider, a user of the system (`uid:0`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<&'a str>,
    /// Who the caller said to be and did not prove.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "cut")]
    pub claimed_caller: Option<&'a str>,
    /// The application access point of a client key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_point: Option<&'a str>,
    /// Whom the OIDC provider vouches for.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "cut")]
    pub subject: Option<&'a str>,
    /// The role that the caller has assumed, and what its session is called: `<role>/<session>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assumed_role: Option<&'a str>,
    /// What was asked for; `-` when that is no operation.
    pub operation: &'a str,
    /// The instance whose endpoint was called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<&'a str>,
    /// On what, in the caller's words: a key, an alias, the name of an access point.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "cut")]
    pub resource: Option<&'a str>,
    /// The key that is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<&'a str>,
    /// The version of it that was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_version: Option<&'a str>,
    /// `unbound`, when the request gave a context and what it decrypted was bound to less, or to nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<&'a str>,
    /// What else a request was about that named several resources, fifty at the most: keys by their ids, what is none in the caller's
    /// words.
    #[serde(skip_serializing_if = "<[_]>::is_empty", serialize_with = "cut_each")]
    pub other_resources: &'a [&'a str],
    /// The AccessKey of a session that was handed out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued: Option<&'a str>,
    /// Whether it was granted; absent when nobody got as far as to decide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// The policy that granted it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<&'a str>,
    /// Why it was refused, or failed.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "cut")]
    pub reason: Option<&'a str>,
    /// `OK`, or the code of the failure.
    pub code: &'a str,
    /// How long it took, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub micros: Option<u64>,
    /// Of the log's own records alone: up to this number records were deleted, because their time had come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retired_through: Option<u64>,
}

impl<'a> Record<'a> {
    /// A record with what every one has.
    pub fn new(time: Timestamp, plane: Plane, operation: &'a str, code: &'a str) -> Self {
        Self {
            time,
            plane,
            request_id: None,
            source: None,
            caller: None,
            claimed_caller: None,
            access_point: None,
            subject: None,
            assumed_role: None,
            operation,
            instance: None,
            resource: None,
            key: None,
            key_version: None,
            context: None,
            other_resources: &[],
            issued: None,
            decision: None,
            policy: None,
            reason: None,
            code,
            micros: None,
            retired_through: None,
        }
    }

    /// As a JSON object in one line.
    pub fn to_json(&self) -> Vec<u8> {
        // What a usual record takes, so that it is allocated once.
        let mut json = Vec::with_capacity(512);
        // Into memory, and no map has a key that is no text: it does not fail.
        let _ = serde_json::to_writer(&mut json, self);
        json
    }
}

fn iso<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&date::to_iso(*time))
}

fn cut<S: Serializer>(text: &Option<&str>, serializer: S) -> Result<S::Ok, S::Error> {
    text.map(|text| &text[..text.floor_char_boundary(TEXT)]).serialize(serializer)
}

fn cut_each<S: Serializer>(texts: &[&str], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(texts.iter().map(|text| &text[..text.floor_char_boundary(TEXT_OF_SEVERAL)]))
}

/// What happens to the log itself.
pub(super) enum Event<'a> {
    /// The server opened it.
    Opened,
    /// The server closed it in order.
    Closed,
    /// The end was no record and was put aside, as after a crash.
    Mended { bytes: u64, file: &'a str },
    /// The log does not have what the store remembers of it.
    Missing { expected: u64, found: u64 },
    /// Requests without a record: served, and refused for want of one.
    Unrecorded { served: u64, refused: u64 },
    /// The file that was written was removed, renamed or cut, with the records `first` to `last` in it.
    Displaced { how: Displaced, file: &'a str, first: u64, last: u64 },
    /// Old records were deleted.
    Retired { through: u64 },
}

impl Event<'_> {
    /// Its record.
    pub(super) fn to_json(&self, now: Timestamp) -> Vec<u8> {
        let (operation, reason, retired_through) = match self {
            Self::Opened => ("AuditLogOpened", None, None),
            Self::Closed => ("AuditLogClosed", None, None),
            Self::Mended { bytes, file } => {
                ("AuditLogMended", Some(format!("{bytes} bytes at the end were no record and are in {file}")), None)
            }
            Self::Missing { expected, found } => {
                let reason = format!("the log ended at record {found}, the store remembers record {expected}");
                ("AuditLogMissing", Some(reason), None)
            }
            Self::Unrecorded { served, refused } => {
                let reason =
                    format!("the log could not be written: {served} requests have no record, {refused} requests were refused");
                ("AuditLogUnrecorded", Some(reason), None)
            }
            Self::Displaced { how, file, first, last } => {
                let how = how.name();
                let reason =
                    format!("{file}, with the records {first} to {last}, was {how} by another program while it was written");
                ("AuditLogDisplaced", Some(reason), None)
            }
            Self::Retired { through } => ("AuditLogRetired", None, Some(*through)),
        };
        Record { reason: reason.as_deref(), retired_through, ..Record::new(now, Plane::Log, operation, "OK") }.to_json()
    }
}

/// A record as it is read again: what can be searched by.
#[derive(Deserialize)]
pub(super) struct Found<'a> {
    #[serde(borrow)]
    pub(super) time: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) operation: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) code: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) caller: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) claimed_caller: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) access_point: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) subject: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) assumed_role: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) issued: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) resource: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) key: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) key_version: Option<Cow<'a, str>>,
    #[serde(default)]
    pub(super) other_resources: Vec<String>,
    #[serde(default)]
    pub(super) retired_through: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::segments::LINE;

    #[test]
    fn what_a_caller_chose_is_cut_and_stays_in_its_line() {
        let long = "ü\n\"".repeat(1000);
        let json = Record {
            resource: Some(&long),
            decision: Some(Decision::Deny),
            ..Record::new(Timestamp::from_unix(0), Plane::Shared, "DescribeKey", "Forbidden.KeyNotFound")
        }
        .to_json();
        assert!(json.len() < 2048 && !json.contains(&b'\n'));
        let found: Found<'_> = serde_json::from_slice(&json).unwrap();
        assert_eq!((&*found.time, &*found.operation), ("1970-01-01T00:00:00Z", "DescribeKey"));
        assert!(long.starts_with(&*found.resource.unwrap()));
        assert!(std::str::from_utf8(&json).unwrap().contains(r#""decision":"deny""#));
    }

    #[test]
    fn a_record_of_the_most_resources_is_a_line_that_is_read() {
        // What takes most room: each byte of it is escaped with six.
        let text = "\u{1}".repeat(1000);
        let most = [text.as_str(); 50];
        let record = Record {
            claimed_caller: Some(&text),
            resource: Some(&text),
            reason: Some(&text),
            other_resources: &most,
            ..Record::new(Timestamp::from_unix(0), Plane::Shared, "TagResources", "InvalidResourceId.NotFound")
        };
        let json = record.to_json();
        // The chain's fields take less than a KiB.
        assert!(json.len() < LINE - 1024, "{}", json.len());
        let found: Found<'_> = serde_json::from_slice(&json).unwrap();
        assert!(found.other_resources.len() == 50 && found.other_resources.iter().all(|cut| *cut == text[..TEXT_OF_SEVERAL]));
    }
}
