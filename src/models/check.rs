//! Description of a model on the disk, for `asterscribe models check`.

use std::path::Path;

use asterscribe_recognition::ladder::ContextMargins;
use asterscribe_recognition::model::{
    AlignmentHeads, ModelError, ModelHeader, ModelSource, SpeechModel,
};

use super::catalogue::with_hash;
use super::list::{mib, push};
use super::order::PublishedFormat;

/// Describes a file or folder: which published model it is, its languages, and how the server uses
/// it.
///
/// # Errors
/// The server cannot use it.
pub fn check(path: &Path) -> Result<String, ModelError> {
    let model = SpeechModel::open(path)?;
    let mut text = String::new();
    let format = PublishedFormat::of(model.engine());
    let published = match with_hash(&model.sha256) {
        Some(published) => format!("the published {}", published.name),
        None if model.is_demo() => {
            "the demo model of this program: 120 words, no general recogniser".to_owned()
        }
        None if format == PublishedFormat::CTranslate2 => {
            "a folder, whose hashes only the hub knows; `models pull` compares them".to_owned()
        }
        None => "none of the published files".to_owned(),
    };
    let languages = if model.header.is_english() {
        "English only"
    } else {
        "several languages"
    };
    let margins = ContextMargins::of(&model);
    let window =
        format!("context fitted to the utterance and {margins} positions, then the whole window");
    let words = match &model.source {
        ModelSource::Folder(_) if !model.times_words_closely() => {
            "without times: config.json names no alignment heads"
        }
        ModelSource::Folder(_) | ModelSource::File { .. } | ModelSource::BuiltIn(_) => "with times",
    };
    let (size, kind) = (model.bytes, kind(&model));
    for (name, value) in [
        ("path", path.display().to_string()),
        ("form", format.to_string()),
        ("structure", "whole".to_owned()),
        ("size", format!("{size} bytes ({} MiB)", mib(size))),
        ("SHA-256", model.sha256.clone()),
        ("known as", published),
        ("kind", kind),
        ("precision", model.header.precision.to_owned()),
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

fn kind(model: &SpeechModel) -> String {
    let ModelHeader {
        n_audio_layer,
        n_audio_state,
        n_text_layer,
        ..
    } = model.header;
    let size = match model.alignment_heads() {
        AlignmentHeads::Published(name) => name.trim_end_matches(".en"),
        AlignmentHeads::Demo => "demo",
        AlignmentHeads::Unknown => "unusual",
    };
    format!(
        "{size}; encoder of {n_audio_layer} layers, {n_audio_state} wide; decoder of {n_text_layer} layers"
    )
}
