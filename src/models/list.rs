//! List of models, for `asterscribe models list`.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use asterscribe_recognition::model::ModelCandidate;

use super::catalogue::{ACFT, FOLDERS, PUBLISHED, PublishedModel};
use super::order::{PublishedFormat, folder_stem};
use super::part::with_suffix;
use super::pull::stem;
use crate::config::{ModelChoice, Settings};

/// Finds out how many calls of two parties this machine holds with a model, or why that is not known.
pub type CallsHeld<'a> = &'a dyn Fn(&Path) -> Result<f64, String>;

/// The models that are here, those that are published, and which is configured; with what each costs,
/// where that is to be found out.
pub fn list(settings: &Settings, calls_held: Option<CallsHeld<'_>>) -> String {
    let mut text = format!("{}\n", configured(&settings.model));
    let folder = settings.models_dir.display();
    push(&mut text, format_args!("\nModels in {folder}:\n\n"));
    match here(settings, calls_held) {
        Ok(models) if models.is_empty() => text.push_str("  none\n"),
        Ok(models) => {
            text.push_str("  NAME                 FORM                  MiB  CALLS  PRECISION\n");
            text.extend(models);
        }
        Err(error) => push(&mut text, format_args!("  cannot be read: {error}\n")),
    }
    text.push_str("\nPublished as ggml files, for whisper.cpp:\n\n");
    text.push_str("  NAME                    MiB  HERE        SHA-256\n");
    for model in PUBLISHED {
        let Some(path) = ModelChoice::ggml_file(&settings.models_dir, model.name) else {
            continue;
        };
        let (name, sha256) = (model.name, model.sha256);
        let (mark, size) = (mark(settings, &path), mib(model.bytes));
        let here = file_here(model, &path);
        push(
            &mut text,
            format_args!("{mark} {name:<20} {size:>6}  {here:<11} {sha256}\n"),
        );
    }
    text.push_str("\nPublished as CTranslate2 folders, whose sizes and hashes the hub tells:\n\n");
    text.push_str("  NAME                         HERE        REPOSITORY\n");
    for model in FOLDERS {
        let Some(path) = ModelChoice::ctranslate2_folder(&settings.models_dir, model.name) else {
            continue;
        };
        let (mark, here) = (mark(settings, &path), is_here(&path));
        let (name, repository) = (model.name, model.repository);
        push(
            &mut text,
            format_args!("{mark} {name:<27}  {here:<11} {repository}\n"),
        );
    }
    text.push_str(
        "\nPublished by FUTO as ggml files of 8 bits, for short contexts; sizes and hashes are not known:\n\n",
    );
    text.push_str("  NAME                         HERE        FILE\n");
    for model in ACFT {
        let Some(path) = ModelChoice::ggml_file(&settings.models_dir, model.name) else {
            continue;
        };
        let (mark, here) = (mark(settings, &path), is_here(&path));
        let (name, file) = (model.name, model.file);
        push(
            &mut text,
            format_args!("{mark} {name:<27}  {here:<11} {file}\n"),
        );
    }
    let cheapest = PublishedFormat::cheapest_here();
    push(
        &mut text,
        format_args!(
            "\nCALLS of two parties are what this machine holds with a model; `models list --cost` finds that out, a few\n\
             seconds a model, minutes with the largest. large is large-v3, turbo is large-v3-turbo. `models pull NAME` fetches one, by default as a\n\
             {cheapest}: that costs the least here. Where a name has both, the folder is loaded.\n"
        ),
    );
    text
}

/// A line for each model of the folder that has a name which the settings know.
fn here(settings: &Settings, calls_held: Option<CallsHeld<'_>>) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(&settings.models_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut models = Vec::new();
    for entry in entries {
        let file = entry?.file_name();
        let Some(file) = file.to_str() else { continue };
        let (form, name) = match (stem(file), folder_stem(file)) {
            (Some(name), _) => (PublishedFormat::Ggml, name),
            (None, Some(name)) => (PublishedFormat::CTranslate2, name),
            (None, None) => continue,
        };
        if ModelChoice::named(&settings.models_dir, name).is_some() {
            models.push((name.to_owned(), form, settings.models_dir.join(file)));
        }
    }
    models.sort_by(|one, other| (&one.0, &one.2).cmp(&(&other.0, &other.2)));
    let line = |(name, form, path): &(String, PublishedFormat, PathBuf)| {
        line(settings, name, *form, path, calls_held)
    };
    Ok(models.iter().map(line).collect())
}

fn line(
    settings: &Settings,
    name: &str,
    form: PublishedFormat,
    path: &Path,
    calls_held: Option<CallsHeld<'_>>,
) -> String {
    let mark = mark(settings, path);
    let (size, calls, precision) = match ModelCandidate::open(path) {
        Ok(model) => {
            let precision = model.header().precision.to_owned();
            let (calls, why) = match calls_held.map(|calls_held| calls_held(path)) {
                None => ("-".to_owned(), String::new()),
                // Fewer than one is told as such.
                Some(Ok(calls)) if calls < 1.0 => (format!("{calls:.1}"), String::new()),
                Some(Ok(calls)) => (format!("{calls:.0}"), String::new()),
                Some(Err(error)) => ("?".to_owned(), format!(", {error}")),
            };
            (mib(model.bytes()).to_string(), calls, precision + &why)
        }
        Err(error) => (
            "?".to_owned(),
            "-".to_owned(),
            format!("of no use: {error}"),
        ),
    };
    let form = form.to_string();
    format!("{mark} {name:<20} {form:<18} {size:>6} {calls:>6}  {precision}\n")
}

fn mark(settings: &Settings, path: &Path) -> char {
    if settings.model.path() == Some(path) {
        '*'
    } else {
        ' '
    }
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

/// Note on a file by its size alone: whether it is the published one takes reading all of it, which
/// `check` does.
fn file_here(model: &PublishedModel, path: &Path) -> String {
    let length = |path: &Path| fs::metadata(path).ok().map(|metadata| metadata.len());
    match (length(path), length(&with_suffix(path, ".part"))) {
        (Some(bytes), _) if bytes == model.bytes => "yes".to_owned(),
        (Some(_), _) => "wrong size".to_owned(),
        (None, Some(part)) => format!("{} % of it", part.saturating_mul(100) / model.bytes),
        (None, None) => "-".to_owned(),
    }
}

fn is_here(path: &Path) -> &'static str {
    if path.exists() {
        "yes"
    } else if with_suffix(path, ".part").exists() {
        "begun"
    } else {
        "-"
    }
}

/// Size in MiB, rounded to the nearest.
pub(super) fn mib(bytes: u64) -> u64 {
    (bytes + (1 << 19)) >> 20
}

pub(super) fn push(text: &mut String, line: std::fmt::Arguments<'_>) {
    text.write_fmt(line).expect("a String takes everything");
}
