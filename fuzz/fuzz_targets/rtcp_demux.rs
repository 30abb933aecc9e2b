#![no_main]
//! Demultiplexing of the protocols on one port (RFC 7983 §7, RFC 5761 §4), and the RTCP parser.

libfuzzer_sys::fuzz_target!(|data: &[u8]| asterscribe_rtp::fuzz::rtcp(data));
