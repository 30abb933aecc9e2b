//! Arrival times of a capture's packets: by the capturing machine's clock, and where that makes no
//! sense by the timestamps of RTP.
//!
//! A clock is set while packets are captured, a virtual machine is put to sleep, a
//! program writes no times at all. RTP counts on in all of that: packets of one
//! stream whose numbers and timestamps go forward while the clock goes back say by
//! how much it was set, and so for all other packets of the file too.

use std::collections::VecDeque;
use std::time::Duration;

use asterscribe_codecs::PayloadKind;
use asterscribe_rtp::RtpPacket;

/// Most by which packets of a stream that overtake each other lie apart; a clock set back by less
/// has no more effect than a network.
const OVERTAKING: Duration = Duration::from_millis(100);

/// Longest pause believed of a sender that does not count it. Within one stream nothing tells a
/// pause from a clock set forward, except that nobody waits so long.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// Longest step of the timestamps that is believed where the clock makes no sense.
const LONGEST_STEP: Duration = Duration::from_secs(3_600);

/// Packets of a stream in sequence before the stream may correct the clock.
const TRUSTED: u8 = 3;

/// Largest distance in sequence numbers of an older packet; beyond it the stream begins anew.
const MAX_MISORDER: i16 = 100;

/// Packet duration assumed where the payload type's clock rate is unknown.
const PACKET: Duration = Duration::from_millis(20);

/// Least leap of a clock set forward; less counts as a pause.
const LEAP: Duration = Duration::from_secs(2);

/// Most leaps examined.
const MAX_LEAPS: usize = 64;

/// Most steps of the clock that are reported one by one.
const MAX_TOLD: usize = 8;

/// The capture's clock, corrected by what RTP shows of it.
#[derive(Debug, Default)]
pub(super) struct CaptureClock {
    /// Correction that is added to the file's times, nanoseconds.
    shift: i128,
    newest: Duration,
    /// Steps of the clock found so far: seconds, and number of the datagram.
    pub(super) steps: Vec<(f64, u64)>,
    pub(super) step_count: u64,
    /// Packets for which the file has no time.
    pub(super) timeless: u64,
    /// Possible leaps forward.
    leaps: Vec<StreamLeap>,
    /// Leaps forward known from an earlier pass: number of the datagram, and by how much.
    known: VecDeque<(u64, Duration)>,
}

/// A stretch without packets of a stream, after which its RTP goes on as if no time had passed.
#[derive(Debug, Clone, Copy)]
struct StreamLeap {
    /// Number of the first datagram behind it.
    number: u64,
    from: Duration,
    to: Duration,
    by: Duration,
    witnesses: u32,
    /// Another stream did count the time, so the clock was right.
    refuted: bool,
}

/// Last packet of a stream, from which the time of its next one is expected.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct StreamClock {
    last: Option<LastMoment>,
    followed: u8,
    /// Start of the stream, if its packets' capture times make no sense.
    untimed_from: Option<Duration>,
}

#[derive(Debug, Clone, Copy)]
struct LastMoment {
    ssrc: u32,
    seq: u16,
    time: u32,
    at: Duration,
}

/// Progress of a sender from one packet to the next, in numbers and ticks.
#[derive(Debug, Clone, Copy)]
struct SenderStep {
    numbers: i16,
    ticks: i32,
    hz: Option<u32>,
}

impl CaptureClock {
    /// A clock for another pass over the same packets, which knows the leaps.
    pub(super) fn knowing(leaps: &[(u64, Duration)]) -> Self {
        Self {
            known: leaps.iter().copied().collect(),
            ..Self::default()
        }
    }

    /// Leaps of the clock forward: number of the datagram, and by how much. At least two streams
    /// show each, and none contradicts.
    pub(super) fn leaps(&self) -> Vec<(u64, Duration)> {
        let certain = |leap: &&StreamLeap| leap.witnesses > 1 && !leap.refuted;
        let leaps = self.leaps.iter().filter(certain);
        leaps.map(|leap| (leap.number, leap.by)).collect()
    }

    /// Whether packets have no times; one alone may well have come at time zero.
    pub(super) fn is_timeless(&self) -> bool {
        self.timeless > 1
    }

