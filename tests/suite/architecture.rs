//! Rules of which part may use which. The sources and manifests are read as text; what breaks
//! a rule is named by file and line.
//!
//! Code only: comments and literals do not count, nor do unit tests and test
//! kits, which may read clocks and open sockets as they like.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod text;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use self::text::{code_only, crate_paths, imports, line_of, without_tests, words};

/// Folders and files whose code is told the time and given the bytes.
const CORES: &[&str] = &[
    "rtp/src/",
    "codecs/src/",
    "asterisk/src/control/",
    "asterisk/src/event.rs",
    "src/session/",
    "src/speech/",
    "src/recognition/queue.rs",
    "src/recognition/overload.rs",
    "src/recognition/watchdog.rs",
    "src/recognition/pack.rs",
    "src/play/",
    "src/replay/",
    "src/capture/datagram.rs",
    "src/capture/mark.rs",
    "src/capture/pcapng.rs",
];

/// Words that no core may contain, and the files that may, because of their purpose.
const NOT_IN_CORES: [(&str, &[&str]); 14] = [
    ("tokio", &[]),
    ("async", &[]),
    ("UdpSocket", &[]),
    ("TcpStream", &[]),
    ("TcpListener", &[]),
    ("UnixStream", &[]),
    ("UnixListener", &[]),
    ("UnixDatagram", &[]),
    ("Instant::now", &[]),
    ("SystemTime", &[]),
    ("Timestamp::now", &[]),
    (".elapsed()", &[]),
    // A fuzz body has no caller who could tell it the time; any will do.
    ("clock::now", &["src/replay/fuzz.rs"]),
    ("thread", &[]),
];

