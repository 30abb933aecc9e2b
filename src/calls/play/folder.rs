//! The folder of sounds. Reading it blocks; it is done on threads for that.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use asterscribe_call::SoundName;

/// Reason why a file is not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileRefused {
    /// No file has that name, or what has it is no plain file.
    #[error("there is no such file")]
    Unknown,
    /// The file is too large.
    #[error("the file has {length} bytes; PLAY_MAX_BYTES is {limit}")]
    TooLarge {
        /// Length of the file, bytes.
        length: u64,
        /// Greatest length that is taken, bytes.
        limit: u64,
    },
    /// The operating system refuses.
    #[error("the file cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// Reads a file of the folder: one that lies in it itself, not one that a link
/// in it leads to.
pub(super) fn read(folder: &Path, name: &SoundName, limit: usize) -> Result<Vec<u8>, FileRefused> {
    let path = folder.join(name.as_str());
    let listed = fs::symlink_metadata(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => FileRefused::Unknown,
        _ => FileRefused::Io(error),
    })?;
    if !listed.is_file() {
        return Err(FileRefused::Unknown);
    }
    let file = File::open(&path)?;
    let opened = file.metadata()?;
    // Another one has taken its place meanwhile, perhaps a link.
    if (opened.dev(), opened.ino()) != (listed.dev(), listed.ino()) {
        return Err(FileRefused::Unknown);
    }
    let limit = limit as u64;
    if opened.len() > limit {
        let length = opened.len();
        return Err(FileRefused::TooLarge { length, limit });
    }
    let mut bytes = Vec::new();
    // It may grow while it is read.
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn name(text: &str) -> SoundName {
        text.parse().unwrap()
    }

    #[test]
    fn plain_files_of_the_folder_are_read_and_nothing_else_is() {
        let outside = tempfile::tempdir().unwrap();
        let secret = outside.path().join("secret.wav");
        fs::write(&secret, b"hush").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("hello.wav"), b"RIFF").unwrap();
        fs::create_dir(at("sub.wav")).unwrap();
        symlink(&secret, at("link.wav")).unwrap();
        symlink(at("hello.wav"), at("inner.wav")).unwrap();
        symlink(outside.path(), at("dir")).unwrap();

        assert_eq!(read(folder.path(), &name("hello.wav"), 4).unwrap(), b"RIFF");
        for unknown in ["missing.wav", "sub.wav", "link.wav", "inner.wav", "dir"] {
            let refused = read(folder.path(), &name(unknown), 100).unwrap_err();
            assert!(
                matches!(refused, FileRefused::Unknown),
                "{unknown}: {refused:?}"
            );
        }
        let refused = read(folder.path(), &name("hello.wav"), 3).unwrap_err();
        let expected = "the file has 4 bytes; PLAY_MAX_BYTES is 3";
        assert_eq!(refused.to_string(), expected);
        let nowhere = read(&at("none"), &name("hello.wav"), 3).unwrap_err();
        assert!(matches!(nowhere, FileRefused::Unknown));
        for escape in ["../secret.wav", "/etc/passwd", "..", "dir/secret.wav"] {
            assert!(escape.parse::<SoundName>().is_err(), "{escape}");
        }
    }
}
