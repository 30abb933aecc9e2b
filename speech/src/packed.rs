//! Lossless packing of samples into about half of their size.
//!
//! Nearly all audio had 8 kHz before it was doubled, so that every other sample
//! can be guessed from those around it: what is kept of it is by how much the
//! guess is wrong, some 4 bits. The samples between are guessed from the one
//! before, which leaves 12 bits of loud speech and few of anything quiet. Other
//! audio is guessed worse and takes more room, at most a 30th more than it had.

/// Samples packed at a time: a frame of the detector.
pub(super) const BLOCK: usize = 256;

/// Samples behind a block that must be there when it is packed, and when it is unpacked.
pub(super) const AHEAD: usize = 2 * TAPS.len();

/// Values that are kept with the same number of bits, a multiple of 16 bits in all.
const GROUP: usize = 16;

/// Even samples of a block, and odd ones.
const PAIRS: usize = BLOCK / 2;

/// Even samples from which the odd ones of a block are guessed.
const WINDOW: usize = PAIRS + 2 * TAPS.len() - 1;

/// Sums that fit into a processor's registers.
const LANES: usize = 32;

/// Filter that guesses an odd sample: the weight of the nearest even samples on either side, of the
/// next ones, and so on; the least squares of recorded prompts, doubled.
const TAPS: [f32; 16] = [
    0.635_73, -0.209_58, 0.122_82, -0.084_67, 0.062_6, -0.048_01, 0.037_35, -0.029_35, 0.023_02,
    -0.018_21, 0.014_06, -0.010_68, 0.007_78, -0.005_64, 0.003_66, -0.001_56,
];

/// Bytes allocated at a time.
const CHUNK: usize = 2_048;

/// Most bytes of an even and an odd group: one byte for both widths, and 16 bits for each value.
const MAX_GROUPS: usize = 1 + 2 * 2 * GROUP;

/// Packs samples into bytes for [`unpack`]: blocks, and behind them the samples that fill no block,
/// little endian.
pub fn pack(samples: &[i16]) -> Vec<u8> {
    let mut packed = PackedAudio::default();
    let mut rest = samples;
    while let Some(block) = rest.first_chunk() {
        packed.push(block);
        rest = &rest[BLOCK..];
    }
    let tail = rest.iter().flat_map(|sample| sample.to_le_bytes());
    packed.chunks.concat().into_iter().chain(tail).collect()
}

/// Samples that [`pack`] made the bytes of; `None` if the bytes are too few for that many samples.
/// Bytes that `pack` did not make give arbitrary samples.
pub fn unpack(bytes: &[u8], samples: usize) -> Option<Vec<i16>> {
    let blocks = samples.saturating_sub(AHEAD) / BLOCK;
    let tail = samples - blocks * BLOCK;
    let (blocks_bytes, tail) = bytes.split_at_checked(bytes.len().checked_sub(2 * tail)?)?;
    // A group takes a byte at the least.
    let groups = blocks * PAIRS / GROUP;
    if blocks_bytes.len() < groups {
        return None;
    }
    let tail = tail.as_chunks().0.iter().copied().map(i16::from_le_bytes);
    let packed = PackedAudio {
        chunks: vec![blocks_bytes.to_vec()],
        len: blocks * BLOCK,
        ..PackedAudio::default()
    };
    let mut out = Vec::with_capacity(samples);
    packed.unpack(tail.clone(), &mut out);
    out.extend(tail);
    Some(out)
}

/// Packed blocks in order.
#[derive(Debug, Default)]
pub(super) struct PackedAudio {
    chunks: Vec<Vec<u8>>,
    len: usize,
    /// Last even samples before the next block.
    before: [i16; TAPS.len() - 1],
}

impl PackedAudio {
    /// Number of samples.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Appends the first [`BLOCK`] of `samples`; [`AHEAD`] more follow them.
    pub(super) fn push(&mut self, samples: &[i16; BLOCK + AHEAD]) {
        let (pairs, _) = samples.as_chunks::<2>();
        let mut evens = [0; WINDOW];
        let (before, here) = evens.split_at_mut(self.before.len());
        before.copy_from_slice(&self.before);
        for (even, pair) in here.iter_mut().zip(pairs) {
            *even = pair[0];
        }
        let first = self.before.len();
        let (mut even, mut odd) = ([0; PAIRS], guess_odd(&evens));
        let neighbours = evens[first - 1..].iter().zip(&evens[first..]);
        for (even, (before, here)) in even.iter_mut().zip(neighbours) {
            *even = here.wrapping_sub(guess_even(*before));
        }
        for (odd, pair) in odd.iter_mut().zip(pairs) {
            *odd = pair[1].wrapping_sub(*odd);
        }
        let groups = even.as_chunks().0.iter().zip(odd.as_chunks().0);
        for (even, odd) in groups {
            self.write(even, odd);
        }
        self.before.copy_from_slice(&evens[PAIRS..PAIRS + first]);
        self.len += BLOCK;
    }

