//! Programs of Debian, unpacked into a private folder and started through the
//! dynamic loader that came with them: any release beside any other, as any
//! user, the host untouched.

mod fetch;
mod sources;

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::host;
use crate::process;
use crate::whisper::quoted;
use crate::{Error, Result};

/// A bundle of packages to be unpacked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bundle {
    /// Folder in the cache.
    pub(crate) name: &'static str,
    /// Release to take it from; `None` for the one this machine runs.
    pub(crate) suite: Option<&'static str>,
    /// The package that is wanted; its whole dependency closure is the fall-back.
    pub(crate) package: &'static str,
    /// The few packages that are really linked, to save most of the download; may be empty.
    pub(crate) short_list: &'static [&'static str],
    /// The program, below the root.
    pub(crate) program: &'static str,
    /// Folder of plug-ins, below the library folder or `usr/lib`, whose libraries must be there too, with their names.
    pub(crate) plugins: (&'static str, &'static [&'static str]),
}

/// An unpacked bundle.
#[derive(Debug, Clone)]
pub(crate) struct Unpacked {
    /// The folder that stands for `/`.
    pub(crate) root: PathBuf,
    /// Folder of the shared libraries.
    libraries: PathBuf,
    /// Path on which the loader looks for libraries: that folder, and `usr/lib` itself, where old
    /// packages put some.
    library_path: OsString,
    /// Path of the bundle's dynamic loader.
    loader: PathBuf,
}

/// A download over a slow line; another process may be busy with the same one.
const INSTALL_LIMIT: Duration = Duration::from_secs(900);
/// Raised whenever the way of unpacking changes, so that old caches are replaced.
const LAYOUT: &str = "2";

/// Unpacks the bundle, or finds it unpacked by an earlier run.
pub(crate) fn provide(bundle: &Bundle) -> Result<Unpacked> {
    let home = host::cache_dir().join(bundle.name);
    let home = once(&home, LAYOUT, |home| {
        fetch::fetch(bundle, home)?;
        Unpacked::at(&home.join("root")).map(drop)
    })?;
    Unpacked::at(&home.join("root"))
}

/// Fills a folder once, also when several processes want it at the same time, and again whenever
/// `layout` has changed since. Returns the folder's path, with no link in it.
pub(crate) fn once(
    home: &Path,
    layout: &str,
    fill: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    fs::create_dir_all(home).map_err(Error::io(format!("cannot create {}", home.display())))?;
    let home = home
        .canonicalize()
        .map_err(Error::io(format!("cannot resolve {}", home.display())))?;
    let marker = home.join("complete");
    let _lock = lock(&home.join("lock"))?;
    if fs::read_to_string(&marker).is_ok_and(|text| text.trim_end() == layout.trim_end()) {
        return Ok(home);
    }
    fill(&home)?;
    // Renamed into place: a marker is either whole or absent.
    let draft = home.join("complete.new");
    fs::write(&draft, layout).map_err(Error::io("cannot write the completion marker"))?;
    fs::rename(&draft, &marker).map_err(Error::io("cannot place the completion marker"))?;
    Ok(home)
}

/// Unpacks packages that hold nothing but files for every machine, such as sounds, into `root`.
pub(crate) fn unpack_files(root: &Path, packages: &[&str]) -> Result<()> {
    fetch::files(root, packages)
}

fn lock(path: &Path) -> Result<File> {
    let file =
        File::create(path).map_err(Error::io(format!("cannot create {}", path.display())))?;
    if host::wait_until(host::now() + INSTALL_LIMIT, || file.try_lock().is_ok()) {
        return Ok(file);
    }
    let what = format!(
        "the end of another process's installation (lock {})",
        path.display()
    );
    Err(Error::TimedOut {
        what,
        limit: INSTALL_LIMIT,
        log: String::new(),
    })
}

impl Unpacked {
    fn at(root: &Path) -> Result<Self> {
        let libraries = entry(&root.join("usr/lib"), |name| name.ends_with("-linux-gnu"))?;
        let loader = entry(&libraries, |name| {
            name.starts_with("ld-linux") && name.contains(".so.")
        })?;
        let mut library_path = libraries.clone().into_os_string();
        library_path.push(":");
        library_path.push(root.join("usr/lib"));
        Ok(Self {
            root: root.to_owned(),
            libraries,
            library_path,
            loader,
        })
    }

    /// Begins a command for one of the bundle's programs; it must not outlive this process.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = process::command(&self.loader);
        command
            .arg("--library-path")
            .arg(&self.library_path)
            .arg(self.root.join(program));
        command
    }

    /// Command line for one of the bundle's programs, quoted for a shell.
    pub(crate) fn shell_line(&self, program: &str) -> String {
        let words = [&self.loader, &self.root.join(program)].map(quoted);
        let path = quoted(&self.library_path);
        format!("{} --library-path {path} {}", words[0], words[1])
    }

    /// A folder that its release keeps among the libraries or, if old, beside them.
    pub(crate) fn library_folder(&self, name: &str) -> PathBuf {
        let among = self.libraries.join(name);
        if among.is_dir() {
            among
        } else {
            self.root.join("usr/lib").join(name)
        }
    }

    /// Which shared libraries of `file` are missing. One that the host happens
    /// to have is missing too: the next host may have another, or none.
    fn missing_libraries(&self, file: &Path) -> Result<Vec<String>> {
        let mut command = Command::new(&self.loader);
        command
            .arg("--list")
            .arg("--library-path")
            .arg(&self.library_path)
            .arg(file);
        let what = format!("the loader on {}", file.display());
        let listed = process::run(&what, command, Duration::from_secs(30));
        match listed {
            Ok(text) => Ok(foreign(&text, &self.root)),
            // The loader gives up at the first library it finds nowhere.
            Err(Error::Failed(text)) => Ok(vec![text]),
            Err(other) => Err(other),
        }
    }
}

/// The lines `name => path (address)` of a loader's list that lead out of `root`.
fn foreign(listing: &str, root: &Path) -> Vec<String> {
    let resolved = listing
        .lines()
        .filter_map(|line| line.trim().split_once(" => "));
    let outside = resolved.filter(|(_, path)| !Path::new(path).starts_with(root));
    outside
        .map(|(name, path)| format!("{name} ({path})"))
        .collect()
}

/// Any entry of `folder` whose name is wanted.
fn entry(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<PathBuf> {
    let listing =
        fs::read_dir(folder).map_err(Error::io(format!("cannot list {}", folder.display())))?;
    let mut found: Vec<_> = listing
        .filter_map(std::result::Result::ok)
        .map(|entry| entry.path())
        .filter(|path| {
            path.file_name()
                .and_then(|name| name.to_str())
                .is_some_and(&wanted)
        })
        .collect();
    found.sort();
    let nothing = || {
        Error::Failed(format!(
            "{} holds nothing of what was unpacked",
            folder.display()
        ))
    };
    found.into_iter().next().ok_or_else(nothing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_of_the_host_counts_as_missing() {
        let listing = "\tlinux-vdso.so.1 (0x1)\n\tliba.so.1 => /r/usr/lib/liba.so.1 (0x2)\n\
                       \tlibb.so.1 => /usr/lib/libb.so.1 (0x3)\n\tlibc.so.6 => not found\n";
        let expected = [
            "libb.so.1 (/usr/lib/libb.so.1 (0x3))",
            "libc.so.6 (not found)",
        ];
        assert_eq!(foreign(listing, Path::new("/r")), expected);
    }
}
