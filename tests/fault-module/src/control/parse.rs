//! From a line to a command: first what it always needs, then options. `name=value` may stand anywhere.

use std::time::Duration;

use super::command::{Clear, Command, HELP};
use super::slots::Action;
use crate::function::Function;
use crate::lie::Lie;
use crate::manners::{Finds, Generator, Ivs, Manner, PublicHalf, Serial, SessionKeys};
use crate::rule::{Effect, Input, Moment, NewRule, Operation, Place, Scope, Trigger};
use crate::rv;
use crate::slot::{Announcement, Cap, PinFlags, Return};

/// What a line says.
///
/// # Errors
/// A text for the person who wrote it.
pub fn command(line: &str) -> Result<Command, String> {
    let mut words = Words::of(line)?;
    let verb = words.next("a command")?;
    let command = match verb.as_str() {
        "help" => Command::Help,
        "fail" => {
            let functions = words.functions()?;
            let answer = rv::parse(&words.next("a CKR_ name")?)?;
            let operation = if words.option("leave-active") { Operation::StaysActive } else { Operation::Ends };
            let effect = match words.value("instead-of") {
                Some(said) => Effect::Rephrase(rv::parse(&said)?, answer),
                None => Effect::Fail(answer, operation),
            };
            words.rule(line, functions, effect)?
        }
        "latency" => {
            let functions = words.functions()?;
            let least = duration(&words.next("a duration")?)?;
            let jitter = words.value("jitter").map_or(Ok(Duration::ZERO), |text| duration(&text))?;
            words.rule(line, functions, Effect::Latency(least, jitter))?
        }
        "hang" => {
            let functions = words.functions()?;
            words.rule(line, functions, Effect::Hang)?
        }
        "crash" => {
            let functions = words.functions()?;
            words.rule(line, functions, Effect::Crash)?
        }
        "flip" => {
            let functions = words.functions()?;
            if let Some(function) = functions.iter().find(|function| !RESULTS.contains(function)) {
                return Err(format!("{} gives no result to flip a bit of", function.name()));
            }
            words.rule(line, functions, Effect::Lie(Lie::Flip))?
        }
        "random" => {
            let name = words.next("untouched, zero, repeat or stuck")?;
            let lie = Lie::RANDOM.iter().find(|(known, _)| *known == name);
            let (_, lie) = lie.ok_or_else(|| format!("{name} is none of untouched, zero, repeat, stuck"))?;
            words.rule(line, vec![Function::C_GenerateRandom], Effect::Lie(*lie))?
        }
        "drop" => Command::Drop(number(&words.next("the number of a rule")?)?),
        "release" => Command::Release,
        "wait-hung" => Command::WaitHung(
            number(&words.next("a number of calls")?)?,
            words.value("timeout").map_or(Ok(Duration::from_secs(30)), |text| duration(&text))?,
        ),
        "lose-login" => Command::Slots(words.place()?, Action::LoseLogin),
        "invalidate-sessions" => Command::Slots(words.place()?, Action::InvalidateSessions),
        "invalidate-objects" => Command::Slots(words.place()?, Action::InvalidateObjects),
        "remove-token" => {
            let back = if words.option("until-reinit") { Return::AtInitialise } else { Return::AtOnce };
            Command::Slots(words.one_place()?, Action::RemoveToken(back))
        }
        "insert-token" => {
            let number = words.value("as").map(|text| number(&text)).transpose()?;
            Command::Slots(words.one_place()?, Action::InsertToken(number))
        }
        "cap-sessions" => {
            let cap = match words.next("a number of sessions, or off")?.as_str() {
                "off" => None,
                sessions => {
                    let announcement = if words.option("announce") { Announcement::Truth } else { Announcement::Silence };
                    Some(Cap { sessions: number(sessions)?, announcement })
                }
            };
            Command::Slots(words.place()?, Action::CapSessions(cap))
        }
        "pin-flags" => {
            let flags = match words.next("fine, count-low, final-try, locked or real")?.as_str() {
                "fine" => Some(PinFlags::Fine),
                "count-low" => Some(PinFlags::CountLow),
                "final-try" => Some(PinFlags::FinalTry),
                "locked" => Some(PinFlags::Locked),
                "real" => None,
                other => return Err(format!("{other} is none of fine, count-low, final-try, locked, real")),
            };
            Command::Slots(words.place()?, Action::PinFlags(flags))
        }
        "no-session-objects" => {
            let session_keys = if words.option("off") { SessionKeys::Real } else { SessionKeys::Refused };
            Command::Slots(words.place()?, Action::Manners(Manner::SessionKeys(session_keys)))
        }
        "iv" => {
            let ivs = match words.next("zero-only, by-module or off")?.as_str() {
                "zero-only" => Ivs::ZeroOnly,
                "by-module" => Ivs::ByModule,
                "off" => Ivs::Program,
                other => return Err(format!("{other} is none of zero-only, by-module, off")),
            };
            Command::Slots(words.place()?, Action::Manners(Manner::Ivs(ivs)))
        }
        "swap-public" => {
            let public_half = if words.option("off") { PublicHalf::Right } else { PublicHalf::Another };
            Command::Slots(words.place()?, Action::Manners(Manner::PublicHalf(public_half)))
        }
        "cut-id" => {
            let limit = match words.next("a number of bytes, or off")?.as_str() {
                "off" => None,
                bytes => Some(number(bytes)?),
            };
            Command::Slots(words.place()?, Action::Manners(Manner::IdLimit(limit)))
        }
        "serial" => {
            let serial = match words.next("per-call, on-insert or off")?.as_str() {
                "per-call" => Serial::PerCall,
                "on-insert" => Serial::OnInsert,
                "off" => Serial::Real,
                other => return Err(format!("{other} is none of per-call, on-insert, off")),
            };
            Command::Slots(words.place()?, Action::Manners(Manner::Serial(serial)))
        }
        "short-find" => {
            let finds = if words.option("off") { Finds::Real } else { Finds::Short };
            Command::Slots(words.place()?, Action::Manners(Manner::Finds(finds)))
        }
        "no-rng" => {
            let generator = if words.option("off") { Generator::Real } else { Generator::None };
            Command::Slots(words.place()?, Action::Manners(Manner::Generator(generator)))
        }
        "renumber" => match words.next("on or off")?.as_str() {
            "on" => Command::RenumberOn,
            "off" => Command::RenumberOff,
            other => return Err(format!("{other} is neither on nor off")),
        },
        "uninitialise" => Command::Uninitialise,
        "counts" => Command::Counts,
        "reset-counts" => Command::ResetCounts,
        "state" => Command::State,
        "clear" => Command::Clear(if words.option("all") { Clear::All } else { Clear::Rules }),
        other => {
            let known: Vec<_> = HELP.iter().map(|(usage, _)| usage.split(' ').next().unwrap_or_default()).collect();
            return Err(format!("{other} is no command; there are {}", known.join(", ")));
        }
    };
    words.finish()?;
    Ok(command)
}

