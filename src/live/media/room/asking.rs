//! What a session asks for, and what it is told in return.

use std::sync::Arc;
use std::time::Instant;

use super::{Room, RoomConfig, SessionKey};
use crate::call::{GapReason, Leg};
use crate::live::media::{MediaEvent, MediaEventKind};
use crate::recognition::pool::{Answer, Unrecognised};
use crate::recognition::{Speaker, Task, Urgency};
use crate::session::{Input, JobId, LegIndex, Output, Unheard};
use crate::speech::Choices;
use crate::store::SpoolId;

/// Whose a recognition job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ticket {
    /// A call's on a media thread.
    Live(LiveTicket),
    /// Of an utterance that was kept on the disk, by its place there.
    Spooled(SpoolId),
}

/// Whose a job of a call on a media thread is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiveTicket {
    session: SessionKey,
    ask: Ask,
}

/// What a session asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    Job(JobId),
    Draft { leg: LegIndex, revision: u32 },
}

impl Room {
    /// A recognition job was answered.
    pub(in crate::live::media) fn answer(&mut self, now: Instant, answer: Answer<Ticket>) {
        let Ticket::Live(LiveTicket { session, ask }) = answer.ticket else {
            // Those have their answers elsewhere.
            return;
        };
        let job = match ask {
            Ask::Job(job) => job,
            Ask::Draft { leg, revision } => {
                let result = answer.result.ok();
                let input = Input::Drafted {
                    leg,
                    revision,
                    result,
                };
                return self.feed(now, session, input);
            }
        };
        let samples = answer.samples;
        let result = answer.result.map_err(|error| match error {
            Unrecognised::TooOld => late(&self.config, samples),
            Unrecognised::Failed(_) | Unrecognised::Replaced => {
                tracing::warn!(%error, "an utterance could not be recognised");
                GapReason::RecognitionFailed.into()
            }
        });
        self.feed(now, session, Input::Recognised { job, result });
    }

    /// Does what a session wants until it waits.
    pub(super) fn pump(&mut self, key: SessionKey, now: Instant) {
        let Some(resident) = self.residents.get_mut(key) else {
            return;
        };
        resident.touched = false;
        let call = &resident.call;
        let mut closed = false;
        loop {
            let kind = match resident.session.poll() {
                Output::Wait(due) => {
                    resident.due = due;
                    break;
                }
                Output::Transcribe {
                    job,
                    leg,
                    samples,
                    choices,
                } => {
                    let room = self.config.number;
                    let task = task(key, room, leg, (samples, choices), Urgency::Final, now);
                    let ticket = Ticket::Live(LiveTicket {
                        session: key,
                        ask: Ask::Job(job),
                    });
                    if let Err((_, samples)) = self.pool.offer(ticket, task, &self.reply) {
                        let result = Err(late(&self.config, samples));
                        resident
                            .session
                            .handle(now, Input::Recognised { job, result });
                    }
                    continue;
                }
                Output::Draft {
                    leg,
                    revision,
                    samples,
                    choices,
                } => {
                    let room = self.config.number;
                    let task = task(key, room, leg, (samples, choices), Urgency::Partial, now);
                    let ticket = Ticket::Live(LiveTicket {
                        session: key,
                        ask: Ask::Draft { leg, revision },
                    });
                    if self.pool.offer(ticket, task, &self.reply).is_err() {
                        let input = Input::Drafted {
                            leg,
                            revision,
                            result: None,
                        };
                        resident.session.handle(now, input);
                    }
                    continue;
                }
                Output::Partial(partial) => MediaEventKind::Partial(partial),
                Output::Line(line) => MediaEventKind::Line(line),
                Output::Deferred(deferred) => MediaEventKind::Deferred(deferred),
                Output::Event(event) => {
                    let leg = event.leg.as_ref().map_or("", Leg::as_str);
                    tracing::info!(%call, leg, kind = ?event.kind, "{}", event.text);
                    MediaEventKind::Event(event)
                }
                Output::Digit(digit) => MediaEventKind::Digit(digit),
                Output::Stats(legs) => MediaEventKind::Stats(legs),
                Output::Closed(legs) => {
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

/// Nobody had time for it.
fn late(config: &RoomConfig, samples: Vec<i16>) -> Unheard {
    if config.keeps_late {
        return Unheard::Late(samples);
    }
    tracing::warn!("an utterance has no text: recognition could not keep up");
    GapReason::OverloadShed.into()
}

/// What the pool is asked for a leg.
fn task(
    key: SessionKey,
    room: usize,
    leg: LegIndex,
    (samples, choices): (Vec<i16>, Arc<Choices>),
    urgency: Urgency,
    now: Instant,
) -> Task {
    Task {
        samples,
        choices,
        urgency,
        speaker: Speaker::new(key.among_all(room), leg.place()),
        spoken: now,
    }
}
