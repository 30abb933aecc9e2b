//! Outputs of a session, carried out by its shard, and the answers to them.

use std::sync::Arc;
use std::time::Instant;

use asterscribe_call::{GapReason, Leg};
use asterscribe_recognition::pool::{JobAnswer, NotRecognised};
use asterscribe_recognition::{JobUrgency, RecognitionTask, SpeakerLeg};
use asterscribe_session::{JobId, LegIndex, SessionInput, SessionOutput, UnheardReason};
use asterscribe_speech::DecodeOptions;
use asterscribe_store::SpoolId;

use super::{SessionKey, SessionShard, ShardConfig};
use crate::media::{MediaEvent, MediaEventKind};

/// The owner of a recognition job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobTicket {
    /// Job of a call on a media thread.
    Live(LiveTicket),
    /// Job of an utterance in the spool, by its place there.
    Spooled(SpoolId),
}

/// The leg of a call on a media thread that owns a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiveTicket {
    session: SessionKey,
    ask: SessionRequest,
}

/// A request of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SessionRequest {
    Job(JobId),
    Draft { leg: LegIndex, revision: u32 },
}

impl SessionShard {
    /// Hands a session the answer to one of its jobs.
    pub(in crate::media) fn answer(&mut self, now: Instant, answer: JobAnswer<JobTicket>) {
        let JobTicket::Live(LiveTicket { session, ask }) = answer.ticket else {
            // Those have their answers elsewhere.
            return;
        };
        let job = match ask {
            SessionRequest::Job(job) => job,
            SessionRequest::Draft { leg, revision } => {
                let result = answer.result.ok();
                let input = SessionInput::Drafted {
                    leg,
                    revision,
                    result,
                };
                return self.feed(now, session, input);
            }
        };
        let samples = answer.samples;
        let result = answer.result.map_err(|error| match error {
            NotRecognised::TooOld => late(&self.config, samples),
            NotRecognised::Failed(_) | NotRecognised::Replaced => {
                tracing::warn!(%error, "cannot recognise an utterance");
                GapReason::RecognitionFailed.into()
            }
        });
        self.feed(now, session, SessionInput::Recognised { job, result });
    }

    /// Carries out the outputs of a session until it waits.
    pub(super) fn pump(&mut self, key: SessionKey, now: Instant) {
        let Some(resident) = self.residents.get_mut(key) else {
            return;
        };
        resident.touched = false;
        let call = &resident.call;
        let mut closed = false;
        loop {
            let kind = match resident.session.poll() {
                SessionOutput::Wait(due) => {
                    resident.due = due;
                    break;
                }
                SessionOutput::Transcribe {
                    job,
                    leg,
                    samples,
                    choices,
                } => {
                    let shard = self.config.number;
                    let task = task(key, shard, leg, (samples, choices), JobUrgency::Final, now);
                    let ticket = JobTicket::Live(LiveTicket {
                        session: key,
                        ask: SessionRequest::Job(job),
                    });
                    if let Err((_, samples)) = self.pool.offer(ticket, task, &self.reply) {
                        let result = Err(late(&self.config, samples));
                        resident
                            .session
                            .handle(now, SessionInput::Recognised { job, result });
                    }
                    continue;
                }
                SessionOutput::Draft {
                    leg,
                    revision,
                    samples,
                    choices,
                } => {
                    let shard = self.config.number;
                    let task = task(
                        key,
                        shard,
                        leg,
                        (samples, choices),
                        JobUrgency::Partial,
                        now,
                    );
                    let ticket = JobTicket::Live(LiveTicket {
                        session: key,
                        ask: SessionRequest::Draft { leg, revision },
                    });
                    if self.pool.offer(ticket, task, &self.reply).is_err() {
                        let input = SessionInput::Drafted {
                            leg,
                            revision,
                            result: None,
                        };
                        resident.session.handle(now, input);
                    }
                    continue;
                }
                SessionOutput::Partial(partial) => MediaEventKind::Partial(partial),
                SessionOutput::Line(line) => MediaEventKind::Line(line),
                SessionOutput::Deferred(deferred) => MediaEventKind::Deferred(deferred),
                SessionOutput::Event(event) => {
                    let leg = event.leg.as_ref().map_or("", Leg::as_str);
                    tracing::info!(%call, leg, kind = ?event.kind, "{}", event.text);
                    MediaEventKind::Event(event)
                }
                SessionOutput::Digit(digit) => MediaEventKind::Digit(digit),
                SessionOutput::Stats(legs) => MediaEventKind::Stats(legs),
                SessionOutput::Closed(legs) => {
                    closed = true;
                    MediaEventKind::Closed(legs)
                }
            };
            self.events.push(MediaEvent {
                call: call.clone(),
                kind,
            });
        }
        if closed {
            self.residents.remove(key);
        } else {
            self.residents.reschedule(key);
        }
    }
}

/// Reason for an utterance that recognition had no time for: it is kept if there is a spool, else
/// given up.
fn late(config: &ShardConfig, samples: Vec<i16>) -> UnheardReason {
    if config.keeps_late {
        return UnheardReason::Late(samples);
    }
    tracing::warn!("an utterance has no text: recognition could not keep up");
    GapReason::OverloadShed.into()
}

/// Recognition task for the pool, made of a leg's job.
fn task(
    key: SessionKey,
    shard: usize,
    leg: LegIndex,
    (samples, choices): (Vec<i16>, Arc<DecodeOptions>),
    urgency: JobUrgency,
    now: Instant,
) -> RecognitionTask {
    RecognitionTask {
        samples,
        choices,
        urgency,
        speaker: SpeakerLeg::new(key.among_all(shard), leg.place()),
        spoken: now,
    }
}
