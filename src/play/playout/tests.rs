use asterscribe_clock as clock;
use asterscribe_rtp::{RtpPacket, RtpTime, SeqNo, Ssrc};
use proptest::prelude::*;

use super::*;

const MS: Duration = Duration::from_millis(1);

/// A packet as it left.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Left {
    at: Duration,
    seq: u16,
    time: u32,
    marker: bool,
    payload_type: u8,
    /// Which clip's, and its number in it.
    mark: (u8, u8),
}

/// A playout on a clock of its own.
struct Rig {
    playout: LegPlayout,
    zero: Instant,
    now: Instant,
    left: Vec<Left>,
    reports: Vec<PlayReport>,
    results: VecDeque<Result<(), SendError>>,
}

impl Rig {
    fn new() -> Self {
        let start = StreamStart {
            ssrc: Ssrc(7),
            seq: SeqNo(65_530),
            time: RtpTime(u32::MAX - 500),
        };
        let zero = clock::now();
        Self {
            playout: LegPlayout::new(start),
            zero,
            now: zero,
            left: Vec::new(),
            reports: Vec::new(),
            results: VecDeque::new(),
        }
    }

    fn enqueue(&mut self, id: u64, packets: usize) {
        let clip = EncodedClip::marked(SendFormat::Ulaw, packets, id as u8);
        self.playout.enqueue(id, clip).unwrap();
    }

    /// Polls until it waits; until when.
    fn poll(&mut self) -> Option<Instant> {
        loop {
            match self.playout.poll(self.now) {
                PlayoutTurn::Wait(until) => return until,
                PlayoutTurn::Report(report) => self.reports.push(report),
                PlayoutTurn::Send(datagram) => {
                    let packet = RtpPacket::parse(datagram).unwrap();
                    assert_eq!((packet.ssrc, packet.payload.len()), (Ssrc(7), 160));
                    let [mark, n, ..] = *packet.payload else {
                        panic!("an empty packet")
                    };
                    self.left.push(Left {
                        at: self.now - self.zero,
                        seq: packet.seq.0,
                        time: packet.time.0,
                        marker: packet.marker,
                        payload_type: packet.payload_type.get(),
                        mark: (mark, n),
                    });
                    let result = self.results.pop_front().unwrap_or(Ok(()));
                    self.playout.sent(self.now, result);
                }
            }
        }
    }

    /// Polls, each time so much later than asked for, until there is nothing more.
    fn run(&mut self, mut late: impl FnMut() -> Duration) {
        while let Some(until) = self.poll() {
            assert!(until > self.now, "waiting for what is due already");
            self.now = until + late();
        }
    }

    fn told(&self) -> Vec<(u64, PlayEvent)> {
        let told = self.reports.iter();
        told.filter(|report| report.event != PlayEvent::Progress)
            .map(|report| (report.id, report.event.clone()))
            .collect()
    }
}

#[test]
fn clips_follow_each_other_without_a_hole_at_the_pace_of_the_sound() {
    let mut rig = Rig::new();
    rig.enqueue(1, 3);
    rig.enqueue(2, 2);
    rig.run(Duration::default);
    let left: Vec<_> = rig.left.iter().map(|p| (p.at, p.mark, p.marker)).collect();
    assert_eq!(
        left,
        [
            (Duration::ZERO, (1, 0), true),
            (MS * 20, (1, 1), false),
            (MS * 40, (1, 2), false),
            (MS * 60, (2, 0), false),
            (MS * 80, (2, 1), false),
        ]
    );
    let numbers = |n: usize| {
        (
            65_530_u16.wrapping_add(n as u16),
            (u32::MAX - 500).wrapping_add(160 * n as u32),
        )
    };
    for (n, packet) in rig.left.iter().enumerate() {
        assert_eq!((packet.seq, packet.time), numbers(n));
    }
    assert_eq!(
        rig.told(),
        [
            (1, PlayEvent::Started),
            (1, PlayEvent::Finished),
            (2, PlayEvent::Started),
            (2, PlayEvent::Finished),
        ]
    );
    let ends: Vec<_> = rig
        .reports
        .iter()
        .map(|report| report.at - rig.zero)
        .collect();
    assert_eq!(ends, [Duration::ZERO, MS * 60, MS * 60, MS * 100]);
    assert_eq!(rig.reports[3].played, MS * 40);
}

