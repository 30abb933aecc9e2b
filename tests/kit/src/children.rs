//! Processes that a process has started, and signals to them.

use std::fs;

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

use crate::{Error, Result};

/// The children of a process.
pub fn of(parent: u32) -> Result<Vec<u32>> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc").map_err(Error::io("cannot list the processes"))? {
        let entry = entry.map_err(Error::io("cannot list the processes"))?;
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // One that has ended meanwhile is nobody's child. The name, in brackets, may hold anything.
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let mut fields = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace();
        let state = fields.next();
        let is_child = fields.next().and_then(|ppid| ppid.parse().ok()) == Some(parent);
        if is_child && state != Some("Z") {
            children.push(pid);
        }
    }
    children.sort_unstable();
    Ok(children)
}

/// Kills a process with SIGKILL.
pub fn kill(pid: u32) -> Result<()> {
    send(pid, Signal::KILL)
}

/// Stops a process with SIGSTOP: it exists and does nothing.
pub fn stop(pid: u32) -> Result<()> {
    send(pid, Signal::STOP)
}

/// Takes back a (soft) limit on the size of the files that it writes.
pub fn let_files_grow(pid: u32) -> Result<()> {
    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    prlimit(Some(process(pid)?), Resource::Fsize, unlimited)
        .map(drop)
        .map_err(|errno| Error::io(format!("cannot let files of {pid} grow"))(errno.into()))
}

fn send(pid: u32, signal: Signal) -> Result<()> {
    kill_process(process(pid)?, signal)
        .map_err(|errno| Error::io(format!("cannot signal {pid}"))(errno.into()))
}

fn process(pid: u32) -> Result<Pid> {
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
    number.ok_or_else(|| Error::Failed(format!("{pid} is no process id")))
}
