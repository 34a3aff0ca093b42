//! Makes the table and the plot out of what the benchmarks measured: `keystead-bench-report ROWS TABLE.md PLOT.svg`.
//!
//! ROWS has a line of JSON for each row, as `benches/harness` writes it. Called by `scripts/bench`.

mod plot;
mod row;
mod table;

use std::process::ExitCode;

use row::Row;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [rows, table, plot] = arguments.as_slice() else {
        eprintln!("usage: keystead-bench-report ROWS TABLE.md PLOT.svg");
        return ExitCode::from(2);
    };
    match run(rows, table, plot) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("keystead-bench-report: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(rows: &str, table: &str, plot: &str) -> Result<(), Box<dyn std::error::Error>> {
    let text = std::fs::read_to_string(rows).map_err(|error| format!("{rows} cannot be read: {error}"))?;
    let rows: Vec<Row> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let written = table::of(&rows);
    print!("{written}");
    std::fs::write(table, written)?;
    plot::draw(&rows, plot)
}
