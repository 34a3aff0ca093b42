//! Rows of the table of `scripts/bench`: printed as they come, and kept in a file for the table and the plot.

use std::io::Write;
use std::time::Duration;

use keystead::measure::{Comparison, Figures};
use keystead::tier::pkcs11::bench::Effort;
use serde_json::{Value, json};

/// The file that rows are added to, a line of JSON each.
const FILE: &str = "KEYSTEAD_BENCH_ROWS";

/// Set, when rows without a target are left out.
const TARGETS: &str = "KEYSTEAD_BENCH_TARGETS";

/// Whether rows without a target are left out.
pub fn only_targets() -> bool {
    std::env::var_os(TARGETS).is_some()
}

/// What is to be reached, from the design.
#[derive(Clone, Copy)]
pub enum Target {
    /// Ours by raw.
    Ratio(f64),
    /// One operation takes so much longer at most.
    Over(Duration),
}

/// What the command line of `cargo bench` asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Figures.
    Figures,
    /// One short round of everything: does it run?
    Test,
    /// Names only; there are none to choose by.
    List,
}

impl Asked {
    pub fn of_arguments() -> Self {
        let has = |wanted: &str| std::env::args().any(|argument| argument == wanted);
        match (has("--list"), has("--test")) {
            (true, _) => Self::List,
            (false, true) => Self::Test,
            (false, false) => Self::Figures,
        }
    }

    /// Whether a row is asked for: all are, unless the environment asks for those with a target, or the command line has parts of names
    /// (`cargo bench --bench tier -- P-256`).
    pub fn wants(self, what: &str, target: Option<Target>) -> bool {
        if only_targets() && target.is_none() {
            return false;
        }
        let mut parts = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).peekable();
        parts.peek().is_none() || parts.any(|part| what.contains(&part))
    }

    /// At least twenty pairs, since equal slices differ by 5 to 30 %.
    pub fn effort(self) -> Effort {
        match self {
            Self::Figures => Effort { pairs: 21, slice: Duration::from_millis(250) },
            Self::Test | Self::List => Effort { pairs: 1, slice: Duration::from_millis(20) },
        }
    }
}

/// A runtime as the service has it: as many workers as cores, and two spare ones that fire deadlines.
pub fn runtime() -> tokio::runtime::Runtime {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    tokio::runtime::Builder::new_multi_thread().worker_threads(cores + 2).enable_all().build().expect("a runtime")
}

/// The rows of one benchmark.
pub struct Rows {
    bench: &'static str,
    file: Option<std::fs::File>,
}

impl Rows {
    pub fn new(bench: &'static str) -> Self {
        let open = |path| std::fs::OpenOptions::new().create(true).append(true).open(path).expect("the file of the rows");
        let width = 36;
        println!(
            "{:<width$} {:>6}  {:>10} {:>10} {:>10}  {:>10} {:>10} {:>10}  {:>6} {:>13}  {:>9}",
            bench, "at once", "raw /s", "p50", "p99", "ours /s", "p50", "p99", "ratio", "quartiles", "over"
        );
        Self { bench, file: std::env::var_os(FILE).map(open) }
    }

    /// Ours against raw.
    pub fn compared(&mut self, what: &str, at_once: usize, measured: Comparison, target: Option<Target>) {
        let Comparison { raw, ours, ratio, over } = measured;
        let (verdict, target) = match target {
            None => ("", Value::Null),
            Some(Target::Ratio(least)) => (verdict(ratio.median >= least), json!({ "ratio": least })),
            Some(Target::Over(most)) => {
                (verdict(over.median <= most.as_secs_f64()), json!({ "over_us": most.as_secs_f64() * 1e6 }))
            }
        };
        let time = |time: Duration| format!("{:.1} µs", time.as_secs_f64() * 1e6);
        println!(
            "{what:<36} {at_once:>6}  {:>10.0} {:>10} {:>10}  {:>10.0} {:>10} {:>10}  {:>6.3} {:>13}  {:>6.1} µs {verdict}",
            raw.per_second,
            time(raw.p50),
            time(raw.p99),
            ours.per_second,
            time(ours.p50),
            time(ours.p99),
            ratio.median,
            format!("{:.3}-{:.3}", ratio.low, ratio.high),
            over.median * 1e6
        );
        let figures = |figures: Figures| {
            let micros = |time: Duration| time.as_secs_f64() * 1e6;
            json!({ "per_second": figures.per_second, "p50_us": micros(figures.p50), "p99_us": micros(figures.p99) })
        };
        self.write(&json!({
            "bench": self.bench, "what": what, "at_once": at_once, "raw": figures(raw), "ours": figures(ours), "ratio": ratio.median,
            "ratio_low": ratio.low, "ratio_high": ratio.high, "over_us": over.median * 1e6, "target": target,
        }));
    }

    /// One value, and what it may be at most.
    pub fn value(&mut self, what: &str, at_once: usize, value: f64, unit: &str, most: Option<f64>) {
        println!("{what:<36} {at_once:>6}  {value:>10.1} {unit} {}", most.map_or("", |most| verdict(value <= most)));
        let target = most.map_or(Value::Null, |most| json!({ "at_most": most }));
        self.write(&json!({
            "bench": self.bench, "what": what, "at_once": at_once, "value": value, "unit": unit, "target": target,
        }));
    }

    fn write(&mut self, row: &Value) {
        if let Some(file) = &mut self.file {
            writeln!(file, "{row}").expect("the file of the rows is written");
        }
    }
}

fn verdict(reached: bool) -> &'static str {
    if reached { "reached" } else { "NOT REACHED" }
}
