//! A CTranslate2 folder of a Whisper model: `model.bin`, `config.json`, `tokenizer.json` and
//! `vocabulary.txt` or `vocabulary.json`, as the published faster-whisper models are laid out.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::vocabulary::ModelVocabulary;
use super::weights::WeightsWalk;
use super::{ModelFlaw, ModelHeader, buffered, hash, hex, wrong};

/// File of a folder that has the weights.
pub const WEIGHTS: &str = "model.bin";
const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer.json";

/// Files of a folder that are read, and have no other name.
pub const REQUIRED_FILES: [&str; 3] = [CONFIG, WEIGHTS, TOKENIZER];

/// Names of its vocabulary; the first that is there is read.
pub const VOCABULARIES: [&str; 2] = ["vocabulary.json", "vocabulary.txt"];

/// A text file of a model is some megabytes; one beyond this is none.
pub const MAX_TEXT: u64 = 64 << 20;

/// Which file it was: enough to notice that it has been replaced or written to since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileIdentity {
    name: String,
    device: u64,
    inode: u64,
    bytes: u64,
    /// Nanoseconds of the last change since 1970, as far as the file system keeps them.
    modified: (i64, i64),
}

impl FileIdentity {
    fn of(folder: &Path, name: &str) -> io::Result<Self> {
        let metadata = fs::metadata(folder.join(name))?;
        if !metadata.is_file() {
            return Err(io::Error::other("not a file"));
        }
        Ok(Self {
            name: name.to_owned(),
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}

/// A folder whose structure is right.
#[derive(Debug, Clone)]
pub struct ModelFolder {
    /// Where it is: an absolute path without links.
    pub path: PathBuf,
    /// Its files, by name.
    pub files: Vec<FileIdentity>,
    vocabulary: Arc<ModelVocabulary>,
    /// Whether the heads are named whose attention follows the speech.
    has_alignment_heads: bool,
}

impl ModelFolder {
    /// Walks through a folder: every file is there, and they fit each other.
    pub(super) fn open(path: &Path) -> Result<(Self, ModelHeader), ModelFlaw> {
        let path = fs::canonicalize(path)?;
        let vocabulary_file = VOCABULARIES
            .into_iter()
            .find(|name| path.join(name).exists());
        let Some(vocabulary_file) = vocabulary_file else {
            return wrong("the folder has no vocabulary.txt and no vocabulary.json");
        };
        let identity = |name: &str| match FileIdentity::of(&path, name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => wrong(format!(
                "the folder has no {name}; a whole one has {WEIGHTS}, {CONFIG}, {TOKENIZER} and {vocabulary_file}"
            )),
            identity => identity.map_err(ModelFlaw::Io),
        };
        let names = REQUIRED_FILES.into_iter().chain([vocabulary_file]);
        let files = names.map(identity).collect::<Result<Vec<_>, _>>()?;
        let weights = File::open(path.join(WEIGHTS))?;
        let bytes = weights.metadata()?.len();
        let header = WeightsWalk::new(buffered(&weights), bytes).header()?;
        let vocabulary = ModelVocabulary::new(read_vocabulary(&path.join(vocabulary_file))?)?;
        let words = header.n_vocab as usize;
        if vocabulary.len() != words {
            let found = vocabulary.len();
            return wrong(format!(
                "{vocabulary_file} has {found} words, where model.bin has {words}"
            ));
        }
        check_tokenizer(&path.join(TOKENIZER), &vocabulary)?;
        let has_alignment_heads = check_config(&path.join(CONFIG), &header)?;
        let folder = Self {
            path,
            files,
            vocabulary: Arc::new(vocabulary),
            has_alignment_heads,
        };
        Ok((folder, header))
    }

    /// Sum of the files' sizes.
    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// SHA-256 of the list that `sha256sum` would print of the files, by name.
    pub(super) fn sha256(&self) -> io::Result<String> {
        let mut list = Sha256::new();
        let mut files: Vec<&str> = self.files.iter().map(|file| file.name.as_str()).collect();
        files.sort_unstable();
        for name in files {
            let mut file = buffered_file(&self.path.join(name))?;
            let hash = hash(&mut file)?;
            list.update(format!("{hash}  {name}\n"));
        }
        Ok(hex(&list.finalize()))
    }

    /// Whether the files are still those that they were, as far as the file system tells.
    pub(crate) fn is_unchanged(&self) -> bool {
        self.are(&self.files)
    }

    /// Whether its files are exactly these.
    pub(super) fn are(&self, files: &[FileIdentity]) -> bool {
        files.len() == self.files.len()
            && files.iter().all(|file| {
                FileIdentity::of(&self.path, &file.name).is_ok_and(|found| found == *file)
            })
    }

    /// The model's vocabulary.
    pub(crate) fn vocabulary(&self) -> &Arc<ModelVocabulary> {
        &self.vocabulary
    }

    /// Whether words can be given times.
    pub(crate) fn has_alignment_heads(&self) -> bool {
        self.has_alignment_heads
    }
}

fn buffered_file(path: &Path) -> io::Result<io::BufReader<File>> {
    Ok(io::BufReader::with_capacity(1 << 20, File::open(path)?))
}

fn read_text(path: &Path) -> Result<String, ModelFlaw> {
    let mut text = String::new();
    let file = File::open(path)?;
    if file.take(MAX_TEXT + 1).read_to_string(&mut text)? as u64 > MAX_TEXT {
        return wrong(format!("{} is too long", path.display()));
    }
    Ok(text)
}

fn read_vocabulary(path: &Path) -> Result<Vec<String>, ModelFlaw> {
    let text = read_text(path)?;
    if path
        .extension()
        .is_some_and(|extension| extension == "json")
    {
        return parse(&text, "vocabulary.json");
    }
    let lines = text.strip_suffix('\n').unwrap_or(&text);
    Ok(lines.split('\n').map(str::to_owned).collect())
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str, name: &str) -> Result<T, ModelFlaw> {
    serde_json::from_str(text).or_else(|error| wrong(format!("{name} is broken: {error}")))
}

/// The fields of `tokenizer.json` that are looked at.
#[derive(Deserialize)]
struct TokenizerFile {
    model: TokenizerModel,
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
}

#[derive(Deserialize)]
struct TokenizerModel {
    vocab: std::collections::HashMap<String, u32>,
}

#[derive(Deserialize)]
struct AddedToken {
    id: u32,
    content: String,
}

/// The tokenizer must number the words as the vocabulary does: one of another model would write
/// other words without any error.
fn check_tokenizer(path: &Path, vocabulary: &ModelVocabulary) -> Result<(), ModelFlaw> {
    let text = read_text(path)?;
    let TokenizerFile {
        model,
        added_tokens,
    } = parse(&text, TOKENIZER)?;
    let added = added_tokens
        .into_iter()
        .map(|added| (added.content, added.id));
    for (word, id) in model.vocab.into_iter().chain(added) {
        match vocabulary.name(id) {
            Some(known) if known == word => {}
            Some(known) => {
                return wrong(format!(
                    "word {id} is {word:?} in {TOKENIZER} and {known:?} in the vocabulary: they belong to different models"
                ));
            }
            // Some tokenizers name more time stamps than the model has.
            None => {}
        }
    }
    Ok(())
}

/// The fields of `config.json` that CTranslate2 reads.
#[derive(Deserialize)]
struct FolderConfig {
    #[serde(default)]
    alignment_heads: Vec<(u32, u32)>,
    #[serde(default)]
    lang_ids: Vec<u32>,
    suppress_ids: Vec<u32>,
    suppress_ids_begin: Vec<u32>,
}

/// CTranslate2 believes every number in it; whether alignment heads are among them.
fn check_config(path: &Path, header: &ModelHeader) -> Result<bool, ModelFlaw> {
    let text = read_text(path)?;
    let config: FolderConfig = parse(&text, CONFIG)?;
    let mut ids = config
        .lang_ids
        .iter()
        .chain(&config.suppress_ids)
        .chain(&config.suppress_ids_begin);
    if let Some(id) = ids.find(|id| **id >= header.n_vocab) {
        return wrong(format!(
            "{CONFIG} names word {id}, which the model does not have"
        ));
    }
    let is_there =
        |(layer, head): &(u32, u32)| *layer < header.n_text_layer && *head < header.n_text_head;
    if let Some((layer, head)) = config.alignment_heads.iter().find(|place| !is_there(place)) {
        return wrong(format!(
            "{CONFIG} names head {head} of layer {layer}, which the model does not have"
        ));
    }
    if !header.is_english() && config.lang_ids.is_empty() {
        return wrong(format!("{CONFIG} names no languages"));
    }
    Ok(!config.alignment_heads.is_empty())
}
