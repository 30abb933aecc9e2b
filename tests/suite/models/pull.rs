//! Models are fetched whole and right, or not at all, whatever the server and the disk do.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use asterscribe::models::{PullError, PullOutcome, WantedFile, pull};
use asterscribe_testkit::fixture;
use asterscribe_testkit::server::Server;
use tempfile::TempDir;

use crate::api::rig::{BINARY, SOON};
use crate::models::rig::{Mirror, answer, chunked, cut, rest, whole};

fn wanted_from(mirror: &Mirror, folder: &TempDir) -> WantedFile {
    WantedFile {
        url: format!("http://{}/ggml-x.bin", mirror.address)
            .parse()
            .unwrap(),
        path: folder.path().join("models/ggml-x.bin"),
        bytes: None,
        sha256: None,
    }
}

fn demo() -> Vec<u8> {
    fs::read(fixture::path("model/asterscribe-demo-q5_0.bin")).unwrap()
}

fn fetch(wanted: &WantedFile) -> Result<PullOutcome, PullError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(pull(wanted, &mut |_, _| {}))
}

fn part(wanted: &WantedFile) -> PathBuf {
    format!("{}.part", wanted.path.display()).into()
}

#[track_caller]
fn assert_fetched(wanted: &WantedFile, content: &[u8]) {
    let pulled = fetch(wanted);
    assert!(matches!(pulled, Ok(PullOutcome::Fetched(_))), "{pulled:?}");
    assert!(fs::read(&wanted.path).unwrap() == content);
    assert_eq!(names(wanted), ["ggml-x.bin"]);
}

/// The files beside the one that is wanted.
fn names(wanted: &WantedFile) -> Vec<String> {
    let entries = fs::read_dir(wanted.path.parent().unwrap()).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    names
}

/// Checks that the file is not fetched; the result is the text of the failure.
#[track_caller]
fn refused(wanted: &WantedFile) -> String {
    let error = fetch(wanted).expect_err("it was fetched");
    assert!(!wanted.path.exists());
    error.to_string()
}

#[test]
fn a_download_that_broke_off_goes_on_where_it_was() {
    let (folder, demo) = (tempfile::tempdir().unwrap(), demo());
    let half = demo.len() / 2;
    let mirror = Mirror::with(vec![cut(&demo, "v1"), rest(&demo, half, "v1")]);
    let wanted = wanted_from(&mirror, &folder);
    let told = refused(&wanted);
    assert!(
        told.contains(&format!("broke off after {half} bytes")),
        "{told}"
    );
    assert!(fs::read(part(&wanted)).unwrap() == demo[..half]);
    assert_fetched(&wanted, &demo);
    let asked = mirror.asked();
    assert!(!asked[0].contains("range"), "{}", asked[0]);
    let range = format!("\r\nrange: bytes={half}-\r\n");
    assert!(asked[1].contains(&range), "{}", asked[1]);
    assert!(
        asked[1].contains("\r\nif-range: \"v1\"\r\n"),
        "{}",
        asked[1]
    );
    // It is here now; nobody is asked.
    let again = fetch(&wanted);
    assert!(matches!(again, Ok(PullOutcome::Present(_))), "{again:?}");
}

#[test]
fn another_page_in_its_place_costs_nothing_of_what_is_here() {
    let (folder, demo) = (tempfile::tempdir().unwrap(), demo());
    let half = demo.len() / 2;
    let mirror = Mirror::with(vec![
        cut(&demo, "v1"),
        whole(b"<html>Pay for the network first.</html>", "v1"),
        rest(&demo, half, "v1"),
    ]);
    let wanted = WantedFile {
        bytes: Some(demo.len() as u64),
        ..wanted_from(&mirror, &folder)
    };
    refused(&wanted);
    let told = refused(&wanted);
    assert!(told.contains("has 39 bytes"), "{told}");
    assert!(fs::read(part(&wanted)).unwrap() == demo[..half]);
    assert_fetched(&wanted, &demo);
}

#[test]
fn it_goes_on_behind_a_redirect_too() {
    let (folder, demo) = (tempfile::tempdir().unwrap(), demo());
    let half = demo.len() / 2;
    let store = Mirror::with(vec![cut(&demo, "v1"), rest(&demo, half, "v1")]);
    let to_store = || {
        let place = format!("http://{}/blob?signed=1", store.address);
        let tag = "ETag: \"of the redirect\"";
        answer(
            format!("302 Found\r\nLocation: {place}\r\n{tag}\r\nContent-Length: 0"),
            &[],
        )
    };
    let front = Mirror::with(vec![to_store(), to_store()]);
    let wanted = wanted_from(&front, &folder);
    refused(&wanted);
    assert_fetched(&wanted, &demo);
    let asked = store.asked();
    assert!(asked[1].starts_with("get /blob?signed=1 "), "{}", asked[1]);
    assert!(asked[1].contains(&format!("range: bytes={half}-")));
    assert!(asked[1].contains("if-range: \"v1\""), "{}", asked[1]);
}

