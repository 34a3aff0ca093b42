//! `keystead hsm bench`: how fast a token is, how much of that the tier gives, and how many sessions it takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;

use super::humane;
use crate::app::output::say;
use crate::base::{Kind, Result};
use crate::measure::{Comparison, Figures};
use crate::tier::Tier;
use crate::tier::pkcs11::bench::{Bench, Effort, Workload};
use crate::tier::pkcs11::{Oversubscription, Pkcs11Tier, Reserve, Settings};

/// What is measured.
const WORKLOADS: [Workload; 4] = [Workload::AesGcm(32), Workload::Rsa2048, Workload::P256, Workload::Random(32)];
/// Pairs of slices for each line, raw and tier in turn.
const PAIRS: usize = 5;
/// So much of the most that the token does is enough: more sessions than that takes only queue inside it.
const ENOUGH: f64 = 0.95;

/// How much is measured.
pub(in crate::app) struct Plan {
    /// Numbers of sessions.
    pub(in crate::app) sessions: Vec<usize>,
    /// For each line.
    pub(in crate::app) time: Duration,
}

/// Measures a token.
pub(super) async fn run(settings: Settings, plan: &Plan) -> Result<()> {
    let most = plan.sessions.iter().copied().max().unwrap_or(1);
    // As many as are measured: here it is found out what is best.
    let reserve = Reserve::of(&Handle::current());
    let relief = Some(reserve.relief());
    let settings = Settings { sessions: most, oversubscription: Oversubscription::Allow, relief, ..settings };
    let tier = Arc::new(Pkcs11Tier::connect(settings).await?);
    let lines = u32::try_from(WORKLOADS.len() * plan.sessions.len()).unwrap_or(u32::MAX);
    say!("{}", tier.describe().name);
    say!(
        "About {} for {lines} lines; Ctrl-C ends it and leaves nothing in the token. What else uses the token now is slowed, and slows it.",
        humane::time(plan.time * lines)
    );
    let stop = Arc::new(AtomicBool::new(false));
    let stopper = tokio::spawn({
        let stop = Arc::clone(&stop);
        async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                stop.store(true, Ordering::Release);
            }
        }
    });
    let mut bench = Bench::new(Arc::clone(&tier));
    let mut best = 0;
    let mut result = Ok(());
    for workload in WORKLOADS {
        match measure(&mut bench, workload, plan, &stop).await {
            Ok(enough) => best = best.max(enough.unwrap_or(0)),
            // What the token cannot do is not measured; what it can is.
            Err(error) if error.kind() == Kind::UnsupportedOperation => say!("\n{workload}: {error}"),
            Err(error) => {
                result = Err(error);
                break;
            }
        }
    }
    stopper.abort();
    let result = result.and(bench.end().await).and(tier.close().await);
    if result.is_ok() && best > 0 && !stop.load(Ordering::Acquire) {
        say!("\nsessions = {best} is enough: with more the token did hardly more of anything, and requests would queue inside it.");
        if best == most {
            say!("It was the most that was measured: measure more with --sessions.");
        }
    }
    result
}

/// One workload with all numbers of sessions; the least that is enough.
async fn measure(bench: &mut Bench, workload: Workload, plan: &Plan, stop: &AtomicBool) -> Result<Option<usize>> {
    if stop.load(Ordering::Acquire) {
        return Ok(None);
    }
    bench.prepare(workload).await?;
    say!(
        "\n{:<26} {:>10} {:>9} {:>9}   {:>10} {:>9} {:>9}   {:>5}",
        workload.to_string(),
        "raw /s",
        "p50",
        "p99",
        "tier /s",
        "p50",
        "p99",
        "ratio"
    );
    let slice = plan.time / (2 * u32::try_from(PAIRS).unwrap_or(1));
    let mut rates = Vec::new();
    for &sessions in &plan.sessions {
        if stop.load(Ordering::Acquire) {
            return Ok(None);
        }
        let runtime = tokio::runtime::Handle::current();
        let effort = Effort { pairs: PAIRS, slice };
        // The loops of the raw module block.
        let compared = tokio::task::block_in_place(|| bench.compare(&runtime, workload, sessions, effort));
        let Comparison { raw, ours, ratio, .. } = match compared {
            Ok(compared) => compared,
            Err(error) if error.kind() == Kind::Throttled && !rates.is_empty() => {
                say!("  {sessions:>3} sessions: {error}");
                break;
            }
            Err(error) => return Err(error),
        };
        say!("  {sessions:>3} sessions             {}   {}   {:>5.2}", told(raw), told(ours), ratio.median);
        rates.push((sessions, raw.per_second));
    }
    let most = rates.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
    Ok(rates.iter().filter(|(_, rate)| *rate >= most * ENOUGH).map(|(sessions, _)| *sessions).min())
}

fn told(figures: Figures) -> String {
    let Figures { per_second, p50, p99 } = figures;
    format!("{:>10} {:>9} {:>9}", humane::rate(per_second), humane::time(p50), humane::time(p99))
}

/// Numbers of sessions as they are given: `1,2,4`.
pub(in crate::app) fn sessions(text: &str) -> Result<usize, String> {
    text.trim()
        .parse()
        .ok()
        .filter(|sessions| (1..=1024).contains(sessions))
        .ok_or_else(|| "between 1 and 1024 sessions".to_owned())
}
