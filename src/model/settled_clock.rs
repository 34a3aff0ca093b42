//! When the date may be relied on for what cannot be undone: the destruction of keys, of material and of records whose time has come.
//!
//! A clock that is days ahead for some seconds must destroy nothing. So the date is compared with the time since the machine started
//! (CLOCK_BOOTTIME), which nobody can set: the date is relied on when both went on alike for an hour; for a day when nobody looked for more
//! than a day, because nobody knows then what became of the clock. And never at a date before one that was seen already.

use std::time::Duration;

use crate::base::Timestamp;

/// How far date and boot time may go apart, in seconds: what time servers correct in steps.
pub const TOLERANCE: u64 = 60;
/// How long the two must go on alike.
const HOUR: Duration = Duration::from_secs(3600);
/// The same after an absence that is longer than this.
const DAY: Duration = Duration::from_secs(86_400);

/// What the machine's clocks show at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The date.
    pub date: Timestamp,
    /// Since the machine started, the time that it was suspended included; whole seconds count.
    pub since_boot: Duration,
    /// Which start of the machine that was.
    pub boot: String,
}

impl Reading {
    /// How long after `earlier` it was taken, by the time since boot; nothing when the machine was started between them.
    fn after(&self, earlier: &Self) -> Option<Duration> {
        (self.boot == earlier.boot).then(|| self.since_boot.saturating_sub(earlier.since_boot))
    }

    /// Whether date and boot time went on alike from `earlier` to here.
    pub fn agrees_with(&self, earlier: &Self) -> bool {
        let by_date = i128::from(self.date.unix()) - i128::from(earlier.date.unix());
        let by_boot = i128::from(self.since_boot.as_secs()) - i128::from(earlier.since_boot.as_secs());
        self.boot == earlier.boot && (by_date - by_boot).unsigned_abs() <= u128::from(TOLERANCE)
    }
}

/// How long date and boot time must go on alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needed {
    /// An operator has said that the date is right.
    Nothing,
    /// An hour.
    Hour,
    /// A day: nobody looked for more than a day.
    Day,
}

impl Needed {
    const fn duration(self) -> Duration {
        match self {
            Self::Nothing => Duration::ZERO,
            Self::Hour => HOUR,
            Self::Day => DAY,
        }
    }
}

/// What was seen of the clocks so far. It is kept, so that a service that is often restarted gets there, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Since this reading date and boot time have gone on alike.
    pub since: Reading,
    /// The last reading.
    pub last: Reading,
    /// The latest date that was seen.
    pub latest: Timestamp,
    /// How long they must go on alike.
    pub needed: Needed,
}

/// Whether the date of the last reading may be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Settled(Timestamp),
    /// Not before so long.
    Agreeing {
        /// How long date and boot time must still go on alike.
        still: Duration,
    },
    /// It lies before a date that was seen.
    Behind {
        /// That date.
        latest: Timestamp,
    },
}

impl Watch {
    /// Begins with nothing known of the time before.
    pub fn begin(now: Reading) -> Self {
        Self { since: now.clone(), latest: now.date, last: now, needed: Needed::Day }
    }

    /// Takes in a reading.
    pub fn observe(&mut self, now: Reading) {
        // By the date alone when the machine was started meanwhile: a date that went far back tells as little as one that went far ahead.
        let absence = now.after(&self.last).unwrap_or_else(|| now.date.distance(self.last.date));
        if absence > DAY {
            (self.since, self.needed) = (now.clone(), Needed::Day);
        } else if !now.agrees_with(&self.since) {
            self.since = now.clone();
            self.needed = match self.needed {
                Needed::Nothing | Needed::Hour => Needed::Hour,
                Needed::Day => Needed::Day,
            };
        }
        self.latest = self.latest.max(now.date);
        self.last = now;
        if self.needed == Needed::Day && self.still().is_zero() {
            self.needed = Needed::Hour;
        }
    }

    /// An operator says that the date of this reading is right, and that a later one that was seen was wrong.
    pub fn confirm(&mut self, at: Reading) {
        *self = Self { since: at.clone(), latest: at.date, last: at, needed: Needed::Nothing };
    }