/// Packages from crates.io that are known in one place only.
const HOMES: &[(&str, &[&str])] = &[
    ("rtp", &["rtp/src/wire.rs"]),
    ("webrtc_util", &["rtp/src/wire.rs"]),
    ("rubato", &["codecs/src/resample/fft.rs"]),
    ("realfft", &["src/speech/fourier.rs"]),
    ("audioadapter", &["codecs/src/resample/fft.rs"]),
    ("audioadapter_buffers", &["codecs/src/resample/fft.rs"]),
    ("audiopus", &["codecs/src/opus.rs"]),
    ("earshot", &["src/speech/detector.rs"]),
    ("whisper_rs", &["src/speech/engine/whisper_cpp.rs"]),
    ("ct2rs", &["src/speech/engine/ctranslate2.rs"]),
    (
        "rusqlite",
        &["src/store/sqlite/", "src/store/spool/file.rs"],
    ),
    ("chacha20poly1305", &["src/store/spool/body.rs"]),
    ("sha1", &["src/models/hash.rs"]),
    ("redis", &["src/store/redis/"]),
    ("hound", &["src/play/wav"]),
    ("pcap_parser", &["src/replay/capture.rs"]),
    ("etherparse", &["src/capture/datagram.rs"]),
    ("flate2", &["src/replay/capture/input.rs"]),
    (
        "tempfile",
        &["src/replay/capture/input.rs", "src/replay/order.rs"],
    ),
    ("socket2", &["src/live/media/socket.rs", "src/bench/"]),
    (
        "nix",
        &[
            "src/live/media/socket.rs",
            "src/live/media/own.rs",
            "src/live/limits.rs",
            "src/bench/",
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

/// Crates and modules of ours that a session may know; beside them the standard library.
const SESSION_MAY_USE: [&str; 8] = [
    "std",
    "asterscribe_codecs",
    "asterscribe_rtp",
    "crate::call",
    "crate::session",
    "crate::speech",
    "self",
    "super",
];

/// Modules behind the service that the API serves, which it may not use.
const API_MAY_NOT_USE: [&str; 4] = [
    "crate::live",
    "crate::session",
    "crate::speech",
    "crate::store",
];

/// Crates that stand alone, by folder and package.
const ALONE: [(&str, &str); 4] = [
    ("rtp/Cargo.toml", "asterscribe-rtp"),
    ("codecs/Cargo.toml", "asterscribe-codecs"),
    ("asterisk/Cargo.toml", "asterscribe-ari"),
    ("tests/kit/Cargo.toml", "asterscribe-testkit"),
];

/// Lines that a file may have.
const MAX_LINES: usize = 500;

/// Files that may be longer, and the reason.
const LONG_FILES: [(&str, &str); 1] = [("src/config/table.rs", "one table, an entry a setting")];

#[test]
fn the_workspace_keeps_its_rules() {
    let workspace = Workspace::read(Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(workspace.0.len() > 100, "the sources were not found");
    let broken = workspace.violations();
    assert!(broken.is_empty(), "\n{}\n", broken.join("\n"));
}

/// Path in the workspace, with `/` → text, of every source and manifest.
struct Workspace(BTreeMap<String, String>);

impl Workspace {
    fn read(root: &Path) -> Self {
        let mut files = BTreeMap::new();
        collect(root, "", &mut files);
        Self(files)
    }

    fn violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (path, text) in &self.0 {
            if path.ends_with(".rs") {
                check_length(path, text, &mut found);
                let code = code_only(text);
                check_unsafe(path, &code, &mut found);
                if is_shipped(path) {
                    check_source(path, &without_tests(&code), &mut found);
                }
            } else {
                check_manifest(path, text, &mut found);
            }
        }
        for (path, _) in LONG_FILES {
            if self
                .0
                .get(path)
                .is_some_and(|text| text.lines().count() <= MAX_LINES)
            {
                found.push(format!(
                    "{path}:1: is no longer too long; take it off the list"
                ));
            }
        }
        found.dedup();
        found
    }
}

fn collect(folder: &Path, prefix: &str, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let (path, kind) = (format!("{prefix}{name}"), entry.file_type().unwrap());
        if kind.is_dir() && name != "target" && !name.starts_with('.') {
            collect(&entry.path(), &format!("{path}/"), files);
        } else if kind.is_file() && (name.ends_with(".rs") || name == "Cargo.toml") {
            files.insert(path, fs::read_to_string(entry.path()).unwrap());
        }
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

fn check_length(path: &str, text: &str, found: &mut Vec<String>) {
    let lines = text.lines().count();
    if lines > MAX_LINES && LONG_FILES.iter().all(|(long, _)| *long != path) {
        found.push(format!(
            "{path}:{MAX_LINES}: {lines} lines; split it, or list it with a reason"
        ));
    }
}

fn check_unsafe(path: &str, code: &str, found: &mut Vec<String>) {
    for place in words(code, "unsafe") {
        found.push(format!("{path}:{}: unsafe", line_of(code, place)));
    }
}

fn check_source(path: &str, code: &str, found: &mut Vec<String>) {
    let mut report = |place, what: String| {
        found.push(format!("{path}:{}: {what}", line_of(code, place)));
    };
    let is_at = |places: &[&str]| places.iter().any(|place| path.starts_with(place));
    if is_at(CORES) {
        for (word, allowed) in NOT_IN_CORES {
            if !is_at(allowed) {
                words(code, word).for_each(|place| report(place, format!("{word} in a core")));
            }
        }
    }
    for (package, homes) in HOMES {
        if !is_at(homes) {
            let elsewhere = format!("{package} outside of {}", homes.join(", "));
            crate_paths(code, package).for_each(|place| report(place, elsewhere.clone()));
        }
    }
    let is_session = is_at(&["src/session/"]);
    if !is_session && !is_at(&["src/api/"]) {
        return;
    }
    let who = if is_session { "a session" } else { "the API" };
    for (place, target) in imports(code) {
        let may_use = if is_session {
            SESSION_MAY_USE.contains(&target.as_str())
        } else {
            !API_MAY_NOT_USE.contains(&target.as_str())
        };
        // At the folder's own module, `super` is the whole crate.
        let escapes = target == "super" && path.ends_with("/mod.rs");
        if escapes || !may_use {
            report(place, format!("{who} must not know {target}"));
        }
    }
    words(code, "super::super")
        .for_each(|place| report(place, format!("{who} must not reach out")));
}

fn check_manifest(path: &str, text: &str, found: &mut Vec<String>) {
    if let Some((_, package)) = ALONE.iter().find(|(manifest, _)| *manifest == path) {
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split('#').next().unwrap();
            let names = line.split(|c: char| !c.is_alphanumeric() && c != '-' && c != '_');
            let mut ours = names.filter(|name| name.starts_with("asterscribe"));
            if ours.any(|name| name != *package) || line.contains("path = \"..") {
                found.push(format!("{path}:{number}: {package} must stand alone"));
            }
        }
    }
    // The entry that libFuzzer calls is unsafe, made by its macro, and can inherit
    // nothing: a workspace of its own.
    if path == "fuzz/Cargo.toml" {
        return;
    }
    if text.contains("[package]") && !inherits_lints(text) {
        found.push(format!("{path}:1: [lints] workspace = true is missing"));
    }
    if text.contains("[workspace]") && !text.contains("\nunsafe_code = \"forbid\"\n") {
        found.push(format!("{path}:1: unsafe_code is not forbidden"));
    }
}

fn inherits_lints(manifest: &str) -> bool {
    let squeezed: String = manifest.split_whitespace().collect();
    squeezed.contains("[lints]workspace=true")
}

#[test]
fn each_rule_catches_what_breaks_it_and_names_the_line() {
    let planted = [
        (
            "rtp/src/wire.rs",
            "use rubato::Fft;",
            "rubato outside of codecs/src/resample/fft.rs",
        ),
        (
            "rtp/src/gate.rs",
            "let t = Instant::now();",
            "Instant::now in a core",
        ),
        (
            "codecs/src/audio.rs",
            "if then.elapsed() > limit {}",
            ".elapsed() in a core",
        ),
        (
            "asterisk/src/event.rs",
            "use std::time::SystemTime;",
            "SystemTime in a core",
        ),
        (
            "asterisk/src/control/io.rs",
            "tokio::spawn(x);",
            "tokio in a core",
        ),
        (
            "src/session/leg.rs",
            "use std::net::UdpSocket;",
            "UdpSocket in a core",
        ),
        (
            "src/session/leg.rs",
            "use crate::live::server;",
            "a session must not know crate::live",
        ),
        (
            "src/session/leg.rs",
            "use crate::{call::Leg, store::Row};",
            "a session must not know crate::store",
        ),
        (
            "src/session/leg.rs",
            "let x = asterscribe_ari::model::f();",
            "a session must not know asterscribe_ari",
        ),
        (
            "src/session/leg.rs",
            "use serde::Serialize;",
            "a session must not know serde",
        ),
        (
            "src/session/leg.rs",
            "use super::super::api;",
            "a session must not reach out",
        ),
        (
            "src/session/mod.rs",
            "use super::call;",
            "a session must not know super",
        ),
        (
            "src/speech/segmenter.rs",
            "std::thread::spawn(f);",
            "thread in a core",
        ),
        (
            "src/replay/mod.rs",
            "let epoch = clock::now();",
            "clock::now in a core",
        ),
        (
            "src/replay/mod.rs",
            "use etherparse as e;",
            "etherparse outside of src/capture/datagram.rs",
        ),
        (
            "src/api/handlers.rs",
            "crate::store::open();",
            "the API must not know crate::store",
        ),
        (
            "src/live/desk/mod.rs",
            "let c = redis::Client::open(u);",
            "redis outside of src/store/redis/",
        ),
        ("src/main.rs", "unsafe { f() }", "unsafe"),
        ("benches/x.rs", "unsafe fn f() {}", "unsafe"),
        (
            "rtp/Cargo.toml",
            "asterscribe-codecs.workspace = true",
            "asterscribe-rtp must stand alone",
        ),
        (
            "codecs/Cargo.toml",
            "x = { path = \"../rtp\" }",
            "asterscribe-codecs must stand alone",
        ),
        (
            "asterisk/Cargo.toml",
            "[dependencies.asterscribe]",
            "asterscribe-ari must stand alone",
        ),
    ];
    for (path, line, what) in planted {
        let text = format!("// A comment.\nfn f() {{}}\n{line}\n");
        assert_eq!(
            violations(path, &text),
            [format!("{path}:3: {what}")],
            "{line}"
        );
    }
    let long = violations("src/call.rs", &"\n".repeat(501));
    assert_eq!(
        long,
        ["src/call.rs:500: 501 lines; split it, or list it with a reason"]
    );
    let (listed, _) = LONG_FILES[0];
    assert_eq!(violations(listed, &"\n".repeat(501)), [""; 0]);
    assert_eq!(violations(listed, "").len(), 1);
    assert_eq!(violations("new/Cargo.toml", "[package]\n").len(), 1);
    assert_eq!(violations("Cargo.toml", "[workspace]\n").len(), 1);
}

#[test]
fn what_is_no_code_or_only_for_tests_breaks_no_rule() {
    let fine = [
        (
            "rtp/src/gate.rs",
            "// Instant::now()\n/* tokio /* async */ unsafe */\n/// `thread`",
        ),
        (
            "rtp/src/gate.rs",
            "let t = \"unsafe \\\" tokio\"; let r = r#\"a \" async\"#; let c = '\"'; let d = b\"tokio\";",
        ),
        (
            "rtp/src/gate.rs",
            "fn f<'a>(x: &'a str) -> char { '\\'' } // unsafe",
        ),
        (
            "rtp/src/gate.rs",
            "#[cfg(test)]\nmod tests { fn f() { Instant::now(); } }\n",
        ),
        (
            "rtp/src/gate.rs",
            "#[cfg(any(test, feature = \"testkit\"))]\nuse std::net::UdpSocket;\n",
        ),
        ("rtp/src/testkit/mod.rs", "Instant::now();"),
        ("src/session/tests.rs", "use crate::live::server;"),
        (
            "src/session/leg.rs",
            "use std::{mem, time::{Duration, Instant}};\nuse super::{a::{self, B}, c};",
        ),
        (
            "src/session/mod.rs",
            "let unsafe_code = asynchronous(tokio_like);",
        ),
        (
            "src/store/mod.rs",
            "pub use self::redis::RedisStore;\nmod redis;",
        ),
        (
            "src/live/server.rs",
            "let rtp = stats.rtp; asterscribe_rtp::classify(rtp);",
        ),
        ("src/replay/fuzz.rs", "clock::now();"),
        ("src/recognition/pool.rs", "thread::Builder::new();"),
        (
            "rtp/Cargo.toml",
            "name = \"asterscribe-rtp\"\nasterscribe-rtp = { path = \".\" } # not asterscribe-codecs",
        ),
    ];
    for (path, text) in fine {
        assert_eq!(violations(path, text), [""; 0], "{text}");
    }
    // Code after what was blanked is still seen, and on its own line.
    let after = "#[cfg(test)]\nmod tests {\n}\nlet s = \"\n\"; unsafe {}";
    assert_eq!(violations("src/main.rs", after), ["src/main.rs:5: unsafe"]);
}

fn violations(path: &str, text: &str) -> Vec<String> {
    Workspace(BTreeMap::from([(path.to_owned(), text.to_owned())])).violations()
}
