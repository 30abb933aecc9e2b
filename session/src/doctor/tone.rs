//! Steady tones: those of the telephone network by their frequencies and
//! cadence, and any other.

use std::time::Duration;

use asterscribe_call::FindingKind;

use super::findings::FindingsLog;
use super::spectrum::SpectrumPeaks;
use super::tuner::BLOCK_TIME;

/// Most by which a tone may deviate from where it was, and from a standard's frequency, Hz.
const SAME: f32 = 8.0;

/// One tone between these is a call-progress tone in most of the world: 400,
/// 425, 440 or 450 Hz (ITU-T E.180 supplement 2).
const PROGRESS: std::ops::RangeInclusive<f32> = 390.0..=460.0;

/// Blocks, 50 ms apart, that make a tone a finding. A pair that a standard
/// knows is no accident after some; any other must last for a second.
const OF_KNOWN_PAIR: u32 = 6;
const OF_PROGRESS: u32 = 10;
const OF_ANY: u32 = 19;

/// Time without a tone after which it is forgotten, if it was no finding yet.
const FORGOTTEN: Duration = Duration::from_millis(1_500);

/// Time without a constant tone after which it is over; for one with pauses it is longer than its
/// longest pause.
const TONE_OVER: Duration = Duration::from_millis(1_500);
const CADENCE_OVER: Duration = Duration::from_millis(6_500);

/// Blocks of other sound after which a tone is over: half a second.
const OTHER_SOUNDS: u32 = 10;

/// Share of the tone's power below which a block is a pause, even if it hisses.
const PAUSE: f32 = 0.05;

/// Largest distance between the ends of two blocks of one burst.
const BURST_GAP: Duration = Duration::from_millis(120);

/// Time without a pause after which a tone counts as continuous.
const CONTINUOUS: Duration = Duration::from_secs(6);

/// Pairs of frequencies, and the signal that they stand for.
const PAIRS: [([f32; 2], &str); 5] = [
    ([440.0, 480.0], "ringback of North America"),
    (
        [400.0, 450.0],
        "ringback of the United Kingdom, Australia and others",
    ),
    ([350.0, 440.0], "dial tone of North America"),
    ([350.0, 450.0], "dial tone of the United Kingdom"),
    ([480.0, 620.0], "busy or reorder tone of North America"),
];

const RINGBACK_FIX: &str = "This leg hears the telephone network, not a person: the call is not answered yet, or it is over and was not hung up. Begin at the answer \
(an initiated call is), or hang up when the far end has; if the tone stays in an answered call, look at the trunk's early media and disconnect supervision.";

const TONE_FIX: &str = "No voice sounds like this. 1100 and 2100 Hz are fax or modem calls, about 1000 Hz is a test tone of a trunk, others come from hold, an alarm or \
a faulty analogue line. If no machine is meant to be on this leg, look at what its channel is connected to.";

#[derive(Debug, Default)]
pub(super) struct ToneProbe {
    run: Option<ToneRun>,
}

#[derive(Debug)]
struct ToneRun {
    frequencies: [f32; 2],
    count: usize,
    since: Duration,
    /// End of the last block that consisted of the tone.
    last: Duration,
    blocks: u32,
    power: f32,
    /// Blocks of other sound since then.
    other: u32,
    declared: Option<FindingKind>,
    cadence: ToneCadence,
}

/// Cadence of a tone, as far as blocks of 100 ms show it.
#[derive(Debug, Default)]
struct ToneCadence {
    /// End of the first block of this burst.
    began: Duration,
    bursts: u32,
    on: Option<Duration>,
    off: Option<Duration>,
    told: bool,
}

impl ToneProbe {
    /// Frequencies of the tone that is a finding at present, Hz.
    pub(super) fn lasting(&self) -> Option<&[f32]> {
        let run = self.run.as_ref().filter(|run| run.declared.is_some())?;
        Some(&run.frequencies[..run.count])
    }

    /// Takes a block while a tone lasts: more of the tone, a pause, or other sound.
    pub(super) fn again(
        &mut self,
        at: Duration,
        is_same: bool,
        power: f32,
        chart: &mut FindingsLog,
    ) {
        let Some(run) = &mut self.run else { return };
        if is_same {
            run.hear(at, power);
            run.tell(chart);
        } else if power >= PAUSE * run.power {
            run.other += 1;
            if run.other >= OTHER_SOUNDS {
                self.end(chart);
            }
        } else {
            self.silent(at, chart);
        }
    }

    /// Takes the spectral peaks of a block; returns whether the block consists of tones.
    pub(super) fn peaks(
        &mut self,
        at: Duration,
        peaks: &SpectrumPeaks,
        chart: &mut FindingsLog,
    ) -> bool {
        let Some((frequencies, count)) = peaks.tones() else {
            return false;
        };
        match &mut self.run {
            Some(run) if run.is(frequencies, count) => run.hear(at, peaks.power),
            Some(run) if run.declared.is_some() => {}
            other => *other = Some(ToneRun::new(at, frequencies, count, peaks.power)),
        }
        if let Some(run) = &mut self.run {
            run.declare(chart);
        }
        true
    }

    /// Takes a silent block.
    pub(super) fn silent(&mut self, at: Duration, chart: &mut FindingsLog) {
        if let Some(run) = &mut self.run {
            run.cadence.pause(run.last);
            run.tell(chart);
        }
        self.lapse(at, chart);
    }

