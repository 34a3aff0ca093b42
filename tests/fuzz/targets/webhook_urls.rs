#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    keystead_fuzz::webhook_urls::check(input);
});
