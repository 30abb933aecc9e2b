//! Contract C1 for one flow: what a leg says it received is what was sent, and
//! its audio is all accounted for. Pure, so that it can be shown to fail.

use asterscribe_session::{LegSnapshot, SessionDepth};

use super::generator::PACE;

/// Samples of 16 kHz in a packet.
const SAMPLES: u64 = 320;

/// The packets that a flow was sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct FlowAccount {
    /// Packets, in order, none missing.
    pub(super) packets: u64,
    /// Time that the sender stood still, microseconds: a leg may tell it, or a part of it, as a pause.
    pub(super) slipped_us: u64,
}

/// Checks what a leg reports once its call is over against what it was sent.
///
/// # Errors
/// The first figure that is not as it should be, in words.
pub(super) fn check(
    leg: &LegSnapshot,
    flow: FlowAccount,
    depth: SessionDepth,
) -> Result<(), String> {
    let stats = &leg.stats;
    let packets = flow.packets;
    // Samples are whole, microseconds are not.
    let most_silent = flow.slipped_us.div_ceil(1000);
    let expected = [
        ("received", stats.received, packets),
        (
            "decoded",
            stats.decoded,
            if depth == SessionDepth::Speech {
                packets
            } else {
                0
            },
        ),
        ("lost", stats.lost, 0),
        ("late", stats.late, 0),
        ("duplicate", stats.duplicate, 0),
        ("overflow", stats.overflow, 0),
        ("malformed", stats.malformed, 0),
        ("rtcp", stats.rtcp, 0),
        ("not_rtp", stats.not_rtp, 0),
        ("sequence_jump", stats.sequence_jump, 0),
        ("overload_shed", stats.overload_shed, 0),
        ("foreign_ssrc", stats.foreign_ssrc, 0),
        ("restarts", stats.restarts, 0),
        ("not_audio", stats.not_audio, 0),
        ("unknown_payload", stats.unknown_payload, 0),
        ("decode_errors", stats.decode_errors, 0),
        ("unrecognised", stats.unrecognised, 0),
        (
            "audio_ms",
            stats.audio_ms,
            packets * PACE.as_millis() as u64,
        ),
        ("lost_ms", stats.lost_ms, 0),
        ("silent_ms", stats.silent_ms.saturating_sub(most_silent), 0),
    ];
    for (name, is, should) in expected {
        if is != should {
            return Err(format!("{name} is {is}, not {should}"));
        }
    }
    let audio = &leg.audio;
    if !audio.is_conserved() {
        return Err(format!("the audio's parts are not its span: {audio:?}"));
    }
    if audio.pending > 0 {
        return Err(format!(
            "{} samples are pending after the end",
            audio.pending
        ));
    }
    let silent = stats.silent_ms * SAMPLES / PACE.as_millis() as u64;
    if audio.span.abs_diff(packets * SAMPLES + silent) > SAMPLES {
        return Err(format!(
            "a span of {} samples for {packets} packets",
            audio.span
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use asterscribe_call::Leg;

    fn leg(packets: u64) -> LegSnapshot {
        let mut leg = LegSnapshot::new(Leg::caller());
        leg.stats.received = packets;
        leg.stats.decoded = packets;
        leg.stats.audio_ms = packets * 20;
        leg.audio.span = packets * SAMPLES;
        leg.audio.non_speech = packets * SAMPLES;
        leg
    }

    fn flow(slipped_us: u64) -> FlowAccount {
        FlowAccount {
            packets: 50,
            slipped_us,
        }
    }

    #[test]
    fn a_pause_is_one_where_the_sender_stood_still() {
        let mut leg = leg(50);
        leg.stats.silent_ms = 180;
        leg.audio.span += 180 * 16;
        leg.audio.non_speech += 180 * 16;
        assert_eq!(check(&leg, flow(180_000), SessionDepth::Speech), Ok(()));
        let told = check(&leg, flow(120_000), SessionDepth::Speech).unwrap_err();
        assert_eq!(told, "silent_ms is 60, not 0");
    }

    type Spoil = fn(&mut LegSnapshot);

    #[test]
    fn a_leg_that_has_it_all_passes_and_one_that_has_not_is_told_why() {
        assert_eq!(check(&leg(50), flow(0), SessionDepth::Speech), Ok(()));
        let broken: [(&str, Spoil); 7] = [
            ("received is 49", |leg| leg.stats.received -= 1),
            ("decoded is 49", |leg| leg.stats.decoded -= 1),
            ("lost is 1", |leg| leg.stats.lost += 1),
            ("lost_ms is 20", |leg| leg.stats.lost_ms += 20),
            ("not its span", |leg| leg.audio.non_speech -= 1),
            ("pending", |leg| {
                leg.audio.pending = leg.audio.non_speech;
                leg.audio.non_speech = 0;
            }),
            ("a span of", |leg| {
                leg.audio.span -= 2 * SAMPLES;
                leg.audio.non_speech -= 2 * SAMPLES;
            }),
        ];
        for (word, spoil) in broken {
            let mut leg = leg(50);
            spoil(&mut leg);
            let told = check(&leg, flow(0), SessionDepth::Speech).unwrap_err();
            assert!(told.contains(word), "{told}");
        }
    }

    #[test]
    fn reception_alone_decodes_nothing() {
        let mut leg = leg(50);
        assert!(check(&leg, flow(0), SessionDepth::Ordered).is_err());
        leg.stats.decoded = 0;
        assert_eq!(check(&leg, flow(0), SessionDepth::Ordered), Ok(()));
    }
}
