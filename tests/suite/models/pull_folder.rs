//! Folders of CTranslate2 are fetched whole and right, or not at all, whatever the hub and the
//! disk do.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;

use asterscribe::models::PullOutcome;
use asterscribe_testkit::server::Server;
use serde_json::{Value, json};

use crate::api::rig::{BINARY, SOON};
use crate::models::rig::{
    NAME, REPOSITORY, Rig, broken_off, content, cut, names, sha256, status, whole,
};

#[test]
fn what_the_engine_reads_is_fetched_from_one_commit() {
    let rig = Rig::new();
    rig.assert_fetched();
    let commit = "1".repeat(40);
    assert_eq!(
        rig.hub.asked(),
        [
            "main",
            &commit,
            "config.json",
            "tokenizer.json",
            "vocabulary.txt",
            "model.bin"
        ]
    );
    // It is here now; nobody is asked.
    let again = rig.fetch();
    assert!(matches!(again, Ok(PullOutcome::Present(_))), "{again:?}");
    assert_eq!(rig.hub.asked(), [""; 0]);
}

#[test]
fn a_download_that_broke_off_goes_on_where_it_was() {
    let rig = Rig::new();
    let weights = &rig.files["model.bin"];
    rig.hub.once("/model.bin", cut(weights, &sha256(weights)));
    let (told, half) = (rig.refused(), weights.len() / 2);
    assert!(
        told.contains(&format!("broke off after {half} bytes")),
        "{told}"
    );
    assert!(
        told.contains("/model.bin") && told.contains("goes on"),
        "{told}"
    );
    rig.hub.asked();
    // A page in the place of the rest, and a hub that wants peace, cost nothing of it.
    rig.hub
        .once("/model.bin", whole(b"<html>Log in</html>", "x"));
    assert!(rig.refused().contains("has 19 bytes"));
    rig.hub.once("/model.bin", status("429 Too Many Requests"));
    assert!(rig.refused().contains("in some minutes"));
    rig.hub.asked();
    rig.assert_fetched();
    let commit = "1".repeat(40);
    let rest = format!("model.bin from {half}");
    assert_eq!(rig.hub.asked(), ["main", &commit, &rest]);
}

#[test]
fn it_may_break_off_at_any_byte() {
    let rig = Rig::new();
    let lists = [
        ("/revision/main", json!({"sha": "1".repeat(40)}).to_string()),
        ("/tree/", Value::from(rig.hub.tree()).to_string()),
    ];
    let lists = lists.map(|(path, text)| (path.to_owned(), text.into_bytes()));
    let files = rig.files.iter();
    let files = files.map(|(name, content)| (format!("/{name}"), content.clone()));
    for (path, content) in lists.into_iter().chain(files) {
        let path = path.replace("/tree/", &format!("/tree/{}", "1".repeat(40)));
        let length = content.len();
        for after in [0, 1, length / 3, length - 1] {
            rig.hub.once(&path, broken_off(&content, after));
            let told = rig.refused();
            assert!(told.contains(&path), "{path}, {after}: {told}");
            fs::remove_dir_all(rig.models()).unwrap();
        }
        // One attempt goes on from where the other left it.
        for after in [1, length / 3] {
            rig.hub.once(&path, broken_off(&content, after));
            rig.refused();
        }
        rig.assert_fetched();
        fs::remove_dir_all(rig.models()).unwrap();
    }
}

#[test]
fn all_files_are_of_one_commit_also_when_another_comes_meanwhile() {
    let rig = Rig::new();
    let weights = &rig.files["model.bin"];
    rig.hub.once("/model.bin", broken_off(weights, 1000));
    rig.refused();
    let mut newer = rig.files.clone();
    let config = newer.get_mut("config.json").unwrap();
    config.push(b'\n');
    let words = newer.remove("vocabulary.txt").unwrap();
    let words = String::from_utf8(words).unwrap();
    let words: Vec<_> = words.split('\n').collect();
    newer.insert(
        "vocabulary.json".to_owned(),
        json!(words).to_string().into_bytes(),
    );
    let commit = "2".repeat(40);
    rig.hub.publish(&commit, newer.clone());
    rig.hub.asked();
    rig.assert_fetched_at(&commit, &newer);
    assert_eq!(
        rig.hub.asked(),
        [
            "main",
            &commit,
            "config.json",
            "vocabulary.json",
            "model.bin from 1000"
        ]
    );
}

#[test]
fn a_full_disk_is_said_and_costs_nothing_of_what_is_here() {
    let rig = Rig::new();
    fs::create_dir_all(rig.part()).unwrap();
    symlink("/dev/full", rig.part().join("model.bin.part")).unwrap();
    let told = rig.refused();
    assert!(told.contains("No space left on device"), "{told}");
    assert!(
        told.contains("model.bin.part") && told.contains("goes on"),
        "{told}"
    );
    assert_eq!(
        names(&rig.part()),
        ["config.json", "tokenizer.json", "vocabulary.txt"]
    );
    assert!(Path::new("/dev/full").exists());
    rig.assert_fetched();
}

#[test]
fn two_at_once_and_what_is_in_the_way_are_refused() {
    let rig = Rig::new();
    fs::create_dir_all(rig.part()).unwrap();
    let first = File::open(rig.part()).unwrap();
    first.lock().unwrap();
    let told = rig.refused();
    assert!(told.contains("in use") && told.contains("wait"), "{told}");
    drop(first);
    // A folder where a file belongs, or beside the files.
    for name in ["config.json", "other"] {
        fs::create_dir_all(rig.part().join(name)).unwrap();
        let told = rig.refused();
        assert!(
            told.contains("move it away") && told.contains(name),
            "{told}"
        );
        fs::remove_dir(rig.part().join(name)).unwrap();
    }
    fs::remove_dir_all(rig.part()).unwrap();
    fs::write(rig.part(), b"mine").unwrap();
    assert!(rig.refused().contains("no folder; move it away"));
    assert_eq!(fs::read(rig.part()).unwrap(), b"mine");
}

