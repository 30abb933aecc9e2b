//! A Whisper model, checked before an engine sees it: a file for whisper.cpp, or a folder for
//! CTranslate2.
//!
//! whisper.cpp aborts the process, or reads past its buffers, on files that are
//! cut off or whose header lies; CTranslate2 believes much of what its folders say. So the
//! whole structure is walked first: header, vocabulary, and every tensor's size against the
//! file's length.

mod folder;
mod ggml;
mod vocabulary;
mod weights;

use std::fs::{self, File};
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

pub use self::folder::{
    FileIdentity, MAX_TEXT, ModelFolder, REQUIRED_FILES, VOCABULARIES, WEIGHTS,
};
use self::ggml::GgmlWalk;
pub(crate) use self::vocabulary::ModelVocabulary;

/// SHA-256 of the bundled demo model.
const DEMO_SHA256: &str = "fbb9855a88a7038c6adb2a432e291f809f832cb96b464a0c5dfc93f6eaf0d993";

/// The demo model is part of the program, so that it runs without any file.
const DEMO: &[u8] = include_bytes!("../../fixtures/model/asterscribe-demo-q5_0.bin");

/// Name of the demo model.
const DEMO_NAME: &str = "asterscribe-demo-q5_0";

/// A model that may be handed to the engine.
#[derive(Debug, Clone)]
pub struct SpeechModel {
    /// Name of the file or folder, for people.
    pub name: String,
    /// Place of the model's bytes.
    pub source: ModelSource,
    /// SHA-256 of all its bytes, hexadecimal; of a folder, of the list of its files with theirs.
    pub sha256: String,
    /// Dimensions from its header.
    pub header: ModelHeader,
    /// Size in bytes.
    pub bytes: u64,
}

/// A file or folder that has the structure of a model and is not read yet.
#[derive(Debug)]
pub struct ModelCandidate {
    name: String,
    source: ModelSource,
    header: ModelHeader,
    bytes: u64,
}

/// Place of a model's bytes.
#[derive(Debug, Clone)]
pub enum ModelSource {
    /// A file, kept open: the bytes that were checked are the bytes that are loaded, also by a
    /// worker that starts after the file was replaced.
    File {
        /// Path at which it was opened.
        path: PathBuf,
        /// The open file.
        file: Arc<File>,
    },
    /// A folder. Whoever loads it checks that it is still the same.
    Folder(ModelFolder),
    /// Bytes within this program.
    BuiltIn(&'static [u8]),
}

/// Engine that loads a model, by the model's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineKind {
    /// whisper.cpp, for ggml files.
    WhisperCpp,
    /// CTranslate2, for its folders.
    CTranslate2,
}

impl EngineKind {
    /// Name of the engine.
    pub fn name(self) -> &'static str {
        match self {
            Self::WhisperCpp => "whisper.cpp",
            Self::CTranslate2 => "CTranslate2",
        }
    }
}

/// Heads of the decoder's attention that follow the speech.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlignmentHeads {
    /// Heads that were determined for the demo model.
    Demo,
    /// Heads that OpenAI published for the model of that name.
    Published(&'static str),
    /// Not determined for this model.
    Unknown,
}

/// `n_vocab` of models that know English only.
const ENGLISH_VOCABULARY: u32 = 51_864;

/// `n_vocab` of the models that know all languages of Whisper's but Cantonese.
const FIRST_MULTILINGUAL_VOCABULARY: u32 = 51_865;

/// Eleven numbers of the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the field's own names, from whisper_hparams")]
pub struct ModelHeader {
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
    /// Storage format of the matrices: `f16`, `q8_0`, `float16`, `int8` …
    pub precision: &'static str,
}

/// Fault of a file or folder that is not a model.
#[derive(Debug)]
enum ModelFlaw {
    Io(io::Error),
    Wrong(String),
}

