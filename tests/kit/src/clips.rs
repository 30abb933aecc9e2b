//! Recordings through a recogniser, one by one: `asterscribe-bench clips` and other programs that
//! print the same JSON.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use crate::real_speech::Prompt;
use crate::words::WordErrors;
use crate::{Error, Result, program, spoken};

/// Texts of a list of recordings, and their cost.
#[derive(Debug, Deserialize)]
pub struct Clips {
    /// Each recording's text.
    pub clips: Vec<Clip>,
    /// CPU time for all recordings, milliseconds.
    pub cpu_ms: u64,
    /// Length of all recordings, milliseconds.
    pub audio_ms: u64,
    /// Peak memory of the program, bytes; `None` where it is not reported.
    pub peak_memory: Option<u64>,
}

/// The text of a recording.
#[derive(Debug, Deserialize)]
pub struct Clip {
    /// The recording's name in the list.
    pub name: String,
    /// Text that was recognised.
    pub text: String,
    /// Reasons why each try but the last was rejected.
    #[serde(default)]
    pub retries: Vec<String>,
}

impl Clips {
    /// Runs the engine of `asterscribe-bench` over a list, with further arguments of its `clips`.
    ///
    /// # Errors
    /// The program fails, or prints something else.
    pub fn by_engine(
        program: &Path,
        model: &Path,
        list: &Path,
        arguments: &[&str],
    ) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(["clips", "--json", "--model"]);
        command.arg(model).arg("--list").arg(list).args(arguments);
        Self::by(&mut command)
    }

    /// Runs a program that prints the same JSON, on one thread.
    ///
    /// # Errors
    /// The program fails, or prints something else.
    pub fn by(command: &mut Command) -> Result<Self> {
        let printed = program::output(command.env("OMP_NUM_THREADS", "1"))?;
        serde_json::from_slice(&printed).map_err(|error| {
            let program = command.get_program().to_string_lossy();
            Error::Failed(format!("{program} printed no result: {error}"))
        })
    }

    /// Words wrong in them, the prompts being those that were recorded.
    pub fn errors(&self, language: &str, prompts: &[Prompt]) -> WordErrors {
        let said: BTreeMap<_, _> = prompts
            .iter()
            .map(|prompt| (&prompt.id, prompt.text.as_str()))
            .collect();
        let errors = self.clips.iter().map(|clip| {
            let said = said.get(&clip.name).copied().unwrap_or_default();
            spoken::word_errors(language, said, &clip.text)
        });
        errors.fold(WordErrors::default(), WordErrors::plus)
    }
}
