//! When which packet is due on one leg.
//!
//! The contract: after each [`enqueue`](LegPlayout::enqueue) and
//! [`stop`](LegPlayout::stop), and at the time of the last [`PlayoutTurn::Wait`],
//! [`poll`](LegPlayout::poll) until it waits; every [`PlayoutTurn::Send`] is answered by
//! [`sent`](LegPlayout::sent) at once.
//!
//! Asterisk plays what arrives when it arrives, so packets leave at the pace of
//! the sound, one each 20 ms. Who wakes late makes up for it by sending at
//! twice the pace; what is later than [`MAX_LATE`] is not made up for at all,
//! the sound goes on from there.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use asterscribe_codecs::{FRAME_MS, SendFormat};
use asterscribe_rtp::{OutgoingStream, PayloadType, StreamStart};

use super::clip::EncodedClip;

/// Clips of one leg, the one that is playing among them.
pub const MAX_QUEUED: usize = 16;

/// How long the clips of one leg may last together.
pub const MAX_QUEUED_LENGTH: Duration = Duration::from_secs(3600);

/// Packet spacing of the sound.
const STEP: Duration = Duration::from_millis(FRAME_MS);

/// No packet follows another sooner than this.
const MIN_STEP: Duration = Duration::from_millis(FRAME_MS / 2);

/// Being late by more shifts what follows.
const MAX_LATE: Duration = Duration::from_millis(60);

/// Packets between two reports of progress: half a second.
const PROGRESS: usize = 25;

/// A second of packets that the system had no room for, one after the other,
/// is no hiccup.
const MAX_UNSENT: usize = 50;

/// Next action for a leg: a packet, a report or a pause.
#[derive(Debug, PartialEq, Eq)]
pub enum PlayoutTurn<'a> {
    /// Send this datagram to the leg's source, and give the outcome to [`LegPlayout::sent`].
    Send(&'a [u8]),
    /// Report this to the call manager.
    Report(PlayReport),
    /// Wait until this time; `None`: until a clip is enqueued.
    Wait(Option<Instant>),
}

/// Report on a clip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlayReport {
    /// Number under which it was enqueued.
    pub id: u64,
    /// Time of the report.
    pub at: Instant,
    /// Length of sound played until then.
    pub played: Duration,
    /// Event that is reported.
    pub event: PlayEvent,
}

/// An event of a clip's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlayEvent {
    /// The clip has begun.
    Started,
    /// The clip goes on; reported every half second.
    Progress,
    /// The clip was played to its end.
    Finished,
    /// The clip was stopped.
    Stopped,
    /// The clip could not be sent, for this reason.
    Failed(String),
}

/// Error: a clip is not taken into the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QueueFull {
    /// The leg has [`MAX_QUEUED`] clips already.
    #[error("{MAX_QUEUED} sounds wait to be played to this leg already")]
    Count,
    /// The leg's clips would last longer than [`MAX_QUEUED_LENGTH`].
    #[error("more than {} s of sound would wait to be played to this leg", MAX_QUEUED_LENGTH.as_secs())]
    Length,
}

/// Error: a packet was not sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendError {
    /// The system's send buffer is full; the packet counts as lost on the way.
    Full,
    /// The system refused it, with this message; the clip is given up.
    Refused(String),
}

/// The clips that are played to one leg.
#[derive(Debug)]
pub struct LegPlayout {
    stream: OutgoingStream,
    queue: VecDeque<PlayoutItem>,
    /// When the next packet is due; `None` before the first of all.
    due: Option<Instant>,
    /// Earliest time of the next packet, [`MIN_STEP`] after the one before.
    earliest: Option<Instant>,
    /// Whether the next packet is the first after a pause.
    resumes: bool,
    /// Packets in a row that could not be sent.
    unsent: usize,
    reports: VecDeque<PlayReport>,
    datagram: Vec<u8>,
}

#[derive(Debug)]
struct PlayoutItem {
    id: u64,
    clip: EncodedClip,
    started: bool,
    /// Packets that have been handed out.
    packets: usize,
}

impl LegPlayout {
    /// Nothing is played yet; packets will be numbered from `start` on.
    pub fn new(start: StreamStart) -> Self {
        Self {
            stream: OutgoingStream::new(start),
            queue: VecDeque::new(),
            due: None,
            earliest: None,
            resumes: true,
            unsent: 0,
            reports: VecDeque::new(),
            datagram: Vec::new(),
        }
    }

