//! A call's media as a state machine: datagrams in, lines of transcript out.
//!
//! No socket, no task, no clock: live calls, capture replay and tests drive the
//! same machine. The contract:
//!
//! 1. Every input comes with `now`, which never runs backwards. Only a datagram
//!    that was held until its leg was known may come with an earlier arrival.
//! 2. After one [`CallSession::handle`], or several in a row, call [`CallSession::poll`]
//!    until it answers [`SessionOutput::Wait`].
//! 3. At the time that `Wait` names, hand in [`SessionInput::Timer`] if nothing else came.
//! 4. Every [`SessionOutput::Transcribe`] is answered by exactly one
//!    [`SessionInput::Recognised`], whenever; lines come out in the order of the jobs,
//!    so the transcript does not depend on how fast the engine was.

mod audio;
mod cipher;
mod doctor;
pub mod fuzz;
mod hold;
mod io;
mod jobs;
mod language;
mod ledger;
mod leg;
mod partial;
mod stream;
#[cfg(test)]
mod tests;
mod text;
mod timeline;

use std::collections::VecDeque;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use asterscribe_call::{DtmfDigit, GapReason, Leg, LegStats};
use asterscribe_rtp::ClockRate;
use asterscribe_speech::segmenter::SegmenterConfig;
use asterscribe_speech::{DecodeOptions, Utterance};

use self::audio::CutUtterance;
pub use self::doctor::{ArrivalExpectation, ExpectedMedia};
pub use self::io::{
    DeferredLine, LaterSpeech, LegIndex, LegSnapshot, SessionInput, SessionOutput, UnheardReason,
};
pub use self::jobs::JobId;
use self::jobs::JobLedger;
pub use self::language::CallOptions;
use self::language::LegLanguage;
use self::leg::LegMedia;
pub use self::partial::PartialConfig;
use self::partial::PartialState;
pub use self::text::conclude;

/// Settings of a session.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionConfig {
    /// Stages of processing that a leg's packets pass.
    pub depth: SessionDepth,
    /// Decoding options of its utterances.
    pub choices: Arc<DecodeOptions>,
    /// Intervals of partials; `None`: no partials.
    pub partials: Option<PartialConfig>,
    /// Model of the second pass; `None`: no second pass.
    pub second_pass: Option<Arc<str>>,
    /// Longest wait for a missing packet.
    pub reorder_wait: Duration,
    /// Settings by which speech is cut into utterances.
    pub segmenter: SegmenterConfig,
    /// Time without audio after which a leg's sentence ends, unless the audio broke off within a
    /// word.
    pub idle_flush: Duration,
    /// Shortest interval between two outputs of statistics.
    pub stats_interval: Duration,
    /// Longest wait for outstanding recognition after the end.
    pub closing_wait: Duration,
    /// Most utterances whose line is not given out yet; further ones are shed, with a line that
    /// says so (one for all that a leg sheds in a row).
    pub max_jobs: usize,
}

/// Stages of processing that a leg's packets pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SessionDepth {
    /// Put in order, placed on the timeline and counted, but neither decoded nor recognised: the
    /// cost of reception alone.
    Ordered,
    /// All stages, up to recognition.
    #[default]
    Speech,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            depth: SessionDepth::Speech,
            choices: Arc::default(),
            partials: None,
            second_pass: None,
            reorder_wait: Duration::from_millis(120),
            segmenter: SegmenterConfig::default(),
            idle_flush: Duration::from_millis(700),
            stats_interval: Duration::from_secs(1),
            closing_wait: Duration::from_secs(60),
            max_jobs: 64,
        }
    }
}

