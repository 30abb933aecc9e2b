//! A recognition process that is the real one until it is told to fail.
//!
//! Its argument is a folder. A file `next` in it names the fault that the next job,
//! whichever process gets it, is answered with; each line is one job's. While there is a
//! file `slow` in it, every job waits until it is gone, six seconds at most; `slow-named` does
//! the same to jobs of models from a file. While there is a file `mumble`, the bundled model
//! keeps the last word of what it hears to itself.
//!
//! With the argument `slow` every job takes a second longer, with `echo` no model is asked:
//! what is heard is what the first two samples say.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::thread;
use std::time::Duration;

use asterscribe_clock as clock;
use asterscribe_recognition::worker;
use asterscribe_recognition::worker::{MakeEngine, ModelPlace};
use asterscribe_recognition::{TranscribeError, Transcriber};
use asterscribe_speech::{DecodeOptions, Recognition};

fn main() -> io::Result<()> {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        return Err(io::Error::other("faulty_worker FOLDER | slow | echo"));
    };
    worker::run_with(move |start| {
        if folder.as_os_str() == "echo" {
            let echo: Box<MakeEngine> = Box::new(|| Ok(Box::new(Echo)));
            return Ok(echo);
        }
        let (make, is_bundled) = (worker::load(start)?, start.model == ModelPlace::BuiltIn);
        let faulty: Box<MakeEngine> = Box::new(move || {
            let (engine, folder) = (make()?, folder.clone());
            Ok(Box::new(Faulty {
                engine,
                folder,
                is_bundled,
            }))
        });
        Ok(faulty)
    })
}

/// A transcriber that answers with the numbers in the samples.
struct Echo;

impl Transcriber for Echo {
    fn transcribe(
        &mut self,
        samples: &[i16],
        _: &DecodeOptions,
    ) -> Result<Recognition, TranscribeError> {
        Ok(Recognition {
            text: format!("call {} utterance {}", samples[0], samples[1]),
            ..Recognition::default()
        })
    }
}

struct Faulty {
    engine: Box<dyn Transcriber>,
    folder: PathBuf,
    is_bundled: bool,
}

impl Transcriber for Faulty {
    fn transcribe(
        &mut self,
        samples: &[i16],
        choices: &DecodeOptions,
    ) -> Result<Recognition, TranscribeError> {
        self.wait_while_slow();
        let fault = if self.folder.as_os_str() == "slow" {
            Some("slow".to_owned())
        } else {
            take_fault(&self.folder)
        };
        match fault.as_deref() {
            None => {
                let mut heard = self.engine.transcribe(samples, choices)?;
                if self.is_bundled && self.folder.join("mumble").exists() {
                    mumble(&mut heard);
                }
                Ok(heard)
            }
            Some("panic") => panic!("told to"),
            Some("abort") => process::abort(),
            Some("exit") => process::exit(3),
            Some("error") => Err(TranscribeError("told to".to_owned())),
            Some("hang") => loop {
                std::hint::spin_loop();
            },
            Some("slow") => {
                thread::sleep(Duration::from_secs(1));
                self.engine.transcribe(samples, choices)
            }
            Some(other) => panic!("no such fault: {other}"),
        }
    }
}

impl Faulty {
    /// Waits while there is a file `slow`, but not for so long that the worker would be taken for
    /// stuck.
    fn wait_while_slow(&self) {
        let until = clock::now() + Duration::from_secs(6);
        let is_slow = || {
            let is_there = |file| self.folder.join(file).exists();
            is_there("slow") || (!self.is_bundled && is_there("slow-named"))
        };
        while is_slow() && clock::now() < until {
            thread::sleep(Duration::from_millis(20));
        }
    }
}

fn mumble(heard: &mut Recognition) {
    if heard.words.len() > 1 {
        heard.words.pop();
        let words: Vec<_> = heard.words.iter().map(|word| word.text.as_str()).collect();
        heard.text = words.join(" ");
    }
}

/// Takes the fault for this job, which no other job then gets.
fn take_fault(folder: &Path) -> Option<String> {
    let (next, mine) = (folder.join("next"), folder.join(process::id().to_string()));
    // Whoever moves it away has it.
    fs::rename(&next, &mine).ok()?;
    let faults = fs::read_to_string(&mine).ok()?;
    let (first, rest) = faults.split_once('\n').unwrap_or((&faults, ""));
    if !rest.trim().is_empty() {
        fs::write(&mine, rest).ok()?;
        fs::rename(&mine, &next).ok()?;
    }
    Some(first.trim().to_owned())
}
