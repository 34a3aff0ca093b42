//! `latency`.

use std::time::{Duration, Instant};

use crate::{World, apart};

#[test]
fn calls_take_longer_and_not_in_turn() {
    apart(|| {
        let (World { fault, raw }, token) = World::ready();
        let time = |calls: u32| {
            let began = Instant::now();
            (0..calls).for_each(|_| raw.random(token.session).unwrap());
            began.elapsed()
        };
        let _rule = fault.rule("latency C_GenerateRandom 5ms");
        // It may take longer on a busy machine, and never less.
        assert!(time(10) >= Duration::from_millis(50));
        let sessions = [(); 16].map(|()| raw.open(token.slot).unwrap());
        let began = Instant::now();
        std::thread::scope(|scope| {
            for session in sessions {
                scope.spawn(move || (0..10).for_each(|_| raw.random(session).unwrap()));
            }
        });
        // In turn it were 800 ms.
        assert!((Duration::from_millis(50)..Duration::from_millis(600)).contains(&began.elapsed()), "{:?}", began.elapsed());
        fault.tell("clear");
        let _rule = fault.rule("latency C_GenerateRandom 500us jitter=4.5ms times=100");
        assert!((Duration::from_millis(50)..).contains(&time(100)));
    });
}
