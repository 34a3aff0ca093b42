//! Rules: which calls they are for, when they fire, and what then happens.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cryptoki_sys::{CK_RV, CK_SESSION_HANDLE, CK_SLOT_ID};
use serde_json::{Value, json};

use crate::function::Function;
use crate::lie::Lie;
use crate::lock;

/// Which slots a command is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// All.
    Everywhere,
    /// The one that the program knows by this number.
    Slot(CK_SLOT_ID),
    /// The one whose token has this label.
    Token(String),
}

/// Which calls a rule is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those for a slot, or for a session on it; everywhere: those for neither, too.
    Place(Place),
    /// Those for the session that the program knows by this number.
    Session(CK_SESSION_HANDLE),
}

/// When a rule fires, in calls it is for, counted from its making.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Always.
    Always,
    /// At one call.
    Nth(u64),
    /// At every so many calls.
    Every(u64),
    /// At the first calls.
    Times(u64),
}

impl Trigger {
    /// Whether it fires at a call, the first being 1.
    fn fires(self, call: u64) -> bool {
        match self {
            Self::Always => true,
            Self::Nth(n) => call == n,
            Self::Every(n) => call.is_multiple_of(n),
            Self::Times(n) => call <= n,
        }
    }
}

/// Whether something happens before the real function or after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before: the real function may never be called.
    Before,
    /// After: the real function has done its work.
    After,
}

/// What becomes of the operation in the real module whose C_Encrypt, C_Sign or the like fails here without being called there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// It is ended, as a real module ends it with an error.
    Ends,
    /// It stays active, as modules with a fault do.
    StaysActive,
}

/// Which calls a rule is for, by what they are made with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Input {
    /// Those with more bytes of data than this.
    pub above: Option<u64>,
    /// Those that begin an operation with the key of this CKA_ID.
    pub key: Option<Vec<u8>>,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The call is answered with this.
    Fail(CK_RV, Operation),
    /// The call is answered with the second where the real function answers the first.
    Rephrase(CK_RV, CK_RV),
    /// The call takes longer, by the first, and up to the second besides.
    Latency(Duration, Duration),
    /// The call hangs until it is released.
    Hang,
    /// The process ends.
    Crash,
    /// The call succeeds, and its result is wrong.
    Lie(Lie),
}

/// What a command asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRule {
    /// As it was written.
    pub text: String,
    /// The functions.
    pub functions: Vec<Function>,
    /// The calls of them.
    pub scope: Scope,
    /// And of these.
    pub input: Input,
    /// Of these calls, those at which it fires.
    pub trigger: Trigger,
    /// What happens.
    pub effect: Effect,
    /// And when.
    pub moment: Moment,
}

struct Rule {
    id: u64,
    new: NewRule,
    calls: AtomicU64,
    fired: AtomicU64,
}

/// What a call is for.
pub struct Subject<'a> {
    /// The session, as the program numbers it, if it is for one.
    pub session: Option<CK_SESSION_HANDLE>,
    /// The slot, as the program numbers it, if it is known.
    pub slot: Option<CK_SLOT_ID>,
    /// Finds the label of its token.
    pub label: Box<dyn Fn() -> Option<String> + 'a>,
    /// How many bytes of data it has, if it has any.
    pub data: Option<u64>,
    /// Finds the CKA_ID of the key that it begins an operation with.
    pub key: Box<dyn Fn() -> Option<Vec<u8>> + 'a>,
}

impl Scope {
    fn covers(&self, subject: &Subject<'_>) -> bool {
        match self {
            Self::Place(Place::Everywhere) => true,
            Self::Place(Place::Slot(slot)) => subject.slot == Some(*slot),
            Self::Place(Place::Token(label)) => (subject.label)().as_ref() == Some(label),
            Self::Session(session) => subject.session == Some(*session),
        }
    }
}

impl Input {
    fn covers(&self, subject: &Subject<'_>) -> bool {
        self.above.is_none_or(|above| subject.data.is_some_and(|bytes| bytes > above))
            && self.key.as_ref().is_none_or(|key| (subject.key)().as_ref() == Some(key))
    }
}

/// What happens to one call, by all rules together, in the order of the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// All latencies.
    pub latency: Duration,
    /// It hangs before the real function.
    pub hangs_before: bool,
    /// The process ends before the real function.
    pub crashes_before: bool,
    /// The answer instead of the real function: the oldest rule's.
    pub instead: Option<(CK_RV, Operation)>,
    /// The result is wrong: the oldest rule's way.
    pub lie: Option<Lie>,
    /// The process ends after the real function.
    pub crashes_after: bool,
    /// It hangs after the real function.
    pub hangs_after: bool,
    /// The answer after the real function: the oldest rule's.
    pub afterwards: Option<CK_RV>,
    /// Answers of the real function and what is said instead: the oldest rule's counts.
    pub rephrased: Vec<(CK_RV, CK_RV)>,
}