/// Functions whose results may be flipped.
const RESULTS: [Function; 6] = [
    Function::C_Encrypt,
    Function::C_Decrypt,
    Function::C_Digest,
    Function::C_Sign,
    Function::C_SignRecover,
    Function::C_VerifyRecover,
];

/// The words of a line that nobody has taken yet.
struct Words(Vec<String>);

impl Words {
    /// Words are apart by blanks, but for those between quotation marks.
    fn of(line: &str) -> Result<Self, String> {
        let mut words = Vec::new();
        let mut word = None::<String>;
        let mut quoted = false;
        for c in line.chars() {
            match c {
                '"' => {
                    quoted = !quoted;
                    word.get_or_insert_default();
                }
                c if c.is_whitespace() && !quoted => words.extend(word.take()),
                c => word.get_or_insert_default().push(c),
            }
        }
        if quoted {
            return Err("a quotation mark is not closed".to_owned());
        }
        words.extend(word);
        Ok(Self(words))
    }

    /// The first word without `=`.
    fn next(&mut self, what: &str) -> Result<String, String> {
        match self.0.iter().position(|word| !word.contains('=')) {
            Some(at) => Ok(self.0.remove(at)),
            None => Err(format!("{what} is missing")),
        }
    }

    fn option(&mut self, name: &str) -> bool {
        let at = self.0.iter().position(|word| word == name);
        at.map(|at| self.0.remove(at)).is_some()
    }

