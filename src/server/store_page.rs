//! What the telemetry tells of the store: whether it can be read, rows that cannot be used, what stands in it as if it were to be destroyed and is not, and how old
//! is what is known of it.

use std::collections::BTreeMap;

use super::exposition::{Exposition, Labels, Type};
use crate::service::{Kms, Standing, UnusableRow};

/// The remarks in `/readyz`.
pub(super) fn lines(kms: &Kms) -> String {
    let unusable = kms.unusable_rows();
    let unusable = unusable.iter().map(|UnusableRow { table, row, why }| format!("the row {row} of {table} is not used: {why}"));
    let refused = kms.refused_orders();
    let [unusable, refused]: [Vec<_>; 2] = [unusable.collect(), refused.iter().map(ToString::to_string).collect()];
    [standing(&kms.standing()), remark(&unusable), remark(&refused)].concat()
}

/// What the database does not let be read, and the way out.
fn standing(is: &Standing) -> String {
    let way_out = "if that lasts, put the database back from a backup";
    match is {
        Standing::Current => String::new(),
        Standing::Behind(why) => {
            format!("remark: the database cannot be read whole, requests are answered by what is known: {why}; {way_out}\n")
        }
        Standing::Withheld(why) => format!("not ready: callers cannot be looked up, nobody is let in: {why}; {way_out}\n"),
    }
}

/// One line for all of a kind.
fn remark(all: &[String]) -> String {
    match all {
        [] => String::new(),
        [one] => format!("remark: {}\n", one.replace('\n', " ")),
        [first, others @ ..] => format!("remark: {}; and {} more, which are in the log\n", first.replace('\n', " "), others.len()),
    }
}

/// Writes the families.
pub(super) fn write(kms: &Kms, page: &mut Exposition) {
    let help = "Orders to destroy that stand in the database without a proof, or of what is in use; they are not obeyed.";
    let mut family = page.family("keystead_refused_destructions", Type::Gauge, help);
    family.sample(&Labels::default(), kms.refused_orders().len());
    let help =
        "Rows of the database that do not open or parse, or could not be read after a change; what they would grant is denied.";
    let mut tables = BTreeMap::<_, usize>::new();
    for row in kms.unusable_rows() {
        *tables.entry(row.table).or_default() += 1;
    }
    let mut family = page.family("keystead_unusable_rows", Type::Gauge, help);
    for (table, rows) in tables {
        family.sample(&Labels::default().with("table", table), rows);
    }
    let help = "How what is in memory stands to what the database has: 1 for what is, 0 for what is not.";
    let mut family = page.family("keystead_snapshot_state", Type::Gauge, help);
    let (behind, withheld) = match kms.standing() {
        Standing::Current => (0, 0),
        Standing::Behind(_) => (1, 0),
        Standing::Withheld(_) => (0, 1),
    };
    for (state, is) in [("current", 1 - behind - withheld), ("behind", behind), ("withheld", withheld)] {
        family.sample(&Labels::default().with("state", state), is);
    }
    let help = "How long ago what is in memory was last known to be what the database has.";
    let mut family = page.family("keystead_snapshot_age_seconds", Type::Gauge, help);
    family.sample(&Labels::default(), kms.snapshot_age().as_secs_f64());
}
