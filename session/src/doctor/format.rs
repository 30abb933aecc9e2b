//! Findings on the format: whether payload type and byte order are those that were asked for.

use std::time::Duration;

use asterscribe_call::FindingKind;
use asterscribe_codecs::{Codec, MediaFormat, PayloadKind};

use super::findings::FindingsLog;
use crate::timeline::ClockPace;

/// Packets in a row of another type than expected, from which on they are no strays.
const WRONG_IN_A_ROW: u32 = 10;

/// Packets in a row of the expected type after which the finding ends.
const RIGHT_IN_A_ROW: u32 = 50;

/// Interval of the packets that are examined for their byte order.
const LOOK_EVERY: u8 = 5;

/// Audible packets that are judged together: 1 s.
const LOOKS: u8 = 10;

/// Mean square below which a packet holds no sound to judge by: -60 dB of full scale.
const AUDIBLE: f32 = 1e-6;

/// Squared steps between samples over their squares: 2 for noise, 0.1 to 0.5 for speech.
const ROUGH: f32 = 1.0;
const SMOOTH: f32 = 0.6;

const BYTE_ORDER_FIX: &str = "The sender puts the low byte first; RTP wants the high byte first (RFC 3551, section 4.5.11). Swap the bytes where the packets are \
made. Asterisk does it right by itself: do not copy samples from a WAV file or a sound card into packets as they are.";

const SLIN_FIX: &str = "Asterisk 16 sends ulaw where slin is asked for (its issue 394). Decoding follows the payload type, so nothing is lost; to be rid of this \
ask for ulaw, alaw or slin16 (MEDIA_FORMAT, or `format` of the registration).";

const OTHER_FIX: &str = "Decoding follows the payload type, so the audio is not lost. Let the sender and what was asked of it agree (MEDIA_FORMAT, or `format` of the \
registration).";

const CLOCK_FIX: &str = "The sender counts its timestamps by another clock than the codec has (RFC 3551; G.722 counts 8,000 a second though it samples 16,000, Opus 48,000). \
Nothing is lost by it: the audio is placed by what it lasts and by arrival. Mend it where the packets are made; other receivers will stretch or break up the audio.";

const CIPHER_FIX: &str = "This is SRTP, or encrypted otherwise, and the key is not here: nothing of it is recognised. Let Asterisk decrypt it and send plain RTP to \
external media (what ARI sets up is plain), or capture behind what terminates the encryption and not on the encrypted trunk.";

/// Reports the pace of the clock behind the timestamps, as the timeline found it.
pub(super) fn clock_rate(at: Duration, codec: Codec, pace: ClockPace, chart: &mut FindingsLog) {
    let kind = FindingKind::ClockRate;
    let ClockPace::Off(ratio) = pace else {
        chart.end(kind, at);
        return;
    };
    let (name, clock) = (codec.name(), codec.rtp_clock_rate().hz());
    let counted = f64::from(clock) * ratio;
    let evidence = format!(
        "the timestamps run {ratio:.2} times as fast as the audio of {name} and its arrival: some {counted:.0} a second instead of {clock}"
    );
    if chart.lasts(kind) {
        chart.amend(kind, evidence, CLOCK_FIX);
    } else {
        // It is told after 2 s of it.
        let since = at.saturating_sub(Duration::from_secs(2));
        chart.begin(kind, since, evidence, CLOCK_FIX);
    }
}

/// Reports that the payloads are encrypted.
pub(super) fn encrypted(at: Duration, evidence: String, chart: &mut FindingsLog) {
    chart.begin(FindingKind::Encrypted, at, evidence, CIPHER_FIX);
}

#[derive(Debug, Default)]
pub(super) struct FormatProbe {
    expected: Option<MediaFormat>,
    wrong: u32,
    right: u32,
    /// Payload type that the finding names.
    named: Option<u8>,
    since: Duration,
    order: ByteOrder,
}

impl FormatProbe {
    /// Sets the format that is expected from now on.
    pub(super) fn expect(&mut self, expected: Option<MediaFormat>) {
        self.expected = expected;
    }

    /// Whether the samples' bytes are swapped, as far as is known.
    pub(super) fn is_garbled(&self) -> bool {
        self.order.garbled || self.order.is_swapped()
    }

    /// See [`CallSession::glance`](crate::CallSession::glance).
    pub(super) fn glance(&self) -> u64 {
        u64::from(self.right) + u64::from(self.order.looks)
    }

    pub(super) fn packet(
        &mut self,
        at: Duration,
        payload_type: u8,
        bytes: &[u8],
        chart: &mut FindingsLog,
    ) {
        let payload = PayloadKind::classify(payload_type);
        let is_right = match payload {
            PayloadKind::Audio(codec) => {
                if is_linear(codec) {
                    self.order.packet(at, bytes, chart);
                }
                self.expected.is_none_or(|format| format.codec() == codec)
            }
            PayloadKind::Unknown(_) => false,
            // Part of every stream.
            PayloadKind::ComfortNoise | PayloadKind::TelephoneEvent | PayloadKind::CiscoDtmf => {
                return;
            }
        };
        if is_right {
            self.wrong = 0;
            self.right = self.right.saturating_add(1);
            if self.right == RIGHT_IN_A_ROW {
                self.named = None;
                chart.end(FindingKind::UnexpectedPayloadType, self.since);
            } else if self.right == 1 {
                self.since = at;
            }
            return;
        }
        self.right = 0;
        if self.wrong == 0 && self.named.is_none() {
            self.since = at;
        }
        self.wrong = self.wrong.saturating_add(1);
        if self.wrong >= WRONG_IN_A_ROW && self.named != Some(payload_type) {
            self.report(payload_type, payload, chart);
        }
    }

