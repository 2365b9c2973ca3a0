//! Requests and topics, as they arrive from the broker.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzz::envelope::check(bytes));
