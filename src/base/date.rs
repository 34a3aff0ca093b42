//! Dates as text, in the only form that the API and our files have.

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::Timestamp;

/// `2026-11-23T19:09:54Z`.
const ISO: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");

/// Writes `yyyy-MM-ddTHH:mm:ssZ`.
pub fn to_iso(timestamp: Timestamp) -> String {
    let date = OffsetDateTime::from_unix_timestamp(timestamp.unix()).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    date.format(&ISO).unwrap_or_default()
}

/// Reads `yyyy-MM-ddTHH:mm:ssZ`.
pub fn from_iso(text: &str) -> Option<Timestamp> {
    // Otherwise `+2026` would be a year, too, and be shown in another way than it was written.
    let digits_first = text.starts_with(|first: char| first.is_ascii_digit());
    let date = time::PrimitiveDateTime::parse(text, &ISO).ok().filter(|_| digits_first)?;
    Some(Timestamp::from_unix(date.assume_utc().unix_timestamp()))
}
