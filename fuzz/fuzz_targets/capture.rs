#![no_main]
//! A capture file, and the replay of what it holds.

libfuzzer_sys::fuzz_target!(|data: &[u8]| asterscribe::replay::fuzz::capture(data));