    fn value(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|word| word.split_once('=').is_some_and(|(key, _)| key == name))?;
        self.0.remove(at).split_once('=').map(|(_, value)| value.to_owned())
    }

    fn functions(&mut self) -> Result<Vec<Function>, String> {
        Function::named(&self.next("a function")?)
    }

    fn place(&mut self) -> Result<Place, String> {
        match (self.value("slot"), self.value("token")) {
            (None, None) => Ok(Place::Everywhere),
            (Some(slot), None) => Ok(Place::Slot(number(&slot)?)),
            (None, Some(token)) => Ok(Place::Token(decoded(&token)?)),
            (Some(_), Some(_)) => Err("slot= and token= exclude each other".to_owned()),
        }
    }

    fn one_place(&mut self) -> Result<Place, String> {
        match self.place()? {
            Place::Everywhere => Err("slot= or token= is missing".to_owned()),
            place @ (Place::Slot(_) | Place::Token(_)) => Ok(place),
        }
    }

    fn rule(&mut self, line: &str, functions: Vec<Function>, effect: Effect) -> Result<Command, String> {
        let moment = if self.option("after") { Moment::After } else { Moment::Before };
        match (effect, moment) {
            (Effect::Latency(..), Moment::After) => return Err("a latency has no after".to_owned()),
            (Effect::Lie(_), Moment::After) => return Err("a lie has no after".to_owned()),
            (Effect::Latency(..) | Effect::Lie(_), Moment::Before) => {}
            (Effect::Fail(..) | Effect::Rephrase(..) | Effect::Hang | Effect::Crash, Moment::Before | Moment::After) => {}
        }
        let mut triggers = Vec::new();
        for (name, trigger) in [("nth", Trigger::Nth as fn(u64) -> Trigger), ("every", Trigger::Every), ("times", Trigger::Times)] {
            if let Some(text) = self.value(name) {
                let calls = number(&text)?;
                if calls == 0 {
                    return Err(format!("{name}=0: calls are counted from 1"));
                }
                triggers.push(trigger(calls));
            }
        }
        let trigger = match triggers[..] {
            [] => Trigger::Always,
            [trigger] => trigger,
            _ => return Err("nth=, every= and times= exclude each other".to_owned()),
        };
        let place = self.place()?;
        let scope = match (self.value("session"), place) {
            (None, place) => Scope::Place(place),
            (Some(session), Place::Everywhere) => Scope::Session(number(&session)?),
            (Some(_), Place::Slot(_) | Place::Token(_)) => return Err("session= excludes slot= and token=".to_owned()),
        };
        let input = Input {
            above: self.value("above").map(|bytes| number(&bytes)).transpose()?,
            key: self.value("key").map(|id| decoded(&id)).transpose()?.map(String::into_bytes),
        };
        Ok(Command::Rule(NewRule { text: line.to_owned(), functions, scope, input, trigger, effect, moment }))
    }

    fn finish(self) -> Result<(), String> {
        match self.0.first() {
            None => Ok(()),
            Some(word) => Err(format!("{word} is too much, or not for this command")),
        }
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text} is no number"))
}

/// No duration is longer: a day.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// `300us`, `1.5ms`, `2s`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text} is no duration such as 300us, 1.5ms, 2s, or longer than a day");
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len()));
    let second = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        _ => return Err(wrong()),
    };
    number
        .parse::<f64>()
        .ok()
        .and_then(|number| Duration::try_from_secs_f64(number * second).ok())
        .filter(|duration| *duration <= LONGEST)
        .ok_or_else(wrong)
}

