//! Rules of the workspace that neither Cargo nor clippy holds: what a core may say, where a
//! dependency has its home, which of our crates each crate may know, how long a file may be.
//!
//! Shipped code only, line by line: comment lines do not count, nor do tests and test kits, nor
//! what follows a `#[cfg(test)]` in a file.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::fs;
use std::path::Path;

/// Folders and files whose code is told the time and given the bytes.
const CORES: &[&str] = &[
    "rtp/src/",
    "codecs/src/",
    "asterisk/src/control/",
    "asterisk/src/event.rs",
    "call/src/",
    "session/src/",
    "speech/src/",
    "recognition/src/queue.rs",
    "recognition/src/overload.rs",
    "recognition/src/watchdog.rs",
    "recognition/src/pack.rs",
    "recognition/src/transcriber",
    "recognition/src/ladder",
    "src/play/",
    "src/replay/",
    "src/capture/datagram.rs",
    "src/capture/mark.rs",
    "src/capture/pcapng.rs",
];

/// Words that no core may say.
const NOT_IN_CORES: [&str; 13] = [
    "tokio",
    "async",
    "UdpSocket",
    "TcpStream",
    "TcpListener",
    "UnixStream",
    "UnixListener",
    "UnixDatagram",
    "SystemTime",
    "Instant::now",
    "Timestamp::now",
    "asterscribe_clock",
    "thread",
];

/// The fuzz body of replay: it has no caller who could tell it the time; any will do.
const CLOCK_ALLOWED: &str = "src/replay/fuzz.rs";

/// Packages from crates.io that are known in one place only.
const HOMES: &[(&str, &[&str])] = &[
    ("rtp", &["rtp/src/wire.rs"]),
    ("webrtc_util", &["rtp/src/wire.rs"]),
    ("rubato", &["codecs/src/resample/fft.rs"]),
    ("audioadapter", &["codecs/src/resample/fft.rs"]),
    ("audioadapter_buffers", &["codecs/src/resample/fft.rs"]),
    ("audiopus", &["codecs/src/opus.rs"]),
    ("realfft", &["speech/src/fourier.rs"]),
    ("earshot", &["speech/src/detector.rs"]),
    ("whisper_rs", &["recognition/src/engine/whisper_cpp.rs"]),
    ("ct2rs", &["recognition/src/engine/ctranslate2.rs"]),
    (
        "rusqlite",
        &["store/src/sqlite/", "store/src/spool/file.rs"],
    ),
    ("chacha20poly1305", &["store/src/spool/body.rs"]),
    ("redis", &["store/src/redis/"]),
    ("sha1", &["src/models/hash.rs"]),
    ("hound", &["src/play/wav"]),
    ("pcap_parser", &["src/replay/capture.rs"]),
    ("etherparse", &["src/capture/datagram.rs"]),
    ("flate2", &["src/replay/capture/input.rs"]),
    (
        "tempfile",
        &["src/replay/capture/input.rs", "src/replay/order.rs"],
    ),
    ("socket2", &["src/media/socket.rs", "bench/src/"]),
    (
        "nix",
        &[
            "src/media/socket.rs",
            "src/media/own.rs",
            "src/serve/limits.rs",
            "bench/src/",
        ],
    ),
    (
        "reqwest",
        &[
            "asterisk/src/client/",
            "src/models/",
            "src/demo.rs",
            "src/cli.rs",
        ],
    ),
    ("tokio_tungstenite", &["asterisk/src/client/"]),
    ("governor", &["src/api/rates.rs"]),
];

/// Paths that the API may not know: all of it is behind the service that it serves.
const NOT_IN_THE_API: [&str; 6] = [
    "crate::calls",
    "crate::media",
    "crate::serve",
    "asterscribe_session",
    "asterscribe_speech",
    "asterscribe_store",
];

/// The crates of ours that each crate's shipped code may know; Cargo refuses all others.
const MAY_KNOW: [(&str, &[&str]); 10] = [
    ("rtp", &[]),
    ("codecs", &[]),
    ("asterisk", &[]),
    ("clock", &[]),
    ("call", &[]),
    ("speech", &["call"]),
    ("session", &["call", "codecs", "rtp", "speech"]),
    ("recognition", &["call", "clock", "speech"]),
    ("store", &["call", "speech"]),
    ("tests/kit", &[]),
];

/// Packages that would give a core a socket, a runtime, a thread or a database.
const NOT_FOR_CORE_CRATES: [&str; 8] = [
    "tokio",
    "socket2",
    "nix",
    "reqwest",
    "rusqlite",
    "redis",
    "crossbeam-channel",
    "rustix",
];

/// Crates without any of [`NOT_FOR_CORE_CRATES`].
const CORE_CRATES: [&str; 5] = ["rtp", "codecs", "call", "speech", "session"];

/// Lines that a file may have.
const MAX_LINES: usize = 500;

/// Files that may be longer, and the reason.
const LONG_FILES: [(&str, &str); 1] = [("src/config/table.rs", "one table, an entry a setting")];

#[test]
fn the_sources_keep_their_rules() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    collect(root, "", &mut files);
    assert!(files.len() > 100, "the sources were not found");
    let mut broken = Vec::new();
    for path in &files {
        let text = fs::read_to_string(root.join(path)).unwrap();
        broken.extend(violations(path, &text));
    }
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

