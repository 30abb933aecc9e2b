//! Captures in the classic pcap format: microseconds, raw IPv4 (LINKTYPE_RAW), one UDP datagram a
//! packet, nothing else. Any tool can open them, and nothing of the machine's link layer is in
//! them.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

/// A captured UDP datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Time of arrival since the Unix epoch, microseconds.
    pub at: Duration,
    /// Sender.
    pub source: SocketAddrV4,
    /// Receiver.
    pub destination: SocketAddrV4,
    /// UDP payload.
    pub payload: Vec<u8>,
}

/// Reason why a file is no capture of this kit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PcapError {
    /// The file cannot be read.
    #[error("the capture cannot be read: {0}")]
    Io(#[from] io::Error),
    /// The file does not begin as a little-endian microsecond capture of raw IP.
    #[error("not a capture written by this kit (byte order, time unit or link type)")]
    Foreign,
    /// A packet is cut off or damaged.
    #[error("packet {number} of the capture is {what}")]
    Damaged {
        /// Number of the packet in the file, from 0.
        number: usize,
        /// Kind of damage, in words.
        what: &'static str,
    },
}

const MAGIC_MICROSECONDS: u32 = 0xa1b2_c3d4;
const LINKTYPE_RAW: u32 = 101;
const SNAP_LENGTH: u32 = 65_535;
const IP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;
const UDP: u8 = 17;

/// Writes a capture.
///
/// # Errors
/// Of the writer; [`io::ErrorKind::InvalidInput`] if a payload exceeds what UDP
/// over IPv4 carries or a time what the format holds.
pub fn write(mut to: impl Write, packets: &[Packet]) -> io::Result<()> {
    to.write_all(&MAGIC_MICROSECONDS.to_le_bytes())?;
    to.write_all(&2u16.to_le_bytes())?;
    to.write_all(&4u16.to_le_bytes())?;
    // Time zone and accuracy, both always zero.
    to.write_all(&[0; 8])?;
    to.write_all(&SNAP_LENGTH.to_le_bytes())?;
    to.write_all(&LINKTYPE_RAW.to_le_bytes())?;
    for (number, packet) in packets.iter().enumerate() {
        let datagram = datagram(packet, number)?;
        let seconds = u32::try_from(packet.at.as_secs())
            .map_err(|_| invalid("a time beyond the year 2106"))?;
        let length = u32::try_from(datagram.len()).expect("an IPv4 packet is below 64 KiB");
        for field in [seconds, packet.at.subsec_micros(), length, length] {
            to.write_all(&field.to_le_bytes())?;
        }
        to.write_all(&datagram)?;
    }
    to.flush()
}

/// Reads a capture that [`write()`] wrote.
pub fn read(mut from: impl Read) -> Result<Vec<Packet>, PcapError> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes)?;
    let header = bytes.first_chunk::<24>().ok_or(PcapError::Foreign)?;
    if word(header, 0) != MAGIC_MICROSECONDS || word(header, 20) != LINKTYPE_RAW {
        return Err(PcapError::Foreign);
    }
    let mut rest = &bytes[header.len()..];
    let mut packets = Vec::new();
    while !rest.is_empty() {
        let damaged = |what| PcapError::Damaged {
            number: packets.len(),
            what,
        };
        let (record, tail) = rest
            .split_first_chunk::<16>()
            .ok_or_else(|| damaged("cut off"))?;
        let length = word(record, 8) as usize;
        let datagram = tail.get(..length).ok_or_else(|| damaged("cut off"))?;
        let at = Duration::from_secs(word(record, 0).into())
            + Duration::from_micros(word(record, 4).into());
        packets.push(parse(at, datagram).map_err(damaged)?);
        rest = &tail[length..];
    }
    Ok(packets)
}

fn datagram(packet: &Packet, number: usize) -> io::Result<Vec<u8>> {
    let length = |headers: usize| u16::try_from(headers + packet.payload.len());
    let total =
        length(IP_HEADER + UDP_HEADER).map_err(|_| invalid("a payload beyond 65507 bytes"))?;
    let udp_length = length(UDP_HEADER).expect("shorter than the whole");

    // RFC 791: version 4, five words, identification, don't fragment, hop limit 64.
    let mut ip = vec![0x45, 0];
    ip.extend(total.to_be_bytes());
    ip.extend((number as u16).to_be_bytes());
    ip.extend([0x40, 0, 64, UDP, 0, 0]);
    ip.extend(packet.source.ip().octets());
    ip.extend(packet.destination.ip().octets());
    let sum = checksum(&[&ip]);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());

    // RFC 768, with its pseudo header; a sum of zero would mean "none".
    let mut udp = Vec::with_capacity(UDP_HEADER + packet.payload.len());
    udp.extend(packet.source.port().to_be_bytes());
    udp.extend(packet.destination.port().to_be_bytes());
    udp.extend(udp_length.to_be_bytes());
    udp.extend([0, 0]);
    udp.extend(&packet.payload);
    let sum = match checksum(&[&pseudo_header(&ip, udp_length), &udp]) {
        0 => 0xffff,
        sum => sum,
    };
    udp[6..8].copy_from_slice(&sum.to_be_bytes());
    ip.extend(udp);
    Ok(ip)
}

