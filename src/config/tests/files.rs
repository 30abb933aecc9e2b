//! Which source wins, and what is said about files that cannot be read.

use asterscribe_codecs::MediaFormat;

use super::super::source::{dotenv, toml_file, toml_text};
use super::*;

#[test]
fn the_stronger_source_wins_and_an_empty_value_is_none() {
    let environment = layer(
        "environment",
        &[
            ("STT_QUEUE", "1"),
            ("STT_WORKERS", ""),
            ("MEDIA_FORMAT", "  "),
        ],
    );
    let dotenv = layer(
        ".env",
        &[
            ("STT_QUEUE", "2"),
            ("STT_WORKERS", "2"),
            ("RTP_THREADS", "x"),
        ],
    );
    let toml = layer(
        "a.toml",
        &[
            ("STT_QUEUE", "3"),
            ("STT_WORKERS", "3"),
            ("MEDIA_FORMAT", "alaw"),
        ],
    );
    let settings = Settings::load(&[&environment, &toml]).unwrap();
    assert_eq!(
        (
            settings.stt_queue,
            settings.stt_workers,
            settings.media_format
        ),
        (1, 3, MediaFormat::Alaw)
    );
    let error = Settings::load(&[&environment, &dotenv, &toml]).unwrap_err();
    assert_eq!(error.problems[0].origin, ".env");
}

#[test]
fn a_toml_file_is_read_by_lower_case_keys() {
    let text = "rtp_threads = 2\nlog_format = \"json\"\ncors_origins = [\"https://a.example\", \"https://b.example\"]\n";
    let (toml, problems) = toml_text("a.toml", text);
    assert!(problems.is_empty(), "{problems:?}");
    let settings = Settings::load(&[&toml]).unwrap();
    assert_eq!(
        (settings.rtp_threads, settings.log_format),
        (2, LogFormat::Json)
    );
    assert!(settings.cors.allows("https://b.example"));
}

#[test]
fn a_wrong_toml_file_is_told_by_key_and_line_without_its_secrets() {
    let (_, problems) = toml_text(
        "a.toml",
        "rpt_bind = \"x\"\nRTP_BIND = \"x\"\nrtp_threads = 1.5\nasterscribe_config = \"b\"\n[http]\nbind = 1\n",
    );
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 5, "{told:#?}");
    assert!(
        told.iter()
            .any(|text| text.contains("rpt_bind") && text.contains("nearest is rtp_bind")),
        "{told:#?}"
    );
    assert!(
        told.iter()
            .any(|text| text.contains("rtp_threads") && text.contains("1 to 64")),
        "{told:#?}"
    );
    let (_, problems) = toml_text(
        "a.toml",
        "log_format = \"text\"\napi_auth_token = \"hush\" hush\n",
    );
    assert!(problems[0].message.contains("line 2"), "{problems:?}");
    assert!(!problems[0].to_string().contains("hush"), "{problems:?}");
    let (_, problems) = toml_file(Path::new("no/such/file.toml"));
    assert!(
        problems[0]
            .to_string()
            .starts_with("no/such/file.toml (file): cannot be read"),
        "{problems:?}"
    );
}

#[test]
fn a_dotenv_file_is_read_and_its_errors_told_by_line() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(".env");
    assert!(dotenv(&path).1.is_empty(), "its absence is normal");
    std::fs::write(
        &path,
        "# comment\nSTT_QUEUE=9\nASTERISK_ARI_PASSWORD='p$w #1'\nexport LOG_FORMAT=json\n",
    )
    .unwrap();
    let (layer, problems) = dotenv(&path);
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(layer.get("ASTERISK_ARI_PASSWORD").unwrap(), "p$w #1");
    assert_eq!(Settings::load(&[&layer]).unwrap().stt_queue, 9);
    std::fs::write(
        &path,
        "STT_QUEUE=9\nAPI_AUTH_TOKEN=hush hush\nLOG_FORMAT=json\n",
    )
    .unwrap();
    let (layer, problems) = dotenv(&path);
    assert_eq!(problems.len(), 1);
    assert!(problems[0].message.starts_with("line 2 "), "{problems:?}");
    assert!(!problems[0].to_string().contains("hush"));
    assert_eq!(layer.get("LOG_FORMAT").unwrap(), "json", "the rest is read");
    std::fs::write(&path, b"A=\xff\n").unwrap();
    assert_eq!(dotenv(&path).1.len(), 1);
}

#[test]
fn the_named_file_is_read_and_its_absence_an_error() {
    let error = Settings::from_process(Some(Path::new("no/such/file.toml"))).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("no/such/file.toml (file): cannot be read"),
        "{error}"
    );
}
