//! What `.env` holds reaches a container.

use super::*;

/// Settings that a compose file has for itself, or that mean nothing in a container.
const NOT_PASSED: [&str; 9] = [
    "ASTERISK_APP",
    "MODELS_ACFT_URL",
    "MODELS_HUB_URL",
    "MODELS_URL",
    "REDIS_URL",
    "RTP_THREADS",
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
