//! whisper.cpp's own program: what anybody would use for a file.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use asterscribe_recognition::model::{ModelSource, SpeechModel};
use asterscribe_speech::SAMPLE_RATE;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use serde::Serialize;

use super::words;

/// So little audio that it loads the model and has nothing to do.
const NOTHING: [i16; SAMPLE_RATE as usize / 100] = [0; SAMPLE_RATE as usize / 100];

/// Options that the program is run with; always with one thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CliMode {
    /// Decoding as the service does, greedily and without timestamps; flash attention, its default.
    Greedy,
    /// Without flash attention, which the service leaves off.
    Plain,
    /// With no option but the thread: five beams and timestamps, too.
    AsItComes,
}

impl CliMode {
    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Greedy => &["-bs", "1", "-bo", "1", "-nt"],
            Self::Plain => &["-bs", "1", "-bo", "1", "-nt", "-nfa"],
            Self::AsItComes => &[],
        }
    }
}

/// The cost and the output of a run.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct CliRun {
    /// CPU time beyond what it takes to start and to load the model, nanoseconds.
    pub(super) cpu_ns: u64,
    /// Words that it recognised.
    pub(super) words: Vec<String>,
}

/// whisper-cli, and a folder for its files.
#[derive(Debug)]
pub(super) struct WhisperCli {
    program: PathBuf,
    folder: OwnedFolder,
    model: PathBuf,
    /// CPU time to start and to load the model, nanoseconds.
    start_ns: u64,
}

impl WhisperCli {
    /// Prepares the program and measures its start; an error if it does not run here.
    pub(super) fn find(program: &Path, model: &SpeechModel) -> Result<Self> {
        let folder = OwnedFolder::new()?;
        let path = match &model.source {
            ModelSource::File { path, .. } => path.canonicalize()?,
            ModelSource::Folder(_) => bail!("whisper-cli reads ggml files only"),
            ModelSource::BuiltIn(bytes) => {
                let path = folder.0.join("model.bin");
                fs::write(&path, bytes)?;
                path
            }
        };
        let mut cli = Self {
            program: program.to_owned(),
            model: path,
            folder,
            start_ns: 0,
        };
        let nothing = cli.file("nothing", &NOTHING)?;
        let nothing = [nothing];
        cli.run(CliMode::Greedy, &nothing)?;
        // The first one has fetched it from the disk.
        cli.start_ns = cli.run(CliMode::Greedy, &nothing)?.cpu_ns;
        Ok(cli)
    }

    /// CPU time to start and to load the model, nanoseconds.
    pub(super) fn start_ns(&self) -> u64 {
        self.start_ns
    }

    /// Writes samples into a WAV file for the program; the result is its path.
    pub(super) fn file(&self, name: &str, samples: &[i16]) -> Result<PathBuf> {
        let path = self.folder.0.join(format!("{name}.wav"));
        let mut file = BufWriter::new(File::create(&path)?);
        let bytes = u32::try_from(samples.len() * 2)?;
        file.write_all(b"RIFF")?;
        file.write_all(&(36 + bytes).to_le_bytes())?;
        file.write_all(b"WAVEfmt \x10\0\0\0\x01\0\x01\0")?;
        file.write_all(&SAMPLE_RATE.to_le_bytes())?;
        file.write_all(&(2 * SAMPLE_RATE).to_le_bytes())?;
        file.write_all(b"\x02\0\x10\0data")?;
        file.write_all(&bytes.to_le_bytes())?;
        for sample in samples {
            file.write_all(&sample.to_le_bytes())?;
        }
        file.flush()?;
        Ok(path)
    }

    /// Runs the program once on all files.
    pub(super) fn run(&self, manner: CliMode, files: &[PathBuf]) -> Result<CliRun> {
        let mut command = Command::new(&self.program);
        command
            .args(["-t", "1", "-np", "-m"])
            .arg(&self.model)
            .args(manner.options())
            .args(files)
            .env("OMP_THREAD_LIMIT", "1")
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        let before = spent()?;
        let output = command
            .output()
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        let spent = spent()?.saturating_sub(before);
        ensure!(
            output.status.success(),
            "{} ends with {}",
            self.program.display(),
            output.status
        );
        Ok(CliRun {
            cpu_ns: spent.saturating_sub(self.start_ns),
            words: words::of_output(&String::from_utf8_lossy(&output.stdout)),
        })
    }
}

/// CPU time of all children that have ended, nanoseconds.
fn spent() -> Result<u64> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let spent = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(u64::try_from(spent)? * 1_000)
}

/// A temporary folder that is removed with its owner.
#[derive(Debug)]
struct OwnedFolder(PathBuf);

impl OwnedFolder {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("asterscribe-bench-{}", process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for OwnedFolder {
    fn drop(&mut self) {
        // What is left of it is the system's to clear away.
        let _left = fs::remove_dir_all(&self.0);
    }
}