fn parse(at: Duration, bytes: &[u8]) -> Result<Packet, &'static str> {
    let (ip, udp) = bytes
        .split_at_checked(IP_HEADER)
        .ok_or("shorter than an IPv4 header")?;
    if ip[0] != 0x45 || ip[9] != UDP || usize::from(half(ip, 2)) != bytes.len() {
        return Err("not UDP over plain IPv4");
    }
    if checksum(&[ip]) != 0 {
        return Err("damaged in its IPv4 header");
    }
    let payload = udp.get(UDP_HEADER..).ok_or("shorter than a UDP header")?;
    if usize::from(half(udp, 4)) != udp.len()
        || checksum(&[&pseudo_header(ip, half(udp, 4)), udp]) != 0
    {
        return Err("damaged in its UDP part");
    }
    let address = |at: usize| Ipv4Addr::new(ip[at], ip[at + 1], ip[at + 2], ip[at + 3]);
    Ok(Packet {
        at,
        source: SocketAddrV4::new(address(12), half(udp, 0)),
        destination: SocketAddrV4::new(address(16), half(udp, 2)),
        payload: payload.to_vec(),
    })
}

fn pseudo_header(ip: &[u8], udp_length: u16) -> Vec<u8> {
    let [high, low] = udp_length.to_be_bytes();
    [&ip[12..20], &[0, UDP, high, low]].concat()
}

/// Internet checksum (RFC 1071), over parts of even length but for the last.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum: u64 = 0;
    for pair in parts.iter().flat_map(|part| part.chunks(2)) {
        sum += u64::from(u16::from_be_bytes([
            pair[0],
            pair.get(1).copied().unwrap_or(0),
        ]));
    }
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(micros: u64, ports: (u16, u16), payload: Vec<u8>) -> Packet {
        let at = |last, port| SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, last), port);
        Packet {
            at: Duration::from_micros(micros),
            source: at(1, ports.0),
            destination: at(2, ports.1),
            payload,
        }
    }

    fn written(packets: &[Packet]) -> Vec<u8> {
        let mut file = Vec::new();
        write(&mut file, packets).unwrap();
        file
    }

    #[test]
    fn the_bytes_are_those_that_the_standards_ask_for() {
        let file = written(&[packet(1_700_000_000_000_123, (5004, 4000), b"abc".to_vec())]);
        assert_eq!(file[..4], [0xd4, 0xc3, 0xb2, 0xa1]);
        assert_eq!(file[20..24], [101, 0, 0, 0]);
        assert_eq!(file[28..32], 123u32.to_le_bytes());
        let ip = &file[40..];
        assert_eq!(ip[..4], [0x45, 0, 0, 31]);
        // Worked out by hand: 0x4500 + 0x001f + 0x4000 + 0x4011 + 0x7f00 + 0x0001 + 0x7f00 + 0x0002.
        assert_eq!(ip[10..12], (!0xc334u16).to_be_bytes());
        assert_eq!(ip[20..26], [0x13, 0x8c, 0x0f, 0xa0, 0, 11]);
    }

    #[test]
    fn a_payload_too_long_for_udp_is_refused() {
        let error = write(Vec::new(), &[packet(0, (1, 2), vec![0; 65_508])]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(
            read(&*written(&[packet(0, (1, 2), vec![0; 65_507])]))
                .unwrap()
                .len(),
            1
        );
    }

    #[test]
    fn foreign_files_are_named_so() {
        assert!(matches!(
            read(&b"not a capture at all, not even near"[..]),
            Err(PcapError::Foreign)
        ));
        assert!(matches!(read(&b""[..]), Err(PcapError::Foreign)));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            all in prop::collection::vec((0u64..4_000_000_000_000_000, any::<(u16, u16)>(), prop::collection::vec(any::<u8>(), 0..40)), 0..8)
        ) {
            let packets: Vec<_> = all.into_iter().map(|(at, ports, payload)| packet(at, ports, payload)).collect();
            prop_assert_eq!(read(&*written(&packets)).unwrap(), packets);
        }

        #[test]
        fn a_changed_bit_in_a_packet_is_noticed(bit in 0usize..31 * 8) {
            let mut file = written(&[packet(77, (5004, 4000), b"abc".to_vec())]);
            file[40 + bit / 8] ^= 1 << (bit % 8);
            let damaged = matches!(read(&*file), Err(PcapError::Damaged { number: 0, .. }));
            prop_assert!(damaged);
        }

        #[test]
        fn a_cut_is_noticed(cut in 25usize..71) {
            let file = written(&[packet(77, (5004, 4000), b"abc".to_vec())]);
            prop_assert_eq!(file.len(), 71);
            prop_assert!(read(&file[..cut]).is_err());
        }
    }
}
