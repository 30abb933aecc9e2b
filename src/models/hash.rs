//! The hashes by which published files are known.
//!
//! The hub names large files by SHA-256 (Git LFS) and small ones by Git's name of their content:
//! SHA-1 over `blob LENGTH`, a zero byte and the content (gitformat-pack, `git hash-object`).

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use asterscribe_recognition::model;
use sha1::{Digest, Sha1};
use url::Url;

use super::error::{PullError, disk};

/// The hash that a file must have, hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FileHash {
    /// SHA-256 of the content.
    Sha256(String),
    /// Git's name of the content.
    GitBlob(String),
}

impl FileHash {
    /// Compares a file that came from `url`: seconds for a gigabyte.
    ///
    /// # Errors
    /// [`PullError::Hash`], or the file cannot be read.
    pub(super) fn check(&self, path: &Path, url: &Url) -> Result<(), PullError> {
        let (kind, wanted) = match self {
            Self::Sha256(hash) => ("SHA-256", hash),
            Self::GitBlob(hash) => ("Git blob SHA-1", hash),
        };
        let found = self.found(path).map_err(disk(path))?;
        if found == *wanted {
            return Ok(());
        }
        Err(PullError::Hash {
            url: Box::new(url.clone()),
            kind,
            found,
            wanted: wanted.clone(),
        })
    }

    /// The hash of the wanted kind that a file has.
    fn found(&self, path: &Path) -> io::Result<String> {
        let mut file = File::open(path)?;
        match self {
            Self::Sha256(_) => model::hash(&mut file),
            Self::GitBlob(_) => {
                let length = file.metadata()?.len();
                git_blob(&mut file, length)
            }
        }
    }
}

fn git_blob(content: &mut impl Read, length: u64) -> io::Result<String> {
    let mut hasher = Sha1::new();
    hasher.update(format!("blob {length}\0"));
    let mut buffer = vec![0; 1 << 16];
    loop {
        match content.read(&mut buffer)? {
            0 => break,
            n => hasher.update(&buffer[..n]),
        }
    }
    let hash = hasher.finalize();
    Ok(hash.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_has_the_name_that_git_gives_it() {
        // `git hash-object` of these.
        for (content, name) in [
            ("", "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"),
            ("hello\n", "ce013625030ba8dba906f756967f9e9ca394464a"),
        ] {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), content).unwrap();
            let hash = FileHash::GitBlob(name.to_owned());
            assert_eq!(hash.found(file.path()).unwrap(), name);
        }
    }
}
