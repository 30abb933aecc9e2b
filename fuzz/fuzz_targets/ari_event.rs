#![no_main]
//! A message of the events websocket.

libfuzzer_sys::fuzz_target!(|data: &[u8]| asterscribe_ari::fuzz::event(data));