    /// Appends all samples to `out`; `ahead`: the samples that follow them.
    pub(super) fn unpack(&self, ahead: impl Iterator<Item = i16>, out: &mut Vec<i16>) {
        let pairs = self.len / 2;
        let first = self.before.len();
        let mut evens = Vec::with_capacity(first + pairs + TAPS.len());
        evens.resize(first, 0);
        let (mut odds, mut last) = (Vec::with_capacity(pairs), 0);
        for mut bytes in self.chunks.iter().map(Vec::as_slice) {
            while let [widths, rest @ ..] = bytes {
                let (even, rest) = read(widths >> 4, rest);
                let (odd, rest) = read(widths & 0x0F, rest);
                evens.extend(even.map(|wrong| {
                    last = guess_even(last).wrapping_add(wrong);
                    last
                }));
                odds.extend(odd);
                bytes = rest;
            }
        }
        evens.extend(ahead.step_by(2).take(TAPS.len()));
        evens.resize(first + pairs + TAPS.len(), 0);
        let start = out.len();
        out.resize(start + self.len, 0);
        let places = out[start..].as_chunks_mut::<2>().0.chunks_exact_mut(PAIRS);
        for ((block, odds), places) in odds.chunks_exact(PAIRS).enumerate().zip(places) {
            let window = evens[block * PAIRS..].first_chunk::<WINDOW>();
            let guesses = window.map_or([0; PAIRS], guess_odd);
            let evens = &evens[block * PAIRS + first..];
            let odds = odds.iter().zip(guesses);
            for ((place, even), (wrong, guess)) in places.iter_mut().zip(evens).zip(odds) {
                *place = [*even, guess.wrapping_add(*wrong)];
            }
        }
    }

