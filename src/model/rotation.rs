//! Rotation of keys: which keys have it, how often, when, and what follows when it fails (keys.md of the API: "Versions and
//! rotation").

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::algorithm::KeyUsage;
use super::instance::InstanceKind;
use super::key::{Key, KeyState, Origin};
use crate::base::{Error, Kind, Result, Timestamp};

/// Seconds of a day.
const DAY: u64 = 86_400;

/// From one rotation of a key to the next: 7 to 730 days (the API's limits), in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RotationInterval(u64);

impl RotationInterval {
    /// The limits, in seconds.
    const RANGE: std::ops::RangeInclusive<u64> = 7 * DAY..=730 * DAY;

    /// So many seconds.
    ///
    /// # Errors
    /// [`Kind::InvalidParameter`] when they are not between 7 and 730 days.
    pub fn from_seconds(seconds: u64) -> Result<Self> {
        if Self::RANGE.contains(&seconds) { Ok(Self(seconds)) } else { Err(malformed()) }
    }

    /// In seconds.
    pub const fn seconds(self) -> u64 {
        self.0
    }
}

/// As the API writes it: `604800s`.
impl fmt::Display for RotationInterval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.0)
    }
}

/// Reads `<integer><unit>`; the units are d, h, m and s.
impl FromStr for RotationInterval {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let units = [("d", DAY), ("h", 3600), ("m", 60), ("s", 1)];
        let read = |(unit, seconds): &(&str, u64)| Some((text.strip_suffix(unit)?, *seconds));
        let (number, seconds) = units.iter().find_map(read).ok_or_else(malformed)?;
        // A number as Rust reads it may have a sign.
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(malformed());
        }
        let number: u64 = number.parse().map_err(|_| malformed())?;
        Self::from_seconds(number.checked_mul(seconds).ok_or_else(malformed)?)
    }
}

fn malformed() -> Error {
    Error::invalid("A rotation interval is an integer and a unit out of d, h, m and s, between 7d and 730d.")
}

/// How often, and when next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RotationSchedule {
    /// How often.
    pub interval: RotationInterval,
    /// When next; at once when that has passed.
    pub next: Timestamp,
}

/// The API's `AutomaticRotation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AutomaticRotation {
    /// It is off.
    Disabled,
    /// The key is rotated when its time comes.
    Enabled(RotationSchedule),
    /// It is on, but the key is not enabled; it goes on when the key is.
    Suspended(RotationSchedule),
}

impl AutomaticRotation {
    /// The API's name.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Disabled => "Disabled",
            Self::Enabled(_) => "Enabled",
            Self::Suspended(_) => "Suspended",
        }
    }

    /// How often and when next, unless it is off.
    pub const fn schedule(&self) -> Option<RotationSchedule> {
        match self {
            Self::Disabled => None,
            Self::Enabled(schedule) | Self::Suspended(schedule) => Some(*schedule),
        }
    }
}

impl Key {
    /// Whether a key of this sort, in an instance of this kind, takes further versions.
    ///
    /// # Errors
    /// [`Kind::UnsupportedByKey`].
    pub fn has_versions(&self, kind: InstanceKind) -> Result<()> {
        match self.usage {
            KeyUsage::EncryptDecrypt | KeyUsage::SignVerify => {}
            // A code names no version.
            KeyUsage::GenerateVerifyMac => return Err(unsupported("A key of HMAC has one version.")),
        }
        match (self.origin, kind) {
            (Origin::External, _) => Err(unsupported("A key whose material was imported has one version.")),
            (Origin::Service, InstanceKind::Hardware) if self.spec.is_symmetric() => {
                Err(unsupported("A symmetric key that is held inside the HSM has one version."))
            }
            (Origin::Service, InstanceKind::Hardware | InstanceKind::Software) => Ok(()),
        }
    }

    /// Whether a key of this sort, in an instance of this kind, can be rotated automatically.
    ///
    /// # Errors
    /// [`Kind::UnsupportedByKey`].
    pub fn has_rotation(&self, kind: InstanceKind) -> Result<()> {
        if !self.spec.is_symmetric() {
            return Err(unsupported("An asymmetric key is not rotated automatically; CreateKeyVersion makes a version of it."));
        }
        self.has_versions(kind)
    }

