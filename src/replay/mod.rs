//! Runs a capture through the very machine that serves live calls.
//!
//! Time is the capture's: the replay goes as fast as recognition allows, and
//! the same file gives the same output byte for byte, because sessions release
//! lines in the order of their jobs and nothing here reads a clock.

pub mod capture;
mod flows;
#[doc(hidden)]
pub mod fuzz;
mod report;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use self::capture::{Capture, CaptureError, CapturedDatagram};
use self::flows::Flows;
pub use self::report::{CaptureNote, FlowReport, Report, line_to_text};
use crate::call::GapReason;
use crate::recognition::pool::{Answer, Pool, PoolHandle};
use crate::recognition::{Speaker, Task, Urgency};
use crate::session::{Input, JobId, LegIndex, Output, Session, SessionConfig};
use crate::speech::Choices;

/// Why a replay gives no report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The file cannot be read.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// The recognition pool is gone.
    #[error("the recognition workers have stopped")]
    PoolGone,
}

/// Replays a capture file. `epoch` is any instant; only differences to it count.
pub fn run(
    path: &Path,
    config: SessionConfig,
    pool: &Pool<JobId>,
    epoch: Instant,
) -> Result<Report, ReplayError> {
    run_capture(&capture::read(path)?, config, pool, epoch)
}

/// Replays a capture that has been read. `epoch` as for [`run`].
pub fn run_capture(
    capture: &Capture,
    config: SessionConfig,
    pool: &Pool<JobId>,
    epoch: Instant,
) -> Result<Report, ReplayError> {
    Replay::new(capture, config, pool, epoch).run()
}

/// What a broken clock can pretend at most to have passed, a century: it
/// keeps every sum of times within bounds.
const MAX_SPAN: Duration = Duration::from_secs(100 * 366 * 24 * 3600);

/// Where in the capture the session begins.
#[derive(Debug, Clone, Copy)]
struct Start {
    /// Capture time of the session's opening.
    at: Duration,
    /// The same on the call's clock, whole milliseconds.
    ms: u64,
}

impl Start {
    /// Of any capture: its first datagram. Of one of ours: the last whole
    /// millisecond of the call's clock before that, so that times come out as
    /// they did live, and a capture of the middle of a call begins there.
    fn of(capture: &Capture, flows: &Flows) -> Self {
        let Some(recorded) = &capture.recorded else {
            let at = flows.start(&capture.datagrams);
            return Self { at, ms: 0 };
        };
        let arrivals = capture.datagrams.iter().filter(|d| d.leg.is_some());
        let first = arrivals.map(|datagram| datagram.at).min();
        let before = first.unwrap_or_default().saturating_sub(recorded.zero);
        let ms = u64::try_from(before.min(MAX_SPAN).as_millis()).unwrap_or(u64::MAX);
        let at = recorded.zero + Duration::from_millis(ms);
        Self { at, ms }
    }
}

struct Replay<'a> {
    capture: &'a Capture,
    flows: Flows,
    session: Session,
    legs: Vec<LegIndex>,
    epoch: Instant,
    /// Where the session begins.
    start: Start,
    /// Where the replay stands; never runs back.
    now: Instant,
    pool: PoolHandle<JobId>,
    reply: Sender<Answer<JobId>>,
    answers: Receiver<Answer<JobId>>,
    due: Option<Instant>,
    outstanding: usize,
    report: Report,
}

impl<'a> Replay<'a> {
    fn new(
        capture: &'a Capture,
        config: SessionConfig,
        pool: &Pool<JobId>,
        epoch: Instant,
    ) -> Self {
        let flows = Flows::of_capture(capture);
        // Nothing is live here: no utterance need ever be shed, nor given up.
        let config = SessionConfig {
            max_jobs: usize::MAX,
            partials: None,
            ..config
        };
        let mut session = Session::new(config, epoch);
        let legs = flows
            .iter()
            .map(|flow| session.add_leg(flow.leg.clone()))
            .collect();
        let (reply, answers) = bounded(pool.capacity());
        let start = Start::of(capture, &flows);
        let zero = start.at.saturating_sub(Duration::from_millis(start.ms));
        let report = Report::new(capture, &flows, zero);
        let pool = pool.handle();
        Self {
            capture,
            flows,
            session,
            legs,
            epoch,
            start,
            now: epoch,
            pool,
            reply,
            answers,
            due: None,
            outstanding: 0,
            report,
        }
    }

