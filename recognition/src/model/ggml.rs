//! The structure of a ggml file, walked from front to back. Layout: whisper.cpp
//! `models/convert-pt-to-ggml.py` and `whisper_model_load`.

use std::io::{Read, Seek, SeekFrom};

use super::{ModelFlaw, ModelHeader, wrong};

const GGML_MAGIC: u32 = 0x6767_6d6c;

/// Reads a model front to back and skips over what it need not look at.
pub(super) struct GgmlWalk<R> {
    inner: R,
    at: u64,
    length: u64,
}

impl<R: Read + Seek> GgmlWalk<R> {
    /// A walk through so many bytes.
    pub(super) fn new(inner: R, length: u64) -> Self {
        Self {
            inner,
            at: 0,
            length,
        }
    }

    /// Walks to the end; what the header says.
    pub(super) fn model(&mut self) -> Result<ModelHeader, ModelFlaw> {
        let magic = self.u32()?;
        if magic != GGML_MAGIC {
            return wrong(format!(
                "it begins with {magic:#010x}, not {GGML_MAGIC:#010x}"
            ));
        }
        let header = self.header()?;
        self.mel_filters(&header)?;
        self.vocabulary(&header)?;
        let mut tensors = 0;
        while self.at < self.length {
            self.tensor()?;
            tensors += 1;
        }
        // 15 tensors per encoder layer, 24 per decoder layer, 11 outside the layers.
        let expected =
            u64::from(header.n_audio_layer) * 15 + u64::from(header.n_text_layer) * 24 + 11;
        if tensors != expected {
            return wrong(format!(
                "it holds {tensors} tensors where its header asks for {expected}"
            ));
        }
        Ok(header)
    }

    fn header(&mut self) -> Result<ModelHeader, ModelFlaw> {
        let header = ModelHeader {
            n_vocab: self.u32()?,
            n_audio_ctx: self.u32()?,
            n_audio_state: self.u32()?,
            n_audio_head: self.u32()?,
            n_audio_layer: self.u32()?,
            n_text_ctx: self.u32()?,
            n_text_state: self.u32()?,
            n_text_head: self.u32()?,
            n_text_layer: self.u32()?,
            n_mels: self.u32()?,
            precision: precision(self.u32()?),
        };
        header.check()?;
        Ok(header)
    }

    fn mel_filters(&mut self, header: &ModelHeader) -> Result<(), ModelFlaw> {
        let (n_mel, n_fft) = (self.u32()?, self.u32()?);
        if n_mel != header.n_mels || n_fft != 201 {
            return wrong(format!("its mel filters are {n_mel} × {n_fft}"));
        }
        self.skip(u64::from(n_mel) * u64::from(n_fft) * 4)
    }

    fn vocabulary(&mut self, header: &ModelHeader) -> Result<(), ModelFlaw> {
        let words = self.u32()?;
        if words > header.n_vocab {
            return wrong(format!(
                "its vocabulary lists {words} of {} words",
                header.n_vocab
            ));
        }
        let mut has_space = false;
        for _ in 0..words {
            let length = self.u32()?;
            if length > 1024 {
                return wrong(format!("a word of its vocabulary is {length} bytes long"));
            }
            if length == 1 {
                let mut word = [0];
                self.read(&mut word)?;
                has_space |= word == *b" ";
            } else {
                self.skip(u64::from(length))?;
            }
        }
        if !has_space {
            // whisper.cpp looks it up to keep a text from beginning with it, and aborts without.
            return wrong("its vocabulary lacks the single space");
        }
        Ok(())
    }

    fn tensor(&mut self) -> Result<(), ModelFlaw> {
        let (n_dims, name_length, kind) = (self.u32()?, self.u32()?, self.u32()?);
        if !(1..=4).contains(&n_dims) || !(1..=128).contains(&name_length) {
            return wrong(format!("no tensor begins at byte {}", self.at - 12));
        }
        let mut elements = 1u64;
        let mut row = 0;
        for dim in 0..n_dims {
            let size = u64::from(self.u32()?);
            if dim == 0 {
                row = size;
            }
            elements = elements.saturating_mul(size);
        }
        let mut name = vec![0; name_length as usize];
        self.read(&mut name)?;
        let name = String::from_utf8_lossy(&name).into_owned();
        let Some((block, bytes)) = block_of(kind) else {
            return wrong(format!("tensor {name} has the unknown type {kind}"));
        };
        if elements == 0 || row % block != 0 {
            return wrong(format!("tensor {name} has a row of {row} elements"));
        }
        self.skip((elements / block).saturating_mul(bytes))
    }

    fn u32(&mut self) -> Result<u32, ModelFlaw> {
        let mut bytes = [0; 4];
        self.read(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn read(&mut self, into: &mut [u8]) -> Result<(), ModelFlaw> {
        let end = self.at + into.len() as u64;
        self.stay_within(end)?;
        self.inner.read_exact(into)?;
        self.at = end;
        Ok(())
    }

    fn stay_within(&self, end: u64) -> Result<(), ModelFlaw> {
        if end > self.length {
            return wrong(format!(
                "it is cut off: {} bytes, where at least {end} are announced",
                self.length
            ));
        }
        Ok(())
    }

    fn skip(&mut self, bytes: u64) -> Result<(), ModelFlaw> {
        let end = self.at.saturating_add(bytes);
        self.stay_within(end)?;
        self.at = end;
        self.inner.seek(SeekFrom::Start(end))?;
        Ok(())
    }
}

/// Elements and bytes of one block of a ggml tensor type (`ggml.h`, `ggml_type`).
fn block_of(kind: u32) -> Option<(u64, u64)> {
    Some(match kind {
        0 => (1, 4),      // F32
        1 => (1, 2),      // F16
        2 => (32, 18),    // Q4_0
        3 => (32, 20),    // Q4_1
        6 => (32, 22),    // Q5_0
        7 => (32, 24),    // Q5_1
        8 => (32, 34),    // Q8_0
        10 => (256, 84),  // Q2_K
        11 => (256, 110), // Q3_K
        12 => (256, 144), // Q4_K
        13 => (256, 176), // Q5_K
        14 => (256, 210), // Q6_K
        _ => return None,
    })
}

/// `ggml_ftype` of `ggml.h`; beyond a thousand the version of the quantisation is added.
fn precision(ftype: u32) -> &'static str {
    match ftype % 1000 {
        0 => "f32",
        1 => "f16",
        2 => "q4_0",
        3 => "q4_1",
        7 => "q8_0",
        8 => "q5_0",
        9 => "q5_1",
        10 => "q2_k",
        11 => "q3_k",
        12 => "q4_k",
        13 => "q5_k",
        14 => "q6_k",
        _ => "of an unknown precision",
    }
}
