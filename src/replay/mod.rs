//! Runs a capture through the very machine that serves live calls.
//!
//! Time is the capture's: the replay goes as fast as recognition allows, and
//! the same file gives the same output byte for byte, because sessions release
//! lines in the order of their jobs and nothing here reads a clock.
//!
//! A file is read twice: once to find the flows, what they carry and whether their
//! times can be believed (`flows`, `payloads`, `moments`), once to hand their packets
//! to the session in the order of time (`order`). Memory does not grow with it.

pub mod capture;
mod flows;
#[doc(hidden)]
pub mod fuzz;
mod moments;
mod order;
mod payloads;
mod report;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use asterscribe_call::GapReason;
use asterscribe_recognition::pool::{JobAnswer, PoolHandle, RecognitionPool};
use asterscribe_recognition::{JobUrgency, RecognitionTask, SpeakerLeg};
use asterscribe_rtp::RtpPacket;
use asterscribe_session::{
    CallSession, JobId, LegIndex, SessionConfig, SessionInput, SessionOutput,
};
use asterscribe_speech::DecodeOptions;
use crossbeam_channel::{Receiver, Sender, bounded};

use self::capture::{
    BorrowedDatagram, CaptureError, CaptureInput, CapturePass, CaptureSummary, HeldCapture,
};
use self::flows::{FlowList, FlowSurvey, RtpFlow};
use self::moments::{CaptureClock, StreamClock};
use self::order::{DatagramQueue, QueuedDatagram};
pub use self::payloads::{PayloadMeaning, ToldPayload};
pub use self::report::{CaptureNote, CopyReport, FlowReport, ReplayReport, line_to_text};

