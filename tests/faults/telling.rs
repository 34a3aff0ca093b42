//! The tests of the conformance suite on unwrapping, in front of a token that tells the length of what it unwraps, as the fault module
//! lets SoftHSM do.

use std::sync::Arc;
use std::time::Duration;

use keystead::model::algorithm::KeySpec;
use keystead::tier::pkcs11::Settings;
use keystead::tier::{Ability, OaepHash, Tier};

use crate::bench::{self, Bench, Facts, Keeping};
use crate::fault::Fault;
use crate::isolated::isolated;
use crate::world::{connect, settings};
use crate::{softhsm, unwrapping};

const FACTS: Facts = Facts { keeping: Keeping::ItsKeys };
/// Key generation on a busy machine is not what is tested.
const PATIENT: Duration = Duration::from_secs(120);

fn run(name: &'static str, test: impl AsyncFnOnce(&Bench)) {
    isolated(name, 1, move || {
        let label = softhsm::token();
        Fault::here();
        let tier = async || {
            let tier: Arc<dyn Tier> =
                connect(Settings { deadline: PATIENT, generation_deadline: PATIENT, ..settings(&label) }).await;
            let unwrap = Ability::Unwrap(OaepHash::Sha1);
            tier.describe().capabilities.require(KeySpec::Aes256, unwrap).expect("it unwraps");
            tier
        };
        bench::run(name, tier, FACTS, test);
    });
}

#[test]
fn unwrapped_keys_are_what_was_wrapped() {
    run("telling::unwrapped_keys_are_what_was_wrapped", unwrapping::unwrapped_keys_are_what_was_wrapped);
}

#[test]
fn what_cannot_be_unwrapped_leaves_nothing() {
    run("telling::what_cannot_be_unwrapped_leaves_nothing", unwrapping::what_cannot_be_unwrapped_leaves_nothing);
}

#[test]
fn a_pair_that_unwraps_does_nothing_else() {
    run("telling::a_pair_that_unwraps_does_nothing_else", unwrapping::a_pair_that_unwraps_does_nothing_else);
}
