//! Dates of the configuration: a date of TOML, or the same as a text.

use serde::Deserialize;

use super::wrong;
use crate::base::date::from_iso_or_day;
use crate::base::{Result, Timestamp};
use crate::model::InstanceId;

/// As the file has it: `2027-03-01`, `2027-03-01T00:00:00Z`, or one of these in quotes.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Date {
    Toml(toml::value::Datetime),
    Text(String),
}

/// The moment of a date; of a day its first second, in UTC.
pub(super) fn begin_of(date: &Date, field: &str, instance: &InstanceId) -> Result<Timestamp> {
    let text = match date {
        Date::Toml(date) => date.to_string(),
        Date::Text(text) => text.clone(),
    };
    from_iso_or_day(&text, "00:00:00").ok_or_else(|| {
        wrong(format!("{field} of the instance {instance} is a date in UTC, as 2027-03-01 or 2027-03-01T00:00:00Z."))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::date::to_iso;

    fn read(date: &str) -> Option<String> {
        #[derive(Deserialize)]
        struct Table {
            date: Date,
        }
        let instance = "kst-aaaaaaaaaaaaaaaaaaaaa".parse().unwrap();
        let table: Table = toml::from_str(&format!("date = {date}")).ok()?;
        begin_of(&table.date, "date", &instance).ok().map(to_iso)
    }

    #[test]
    fn a_date_is_one_of_toml_or_a_text() {
        for date in
            ["2027-03-01", "\"2027-03-01\"", "2027-03-01T00:00:00Z", "2027-03-01 00:00:00.25Z", "\"2027-03-01T00:00:00.250Z\""]
        {
            assert_eq!(read(date).as_deref(), Some("2027-03-01T00:00:00Z"), "{date}");
        }
        for date in ["2027-03-01T00:00:00", "2027-03-01T00:00:00+08:00", "00:00:00", "\"soon\"", "\"\"", "1", "true"] {
            assert_eq!(read(date), None, "{date}");
        }
    }
}