#[test]
fn a_tag_that_is_none_is_not_said() {
    let demo = demo();
    for tag in ["", "\"", "\"v1", "\"v\n1\"", "W/\"v1\""] {
        let folder = tempfile::tempdir().unwrap();
        let mirror = Mirror::with(vec![whole(&demo, "v1")]);
        let wanted = wanted_from(&mirror, &folder);
        fs::create_dir(wanted.path.parent().unwrap()).unwrap();
        fs::write(part(&wanted), &demo[..1000]).unwrap();
        fs::write(format!("{}.part.etag", wanted.path.display()), tag).unwrap();
        assert_fetched(&wanted, &demo);
        assert!(!mirror.asked()[0].contains("range"));
    }
}

#[test]
fn a_file_that_changed_meanwhile_is_fetched_anew() {
    let demo = demo();
    let old: Vec<u8> = demo.iter().map(|byte| !byte).collect();
    let half = demo.len() / 2;
    // A server that keeps to If-Range, one that does not, and one with nothing behind the half.
    let none = || answer("416 Range Not Satisfiable\r\nContent-Length: 0", &[]);
    for after in [
        vec![whole(&demo, "v2")],
        vec![rest(&demo, half, "v2"), whole(&demo, "v2")],
        vec![rest(&demo, half - 1, "v1"), whole(&demo, "v2")],
        vec![none(), whole(&demo, "v2")],
    ] {
        let folder = tempfile::tempdir().unwrap();
        let requests = 1 + after.len();
        let answers = [cut(&old, "v1")].into_iter().chain(after);
        let mirror = Mirror::with(answers.collect());
        let wanted = wanted_from(&mirror, &folder);
        refused(&wanted);
        assert_fetched(&wanted, &demo);
        let asked = mirror.asked();
        assert_eq!(asked.len(), requests);
        assert_eq!(asked.last().unwrap().contains("range"), requests == 2);
    }
}

#[test]
fn what_has_no_tag_is_not_continued() {
    let (folder, demo) = (tempfile::tempdir().unwrap(), demo());
    for tag in ["X-Nothing: 1", "ETag: W/\"v1\""] {
        let head = format!("200 OK\r\nContent-Length: {}\r\n{tag}", demo.len());
        let half = answer(head, &demo[..1000]);
        let mirror = Mirror::with(vec![half, whole(&demo, "v2")]);
        let wanted = wanted_from(&mirror, &folder);
        refused(&wanted);
        assert_fetched(&wanted, &demo);
        assert!(!mirror.asked()[1].contains("range"));
        fs::remove_file(&wanted.path).unwrap();
    }
}

#[test]
fn a_wrong_hash_and_what_is_no_model_are_refused_and_removed() {
    let (folder, demo) = (tempfile::tempdir().unwrap(), demo());
    let mirror = Mirror::with(vec![
        whole(&demo, "v1"),
        whole(&demo[..demo.len() / 2], "v1"),
    ]);
    let wanted = wanted_from(&mirror, &folder);
    let hashed = WantedFile {
        sha256: Some("0".repeat(64)),
        ..wanted.clone()
    };
    let told = refused(&hashed);
    assert!(told.contains("SHA-256 fbb9855a"), "{told}");
    assert_eq!(names(&wanted), [""; 0]);
    let told = refused(&wanted);
    assert!(told.contains("cut off"), "{told}");
    assert_eq!(names(&wanted), [""; 0]);
}

#[test]
fn refusals_and_servers_that_are_not_there_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let gone = "404 Not Found\r\nContent-Length: 4";
    let moved = "302 Found\r\nLocation: /ggml-x.bin\r\nContent-Length: 0";
    let moved = (0..12).map(|_| answer(moved, &[]));
    let mirror = Mirror::with([answer(gone, b"gone")].into_iter().chain(moved).collect());
    let wanted = wanted_from(&mirror, &folder);
    let told = refused(&wanted);
    assert!(
        told.contains("404 Not Found") && told.contains("ggml-x.bin"),
        "{told}"
    );
    assert_eq!(names(&wanted), [""; 0]);
    let told = refused(&wanted);
    assert!(told.contains("more than 10 times"), "{told}");
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let wanted = WantedFile {
        url: format!("http://{address}/ggml-x.bin").parse().unwrap(),
        ..wanted
    };
    let told = refused(&wanted);
    assert!(told.contains("onnection refused"), "{told}");
    assert_eq!(names(&wanted), [""; 0]);
}

#[test]
fn lengths_that_are_no_lengths() {
    let demo = demo();
    let size = demo.len() as u64;
    let announced = |length: u64| format!("200 OK\r\nContent-Length: {length}");
    let longer = [demo.as_slice(), b"more"].concat();
    for (answer, said, left) in [
        (answer(announced(size + 1), &demo), "has 4", 0),
        (answer(announced(size - 1), &demo), "has 4", 0),
        (answer(announced(size), &demo[..100]), "after 100 bytes", 1),
        (chunked(&longer), "sent more", 0),
        (chunked(&demo[..100]), "after 100 bytes", 1),
        (answer("200 OK", &demo[..100]), "after 100 bytes", 1),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let wanted = WantedFile {
            bytes: Some(size),
            ..wanted_from(&Mirror::with(vec![answer]), &folder)
        };
        let told = refused(&wanted);
        assert!(told.contains(said), "{said}: {told}");
        assert_eq!(names(&wanted).len(), left, "{said}");
    }
    // Where nobody knows how long it should be, its structure does.
    let folder = tempfile::tempdir().unwrap();
    let mirror = Mirror::with(vec![answer(announced(1000), &demo), chunked(&demo)]);
    let wanted = wanted_from(&mirror, &folder);
    assert!(refused(&wanted).contains("cut off"));
    assert_fetched(&wanted, &demo);
}

