//! Numbers that step, ahead and back, with nothing missing; losses, pauses, disorder, copies
//! and packets without a payload beside them. Every packet that came is heard once, in
//! order, and what is said to be lost is what was lost.

use std::time::{Duration, Instant};

use asterscribe_rtp::quality::{CodecImpairment, LossBursts, mos, r_factor};
use asterscribe_rtp::testkit::{build, origin};
use asterscribe_rtp::{
    ClockRate, PacketVerdict, ReceiverConfig, ReceiverStats, ReleasedItem, RtpReceiver,
};
use proptest::prelude::*;

/// Spacing of a scene's packets.
#[derive(Debug, Clone, Copy)]
struct Packets {
    ms: u64,
    ticks: u32,
    /// Whether the receiver knows the clock.
    known: bool,
}

const USUAL: Packets = Packets {
    ms: 20,
    ticks: 160,
    known: true,
};

/// Something that a sender or the network does.
#[derive(Debug, Clone, Copy)]
enum Op {
    Talk(u32),
    /// The numbers go on from elsewhere; nothing is missing.
    Step(i32),
    Lose(u32),
    /// A step of the numbers, and a loss at the same place.
    StepAndLose(u16, u32),
    /// Nothing is sent; the timestamps count that, or do not.
    Pause(u64, bool),
    /// Without a payload, with the number of the next packet; padded, or not.
    EmptyBefore(bool),
    /// Without a payload, with a number of its own.
    EmptyBetween,
    /// The next two change places.
    Swap,
    /// The last one comes again.
    Copy,
}

#[derive(Debug)]
struct Scene {
    packets: Packets,
    seq: u16,
    time: u32,
    ms: u64,
    arrivals: Vec<(u64, Vec<u8>)>,
    sent: u32,
    delivered: Vec<u32>,
    lost: u64,
    copies: u64,
    empty: u64,
}

impl Scene {
    fn new(seq: u16, time: u32) -> Self {
        Self {
            packets: USUAL,
            seq,
            time,
            ms: 0,
            arrivals: Vec::new(),
            sent: 0,
            delivered: Vec::new(),
            lost: 0,
            copies: 0,
            empty: 0,
        }
    }

    /// Each step has a few packets around it: what is lost beside a restart nobody can tell.
    fn play(seq: u16, time: u32, ops: &[Op]) -> Self {
        Self::play_in(USUAL, seq, time, ops)
    }

