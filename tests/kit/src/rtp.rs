//! RTP as recorded: a look at its fixed header, and a sender that plays a
//! capture to a live server as Asterisk would have.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::pcap::Packet;
use crate::{Error, Result, host};

/// The fixed header of RTP (RFC 3550 section 5.1), as Asterisk sends it: no
/// padding, no contributing sources, no extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Marker bit: first packet of a talk spurt.
    pub marker: bool,
    /// Payload type.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp in units of the payload's clock.
    pub timestamp: u32,
    /// SSRC of the stream.
    pub ssrc: u32,
}

/// Parts a plain RTP packet into header and payload; `None` for anything else.
pub fn parse(datagram: &[u8]) -> Option<(Header, &[u8])> {
    let (fixed, payload) = datagram.split_first_chunk::<12>()?;
    let [first, second, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3] = *fixed;
    let header = Header {
        marker: second & 0x80 != 0,
        payload_type: second & 0x7f,
        sequence: u16::from_be_bytes([s0, s1]),
        timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
        ssrc: u32::from_be_bytes([c0, c1, c2, c3]),
    };
    (first == 0x80).then_some((header, payload))
}

/// One direction of media between two addresses.
#[derive(Debug)]
pub struct Flow {
    /// Source of the flow in the capture.
    pub recorded_source: SocketAddrV4,
    /// Destination of the flow in the capture.
    pub recorded_destination: SocketAddrV4,
    /// Address that the flow is sent from when it is played.
    pub source: SocketAddr,
    socket: UdpSocket,
}

/// Speeds that can be asked for, as multiples of real time.
const SPEEDS: RangeInclusive<f64> = 0.01..=10_000.0;

/// Plays a capture over loopback, every flow from a port of its own.
#[derive(Debug)]
pub struct Sender {
    flows: Vec<Flow>,
    /// Time after the first packet, flow and datagram of each packet.
    schedule: Vec<(Duration, usize, Vec<u8>)>,
}

impl Sender {
    /// Binds a fresh loopback port for every flow of the capture, in the order in which they begin.
    pub fn new(packets: &[Packet]) -> Result<Self> {
        let mut flows: Vec<Flow> = Vec::new();
        let mut schedule = Vec::with_capacity(packets.len());
        let start = packets
            .iter()
            .map(|packet| packet.at)
            .min()
            .unwrap_or_default();
        for packet in packets {
            let same = |flow: &Flow| {
                (flow.recorded_source, flow.recorded_destination)
                    == (packet.source, packet.destination)
            };
            let flow = match flows.iter().position(same) {
                Some(known) => known,
                None => {
                    flows.push(Flow::bind(packet)?);
                    flows.len() - 1
                }
            };
            schedule.push((packet.at - start, flow, packet.payload.clone()));
        }
        schedule.sort_by_key(|(at, ..)| *at);
        Ok(Self { flows, schedule })
    }

    /// The flows, to be registered with the server before anything is sent.
    pub fn flows(&self) -> &[Flow] {
        &self.flows
    }

    /// Length of the capture in real time.
    pub fn duration(&self) -> Duration {
        self.schedule.last().map_or(Duration::ZERO, |(at, ..)| *at)
    }

    /// Sends everything at `speed` times real time, flow `n` to `targets[n]`;
    /// answers with the number of datagrams sent.
    pub fn play(&self, targets: &[SocketAddr], speed: f64) -> Result<usize> {
        if targets.len() != self.flows.len() || !SPEEDS.contains(&speed) {
            let text = format!(
                "{} flows need as many targets, and a speed in {SPEEDS:?}",
                self.flows.len()
            );
            return Err(Error::Failed(text));
        }
        let start = host::now();
        for (at, flow, datagram) in &self.schedule {
            host::sleep_until(start + at.div_f64(speed));
            let sent = self.flows[*flow].socket.send_to(datagram, targets[*flow]);
            sent.map_err(Error::io(format!("cannot send to {}", targets[*flow])))?;
        }
        Ok(self.schedule.len())
    }
}

impl Flow {
    fn bind(packet: &Packet) -> Result<Self> {
        let failed = || Error::io("cannot bind a port to send from");
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed())?;
        let source = socket.local_addr().map_err(failed())?;
        Ok(Self {
            recorded_source: packet.source,
            recorded_destination: packet.destination,
            source,
            socket,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(ms: u64, port: u16, sequence: u8) -> Packet {
        let at = |port| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        let payload = vec![0x80, 0x80, 0, sequence, 0, 0, 0, 160, 1, 2, 3, 4, 0xff];
        Packet {
            at: Duration::from_millis(1000 + ms),
            source: at(port),
            destination: at(9),
            payload,
        }
    }

    #[test]
    fn headers_are_read_and_other_datagrams_are_not() {
        let expected = Header {
            marker: true,
            payload_type: 0,
            sequence: 7,
            timestamp: 160,
            ssrc: 0x0102_0304,
        };
        let datagram = packet(0, 1, 7).payload;
        assert_eq!(parse(&datagram), Some((expected, &[0xff][..])));
        assert_eq!(parse(&datagram[..11]), None);
        assert_eq!(parse(&[0x90; 20]), None);
    }

    #[test]
    fn flows_keep_their_order_and_come_from_ports_of_their_own() {
        let packets = [packet(0, 10, 1), packet(5, 20, 2), packet(10, 10, 3)];
        let sender = Sender::new(&packets).unwrap();
        assert_eq!(sender.flows().len(), 2);
        assert_eq!(sender.duration(), Duration::from_millis(10));
        let ears = [0, 1].map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let targets = [0, 1].map(|n: usize| ears[n].local_addr().unwrap());
        assert_eq!(sender.play(&targets, 4.0).unwrap(), 3);
        for (ear, flow, sequences) in [(0, 0, vec![1, 3]), (1, 1, vec![2])] {
            for sequence in sequences {
                let mut buffer = [0; 64];
                ears[ear]
                    .set_read_timeout(Some(Duration::from_secs(5)))
                    .unwrap();
                let (length, from) = ears[ear].recv_from(&mut buffer).unwrap();
                assert_eq!(parse(&buffer[..length]).unwrap().0.sequence, sequence);
                assert_eq!(from, sender.flows()[flow].source);
            }
        }
    }

    #[test]
    fn a_target_too_few_or_an_impossible_speed_is_refused() {
        let sender = Sender::new(&[packet(0, 10, 1)]).unwrap();
        assert!(sender.play(&[], 1.0).is_err());
        let target = sender.flows()[0].source;
        for speed in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(sender.play(&[target], speed).is_err(), "{speed}");
        }
    }
}
