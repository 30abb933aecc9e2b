//! Each setting's right and wrong values.

use asterscribe_call::CallOrigin;
use asterscribe_codecs::MediaFormat;

use super::*;

#[test]
fn nothing_set_gives_the_documented_defaults() {
    let settings = load(&[]).unwrap();
    assert_eq!(settings.http_bind, "127.0.0.1:8000".parse().unwrap());
    assert_eq!(settings.rtp_bind, "127.0.0.1:40000".parse().unwrap());
    assert_eq!((settings.rtp_advertise, settings.rtp_threads), (None, 1));
    assert_eq!(
        (settings.ari, settings.api_token, settings.redis_url),
        (None, None, None)
    );
    assert_eq!(settings.media_format, MediaFormat::Ulaw);
    assert_eq!(settings.originate_endpoint.endpoint("200"), "PJSIP/200");
    assert_eq!(
        (settings.model, settings.language),
        (ModelChoice::Demo, Language::Code("en"))
    );
    assert!(settings.stt_workers >= 1);
    assert_eq!(
        (settings.stt_queue, settings.max_concurrent_calls),
        (64, 100)
    );
    assert_eq!(settings.sqlite_path, PathBuf::from("asterscribe.db"));
    assert_eq!(settings.retention, RetentionTimes::default());
    assert_eq!(settings.cors, CorsOrigins::List(Vec::new()));
    assert_eq!(
        (settings.log_format, settings.log_filter.as_str()),
        (LogFormat::Text, "info")
    );
    assert_eq!(
        (settings.play_dir, settings.play_max_bytes),
        (None, 10 * 1024 * 1024)
    );
    assert!(settings.warnings.is_empty());
}

#[test]
fn everything_set_is_taken() {
    let settings = load(&[
        ("HTTP_BIND", "0.0.0.0:80"),
        ("API_AUTH_TOKEN", TOKEN),
        ("RTP_BIND", "[::]:5000"),
        ("RTP_ADVERTISE", "203.0.113.5:6000"),
        ("RTP_THREADS", "64"),
        ("RTP_MODE", "per-call"),
        ("RTP_PORTS", "42000-42999"),
        ("SQLITE_PATH", " /var/lib/a.db "),
        ("REDIS_URL", "rediss://:pw@redis:6380/1"),
        ("ASTERISK_ARI_URL", "http://pbx:8088/ari"),
        ("ASTERISK_ARI_USER", "u"),
        ("ASTERISK_ARI_PASSWORD", "p w"),
        ("ASTERISK_APP", "a-1_B"),
        ("ASTERISK_CA_FILE", "/etc/pki/pbx.crt"),
        ("MEDIA_FORMAT", "slin16"),
        ("ORIGINATE_ENDPOINT", "PJSIP/{destination}@trunk"),
        ("WHISPER_MODEL_SIZE", "turbo-q5_0"),
        ("WHISPER_MODELS_DIR", "/models"),
        ("MODELS_URL", "http://mirror:8080/whisper/"),
        ("MODELS_HUB_URL", "http://mirror:8080/hub"),
        ("MODELS_ACFT_URL", "http://mirror:8080/acft"),
        ("WHISPER_LANGUAGE", "auto"),
        ("STT_WORKERS", "3"),
        ("STT_QUEUE", "5"),
        ("MAX_CONCURRENT_CALLS", "7"),
        ("CORS_ORIGINS", "*"),
        ("CALL_RETENTION_SECS", "60"),
        ("TRANSCRIPT_RETENTION_SECS", "61"),
        ("PLAY_DIR", "/sounds"),
        ("PLAY_MAX_BYTES", "4096"),
        ("LOG_FORMAT", "json"),
        ("RUST_LOG", "warn,asterscribe=trace"),
    ])
    .unwrap();
    let advertise = AdvertisedAddress {
        ip: "203.0.113.5".parse().unwrap(),
        port: Some(6000),
    };
    assert_eq!(settings.rtp_advertise, Some(advertise));
    assert_eq!(settings.sqlite_path, PathBuf::from("/var/lib/a.db"));
    let ari = settings.ari.unwrap();
    assert_eq!(
        (ari.url.as_str(), ari.user.as_str()),
        ("http://pbx:8088/ari", "u")
    );
    assert_eq!((ari.password.expose(), ari.app.as_str()), ("p w", "a-1_B"));
    assert_eq!(
        settings.originate_endpoint.endpoint("+49"),
        "PJSIP/+49@trunk"
    );
    assert_eq!(
        settings.model.path(),
        Some(Path::new("/models/ggml-large-v3-turbo-q5_0.bin"))
    );
    assert_eq!(settings.models_dir, Path::new("/models"));
    assert_eq!(settings.models_url.as_str(), "http://mirror:8080/whisper/");
    assert_eq!(settings.models_hub_url.as_str(), "http://mirror:8080/hub");
    assert_eq!(settings.models_acft_url.as_str(), "http://mirror:8080/acft");
    assert_eq!(
        (settings.language, settings.media_format.name()),
        (Language::Auto, "slin16")
    );
    assert_eq!(
        (
            settings.stt_workers,
            settings.stt_queue,
            settings.max_concurrent_calls
        ),
        (3, 5, 7)
    );
    assert_eq!(
        (settings.cors, settings.log_format),
        (CorsOrigins::Any, LogFormat::Json)
    );
    assert_eq!(
        (settings.play_dir, settings.play_max_bytes),
        (Some(PathBuf::from("/sounds")), 4096)
    );
    assert_eq!(settings.retention.transcript, Duration::from_secs(61));
    assert_eq!(
        settings.redis_url.unwrap().expose(),
        "rediss://:pw@redis:6380/1"
    );
}

