//! Dates as text, in the only form that the API and our files have.

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use super::Timestamp;

/// `2026-11-23T19:09:54Z`.
const ISO: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
/// The same, perhaps with a fraction of the second: JavaScript's `toISOString()` writes three digits of it, other programs more.
const READ: &[BorrowedFormatItem<'_>] =
    format_description!(version = 2, "[year]-[month]-[day]T[hour]:[minute]:[second][optional [.[subsecond digits:1+]]]Z");

/// Writes `yyyy-MM-ddTHH:mm:ssZ`.
pub fn to_iso(timestamp: Timestamp) -> String {
    let date = OffsetDateTime::from_unix_timestamp(timestamp.unix()).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    date.format(&ISO).unwrap_or_default()
}

/// Reads `yyyy-MM-ddTHH:mm:ssZ`. A fraction of the second is read and dropped.
pub fn from_iso(text: &str) -> Option<Timestamp> {
    // Otherwise `+2026` would be a year, too, and be shown in another way than it was written.
    let digits_first = text.starts_with(|first: char| first.is_ascii_digit());
    let date = time::PrimitiveDateTime::parse(text, &READ).ok().filter(|_| digits_first)?;
    Some(Timestamp::from_unix(date.assume_utc().unix_timestamp()))
}

/// Reads a date as people write it: `yyyy-MM-ddTHH:mm:ssZ`, or a day alone, of which the second at `time` (`HH:mm:ss`, UTC) is meant.
pub fn from_iso_or_day(text: &str, time: &str) -> Option<Timestamp> {
    from_iso(text).or_else(|| from_iso(&format!("{text}T{time}Z")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_of_a_second_is_read_and_dropped() {
        let second = from_iso("2026-11-23T19:09:54Z").unwrap();
        for digits in ["0", "9", "123", "999999", "123456789", "99999999999999999999"] {
            assert_eq!(from_iso(&format!("2026-11-23T19:09:54.{digits}Z")), Some(second), "{digits}");
        }
        // Before 1970, too, it is dropped and not rounded.
        assert_eq!(from_iso("1969-12-31T23:59:59.999Z"), Some(Timestamp::from_unix(-1)));
        for text in ["54.Z", "54,123Z", "54.12a", "54.-1Z", "54. 1Z", "54.123", "54.1.2Z"] {
            assert_eq!(from_iso(&format!("2026-11-23T19:09:{text}")), None, "{text}");
        }
    }

    #[test]
    fn a_day_stands_for_one_of_its_seconds() {
        let read = |text| from_iso_or_day(text, "23:59:59").map(to_iso);
        assert_eq!(read("2026-11-23").as_deref(), Some("2026-11-23T23:59:59Z"));
        assert_eq!(read("2026-11-23T08:00:00.5Z").as_deref(), Some("2026-11-23T08:00:00Z"));
        assert_eq!((read("2026-11"), read("2026-11-23T08:00")), (None, None));
    }
}
