//! Whatever callers do and whenever they go away, no permit is lost and none invented.

use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use tokio::time::sleep;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_leaves_nothing() {
    let lane = Lane::new(1, 8);
    let held = granted(&mut ask(&lane, A)).unwrap();
    drop(ask(&lane, A));
    let callers: Vec<_> = (0..3).map(|_| queued(&lane, A)).collect();
    let mut last = queued(&lane, B);
    drop(held);
    // The first is granted the permit and goes away without it, and so on.
    drop(callers);
    lane.lock().check();
    let permit = granted(&mut last).unwrap();
    drop(queued(&lane, C));
    assert_eq!((lane.busy(), lane.waiting()), (1, 0));
    drop(permit);
    assert_eq!(lane.busy(), 0);
    // Granted without knowing, and nobody waits.
    let held = granted(&mut ask(&lane, A)).unwrap();
    let unknowing = queued(&lane, A);
    drop(held);
    assert_eq!((lane.busy(), lane.waiting()), (1, 0));
    drop(unknowing);
    assert_eq!((lane.busy(), lane.waiting()), (0, 0));
    lane.lock().check();
}

#[derive(Clone, Debug)]
enum Step {
    Ask(u64),
    Look(usize),
    GoAway(usize),
    GiveBack(usize),
    Forget(usize),
    Shut,
    Open,
    Resize(usize),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..4u64).prop_map(Step::Ask),
        4 => any::<usize>().prop_map(Step::Look),
        3 => any::<usize>().prop_map(Step::GoAway),
        4 => any::<usize>().prop_map(Step::GiveBack),
        1 => any::<usize>().prop_map(Step::Forget),
        1 => Just(Step::Shut),
        2 => Just(Step::Open),
        1 => (0..6usize).prop_map(Step::Resize),
        2 => (0..40u64).prop_map(Step::Wait),
    ]
}

/// Takes one out, if there is one.
fn pick<T>(from: &mut Vec<T>, at: usize) -> Option<T> {
    (!from.is_empty()).then(|| from.swap_remove(at % from.len()))
}

async fn no_permit_is_lost_or_invented(steps: Vec<Step>) {
    let lane = Lane::new(3, 5);
    let mut capacity = 3;
    let mut held = Vec::new();
    let mut callers: Vec<Acquiring> = Vec::new();
    for step in steps {
        match step {
            Step::Ask(share) => {
                let mut caller = ask_for(&lane, Share::new(share), ms(50));
                match look(&mut caller) {
                    Poll::Ready(answer) => held.extend(answer.ok()),
                    Poll::Pending => callers.push(caller),
                }
            }
            Step::Look(at) => {
                if let Some(mut caller) = pick(&mut callers, at) {
                    match look(&mut caller) {
                        Poll::Ready(answer) => held.extend(answer.ok()),
                        Poll::Pending => callers.push(caller),
                    }
                }
            }
            Step::GoAway(at) => drop(pick(&mut callers, at)),
            Step::GiveBack(at) => drop(pick(&mut held, at)),
            Step::Forget(at) => {
                if let Some(permit) = pick(&mut held, at) {
                    let forgotten = permit.forget();
                    assert_eq!(forgotten, capacity > 1);
                    capacity -= usize::from(forgotten);
                }
            }
            Step::Shut => lane.shut(),
            Step::Open => lane.open(),
            Step::Resize(to) => {
                lane.resize(to);
                capacity = to.max(1);
            }
            Step::Wait(time) => sleep(ms(time)).await,
        }
        lane.lock().check();
        assert_eq!(lane.capacity(), capacity);
        assert!((held.len()..=held.len() + callers.len()).contains(&lane.busy()));
    }
    for mut caller in callers {
        if let Poll::Ready(Ok(permit)) = look(&mut caller) {
            held.push(permit);
        }
    }
    // Whoever was granted a permit has it now: the others are gone.
    assert_eq!((lane.busy(), lane.waiting()), (held.len(), 0));
    drop(held);
    lane.open();
    let all: Vec<_> = (0..capacity).map(|_| granted(&mut ask(&lane, A)).unwrap()).collect();
    assert_eq!((lane.busy(), all.len()), (capacity, lane.capacity()));
    drop(queued(&lane, A));
    drop(all);
    lane.lock().check();
    assert_eq!((lane.busy(), lane.waiting()), (0, 0));
}

proptest! {
    #[test]
    fn permits_are_neither_lost_nor_invented(steps in proptest::collection::vec(step(), 0..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(no_permit_is_lost_or_invented(steps));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn permits_survive_a_crowd() {
    const PERMITS: usize = 3;
    let lane = Lane::new(PERMITS, 16);
    let out = Arc::new(AtomicUsize::new(0));
    let mut tasks = Vec::new();
    for number in 0..48u64 {
        let (lane, out) = (Arc::clone(&lane), Arc::clone(&out));
        tasks.push(tokio::spawn(async move {
            let mut served = 0;
            for round in 0..400u64 {
                let kind = (number * 31 + round * 17) % 11;
                let patience = async {
                    for _ in 0..kind {
                        tokio::task::yield_now().await;
                    }
                };
                let time = if kind == 1 { Duration::from_micros(50) } else { ms(60_000) };
                let caller = ask_for(&lane, Share::new(number % 5), time);
                // Some go away after a while, granted or not.
                let answer = tokio::select! {
                    biased;
                    () = patience, if kind < 6 => continue,
                    answer = caller => answer,
                };
                let Ok(permit) = answer else {
                    tokio::task::yield_now().await;
                    continue;
                };
                assert!(out.fetch_add(1, Ordering::SeqCst) < PERMITS, "more permits than there are");
                served += 1;
                if kind == 7 {
                    tokio::task::yield_now().await;
                }
                let out = Arc::clone(&out);
                let end = move || {
                    out.fetch_sub(1, Ordering::SeqCst);
                    drop(permit);
                };
                if kind == 8 {
                    tokio::task::spawn_blocking(end).await.unwrap();
                } else {
                    end();
                }
                if number == 0 && round % 50 == 0 {
                    lane.shut();
                    tokio::task::yield_now().await;
                    lane.open();
                }
            }
            served
        }));
    }
    let mut served = 0;
    for task in tasks {
        served += task.await.unwrap();
    }
    assert!(served > 100, "{served}");
    lane.lock().check();
    assert_eq!((lane.capacity(), lane.busy(), lane.waiting()), (PERMITS, 0, 0));
}