    /// Plays `clip` when those before it have been played.
    ///
    /// # Errors
    /// [`QueueFull`]; nothing has changed.
    pub fn enqueue(&mut self, id: u64, clip: EncodedClip) -> Result<(), QueueFull> {
        if self.queue.len() >= MAX_QUEUED {
            return Err(QueueFull::Count);
        }
        let queued: Duration = self.queue.iter().map(|item| item.clip.length()).sum();
        if queued + clip.length() > MAX_QUEUED_LENGTH {
            return Err(QueueFull::Length);
        }
        self.queue.push_back(PlayoutItem {
            id,
            clip,
            started: false,
            packets: 0,
        });
        Ok(())
    }

    /// Stops the clip with this number, or all clips.
    pub fn stop(&mut self, now: Instant, id: Option<u64>) {
        let stopped = |item: &PlayoutItem| id.is_none_or(|id| item.id == id);
        let (gone, left) = self.queue.drain(..).partition(stopped);
        self.queue = left;
        let gone: VecDeque<PlayoutItem> = gone;
        self.reports
            .extend(gone.iter().map(|item| item.report(now, PlayEvent::Stopped)));
    }

    /// The next action at `now`: a report, a packet, or the time until which nothing is due.
    pub fn poll(&mut self, now: Instant) -> PlayoutTurn<'_> {
        if let Some(report) = self.reports.pop_front() {
            return PlayoutTurn::Report(report);
        }
        let Some(item) = self.queue.front_mut() else {
            return PlayoutTurn::Wait(None);
        };
        // The next step is due once the one before it has been heard.
        let due = self.due.unwrap_or(now);
        let earliest = self.earliest.map_or(due, |earliest| earliest.max(due));
        let ended = item.clip.packet(item.packets).is_none();
        if now < if ended { due } else { earliest } {
            return PlayoutTurn::Wait(Some(if ended { due } else { earliest }));
        }
        if ended {
            let report = item.report(now, PlayEvent::Finished);
            self.queue.pop_front();
            return PlayoutTurn::Report(report);
        }
        if !item.started {
            item.started = true;
            return PlayoutTurn::Report(item.report(now, PlayEvent::Started));
        }
        self.next_packet(now, due)
    }

    /// Takes the outcome of the packet that [`Self::poll`] handed out last.
    pub fn sent(&mut self, now: Instant, result: Result<(), SendError>) {
        let reason = match result {
            Ok(()) => {
                self.unsent = 0;
                return;
            }
            Err(SendError::Refused(reason)) => reason,
            Err(SendError::Full) => {
                self.unsent += 1;
                if self.unsent < MAX_UNSENT {
                    return;
                }
                "the system has had no room for its packets for a second".to_owned()
            }
        };
        self.unsent = 0;
        if let Some(item) = self.queue.pop_front() {
            self.reports
                .push_back(item.report(now, PlayEvent::Failed(reason)));
        }
    }

    fn next_packet(&mut self, now: Instant, due: Instant) -> PlayoutTurn<'_> {
        let late = now.saturating_duration_since(due);
        let due = if late > MAX_LATE {
            self.stream.pause(ticks(late));
            self.resumes = true;
            now
        } else {
            due
        };
        self.due = Some(due + STEP);
        self.earliest = Some(now + MIN_STEP);
        let marker = std::mem::take(&mut self.resumes);
        let Some(item) = self.queue.front_mut() else {
            return PlayoutTurn::Wait(None);
        };
        let format = item.clip.format();
        let payload = item.clip.packet(item.packets).unwrap_or_default();
        self.stream.packet(
            payload_type(format),
            marker,
            payload,
            ticks(STEP),
            &mut self.datagram,
        );
        item.packets += 1;
        if item.packets.is_multiple_of(PROGRESS) {
            self.reports
                .push_back(item.report(now, PlayEvent::Progress));
        }
        PlayoutTurn::Send(&self.datagram)
    }
}

impl PlayoutItem {
    fn report(&self, at: Instant, event: PlayEvent) -> PlayReport {
        PlayReport {
            id: self.id,
            at,
            played: self.clip.played(self.packets),
            event,
        }
    }
}

/// All that is sent has a clock of 8 kHz; a pause beyond what a timestamp can
/// tell apart goes round, as RTP's timestamps do.
fn ticks(time: Duration) -> u32 {
    let rate = u128::from(SendFormat::Ulaw.rtp_clock_rate().hz());
    (time.as_micros() * rate / 1_000_000) as u32
}

fn payload_type(format: SendFormat) -> PayloadType {
    PayloadType::new(format.payload_type()).expect("static payload types are below 35")
}

#[cfg(test)]
mod tests;
