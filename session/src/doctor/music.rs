//! Music: sound without the pauses of speech whose notes stay where they are.
//! It takes some six seconds to tell; songs and speech over music stay unnoticed.

use std::time::Duration;

use asterscribe_call::FindingKind;

use super::findings::FindingsLog;

/// Pairs of blocks, one each 450 ms, that are judged together.
const PAIRS: u32 = 8;

/// Share of the peaks that stay from one tenth of a second to the next: in
/// music most, in speech and noise few.
const HELD: f32 = 0.5;
const NOT_HELD: f32 = 0.35;

/// Pairs unlike music after which it is over.
const UNLIKE: u32 = 5;

/// Without a pair for this long the sound has paused.
const PAUSED: Duration = Duration::from_millis(1_200);
const OVER: Duration = Duration::from_secs(2);

const FIX: &str = "The party has been put on hold, or waits in a queue, and the music of that is what this leg hears. Nothing needs mending; if it should not be \
listened to, stop the transcription while the call is held.";

#[derive(Debug, Default)]
pub(super) struct MusicProbe {
    since: Duration,
    last: Duration,
    pairs: u32,
    held: f32,
    unlike: u32,
    lasts: bool,
}

impl MusicProbe {
    pub(super) fn lasts(&self) -> bool {
        self.lasts
    }

    /// Two blocks 100 ms apart and what share of the later one's peaks was in
    /// the earlier one, after `unpaused` without a pause of speech.
    pub(super) fn pair(
        &mut self,
        at: Duration,
        held: f32,
        unpaused: Duration,
        chart: &mut FindingsLog,
    ) {
        if self.lasts {
            self.last = at;
            let is_like = held >= NOT_HELD && !unpaused.is_zero();
            self.unlike = if is_like { 0 } else { self.unlike + 1 };
            if self.unlike >= UNLIKE {
                self.end(at, chart);
            }
            return;
        }
        if self.pairs == 0 || at > self.last + PAUSED {
            *self = Self::default();
            self.since = at.saturating_sub(unpaused);
        }
        self.last = at;
        self.pairs += 1;
        self.held += held;
        if self.pairs < PAIRS {
            return;
        }
        let mean = self.held / self.pairs as f32;
        if mean < HELD {
            // The older half is forgotten.
            self.pairs /= 2;
            self.held /= 2.0;
            return;
        }
        self.lasts = true;
        let evidence = format!(
            "sound for {:.1} s without the pauses of speech, in which {:.0} % of the notes last from one tenth of a second to the next",
            at.saturating_sub(self.since).as_secs_f32(),
            mean * 100.0
        );
        chart.begin(FindingKind::Music, self.since, evidence, FIX);
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        self.lasts.then(|| self.last + OVER)
    }

    pub(super) fn lapse(&mut self, at: Duration, chart: &mut FindingsLog) {
        if self.deadline().is_some_and(|due| due <= at) {
            self.end(self.last, chart);
        }
    }

    fn end(&mut self, until: Duration, chart: &mut FindingsLog) {
        *self = Self::default();
        chart.end(FindingKind::Music, until);
    }
}