/// Media of one call.
#[derive(Debug)]
pub struct CallSession {
    config: SessionConfig,
    opened: Instant,
    legs: Vec<LegMedia>,
    /// Partials, one entry for each leg; empty where there are none.
    drafts: Vec<PartialState>,
    /// Language of each leg.
    languages: Vec<LegLanguage>,
    jobs: JobLedger,
    outputs: VecDeque<SessionOutput>,
    next_line: u64,
    next_stats: Instant,
    told: Vec<LegStats>,
    /// Whether the counters may differ from those last given out.
    news: bool,
    phase: SessionPhase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SessionPhase {
    Open,
    /// Hung up; outstanding jobs are waited for until this time.
    Closing(Instant),
    Closed,
}

impl CallSession {
    /// A session whose call clock begins at `now`. Its lines are numbered from 0; a call
    /// that has several sessions numbers them on itself.
    pub fn new(config: SessionConfig, now: Instant) -> Self {
        let jobs = JobLedger::new(config.max_jobs);
        Self {
            next_stats: now + config.stats_interval,
            config,
            opened: now,
            legs: Vec::new(),
            drafts: Vec::new(),
            languages: Vec::new(),
            jobs,
            outputs: VecDeque::new(),
            next_line: 0,
            told: Vec::new(),
            news: false,
            phase: SessionPhase::Open,
        }
    }

    /// Number that [`Self::add_leg`] will return next.
    pub fn next_leg(&self) -> LegIndex {
        LegIndex(self.legs.len())
    }

    /// Adds a leg.
    pub fn add_leg(&mut self, leg: Leg) -> LegIndex {
        // Not four at once, as a vector would: a call has one or two.
        self.legs.reserve_exact(1);
        self.told.reserve_exact(1);
        self.legs
            .push(LegMedia::new(leg, &self.config, self.opened));
        self.told.push(LegStats::default());
        self.languages.reserve_exact(1);
        self.languages.push(LegLanguage::default());
        if self.config.partials.is_some() {
            self.drafts.push(PartialState::default());
        }
        LegIndex(self.legs.len() - 1)
    }

    /// Legs of the call, in the order in which they were added.
    pub fn legs(&self) -> impl Iterator<Item = (LegIndex, &Leg)> {
        let legs = self.legs.iter().map(LegMedia::leg);
        legs.enumerate().map(|(n, leg)| (LegIndex(n), leg))
    }

    /// The leg with that label, if there is one.
    pub fn leg(&self, leg: &Leg) -> Option<LegIndex> {
        self.legs
            .iter()
            .position(|media| media.leg() == leg)
            .map(LegIndex)
    }

    /// Sets which media the leg's source was announced to send; to be called whenever it is named.
    pub fn expect(&mut self, now: Instant, leg: LegIndex, expected: ExpectedMedia) {
        if let Some(media) = self.legs.get_mut(leg.0) {
            media.expect(now, expected);
        }
    }

    /// Names a payload type of the leg as that of telephone events (RFC 4733), and their clock where
    /// it is known, as a session description does. Events without a name are known by their shape
    /// or by 101; a clock without one by how the durations grow.
    pub fn name_events(&mut self, leg: LegIndex, payload_type: u8, clock: Option<ClockRate>) {
        if let Some(media) = self.legs.get_mut(leg.0) {
            media.name_events(payload_type, clock);
        }
    }

    /// Whether no packet of the leg has come since its source was named.
    pub fn is_unheard(&self, leg: LegIndex) -> bool {
        self.legs.get(leg.0).is_some_and(LegMedia::is_unheard)
    }

    /// Reads a value from each stretch of memory that a datagram of that leg will change, only to
    /// have it in the cache by then.
    pub fn glance(&self, leg: LegIndex) -> u64 {
        let leg = self.legs.get(leg.0).map_or(0, LegMedia::glance);
        let own = [
            self.outputs.len() as u64,
            self.jobs.len() as u64,
            self.news.into(),
        ];
        let stats = (self.next_stats.max(self.opened) == self.opened).into();
        let open = u64::from(self.is_open()) + u64::from(self.config.stats_interval.is_zero());
        sum([leg, sum(own), stats, open])
    }