impl From<io::Error> for ModelFlaw {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn wrong<T>(reason: impl Into<String>) -> Result<T, ModelFlaw> {
    Err(ModelFlaw::Wrong(reason.into()))
}

impl ModelHeader {
    /// Checks the numbers against bounds well around everything published (large-v3: 51866, 1500,
    /// 1280, 20, 32, 448, …, 128).
    fn check(&self) -> Result<(), ModelFlaw> {
        let bounds = [
            ("n_vocab", self.n_vocab, 50_000..=60_000),
            ("n_audio_ctx", self.n_audio_ctx, 1500..=1500),
            ("n_audio_state", self.n_audio_state, 32..=4096),
            ("n_audio_head", self.n_audio_head, 1..=64),
            ("n_audio_layer", self.n_audio_layer, 1..=128),
            ("n_text_ctx", self.n_text_ctx, 64..=4096),
            ("n_text_state", self.n_text_state, 32..=4096),
            ("n_text_head", self.n_text_head, 1..=64),
            ("n_text_layer", self.n_text_layer, 1..=128),
            ("n_mels", self.n_mels, 80..=128),
        ];
        for (name, value, allowed) in bounds {
            if !allowed.contains(&value) {
                return wrong(format!("its header says {name} = {value}"));
            }
        }
        if !self.n_audio_state.is_multiple_of(self.n_audio_head)
            || !self.n_text_state.is_multiple_of(self.n_text_head)
        {
            return wrong("its heads do not divide its state");
        }
        Ok(())
    }

    /// Whether the model knows no language but English.
    pub fn is_english(&self) -> bool {
        self.n_vocab == ENGLISH_VOCABULARY
    }

    /// Whether the model has a token for a language of Whisper's: the newest ones alone have one
    /// for Cantonese.
    pub fn knows_language(&self, code: &str) -> bool {
        match code {
            "en" => true,
            "yue" => self.n_vocab > FIRST_MULTILINGUAL_VOCABULARY,
            _ => !self.is_english(),
        }
    }
}

/// Error: a file or folder is not a usable model.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The file cannot be read.
    #[error("cannot read the model {path}: {source}")]
    Unreadable {
        /// Path of the file.
        path: PathBuf,
        /// Reason, as the system gives it.
        source: io::Error,
    },
    /// The file is neither a Whisper model in ggml format nor a CTranslate2 folder of one.
    #[error("{path} is no Whisper model: {reason}")]
    NotAModel {
        /// Path of the file or folder.
        path: PathBuf,
        /// Fault of its structure.
        reason: String,
    },
    /// The folder has changed since it was checked.
    #[error("{path} has changed since it was checked; choose the model again to have it loaded")]
    Changed {
        /// Path of the folder.
        path: PathBuf,
    },
    /// The engine refused the model although it had passed the check.
    #[error("{engine} cannot load {path}: {reason}")]
    Refused {
        /// Name of the engine.
        engine: &'static str,
        /// Path of the file or folder.
        path: PathBuf,
        /// Reason, as the engine gives it.
        reason: String,
    },
}

