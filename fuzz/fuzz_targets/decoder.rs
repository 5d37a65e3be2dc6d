//! One program for all decoders: `RINGFENCE_FUZZ_TARGET` names the one (tests/src/fuzz.rs lists them).

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    static TARGET: OnceLock<String> = OnceLock::new();
    let name = TARGET.get_or_init(|| {
        std::env::var("RINGFENCE_FUZZ_TARGET").expect("RINGFENCE_FUZZ_TARGET names a decoder of tests/src/fuzz.rs")
    });
    ringfence_tests::fuzz::run(name, data);
});
