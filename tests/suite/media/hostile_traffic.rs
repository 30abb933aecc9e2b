//! Datagrams that arrive at a media port without belonging there.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use asterscribe_testkit::pcap::Packet;
use asterscribe_testkit::{host, rtp};

/// Datagrams at once, bursts, and the time between two: 24,000 in 10 s.
const BURST: usize = 24;
const BURSTS: usize = 1000;
const PACE: Duration = Duration::from_millis(10);

/// A datagram that is well-formed but for its extension, of 8 bytes where 4 are left, and in it an
/// element of 16. Parsers in wide use panic on the like.
const EXTENSION_OVERRUN: [u8; 20] = [
    0x90, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0xbe, 0xde, 0, 2, 0x1f, 0, 0, 0,
];

/// Counter of a leg that a datagram belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Malformed,
    Rtcp,
    NotRtp,
}

/// A fixed RTP header with other first bytes, and what follows it.
fn rtp_like(first: u8, second: u8, rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first, second, 0, 7, 0, 0, 0, 160, 1, 2, 3, 4];
    bytes.extend(rest);
    bytes
}

/// Datagrams that are no valid RTP packets, one of each kind.
fn malformed() -> Vec<(Kind, Vec<u8>)> {
    use Kind::{Malformed, NotRtp, Rtcp};
    let sip = "INVITE sip:200@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;rport\r\n\r\n";
    let mut stun = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    stun.extend([7; 12]);
    let mut dtls = vec![22, 0xfe, 0xfd];
    dtls.extend([0; 22]);
    vec![
        (Malformed, EXTENSION_OVERRUN.to_vec()),
        (Malformed, rtp_like(0x8f, 0, &[0; 59])),
        (
            Malformed,
            rtp_like(0x90, 0, &[0xbe, 0xde, 0xff, 0xff, 0x10, 0]),
        ),
        (
            Malformed,
            rtp_like(0x90, 0, &[0x10, 0x00, 0, 2, 1, 200, 0, 0]),
        ),
        (
            Malformed,
            rtp_like(0x90, 0, &[0xbe, 0xde, 0, 3, 0xf0, 0, 0, 0]),
        ),
        (Malformed, rtp_like(0x90, 0, &[0xbe])),
        (Malformed, rtp_like(0xa0, 0, &[])),
        (Malformed, rtp_like(0xa0, 0, &[9, 9, 9, 0])),
        (Malformed, rtp_like(0xa0, 0, &[9, 9, 9, 255])),
        (Rtcp, rtp_like(0x80, 200, &[0; 16])),
        (Rtcp, rtp_like(0x81, 203, &[])),
        (NotRtp, stun),
        (NotRtp, dtls),
        (NotRtp, sip.as_bytes().to_vec()),
        (NotRtp, rtp_like(0x10, 0, b"ZRTP")),
        (NotRtp, rtp_like(0xc0, 0, &[0; 160])),
        (NotRtp, Vec::new()),
    ]
}

/// The call's packets, with things that are no RTP, and cut-off copies, among
/// them from the same source, and how many of each there are.
pub(crate) struct Spoilt {
    pub(crate) packets: Vec<Packet>,
    /// Numbers of datagrams: malformed, RTCP, not RTP.
    pub(crate) count: [usize; 3],
    /// Copies of packets that were sent before.
    pub(crate) copies: usize,
}

pub(crate) fn spoil(packets: &[Packet]) -> Spoilt {
    let mut spoilt = Spoilt {
        packets: Vec::new(),
        count: [0; 3],
        copies: 0,
    };
    let junk = malformed();
    for (n, packet) in packets.iter().enumerate() {
        spoilt.packets.push(packet.clone());
        let mut add = |payload: &[u8]| {
            spoilt.packets.push(Packet {
                payload: payload.to_vec(),
                ..packet.clone()
            });
        };
        match n % 3 {
            0 => {
                let (kind, bytes) = &junk[n / 3 % junk.len()];
                add(bytes);
                spoilt.count[*kind as usize] += 1;
            }
            1 => {
                // Too short for a header.
                add(&packet.payload[..1 + n % 11]);
                spoilt.count[Kind::Malformed as usize] += 1;
            }
            _ => {
                // A valid packet that has been there already, if not as long.
                add(&packet.payload[..13 + n % (packet.payload.len() - 13)]);
                spoilt.copies += 1;
            }
        }
    }
    spoilt
}

/// Repeatable noise (xorshift).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }
}

/// Sockets of attackers that have no business at the port.
pub(crate) struct Attack {
    /// The last is at the speaker's port, but at another address.
    sockets: Vec<UdpSocket>,
    target: SocketAddr,
    packets: Vec<Packet>,
}

impl Attack {
    /// More sockets than the server holds datagrams for.
    pub(crate) fn new(speaker: SocketAddr, target: SocketAddr, packets: &[Packet]) -> Self {
        let addresses = (0..99).map(|n| SocketAddr::from(([127, 0, 0, 1 + n % 3], 0)));
        let twin = SocketAddr::from(([127, 0, 0, 2], speaker.port()));
        let bind = |address| {
            let socket = UdpSocket::bind(address).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        };
        let sockets = addresses.chain([twin]).map(bind).collect();
        Self {
            sockets,
            target,
            packets: packets.to_vec(),
        }
    }

    /// Sends everything; the result is the number of datagrams.
    pub(crate) fn run(&self) -> u64 {
        let (mut noise, junk, start) = (Noise(0x5eed), malformed(), host::now());
        let mut sent = 0;
        for burst in 0..BURSTS {
            host::sleep_until(start + PACE * u32::try_from(burst).unwrap());
            // What the speaker is about to say, or has just said.
            let valid = &self.packets[burst * self.packets.len() / BURSTS].payload;
            for n in 0..BURST {
                let bytes = match n % 8 {
                    0 | 1 => impersonation(valid, &mut noise),
                    2 => valid.clone(),
                    3 => valid[..(burst * 3 + n / 8) % valid.len()].to_vec(),
                    4 => EXTENSION_OVERRUN.to_vec(),
                    5 => junk[(burst + n) % junk.len()].1.clone(),
                    6 if burst % 100 == 0 => vec![0x80; 65_507],
                    6 => rtp_like(0x80, 0, &noise.bytes(160)),
                    _ => {
                        let length = noise.next() % 1500;
                        noise.bytes(length as usize)
                    }
                };
                // Half of it from where a twin of the speaker would send, the rest from all over.
                let from = if n % 2 == 0 {
                    self.sockets.len() - 1
                } else {
                    (burst * 7 + n) % self.sockets.len()
                };
                assert_eq!(
                    self.sockets[from].send_to(&bytes, self.target).unwrap(),
                    bytes.len()
                );
                sent += 1;
            }
        }
        sent
    }

    /// Checks that not one of the sockets has got a single datagram back.
    pub(crate) fn assert_unanswered(&self) {
        for socket in &self.sockets {
            let heard = socket.recv_from(&mut [0; 64]).map_err(|error| error.kind());
            assert_eq!(heard, Err(ErrorKind::WouldBlock), "{socket:?} was answered");
        }
    }
}

/// A packet with the speaker's SSRC, sequence number and timestamp, and noise for a voice.
fn impersonation(valid: &[u8], noise: &mut Noise) -> Vec<u8> {
    let mut bytes = valid[..12].to_vec();
    bytes.extend(noise.bytes(160));
    assert!(rtp::parse(&bytes).is_some());
    bytes
}
