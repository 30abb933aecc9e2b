//! Which utterance is recognised next.
//!
//! Finals come before the backlog and that before partials. Among finals, the one
//! that was spoken first: a call speaks no faster than time passes, so this alone is
//! fair between live calls. One that hands in more than it can have spoken (a burst
//! after a freeze) waits with the rest of it, as if it had been spoken in real time.
//!
//! Bounded: `capacity` jobs that must be answered with words or a reason, and one
//! partial a leg, which the next partial or the final of that leg replaces.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use asterscribe_speech::{DecodeOptions, SAMPLES_PER_MS};

use super::pack;

/// Share of all workers' time that partials may take.
const PARTIAL_SHARE: f64 = 0.1;

/// Window over which that share is kept.
const SHARE_WINDOW: Duration = Duration::from_secs(10);

/// A task for an engine: an utterance, the options of its decoding and its urgency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecognitionTask {
    /// Samples of the utterance: 16 kHz mono PCM.
    pub samples: Vec<i16>,
    /// Options of decoding.
    pub choices: Arc<DecodeOptions>,
    /// Urgency of the task.
    pub urgency: JobUrgency,
    /// Leg that spoke; calls get equal turns.
    pub speaker: SpeakerLeg,
    /// Time at which its last sample was spoken.
    pub spoken: Instant,
}

impl RecognitionTask {
    /// Length of its audio.
    pub fn duration(&self) -> Duration {
        Duration::from_millis(self.samples.len() as u64 / SAMPLES_PER_MS)
    }
}

/// Leg of a call, for the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpeakerLeg {
    /// Number of the call.
    pub call: u64,
    /// Number of the leg in it.
    pub leg: u32,
}

impl SpeakerLeg {
    /// The leg at that place in a call.
    pub fn new(call: u64, place: usize) -> Self {
        let leg = u32::try_from(place).unwrap_or(u32::MAX);
        Self { call, leg }
    }
}

/// Urgency of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JobUrgency {
    /// Final: a whole utterance of a live call.
    Final,
    /// Backlog: an utterance that has waited so long that nobody watches for its text any more.
    Backlog,
    /// Partial: the beginning of an utterance that is still being spoken. May be dropped.
    Partial,
}

/// Jobs that wait, each with its ticket `T`.
#[derive(Debug)]
pub(super) struct JobQueue<T> {
    capacity: usize,
    workers: usize,
    /// Finals by turn, and by arrival where turns are equal.
    finals: BTreeMap<(Instant, u64), (T, RecognitionTask)>,
    backlog: BTreeMap<(Instant, u64), (T, RecognitionTask)>,
    partials: HashMap<SpeakerLeg, WaitingJob<T>>,
    /// Turn of the last final of each call that has one waiting.
    turns: HashMap<u64, QueueTurn>,
    arrivals: u64,
    partial_time: PartialBudget,
}

#[derive(Debug)]
struct WaitingJob<T> {
    arrival: u64,
    ticket: T,
    task: RecognitionTask,
}

#[derive(Debug)]
struct QueueTurn {
    last: Instant,
    waiting: usize,
}

/// Time spent on partials, forgotten at the rate at which it may be spent.
#[derive(Debug, Default)]
struct PartialBudget {
    seconds: f64,
    at: Option<Instant>,
}

impl<T> JobQueue<T> {
    pub(super) fn new(workers: usize, capacity: usize) -> Self {
        Self {
            capacity,
            workers,
            finals: BTreeMap::new(),
            backlog: BTreeMap::new(),
            partials: HashMap::new(),
            turns: HashMap::new(),
            arrivals: 0,
            partial_time: PartialBudget::default(),
        }
    }

    /// Takes a job in. What comes back has no place any more: the job itself, or a
    /// partial that it replaces.
    pub(super) fn push(
        &mut self,
        ticket: T,
        task: RecognitionTask,
    ) -> Option<(T, RecognitionTask)> {
        self.arrivals += 1;
        let arrival = self.arrivals;
        match task.urgency {
            JobUrgency::Partial => {
                let speaker = task.speaker;
                let waiting = WaitingJob {
                    arrival,
                    ticket,
                    task,
                };
                let replaced = self.partials.insert(speaker, waiting);
                replaced.map(|old| (old.ticket, old.task))
            }
            _ if self.waiting() >= self.capacity => Some((ticket, task)),
            JobUrgency::Final => {
                let turn = self.turn(&task);
                let replaced = self.partials.remove(&task.speaker);
                self.finals.insert((turn, arrival), (ticket, task));
                replaced.map(|old| (old.ticket, old.task))
            }
            JobUrgency::Backlog => {
                self.backlog.insert((task.spoken, arrival), (ticket, task));
                None
            }
        }
    }

