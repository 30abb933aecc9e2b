//! A Whisper model, checked before whisper.cpp sees it.
//!
//! whisper.cpp aborts the process, or reads past its buffers, on files that are
//! cut off or whose header lies. So the whole structure is walked first: header,
//! mel filters, vocabulary, and every tensor's size against the file's length.
//! Layout: whisper.cpp `models/convert-pt-to-ggml.py` and `whisper_model_load`.

mod walk;

use std::fs::{self, File};
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use self::walk::{Flaw, Walk};

/// SHA-256 of the bundled demo model.
const DEMO_SHA256: &str = "fbb9855a88a7038c6adb2a432e291f809f832cb96b464a0c5dfc93f6eaf0d993";

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

/// A file that has the structure of a model and is not read yet.
#[derive(Debug)]
pub struct Candidate {
    path: PathBuf,
    file: Arc<File>,
    header: Header,
    bytes: u64,
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

impl Header {
    /// Whether the model knows no language but English.
    pub fn is_english(&self) -> bool {
        self.n_vocab == ENGLISH_VOCABULARY
    }
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
    /// Reads and checks a file: its whole structure, and its hash.
    ///
    /// # Errors
    /// It is no usable model.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        Candidate::open(path)?.hash()
    }

    /// The demo model: 120 words, synthetic voices, no general recogniser.
    pub fn demo() -> Result<Self, ModelError> {
        let path = Path::new(DEMO_NAME);
        let flawed = |flaw| refused(path, flaw);
        let bytes = DEMO.len() as u64;
        let header = Walk::new(Cursor::new(DEMO), bytes).model();
        let sha256 = hash(&mut Cursor::new(DEMO)).map_err(Flaw::Io);
        Ok(Self {
            name: DEMO_NAME.to_owned(),
            source: ModelSource::BuiltIn(DEMO),
            sha256: sha256.map_err(flawed)?,
            header: header.map_err(flawed)?,
            bytes,
        })
    }

    /// A file that was checked before, by whoever hands it down open: its structure is
    /// looked at again, its hash is believed.
    pub fn handed_down(path: &Path, name: &str, sha256: &str) -> Result<Self, ModelError> {
        let flawed = |flaw| refused(Path::new(name), flaw);
        let unreadable = |error| flawed(Flaw::Io(error));
        let file = Arc::new(File::open(path).map_err(unreadable)?);
        let bytes = file.metadata().map_err(unreadable)?.len();
        let header = Walk::new(buffered(&file), bytes).model().map_err(flawed)?;
        let path = path.to_owned();
        Ok(Self {
            name: name.to_owned(),
            source: ModelSource::File { path, file },
            sha256: sha256.to_owned(),
            header,
            bytes,
        })
    }

    /// Heads of the decoder whose attention follows the speech.
    pub fn alignment_heads(&self) -> AlignmentHeads {
        if self.is_demo() {
            return AlignmentHeads::Demo;
        }
        let Header {
            n_audio_layer,
            n_text_layer,
            n_mels,
            ..
        } = self.header;
        let is_english = self.header.is_english();
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

impl Candidate {
    /// Reads and checks a file's whole structure. That takes no time to speak of, however
    /// large it is.
    ///
    /// # Errors
    /// It is no usable model.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let flawed = |flaw| refused(path, flaw);
        let unreadable = |error| flawed(Flaw::Io(error));
        // Looked at before it is opened: a pipe would wait for somebody who writes into it.
        if !fs::metadata(path).map_err(unreadable)?.is_file() {
            return Err(unreadable(io::Error::other("not a file")));
        }
        let file = File::open(path).map_err(unreadable)?;
        let bytes = file.metadata().map_err(unreadable)?.len();
        let header = Walk::new(buffered(&file), bytes).model().map_err(flawed)?;
        Ok(Self {
            path: path.to_owned(),
            file: Arc::new(file),
            header,
            bytes,
        })
    }

    /// What its header says.
    pub fn header(&self) -> Header {
        self.header
    }

    /// Reads all of it: seconds for a gigabyte.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn hash(self) -> Result<Model, ModelError> {
        let sha256 = hash(&mut buffered(&self.file));
        let sha256 = sha256.map_err(|error| refused(&self.path, Flaw::Io(error)))?;
        let name = self.path.file_name().unwrap_or_default();
        Ok(Model {
            name: name.to_string_lossy().into_owned(),
            source: ModelSource::File {
                path: self.path,
                file: self.file,
            },
            sha256,
            header: self.header,
            bytes: self.bytes,
        })
    }
}

fn buffered(file: &File) -> BufReader<&File> {
    BufReader::with_capacity(1 << 20, file)
}

fn refused(path: &Path, flaw: Flaw) -> ModelError {
    let path = path.to_owned();
    match flaw {
        Flaw::Io(source) => ModelError::Unreadable { path, source },
        Flaw::Wrong(reason) => ModelError::NotAModel { path, reason },
    }
}

/// SHA-256 of a file from its beginning, hexadecimal.
pub(crate) fn hash(file: &mut (impl Read + Seek)) -> io::Result<String> {
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

#[cfg(test)]
mod tests;
