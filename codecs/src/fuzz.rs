//! Bodies of fuzz targets, run over the corpus by the ordinary tests too.

use crate::{AudioDecoder, Codec, LossConcealer, SampleRate};

/// Reads `script` as a sequence of operations on one decoder and checks that
/// every sample given comes out, exactly once and finite.
///
/// An operation is an octet of kind and payload type and one of length. The
/// longest a payload gets is 255 octets, beyond which nothing new happens.
///
/// # Panics
/// When a promise of [`AudioDecoder`] is broken.
pub fn decode(script: &[u8]) {
    let mut decoder = AudioDecoder::new();
    let mut book = FuzzBook::default();
    let mut rest = script;
    while let [operation, len, tail @ ..] = rest {
        let len = usize::from(*len);
        rest = tail;
        match operation {
            0x80..=0xdf => {
                let (payload, tail) = rest.split_at(len.min(rest.len()));
                rest = tail;
                let pt = PAYLOAD_TYPES[usize::from(operation % 15)];
                book.packet(&mut decoder, pt, payload);
            }
            0xe0..=0xe7 => {
                decoder.silence(len, &mut book.out);
                book.silence += len;
            }
            0xe8..=0xef => {
                let next = rest.first().map(|&pt| (pt, &rest[..len.min(rest.len())]));
                let concealed = decoder.conceal(len, next, &mut book.out);
                assert!(concealed <= len, "more made up than was missing");
                book.silence += len;
            }
            0xf0.. => {
                decoder.flush(&mut book.out);
                book.end_of_stretch();
                assert_eq!(
                    book.out.len(),
                    book.due(),
                    "after a flush nothing is held back"
                );
            }
            pt => {
                let (payload, tail) = rest.split_at(len.min(rest.len()));
                rest = tail;
                book.packet(&mut decoder, *pt, payload);
            }
        }
        book.check();
    }
    decoder.flush(&mut book.out);
    assert_eq!(book.out.len(), book.due(), "the duration changed");
}

/// `script` as packets of GSM, each with an octet of length before it.
///
/// # Panics
/// When a promise of the decoder is broken.
pub fn gsm(script: &[u8]) {
    packets(Codec::Gsm, script);
}

/// `script` as packets of G.722, each with an octet of length before it.
///
/// # Panics
/// When a promise of the decoder is broken.
pub fn g722(script: &[u8]) {
    packets(Codec::G722, script);
}

/// `script` as packets of Opus, each with an octet of length before it. An
/// empty one stands for a gap as long as the octet after it says.
///
/// # Panics
/// When a promise of the decoder is broken.
pub fn opus(script: &[u8]) {
    packets(Codec::Opus, script);
}

/// Whatever the octets are: as many samples as told, or an error and nothing.
fn packets(codec: Codec, script: &[u8]) {
    let mut decoder = codec.decoder();
    let mut rest = script;
    while let [len, tail @ ..] = rest {
        let (payload, tail) = tail.split_at(usize::from(*len).min(tail.len()));
        rest = tail;
        let mut out = vec![7];
        if let ([], [gap, after @ ..]) = (payload, tail) {
            rest = after;
            let gap = 16 * usize::from(*gap);
            let next = after.split_first().map_or(after, |(len, tail)| {
                &tail[..usize::from(*len).min(tail.len())]
            });
            let concealed = decoder.conceal(gap, Some(next), &mut out);
            assert!(concealed <= gap, "more made up than was missing");
            let made_up = codec == Codec::Opus;
            assert_eq!(out.len(), 1 + if made_up { gap } else { 0 });
            continue;
        }
        let result = decoder.decode(payload, &mut out);
        let expected = codec.sample_count(payload);
        assert_eq!(result, expected.map(drop));
        assert_eq!(out.len(), 1 + expected.unwrap_or(0));
    }
}

/// Those that decode, so that random operations often do.
const PAYLOAD_TYPES: [u8; 15] = [
    0, 8, 10, 11, 118, 3, 9, 107, 122, 123, 124, 125, 126, 127, 13,
];

/// Most samples that the resampler holds back: 15 ms at 16 kHz.
const HELD_BACK: usize = 240;

/// The account of what went in and what came out.
#[derive(Default)]
struct FuzzBook {
    out: Vec<f32>,
    checked: usize,
    /// Samples due in `out` from before the last flush or change of rate.
    before: usize,
    /// Samples decoded since then, at `rate`.
    taken: usize,
    rate: Option<SampleRate>,
    /// Samples of silence since then, at 16 kHz.
    silence: usize,
}

