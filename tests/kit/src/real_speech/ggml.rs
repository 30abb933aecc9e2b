//! whisper.cpp's file of a model, made of a CTranslate2 folder.
//!
//! Layout: whisper.cpp `models/convert-h5-to-ggml.py`; blocks of 32 weights: `ggml-quants.c`,
//! `quantize_row_q8_0_ref`. Sizes equal those of the published files to the byte; hashes do
//! not, since the positions went through half precision on their way here.

use std::fs;
use std::path::Path;

use super::ctranslate2::{Variable, Variables, half_from_f32};
use crate::{Error, Result};

const MAGIC: u32 = 0x6767_6d6c;

/// `n_vocab` of English-only models, whose published files name the end of text, too.
const ENGLISH_VOCABULARY: usize = 51_864;

/// Frequencies of the spectrum that mel filters are laid over.
const FREQUENCIES: usize = 201;

/// How matrices are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 16-bit numbers.
    F16,
    /// 8-bit numbers, a factor for each 32 of them.
    Q8,
}

impl Precision {
    /// `ftype` of the header, and the type of a matrix.
    fn numbers(self) -> (u32, u32) {
        match self {
            Self::F16 => (1, 1),
            Self::Q8 => (2007, 8),
        }
    }
}

/// Writes the model in `folder` as `file`.
pub(super) fn convert(folder: &Path, file: &Path, precision: Precision) -> Result<()> {
    let read = |name: &str| {
        let path = folder.join(name);
        fs::read(&path).map_err(Error::io(format!("cannot read {}", path.display())))
    };
    let (model, vocabulary) = (read("model.bin")?, read("vocabulary.txt")?);
    let variables = Variables::parse(&model)?;
    let words = words(&vocabulary)?;
    let mut out = Writer(Vec::new());
    out.header(&variables, precision)?;
    out.vocabulary(&variables, &words)?;
    for part in PARTS {
        out.tensor(part, &variables, precision)?;
    }
    for (side, layer) in layers(&variables) {
        for part in LAYER.iter().chain(side.attention_to_audio()) {
            let part = part.in_layer(side, layer);
            out.tensor(&part, &variables, precision)?;
        }
    }
    let failed = format!("cannot write {}", file.display());
    fs::write(file, out.0).map_err(Error::io(failed))
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Encoder,
    Decoder,
}

impl Side {
    fn name(self) -> &'static str {
        match self {
            Self::Encoder => "encoder",
            Self::Decoder => "decoder",
        }
    }

    fn attention_to_audio(self) -> &'static [Part<'static>] {
        match self {
            Self::Encoder => &[],
            Self::Decoder => CROSS,
        }
    }
}

fn layers(variables: &Variables<'_>) -> impl Iterator<Item = (Side, usize)> {
    let of = |side: Side| (0..variables.layers(side.name())).map(move |layer| (side, layer));
    let (encoder, decoder) = (of(Side::Encoder), of(Side::Decoder));
    encoder.chain(decoder)
}

/// How a tensor is stored, whatever the file's precision.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// A matrix: in the file's precision.
    Matrix,
    /// A convolution's kernel: 16 bits.
    Kernel,
    /// 32 bits, in one row.
    Row,
    /// 32 bits, one column.
    Column,
    /// 32 bits, a table.
    Table,
}

/// A tensor of ggml, and where it is in CTranslate2's file.
#[derive(Clone)]
struct Part<'a> {
    ggml: std::borrow::Cow<'a, str>,
    variable: std::borrow::Cow<'a, str>,
    /// Which of how many equal blocks of rows: queries, keys and values lie one upon the other.
    block: (usize, usize),
    kind: Kind,
}

const fn part(
    ggml: &'static str,
    variable: &'static str,
    block: (usize, usize),
    kind: Kind,
) -> Part<'static> {
    Part {
        ggml: std::borrow::Cow::Borrowed(ggml),
        variable: std::borrow::Cow::Borrowed(variable),
        block,
        kind,
    }
}

