//! The algebra of topic filters against a brute-force search.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::filter::check(bytes));
