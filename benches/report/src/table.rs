//! The table, in Markdown, a section for each benchmark.

use std::fmt::Write as _;

use crate::row::{Measured, Row, Target};

/// All rows.
pub fn of(rows: &[Row]) -> String {
    let mut text = String::new();
    let mut benches: Vec<&str> = Vec::new();
    for row in rows {
        if !benches.contains(&row.bench.as_str()) {
            benches.push(&row.bench);
        }
    }
    for bench in benches {
        let of_it = || rows.iter().filter(move |row| row.bench == bench);
        if of_it().any(|row| matches!(row.measured, Measured::Compared(_))) {
            let _ = writeln!(text, "\n| {bench} | at once | raw /s | ours /s | ratio (quartiles) | p99 raw, ours | target |");
            let _ = writeln!(text, "|---|---|---|---|---|---|---|");
        }
        for row in of_it() {
            compared(&mut text, row);
        }
        if of_it().any(|row| matches!(row.measured, Measured::Value { .. })) {
            let _ = writeln!(text, "\n| {bench} | at once | | target |");
            let _ = writeln!(text, "|---|---|---|---|");
        }
        for row in of_it() {
            value(&mut text, row);
        }
    }
    text
}

fn compared(text: &mut String, row: &Row) {
    let Measured::Compared(measured) = &row.measured else { return };
    let target = match row.target {
        Some(Target::Ratio(least)) => told(measured.ratio >= least, &format!("≥ {least:.2}")),
        Some(Target::OverUs(most)) => {
            told(measured.over_us <= most, &format!("≤ {most:.0} µs over raw: {:.1} µs", measured.over_us))
        }
        Some(Target::AtMost(_)) | None => String::new(),
    };
    let _ = writeln!(
        text,
        "| {} | {} | {} | {} | {:.2} ({:.2}-{:.2}) | {}, {} | {target} |",
        row.what,
        row.at_once,
        grouped(measured.raw.per_second),
        grouped(measured.ours.per_second),
        measured.ratio,
        measured.ratio_low,
        measured.ratio_high,
        time(measured.raw.p99_us),
        time(measured.ours.p99_us),
    );
}

fn value(text: &mut String, row: &Row) {
    let Measured::Value { value, unit } = &row.measured else { return };
    let target = match row.target {
        Some(Target::AtMost(most)) => told(*value <= most, &format!("≤ {most:.0} {unit}")),
        Some(Target::Ratio(_) | Target::OverUs(_)) | None => String::new(),
    };
    let value = if *value < 1000.0 { format!("{value:.1}") } else { grouped(*value) };
    let _ = writeln!(text, "| {} | {} | {value} {unit} | {target} |", row.what, row.at_once);
}

fn told(reached: bool, target: &str) -> String {
    format!("{target} {}", if reached { "✓" } else { "**not reached**" })
}

/// `1,234`.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn time(micros: f64) -> String {
    if micros < 1000.0 { format!("{micros:.0} µs") } else { format!("{:.1} ms", micros / 1000.0) }
}
