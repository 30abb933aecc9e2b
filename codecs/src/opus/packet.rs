//! Duration and frame sizes of an Opus packet, read from its own header octets (RFC 6716, section
//! 3).

/// Longest packet, 120 ms at 16 kHz (rule R5).
const MAX_SAMPLES: usize = 1_920;
/// Longest frame, in octets (rule R2).
const MAX_FRAME: usize = 1_275;

/// A packet that keeps every rule of RFC 6716, 3.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OpusPacket<'a> {
    /// TOC, the first octet (3.1).
    toc: u8,
    frames: usize,
    /// Empty where nothing is sent for it (DTX).
    first: &'a [u8],
}

impl<'a> OpusPacket<'a> {
    pub(super) fn parse(payload: &'a [u8]) -> Option<Self> {
        let (&toc, rest) = payload.split_first()?;
        let (frames, first) = match toc & 0x03 {
            0 => (1, sized(rest, rest.len())?),
            1 => (2, equal(rest, 2)?),
            2 => {
                let (size, rest) = length(rest)?;
                let (first, second) = rest.split_at_checked(size)?;
                sized(second, second.len())?;
                (2, first)
            }
            _ => numbered(rest)?,
        };
        let packet = Self { toc, frames, first };
        (packet.samples() <= MAX_SAMPLES).then_some(packet)
    }

    /// Samples at 16 kHz.
    pub(super) fn samples(&self) -> usize {
        self.frames * self.frame_samples()
    }

    /// Samples in each frame, at 16 kHz (table 2).
    pub(super) fn frame_samples(&self) -> usize {
        let config = self.toc >> 3;
        let place = usize::from(config & 3);
        match config {
            0..12 => [160, 320, 640, 960][place],
            12..16 => [160, 320, 160, 320][place],
            _ => [40, 80, 160, 320][place],
        }
    }

    /// Whether the packet carries a copy of the frame before it, by the flags
    /// with which a SILK frame begins (4.2.3): one bit for each 20 ms and
    /// channel that it is active, one after each channel's that there are copies.
    pub(super) fn has_copy(&self) -> bool {
        let is_silk = self.toc >> 3 < 16;
        // Less than two octets are no frame but the sign of a pause.
        let [flags, _, ..] = self.first else {
            return false;
        };
        let active = self.frame_samples().div_ceil(320);
        let middle = flags >> (7 - active) & 1;
        let is_stereo = self.toc & 0x04 != 0;
        let side = if is_stereo {
            flags >> (6 - 2 * active) & 1
        } else {
            0
        };
        is_silk && middle | side != 0
    }
}

/// Code 3 (3.2.5): any number of frames, and padding.
fn numbered(payload: &[u8]) -> Option<(usize, &[u8])> {
    let (&counts, mut rest) = payload.split_first()?;
    let frames = usize::from(counts & 0x3f);
    if frames == 0 {
        return None;
    }
    if counts & 0x40 != 0 {
        let mut padding = 0;
        loop {
            let (&size, after) = rest.split_first()?;
            rest = after;
            // 255 is 254 octets, and another size follows.
            padding += usize::from(size.min(254));
            if size != 255 {
                break;
            }
        }
        rest = &rest[..rest.len().checked_sub(padding)?];
    }
    if counts & 0x80 == 0 {
        return Some((frames, equal(rest, frames)?));
    }
    let (mut sizes, mut total) = (None, 0);
    for _ in 1..frames {
        let (size, after) = length(rest)?;
        rest = after;
        total += size;
        sizes.get_or_insert(size);
    }
    let last = rest.len().checked_sub(total)?;
    sized(&rest[total..], last)?;
    let first = sizes.unwrap_or(last);
    Some((frames, &rest[..first]))
}

/// The first of `frames` of equal size.
fn equal(payload: &[u8], frames: usize) -> Option<&[u8]> {
    let size = payload.len() / frames;
    (size * frames == payload.len()).then_some(())?;
    sized(payload, size)
}

fn sized(payload: &[u8], size: usize) -> Option<&[u8]> {
    (size <= MAX_FRAME).then_some(())?;
    payload.get(..size)
}

