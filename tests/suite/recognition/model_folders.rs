//! A CTranslate2 folder that is not whole, or whose files do not fit each other, is refused with
//! the name of what is wrong; one that changes after it was checked is not used.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use asterscribe_recognition::engine::{EngineConfig, LoadedModel};
use asterscribe_recognition::model::{ModelError, SpeechModel};
use asterscribe_testkit::real_speech::Weights;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::recognition::people_rig::material;

/// A folder with the real files, each of which a test may replace.
struct Folder(TempDir);

impl Folder {
    fn of(whole: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for file in fs::read_dir(whole).unwrap() {
            let file = file.unwrap();
            symlink(file.path(), folder.path().join(file.file_name())).unwrap();
        }
        Self(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.path().to_owned()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.file(name)).unwrap();
    }

    /// The file is a copy from now on, of which `change` may do as it likes.
    fn change(&self, name: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) {
        let content = fs::read(self.file(name)).unwrap();
        self.remove(name);
        fs::write(self.file(name), change(content)).unwrap();
    }

    fn change_json(&self, name: &str, change: impl FnOnce(&mut Value)) {
        self.change(name, |text| {
            let mut value = serde_json::from_slice(&text).unwrap();
            change(&mut value);
            serde_json::to_vec(&value).unwrap()
        });
    }

    #[track_caller]
    fn refused(&self, what: &str) {
        let error = SpeechModel::open(&self.path()).unwrap_err().to_string();
        assert!(error.contains(what), "{what}: {error}");
        let path = self.path().display().to_string();
        assert!(error.contains(&path), "{path}: {error}");
    }
}

fn tiny() -> Option<Folder> {
    Some(Folder::of(&material()?.ctranslate2(Weights::TinyEn)))
}

#[test]
fn a_file_that_is_missing_is_named() {
    for name in [
        "model.bin",
        "config.json",
        "tokenizer.json",
        "vocabulary.txt",
    ] {
        let Some(folder) = tiny() else { return };
        folder.remove(name);
        folder.refused(name);
        fs::create_dir(folder.file(name)).unwrap();
        folder.refused("");
    }
}

#[test]
fn weights_cut_off_anywhere_are_refused() {
    let Some(folder) = tiny() else { return };
    folder.change("model.bin", |whole| whole);
    let file = OpenOptions::new()
        .write(true)
        .open(folder.file("model.bin"))
        .unwrap();
    let mut length = file.metadata().unwrap().len() - 1;
    while length > 0 {
        file.set_len(length).unwrap();
        folder.refused("model.bin");
        length = length * 2 / 3;
    }
    file.set_len(0).unwrap();
    folder.refused("model.bin");
}

#[test]
fn weights_that_lie_are_refused() {
    let Some(folder) = tiny() else { return };
    let whole = fs::read(folder.file("model.bin")).unwrap();
    folder.change("model.bin", |whole| whole);
    let mut file = OpenOptions::new()
        .write(true)
        .open(folder.file("model.bin"))
        .unwrap();
    let mut put = |at: usize, bytes: &[u8]| {
        file.seek(SeekFrom::Start(at as u64)).unwrap();
        file.write_all(bytes).unwrap();
    };
    // The version, the length of the name, the name, the revision, the number of variables,
    // the first one's name and shape: everything before the numbers.
    for at in 0..64 {
        for byte in [0, 0x7f, 0xff] {
            if whole[at] == byte {
                continue;
            }
            put(at, &[byte]);
            // A letter of the first variable's name may be any, if nothing looks it up.
            let _any = SpeechModel::open(&folder.path());
        }
        put(at, &whole[at..=at]);
    }
    let place = |name: &[u8]| {
        whole
            .windows(name.len())
            .position(|part| part == name)
            .unwrap()
    };
    put(place(b"WhisperSpec"), b"MarianSpec\0");
    folder.refused("holds a MarianSpec");
    put(place(b"WhisperSpec"), b"WhisperSpec");
    put(0, &[99, 0, 0, 0]);
    folder.refused("version");
    put(0, &whole[..4]);
    put(place(b"encoder/conv1/weight"), b"encoder/conv9/weight");
    folder.refused("encoder/conv1");
}

#[test]
fn a_vocabulary_of_another_model_is_refused() {
    let Some(real) = material() else { return };
    let base = real.ctranslate2(Weights::Base);
    let folder = tiny().unwrap();
    folder.remove("vocabulary.txt");
    symlink(base.join("vocabulary.txt"), folder.file("vocabulary.txt")).unwrap();
    folder.refused("vocabulary.txt has 51865 words");
    let folder = tiny().unwrap();
    folder.remove("tokenizer.json");
    symlink(base.join("tokenizer.json"), folder.file("tokenizer.json")).unwrap();
    folder.refused("they belong to different models");
    // As many words, but two of them in each other's place.
    let folder = tiny().unwrap();
    folder.change("vocabulary.txt", |text| {
        let text = String::from_utf8(text).unwrap();
        let mut words: Vec<_> = text.split('\n').collect();
        words.swap(1000, 1001);
        words.join("\n").into_bytes()
    });
    folder.refused("they belong to different models");
}

#[test]
fn a_configuration_that_names_what_the_model_has_not_is_refused() {
    type Spoil = fn(&mut Value);
    let spoilt: [(&str, Spoil); 4] = [
        ("51864", |config| {
            config["suppress_ids"] = json!([1, 51_864])
        }),
        ("layer 40", |config| {
            config["alignment_heads"] = json!([[40, 0]])
        }),
        ("suppress_ids", |config| {
            config.as_object_mut().unwrap().remove("suppress_ids");
        }),
        ("broken", |config| *config = json!([])),
    ];
    for (what, spoil) in spoilt {
        let Some(folder) = tiny() else { return };
        folder.change_json("config.json", spoil);
        folder.refused(what);
    }
    let Some(folder) = tiny() else { return };
    folder.change("config.json", |_| b"<html>404</html>".to_vec());
    folder.refused("config.json is broken");
}

#[test]
fn a_folder_that_changes_after_it_was_checked_is_not_used() {
    let Some(folder) = tiny() else { return };
    folder.change("vocabulary.txt", |text| text);
    let model = SpeechModel::open(&folder.path()).unwrap();
    LoadedModel::load(model.clone(), EngineConfig::default()).unwrap();
    folder.change("vocabulary.txt", |mut text| {
        text[0] ^= 1;
        text
    });
    let refused = LoadedModel::load(model, EngineConfig::default());
    assert!(
        matches!(refused, Err(ModelError::Changed { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_folder_has_one_hash_wherever_it_lies() {
    let Some(real) = material() else { return };
    let whole = SpeechModel::open(&real.ctranslate2(Weights::TinyEn)).unwrap();
    let folder = tiny().unwrap();
    let moved = SpeechModel::open(&folder.path()).unwrap();
    assert_eq!((&whole.sha256, whole.bytes), (&moved.sha256, moved.bytes));
    fs::write(folder.file("README.md"), "not looked at").unwrap();
    let with_more = SpeechModel::open(&folder.path()).unwrap();
    assert_eq!(whole.sha256, with_more.sha256);
}
