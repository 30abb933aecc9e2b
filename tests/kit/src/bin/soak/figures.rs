//! Resources of a process.

use std::fmt;
use std::fs;

use asterscribe_testkit::{Error, Result};

/// Open files and memory of a process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    /// Open files, sockets among them.
    pub(crate) files: usize,
    /// Resident memory, MiB.
    pub(crate) mebibytes: u64,
}

impl Held {
    /// Open files and memory that a process holds now.
    pub(crate) fn by(process: u32) -> Result<Self> {
        let folder = format!("/proc/{process}");
        let files = fs::read_dir(format!("{folder}/fd"))
            .map_err(Error::io("cannot list the server's open files"))?
            .count();
        let status = fs::read_to_string(format!("{folder}/status"))
            .map_err(Error::io("cannot read the server's status"))?;
        let resident = status.lines().find_map(|line| {
            let rest = line.strip_prefix("VmRSS:")?;
            rest.split_whitespace().next()?.parse::<u64>().ok()
        });
        let kibibytes =
            resident.ok_or_else(|| Error::Failed("the server's memory is not known".to_owned()))?;
        Ok(Self {
            files,
            mebibytes: kibibytes / 1024,
        })
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} open files, {} MiB", self.files, self.mebibytes)
    }
}
