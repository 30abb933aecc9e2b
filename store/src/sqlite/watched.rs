//! Watch over the file's name: if somebody removes or replaces the file, SQLite goes on working on
//! the old one, and all that is written is gone when the process ends.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::super::StoreError;

/// The file and the log beside it, as they were when they were opened.
#[derive(Debug)]
pub(super) struct WatchedFile {
    files: [(PathBuf, Option<DatabaseFileId>); 2],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct DatabaseFileId {
    device: u64,
    inode: u64,
}

impl WatchedFile {
    /// Notes the identity of both files, while they are open.
    pub(super) fn new(path: &Path) -> Self {
        let mut log: OsString = path.as_os_str().to_owned();
        log.push("-wal");
        let files = [path.to_owned(), log.into()];
        Self {
            files: files.map(|file| {
                let identity = identity(&file).ok().flatten();
                (file, identity)
            }),
        }
    }

    /// Checks that both files are still under their names.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        for (file, opened) in &self.files {
            // One that cannot be looked at tells nothing.
            let Ok(now) = identity(file) else { continue };
            if opened.is_some() && now != *opened {
                return Err(StoreError::Broken(format!(
                    "SQLite: {} was deleted or replaced while the server uses it: \
                     what is written now is lost when the server ends",
                    file.display()
                )));
            }
        }
        Ok(())
    }
}

/// Device and inode of a file; `None` if there is none of that name.
fn identity(file: &Path) -> io::Result<Option<DatabaseFileId>> {
    match fs::metadata(file) {
        Ok(about) => Ok(Some(DatabaseFileId {
            device: about.dev(),
            inode: about.ino(),
        })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
