//! The structure of CTranslate2's `model.bin`, walked from front to back.
//!
//! Layout, little endian (CTranslate2 `src/models/model.cc`, `Model::load`): version, name of the
//! specification and its revision; each variable with name, dimensions, type and bytes; aliases.
//! CTranslate2 throws on some flaws and reads past buffers on others, so none gets through.

use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};

use super::{ModelFlaw, ModelHeader, wrong};

/// Versions of the format in which a variable has a type and a size in bytes.
const VERSIONS: std::ops::RangeInclusive<u32> = 4..=6;

/// Revisions of the Whisper specification that CTranslate2 4.8 reads.
const NEWEST_REVISION: u32 = 3;

/// Longest name, most dimensions and most variables that are believed.
const MAX_NAME: u16 = 512;
const MAX_RANK: u8 = 4;
const MAX_VARIABLES: u32 = 100_000;

/// Type of a variable's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ElementType {
    Float32,
    Int8,
    Int16,
    Int32,
    Float16,
    BFloat16,
}

impl ElementType {
    fn of(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Float32,
            1 => Self::Int8,
            2 => Self::Int16,
            3 => Self::Int32,
            4 => Self::Float16,
            5 => Self::BFloat16,
            _ => return None,
        })
    }

    fn bytes(self) -> u64 {
        match self {
            Self::Int8 => 1,
            Self::Int16 | Self::Float16 | Self::BFloat16 => 2,
            Self::Float32 | Self::Int32 => 4,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Float32 => "float32",
            Self::Int8 => "int8",
            Self::Int16 => "int16",
            Self::Int32 => "int32",
            Self::Float16 => "float16",
            Self::BFloat16 => "bfloat16",
        }
    }
}

#[derive(Debug, Clone)]
struct WeightsVariable {
    shape: Vec<u64>,
    element: ElementType,
    /// Value of a variable with one element, if that is a whole number.
    value: Option<u64>,
}

/// Reads a file front to back and skips over what it need not look at.
pub(super) struct WeightsWalk<R> {
    inner: R,
    at: u64,
    length: u64,
    variables: HashMap<String, WeightsVariable>,
}

impl<R: Read + Seek> WeightsWalk<R> {
    /// A walk through `length` bytes.
    pub(super) fn new(inner: R, length: u64) -> Self {
        Self {
            inner,
            at: 0,
            length,
            variables: HashMap::new(),
        }
    }

    /// Walks to the end; returns the model's dimensions.
    pub(super) fn header(mut self) -> Result<ModelHeader, ModelFlaw> {
        let version = self.u32()?;
        if !VERSIONS.contains(&version) {
            return wrong(format!("model.bin has version {version}, not 4 to 6"));
        }
        let specification = self.string()?;
        let revision = self.u32()?;
        if specification != "WhisperSpec" || revision > NEWEST_REVISION {
            return wrong(format!(
                "model.bin holds a {specification} of revision {revision}, no Whisper"
            ));
        }
        let variables = self.count()?;
        for _ in 0..variables {
            let name = self.string()?;
            let variable = self.variable(&name)?;
            self.variables.insert(name, variable);
        }
        for _ in 0..self.count()? {
            let (alias, name) = (self.string()?, self.string()?);
            let Some(variable) = self.variables.get(&name).cloned() else {
                return wrong(format!("{alias} stands for {name}, which is missing"));
            };
            self.variables.insert(alias, variable);
        }
        if self.at < self.length {
            let rest = self.length - self.at;
            return wrong(format!("{rest} bytes follow the end of model.bin"));
        }
        let header = self.dimensions()?;
        self.check_layers(&header)?;
        Ok(header)
    }

    fn variable(&mut self, name: &str) -> Result<WeightsVariable, ModelFlaw> {
        let rank = self.u8()?;
        if rank > MAX_RANK {
            return wrong(format!("variable {name} has {rank} dimensions"));
        }
        let shape = (0..rank).map(|_| self.u32().map(u64::from));
        let shape = shape.collect::<Result<Vec<_>, _>>()?;
        let number = self.u8()?;
        let Some(element) = ElementType::of(number) else {
            return wrong(format!("variable {name} has the unknown type {number}"));
        };
        let bytes = u64::from(self.u32()?);
        let elements = shape
            .iter()
            .fold(1u64, |all, &size| all.saturating_mul(size));
        if elements.saturating_mul(element.bytes()) != bytes {
            return wrong(format!(
                "variable {name} has {bytes} bytes for {elements} elements of type {}",
                element.name()
            ));
        }
        let value = match (elements, element) {
            (1, ElementType::Int8) => Some(u64::from(self.u8()?)),
            (1, ElementType::Int16) => Some(u64::from(self.u16()?)),
            (1, ElementType::Int32) => Some(u64::from(self.u32()?)),
            _ => {
                self.skip(bytes)?;
                None
            }
        };
        Ok(WeightsVariable {
            shape,
            element,
            value,
        })
    }