    fn play_in(packets: Packets, seq: u16, time: u32, ops: &[Op]) -> Self {
        let mut scene = Self {
            packets,
            ..Self::new(seq, time)
        };
        scene.talk(3);
        for op in ops {
            scene.run(*op);
            scene.talk(3);
        }
        scene
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Talk(packets) => self.talk(packets),
            Op::Step(by) => self.seq = self.seq.wrapping_add(by as u16),
            Op::Lose(packets) => self.lose(packets),
            Op::StepAndLose(by, packets) => {
                self.lose(packets / 2);
                self.seq = self.seq.wrapping_add(by);
                self.lose(packets - packets / 2);
            }
            Op::Pause(ms, counted) => {
                self.ms += ms;
                self.time = self
                    .time
                    .wrapping_add(if counted { 8 * ms as u32 } else { 0 });
            }
            Op::EmptyBefore(padded) => self.empty(if padded { 7 } else { 0 }),
            Op::EmptyBetween => {
                self.empty(0);
                self.seq = self.seq.wrapping_add(1);
            }
            Op::Swap => {
                self.talk(2);
                let last = self.arrivals.len() - 1;
                let earlier = self.arrivals[last - 1].0;
                self.arrivals.swap(last - 1, last);
                self.arrivals[last].0 = self.arrivals[last - 1].0;
                self.arrivals[last - 1].0 = earlier;
            }
            Op::Copy => {
                let (at, datagram) = self.arrivals.last().expect("it has talked").clone();
                self.copies += 1;
                self.arrivals.push((at + 3, datagram));
            }
        }
    }

    fn talk(&mut self, packets: u32) {
        for _ in 0..packets {
            let packet = build::packet(self.seq).time(self.time);
            let datagram = packet.payload(&self.sent.to_be_bytes()).bytes();
            self.arrivals.push((self.ms, datagram));
            self.delivered.push(self.sent);
            self.pass();
        }
    }

    fn lose(&mut self, packets: u32) {
        for _ in 0..packets {
            self.pass();
        }
        self.lost += u64::from(packets);
    }

    fn empty(&mut self, padding: u8) {
        let packet = build::packet(self.seq).time(self.time).padding(padding);
        self.arrivals.push((self.ms, packet.bytes()));
        self.empty += 1;
    }

    fn pass(&mut self) {
        self.sent += 1;
        self.seq = self.seq.wrapping_add(1);
        self.time = self.time.wrapping_add(self.packets.ticks);
        self.ms += self.packets.ms;
    }

    /// Items and counters of a receiver that is handed the scene.
    fn hear(&self) -> Heard {
        let mut heard = Heard::default();
        let clock = ClockRate::new(1_000 * self.packets.ticks / self.packets.ms as u32);
        let mut receiver = RtpReceiver::new(ReceiverConfig {
            clock_rate: clock.filter(|_| self.packets.known),
            ..ReceiverConfig::default()
        });
        for (ms, datagram) in &self.arrivals {
            let now = origin() + Duration::from_millis(*ms);
            while let Some(due) = receiver.deadline().filter(|due| *due < now) {
                heard.drain(&mut receiver, due);
            }
            if let PacketVerdict::InOrder(packet) = receiver.receive(now, datagram) {
                heard.packet(packet.payload);
            }
            heard.drain(&mut receiver, now);
        }
        receiver.close();
        heard.drain(&mut receiver, origin() + Duration::from_millis(self.ms));
        heard.stats = *receiver.stats();
        heard
    }

    /// Everything that came is heard, and only what is missing is lost.
    #[track_caller]
    fn check(&self, what: &str) -> Heard {
        let heard = self.hear();
        let stats = heard.stats;
        assert_eq!(heard.ids, self.delivered, "{what}: {stats:?}");
        assert_eq!(stats.lost, self.lost, "{what}: {stats:?}");
        assert_eq!(heard.bursts.lost_packets(), self.lost, "{what}");
        assert_eq!(stats.duplicate, self.copies, "{what}: {stats:?}");
        assert_eq!(stats.empty, self.empty, "{what}: {stats:?}");
        let refused = [stats.late, stats.too_old, stats.sequence_jump];
        assert_eq!(refused, [0; 3], "{what}: {stats:?}");
        heard
    }
}

#[derive(Default)]
struct Heard {
    ids: Vec<u32>,
    bursts: LossBursts,
    stats: ReceiverStats,
}

impl Heard {
    fn packet(&mut self, payload: &[u8]) {
        self.bursts.packet();
        self.ids.push(u32::from_be_bytes(
            payload.try_into().expect("four bytes were sent"),
        ));
    }

    fn drain(&mut self, receiver: &mut RtpReceiver, now: Instant) {
        while let Some(released) = receiver.poll(now) {
            match released {
                ReleasedItem::Packet(packet) => self.packet(packet.payload),
                ReleasedItem::Lost { count, .. } => self.bursts.lost(count),
                ReleasedItem::Skipped { .. } | ReleasedItem::Restart { .. } => {}
            }
        }
        assert!(receiver.stats().is_balanced(), "{:?}", receiver.stats());
    }

    fn mos(&self) -> f32 {
        let (loss, bursts) = (self.bursts.loss(), self.bursts.burst_ratio());
        mos(r_factor(CodecImpairment::G711_CONCEALED, loss, bursts))
    }
}

const EDGES: [u16; 5] = [54_016, 0, 65_500, 65_535, 32_700];

