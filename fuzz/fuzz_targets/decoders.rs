#![no_main]
//! Payloads of every codec, in any order.

libfuzzer_sys::fuzz_target!(|data: &[u8]| asterscribe_codecs::fuzz::decode(data));
