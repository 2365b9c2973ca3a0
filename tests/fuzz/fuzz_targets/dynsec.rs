//! Answers and the file of the broker's dynamic security plugin.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::dynsec::check(bytes));
