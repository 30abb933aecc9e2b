//! A datagram as the packet that brought it: IP and UDP headers with their
//! lengths and checksums, as any tool expects them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use etherparse::PacketBuilder;

/// A socket does not tell what was left of it on arrival.
const TIME_TO_LIVE: u8 = 64;

/// Appends the packet. A socket of both families gets datagrams of IPv4 too:
/// the packet is then one of IPv4, to an address that is not told.
///
/// # Errors
/// The payload is more than UDP carries, in words.
pub(crate) fn write(
    out: &mut Vec<u8>,
    from: SocketAddr,
    to: SocketAddr,
    payload: &[u8],
) -> Result<(), String> {
    let (source, destination) = (from.ip().to_canonical(), to.ip().to_canonical());
    let builder = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            PacketBuilder::ipv4(source.octets(), destination.octets(), TIME_TO_LIVE)
        }
        (IpAddr::V4(source), IpAddr::V6(_)) => PacketBuilder::ipv4(
            source.octets(),
            Ipv4Addr::UNSPECIFIED.octets(),
            TIME_TO_LIVE,
        ),
        (IpAddr::V6(source), destination) => {
            let destination = match destination {
                IpAddr::V6(destination) => destination,
                IpAddr::V4(destination) => destination.to_ipv6_mapped(),
            };
            PacketBuilder::ipv6(source.octets(), destination.octets(), TIME_TO_LIVE)
        }
    };
    let before = out.len();
    builder
        .udp(from.port(), to.port())
        .write(out, payload)
        .map_err(|error| {
            out.truncate(before);
            error.to_string()
        })
}

#[cfg(test)]
mod tests {
    use etherparse::{SlicedPacket, TransportSlice};

    use super::*;

    fn written(from: &str, to: &str, payload: &[u8]) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        write(
            &mut out,
            from.parse().unwrap(),
            to.parse().unwrap(),
            payload,
        )
        .map(|()| out)
    }

    #[test]
    fn headers_are_those_of_the_datagram_s_own_family() {
        for (from, to, version, length) in [
            ("192.0.2.1:4000", "192.0.2.2:5000", 4, 28),
            ("[::ffff:192.0.2.1]:4000", "[::]:5000", 4, 28),
            ("[2001:db8::1]:4000", "[2001:db8::2]:5000", 6, 48),
            ("[2001:db8::1]:4000", "192.0.2.2:5000", 6, 48),
        ] {
            let packet = written(from, to, b"abc").unwrap();
            assert_eq!(
                (packet[0] >> 4, packet.len()),
                (version, length + 3),
                "{from}"
            );
            let sliced = SlicedPacket::from_ip(&packet).unwrap();
            let Some(TransportSlice::Udp(udp)) = sliced.transport else {
                panic!("{from}");
            };
            assert_eq!((udp.source_port(), udp.destination_port()), (4000, 5000));
            assert_eq!(udp.payload(), b"abc");
            assert_ne!(udp.checksum(), 0, "{from}: without a checksum");
        }
    }

    #[test]
    fn what_udp_cannot_carry_leaves_nothing_behind() {
        assert_eq!(
            written("192.0.2.1:1", "192.0.2.2:2", &[0; 65_507]).map(|packet| packet.len()),
            Ok(65_535)
        );
        let mut out = vec![7];
        let addresses = ["192.0.2.1:1", "192.0.2.2:2"].map(|text| text.parse().unwrap());
        assert!(write(&mut out, addresses[0], addresses[1], &[0; 65_508]).is_err());
        assert_eq!(out, [7]);
    }
}
