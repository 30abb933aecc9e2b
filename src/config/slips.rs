//! Slips of the pen: settings that are accepted, or would be, and are surely not meant.

use super::problem::shown;
use super::source::{SettingsLayer, edit_distance};
use super::table::{self, SETTINGS};

/// Names of our compose files, which the server does not read.
const OF_COMPOSE: [&str; 5] = [
    "HTTP_PORT",
    "MODELS_DIR",
    "REDIS_PASSWORD",
    "SIP_PHONE_PASSWORD",
    "COMPOSE_PROJECT_NAME",
];

/// Shorter names are like too many others.
const LEAST_CHARS: usize = 6;

/// Names of a layer that are no settings but nearly are, each in a sentence.
pub(super) fn misspelt(layer: &SettingsLayer, origin: &str) -> Vec<String> {
    let mut names: Vec<_> = layer.names().collect();
    names.sort_unstable();
    let told = names.into_iter().filter_map(|name| {
        let meant = meant(name)?;
        let name = shown(name);
        Some(format!(
            "{origin}: no setting is called {name}, and it has no effect; {meant} is meant, perhaps"
        ))
    });
    told.collect()
}

fn meant(name: &str) -> Option<&'static str> {
    let is_known = table::find(name).is_some() || OF_COMPOSE.contains(&name);
    if is_known || name.chars().count() < LEAST_CHARS {
        return None;
    }
    let plain = name.to_uppercase().replace('-', "_");
    let is_part = |known: &str| {
        let rest = known.strip_suffix(plain.as_str());
        plain.contains('_') && rest.is_some_and(|rest| rest.ends_with('_'))
    };
    let known = SETTINGS.iter().map(|setting| setting.name);
    let near = known.map(|known| match edit_distance(known, &plain) {
        far if far > 2 && is_part(known) => (2, known),
        distance => (distance, known),
    });
    let (distance, nearest) = near.min()?;
    (distance <= 2).then_some(nearest)
}

/// Whether a secret is what documentation writes in the place of one.
pub(super) fn is_placeholder(text: &str) -> bool {
    const WORDS: [&str; 16] = [
        "changeme",
        "changeit",
        "changethis",
        "placeholder",
        "replaceme",
        "setme",
        "setthis",
        "todo",
        "tbd",
        "yourpassword",
        "yourpasswordhere",
        "yoursecret",
        "yoursecrethere",
        "yourtoken",
        "yourtokenhere",
        "thetoken",
    ];
    let is_blank = |sign: char| "….*_-?#xX".contains(sign);
    let is_bracketed = text.starts_with('<') && text.ends_with('>');
    let plain: String = text.chars().filter(|sign| sign.is_alphanumeric()).collect();
    let plain = plain.to_lowercase();
    let is_blank = !text.is_empty() && text.chars().all(is_blank);
    is_blank || is_bracketed || WORDS.contains(&plain.as_str())
}

/// Warning about a filter of the log that cannot be meant so, and the filter that is used instead;
/// `None` if there is nothing wrong with it.
pub(super) fn log_filter(given: &str) -> Option<(String, String)> {
    let directives = given.split(',').map(str::trim);
    let directives: Vec<_> = directives.filter(|one| !one.is_empty()).collect();
    let (meant, odd): (Vec<_>, Vec<_>) = directives
        .iter()
        .copied()
        .partition(|one| is_level(one) || names_target(one));
    let concerns_us =
        |one: &&str| is_level(one) || one.starts_with("asterscribe") || one.starts_with('[');
    if odd.is_empty() && meant.iter().any(concerns_us) {
        return None;
    }
    let mut filter = meant.clone();
    if !meant.iter().any(concerns_us) {
        filter.insert(0, "info");
    }
    let filter = filter.join(",");
    let why = match odd.first() {
        Some(odd) => format!(
            "{} is neither a level (error, warn, info, debug, trace or off) nor a part of the program",
            shown(odd)
        ),
        None => "it leaves out everything of Asterscribe's".to_owned(),
    };
    let told = format!("RUST_LOG={}: {why}; {filter} is used", shown(given));
    Some((filter, told))
}

