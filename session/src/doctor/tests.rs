//! The doctor and its patients.

mod properties;
mod signals;
mod sound;
mod stream;

use std::time::{Duration, Instant};

use asterscribe_call::{CallEventKind, FindingKind};
use asterscribe_clock as clock;
use asterscribe_codecs::{AudioDecoder, PayloadKind, g711};

use super::*;

const PACKET: Duration = Duration::from_millis(20);

/// A leg under observation, on a clock of its own.
struct Patient {
    doctor: MediaDoctor,
    decoder: AudioDecoder,
    opened: Instant,
    now: Instant,
    time: u64,
    news: Vec<CallEvent>,
}

impl Patient {
    fn new(expected: ExpectedMedia) -> Self {
        let opened = clock::now();
        let mut doctor = MediaDoctor::new(opened);
        doctor.expect(opened, expected);
        Self {
            doctor,
            decoder: AudioDecoder::new(),
            opened,
            now: opened,
            time: 1 << 40,
            news: Vec::new(),
        }
    }

    /// One whose sender promised nothing.
    fn any() -> Self {
        Self::new(ExpectedMedia::default())
    }

    fn ms(&self) -> u64 {
        self.now.duration_since(self.opened).as_millis() as u64
    }

    /// Lets time pass and serves every deadline.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(due) = self.doctor.deadline().filter(|&due| due <= until) {
            self.now = self.now.max(due);
            self.doctor.tick(self.now);
            assert!(
                self.doctor.deadline().is_none_or(|next| next > self.now),
                "a deadline that was served must not stay"
            );
        }
        self.now = until;
        self.news.extend(self.doctor.take_news());
    }

    /// A packet arrives now.
    fn packet(&mut self, payload_type: u8, payload: &[u8]) {
        let ticks = match PayloadKind::classify(payload_type) {
            PayloadKind::Audio(codec) => {
                let count = codec.sample_count(payload).unwrap();
                Some((codec.rtp_ticks(count), codec.rtp_clock_rate().hz()))
            }
            _ => None,
        };
        self.doctor.packet(ExaminedPacket {
            arrived: self.now,
            payload_type,
            payload,
            pace: ticks.map(|(ticks, hertz)| (self.time, ticks, hertz)),
        });
        self.time += ticks.map_or(160, |(ticks, _)| ticks);
        if ticks.is_some() {
            let mut samples = Vec::new();
            self.decoder
                .decode(payload_type, payload, &mut samples)
                .unwrap();
            self.doctor.audio(self.now, &samples);
        }
        self.news.extend(self.doctor.take_news());
    }

    /// Plays samples of 8 kHz as µ-law, 20 ms each 20 ms.
    fn hear(&mut self, samples: &[i16]) {
        for piece in samples.chunks(160) {
            let payload: Vec<u8> = piece.iter().map(|&s| g711::encode_ulaw(s)).collect();
            self.packet(0, &payload);
            self.pass(PACKET);
        }
    }

    /// Plays samples as linear packets of this type.
    fn hear_linear(&mut self, payload_type: u8, samples: &[i16], bytes: fn(i16) -> [u8; 2]) {
        let PayloadKind::Audio(codec) = PayloadKind::classify(payload_type) else {
            panic!("{payload_type} is no audio");
        };
        for piece in samples.chunks(codec.sample_rate().hz() as usize / 50) {
            let payload: Vec<u8> = piece.iter().flat_map(|&s| bytes(s)).collect();
            self.packet(payload_type, &payload);
            self.pass(PACKET);
        }
    }

    fn kinds(&self) -> Vec<FindingKind> {
        self.doctor.findings().iter().map(|f| f.kind).collect()
    }

    fn lasting(&self) -> Vec<FindingKind> {
        let lasting = |finding: &&MediaFinding| finding.until_ms.is_none();
        self.doctor
            .findings()
            .iter()
            .filter(lasting)
            .map(|finding| finding.kind)
            .collect()
    }

    fn found(&self, kind: FindingKind) -> &MediaFinding {
        self.doctor
            .findings()
            .iter()
            .rfind(|finding| finding.kind == kind)
            .unwrap_or_else(|| panic!("no {kind:?} among {:#?}", self.doctor.findings()))
    }

    /// Call clock at which the last finding of a kind was reported.
    fn told_at(&self, kind: FindingKind) -> u64 {
        self.news
            .iter()
            .rfind(|event| {
                event.kind == CallEventKind::FindingBegan && event.text.starts_with(kind.name())
            })
            .unwrap_or_else(|| panic!("no {kind:?} in {:#?}", self.news))
            .at_ms
    }

    #[track_caller]
    fn assert_healthy(&self, what: &str) {
        assert_eq!(self.doctor.findings(), [], "{what}");
    }
}
