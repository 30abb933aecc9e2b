#![no_main]
//! What a datagram is, and RTCP.

libfuzzer_sys::fuzz_target!(|data: &[u8]| asterscribe_rtp::fuzz::rtcp(data));