impl SpeechModel {
    /// Reads and checks a file: its whole structure, and its hash.
    ///
    /// # Errors
    /// The file is not a usable model.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        ModelCandidate::open(path)?.hash()
    }

    /// The demo model: 120 words, synthetic voices, no general recogniser.
    ///
    /// # Errors
    /// None: it is checked in the tests.
    pub fn demo() -> Result<Self, ModelError> {
        let bytes = DEMO.len() as u64;
        let header = GgmlWalk::new(Cursor::new(DEMO), bytes).model();
        let candidate = ModelCandidate {
            name: DEMO_NAME.to_owned(),
            source: ModelSource::BuiltIn(DEMO),
            header: header.map_err(|flaw| refused(Path::new(DEMO_NAME), flaw))?,
            bytes,
        };
        candidate.hash()
    }

    /// A file that was checked before, by the process that hands it down open: its structure is
    /// checked again, its hash is believed.
    ///
    /// # Errors
    /// The file is not a usable model.
    pub fn handed_down(path: &Path, name: &str, sha256: &str) -> Result<Self, ModelError> {
        let candidate = ModelCandidate::open(path)?;
        Ok(candidate.named(name, sha256))
    }

    /// A folder that was checked before: its structure is checked again; its hash is believed if
    /// the files are the same, and computed if they have changed.
    ///
    /// # Errors
    /// The folder is not a usable model, or holds another one by now.
    pub fn checked_before(
        path: &Path,
        files: &[FileIdentity],
        name: &str,
        sha256: &str,
    ) -> Result<Self, ModelError> {
        let candidate = ModelCandidate::open(path)?;
        let is_same = match &candidate.source {
            ModelSource::Folder(folder) => folder.are(files),
            ModelSource::File { .. } | ModelSource::BuiltIn(_) => false,
        };
        if is_same {
            return Ok(candidate.named(name, sha256));
        }
        let model = candidate.hash()?;
        if model.sha256 == sha256 {
            return Ok(model);
        }
        Err(ModelError::Changed {
            path: path.to_owned(),
        })
    }

    /// Engine that loads the model.
    pub fn engine(&self) -> EngineKind {
        match self.source {
            ModelSource::Folder(_) => EngineKind::CTranslate2,
            ModelSource::File { .. } | ModelSource::BuiltIn(_) => EngineKind::WhisperCpp,
        }
    }

    /// Whether word times are accurate enough to tell what was said before a moment. whisper.cpp's
    /// are off by half a second with `base` (docs/words.md).
    pub fn times_words_closely(&self) -> bool {
        match &self.source {
            ModelSource::Folder(folder) => folder.has_alignment_heads(),
            ModelSource::File { .. } | ModelSource::BuiltIn(_) => false,
        }
    }

    /// Heads of the decoder whose attention follows the speech.
    pub fn alignment_heads(&self) -> AlignmentHeads {
        if self.is_demo() {
            return AlignmentHeads::Demo;
        }
        let ModelHeader {
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

    /// Description of the model for people.
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

    /// Name and revision, which identify the weights that recognised something.
    pub fn revision(&self) -> String {
        format!("{}@{}", self.name, &self.sha256[..8])
    }

    /// Whether this is the demo model, from wherever it was read.
    pub fn is_demo(&self) -> bool {
        self.sha256 == DEMO_SHA256
    }
}

impl ModelCandidate {
    /// Reads and checks the whole structure of a file or folder, which takes next to no time
    /// however large it is.
    ///
    /// # Errors
    /// The file or folder is not a usable model.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        Self::read(path).map_err(|flaw| refused(path, flaw))
    }

    fn read(path: &Path) -> Result<Self, ModelFlaw> {
        let name = path.file_name().unwrap_or_default();
        let name = name.to_string_lossy().into_owned();
        // Looked at before it is opened: a pipe would wait for somebody who writes into it.
        let metadata = fs::metadata(path)?;
        if metadata.is_dir() {
            let (folder, header) = ModelFolder::open(path)?;
            return Ok(Self {
                name,
                bytes: folder.bytes(),
                source: ModelSource::Folder(folder),
                header,
            });
        }
        if !metadata.is_file() {
            return Err(ModelFlaw::Io(io::Error::other(
                "neither a file nor a folder",
            )));
        }
        let file = Arc::new(File::open(path)?);
        let bytes = file.metadata()?.len();
        let header = GgmlWalk::new(buffered(&file), bytes).model()?;
        let path = path.to_owned();
        Ok(Self {
            name,
            source: ModelSource::File { path, file },
            header,
            bytes,
        })
    }

    /// Dimensions from its header.
    pub fn header(&self) -> ModelHeader {
        self.header
    }

    /// Size in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads the whole model to compute its hash: seconds for a gigabyte.
    ///
    /// # Errors
    /// The model cannot be read.
    pub fn hash(self) -> Result<SpeechModel, ModelError> {
        let (path, sha256) = match &self.source {
            ModelSource::File { path, file } => (path.as_path(), hash(&mut buffered(file))),
            ModelSource::Folder(folder) => (folder.path.as_path(), folder.sha256()),
            ModelSource::BuiltIn(bytes) => (Path::new(&self.name), hash(&mut Cursor::new(bytes))),
        };
        let sha256 = sha256.map_err(|error| refused(path, ModelFlaw::Io(error)))?;
        let name = self.name.clone();
        Ok(self.named(&name, &sha256))
    }

    fn named(self, name: &str, sha256: &str) -> SpeechModel {
        SpeechModel {
            name: name.to_owned(),
            source: self.source,
            sha256: sha256.to_owned(),
            header: self.header,
            bytes: self.bytes,
        }
    }
}

fn buffered(file: &File) -> BufReader<&File> {
    BufReader::with_capacity(1 << 20, file)
}

fn refused(path: &Path, flaw: ModelFlaw) -> ModelError {
    let path = path.to_owned();
    match flaw {
        ModelFlaw::Io(source) => ModelError::Unreadable { path, source },
        ModelFlaw::Wrong(reason) => ModelError::NotAModel { path, reason },
    }
}

/// SHA-256 of a file from its beginning, hexadecimal.
pub fn hash(file: &mut (impl Read + Seek)) -> io::Result<String> {
    file.seek(SeekFrom::Start(0))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            n => hasher.update(&buffer[..n]),
        }
    }
    Ok(hex(&hasher.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
