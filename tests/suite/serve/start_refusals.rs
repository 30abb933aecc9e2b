//! Refusals to start: a setting that the server cannot work with stops it, with one message that
//! names the setting and gives no secret away.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::path::PathBuf;

use asterscribe_testkit::redis::{Instance, find};
use asterscribe_testkit::server::Server;
use asterscribe_testkit::{available, fixture};
use tempfile::TempDir;

use crate::api::rig::{BINARY, SOON};

/// Part of every secret in these tests; it may stand in no message.
const SECRET: &str = "hunter2";

/// Starts the server with these arguments and settings; the result is its message when it refused.
#[track_caller]
fn refusal_of(arguments: &[&str], settings: &[(&str, &str)]) -> String {
    let free = [("HTTP_BIND", "127.0.0.1:0"), ("RTP_BIND", "127.0.0.1:0")];
    // Only the refusal itself is looked for, not what the log says on the way to it.
    let all: Vec<_> = free
        .iter()
        .chain(&[("RUST_LOG", "error")])
        .chain(settings)
        .copied()
        .collect();
    let (status, output) = Server::run_to_end(BINARY, arguments, &all, SOON).unwrap();
    // A panic would be 101, a signal (as of an abort in whisper.cpp) no code at all.
    assert_eq!(status.code(), Some(1), "{status}: {output}");
    for trace in [
        "panicked",
        "RUST_BACKTRACE",
        "backtrace",
        "src/",
        ".rs:",
        SECRET,
    ] {
        assert!(!output.contains(trace), "{trace} in: {output}");
    }
    assert!(output.starts_with("asterscribe: "), "{output}");
    assert_eq!(
        output.matches("asterscribe: ").count(),
        1,
        "more than one message: {output}"
    );
    output
}

/// Checks that the refusal is one line that begins with the setting's name.
#[track_caller]
fn refused(settings: &[(&str, &str)], name: &str) -> String {
    let output = refusal_of(&["serve"], settings);
    let told = output.strip_prefix("asterscribe: ").unwrap();
    let told = told.strip_prefix("a setting is wrong:\n  ").unwrap_or(told);
    assert_eq!(told.trim_end().lines().count(), 1, "{output}");
    assert!(told.starts_with(name), "{name} is not named: {output}");
    assert!(told.len() > name.len() + 20, "no reason: {output}");
    told.to_owned()
}

#[test]
fn ports_in_use() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = tcp.local_addr().unwrap().to_string();
    let told = refused(&[("HTTP_BIND", &address)], "HTTP_BIND");
    assert!(told.contains(&address) && told.contains("in use"), "{told}");
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = udp.local_addr().unwrap().to_string();
    let told = refused(&[("RTP_BIND", &address)], "RTP_BIND");
    assert!(told.contains(&address) && told.contains("in use"), "{told}");
}

fn file(dir: &TempDir, name: &str, content: &[u8]) -> String {
    let path = dir.path().join(name);
    fs::write(&path, content).unwrap();
    path.display().to_string()
}

#[test]
fn models_that_are_none() {
    let dir = tempfile::tempdir().unwrap();
    let demo = fs::read(fixture::path("model/asterscribe-demo-q5_0.bin")).unwrap();
    let mut damaged = demo.clone();
    // The header's n_audio_state: whisper.cpp would take its word for it.
    damaged[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
    let mut long = demo.clone();
    long.extend([0; 7]);
    for (name, content) in [
        ("empty.bin", &[][..]),
        ("text.bin", b"<html>404 Not Found</html>"),
        ("noise.bin", &[0xa5; 100_000]),
        ("cut-in-header.bin", &demo[..20]),
        ("cut-in-vocabulary.bin", &demo[..100_000]),
        ("cut-in-half.bin", &demo[..demo.len() / 2]),
        ("cut-by-a-byte.bin", &demo[..demo.len() - 1]),
        ("damaged.bin", &damaged),
        ("long.bin", &long),
    ] {
        let path = file(&dir, name, content);
        let told = refused(&[("WHISPER_MODEL", &path)], "WHISPER_MODEL: ");
        assert!(told.contains(name), "{told}");
    }
    let missing = dir.path().join("missing.bin").display().to_string();
    let told = refused(&[("WHISPER_MODEL", &missing)], "WHISPER_MODEL: ");
    assert!(told.contains("missing.bin"), "{told}");
    let folder = dir.path().display().to_string();
    refused(&[("WHISPER_MODEL", &folder)], "WHISPER_MODEL: ");
    let by_size = [
        ("WHISPER_MODEL_SIZE", "base.en"),
        ("WHISPER_MODELS_DIR", &folder),
    ];
    let told = refused(&by_size, "WHISPER_MODEL_SIZE: ");
    assert!(told.contains("ggml-base.en.bin"), "{told}");
}

#[test]
fn models_that_are_missing_are_told_with_the_command_that_fetches_them() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().display().to_string();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let pull = |name: &str| format!("`asterscribe models pull {name}`");
    for name in ["base.en", "large-v3-turbo-q5_0"] {
        let by_name = [
            ("WHISPER_MODELS_DIR", folder.as_str()),
            ("WHISPER_MODEL_SIZE", name),
        ];
        let told = refused(&by_name, "WHISPER_MODEL_SIZE: ");
        assert!(told.contains(&pull(name)), "{told}");
        let second = [
            ("WHISPER_MODELS_DIR", folder.as_str()),
            ("SECOND_PASS_MODEL", name),
        ];
        let spool = path("spool.db");
        let key = "00".repeat(32);
        let second = [&second[..], &[("SPOOL_PATH", &spool), ("SPOOL_KEY", &key)]].concat();
        let told = refused(&second, "SECOND_PASS_MODEL: ");
        assert!(told.contains(&pull(name)), "{told}");
    }
    for (file, name) in [
        ("ggml-small.bin", "small"),
        ("faster-whisper-tiny.en", "tiny.en"),
    ] {
        let told = refused(&[("WHISPER_MODEL", &path(file))], "WHISPER_MODEL: ");
        assert!(told.contains(&pull(name)), "{told}");
    }
    // One of nobody's publishing cannot be fetched.
    let told = refused(&[("WHISPER_MODEL", &path("ours.bin"))], "WHISPER_MODEL: ");
    assert!(!told.contains("pull"), "{told}");
}

