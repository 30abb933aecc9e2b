//! Health of the server's parts. Nothing here waits for any of them.

use std::sync::atomic::Ordering;

use asterscribe_clock as clock;
use asterscribe_store::{CallCounters, StoreError, WriterState};
use tokio::time::error::Elapsed;

use super::CallManager;
use super::model::LatestSwitch;
use crate::media::{self, MediaThreadHandle, PortUse};
use crate::service::{PartHealth, PartState};

impl CallManager {
    pub(super) fn asterisk_health(&self) -> PartHealth {
        let off = || part(PartState::Off, "ASTERISK_ARI_URL is not set".to_owned());
        self.asterisk
            .link
            .as_ref()
            .map_or_else(off, |ari| ari.health())
    }

    pub(super) fn store_health(
        &self,
        asked: &Result<Result<CallCounters, StoreError>, Elapsed>,
    ) -> PartHealth {
        let name = self.stored.store.name();
        let stats = self.stored.writer.stats();
        let mut lost = String::new();
        for (count, what) in [
            (stats.refused, "writes were not kept"),
            (stats.broken, "writes were given up: the store refused them"),
        ] {
            if count > 0 {
                lost.push_str(&format!("; {count} {what}"));
            }
        }
        let unread = match self.stored.store.unreadable() {
            0 => String::new(),
            count => format!("; {count} of its records and lines cannot be read and are left out"),
        };
        let displaced = match self.stored.store.displaced() {
            0 => String::new(),
            count => format!(
                "; {count} lines got another number, because another server wrote of the same call"
            ),
        };
        let unread = unread + &displaced;
        let refusal = self.stored.refusal();
        match (&*self.stored.writer.state().borrow(), asked) {
            (
                WriterState::Behind {
                    queued,
                    since,
                    reason,
                },
                _,
            ) => part(
                PartState::Down,
                format!("{name}: {queued} writes wait since {since}: {reason}{lost}{unread}"),
            ),
            (WriterState::Ok, Ok(Ok(_))) => match refusal {
                Some(reason) => part(
                    PartState::Down,
                    format!("{name} takes no writes: {reason}{lost}{unread}"),
                ),
                None if !lost.is_empty() => {
                    part(PartState::Degraded, format!("{name}{lost}{unread}"))
                }
                None => part(PartState::Ok, format!("{name}{unread}")),
            },
            (WriterState::Ok, Ok(Err(error))) => part(PartState::Down, format!("{name}: {error}")),
            (WriterState::Ok, Err(_)) => part(PartState::Down, format!("{name} does not answer")),
        }
    }

    pub(super) fn model_health(&self) -> PartHealth {
        let refused = self.recognition.pool.refused.load(Ordering::Relaxed);
        let failed = self.recognition.pool.failed.load(Ordering::Relaxed);
        let too_old = self.recognition.pool.too_old.load(Ordering::Relaxed);
        let model = self.recognition.recogniser.model();
        let mut said = vec![model.describe()];
        let (up, wanted) = self.recognition.recogniser.up();
        let mut state = if model.is_demo() || up < wanted {
            PartState::Degraded
        } else {
            PartState::Ok
        };
        if up < wanted {
            said.push(format!("{up} of {wanted} recognition processes are up"));
        }
        if up == 0 {
            state = PartState::Down;
        }
        if let Some((told, is_too_little)) = self.capacity_told() {
            said.push(told);
            if is_too_little && state == PartState::Ok {
                state = PartState::Degraded;
            }
        }
        if let Some(given_up) = self.given_up() {
            said.push(given_up);
            if state == PartState::Ok {
                state = PartState::Degraded;
            }
        }
        if refused + failed + too_old > 0 {
            said.push(format!(
                "utterances refused for overload: {refused}, failed: {failed}, too long in the queue: {too_old}"
            ));
        }
        match self.latest_switch() {
            LatestSwitch::Settled => {}
            LatestSwitch::Loading(name) => said.push(format!("loading {name}")),
            LatestSwitch::Failed { name, reason } => said.push(format!("failed {name}: {reason}")),
        }
        let (crashed, stuck) = self.recognition.recogniser.stats().ends();
        if crashed > 0 {
            said.push(format!(
                "recognition processes that ended: {crashed}, of them stuck: {stuck}"
            ));
        }
        part(state, said.join("; "))
    }

    pub(super) fn media_health(&self) -> PartHealth {
        let counters = || self.media.threads.iter().map(|thread| thread.counters());
        let lost: u64 = counters().map(|counters| counters.events_lost()).sum();
        let panics: u64 = counters().map(|counters| counters.panics()).sum();
        let dropped: u64 = counters().map(|counters| counters.kernel_drops()).sum();
        let mut said = Vec::new();
        if lost + panics > 0 {
            said.push(format!("events lost: {lost}, panics contained: {panics}"));
        }
        if dropped > 0 {
            said.push(format!(
                "{dropped} dropped by the kernel: the receive buffer was full"
            ));
        }
        said.extend(self.small_buffer());
        let ports = self
            .media
            .own_ports
            .as_ref()
            .map(|pool| pool.usage(clock::now()));
        if let Some(failed) = ports.map(|ports| ports.failed).filter(|&failed| failed > 0) {
            said.push(format!("ports refused by the system: {failed}"));
        }
        let state = if said.is_empty() {
            PartState::Ok
        } else {
            PartState::Degraded
        };
        said.extend(ports.map(|ports| {
            let PortUse {
                free,
                resting,
                leased,
                exhausted,
                failed: _,
            } = ports;
            let refused = match exhausted {
                0 => String::new(),
                times => format!(" (no-rtp-port: {times} times too few)"),
            };
            format!("ports of legs: {free} free, {resting} resting, {leased} leased{refused}")
        }));
        let unsent: u64 = counters().map(|counters| counters.unsent()).sum();
        if unsent > 0 {
            said.push(format!("packets that could not be sent: {unsent}"));
        }
        said.extend(self.media.threads.iter().map(traffic));
        part(state, said.join("; "))
    }

    /// Warning that the kernel granted less receive buffer than 150 ms with all calls open take.
    fn small_buffer(&self) -> Option<String> {
        let granted = self
            .media
            .threads
            .iter()
            .map(|thread| thread.receive_buffer())
            .min()?;
        let calls = self.config.max_calls.div_ceil(self.media.threads.len());
        let needed = media::buffer_for_stall(calls);
        (granted < needed).then(|| {
            format!(
                "the kernel gives {} KiB of receive buffer where a stall of {} ms with {calls} calls takes {} KiB: \
                 raise net.core.rmem_max",
                granted >> 10,
                media::STALL.as_millis(),
                needed >> 10,
            )
        })
    }
}

fn traffic(thread: &MediaThreadHandle) -> String {
    let (counters, gate) = (thread.counters(), thread.counters().gate());
    format!(
        "{}: {} datagrams, {} admitted, {} from unknown sources, {} not RTP, {} beyond the hold, {} held, {} sent",
        thread.local(),
        counters.datagrams(),
        gate.admitted,
        gate.unknown_source,
        gate.unknown_not_rtp,
        gate.hold_full,
        gate.holding,
        counters.sent(),
    )
}

pub(super) fn part(state: PartState, detail: String) -> PartHealth {
    PartHealth { state, detail }
}