    fn report(&mut self, payload_type: u8, payload: PayloadKind, chart: &mut FindingsLog) {
        let kind = FindingKind::UnexpectedPayloadType;
        let asked = self.expected.map_or_else(
            || "nothing was asked for by name".to_owned(),
            |format| format!("{format} was asked for"),
        );
        let (arrives, fix) = match payload {
            PayloadKind::Audio(codec) => {
                let known_fault = self.expected == Some(MediaFormat::Slin) && codec == Codec::Ulaw;
                let fix = if known_fault { SLIN_FIX } else { OTHER_FIX };
                (codec.name(), fix.to_owned())
            }
            _ => {
                let works: Vec<_> = MediaFormat::ALL.iter().map(|f| f.name()).collect();
                let fix = format!(
                    "No decoder serves it, so its audio is lost. Let the sender use one of {}.",
                    works.join(", ")
                );
                ("not decoded here", fix)
            }
        };
        let evidence = format!("payload type {payload_type} ({arrives}) arrives, {asked}");
        if chart.lasts(kind) {
            chart.amend(kind, evidence, &fix);
        } else {
            chart.begin(kind, self.since, evidence, &fix);
        }
        self.named = Some(payload_type);
    }
}

fn is_linear(codec: Codec) -> bool {
    matches!(
        codec,
        Codec::Slin
            | Codec::Slin12
            | Codec::Slin16
            | Codec::Slin24
            | Codec::Slin32
            | Codec::Slin44
            | Codec::Slin48
            | Codec::Slin96
    )
}

/// Compares linear audio with itself, the bytes of its samples swapped. Speech
/// is smooth in one of the orders and noise in the other.
#[derive(Debug, Default)]
struct ByteOrder {
    skipped: u8,
    looks: u8,
    as_sent: SampleRoughness,
    swapped: SampleRoughness,
    since: Duration,
    garbled: bool,
}

/// Sums over samples, full scale 1.
#[derive(Debug, Default, Clone, Copy)]
struct SampleRoughness {
    squares: f32,
    steps: f32,
    samples: u32,
}

impl ByteOrder {
    fn packet(&mut self, at: Duration, bytes: &[u8], chart: &mut FindingsLog) {
        self.skipped = (self.skipped + 1) % LOOK_EVERY;
        if self.skipped != 1 {
            return;
        }
        let (mut as_sent, mut swapped) = (SampleRoughness::default(), SampleRoughness::default());
        let (pairs, _) = bytes.as_chunks::<2>();
        as_sent.add(pairs, i16::from_be_bytes);
        swapped.add(pairs, i16::from_le_bytes);
        // In the wrong order even silence is loud: both must hold a sound.
        if as_sent.power().min(swapped.power()) < AUDIBLE {
            return;
        }
        if self.looks == 0 {
            self.since = at;
        }
        self.looks += 1;
        self.as_sent.join(as_sent);
        self.swapped.join(swapped);
        if self.looks >= LOOKS {
            self.judge(chart);
        }
    }

    /// Whether the packets examined so far show swapped bytes.
    fn is_swapped(&self) -> bool {
        self.looks > 0 && self.as_sent.ratio() > ROUGH && self.swapped.ratio() < SMOOTH
    }

    fn judge(&mut self, chart: &mut FindingsLog) {
        let (as_sent, swapped) = (self.as_sent.ratio(), self.swapped.ratio());
        if self.is_swapped() {
            self.garbled = true;
            let evidence = format!(
                "high byte first, as RTP has it, it is noise (roughness {as_sent:.2}); low byte first it is like speech (roughness {swapped:.2})"
            );
            chart.begin(FindingKind::ByteOrder, self.since, evidence, BYTE_ORDER_FIX);
        } else if as_sent < SMOOTH && swapped > ROUGH {
            self.garbled = false;
            chart.end(FindingKind::ByteOrder, self.since);
        }
        self.looks = 0;
        (self.as_sent, self.swapped) = (SampleRoughness::default(), SampleRoughness::default());
    }
}

impl SampleRoughness {
    fn add(&mut self, pairs: &[[u8; 2]], order: impl Fn([u8; 2]) -> i16) {
        let mut last = None;
        for &pair in pairs {
            let sample = f32::from(order(pair)) / 32_768.0;
            let step = sample - last.unwrap_or(sample);
            self.squares += sample * sample;
            self.steps += step * step;
            last = Some(sample);
        }
        self.samples += u32::try_from(pairs.len()).unwrap_or(u32::MAX);
    }

    fn join(&mut self, more: Self) {
        self.squares += more.squares;
        self.steps += more.steps;
        self.samples += more.samples;
    }

    fn power(self) -> f32 {
        self.squares / self.samples.max(1) as f32
    }

    fn ratio(self) -> f32 {
        self.steps / self.squares.max(f32::MIN_POSITIVE)
    }
}