#[test]
fn after_a_pause_time_has_passed_and_numbers_go_on() {
    let mut rig = Rig::new();
    rig.enqueue(1, 2);
    rig.run(Duration::default);
    // 40 ms of sound, then a second of nothing.
    rig.now += Duration::from_secs(1);
    rig.enqueue(2, 1);
    rig.run(Duration::default);
    let [first, .., last] = rig.left.as_slice() else {
        panic!("{:?}", rig.left)
    };
    assert_eq!(last.seq, first.seq.wrapping_add(2));
    assert_eq!(last.time.wrapping_sub(first.time), 320 + 8000);
    assert!(last.marker);
}

#[test]
fn a_late_wake_up_is_made_up_for_at_twice_the_pace_and_a_very_late_one_is_not() {
    let mut rig = Rig::new();
    rig.enqueue(1, 12);
    let mut delays = [0, 45, 0, 0, 0, 0, 0, 100].into_iter();
    rig.run(|| MS * delays.next().unwrap_or(0));
    let at: Vec<_> = rig.left.iter().map(|p| p.at.as_millis()).collect();
    // Due at 40 and sent at 85; then every 10 ms until the schedule is met again.
    assert_eq!(at[..8], [0, 20, 85, 95, 105, 115, 125, 140]);
    // Due at 160, sent at 260, and from there on as ever.
    assert_eq!(at[8..], [260, 280, 300, 320]);
    let steps: Vec<_> = rig
        .left
        .windows(2)
        .map(|two| two[1].time.wrapping_sub(two[0].time))
        .collect();
    assert_eq!(
        steps,
        [160, 160, 160, 160, 160, 160, 160, 160 + 800, 160, 160, 160]
    );
    let marked: Vec<_> = (0..12).filter(|&n| rig.left[n].marker).collect();
    assert_eq!(marked, [0, 8]);
}

#[test]
fn what_is_stopped_says_so_and_the_next_one_keeps_the_pace() {
    let mut rig = Rig::new();
    for id in 1..=3 {
        rig.enqueue(id, 100);
    }
    rig.poll();
    rig.now += MS * 20;
    rig.poll();
    rig.now += MS * 5;
    rig.playout.stop(rig.now, Some(1));
    rig.playout.stop(rig.now, Some(9));
    let until = rig.poll().unwrap();
    assert_eq!(
        until - rig.zero,
        MS * 40,
        "not sooner than 20 ms after the last packet"
    );
    rig.now = until;
    rig.poll();
    rig.playout.stop(rig.now, None);
    assert_eq!(rig.poll(), None);
    assert_eq!(
        rig.told(),
        [
            (1, PlayEvent::Started),
            (1, PlayEvent::Stopped),
            (2, PlayEvent::Started),
            (2, PlayEvent::Stopped),
            (3, PlayEvent::Stopped),
        ]
    );
    let played: Vec<_> = rig.reports.iter().map(|report| report.played).collect();
    assert_eq!(
        played,
        [
            Duration::ZERO,
            MS * 40,
            Duration::ZERO,
            MS * 20,
            Duration::ZERO
        ]
    );
    assert_eq!(rig.left.last().map(|packet| packet.mark), Some((2, 0)));
}

#[test]
fn progress_is_told_every_half_second() {
    let mut rig = Rig::new();
    rig.enqueue(1, 60);
    rig.run(Duration::default);
    let progress = rig
        .reports
        .iter()
        .filter(|report| report.event == PlayEvent::Progress);
    let played: Vec<_> = progress.map(|report| report.played).collect();
    assert_eq!(played, [MS * 500, MS * 1000]);
}

