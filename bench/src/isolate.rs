//! A place of our own, where the system lets us have one: a network namespace
//! (no other traffic, no firewall, counters that are ours alone), and priority
//! over what else runs here. CPU time does not depend on priority, but a
//! receiver that others keep from running loses packets through no fault of its own.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use clap::Args;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde::Serialize;

use super::cpus::UsedCpus;

/// Isolation that this process has already; set by the program itself when it starts itself anew.
#[derive(Debug, Clone, Copy, Default, Args, Serialize)]
pub(super) struct ProcessPlace {
    /// Whether it has a network namespace of its own.
    #[arg(long, hide = true)]
    own_network: bool,
    /// Whether it has priority.
    #[arg(long, hide = true)]
    own_time: bool,
}

impl ProcessPlace {
    /// Whether the network is its own.
    pub(super) fn own_network(self) -> bool {
        self.own_network
    }

    /// Whether it goes before what else runs.
    pub(super) fn own_time(self) -> bool {
        self.own_time
    }
}

/// A way to run a program before others.
#[derive(Debug, Clone, Copy)]
pub(super) struct RunPriority {
    /// Command and options that stand before the program's own.
    words: &'static [&'static str],
    /// Command that succeeds where the priority can be had.
    probe: &'static [&'static str],
}

/// In real time, at the lowest of such priorities: for what must not wait, and is alone on
/// its processor.
pub(super) const FIRST: RunPriority = RunPriority {
    words: &["chrt", "--rr", "1"],
    probe: &["true"],
};

/// Preferred to others, and fairly among its own: for processes that share the processors. In a
/// session of its own, since a kernel may share its time out between sessions first; it dies
/// with whoever waits for it.
pub(super) const PREFERRED: RunPriority = RunPriority {
    words: &[
        "setsid",
        "--wait",
        "setpriv",
        "--pdeathsig",
        "KILL",
        "nice",
        "-n",
        "-10",
        "sh",
        "-c",
        "echo -10 2>/dev/null >/proc/$$/autogroup; exec \"$0\" \"$@\"",
    ],
    probe: &["sh", "-c", "test \"$(nice)\" -lt 0"],
};

/// Priority of other programs.
pub(super) const NONE: RunPriority = RunPriority {
    words: &[],
    probe: &["false"],
};

/// Ways to a namespace: as root, then by becoming root in a user namespace.
const WAYS: [&[&str]; 2] = [
    &["unshare", "--net"],
    &["unshare", "--map-root-user", "--net"],
];

const LOOPBACK_UP: &str = "ip link set lo up";

/// Starts this program anew with all isolation that can be had. Returns only if there is none, or
/// if that has been done.
pub(super) fn enter(place: ProcessPlace, cpus: UsedCpus, priority: RunPriority) -> Result<()> {
    if place.own_network || place.own_time {
        return Ok(());
    }
    let (mut words, mut marks) = (Vec::new(), Vec::new());
    // On one processor generator and receiver would take it from each other.
    if cpus.receiver.is_some() && works(&[priority.words, priority.probe].concat()) {
        words.extend(priority.words);
        marks.push("--own-time");
    }
    let way = WAYS
        .into_iter()
        .find(|way| works(&[way, &["sh", "-c", LOOPBACK_UP][..]].concat()));
    let inside = format!("{LOOPBACK_UP} && exec \"$0\" \"$@\"");
    if let Some(way) = way {
        words.extend(way);
        words.extend(["sh", "-c", &inside]);
        marks.push("--own-network");
    }
    let [program, arguments @ ..] = words.as_slice() else {
        return Ok(());
    };
    let error = Command::new(program)
        .args(arguments)
        .arg(env::current_exe()?)
        .args(env::args_os().skip(1))
        .args(marks)
        .exec();
    Err(error).with_context(|| format!("cannot begin anew by way of {program}"))
}

fn works(words: &[&str]) -> bool {
    Command::new(words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Lets this process and its children have as many files as the system grants.
pub(super) fn raise_file_limit() -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("cannot raise the limit of open files")
}
