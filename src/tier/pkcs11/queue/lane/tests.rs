//! A lane is fair and refuses whom it should. Time stands still but for what a test waits for.

mod safety;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use tokio::sync::oneshot;
use tokio::time::{sleep, timeout_at};

use super::*;

const A: Share = Share::new(1);
const B: Share = Share::new(2);
const C: Share = Share::new(3);

type Acquiring = Pin<Box<dyn Future<Output = Result<Permit, Refused>> + Send>>;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A job that hands its permit to whoever asked; that one may be gone.
struct Asked(oneshot::Sender<Result<Permit, Refused>>);

impl Job for Asked {
    fn start(self: Box<Self>, permit: Permit) {
        drop(self.0.send(Ok(permit)));
    }

    fn run(&mut self, _: Permit) -> Option<Permit> {
        unreachable!("nobody drives it")
    }

    fn tell(self: Box<Self>) {}

    fn refuse(self: Box<Self>, why: Refused) {
        let _ = self.0.send(Err(why));
    }
}

async fn acquire(lane: &Arc<Lane>, share: Share, deadline: Instant) -> Result<Permit, Refused> {
    let (answer, answered) = oneshot::channel();
    let _waiting = lane.submit(share, deadline, Box::new(Asked(answer)));
    timeout_at(deadline, answered).await.map_err(|_| Refused::TimedOut)?.expect("a job is started or refused")
}

/// A caller with an hour of time.
fn ask(lane: &Arc<Lane>, share: Share) -> Acquiring {
    ask_for(lane, share, ms(3_600_000))
}

fn ask_for(lane: &Arc<Lane>, share: Share, time: Duration) -> Acquiring {
    let lane = Arc::clone(lane);
    Box::pin(async move { acquire(&lane, share, Instant::now() + time).await })
}

