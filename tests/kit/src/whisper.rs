//! whisper.cpp's own program, unpacked from Debian into the cache, for the bench of speech to
//! compare with.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::debian::{self, Bundle};
use crate::{Error, Result};

const WHISPER: Bundle = Bundle {
    name: "whisper.cpp-sid",
    suite: Some("sid"),
    package: "whisper.cpp-tools",
    short_list: &[],
    program: "usr/bin/whisper-cli",
    plugins: ("", &[]),
};

/// Where whisper.cpp's code for the kinds of processor lies, below the library folder.
const BACKENDS: &str = "ggml/backends0";

/// A script that runs whisper-cli as it came from Debian.
///
/// # Errors
/// There is no archive, or it does not have it.
pub fn cli() -> Result<PathBuf> {
    let unpacked = debian::provide(&WHISPER)?;
    let script = unpacked.root.join("whisper-cli");
    // It looks for its processor's code in the folder that it was built for, and in the one
    // that it runs in.
    let text = format!(
        "#!/bin/sh\ncd {} && exec {} \"$@\"\n",
        quoted(unpacked.library_folder(BACKENDS)),
        unpacked.shell_line(WHISPER.program),
    );
    let failed = || Error::io(format!("cannot write {}", script.display()));
    fs::write(&script, text).map_err(failed())?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).map_err(failed())?;
    Ok(script)
}

/// Path, quoted for a shell.
pub(crate) fn quoted(path: impl AsRef<std::ffi::OsStr>) -> String {
    format!(
        "'{}'",
        path.as_ref().to_string_lossy().replace('\'', r"'\''")
    )
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_shell_takes_any_path_for_one_word() {
        assert_eq!(quoted("/a b/it's"), r"'/a b/it'\''s'");
    }
}
