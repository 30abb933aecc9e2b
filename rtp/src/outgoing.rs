//! A stream of RTP that we send (RFC 3550 section 5.1): one source, numbered
//! without a hole.

use crate::ids::{PayloadType, RtpTime, SeqNo, Ssrc};

/// Random start of a new stream. RFC 3550 section 5.1 wants SSRC, sequence number and timestamp to
/// be random; where they come from is the caller's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamStart {
    /// SSRC of the sender.
    pub ssrc: Ssrc,
    /// Sequence number of the first packet.
    pub seq: SeqNo,
    /// Timestamp of the first packet.
    pub time: RtpTime,
}

impl StreamStart {
    /// Out of random bytes: the first four and the last six, those of a UUID
    /// (RFC 9562 section 5.4) that are random throughout.
    pub const fn from_random(bytes: [u8; 16]) -> Self {
        let [s0, s1, s2, s3, .., n0, n1, t0, t1, t2, t3] = bytes;
        Self {
            ssrc: Ssrc(u32::from_be_bytes([s0, s1, s2, s3])),
            seq: SeqNo(u16::from_be_bytes([n0, n1])),
            time: RtpTime(u32::from_be_bytes([t0, t1, t2, t3])),
        }
    }
}

/// Writes the packets of one stream, one after the other.
#[derive(Debug, Clone)]
pub struct OutgoingStream {
    next: StreamStart,
}

impl OutgoingStream {
    /// A stream of which nothing has been sent.
    pub const fn new(start: StreamStart) -> Self {
        Self { next: start }
    }

    /// Time passes without a packet, in ticks of the payload's clock.
    pub const fn pause(&mut self, ticks: u32) {
        self.next.time = RtpTime(self.next.time.0.wrapping_add(ticks));
    }

    /// Writes the next packet into `out`, in the place of what was there.
    /// `payload` lasts `ticks`; `marker` says that it is the first after a
    /// pause (RFC 3551 section 4.1).
    pub fn packet(
        &mut self,
        payload_type: PayloadType,
        marker: bool,
        payload: &[u8],
        ticks: u32,
        out: &mut Vec<u8>,
    ) {
        const VERSION_2: u8 = 0x80;
        let StreamStart { ssrc, seq, time } = self.next;
        out.clear();
        out.extend([VERSION_2, u8::from(marker) << 7 | payload_type.get()]);
        out.extend(seq.0.to_be_bytes());
        out.extend(time.0.to_be_bytes());
        out.extend(ssrc.0.to_be_bytes());
        out.extend_from_slice(payload);
        self.next.seq = seq.next();
        self.pause(ticks);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::RtpPacket;

    proptest! {
        #[test]
        fn our_own_parser_reads_what_is_written(
            start: [u8; 16],
            payload_type in 0u8..128,
            packets in prop::collection::vec(
                (any::<bool>(), prop::collection::vec(any::<u8>(), 0..400), any::<u32>(), any::<u32>()),
                1..20,
            ),
        ) {
            let start = StreamStart::from_random(start);
            let payload_type = PayloadType::new(payload_type).unwrap();
            let (mut stream, mut out) = (OutgoingStream::new(start), vec![1, 2, 3]);
            let (mut seq, mut time) = (start.seq.0, start.time.0);
            for (marker, payload, ticks, pause) in packets {
                stream.packet(payload_type, marker, &payload, ticks, &mut out);
                stream.pause(pause);
                let expected = RtpPacket {
                    ssrc: start.ssrc,
                    seq: SeqNo(seq),
                    time: RtpTime(time),
                    payload_type,
                    marker,
                    payload: &payload,
                };
                // Payload types 64 to 95 with the marker are RTCP's numbers (RFC 5761 section 4).
                if !(marker && (64..96).contains(&payload_type.get())) {
                    prop_assert_eq!(RtpPacket::parse(&out), Ok(expected));
                }
                seq = seq.wrapping_add(1);
                time = time.wrapping_add(ticks).wrapping_add(pause);
            }
        }
    }
}
