//! Fetches a ggml file, going on where an earlier attempt broke off.

use std::path::{Path, PathBuf};

use asterscribe_recognition::model::{ModelCandidate, SpeechModel};
use reqwest::Client;
use url::Url;

use super::catalogue::{ACFT, published};
use super::error::PullError;
use super::fetch::{self, ProgressListener, client};
use super::hash::FileHash;
use super::part::PartialFile;
use crate::config::ModelChoice;

/// A ggml file that is to be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedFile {
    /// Address of the file.
    pub url: Url,
    /// Path that the file is to have on this machine.
    pub path: PathBuf,
    /// Size of the file in bytes, if it is known.
    pub bytes: Option<u64>,
    /// SHA-256 of the file, hexadecimal, if it is known.
    pub sha256: Option<String>,
}

/// The outcome of pulling a model.
#[derive(Debug)]
pub enum PullOutcome {
    /// The model was here already.
    Present(SpeechModel),
    /// The model was fetched.
    Fetched(SpeechModel),
    /// The model was fetched from a repository of the hub.
    FetchedFrom {
        /// Model that the folder holds.
        model: SpeechModel,
        /// Commit that all the folder's files belong to.
        commit: String,
    },
}

impl WantedFile {
    /// The model that `WHISPER_MODEL_SIZE` may name so, from the folder `base`; `None` for
    /// any other name.
    pub fn named(name: &str, base: &Url, folder: &Path) -> Option<Self> {
        let path = ModelChoice::ggml_file(folder, name)?;
        let file = path.file_name()?.to_str()?;
        let known = published(stem(file)?);
        Some(Self {
            url: below(base, file)?,
            bytes: known.map(|known| known.bytes),
            sha256: known.map(|known| known.sha256.to_owned()),
            path,
        })
    }

    /// The ACFT model that `WHISPER_MODEL_SIZE` may name so, from FUTO's folder `base`; `None` for
    /// any other name.
    pub fn acft(name: &str, base: &Url, folder: &Path) -> Option<Self> {
        let model = ACFT.iter().find(|model| model.name == name)?;
        Some(Self {
            url: below(base, model.file)?,
            path: ModelChoice::ggml_file(folder, name)?,
            bytes: None,
            sha256: None,
        })
    }
}

fn below(base: &Url, file: &str) -> Option<Url> {
    let mut url = base.clone();
    url.path_segments_mut().ok()?.pop_if_empty().push(file);
    Some(url)
}

/// The NAME in `ggml-NAME.bin`.
pub(super) fn stem(file: &str) -> Option<&str> {
    file.strip_prefix("ggml-")?.strip_suffix(".bin")
}

/// Fetches a model and checks it. Nothing but the whole and right file gets its name.
///
/// # Errors
/// The file is not here. The part of it that came is kept for the next attempt, unless it is wrong.
pub async fn pull(
    wanted: &WantedFile,
    progress: ProgressListener<'_>,
) -> Result<PullOutcome, PullError> {
    if let Some(model) = present(wanted)? {
        return Ok(PullOutcome::Present(model));
    }
    let (client, part) = (client(&wanted.url)?, PartialFile::open(&wanted.path)?);
    let file = PublishedFile {
        url: &wanted.url,
        bytes: wanted.bytes,
        hash: wanted.sha256.clone().map(FileHash::Sha256),
    };
    let part = file.complete(&client, part, progress).await?;
    if let Err(error) = ModelCandidate::open(part.path()) {
        part.discard()?;
        return Err(PullError::NoModel(error));
    }
    part.finish(&wanted.path)?;
    let model = SpeechModel::open(&wanted.path).map_err(PullError::NoModel)?;
    Ok(PullOutcome::Fetched(model))
}

/// The file, if it is here and the one that is wanted.
fn present(wanted: &WantedFile) -> Result<Option<SpeechModel>, PullError> {
    if !wanted.path.exists() {
        return Ok(None);
    }
    let in_the_way = |reason| PullError::InTheWay {
        path: wanted.path.clone(),
        reason,
    };
    let model = SpeechModel::open(&wanted.path).map_err(|error| in_the_way(error.to_string()))?;
    match &wanted.sha256 {
        Some(sha256) if *sha256 != model.sha256 => {
            Err(in_the_way(format!("its SHA-256 is {}", model.sha256)))
        }
        _ => Ok(Some(model)),
    }
}

/// One file as a server publishes it.
#[derive(Debug)]
pub(super) struct PublishedFile<'a> {
    pub(super) url: &'a Url,
    pub(super) bytes: Option<u64>,
    pub(super) hash: Option<FileHash>,
}

impl PublishedFile<'_> {
    /// Fetches what is missing of the file. On success it is whole, and the published one.
    ///
    /// # Errors
    /// The file is not whole, or not the published one: then it is removed.
    pub(super) async fn complete(
        &self,
        client: &Client,
        mut part: PartialFile,
        progress: ProgressListener<'_>,
    ) -> Result<PartialFile, PullError> {
        let fetched = fetch::fetch(client, self.url, self.bytes, &mut part, progress).await;
        let right = fetched.and_then(|()| match &self.hash {
            Some(hash) => hash.check(part.path(), self.url),
            None => Ok(()),
        });
        match right {
            Ok(()) => Ok(part),
            Err(error) => {
                if part.length() == 0 || matches!(error, PullError::Hash { .. }) {
                    part.discard()?;
                }
                Err(error)
            }
        }
    }
}