impl Plan {
    fn add(&mut self, rule: &NewRule) {
        match (rule.effect, rule.moment) {
            (Effect::Latency(least, jitter), Moment::Before | Moment::After) => self.latency += least + jitter.mul_f64(chance()),
            (Effect::Lie(lie), Moment::Before | Moment::After) => {
                self.lie.get_or_insert(lie);
            }
            (Effect::Hang, Moment::Before) => self.hangs_before = true,
            (Effect::Hang, Moment::After) => self.hangs_after = true,
            (Effect::Crash, Moment::Before) => self.crashes_before = true,
            (Effect::Crash, Moment::After) => self.crashes_after = true,
            (Effect::Fail(answer, operation), Moment::Before) => {
                self.instead.get_or_insert((answer, operation));
            }
            (Effect::Fail(answer, _), Moment::After) => {
                self.afterwards.get_or_insert(answer);
            }
            (Effect::Rephrase(from, to), Moment::Before | Moment::After) => self.rephrased.push((from, to)),
        }
    }
}

/// A number from 0 to 1. Nothing depends on its quality.
fn chance() -> f64 {
    static STATE: AtomicU64 = AtomicU64::new(0);
    let mut mixed = STATE.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
    for _ in 0..2 {
        mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    }
    f64::from((mixed >> 32) as u32) / f64::from(u32::MAX)
}

/// All rules.
pub struct Rules {
    /// Whether any rule is for a function: all that a call without rules looks at.
    concerned: [AtomicBool; Function::COUNT],
    rules: Mutex<State>,
}

#[derive(Default)]
struct State {
    last_id: u64,
    /// By age. Shared, so that a call can look at it without holding the lock.
    rules: Arc<Vec<Arc<Rule>>>,
}

impl Rules {
    /// None.
    pub fn new() -> Self {
        Self { concerned: std::array::from_fn(|_| AtomicBool::new(false)), rules: Mutex::default() }
    }

    /// A new one; gives its number.
    pub fn add(&self, new: NewRule) -> u64 {
        let mut state = lock(&self.rules);
        state.last_id += 1;
        let id = state.last_id;
        let rule = Arc::new(Rule { id, new, calls: AtomicU64::new(0), fired: AtomicU64::new(0) });
        let rules = state.rules.iter().cloned().chain([rule]).collect();
        self.replace(&mut state, rules);
        id
    }

    /// Takes one away.
    ///
    /// # Errors
    /// There is none of that number.
    pub fn drop_one(&self, id: u64) -> Result<(), String> {
        let mut state = lock(&self.rules);
        if !state.rules.iter().any(|rule| rule.id == id) {
            return Err(format!("there is no rule {id}"));
        }
        let rules = state.rules.iter().filter(|rule| rule.id != id).cloned().collect();
        self.replace(&mut state, rules);
        Ok(())
    }

    /// Takes all away.
    pub fn drop_all(&self) {
        self.replace(&mut lock(&self.rules), Vec::new());
    }

    fn replace(&self, state: &mut State, rules: Vec<Arc<Rule>>) {
        state.rules = Arc::new(rules);
        for function in Function::ALL {
            let concerned = state.rules.iter().any(|rule| rule.new.functions.contains(function));
            self.concerned[function.number()].store(concerned, Ordering::Release);
        }
    }

    /// Whether any rule is for a function.
    pub fn concern(&self, function: Function) -> bool {
        self.concerned[function.number()].load(Ordering::Acquire)
    }

    /// What happens to a call. Every rule that it is for counts it.
    pub fn plan(&self, function: Function, subject: &Subject<'_>) -> Plan {
        let rules = Arc::clone(&lock(&self.rules).rules);
        let mut plan = Plan::default();
        for rule in rules.iter() {
            if rule.new.functions.contains(&function) && rule.new.scope.covers(subject) && rule.new.input.covers(subject) {
                let call = rule.calls.fetch_add(1, Ordering::Relaxed) + 1;
                if rule.new.trigger.fires(call) {
                    rule.fired.fetch_add(1, Ordering::Relaxed);
                    plan.add(&rule.new);
                }
            }
        }
        plan
    }

