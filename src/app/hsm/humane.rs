//! Times and numbers as a person reads them.

use std::time::Duration;

/// `45 µs`, `1.2 ms`, `3.4 s`, `3 min 12 s`, `2 h 5 min`, `3 d 4 h`.
pub(super) fn time(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match duration.as_secs() {
        0 if duration.is_zero() => "0 s".to_owned(),
        0 if seconds < 999.5e-6 => with_a_digit(seconds * 1e6, "µs"),
        0 if seconds < 0.9995 => with_a_digit(seconds * 1e3, "ms"),
        0..60 => with_a_digit(seconds, "s"),
        whole @ 60..3600 => two(whole / 60, "min", whole % 60, "s"),
        whole @ 3600..86_400 => two(whole / 3600, "h", whole % 3600 / 60, "min"),
        whole @ 86_400.. => two(whole / 86_400, "d", whole % 86_400 / 3600, "h"),
    }
}

/// One digit after the point, where that says something.
fn with_a_digit(value: f64, unit: &str) -> String {
    if value < 9.95 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

fn two(high: u64, unit: &str, low: u64, smaller: &str) -> String {
    if low == 0 { format!("{high} {unit}") } else { format!("{high} {unit} {low} {smaller}") }
}

/// The same of seconds as a page has them; what is no time is none.
pub(super) fn seconds(seconds: f64) -> String {
    time(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

/// `just now`, `3.4 s ago`.
pub(super) fn ago(ago: f64) -> String {
    if ago < 1.0 { "just now".to_owned() } else { format!("{} ago", seconds(ago)) }
}

/// `1,234,567`.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `0`, `0.5`, `12`, `1,234`: what happens in a second.
pub(super) fn rate(per_second: f64) -> String {
    if per_second > 0.0 && per_second < 9.95 { format!("{per_second:.1}") } else { number(per_second.round() as u64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_the_unit_that_fits() {
        for (seconds, said) in [
            (0.0, "0 s"),
            (2.5e-6, "2.5 µs"),
            (45e-6, "45 µs"),
            (999.9e-6, "1.0 ms"),
            (0.0012, "1.2 ms"),
            (0.045, "45 ms"),
            (0.9999, "1.0 s"),
            (3.44, "3.4 s"),
            (45.0, "45 s"),
            (60.0, "1 min"),
            (192.0, "3 min 12 s"),
            (7500.0, "2 h 5 min"),
            (273_600.0, "3 d 4 h"),
            (f64::NAN, "0 s"),
            (-1.0, "0 s"),
        ] {
            assert_eq!(super::seconds(seconds), said, "{seconds}");
        }
        assert_eq!([0.2, 3.44].map(ago), ["just now", "3.4 s ago"]);
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([0, 999, 1000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0.0, 0.5, 9.96, 1234.4].map(rate), ["0", "0.5", "10", "1,234"]);
    }
}