impl Part<'_> {
    fn in_layer(&self, side: Side, layer: usize) -> Part<'static> {
        let side = side.name();
        Part {
            ggml: format!("{side}.blocks.{layer}.{}", self.ggml).into(),
            variable: format!("{side}/layer_{layer}/{}", self.variable).into(),
            ..*self
        }
    }
}

const ALL: (usize, usize) = (0, 1);

/// Tensors outside the layers.
#[rustfmt::skip]
const PARTS: &[Part<'static>] = &[
    part("encoder.positional_embedding", "encoder/position_encodings/encodings", ALL, Kind::Table),
    part("encoder.conv1.weight", "encoder/conv1/weight", ALL, Kind::Kernel),
    part("encoder.conv1.bias", "encoder/conv1/bias", ALL, Kind::Column),
    part("encoder.conv2.weight", "encoder/conv2/weight", ALL, Kind::Kernel),
    part("encoder.conv2.bias", "encoder/conv2/bias", ALL, Kind::Column),
    part("encoder.ln_post.weight", "encoder/layer_norm/gamma", ALL, Kind::Row),
    part("encoder.ln_post.bias", "encoder/layer_norm/beta", ALL, Kind::Row),
    part("decoder.positional_embedding", "decoder/position_encodings/encodings", ALL, Kind::Table),
    part("decoder.token_embedding.weight", "decoder/embeddings/weight", ALL, Kind::Matrix),
    part("decoder.ln.weight", "decoder/layer_norm/gamma", ALL, Kind::Row),
    part("decoder.ln.bias", "decoder/layer_norm/beta", ALL, Kind::Row),
];

/// Tensors of each layer. Keys have no bias in Whisper; CTranslate2 stores zeros.
#[rustfmt::skip]
const LAYER: &[Part<'static>] = &[
    part("attn_ln.weight", "self_attention/layer_norm/gamma", ALL, Kind::Row),
    part("attn_ln.bias", "self_attention/layer_norm/beta", ALL, Kind::Row),
    part("attn.query.weight", "self_attention/linear_0/weight", (0, 3), Kind::Matrix),
    part("attn.query.bias", "self_attention/linear_0/bias", (0, 3), Kind::Row),
    part("attn.key.weight", "self_attention/linear_0/weight", (1, 3), Kind::Matrix),
    part("attn.value.weight", "self_attention/linear_0/weight", (2, 3), Kind::Matrix),
    part("attn.value.bias", "self_attention/linear_0/bias", (2, 3), Kind::Row),
    part("attn.out.weight", "self_attention/linear_1/weight", ALL, Kind::Matrix),
    part("attn.out.bias", "self_attention/linear_1/bias", ALL, Kind::Row),
    part("mlp_ln.weight", "ffn/layer_norm/gamma", ALL, Kind::Row),
    part("mlp_ln.bias", "ffn/layer_norm/beta", ALL, Kind::Row),
    part("mlp.0.weight", "ffn/linear_0/weight", ALL, Kind::Matrix),
    part("mlp.0.bias", "ffn/linear_0/bias", ALL, Kind::Row),
    part("mlp.2.weight", "ffn/linear_1/weight", ALL, Kind::Matrix),
    part("mlp.2.bias", "ffn/linear_1/bias", ALL, Kind::Row),
];

/// Tensors of each layer of the decoder that look at the audio.
#[rustfmt::skip]
const CROSS: &[Part<'static>] = &[
    part("cross_attn_ln.weight", "attention/layer_norm/gamma", ALL, Kind::Row),
    part("cross_attn_ln.bias", "attention/layer_norm/beta", ALL, Kind::Row),
    part("cross_attn.query.weight", "attention/linear_0/weight", ALL, Kind::Matrix),
    part("cross_attn.query.bias", "attention/linear_0/bias", ALL, Kind::Row),
    part("cross_attn.key.weight", "attention/linear_1/weight", (0, 2), Kind::Matrix),
    part("cross_attn.value.weight", "attention/linear_1/weight", (1, 2), Kind::Matrix),
    part("cross_attn.value.bias", "attention/linear_1/bias", (1, 2), Kind::Row),
    part("cross_attn.out.weight", "attention/linear_2/weight", ALL, Kind::Matrix),
    part("cross_attn.out.bias", "attention/linear_2/bias", ALL, Kind::Row),
];

