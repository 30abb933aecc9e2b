#![no_main]
//! Operations on a receiver: order, bounds, every datagram counted.

libfuzzer_sys::fuzz_target!(|data: &[u8]| asterscribe_rtp::fuzz::receiver_ops(data));
