//! A file that is being fetched: `NAME.part`, and `NAME.part.etag` with the version that it is of.
//!
//! Only a whole and checked file gets its final name. A part that broke off stays, and the next
//! attempt goes on from its end.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::error::{PullError, disk};

/// A file under its preliminary name, locked against other processes.
#[derive(Debug)]
pub(super) struct PartialFile {
    file: File,
    path: PathBuf,
    tag_path: PathBuf,
    length: u64,
    tag: Option<String>,
}

impl PartialFile {
    /// Opens or creates the preliminary file for `path`, locks it, and finds how much of it is
    /// there.
    pub(super) fn open(path: &Path) -> Result<Self, PullError> {
        let part = with_suffix(path, ".part");
        let tag_path = with_suffix(path, ".part.etag");
        if let Some(folder) = part.parent() {
            fs::create_dir_all(folder).map_err(disk(folder))?;
        }
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        let mut file = options.open(&part).map_err(disk(&part))?;
        match file.try_lock() {
            Ok(()) if is_still(&file, &part) => {}
            Ok(()) | Err(TryLockError::WouldBlock) => return Err(PullError::Busy(part)),
            Err(TryLockError::Error(error)) => return Err(disk(&part)(error)),
        }
        // A link may lead to something that has no length.
        let length = file.metadata().map_err(disk(&part))?.len();
        file.seek(SeekFrom::Start(length)).map_err(disk(&part))?;
        Ok(Self {
            tag: fs::read_to_string(&tag_path).ok().filter(|tag| is_tag(tag)),
            file,
            path: part,
            tag_path,
            length,
        })
    }

    /// Path of the preliminary file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes that are here.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Version (ETag) of the file of which this is the beginning, if that is known.
    pub(super) fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Empties the file and begins anew with that version.
    pub(super) fn begin(&mut self, tag: Option<&str>) -> Result<(), PullError> {
        // In this order: at no moment do the bytes of one version have the tag of another.
        remove(&self.tag_path)?;
        if self.length > 0 {
            self.file.set_len(0).map_err(disk(&self.path))?;
            self.file.rewind().map_err(disk(&self.path))?;
            self.length = 0;
        }
        if let Some(tag) = tag {
            fs::write(&self.tag_path, tag).map_err(disk(&self.tag_path))?;
        }
        self.tag = tag.map(str::to_owned);
        Ok(())
    }

    /// Appends bytes.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), PullError> {
        self.file.write_all(bytes).map_err(disk(&self.path))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Gives the whole file its final name, durably: also if the power fails just after.
    pub(super) fn finish(self, path: &Path) -> Result<(), PullError> {
        self.file.sync_all().map_err(disk(&self.path))?;
        fs::rename(&self.path, path).map_err(disk(path))?;
        remove(&self.tag_path)?;
        sync_parent(path)
    }

    /// Removes the file, which no further bytes would make right.
    pub(super) fn discard(self) -> Result<(), PullError> {
        remove(&self.tag_path)?;
        remove(&self.path)
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        // Closing is not enough where a process is being started at this moment: until it
        // runs its program it has the file open, too, and with it the lock.
        if let Err(error) = self.file.unlock() {
            tracing::warn!(%error, "cannot release the lock of a download");
        }
    }
}

/// Whether a tag can be sent to a server: it is read from a file that may have been cut off.
fn is_tag(text: &str) -> bool {
    let inner = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    inner.is_some_and(|inner| inner.bytes().all(|byte| byte.is_ascii_graphic()))
}

/// Whether the open file or folder still has that name: another process may just have finished it.
pub(super) fn is_still(file: &File, path: &Path) -> bool {
    let (Ok(ours), Ok(named)) = (file.metadata(), fs::metadata(path)) else {
        return false;
    };
    (ours.dev(), ours.ino()) == (named.dev(), named.ino())
}

/// Writes a change of that name to the disk for good.
pub(super) fn sync_parent(path: &Path) -> Result<(), PullError> {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let folder = folder.unwrap_or_else(|| Path::new("."));
    let opened = File::open(folder);
    opened
        .and_then(|folder| folder.sync_all())
        .map_err(disk(folder))
}

pub(super) fn remove(path: &Path) -> Result<(), PullError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(disk(path)(error)),
        _ => Ok(()),
    }
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}
