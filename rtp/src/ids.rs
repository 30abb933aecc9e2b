//! Numbers of RTP as types, so that none is mistaken for another.
//!
//! On the wire the sequence number has 16 bits and the timestamp 32, and both
//! wrap. They become 64 bits wide as soon as they come in ([`ExtSeq`],
//! [`ExtRtpTime`]); nothing behind that door knows about wrapping.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

/// Synchronisation source (RFC 3550 section 3): who sends this stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ssrc(pub u32);

impl fmt::Display for Ssrc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// Payload type (RFC 3550 section 5.1), 0 to 127: which codec the payload is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PayloadType(u8);

impl PayloadType {
    /// `None` above 127.
    pub const fn new(value: u8) -> Option<Self> {
        if value < 128 { Some(Self(value)) } else { None }
    }

    /// The number, 0 to 127.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for PayloadType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Sequence number as sent: 16 bits, wraps (RFC 3550 section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SeqNo(pub u16);

impl SeqNo {
    /// The number that follows this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }
}

/// Sequence number that does not wrap. Its low 16 bits are the [`SeqNo`].
///
/// Grows over the whole life of a [`RtpReceiver`](crate::RtpReceiver), across
/// restarts too, so that it orders and names a leg's packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtSeq(pub u64);

impl ExtSeq {
    /// For the first packet of a leg. One cycle up, so that packets older than
    /// the first have numbers too.
    pub const fn first(wire: SeqNo) -> Self {
        Self((1 << 16) + wire.0 as u64)
    }

    /// The number with `wire` as its low bits that is nearest to this one;
    /// of two equally near (32,768 away) the older.
    #[must_use]
    pub const fn extend(self, wire: SeqNo) -> Self {
        Self(extend(self.0, wire.0 as u64, 16))
    }

    /// For the first packet of a timeline that replaces the one whose newest
    /// packet is this: beyond anything the old one can still reach.
    #[must_use]
    pub const fn restart(self, wire: SeqNo) -> Self {
        Self((((self.0 >> 16) + 2) << 16) | wire.0 as u64)
    }

