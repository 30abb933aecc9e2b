//! Cost of a 20 ms packet on its way from datagram to 16 kHz samples, without and with the speech
//! detector behind it. Criterion prints the time per packet.
//!
//! `cargo bench --bench media_path`

use std::hint::black_box;
use std::time::{Duration, Instant};

use asterscribe_call::Leg;
use asterscribe_clock as clock;
use asterscribe_codecs::{AudioDecoder, LossConcealer, SampleRate};
use asterscribe_rtp::{PacketVerdict, ReceiverConfig, RtpReceiver};
use asterscribe_session::{CallSession, SessionConfig, SessionInput, SessionOutput};
use asterscribe_speech::detector::{FRAME, VoiceDetector};
use asterscribe_speech::segmenter::{Segmenter, SegmenterConfig};
use criterion::{Criterion, criterion_group, criterion_main};

const PACKET: Duration = Duration::from_millis(20);

/// Datagrams of one format, numbered on for ever.
struct Source {
    payload_type: u8,
    payload: Vec<u8>,
    ticks: u32,
    seq: u16,
    time: u32,
    at: Instant,
    datagram: Vec<u8>,
}

impl Source {
    fn new(payload_type: u8, payload: Vec<u8>, ticks: u32) -> Self {
        let datagram = vec![0; 12 + payload.len()];
        Self {
            payload_type,
            payload,
            ticks,
            seq: 65_000,
            time: u32::MAX - 10_000,
            at: clock::now(),
            datagram,
        }
    }

    /// PCMU that sounds like a voice enough to make the detector work: a swelling tone.
    fn ulaw() -> Self {
        let tone = (0..160).map(|n| {
            let x = (n as f32 / 160.0 * 5.0 * std::f32::consts::TAU).sin();
            asterscribe_codecs::g711::encode_ulaw((x * 8000.0) as i16)
        });
        Self::new(0, tone.collect(), 160)
    }

    fn next(&mut self) -> (Instant, &[u8]) {
        self.seq = self.seq.wrapping_add(1);
        self.time = self.time.wrapping_add(self.ticks);
        self.at += PACKET;
        self.datagram[0] = 0x80;
        self.datagram[1] = self.payload_type;
        self.datagram[2..4].copy_from_slice(&self.seq.to_be_bytes());
        self.datagram[4..8].copy_from_slice(&self.time.to_be_bytes());
        self.datagram[8..12].copy_from_slice(&7u32.to_be_bytes());
        self.datagram[12..].copy_from_slice(&self.payload);
        (self.at, &self.datagram)
    }
}

/// A frame whose every field holds something; what it sounds like costs the same as speech.
fn gsm_frame() -> Vec<u8> {
    let mut frame: Vec<u8> = (0..33).map(|n| n * 29 + 11).collect();
    frame[0] = 0xd6;
    frame
}

fn g722_packet() -> Vec<u8> {
    let tone = (0..320).map(|n| ((n as f32 * 0.2).sin() * 8000.0) as i16);
    let mut packet = Vec::new();
    asterscribe_codecs::g722::G722Encoder::new().encode(&tone.collect::<Vec<_>>(), &mut packet);
    packet
}

/// 20 ms of wide-band SILK of 60 octets, as Asterisk sends for speech.
fn opus_packet() -> Vec<u8> {
    let noise = (1..60u8).map(|n| n.wrapping_mul(151).rotate_left(3));
    std::iter::once(0x48).chain(noise).collect()
}

/// Receive, order, decode, resample: one packet.
fn to_samples(c: &mut Criterion) {
    let sources = [
        ("ulaw", Source::ulaw()),
        ("alaw", Source::new(8, vec![0x35; 160], 160)),
        ("gsm", Source::new(3, gsm_frame(), 160)),
        ("g722", Source::new(9, g722_packet(), 160)),
        ("opus", Source::new(107, opus_packet(), 960)),
        ("slin", Source::new(10, [0x12, 0x34].repeat(160), 160)),
        ("slin12", Source::new(122, [0x12, 0x34].repeat(240), 240)),
        ("slin16", Source::new(118, [0x12, 0x34].repeat(320), 320)),
        ("slin24", Source::new(123, [0x12, 0x34].repeat(480), 480)),
        ("slin32", Source::new(124, [0x12, 0x34].repeat(640), 640)),
        ("slin44", Source::new(125, [0x12, 0x34].repeat(882), 882)),
        ("slin48", Source::new(126, [0x12, 0x34].repeat(960), 960)),
        (
            "slin96",
            Source::new(127, [0x12, 0x34].repeat(1_920), 1_920),
        ),
    ];
    let mut group = c.benchmark_group("20 ms packet: datagram to 16 kHz samples");
    for (name, mut source) in sources {
        let mut receiver = RtpReceiver::new(ReceiverConfig::default());
        let mut decoder = AudioDecoder::new();
        let mut samples = Vec::with_capacity(640);
        group.bench_function(name, |b| {
            b.iter(|| {
                let (now, datagram) = source.next();
                let PacketVerdict::InOrder(packet) = receiver.receive(now, black_box(datagram))
                else {
                    panic!("a packet in order is handed out at once");
                };
                let payload_type = packet.payload_type.get();
                decoder
                    .decode(payload_type, packet.payload, &mut samples)
                    .expect("audio");
                assert!(receiver.poll(now).is_none());
                black_box(&samples);
                samples.clear();
            });
        });
    }
    group.finish();
}