    fn run(mut self) -> Result<Report, ReplayError> {
        for datagram in &self.capture.datagrams {
            let Some(flow) = self.flows.of(datagram) else {
                continue;
            };
            let arrived = self.arrival(datagram);
            self.run_timers(arrived)?;
            self.now = self.now.max(arrived);
            self.session.handle(
                arrived,
                Input::Datagram {
                    leg: self.legs[flow],
                    bytes: &datagram.payload,
                },
            );
            self.pump()?;
        }
        self.run_to_end()?;
        self.session.handle(self.now, Input::Hangup);
        self.pump()?;
        while !self.session.is_closed() {
            self.take_answer()?;
            self.pump()?;
        }
        Ok(self.report)
    }

    fn arrival(&self, datagram: &CapturedDatagram) -> Instant {
        let at = self.instant(datagram.at);
        if self.capture.recorded.is_some() {
            // As it was live: one that was held until its leg was known comes late.
            at
        } else {
            // A capture's clock may step back; the session's must not.
            at.max(self.now)
        }
    }

    fn instant(&self, at: Duration) -> Instant {
        self.epoch + at.saturating_sub(self.start.at).min(MAX_SPAN)
    }

    /// Lets the time pass that did before the call, or its capture, ended.
    fn run_to_end(&mut self) -> Result<(), ReplayError> {
        let end = self.capture.recorded.as_ref().and_then(|r| r.end);
        if let Some(end) = end.map(|end| self.instant(end)) {
            self.run_timers(end)?;
            self.now = self.now.max(end);
        }
        Ok(())
    }

    fn run_timers(&mut self, until: Instant) -> Result<(), ReplayError> {
        while let Some(due) = self.due.filter(|&due| due <= until) {
            // What is overdue is due now: the session's time must not run back.
            self.now = self.now.max(due);
            self.session.handle(self.now, Input::Timer);
            self.pump()?;
            if self.due == Some(due) {
                break;
            }
        }
        Ok(())
    }

    fn pump(&mut self) -> Result<(), ReplayError> {
        loop {
            match self.session.poll() {
                Output::Wait(due) => {
                    self.due = due;
                    return Ok(());
                }
                Output::Transcribe {
                    job,
                    leg,
                    samples,
                    choices,
                } => {
                    while self.outstanding >= self.answers.capacity().unwrap_or(1) {
                        self.take_answer()?;
                    }
                    let task = self.task(leg, samples, choices);
                    self.pool
                        .submit(job, task, &self.reply)
                        .map_err(|_| ReplayError::PoolGone)?;
                    self.outstanding += 1;
                }
                Output::Line(mut line) => {
                    line.shift(self.start.ms);
                    self.report.lines.push(line);
                }
                // Nothing is late where nothing is live.
                Output::Deferred(_) => {}
                Output::Digit(mut digit) => {
                    digit.at_ms += self.start.ms;
                    self.report.dtmf.push(digit);
                }
                // Nobody waits here for what is not final.
                Output::Draft { .. } | Output::Partial(_) => {}
                Output::Stats(_) | Output::Event(_) => {}
                Output::Closed(legs) => self.report.close(legs, self.start.ms),
            }
        }
    }

    /// Nothing is live here: one after the other, as they were spoken.
    fn task(&self, leg: LegIndex, samples: Vec<i16>, choices: Arc<Choices>) -> Task {
        Task {
            samples,
            choices,
            urgency: Urgency::Backlog,
            speaker: Speaker::new(0, leg.place()),
            spoken: self.now,
        }
    }

    /// Waits for an answer and hands it to the session. Poll afterwards.
    fn take_answer(&mut self) -> Result<(), ReplayError> {
        let answer = self.answers.recv().map_err(|_| ReplayError::PoolGone)?;
        self.outstanding -= 1;
        let result = answer
            .result
            .map_err(|_| GapReason::RecognitionFailed.into());
        self.session.handle(
            self.now,
            Input::Recognised {
                job: answer.ticket,
                result,
            },
        );
        Ok(())
    }
}