/// Error: a replay gives no report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The file cannot be read.
    #[error(transparent)]
    Capture(#[from] CaptureError),
    /// Packets that are to be sorted exceed the memory, and the disk cannot take them either.
    #[error("cannot keep packets in a temporary file (TMPDIR): {0}")]
    Temporary(#[from] io::Error),
    /// The recognition pool is gone.
    #[error("the recognition workers have stopped")]
    PoolGone,
}

/// Replays a capture file. `told`: formats of payload types, where they are known. `epoch` is any
/// instant; only differences to it count.
///
/// # Errors
/// The file cannot be read, or the recognition pool has stopped.
pub fn run(
    path: &Path,
    told: &[ToldPayload],
    config: SessionConfig,
    pool: &RecognitionPool<JobId>,
    epoch: Instant,
) -> Result<ReplayReport, ReplayError> {
    let input = CaptureInput::open(path)?;
    run_source(&PacketSource::File(&input), told, config, pool, epoch)
}

/// Replays a capture that has been read. `epoch` as for [`run`].
///
/// # Errors
/// As of [`run`].
pub fn run_capture(
    capture: &HeldCapture,
    config: SessionConfig,
    pool: &RecognitionPool<JobId>,
    epoch: Instant,
) -> Result<ReplayReport, ReplayError> {
    run_source(&PacketSource::Memory(capture), &[], config, pool, epoch)
}

/// Source of the packets, which can be read more than once.
enum PacketSource<'a> {
    File(&'a CaptureInput),
    Memory(&'a HeldCapture),
}

impl PacketSource<'_> {
    /// One pass; `limit`: most packets, since a file may grow between two passes.
    fn pass(
        &self,
        limit: Option<u64>,
        visit: &mut dyn FnMut(CapturePass<'_>) -> Result<(), ReplayError>,
    ) -> Result<CaptureSummary, ReplayError> {
        match self {
            Self::File(input) => input.pass(limit, visit),
            Self::Memory(capture) => capture.pass(visit),
        }
    }
}

fn run_source(
    source: &PacketSource<'_>,
    told: &[ToldPayload],
    config: SessionConfig,
    pool: &RecognitionPool<JobId>,
    epoch: Instant,
) -> Result<ReplayReport, ReplayError> {
    let mut survey = FlowSurvey::default();
    let summary = source.pass(None, &mut |seen| {
        survey.see(seen);
        Ok(())
    })?;
    let flows = survey.finish(&summary, told);
    let mut replay = CaptureReplay::new(&summary, flows, config, pool, epoch);
    source.pass(Some(summary.packets), &mut |seen| replay.see(seen))?;
    replay.end(&summary)
}

/// Longest span of a capture, a century: whatever a broken clock pretends, sums of times stay
/// within bounds.
const MAX_SPAN: Duration = Duration::from_secs(100 * 366 * 24 * 3600);

/// Start of the session, by the capture's clock and by the call's.
#[derive(Debug, Clone, Copy)]
struct SessionStart {
    /// Capture time of the session's opening.
    at: Duration,
    /// Time on the call's clock, whole milliseconds.
    ms: u64,
}

impl SessionStart {
    /// The first packet of the flows, on a call's clock that begins with it. In a capture made by
    /// this program: the last whole millisecond of the call's clock before that packet, so that
    /// times come out as they did live, and a capture of the middle of a call begins there.
    fn of(summary: &CaptureSummary, flows: &FlowList) -> Self {
        let Some(recorded) = &summary.recorded else {
            return Self {
                at: flows.start,
                ms: 0,
            };
        };
        let before = flows.start.saturating_sub(recorded.zero);
        let ms = u64::try_from(before.min(MAX_SPAN).as_millis()).unwrap_or(u64::MAX);
        let at = recorded.zero + Duration::from_millis(ms);
        Self { at, ms }
    }
}

struct CaptureReplay {
    flows: FlowList,
    session: CallSession,
    legs: Vec<LegIndex>,
    epoch: Instant,
    /// Start of the session.
    start: SessionStart,
    /// Time of the replay; never runs back.
    now: Instant,
    /// Datagrams of the file so far, and when each of the flows' came.
    seen: u64,
    clock: CaptureClock,
    streams: Vec<StreamClock>,
    newest: Duration,
    queue: DatagramQueue,
    pool: PoolHandle<JobId>,
    reply: Sender<JobAnswer<JobId>>,
    answers: Receiver<JobAnswer<JobId>>,
    due: Option<Instant>,
    outstanding: usize,
    report: ReplayReport,
}

impl CaptureReplay {
    fn new(
        summary: &CaptureSummary,
        flows: FlowList,
        config: SessionConfig,
        pool: &RecognitionPool<JobId>,
        epoch: Instant,
    ) -> Self {
        // Nothing is live here: no utterance need ever be shed, nor given up.
        let config = SessionConfig {
            max_jobs: usize::MAX,
            partials: None,
            ..config
        };
        let mut session = CallSession::new(config, epoch);
        let mut add = |flow: &RtpFlow| {
            let leg = session.add_leg(flow.leg.clone());
            for (payload_type, clock) in flow.events() {
                session.name_events(leg, payload_type, clock);
            }
            leg
        };
        let legs = flows.iter().map(&mut add).collect();
        let streams = flows
            .iter()
            .map(|flow| StreamClock::new(flow.untimed_from))
            .collect();
        let (reply, answers) = bounded(pool.capacity());
        let start = SessionStart::of(summary, &flows);
        let zero = start.at.saturating_sub(Duration::from_millis(start.ms));
        let report = ReplayReport::new(summary, &flows, zero);
        let clock = CaptureClock::knowing(&flows.leaps);
        Self {
            flows,
            session,
            legs,
            epoch,
            start,
            now: epoch,
            seen: 0,
            clock,
            streams,
            newest: Duration::ZERO,
            queue: DatagramQueue::default(),
            pool: pool.handle(),
            reply,
            answers,
            due: None,
            outstanding: 0,
            report,
        }
    }

    /// Takes what the second pass shows, and hands on whatever nothing can come before.
    fn see(&mut self, seen: CapturePass<'_>) -> Result<(), ReplayError> {
        let CapturePass::Datagram(datagram) = seen else {
            return Ok(());
        };
        let number = self.seen;
        self.seen += 1;
        let Some(flow) = self.flows.of(&datagram) else {
            return Ok(());
        };
        if self.flows.are_told() {
            // As it was live: one that was held until its leg was known comes late.
            let arrived = self.instant(datagram.at);
            return self.hand_in(arrived, flow, datagram.payload);
        }
        let entry = self.entry(number, flow, &datagram);
        self.newest = self.newest.max(entry.at);
        self.queue.push(entry)?;
        match self.flows.back {
            Some(back) => self.hand_on(self.newest.saturating_sub(back)),
            None => Ok(()),
        }
    }

    fn entry(
        &mut self,
        number: u64,
        flow: usize,
        datagram: &BorrowedDatagram<'_>,
    ) -> QueuedDatagram {
        let mut payload = datagram.payload.to_vec();
        let is_rtp = RtpPacket::parse(&payload).is_ok();
        if is_rtp {
            self.flows.flow(flow).renumber(datagram.at, &mut payload);
        }
        let packet = RtpPacket::parse(&payload).ok().filter(|_| is_rtp);
        let stream = &mut self.streams[flow];
        let at = self
            .clock
            .time(stream, datagram.at, packet.as_ref(), number);
        QueuedDatagram {
            at,
            number,
            // Not reached: there are a few thousand flows at most.
            flow: u32::try_from(flow).unwrap_or(u32::MAX),
            payload,
        }
    }

    /// Hands in the datagrams that came by then, in the order of time.
    fn hand_on(&mut self, until: Duration) -> Result<(), ReplayError> {
        while let Some(entry) = self.queue.pop(until)? {
            // The session's time must not step back, whatever the capture's does.
            let arrived = self.instant(entry.at).max(self.now);
            self.hand_in(arrived, entry.flow as usize, &entry.payload)?;
        }
        Ok(())
    }

    fn hand_in(&mut self, arrived: Instant, flow: usize, bytes: &[u8]) -> Result<(), ReplayError> {
        self.run_timers(arrived)?;
        self.now = self.now.max(arrived);
        let leg = self.legs[flow];
        self.session
            .handle(arrived, SessionInput::Datagram { leg, bytes });
        self.pump()
    }

    /// Ends the replay: nothing follows in the capture.
    fn end(mut self, summary: &CaptureSummary) -> Result<ReplayReport, ReplayError> {
        self.hand_on(Duration::MAX)?;
        self.run_to_end(summary)?;
        self.session.handle(self.now, SessionInput::Hangup);
        self.pump()?;
        while !self.session.is_closed() {
            self.take_answer()?;
            self.pump()?;
        }
        Ok(self.report)
    }

    fn instant(&self, at: Duration) -> Instant {
        self.epoch + at.saturating_sub(self.start.at).min(MAX_SPAN)
    }

    /// Lets the time pass that did before the call, or its capture, ended.
    fn run_to_end(&mut self, summary: &CaptureSummary) -> Result<(), ReplayError> {
        let end = summary.recorded.as_ref().and_then(|r| r.end);
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
            self.session.handle(self.now, SessionInput::Timer);
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
                SessionOutput::Wait(due) => {
                    self.due = due;
                    return Ok(());
                }
                SessionOutput::Transcribe {
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
                SessionOutput::Line(mut line) => {
                    line.shift(self.start.ms);
                    self.report.lines.push(line);
                }
                // Nothing is late where nothing is live.
                SessionOutput::Deferred(_) => {}
                SessionOutput::Digit(mut digit) => {
                    digit.at_ms += self.start.ms;
                    self.report.dtmf.push(digit);
                }
                // Nobody waits here for what is not final.
                SessionOutput::Draft { .. } | SessionOutput::Partial(_) => {}
                SessionOutput::Stats(_) | SessionOutput::Event(_) => {}
                SessionOutput::Closed(legs) => self.report.close(legs, self.start.ms),
            }
        }
    }

    /// Nothing is live here: one after the other, as they were spoken.
    fn task(
        &self,
        leg: LegIndex,
        samples: Vec<i16>,
        choices: Arc<DecodeOptions>,
    ) -> RecognitionTask {
        RecognitionTask {
            samples,
            choices,
            urgency: JobUrgency::Backlog,
            speaker: SpeakerLeg::new(0, leg.place()),
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
            SessionInput::Recognised {
                job: answer.ticket,
                result,
            },
        );
        Ok(())
    }
}