#[test]
fn a_full_disk_is_said() {
    let (folder, demo) = (tempfile::tempdir().unwrap(), demo());
    let mirror = Mirror::with(vec![whole(&demo, "v1")]);
    let wanted = wanted_from(&mirror, &folder);
    fs::create_dir(wanted.path.parent().unwrap()).unwrap();
    symlink("/dev/full", part(&wanted)).unwrap();
    let told = refused(&wanted);
    assert!(told.contains("No space left on device"), "{told}");
    assert!(Path::new("/dev/full").exists());
}

#[test]
fn two_at_once_and_a_file_in_the_way_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let wanted = wanted_from(&Mirror::with(Vec::new()), &folder);
    fs::create_dir(wanted.path.parent().unwrap()).unwrap();
    let first = File::create(part(&wanted)).unwrap();
    first.lock().unwrap();
    assert!(refused(&wanted).contains("in use"));
    drop(first);
    fs::write(&wanted.path, b"my own").unwrap();
    let told = fetch(&wanted).unwrap_err().to_string();
    assert!(told.contains("move it away"), "{told}");
    assert_eq!(fs::read(&wanted.path).unwrap(), b"my own");
    let other = WantedFile {
        sha256: Some("0".repeat(64)),
        ..wanted
    };
    fs::write(&other.path, demo()).unwrap();
    let told = fetch(&other).unwrap_err().to_string();
    assert!(told.contains("SHA-256 is fbb9855a"), "{told}");
}

#[test]
fn the_command_line_lists_fetches_and_checks() {
    let (folder, demo) = (tempfile::tempdir().unwrap(), demo());
    let mirror = Mirror::with(vec![cut(&demo, "v1"), rest(&demo, demo.len() / 2, "v1")]);
    let (base, dir) = (
        format!("http://{}/", mirror.address),
        folder.path().display().to_string(),
    );
    let settings = [
        ("MODELS_URL", base.as_str()),
        ("WHISPER_MODELS_DIR", &dir),
        ("WHISPER_MODEL_SIZE", "tiny.en"),
    ];
    let run = |arguments: &[&str]| {
        let arguments = [&["models"], arguments].concat();
        let (status, said) = Server::run_to_end(BINARY, &arguments, &settings, SOON).unwrap();
        (status.success(), said)
    };
    let (fine, said) = run(&["pull", "tiny-q5_0"]);
    assert!(!fine && said.contains("broke off"), "{said}");
    let (fine, said) = run(&["pull", "tiny-q5_0"]);
    assert!(fine && said.contains("was fetched"), "{said}");
    assert!(said.contains(" 50 %, ") && said.contains("100 %, 4 of 4 MiB"));
    let (fine, said) = run(&["pull", "tiny-q5_0"]);
    assert!(fine && said.contains("is here already"), "{said}");
    assert!(mirror.asked()[0].starts_with("get /ggml-tiny-q5_0.bin "));
    for name in ["huge", "../x", "/etc/passwd"] {
        let (fine, said) = run(&["pull", name]);
        assert!(!fine && said.contains("no model is called"), "{said}");
    }
    fs::write(folder.path().join("ggml-tiny.en.bin"), b"x").unwrap();
    fs::write(
        folder.path().join("ggml-base.bin.part"),
        vec![0; 14_795_147],
    )
    .unwrap();
    let (fine, said) = run(&["list"]);
    assert!(fine, "{said}");
    for line in [
        "* tiny.en                  74  wrong size  921e4cf8686fdd99",
        "  base                    141  10 % of it  60ed5bc3dd14eea8",
        "  medium-q5_0             514  -           19fea4b380c3a618",
    ] {
        assert!(said.contains(line), "{line}\n{said}");
    }
    let (fine, said) = run(&["list", "--cost"]);
    let cost = said.lines().find(|line| line.starts_with("  tiny-q5_0 "));
    let calls = cost.and_then(|line| line.split_whitespace().rev().nth(1));
    let calls: f64 = calls.and_then(|calls| calls.parse().ok()).unwrap_or(0.0);
    assert!(fine && calls > 0.0, "{said}");
    let file = folder.path().join("ggml-tiny-q5_0.bin");
    let (fine, said) = run(&["check", file.to_str().unwrap()]);
    assert!(fine, "{said}");
    for part in [
        "fbb9855a88a7",
        "demo model",
        "q5_0",
        "English only",
        "context fitted",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
    let (fine, said) = run(&["check", BINARY]);
    assert!(!fine && said.contains("no Whisper model"), "{said}");
}