/// The whole session: the above, the timeline, the detector and the segmenter.
fn session(c: &mut Criterion) {
    let mut group = c.benchmark_group("20 ms packet: whole session up to the segmenter");
    let mut source = Source::ulaw();
    let mut session = CallSession::new(SessionConfig::default(), source.at);
    let leg = session.add_leg(Leg::caller());
    group.bench_function("ulaw", |b| {
        b.iter(|| {
            let (now, bytes) = source.next();
            session.handle(now, SessionInput::Datagram { leg, bytes });
            loop {
                match session.poll() {
                    SessionOutput::Wait(_) => break,
                    SessionOutput::Transcribe { job, samples, .. } => {
                        black_box(samples);
                        let result = Err(asterscribe_call::GapReason::OverloadShed.into());
                        session.handle(now, SessionInput::Recognised { job, result });
                    }
                    other => drop(black_box(other)),
                }
            }
        });
    });
    group.finish();
}

/// A voice of 125 Hz, so that a period is found.
fn voice(rate: SampleRate, samples: usize) -> Vec<i16> {
    let turn = std::f32::consts::TAU * 125.0 / rate.hz() as f32;
    let sample = |n| {
        let phase = turn * n as f32;
        (6_000.0 * phase.sin() + 4_000.0 * (5.0 * phase).sin()) as i16
    };
    (0..samples).map(sample).collect()
}

/// Cost of concealment for a 20 ms packet: where no packet is lost, and where every second one is.
fn concealment(c: &mut Criterion) {
    let mut group = c.benchmark_group("20 ms packet: concealment");
    for rate in [SampleRate::HZ_8000, SampleRate::HZ_16000] {
        let packet = rate.hz() as usize / 50;
        let voice = voice(rate, 5 * packet);
        let mut concealer = LossConcealer::new(rate);
        let mut samples = voice[..packet].to_vec();
        group.bench_function(format!("good, {rate}"), |b| {
            b.iter(|| concealer.good(black_box(&mut samples)));
        });
        let mut concealer = LossConcealer::new(rate);
        let mut good = voice;
        let mut out: Vec<i16> = Vec::with_capacity(packet);
        group.bench_function(format!("lost, and 100 ms good, {rate}"), |b| {
            b.iter(|| {
                concealer.good(black_box(&mut good));
                out.clear();
                black_box(concealer.conceal(packet, &mut out));
            });
        });
    }
    group.finish();
}

/// 16 kHz of a recorded prompt, as a leg brings it.
fn spoken() -> Vec<f32> {
    let wav = include_bytes!("../fixtures/prompts/support-greeting.wav");
    let mut decoder = AudioDecoder::new();
    let mut samples = Vec::new();
    let (pcm, _) = wav[44..].as_chunks::<2>();
    for packet in pcm.chunks(160) {
        let payload = packet.iter().map(|bytes| i16::from_le_bytes(*bytes));
        let payload: Vec<u8> = payload.map(asterscribe_codecs::g711::encode_ulaw).collect();
        decoder.decode(0, &payload, &mut samples).expect("audio");
    }
    samples
}

/// Ringback of North America.
fn ringing() -> Vec<f32> {
    let tone = |hz: f32, n: usize| (std::f32::consts::TAU * hz * n as f32 / 16_000.0).sin() * 0.15;
    (0..64_000)
        .map(|n| tone(440.0, n) + tone(480.0, n))
        .collect()
}

/// Cost per 20 ms of the detector alone, of the segmenter with it, and of telling other sounds
/// (tones, ringback) from speech.
fn segmentation(c: &mut Criterion) {
    let mut group = c.benchmark_group("20 ms of 16 kHz samples: segmentation");
    let spoken = spoken();
    let mut detector = VoiceDetector::new();
    let frames: Vec<[i16; FRAME]> = spoken
        .as_chunks::<FRAME>()
        .0
        .iter()
        .map(|frame| frame.map(|sample| (sample * 32_767.0) as i16))
        .collect();
    // 20 ms are 1.25 frames: four packets have five.
    let mut next = frames.iter().cycle();
    group.bench_function("detector alone, five frames of four packets", |b| {
        b.iter(|| {
            for frame in next.by_ref().take(5) {
                black_box(detector.score(black_box(frame)));
            }
        });
    });
    for (name, samples, tell_sounds) in [
        ("speech, other sounds not told", &spoken, false),
        ("speech, other sounds told", &spoken, true),
        ("ringback, not told", &ringing(), false),
        ("ringback, told", &ringing(), true),
    ] {
        let config = SegmenterConfig {
            tell_sounds,
            ..SegmenterConfig::default()
        };
        let mut segmenter = Segmenter::new(&config);
        let mut packets = samples.chunks_exact(320).cycle();
        let mut done = Vec::new();
        group.bench_function(name, |b| {
            b.iter(|| {
                let packet = packets.next().expect("there is no end");
                segmenter.push(black_box(packet), &mut done);
                black_box(segmenter.take_sounds());
                done.clear();
            });
        });
    }
    group.finish();
}

criterion_group!(benches, to_samples, session, concealment, segmentation);
criterion_main!(benches);
