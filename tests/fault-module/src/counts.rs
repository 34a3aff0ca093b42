//! How often each function was called, and with what outcome.

use std::array;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use cryptoki_sys::{CK_RV, CKR_OK};
use serde_json::{Map, Value, json};

use crate::function::Function;
use crate::{lock, rv};

/// The counts of one function, on a cache line of their own.
#[derive(Default)]
#[repr(align(64))]
struct Tally {
    calls: AtomicU64,
    fine: AtomicU64,
}

/// The counts of all functions.
pub struct Counts {
    tallies: [Tally; Function::COUNT],
    /// What was not CKR_OK: rare enough for a lock.
    failures: Mutex<BTreeMap<(Function, CK_RV), u64>>,
}

impl Counts {
    /// All zero.
    pub fn new() -> Self {
        Self { tallies: array::from_fn(|_| Tally::default()), failures: Mutex::default() }
    }

    /// A call came.
    pub fn called(&self, function: Function) {
        self.tallies[function.number()].calls.fetch_add(1, Ordering::Relaxed);
    }

    /// A call is answered.
    pub fn answered(&self, function: Function, answer: CK_RV) {
        if answer == CKR_OK {
            self.tallies[function.number()].fine.fetch_add(1, Ordering::Relaxed);
        } else {
            *lock(&self.failures).entry((function, answer)).or_default() += 1;
        }
    }

    /// All zero again. A call that is under way counts with its outcome only.
    pub fn reset(&self) {
        let mut failures = lock(&self.failures);
        for tally in &self.tallies {
            tally.calls.store(0, Ordering::Relaxed);
            tally.fine.store(0, Ordering::Relaxed);
        }
        failures.clear();
    }

    /// `calls` by function, `outcomes` by name, `failures` by function and name; what is zero is left out.
    pub fn json(&self) -> Value {
        let failures = lock(&self.failures);
        let mut calls = Map::new();
        let mut outcomes = BTreeMap::<String, u64>::new();
        for function in Function::ALL {
            let tally = &self.tallies[function.number()];
            let count = tally.calls.load(Ordering::Relaxed);
            if count != 0 {
                calls.insert(function.name().to_owned(), count.into());
            }
            let fine = tally.fine.load(Ordering::Relaxed);
            if fine != 0 {
                *outcomes.entry(rv::name(CKR_OK)).or_default() += fine;
            }
        }
        let mut by_function = BTreeMap::<&str, BTreeMap<String, u64>>::new();
        for ((function, answer), count) in failures.iter() {
            *outcomes.entry(rv::name(*answer)).or_default() += count;
            by_function.entry(function.name()).or_default().insert(rv::name(*answer), *count);
        }
        json!({ "calls": calls, "outcomes": outcomes, "failures": by_function })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cryptoki_sys::CKR_DEVICE_ERROR;

    #[test]
    fn calls_and_outcomes_are_told_apart() {
        let counts = Counts::new();
        for answer in [CKR_OK, CKR_OK, CKR_DEVICE_ERROR] {
            counts.called(Function::C_Sign);
            counts.answered(Function::C_Sign, answer);
        }
        counts.called(Function::C_Login);
        assert_eq!(
            counts.json(),
            json!({
                "calls": { "C_Login": 1, "C_Sign": 3 },
                "outcomes": { "CKR_OK": 2, "CKR_DEVICE_ERROR": 1 },
                "failures": { "C_Sign": { "CKR_DEVICE_ERROR": 1 } },
            })
        );
        counts.reset();
        assert_eq!(counts.json(), json!({ "calls": {}, "outcomes": {}, "failures": {} }));
    }
}
