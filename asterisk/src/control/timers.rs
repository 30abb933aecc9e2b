//! Deadlines: what is due, and when the next one is.

use std::time::{Duration, Instant};

use super::call::{CallStage, LegStep};
use super::io::{ControlNotice, RequestFailure, RequestId};
use super::{CallControl, LinkState};

/// Counters are told at most this often.
const STATS_EVERY: Duration = Duration::from_secs(10);

impl CallControl {
    /// Does everything that is due. Runs after every input, whatever it was.
    pub(super) fn tick(&mut self, now: Instant) {
        self.expire_requests(now);
        self.repeat_requests(now);
        self.expire_calls(now);
        self.expire_legs(now);
        if self.listing_at.is_some_and(|at| at <= now) {
            self.begin_listing(now);
        }
        self.release_holds(now);
        self.pump_removals(now);
        self.tell_stats(now);
        if self.stopping && !self.stopped && self.calls.is_empty() && self.removals.is_empty() {
            self.stopped = true;
            self.notice(ControlNotice::ShutdownComplete);
        }
    }

    /// The earliest deadline there is.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let requests = self.pending.values();
        let requests = requests.flat_map(|pending| [Some(pending.deadline), pending.due()]);
        let requests = requests.flatten();
        let calls = self.calls.values().filter_map(|call| match &call.stage {
            CallStage::Ringing { until } => Some(*until),
            CallStage::Ending(ending) => Some(ending.until),
            CallStage::Asking(_) | CallStage::Active => None,
        });
        let legs = self
            .calls
            .values()
            .flat_map(|call| &call.legs)
            .filter_map(|leg| match leg.step {
                LegStep::Idle | LegStep::Up | LegStep::Lost => None,
                LegStep::JoinAgain(at) => Some(at.min(leg.deadline)),
                _ => Some(leg.deadline),
            });
        let listing = self
            .listing_at
            .filter(|_| matches!(self.link, LinkState::Up));
        requests
            .chain(calls)
            .chain(legs)
            .chain(self.next_removal_at())
            .chain(listing)
            .chain(self.stats_at)
            .min()
    }

    fn expire_requests(&mut self, now: Instant) {
        let due: Vec<RequestId> = self
            .pending
            .iter()
            .filter(|(_, pending)| pending.deadline <= now)
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            let Some(pending) = self.pending.remove(&id) else {
                continue;
            };
            // It may yet be carried out: look later for what it left behind.
            self.audit_soon(now);
            self.settle_reply(pending.purpose, Err(RequestFailure::TimedOut), now);
        }
    }

    fn expire_calls(&mut self, now: Instant) {
        let mut rung_out = Vec::new();
        let mut over = Vec::new();
        for (id, call) in &self.calls {
            match &call.stage {
                CallStage::Ringing { until } if *until <= now => rung_out.push(id.clone()),
                CallStage::Ending(ending) if ending.until <= now => over.push(id.clone()),
                _ => {}
            }
        }
        for call in rung_out {
            let text = format!("no answer within {} s", self.config.ring_timeout.as_secs());
            self.hang_up_for(&call, text, None, now);
        }
        for call in over {
            self.close(&call);
        }
    }

    fn expire_legs(&mut self, now: Instant) {
        let mut late = Vec::new();
        let mut again = Vec::new();
        for (id, call) in &self.calls {
            for leg in &call.legs {
                match leg.step {
                    LegStep::Idle | LegStep::Up | LegStep::Lost => {}
                    _ if leg.deadline <= now => late.push((id.clone(), leg.generation)),
                    LegStep::JoinAgain(at) if at <= now => again.push((id.clone(), leg.generation)),
                    _ => {}
                }
            }
        }
        for (call, generation) in late {
            self.fail_leg(&call, generation, "its media was not up in time", now);
        }
        for (call, generation) in again {
            self.take_step(&call, generation, LegStep::Join, now);
        }
    }

    fn tell_stats(&mut self, now: Instant) {
        match self.stats_at {
            Some(at) if at <= now => {
                self.stats_at = None;
                self.told = self.stats();
                self.notice(ControlNotice::Stats(self.told));
            }
            Some(_) => {}
            None if self.stats() != self.told => self.stats_at = Some(now + STATS_EVERY),
            None => {}
        }
    }
}
