//! Detection of encrypted payloads, such as SRTP without its key. Only their shape can show it,
//! because the content is what is hidden.
//!
//! Two things are asked for. Their lengths do not fit their timestamps, for they
//! hold more than audio (an authentication tag of 4, 10 or 16 bytes), or are none
//! that the codec can have; and their bytes are as random as dice. No sound is:
//! not even noise uses all levels of a codec equally often, and what is loud and
//! quiet in turn has neighbours alike. Of Opus, whose bytes
//! are random by nature, the first one says how long the packet is and hardly
//! ever changes; encrypted it is another one each time. G.711 and G.722 are looked
//! at when they begin, whatever their lengths are.

use asterscribe_codecs::Codec;

use super::sum;

/// Packets that are examined together, and their pairs of neighbouring bytes.
const PACKETS: u16 = 12;
const BYTES: u32 = 2_000;

/// Packets that are examined where only the randomness of the bytes shows it.
const FRESH_PACKETS: u16 = 25;
const FRESH_BYTES: u32 = 3_900;

/// Packets after which codecs with short packets are judged by fewer bytes.
const MANY_PACKETS: u16 = 40;
const FEW_BYTES: u32 = 1_000;

/// Packets in a row that must not fit before plain audio is examined; a single one may be a pause.
const ODD_PACKETS: u8 = 3;

/// Most bytes of a packet that are examined.
const MOST: usize = 400;

/// Chi squared of 255 degrees of freedom: 255 on the mean, ±22.6; five times that to each side.
/// Below it the bytes are counted up and not drawn. Of 260 ms of speech it is above 3,000.
const DICE: std::ops::Range<f32> = 142.0..368.0;

/// Different first bytes among twelve packets of Opus; one that chooses freely has a few.
const HEADS: u32 = 8;

/// Change of what is known about the payloads.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum CipherNews {
    /// Payloads are encrypted, by this evidence.
    Encrypted(String),
    /// Payloads are not encrypted, or not any more.
    Plain,
}

/// The state of the watch: encrypted, plain, or not known yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum CipherState {
    /// A numbering has begun, and nothing is known yet.
    #[default]
    Fresh,
    Plain,
    Encrypted,
}

/// Watch over the payloads of one leg.
#[derive(Debug, Default)]
pub(super) struct CipherWatch {
    state: CipherState,
    /// Timestamp of the last packet, and the duration of its payload in ticks.
    last: Option<(u64, Option<u64>)>,
    /// Packets in a row whose length does not fit their timestamps.
    odd: u8,
    look: Option<Box<CipherLook>>,
}

/// Statistics over some packets in a row.
#[derive(Debug)]
struct CipherLook {
    codec: Codec,
    packets: u16,
    strange: u16,
    bytes: u32,
    /// Counts of pairs of neighbouring bytes, by the upper halves of both.
    seen: [u16; 256],
    heads: [u64; 4],
}

/// One packet as the watch needs it.
#[derive(Debug, Clone, Copy)]
pub(super) struct CipherPayload<'a> {
    pub(super) codec: Codec,
    pub(super) bytes: &'a [u8],
    /// Extended RTP timestamp.
    pub(super) time: u64,
    /// Duration of the payload in ticks; `None` where the codec refuses the payload.
    pub(super) ticks: Option<u64>,
    /// Whether no packet is missing before it.
    pub(super) follows: bool,
}

impl CipherWatch {
    pub(super) fn is_encrypted(&self) -> bool {
        self.state == CipherState::Encrypted
    }

    /// Takes the next packet; returns what has become known by it.
    pub(super) fn packet(&mut self, packet: CipherPayload<'_>) -> Option<CipherNews> {
        let last = self.last.replace((packet.time, packet.ticks));
        let fits = |(time, ticks): (u64, Option<u64>)| {
            ticks.is_some_and(|ticks| time.saturating_add(ticks) == packet.time)
        };
        let is_strange =
            packet.ticks.is_none() || packet.follows && last.is_some_and(|last| !fits(last));
        self.odd = if is_strange {
            self.odd.saturating_add(1)
        } else {
            0
        };
        if self.state == CipherState::Plain && self.odd < ODD_PACKETS && self.look.is_none() {
            return None;
        }
        self.look(packet, is_strange)
    }

    /// Starts over with a new numbering: another sender may be one that does not encrypt.
    pub(super) fn restart(&mut self) {
        *self = Self::default();
    }