#[test]
fn each_wrong_value_is_told_with_its_name() {
    let cases: &[(&str, &[&str])] = &[
        (
            "HTTP_BIND",
            &[
                "8000",
                "localhost:8000",
                "127.0.0.1",
                "127.0.0.1:65536",
                "224.0.0.1:80",
                "0.0.0.0:8000",
                "192.0.2.1:80",
                "[::]:80",
            ],
        ),
        (
            "API_AUTH_TOKEN",
            &["hunter2", "has spaces in it really", "ümlaut-ümlaut-ümlaut"],
        ),
        ("WEBSOCKET_AUTH_TOKEN", &["a b", "é"]),
        (
            "CORS_ORIGINS",
            &[
                "*",
                "null",
                "example.org",
                "https://a.example/path",
                "https://a.example?x",
                "ftp://a.example",
                "https://u:p@a.example",
                "https://a.example,*",
                "file:///x",
                "https://",
            ],
        ),
        ("RTP_BIND", &["40000", "239.1.1.1:40000", ":40000"]),
        (
            "RTP_ADVERTISE",
            &[
                "host",
                "0.0.0.0",
                "[::]:5",
                "224.0.0.1",
                "192.0.2.1:0",
                "192.0.2.1:70000",
            ],
        ),
        ("RTP_THREADS", &["0", "65", "-1", "1.5", "many"]),
        ("RTP_MODE", &["Shared", "per_call", "call"]),
        (
            "RTP_PORTS",
            &[
                "42000",
                "42000-",
                "42010-42000",
                "42001-42001",
                "0-100",
                "42000-70000",
            ],
        ),
        (
            "ASTERISK_APP",
            &["a b", "a/b", "ä", "abcdefghijklmnopqrstuvwxyz0123456"],
        ),
        ("MEDIA_FORMAT", &["g729", "ULAW", "g711"]),
        (
            "ORIGINATE_ENDPOINT",
            &[
                "PJSIP/200",
                "PJSIP/{destination}{destination}",
                "{destination}",
                "/{destination}",
                "PJSIP/{destination} x",
                "PJSIP/{destination}@{trunk}",
                "PJ SIP/{destination}",
            ],
        ),
        (
            "WHISPER_MODEL_SIZE",
            &[
                "huge",
                "base.de",
                "../../etc/passwd",
                "tiny-q4_0",
                "Base",
                "medium-acft",
            ],
        ),
        (
            "MODELS_URL",
            &["ftp://a/b", "a", "https://u:p@a/", "https://a/?b"],
        ),
        ("MODELS_ACFT_URL", &["a", "https://u:p@a/"]),
        (
            "MODELS_HUB_URL",
            &["ssh://a/b", "huggingface.co", "http://u@a/", "https://a/#b"],
        ),
        ("WHISPER_LANGUAGE", &["english", "EN", "xx", "en-US"]),
        ("STT_WORKERS", &["0", "257"]),
        ("STT_QUEUE", &["0", "100001"]),
        ("VAD_ENTER_SCORE", &["0", "0.04", "0.96", "NaN", "50 %"]),
        ("VAD_LEAVE_SCORE", &["-1", "inf", "0.51"]),
        ("VAD_PRE_ROLL_MS", &["-1", "1001", "0.5"]),
        ("VAD_HANG_OVER_MS", &["0", "99", "5001", "500ms"]),
        ("VAD_POST_ROLL_MS", &["-1", "501", "5001"]),
        ("VAD_MIN_SPEECH_MS", &["0", "15", "2001"]),
        ("VAD_MAX_UTTERANCE_SECS", &["4", "30"]),
        ("VAD_SOUNDS", &["yes", "1"]),
        ("PLAY_MAX_BYTES", &["0", "1023", "1073741825", "10M"]),
        (
            "MAX_CONCURRENT_CALLS",
            &["0", "100001", "99999999999999999999"],
        ),
        ("CALL_RETENTION_SECS", &["0", "-5", "315360001"]),
        ("TRANSCRIPT_RETENTION_SECS", &["0", "1d"]),
        (
            "REDIS_URL",
            &["localhost:6379", "http://redis", "redis://?", "redis:///0"],
        ),
        ("LOG_FORMAT", &["xml", "JSON"]),
        ("RUST_LOG", &["asterscribe=loud", "a=b=c"]),
    ];
    for (name, values) in cases {
        for value in *values {
            let error = load(&[(name, value)]).expect_err(&format!("{name}={value}"));
            assert_eq!(error.problems.len(), 1, "{error}");
            let problem = &error.problems[0];
            assert_eq!(
                (problem.name.as_str(), problem.origin.as_str()),
                (*name, "given"),
                "{error}"
            );
            let secret = table::find(name).unwrap().secret;
            assert_eq!(problem.value.is_none(), secret, "{error}");
            assert!(!secret || !error.to_string().contains(value), "{error}");
        }
    }
}

