//! Runs a capture through the very machine that serves live calls.
//!
//! Time is the capture's: the replay goes as fast as recognition allows, and
//! the same file gives the same output byte for byte, because sessions release
//! lines in the order of their jobs and nothing here reads a clock.

pub mod capture;
mod flows;
mod report;

use std::path::Path;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use self::capture::{Capture, CaptureError, CapturedDatagram};
use self::flows::Flows;
pub use self::report::{FlowReport, Report, line_to_text};
use crate::call::GapReason;
use crate::session::{Input, JobId, LegIndex, Output, Session, SessionConfig};
use crate::speech::pool::{Answer, Pool, PoolHandle};

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
    let capture = capture::read(path)?;
    Replay::new(&capture, config, pool, epoch).run()
}

struct Replay<'a> {
    capture: &'a Capture,
    flows: Flows,
    session: Session,
    legs: Vec<LegIndex>,
    epoch: Instant,
    start: Duration,
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
        let flows = Flows::find(&capture.datagrams);
        // Nothing is live here: no utterance need ever be shed, nor given up.
        let config = SessionConfig {
            max_jobs: usize::MAX,
            ..config
        };
        let mut session = Session::new(config, 0, epoch);
        let legs = flows
            .iter()
            .map(|flow| session.add_leg(flow.leg.clone()))
            .collect();
        let (reply, answers) = bounded(pool.capacity());
        let start = flows.start(&capture.datagrams);
        let report = Report::new(capture, &flows, start);
        let pool = pool.handle();
        Self {
            capture,
            flows,
            session,
            legs,
            epoch,
            start,
            pool,
            reply,
            answers,
            due: None,
            outstanding: 0,
            report,
        }
    }

    fn run(mut self) -> Result<Report, ReplayError> {
        let mut now = self.epoch;
        for datagram in &self.capture.datagrams {
            let Some(flow) = self.flows.of(datagram) else {
                continue;
            };
            // A capture's clock may step back; the session's must not.
            now = now.max(self.instant(datagram));
            self.run_timers(now)?;
            self.session.handle(
                now,
                Input::Datagram {
                    leg: self.legs[flow],
                    bytes: &datagram.payload,
                },
            );
            self.pump(now)?;
        }
        self.session.handle(now, Input::Hangup);
        self.pump(now)?;
        while !self.session.is_closed() {
            let answer = self.answers.recv().map_err(|_| ReplayError::PoolGone)?;
            self.take(now, answer)?;
        }
        Ok(self.report)
    }

    fn instant(&self, datagram: &CapturedDatagram) -> Instant {
        self.epoch + datagram.at.saturating_sub(self.start)
    }

    fn run_timers(&mut self, until: Instant) -> Result<(), ReplayError> {
        while let Some(due) = self.due.filter(|&due| due <= until) {
            self.session.handle(due, Input::Timer);
            self.pump(due)?;
            if self.due == Some(due) {
                break;
            }
        }
        Ok(())
    }

    fn pump(&mut self, now: Instant) -> Result<(), ReplayError> {
        loop {
            match self.session.poll() {
                Output::Wait(due) => {
                    self.due = due;
                    return Ok(());
                }
                Output::Transcribe { job, samples } => {
                    while self.outstanding >= self.answers.capacity().unwrap_or(1) {
                        let answer = self.answers.recv().map_err(|_| ReplayError::PoolGone)?;
                        self.outstanding -= 1;
                        self.feed(now, answer);
                    }
                    self.pool
                        .submit(job, samples, &self.reply)
                        .map_err(|_| ReplayError::PoolGone)?;
                    self.outstanding += 1;
                }
                Output::Line(line) => self.report.lines.push(line),
                Output::Stats(_) => {}
                Output::Closed(legs) => self.report.close(legs),
            }
        }
    }

    fn take(&mut self, now: Instant, answer: Answer<JobId>) -> Result<(), ReplayError> {
        self.outstanding -= 1;
        self.feed(now, answer);
        self.pump(now)
    }

    fn feed(&mut self, now: Instant, answer: Answer<JobId>) {
        let result = answer.result.map_err(|_| GapReason::RecognitionFailed);
        self.session.handle(
            now,
            Input::Recognised {
                job: answer.ticket,
                result,
            },
        );
    }
}
