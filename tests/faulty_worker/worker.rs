//! A recognition process that is the real one until it is told to fail.
//!
//! Its argument is a folder. A file `next` in it names the fault that the next job,
//! whichever process gets it, is answered with; each line is one job's.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::thread;
use std::time::Duration;

use asterscribe::recognition::worker::{self, MakeEngine};
use asterscribe::speech::{Choices, Recognition, TranscribeError, Transcriber};

fn main() -> io::Result<()> {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        return Err(io::Error::other("faulty_worker FOLDER"));
    };
    worker::run_with(move |start| {
        let make = worker::load(start)?;
        let faulty: Box<MakeEngine> = Box::new(move || {
            let (engine, folder) = (make()?, folder.clone());
            Ok(Box::new(Faulty { engine, folder }))
        });
        Ok(faulty)
    })
}

struct Faulty {
    engine: Box<dyn Transcriber>,
    folder: PathBuf,
}

impl Transcriber for Faulty {
    fn transcribe(
        &mut self,
        samples: &[i16],
        choices: &Choices,
    ) -> Result<Recognition, TranscribeError> {
        match take_fault(&self.folder).as_deref() {
            None => self.engine.transcribe(samples, choices),
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

/// The fault that this job shall have, which no other then gets.
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