    /// All rules, and how often each counted and fired.
    pub fn json(&self) -> Value {
        let rules = Arc::clone(&lock(&self.rules).rules);
        rules
            .iter()
            .map(|rule| {
                json!({
                    "rule": rule.id,
                    "text": rule.new.text,
                    "calls": rule.calls.load(Ordering::Relaxed),
                    "fired": rule.fired.load(Ordering::Relaxed),
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cryptoki_sys::{CKR_DEVICE_ERROR, CKR_HOST_MEMORY};

    fn rule(function: Function, scope: Scope, trigger: Trigger, effect: Effect, moment: Moment) -> NewRule {
        NewRule { text: String::new(), functions: vec![function], scope, input: Input::default(), trigger, effect, moment }
    }

    fn everywhere() -> Scope {
        Scope::Place(Place::Everywhere)
    }

    fn nobody() -> Subject<'static> {
        Subject { session: None, slot: None, label: Box::new(|| None), data: None, key: Box::new(|| None) }
    }

    const FAIL: Effect = Effect::Fail(CKR_DEVICE_ERROR, Operation::Ends);

    #[test]
    fn triggers_count() {
        let fired = |trigger: Trigger| (1..=6).filter(|call| trigger.fires(*call)).collect::<Vec<_>>();
        assert_eq!(fired(Trigger::Always), [1, 2, 3, 4, 5, 6]);
        assert_eq!(fired(Trigger::Nth(2)), [2]);
        assert_eq!(fired(Trigger::Every(3)), [3, 6]);
        assert_eq!(fired(Trigger::Times(2)), [1, 2]);
    }

    #[test]
    fn a_rule_is_for_its_function_and_scope() {
        let rules = Rules::new();
        let id =
            rules.add(rule(Function::C_Sign, Scope::Place(Place::Token("a b".to_owned())), Trigger::Always, FAIL, Moment::Before));
        assert!(rules.concern(Function::C_Sign) && !rules.concern(Function::C_Encrypt));
        assert_eq!(rules.plan(Function::C_Sign, &nobody()), Plan::default());
        let inside = Subject { session: Some(1), slot: Some(2), label: Box::new(|| Some("a b".to_owned())), ..nobody() };
        assert_eq!(rules.plan(Function::C_Sign, &inside).instead, Some((CKR_DEVICE_ERROR, Operation::Ends)));
        assert_eq!(rules.plan(Function::C_Encrypt, &inside), Plan::default());
        assert_eq!(rules.json()[0]["calls"], 1);
        rules.drop_one(id).unwrap();
        assert!(rules.drop_one(id).is_err());
        assert!(!rules.concern(Function::C_Sign));
        for scope in [Scope::Session(1), Scope::Place(Place::Slot(2)), everywhere()] {
            rules.add(rule(Function::C_Sign, scope, Trigger::Always, Effect::Hang, Moment::After));
            assert!(rules.plan(Function::C_Sign, &inside).hangs_after);
            rules.drop_all();
        }
        for scope in [Scope::Session(2), Scope::Place(Place::Slot(1))] {
            rules.add(rule(Function::C_Sign, scope, Trigger::Always, Effect::Hang, Moment::After));
            assert_eq!(rules.plan(Function::C_Sign, &inside), Plan::default());
        }
    }

    #[test]
    fn a_rule_is_for_its_data_and_key() {
        let rules = Rules::new();
        let input = Input { above: Some(16), key: Some(b"a key".to_vec()) };
        rules.add(NewRule { input, ..rule(Function::C_Sign, everywhere(), Trigger::Always, FAIL, Moment::Before) });
        let fires = |data, key: &'static str| {
            let subject = Subject { data, key: Box::new(move || Some(key.as_bytes().to_vec())), ..nobody() };
            rules.plan(Function::C_Sign, &subject).instead.is_some()
        };
        assert!(fires(Some(17), "a key"));
        assert!(!fires(Some(16), "a key") && !fires(None, "a key") && !fires(Some(17), "another key"));
    }

    #[test]
    fn the_oldest_answer_and_all_latencies_count() {
        let rules = Rules::new();
        let wait = Effect::Latency(Duration::from_millis(2), Duration::from_millis(1));
        for effect in [FAIL, Effect::Fail(CKR_HOST_MEMORY, Operation::StaysActive), wait, wait] {
            rules.add(rule(Function::C_Sign, everywhere(), Trigger::Always, effect, Moment::Before));
        }
        let plan = rules.plan(Function::C_Sign, &nobody());
        assert_eq!(plan.instead, Some((CKR_DEVICE_ERROR, Operation::Ends)));
        assert!((4..=6).contains(&plan.latency.as_millis()), "{plan:?}");
    }
}