    pub(super) fn glance(&self) -> u64 {
        sum([
            self.last.map_or(0, |(time, _)| time),
            self.look.is_some().into(),
        ])
    }

    fn look(&mut self, packet: CipherPayload<'_>, is_strange: bool) -> Option<CipherNews> {
        let (codec, length) = (packet.codec, packet.bytes.len());
        let look = self.look.take().filter(|look| look.codec == codec);
        let mut look = look.unwrap_or_else(|| Box::new(CipherLook::new(codec)));
        look.add(packet.bytes, is_strange);
        let Some(is_random) = look.is_random(self.state) else {
            self.look = Some(look);
            return None;
        };
        let was = self.state;
        self.state = if is_random {
            CipherState::Encrypted
        } else {
            CipherState::Plain
        };
        match (was, self.state) {
            (CipherState::Fresh | CipherState::Plain, CipherState::Encrypted) => {
                Some(CipherNews::Encrypted(look.evidence(length)))
            }
            (CipherState::Fresh | CipherState::Encrypted, CipherState::Plain) => {
                Some(CipherNews::Plain)
            }
            _ => None,
        }
    }
}

impl CipherLook {
    fn new(codec: Codec) -> Self {
        Self {
            codec,
            packets: 0,
            strange: 0,
            bytes: 0,
            seen: [0; 256],
            heads: [0; 4],
        }
    }

    fn add(&mut self, bytes: &[u8], is_strange: bool) {
        let bytes = &bytes[..bytes.len().min(MOST)];
        self.packets += 1;
        self.strange += u16::from(is_strange);
        let pairs = bytes.windows(2);
        self.bytes += u32::try_from(pairs.len()).unwrap_or(0);
        for pair in pairs {
            self.seen[usize::from(pair[0] & 0xf0 | pair[1] >> 4)] += 1;
        }
        if let Some(&head) = bytes.first() {
            self.heads[usize::from(head >> 6)] |= 1 << (head & 63);
        }
    }

    /// Whether the payloads are encrypted, once enough of them have been examined.
    fn is_random(&self, state: CipherState) -> Option<bool> {
        let is_enough = |packets, bytes| self.packets >= packets && self.bytes >= bytes;
        if self.codec == Codec::Opus {
            let heads: u32 = self.heads.iter().map(|part| part.count_ones()).sum();
            let is_strange = 2 * self.strange >= self.packets;
            return (self.packets >= PACKETS).then_some(is_strange && heads >= HEADS);
        }
        // In a row: what fits now and then is audio whose sender counts otherwise.
        let is_strange = 10 * self.strange >= 9 * (self.packets - 1);
        if is_strange && (is_enough(PACKETS, BYTES) || is_enough(MANY_PACKETS, FEW_BYTES)) {
            return Some(self.is_dice());
        }
        if !is_enough(FRESH_PACKETS, FRESH_BYTES) {
            // Nothing but silence and short packets: not for ever.
            return (self.packets >= 4 * FRESH_PACKETS).then_some(false);
        }
        let tells = matches!(self.codec, Codec::Ulaw | Codec::Alaw | Codec::G722);
        Some(tells && state != CipherState::Plain && self.is_dice())
    }

    /// Evidence for the encryption, in words; `length`: bytes of the last packet.
    fn evidence(&self, length: usize) -> String {
        let (codec, packets, bytes) = (self.codec.name(), self.packets, self.bytes);
        match (self.strange, codec) {
            (0, _) => format!(
                "{bytes} bytes of {packets} packets of {codec} in a row are as random as dice, which no sound is"
            ),
            (strange, "opus") => format!(
                "{strange} of {packets} packets of opus in a row are none or of another length than their timestamps say, and nearly each begins otherwise"
            ),
            (strange, _) => format!(
                "{strange} of {packets} packets of {codec} in a row, the last of {length} bytes, do not fit their timestamps, and their {bytes} bytes are as random as dice"
            ),
        }
    }

    /// Whether all pairs of bytes are equally frequent, within the bounds of chance.
    fn is_dice(&self) -> bool {
        let expected = self.bytes as f32 / 256.0;
        let squares = self.seen.iter().map(|&seen| {
            let off = f32::from(seen) - expected;
            off * off
        });
        DICE.contains(&(squares.sum::<f32>() / expected.max(f32::MIN_POSITIVE)))
    }
}
