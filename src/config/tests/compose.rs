//! Test that the compose files hand the settings of `.env.example` to the container.

use super::*;

/// Settings that a compose file has for itself, or that mean nothing in a container.
const NOT_PASSED: [&str; 7] = [
    "MODELS_ACFT_URL",
    "MODELS_HUB_URL",
    "MODELS_URL",
    "REDIS_URL",
    "SQLITE_PATH",
    "STT_PROGRAM",
    "WHISPER_MODELS_DIR",
];

#[test]
fn every_setting_of_the_example_is_passed_on_by_the_compose_files() {
    let example = include_str!("../../../.env.example");
    let compose = [
        include_str!("../../../docker-compose.yml"),
        include_str!("../../../deploy/compose.own-asterisk.yml"),
    ];
    let names = example.lines().filter_map(|line| {
        let (name, _) = line.trim_start_matches('#').split_once('=')?;
        table::find(name)
    });
    let passed: Vec<_> = names
        .map(|setting| setting.name)
        .filter(|name| !NOT_PASSED.contains(name))
        .collect();
    assert!(passed.contains(&"SPOOL_KEY") && passed.len() > 20);
    for name in passed {
        for file in compose {
            let line = format!("\n      {name}: ");
            assert!(file.contains(&line), "{name} is missing");
        }
    }
}

#[test]
fn the_command_that_the_dockerfile_shows_starts_a_server() {
    let dockerfile = include_str!("../../../Dockerfile").replace("\\\n#", " ");
    let command = dockerfile.lines().find(|line| line.contains("docker run"));
    let words = command.unwrap().split_whitespace();
    let given: Vec<_> = words
        .filter_map(|word| word.split_once('='))
        .map(|(name, _)| {
            let value = match name {
                "ASTERISK_ARI_URL" => "http://127.0.0.1:8088",
                _ => TOKEN,
            };
            (name, value)
        })
        .collect();
    assert!(given.len() > 1, "{command:?}");
    let settings = load(&given).unwrap();
    assert!(settings.ari.is_some() && settings.api_token.is_some());
}

#[test]
fn how_rtp_comes_in_and_the_applications_name_can_be_set_under_compose() {
    let compose = [
        include_str!("../../../docker-compose.yml"),
        include_str!("../../../deploy/compose.own-asterisk.yml"),
    ];
    for name in ["ASTERISK_APP", "RTP_MODE", "RTP_PORTS", "RTP_THREADS"] {
        for file in compose {
            let line = format!("\n      {name}: ${{{name}:-}}\n");
            assert!(file.contains(&line), "{name} is missing");
        }
    }
}
