//! A module that takes its time: SoftHSM behind the fault-injecting module with 1 and 5 ms a call, the tier with 1 to 64 sessions
//! against a raw loop of as many threads on the same module.

#[path = "../tests/common/fault.rs"]
#[allow(dead_code, reason = "a part of it is used")]
mod fault;
#[allow(dead_code, reason = "a part of it is used")]
mod harness;
#[path = "../tests/common/softhsm.rs"]
#[allow(dead_code, reason = "a part of it is used")]
mod softhsm;

use std::sync::Arc;
use std::time::Duration;

use keystead::base::Pin;
use keystead::tier::Tier;
use keystead::tier::pkcs11::bench::{Bench, Effort, Workload};
use keystead::tier::pkcs11::{Pkcs11Tier, Reserve, Settings};

use fault::Fault;
use harness::{Asked, Rows, Target};

const WORKLOADS: [Workload; 2] = [Workload::AesGcm(32), Workload::P256];

fn main() {
    let asked = Asked::of_arguments();
    if asked == Asked::List {
        return;
    }
    let runtime = harness::runtime();
    let reserve = Reserve::of(runtime.handle());
    let label = softhsm::token();
    let fault = Fault::here();
    let mut rows = Rows::new("module that takes its time");
    for latency in [1, 5] {
        // The call that computes: C_xxxInit is answered by the library of most HSMs.
        let slow: Vec<_> =
            ["C_Encrypt", "C_Decrypt", "C_Sign"].map(|function| fault.rule(&format!("latency {function} {latency}ms"))).into();
        for sessions in [1, 2, 8, 64] {
            let uri = softhsm::uri(&label).parse().unwrap();
            let relief = Some(reserve.relief());
            let settings = Settings { sessions, relief, ..Settings::new(fault::module(), uri, Pin::new(softhsm::PIN.to_owned())) };
            let tier = Arc::new(runtime.block_on(Pkcs11Tier::connect(settings)).unwrap());
            let mut bench = Bench::new(Arc::clone(&tier));
            let target = if sessions == 64 { Some(Target::Ratio(0.95)) } else { None };
            for workload in WORKLOADS.into_iter().filter(|workload| asked.wants(&workload.to_string(), target)) {
                runtime.block_on(bench.prepare(workload)).unwrap();
                // Operations are rarer: longer slices.
                let effort = match asked {
                    Asked::Figures => Effort { pairs: 21, slice: Duration::from_millis(400) },
                    Asked::Test | Asked::List => asked.effort(),
                };
                let measured = bench.compare(runtime.handle(), workload, sessions, effort).unwrap();
                rows.compared(&format!("{workload}, {latency} ms a call"), sessions, measured, target);
            }
            runtime.block_on(bench.end()).unwrap();
            runtime.block_on(tier.close()).unwrap();
        }
        drop(slow);
    }
}
