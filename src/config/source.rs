//! Where values come from. Each source is read once, whole, into a [`SettingsLayer`].

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;

use super::problem::{SettingProblem, shown};
use super::table::{self, SETTINGS, Setting};

/// A source of settings.
pub trait SettingsSource {
    /// Name of the source in error messages, such as `environment`.
    fn label(&self) -> &str;
    /// The raw value of the setting of that (upper-case) name.
    fn get(&self, name: &str) -> Option<String>;
}

/// A source that has been read.
#[derive(Clone)]
pub struct SettingsLayer {
    label: String,
    values: HashMap<String, String>,
}

impl SettingsLayer {
    /// A layer of these values, called `label` in messages.
    pub fn new(label: impl Into<String>, values: HashMap<String, String>) -> Self {
        Self {
            label: label.into(),
            values,
        }
    }

    /// The names that have a value.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let set = |(_, value): &(&String, &String)| !value.trim().is_empty();
        self.values
            .iter()
            .filter(set)
            .map(|(name, _)| name.as_str())
    }
}

impl SettingsSource for SettingsLayer {
    fn label(&self) -> &str {
        &self.label
    }

    fn get(&self, name: &str) -> Option<String> {
        self.values
            .get(name)
            .filter(|value| !value.trim().is_empty())
            .cloned()
    }
}

/// For tests and for embedding: no file, no environment.
impl SettingsSource for HashMap<&str, &str> {
    fn label(&self) -> &str {
        "given"
    }

    fn get(&self, name: &str) -> Option<String> {
        HashMap::get(self, name)
            .filter(|value| !value.trim().is_empty())
            .map(|value| (*value).to_owned())
    }
}

/// The process environment. Only names in the table are looked at.
pub(super) fn environment() -> (SettingsLayer, Vec<SettingProblem>) {
    const LABEL: &str = "environment";
    let mut values = HashMap::new();
    let mut problems = Vec::new();
    // `vars_os`, not `vars`: the latter panics on a value that is not UTF-8.
    for (name, value) in std::env::vars_os() {
        let Some(setting) = name.to_str().and_then(table::find) else {
            continue;
        };
        match value.into_string() {
            Ok(value) => {
                values.insert(setting.name.to_owned(), value);
            }
            Err(_) => problems.push(problem(setting.name, LABEL, "the value is not UTF-8")),
        }
    }
    (SettingsLayer::new(LABEL, values), problems)
}

/// A `.env` file; its absence is normal. Values are returned, not planted into the environment.
pub(super) fn dotenv(path: &Path) -> (SettingsLayer, Vec<SettingProblem>) {
    let label = path.display().to_string();
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => {
            let told = problem(&label, "file", format!("cannot be read: {error}"));
            return (SettingsLayer::new(label, HashMap::new()), vec![told]);
        }
    };

    let mut values = HashMap::new();
    let mut problems = Vec::new();
    for entry in dotenvy::from_read_iter(text.as_bytes()) {
        match entry {
            Ok((name, value)) => {
                values.insert(name, value);
            }
            Err(error) => problems.push(problem(&label, "file", dotenv_message(&text, &error))),
        }
    }
    (SettingsLayer::new(label, values), problems)
}

/// dotenvy's own text quotes the line, or its end, which may hold a password.
fn dotenv_message(text: &str, error: &dotenvy::Error) -> String {
    let dotenvy::Error::LineParse(quoted, _) = error else {
        return error.to_string();
    };
    let quoted = quoted.lines().next().unwrap_or_default();
    let place = text
        .lines()
        .position(|line| line.trim_end().ends_with(quoted.trim_end()));
    let place = place.map_or_else(
        || "a line".to_owned(),
        |index| format!("line {}", index + 1),
    );
    format!("{place} is not NAME=value (put values with spaces, # or $ in single quotes)")
}

/// The TOML file: `name = value` on the top level, names in lower case.
pub(super) fn toml_file(path: &Path) -> (SettingsLayer, Vec<SettingProblem>) {
    let label = path.display().to_string();
    match fs::read_to_string(path) {
        Ok(text) => toml_text(&label, &text),
        Err(error) => {
            let told = problem(&label, "file", format!("cannot be read: {error}"));
            (SettingsLayer::new(label, HashMap::new()), vec![told])
        }
    }
}

pub(super) fn toml_text(label: &str, text: &str) -> (SettingsLayer, Vec<SettingProblem>) {
    let mut values = HashMap::new();
    let mut problems = Vec::new();
    match text.parse::<toml::Table>() {
        Ok(table) => {
            for (key, value) in table {
                match toml_entry(&key, &value) {
                    Ok((setting, value)) => {
                        values.insert(setting.name.to_owned(), value);
                    }
                    Err(message) => problems.push(problem(&key, label, message)),
                }
            }
        }
        Err(error) => {
            // Not the error's own display: that quotes the line, which may hold a password.
            let start = error.span().map_or(0, |span| span.start);
            let line = text
                .bytes()
                .take(start)
                .filter(|byte| *byte == b'\n')
                .count()
                + 1;
            problems.push(problem(
                label,
                "file",
                format!("line {line} is not TOML: {}", error.message()),
            ));
        }
    }
    (SettingsLayer::new(label, values), problems)
}

fn toml_entry(key: &str, value: &toml::Value) -> Result<(&'static Setting, String), String> {
    let known = |setting: &&Setting| {
        setting.name.to_lowercase() == key && setting.name != table::CONFIG_FILE
    };
    let setting = SETTINGS
        .iter()
        .find(known)
        .ok_or_else(|| unknown_key(key))?;
    let text = toml_scalar(value).or_else(|| {
        let list = value.as_array()?;
        Some(
            list.iter()
                .map(toml_scalar)
                .collect::<Option<Vec<_>>>()?
                .join(","),
        )
    });
    match text {
        Some(text) => Ok((setting, text)),
        None => Err(format!(
            "a {} cannot be used here; allowed: {}",
            value.type_str(),
            setting.allowed
        )),
    }
}

fn toml_scalar(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        _ => None,
    }
}

fn unknown_key(key: &str) -> String {
    let names = SETTINGS
        .iter()
        .map(|setting| setting.name)
        .filter(|name| *name != table::CONFIG_FILE);
    let nearest = names
        .map(str::to_lowercase)
        .min_by_key(|name| edit_distance(name, &key.to_lowercase()));
    match nearest {
        Some(nearest) => format!(
            "no setting is called {}; the nearest is {nearest}",
            shown(key)
        ),
        None => format!("no setting is called {}", shown(key)),
    }
}

/// The names in the process environment, of whatever programs.
pub(super) fn environment_names() -> SettingsLayer {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let names = names.map(|name| (name, "set".to_owned()));
    SettingsLayer::new("environment", names.collect())
}

/// Levenshtein's distance. `b` comes from a file: only its first 64 characters count.
pub(super) fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

fn problem(name: &str, origin: &str, message: impl Into<String>) -> SettingProblem {
    SettingProblem {
        name: name.to_owned(),
        value: None,
        origin: origin.to_owned(),
        message: message.into(),
    }
}

/// The host's name, or a stand-in where the system does not tell.
pub(super) fn host_name() -> String {
    let told = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    super::parse::node_name(told.trim())
        .ok()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "asterscribe".to_owned())
}
