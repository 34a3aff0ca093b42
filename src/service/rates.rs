//! How much of the limits of endpoints is used: counted by the endpoints, request by request, and looked at for alerts.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

use super::Kms;
use crate::model::alert::Alert;
use crate::model::limits::{Group, LimitedEndpoint};

/// What of a limit is told of; less is not kept.
const WORTH_TELLING: u64 = 70;

/// The requests of a group at an endpoint of this node, which has a limit for them.
pub struct RateUse {
    endpoint: LimitedEndpoint,
    group: Group,
    limit: NonZeroU32,
    /// A second, in the upper half, and how many were admitted in it.
    second: AtomicU64,
    /// The most of a second since it was told of, if that is worth telling.
    most: AtomicU32,
}

impl RateUse {
    fn new(endpoint: LimitedEndpoint, group: Group, limit: NonZeroU32) -> Self {
        Self { endpoint, group, limit, second: AtomicU64::new(0), most: AtomicU32::new(0) }
    }

    /// Counts a request that was admitted in this second since any beginning.
    pub fn count(&self, second: u32) {
        let mut counted = self.second.load(Ordering::Relaxed);
        let admitted = loop {
            let is_later = u64::from(second) > counted >> 32;
            let next = if is_later { u64::from(second) << 32 | 1 } else { counted + 1 };
            match self.second.compare_exchange_weak(counted, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => break next & u64::from(u32::MAX),
                Err(other) => counted = other,
            }
        };
        if admitted * 100 >= u64::from(self.limit.get()) * WORTH_TELLING {
            self.most.fetch_max(u32::try_from(admitted).unwrap_or(u32::MAX), Ordering::Relaxed);
        }
    }
}

/// A number that was looked at, and that is forgotten when it is told.
pub(super) struct Seen {
    rate: Arc<RateUse>,
    most: u32,
}

impl Seen {
    /// It was told: what came meanwhile stays.
    pub(super) fn told(&self) {
        let _ = self.rate.most.compare_exchange(self.most, 0, Ordering::Relaxed, Ordering::Relaxed);
    }
}

impl Kms {
    /// Somewhere to count the requests of a group at an endpoint that has a limit for them.
    pub fn rate_use(&self, endpoint: LimitedEndpoint, group: Group, limit: NonZeroU32) -> Arc<RateUse> {
        let rate = Arc::new(RateUse::new(endpoint, group, limit));
        self.rates.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&rate));
        rate
    }

    /// The alerts of limits that are nearly used up, and what they are made of.
    pub(super) fn rate_alerts(&self) -> (Vec<Alert>, Vec<Seen>) {
        let rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let seen = rates.into_iter().map(|rate| Seen { most: rate.most.load(Ordering::Relaxed), rate });
        let seen: Vec<_> = seen.filter(|seen| seen.most > 0).collect();
        let now = self.now();
        let alerts = seen.iter().flat_map(|Seen { rate, most }| Alert::rate(&rate.endpoint, rate.group, rate.limit, *most, now));
        (alerts.collect(), seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(limit: u32) -> RateUse {
        RateUse::new(LimitedEndpoint::Shared, Group::Reads, NonZeroU32::new(limit).unwrap())
    }

    #[test]
    fn the_most_of_a_second_is_kept_when_it_is_worth_telling() {
        let rate = rate(10);
        let count = |second, times| (0..times).for_each(|_| rate.count(second));
        count(0, 6);
        count(1, 6);
        assert_eq!(rate.most.load(Ordering::Relaxed), 0, "seconds do not add up");
        count(5, 8);
        count(6, 7);
        count(5, 1);
        assert_eq!(rate.most.load(Ordering::Relaxed), 8, "one that is late counts to the second that is");
    }

    #[test]
    fn threads_lose_nothing() {
        let rate = rate(1000);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..250).for_each(|_| rate.count(3)));
            }
        });
        assert_eq!(rate.most.load(Ordering::Relaxed), 1000);
    }
}
