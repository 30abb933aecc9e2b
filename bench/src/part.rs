//! A child process that is told what to do and says what it did.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};

use super::cpus;
use super::wire::{self, PartMessage};

/// Lines that may wait; a part says a handful in its life.
const LINES: usize = 64;

/// A running part; dropping it ends it.
#[derive(Debug)]
pub(super) struct BenchPart {
    name: &'static str,
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl BenchPart {
    /// Starts the part on `cpu` alone, or on any processor.
    pub(super) fn start(
        name: &'static str,
        mut command: Command,
        cpu: Option<usize>,
    ) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        // A child runs where its parent's thread may run.
        let mut child = cpus::on(cpu, || command.spawn())?
            .with_context(|| format!("cannot start the {name}"))?;
        let input = child.stdin.take().context("no pipe to a child")?;
        let output = child.stdout.take().context("no pipe from a child")?;
        let (tell, lines) = bounded(LINES);
        thread::Builder::new().spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self {
            name,
            child,
            input,
            lines,
        })
    }

    /// Process id of the part.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends the part a message.
    pub(super) fn say(&mut self, message: &PartMessage) -> Result<()> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        self.input
            .write_all(&line)
            .with_context(|| format!("the {} does not listen", self.name))
    }

    /// Next message of the part, if it comes within `patience`.
    pub(super) fn hear(&self, patience: Duration) -> Result<PartMessage> {
        match self.lines.recv_timeout(patience) {
            Ok(line) => wire::parse(&line),
            Err(RecvTimeoutError::Timeout) => {
                bail!("the {} has said nothing for {patience:?}", self.name)
            }
            Err(RecvTimeoutError::Disconnected) => bail!("the {} has ended early", self.name),
        }
    }
}

impl Drop for BenchPart {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to end or to learn.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
