//! Dates as the protocols write them.

use std::time::{Duration, SystemTime};

use crate::base::Timestamp;
pub use crate::base::date::{from_iso, to_iso};

/// Writes the date of HTTP (RFC 9110, section 5.6.7): `Mon, 23 Nov 2026 19:09:52 GMT`.
pub fn to_http(timestamp: Timestamp) -> String {
    let since = Duration::from_secs(timestamp.unix().max(0).cast_unsigned());
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + since)
}

/// Reads a date of HTTP.
pub fn from_http(text: &str) -> Option<Timestamp> {
    let date = httpdate::parse_http_date(text).ok()?;
    let since = date.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(Timestamp::from_unix(i64::try_from(since.as_secs()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        let iso = from_iso("2026-11-23T19:09:52Z").unwrap();
        assert_eq!(from_http("Mon, 23 Nov 2026 19:09:52 GMT"), Some(iso));
        assert_eq!(to_iso(iso), "2026-11-23T19:09:52Z");
        assert_eq!(to_http(iso), "Mon, 23 Nov 2026 19:09:52 GMT");
    }

    #[test]
    fn what_is_no_date_is_none() {
        for text in [
            "",
            "yesterday",
            "2026-11-23 19:09:52",
            "2026-11-23T19:09:52+01:00",
            "2026-13-23T19:09:52Z",
            "2026-11-23T19:09:52",
            "+2026-11-23T19:09:52Z",
            "-2026-11-23T19:09:52Z",
        ] {
            assert_eq!(from_iso(text), None, "{text}");
        }
        for text in ["", "2026-11-23T19:09:52Z", "Mon, 23 Nov 2026"] {
            assert_eq!(from_http(text), None, "{text}");
        }
    }
}
