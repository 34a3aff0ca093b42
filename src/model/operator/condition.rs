//! The conditions of a statement: what must hold besides action and resource. All of them must.
//!
//! | key | compared by |
//! |---|---|
//! | `acs:SourceIp` | IpAddress, NotIpAddress: addresses and CIDR blocks |
//! | `acs:CurrentTime` | DateEquals, DateNotEquals, DateLessThan, DateLessThanEquals, DateGreaterThan, DateGreaterThanEquals: RFC 3339 |
//! | `acs:SecureTransport` | Bool: every request comes over TLS |
//! | `kms:tag/<key>` | StringEquals, StringNotEquals, StringEqualsIgnoreCase, StringNotEqualsIgnoreCase, StringLike, StringNotLike |
//!
//! Of several values one must fit; of a comparison with Not none may. A tag that the resource does not have fits no value: Allow
//! and Deny by StringEquals do not match it, by StringNotEquals they do. Other keys are refused when the policy is written: a Deny
//! that never matched would look like protection.

use ipnet::IpNet;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Demand;
use super::pattern::Pattern;
use crate::base::{Error, Result, Timestamp, excerpt};
use crate::model::access::{lists, parse_source};
use crate::model::tags::TagValue;

/// What must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Source(Sense, Vec<IpNet>),
    CurrentTime(DateComparison, Vec<Timestamp>),
    SecureTransport(Vec<Transport>),
    Tag { key: String, comparison: TextComparison, sense: Sense, values: Vec<String> },
}

/// Whether one of the values must fit, or none may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sense {
    One,
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DateComparison {
    Equals,
    NotEquals,
    LessThan,
    LessThanEquals,
    GreaterThan,
    GreaterThanEquals,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextComparison {
    Equals,
    EqualsIgnoreCase,
    Like,
}

/// How a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Tls,
    Plain,
}

const KEYS: &str = "acs:SourceIp, acs:CurrentTime, acs:SecureTransport and kms:tag/<key>";

impl Condition {
    /// One operator, one key, its values.
    pub(super) fn parse(operator: &str, key: &str, values: &[String]) -> Result<Self> {
        if values.is_empty() {
            let (operator, key) = (excerpt(operator), excerpt(key));
            return Err(Error::invalid(format!("The condition {operator:?} of {key:?} has no value.")));
        }
        let unfit = |by: &str| {
            let (operator, key) = (excerpt(operator), excerpt(key));
            Err(Error::invalid(format!("The condition key {key:?} is compared by {by}, not by {operator:?}.")))
        };
        match key {
            "acs:SourceIp" => {
                let sense = match operator {
                    "IpAddress" => Sense::One,
                    "NotIpAddress" => Sense::None,
                    _ => return unfit("IpAddress or NotIpAddress"),
                };
                Ok(Self::Source(sense, values.iter().map(|value| parse_source(value)).collect::<Result<_>>()?))
            }
            "acs:CurrentTime" => match date_comparison(operator) {
                Some(comparison) => {
                    Ok(Self::CurrentTime(comparison, values.iter().map(|value| date(value)).collect::<Result<_>>()?))
                }
                None => {
                    unfit("DateEquals, DateNotEquals, DateLessThan, DateLessThanEquals, DateGreaterThan or DateGreaterThanEquals")
                }
            },
            "acs:SecureTransport" => match operator {
                "Bool" => Ok(Self::SecureTransport(values.iter().map(|value| transport(value)).collect::<Result<_>>()?)),
                _ => unfit("Bool"),
            },
            _ => match (key.strip_prefix("kms:tag/").filter(|tag| !tag.is_empty()), text_comparison(operator)) {
                (Some(tag), Some((comparison, sense))) => {
                    Ok(Self::Tag { key: tag.to_owned(), comparison, sense, values: values.to_vec() })
                }
                (Some(_), None) => unfit("StringEquals, StringLike, their IgnoreCase and their Not forms"),
                (None, _) => Err(Error::invalid(format!("The condition key {:?} is not served; {KEYS} are.", excerpt(key)))),
            },
        }
    }