    /// The number as it was sent.
    pub const fn wire(self) -> SeqNo {
        SeqNo((self.0 & 0xFFFF) as u16)
    }
}

impl fmt::Display for ExtSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Timestamp as sent: 32 bits of [`ClockRate`] ticks, wraps (RFC 3550 section 5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RtpTime(pub u32);

/// Timestamp that does not wrap, in ticks of the payload's [`ClockRate`]. Its
/// low 32 bits are the [`RtpTime`]. Only differences within one timeline mean
/// anything; another source begins anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtRtpTime(pub u64);

impl ExtRtpTime {
    /// For the first packet of a timeline. High up, since a sender may step
    /// back by almost 2³¹ ticks with every packet.
    pub const fn first(wire: RtpTime) -> Self {
        Self((1 << 48) + wire.0 as u64)
    }

    /// The time with `wire` as its low bits that is nearest to this one; of
    /// two equally near (2³¹ ticks away) the older.
    #[must_use]
    pub const fn extend(self, wire: RtpTime) -> Self {
        Self(extend(self.0, wire.0 as u64, 32))
    }

    /// Ticks from `earlier` to this; negative if `earlier` is the later one.
    pub fn since(self, earlier: Self) -> i128 {
        i128::from(self.0) - i128::from(earlier.0)
    }

    /// The time as it was sent.
    pub const fn wire(self) -> RtpTime {
        RtpTime((self.0 & 0xFFFF_FFFF) as u32)
    }
}

/// Ticks of the RTP timestamp per second. NOT a sample rate: G.722 ticks at
/// 8,000 with 16,000 samples (RFC 3551 section 4.5.2), Opus at 48,000 whatever
/// it carries (RFC 7587 section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClockRate(NonZeroU32);

impl ClockRate {
    /// `None` for 0.
    pub const fn new(hertz: u32) -> Option<Self> {
        match NonZeroU32::new(hertz) {
            Some(hertz) => Some(Self(hertz)),
            None => None,
        }
    }

    /// Ticks per second.
    pub const fn hertz(self) -> u32 {
        self.0.get()
    }

    /// How long `ticks` last, rounded down to nanoseconds.
    pub fn duration(self, ticks: u64) -> Duration {
        let rate = u64::from(self.hertz());
        let nanos = (ticks % rate) * 1_000_000_000 / rate;
        Duration::from_secs(ticks / rate) + Duration::from_nanos(nanos)
    }

    /// Nanoseconds of `ticks`, rounded towards zero.
    pub(crate) fn nanos(self, ticks: i128) -> i128 {
        // The clock of nearly every packet of every leg; a division of this width is dear.
        if self.hertz() == 8_000 {
            return ticks * 125_000;
        }
        ticks * 1_000_000_000 / i128::from(self.hertz())
    }
}

/// The number nearest to `reference` whose low `bits` are `wire`. At the ends
/// of `u64`, where the nearest does not exist, the one on the other side.
const fn extend(reference: u64, wire: u64, bits: u32) -> u64 {
    let modulus = 1_u64 << bits;
    let ahead = wire.wrapping_sub(reference) & (modulus - 1);
    let behind = modulus - ahead;
    if ahead < modulus / 2 {
        match reference.checked_add(ahead) {
            Some(number) => number,
            None => reference - behind,
        }
    } else {
        match reference.checked_sub(behind) {
            Some(number) => number,
            None => reference + ahead,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn both_sides_of_the_wrap() {
        let top = ExtSeq::first(SeqNo(0xFFFF));
        assert_eq!(top, ExtSeq(0x1_FFFF));
        assert_eq!(top.extend(SeqNo(0)), ExtSeq(0x2_0000));
        assert_eq!(ExtSeq(0x2_0000).extend(SeqNo(0xFFFF)), top);
        assert_eq!(SeqNo(0xFFFF).next(), SeqNo(0));
        let late = ExtRtpTime::first(RtpTime(5));
        assert_eq!(late.since(late.extend(RtpTime(u32::MAX))), 6);
        assert_eq!(late.extend(RtpTime(u32::MAX)).since(late), -6);
    }

    #[test]
    fn older_than_the_first_has_a_number() {
        let first = ExtSeq::first(SeqNo(0));
        assert_eq!(first.extend(SeqNo(0xFFFF)).0, first.0 - 1);
        assert_eq!(first.extend(SeqNo(0x8000)).0, first.0 - 0x8000);
    }

    #[test]
    fn the_ends_of_the_range_are_total() {
        assert_eq!(ExtSeq(0).extend(SeqNo(0xFFFF)), ExtSeq(0xFFFF));
        assert_eq!(ExtSeq(u64::MAX).extend(SeqNo(0)), ExtSeq(u64::MAX - 0xFFFF));
        assert_eq!(
            ExtRtpTime(7).extend(RtpTime(u32::MAX)),
            ExtRtpTime(u64::from(u32::MAX))
        );
    }

    #[test]
    fn a_restart_is_out_of_reach_of_the_old_timeline() {
        let old = ExtSeq(0x5_FFFF);
        let new = old.restart(SeqNo(0));
        assert_eq!(new.wire(), SeqNo(0));
        let oldest_of_new = new.extend(SeqNo(0x8000));
        assert!(oldest_of_new.0 > old.0 + 3_000, "{oldest_of_new} {old}");
    }

    #[test]
    fn ticks_to_time() {
        let rate = ClockRate::new(8_000).unwrap();
        assert_eq!(rate.duration(160), Duration::from_millis(20));
        assert_eq!(
            ClockRate::new(44_100).unwrap().duration(882),
            Duration::from_millis(20)
        );
        assert!(ClockRate::new(0).is_none());
        assert!(ClockRate::new(1).unwrap().duration(u64::MAX) > Duration::ZERO);
        assert!(ClockRate::new(u32::MAX).unwrap().duration(u64::MAX) > Duration::ZERO);
    }

    #[test]
    fn payload_types_have_seven_bits() {
        assert_eq!(PayloadType::new(127).unwrap().get(), 127);
        assert!(PayloadType::new(128).is_none());
    }

    proptest! {
        #[test]
        fn extension_keeps_the_wire_bits_and_is_nearest(reference: u64, wire: u16) {
            let extended = ExtSeq(reference).extend(SeqNo(wire));
            prop_assert_eq!(extended.wire(), SeqNo(wire));
            let inner = (1 << 16)..=(u64::MAX - (1 << 16));
            if inner.contains(&reference) {
                prop_assert!(extended.0.abs_diff(reference) <= 1 << 15);
            }
        }

        #[test]
        fn time_extension_keeps_the_wire_bits_and_is_nearest(reference: u64, wire: u32) {
            let extended = ExtRtpTime(reference).extend(RtpTime(wire));
            prop_assert_eq!(extended.wire(), RtpTime(wire));
            let inner = (1 << 32)..=(u64::MAX - (1 << 32));
            if inner.contains(&reference) {
                prop_assert!(extended.0.abs_diff(reference) <= 1 << 31);
            }
        }

        #[test]
        fn a_walk_in_either_direction_is_followed(start: u16, steps in prop::collection::vec(-32_767_i64..=32_767, 1..200)) {
            let first = ExtSeq::first(SeqNo(start));
            let mut truth = i128::from(first.0) + (1 << 40);
            let mut followed = ExtSeq(first.0 + (1 << 40));
            for step in steps {
                truth += i128::from(step);
                let wire = SeqNo((truth & 0xFFFF) as u16);
                followed = followed.extend(wire);
                prop_assert_eq!(i128::from(followed.0), truth);
            }
        }

        #[test]
        fn durations_agree_with_exact_arithmetic(rate in 1_u32.., ticks: u64) {
            let exact = u128::from(ticks) * 1_000_000_000 / u128::from(rate);
            prop_assert_eq!(ClockRate::new(rate).unwrap().duration(ticks).as_nanos(), exact);
            let telephony = ClockRate::new(8_000).unwrap();
            let nanos = telephony.nanos(-i128::from(ticks));
            prop_assert_eq!(nanos.unsigned_abs(), telephony.duration(ticks).as_nanos());
        }
    }
}
