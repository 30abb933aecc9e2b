//! Media of one leg: datagrams → ordered packets → audio.

use std::mem;
use std::time::Instant;

use asterscribe_call::{CallEvent, Leg, LegStats, UtteranceOutcome};
use asterscribe_rtp::events::KeyPress;
use asterscribe_rtp::{
    ClockRate, DropReason, PacketVerdict, ReceiverConfig, ReleasedItem, ReorderConfig, RtpReceiver,
};
use asterscribe_speech::{SAMPLES_PER_MS, Utterance};

use super::audio::CutUtterance;
use super::doctor::{ExpectedMedia, MediaDoctor};
use super::stream::OrderedStream;
use super::sum;
use super::{LegSnapshot, SessionConfig};

/// The media of one leg.
#[derive(Debug)]
pub(super) struct LegMedia {
    leg: Leg,
    receiver: RtpReceiver,
    stream: OrderedStream,
    /// Latest time that this leg has reached.
    now: Instant,
    /// Time at which something is due though nothing comes. Stored, because it is asked for before
    /// every datagram of the call, and computed only when it may have changed.
    due: Option<Instant>,
}

impl LegMedia {
    pub(super) fn new(leg: Leg, config: &SessionConfig, opened: Instant) -> Self {
        let reorder = ReorderConfig {
            wait: config.reorder_wait,
            ..ReorderConfig::default()
        };
        let receiver = RtpReceiver::new(ReceiverConfig {
            reorder,
            ..ReceiverConfig::default()
        });
        Self {
            leg,
            receiver,
            stream: OrderedStream::new(config, opened),
            now: opened,
            due: None,
        }
    }

    pub(super) fn leg(&self) -> &Leg {
        &self.leg
    }

    /// Takes a datagram. What was due before it must have been done.
    pub(super) fn receive(&mut self, arrived: Instant, datagram: &[u8]) {
        let now = self.advance(arrived);
        match self.receiver.receive(now, datagram) {
            PacketVerdict::InOrder(packet) => self.stream.packet(packet),
            PacketVerdict::Refused(DropReason::Late) => self.stream.audio.came_late(),
            PacketVerdict::Refused(DropReason::Malformed(_)) => self.stream.audio.doctor.refused(),
            PacketVerdict::Refused(DropReason::Empty) => self.stream.audio.empty(),
            // One that waits is before it, and told of first.
            PacketVerdict::Refused(DropReason::OverRate) if self.receiver.stats().held == 0 => {
                self.stream.audio.shed(now);
            }
            PacketVerdict::Refused(_) | PacketVerdict::OnProbation | PacketVerdict::Accepted => {}
        }
        self.drain(now);
        let receiver = &self.receiver;
        self.stream.look_at_quality(now, || receiver.jitter());
        self.reschedule();
    }

    /// See [`super::CallSession::glance`].
    pub(super) fn glance(&self) -> u64 {
        let own = u64::from(self.due.is_some_and(|due| due < self.now));
        sum([own, self.receiver.glance(), self.stream.glance()])
    }

    /// Sets which media the leg's source was announced to send.
    pub(super) fn expect(&mut self, now: Instant, expected: ExpectedMedia) {
        // The leg's own clock stays: packets that came before its naming follow.
        self.tell_doctor(|doctor| doctor.expect(now, expected));
    }

    /// See [`super::CallSession::name_events`].
    pub(super) fn name_events(&mut self, payload_type: u8, clock: Option<ClockRate>) {
        self.stream.name_events(payload_type, clock);
    }

    /// Passes something on to the leg's media doctor.
    pub(super) fn tell_doctor(&mut self, tell: impl FnOnce(&mut MediaDoctor)) {
        tell(&mut self.stream.audio.doctor);
        self.reschedule();
    }

    /// Its party has put the other on hold, or taken it off.
    pub(super) fn hold(&mut self, is_on: bool) {
        self.stream.audio.hold(is_on);
        self.reschedule();
    }

    /// Milliseconds of speech of the leg since the last call.
    pub(super) fn take_spoken_ms(&mut self) -> u32 {
        self.stream.audio.doctor.take_spoken_ms()
    }

    /// Whether no packet has come since its source was named.
    pub(super) fn is_unheard(&self) -> bool {
        self.stream.audio.doctor.is_unheard()
    }

    /// Findings of the leg that have begun or ended since the last call.
    pub(super) fn take_news(&mut self) -> Vec<CallEvent> {
        let mut news = self.stream.audio.doctor.take_news();
        for event in &mut news {
            event.leg = Some(self.leg.clone());
        }
        news
    }

    /// Next key that the party has pressed by now.
    pub(super) fn take_key(&mut self) -> Option<KeyPress> {
        let due = self.stream.key_deadline();
        let key = self.stream.take_key(self.now);
        if self.stream.key_deadline() != due {
            self.reschedule();
        }
        key
    }

    /// Time to call [`Self::on_timer`] at: a gap's wait is over, the party has fallen silent, or a
    /// fault has lasted long enough for a finding.
    pub(super) fn deadline(&self) -> Option<Instant> {
        debug_assert_eq!(self.due, self.next_due(), "a deadline changed unnoticed");
        self.due
    }

    /// Computes the deadline anew; to be called whenever it may have changed.
    fn reschedule(&mut self) {
        self.due = self.next_due();
    }

    fn next_due(&self) -> Option<Instant> {
        let waiting = self.receiver.deadline();
        let audio = self.stream.audio.falls_idle();
        let doctor = self.stream.audio.doctor.deadline();
        let key = self.stream.key_deadline();
        let held = self.stream.audio.hold_due();
        let dues = [waiting, audio, doctor, key, held];
        dues.into_iter().flatten().min()
    }

