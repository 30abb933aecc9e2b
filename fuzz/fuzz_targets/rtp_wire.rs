#![no_main]
//! A datagram as RTP, compared with an independent parser.

libfuzzer_sys::fuzz_target!(|data: &[u8]| asterscribe_rtp::fuzz::wire(data));