impl FuzzBook {
    /// The packet's duration counts unless it was refused.
    fn packet(&mut self, decoder: &mut AudioDecoder, pt: u8, payload: &[u8]) {
        let before = (decoder.codec(), self.out.len());
        let Ok(decoded) = decoder.decode(pt, payload, &mut self.out) else {
            let after = (decoder.codec(), self.out.len());
            assert_eq!(after, before, "a refused packet left a trace");
            return;
        };
        assert_eq!(decoder.codec(), Some(decoded.codec));
        assert_eq!(decoded.codec.sample_count(payload), Ok(decoded.samples_in));
        if self.rate != Some(decoded.codec.sample_rate()) {
            self.end_of_stretch();
            self.rate = Some(decoded.codec.sample_rate());
        }
        self.taken += decoded.samples_in;
    }

    fn end_of_stretch(&mut self) {
        self.before = self.due();
        self.taken = 0;
        self.silence = 0;
    }

    /// Samples that must be in `out` after a flush.
    fn due(&self) -> usize {
        let to = SampleRate::OUTPUT.hz() as usize;
        let from = self.rate.map_or(to, |rate| rate.hz() as usize);
        self.before + self.silence + (self.taken * to).div_ceil(from)
    }

    fn check(&mut self) {
        let (given, came) = (self.due(), self.out.len());
        assert!(came <= given, "more came out than went in");
        assert!(given - came <= HELD_BACK + 1, "more than 15 ms held back");
        let new = &self.out[self.checked.min(came)..];
        assert!(new.iter().all(|sample| sample.abs() < 4.0), "out of range");
        self.checked = came;
    }
}

/// Reads `script` as a sequence of operations on one [`LossConcealer`] and checks
/// lengths, bounds and what is said to be synthesised, and that a second one,
/// which is given the same in smaller pieces, makes the same of it.
///
/// The first octet chooses the rate. An operation is an octet of kind and two
/// of what it needs.
///
/// # Panics
/// When a promise of [`LossConcealer`] is broken.
pub fn conceal_ops(script: &[u8]) {
    let Some((first, script)) = script.split_first() else {
        return;
    };
    let rate = [SampleRate::HZ_8000, SampleRate::HZ_16000][usize::from(first % 2)];
    let (mut whole, mut pieces) = (LossConcealer::new(rate), LossConcealer::new(rate));
    // The largest sample that was given; no audio is concealed louder.
    let mut peak = 0;
    let (operations, _) = script.as_chunks::<3>();
    for &[kind, a, b] in operations {
        let count = usize::from(a) * 4;
        match kind {
            0..=0x9f => {
                let step = i16::from_le_bytes([kind, b]);
                let audio: Vec<i16> = (0..count as i16).map(|n| n.wrapping_mul(step)).collect();
                let (mut one, mut other) = (audio.clone(), audio);
                whole.good(&mut one);
                other
                    .chunks_mut(usize::from(b) + 1)
                    .for_each(|part| pieces.good(part));
                assert_eq!(one, other, "good audio depends on how it is cut");
                peak = one.iter().map(|x| x.unsigned_abs()).fold(peak, u16::max);
            }
            0xa0..=0xef => {
                let (mut one, mut other) = (vec![7.0_f32], vec![7.0_f32]);
                let made = whole.conceal(count, &mut one);
                let piece = count.min(usize::from(b));
                let mut sum = pieces.conceal(piece, &mut other);
                sum += pieces.conceal(count - piece, &mut other);
                assert_eq!(
                    (&one, made),
                    (&other, sum),
                    "a loss depends on how it is cut"
                );
                assert_eq!(one.len(), 1 + count);
                assert!(made <= count.min(60 * rate.hz() as usize / 1000));
                let loudest = f32::from(peak) / 32_768.0;
                assert!(
                    one[1..].iter().all(|sample| sample.abs() <= loudest),
                    "louder than what was heard"
                );
                assert!(
                    one[1 + made..].iter().all(|&sample| sample == 0.0),
                    "not silent"
                );
            }
            _ => {
                whole.reset();
                pieces.reset();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// Runs a body over what `tools/fuzz.sh` starts from.
    fn corpus(target: &str, body: fn(&[u8])) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
        let inputs: Vec<_> = std::fs::read_dir(root.join(target)).unwrap().collect();
        assert!(!inputs.is_empty(), "{target}");
        for input in inputs {
            body(&std::fs::read(input.unwrap().path()).unwrap());
        }
    }

    #[test]
    fn the_corpus_breaks_nothing() {
        corpus("decoders", super::decode);
        corpus("gsm", super::gsm);
        corpus("g722", super::g722);
        corpus("opus", super::opus);
        corpus("conceal", super::conceal_ops);
    }
}