#[test]
fn what_has_the_name_already_is_left_alone() {
    let rig = Rig::new();
    fs::create_dir_all(rig.folder()).unwrap();
    let told = rig.fetch().unwrap_err().to_string();
    assert!(told.contains("move it away"), "{told}");
    fs::write(rig.folder().join("model.bin"), b"mine").unwrap();
    let told = rig.fetch().unwrap_err().to_string();
    assert!(told.contains("move it away"), "{told}");
    assert_eq!(content(&rig.folder())["model.bin"], b"mine");
    fs::remove_dir_all(rig.folder()).unwrap();
    symlink("nowhere", rig.folder()).unwrap();
    let told = rig.fetch().unwrap_err().to_string();
    assert!(told.contains("move it away"), "{told}");
    fs::remove_file(rig.folder()).unwrap();
    // A model of another commit is a model.
    rig.assert_fetched();
    let mut newer = rig.files.clone();
    newer.get_mut("config.json").unwrap().push(b'\n');
    rig.hub.publish(&"2".repeat(40), newer);
    let pulled = rig.fetch();
    assert!(matches!(pulled, Ok(PullOutcome::Present(_))), "{pulled:?}");
    assert!(content(&rig.folder()) == rig.files);
    assert_eq!(names(&rig.models()), [NAME]);
}

#[test]
fn the_command_line_fetches_the_form_that_it_is_told() {
    let rig = Rig::new();
    let (hub, dir) = (
        format!("http://{}", rig.hub.address),
        rig.models().display().to_string(),
    );
    let settings = [
        ("MODELS_HUB_URL", hub.as_str()),
        ("MODELS_URL", &hub),
        ("WHISPER_MODELS_DIR", &dir),
        ("WHISPER_MODEL_SIZE", "tiny.en"),
    ];
    let run = |arguments: &[&str]| {
        let arguments = [&["models"], arguments].concat();
        let (status, said) = Server::run_to_end(BINARY, &arguments, &settings, SOON).unwrap();
        (status.success(), said)
    };
    let assert_said = |arguments: &[&str], is_fine: bool, parts: &[&str]| {
        let (fine, said) = run(arguments);
        assert_eq!(fine, is_fine, "{said}");
        for part in parts {
            assert!(said.contains(part), "{part}\n{said}");
        }
    };
    assert_said(
        &["list"],
        true,
        &["none", "-           Systran/faster-whisper-tiny.en"],
    );
    assert_said(
        &["pull", "tiny.en-q8_0", "--format", "ct2"],
        false,
        &["a ggml file only"],
    );
    assert_said(
        &["pull", "huge", "--format", "ct2"],
        false,
        &["no model is called huge"],
    );
    let weights = &rig.files["model.bin"];
    rig.hub.once("/model.bin", cut(weights, &sha256(weights)));
    let pull = ["pull", "tiny.en", "--format", "ct2"];
    assert_said(&pull, false, &["broke off after", "/model.bin"]);
    assert_said(&["list"], true, &["  tiny.en                      begun"]);
    let commit = "1".repeat(40);
    assert_said(
        &pull,
        true,
        &["was fetched and checked", REPOSITORY, &commit, "100 %, "],
    );
    assert_said(&pull, true, &["is here already", "not compared"]);
    let listed = "* tiny.en              CTranslate2 folder      4      -  float16\n";
    assert_said(
        &["list"],
        true,
        &[listed, "* tiny.en                      yes"],
    );
    let folder = rig.folder();
    let checked = [
        "CTranslate2 folder",
        "float16",
        "English only",
        "only the hub knows",
    ];
    assert_said(&["check", folder.to_str().unwrap()], true, &checked);
    // With the folder here, the other form can be had all the same.
    let demo = fs::read(asterscribe_testkit::fixture::path(
        "model/asterscribe-demo-q5_0.bin",
    ));
    rig.hub
        .once("/ggml-tiny.en-q5_0.bin", whole(&demo.unwrap(), "x"));
    let told = ["ggml-tiny.en-q5_0.bin was fetched", "structure was checked"];
    assert_said(&["pull", "tiny.en-q5_0"], true, &told);
    rig.hub.asked();
    let refused = ["ggml-tiny.en.bin answers 404"];
    assert_said(&["pull", "tiny.en", "--format", "ggml"], false, &refused);
    assert_eq!(rig.hub.asked(), ["ggml-tiny.en.bin"]);
}

#[test]
fn the_form_that_is_cheapest_here_is_the_default() {
    let rig = Rig::new();
    let (hub, dir) = (
        format!("http://{}", rig.hub.address),
        rig.models().display().to_string(),
    );
    let settings = [
        ("MODELS_HUB_URL", hub.as_str()),
        ("MODELS_URL", &hub),
        ("WHISPER_MODELS_DIR", &dir),
    ];
    let arguments = ["models", "pull", "tiny.en"];
    let (status, said) = Server::run_to_end(BINARY, &arguments, &settings, SOON).unwrap();
    let flags = fs::read_to_string("/proc/cpuinfo").unwrap();
    if cfg!(target_arch = "x86_64") && flags.contains(" avx2 ") {
        assert!(status.success(), "{said}");
        assert!(content(&rig.folder()) == rig.files);
    } else {
        assert!(!status.success(), "{said}");
        assert_eq!(rig.hub.asked(), ["ggml-tiny.en.bin"]);
    }
}
