//! Mounts every test of the suite for one tier. A test that is missing here is dead code, which the compiler reports.

/// `conformance!(path::to::tier, FACTS)`: an async fn without arguments that gives an `Arc<dyn Tier>`, and the tier's facts.
#[macro_export]
macro_rules! conformance {
    ($tier:path, $facts:expr) => {
        $crate::conformance! { $tier, $facts,
            keys: [
                every_key_is_made_opened_used_and_reopened,
                what_does_not_fit_is_refused_at_creation,
                a_destroyed_key_is_gone,
                residents_are_what_the_tier_holds,
                imported_aes_keys_work,
                imported_pairs_work,
                an_imported_key_stays_where_it_is,
                keys_with_the_same_material_are_two,
                material_that_does_not_fit_is_refused,
                health_is_good,
                a_closed_tier_refuses,
            ]
            unwrapping: [
                unwrapped_keys_are_what_was_wrapped,
                what_cannot_be_unwrapped_leaves_nothing,
                a_pair_that_unwraps_does_nothing_else,
            ]
            ciphers: [
                aes_round_trips,
                aad_has_a_limit,
                ivs_are_fresh,
                partial_blocks_need_padding,
                oaep_round_trips,
                ecies_round_trips,
                algorithms_that_do_not_fit_are_refused,
                aes_agrees_with_another_implementation,
            ]
            tampering: [gcm_is_mute, cbc_is_mute, ecb_is_mute, oaep_is_mute, ecies_is_mute]
            signatures: [
                signatures_verify_and_nothing_else_does,
                algorithms_that_do_not_fit_are_refused,
                ecdsa_is_der,
                only_pkcs1_repeats_itself,
            ]
            macs: [codes_agree_with_another_implementation, a_code_is_of_its_key, what_does_not_fit_is_refused]
            randomness: [lengths_have_limits, draws_differ]
            concurrency: [sixty_four_callers, dropped_futures_harm_nothing, aborted_tasks_harm_nothing, closing_answers_everybody]
            wycheproof: [aes_gcm, hmac, rsa_oaep, rsa_pss, rsa_pkcs1, ecdsa_p256, ecdsa_secp256k1]
        }
    };
    ($tier:path, $facts:expr, $($subject:ident: [$($test:ident),+ $(,)?])+) => {
        $(mod $subject {
            $(#[test]
            fn $test() {
                $crate::bench::run(concat!(module_path!(), "::", stringify!($test)), $tier, $facts, $crate::$subject::$test);
            })+
        })+
    };
}