    /// Dimensions derived from the variables, within the bounds of everything published.
    fn dimensions(&self) -> Result<ModelHeader, ModelFlaw> {
        let size = |name: &str, dimension: usize| -> Result<u32, ModelFlaw> {
            let variable = self.get(name)?;
            let size = variable.shape.get(dimension).copied().unwrap_or(0);
            Ok(u32::try_from(size).unwrap_or(u32::MAX))
        };
        let number = |name: &str| -> Result<u32, ModelFlaw> {
            let value = self
                .get(name)?
                .value
                .and_then(|value| u32::try_from(value).ok());
            value.map_or_else(|| wrong(format!("{name} is no number")), Ok)
        };
        let embeddings = "decoder/embeddings/weight";
        let header = ModelHeader {
            n_vocab: size(embeddings, 0)?,
            n_audio_ctx: size("encoder/position_encodings/encodings", 0)?,
            n_audio_state: size("encoder/position_encodings/encodings", 1)?,
            n_audio_head: number("encoder/num_heads")?,
            n_audio_layer: self.layers("encoder"),
            n_text_ctx: size("decoder/position_encodings/encodings", 0)?,
            n_text_state: size(embeddings, 1)?,
            n_text_head: number("decoder/num_heads")?,
            n_text_layer: self.layers("decoder"),
            n_mels: size("encoder/conv1/weight", 1)?,
            precision: self.get(embeddings)?.element.name(),
        };
        header.check()?;
        Ok(header)
    }

    fn layers(&self, side: &str) -> u32 {
        let weight = |n: &u32| format!("{side}/layer_{n}/self_attention/linear_0/weight");
        let layers = (0..).take_while(|n| self.variables.contains_key(&weight(n)));
        layers.last().map_or(0, |last| last + 1)
    }

    /// Checks every tensor that CTranslate2 looks up against the shape that it computes with.
    fn check_layers(&self, header: &ModelHeader) -> Result<(), ModelFlaw> {
        let (audio, text) = (
            u64::from(header.n_audio_state),
            u64::from(header.n_text_state),
        );
        let mels = u64::from(header.n_mels);
        let vocabulary = u64::from(header.n_vocab);
        self.expect("encoder/conv1/weight", &[audio, mels, 3])?;
        self.expect("encoder/conv1/bias", &[audio])?;
        self.expect("encoder/conv2/weight", &[audio, audio, 3])?;
        self.expect("encoder/conv2/bias", &[audio])?;
        self.expect("decoder/projection/weight", &[vocabulary, text])?;
        self.expect_norm("encoder/layer_norm", audio)?;
        self.expect_norm("decoder/layer_norm", text)?;
        for layer in 0..header.n_audio_layer {
            self.check_layer(&format!("encoder/layer_{layer}"), audio)?;
        }
        for layer in 0..header.n_text_layer {
            let layer = format!("decoder/layer_{layer}");
            self.check_layer(&layer, text)?;
            let attention = format!("{layer}/attention");
            self.expect_norm(&format!("{attention}/layer_norm"), text)?;
            self.expect_linear(&format!("{attention}/linear_0"), text, text)?;
            self.expect_linear(&format!("{attention}/linear_1"), 2 * text, audio)?;
            self.expect_linear(&format!("{attention}/linear_2"), text, text)?;
        }
        Ok(())
    }

    /// Checks the tensors that a layer has in the encoder as well as in the decoder.
    fn check_layer(&self, layer: &str, state: u64) -> Result<(), ModelFlaw> {
        self.expect_norm(&format!("{layer}/self_attention/layer_norm"), state)?;
        self.expect_linear(
            &format!("{layer}/self_attention/linear_0"),
            3 * state,
            state,
        )?;
        self.expect_linear(&format!("{layer}/self_attention/linear_1"), state, state)?;
        self.expect_norm(&format!("{layer}/ffn/layer_norm"), state)?;
        self.expect_linear(&format!("{layer}/ffn/linear_0"), 4 * state, state)?;
        self.expect_linear(&format!("{layer}/ffn/linear_1"), state, 4 * state)
    }

