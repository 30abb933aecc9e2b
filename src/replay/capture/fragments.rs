//! Puts fragmented IP packets together again: linear audio at 48 kHz does not fit
//! into the packets of most networks.

use std::collections::HashMap;

use super::layers::{FragmentedPacket, IpFragment};

/// Most packets that are incomplete at once; the oldest is given up for another.
const MAX_OPEN: usize = 256;

/// Most parts of one packet; networks with the smallest packets need fewer.
const MAX_PARTS: usize = 128;

/// Longest IP packet, octets.
const MAX_LENGTH: usize = 65_535;

/// Fragments that wait for the others of their packet.
#[derive(Debug, Default)]
pub(super) struct FragmentTable {
    open: HashMap<FragmentedPacket, PartialDatagram>,
    /// Number of fragments so far, by which the oldest packet is known.
    clock: u64,
    /// Fragments of packets that never became whole.
    given_up: u64,
}

#[derive(Debug, Default)]
struct PartialDatagram {
    /// Parts by their place in the packet, octets, without overlaps.
    parts: Vec<(usize, Vec<u8>)>,
    /// Length of the packet, once its last part has come.
    end: Option<usize>,
    begun: u64,
    packets: u64,
}

/// A packet that was put together, and of how many it was.
pub(super) struct ReassembledPacket {
    pub(super) bytes: Vec<u8>,
    pub(super) packets: u64,
}

impl FragmentTable {
    /// Adds a fragment; returns the whole packet, if it was the last part missing.
    pub(super) fn add(&mut self, fragment: IpFragment<'_>) -> Option<ReassembledPacket> {
        self.clock += 1;
        let end = fragment.offset + fragment.bytes.len();
        // All but the last end at a multiple of 8.
        let is_odd = fragment.more && !fragment.bytes.len().is_multiple_of(8);
        if is_odd || fragment.bytes.is_empty() || end > MAX_LENGTH {
            self.given_up += 1;
            return None;
        }
        if !self.open.contains_key(&fragment.of) && self.open.len() >= MAX_OPEN {
            self.give_up_oldest();
        }
        let partial = self
            .open
            .entry(fragment.of)
            .or_insert_with(|| PartialDatagram {
                begun: self.clock,
                ..PartialDatagram::default()
            });
        partial.packets += 1;
        partial.add(fragment, end);
        if !partial.is_whole() {
            return None;
        }
        let whole = self.open.remove(&fragment.of)?;
        Some(ReassembledPacket {
            bytes: whole.parts.into_iter().flat_map(|(_, part)| part).collect(),
            packets: whole.packets,
        })
    }

    fn give_up_oldest(&mut self) {
        let oldest = self.open.iter().min_by_key(|(_, partial)| partial.begun);
        if let Some((&of, _)) = oldest {
            let partial = self.open.remove(&of);
            self.given_up += partial.map_or(0, |partial| partial.packets);
        }
    }

    /// Fragments whose packets did not become whole; nothing follows.
    pub(super) fn left(&self) -> u64 {
        let waiting: u64 = self.open.values().map(|partial| partial.packets).sum();
        self.given_up + waiting
    }
}

impl PartialDatagram {
    /// Adds a part. One that overlaps with a part already here is a copy or forged, and ignored.
    fn add(&mut self, fragment: IpFragment<'_>, end: usize) {
        let place = self.parts.partition_point(|(at, _)| *at < fragment.offset);
        let before = place.checked_sub(1).and_then(|n| self.parts.get(n));
        let free_before = before.is_none_or(|(at, part)| at + part.len() <= fragment.offset);
        let free_behind = self.parts.get(place).is_none_or(|(at, _)| end <= *at);
        if free_before && free_behind && self.parts.len() < MAX_PARTS {
            if !fragment.more {
                self.end = Some(end);
            }
            let part = (fragment.offset, fragment.bytes.to_vec());
            self.parts.insert(place, part);
        }
    }

    fn is_whole(&self) -> bool {
        let mut reached = 0;
        let contiguous = self.parts.iter().all(|(at, part)| {
            let follows = *at == reached;
            reached += part.len();
            follows
        });
        contiguous && self.end == Some(reached)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const OF: FragmentedPacket = FragmentedPacket {
        source: std::net::IpAddr::V4(Ipv4Addr::LOCALHOST),
        destination: std::net::IpAddr::V4(Ipv4Addr::LOCALHOST),
        id: 7,
        protocol: 17,
    };

    fn part(id: u32, offset: usize, more: bool, bytes: &[u8]) -> IpFragment<'_> {
        IpFragment {
            of: FragmentedPacket { id, ..OF },
            offset,
            more,
            bytes,
        }
    }

    #[test]
    fn parts_in_any_order_and_twice_make_the_whole() {
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [1, 0, 2]] {
            let mut fragments = FragmentTable::default();
            let parts = [
                part(1, 0, true, b"01234567"),
                part(1, 8, true, b"89abcdef"),
                part(1, 16, false, b"end"),
            ];
            let mut whole = None;
            for n in order {
                assert!(whole.is_none());
                whole = fragments.add(parts[n]);
                if n == order[0] {
                    assert!(fragments.add(parts[n]).is_none());
                }
            }
            let whole = whole.unwrap();
            assert_eq!(whole.bytes, b"0123456789abcdefend");
            assert_eq!((whole.packets, fragments.left()), (4, 0));
        }
    }

    #[test]
    fn what_stays_incomplete_is_counted_and_bounded() {
        let mut fragments = FragmentTable::default();
        for id in 0..1_000 {
            assert!(fragments.add(part(id, 0, true, b"01234567")).is_none());
        }
        assert_eq!((fragments.open.len(), fragments.left()), (MAX_OPEN, 1_000));
        // The last ones are still waited for.
        assert!(fragments.add(part(999, 8, false, b"x")).is_some());
        assert!(fragments.add(part(0, 8, false, b"x")).is_none());
    }

    #[test]
    fn lies_about_places_make_no_packet() {
        let mut fragments = FragmentTable::default();
        assert!(fragments.add(part(1, 0, true, b"0123456")).is_none());
        assert!(
            fragments
                .add(part(1, 65_528, false, b"012345678"))
                .is_none()
        );
        assert!(fragments.add(part(1, 0, true, b"")).is_none());
        assert!(fragments.add(part(2, 0, true, b"01234567")).is_none());
        // It lies upon the first.
        assert!(fragments.add(part(2, 4, false, b"x")).is_none());
        assert_eq!(fragments.left(), 5);
    }
}
