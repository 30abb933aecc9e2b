use std::collections::HashMap;
use std::path::Path;

use url::Url;

use super::fetch::may_follow;
use super::*;
use crate::config::{ModelChoice, Settings};

fn url(text: &str) -> Url {
    text.parse().unwrap()
}

#[test]
fn every_published_model_has_a_name_that_the_settings_know_and_a_whole_hash() {
    for model in PUBLISHED {
        let folder = Path::new("m");
        let choice = ModelChoice::named(folder, model.name).expect(model.name);
        let file = format!("ggml-{}.bin", model.name);
        assert_eq!(choice.path(), Some(folder.join(file).as_path()));
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        assert!(model.sha256.len() == 64 && model.sha256.bytes().all(is_hex));
        assert_eq!(published(model.name), Some(model));
    }
    let mut hashes: Vec<_> = PUBLISHED.iter().map(|model| model.sha256).collect();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), PUBLISHED.len());
}

#[test]
fn every_published_folder_has_a_name_that_the_settings_know_and_a_repository() {
    for model in FOLDERS {
        let path = ModelChoice::ctranslate2_folder(Path::new("m"), model.name);
        let folder = format!("m/faster-whisper-{}", model.name);
        assert_eq!(path.as_deref(), Some(Path::new(&folder)));
        let (_, name) = model.repository.split_once('/').unwrap();
        assert_eq!(name, &folder[2..]);
        assert_eq!(published_folder(model.name), Some(model));
        assert!(published(model.name).is_some());
    }
    let plain = PUBLISHED.iter().filter(|model| !model.name.contains("-q"));
    assert_eq!(plain.count(), FOLDERS.len());
}

fn settings(models: &Path) -> Settings {
    let models = models.to_str().unwrap();
    let map = HashMap::from([
        ("WHISPER_MODELS_DIR", models),
        ("MODELS_URL", "http://mirror/ggml"),
        ("MODELS_HUB_URL", "http://mirror/hub"),
        ("MODELS_ACFT_URL", "http://mirror/acft/"),
    ]);
    Settings::load(&[&map]).unwrap()
}

#[test]
fn a_name_is_fetched_in_the_form_that_is_asked_for_or_costs_the_least() {
    let here = tempfile::tempdir().unwrap();
    let settings = settings(here.path());
    let order = |name: &str, format| ModelOrder::new(name, format, &settings);
    let file = |name: &str| WantedFile::named(name, &settings.models_url, here.path()).unwrap();
    let folder = |name: &str, repository: &str| WantedFolder {
        hub: url("http://mirror/hub"),
        repository: repository.to_owned(),
        path: here.path().join(format!("faster-whisper-{name}")),
    };
    // Whether a folder is there already changes nothing.
    for _ in 0..2 {
        let (ggml, ct2) = (
            Some(PublishedFormat::Ggml),
            Some(PublishedFormat::CTranslate2),
        );
        assert_eq!(
            order("base.en", ggml),
            Ok(ModelOrder::File(file("base.en")))
        );
        let base = folder("base.en", "Systran/faster-whisper-base.en");
        assert_eq!(order("base.en", ct2), Ok(ModelOrder::Folder(base.clone())));
        let turbo = folder(
            "large-v3-turbo",
            "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
        );
        assert_eq!(order("turbo", ct2), Ok(ModelOrder::Folder(turbo)));
        let large = folder("large-v3", "Systran/faster-whisper-large-v3");
        assert_eq!(order("large", ct2), Ok(ModelOrder::Folder(large)));
        let cheapest = match PublishedFormat::cheapest_here() {
            PublishedFormat::CTranslate2 => ModelOrder::Folder(base),
            PublishedFormat::Ggml => ModelOrder::File(file("base.en")),
        };
        assert_eq!(order("base.en", None), Ok(cheapest));
        // What has one form only is fetched in that one.
        assert_eq!(
            order("base-q8_0", None),
            Ok(ModelOrder::File(file("base-q8_0")))
        );
        assert_eq!(
            order("base-q8_0", ct2),
            Err(OrderError::NoFolder("base-q8_0".to_owned()))
        );
        for model in ACFT {
            let Ok(ModelOrder::File(wanted)) = order(model.name, None) else {
                panic!("{}", model.name);
            };
            let file = format!("ggml-{}.bin", model.name);
            assert_eq!(wanted.path, here.path().join(file));
            let place = format!("http://mirror/acft/{}", model.file);
            assert_eq!((wanted.url.as_str(), wanted.sha256), (&*place, None));
            assert!(order(model.name, ct2).is_err());
        }
        for name in ["../base", "huge", "", "faster-whisper-base", "base.en/"] {
            for format in [None, ggml, ct2] {
                let unknown = OrderError::UnknownName(name.to_owned());
                assert_eq!(order(name, format), Err(unknown));
            }
        }
        std::fs::create_dir_all(here.path().join("faster-whisper-base.en")).unwrap();
    }
}