    pub(super) fn deadline(&self) -> Option<Duration> {
        self.run.as_ref().map(|run| {
            run.last
                + match run.declared {
                    None => FORGOTTEN,
                    Some(FindingKind::Ringback) => CADENCE_OVER,
                    Some(_) => TONE_OVER,
                }
        })
    }

    /// Ends a tone that has been absent for long enough.
    pub(super) fn lapse(&mut self, at: Duration, chart: &mut FindingsLog) {
        if self.deadline().is_some_and(|due| due <= at) {
            self.end(chart);
        }
    }

    fn end(&mut self, chart: &mut FindingsLog) {
        if let Some(run) = self.run.take()
            && let Some(kind) = run.declared
        {
            chart.end(kind, run.last);
        }
    }
}

impl ToneRun {
    fn new(at: Duration, frequencies: [f32; 2], count: usize, power: f32) -> Self {
        Self {
            frequencies,
            count,
            since: at.saturating_sub(BLOCK_TIME),
            last: at,
            blocks: 1,
            power,
            other: 0,
            declared: None,
            cadence: ToneCadence {
                began: at,
                bursts: 1,
                ..ToneCadence::default()
            },
        }
    }

    fn is(&self, frequencies: [f32; 2], count: usize) -> bool {
        let near = |(a, b): (&f32, &f32)| (a - b).abs() <= SAME;
        self.count == count && self.frequencies.iter().zip(&frequencies).all(near)
    }

    fn hear(&mut self, at: Duration, power: f32) {
        if at > self.last + BURST_GAP {
            self.cadence.resume(self.last, at);
        }
        self.last = at;
        self.other = 0;
        self.blocks = self.blocks.saturating_add(1);
        self.power += (power - self.power) / 4.0;
    }

    fn pair(&self) -> Option<&'static str> {
        let near = |pair: &[f32; 2]| {
            pair.iter()
                .zip(&self.frequencies)
                .all(|(a, b)| (a - b).abs() <= SAME)
        };
        let known = PAIRS.iter().find(|(pair, _)| near(pair))?;
        (self.count == 2).then_some(known.1)
    }

    fn is_progress(&self) -> bool {
        self.count == 1 && PROGRESS.contains(&self.frequencies[0])
    }

    fn declare(&mut self, chart: &mut FindingsLog) {
        let (kind, needed) = if self.pair().is_some() {
            (FindingKind::Ringback, OF_KNOWN_PAIR)
        } else if self.is_progress() {
            (FindingKind::Ringback, OF_PROGRESS)
        } else {
            (FindingKind::ConstantTone, OF_ANY)
        };
        if self.declared.is_some() || self.blocks < needed {
            return;
        }
        self.declared = Some(kind);
        let (evidence, fix) = self.evidence();
        chart.begin(kind, self.since, evidence, fix);
    }

    /// Adds the cadence to the finding, once it is known.
    fn tell(&mut self, chart: &mut FindingsLog) {
        let is_known = self.cadence.is_known() || self.last > self.cadence.began + CONTINUOUS;
        if is_known
            && !self.cadence.told
            && let Some(kind) = self.declared
        {
            self.cadence.told = true;
            let (evidence, fix) = self.evidence();
            chart.amend(kind, evidence, fix);
        }
    }

    fn evidence(&self) -> (String, &'static str) {
        let tones = match self.count {
            1 => format!("a tone of {:.0} Hz", self.frequencies[0]),
            _ => format!(
                "tones of {:.0} and {:.0} Hz",
                self.frequencies[0], self.frequencies[1]
            ),
        };
        let cadence = match (self.cadence.on, self.cadence.off) {
            (Some(on), Some(off)) => format!(
                ", about {:.1} s on and {:.1} s off",
                on.as_secs_f32(),
                off.as_secs_f32()
            ),
            _ if self.last > self.cadence.began + CONTINUOUS && self.cadence.bursts == 1 => {
                ", without a pause".to_owned()
            }
            _ => String::new(),
        };
        let meaning = match self.pair() {
            Some(name) => name,
            None if self.is_progress() => self.cadence.meaning(),
            None => return (format!("{tones}{cadence}, and nothing else"), TONE_FIX),
        };
        (format!("{tones}{cadence}: {meaning}"), RINGBACK_FIX)
    }
}

impl ToneCadence {
    /// Notes that a burst follows a pause.
    fn resume(&mut self, last: Duration, at: Duration) {
        self.pause(last);
        self.off = Some((at.saturating_sub(BLOCK_TIME)).saturating_sub(last));
        self.began = at;
        self.bursts = self.bursts.saturating_add(1);
    }

    /// Notes that the burst which ended at `last` is over. The first burst is not measured: it was
    /// under way when it was noticed.
    fn pause(&mut self, last: Duration) {
        if self.bursts > 1 && last >= self.began {
            self.on = Some(last - self.began + BLOCK_TIME);
        }
    }

    fn is_known(&self) -> bool {
        self.on.is_some() && self.off.is_some()
    }

    /// Meaning of a single call-progress tone, by its cadence.
    fn meaning(&self) -> &'static str {
        let ms = |time: Option<Duration>| time.map(|time| time.as_millis());
        match (ms(self.on), ms(self.off)) {
            (Some(600..), Some(1_500..)) => "ringback",
            (Some(..360), Some(..360)) => "congestion or reorder tone",
            (Some(300..900), Some(300..900)) => "busy tone",
            (Some(_), Some(_)) => "a call-progress tone",
            _ if self.bursts == 1 => {
                "a call-progress tone: dial tone if it goes on, else ringback, busy or congestion by its cadence"
            }
            _ => "a call-progress tone: ringback, busy or congestion by its cadence",
        }
    }
}
