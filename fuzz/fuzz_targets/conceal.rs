#![no_main]
//! Operations on the concealment of losses.

libfuzzer_sys::fuzz_target!(|data: &[u8]| asterscribe_codecs::fuzz::conceal_ops(data));