#[test]
fn a_model_that_knows_english_only_where_another_language_is_spoken() {
    let dir = tempfile::tempdir().unwrap();
    let mut model = fs::read(fixture::path("model/asterscribe-demo-q5_0.bin")).unwrap();
    // Another weight, so that it is not the demo model any more.
    *model.last_mut().unwrap() ^= 1;
    let path = file(&dir, "ours.bin", &model);
    for language in ["de", "auto", "en,de"] {
        let settings = [
            ("WHISPER_MODEL", path.as_str()),
            ("WHISPER_LANGUAGE", language),
        ];
        let told = refused(&settings, "WHISPER_LANGUAGE=");
        assert!(
            told.contains("English only") && told.contains(language),
            "{told}"
        );
    }
}

#[test]
fn a_folder_of_sounds_that_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = dir.path().join("nope").display().to_string();
    let text = file(&dir, "a.wav", b"RIFF");
    for path in [nowhere, text] {
        let told = refused(&[("PLAY_DIR", &path)], "PLAY_DIR: ");
        assert!(told.contains(&path), "{told}");
    }
}

#[test]
fn placeholders_in_the_place_of_secrets() {
    let ari = [
        ("ASTERISK_ARI_URL", "http://127.0.0.1:9"),
        ("ASTERISK_ARI_USER", "someone"),
    ];
    for blank in ["…", "...", "<password>", "changeme"] {
        let settings = [&ari[..], &[("ASTERISK_ARI_PASSWORD", blank)]].concat();
        let told = refused(&settings, "ASTERISK_ARI_PASSWORD ");
        assert!(told.contains("placeholder"), "{told}");
    }
    refused(&[("API_AUTH_TOKEN", "................")], "API_AUTH_TOKEN ");
    refused(&[("REDIS_URL", "redis://:…@127.0.0.1:9/0")], "REDIS_URL ");
}

#[test]
fn values_that_are_none() {
    for (name, value) in [
        ("STT_QUEUE", "many"),
        ("STT_WORKERS", "0"),
        ("MAX_CONCURRENT_CALLS", "-1"),
        ("MEDIA_IDLE_SECS", "2.5"),
        ("RTP_THREADS", "65"),
        ("CALL_RETENTION_SECS", "99999999999999999999999"),
        ("HTTP_BIND", "localhost"),
        ("MEDIA_FORMAT", "mp3"),
        ("WHISPER_MODEL_SIZE", "huge"),
        ("LOG_FORMAT", "xml"),
    ] {
        let told = refused(&[(name, value)], &format!("{name}="));
        assert!(
            told.contains(value) && told.contains("environment"),
            "{told}"
        );
        assert!(
            told.contains("allowed:"),
            "it must say what is allowed: {told}"
        );
    }
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let settings = [
        ("STT_QUEUE", "many"),
        ("LOG_FORMAT", "xml"),
        ("RTP_BIND", "here"),
    ];
    let output = refusal_of(&["serve"], &settings);
    assert!(output.contains("3 settings are wrong:\n"), "{output}");
    for (name, _) in settings {
        assert_eq!(
            output.matches(&format!("\n  {name}=")).count(),
            1,
            "{output}"
        );
    }
}

