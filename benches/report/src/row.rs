//! A row as the benchmarks write it.

use serde::Deserialize;

/// One thing measured.
#[derive(Debug, Deserialize)]
pub struct Row {
    /// Which benchmark.
    pub bench: String,
    /// What was measured.
    pub what: String,
    /// Operations in flight, connections or sessions.
    pub at_once: u64,
    /// The figures.
    #[serde(flatten)]
    pub measured: Measured,
    /// What is to be reached.
    pub target: Option<Target>,
}

/// Figures.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Measured {
    /// Ours against raw.
    Compared(Box<Compared>),
    /// One value.
    Value {
        /// It.
        value: f64,
        /// Of what.
        unit: String,
    },
}

/// Ours against raw.
#[derive(Debug, Deserialize)]
pub struct Compared {
    /// What it is measured against.
    pub raw: Figures,
    /// What is measured.
    pub ours: Figures,
    /// The median.
    pub ratio: f64,
    /// The quartile below.
    pub ratio_low: f64,
    /// The quartile above.
    pub ratio_high: f64,
    /// How much longer an operation takes.
    pub over_us: f64,
}

/// How one side did.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Figures {
    /// Operations a second.
    pub per_second: f64,
    /// Half took this at most.
    pub p50_us: f64,
    /// 99 of 100 took this at most.
    pub p99_us: f64,
}

/// What is to be reached.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// At least.
    Ratio(f64),
    /// At most.
    OverUs(f64),
    /// At most.
    AtMost(f64),
}
