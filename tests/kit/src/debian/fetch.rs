//! Downloading and unpacking packages with the machine's own apt tools, under a
//! configuration of their own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::sources::{self, Source};
use super::{Bundle, Unpacked};
use crate::host;
use crate::process::{self, report};
use crate::{Error, Result};

/// How long a package may take to unpack.
const UNPACK: Duration = Duration::from_secs(120);

const TOOLS: [&str; 3] = ["apt-get", "dpkg-deb", "tar"];
const DEBIAN_KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Environment variable with another archive than the machine's, e.g. on Ubuntu or once a release
/// has moved.
const MIRROR_VARIABLE: &str = "ASTERSCRIBE_DEBIAN_MIRROR";

/// Fills `home/root`.
pub(super) fn fetch(bundle: &Bundle, home: &Path) -> Result<()> {
    from_any_archive(bundle.suite, bundle.package, |line| {
        fetch_from(bundle, home, line)
    })
}

/// Unpacks packages of this machine's release, which bring no libraries, into `root`.
pub(super) fn files(root: &Path, packages: &[&str]) -> Result<()> {
    let wanted = packages.first().copied().unwrap_or_default();
    from_any_archive(None, wanted, |line| {
        let apt = Apt::prepare(&root.join("apt"), line)?;
        apt.run(&["update"])?;
        apt.download(packages)?;
        for deb in self::packages(&apt.archives)? {
            let mut command = Command::new("dpkg-deb");
            command.arg("--extract").arg(&deb).arg(root);
            process::run(&format!("unpacking {}", deb.display()), command, UNPACK)?;
        }
        fs::remove_dir_all(root.join("apt")).map_err(Error::io("cannot remove the downloads"))
    })
}

/// Asks one archive after the other, the likeliest first, until one gives what is wanted.
fn from_any_archive(
    suite: Option<&str>,
    wanted: &str,
    fetch: impl Fn(&str) -> Result<()>,
) -> Result<()> {
    for tool in TOOLS {
        if host::find_program(tool).is_none() {
            return Err(Error::Unavailable(format!(
                "there is no {tool} here to get {wanted} with"
            )));
        }
    }
    let mut refusals = Vec::new();
    for line in source_lines(suite, wanted)? {
        match fetch(&line) {
            Ok(()) => return Ok(()),
            // The archive is at fault only where apt says so; the rest must not pass for "not available".
            Err(Error::Unavailable(error)) => refusals.push(format!("[{line}] {error}")),
            Err(error) => return Err(error),
        }
    }
    Err(Error::Unavailable(format!(
        "no archive gave {wanted}: {}",
        refusals.join("; ")
    )))
}

fn fetch_from(bundle: &Bundle, home: &Path, line: &str) -> Result<()> {
    let apt = Apt::prepare(&home.join("apt"), line)?;
    apt.run(&["update"])?;
    let root = home.join("root");
    let short = apt
        .download(bundle.short_list)
        .and_then(|()| unpack(bundle, &apt.archives, &root));
    match short {
        Ok(()) if !bundle.short_list.is_empty() => {}
        outcome => {
            if let Err(error) = outcome {
                report(&format!(
                    "the short list of {} no longer fits, taking everything: {error}",
                    bundle.package
                ));
            }
            apt.download_closure(bundle.package)?;
            unpack(bundle, &apt.archives, &root)?;
        }
    }
    // Only what was unpacked is used again.
    fs::remove_dir_all(home.join("apt")).map_err(Error::io("cannot remove the downloads"))
}

/// The lines for a sources.list, the likeliest first.
fn source_lines(suite: Option<&str>, wanted: &str) -> Result<Vec<String>> {
    let os = os_release(&fs::read_to_string("/etc/os-release").unwrap_or_default());
    let own = sources::configured(Path::new("/etc/apt"));
    let mirror = host::variable(MIRROR_VARIABLE);
    let lines = choose(
        suite,
        &os,
        &own,
        mirror.as_deref(),
        Path::new(DEBIAN_KEYS).is_file(),
    );
    if lines.is_empty() {
        let system = os.get("PRETTY_NAME").map_or("this system", String::as_str);
        let reason = format!(
            "{wanted} comes from Debian's archive, and {system} has none configured; set {MIRROR_VARIABLE} to the address of one"
        );
        return Err(Error::Unavailable(reason));
    }
    Ok(lines)
}

