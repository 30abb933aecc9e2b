//! Messages about wrong settings.

use std::fmt;

/// A wrong setting, or a file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingProblem {
    /// Name of the setting, or of the file that cannot be used.
    pub name: String,
    /// Value of the setting, escaped and shortened; `None` where it is absent or secret.
    pub value: Option<String>,
    /// Source of the value: `environment`, `.env`, the TOML file's name, `default`.
    pub origin: String,
    /// Message: in which way the value is wrong, and what is allowed.
    pub message: String,
}

/// Everything that is wrong with the settings. Never shows the value of a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct SettingsError {
    /// At least one problem.
    pub problems: Vec<SettingProblem>,
}

impl SettingsError {
    pub(super) fn new(problems: Vec<SettingProblem>) -> Self {
        Self { problems }
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.len() {
            1 => f.write_str("a setting is wrong:")?,
            n => write!(f, "{n} settings are wrong:")?,
        }
        for problem in &self.problems {
            write!(f, "\n  {problem}")?;
        }
        Ok(())
    }
}

impl fmt::Display for SettingProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            value,
            origin,
            message,
        } = self;
        match value {
            Some(value) => write!(f, "{name}={value} ({origin}): {message}"),
            None => write!(f, "{name} ({origin}): {message}"),
        }
    }
}

/// A value as it may be shown: one line, quoted, of bounded length, and without
/// the credentials that people put into URLs where they do not belong.
pub(super) fn shown(value: &str) -> String {
    const MAX_CHARS: usize = 80;
    let value = without_credentials(value);
    let mut short: String = value.chars().take(MAX_CHARS).collect();
    if short.len() < value.len() {
        short.push('…');
    }
    format!("{short:?}")
}

fn without_credentials(value: &str) -> String {
    match (value.split_once("://"), value.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://(hidden)@{host}"),
        _ => value.to_owned(),
    }
}
