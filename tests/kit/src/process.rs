//! A child process with a log file, bounded stops, and a life no longer than ours.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::host;
use crate::{Error, Result};

/// A running child.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; what it prints is appended to `log`.
    pub(crate) fn spawn(name: &str, mut command: Command, log: &Path) -> Result<Self> {
        let out = append(log)?;
        let err = out
            .try_clone()
            .map_err(Error::io("cannot duplicate a log file's handle"))?;
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        let child = spawn_from_lasting_thread(command)
            .map_err(Error::io(format!("cannot start {name}")))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
        })
    }

    /// Process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Exit status, if the process has ended.
    pub(crate) fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        self.child
            .try_wait()
            .map_err(Error::io(format!("cannot ask after {}", self.name)))
    }

    /// Sends a signal; nothing happens if it has already ended.
    pub(crate) fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.exit_status()?.is_some() {
            return Ok(());
        }
        // Not yet reaped, so the id is still its own.
        let pid = Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal)
            .map_err(|errno| Error::io(format!("cannot signal {}", self.name))(errno.into()))
    }

    /// Ends the process: SIGTERM, then SIGKILL once `grace` is over.
    pub(crate) fn terminate(&mut self, grace: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        let mut status = self.exit_status()?;
        if status.is_none() {
            let polled = host::poll_until(host::now() + grace, || self.exit_status().transpose());
            status = polled.transpose()?;
        }
        match status {
            Some(status) => Ok(status),
            None => self.kill9(),
        }
    }

    /// Kills the process with SIGKILL and waits until it is gone.
    pub(crate) fn kill9(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::KILL)?;
        self.child
            .wait()
            .map_err(Error::io(format!("cannot await the end of {}", self.name)))
    }

    /// Last lines of the process's log, set off by a line break, for error texts.
    pub(crate) fn log_tail(&self) -> String {
        log_tail(&self.log)
    }

    /// Waits until `ready` yields something; fails at once when the child ends, and at the limit.
    pub(crate) fn await_ready<T>(
        &mut self,
        what: &str,
        limit: Duration,
        mut ready: impl FnMut() -> Option<T>,
    ) -> Result<T> {
        let deadline = host::now() + limit;
        let outcome = host::poll_until(deadline, || match self.exit_status() {
            Err(error) => Some(Err(error)),
            Ok(Some(status)) => Some(Err(Error::Failed(format!(
                "{} ended at its start: {status}{}",
                self.name,
                self.log_tail()
            )))),
            Ok(None) => ready().map(Ok),
        });
        let timed_out = || Error::TimedOut {
            what: format!("{}: {what}", self.name),
            limit,
            log: self.log_tail(),
        };
        outcome.unwrap_or_else(|| Err(timed_out()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.kill9() {
            report(&format!("{} may still run: {error}", self.name));
        }
    }
}

/// Begins a command for a program that must not outlive us, even if we are killed.
pub(crate) fn command(program: &Path) -> Command {
    match host::find_program("setpriv") {
        Some(setpriv) => {
            let mut command = Command::new(setpriv);
            command.args(["--pdeathsig", "KILL", "--"]).arg(program);
            command
        }
        None => Command::new(program),
    }
}

/// Runs a short-lived program; its output as text, or why it failed.
pub(crate) fn run(what: &str, mut command: Command, limit: Duration) -> Result<String> {
    let folder = tempfile::tempdir().map_err(Error::io("cannot create a temporary folder"))?;
    let log = folder.path().join("output");
    let out = append(&log)?;
    let err = out
        .try_clone()
        .map_err(Error::io("cannot duplicate a log file's handle"))?;
    command.stdin(Stdio::null()).stdout(out).stderr(err);
    let child = command
        .spawn()
        .map_err(Error::io(format!("cannot run {what}")))?;
    let mut process = Process {
        name: what.to_owned(),
        child,
        log,
    };
    let status =
        host::poll_until(host::now() + limit, || process.exit_status().transpose()).transpose()?;
    let Some(status) = status else {
        return Err(Error::TimedOut {
            what: format!("the end of {what}"),
            limit,
            log: process.log_tail(),
        });
    };
    if !status.success() {
        return Err(Error::Failed(format!(
            "{what} failed ({status}){}",
            process.log_tail()
        )));
    }
    read_lossy(&process.log)
}

/// Prints a remark of the kit; captured with the test that runs.
#[expect(
    clippy::print_stderr,
    reason = "what goes wrong while dropping has no other way out"
)]
pub(crate) fn report(text: &str) {
    eprintln!("testkit: {text}");
}

/// The last lines of a log, set off by a line break; empty if there are none.
pub(crate) fn log_tail(log: &Path) -> String {
    const LINES: usize = 30;
    let text = read_lossy(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    let tail = &lines[lines.len().saturating_sub(LINES)..];
    if tail.is_empty() {
        String::new()
    } else {
        format!("; the log ends:\n{}", tail.join("\n"))
    }
}

fn read_lossy(path: &Path) -> Result<String> {
    let bytes = fs::read(path).map_err(Error::io(format!("cannot read {}", path.display())))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn append(path: &Path) -> Result<File> {
    let opened = File::options().create(true).append(true).open(path);
    opened.map_err(Error::io(format!("cannot open {}", path.display())))
}

type Job = (Command, SyncSender<io::Result<Child>>);

/// Starts the child from a thread that lasts: a parent-death signal fires when the *thread* that
/// forked ends, and a test's thread may end before an instance that several tests share.
fn spawn_from_lasting_thread(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<SyncSender<Job>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (jobs, inbox) = sync_channel::<Job>(8);
        thread::spawn(move || {
            for (mut command, reply) in inbox {
                // The asker may have panicked meanwhile; the child then ends here.
                if let Err(unclaimed) = reply.send(command.spawn())
                    && let Ok(mut child) = unclaimed.0
                    && let Err(error) = child.kill()
                {
                    report(&format!("an unclaimed child may still run: {error}"));
                }
            }
        });
        jobs
    });
    let (reply, answer) = sync_channel(1);
    let gone = |_| io::Error::other("the thread that starts children has ended");
    spawner.send((command, reply)).map_err(|_| gone(()))?;
    answer.recv().map_err(|_| gone(()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut shell = command(Path::new("/bin/sh"));
        shell.args(["-c", script]);
        shell
    }

    #[test]
    fn a_child_that_ignores_sigterm_is_killed_after_the_grace() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut child = Process::spawn(
            "stubborn",
            shell("trap '' TERM; echo set; while :; do sleep 0.05; done"),
            &log,
        )
        .unwrap();
        child
            .await_ready("trap", Duration::from_secs(10), || {
                read_lossy(&log).ok().filter(|text| text.contains("set"))
            })
            .unwrap();
        let status = child.terminate(Duration::from_millis(200)).unwrap();
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&status),
            Some(9)
        );
    }

    #[test]
    fn a_child_that_ends_at_once_is_reported_with_its_words() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Process::spawn(
            "hasty",
            shell("echo no such option; exit 3"),
            &folder.path().join("log"),
        )
        .unwrap();
        let error = child
            .await_ready("never", Duration::from_secs(10), || None::<()>)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("no such option") && error.contains('3'),
            "{error}"
        );
    }

    #[test]
    fn a_failing_program_gives_its_output() {
        let error = run(
            "sh",
            shell("echo because >&2; exit 1"),
            Duration::from_secs(10),
        )
        .unwrap_err()
        .to_string();
        assert!(error.contains("because"), "{error}");
        assert_eq!(
            run("sh", shell("echo fine"), Duration::from_secs(10)).unwrap(),
            "fine\n"
        );
    }
}