struct Writer(Vec<u8>);

impl Writer {
    fn header(&mut self, variables: &Variables<'_>, precision: Precision) -> Result<()> {
        let shape = |name: &str| variables.get(name).map(|variable| variable.shape);
        let number = |name: &str| {
            let number = variables.get(name)?.number();
            number.ok_or_else(|| Error::Failed(format!("{name} is no number")))
        };
        let [n_vocab, state, _] = shape("decoder/embeddings/weight")?;
        let [_, n_mels, _] = shape("encoder/conv1/weight")?;
        self.u32s([MAGIC]);
        self.sizes([
            n_vocab,
            shape("encoder/position_encodings/encodings")?[0],
            state,
            number("encoder/num_heads")?,
            variables.layers("encoder"),
            shape("decoder/position_encodings/encodings")?[0],
            state,
            number("decoder/num_heads")?,
            variables.layers("decoder"),
            n_mels,
        ]);
        self.u32s([precision.numbers().0]);
        self.sizes([n_mels, FREQUENCIES]);
        self.floats(&mel_filters(n_mels));
        Ok(())
    }

    fn vocabulary(&mut self, variables: &Variables<'_>, words: &[Vec<u8>]) -> Result<()> {
        let [n_vocab, ..] = variables.get("decoder/embeddings/weight")?.shape;
        let end_of_text: &[u8] = b"<|endoftext|>";
        let named = words.iter().map(Vec::as_slice);
        let named = named.chain((n_vocab == ENGLISH_VOCABULARY).then_some(end_of_text));
        let named: Vec<_> = named.collect();
        self.sizes([named.len()]);
        for word in named {
            self.sizes([word.len()]);
            self.0.extend_from_slice(word);
        }
        Ok(())
    }

    fn tensor(
        &mut self,
        part: &Part<'_>,
        variables: &Variables<'_>,
        precision: Precision,
    ) -> Result<()> {
        let variable = variables.get(&part.variable)?;
        let mut values = variable.floats();
        let (block, blocks) = part.block;
        let length = values.len() / blocks;
        values.drain(..block * length);
        values.truncate(length);
        let number = match part.kind {
            Kind::Matrix => precision.numbers().1,
            Kind::Kernel => 1,
            Kind::Row | Kind::Column | Kind::Table => 0,
        };
        let sizes = sizes(part, &variable, length);
        self.sizes([sizes.len(), part.ggml.len()]);
        self.u32s([number]);
        self.sizes(sizes);
        self.0.extend_from_slice(part.ggml.as_bytes());
        match number {
            0 => self.floats(&values),
            1 => self.halves(&values),
            _ => self.blocks(&values),
        }
        Ok(())
    }

    fn blocks(&mut self, values: &[f32]) {
        let (blocks, _) = values.as_chunks::<32>();
        for block in blocks {
            let most = block
                .iter()
                .fold(0.0f32, |most, value| most.max(value.abs()));
            let step = most / 127.0;
            let inverse = if step > 0.0 { 1.0 / step } else { 0.0 };
            self.halves(&[step]);
            let bytes = block.iter().map(|value| (value * inverse).round() as i8);
            self.0.extend(bytes.map(i8::cast_unsigned));
        }
    }

    fn halves(&mut self, values: &[f32]) {
        let halves = values.iter().map(|&value| half_from_f32(value));
        self.0.extend(halves.flat_map(u16::to_le_bytes));
    }

    fn floats(&mut self, values: &[f32]) {
        self.0
            .extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }

    fn sizes(&mut self, sizes: impl IntoIterator<Item = usize>) {
        let sizes = sizes.into_iter();
        self.u32s(sizes.map(|size| u32::try_from(size).expect("a model's sizes fit 32 bits")));
    }

    fn u32s(&mut self, numbers: impl IntoIterator<Item = u32>) {
        self.0
            .extend(numbers.into_iter().flat_map(u32::to_le_bytes));
    }
}