#[test]
fn a_crate_knows_only_those_below_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (folder, allowed) in MAY_KNOW {
        let manifest = fs::read_to_string(root.join(folder).join("Cargo.toml")).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        let inherits = manifest["lints"]["workspace"].as_bool();
        assert_eq!(inherits, Some(true), "{folder}: [lints] workspace");
        let needs = manifest.get("dependencies").and_then(|all| all.as_table());
        for package in needs.into_iter().flat_map(toml::Table::keys) {
            if let Some(ours) = package.strip_prefix("asterscribe-") {
                assert!(allowed.contains(&ours), "{folder} must not know {package}");
            }
            let is_shell = NOT_FOR_CORE_CRATES.contains(&package.as_str());
            assert!(
                !(is_shell && CORE_CRATES.contains(&folder)),
                "{folder} is a core and must not use {package}"
            );
        }
    }
}

#[test]
fn what_breaks_a_rule_is_named_by_file_and_line() {
    let planted = [
        (
            "rtp/src/gate.rs",
            "let t = Instant::now();",
            "Instant::now in a core",
        ),
        (
            "asterisk/src/control/io.rs",
            "tokio::spawn(x);",
            "tokio in a core",
        ),
        (
            "session/src/leg.rs",
            "use std::net::UdpSocket;",
            "UdpSocket in a core",
        ),
        (
            "rtp/src/gate.rs",
            "use rubato::Fft;",
            "rubato outside of codecs/src/resample/fft.rs",
        ),
        (
            "src/live/server.rs",
            "redis::Client::open(u);",
            "redis outside of store/src/redis/",
        ),
        (
            "src/api/handlers.rs",
            "asterscribe_store::open();",
            "asterscribe_store in the API",
        ),
    ];
    for (path, line, what) in planted {
        let text = format!("// tokio rubato::x\nfn f() {{}}\n{line}\n");
        assert_eq!(
            violations(path, &text),
            [format!("{path}:3: {what}")],
            "{line}"
        );
        let in_tests = format!("fn f() {{}}\n#[cfg(test)]\nmod tests {{\n{line}\n}}\n");
        assert_eq!(violations(path, &in_tests), [""; 0], "{line}");
    }
    let fine = [
        "let x = asynchronous(tokio_like);",
        "use self::redis::RedisStore;",
        "mod redis;",
    ];
    for line in fine {
        assert_eq!(violations("src/play/clip.rs", line), [""; 0], "{line}");
    }
    assert_eq!(
        violations("src/call.rs", &"\n".repeat(MAX_LINES + 1)).len(),
        1
    );
    assert_eq!(violations(LONG_FILES[0].0, "").len(), 1);
}

fn collect(folder: &Path, prefix: &str, files: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let (path, kind) = (format!("{prefix}{name}"), entry.file_type().unwrap());
        if kind.is_dir() && name != "target" && !name.starts_with('.') {
            collect(&entry.path(), &format!("{path}/"), files);
        } else if kind.is_file() && name.ends_with(".rs") {
            files.push(path);
        }
    }
}

fn violations(path: &str, text: &str) -> Vec<String> {
    let mut found = length_violation(path, text);
    if !is_shipped(path) {
        return found;
    }
    let shipped = text.split("#[cfg(test)]").next().unwrap_or_default();
    for (number, line) in (1..).zip(shipped.lines()) {
        if !line.trim_start().starts_with("//") {
            let rules = rules_broken(path, line).into_iter();
            found.extend(rules.map(|rule| format!("{path}:{number}: {rule}")));
        }
    }
    found
}

fn rules_broken(path: &str, line: &str) -> Vec<String> {
    let is_at = |places: &[&str]| places.iter().any(|place| path.starts_with(place));
    let mut broken = Vec::new();
    if is_at(CORES) && path != CLOCK_ALLOWED {
        let said = NOT_IN_CORES.iter().filter(|word| says(line, word));
        broken.extend(said.map(|word| format!("{word} in a core")));
    }
    for (package, homes) in HOMES {
        let is_path = path_begins(line, package);
        if is_path && !is_at(homes) {
            broken.push(format!("{package} outside of {}", homes.join(", ")));
        }
    }
    if is_at(&["src/api/"]) {
        let said = NOT_IN_THE_API.iter().filter(|word| says(line, word));
        broken.extend(said.map(|word| format!("{word} in the API")));
    }
    broken
}

fn length_violation(path: &str, text: &str) -> Vec<String> {
    let lines = text.lines().count();
    let is_listed = LONG_FILES.iter().any(|(long, _)| *long == path);
    match (lines > MAX_LINES, is_listed) {
        (true, false) => vec![format!(
            "{path}: {lines} lines; split it, or list it with a reason"
        )],
        (false, true) => vec![format!(
            "{path}: is no longer too long; take it off the list"
        )],
        _ => Vec::new(),
    }
}

/// Whether a file is part of the product: not of tests, benches, kits or their helpers.
fn is_shipped(path: &str) -> bool {
    let aside = |part: &str| {
        matches!(
            part,
            "tests" | "tests.rs" | "testkit" | "benches" | "fuzz" | "examples"
        )
    };
    path.split('/').any(|part| part == "src") && !path.split('/').any(aside)
}

/// Whether a line has a word, not as a part of another one.
fn says(line: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        !line[..at].ends_with(is_part) && !line[at + word.len()..].starts_with(is_part)
    })
}

/// Whether a path in a line begins with a package's name: `redis::Client`, not `self::redis::x`.
fn path_begins(line: &str, package: &str) -> bool {
    let path = format!("{package}::");
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    line.match_indices(&path)
        .any(|(at, _)| !line[..at].ends_with(is_part))
}