/// `%20` and the like.
fn decoded(text: &str) -> Result<String, String> {
    let broken = || format!("{text}: % is followed by two hexadecimal digits");
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        rest = more;
        if *first == b'%' {
            let (digits, more) = rest.split_at_checked(2).ok_or_else(broken)?;
            let digits = std::str::from_utf8(digits).map_err(|_| broken())?;
            bytes.push(u8::from_str_radix(digits, 16).map_err(|_| broken())?);
            rest = more;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).map_err(|_| format!("{text} is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cryptoki_sys::CKR_DEVICE_ERROR;

    fn rule(line: &str) -> NewRule {
        match command(line) {
            Ok(Command::Rule(rule)) => rule,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn rules_are_read() {
        let fail = rule("fail C_Sign CKR_DEVICE_ERROR");
        assert_eq!((fail.functions, fail.trigger, fail.moment), (vec![Function::C_Sign], Trigger::Always, Moment::Before));
        assert_eq!(fail.effect, Effect::Fail(CKR_DEVICE_ERROR, Operation::Ends));
        assert_eq!(fail.scope, Scope::Place(Place::Everywhere));
        let fail = rule("fail nth=3 C_Sign 0x30 after leave-active token=\"my token\"");
        assert_eq!((fail.trigger, fail.moment), (Trigger::Nth(3), Moment::After));
        assert_eq!(fail.effect, Effect::Fail(CKR_DEVICE_ERROR, Operation::StaysActive));
        assert_eq!(fail.scope, Scope::Place(Place::Token("my token".to_owned())));
        assert_eq!(rule("hang all every=2 session=7").scope, Scope::Session(7));
        assert_eq!(rule("hang all times=2 token=a%20b%25").scope, Scope::Place(Place::Token("a b%".to_owned())));
        assert_eq!(
            rule("latency C_*Init 1.5ms jitter=300us slot=4").effect,
            Effect::Latency(Duration::from_micros(1500), Duration::from_micros(300))
        );
        assert_eq!(rule("crash C_GenerateKey* nth=1 after").effect, Effect::Crash);
        let flip = rule("flip C_Sign every=3");
        assert_eq!((flip.effect, flip.trigger), (Effect::Lie(Lie::Flip), Trigger::Every(3)));
        for (name, lie) in Lie::RANDOM {
            let random = rule(&format!("random {name} times=2"));
            assert_eq!((random.effect, random.functions), (Effect::Lie(lie), vec![Function::C_GenerateRandom]));
        }
        let input = rule("fail C_*Init CKR_DEVICE_ERROR above=4096 key=a%20key").input;
        assert_eq!(input, Input { above: Some(4096), key: Some(b"a key".to_vec()) });
        let rephrased = rule("fail C_Decrypt CKR_DEVICE_ERROR instead-of=0x20").effect;
        assert_eq!(rephrased, Effect::Rephrase(0x20, CKR_DEVICE_ERROR));
    }

    #[test]
    fn mistakes_are_told() {
        for (line, said) in [
            ("", "a command is missing"),
            ("frobnicate", "no command; there are help"),
            ("fail", "a function is missing"),
            ("fail C_Sing CKR_OK", "C_Sing"),
            ("fail C_Sign", "a CKR_ name is missing"),
            ("fail C_Sign CKR_DEVICE_ERROR nth=0", "from 1"),
            ("fail C_Sign CKR_DEVICE_ERROR nth=1 times=2", "exclude"),
            ("fail C_Sign CKR_DEVICE_ERROR slot=1 token=a", "exclude"),
            ("fail C_Sign CKR_DEVICE_ERROR slot=1 session=2", "excludes"),
            ("fail C_Sign CKR_DEVICE_ERROR often", "often"),
            ("hang C_Sign jitter=1ms", "jitter=1ms"),
            ("latency C_Sign 5", "no duration"),
            ("latency C_Sign -5ms", "no duration"),
            ("latency C_Sign 86401s", "no duration"),
            ("latency C_Sign nans", "no duration"),
            ("latency C_Sign 5ms after", "no after"),
            ("flip C_SignInit", "C_SignInit gives no result"),
            ("flip C_Sign after", "a lie has no after"),
            ("random dice", "none of untouched"),
            ("hang C_Sign token=\"a", "not closed"),
            ("hang C_Sign token=%2", "%2"),
            ("remove-token", "slot= or token="),
            ("cap-sessions many", "many"),
            ("pin-flags bad", "none of"),
            ("renumber maybe", "neither"),
            ("serial", "per-call, on-insert or off is missing"),
            ("serial sometimes", "none of per-call"),
        ] {
            let failure = command(line).unwrap_err();
            assert!(failure.contains(said), "{line:?}: {failure}");
        }
    }

    #[test]
    fn every_command_of_the_help_is_one() {
        for (usage, _) in HELP {
            let verb = usage.split(' ').next().unwrap();
            if let Err(failure) = command(verb) {
                assert!(failure.contains("missing"), "{verb}: {failure}");
            }
        }
    }
}