/// A tensor's sizes, innermost first.
fn sizes(part: &Part<'_>, variable: &Variable<'_>, length: usize) -> Vec<usize> {
    let [rows, columns, depth] = variable.shape;
    match part.kind {
        Kind::Kernel => vec![depth, columns, rows],
        Kind::Matrix | Kind::Table => vec![columns, rows / part.block.1],
        Kind::Column => vec![1, length],
        Kind::Row => vec![length],
    }
}

/// The byte-level words of a vocabulary up to the end of text, as raw bytes.
fn words(vocabulary: &[u8]) -> Result<Vec<Vec<u8>>> {
    let failed = |reason: &str| Error::Failed(format!("vocabulary.txt {reason}"));
    let text = std::str::from_utf8(vocabulary).map_err(|_| failed("is no text"))?;
    let alphabet = alphabet();
    let byte = |c: char| alphabet.iter().position(|&other| other == c);
    let raw = |word: &str| -> Option<Vec<u8>> {
        let bytes = word.chars().map(|c| u8::try_from(byte(c)?).ok());
        bytes.collect()
    };
    let words = text.split('\n').take_while(|&word| word != "<|endoftext|>");
    words
        .map(|word| raw(word).ok_or_else(|| failed("holds a word that is not byte-level")))
        .collect()
}

/// The character that stands for each byte in a byte-level vocabulary (GPT-2 `encoder.py`,
/// `bytes_to_unicode`): itself where it is printable, one beyond 255 otherwise.
fn alphabet() -> [char; 256] {
    let mut beyond = 256u32;
    std::array::from_fn(|byte| {
        let byte = u32::try_from(byte).expect("below 256");
        let printable = matches!(byte, 33..=126 | 161..=172 | 174..=255);
        let code = if printable {
            byte
        } else {
            beyond += 1;
            beyond - 1
        };
        char::from_u32(code).expect("below the surrogates")
    })
}

/// The mel filter bank that Whisper was trained with: librosa's, Slaney's scale and norm,
/// 16 kHz, 400 points.
fn mel_filters(n_mels: usize) -> Vec<f32> {
    let step = 6.4f64.ln() / 27.0;
    let hertz = |mel: f64| {
        if mel < 15.0 {
            mel * 200.0 / 3.0
        } else {
            1000.0 * (step * (mel - 15.0)).exp()
        }
    };
    let highest = 15.0 + (8000.0f64 / 1000.0).ln() / step;
    let corners: Vec<f64> = (0..n_mels + 2)
        .map(|n| hertz(highest * n as f64 / (n_mels + 1) as f64))
        .collect();
    let mut filters = Vec::with_capacity(n_mels * FREQUENCIES);
    for corner in corners.windows(3) {
        let (low, middle, high) = (corner[0], corner[1], corner[2]);
        for n in 0..FREQUENCIES {
            let frequency = 8000.0 * n as f64 / (FREQUENCIES - 1) as f64;
            let rising = (frequency - low) / (middle - low);
            let falling = (high - frequency) / (high - middle);
            // librosa rounds the triangle before it scales it.
            let triangle = rising.min(falling).max(0.0) as f32;
            filters.push((f64::from(triangle) * 2.0 / (high - low)) as f32);
        }
    }
    filters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_filter_has_the_same_area_and_they_cover_the_band() {
        for n_mels in [80, 128] {
            let filters = mel_filters(n_mels);
            let bin = 8000.0 / 200.0;
            for filter in filters.chunks(FREQUENCIES) {
                let area: f32 = filter.iter().sum::<f32>() * bin;
                // Narrow ones hold one or two frequencies only.
                assert!((0.1..1.9).contains(&area), "{area}");
            }
        }
        assert!((mel_filters(80)[1] - 0.024_862_594).abs() < 1e-8);
    }

    #[test]
    fn the_alphabet_has_a_character_for_each_byte() {
        let alphabet = alphabet();
        assert_eq!(
            (alphabet[b'a' as usize], alphabet[b' ' as usize]),
            ('a', 'Ġ')
        );
        let mut unique = alphabet.to_vec();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), 256);
        assert_eq!(
            words("Ġhello\nb\n<|endoftext|>\nx".as_bytes()).unwrap(),
            [&b" hello"[..], b"b"]
        );
    }
}
