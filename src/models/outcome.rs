//! Report on a fetched model, for `asterscribe models pull`.

use std::path::Path;

use super::order::ModelOrder;
use super::pull::PullOutcome;
use crate::config::{ModelChoice, Settings};

/// Text on a fetched model: its path, its SHA-256, and how far it was checked.
pub fn told(name: &str, order: &ModelOrder, pulled: &PullOutcome, settings: &Settings) -> String {
    let path = match order {
        ModelOrder::File(wanted) => &wanted.path,
        ModelOrder::Folder(wanted) => &wanted.path,
    };
    let (model, how) = match pulled {
        PullOutcome::Present(model) => (model, "is here already"),
        PullOutcome::Fetched(model) | PullOutcome::FetchedFrom { model, .. } => {
            (model, "was fetched and checked")
        }
    };
    let checked = match (order, pulled) {
        (ModelOrder::Folder(wanted), PullOutcome::FetchedFrom { commit, .. }) => {
            let repository = &wanted.repository;
            format!("each of its files as {repository} has it at {commit}")
        }
        (ModelOrder::Folder(_), _) => {
            "its structure was checked, its files were not compared with the hub's".to_owned()
        }
        (ModelOrder::File(wanted), _) if wanted.sha256.is_some() => "as published".to_owned(),
        (ModelOrder::File(_), _) => {
            "no hash of it is known here: its structure was checked, and nothing else".to_owned()
        }
    };
    let (shown, sha256) = (path.display(), &model.sha256);
    let mut text = format!("{shown} {how}; SHA-256 {sha256}, {checked}\n");
    if let Some(first) = loaded_instead(name, path, settings) {
        text.push_str(&first);
    }
    text
}

/// Note that the name of the model loads its other form, which comes first; `None` if it loads this
/// one.
fn loaded_instead(name: &str, path: &Path, settings: &Settings) -> Option<String> {
    let choice = ModelChoice::named(&settings.models_dir, name)?;
    let loaded = choice.path().filter(|loaded| *loaded != path)?;
    Some(format!(
        "But {name} is loaded from {}, which comes first; move it away, or set WHISPER_MODEL={}\n",
        loaded.display(),
        path.display()
    ))
}