    /// Arrival time of a datagram. `at`: time in the file; `number`: the datagram's place in it.
    pub(super) fn time(
        &mut self,
        stream: &mut StreamClock,
        at: Duration,
        packet: Option<&RtpPacket<'_>>,
        number: u64,
    ) -> Duration {
        while let Some(&(leapt, by)) = self.known.front()
            && leapt <= number
        {
            self.known.pop_front();
            self.shift -= nanos(by);
        }
        let is_timeless = at.is_zero() || stream.untimed_from.is_some();
        let told = match stream.untimed_from {
            Some(from) => stream.last.map_or(from, |last| last.at),
            None if is_timeless => {
                self.timeless += 1;
                self.newest
            }
            None => shifted(at, self.shift),
        };
        let Some(packet) = packet else {
            return told;
        };
        let (ssrc, seq, time) = (packet.ssrc.0, packet.seq.0, packet.time.0);
        let last = stream.last.filter(|last| last.ssrc == ssrc);
        let step = last.map(|last| SenderStep {
            numbers: seq.wrapping_sub(last.seq).cast_signed(),
            ticks: time.wrapping_sub(last.time).cast_signed(),
            hz: clock_rate(packet.payload_type.get()),
        });
        let came = match (last, step) {
            (Some(last), Some(step)) if is_timeless => step.from(last.at),
            (Some(last), Some(step)) => self.check(stream.followed, last, step, told, number),
            _ => told,
        };
        let numbers = step.map_or(0, |step| step.numbers);
        if step.is_none() || !(-MAX_MISORDER..=0).contains(&numbers) {
            let follows = numbers > 0 && step.is_some_and(|step| step.ticks > 0);
            stream.followed = if follows {
                stream.followed.saturating_add(1)
            } else {
                0
            };
            stream.last = Some(LastMoment {
                ssrc,
                seq,
                time,
                at: came,
            });
        }
        self.newest = self.newest.max(came);
        came
    }

    /// Arrival time by the clock, corrected if the stream shows that the clock was set.
    fn check(
        &mut self,
        followed: u8,
        last: LastMoment,
        step: SenderStep,
        told: Duration,
        number: u64,
    ) -> Duration {
        if step.numbers <= 0 || step.ticks <= 0 {
            return told;
        }
        let expected = step.from(last.at);
        let went_back = followed >= TRUSTED && told.saturating_add(OVERTAKING) < last.at;
        let leapt = step.goes_on() && told.saturating_sub(expected) > LONGEST_PAUSE;
        if !(went_back || leapt) {
            self.look_for_leap(last, step, told, number);
            return told;
        }
        let wrong_by = nanos(expected) - nanos(told);
        self.shift += wrong_by;
        self.step_count += 1;
        if self.steps.len() < MAX_TOLD {
            // For people: a tenth of a second will do.
            self.steps.push((-wrong_by as f64 / 1e9, number));
        }
        expected
    }
}

impl CaptureClock {
    /// Checks, after a stream's silence, whether its timestamps counted the time.
    fn look_for_leap(&mut self, last: LastMoment, step: SenderStep, told: Duration, number: u64) {
        let by = told.saturating_sub(step.from(last.at));
        let went_on = step.goes_on() && by > LEAP;
        let has_room = self.leaps.len() < MAX_LEAPS;
        let is_near = |leap: &&mut StreamLeap| {
            last.at.saturating_add(LEAP) > leap.from && last.at < leap.to && told >= leap.to
        };
        match self.leaps.last_mut().filter(is_near) {
            Some(leap) if went_on => {
                leap.witnesses += 1;
                leap.by = leap.by.min(by);
            }
            Some(leap) => leap.refuted = true,
            None if went_on && has_room => self.leaps.push(StreamLeap {
                number,
                from: last.at,
                to: told,
                by,
                witnesses: 1,
                refuted: false,
            }),
            None => {}
        }
    }
}

impl StreamClock {
    /// A stream; `untimed_from`: its start, if its packets' own times make no sense.
    pub(super) fn new(untimed_from: Option<Duration>) -> Self {
        Self {
            untimed_from,
            ..Self::default()
        }
    }
}

impl SenderStep {
    /// Whether the packet follows the last one as if hardly any time had passed.
    fn goes_on(self) -> bool {
        let ticks = u64::from(self.ticks.unsigned_abs());
        let hz = u64::from(self.hz.unwrap_or(48_000));
        self.numbers == 1 && self.ticks > 0 && ticks < LEAP.as_secs() * hz
    }

