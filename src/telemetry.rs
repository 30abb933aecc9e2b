//! The log: one line per event on standard error, for people or as JSON.

mod repeated;

use std::io::{self, IsTerminal};

use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use self::repeated::UnrepeatedLayer;
use crate::config::{LogFormat, Settings};

/// Starts logging as the settings say. Done once, before anything else runs.
pub fn start(settings: &Settings) {
    // The settings have checked the directives.
    let filter = EnvFilter::new(&settings.log_filter);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    let without_secrets = filter_fn(holds_no_secret);
    match settings.log_format {
        LogFormat::Text => builder
            .map_event_format(UnrepeatedLayer::new)
            .finish()
            .with(without_secrets)
            .init(),
        LogFormat::Json => builder
            .json()
            .map_event_format(UnrepeatedLayer::new)
            .finish()
            .with(without_secrets)
            .init(),
    }
}

/// Whether an event can be written. At `trace`, libraries write what they send, passwords and
/// tokens among it; our own events do not.
fn holds_no_secret(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= Level::DEBUG || metadata.target().starts_with("asterscribe")
}
