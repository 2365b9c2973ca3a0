//! Tokens: raw, and signed with the right key whatever they say.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::jwt::check(bytes));