    pub(super) fn on_timer(&mut self, now: Instant) {
        self.run_due(now);
        let now = self.advance(now);
        self.drain(now);
        self.reschedule();
    }

    /// Ends the leg: no packet will follow, so gaps are given up and the open utterance ends.
    pub(super) fn close(&mut self, now: Instant) {
        self.run_due(now);
        let now = self.advance(now);
        self.receiver.close();
        self.drain(now);
        self.stream.close(now);
        self.stream.audio.doctor.close(now);
        self.reschedule();
    }

    pub(super) fn take_spoken(&mut self) -> Vec<CutUtterance> {
        mem::take(&mut self.stream.audio.done)
    }

    /// Start of the open utterance on the leg's timeline, and its length, in samples.
    pub(super) fn speaking(&self) -> Option<(u64, u64)> {
        self.stream.audio.speaking()
    }

    /// Whether the open utterance may turn out not to be speech.
    pub(super) fn is_doubtful(&self) -> bool {
        self.stream.audio.is_doubtful()
    }

    /// Samples of the open utterance so far.
    pub(super) fn so_far(&self) -> Vec<i16> {
        self.stream.audio.so_far()
    }

    /// Time on the call's clock, milliseconds, of a sample of the leg's timeline.
    pub(super) fn call_ms(&self, position: u64) -> u64 {
        (self.stream.audio.origin() + position) / SAMPLES_PER_MS
    }

    /// Start and end of an utterance on the call's clock, milliseconds.
    pub(super) fn call_times(&self, utterance: &Utterance) -> (u64, u64) {
        let origin = self.stream.audio.origin() / SAMPLES_PER_MS;
        (
            origin + utterance.start / SAMPLES_PER_MS,
            origin + utterance.end() / SAMPLES_PER_MS,
        )
    }

    /// Counts speech handed to recognition, in 16 kHz samples.
    pub(super) fn count_speech(&mut self, samples: u64) {
        self.stream.audio.stats.speech += samples;
    }

    /// Books the outcome of `utterances` utterances with `audio` samples.
    pub(super) fn count_settled(&mut self, outcome: UtteranceOutcome, utterances: u64, audio: u64) {
        let stats = &mut self.stream.audio.stats;
        *match outcome {
            UtteranceOutcome::Transcribed | UtteranceOutcome::NoWords => &mut stats.utterances,
            UtteranceOutcome::Gap(_) => &mut stats.unrecognised,
        } += utterances;
        self.stream.audio.ledger.settle(audio, outcome);
    }

    pub(super) fn snapshot(&self) -> LegSnapshot {
        LegSnapshot {
            stats: self.stats(),
            audio: self.stream.audio.account(),
            quality: self.stream.quality(self.receiver.jitter()),
            findings: self.stream.audio.doctor.findings().to_vec(),
            sounds: self.stream.audio.sounds.clone(),
            ..LegSnapshot::new(self.leg.clone())
        }
    }

    pub(super) fn stats(&self) -> LegStats {
        let (rtp, audio) = (self.receiver.stats(), &self.stream.audio.stats);
        LegStats {
            received: rtp.received,
            decoded: audio.decoded,
            lost: rtp.lost,
            late: rtp.late,
            too_old: rtp.too_old,
            duplicate: rtp.duplicate,
            reordered: rtp.reordered,
            overflow: rtp.overflow,
            malformed: rtp.malformed.total(),
            rtcp: rtp.rtcp,
            not_rtp: rtp.other.total(),
            sequence_jump: rtp.sequence_jump,
            overload_shed: rtp.over_rate,
            foreign_ssrc: rtp.foreign_ssrc,
            restarts: rtp.restarts,
            not_audio: audio.not_audio,
            unknown_payload: audio.unknown_payload,
            decode_errors: audio.decode_errors,
            audio_ms: audio.audio / SAMPLES_PER_MS,
            lost_ms: audio.lost / SAMPLES_PER_MS,
            concealed_ms: audio.concealed / SAMPLES_PER_MS,
            silent_ms: audio.silent / SAMPLES_PER_MS,
            speech_ms: audio.speech / SAMPLES_PER_MS,
            utterances: audio.utterances,
            unrecognised: audio.unrecognised,
        }
    }

    /// Runs every timer that is due by `until`, each at its own time.
    fn run_due(&mut self, until: Instant) {
        while let Some(due) = self.deadline().filter(|&due| due <= until) {
            let now = self.advance(due);
            self.drain(now);
            let held = self.stream.audio.hold_due();
            if held.is_some_and(|held| held <= now) {
                self.stream.audio.settle_hold(false);
            }
            if self
                .stream
                .audio
                .falls_idle()
                .is_some_and(|idle| idle <= now)
            {
                self.stream.audio.idle();
            }
            self.stream.audio.doctor.tick(now);
            self.reschedule();
            if self.deadline() == Some(due) {
                break;
            }
        }
    }

    /// Moves the leg's own clock on, which never runs back: packets that waited for the leg to be
    /// named may have an earlier arrival than packets before them.
    fn advance(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    fn drain(&mut self, now: Instant) {
        while let Some(released) = self.receiver.poll(now) {
            match released {
                ReleasedItem::Packet(packet) => self.stream.packet(packet),
                ReleasedItem::Lost { count, shed } => self.stream.lost(count, shed),
                // Nothing is missing.
                ReleasedItem::Skipped { .. } => {}
                ReleasedItem::Restart { reason } => self.stream.restart(reason),
            }
        }
        self.receiver.set_clock_rate(self.stream.clock());
    }
}
