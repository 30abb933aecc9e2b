//! Choice of the form in which a model is fetched, and of the place.

use std::fmt;

use asterscribe_recognition::model::EngineKind;

use super::catalogue::{PublishedFolder, published_folder};
use super::folder::WantedFolder;
use super::pull::WantedFile;
use crate::config::{ModelChoice, Settings};

/// A form in which models are published, each for one engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishedFormat {
    /// A file for whisper.cpp.
    Ggml,
    /// A folder for CTranslate2.
    CTranslate2,
}

impl PublishedFormat {
    /// The form that costs the least on this machine: CTranslate2's, where the processor has the
    /// instructions that it needs.
    pub fn cheapest_here() -> Self {
        #[cfg(target_arch = "x86_64")]
        if std::is_x86_feature_detected!("avx2") {
            return Self::CTranslate2;
        }
        Self::Ggml
    }

    /// The form that an engine loads.
    pub fn of(engine: EngineKind) -> Self {
        match engine {
            EngineKind::WhisperCpp => Self::Ggml,
            EngineKind::CTranslate2 => Self::CTranslate2,
        }
    }
}

impl fmt::Display for PublishedFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ggml => "ggml file",
            Self::CTranslate2 => "CTranslate2 folder",
        })
    }
}

/// A model that is to be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelOrder {
    /// Ggml file.
    File(WantedFile),
    /// CTranslate2 folder.
    Folder(WantedFolder),
}

/// Reason why a name cannot be fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OrderError {
    /// No model has that name.
    #[error("no model is called {0}; see models list")]
    UnknownName(String),
    /// The model is published in the other form only.
    #[error("{0} is published as a ggml file only; names without -q… and -acft have a folder, too")]
    NoFolder(String),
}

impl ModelOrder {
    /// The model that `WHISPER_MODEL_SIZE` may name so, in that form; `None`: in the form that
    /// costs the least on this machine, of those in which it is published.
    ///
    /// # Errors
    /// There is no such model.
    pub fn new(
        name: &str,
        format: Option<PublishedFormat>,
        settings: &Settings,
    ) -> Result<Self, OrderError> {
        let unknown = || OrderError::UnknownName(name.to_owned());
        let dir = &settings.models_dir;
        let path = ModelChoice::ctranslate2_folder(dir, name).ok_or_else(unknown)?;
        let folder = path
            .file_name()
            .and_then(|name| published_folder(folder_stem(name.to_str()?)?));
        let format = format.unwrap_or_else(|| match folder {
            Some(_) => PublishedFormat::cheapest_here(),
            None => PublishedFormat::Ggml,
        });
        match (format, folder) {
            (PublishedFormat::Ggml, _) => {
                let wanted = WantedFile::acft(name, &settings.models_acft_url, dir);
                let wanted = wanted.or_else(|| WantedFile::named(name, &settings.models_url, dir));
                wanted.map(Self::File).ok_or_else(unknown)
            }
            (PublishedFormat::CTranslate2, Some(PublishedFolder { repository, .. })) => {
                Ok(Self::Folder(WantedFolder {
                    hub: settings.models_hub_url.clone(),
                    repository: (*repository).to_owned(),
                    path,
                }))
            }
            (PublishedFormat::CTranslate2, None) => Err(OrderError::NoFolder(name.to_owned())),
        }
    }
}

/// The NAME in `faster-whisper-NAME`.
pub(super) fn folder_stem(folder: &str) -> Option<&str> {
    folder.strip_prefix("faster-whisper-")
}
