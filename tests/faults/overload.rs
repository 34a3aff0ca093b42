//! More callers than a slow token can serve: some are sent away, and that is all.

use std::sync::Arc;
use std::time::Duration;

use keystead::base::Kind;
use keystead::model::algorithm::{KeySpec, KeyUsage};
use keystead::tier::Tier;
use keystead::tier::pkcs11::{Pkcs11Tier, Settings};
use keystead::tier::status::SlotState;

use crate::callers::{Call, Callers};
use crate::calls::{sign, until};
use crate::fault::Fault;
use crate::isolated::{isolated, runtime};
use crate::softhsm;
use crate::world::{key, sessions_agree, settings};

/// How long a test may wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_token_that_is_slow_does_not_hang() {
    isolated("overload::a_token_that_is_slow_does_not_hang", 1, || {
        let label = softhsm::token();
        let token = crate::fault::token(&label);
        let fault = Fault::here();
        runtime().block_on(async {
            let tier = Arc::new(Pkcs11Tier::connect(Settings { sessions: 8, ..settings(&label) }).await.unwrap());
            let (_, ec) = key(&tier, KeySpec::EcP256, KeyUsage::SignVerify).await;
            let before = tier.status();
            // Whoever waits for its turn for most of its deadline has little left for the call itself.
            let rule = fault.rule(&format!("latency C_Sign 100ms {token}"));
            let callers = Callers::start(256, &Call::Sign(Arc::clone(&ec)));
            until("many were served", PATIENCE, async || {
                assert_eq!(tier.status().state, SlotState::Serving);
                tier.status().waited.count >= before.waited.count + 500
            })
            .await;
            let answers = callers.stop().await;
            drop(rule);
            let served = answers.iter().filter(|answer| answer.failure.is_none()).count() as u64;
            let begun = tier.status().waited.count - before.waited.count;
            for failure in answers.iter().filter_map(|answer| answer.failure.as_ref()) {
                assert!(matches!(failure.kind(), Kind::Throttled | Kind::Unavailable), "{failure:?}");
            }
            println!("{} asked, {begun} calls were begun, {served} of them in time", answers.len());
            assert_eq!(tier.status().written_off, 0, "nothing hung");
            // A token that works for callers who are gone serves nobody.
            assert!(served >= begun / 2, "{served} of {begun} calls were of use");
            assert_eq!(tier.status().recoveries, before.recoveries);
            until("everybody is served", PATIENCE, async || sign(&*ec, b"a text").await.is_ok()).await;
            sessions_agree(fault, &tier).await;
            tier.close().await.unwrap();
        });
    });
}
