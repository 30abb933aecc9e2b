//! Sounds go to the address that was named for their leg, and nowhere else.

use asterscribe_codecs::SendFormat;
use asterscribe_rtp::{RtpPacket, StreamStart};

use super::*;
use crate::media::{PlayOrder, PlayRefused};
use crate::play::{EncodedClip, PlayEvent, SendError};

impl Rig {
    fn play(&mut self, call: &str, leg: &str, id: u64, packets: usize) -> Result<(), PlayRefused> {
        let (reply, mut answer) = tokio::sync::oneshot::channel();
        let order = MediaCommand::Play {
            call: call.parse().unwrap(),
            order: PlayOrder {
                leg: leg.parse().unwrap(),
                id,
                clip: EncodedClip::marked(SendFormat::Ulaw, packets, id as u8),
            },
            start: StreamStart::from_random([7; 16]),
            reply,
        };
        self.shard.command(self.now, order);
        answer.try_recv().expect("the shard answers at once")
    }

    /// Lets that much time pass; the result is what was sent: to whom, which clip, which packet.
    fn hear(&mut self, time: Duration) -> Vec<(SocketAddr, u8, u8)> {
        let end = self.now + time;
        let mut heard = Vec::new();
        loop {
            self.shard.send_due(self.now, &mut |_, to, datagram| {
                let packet = RtpPacket::parse(datagram).unwrap();
                heard.push((to, packet.payload[0], packet.payload[1]));
                Ok(())
            });
            match self.shard.next_send().filter(|due| *due <= end) {
                Some(due) => self.now = self.now.max(due),
                None => break,
            }
        }
        self.now = end;
        heard
    }

    fn told(&mut self) -> Vec<(u64, PlayEvent)> {
        let events = self.shard.take_events().into_iter();
        let played = events.filter_map(|event| match event.kind {
            MediaEventKind::Played(report) => Some((report.id, report.event)),
            _ => None,
        });
        played.collect()
    }
}

#[test]
fn a_sound_goes_to_its_legs_source_wherever_that_moves() {
    let mut rig = Rig::new();
    for (call, source) in [("c", A), ("d", "127.0.0.1:4004")] {
        rig.open(call);
        rig.place(call, "caller", source).unwrap();
    }
    rig.play("c", "caller", 1, 4).unwrap();
    // Others talk to the same port; nothing of it goes to them.
    rig.send("127.0.0.1:5000", 1);
    let [a, b] = [A, B].map(|text| text.parse().unwrap());
    assert_eq!(rig.hear(MS * 30), [(a, 1, 0), (a, 1, 1)]);
    rig.place("c", "caller", B).unwrap();
    assert_eq!(rig.hear(MS * 100), [(b, 1, 2), (b, 1, 3)]);
    assert_eq!(
        rig.told(),
        [(1, PlayEvent::Started), (1, PlayEvent::Finished)]
    );
    assert_eq!(
        (rig.shard.counters().sent(), rig.shard.counters().unsent()),
        (4, 0)
    );
    assert_eq!(rig.shard.next_send(), None);
}

#[test]
fn legs_are_played_to_side_by_side_and_stopped_together() {
    let mut rig = Rig::new();
    rig.open("c");
    for (leg, source) in [("caller", A), ("callee", B)] {
        rig.place("c", leg, source).unwrap();
    }
    rig.play("c", "caller", 1, 100).unwrap();
    rig.play("c", "callee", 2, 100).unwrap();
    rig.play("c", "callee", 3, 100).unwrap();
    let mut heard = rig.hear(MS * 10);
    heard.sort();
    let [a, b] = [A, B].map(|text| text.parse().unwrap());
    assert_eq!(heard, [(a, 1, 0), (b, 2, 0)]);
    let stop = |id| MediaCommand::StopPlay {
        call: "c".parse().unwrap(),
        id,
    };
    rig.shard.command(rig.now, stop(Some(2)));
    let heard = rig.hear(MS * 20);
    assert_eq!(
        heard.iter().filter(|(to, ..)| *to == b).collect::<Vec<_>>(),
        [&(b, 3, 0)]
    );
    rig.shard.command(rig.now, stop(None));
    assert!(rig.hear(MS * 100).is_empty());
    let mut stopped = rig.told();
    stopped.retain(|(_, event)| *event == PlayEvent::Stopped);
    stopped.sort_by_key(|(id, _)| *id);
    assert_eq!(
        stopped.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
        [1, 2, 3]
    );
}

#[test]
fn nothing_is_sent_once_a_call_is_over_and_its_sounds_end_before_it_does() {
    let mut rig = Rig::new();
    rig.open("c");
    assert_eq!(
        rig.play("c", "caller", 1, 9),
        Err(PlayRefused::NoSource(Leg::caller()))
    );
    assert_eq!(rig.play("x", "caller", 1, 9), Err(PlayRefused::NotOpen));
    rig.place("c", "caller", A).unwrap();
    rig.play("c", "caller", 2, 100).unwrap();
    rig.play("c", "caller", 3, 100).unwrap();
    rig.hear(MS * 50);
    rig.hang_up("c");
    assert!(rig.hear(MS * 100).is_empty());
    assert_eq!(rig.play("c", "caller", 4, 9), Err(PlayRefused::NotOpen));
    let kinds: Vec<_> = rig
        .shard
        .take_events()
        .into_iter()
        .map(|event| event.kind)
        .collect();
    let [
        ..,
        MediaEventKind::Played(second),
        MediaEventKind::Played(third),
        MediaEventKind::Closed(_),
    ] = kinds.as_slice()
    else {
        panic!("{kinds:?}");
    };
    assert_eq!((second.id, &second.event), (2, &PlayEvent::Stopped));
    assert_eq!((third.id, &third.event), (3, &PlayEvent::Stopped));
    assert_eq!(second.played, MS * 60);
}

#[test]
fn what_the_system_refuses_is_counted_and_told() {
    let mut rig = Rig::new();
    rig.open("c");
    rig.place("c", "caller", A).unwrap();
    rig.play("c", "caller", 1, 5).unwrap();
    rig.shard.send_due(rig.now, &mut |_, _, _| {
        Err(SendError::Refused("no route".to_owned()))
    });
    assert_eq!(
        (rig.shard.counters().sent(), rig.shard.counters().unsent()),
        (0, 1)
    );
    assert_eq!(
        rig.told(),
        [
            (1, PlayEvent::Started),
            (1, PlayEvent::Failed("no route".to_owned()))
        ]
    );
}

#[test]
fn a_call_that_panics_takes_its_sounds_with_it() {
    let mut rig = Rig::new();
    rig.open("c");
    rig.place("c", "caller", A).unwrap();
    rig.play("c", "caller", 1, 5).unwrap();
    let (now, key) = (rig.now, rig.key("c"));
    rig.shard.contain(now, key, |_| panic!("scripted"));
    assert!(rig.hear(MS * 100).is_empty());
    assert_eq!(rig.shard.next_send(), None);
}
