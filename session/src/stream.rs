//! Ordered packets of a leg, told apart as audio, keys or neither; and the quality of their
//! reception.

use std::time::{Duration, Instant};

use asterscribe_call::MediaQuality;
use asterscribe_codecs::{Codec, PayloadKind};
use asterscribe_rtp::events::{
    EventClock, EventFormat, EventPacket, EventReceiver, EventTypes, KeyPress, PacketContent,
};
use asterscribe_rtp::quality::{self, ClockDrift, CodecImpairment, DriftPacket, LossBursts};
use asterscribe_rtp::{ClockRate, PlacedPacket, RestartReason};

use super::audio::LegAudio;
use super::{SessionConfig, sum};

/// Interval at which the doctor is given the quality.
const QUALITY_INTERVAL: Duration = Duration::from_secs(1);

/// Asterisk's payload type for telephone events, which those of other senders are treated as.
const EVENT_TYPE: u8 = 101;

/// The part of a leg that lies behind the receiver; apart from it, since a released packet borrows
/// from the receiver.
#[derive(Debug)]
pub(super) struct OrderedStream {
    pub(super) audio: LegAudio,
    /// Receiver of keys; most legs never have any.
    keys: Option<Box<EventReceiver>>,
    types: EventTypes,
    /// Payload types that were named as those of telephone events, with their clocks
    /// where those are known.
    named: Vec<(u8, Option<ClockRate>)>,
    bursts: LossBursts,
    drift: ClockDrift,
    codec: Option<Codec>,
    /// Packets given up since the last one with audio.
    missing: u64,
    next_look: Option<Instant>,
}

impl OrderedStream {
    pub(super) fn new(config: &SessionConfig, opened: Instant) -> Self {
        Self {
            audio: LegAudio::new(config, opened),
            keys: None,
            types: EventTypes::default(),
            named: Vec::new(),
            bursts: LossBursts::default(),
            drift: ClockDrift::new(),
            codec: None,
            missing: 0,
            next_look: None,
        }
    }

    /// See [`super::CallSession::glance`].
    pub(super) fn glance(&self) -> u64 {
        sum([
            self.audio.glance(),
            self.drift.glance(),
            self.bursts.received(),
            self.missing,
            self.next_look.is_some().into(),
            self.keys.is_some().into(),
        ])
    }

    /// Clock of the audio, once there is any.
    pub(super) fn clock(&self) -> Option<ClockRate> {
        ClockRate::new(self.codec?.rtp_clock_rate().hz())
    }

    /// Names a payload type as that of telephone events, and their clock where it is known.
    pub(super) fn name_events(&mut self, payload_type: u8, clock: Option<ClockRate>) {
        self.named.retain(|(named, _)| *named != payload_type);
        self.named.push((payload_type, clock));
    }

    /// Clock of the telephone events of a payload type.
    fn event_clock(&self, payload_type: u8) -> EventClock {
        let named = self.named.iter().find(|(named, _)| *named == payload_type);
        match named {
            Some((_, Some(clock))) => EventClock::Told(*clock),
            _ if payload_type == EVENT_TYPE => EventClock::asterisk(self.clock()),
            _ => EventClock::of_audio(self.clock()),
        }
    }

    /// Takes the next packet in order.
    pub(super) fn packet(&mut self, packet: PlacedPacket<'_>) {
        let arrived = packet.arrived;
        self.bursts.packet();
        let Some((payload, pt)) = self.payload(&packet) else {
            // Nothing that is heard, or missed.
            let event = PayloadKind::TelephoneEvent;
            return self
                .audio
                .not_audio(event, EVENT_TYPE, packet.time.0, arrived);
        };
        match payload {
            PayloadKind::Audio(codec) => {
                self.measure(codec, &packet);
                self.audio
                    .packet(codec, pt, packet.time.0, packet.payload, arrived);
            }
            PayloadKind::TelephoneEvent => self.key(EventFormat::TelephoneEvent, &packet),
            PayloadKind::CiscoDtmf => self.key(EventFormat::Cisco, &packet),
            PayloadKind::ComfortNoise | PayloadKind::Unknown(_) => {}
        }
        if !matches!(payload, PayloadKind::Audio(_)) {
            self.audio.not_audio(payload, pt, packet.time.0, arrived);
        }
    }

