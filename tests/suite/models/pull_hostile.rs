//! A hub that lies, or is none, gets nothing in among the models.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::json;

use crate::models::rig::{
    Hub, REPOSITORY, Rig, WHOLE, broken_off, chunked, json_answer, names, status, whole,
};
use crate::recognition::model_folder::small;

#[test]
fn what_is_no_hub_leaves_nothing() {
    let rig = Rig::new();
    let (revision, commit) = ("/revision/main", "1".repeat(40));
    let tree = format!("/tree/{commit}");
    let tree = tree.as_str();
    let huge = vec![b' '; 2 << 20];
    let endless: Vec<_> = (0..2000)
        .map(|n| json!({"type": "file", "path": n.to_string(), "size": 1, "oid": "a"}))
        .collect();
    let mut outside = rig.hub.tree();
    outside.push(json!({"type": "file", "path": "../../model.bin", "size": 1, "oid": "a"}));
    let circle = |path: &str| {
        let place = format!("/api/models/{}{path}", REPOSITORY);
        status(&format!("302 Found\r\nLocation: {place}"))
    };
    let html = || whole(b"<!doctype html><title>Log in</title>", "x");
    for (path, answers, said) in [
        (revision, vec![html()], "see whether MODELS_HUB_URL"),
        (tree, vec![html()], "see whether MODELS_HUB_URL"),
        (revision, vec![chunked(&huge)], "more than 1048576 bytes"),
        (tree, vec![chunked(&huge)], "more than 1048576 bytes"),
        (
            tree,
            vec![json_answer(&endless.into())],
            "more than 1000 files",
        ),
        (tree, vec![json_answer(&outside.into())], "../../model.bin"),
        (
            revision,
            vec![json_answer(&json!({"sha": "../main"}))],
            "no commit",
        ),
        (
            revision,
            vec![status("401 Unauthorized")],
            "not for everybody",
        ),
        (
            revision,
            vec![status("404 Not Found")],
            "does not have the file",
        ),
        (
            tree,
            vec![status("404 Not Found")],
            "does not have the file",
        ),
        (
            revision,
            vec![status("429 Too Many Requests")],
            "in some minutes",
        ),
        (
            tree,
            vec![status("503 Service Unavailable")],
            "may succeed later",
        ),
        (tree, vec![status("204 No Content")], "204"),
        (
            "/config.json",
            vec![status("403 Forbidden")],
            "not for everybody",
        ),
        (
            revision,
            (0..12).map(|_| circle(revision)).collect(),
            "more than 10 times",
        ),
    ] {
        for answer in answers {
            rig.hub.once(path, answer);
        }
        let told = rig.refused();
        assert!(told.contains(said) && told.contains(path), "{said}: {told}");
        assert_eq!(names(&rig.models()), [""; 0], "{said}");
        // Those who gave up earlier left answers behind.
        rig.hub.forget();
    }
    rig.assert_fetched();
}

#[test]
fn a_hub_that_lies_is_found_out_and_the_rest_is_kept() {
    let rig = Rig::new();
    let (tree, length) = (
        format!("/tree/{}", "1".repeat(40)),
        rig.files["model.bin"].len(),
    );
    let small = ["config.json", "tokenizer.json", "vocabulary.txt"];
    let wrong = |name: &str, digits: usize| {
        rig.tree_with(name, |entry| match entry.get_mut("lfs") {
            Some(lfs) => lfs["oid"] = json!("0".repeat(digits)),
            None => entry["oid"] = json!("0".repeat(digits)),
        })
    };
    let sized = |name: &str, size: usize| {
        rig.tree_with(name, |entry| {
            entry["size"] = json!(size);
            if let Some(lfs) = entry.get_mut("lfs") {
                lfs["size"] = json!(size);
            }
        })
    };
    for (list, said, kept) in [
        (wrong("model.bin", 64), "SHA-256", &small[..]),
        (
            wrong("model.bin", 40),
            "the hash of its model.bin is none",
            &small[..0],
        ),
        (wrong("vocabulary.txt", 40), "Git blob SHA-1", &small[..2]),
        (wrong("config.json", 40), "Git blob SHA-1", &small[..0]),
        (
            sized("model.bin", length + 1),
            "published file has",
            &small[..],
        ),
        (
            sized("model.bin", length - 1),
            "published file has",
            &small[..],
        ),
        (
            sized("tokenizer.json", 0),
            "published file has 0",
            &small[..1],
        ),
        (
            sized("model.bin", 1 << 50),
            "more than any model's",
            &small[..0],
        ),
    ] {
        rig.hub.once(&tree, list);
        let told = rig.refused();
        assert!(told.contains(said), "{said}: {told}");
        assert_eq!(names(&rig.part()), kept, "{said}");
        assert_eq!(rig.part().exists(), !kept.is_empty());
        rig.hub.asked();
        rig.assert_fetched();
        // What was right is not fetched again.
        assert_eq!(rig.hub.asked().len(), 2 + 4 - kept.len(), "{said}");
        fs::remove_dir_all(rig.folder()).unwrap();
    }
}

#[test]
fn content_that_is_not_what_the_list_says_is_removed() {
    let rig = Rig::new();
    for name in WHOLE {
        if rig.part().exists() {
            fs::remove_dir_all(rig.part()).unwrap();
        }
        let mut other = rig.files[name].clone();
        *other.last_mut().unwrap() ^= 1;
        rig.hub.once(&format!("/{name}"), whole(&other, "x"));
        let told = rig.refused();
        assert!(
            told.contains("was removed") && told.contains(name),
            "{told}"
        );
        assert!(!rig.part().join(name).exists());
        let longer = [&rig.files[name][..], b"more"].concat();
        rig.hub.once(&format!("/{name}"), chunked(&longer));
        let told = rig.refused();
        assert!(
            told.contains("sent more than") && told.contains(name),
            "{told}"
        );
    }
    rig.assert_fetched();
}

#[test]
fn what_was_tampered_with_meanwhile_is_fetched_anew() {
    let rig = Rig::new();
    let weights = &rig.files["model.bin"];
    rig.hub.once("/model.bin", broken_off(weights, 1000));
    rig.refused();
    let mut config = rig.files["config.json"].clone();
    config[0] = b'x';
    fs::write(rig.part().join("config.json"), config).unwrap();
    let tokenizer = rig.part().join("tokenizer.json");
    fs::remove_file(&tokenizer).unwrap();
    symlink("/etc/hostname", &tokenizer).unwrap();
    fs::write(rig.part().join("vocabulary.json"), "[]").unwrap();
    rig.assert_fetched();
    let asked = rig.hub.asked();
    assert_eq!(
        asked[asked.len() - 3..],
        ["config.json", "tokenizer.json", "model.bin from 1000"]
    );
    assert!(Path::new("/etc/hostname").exists());
}

#[test]
fn files_that_are_right_and_no_model_are_removed() {
    let mut rig = Rig::new();
    for (name, content, said) in [
        ("config.json", b"{}".to_vec(), "config.json is broken"),
        ("vocabulary.txt", b"a\nb".to_vec(), "vocabulary"),
        (
            "model.bin",
            rig.files["model.bin"][..1000].to_vec(),
            "cut off",
        ),
        ("model.bin", b"<html>".to_vec(), "model.bin"),
        ("model.bin", Vec::new(), "cut off"),
    ] {
        let mut files = small();
        files.insert(name.to_owned(), content);
        rig.hub = Hub::with(files);
        let told = rig.refused();
        assert!(
            told.contains(said) && told.contains("was removed"),
            "{told}"
        );
        assert_eq!(names(&rig.models()), [""; 0], "{said}");
    }
}