    fn write(&mut self, even: &[i16; GROUP], odd: &[i16; GROUP]) {
        if self
            .chunks
            .last()
            .is_none_or(|chunk| chunk.len() + MAX_GROUPS > CHUNK)
        {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let Some(chunk) = self.chunks.last_mut() else {
            return;
        };
        let widths = [width(even), width(odd)];
        chunk.push(widths[0] << 4 | widths[1]);
        for (values, width) in [even, odd].into_iter().zip(widths) {
            write(values, width, chunk);
        }
    }
}

#[cfg(test)]
impl PackedAudio {
    /// Bytes of memory taken.
    pub(super) fn bytes(&self) -> usize {
        self.chunks.iter().map(Vec::capacity).sum()
    }
}

/// Guess of an even sample from the even one before it.
fn guess_even(before: i16) -> i16 {
    before - (before >> 2)
}

/// Guess of the odd samples of a block. The same window always gives the same result: the additions
/// are in this order, whatever the compiler makes of them.
fn guess_odd(evens: &[i16; WINDOW]) -> [i16; PAIRS] {
    let mut wide = [0.0f32; WINDOW];
    for (wide, even) in wide.iter_mut().zip(evens) {
        *wide = f32::from(*even);
    }
    let mut guesses = [0; PAIRS];
    let (parts, _) = guesses.as_chunks_mut::<LANES>();
    for (part, start) in parts.iter_mut().zip((0..).step_by(LANES)) {
        let mut sums = [0.0f32; LANES];
        for (distance, tap) in TAPS.iter().enumerate() {
            let left = &wide[start + TAPS.len() - 1 - distance..][..LANES];
            let right = &wide[start + TAPS.len() + distance..][..LANES];
            for (sum, (left, right)) in sums.iter_mut().zip(left.iter().zip(right)) {
                *sum += tap * (left + right);
            }
        }
        *part = sums.map(|sum| sum as i16);
    }
    guesses
}

/// Code of the width in bits that the widest value needs, its sign included: 15 means 16 bits.
fn width(values: &[i16; GROUP]) -> u8 {
    if values.iter().all(|value| *value == 0) {
        return 0;
    }
    // The exclusive or with its sign makes a negative value's complement, so that both signs show
    // their width in leading zeros.
    let all = values
        .iter()
        .fold(0, |all, value| all | value ^ value >> 15);
    // At most 16.
    (17 - all.leading_zeros() as u8).min(15)
}

/// Calls a function compiled for each width, so that no shift depends on the one before.
macro_rules! by_width {
    ($width:expr, $function:ident($($argument:expr),*)) => {
        match $width {
            0 => $function::<0>($($argument),*),
            1 => $function::<1>($($argument),*),
            2 => $function::<2>($($argument),*),
            3 => $function::<3>($($argument),*),
            4 => $function::<4>($($argument),*),
            5 => $function::<5>($($argument),*),
            6 => $function::<6>($($argument),*),
            7 => $function::<7>($($argument),*),
            8 => $function::<8>($($argument),*),
            9 => $function::<9>($($argument),*),
            10 => $function::<10>($($argument),*),
            11 => $function::<11>($($argument),*),
            12 => $function::<12>($($argument),*),
            13 => $function::<13>($($argument),*),
            14 => $function::<14>($($argument),*),
            _ => $function::<16>($($argument),*),
        }
    };
}

fn write(values: &[i16; GROUP], width: u8, out: &mut Vec<u8>) {
    by_width!(width, write_bits(values, out));
}

/// Values that [`write`] wrote, and the bytes behind them.
fn read(width: u8, bytes: &[u8]) -> ([i16; GROUP], &[u8]) {
    by_width!(width, read_bits(bytes))
}

/// Writes the lowest `BITS` bits of each value, the first value in the lowest place.
fn write_bits<const BITS: usize>(values: &[i16; GROUP], out: &mut Vec<u8>) {
    let mut words = [0u64; GROUP / 4 + 1];
    for (n, value) in values.iter().enumerate() {
        let low = u64::from(value.cast_unsigned()) & ((1 << BITS) - 1);
        let (word, place) = (n * BITS / 64, n * BITS % 64);
        words[word] |= low << place;
        if place + BITS > 64 {
            words[word + 1] |= low >> (64 - place);
        }
    }
    let mut bytes = [0; 2 * GROUP];
    for (bytes, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *bytes = word.to_le_bytes();
    }
    out.extend(&bytes[..2 * BITS]);
}

fn read_bits<const BITS: usize>(bytes: &[u8]) -> ([i16; GROUP], &[u8]) {
    let (mine, rest) = bytes.split_at(bytes.len().min(2 * BITS));
    let mut bytes = [0; 2 * GROUP];
    bytes[..mine.len()].copy_from_slice(mine);
    let mut words = [0u64; GROUP / 4 + 1];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    let values = std::array::from_fn(|n| {
        let (word, place) = (n * BITS / 64, n * BITS % 64);
        let mut value = words[word] >> place;
        if place + BITS > 64 {
            value |= words[word + 1] << (64 - place);
        }
        // What is above it falls off, and its sign moves to its place and back.
        match BITS {
            0 => 0,
            _ => ((value << (16 - BITS)) as u16).cast_signed() >> (16 - BITS),
        }
    });
    (values, rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round_trip(samples: &[i16]) -> PackedAudio {
        let mut packed = PackedAudio::default();
        let mut rest = samples;
        while let Some(block) = rest.first_chunk() {
            packed.push(block);
            rest = &rest[BLOCK..];
        }
        let mut out = Vec::new();
        packed.unpack(rest.iter().copied(), &mut out);
        assert_eq!(out.len(), packed.len());
        out.extend(rest);
        assert_eq!(out, samples);
        packed
    }

    fn run() -> impl Strategy<Value = Vec<i16>> {
        (0..16u32, 1..400usize).prop_flat_map(|(shift, len)| {
            prop::collection::vec(any::<i16>().prop_map(move |sample| sample >> shift), len)
        })
    }

    proptest! {
        #[test]
        fn whatever_was_packed_comes_out(runs in prop::collection::vec(run(), 1..12)) {
            round_trip(&runs.concat());
        }

        #[test]
        fn whatever_was_written_is_read(runs in prop::collection::vec(run(), 0..12)) {
            let samples = runs.concat();
            let bytes = pack(&samples);
            prop_assert_eq!(unpack(&bytes, samples.len()), Some(samples));
        }

        #[test]
        fn other_bytes_make_samples_or_nothing(bytes: Vec<u8>, samples in 0..4_096usize) {
            if let Some(made) = unpack(&bytes, samples) {
                prop_assert_eq!(made.len(), samples);
            }
        }

        #[test]
        fn a_group_of_any_width_comes_out(values: [i16; GROUP], shift in 0..16u32) {
            let values = values.map(|value| value >> shift);
            let mut bytes = Vec::new();
            write(&values, width(&values), &mut bytes);
            bytes.push(0xAB);
            prop_assert_eq!(read(width(&values), &bytes), (values, &[0xAB][..]));
        }
    }

    #[test]
    fn the_worst_takes_little_more_than_it_had_and_silence_next_to_nothing() {
        let mut state = 1u32;
        let noise: Vec<i16> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) as u16 as i16
        })
        .take(64_000)
        .collect();
        let packed = round_trip(&noise);
        let had = packed.len() * 2;
        assert!(
            packed.bytes() <= had + had / 30 + CHUNK,
            "{}",
            packed.bytes()
        );
        let packed = round_trip(&[0; 64_000]);
        assert!(packed.bytes() <= 2 * CHUNK, "{}", packed.bytes());
    }
}
