use url::Url;

use super::pull::may_follow;
use super::*;
use crate::config::ModelChoice;

fn url(text: &str) -> Url {
    text.parse().unwrap()
}

#[test]
fn every_published_model_has_a_name_that_the_settings_know_and_a_whole_hash() {
    for model in PUBLISHED {
        let folder = std::path::Path::new("m");
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
fn a_name_becomes_an_address_and_a_file() {
    let folder = std::path::Path::new("/m");
    for base in ["http://mirror/a/b", "http://mirror/a/b/"] {
        let wanted = Wanted::named("turbo-q5_0", &url(base), folder).unwrap();
        assert_eq!(
            wanted.url.as_str(),
            "http://mirror/a/b/ggml-large-v3-turbo-q5_0.bin"
        );
        assert_eq!(wanted.path, folder.join("ggml-large-v3-turbo-q5_0.bin"));
        assert_eq!(wanted.bytes, Some(574_041_195));
    }
    let unpublished = Wanted::named("tiny-q5_0", &url("http://mirror/"), folder).unwrap();
    assert_eq!(
        (unpublished.bytes, unpublished.sha256, unpublished.url),
        (None, None, url("http://mirror/ggml-tiny-q5_0.bin"))
    );
    for name in ["../tiny", "/etc/passwd", "tiny.en.bin", "huge", ""] {
        assert_eq!(Wanted::named(name, &url("http://mirror/"), folder), None);
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
        let mut progress = Progress::new(&mut out, is_terminal);
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
    let mut unknown = Progress::new(&mut out, false);
    for done in 0..=32u64 {
        unknown.show(done << 20, None).unwrap();
    }
    assert_eq!(out, b"0 MiB\n16 MiB\n32 MiB\n");
}
