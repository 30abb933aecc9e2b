#![no_main]
//! Packets of Opus, and gaps between them.

libfuzzer_sys::fuzz_target!(|data: &[u8]| asterscribe_codecs::fuzz::opus(data));