#[test]
fn configuration_files_that_are_none() {
    let dir = tempfile::tempdir().unwrap();
    let refused_file = |content: &str| {
        let path = file(&dir, "asterscribe.toml", content.as_bytes());
        refusal_of(&["serve", "--config", &path], &[])
    };
    let told = refused_file("http_bnd = \"127.0.0.1:0\"\n");
    assert!(
        told.contains("http_bnd") && told.contains("nearest is http_bind"),
        "{told}"
    );
    let told = refused_file(&format!(
        "stt_queue = 5\nredis_url = \"redis://:{SECRET}@x\" \"\n"
    ));
    assert!(
        told.contains("asterscribe.toml") && told.contains("line 2"),
        "{told}"
    );
    let told = refused_file("stt_queue = \"many\"\n");
    assert!(
        told.contains("STT_QUEUE=") && told.contains("asterscribe.toml"),
        "{told}"
    );
    let told = refused_file("[stt]\nqueue = 1\n");
    assert!(told.contains("stt"), "{told}");
    let missing = dir.path().join("missing.toml").display().to_string();
    let told = refusal_of(&["serve", "--config", &missing], &[]);
    assert!(told.contains("missing.toml"), "{told}");
}

#[test]
fn an_api_open_to_everybody() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let told = refused(&[("HTTP_BIND", address)], "HTTP_BIND");
        assert!(told.contains("API_AUTH_TOKEN"), "{told}");
    }
    let told = refused(&[("CORS_ORIGINS", "*")], "CORS_ORIGINS");
    assert!(told.contains("API_AUTH_TOKEN"), "{told}");
    refused(&[("API_AUTH_TOKEN", SECRET)], "API_AUTH_TOKEN ");
    let spaced = format!("{SECRET} with spaces in it");
    refused(&[("API_AUTH_TOKEN", &spaced)], "API_AUTH_TOKEN ");
    let (one, other) = (
        format!("{SECRET}-0123456789"),
        format!("{SECRET}-9876543210"),
    );
    let both = [
        ("API_AUTH_TOKEN", one.as_str()),
        ("WEBSOCKET_AUTH_TOKEN", &other),
    ];
    refused(&both, "API_AUTH_TOKEN ");
}

#[test]
fn an_asterisk_without_its_password() {
    let url = ("ASTERISK_ARI_URL", "http://127.0.0.1:9");
    refused(
        &[url, ("ASTERISK_ARI_USER", "someone")],
        "ASTERISK_ARI_PASSWORD ",
    );
    refused(
        &[url, ("ASTERISK_ARI_PASSWORD", SECRET)],
        "ASTERISK_ARI_USER ",
    );
    let user = [
        ("ASTERISK_ARI_USER", "someone"),
        ("ASTERISK_ARI_PASSWORD", SECRET),
    ];
    let inside = format!("http://someone:{SECRET}@127.0.0.1:9");
    let settings: Vec<_> = user
        .into_iter()
        .chain([("ASTERISK_ARI_URL", inside.as_str())])
        .collect();
    refused(&settings, "ASTERISK_ARI_URL");
}

#[test]
fn databases_that_cannot_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().display().to_string();
    let nowhere: PathBuf = dir.path().join("no/such/folder/calls.db");
    let text = file(
        &dir,
        "notes.txt",
        "no database, but somebody's notes\n".repeat(99).as_bytes(),
    );
    for path in [
        &folder,
        &nowhere.display().to_string(),
        "/proc/calls.db",
        &text,
    ] {
        let told = refused(&[("SQLITE_PATH", path)], "SQLITE_PATH: ");
        assert!(told.contains(path), "{told}");
    }
    let notes = fs::read_to_string(&text).unwrap();
    assert!(
        notes.starts_with("no database"),
        "a file that is not ours must not be touched"
    );
}

#[test]
fn a_redis_that_does_not_let_us_in() {
    let Some(program) = available(find()) else {
        return;
    };
    let redis = Instance::start_with(program, false).unwrap();
    let mut connection = redis.connection().unwrap();
    let mut set = redis::cmd("CONFIG");
    set.arg("SET")
        .arg("requirepass")
        .arg("the right one")
        .exec(&mut connection)
        .unwrap();
    let address = redis.address();
    for url in [
        format!("redis://:{SECRET}@{address}/"),
        format!("redis://someone:{SECRET}@{address}/"),
        format!("redis://{address}/"),
    ] {
        let told = refused(&[("REDIS_URL", &url)], "REDIS_URL: ");
        assert!(told.contains(&address.to_string()), "{told}");
    }
    refused(
        &[("REDIS_URL", &format!("http://:{SECRET}@{address}/"))],
        "REDIS_URL ",
    );
    refused(
        &[(
            "REDIS_URL",
            &format!("redis://:{SECRET}@{address}/{SECRET}"),
        )],
        "REDIS_URL: ",
    );
}