    /// Whether it holds.
    pub(super) fn holds(&self, demand: &Demand<'_>) -> bool {
        match self {
            Self::Source(sense, blocks) => sense.of(lists(blocks, demand.source)),
            Self::CurrentTime(comparison, dates) => comparison.holds(demand.now, dates),
            Self::SecureTransport(values) => values.contains(&Transport::Tls),
            Self::Tag { key, comparison, sense, values } => {
                sense.of_texts(*comparison, values, demand.tags.get(key).map(TagValue::as_str))
            }
        }
    }
}

impl Sense {
    /// Of texts of which one must fit, or none may; of an absent one nothing fits.
    pub(super) fn of_texts<'t>(
        self,
        comparison: TextComparison,
        values: &[String],
        texts: impl IntoIterator<Item = &'t str>,
    ) -> bool {
        self.of(texts.into_iter().any(|text| values.iter().any(|value| comparison.fits(value, text))))
    }

    fn of(self, fits: bool) -> bool {
        match self {
            Self::One => fits,
            Self::None => !fits,
        }
    }
}

impl DateComparison {
    fn holds(self, now: Timestamp, dates: &[Timestamp]) -> bool {
        match self {
            Self::Equals => dates.contains(&now),
            Self::NotEquals => !dates.contains(&now),
            Self::LessThan => dates.iter().any(|date| now < *date),
            Self::LessThanEquals => dates.iter().any(|date| now <= *date),
            Self::GreaterThan => dates.iter().any(|date| now > *date),
            Self::GreaterThanEquals => dates.iter().any(|date| now >= *date),
        }
    }
}

impl TextComparison {
    fn fits(self, value: &str, tag: &str) -> bool {
        match self {
            Self::Equals => value == tag,
            Self::EqualsIgnoreCase => value.to_lowercase() == tag.to_lowercase(),
            Self::Like => Pattern::new(value).matches(tag),
        }
    }
}

fn date_comparison(operator: &str) -> Option<DateComparison> {
    Some(match operator {
        "DateEquals" => DateComparison::Equals,
        "DateNotEquals" => DateComparison::NotEquals,
        "DateLessThan" => DateComparison::LessThan,
        "DateLessThanEquals" => DateComparison::LessThanEquals,
        "DateGreaterThan" => DateComparison::GreaterThan,
        "DateGreaterThanEquals" => DateComparison::GreaterThanEquals,
        _ => return None,
    })
}

pub(super) fn text_comparison(operator: &str) -> Option<(TextComparison, Sense)> {
    Some(match operator {
        "StringEquals" => (TextComparison::Equals, Sense::One),
        "StringNotEquals" => (TextComparison::Equals, Sense::None),
        "StringEqualsIgnoreCase" => (TextComparison::EqualsIgnoreCase, Sense::One),
        "StringNotEqualsIgnoreCase" => (TextComparison::EqualsIgnoreCase, Sense::None),
        "StringLike" => (TextComparison::Like, Sense::One),
        "StringNotLike" => (TextComparison::Like, Sense::None),
        _ => return None,
    })
}

fn date(text: &str) -> Result<Timestamp> {
    let parsed = OffsetDateTime::parse(text, &Rfc3339);
    let parsed =
        parsed.map_err(|_| Error::invalid(format!("{:?} is no date of the form 2026-11-23T19:09:54+08:00.", excerpt(text))))?;
    Ok(Timestamp::from_unix(parsed.unix_timestamp()))
}

fn transport(text: &str) -> Result<Transport> {
    match text {
        "true" => Ok(Transport::Tls),
        "false" => Ok(Transport::Plain),
        _ => {
            let text = excerpt(text);
            Err(Error::invalid(format!("The condition key acs:SecureTransport is true or false, not {text:?}.")))
        }
    }
}
