//! Captures that are gzipped, or come through a pipe.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use asterscribe_testkit::fixture;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use crate::replay::rig::{file, program};

const FIXTURE: &str = "asterisk22_alaw_stasis";

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// `asterscribe replay` with these arguments and this standard input.
fn replayed(arguments: &[&str], input: impl Into<Stdio>) -> Output {
    let elsewhere = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_asterscribe"))
        .args(["replay", "--format", "json"])
        .args(arguments)
        .env_clear()
        .current_dir(elsewhere.path())
        .stdin(input)
        .output()
        .unwrap()
}

#[test]
fn gzipped_files_and_pipes_give_the_same_bytes() {
    let path = fixture::pcap_path(FIXTURE);
    let expected = program(&path, "json");
    assert!(expected.status.success());
    let gz = file(&packed(&std::fs::read(&path).unwrap()));
    let gz_path = gz.path().display().to_string();
    for output in [
        replayed(&[&gz_path], Stdio::null()),
        replayed(&["-"], File::open(&path).unwrap()),
        replayed(&["-"], File::open(gz.path()).unwrap()),
        replayed(&["/dev/stdin"], piped(&path)),
    ] {
        assert_eq!(output, expected);
    }
}

/// Bytes of the file in a pipe: they can be read once.
fn piped(path: &Path) -> Stdio {
    let bytes = std::fs::read(path).unwrap();
    let (reader, mut writer) = std::io::pipe().unwrap();
    std::thread::spawn(move || writer.write_all(&bytes).unwrap());
    reader.into()
}

#[test]
fn a_packed_file_that_is_damaged_says_where_and_gives_what_it_holds() {
    let whole = packed(&std::fs::read(fixture::pcap_path(FIXTURE)).unwrap());
    let cut = file(&whole[..whole.len() * 9 / 10]);
    let output = program(cut.path(), "json");
    assert!(output.status.success(), "{output:?}");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("reading failed: "), "{stderr}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["packets"].as_u64().unwrap() > 200);

    let junk = file(&packed(b"not a capture at all"));
    let output = program(junk.path(), "json");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr.contains("neither a pcap nor a pcapng file"),
        "{stderr}"
    );
}
