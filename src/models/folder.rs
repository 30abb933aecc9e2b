//! Fetches a CTranslate2 folder from a hub, file by file.
//!
//! The files come into `NAME.part/`, each with its own `.part` while it comes, and are compared
//! with the hub's hashes. What is right stays for the next attempt, whichever commit it was of:
//! its hash tells. Only when all of them together are a model does the folder get its name.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use asterscribe_recognition::model::{ModelCandidate, SpeechModel};
use reqwest::Client;
use url::Url;

use super::error::{PullError, disk};
use super::fetch::{ProgressListener, client};
use super::hub::{HubFile, HubRepository};
use super::part::{PartialFile, is_still, remove, sync_parent, with_suffix};
use super::pull::{PublishedFile, PullOutcome};

/// A CTranslate2 folder that is to be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedFolder {
    /// Hub of the repository.
    pub hub: Url,
    /// Repository on the hub, `OWNER/NAME`.
    pub repository: String,
    /// Path that the folder is to have on this machine.
    pub path: PathBuf,
}

/// Fetches a folder and checks it. Nothing but the whole and right one gets its name.
///
/// # Errors
/// The folder is not here. Files that are right are kept for the next attempt, and so is what
/// came of the one that broke off.
pub async fn pull_folder(
    wanted: &WantedFolder,
    progress: ProgressListener<'_>,
) -> Result<PullOutcome, PullError> {
    if let Some(model) = present(&wanted.path)? {
        return Ok(PullOutcome::Present(model));
    }
    let part = PartFolder::open(&wanted.path)?;
    // Whoever had the lock before may have finished it.
    let fetched = match present(&wanted.path) {
        Ok(Some(model)) => Ok(PullOutcome::Present(model)),
        Ok(None) => fetch(wanted, &part, progress).await,
        Err(error) => Err(error),
    };
    match fetched {
        Ok(PullOutcome::FetchedFrom { .. }) => fetched,
        // Why there is nothing to keep says more than why nothing was removed.
        _ => {
            let removed = part.remove_if_empty();
            fetched.and_then(|pulled| removed.map(|()| pulled))
        }
    }
}

async fn fetch(
    wanted: &WantedFolder,
    part: &PartFolder,
    progress: ProgressListener<'_>,
) -> Result<PullOutcome, PullError> {
    let client = client(&wanted.hub)?;
    let repository = HubRepository {
        hub: &wanted.hub,
        name: &wanted.repository,
    };
    let commit = repository.newest_commit(&client).await?;
    let files = repository.files(&client, &commit).await?;
    let total = files.iter().map(|file| file.bytes).sum();
    let mut before = 0;
    for file in &files {
        let url = repository.file_url(&commit, file.name);
        let mut listener = |done, _: Option<u64>| progress(before + done, Some(total));
        part.complete(&client, &url, file, &mut listener).await?;
        before += file.bytes;
        progress(before, Some(total));
    }
    part.sweep(&files)?;
    if let Err(error) = ModelCandidate::open(&part.path) {
        part.sweep(&[])?;
        return Err(PullError::NoModel(error));
    }
    fs::rename(&part.path, &wanted.path).map_err(disk(&wanted.path))?;
    sync_parent(&wanted.path)?;
    let model = SpeechModel::open(&wanted.path).map_err(PullError::NoModel)?;
    Ok(PullOutcome::FetchedFrom { model, commit })
}

/// The folder, if it is here and a model. It is not compared with the hub's: it may be of an
/// older commit.
fn present(path: &Path) -> Result<Option<SpeechModel>, PullError> {
    if let Err(error) = fs::symlink_metadata(path)
        && error.kind() == io::ErrorKind::NotFound
    {
        return Ok(None);
    }
    let model = SpeechModel::open(path).map_err(|error| in_the_way(path, error.to_string()))?;
    Ok(Some(model))
}

fn in_the_way(path: &Path, reason: impl Into<String>) -> PullError {
    PullError::InTheWay {
        path: path.to_owned(),
        reason: reason.into(),
    }
}

/// A folder under its preliminary name `NAME.part`, locked against other processes.
#[derive(Debug)]
struct PartFolder {
    path: PathBuf,
    /// Handle that holds the lock.
    lock: File,
}

impl PartFolder {
    /// Opens or creates the preliminary folder for `path` and locks it.
    fn open(path: &Path) -> Result<Self, PullError> {
        let part = with_suffix(path, ".part");
        if let Some(parent) = part.parent() {
            fs::create_dir_all(parent).map_err(disk(parent))?;
        }
        match fs::create_dir(&part) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(disk(&part)(error));
            }
            _ => {}
        }
        if !fs::symlink_metadata(&part).map_err(disk(&part))?.is_dir() {
            return Err(in_the_way(&part, "it is no folder"));
        }
        let lock = File::open(&part).map_err(disk(&part))?;
        match lock.try_lock() {
            Ok(()) if is_still(&lock, &part) => Ok(Self { path: part, lock }),
            Ok(()) | Err(TryLockError::WouldBlock) => Err(PullError::Busy(part)),
            Err(TryLockError::Error(error)) => Err(disk(&part)(error)),
        }
    }

    /// Fetches a file, unless it is here and right.
    async fn complete(
        &self,
        client: &Client,
        url: &Url,
        file: &HubFile,
        progress: ProgressListener<'_>,
    ) -> Result<(), PullError> {
        let path = self.path.join(file.name);
        if is_here(file, &path, url)? {
            return Ok(());
        }
        let published = PublishedFile {
            url,
            bytes: Some(file.bytes),
            hash: Some(file.hash.clone()),
        };
        let part = PartialFile::open(&path)?;
        let part = published.complete(client, part, progress).await?;
        part.finish(&path)
    }

    /// Removes everything but these files from the folder, such as files of an older commit.
    fn sweep(&self, files: &[HubFile]) -> Result<(), PullError> {
        for entry in fs::read_dir(&self.path).map_err(disk(&self.path))? {
            let entry = entry.map_err(disk(&self.path))?;
            let path = entry.path();
            if files.iter().any(|file| entry.file_name() == file.name) {
                continue;
            }
            if entry.file_type().map_err(disk(&path))?.is_dir() {
                return Err(in_the_way(&path, "a model has no folders in it"));
            }
            remove(&path)?;
        }
        Ok(())
    }

    fn remove_if_empty(&self) -> Result<(), PullError> {
        match fs::remove_dir(&self.path) {
            Ok(()) => Ok(()),
            Err(error) => match error.kind() {
                io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound => Ok(()),
                _ => Err(disk(&self.path)(error)),
            },
        }
    }
}

impl Drop for PartFolder {
    fn drop(&mut self) {
        // As with a single file: a process that is being started may have it open, too.
        if let Err(error) = self.lock.unlock() {
            tracing::warn!(%error, "cannot release the lock of a download");
        }
    }
}

/// Whether a file of an earlier attempt is the one that is wanted; another is removed.
fn is_here(file: &HubFile, path: &Path, url: &Url) -> Result<bool, PullError> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        metadata => metadata.map_err(disk(path))?,
    };
    if metadata.is_dir() {
        return Err(in_the_way(path, "it is a folder"));
    }
    if metadata.is_file() && metadata.len() == file.bytes {
        match file.hash.check(path, url) {
            Err(PullError::Hash { .. }) => {}
            right => return right.map(|()| true),
        }
    }
    remove(path)?;
    Ok(false)
}