    fn expect_linear(&self, name: &str, rows: u64, columns: u64) -> Result<(), ModelFlaw> {
        self.expect(&format!("{name}/weight"), &[rows, columns])?;
        self.expect(&format!("{name}/bias"), &[rows])
    }

    fn expect_norm(&self, name: &str, state: u64) -> Result<(), ModelFlaw> {
        self.expect(&format!("{name}/gamma"), &[state])?;
        self.expect(&format!("{name}/beta"), &[state])
    }

    fn expect(&self, name: &str, shape: &[u64]) -> Result<(), ModelFlaw> {
        let variable = self.get(name)?;
        if variable.shape != shape {
            let found = &variable.shape;
            return wrong(format!("{name} has the shape {found:?}, not {shape:?}"));
        }
        let is_quantised = matches!(variable.element, ElementType::Int8 | ElementType::Int16);
        if is_quantised {
            self.expect_scale(name, shape)?;
        }
        Ok(())
    }

    /// Checks the scale of whole numbers: one factor for each row, or one for all. CTranslate2
    /// reads as many factors as there are rows.
    fn expect_scale(&self, name: &str, shape: &[u64]) -> Result<(), ModelFlaw> {
        let Some(scale) = self.variables.get(&format!("{name}_scale")) else {
            return wrong(format!("{name} is quantised and {name}_scale is missing"));
        };
        let rows = shape.first().copied().unwrap_or(1);
        let is_one = scale.shape.iter().all(|&length| length == 1);
        let is_each = scale.shape.iter().product::<u64>() == rows;
        if scale.element != ElementType::Float32 || !(is_one || is_each) {
            let (element, found) = (scale.element.name(), &scale.shape);
            return wrong(format!(
                "{name}_scale is {element} of the shape {found:?}, not a float32 for each of {rows} rows"
            ));
        }
        Ok(())
    }

    fn get(&self, name: &str) -> Result<&WeightsVariable, ModelFlaw> {
        match self.variables.get(name) {
            Some(variable) => Ok(variable),
            None => wrong(format!("model.bin has no variable {name}")),
        }
    }

    fn count(&mut self) -> Result<u32, ModelFlaw> {
        let count = self.u32()?;
        if count > MAX_VARIABLES {
            return wrong(format!("model.bin announces {count} variables"));
        }
        Ok(count)
    }

    fn string(&mut self) -> Result<String, ModelFlaw> {
        let length = self.u16()?;
        if !(1..=MAX_NAME).contains(&length) {
            return wrong(format!(
                "no name begins at byte {} of model.bin",
                self.at - 2
            ));
        }
        let mut bytes = vec![0; length.into()];
        self.read(&mut bytes)?;
        if bytes.pop() != Some(0) {
            return wrong(format!("no name ends at byte {} of model.bin", self.at));
        }
        String::from_utf8(bytes).or_else(|_| wrong("a name in model.bin is no text"))
    }

    fn u8(&mut self) -> Result<u8, ModelFlaw> {
        let mut bytes = [0; 1];
        self.read(&mut bytes)?;
        Ok(bytes[0])
    }

    fn u16(&mut self) -> Result<u16, ModelFlaw> {
        let mut bytes = [0; 2];
        self.read(&mut bytes)?;
        Ok(u16::from_le_bytes(bytes))
    }

    fn u32(&mut self) -> Result<u32, ModelFlaw> {
        let mut bytes = [0; 4];
        self.read(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn read(&mut self, into: &mut [u8]) -> Result<(), ModelFlaw> {
        self.advance(into.len() as u64)?;
        self.inner.read_exact(into)?;
        Ok(())
    }

    fn skip(&mut self, bytes: u64) -> Result<(), ModelFlaw> {
        self.advance(bytes)?;
        self.inner.seek(SeekFrom::Start(self.at))?;
        Ok(())
    }

    fn advance(&mut self, bytes: u64) -> Result<(), ModelFlaw> {
        let end = self.at.saturating_add(bytes);
        if end > self.length {
            return wrong(format!(
                "model.bin is cut off: {} bytes, where at least {end} are announced",
                self.length
            ));
        }
        self.at = end;
        Ok(())
    }
}
