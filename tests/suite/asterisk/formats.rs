//! Every format that can be asked for: Asterisk sends it, and the words in it are heard.

use asterscribe_codecs::MediaFormat;
use asterscribe_testkit::asterisk::Release;
use asterscribe_testkit::host;

use super::stasis::monologue;
use super::{Rig, SOON, assert_said, heard};

/// A call of a caller who has as much bandwidth as the format can carry.
fn is_heard(format: MediaFormat) {
    let Some(rig) = Rig::start_with(Release::V22, &[("MEDIA_FORMAT", format.name())]) else {
        return;
    };
    let is_wide = format.codec().sample_rate().hz() >= 16_000;
    rig.call_into_stasis_in(if is_wide { "slin16" } else { "ulaw" }, "call", "talk");
    assert_is_sent(&rig, format);

    let transcript = rig.await_complete("call");
    let stats = &rig.get("/api/call/call/status")["legs"][0]["stats"];
    assert_eq!(stats["received"], stats["decoded"], "{stats}");
    // Three sentences and the silence between them.
    assert!(stats["decoded"].as_u64() > Some(300), "{stats}");
    for count in ["unknown_payload", "decode_errors", "malformed", "lost"] {
        assert_eq!(stats[count], 0, "{count}: {stats}");
    }
    assert_said(&monologue(), &heard(&transcript, "caller"));
    rig.assert_nothing_left();
}

/// By Asterisk's own word: a refused or replaced format would be decoded too,
/// if it is one of ours.
fn assert_is_sent(rig: &Rig, format: MediaFormat) {
    let wanted = format!("({format})");
    let channel = || {
        let (_, channels) = rig.asterisk.ari("GET", "/channels", &[], None).ok()?;
        let mut names = channels.as_array()?.iter().map(|it| it["name"].as_str());
        let media = names.find(|name| name.is_some_and(|name| name.starts_with("UnicastRTP/")));
        rig.asterisk
            .cli(&format!("core show channel {}", media??))
            .ok()
    };
    let shown = host::poll_until(host::now() + SOON, channel).expect("a media channel");
    let native = shown.lines().find(|line| line.contains("NativeFormats:"));
    assert!(native.is_some_and(|line| line.contains(&wanted)), "{shown}");
}

macro_rules! heard_in {
    ($($test:ident: $format:ident,)*) => {
        $(#[test]
        fn $test() {
            is_heard(MediaFormat::$format);
        })*

        #[test]
        fn no_format_is_forgotten() {
            assert_eq!(MediaFormat::ALL, [$(MediaFormat::$format),*]);
        }
    };
}

heard_in! {
    ulaw: Ulaw,
    alaw: Alaw,
    gsm: Gsm,
    g722: G722,
    opus: Opus,
    slin: Slin,
    slin12: Slin12,
    slin16: Slin16,
    slin24: Slin24,
    slin32: Slin32,
    slin44: Slin44,
    slin48: Slin48,
    slin96: Slin96,
}
