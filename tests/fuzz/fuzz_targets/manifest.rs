//! Manifests: raw, and good ones with anything changed in them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::manifest::check(bytes));
