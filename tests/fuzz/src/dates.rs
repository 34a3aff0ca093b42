//! Dates: the OpenAPI's one form of ISO 8601, perhaps with a fraction of the second, and those of HTTP.

use keystead::base::Timestamp;
use keystead::wire::date::{from_http, from_iso, to_http, to_iso};

use super::{Verdict, text};

pub fn check(input: &[u8]) -> Verdict {
    let Some(text) = text(input) else { return Verdict::Refused };
    let iso = from_iso(text);
    assert_eq!(iso, read_iso(text), "{text:?}");
    if let Some(date) = iso {
        // What is written is what was read, less the fraction.
        assert_eq!(to_iso(date), format!("{}Z", &text[..19]));
    }
    let http = from_http(text);
    if let Some(date) = http {
        // The form that is written is one of three that are read.
        assert_eq!(from_http(&to_http(date)), Some(date));
        assert_eq!(from_iso(&to_iso(date)), Some(date));
    }
    Verdict::of(iso.or(http).as_ref())
}

/// `yyyy-MM-ddTHH:mm:ssZ` in digits, a date of the proleptic Gregorian calendar; before the `Z` perhaps a point and digits.
fn read_iso(text: &str) -> Option<Timestamp> {
    let whole = text.strip_suffix('Z')?;
    let (text, fraction) = whole.split_once('.').map_or((whole, None), |(text, fraction)| (text, Some(fraction)));
    let digits = |fraction: &str| !fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit());
    if !fraction.is_none_or(digits) {
        return None;
    }
    let form = "dddd-dd-ddTdd:dd:dd";
    let fits = |(form, byte): (u8, u8)| if form == b'd' { byte.is_ascii_digit() } else { form == byte };
    if text.len() != form.len() || !form.bytes().zip(text.bytes()).all(fits) {
        return None;
    }
    let number = |range: std::ops::Range<usize>| text[range].parse::<i64>().expect("digits");
    let (year, month, day) = (number(0..4), number(5..7), number(8..10));
    let (hour, minute, second) = (number(11..13), number(14..16), number(17..19));
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let before = days.get(..usize::try_from(month - 1).ok()?)?.iter().sum::<i64>();
    let length = *days.get(usize::try_from(month - 1).ok()?)?;
    if !(1..=length).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Leap days of the years before this one; the year 0 is one of them, and 719,528 days before 1970.
    let leap_days = if year == 0 { 0 } else { (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400 + 1 };
    let since_year_0 = year * 365 + leap_days + before + day - 1;
    Some(Timestamp::from_unix((since_year_0 - 719_528) * 86_400 + hour * 3600 + minute * 60 + second))
}