    /// Takes one input. Poll afterwards.
    pub fn handle(&mut self, now: Instant, input: SessionInput<'_>) {
        match input {
            SessionInput::Datagram { leg, bytes } if self.phase == SessionPhase::Open => {
                // What is due before it on any leg comes first: neither what is heard nor the
                // order of the jobs may depend on how often the timers are looked at.
                self.run_due(now);
                if let Some(media) = self.legs.get_mut(leg.0) {
                    media.receive(now, bytes);
                    self.news = true;
                    self.collect(leg.0);
                    self.overhear(now, leg.0);
                    self.draft(leg.0);
                }
            }
            // After the end packets still drain from the network; they belong to nobody.
            SessionInput::Datagram { .. } => {}
            SessionInput::Elsewhere {
                leg,
                from,
                named,
                packets,
            } => {
                if let Some(media) = self.legs.get_mut(leg.0) {
                    media.tell_doctor(|doctor| doctor.elsewhere(now, from, named, packets));
                }
            }
            SessionInput::KernelDrops(count) => {
                for media in &mut self.legs {
                    media.tell_doctor(|doctor| doctor.kernel_drops(now, count));
                }
            }
            SessionInput::OwnKernelDrops { leg, count } => {
                if let Some(media) = self.legs.get_mut(leg.0) {
                    media.tell_doctor(|doctor| doctor.kernel_drops(now, count));
                }
            }
            SessionInput::Timer => self.advance(now),
            SessionInput::Recognised { job, result } => {
                self.news = true;
                self.jobs.answer(job, result);
            }
            SessionInput::Drafted {
                leg,
                revision,
                result,
            } => self.drafted(leg.0, revision, result),
            SessionInput::PartyMayDiffer { leg, why } if self.phase == SessionPhase::Open => {
                let at = now.saturating_duration_since(self.opened);
                self.reopen_language(leg, why, millis(at));
            }
            SessionInput::PartyMayDiffer { .. } => {}
            SessionInput::Hold { leg, is_on } if self.phase == SessionPhase::Open => {
                self.run_due(now);
                if let Some(media) = self.legs.get_mut(leg.0) {
                    media.hold(is_on);
                    self.news = true;
                    self.collect(leg.0);
                    self.draft(leg.0);
                }
            }
            SessionInput::Hold { .. } => {}
            SessionInput::Hangup => self.hang_up(now),
        }
        self.tell_news();
        self.settle();
    }

    /// The next thing that the session wants; see the contract above.
    #[must_use]
    pub fn poll(&mut self) -> SessionOutput {
        self.outputs
            .pop_front()
            .unwrap_or_else(|| SessionOutput::Wait(self.deadline()))
    }

    /// Whether the call has not been hung up.
    pub fn is_open(&self) -> bool {
        self.phase == SessionPhase::Open
    }

    /// Whether [`SessionOutput::Closed`] has been produced.
    pub fn is_closed(&self) -> bool {
        self.phase == SessionPhase::Closed
    }

    fn deadline(&self) -> Option<Instant> {
        match self.phase {
            SessionPhase::Open => {
                let stats = self.news.then_some(self.next_stats);
                self.legs
                    .iter()
                    .filter_map(LegMedia::deadline)
                    .chain(stats)
                    .min()
            }
            SessionPhase::Closing(until) => Some(until),
            SessionPhase::Closed => None,
        }
    }

    fn advance(&mut self, now: Instant) {
        match self.phase {
            SessionPhase::Open => {
                self.run_due(now);
                if now >= self.next_stats && mem::take(&mut self.news) && self.stats_are_news() {
                    self.next_stats = now + self.config.stats_interval;
                    self.told = self.legs.iter().map(LegMedia::stats).collect();
                    self.outputs
                        .push_back(SessionOutput::Stats(self.snapshots()));
                }
            }
            SessionPhase::Closing(until) if now >= until => {
                self.jobs.give_up(GapReason::RecognitionFailed)
            }
            SessionPhase::Closing(_) | SessionPhase::Closed => {}
        }
    }

