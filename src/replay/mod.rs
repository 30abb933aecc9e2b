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

struct Replay<'a> {
    capture: &'a Capture,
    flows: Flows,
    session: Session,
    legs: Vec<LegIndex>,
    epoch: Instant,
    start: Duration,
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
        let flows = Flows::find(&capture.datagrams);
        // Nothing is live here: no utterance need ever be shed, nor given up.
        let config = SessionConfig {
            max_jobs: usize::MAX,
            ..config
        };
        let mut session = Session::new(config, epoch);
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
            // A capture's clock may step back; the session's must not.
            let arrived = self.now.max(self.instant(datagram));
            self.run_timers(arrived)?;
            self.now = arrived;
            self.session.handle(
                arrived,
                Input::Datagram {
                    leg: self.legs[flow],
                    bytes: &datagram.payload,
                },
            );
            self.pump()?;
        }
        self.session.handle(self.now, Input::Hangup);
        self.pump()?;
        while !self.session.is_closed() {
            self.take_answer()?;
            self.pump()?;
        }
        Ok(self.report)
    }

    fn instant(&self, datagram: &CapturedDatagram) -> Instant {
        self.epoch + datagram.at.saturating_sub(self.start).min(MAX_SPAN)
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
                Output::Transcribe { job, samples } => {
                    while self.outstanding >= self.answers.capacity().unwrap_or(1) {
                        self.take_answer()?;
                    }
                    self.pool
                        .submit(job, samples, &self.reply)
                        .map_err(|_| ReplayError::PoolGone)?;
                    self.outstanding += 1;
                }
                Output::Line(line) => self.report.lines.push(line),
                Output::Digit(digit) => self.report.dtmf.push(digit),
                Output::Stats(_) | Output::Event(_) => {}
                Output::Closed(legs) => self.report.close(legs),
            }
        }
    }

    /// Waits for an answer and hands it to the session. Poll afterwards.
    fn take_answer(&mut self) -> Result<(), ReplayError> {
        let answer = self.answers.recv().map_err(|_| ReplayError::PoolGone)?;
        self.outstanding -= 1;
        let result = answer.result.map_err(|_| GapReason::RecognitionFailed);
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