#[test]
fn asterisk_is_configured_whole_or_not_at_all() {
    let url = ("ASTERISK_ARI_URL", "http://127.0.0.1:8088");
    let (user, password) = (("ASTERISK_ARI_USER", "u"), ("ASTERISK_ARI_PASSWORD", "p"));
    assert_eq!(
        wrong(&[url]),
        ["ASTERISK_ARI_USER", "ASTERISK_ARI_PASSWORD"]
    );
    assert_eq!(wrong(&[url, user]), ["ASTERISK_ARI_PASSWORD"]);
    assert_eq!(
        wrong(&[url, user, ("ASTERISK_ARI_PASSWORD", "  ")]),
        ["ASTERISK_ARI_PASSWORD"]
    );
    assert_eq!(load(&[user, password]).unwrap().ari, None);
    assert!(load(&[url, user, password]).unwrap().ari.is_some());
    for bad in [
        "127.0.0.1:8088",
        "ws://pbx:8088",
        "http://",
        "http://pbx?x=1",
        "http://pbx#x",
        "http://u:hush@pbx",
    ] {
        let error = load(&[("ASTERISK_ARI_URL", bad), user, password]).expect_err(bad);
        assert_eq!(error.problems[0].name, "ASTERISK_ARI_URL");
        assert!(!error.to_string().contains("hush"), "{error}");
    }
    assert_eq!(
        wrong(&[url, password, ("ASTERISK_ARI_USER", "a:b")]),
        ["ASTERISK_ARI_USER"]
    );
}