    /// Expected time of the packet, if the one before it came at `at`.
    fn from(self, at: Duration) -> Duration {
        let by_numbers = || PACKET * u32::from(self.numbers.unsigned_abs());
        let by_ticks = |hz: u32| {
            let nanos = u64::from(self.ticks.unsigned_abs()) * 1_000_000_000 / u64::from(hz);
            Some(Duration::from_nanos(nanos)).filter(|step| *step <= LONGEST_STEP)
        };
        let step = self.hz.and_then(by_ticks).unwrap_or_else(by_numbers);
        let goes_back = match self.hz {
            Some(_) => self.ticks < 0,
            None => self.numbers < 0,
        };
        match goes_back {
            true => at.saturating_sub(step),
            false => at.saturating_add(step),
        }
    }
}

/// Length of a stream's audio against the time that it took by the capture: no sender is four times
/// as fast for long.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct StreamPace {
    audio: Duration,
    first: Option<Duration>,
    latest: Duration,
    /// Newest packet of the sender: its SSRC, number and timestamp. Never replaced by an older one,
    /// so that nothing is counted twice in a file that is not in order.
    newest: Option<(u32, u16, u32)>,
}

impl StreamPace {
    const FASTEST: u32 = 4;
    /// Audio from which on the ratio is judged: a network may hold less than that back.
    const ENOUGH: Duration = Duration::from_secs(1);

    /// Takes in a packet that came at `at`.
    pub(super) fn packet(&mut self, at: Duration, packet: &RtpPacket<'_>) {
        let (ssrc, seq, time) = (packet.ssrc.0, packet.seq.0, packet.time.0);
        self.earliest(at);
        let before = self.newest.filter(|(of, ..)| *of == ssrc);
        if let Some((_, number, ticks)) = before {
            if seq.wrapping_sub(number).cast_signed() <= 0 {
                return;
            }
            let hz = clock_rate(packet.payload_type.get()).unwrap_or(48_000);
            let ticks = u64::try_from(time.wrapping_sub(ticks).cast_signed()).unwrap_or(0);
            let step = Duration::from_nanos(ticks * 1_000_000_000 / u64::from(hz));
            // A pause is none of the audio, and a leap nobody's.
            if step <= Duration::from_millis(200) {
                self.audio += step;
            }
        }
        self.newest = Some((ssrc, seq, time));
    }

    fn earliest(&mut self, at: Duration) {
        self.first = Some(self.first.map_or(at, |first| first.min(at)));
        self.latest = self.latest.max(at);
    }

    /// Whether the capture's times can be those at which the packets came.
    pub(super) fn is_possible(&self) -> bool {
        let took = self.latest.saturating_sub(self.first.unwrap_or_default());
        self.audio < Self::ENOUGH || took.saturating_mul(Self::FASTEST) >= self.audio
    }
}

/// Clock rate of a payload type, hertz, where the number is fixed.
fn clock_rate(payload_type: u8) -> Option<u32> {
    match PayloadKind::classify(payload_type) {
        PayloadKind::Audio(codec) => Some(codec.rtp_clock_rate().hz()),
        PayloadKind::Unknown(number) if number >= 35 => None,
        _ => Some(8_000),
    }
}

fn nanos(duration: Duration) -> i128 {
    // Widening: no duration has more than 95 bits of nanoseconds.
    duration.as_nanos() as i128
}

fn shifted(at: Duration, by: i128) -> Duration {
    let nanos = (nanos(at) + by).max(0);
    let seconds = u64::try_from(nanos / 1_000_000_000);
    seconds.map_or(Duration::MAX, |seconds| {
        let fraction = u32::try_from(nanos % 1_000_000_000);
        Duration::new(seconds, fraction.expect("below one second"))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_times_and_no_numbers_overflow(
            packets in prop::collection::vec((any::<u64>(), 0..1_000_000_000u32, any::<u16>(), any::<u32>(), 0..128u8), 1..60),
        ) {
            let (mut clock, mut stream, mut pace) = (CaptureClock::default(), StreamClock::default(), StreamPace::default());
            for (number, (seconds, fraction, seq, time, kind)) in (0..).zip(packets) {
                let mut bytes = vec![0x80, kind];
                bytes.extend(seq.to_be_bytes());
                bytes.extend(time.to_be_bytes());
                bytes.extend([0, 0, 0, 1, 0xff]);
                let packet = RtpPacket::parse(&bytes).ok();
                let at = Duration::new(seconds, fraction);
                let came = clock.time(&mut stream, at, packet.as_ref(), number);
                packet.iter().for_each(|packet| pace.packet(came, packet));
                let _possible = pace.is_possible();
            }
        }
    }
}