fn is_level(directive: &str) -> bool {
    let levels = ["off", "error", "warn", "info", "debug", "trace"];
    let level = directive.to_ascii_lowercase();
    levels.contains(&level.as_str()) || matches!(level.as_str(), "0" | "1" | "2" | "3" | "4" | "5")
}

/// Whether the directive is about a module: `name=level`, a span, or the name of a crate that logs.
fn names_target(directive: &str) -> bool {
    const CRATES: [&str; 10] = [
        "axum",
        "hyper",
        "hyper_util",
        "redis",
        "reqwest",
        "rustls",
        "tokio",
        "tokio_tungstenite",
        "tower_http",
        "tungstenite",
    ];
    let root = directive.split("::").next().unwrap_or_default();
    directive.contains(['=', '[']) || root.starts_with("asterscribe") || CRATES.contains(&root)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn a_name_that_is_nearly_a_setting_is_told_with_the_one_that_is_meant() {
        for (name, setting) in [
            ("API_AUTH_TOKN", "API_AUTH_TOKEN"),
            ("ASTERISK_ARI_PASSWROD", "ASTERISK_ARI_PASSWORD"),
            ("rtp_bind", "RTP_BIND"),
            ("HTTP-BIND", "HTTP_BIND"),
            ("WHISPER_MODELSIZE", "WHISPER_MODEL_SIZE"),
            ("NODENAME", "NODE_NAME"),
            ("ARI_PASSWORD", "ASTERISK_ARI_PASSWORD"),
            ("STT_WORKER", "STT_WORKERS"),
        ] {
            assert_eq!(meant(name), Some(setting), "{name}");
        }
        for name in [
            "RTP_BIND",
            "HTTP_PORT",
            "MODELS_DIR",
            "REDIS_PASSWORD",
            "SIP_PHONE_PASSWORD",
            "PATH",
            "HOME",
            "LANG",
            "HOSTNAME",
            "RUST_BACKTRACE",
            "RUSTUP_HOME",
            "PGPASSWORD",
            "SMTP_HOST",
            "TZ",
        ] {
            assert_eq!(meant(name), None, "{name}");
        }
        let values = [("STT_QEUE", "5"), ("STT_QUEUE", "5"), ("OTHER", "hush")];
        let values = values.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let layer = SettingsLayer::new(".env", HashMap::from(values));
        let told = misspelt(&layer, ".env");
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(
            told[0].contains("STT_QEUE") && told[0].contains("STT_QUEUE is meant"),
            "{told:?}"
        );
    }

    #[test]
    fn what_documentation_writes_in_the_place_of_a_secret_is_none() {
        for text in [
            "…",
            "...",
            "****",
            "xxxx",
            "<password>",
            "changeme",
            "CHANGE-ME",
            "change_this",
            "your-token-here",
            "Your Password",
            "TODO",
        ] {
            assert!(is_placeholder(text), "{text}");
        }
        for text in [
            "correct-horse-battery-staple",
            "x4x",
            "secret",
            "p$w #1",
            "kT7…9Qx",
            "0123456789abcdef",
        ] {
            assert!(!is_placeholder(text), "{text}");
        }
    }

    #[test]
    fn a_filter_that_would_silence_the_log_by_mistake_does_not() {
        for (given, used) in [
            ("verbose", "info"),
            ("warning", "info"),
            ("all", "info"),
            ("verbose,hyper=debug", "info,hyper=debug"),
            ("hyper=debug", "info,hyper=debug"),
            ("warn,everything", "warn"),
            ("asterscribe=debug,loud", "asterscribe=debug"),
        ] {
            let (filter, told) = log_filter(given).expect(given);
            assert_eq!(filter, used, "{given}");
            assert!(told.contains(given) && told.ends_with("is used"), "{told}");
        }
        for meant in [
            "info",
            "OFF",
            "3",
            "warn,asterscribe=trace",
            "asterscribe::serve",
            "asterscribe_ari=debug",
            "error,hyper",
            "[request]=debug",
        ] {
            assert_eq!(log_filter(meant), None, "{meant}");
        }
    }
}
