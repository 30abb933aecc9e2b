//! A network namespace of our own, where the system lets us have one: no other
//! traffic, no firewall, and counters that are ours alone.

use std::env;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Tells the program that it is inside.
pub(super) const INSIDE: &str = "--inside";

/// As root, then as somebody who becomes root in a user namespace.
const WAYS: [&[&str]; 2] = [&["--net"], &["--map-root-user", "--net"]];

/// Begins this program anew inside. Returns only if that cannot be done.
pub(super) fn enter() -> Result<()> {
    const LOOPBACK_UP: &str = "ip link set lo up";
    for way in WAYS {
        let possible = Command::new("unshare")
            .args(way)
            .args(["sh", "-c", LOOPBACK_UP])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if possible {
            let error = Command::new("unshare")
                .args(way)
                .args(["sh", "-c", &format!("{LOOPBACK_UP} && exec \"$0\" \"$@\"")])
                .arg(env::current_exe()?)
                .args(env::args_os().skip(1))
                .arg(INSIDE)
                .exec();
            return Err(error).context("cannot begin anew in a network namespace");
        }
    }
    Ok(())
}

/// Lets this process and its children have as many files as the system grants.
pub(super) fn raise_file_limit() -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("cannot raise the limit of open files")
}