/// A release (`None`: this machine's) from every archive that can have it, under the archive's
/// own keys first, then under the keys this system trusts.
fn choose(
    suite: Option<&str>,
    os: &BTreeMap<String, String>,
    own: &[Source],
    mirror: Option<&str>,
    debian_keys: bool,
) -> Vec<String> {
    let is_debian = os.get("ID").is_some_and(|id| id == "debian");
    let codename = os.get("VERSION_CODENAME").map(String::as_str);
    let keyring = debian_keys.then(|| PathBuf::from(DEBIAN_KEYS));
    let mut candidates: Vec<(&str, Option<PathBuf>, &[String])> = Vec::new();
    if let Some(mirror) = mirror {
        candidates.push((mirror, keyring.clone(), &[]));
    }
    // A foreign distribution's mirror serves only its own releases.
    if is_debian || suite.is_none() {
        let main = |source: &&Source| {
            source
                .components
                .iter()
                .any(|component| component == "main")
                && source
                    .suites
                    .iter()
                    .any(|suite| !suite.contains(['/']) && !suite.ends_with("-security"))
        };
        let ours = |source: &&Source| {
            suite.is_some() || source.suites.iter().any(|suite| Some(&**suite) == codename)
        };
        let fallback = keyring.filter(|_| is_debian);
        candidates.extend(own.iter().filter(main).filter(ours).map(|source| {
            (
                source.uri.as_str(),
                source.signed_by.clone().or_else(|| fallback.clone()),
                source.components.as_slice(),
            )
        }));
    }
    let mut lines = Vec::new();
    for (uri, keys, components) in candidates {
        let Some(release) = suite.or(codename) else {
            continue;
        };
        // sid and other releases are sure to have only `main` in common.
        let components = if suite.is_none() && !components.is_empty() {
            components.join(" ")
        } else {
            "main".into()
        };
        if let Some(keys) = keys {
            lines.push(format!(
                "deb [signed-by={}] {uri} {release} {components}",
                keys.display()
            ));
        }
        lines.push(format!("deb {uri} {release} {components}"));
    }
    let mut seen = std::collections::BTreeSet::new();
    lines.retain(|line| seen.insert(line.clone()));
    lines
}

/// The fields of os-release(5).
fn os_release(text: &str) -> BTreeMap<String, String> {
    let fields = text.lines().filter_map(|line| line.split_once('='));
    fields
        .map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()))
        .collect()
}

/// The apt tools, with state, lists and cache of their own.
struct Apt {
    config: PathBuf,
    archives: PathBuf,
}

impl Apt {
    fn prepare(folder: &Path, source: &str) -> Result<Self> {
        let failed = || Error::io(format!("cannot prepare {}", folder.display()));
        if folder.exists() {
            fs::remove_dir_all(folder).map_err(failed())?;
        }
        for part in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(part)).map_err(failed())?;
        }
        let at = |part: &str| folder.join(part).display().to_string();
        fs::write(folder.join("source.list"), format!("{source}\n")).map_err(failed())?;
        fs::write(folder.join("status"), "").map_err(failed())?;
        // The host's hooks tidy up the host; they have no business here.
        let config = format!(
            "#clear APT::Update::Post-Invoke;\n#clear APT::Update::Post-Invoke-Success;\n#clear DPkg::Pre-Install-Pkgs;\n\
             Dir::Etc::sourcelist \"{}\";\nDir::Etc::sourceparts \"-\";\nDir::State::Lists \"{}\";\nDir::State::status \"{}\";\n\
             Dir::Cache \"{}\";\nDir::Cache::archives \"{}\";\nAPT::Sandbox::User \"\";\nAPT::Install-Recommends \"false\";\n\
             Debug::NoLocking \"true\";\nAcquire::Languages \"none\";\nAPT::Update::Error-Mode \"any\";\nAcquire::Retries \"2\";\nAcquire::http::Timeout \"30\";\n\
             Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\nBinary::apt-get::APT::Keep-Downloaded-Packages \"true\";\n\
             APT::Keep-Downloaded-Packages \"true\";\n",
            at("source.list"),
            at("lists"),
            at("status"),
            at("cache"),
            at("cache/archives"),
        );
        fs::write(folder.join("apt.conf"), config).map_err(failed())?;
        Ok(Self {
            config: folder.join("apt.conf"),
            archives: folder.join("cache/archives"),
        })
    }

    fn run(&self, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new("apt-get");
        command
            .arg("-c")
            .arg(&self.config)
            .arg("-q")
            .args(arguments);
        command
            .current_dir(&self.archives)
            .env("LC_ALL", "C")
            .env("DEBIAN_FRONTEND", "noninteractive");
        let what = format!("apt-get {}", arguments.first().unwrap_or(&""));
        let outcome = process::run(&what, command, Duration::from_secs(600));
        outcome
            .map(drop)
            .map_err(|error| Error::Unavailable(error.to_string()))
    }

    fn download(&self, packages: &[&str]) -> Result<()> {
        if packages.is_empty() {
            return Ok(());
        }
        self.run(&[&["download"], packages].concat())
    }

    fn download_closure(&self, package: &str) -> Result<()> {
        for stale in packages(&self.archives)? {
            fs::remove_file(&stale)
                .map_err(Error::io(format!("cannot remove {}", stale.display())))?;
        }
        self.run(&["install", "--download-only", "-y", package])
    }
}