    /// UpdateRotationPolicy: switches automatic rotation on, with an interval, or off.
    ///
    /// # Errors
    /// Those of a state other than [`KeyState::Enabled`].
    pub fn set_rotation(&mut self, interval: Option<RotationInterval>) -> Result<()> {
        self.state.usable(self.id.as_str())?;
        self.rotation_interval = interval;
        Ok(())
    }

    /// What becomes of a key whose newest version was made at `rotated`.
    pub fn automatic_rotation(&self, rotated: Timestamp) -> AutomaticRotation {
        let Some(interval) = self.rotation_interval else { return AutomaticRotation::Disabled };
        let schedule = RotationSchedule { interval, next: rotated.after(Duration::from_secs(interval.seconds())) };
        match self.state {
            KeyState::Enabled => AutomaticRotation::Enabled(schedule),
            KeyState::Disabled | KeyState::PendingDeletion | KeyState::PendingImport => AutomaticRotation::Suspended(schedule),
        }
    }

    /// Whether a key whose newest version was made at `rotated` is to be rotated now.
    pub fn rotation_is_due(&self, rotated: Timestamp, now: Timestamp) -> bool {
        match self.automatic_rotation(rotated) {
            AutomaticRotation::Enabled(schedule) => schedule.next <= now,
            AutomaticRotation::Disabled | AutomaticRotation::Suspended(_) => false,
        }
    }
}

fn unsupported(text: &str) -> Error {
    Error::new(Kind::UnsupportedByKey, text)
}

/// An attempt to rotate a key. Whoever began it has the only say about the key's rotation until it is done or its time is over,
/// which is the pause before the next attempt, too: a node that dies in the middle, and a tier that fails, are the same to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RotationAttempt {
    /// From 1.
    pub number: u32,
    /// Nobody begins another one before.
    pub ends_at: Timestamp,
}

impl RotationAttempt {
    /// The first pause: longer than a tier may take to make a symmetric key.
    const SHORTEST: u64 = 60;
    /// The longest pause.
    const LONGEST: u64 = 3600;

    /// The attempt after `last`, if it may begin.
    pub fn next(last: Option<Self>, now: Timestamp) -> Option<Self> {
        let number = match last {
            None => 1,
            Some(last) if last.is_over(now) => last.number.saturating_add(1),
            Some(_) => return None,
        };
        // 1, 2, 4, ... minutes.
        let pause = Self::SHORTEST.saturating_mul(1 << (number - 1).min(16)).min(Self::LONGEST);
        Some(Self { number, ends_at: now.after(Duration::from_secs(pause)) })
    }

