//! The body of a fuzz target, run by the ordinary tests too.

use std::sync::{Arc, OnceLock};

use asterscribe_clock as clock;
use asterscribe_recognition::pool::{EngineFactory, PoolConfig, RecognitionPool};
use asterscribe_recognition::{TranscribeError, Transcriber};
use asterscribe_session::{JobId, SessionConfig};
use asterscribe_speech::{DecodeOptions, Recognition};

use super::capture::{self, HeldCapture};
use super::{FlowReport, ReplayReport, run_capture};

/// Reads any bytes as a capture file and replays what it holds, with
/// everything real but the speech engine.
///
/// # Panics
/// When the counters do not account for every packet, or the lines are not in order.
pub fn capture(data: &[u8]) {
    let Ok(capture) = capture::from_bytes(data) else {
        return;
    };
    assert_eq!(
        capture.packets,
        capture.datagrams.len() as u64 + capture.other_packets + capture.joined
    );
    assert_eq!(capture.other_packets, capture.unread.total());
    // Any moment will do: a replay looks at differences only.
    let report = run_capture(&capture, SessionConfig::default(), pool(), clock::now())
        .expect("the pool outlives the process");
    for (n, flow) in report.flows.iter().enumerate() {
        check_flow(n, flow, &capture, &report);
    }
    let of_flows = |flow: &FlowReport| {
        flow.stats.received + flow.stats.malformed + flow.stats.rtcp + flow.stats.not_rtp
    };
    assert_eq!(
        report.packets,
        report.flows.iter().map(of_flows).sum::<u64>() + report.unread.values().sum::<u64>(),
        "every packet is in the report: {report:?}"
    );
    assert!(
        report
            .lines
            .iter()
            .zip(0..)
            .all(|(line, seq)| line.seq == seq)
    );
}

fn check_flow(n: usize, flow: &FlowReport, capture: &HeldCapture, report: &ReplayReport) {
    assert!(flow.audio.is_conserved(), "{:?}", flow.audio);
    assert_eq!(flow.audio.pending, 0);
    let stats = &flow.stats;
    let own = capture.datagrams.iter().filter(|d| {
        if capture.recorded.is_some() {
            return d.leg == Some(n);
        }
        d.from.to_string() == flow.from && d.to.to_string() == flow.to
    });
    assert_eq!(
        own.count() as u64,
        stats.received + stats.malformed + stats.rtcp + stats.not_rtp,
        "every datagram is counted once: {stats:?}"
    );
    let released = stats.decoded + stats.not_audio + stats.unknown_payload + stats.decode_errors;
    let refused = stats.late
        + stats.too_old
        + stats.duplicate
        + stats.overflow
        + stats.sequence_jump
        + stats.foreign_ssrc;
    assert_eq!(stats.received, released + refused, "{stats:?}");

    let lines: Vec<_> = report.lines.iter().filter(|l| l.leg == flow.leg).collect();
    assert_eq!(lines.len() as u64, stats.utterances + stats.unrecognised);
    assert!(lines.iter().all(|line| line.start_ms <= line.end_ms));
    assert!(lines.is_sorted_by(|before, after| before.end_ms <= after.start_ms));
}

/// Hears something in everything, so that every utterance is a line.
struct StubTranscriber;

impl Transcriber for StubTranscriber {
    fn transcribe(
        &mut self,
        samples: &[i16],
        _: &DecodeOptions,
    ) -> Result<Recognition, TranscribeError> {
        Ok(Recognition {
            text: format!("{} samples", samples.len()),
            confidence: 1.0,
            language: "en".into(),
            ..Recognition::default()
        })
    }
}

/// One worker for all cases: threads cost more than most captures do.
fn pool() -> &'static RecognitionPool<JobId> {
    static POOL: OnceLock<RecognitionPool<JobId>> = OnceLock::new();
    POOL.get_or_init(|| {
        let factory: EngineFactory = Arc::new(|_| Ok(Box::new(StubTranscriber)));
        let config = PoolConfig {
            workers: 1,
            queue: 8,
            max_age: None,
        };
        RecognitionPool::start(config, &factory).expect("the stub needs nothing but a thread")
    })
}