#[test]
fn all_problems_are_told_together() {
    let values = [
        ("RTP_THREADS", "0"),
        ("MEDIA_FORMAT", "mp3"),
        ("HTTP_BIND", "0.0.0.0:80"),
        ("API_AUTH_TOKEN", "hunter2"),
    ];
    let error = load(&values).unwrap_err();
    let text = error.to_string();
    // Not HTTP_BIND: there is a token, a wrong one, and saying "no token" would mislead.
    assert_eq!(error.problems.len(), 3, "{text}");
    assert!(text.starts_with("3 settings are wrong:"), "{text}");
    assert!(
        text.contains("RTP_THREADS=\"0\" (given): too small; allowed: a whole number from 1 to 64"),
        "{text}"
    );
    assert!(text.contains("MEDIA_FORMAT=\"mp3\" (given)"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn the_api_is_not_opened_to_others_without_a_token() {
    assert_eq!(wrong(&[("HTTP_BIND", "0.0.0.0:8000")]), ["HTTP_BIND"]);
    for token in ["API_AUTH_TOKEN", "WEBSOCKET_AUTH_TOKEN"] {
        assert!(load(&[("HTTP_BIND", "0.0.0.0:8000"), (token, TOKEN)]).is_ok());
        assert!(load(&[("CORS_ORIGINS", "*"), (token, TOKEN)]).is_ok());
    }
    for loopback in ["127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        assert!(load(&[("HTTP_BIND", loopback)]).is_ok(), "{loopback}");
    }
}

#[test]
fn the_old_name_of_the_token_keeps_working() {
    let old = load(&[("WEBSOCKET_AUTH_TOKEN", "short")]).unwrap();
    assert_eq!(old.api_token, Some(Secret::new("short")));
    assert!(old.warnings[0].contains("shorter") && !old.warnings[0].contains("\"short\""));
    assert!(
        load(&[("WEBSOCKET_AUTH_TOKEN", TOKEN), ("API_AUTH_TOKEN", TOKEN)])
            .unwrap()
            .warnings
            .is_empty()
    );
    assert_eq!(
        wrong(&[
            ("WEBSOCKET_AUTH_TOKEN", "another"),
            ("API_AUTH_TOKEN", TOKEN)
        ]),
        ["API_AUTH_TOKEN"]
    );
}

#[test]
fn ports_of_legs_are_not_those_of_threads() {
    let settings = load(&[("RTP_MODE", "per-call"), ("RTP_PORTS", "42001 - 42005")]).unwrap();
    let ports: Vec<u16> = settings.rtp_own_ports.unwrap().even().collect();
    assert_eq!(ports, [42_002, 42_004]);
    let apart = [("RTP_BIND", "127.0.0.1:41999"), ("RTP_THREADS", "2")];
    assert_eq!(load(&apart).unwrap().rtp_own_ports, None);
    let [bind, threads] = apart;
    assert_eq!(
        wrong(&[bind, threads, ("RTP_MODE", "per-call")]),
        ["RTP_PORTS"]
    );
}

#[test]
fn ports_of_all_threads_must_exist() {
    assert!(load(&[("RTP_BIND", "127.0.0.1:65534"), ("RTP_THREADS", "2")]).is_ok());
    assert!(load(&[("RTP_BIND", "127.0.0.1:0"), ("RTP_THREADS", "64")]).is_ok());
    assert_eq!(
        wrong(&[("RTP_BIND", "127.0.0.1:65534"), ("RTP_THREADS", "3")]),
        ["RTP_BIND"]
    );
    assert_eq!(
        wrong(&[("RTP_ADVERTISE", "192.0.2.1:65535"), ("RTP_THREADS", "2")]),
        ["RTP_ADVERTISE"]
    );
}

#[test]
fn origins_are_kept_as_browsers_send_them() {
    let cors = load(&[(
        "CORS_ORIGINS",
        " https://Desk.Example:443/ , http://localhost:3000,",
    )])
    .unwrap()
    .cors;
    let expected = [
        "https://desk.example".to_owned(),
        "http://localhost:3000".to_owned(),
    ];
    assert_eq!(cors, CorsOrigins::List(expected.into()));
    assert!(cors.allows("https://desk.example") && !cors.allows("https://desk.example.evil"));
}

#[test]
fn calls_are_captured_only_where_a_folder_is_named() {
    assert_eq!(load(&[]).unwrap().capture, None);
    let settings = load(&[("CAPTURE_DIR", "/var/captures")]).unwrap();
    let capture = settings.capture.unwrap();
    assert_eq!(capture.dir, PathBuf::from("/var/captures"));
    assert!(capture.rule.is_off());
    assert_eq!(
        (capture.max_bytes, capture.total_bytes),
        (64 << 20, 1 << 30)
    );

    let rule = |text: &str| {
        let settings = load(&[("CAPTURE_DIR", "c"), ("CAPTURE_RULE", text)]).unwrap();
        settings.capture.unwrap().rule
    };
    let all = [
        CallOrigin::Stasis,
        CallOrigin::Initiated,
        CallOrigin::Tap,
        CallOrigin::Media,
    ];
    assert!(all.iter().all(|origin| rule("all").takes(*origin)));
    assert!(!rule("off").takes(CallOrigin::Tap));
    let some = rule("tap, media");
    assert_eq!(
        all.map(|origin| some.takes(origin)),
        [false, false, true, true]
    );

    assert_eq!(wrong(&[("CAPTURE_RULE", "all")]), ["CAPTURE_DIR"]);
    for (name, value) in [
        ("CAPTURE_RULE", "taps"),
        ("CAPTURE_RULE", "tap,"),
        ("CAPTURE_RULE", "all,tap"),
        ("CAPTURE_MAX_BYTES", "262143"),
        ("CAPTURE_MAX_BYTES", "64M"),
        ("CAPTURE_TOTAL_BYTES", "262144"),
    ] {
        assert_eq!(
            wrong(&[("CAPTURE_DIR", "c"), (name, value)]),
            [name],
            "{value}"
        );
    }
}

#[test]
fn models_by_path_and_by_name() {
    let choice = |values: &[(&str, &str)]| load(values).unwrap().model;
    assert_eq!(
        choice(&[("WHISPER_MODEL", "m.bin")]),
        ModelChoice::File {
            path: "m.bin".into()
        }
    );
    for (name, file) in [
        ("tiny.en", "ggml-tiny.en.bin"),
        ("base", "ggml-base.bin"),
        ("large", "ggml-large-v3.bin"),
        ("large-v2", "ggml-large-v2.bin"),
        ("base.en-q8_0", "ggml-base.en-q8_0.bin"),
    ] {
        assert_eq!(
            choice(&[("WHISPER_MODEL_SIZE", name)]).path(),
            Some(Path::new("models").join(file).as_path())
        );
    }
    let (file, size) = (("WHISPER_MODEL", "m.bin"), ("WHISPER_MODEL_SIZE", "base"));
    let both = load(&[file, size]).unwrap();
    assert_eq!(
        both.model,
        ModelChoice::File {
            path: "m.bin".into()
        }
    );
    assert_eq!(both.warnings.len(), 1);
    let stronger =
        Settings::load(&[&layer("environment", &[size]), &layer("file", &[file])]).unwrap();
    assert_eq!(
        stronger.model.path(),
        Some(Path::new("models/ggml-base.bin"))
    );
    for language in ["de", "auto"] {
        let english_only = [
            ("WHISPER_MODEL_SIZE", "small.en"),
            ("WHISPER_LANGUAGE", language),
        ];
        assert_eq!(wrong(&english_only), ["WHISPER_LANGUAGE"]);
    }
}