#[test]
fn a_name_becomes_an_address_and_a_file() {
    let folder = Path::new("/m");
    for base in ["http://mirror/a/b", "http://mirror/a/b/"] {
        let wanted = WantedFile::named("turbo-q5_0", &url(base), folder).unwrap();
        assert_eq!(
            wanted.url.as_str(),
            "http://mirror/a/b/ggml-large-v3-turbo-q5_0.bin"
        );
        assert_eq!(wanted.path, folder.join("ggml-large-v3-turbo-q5_0.bin"));
        assert_eq!(wanted.bytes, Some(574_041_195));
    }
    let unpublished = WantedFile::named("tiny-q5_0", &url("http://mirror/"), folder).unwrap();
    assert_eq!(
        (unpublished.bytes, unpublished.sha256, unpublished.url),
        (None, None, url("http://mirror/ggml-tiny-q5_0.bin"))
    );
    for name in ["../tiny", "/etc/passwd", "tiny.en.bin", "huge", ""] {
        assert_eq!(
            WantedFile::named(name, &url("http://mirror/"), folder),
            None
        );
    }
}

#[test]
fn a_redirect_does_not_lead_out_of_https_nor_in_circles() {
    let (open, secret) = (url("http://a/x"), url("https://b/x"));
    let follow = |previous: &[&Url], next: &Url| {
        let previous: Vec<_> = previous.iter().map(|url| (*url).clone()).collect();
        may_follow(&previous, next)
    };
    assert!(follow(&[&open], &open).is_ok());
    assert!(follow(&[&open], &secret).is_ok());
    assert!(follow(&[&secret], &secret).is_ok());
    let refused = follow(&[&secret], &open).unwrap_err();
    assert!(refused.contains("https to http://a/x"), "{refused}");
    assert!(follow(&[&open, &secret], &open).is_err());
    assert!(follow(&[&secret; 11], &secret).is_err());
}

#[test]
fn progress_is_a_bar_on_a_terminal_and_eleven_lines_elsewhere() {
    let shown = |is_terminal| {
        let mut out = Vec::new();
        let mut progress = PullProgress::new(&mut out, is_terminal);
        for done in 0..=2000u64 {
            progress.show(done << 20, Some(2000 << 20)).unwrap();
        }
        progress.end().unwrap();
        String::from_utf8(out).unwrap()
    };
    let lines = shown(false);
    assert_eq!(lines.lines().count(), 11, "{lines}");
    assert_eq!(lines.lines().nth(3), Some(" 30 %, 600 of 2000 MiB"));
    let bar = shown(true);
    assert_eq!(bar.matches('\r').count(), 101);
    assert!(bar.ends_with("] 100 %, 2000 of 2000 MiB \n"), "{bar}");
    let mut out = Vec::new();
    let mut unknown = PullProgress::new(&mut out, false);
    for done in 0..=32u64 {
        unknown.show(done << 20, None).unwrap();
    }
    assert_eq!(out, b"0 MiB\n16 MiB\n32 MiB\n");
}

#[test]
fn what_was_fetched_and_is_not_loaded_is_said() {
    let here = tempfile::tempdir().unwrap();
    let settings = settings(here.path());
    let order = ModelOrder::new("tiny.en", Some(PublishedFormat::Ggml), &settings).unwrap();
    let pulled = PullOutcome::Present(asterscribe_recognition::model::SpeechModel::demo().unwrap());
    let plain = told("tiny.en", &order, &pulled, &settings);
    assert_eq!(plain.lines().count(), 1, "{plain}");
    assert!(plain.contains("ggml-tiny.en.bin is here already; SHA-256 fbb9855a"));
    let folder = here.path().join("faster-whisper-tiny.en");
    std::fs::create_dir(&folder).unwrap();
    let warned = told("tiny.en", &order, &pulled, &settings);
    let (first, second) = warned.split_once('\n').unwrap();
    assert_eq!(plain.trim_end(), first);
    let instead = format!("But tiny.en is loaded from {}, ", folder.display());
    assert!(second.starts_with(&instead), "{second}");
    assert!(second.contains("set WHISPER_MODEL="), "{second}");
}
