//! Cisco's form: packets stand in the place of audio, every 20 ms, each with a
//! timestamp of its own. A payload is a running number, flags of which the
//! lowest flips with every key, and pairs of power and digit, the newest first
//! and older ones as a reserve behind it. Power 0 is the end.

use std::time::{Duration, Instant};

use super::{
    DurationPace, EventClock, EventFormat, EventPacket, EventReceiver, EventTimestamps, OpenEvent,
    TIMEOUT, ticks,
};
use crate::ids::ExtRtpTime;

/// The newest packet.
#[derive(Debug, Clone, Copy)]
pub(super) struct LastCiscoPacket {
    time: ExtRtpTime,
    flip: bool,
    code: u8,
    end_seen: bool,
}

/// Time between two packets, whatever the audio's packet time.
const STEP: Duration = Duration::from_millis(20);

impl EventReceiver {
    /// `false` if the packet is of no use.
    pub(super) fn cisco(&mut self, now: Instant, packet: EventPacket<'_>) -> bool {
        let [_, flags, pairs @ ..] = packet.payload else {
            return false;
        };
        let (pairs, rest) = pairs.as_chunks::<2>();
        let Some((&[power, digit], history)) = pairs.split_first() else {
            return false;
        };
        let (flip, code) = (flags & 1 != 0, digit & 0x1F);
        if self.cisco.is_some_and(|last| packet.time <= last.time) {
            // A copy.
            return rest.is_empty();
        }
        let last = self.cisco.replace(LastCiscoPacket {
            time: packet.time,
            flip,
            code,
            end_seen: power == 0,
        });
        let same = last.filter(|last| last.flip == flip && last.code == code);
        let is_open = |open: &OpenEvent| open.format == EventFormat::Cisco;
        if self.open.as_ref().is_some_and(is_open) && same.is_some() {
            self.extend(now, packet.time, power == 0);
            return rest.is_empty();
        }
        // After the end, or what was taken for it: its copies, not another key.
        let clock = packet.clock.usual();
        let lately = ticks(TIMEOUT, clock);
        let is_echo = |last: LastCiscoPacket| {
            packet.time.since(last.time) <= i128::from(lately) && (power == 0 || !last.end_seen)
        };
        if same.is_some_and(is_echo) {
            return rest.is_empty();
        }
        // The reserve tells whether the key before this one was let go.
        self.close(history.iter().any(|[power, _]| *power == 0));
        let missed = history
            .iter()
            .take_while(|[power, older]| *power > 0 && older & 0x1F == code);
        let before = missed.count() as u64 * ticks(STEP, clock);
        let start = ExtRtpTime(packet.time.0.saturating_sub(before));
        let own = if power == 0 { 0 } else { ticks(STEP, clock) };
        let length = before + own;
        self.open = Some(OpenEvent {
            format: EventFormat::Cisco,
            code,
            start,
            stamp: start,
            segment: start,
            first: length,
            told: length,
            stamps: EventTimestamps::Unknown,
            ticks: length,
            clock: EventClock::Told(clock),
            pace: DurationPace::default(),
            began: now,
            heard: now,
        });
        if power == 0 {
            self.close(true);
        }
        rest.is_empty()
    }

    fn extend(&mut self, now: Instant, time: ExtRtpTime, is_end: bool) {
        let Some(open) = &mut self.open else {
            return;
        };
        let lasted = u64::try_from(time.since(open.start)).unwrap_or(0);
        let step = if is_end {
            0
        } else {
            ticks(STEP, open.clock.usual())
        };
        open.ticks = open.ticks.max(lasted + step);
        open.heard = now;
        if is_end {
            self.close(true);
        }
    }
}