    /// How long date and boot time have gone on alike.
    pub fn agreed(&self) -> Duration {
        self.last.after(&self.since).unwrap_or_default()
    }

    fn still(&self) -> Duration {
        self.needed.duration().saturating_sub(self.agreed())
    }

    /// Whether the date of the last reading may be relied on.
    pub fn verdict(&self) -> Verdict {
        match self.still() {
            _ if self.last.date < self.latest => Verdict::Behind { latest: self.latest },
            Duration::ZERO => Verdict::Settled(self.last.date),
            still => Verdict::Agreeing { still },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_790_000_000;
    const MINUTE: u64 = 60;

    /// A machine whose clocks can be moved.
    #[derive(Clone)]
    struct Machine {
        date: i64,
        since_boot: u64,
        boots: u32,
    }

    impl Machine {
        fn new() -> Self {
            Self { date: NOW, since_boot: 100, boots: 0 }
        }

        fn reading(&self) -> Reading {
            Reading {
                date: Timestamp::from_unix(self.date),
                since_boot: Duration::from_secs(self.since_boot),
                boot: self.boots.to_string(),
            }
        }

        fn pass(&mut self, seconds: u64) {
            self.date += seconds as i64;
            self.since_boot += seconds;
        }

        fn reboot(&mut self, off: u64) {
            self.date += off as i64;
            (self.since_boot, self.boots) = (0, self.boots + 1);
        }

        /// So long the service looks every minute.
        fn watched(&mut self, watch: &mut Watch, seconds: u64) {
            for _ in 0..seconds / MINUTE {
                self.pass(MINUTE);
                watch.observe(self.reading());
            }
        }

        /// One whose service has run for a day.
        fn settled() -> (Self, Watch) {
            let mut machine = Self::new();
            let mut watch = Watch::begin(machine.reading());
            machine.watched(&mut watch, DAY.as_secs());
            assert!(machine.is_settled(&watch));
            (machine, watch)
        }

        fn is_settled(&self, watch: &Watch) -> bool {
            watch.verdict() == Verdict::Settled(Timestamp::from_unix(self.date))
        }
    }

    #[test]
    fn it_begins_with_a_day() {
        let mut machine = Machine::new();
        let mut watch = Watch::begin(machine.reading());
        machine.watched(&mut watch, DAY.as_secs() - MINUTE);
        assert_eq!(watch.verdict(), Verdict::Agreeing { still: Duration::from_secs(MINUTE) });
        machine.watched(&mut watch, MINUTE);
        assert!(machine.is_settled(&watch));
    }

    #[test]
    fn days_ahead_for_seconds_are_never_relied_on() {
        let (mut machine, mut watch) = Machine::settled();
        for _ in 0..3 {
            machine.date += 10 * DAY.as_secs() as i64;
            watch.observe(machine.reading());
            assert_eq!(watch.verdict(), Verdict::Agreeing { still: HOUR });
            machine.date -= 10 * DAY.as_secs() as i64;
            machine.pass(5);
            watch.observe(machine.reading());
            assert!(matches!(watch.verdict(), Verdict::Behind { .. }));
        }
        // Until the operator says that it is right now.
        watch.confirm(machine.reading());
        assert!(machine.is_settled(&watch));
    }

    #[test]
    fn a_clock_that_is_corrected_is_relied_on_after_an_hour() {
        let (mut machine, mut watch) = Machine::settled();
        machine.date += 600;
        machine.watched(&mut watch, HOUR.as_secs());
        assert_eq!(watch.verdict(), Verdict::Agreeing { still: Duration::from_secs(MINUTE) });
        machine.watched(&mut watch, MINUTE);
        assert!(machine.is_settled(&watch));
        // Small steps are no corrections.
        for _ in 0..5 {
            machine.date += 12;
            machine.watched(&mut watch, MINUTE);
            assert!(machine.is_settled(&watch));
        }
        machine.date += 1;
        machine.watched(&mut watch, MINUTE);
        assert!(!machine.is_settled(&watch));
    }

    #[test]
    fn the_machine_is_started_anew_and_an_hour_begins() {
        let (mut machine, mut watch) = Machine::settled();
        machine.reboot(120);
        watch.observe(machine.reading());
        machine.watched(&mut watch, HOUR.as_secs() - MINUTE);
        assert!(!machine.is_settled(&watch));
        machine.watched(&mut watch, MINUTE);
        assert!(machine.is_settled(&watch));
    }

    #[test]
    fn what_is_kept_counts_while_the_service_is_away_and_a_long_absence_costs_a_day() {
        let (mut machine, mut watch) = Machine::settled();
        machine.date += 600;
        watch.observe(machine.reading());
        machine.pass(HOUR.as_secs());
        watch.observe(machine.reading());
        assert!(machine.is_settled(&watch), "a minute or an hour of absence does not matter");
        for reboot in [false, true] {
            machine.pass(DAY.as_secs() + 1);
            if reboot {
                machine.reboot(0);
            }
            watch.observe(machine.reading());
            machine.watched(&mut watch, DAY.as_secs() - MINUTE);
            assert!(!machine.is_settled(&watch));
            machine.watched(&mut watch, MINUTE);
            assert!(machine.is_settled(&watch));
        }
        machine.pass(DAY.as_secs() + 1);
        watch.observe(machine.reading());
        watch.confirm(machine.reading());
        assert!(machine.is_settled(&watch));
        machine.watched(&mut watch, HOUR.as_secs());
        assert!(machine.is_settled(&watch), "and it stays so");
        machine.date += 600;
        machine.watched(&mut watch, HOUR.as_secs());
        assert!(!machine.is_settled(&watch), "until the clock is moved");
    }

    #[derive(Clone, Copy, Debug)]
    enum Happens {
        Passes(u64),
        Jumps(i64),
        Reboots(u64),
    }

    fn happens() -> impl Strategy<Value = Happens> {
        prop_oneof![
            8 => (0..1200_u64).prop_map(Happens::Passes),
            1 => (0..200_000_u64).prop_map(Happens::Passes),
            1 => (-100..100_i64).prop_map(Happens::Jumps),
            1 => (-1_000_000..1_000_000_i64).prop_map(Happens::Jumps),
            1 => (0..200_000_u64).prop_map(Happens::Reboots),
        ]
    }

    /// A run of readings that all agree with its first, from `from` on, that ends with the last and is so long.
    fn has_run(history: &[Reading], from: usize, length: Duration) -> bool {
        let last = &history[history.len() - 1];
        (from..history.len()).any(|begin| {
            let run = &history[begin..];
            run.iter().all(|reading| reading.agrees_with(&run[0])) && last.since_boot.saturating_sub(run[0].since_boot) >= length
        })
    }

    proptest! {
        /// Said of the whole history, which the watch does not keep.
        #[test]
        fn nothing_is_relied_on_without_its_hour_or_day(story in proptest::collection::vec(happens(), 1..120)) {
            let mut machine = Machine::new();
            let mut history = vec![machine.reading()];
            let mut watch = Watch::begin(machine.reading());
            // Where the last absence of more than a day ended, and whether a day has gone by since.
            let (mut back, mut day_over) = (0, false);
            for event in story {
                match event {
                    Happens::Passes(seconds) => machine.pass(seconds),
                    Happens::Jumps(seconds) => machine.date += seconds,
                    Happens::Reboots(off) => machine.reboot(off),
                }
                let (now, before) = (machine.reading(), history[history.len() - 1].clone());
                let absence = now.after(&before).unwrap_or_else(|| now.date.distance(before.date));
                watch.observe(now.clone());
                history.push(now.clone());
                if absence > DAY {
                    (back, day_over) = (history.len() - 1, false);
                }
                day_over |= has_run(&history, back, DAY);
                if let Verdict::Settled(date) = watch.verdict() {
                    prop_assert_eq!(date, now.date);
                    let needed = if day_over { HOUR } else { DAY };
                    prop_assert!(has_run(&history, back, needed));
                    prop_assert!(history.iter().all(|reading| reading.date <= date));
                }
            }
            // And it gets there by itself.
            machine.date = machine.date.max(watch.latest.unix());
            watch.observe(machine.reading());
            machine.watched(&mut watch, DAY.as_secs());
            prop_assert!(machine.is_settled(&watch));
        }
    }
}