    /// Whether another one may begin. One that reaches further than any pause was written under a clock that was wrong.
    pub fn is_over(self, now: Timestamp) -> bool {
        self.ends_at <= now || self.ends_at > now.after(Duration::from_secs(Self::LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::algorithm::KeySpec;
    use crate::model::key_life::tests::key;

    const NOW: Timestamp = Timestamp::from_unix(1_790_000_000);

    fn later(seconds: u64) -> Timestamp {
        NOW.after(Duration::from_secs(seconds))
    }

    #[test]
    fn an_interval_has_a_unit_and_lies_between_seven_and_730_days() {
        for (text, seconds) in [("7d", 604_800), ("168h", 604_800), ("10080m", 604_800), ("604800s", 604_800), ("730d", 63_072_000)]
        {
            let interval: RotationInterval = text.parse().unwrap();
            assert_eq!((interval.seconds(), interval.to_string()), (seconds, format!("{seconds}s")), "{text}");
        }
        for text in [
            "",
            "d",
            "7",
            "+7d",
            "-7d",
            "7.5d",
            "7 d",
            "7D",
            "7w",
            "604799s",
            "731d",
            "17521h",
            "99999999999999999999d",
            "é",
            "７d",
        ] {
            assert_eq!(text.parse::<RotationInterval>().unwrap_err().kind(), Kind::InvalidParameter, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_interval_or_refused(text in "\\PC{0,24}") {
            if let Ok(interval) = text.parse::<RotationInterval>() {
                prop_assert!(RotationInterval::RANGE.contains(&interval.seconds()));
            }
        }

        #[test]
        fn what_is_written_is_read_again(seconds in RotationInterval::RANGE) {
            let interval = RotationInterval::from_seconds(seconds).unwrap();
            prop_assert_eq!(interval.to_string().parse::<RotationInterval>().unwrap(), interval);
        }
    }

    #[test]
    fn rotation_stands_still_while_the_key_is_not_enabled() {
        let week: RotationInterval = "7d".parse().unwrap();
        let schedule = RotationSchedule { interval: week, next: later(7 * DAY) };
        for (state, is) in [
            (KeyState::Enabled, AutomaticRotation::Enabled(schedule)),
            (KeyState::Disabled, AutomaticRotation::Suspended(schedule)),
            (KeyState::PendingDeletion, AutomaticRotation::Suspended(schedule)),
        ] {
            let mut key = key(state);
            assert_eq!(
                (key.automatic_rotation(NOW), key.rotation_is_due(NOW, later(1000 * DAY))),
                (AutomaticRotation::Disabled, false)
            );
            key.rotation_interval = Some(week);
            assert_eq!(key.automatic_rotation(NOW), is);
            assert!(!key.rotation_is_due(NOW, later(7 * DAY - 1)));
            assert_eq!(key.rotation_is_due(NOW, later(7 * DAY)), state == KeyState::Enabled);
        }
    }

    #[test]
    fn which_keys_have_versions_and_rotation() {
        use InstanceKind::{Hardware, Software};
        for (spec, origin, kind, versions, rotation) in [
            (KeySpec::Aes256, Origin::Service, Software, true, true),
            (KeySpec::Aes256, Origin::Service, Hardware, false, false),
            (KeySpec::Aes256, Origin::External, Software, false, false),
            (KeySpec::HmacSha256, Origin::Service, Software, false, false),
            (KeySpec::EcP256, Origin::Service, Software, true, false),
            (KeySpec::Rsa2048, Origin::Service, Hardware, true, false),
            (KeySpec::Rsa2048, Origin::External, Hardware, false, false),
        ] {
            let key = Key { spec, usage: spec.usages()[0], origin, ..key(KeyState::Enabled) };
            let refused = |result: Result<()>| result.err().map(|error| error.kind());
            assert_eq!(refused(key.has_versions(kind)), (!versions).then_some(Kind::UnsupportedByKey), "{spec} {kind}");
            assert_eq!(refused(key.has_rotation(kind)), (!rotation).then_some(Kind::UnsupportedByKey), "{spec} {kind}");
        }
    }

    #[test]
    fn attempts_follow_each_other_after_a_pause_that_grows_to_an_hour() {
        let mut last = None;
        let mut now = NOW;
        for (number, pause) in [(1, 60), (2, 120), (3, 240), (4, 480), (5, 960), (6, 1920), (7, 3600), (8, 3600)] {
            let attempt = RotationAttempt::next(last, now).unwrap();
            assert_eq!(attempt, RotationAttempt { number, ends_at: now.after(Duration::from_secs(pause)) });
            let just_before = Timestamp::from_unix(attempt.ends_at.unix() - 1);
            assert_eq!(RotationAttempt::next(Some(attempt), just_before), None);
            (last, now) = (Some(attempt), attempt.ends_at);
        }
        let endless = RotationAttempt { number: u32::MAX, ends_at: NOW };
        assert_eq!(RotationAttempt::next(Some(endless), NOW), Some(RotationAttempt { number: u32::MAX, ends_at: later(3600) }));
        // The clock went back a year.
        let ahead = RotationAttempt { number: 1, ends_at: later(365 * DAY) };
        assert_eq!(RotationAttempt::next(Some(ahead), NOW).unwrap().number, 2);
    }
}
