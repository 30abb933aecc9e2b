//! Media on the wire: captures, ports, hostile senders, playback.

mod capture;
mod conceal_words;
mod doctor;
pub(crate) mod forwarder;
pub(crate) mod hostile_traffic;
mod hostile_udp;
mod play;
pub(crate) mod rtp_ports;