fn look(caller: &mut Acquiring) -> Poll<Result<Permit, Refused>> {
    caller.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// A caller who is in the queue.
fn queued(lane: &Arc<Lane>, share: Share) -> Acquiring {
    let mut caller = ask(lane, share);
    assert!(look(&mut caller).is_pending());
    lane.lock().check();
    caller
}

fn granted(caller: &mut Acquiring) -> Option<Permit> {
    match look(caller) {
        Poll::Ready(Ok(permit)) => Some(permit),
        Poll::Ready(Err(reason)) => panic!("refused: {reason:?}"),
        Poll::Pending => None,
    }
}

fn refused(caller: &mut Acquiring) -> Option<Refused> {
    match look(caller) {
        Poll::Ready(result) => result.err(),
        Poll::Pending => None,
    }
}

/// Serves callers one after the other, each for `time`, and says in which order.
async fn serve(callers: &mut Vec<Acquiring>, time: Duration) -> Vec<Share> {
    let mut order = Vec::new();
    let next = |(at, caller): (usize, &mut Acquiring)| granted(caller).map(|permit| (at, permit));
    while let Some((at, permit)) = callers.iter_mut().enumerate().find_map(next) {
        drop(callers.remove(at));
        order.push(permit.share().unwrap());
        sleep(time).await;
    }
    order
}

/// Makes calls one after the other, each of `time`.
async fn call(lane: &Arc<Lane>, share: Share, time: Duration, calls: usize) {
    for _ in 0..calls {
        let permit = ask(lane, share).await.unwrap();
        sleep(time).await;
        drop(permit);
    }
}

#[tokio::test(start_paused = true)]
async fn a_free_permit_is_there_at_once_and_comes_back() {
    let lane = Lane::new(2, 8);
    let first = granted(&mut ask(&lane, A)).unwrap();
    let second = granted(&mut ask(&lane, B)).unwrap();
    assert_eq!((lane.capacity(), lane.busy(), lane.waiting()), (2, 2, 0));
    assert_eq!((second.share(), second.waited()), (Some(B), ms(0)));
    let mut third = queued(&lane, A);
    assert_eq!(lane.waiting(), 1);
    sleep(ms(3)).await;
    std::thread::spawn(move || drop(first)).join().unwrap();
    assert_eq!((lane.busy(), lane.waiting()), (2, 0));
    assert!(granted(&mut third).is_some_and(|permit| permit.share() == Some(A)));
    drop(second);
    assert_eq!(lane.busy(), 0);
    lane.lock().check();
}

#[tokio::test(start_paused = true)]
async fn a_share_is_served_in_order_and_its_waiting_is_told() {
    let lane = Lane::new(1, 8);
    let held = granted(&mut ask(&lane, A)).unwrap();
    let mut callers: Vec<_> = (0..4).map(|_| queued(&lane, A)).collect();
    sleep(ms(5)).await;
    let mut held = Some(held);
    while !callers.is_empty() {
        assert!(callers.iter_mut().all(|caller| granted(caller).is_none()));
        drop(held.take());
        held = granted(&mut callers.remove(0));
        assert_eq!(held.as_ref().unwrap().waited(), ms(5));
    }
}

/// A job that notes that it ran, and where.
struct Noting {
    number: usize,
    ran: Arc<Mutex<Vec<(usize, std::thread::ThreadId)>>>,
    threads: Arc<AtomicUsize>,
}

impl Job for Noting {
    fn start(self: Box<Self>, permit: Permit) {
        self.threads.fetch_add(1, Ordering::SeqCst);
        std::thread::spawn(move || drive(self, permit).tell());
    }

    fn run(&mut self, permit: Permit) -> Option<Permit> {
        self.ran.lock().unwrap().push((self.number, std::thread::current().id()));
        // Every third gives its permit away, as a call that is written off.
        if self.number % 3 == 2 { None } else { Some(permit) }
    }

    fn tell(self: Box<Self>) {}

    fn refuse(self: Box<Self>, why: Refused) {
        panic!("{} is refused: {why:?}", self.number);
    }
}

#[tokio::test]
async fn who_waited_runs_on_the_thread_of_the_one_before() {
    let lane = Lane::new(1, 100);
    let (ran, threads) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
    let held = granted(&mut ask(&lane, A)).unwrap();
    let deadline = Instant::now() + ms(60_000);
    let waiting: Vec<_> = (0..9)
        .map(|number| {
            let job = Noting { number, ran: Arc::clone(&ran), threads: Arc::clone(&threads) };
            lane.submit(A, deadline, Box::new(job))
        })
        .collect();
    drop(held);
    while lane.busy() > 0 || lane.waiting() > 0 {
        tokio::task::yield_now().await;
    }
    let ran = ran.lock().unwrap();
    assert_eq!(ran.iter().map(|(number, _)| *number).collect::<Vec<_>>(), (0..9).collect::<Vec<_>>());
    for three in ran.chunks(3) {
        assert!(three.iter().all(|(_, thread)| *thread == three[0].1), "{three:?}");
    }
    assert_eq!(threads.load(Ordering::SeqCst), 3);
    drop(waiting);
    lane.lock().check();
}

/// A job that waits for the test to go on.
struct Held {
    told: oneshot::Sender<()>,
    gate: Arc<std::sync::Barrier>,
    hangs: Hangs,
}

#[derive(PartialEq)]
enum Hangs {
    Yes,
    No,
}

impl Job for Held {
    fn start(self: Box<Self>, permit: Permit) {
        tokio::spawn(drive_in_turn(self, permit));
    }

    fn run(&mut self, permit: Permit) -> Option<Permit> {
        if self.hangs == Hangs::Yes {
            self.gate.wait();
            self.gate.wait();
        }
        Some(permit)
    }

    fn tell(self: Box<Self>) {
        let _ = self.told.send(());
    }

    fn refuse(self: Box<Self>, why: Refused) {
        panic!("refused: {why:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_ran_before_one_that_hangs_is_told() {
    let lane = Lane::new(1, 100);
    let gate = Arc::new(std::sync::Barrier::new(2));
    let held = granted(&mut ask(&lane, A)).unwrap();
    let deadline = Instant::now() + ms(60_000);
    let (waiting, mut told): (Vec<_>, Vec<_>) = (0..20)
        .map(|number| {
            let (sender, told) = oneshot::channel();
            let hangs = if number == 3 { Hangs::Yes } else { Hangs::No };
            (lane.submit(A, deadline, Box::new(Held { told: sender, gate: Arc::clone(&gate), hangs })), told)
        })
        .unzip();
    drop(held);
    // The fourth is in its call.
    gate.wait();
    lane.tell();
    assert!(told[..3].iter_mut().all(|told| told.try_recv().is_ok()));
    assert!(told[3..].iter_mut().all(|told| told.try_recv().is_err()));
    gate.wait();
    for told in told.split_off(3) {
        told.await.unwrap();
    }
    drop(waiting);
}

#[tokio::test(start_paused = true)]
async fn a_flood_is_not_before_single_calls() {
    let lane = Lane::new(4, 2000);
    let floods = Arc::new(AtomicUsize::new(0));
    for _ in 0..1000 {
        let (caller, floods) = (ask(&lane, A), Arc::clone(&floods));
        tokio::spawn(async move {
            let _permit = caller.await.unwrap();
            sleep(ms(1)).await;
            floods.fetch_add(1, Ordering::Relaxed);
        });
    }
    while lane.waiting() < 996 {
        tokio::task::yield_now().await;
    }
    for _ in 0..100 {
        let permit = ask(&lane, B).await.unwrap();
        assert!(permit.waited() <= ms(1), "waited {:?}", permit.waited());
        sleep(ms(1)).await;
    }
    // One call at a time takes one permit of four, at most half the time of the lane.
    let floods = floods.load(Ordering::Relaxed);
    assert!((300..=800).contains(&floods), "{floods}");
}

#[tokio::test(start_paused = true)]
async fn time_is_shared_not_calls() {
    for permits in [1, 2, 8] {
        let lane = Lane::new(permits, 1000);
        let end = Instant::now() + ms(4000);
        let mut tasks = Vec::new();
        for (share, time) in [(A, ms(20)), (B, ms(1)), (C, ms(5))] {
            for _ in 0..30 {
                let lane = Arc::clone(&lane);
                tasks.push(tokio::spawn(async move {
                    let (mut held, mut longest) = (Duration::ZERO, Duration::ZERO);
                    while Instant::now() < end {
                        let permit = ask(&lane, share).await.unwrap();
                        longest = longest.max(permit.waited());
                        sleep(time).await;
                        // At the end the queue runs dry, and there is nothing to be shared.
                        held += if Instant::now() < end { time } else { Duration::ZERO };
                    }
                    (share, held, longest)
                }));
            }
        }
        let mut held = [Duration::ZERO; 3];
        for task in tasks {
            let (share, time, longest) = task.await.unwrap();
            held[[A, B, C].iter().position(|other| *other == share).unwrap()] += time;
            // Thirty callers of one millisecond with a third of the time come around within 90 ms for each permit; slow ones run meanwhile.
            assert!(share != B || longest < ms(300), "{permits} permits: a fast call waited {longest:?}");
        }
        let total: Duration = held.iter().sum();
        for part in held.map(|time| time.as_secs_f64() / total.as_secs_f64()) {
            assert!((0.30..0.37).contains(&part), "{permits} permits: {held:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn slow_calls_in_flight_count() {
    let lane = Lane::new(8, 100);
    call(&lane, A, ms(40), 16).await;
    call(&lane, B, ms(1), 16).await;
    let held: Vec<_> = (0..8).map(|_| granted(&mut ask(&lane, C)).unwrap()).collect();
    let mut slow: Vec<_> = (0..8).map(|_| queued(&lane, A)).collect();
    let mut fast: Vec<_> = (0..8).map(|_| queued(&lane, B)).collect();
    drop(held);
    // None has ended yet; what the calls of a share took before tells what these will take.
    let slow: Vec<_> = slow.iter_mut().filter_map(granted).collect();
    let fast: Vec<_> = fast.iter_mut().filter_map(granted).collect();
    assert_eq!((slow.len(), fast.len()), (1, 7));
}

#[tokio::test(start_paused = true)]
async fn idling_earns_nothing() {
    let lane = Lane::new(1, 100);
    call(&lane, B, ms(10), 16).await;
    sleep(ms(60_000)).await;
    call(&lane, A, ms(10), 320).await;
    let held = granted(&mut ask(&lane, C)).unwrap();
    let mut callers: Vec<_> = [A, B].iter().flat_map(|share| (0..10).map(|_| queued(&lane, *share)).collect::<Vec<_>>()).collect();
    drop(held);
    let order = serve(&mut callers, ms(10)).await;
    assert_eq!(order[..10].iter().filter(|share| **share == B).count(), 5, "{order:?}");
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_has_room_for_a_share_with_less_in_it() {
    let lane = Lane::new(1, 4);
    let held = granted(&mut ask(&lane, A)).unwrap();
    let mut callers: Vec<_> = (0..4).map(|_| queued(&lane, A)).collect();
    assert_eq!(refused(&mut ask(&lane, A)), Some(Refused::Full));
    callers.push(queued(&lane, B));
    assert_eq!(refused(&mut callers.remove(3)), Some(Refused::Full), "the newest of the flood");
    callers.push(queued(&lane, B));
    assert_eq!(refused(&mut callers.remove(2)), Some(Refused::Full));
    // Two of each: a third is no better than what is there, the first of another share is.
    assert_eq!(refused(&mut ask(&lane, A)), Some(Refused::Full));
    assert_eq!(refused(&mut ask(&lane, B)), Some(Refused::Full));
    callers.push(queued(&lane, C));
    assert_eq!(refused(&mut callers.remove(3)), Some(Refused::Full));
    assert_eq!(refused(&mut ask(&lane, C)), Some(Refused::Full));
    assert_eq!(lane.waiting(), 4);
    sleep(ms(1)).await;
    drop(held);
    assert_eq!(serve(&mut callers, ms(1)).await, [B, C, A, A]);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_where_nobody_may() {
    let lane = Lane::new(0, 0);
    let held = granted(&mut ask(&lane, A)).unwrap();
    assert_eq!(refused(&mut ask(&lane, B)), Some(Refused::Full));
    drop(held);
    assert!(granted(&mut ask(&lane, B)).is_some());
}

#[tokio::test(start_paused = true)]
async fn who_cannot_be_served_in_time_is_told_at_once() {
    let lane = Lane::new(2, 100);
    call(&lane, A, ms(10), 15).await;
    let held: Vec<_> = (0..2).map(|_| granted(&mut ask(&lane, A)).unwrap()).collect();
    let flood: Vec<_> = (0..30).map(|_| queued(&lane, A)).collect();
    assert_eq!(refused(&mut ask_for(&lane, A, ms(1))), None, "fifteen calls are too few to go by");
    drop(flood);
    // Permits that were good for no call tell nothing of calls.
    assert_eq!(held.into_iter().map(Permit::forget).collect::<Vec<_>>(), [true, false]);
    lane.resize(2);
    assert!(!lane.lock().is_settled());
    call(&lane, A, ms(10), 1).await;

    let held: Vec<_> = (0..2).map(|_| granted(&mut ask(&lane, A)).unwrap()).collect();
    let mut callers: Vec<_> = (0..30).map(|_| queued(&lane, A)).collect();
    // Thirty calls of 10 ms on two permits take 150 ms, and twice 10 ms are kept for the caller's own.
    assert_eq!(refused(&mut ask_for(&lane, A, ms(165))), Some(Refused::Hopeless));
    assert_eq!(refused(&mut ask_for(&lane, A, ms(175))), None);
    // One caller of another share is one more to wait for, not one before each of them.
    callers.push(queued(&lane, B));
    assert_eq!(refused(&mut ask_for(&lane, A, ms(170))), Some(Refused::Hopeless));
    assert_eq!(refused(&mut ask_for(&lane, A, ms(180))), None);
    // A share's first caller waits for no flood. Its eleventh waits for ten of its own and ten of the flood.
    callers.extend((0..9).map(|_| queued(&lane, B)));
    assert_eq!(refused(&mut ask_for(&lane, C, ms(15))), Some(Refused::Hopeless), "its own call would not end in time");
    assert_eq!(refused(&mut ask_for(&lane, C, ms(25))), None);
    assert_eq!(refused(&mut ask_for(&lane, B, ms(115))), Some(Refused::Hopeless));
    assert_eq!(refused(&mut ask_for(&lane, B, ms(125))), None);
    drop(held);
    assert_eq!(serve(&mut callers, ms(1)).await.len(), 40);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_is_kept() {
    let lane = Lane::new(1, 8);
    assert_eq!(refused(&mut ask_for(&lane, A, ms(0))), Some(Refused::TimedOut), "even with a permit free");
    let held = granted(&mut ask(&lane, A)).unwrap();
    let asked = Instant::now();
    assert_eq!(ask_for(&lane, B, ms(30)).await.err(), Some(Refused::TimedOut));
    assert_eq!((asked.elapsed(), lane.waiting()), (ms(30), 0));
    drop(held);
    assert_eq!(lane.busy(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_is_shut_sends_everybody_away() {
    let lane = Lane::new(1, 8);
    let held = granted(&mut ask(&lane, A)).unwrap();
    let mut waiting = queued(&lane, A);
    let mut taken = queued(&lane, B);
    drop(held);
    let mut shut: Vec<_> = [A, B].map(|share| ask(&lane, share)).into();
    assert!(look(&mut shut[0]).is_pending());
    lane.shut();
    lane.lock().check();
    assert_eq!(refused(&mut shut[0]), Some(Refused::Shut));
    assert_eq!(refused(&mut shut[1]), Some(Refused::Shut));
    // What was granted before is good, received or not.
    let permit = granted(&mut waiting).unwrap();
    assert_eq!(refused(&mut taken), Some(Refused::Shut));
    drop(permit);
    lane.open();
    assert!(granted(&mut ask(&lane, A)).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_lane_shrinks_and_grows() {
    let lane = Lane::new(3, 8);
    let held: Vec<_> = (0..3).map(|_| granted(&mut ask(&lane, A)).unwrap()).collect();
    let mut callers: Vec<_> = (0..3).map(|_| queued(&lane, A)).collect();
    let forgotten: Vec<_> = held.into_iter().map(Permit::forget).collect();
    assert_eq!(forgotten, [true, true, false]);
    assert_eq!((lane.capacity(), lane.busy(), lane.waiting()), (1, 1, 2));
    lane.resize(2);
    assert_eq!((lane.capacity(), lane.busy(), lane.waiting()), (2, 2, 1));
    // What is out stays out, and is not granted again.
    lane.resize(1);
    assert_eq!((lane.capacity(), lane.busy(), lane.waiting()), (1, 2, 1));
    assert_eq!(serve(&mut callers, ms(1)).await.len(), 3);
    lane.lock().check();
}

#[tokio::test(start_paused = true)]
async fn one_call_that_hangs_spoils_neither_average_nor_share() {
    let lane = Lane::new(1, 100);
    call(&lane, A, ms(10), 16).await;
    call(&lane, B, ms(10), 16).await;
    let hung = granted(&mut ask(&lane, A)).unwrap();
    let mut callers: Vec<_> = [A, B].iter().flat_map(|share| (0..20).map(|_| queued(&lane, *share)).collect::<Vec<_>>()).collect();
    sleep(ms(8000)).await;
    drop(hung);
    assert!(lane.lock().average() <= ms(15), "{:?}", lane.lock().average());
    // It is charged 50 ms, five calls of the other share.
    let order = serve(&mut callers, ms(10)).await;
    let first = order.iter().position(|share| *share == A).unwrap();
    assert!((3..=6).contains(&first), "{order:?}");
}

#[tokio::test(start_paused = true)]
async fn idle_shares_are_forgotten() {
    let lane = Lane::new(1, 100);
    let held = granted(&mut ask(&lane, A)).unwrap();
    let mut waiting = queued(&lane, B);
    for number in 10..10_000 {
        assert!(look(&mut ask(&lane, Share::new(number))).is_pending());
    }
    assert!(lane.lock().accounts() <= 1024);
    lane.lock().check();
    drop(held);
    assert!(granted(&mut waiting).is_some());
}

#[test]
fn a_name_is_a_share() {
    assert_eq!(Share::of(b"aap-1"), Share::of(b"aap-1"));
    assert_ne!(Share::of(b"aap-1"), Share::of(b"aap-2"));
    assert_eq!(Share::default(), Share::new(0));
}
