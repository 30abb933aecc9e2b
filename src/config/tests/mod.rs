//! Which settings are read, which source wins, and the message for each wrong value.

mod compose;
mod files;
mod vad;
mod values;

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};

use super::*;

const TOKEN: &str = "0123456789abcdef";

fn load(values: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let map: HashMap<&str, &str> = values.iter().copied().collect();
    Settings::load(&[&map])
}

fn layer(label: &str, values: &[(&str, &str)]) -> SettingsLayer {
    let values = values
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    SettingsLayer::new(label, values.collect())
}

/// Names of the settings that are wrong.
fn wrong(values: &[(&str, &str)]) -> Vec<String> {
    let error = load(values).expect_err("these settings are wrong");
    error
        .problems
        .into_iter()
        .map(|problem| problem.name)
        .collect()
}

#[test]
fn secrets_are_not_printed() {
    let settings = load(&[("API_AUTH_TOKEN", TOKEN), ("REDIS_URL", "redis://:hush@r")]).unwrap();
    let printed = format!(
        "{settings:?} {} {}",
        settings.api_token.as_ref().unwrap(),
        settings.redis_url.as_ref().unwrap()
    );
    assert!(
        !printed.contains(TOKEN) && !printed.contains("hush"),
        "{printed}"
    );
}

/// A source that remembers which settings it was asked for.
struct Recorder(RefCell<BTreeSet<String>>);

impl SettingsSource for Recorder {
    fn label(&self) -> &str {
        "recorder"
    }

    fn get(&self, name: &str) -> Option<String> {
        self.0.borrow_mut().insert(name.to_owned());
        None
    }
}

#[test]
fn the_table_has_exactly_the_settings_that_are_read() {
    let recorder = Recorder(RefCell::default());
    Settings::load(&[&recorder]).unwrap();
    let mut read = recorder.0.into_inner();
    read.insert(table::CONFIG_FILE.to_owned());
    let documented: BTreeSet<String> = SETTINGS
        .iter()
        .map(|setting| setting.name.to_owned())
        .collect();
    assert_eq!(read, documented);
    assert_eq!(documented.len(), SETTINGS.len(), "no name twice");
}

#[test]
fn the_documentation_is_the_table() {
    let documented = include_str!("../../../docs/settings.md");
    assert!(
        documented == settings_markdown(),
        "docs/settings.md must be:\n{}",
        settings_markdown()
    );
}