#[test]
fn numbers_that_step_ahead_lose_nothing() {
    for seq in EDGES {
        for step in [
            1, 2, 7, 30, 49, 50, 51, 500, 2_997, 2_998, 2_999, 3_000, 30_000,
        ] {
            for before in [0, 97] {
                let ops = [Op::Talk(before), Op::Step(step), Op::Talk(265)];
                let heard = Scene::play(seq, 160, &ops).check(&format!("{seq} {step} {before}"));
                assert!(heard.mos() > 4.3);
                let skipped = if step < 2_999 { step as u64 } else { 0 };
                assert_eq!(heard.stats.skipped, skipped, "{step}");
            }
            // As the first thing, as the last, and again and again.
            let twice = [Op::Step(step); 12];
            Scene::play(seq, u32::MAX - 1_000, &twice).check("again and again");
        }
    }
}

#[test]
fn numbers_that_step_back_lose_nothing() {
    for seq in EDGES {
        for step in [1, 2, 3, 10, 59, 60, 99, 100, 101, 128, 200, 5_000] {
            for before in [0, 10, 97, 300] {
                let ops = [Op::Talk(before), Op::Step(-step), Op::Talk(100)];
                let heard = Scene::play(seq, 160, &ops).check(&format!("{seq} {step} {before}"));
                assert_eq!(heard.stats.restarts, 1, "{seq} {step} {before}");
                let pause = [ops[0], Op::Pause(1_000, true), ops[1], ops[2]];
                Scene::play(seq, 160, &pause).check("behind a pause");
            }
            let again = [Op::Step(-step); 12];
            Scene::play(seq, u32::MAX - 1_000, &again).check("again and again");
        }
    }
}

#[test]
fn each_number_used_twice_loses_nothing() {
    let mut scene = Scene::new(65_530, 160);
    for n in 0..100 {
        scene.talk(1);
        scene.seq = scene.seq.wrapping_sub(n % 2);
    }
    scene.talk(2);
    scene.check("each number twice");
}

#[test]
fn losses_beside_a_step_are_told_from_it() {
    for step in [1, 30, 500, 2_900] {
        for lost in [1, 2, 3, 10, 40] {
            let ops = [Op::Talk(50), Op::StepAndLose(step, lost), Op::Talk(50)];
            Scene::play(54_016, 160, &ops).check(&format!("{step} {lost}"));
        }
    }
    // An outage alone is all loss, however long.
    for lost in [49, 50, 51, 500, 2_990] {
        let ops = [Op::Talk(50), Op::Lose(lost), Op::Talk(50)];
        let heard = Scene::play(54_016, 160, &ops).check("outage");
        assert_eq!((heard.stats.skipped, heard.stats.restarts), (0, 0));
    }
}

/// Losses within a burst show only when the network delivers again, all at once.
#[test]
fn an_outage_within_a_burst_is_loss() {
    let mut scene = Scene::play(54_016, 160, &[Op::Talk(100), Op::Lose(150), Op::Talk(50)]);
    let (from, to) = (1_000, scene.arrivals[140].0);
    for (at, _) in &mut scene.arrivals {
        if (from..to).contains(at) {
            *at = to;
        }
    }
    scene.check("behind a freeze");
}

/// Both numbers and timestamps from elsewhere, and no time passed: nothing can be missing.
#[test]
fn a_step_together_with_one_of_the_timestamps_is_no_loss() {
    for ticks in [1_234_567, -40_000] {
        let mut scene = Scene::play(54_016, 160, &[Op::Talk(50)]);
        scene.seq += 500;
        scene.time = scene.time.wrapping_add_signed(ticks);
        scene.talk(50);
        scene.check("both step");
    }
}

/// One timestamp for all of a key's packets: arrival tells how many are missing.
#[test]
fn losses_among_packets_of_one_timestamp_are_losses() {
    let mut scene = Scene::play(54_016, 160, &[Op::Talk(50)]);
    let time = scene.time;
    for n in 0..20 {
        scene.time = time;
        if (5..9).contains(&n) {
            scene.lose(1);
        } else {
            scene.talk(1);
        }
    }
    scene.check("a key");
}

