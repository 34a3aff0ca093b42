//! Measuring one thing against another on a machine that is not quiet.
//!
//! Equal slices of time differ by 5 to 30 % on shared machines, so two things are measured in pairs of slices that follow one
//! another, the order alternating, and the median of the ratios counts. Knows nothing of what is measured.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// Significant digits of a time: 1 % is less than what slices differ by.
const DIGITS: u8 = 2;

/// How long operations took.
pub struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Self {
        Self(Histogram::new(DIGITS).expect("a number of digits that it takes"))
    }
}

impl Times {
    /// Notes an operation.
    pub fn note(&mut self, took: Duration) {
        // It grows as it must; more than the 2^64 ns that it takes at most nobody waits.
        let _ = self.0.record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Adds what another worker noted.
    pub fn add(&mut self, other: &Self) {
        let _ = self.0.add(&other.0);
    }

    /// The time that this part of the operations took at most, from 0 to 1.
    pub fn quantile(&self, part: f64) -> Duration {
        Duration::from_nanos(self.0.value_at_quantile(part))
    }

    /// How many operations.
    pub fn count(&self) -> u64 {
        self.0.len()
    }
}

/// A worker's operations until a moment, one after the other, each timed.
pub struct Laps {
    until: Instant,
    begun: Instant,
    times: Times,
}

impl Laps {
    /// From now on.
    pub fn until(until: Instant) -> Self {
        Self { until, begun: Instant::now(), times: Times::default() }
    }

    /// Whether another operation begins.
    pub fn go_on(&self) -> bool {
        self.begun < self.until
    }

    /// An operation ended, and the next begins.
    pub fn note(&mut self) {
        let now = Instant::now();
        self.times.note(now - self.begun);
        self.begun = now;
    }

    /// What was noted.
    pub fn times(self) -> Times {
        self.times
    }
}

/// What one worker does until a moment.
///
/// # Errors
/// The first operation that fails.
pub fn work<E>(until: Instant, mut operation: impl FnMut() -> Result<(), E>) -> Result<Times, E> {
    let mut laps = Laps::until(until);
    while laps.go_on() {
        operation()?;
        laps.note();
    }
    Ok(laps.times())
}

/// What all workers did in a slice of time.
pub struct Slice {
    /// How long it was, until the last worker was done.
    pub length: Duration,
    /// What was done in it.
    pub times: Times,
}

impl Slice {
    /// Operations a second.
    pub fn per_second(&self) -> f64 {
        self.times.count() as f64 / self.length.as_secs_f64()
    }
}

/// Median and quartiles.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// A quarter is below.
    pub low: f64,
    /// Half is below.
    pub median: f64,
    /// A quarter is above.
    pub high: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |quarter: usize| {
            values.get((values.len() * quarter / 4).min(values.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
        };
        Self { low: at(1), median: at(2), high: at(3) }
    }
}

/// How one side did, over all its slices.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Operations a second, the median of the slices.
    pub per_second: f64,
    /// The time that half of the operations took at most.
    pub p50: Duration,
    /// The time that 99 of 100 took at most.
    pub p99: Duration,
}

/// How one thing does against another.
#[derive(Clone, Copy, Debug)]
pub struct Comparison {
    /// What it is measured against.
    pub raw: Figures,
    /// What is measured.
    pub ours: Figures,
    /// Ours by raw, operations a second, pair by pair.
    pub ratio: Spread,
    /// How much longer one operation takes of one worker, in seconds: the difference of the inverse rates, pair by pair.
    pub over: Spread,
}

#[derive(Default)]
struct Side {
    rates: Vec<f64>,
    times: Times,
}

impl Side {
    fn note(&mut self, slice: &Slice) -> f64 {
        let rate = slice.per_second();
        self.rates.push(rate);
        self.times.add(&slice.times);
        rate
    }

    fn figures(self) -> Figures {
        Figures { per_second: Spread::of(self.rates).median, p50: self.times.quantile(0.5), p99: self.times.quantile(0.99) }
    }
}

/// Measures in so many pairs of slices.
///
/// # Errors
/// The first operation that fails, of either side.
pub fn compare<E>(
    pairs: usize,
    mut raw: impl FnMut() -> Result<Slice, E>,
    mut ours: impl FnMut() -> Result<Slice, E>,
) -> Result<Comparison, E> {
    let (mut raw_side, mut our_side) = (Side::default(), Side::default());
    let (mut ratios, mut over) = (Vec::new(), Vec::new());
    for pair in 0..pairs {
        // Which comes first alternates, so that a drift of the machine favours neither.
        let (raw, ours) = if pair.is_multiple_of(2) {
            let raw = raw()?;
            (raw, ours()?)
        } else {
            let ours = ours()?;
            (raw()?, ours)
        };
        let (raw, ours) = (raw_side.note(&raw), our_side.note(&ours));
        ratios.push(ours / raw);
        over.push(1.0 / ours - 1.0 / raw);
    }
    Ok(Comparison { raw: raw_side.figures(), ours: our_side.figures(), ratio: Spread::of(ratios), over: Spread::of(over) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(operations: u32, took: Duration) -> Slice {
        let mut times = Times::default();
        (0..operations).for_each(|_| times.note(took));
        Slice { length: Duration::from_secs(1), times }
    }

    #[test]
    fn the_median_of_the_ratios_counts_and_not_the_ratio_of_the_medians() {
        // The machine is ten times slower in one pair, for both sides.
        let mut raw = [1000, 100, 1000].into_iter().map(|rate| slice(rate, Duration::from_micros(10)));
        let mut ours = [500, 50, 900].into_iter().map(|rate| slice(rate, Duration::from_micros(20)));
        let measured = compare(3, || raw.next().ok_or(()), || ours.next().ok_or(())).unwrap();
        assert!((measured.ratio.median - 0.5).abs() < 1e-9, "{measured:?}");
        assert!((measured.raw.per_second - 1000.0).abs() < 1e-9 && (measured.ours.per_second - 500.0).abs() < 1e-9);
        assert!((measured.over.median - 0.001).abs() < 1e-9);
        assert!(measured.ours.p50 >= Duration::from_micros(19) && measured.ours.p99 <= Duration::from_micros(21), "{measured:?}");
    }

    #[test]
    fn a_failure_ends_it() {
        let mut left = 3;
        let ended = work(Instant::now() + Duration::from_secs(60), || {
            left -= 1;
            if left == 0 { Err("enough") } else { Ok(()) }
        });
        assert_eq!(ended.err(), Some("enough"));
    }
}
