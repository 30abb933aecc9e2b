#![no_main]
//! Packets of G.722.

libfuzzer_sys::fuzz_target!(|data: &[u8]| asterscribe_codecs::fuzz::g722(data));
