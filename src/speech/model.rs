//! A Whisper model, checked before whisper.cpp sees it.
//!
//! whisper.cpp aborts the process, or reads past its buffers, on files that are
//! cut off or whose header lies. So the whole structure is walked first: header,
//! mel filters, vocabulary, and every tensor's size against the file's length.
//! Layout: whisper.cpp `models/convert-pt-to-ggml.py` and `whisper_model_load`.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

/// SHA-256 of the bundled demo model.
const DEMO_SHA256: &str = "efc80708ad92c2070700a14e98f27cdd57229e819cfa6f4f4aed09c8fd2db7f7";

const GGML_MAGIC: u32 = 0x6767_6d6c;

/// The demo model is part of the program, so that it runs without any file.
const DEMO: &[u8] = include_bytes!("../../fixtures/model/asterscribe-demo-q5_0.bin");

/// Its name.
const DEMO_NAME: &str = "asterscribe-demo-q5_0";

/// A model that may be handed to the engine.
#[derive(Debug, Clone)]
pub struct Model {
    /// Name for people: the file's.
    pub name: String,
    /// Where its bytes are.
    pub source: ModelSource,
    /// SHA-256 of all its bytes, hexadecimal.
    pub sha256: String,
    /// What its header says.
    pub header: Header,
    /// Its size.
    pub bytes: u64,
}

/// Where a model's bytes are.
#[derive(Debug, Clone)]
pub enum ModelSource {
    /// In a file, which stays open: what was checked is what is loaded, also by a
    /// worker that starts after the file was replaced.
    File {
        /// Where it was.
        path: PathBuf,
        /// The file.
        file: Arc<File>,
    },
    /// In this program.
    BuiltIn(&'static [u8]),
}

/// Which heads of a decoder's attention follow the speech.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlignmentHeads {
    /// Those that were found out for the demo model.
    Demo,
    /// Those that OpenAI published for the model of that name.
    Published(&'static str),
    /// Nobody has looked for them.
    Unknown,
}

/// `n_vocab` of models that know English only.
const ENGLISH_VOCABULARY: u32 = 51_864;

/// The header's eleven numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the field's own names, from whisper_hparams")]
pub struct Header {
    pub n_vocab: u32,
    pub n_audio_ctx: u32,
    pub n_audio_state: u32,
    pub n_audio_head: u32,
    pub n_audio_layer: u32,
    pub n_text_ctx: u32,
    pub n_text_state: u32,
    pub n_text_head: u32,
    pub n_text_layer: u32,
    pub n_mels: u32,
    pub ftype: u32,
}

/// Why a file is no usable model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// It cannot be read.
    #[error("cannot read the model {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It is not in Whisper's ggml format.
    #[error("{path} is no Whisper model in ggml format: {reason}")]
    NotAModel {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The engine refused it all the same.
    #[error("whisper.cpp cannot load {path}: {reason}")]
    Refused {
        /// The file.
        path: PathBuf,
        /// Its reason.
        reason: String,
    },
}

impl Model {
    /// Reads and checks a file's whole structure.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let unreadable = |source| ModelError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(unreadable(io::Error::other("not a file")));
        }
        let file = Arc::new(file);
        let source = ModelSource::File {
            path: path.to_owned(),
            file: Arc::clone(&file),
        };
        let reader = BufReader::with_capacity(1 << 20, &*file);
        Self::check(reader, metadata.len(), source).map_err(|flaw| match flaw {
            Flaw::Io(source) => unreadable(source),
            Flaw::Wrong(reason) => ModelError::NotAModel {
                path: path.to_owned(),
                reason,
            },
        })
    }

    /// The demo model: 120 words, synthetic voices, no general recogniser.
    pub fn demo() -> Result<Self, ModelError> {
        Self::check(
            Cursor::new(DEMO),
            DEMO.len() as u64,
            ModelSource::BuiltIn(DEMO),
        )
        .map_err(|flaw| {
            let reason = match flaw {
                Flaw::Io(error) => error.to_string(),
                Flaw::Wrong(reason) => reason,
            };
            ModelError::NotAModel {
                path: DEMO_NAME.into(),
                reason,
            }
        })
    }

    /// A file that was checked before, by whoever hands it down open: its structure is
    /// looked at again, its hash is believed.
    pub fn handed_down(path: &Path, name: &str, sha256: &str) -> Result<Self, ModelError> {
        let unreadable = |source| ModelError::Unreadable {
            path: name.into(),
            source,
        };
        let file = Arc::new(File::open(path).map_err(unreadable)?);
        let bytes = file.metadata().map_err(unreadable)?.len();
        let mut walk = Walk {
            inner: BufReader::with_capacity(1 << 20, &*file),
            at: 0,
            length: bytes,
        };
        let header = walk.model().map_err(|flaw| match flaw {
            Flaw::Io(source) => unreadable(source),
            Flaw::Wrong(reason) => ModelError::NotAModel {
                path: name.into(),
                reason,
            },
        })?;
        let path = path.to_owned();
        Ok(Self {
            name: name.to_owned(),
            source: ModelSource::File { path, file },
            sha256: sha256.to_owned(),
            header,
            bytes,
        })
    }

    fn check(reader: impl Read + Seek, length: u64, source: ModelSource) -> Result<Self, Flaw> {
        let mut walk = Walk {
            inner: reader,
            at: 0,
            length,
        };
        let header = walk.model()?;
        let sha256 = hash(&mut walk.inner)?;
        let name = match &source {
            ModelSource::File { path, .. } => path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            ModelSource::BuiltIn(_) => DEMO_NAME.to_owned(),
        };
        Ok(Self {
            name,
            source,
            sha256,
            header,
            bytes: length,
        })
    }

    /// Heads of the decoder whose attention follows the speech.
    pub fn alignment_heads(&self) -> AlignmentHeads {
        if self.is_demo() {
            return AlignmentHeads::Demo;
        }
        let Header {
            n_vocab,
            n_audio_layer,
            n_text_layer,
            n_mels,
            ..
        } = self.header;
        let is_english = n_vocab == ENGLISH_VOCABULARY;
        AlignmentHeads::Published(match (n_audio_layer, n_text_layer, is_english) {
            (4, 4, true) => "tiny.en",
            (4, 4, false) => "tiny",
            (6, 6, true) => "base.en",
            (6, 6, false) => "base",
            (12, 12, true) => "small.en",
            (12, 12, false) => "small",
            (24, 24, true) => "medium.en",
            (24, 24, false) => "medium",
            (32, 32, false) if n_mels == 128 => "large-v3",
            (32, 32, false) => "large-v2",
            (32, 4, false) => "large-v3-turbo",
            // Distilled and private ones.
            _ => return AlignmentHeads::Unknown,
        })
    }

    /// What it is, for people.
    pub fn describe(&self) -> String {
        let name = &self.name;
        if self.is_demo() {
            format!(
                "{name}: a DEMO model that knows some 120 English words; set WHISPER_MODEL to a real one"
            )
        } else {
            format!("{name} (sha256 {})", &self.sha256[..16])
        }
    }

    /// Name and revision: enough to tell which weights recognised something.
    pub fn revision(&self) -> String {
        format!("{}@{}", self.name, &self.sha256[..8])
    }

    /// Whether this is the demo model, from wherever it was read.
    pub fn is_demo(&self) -> bool {
        self.sha256 == DEMO_SHA256
    }

    /// Whether the model was trained to work with an encoder context fitted to
    /// the utterance. Others lose accuracy with it, up to uselessness, so they
    /// get their full window.
    pub fn fits_audio_ctx(&self) -> bool {
        self.is_demo()
    }
}

