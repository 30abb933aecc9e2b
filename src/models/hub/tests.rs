use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn sha256(digit: char) -> String {
    digit.to_string().repeat(64)
}

fn blob(digit: char) -> String {
    digit.to_string().repeat(40)
}

fn small(name: &str) -> Value {
    json!({"type": "file", "path": name, "size": 100, "oid": blob('a')})
}

fn large(name: &str) -> Value {
    json!({
        "type": "file", "path": name, "size": 5_000_000_000u64, "oid": blob('b'), "xetHash": "x",
        "lfs": {"oid": sha256('c'), "size": 5_000_000_000u64, "pointerSize": 135},
    })
}

/// A repository as the hub lists it.
fn list() -> Vec<Value> {
    vec![
        small(".gitattributes"),
        small("README.md"),
        json!({"type": "directory", "path": "onnx", "size": 0, "oid": blob('d')}),
        large("model.bin"),
        small("config.json"),
        small("vocabulary.txt"),
        small("tokenizer.json"),
    ]
}

fn parsed(list: &[Value]) -> Result<Vec<HubFile>, String> {
    parse_files(&serde_json::to_vec(list).unwrap())
}

fn names(files: &[HubFile]) -> Vec<&str> {
    files.iter().map(|file| file.name).collect()
}

#[test]
fn what_the_engine_reads_is_wanted_and_nothing_else() {
    let files = parsed(&list()).unwrap();
    assert_eq!(
        names(&files),
        [
            "config.json",
            "tokenizer.json",
            "vocabulary.txt",
            "model.bin"
        ]
    );
    assert_eq!(files[3].bytes, 5_000_000_000);
    assert_eq!(files[3].hash, FileHash::Sha256(sha256('c')));
    assert_eq!(files[0].hash, FileHash::GitBlob(blob('a')));
    // Of two vocabularies that which a folder is read with.
    let both = [list(), vec![small("vocabulary.json")]].concat();
    assert_eq!(names(&parsed(&both).unwrap())[2], "vocabulary.json");
    // Near misses are other files.
    for near in ["Model.bin", "model.bin ", "a/model.bin", "model.bin.exe"] {
        let more = [list(), vec![small(near)]].concat();
        assert_eq!(parsed(&more).unwrap(), files, "{near}");
    }
}

#[test]
fn a_list_without_one_of_them_is_none() {
    for (at, missing) in [
        (3, "no model.bin"),
        (4, "no config.json"),
        (5, "neither vocabulary.json nor vocabulary.txt"),
        (6, "no tokenizer.json"),
    ] {
        let mut list = list();
        list.remove(at);
        let reason = parsed(&list).unwrap_err();
        assert!(reason.contains(missing), "{reason}");
    }
}

#[test]
fn entries_that_lie_are_refused() {
    let weights = |field: &str, value: Value| {
        let mut entry = large("model.bin");
        *entry.pointer_mut(field).unwrap() = value;
        entry
    };
    for (entry, said) in [
        (weights("/type", json!("directory")), "is no file"),
        (weights("/size", json!(u64::MAX)), "more than any model's"),
        (weights("/size", json!(1)), "1 bytes, and 5000000000"),
        (weights("/size", json!(-1)), "invalid value"),
        (weights("/size", json!(1.5)), "invalid type"),
        (
            weights("/lfs/oid", json!("c".repeat(63))),
            "hash of its model.bin",
        ),
        (
            weights("/lfs/oid", json!("C".repeat(64))),
            "hash of its model.bin",
        ),
        (
            weights("/lfs/oid", json!(blob('c'))),
            "hash of its model.bin",
        ),
        (weights("/lfs", json!(null)), ""),
        (weights("/lfs", json!([])), "invalid length"),
    ] {
        let mut list = list();
        list[3] = entry;
        match parsed(&list) {
            Err(reason) => assert!(
                !said.is_empty() && reason.contains(said),
                "{said}: {reason}"
            ),
            // Large or small, a file has the hash that it is listed with.
            Ok(files) => {
                assert_eq!(said, "");
                assert_eq!(files[3].hash, FileHash::GitBlob(blob('b')));
            }
        }
    }
    let mut huge = list();
    huge[6] =
        json!({"type": "file", "path": "tokenizer.json", "size": MAX_TEXT + 1, "oid": blob('a')});
    assert!(
        parsed(&huge)
            .unwrap_err()
            .contains("tokenizer.json has 67108865")
    );
    let twice = [list(), vec![small("config.json")]].concat();
    assert!(parsed(&twice).unwrap_err().contains("config.json twice"));
    let many: Vec<_> = (0..=MAX_FILES).map(|n| small(&n.to_string())).collect();
    assert!(parsed(&many).unwrap_err().contains("more than 1000 files"));
}

#[test]
fn paths_that_lead_out_are_refused() {
    for path in [
        "../model.bin",
        "a/../../model.bin",
        "/etc/passwd",
        "a//b",
        "./model.bin",
        "..",
        "",
        "a\0b",
        "a/",
    ] {
        let list = [list(), vec![small(path)]].concat();
        let reason = parsed(&list).unwrap_err();
        assert!(reason.contains("names the path"), "{path}: {reason}");
    }
    let long = format!("../{}", "x".repeat(100_000));
    let list = [list(), vec![small(&long)]].concat();
    assert!(parsed(&list).unwrap_err().len() < 300);
}

#[test]
fn a_commit_is_forty_digits() {
    let commit = |text: &str| parse_commit(&serde_json::to_vec(&json!({"sha": text})).unwrap());
    assert_eq!(commit(&blob('7')), Ok(blob('7')));
    for no in [
        "main",
        "",
        "../../x",
        &blob('G'),
        &sha256('7'),
        &blob('7')[1..],
    ] {
        assert!(commit(no).is_err(), "{no}");
    }
    for no in ["<!doctype html>", "", "[]", "{}", "{\"sha\":1}", "null"] {
        assert!(parse_commit(no.as_bytes()).is_err(), "{no}");
        assert!(parse_files(no.as_bytes()).is_err(), "{no}");
    }
}

#[test]
fn addresses_are_below_the_hub() {
    for hub in ["http://mirror/hub", "http://mirror/hub/"] {
        let hub = hub.parse().unwrap();
        let repository = HubRepository {
            hub: &hub,
            name: "Systran/x",
        };
        assert_eq!(
            repository.file_url("abc", "model.bin").as_str(),
            "http://mirror/hub/Systran/x/resolve/abc/model.bin"
        );
        assert_eq!(
            repository
                .address(&["api", "models"], &["tree", "abc"])
                .as_str(),
            "http://mirror/hub/api/models/Systran/x/tree/abc"
        );
    }
}

proptest! {
    #[test]
    fn no_answer_is_too_strange(answer in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(parse_commit(&answer).is_err());
        prop_assert!(parse_files(&answer).is_err());
    }

    #[test]
    fn no_list_gets_another_name_through(
        paths in proptest::collection::vec("[./a-z]{0,12}|model\\.bin|config\\.json|tokenizer\\.json|vocabulary\\.(json|txt)", 0..12),
        size in 0..=u64::MAX,
    ) {
        let entry = |path: &String| {
            json!({"type": "file", "path": path, "size": size, "oid": blob('a')})
        };
        let list: Vec<_> = paths.iter().map(entry).collect();
        if let Ok(files) = parsed(&list) {
            prop_assert_eq!(files.len(), 4);
            for file in files {
                let is_known = REQUIRED_FILES.contains(&file.name) || VOCABULARIES.contains(&file.name);
                prop_assert!(is_known && file.bytes <= MAX_TEXT);
            }
        }
    }
}
