//! Reader of CTranslate2's `model.bin`, to make ggml files of it.
//!
//! Layout, little endian (CTranslate2 `python/ctranslate2/specs/model_spec.py`): version, name of
//! the specification and its revision, then each variable with its name, dimensions, type and
//! bytes, then aliases. A string is its length in 16 bits, its bytes and a zero.

use std::collections::BTreeMap;

use crate::{Error, Result};

/// Types of elements, by CTranslate2's number.
const FLOAT32: u8 = 0;
const INT32: u8 = 3;
const FLOAT16: u8 = 4;

/// One variable of a model.
#[derive(Debug, Clone, Copy)]
pub(super) struct Variable<'a> {
    /// Outermost dimension first; none for a number.
    pub(super) shape: [usize; 3],
    pub(super) rank: usize,
    kind: u8,
    bytes: &'a [u8],
}

/// All variables of a model by name.
pub(super) struct Variables<'a>(BTreeMap<String, Variable<'a>>);

impl<'a> Variables<'a> {
    /// Reads a whole file.
    pub(super) fn parse(file: &'a [u8]) -> Result<Self> {
        let broken = || Error::Failed("model.bin is no Whisper model of CTranslate2".to_owned());
        Reader(file).variables().map(Self).ok_or_else(broken)
    }

    pub(super) fn get(&self, name: &str) -> Result<Variable<'a>> {
        let found = self.0.get(name).copied();
        found.ok_or_else(|| Error::Failed(format!("model.bin has no variable {name}")))
    }

    /// How many layers `side` ("encoder", "decoder") has.
    pub(super) fn layers(&self, side: &str) -> usize {
        let weight = |n: &usize| format!("{side}/layer_{n}/self_attention/linear_0/weight");
        (0..)
            .take_while(|n| self.0.contains_key(&weight(n)))
            .count()
    }
}

impl Variable<'_> {
    /// How many elements there are.
    pub(super) fn len(&self) -> usize {
        self.shape[..self.rank].iter().product()
    }

    /// The elements, whatever they are stored as.
    pub(super) fn floats(&self) -> Vec<f32> {
        match self.kind {
            FLOAT16 => {
                let (pairs, _) = self.bytes.as_chunks();
                pairs
                    .iter()
                    .map(|&pair| half_to_f32(u16::from_le_bytes(pair)))
                    .collect()
            }
            _ => {
                let (words, _) = self.bytes.as_chunks();
                words.iter().map(|&word| f32::from_le_bytes(word)).collect()
            }
        }
    }

    /// A number that stands for itself, such as the number of heads.
    pub(super) fn number(&self) -> Option<usize> {
        match (self.kind, self.bytes) {
            (INT32, bytes) => {
                let number = i32::from_le_bytes(*bytes.first_chunk()?);
                usize::try_from(number).ok()
            }
            (1 | 2, [low, rest @ ..]) => {
                Some(usize::from(*low) + 256 * rest.first().map_or(0, |&high| usize::from(high)))
            }
            _ => None,
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn variables(&mut self) -> Option<BTreeMap<String, Variable<'a>>> {
        let version = self.u32()?;
        let name = self.string()?;
        let _revision = self.u32()?;
        if version != 6 || name != "WhisperSpec" {
            return None;
        }
        let mut variables = BTreeMap::new();
        for _ in 0..self.u32()? {
            let name = self.string()?;
            variables.insert(name, self.variable()?);
        }
        for _ in 0..self.u32()? {
            let (alias, name) = (self.string()?, self.string()?);
            let variable = *variables.get(&name)?;
            variables.insert(alias, variable);
        }
        self.0.is_empty().then_some(variables)
    }

    fn variable(&mut self) -> Option<Variable<'a>> {
        let rank = usize::from(self.take(1)?[0]);
        let mut shape = [1; 3];
        for size in shape.get_mut(..rank)? {
            *size = usize::try_from(self.u32()?).ok()?;
        }
        let kind = self.take(1)?[0];
        let length = usize::try_from(self.u32()?).ok()?;
        let bytes = self.take(length)?;
        let each = match kind {
            FLOAT32 | INT32 => 4,
            FLOAT16 | 2 => 2,
            1 => 1,
            _ => return None,
        };
        let variable = Variable {
            shape,
            rank,
            kind,
            bytes,
        };
        (variable.len().checked_mul(each)? == length).then_some(variable)
    }

    fn string(&mut self) -> Option<String> {
        let length = u16::from_le_bytes(*self.take(2)?.first_chunk()?);
        let bytes = self.take(length.into())?;
        String::from_utf8(bytes.strip_suffix(b"\0")?.to_vec()).ok()
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(*self.take(4)?.first_chunk()?))
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

/// IEEE 754 half precision.
pub(super) fn half_to_f32(half: u16) -> f32 {
    let sign = u32::from(half >> 15) << 31;
    let (exponent, fraction) = (u32::from(half >> 10) & 31, u32::from(half) & 0x3ff);
    match exponent {
        // Zero and what is too small for an exponent of its own.
        0 => {
            let size = fraction as f32 / 16_777_216.0;
            f32::from_bits(size.to_bits() | sign)
        }
        31 => f32::from_bits(sign | 0x7f80_0000 | fraction << 13),
        _ => f32::from_bits(sign | (exponent + 112) << 23 | fraction << 13),
    }
}

/// The nearest half-precision number, ties to even.
pub(super) fn half_from_f32(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = (bits >> 16 & 0x8000) as u16;
    let magnitude = f32::from_bits(bits & 0x7fff_ffff);
    if magnitude >= 65_520.0 {
        return sign | 0x7c00;
    }
    if magnitude < 6.103_515_6e-5 {
        // In units of the smallest step; adding 2^23 rounds to a whole number of them.
        let steps = (magnitude * 16_777_216.0 + 8_388_608.0).to_bits() & 0x7f_ffff;
        return sign | steps as u16;
    }
    let bits = magnitude.to_bits();
    let rounded = bits + 0xfff + (bits >> 13 & 1);
    sign | ((rounded >> 13) - (112 << 10)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_read_and_written_alike() {
        for half in (0..=u16::MAX).filter(|half| half & 0x7c00 != 0x7c00) {
            assert_eq!(half_from_f32(half_to_f32(half)), half);
        }
        assert_eq!(half_to_f32(0x3c00), 1.0);
        assert_eq!(half_to_f32(1), 5.960_464_5e-8);
        assert_eq!(half_from_f32(1.0 / 3.0), 0x3555);
    }

    #[test]
    fn a_file_cut_off_anywhere_is_refused() {
        let mut file = 6u32.to_le_bytes().to_vec();
        let string = |text: &str| {
            let length = u16::try_from(text.len() + 1).unwrap();
            [&length.to_le_bytes(), text.as_bytes(), b"\0"].concat()
        };
        file.extend(string("WhisperSpec"));
        file.extend([3u32, 1].map(u32::to_le_bytes).concat());
        file.extend(string("encoder/x"));
        file.extend([&[1u8][..], &2u32.to_le_bytes(), &[4], &4u32.to_le_bytes()].concat());
        file.extend([0, 0x3c, 0, 0xbc]);
        file.extend(0u32.to_le_bytes());
        let variables = Variables::parse(&file).unwrap();
        assert_eq!(variables.get("encoder/x").unwrap().floats(), [1.0, -1.0]);
        for length in 0..file.len() {
            assert!(Variables::parse(&file[..length]).is_err(), "{length}");
        }
    }
}