/// A frame's length in one or two octets (3.2.1).
fn length(payload: &[u8]) -> Option<(usize, &[u8])> {
    match payload {
        [first, rest @ ..] if *first < 252 => Some((usize::from(*first), rest)),
        [first, second, rest @ ..] => Some((usize::from(*first) + 4 * usize::from(*second), rest)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(payload: &[u8]) -> Option<(usize, usize, usize)> {
        OpusPacket::parse(payload)
            .map(|packet| (packet.frames, packet.samples(), packet.first.len()))
    }

    fn toc(config: u8, code: u8) -> u8 {
        config << 3 | code
    }

    #[test]
    fn durations_follow_table_2() {
        let tenths_of_ms = [
            100, 200, 400, 600, 100, 200, 400, 600, 100, 200, 400, 600, 100, 200, 100, 200, 25, 50,
            100, 200, 25, 50, 100, 200, 25, 50, 100, 200, 25, 50, 100, 200,
        ];
        for (config, expected) in (0..).zip(tenths_of_ms) {
            assert_eq!(parsed(&[toc(config, 0)]), Some((1, expected * 16 / 10, 0)));
        }
    }

    #[test]
    fn frames_are_counted_and_sized_by_each_code() {
        let with = |head: &[u8], body: usize| [head, &vec![0; body]].concat();
        for (payload, expected) in [
            (with(&[toc(1, 0)], 1_275), Some((1, 320, 1_275))),
            (with(&[toc(1, 0)], 1_276), None),
            (with(&[toc(1, 1)], 20), Some((2, 640, 10))),
            (with(&[toc(1, 1)], 21), None),
            (with(&[toc(1, 1)], 2_552), None),
            (with(&[toc(1, 2)], 0), None),
            (with(&[toc(1, 2), 5], 9), Some((2, 640, 5))),
            (with(&[toc(1, 2), 5], 4), None),
            (with(&[toc(1, 2), 252], 0), None),
            (with(&[toc(1, 2), 252, 1], 256), Some((2, 640, 256))),
            (with(&[toc(1, 2), 0], 1_276), None),
            (with(&[toc(1, 3)], 0), None),
            (with(&[toc(1, 3), 0], 4), None),
            (with(&[toc(1, 3), 3], 9), Some((3, 960, 3))),
            (with(&[toc(1, 3), 3], 10), None),
            // 120 ms and not a frame more.
            (with(&[toc(1, 3), 6], 0), Some((6, 1_920, 0))),
            (with(&[toc(1, 3), 7], 0), None),
            (with(&[toc(16, 3), 48], 48), Some((48, 1_920, 1))),
            (with(&[toc(16, 3), 49], 49), None),
            // Padding: 4 octets; 254 and 1; more than there is; without its end.
            (with(&[toc(1, 3), 0x41, 4], 9), Some((1, 320, 5))),
            (with(&[toc(1, 3), 0x41, 255, 1], 260), Some((1, 320, 5))),
            (with(&[toc(1, 3), 0x41, 4], 3), None),
            (with(&[toc(1, 3), 0x41, 255], 0), None),
            // Sizes of their own: 2, 3 and the rest.
            (with(&[toc(1, 3), 0x83, 2, 3], 9), Some((3, 960, 2))),
            (with(&[toc(1, 3), 0x83, 2, 3], 4), None),
            (with(&[toc(1, 3), 0x83, 2], 0), None),
            (with(&[toc(1, 3), 0x81], 7), Some((1, 320, 7))),
        ] {
            assert_eq!(parsed(&payload), expected, "{:?}", &payload[..2]);
        }
        assert_eq!(parsed(&[]), None);
    }

    #[test]
    fn copies_are_seen_where_they_are_flagged() {
        let has_copy = |payload: &[u8]| OpusPacket::parse(payload).unwrap().has_copy();
        // 20 ms of SILK: active, copies, then data.
        assert!(has_copy(&[toc(1, 0), 0b0100_0000, 0]));
        assert!(!has_copy(&[toc(1, 0), 0b1011_1111, 0]));
        // 60 ms: three flags of activity first.
        assert!(has_copy(&[toc(3, 0), 0b0001_0000, 0]));
        assert!(!has_copy(&[toc(3, 0), 0b1110_1111, 0]));
        // Stereo: both channels have theirs.
        assert!(has_copy(&[toc(1, 0) | 4, 0b0001_0000, 0]));
        assert!(!has_copy(&[toc(1, 0) | 4, 0b1010_1111, 0]));
        // CELT has none, nor has a pause.
        assert!(!has_copy(&[toc(16, 0), 0xff, 0xff]));
        assert!(!has_copy(&[toc(1, 0), 0xff]));
    }
}