    /// The next job for a worker that is free.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(T, RecognitionTask)> {
        if let Some((_, (ticket, task))) = self.finals.pop_first() {
            self.leave(task.speaker.call);
            return Some((ticket, task));
        }
        if let Some((_, job)) = self.backlog.pop_first() {
            return Some(job);
        }
        self.pop_partial(now)
    }

    /// Takes out what else of the same leg, to be recognised in the same way, fits into a
    /// window that holds so many samples already; in the order in which it was spoken.
    pub(super) fn pop_fellows(&mut self, first: &RecognitionTask) -> Vec<(T, RecognitionTask)> {
        let mut window = first.samples.len();
        let mut fellows = Vec::new();
        let of_leg =
            |task: &RecognitionTask| task.speaker == first.speaker && task.choices == first.choices;
        for jobs in [&mut self.finals, &mut self.backlog] {
            let mut turns = Vec::new();
            for (turn, (_, task)) in jobs.iter().filter(|(_, (_, task))| of_leg(task)) {
                if !pack::fits(window, task.samples.len()) {
                    break;
                }
                window = pack::with(window, task.samples.len());
                turns.push(*turn);
            }
            fellows.extend(turns.iter().filter_map(|turn| jobs.remove(turn)));
        }
        for (_, task) in &fellows {
            if task.urgency == JobUrgency::Final {
                self.leave(task.speaker.call);
            }
        }
        fellows
    }

    /// Takes out up to `most` other jobs that are as urgent as one and alike; in their order.
    /// Partials stay: one is taken only where nothing else waits, and is wanted at once.
    pub(super) fn pop_alike(
        &mut self,
        urgency: JobUrgency,
        most: usize,
        is_alike: impl Fn(&RecognitionTask) -> bool,
    ) -> Vec<(T, RecognitionTask)> {
        let jobs = match urgency {
            JobUrgency::Final => &mut self.finals,
            JobUrgency::Backlog => &mut self.backlog,
            JobUrgency::Partial => return Vec::new(),
        };
        let alike = jobs.iter().filter(|(_, (_, task))| is_alike(task));
        let turns: Vec<_> = alike.take(most).map(|(turn, _)| *turn).collect();
        let popped: Vec<_> = turns.iter().filter_map(|turn| jobs.remove(turn)).collect();
        if urgency == JobUrgency::Final {
            for (_, task) in &popped {
                self.leave(task.speaker.call);
            }
        }
        popped
    }

    /// Takes out the finals and the backlog that were spoken before that.
    pub(super) fn take_older(&mut self, than: Instant) -> Vec<(T, RecognitionTask)> {
        let mut old = Vec::new();
        for jobs in [&mut self.finals, &mut self.backlog] {
            let is_old = |(_, (_, task)): &(_, &(T, RecognitionTask))| task.spoken < than;
            let turns: Vec<_> = jobs.iter().filter(is_old).map(|(turn, _)| *turn).collect();
            old.extend(turns.iter().filter_map(|turn| jobs.remove(turn)));
        }
        for (_, task) in &old {
            if task.urgency == JobUrgency::Final {
                self.leave(task.speaker.call);
            }
        }
        old
    }

    /// Jobs that must be answered.
    pub(super) fn waiting(&self) -> usize {
        self.finals.len() + self.backlog.len()
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.waiting() == 0 && self.partials.is_empty()
    }

    /// How long ago the final that has waited longest was spoken.
    pub(super) fn oldest(&self, now: Instant) -> Duration {
        let spoken = self.finals.values().map(|(_, task)| task.spoken).min();
        spoken.map_or(Duration::ZERO, |spoken| {
            now.saturating_duration_since(spoken)
        })
    }

    /// All partials, which nobody shall have.
    pub(super) fn take_partials(&mut self) -> Vec<(T, RecognitionTask)> {
        self.partials
            .drain()
            .map(|(_, waiting)| (waiting.ticket, waiting.task))
            .collect()
    }

    /// A worker was busy that long with a partial.
    pub(super) fn spent_on_partial(&mut self, now: Instant, time: Duration) {
        self.partial_time.forget(now, self.workers);
        self.partial_time.seconds += time.as_secs_f64();
    }

    fn pop_partial(&mut self, now: Instant) -> Option<(T, RecognitionTask)> {
        self.partial_time.forget(now, self.workers);
        if self.partial_time.seconds > PARTIAL_SHARE * SHARE_WINDOW.as_secs_f64() {
            return None;
        }
        let oldest = self.partials.iter().min_by_key(|(_, job)| job.arrival);
        let speaker = *oldest?.0;
        let waiting = self.partials.remove(&speaker)?;
        Some((waiting.ticket, waiting.task))
    }

    fn turn(&mut self, task: &RecognitionTask) -> Instant {
        let turn = self.turns.entry(task.speaker.call).or_insert(QueueTurn {
            last: task.spoken,
            waiting: 0,
        });
        if turn.waiting > 0 {
            turn.last = task.spoken.max(turn.last + task.duration());
        }
        turn.waiting += 1;
        turn.last
    }

    fn leave(&mut self, call: u64) {
        if let Some(turn) = self.turns.get_mut(&call) {
            turn.waiting -= 1;
            if turn.waiting == 0 {
                self.turns.remove(&call);
            }
        }
    }
}

impl PartialBudget {
    fn forget(&mut self, now: Instant, workers: usize) {
        let passed = self
            .at
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.at = Some(now);
        self.seconds -= passed.as_secs_f64() * PARTIAL_SHARE * workers as f64;
        self.seconds = self.seconds.max(0.0);
    }
}

#[cfg(test)]
mod tests;
