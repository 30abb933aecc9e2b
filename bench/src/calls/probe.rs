//! A trial: so many calls for so long, and how the server held them.

use std::env;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};
use serde::Serialize;

use crate::generator::PACE;
use crate::part::BenchPart;
use crate::proc;
use crate::wire::{HeldCalls, PartMessage};

/// Part of the time for which the generator may be held up.
const MAX_SLIPPED: f64 = 0.05;

/// Time for a part to come up, and for the last lines.
const PATIENCE: Duration = Duration::from_secs(120);

/// Result of a trial with one load.
#[derive(Debug, Clone, Serialize)]
pub(super) struct LoadProbe {
    /// Calls of two parties.
    pub(super) calls: u32,
    /// Length of the trial in seconds.
    pub(super) seconds: f64,
    /// Lines, and the latencies that half, 95 % and 99 % of them do not exceed, milliseconds.
    pub(super) lines: usize,
    pub(super) latency_ms: [f64; 3],
    /// Processors that were busy: with the server, with its workers, with the generator.
    pub(super) busy: [f64; 3],
    /// Calls that the server would hold, by its own estimate.
    pub(super) estimate: f64,
    /// Processors that were busy with programs other than these.
    pub(super) others: f64,
    /// Why the load is not held, apart from latency.
    pub(super) faults: Vec<String>,
}

impl LoadProbe {
    /// Whether lines came in time and nothing was lost.
    pub(super) fn holds(&self, bound: Duration) -> bool {
        self.faults.is_empty() && self.lines > 0 && self.latency_ms[1] <= bound.as_secs_f64() * 1e3
    }

    /// Sentence about the trial, for people.
    pub(super) fn outcome(&self, bound: Duration) -> String {
        let [half, most, _] = self.latency_ms;
        let latency = format!("half within {half:.0} ms, 95 % within {most:.0} ms");
        let verdict = if self.holds(bound) {
            "held"
        } else {
            "not held"
        };
        let faults = self.faults.join("; ");
        let faults = if faults.is_empty() {
            faults
        } else {
            format!(" ({faults})")
        };
        let others = self.others;
        format!(
            "{} calls: {verdict}, {latency}; {others:.2} processors were busy with other things{faults}",
            self.calls
        )
    }
}

/// Lets a server hold so many calls for so long.
pub(super) fn run(
    calls: u32,
    length: Duration,
    workers: usize,
    model: Option<&Path>,
    prompts: Option<&Path>,
) -> Result<LoadProbe> {
    let packets = (length.as_millis() / PACE.as_millis()) as u32;
    let mut generator = BenchPart::start("generator", generator(calls, packets, prompts)?, None)?;
    let PartMessage::Sources(sources) = generator.hear(PATIENCE)? else {
        bail!("expected the generator's ports");
    };
    let mut server = BenchPart::start("server", server(workers, model)?, None)?;
    let PartMessage::Ready = server.hear(PATIENCE)? else {
        bail!("expected the server to be ready");
    };
    server.say(&PartMessage::Sources(sources))?;
    let PartMessage::Targets(targets) = server.hear(PATIENCE)? else {
        bail!("expected the server's port");
    };
    let (before, worked) = (proc::process(generator.pid())?, proc::worked()?);
    generator.say(&PartMessage::Targets(targets))?;
    // It says so before its last packets, when it is still there to be looked at.
    let PartMessage::Mark(_) = generator.hear(length * 3 + PATIENCE)? else {
        bail!("the generator could not keep any pace here");
    };
    let generated = proc::process(generator.pid())?.ran_since(&before);
    let worked = proc::worked()?.saturating_sub(worked);
    let PartMessage::Sent(sent) = generator.hear(PATIENCE)? else {
        bail!("expected what was sent");
    };
    let slipped = Duration::from_micros(sent.slipped_us);
    server.say(&PartMessage::Sent(sent))?;
    let PartMessage::Held(held) = server.hear(PATIENCE)? else {
        bail!("expected how the calls were held");
    };
    Ok(probe(calls, length, [generated, worked], slipped, held))
}

fn probe(
    calls: u32,
    length: Duration,
    [generated_ns, worked_ns]: [u64; 2],
    slipped: Duration,
    held: HeldCalls,
) -> LoadProbe {
    let mut latencies = held.latencies_ms;
    latencies.sort_by(f64::total_cmp);
    let most = |share: f64| {
        let place = (latencies.len() as f64 * share).ceil() as usize;
        latencies.get(place.max(1) - 1).copied().unwrap_or(0.0)
    };
    let wall = held.spent.wall_ns.max(1) as f64;
    let mut faults = held.faults;
    let slipped = slipped.as_secs_f64() / length.as_secs_f64();
    if slipped > MAX_SLIPPED {
        let share = slipped * 100.0;
        faults.push(format!(
            "the generator was held up for {share:.0} % of the time"
        ));
    }
    let busy = [held.spent.own_ns, held.spent.workers_ns, generated_ns].map(|ns| ns as f64 / wall);
    LoadProbe {
        calls,
        seconds: length.as_secs_f64(),
        lines: latencies.len(),
        latency_ms: [0.5, 0.95, 0.99].map(most),
        estimate: held.estimate,
        others: (worked_ns as f64 / wall - busy.iter().sum::<f64>()).max(0.0),
        busy,
        faults,
    }
}

fn generator(calls: u32, packets: u32, prompts: Option<&Path>) -> Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command
        .args(["generate", "--payload", "call"])
        .args(["--flows", &(2 * calls).to_string()])
        .args(["--packets", &packets.to_string()])
        .args(["--marks", &packets.saturating_sub(1).to_string()]);
    if let Some(prompts) = prompts {
        command.arg("--prompts").arg(prompts);
    }
    Ok(command)
}

fn server(workers: usize, model: Option<&Path>) -> Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command
        .args(["hold"])
        .args(["--workers", &workers.to_string()]);
    if let Some(model) = model {
        command.arg("--model").arg(model);
    }
    Ok(command)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::wire::OrderOutcome;

    /// A trial whose lines had such latencies.
    pub(crate) fn of(calls: u32, latencies_ms: Vec<f64>) -> LoadProbe {
        let held = HeldCalls {
            estimate: 0.0,
            latencies_ms,
            spent: OrderOutcome {
                wall_ns: 1_000,
                own_ns: 100,
                workers_ns: 900,
                ..OrderOutcome::default()
            },
            faults: Vec::new(),
        };
        probe(
            calls,
            Duration::from_secs(10),
            [200, 1_500],
            Duration::ZERO,
            held,
        )
    }

    #[test]
    fn the_percentiles_are_of_lines_and_busy_is_of_time() {
        let probe = of(3, (1..=100).rev().map(f64::from).collect());
        assert_eq!(probe.latency_ms, [50.0, 95.0, 99.0]);
        assert_eq!(probe.busy, [0.1, 0.9, 0.2]);
        assert!((probe.others - 0.3).abs() < 1e-9);
        assert!(probe.holds(Duration::from_millis(95)));
        assert!(!probe.holds(Duration::from_millis(94)));
    }

    #[test]
    fn nothing_said_or_something_lost_is_not_held() {
        let bound = Duration::from_secs(2);
        assert!(!of(1, Vec::new()).holds(bound));
        let mut lossy = of(1, vec![1.0]);
        assert!(lossy.holds(bound));
        lossy.faults.push("scripted".to_owned());
        assert!(!lossy.holds(bound));
        assert!(lossy.outcome(bound).contains("not held"));
    }
}
