//! Too little and too much: a leg that is mute, and one that is cut off at full scale.

use std::time::Duration;

use asterscribe_call::FindingKind;

use super::analyser::{AudioProbe, LOOK_TIME};
use super::findings::FindingsLog;

/// Mean square below which there is nothing to hear: -60 dB of full scale.
const SILENT: f32 = 1e-6;

/// Looks with sound that end a silence; less may be a click.
const SOUNDS: u8 = 3;

/// Speech of another leg, in which one that was never heard says nothing.
/// Shorter is no sign of a fault: whoever listens is silent too.
const NEVER_HEARD_MS: u32 = 8_000;

/// Speech of another leg, milliseconds, in which one that has been heard before says nothing.
const HEARD_MS: u32 = 30_000;

/// Without audio for this long, silence is not what arrives.
const AUDIO_GONE: Duration = Duration::from_secs(1);

/// Audible looks that are judged together, 1 s.
const LOOKS: u32 = 10;

/// Share of samples at full scale that is too much, and that is not.
const CLIPPED: f32 = 0.01;
const CLEAN: f32 = 0.003;

/// Seconds of clean audio that end it.
const CLEAN_SECONDS: u8 = 3;

const SILENT_FIX: &str = "If this party is only listening, nothing is wrong. Else see its microphone and mute key, and whether its audio reaches Asterisk at all \
(`rtp set debug on`, direct_media=no, NAT settings of its endpoint); for a tap, that the snoop spies in the direction of this party.";

const CLIPPING_FIX: &str = "The level is too high before it reaches this server, which costs recognition. Turn down the microphone, the gain of the trunk or gateway, \
or VOLUME() and AGC() in the dialplan; speech should peak some 6 dB below full scale.";

#[derive(Debug, Default)]
pub(super) struct SilenceProbe {
    since: Duration,
    last: Duration,
    quiet: u32,
    sounds: u8,
    was_heard: bool,
    other_ms: u32,
}

impl SilenceProbe {
    pub(super) fn look(&mut self, look: AudioProbe, chart: &mut FindingsLog) {
        if look.power < SILENT {
            if self.quiet == 0 {
                self.since = look.at.saturating_sub(LOOK_TIME);
                self.other_ms = 0;
                self.sounds = 0;
            }
            self.quiet = self.quiet.saturating_add(1);
            self.last = look.at;
            return;
        }
        self.sounds = self.sounds.saturating_add(1);
        if self.sounds >= SOUNDS {
            self.was_heard = true;
            self.quiet = 0;
            self.other_ms = 0;
            chart.end(FindingKind::OneLegSilent, look.at);
        }
    }

    pub(super) fn other_spoke(&mut self, at: Duration, ms: u32, chart: &mut FindingsLog) {
        if self.quiet == 0 || at > self.last + AUDIO_GONE {
            return;
        }
        self.other_ms = self.other_ms.saturating_add(ms);
        let enough = if self.was_heard {
            HEARD_MS
        } else {
            NEVER_HEARD_MS
        };
        if self.other_ms >= enough && !chart.lasts(FindingKind::OneLegSilent) {
            let evidence = format!(
                "nothing above -60 dB of full scale for {:.1} s, in which the other party spoke for {:.1} s",
                at.saturating_sub(self.since).as_secs_f32(),
                self.other_ms as f32 / 1000.0
            );
            chart.begin(FindingKind::OneLegSilent, self.since, evidence, SILENT_FIX);
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct ClippingProbe {
    looks: u32,
    full: f32,
    since: Duration,
    clean: u8,
}

impl ClippingProbe {
    pub(super) fn look(&mut self, look: AudioProbe, chart: &mut FindingsLog) {
        if !look.is_audible() {
            return;
        }
        if self.looks == 0 {
            self.since = look.at.saturating_sub(LOOK_TIME);
        }
        self.looks += 1;
        self.full += look.full;
        if self.looks < LOOKS {
            return;
        }
        let share = self.full / self.looks as f32;
        (self.looks, self.full) = (0, 0.0);
        if share >= CLIPPED {
            self.clean = 0;
            let evidence = format!("{:.1} % of samples are at full scale", share * 100.0);
            chart.begin(FindingKind::Clipping, self.since, evidence, CLIPPING_FIX);
        } else if share < CLEAN {
            self.clean = self.clean.saturating_add(1);
            if self.clean == CLEAN_SECONDS {
                chart.end(FindingKind::Clipping, look.at);
            }
        }
    }
}
