//! Which processor runs what, and whether it was all ours.

use std::hint::black_box;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use asterscribe_clock as clock;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use super::proc;

/// How long the spin probe spins.
const SPIN: Duration = Duration::from_millis(60);

/// The processors used: with one there is no choice, and nothing is pinned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct UsedCpus {
    /// Processor on which all that is measured runs, alone.
    pub(super) receiver: Option<usize>,
    /// Processor on which the generator runs.
    pub(super) sender: Option<usize>,
}

impl UsedCpus {
    /// The last processor for what is measured, since the first one serves most interrupts; the one before it sends.
    pub(super) fn choose() -> Result<Self> {
        let ours = list(&sched_getaffinity(Pid::from_raw(0))?);
        Ok(match ours.as_slice() {
            [.., sender, receiver] => Self {
                receiver: Some(*receiver),
                sender: Some(*sender),
            },
            _ => Self::default(),
        })
    }
}

fn list(set: &CpuSet) -> Vec<usize> {
    (0..CpuSet::count())
        .filter(|&cpu| set.is_set(cpu).unwrap_or(false))
        .collect()
}

/// Does `work` on `cpu`; children that it starts stay there.
pub(super) fn on<T>(cpu: Option<usize>, work: impl FnOnce() -> T) -> Result<T> {
    let Some(cpu) = cpu else {
        return Ok(work());
    };
    let this = Pid::from_raw(0);
    let before = sched_getaffinity(this)?;
    let mut only = CpuSet::new();
    only.set(cpu)?;
    sched_setaffinity(this, &only)?;
    let done = work();
    sched_setaffinity(this, &before)?;
    Ok(done)
}

/// Part of the wall time, 0 to 1, in which a thread that wants `cpu` did not get it.
pub(super) fn stolen(cpu: Option<usize>) -> Result<f64> {
    on(cpu, || {
        // The kernel brings a thread's account up to date when it gives way.
        thread::yield_now();
        let (from, ran) = (clock::now(), proc::this_thread()?);
        let mut spun = 0u64;
        while clock::now().saturating_duration_since(from) < SPIN {
            spun = black_box(spun + 1);
        }
        let wall = clock::now().saturating_duration_since(from);
        thread::yield_now();
        let ran = proc::this_thread()?.ran_ns.saturating_sub(ran.ran_ns);
        Ok((1.0 - ran as f64 / wall.as_nanos() as f64).max(0.0))
    })?
}