#[test]
fn a_packet_without_payload_takes_no_number() {
    for seq in EDGES {
        for padded in [false, true] {
            let mut ops = Vec::new();
            for _ in 0..20 {
                ops.extend([Op::EmptyBefore(padded), Op::Talk(22)]);
            }
            let heard = Scene::play(seq, 160, &ops).check("the number of the next");
            assert_eq!((heard.stats.skipped, heard.stats.restarts), (0, 0));
        }
        let keep_alive = [Op::Talk(9), Op::EmptyBetween, Op::Pause(15_000, true)];
        let heard = Scene::play(seq, 160, &keep_alive.repeat(10)).check("of its own");
        assert_eq!((heard.stats.skipped, heard.stats.restarts), (10, 0));
        // Many in a row, and losses beside them.
        let mut ops = vec![Op::EmptyBetween; 30];
        ops.extend([
            Op::Lose(2),
            Op::EmptyBetween,
            Op::EmptyBefore(false),
            Op::Swap,
        ]);
        Scene::play(seq, 160, &ops).check("many");
    }
}

#[test]
fn a_packet_without_payload_begins_and_proves_nothing() {
    let mut scene = Scene::new(7, 160);
    // Of numbers, and at last of a source, of its own.
    for n in 0..10 {
        scene.seq = 40_000 + n;
        scene.empty(0);
    }
    scene.seq = 7;
    scene.talk(50);
    for n in 0..10_u16 {
        let numbers = [57 + 3 * n, 900 + n, 30_000 + n, 57_u16.wrapping_sub(n)];
        for seq in numbers {
            (scene.seq, scene.ms) = (seq, scene.ms + 1);
            scene.empty(0);
        }
        let stranger = build::packet(n).ssrc(99).bytes();
        scene.arrivals.push((scene.ms, stranger));
        scene.empty += 1;
    }
    scene.seq = 57;
    scene.talk(50);
    let heard = scene.check("numbers of its own");
    assert_eq!((heard.stats.restarts, heard.stats.skipped), (0, 0));
}

#[test]
fn a_packet_behind_its_empty_namesake_and_out_of_order_is_heard() {
    let mut scene = Scene::play(54_016, 160, &[Op::Talk(10)]);
    scene.empty(0);
    scene.run(Op::Swap);
    scene.talk(10);
    let heard = scene.check("swapped");
    assert_eq!(heard.stats.skipped, 0);
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (1..60_u32).prop_map(Op::Talk),
        2 => (1..2_990_i32).prop_map(Op::Step),
        2 => (-130..0_i32).prop_map(Op::Step),
        1 => (-20_000..-100_i32).prop_map(Op::Step),
        2 => (1..6_u32).prop_map(Op::Lose),
        1 => (50..400_u32).prop_map(Op::Lose),
        1 => (1..2_000_u16, 1..20_u32).prop_map(|(by, lost)| Op::StepAndLose(by, lost)),
        1 => (20..3_000_u64, any::<bool>()).prop_map(|(ms, counted)| Op::Pause(ms, counted)),
        1 => any::<bool>().prop_map(Op::EmptyBefore),
        1 => Just(Op::EmptyBetween),
        1 => Just(Op::Swap),
        1 => Just(Op::Copy),
    ]
}

fn packets() -> impl Strategy<Value = Packets> {
    const LENGTHS: [(u64, u32); 6] = [
        (10, 80),
        (20, 160),
        (30, 240),
        (60, 480),
        (20, 320),
        (20, 960),
    ];
    (prop::sample::select(&LENGTHS[..]), any::<bool>()).prop_map(|((ms, ticks), known)| Packets {
        ms,
        ticks,
        known,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_came_is_heard_and_what_is_missing_is_lost(
        seq in prop_oneof![any::<u16>(), 65_300..=65_535_u16, 0..200_u16],
        time: u32,
        packets in packets(),
        ops in prop::collection::vec(op(), 0..30),
    ) {
        Scene::play_in(packets, seq, time, &ops).check(&format!("{packets:?} {ops:?}"));
    }
}
