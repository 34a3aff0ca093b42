//! Callers beside a test: at work until they are stopped, and then what they were answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use keystead::base::Error;
use keystead::tier::KeyHandle;
use keystead::tier::pkcs11::Pkcs11Tier;

use crate::calls::{random, round_trip, sign};

/// One answer.
pub struct Answer {
    pub failure: Option<Error>,
    pub took: Duration,
}

/// What callers do.
#[derive(Clone)]
pub enum Call {
    Seal(Arc<dyn KeyHandle>),
    Sign(Arc<dyn KeyHandle>),
    Random(Arc<Pkcs11Tier>),
}

impl Call {
    pub async fn once(&self) -> Answer {
        let begun = Instant::now();
        let result = match self {
            Self::Seal(key) => round_trip(&**key, b"a text").await,
            Self::Sign(key) => sign(&**key, b"a text").await,
            Self::Random(tier) => random(tier).await,
        };
        Answer { failure: result.err(), took: begun.elapsed() }
    }
}

/// Callers at work until they are stopped; then what they were answered.
pub struct Callers {
    stop: Arc<AtomicBool>,
    running: Vec<tokio::task::JoinHandle<Vec<Answer>>>,
}

impl Callers {
    pub fn start(callers: usize, call: &Call) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let running = (0..callers)
            .map(|_| {
                let (stop, call) = (Arc::clone(&stop), call.clone());
                tokio::spawn(async move {
                    let mut answers = Vec::new();
                    while !stop.load(Ordering::SeqCst) {
                        let answer = call.once().await;
                        if answer.failure.is_some() {
                            // A caller that is sent away does not come back in the same microsecond.
                            tokio::time::sleep(Duration::from_millis(1)).await;
                        }
                        answers.push(answer);
                        tokio::task::yield_now().await;
                    }
                    answers
                })
            })
            .collect();
        Self { stop, running }
    }

    pub async fn stop(self) -> Vec<Answer> {
        self.stop.store(true, Ordering::SeqCst);
        let mut all = Vec::new();
        for caller in self.running {
            all.extend(caller.await.unwrap());
        }
        all
    }

    /// Stops them; nobody may have noticed anything but time, and how much that was at the most is what this says.
    pub async fn went_on(self) -> Duration {
        let answers = self.stop().await;
        let failures: Vec<_> = answers.iter().filter_map(|answer| answer.failure.as_ref()).collect();
        assert!(!answers.is_empty(), "nobody called");
        assert!(failures.is_empty(), "{} of {} failed, as: {:?}", failures.len(), answers.len(), failures.first());
        answers.iter().map(|answer| answer.took).max().unwrap_or_default()
    }
}