/// Unpacks every package into a fresh root and checks that all that is linked is there.
fn unpack(bundle: &Bundle, archives: &Path, root: &Path) -> Result<()> {
    let debs = packages(archives)?;
    if debs.is_empty() {
        return Ok(());
    }
    if root.exists() {
        fs::remove_dir_all(root).map_err(Error::io("cannot remove an unfinished root"))?;
    }
    // Older packages still ship /lib and /bin; merge them as every Debian since does.
    for folder in ["bin", "sbin", "lib", "lib64"] {
        let target = Path::new("usr").join(folder);
        fs::create_dir_all(root.join(&target)).map_err(Error::io("cannot create the root"))?;
        std::os::unix::fs::symlink(&target, root.join(folder))
            .map_err(Error::io("cannot link the root's folders"))?;
    }
    for deb in &debs {
        // Not `dpkg-deb -x`: it replaces the links above by folders.
        let mut command = Command::new("sh");
        command.args(["-c", "dpkg-deb --fsys-tarfile \"$1\" | tar -x -C \"$2\" --no-same-owner --keep-directory-symlink", "sh"]);
        command.arg(deb).arg(root);
        process::run(&format!("unpacking {}", deb.display()), command, UNPACK)?;
    }
    check_libraries(bundle, &Unpacked::at(root)?)
}

fn check_libraries(bundle: &Bundle, unpacked: &Unpacked) -> Result<()> {
    let (folder, names) = bundle.plugins;
    let folder = unpacked.library_folder(folder);
    let plugins = names.iter().map(|name| folder.join(format!("{name}.so")));
    for file in plugins.chain([unpacked.root.join(bundle.program)]) {
        let missing = unpacked.missing_libraries(&file)?;
        if !missing.is_empty() {
            return Err(Error::Failed(format!(
                "{} lacks {}",
                file.display(),
                missing.join(", ")
            )));
        }
    }
    Ok(())
}

fn packages(archives: &Path) -> Result<Vec<PathBuf>> {
    let listing =
        fs::read_dir(archives).map_err(Error::io(format!("cannot list {}", archives.display())))?;
    let paths = listing
        .filter_map(std::result::Result::ok)
        .map(|entry| entry.path());
    Ok(paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SID: Option<&str> = Some("sid");
    const OWN: Option<&str> = None;

    fn os(id: &str, codename: &str) -> BTreeMap<String, String> {
        os_release(&format!("ID={id}\nVERSION_CODENAME=\"{codename}\"\n"))
    }

    fn source(uri: &str, suites: &[&str], key: Option<&str>) -> Source {
        let suites = suites.iter().map(|&suite| suite.to_owned()).collect();
        let components = vec!["main".to_owned(), "universe".to_owned()];
        Source {
            uri: uri.to_owned(),
            suites,
            components,
            signed_by: key.map(PathBuf::from),
        }
    }

    #[test]
    fn debian_takes_sid_from_its_own_mirror_but_never_from_the_security_archive() {
        let own = [
            source(
                "http://s.invalid/debian-security",
                &["bookworm-security"],
                None,
            ),
            source(
                "http://m.invalid/debian",
                &["bookworm", "bookworm-updates"],
                Some("/keys/k.gpg"),
            ),
        ];
        let lines = choose(SID, &os("debian", "bookworm"), &own, None, true);
        assert_eq!(
            lines,
            [
                "deb [signed-by=/keys/k.gpg] http://m.invalid/debian sid main",
                "deb http://m.invalid/debian sid main"
            ]
        );
    }

    #[test]
    fn without_a_key_of_its_own_the_installed_debian_keyring_serves() {
        let own = [source("http://m.invalid/debian", &["bookworm"], None)];
        let lines = choose(SID, &os("debian", "bookworm"), &own, None, true);
        assert_eq!(
            lines[0],
            format!("deb [signed-by={DEBIAN_KEYS}] http://m.invalid/debian sid main")
        );
        let lines = choose(SID, &os("debian", "bookworm"), &own, None, false);
        assert_eq!(lines, ["deb http://m.invalid/debian sid main"]);
    }

    #[test]
    fn ubuntu_has_its_own_packages_and_sid_only_by_name() {
        let own = [source(
            "http://u.invalid/ubuntu",
            &["noble"],
            Some("/keys/u.gpg"),
        )];
        let ubuntu = os("ubuntu", "noble");
        assert!(choose(SID, &ubuntu, &own, None, false).is_empty());
        assert_eq!(
            choose(OWN, &ubuntu, &own, None, false)[0],
            "deb [signed-by=/keys/u.gpg] http://u.invalid/ubuntu noble main universe"
        );
        assert_eq!(
            choose(SID, &ubuntu, &own, Some("http://d.invalid/debian"), false),
            ["deb http://d.invalid/debian sid main"]
        );
    }

    #[test]
    fn a_named_mirror_comes_first() {
        let own = [source("http://m.invalid/debian", &["bookworm"], None)];
        let lines = choose(
            SID,
            &os("debian", "bookworm"),
            &own,
            Some("http://d.invalid/debian"),
            false,
        );
        assert_eq!(
            lines,
            [
                "deb http://d.invalid/debian sid main",
                "deb http://m.invalid/debian sid main"
            ]
        );
    }
}