    /// Content of the packet and the payload type that stands for it; `None` while it may turn out
    /// to be a telephone event.
    fn payload(&mut self, packet: &PlacedPacket<'_>) -> Option<(PayloadKind, u8)> {
        let pt = packet.payload_type.get();
        let numbered = PayloadKind::classify(pt);
        if numbered == PayloadKind::TelephoneEvent {
            return Some((numbered, pt));
        }
        if self.named.iter().any(|(named, _)| *named == pt) {
            return Some((PayloadKind::TelephoneEvent, EVENT_TYPE));
        }
        match self.types.judge(packet) {
            PacketContent::AsNumbered => return Some((numbered, pt)),
            PacketContent::Undecided => return None,
            PacketContent::Event => {}
            PacketContent::EventAfter(held) => {
                let clock = self.event_clock(pt);
                let keys = self.keys.get_or_insert_default();
                for event in &held {
                    keys.receive(event.arrived, event.packet(clock));
                }
            }
        }
        Some((PayloadKind::TelephoneEvent, EVENT_TYPE))
    }

    /// Notes that packets were given up, `shed` of them because they exceeded the leg's rate.
    pub(super) fn lost(&mut self, count: u64, shed: u64) {
        let lost = count - shed;
        self.bursts.lost(lost);
        self.missing += count;
        self.audio.missed(count, shed);
    }

    /// Prepares for a new numbering of the sender, which begins with the next packet.
    pub(super) fn restart(&mut self, reason: RestartReason) {
        self.drift.restart();
        // A key goes on if its sender only counts from elsewhere.
        if reason == RestartReason::SsrcChange {
            self.types.restart();
            if let Some(keys) = &mut self.keys {
                keys.restart();
            }
        }
        self.audio.restart();
    }

    /// Ends the stream: no packet will follow.
    pub(super) fn close(&mut self, now: Instant) {
        if let Some(keys) = &mut self.keys {
            keys.end();
        }
        self.audio.close(now);
    }

    /// Next key that was pressed, once that is certain.
    pub(super) fn take_key(&mut self, now: Instant) -> Option<KeyPress> {
        self.keys.as_mut()?.poll(now)
    }

    /// Time at which a key is certain though nothing comes.
    pub(super) fn key_deadline(&self) -> Option<Instant> {
        self.keys.as_ref()?.deadline()
    }

    /// Gives the quality of reception to the doctor, about once a second.
    pub(super) fn look_at_quality(&mut self, now: Instant, jitter: impl FnOnce() -> Duration) {
        if self.next_look.is_some_and(|due| now < due) {
            return;
        }
        self.next_look = Some(now + QUALITY_INTERVAL);
        if let Some(quality) = self.quality(jitter()) {
            self.audio.doctor.quality(now, &quality);
        }
    }

    /// Quality of reception; `None` before the first packet with audio.
    pub(super) fn quality(&self, jitter: Duration) -> Option<MediaQuality> {
        let codec = self.codec?;
        let (loss, burst_ratio) = (self.bursts.loss(), self.bursts.burst_ratio());
        let r_factor = quality::r_factor(impairment(codec), loss, burst_ratio);
        Some(MediaQuality {
            loss,
            jitter_ms: jitter.as_secs_f32() * 1_000.0,
            burst_ratio,
            r_factor,
            mos: quality::mos(r_factor),
            clock_drift_ppm: self.drift.ppm().filter(|ppm| ppm.is_finite()),
        })
    }

    fn measure(&mut self, codec: Codec, packet: &PlacedPacket<'_>) {
        self.codec = Some(codec);
        let missing = std::mem::take(&mut self.missing);
        if let (Ok(samples), Some(clock)) = (codec.sample_count(packet.payload), self.clock()) {
            self.drift.packet(DriftPacket {
                arrived: packet.arrived,
                time: packet.time,
                ticks: codec.rtp_ticks(samples),
                missing,
                clock,
            });
        }
    }

    fn key(&mut self, format: EventFormat, packet: &PlacedPacket<'_>) {
        let clock = match format {
            EventFormat::TelephoneEvent => self.event_clock(packet.payload_type.get()),
            EventFormat::Cisco => EventClock::asterisk(self.clock()),
        };
        let keys = self.keys.get_or_insert_default();
        keys.receive(
            packet.arrived,
            EventPacket {
                format,
                payload: packet.payload,
                time: packet.time,
                marker: packet.marker,
                clock,
            },
        );
    }
}

/// Impairment by the codec (ITU-T G.113), with the concealment that it has here.
fn impairment(codec: Codec) -> CodecImpairment {
    match codec {
        Codec::Ulaw | Codec::Alaw | Codec::Slin => CodecImpairment::G711_CONCEALED,
        Codec::Gsm => CodecImpairment::GSM,
        Codec::Opus => CodecImpairment::OPUS,
        _ => CodecImpairment::WIDEBAND_CONCEALED,
    }
}
