#![no_main]
//! Telephone events: each key once.

libfuzzer_sys::fuzz_target!(|data: &[u8]| asterscribe_rtp::fuzz::events(data));
