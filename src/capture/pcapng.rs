//! Blocks of the pcapng format (draft-ietf-opsawg-pcapng), as far as a capture
//! of ours has them: little-endian, raw IP, times in nanoseconds.
//!
//! Only bytes are made here; `replay::capture` reads them back.

/// `LINKTYPE_RAW`: a packet begins with its IP header.
const LINKTYPE_RAW: u16 = 101;

/// Option `if_tsresol`: times in units of 10⁻⁹ s.
const NANOSECONDS: u8 = 9;

/// Option codes, of section 3.5 and of each block.
const OPT_COMMENT: u16 = 1;
const SHB_USERAPPL: u16 = 4;
const IF_NAME: u16 = 2;
const IF_TSRESOL: u16 = 9;
const ISB_ENDTIME: u16 = 3;
const ISB_IFRECV: u16 = 4;
const ISB_IFDROP: u16 = 5;

/// Octets of an Enhanced Packet Block around the packet itself, without padding.
pub(crate) const PACKET_OVERHEAD: usize = 32;

/// Begins a section: everything after it, up to the next, belongs together.
pub(crate) fn section(out: &mut Vec<u8>, application: &str, comment: &str) {
    block(out, 0x0a0d_0d0a, |body| {
        body.extend(0x1a2b_3c4d_u32.to_le_bytes());
        body.extend([1, 0, 0, 0]);
        // How long the section will be is not known.
        body.extend(u64::MAX.to_le_bytes());
        option(body, OPT_COMMENT, comment.as_bytes());
        option(body, SHB_USERAPPL, application.as_bytes());
        end_of_options(body);
    });
}

/// Describes the section's next interface; they are numbered from 0.
pub(crate) fn interface(out: &mut Vec<u8>, name: &str, comment: &str) {
    block(out, 1, |body| {
        body.extend(LINKTYPE_RAW.to_le_bytes());
        // Two reserved bytes, and no limit to the length of a packet.
        body.extend([0; 6]);
        option(body, OPT_COMMENT, comment.as_bytes());
        option(body, IF_NAME, name.as_bytes());
        option(body, IF_TSRESOL, &[NANOSECONDS]);
        end_of_options(body);
    });
}

/// A packet of an interface, whole, at a time since the Unix epoch.
pub(crate) fn packet(out: &mut Vec<u8>, interface: u32, at_ns: u64, bytes: &[u8]) {
    block(out, 6, |body| {
        body.extend(interface.to_le_bytes());
        time(body, at_ns);
        // Not reached: a packet is below 64 KiB.
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        body.extend(length.to_le_bytes());
        body.extend(length.to_le_bytes());
        body.extend(bytes);
        pad(body);
    });
}

/// Writes an Interface Statistics Block: packets received and dropped until the capture's end.
pub(crate) fn statistics(
    out: &mut Vec<u8>,
    interface: u32,
    end_ns: u64,
    received: u64,
    dropped: u64,
    comment: &str,
) {
    block(out, 5, |body| {
        body.extend(interface.to_le_bytes());
        time(body, end_ns);
        option(body, OPT_COMMENT, comment.as_bytes());
        let mut end = Vec::with_capacity(8);
        time(&mut end, end_ns);
        option(body, ISB_ENDTIME, &end);
        option(body, ISB_IFRECV, &received.to_le_bytes());
        option(body, ISB_IFDROP, &dropped.to_le_bytes());
        end_of_options(body);
    });
}

/// Where the descriptions at the beginning of a file end and its packets begin.
/// `None` if it does not begin with a section of ours.
pub(crate) fn head_length(file: &[u8]) -> Option<usize> {
    let word = |at: usize| {
        let bytes = file.get(at..)?.first_chunk()?;
        Some(u32::from_le_bytes(*bytes))
    };
    if word(0)? != 0x0a0d_0d0a || word(8)? != 0x1a2b_3c4d {
        return None;
    }
    let mut at = word(4)? as usize;
    while word(at) == Some(1) {
        at = at.checked_add(word(at + 4)? as usize)?;
    }
    (12..=file.len()).contains(&at).then_some(at)
}

fn block(out: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend(kind.to_le_bytes());
    out.extend([0; 4]);
    body(out);
    // Not reached: no block holds more than a packet and some text.
    let length = u32::try_from(out.len() - start + 4).unwrap_or(u32::MAX);
    out[start + 4..start + 8].copy_from_slice(&length.to_le_bytes());
    out.extend(length.to_le_bytes());
}

/// The upper half first, whatever the byte order of each.
fn time(out: &mut Vec<u8>, ns: u64) {
    out.extend(((ns >> 32) as u32).to_le_bytes());
    out.extend((ns as u32).to_le_bytes());
}

/// An option; what is too long for its length field is cut.
fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
    out.extend(code.to_le_bytes());
    out.extend(length.to_le_bytes());
    out.extend(&value[..usize::from(length)]);
    pad(out);
}

fn end_of_options(out: &mut Vec<u8>) {
    out.extend([0; 4]);
}

/// To a multiple of four; every block begins at one.
fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::datagram;
    use super::*;
    use crate::replay::capture;

    fn head(legs: &[&str]) -> Vec<u8> {
        let mut file = Vec::new();
        section(&mut file, "asterscribe test", "call c");
        legs.iter().for_each(|leg| interface(&mut file, leg, ""));
        file
    }

    #[test]
    fn a_head_ends_where_the_first_packet_begins() {
        let mut file = head(&["a", "b"]);
        let length = file.len();
        assert_eq!(head_length(&file), Some(length));
        packet(&mut file, 1, 5, &[1, 2, 3]);
        interface(&mut file, "c", "");
        assert_eq!(head_length(&file), Some(length));
        for cut in 0..length {
            let head = head_length(&file[..cut]);
            assert!(head.is_none_or(|head| head <= cut), "{cut}: {head:?}");
        }
        assert_eq!(head_length(&[0; 64]), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_to_the_nanosecond(
            packets in prop::collection::vec(
                (0u32..2, any::<u64>(), any::<bool>(), any::<u16>(), prop::collection::vec(any::<u8>(), 0..1500)),
                0..20,
            )
        ) {
            let mut file = head(&["a", "b"]);
            let mut expected = Vec::new();
            for (leg, at, v6, port, payload) in packets {
                let ip = if v6 { "2001:db8::7" } else { "192.0.2.7" };
                let from = SocketAddr::new(ip.parse().unwrap(), port);
                let to = SocketAddr::new(ip.parse().unwrap(), 40_000);
                let mut ip_packet = Vec::new();
                datagram::write(&mut ip_packet, from, to, &payload).unwrap();
                packet(&mut file, leg, at, &ip_packet);
                expected.push((Duration::from_nanos(at), from, to, payload));
            }
            statistics(&mut file, 0, 7, 1, 2, "done");
            let capture = capture::from_bytes(&file).unwrap();
            prop_assert_eq!(&capture.broken, &None);
            let read: Vec<_> = capture
                .datagrams
                .into_iter()
                .map(|d| (d.at, d.from, d.to, d.payload))
                .collect();
            prop_assert_eq!(read, expected);
        }
    }
}
