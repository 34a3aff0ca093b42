//! Random bytes: lengths and limits.

use std::collections::HashSet;

use keystead::base::Kind;
use keystead::tier::RANDOM_LIMIT;
use keystead::tier::Share;

use crate::bench::{Bench, assert_refused};

pub async fn lengths_have_limits(bench: &Bench) {
    for length in [1, 2, 16, 1024, RANDOM_LIMIT] {
        assert_eq!(bench.tier.random(Share::default(), length).await.unwrap().len(), length);
    }
    for length in [0, RANDOM_LIMIT + 1, usize::MAX] {
        assert_refused(bench.tier.random(Share::default(), length).await, Kind::InvalidParameter);
    }
}

pub async fn draws_differ(bench: &Bench) {
    let mut seen = HashSet::new();
    for _ in 0..200 {
        let draw = bench.tier.random(Share::default(), 32).await.unwrap();
        assert!(seen.insert(draw.expose().to_vec()), "a draw came twice");
    }
    let long = bench.tier.random(Share::default(), RANDOM_LIMIT).await.unwrap();
    let values: HashSet<u8> = long.expose().iter().copied().collect();
    assert_eq!(values.len(), 256, "4096 random bytes miss a value once in 100,000 times");
}
