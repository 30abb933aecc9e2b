//! Speech for the scenarios, synthesised once and kept, so that nobody else needs the tools.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use asterscribe_testkit::scenario::{self, CONVERSATION, MONOLOGUE};
use asterscribe_testkit::{Error, Result};

/// Words per minute: a calm telephone voice.
const PACE: &str = "150";
/// Voice of each party.
const VOICES: [(&str, &str); 2] = [("caller", "en-us"), ("callee", "en-us+f2")];

pub(crate) fn synthesise_all() -> Result<()> {
    let folder = std::env::temp_dir().join(format!("asterscribe-prompts-{}", std::process::id()));
    let failed = |error| Error::Failed(format!("{}: {error}", folder.display()));
    fs::create_dir_all(&folder).map_err(failed)?;
    let turns = MONOLOGUE.iter().chain(&CONVERSATION);
    let outcome = turns
        .map(|turn| synthesise(turn.prompt, turn.leg, &folder))
        .collect::<Result<Vec<_>>>();
    fs::remove_dir_all(&folder).map_err(failed)?;
    outcome.map(drop)
}

fn synthesise(name: &str, leg: &str, folder: &Path) -> Result<()> {
    let (_, voice) = VOICES
        .iter()
        .find(|(of, _)| *of == leg)
        .expect("every leg of the scenarios has a voice");
    let text = scenario::prompt_text(name)?;
    let (raw, trimmed) = (folder.join("raw.wav"), folder.join("trimmed.wav"));
    run(Command::new("espeak-ng")
        .args(["-v", voice, "-s", PACE, "-w"])
        .arg(&raw)
        .arg(text))?;
    // Both rates are made from one trimmed original, so that they are equally long.
    let trim = [
        "silence", "1", "0.005", "0.5%", "reverse", "silence", "1", "0.005", "0.5%", "reverse",
    ];
    run(Command::new("sox")
        .arg(&raw)
        .arg(&trimmed)
        .args(trim)
        .args(["gain", "-n", "-6", "pad", "0.02", "0.02"]))?;
    let wide = MONOLOGUE.iter().any(|turn| turn.prompt == name);
    let rates = [("wav", "8000"), ("wav16", "16000")];
    for (suffix, rate) in &rates[..if wide { 2 } else { 1 }] {
        let mut sox = Command::new("sox");
        // -D: no dither, so that a second run gives the same bytes.
        sox.arg("-D")
            .arg(&trimmed)
            .args(["-t", "wav", "-r", rate, "-b", "16", "-c", "1"]);
        run(sox.arg(scenario::prompt_file(name, suffix)))?;
    }
    Ok(())
}

fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Error::Failed(format!("{name}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Failed(format!(
        "{name}: {}",
        String::from_utf8_lossy(&output.stderr)
    )))
}
