//! Runs of programs over the recordings.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use asterscribe_testkit::clips::Clips;
use asterscribe_testkit::real_speech::{List, RealSpeech};
use asterscribe_testkit::{Error, Result, program, whisper};

use crate::page::Row;

/// Version of faster-whisper that is measured and named on the page; pip pins nothing but the
/// version.
const FASTER_WHISPER: &str = "faster-whisper==1.2.1";

/// The program that is measured, and the recordings.
pub(crate) struct Bench<'a> {
    pub(crate) program: &'a Path,
    pub(crate) material: &'a RealSpeech,
}

/// Another program, with a model.
pub(crate) enum Peer<'a> {
    WhisperCli(&'a Path),
    FasterWhisper(&'a Path),
}

impl Peer<'_> {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::WhisperCli(_) => "whisper-cli (Debian)",
            Self::FasterWhisper(_) => FASTER_WHISPER,
        }
    }
}

impl Bench<'_> {
    /// Our engines, by `asterscribe-bench clips`.
    pub(crate) fn clips(
        &self,
        name: &str,
        model: &Path,
        list: List,
        context: Option<&str>,
        step: usize,
    ) -> Result<Row> {
        let step = step.to_string();
        let mut arguments = vec!["--language", list.language, "--step", &step];
        arguments.extend(
            context
                .into_iter()
                .flat_map(|context| ["--context", context]),
        );
        let printed = Clips::by_engine(self.program, model, &self.list(list), &arguments)?;
        let engine = if model.is_dir() {
            "CTranslate2"
        } else {
            "whisper.cpp"
        };
        let window = context.unwrap_or("as by default");
        self.row([engine, name, window], list, &printed)
    }

    /// Another program on the English prompts.
    pub(crate) fn peer(&self, name: &str, peer: &Peer<'_>, step: usize) -> Result<Row> {
        let mut command = Command::new("/usr/bin/python3");
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/real-speech/peers.py"));
        match peer {
            Peer::WhisperCli(model) => {
                command.arg("whisper-cli").arg(whisper::cli()?).arg(model);
            }
            Peer::FasterWhisper(folder) => {
                command.env("PYTHONPATH", self.installed()?);
                command.arg("faster-whisper").arg(folder);
            }
        }
        command.arg(self.list(List::ENGLISH)).arg(step.to_string());
        let printed = Clips::by(&mut command)?;
        self.row([peer.name(), name, "whole"], List::ENGLISH, &printed)
    }

    /// Section on how many calls are held, in Markdown.
    pub(crate) fn calls(&self, model: &Path) -> Result<String> {
        let mut command = Command::new(self.program);
        command.args(["calls", "--format", "markdown", "--model"]);
        command
            .arg(model)
            .arg("--prompts")
            .arg(self.list(List::ENGLISH));
        let printed = program::output(&mut command)?;
        Ok(String::from_utf8_lossy(&printed).into_owned())
    }

    fn list(&self, list: List) -> PathBuf {
        let lists = self.material.models().with_file_name("lists");
        lists.join(format!("{}.tsv", list.name()))
    }

    /// Folder of faster-whisper, fetched if need be.
    fn installed(&self) -> Result<PathBuf> {
        let folder = self.material.models().with_file_name("faster-whisper");
        if !folder.is_dir() {
            let part = folder.with_extension("part");
            let mut pip = Command::new("/usr/bin/python3");
            pip.args(["-m", "pip", "install", "--quiet", "--upgrade", "--target"]);
            program::output(pip.arg(&part).arg(FASTER_WHISPER))?;
            let failed = |error| Error::Failed(format!("{}: {error}", folder.display()));
            fs::rename(&part, &folder).map_err(failed)?;
        }
        Ok(folder)
    }

    fn row(&self, what: [&str; 3], list: List, printed: &Clips) -> Result<Row> {
        let prompts = self.material.prompts(list)?;
        let retried = printed.clips.iter().filter(|clip| !clip.retries.is_empty());
        Ok(Row {
            engine: what[0].to_owned(),
            model: what[1].to_owned(),
            window: what[2].to_owned(),
            list: list.name(),
            errors: printed.errors(list.language, &prompts),
            prompts: printed.clips.len(),
            retried: retried.count(),
            cpu_ms: printed.cpu_ms,
            audio_ms: printed.audio_ms,
            peak_memory: printed.peak_memory,
        })
    }
}
