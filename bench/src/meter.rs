//! CPU time of a part and of the worker processes that it has started.

use std::process;
use std::time::Instant;

use anyhow::Result;
use asterscribe_clock as clock;

use super::proc::{self, ProcessThreads};
use super::wire::OrderOutcome;

/// CPU times at the moment when the work began.
#[derive(Debug)]
pub(super) struct CpuMeter {
    at: Instant,
    own: ProcessThreads,
    workers: Vec<(u32, ProcessThreads)>,
}

impl CpuMeter {
    pub(super) fn start() -> Result<Self> {
        let children = proc::children(process::id())?;
        let workers = children
            .into_iter()
            .map(|pid| Ok((pid, proc::process(pid)?)))
            .collect::<Result<_>>()?;
        Ok(Self {
            workers,
            own: proc::process(process::id())?,
            at: clock::now(),
        })
    }

    /// Wall and CPU time spent since [`Self::start`]. A worker that has ended meanwhile is a fault
    /// that others report.
    pub(super) fn stop(self) -> Result<OrderOutcome> {
        let wall = clock::now().saturating_duration_since(self.at);
        let own = proc::process(process::id())?;
        let mut outcome = OrderOutcome {
            wall_ns: wall.as_nanos() as u64,
            own_ns: own.ran_since(&self.own),
            ..OrderOutcome::default()
        };
        for (pid, before) in &self.workers {
            let after = proc::process(*pid)?;
            outcome.workers_ns += after.ran_since(before);
            outcome.waited_ns += after.busiest_waited_since(before);
        }
        Ok(outcome)
    }
}
