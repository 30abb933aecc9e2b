//! What there is, in words.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::catalogue::{PUBLISHED, Published, with_hash};
use super::part::with_suffix;
use crate::config::{ModelChoice, Settings};
use crate::speech::ladder::ContextMargins;
use crate::speech::model::{AlignmentHeads, Header, Model, ModelError};

/// The published models, which of them are here, and which is configured.
pub fn list(settings: &Settings) -> String {
    let mut text = format!("{}\n", configured(&settings.model));
    let folder = settings.models_dir.display();
    push(&mut text, format_args!("Models in {folder}:\n\n"));
    let heading = ("NAME", "MiB", "HERE", "SHA-256");
    let (name, size, here, sha256) = heading;
    push(
        &mut text,
        format_args!("  {name:<20} {size:>6}  {here:<11} {sha256}\n"),
    );
    for model in PUBLISHED {
        let choice = ModelChoice::named(&settings.models_dir, model.name);
        let Some(path) = choice.as_ref().and_then(ModelChoice::path) else {
            continue;
        };
        let mark = if settings.model.path() == Some(path) {
            '*'
        } else {
            ' '
        };
        let (name, sha256) = (model.name, model.sha256);
        let (size, here) = (mib(model.bytes), here_is(model, path));
        push(
            &mut text,
            format_args!("{mark} {name:<20} {size:>6}  {here:<11} {sha256}\n"),
        );
    }
    text.push_str(
        "\nlarge is large-v3, turbo is large-v3-turbo. `models pull NAME` fetches one.\n",
    );
    text
}

fn configured(choice: &ModelChoice) -> String {
    match choice {
        ModelChoice::Demo => "Configured: the bundled demo model.".to_owned(),
        ModelChoice::File { path } => {
            format!("Configured: WHISPER_MODEL={}", path.display())
        }
        ModelChoice::Named { name, path } => format!(
            "Configured (*): WHISPER_MODEL_SIZE={name}, which is {}",
            path.display()
        ),
    }
}

/// By its size: whether it is the published file takes reading all of it, which `check` does.
fn here_is(model: &Published, path: &Path) -> String {
    let length = |path: &Path| fs::metadata(path).ok().map(|metadata| metadata.len());
    match (length(path), length(&with_suffix(path, ".part"))) {
        (Some(bytes), _) if bytes == model.bytes => "yes".to_owned(),
        (Some(_), _) => "wrong size".to_owned(),
        (None, Some(part)) => format!("{} % of it", part.saturating_mul(100) / model.bytes),
        (None, None) => "-".to_owned(),
    }
}

/// What a file is, and whether the server can use it.
///
/// # Errors
/// It cannot.
pub fn check(path: &Path) -> Result<String, ModelError> {
    let model = Model::open(path)?;
    let mut text = String::new();
    let published = match with_hash(&model.sha256) {
        Some(published) => format!("the published {}", published.name),
        None if model.is_demo() => {
            "the demo model of this program: 120 words, no general recogniser".to_owned()
        }
        None => "none of the published files".to_owned(),
    };
    let languages = if model.header.is_english() {
        "English only"
    } else {
        "several languages"
    };
    let margins = ContextMargins::of(&model);
    let margins: Vec<String> = margins.margins().iter().map(u16::to_string).collect();
    let window = format!(
        "context fitted to the utterance and {} positions, then the whole window",
        margins.join(", ")
    );
    let words = match model.alignment_heads() {
        AlignmentHeads::Unknown => "without times: nobody has looked for the alignment heads",
        AlignmentHeads::Demo | AlignmentHeads::Published(_) => "with times",
    };
    let (size, kind) = (model.bytes, kind(&model));
    for (name, value) in [
        ("file", path.display().to_string()),
        ("structure", "whole".to_owned()),
        ("size", format!("{size} bytes ({} MiB)", mib(size))),
        ("SHA-256", model.sha256.clone()),
        ("known as", published),
        ("kind", kind),
        ("languages", languages.to_owned()),
        ("encoder", window),
        ("engine", model.engine().name().to_owned()),
        ("words", words.to_owned()),
        ("revision", model.revision()),
    ] {
        push(&mut text, format_args!("{name:<10} {value}\n"));
    }
    Ok(text)
}

fn kind(model: &Model) -> String {
    let Header {
        n_audio_layer,
        n_audio_state,
        n_text_layer,
        precision,
        ..
    } = model.header;
    let size = match model.alignment_heads() {
        AlignmentHeads::Published(name) => name.trim_end_matches(".en"),
        AlignmentHeads::Demo => "demo",
        AlignmentHeads::Unknown => "unusual",
    };
    format!(
        "{size}, {precision}; encoder of {n_audio_layer} layers, {n_audio_state} wide; decoder of {n_text_layer} layers"
    )
}

/// To the nearest.
fn mib(bytes: u64) -> u64 {
    (bytes + (1 << 19)) >> 20
}

fn push(text: &mut String, line: std::fmt::Arguments<'_>) {
    text.write_fmt(line).expect("a String takes everything");
}