#[test]
fn a_packet_that_cannot_be_sent_ends_its_clip_and_a_full_system_only_in_the_long_run() {
    let mut rig = Rig::new();
    rig.enqueue(1, 10);
    rig.enqueue(2, 200);
    rig.enqueue(3, 1);
    let refused = || SendError::Refused("unreachable".to_owned());
    rig.results.push_back(Err(refused()));
    rig.results.extend((0..49).map(|_| Err(SendError::Full)));
    rig.results.push_back(Ok(()));
    rig.results.extend((0..50).map(|_| Err(SendError::Full)));
    rig.run(Duration::default);
    let told = rig.told();
    assert_eq!(
        told[..2],
        [
            (1, PlayEvent::Started),
            (1, PlayEvent::Failed("unreachable".to_owned()))
        ]
    );
    assert!(matches!(told[3], (2, PlayEvent::Failed(_))), "{told:?}");
    assert_eq!(
        told[4..],
        [(3, PlayEvent::Started), (3, PlayEvent::Finished)]
    );
    assert_eq!(rig.left.len(), 1 + 100 + 1);
}

#[test]
fn the_queue_is_bounded_in_number_and_length() {
    let mut rig = Rig::new();
    for id in 0..MAX_QUEUED as u64 {
        rig.enqueue(id, 1);
    }
    let more = |packets| EncodedClip::marked(SendFormat::Ulaw, packets, 0);
    assert_eq!(rig.playout.enqueue(99, more(1)), Err(QueueFull::Count));
    let mut rig = Rig::new();
    rig.enqueue(1, 3590 * 50);
    assert_eq!(rig.playout.enqueue(2, more(501)), Err(QueueFull::Length));
    assert_eq!(rig.playout.enqueue(2, more(500)), Ok(()));
}

proptest! {
    /// Whatever the system does to our sleep: every packet once and in order,
    /// never more than the schedule allows, timestamps that follow the clock.
    #[test]
    fn the_pace_is_kept(
        clips in prop::collection::vec(1usize..40, 1..6),
        delays in prop::collection::vec(prop_oneof![0u64..5, 0u64..80, 0u64..1000], 1..60),
        pauses in prop::collection::vec(0u64..3000, 6),
    ) {
        let mut rig = Rig::new();
        let mut late = delays.iter().cycle().map(|&ms| MS * ms as u32);
        let mut expected = Vec::new();
        for (id, (&packets, &pause)) in (0u64..).zip(clips.iter().zip(&pauses)) {
            rig.enqueue(id, packets);
            expected.extend((0..packets).map(|n| (id as u8, n as u8)));
            // Every other one is enqueued while the one before it waits.
            if id % 2 == 0 {
                rig.run(|| late.next().unwrap());
                rig.now += MS * pause as u32;
            }
        }
        rig.run(|| late.next().unwrap());
        let marks: Vec<_> = rig.left.iter().map(|packet| packet.mark).collect();
        prop_assert_eq!(marks, expected);
        for (n, first) in rig.left.iter().enumerate() {
            for (m, last) in rig.left.iter().enumerate().skip(n + 1) {
                let time = last.at - first.at;
                prop_assert!(time >= MIN_STEP * (m - n) as u32);
                // What is made up for is at most 60 ms of lateness.
                prop_assert!(time + MAX_LATE >= STEP * (m - n) as u32);
                prop_assert_eq!(last.seq, first.seq.wrapping_add((m - n) as u16));
                let ticks = u64::from(last.time.wrapping_sub(first.time));
                let sound = Duration::from_micros(ticks * 125);
                prop_assert!(sound >= STEP * (m - n) as u32);
                // Each ran at most 60 ms behind its own schedule.
                prop_assert!(sound.abs_diff(time) <= MAX_LATE);
            }
        }
        for two in rig.left.windows(2) {
            let step = two[1].time.wrapping_sub(two[0].time);
            prop_assert_eq!(two[1].marker, step > 160);
            prop_assert_eq!(two[1].payload_type, 0);
        }
        let finished = rig.told().iter().filter(|(_, event)| *event == PlayEvent::Finished).count();
        prop_assert_eq!(finished, clips.len());
    }
}