fn hash(file: &mut (impl Read + Seek)) -> io::Result<String> {
    file.seek(SeekFrom::Start(0))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            n => hasher.update(&buffer[..n]),
        }
    }
    Ok(hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

enum Flaw {
    Io(io::Error),
    Wrong(String),
}

impl From<io::Error> for Flaw {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn wrong<T>(reason: impl Into<String>) -> Result<T, Flaw> {
    Err(Flaw::Wrong(reason.into()))
}

/// Reads a model front to back and skips over what it need not look at.
struct Walk<R> {
    inner: R,
    at: u64,
    length: u64,
}

impl<R: Read + Seek> Walk<R> {
    fn model(&mut self) -> Result<Header, Flaw> {
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

    fn header(&mut self) -> Result<Header, Flaw> {
        let header = Header {
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
            ftype: self.u32()?,
        };
        // Bounds well around everything published (large-v3: 51866, 1500, 1280, 20, 32, 448, …, 128).
        let bounds = [
            ("n_vocab", header.n_vocab, 50_000..=60_000),
            ("n_audio_ctx", header.n_audio_ctx, 1500..=1500),
            ("n_audio_state", header.n_audio_state, 32..=4096),
            ("n_audio_head", header.n_audio_head, 1..=64),
            ("n_audio_layer", header.n_audio_layer, 1..=128),
            ("n_text_ctx", header.n_text_ctx, 64..=4096),
            ("n_text_state", header.n_text_state, 32..=4096),
            ("n_text_head", header.n_text_head, 1..=64),
            ("n_text_layer", header.n_text_layer, 1..=128),
            ("n_mels", header.n_mels, 80..=128),
        ];
        for (name, value, allowed) in bounds {
            if !allowed.contains(&value) {
                return wrong(format!("its header says {name} = {value}"));
            }
        }
        if !header.n_audio_state.is_multiple_of(header.n_audio_head)
            || !header.n_text_state.is_multiple_of(header.n_text_head)
        {
            return wrong("its heads do not divide its state");
        }
        Ok(header)
    }

    fn mel_filters(&mut self, header: &Header) -> Result<(), Flaw> {
        let (n_mel, n_fft) = (self.u32()?, self.u32()?);
        if n_mel != header.n_mels || n_fft != 201 {
            return wrong(format!("its mel filters are {n_mel} × {n_fft}"));
        }
        self.skip(u64::from(n_mel) * u64::from(n_fft) * 4)
    }

    fn vocabulary(&mut self, header: &Header) -> Result<(), Flaw> {
        let words = self.u32()?;
        if words > header.n_vocab {
            return wrong(format!(
                "its vocabulary lists {words} of {} words",
                header.n_vocab
            ));
        }
        for _ in 0..words {
            let length = self.u32()?;
            if length > 1024 {
                return wrong(format!("a word of its vocabulary is {length} bytes long"));
            }
            self.skip(u64::from(length))?;
        }
        Ok(())
    }

    fn tensor(&mut self) -> Result<(), Flaw> {
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

    fn u32(&mut self) -> Result<u32, Flaw> {
        let mut bytes = [0; 4];
        self.read(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn read(&mut self, into: &mut [u8]) -> Result<(), Flaw> {
        let end = self.at + into.len() as u64;
        self.stay_within(end)?;
        self.inner.read_exact(into)?;
        self.at = end;
        Ok(())
    }

    fn stay_within(&self, end: u64) -> Result<(), Flaw> {
        if end > self.length {
            return wrong(format!(
                "it is cut off: {} bytes, where at least {end} are announced",
                self.length
            ));
        }
        Ok(())
    }

    fn skip(&mut self, bytes: u64) -> Result<(), Flaw> {
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

#[cfg(test)]
mod tests;
