#![no_main]
//! Packets of GSM full rate.

libfuzzer_sys::fuzz_target!(|data: &[u8]| asterscribe_codecs::fuzz::gsm(data));