    /// Runs the legs' timers that are due by `until`, in the order in which they are due.
    fn run_due(&mut self, until: Instant) {
        loop {
            let due = |(n, leg): (usize, &LegMedia)| Some((leg.deadline()?, n));
            let next = self.legs.iter().enumerate().filter_map(due).min();
            let Some((due, index)) = next.filter(|(due, _)| *due <= until) else {
                return;
            };
            self.legs[index].on_timer(due);
            self.news = true;
            self.collect(index);
            self.draft(index);
            if self.legs[index].deadline() == Some(due) {
                return;
            }
        }
    }

    fn hang_up(&mut self, now: Instant) {
        if self.phase != SessionPhase::Open {
            return;
        }
        self.run_due(now);
        for index in 0..self.legs.len() {
            self.legs[index].close(now);
            self.collect(index);
        }
        self.phase = SessionPhase::Closing(now + self.config.closing_wait);
    }

    /// Tells the other legs' doctors that one leg has spoken.
    fn overhear(&mut self, now: Instant, speaker: usize) {
        let spoken_ms = self.legs[speaker].take_spoken_ms();
        if spoken_ms == 0 {
            return;
        }
        for (_, other) in self
            .legs
            .iter_mut()
            .enumerate()
            .filter(|(n, _)| *n != speaker)
        {
            other.tell_doctor(|doctor| doctor.other_leg_spoke(now, spoken_ms));
        }
    }

    /// Gives out findings that have begun or ended, and the figures of the legs with them.
    fn tell_news(&mut self) {
        let before = self.outputs.len();
        for leg in &mut self.legs {
            self.outputs
                .extend(leg.take_news().into_iter().map(SessionOutput::Event));
        }
        if self.outputs.len() > before && self.phase == SessionPhase::Open {
            self.outputs
                .push_back(SessionOutput::Stats(self.snapshots()));
        }
    }

    /// Turns a leg's finished utterances into jobs, and gives out the keys that its party pressed.
    fn collect(&mut self, index: usize) {
        while let Some(key) = self.legs[index].take_key() {
            let end = key.began + key.duration;
            let at = end.saturating_duration_since(self.opened);
            self.outputs.push_back(SessionOutput::Digit(DtmfDigit {
                at_ms: millis(at),
                digit: key.digit,
                duration_ms: millis(key.duration),
                leg: self.legs[index].leg().clone(),
            }));
        }
        for CutUtterance { utterance, audio } in self.legs[index].take_spoken() {
            if let Some(draft) = self.drafts.get_mut(index) {
                draft.end();
            }
            let (start_ms, end_ms) = self.legs[index].call_times(&utterance);
            let Utterance { samples, .. } = utterance;
            let again = self.config.second_pass.as_ref();
            let again = again.map(|model| LaterSpeech {
                model: Arc::clone(model),
                samples: samples.clone(),
            });
            if let Some(job) = self.jobs.open(index, (start_ms, end_ms), audio, again) {
                self.legs[index].count_speech(samples.len() as u64);
                self.outputs.push_back(SessionOutput::Transcribe {
                    job,
                    leg: LegIndex(index),
                    samples,
                    choices: self.choices_of(index),
                });
            }
        }
    }

    fn stats_are_news(&self) -> bool {
        self.legs
            .iter()
            .zip(&self.told)
            .any(|(leg, told)| leg.stats() != *told)
    }

    fn snapshots(&self) -> Vec<LegSnapshot> {
        let legs = self.legs.iter().map(LegMedia::snapshot);
        let legs = legs.enumerate().map(|(n, leg)| LegSnapshot {
            language: self.locked(n).map(str::to_owned),
            ..leg
        });
        legs.collect()
    }
}

/// Sum of all values read by a glance: a result that depends on each, so that the compiler leaves
/// no read out.
fn sum(seen: impl IntoIterator<Item = u64>) -> u64 {
    seen.into_iter().fold(0, u64::wrapping_add)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
