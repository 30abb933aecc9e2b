//! Media threads with real sockets.

use std::net::UdpSocket;

use asterscribe_clock as clock;
use asterscribe_recognition::pool::{EngineFactory, PoolConfig};
use asterscribe_recognition::{TranscribeError, Transcriber};
use asterscribe_speech::{DecodeOptions, Recognition};
use asterscribe_testkit::page;
use tokio::time::timeout;

use super::*;
use crate::config::PortRange;

struct Deaf;

impl Transcriber for Deaf {
    fn transcribe(&mut self, _: &[i16], _: &DecodeOptions) -> Result<Recognition, TranscribeError> {
        Ok(Recognition {
            text: String::new(),
            confidence: 0.0,
            language: "en".into(),
            ..Recognition::default()
        })
    }
}

struct Rig {
    plane: MediaPlane,
    pool: PortPool,
    events: mpsc::Receiver<MediaEvent>,
    _recognition: RecognitionPool<JobTicket>,
}

impl Rig {
    fn new(ports: u16) -> Self {
        let factory: EngineFactory = Arc::new(|_| Ok(Box::new(Deaf)));
        let config = PoolConfig {
            workers: 1,
            queue: 8,
            max_age: None,
        };
        let recognition = RecognitionPool::start(config, &factory).unwrap();
        let (sender, events) = mpsc::channel(64);
        let config = MediaConfig {
            bind: "127.0.0.1:0".parse().unwrap(),
            threads: 1,
            tick: Duration::from_millis(1),
            own_ports: true,
            session: SessionConfig::default(),
            keeps_late: false,
        };
        Self {
            plane: MediaPlane::start(&config, &recognition, &sender).unwrap(),
            pool: ports::tests::pool(ports),
            events,
            _recognition: recognition,
        }
    }

    fn port(&self) -> MediaThreadHandle {
        self.plane.threads().remove(0)
    }

    /// Opens a call with one leg that `source` speaks for; the result is the address of its own
    /// port.
    async fn open(&self, call: &str, source: &UdpSocket) -> Result<SocketAddr, LegRefused> {
        let call: CallId = call.parse().unwrap();
        let opened = clock::now();
        assert!(self.port().open(OpenCall {
            call: call.clone(),
            opened,
            idle_limit: None,
            call_options: None,
        }));
        let own = self.pool.lease(opened).unwrap();
        let target = SocketAddr::new([127, 0, 0, 1].into(), own.port());
        let source = source.local_addr().unwrap();
        let port = self.port();
        let expected = ExpectedMedia::default();
        port.add_leg(call, Leg::caller(), source, expected, Some(own))
            .await?;
        Ok(target)
    }

    /// A call without a leg.
    fn open_bare(&self, call: &str) -> CallId {
        let call: CallId = call.parse().unwrap();
        assert!(self.port().open(OpenCall {
            call: call.clone(),
            opened: clock::now(),
            idle_limit: None,
            call_options: None,
        }));
        call
    }

    /// A port for a leg that is to be placed.
    fn reserve(&self) -> (PortReservation, SocketAddr) {
        let own = self.pool.lease(clock::now()).unwrap();
        let at = SocketAddr::new([127, 0, 0, 1].into(), own.port());
        (self.port().reserve(own).unwrap(), at)
    }

    async fn place(
        &self,
        call: &CallId,
        source: &UdpSocket,
        at: PortReservation,
    ) -> Result<(), LegRefused> {
        let source = source.local_addr().unwrap();
        let (port, expected) = (self.port(), ExpectedMedia::default());
        let (call, leg) = (call.clone(), Leg::caller());
        port.place_leg(call, leg, source, expected, Some(at)).await
    }

    /// Waits until so many ports are given back.
    async fn rested(&self, count: usize) {
        let returned = async {
            while self.pool.usage(clock::now()).resting < count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(60), returned).await.unwrap();
    }

    /// Packets that the call's leg had received when it closed.
    async fn hang_up(&mut self, call: &str) -> u64 {
        assert!(self.port().hang_up(call.parse().unwrap()));
        loop {
            let event = timeout(Duration::from_secs(60), self.events.recv());
            let event = event.await.expect("the call closes").unwrap();
            if let MediaEventKind::Closed(legs) = event.kind {
                assert_eq!(event.call.to_string(), call);
                return legs[0].stats.received;
            }
        }
    }

    /// Waits until the thread has judged so many datagrams.
    async fn judged(&self, count: u64) {
        let port = self.port();
        let reached = async {
            while port.counters().datagrams() < count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(60), reached).await.unwrap();
    }
}

fn source() -> UdpSocket {
    UdpSocket::bind("127.0.0.1:0").unwrap()
}

fn rtp(seq: u8) -> [u8; 172] {
    let mut bytes = [0xff; 172];
    bytes[..12].copy_from_slice(&[0x80, 0, 0, seq, 0, 0, seq, 0, 0, 0, 0, 9]);
    bytes
}

#[tokio::test]
async fn a_leg_hears_its_source_at_its_own_port_and_nobody_else() {
    let mut rig = Rig::new(4);
    let (one, two, stranger) = (source(), source(), source());
    let at_one = rig.open("one", &one).await.unwrap();
    let at_two = rig.open("two", &two).await.unwrap();
    assert_ne!(at_one, at_two);
    for seq in 0..20 {
        one.send_to(&rtp(seq), at_one).unwrap();
        // The right source at another leg's port is as foreign there as anybody.
        one.send_to(&rtp(seq), at_two).unwrap();
        stranger.send_to(&rtp(seq), at_one).unwrap();
        if seq < 10 {
            two.send_to(&rtp(seq), at_two).unwrap();
        }
    }
    rig.judged(70).await;
    assert_eq!(rig.hang_up("one").await, 20);
    assert_eq!(rig.hang_up("two").await, 10);
    let gate = rig.port().counters().gate();
    assert_eq!(gate.admitted, 30);
}

#[tokio::test]
async fn a_port_is_free_again_for_the_next_call_and_silent_to_the_old_sender() {
    let mut rig = Rig::new(1);
    let (old, new) = (source(), source());
    let at = rig.open("old", &old).await.unwrap();
    old.send_to(&rtp(1), at).unwrap();
    rig.judged(1).await;
    assert_eq!(rig.hang_up("old").await, 1);
    rig.rested(1).await;
    assert!(matches!(
        rig.pool.lease(clock::now()),
        Err(NoPort::Taken { .. })
    ));
    // As after the rest.
    let (first, last) = (at.port(), at.port());
    rig.pool = PortPool::new(at.ip(), PortRange { first, last }, 1);
    assert_eq!(rig.open("new", &new).await.unwrap(), at);
    for seq in 0..10 {
        old.send_to(&rtp(seq + 2), at).unwrap();
        new.send_to(&rtp(seq), at).unwrap();
    }
    rig.judged(21).await;
    assert_eq!(rig.hang_up("new").await, 10);
    page::assert_row(
        "docs/limits.md",
        "L1, re-use",
        &[
            "a port goes to the next call while the old sender still sends to it",
            "0 of the old one's packets in the new call",
        ],
    );
}

#[tokio::test]
async fn a_leg_that_is_refused_leaves_no_port_behind() {
    let mut rig = Rig::new(2);
    let shared = source();
    rig.open("one", &shared).await.unwrap();
    let refused = rig.open("two", &shared).await;
    assert!(matches!(refused, Err(LegRefused::SourceTaken(_))));
    let usage = rig.pool.usage(clock::now());
    assert_eq!((usage.leased, usage.resting), (1, 1));
    rig.hang_up("one").await;
}

#[tokio::test]
async fn what_overtakes_the_name_of_its_source_is_held_at_a_reserved_port() {
    let mut rig = Rig::new(2);
    let call = rig.open_bare("one");
    let (source, stranger) = (source(), source());
    let (reservation, at) = rig.reserve();
    for seq in 0..10 {
        source.send_to(&rtp(seq), at).unwrap();
        stranger.send_to(&rtp(seq), at).unwrap();
    }
    rig.judged(20).await;
    rig.place(&call, &source, reservation).await.unwrap();
    for seq in 10..20 {
        source.send_to(&rtp(seq), at).unwrap();
    }
    rig.judged(30).await;
    let received = rig.hang_up("one").await;
    let gate = rig.port().counters().gate();
    assert_eq!(gate.admitted, received);
    // All 20, unless this machine has stalled for as long as they are held.
    assert!((10..=20).contains(&received), "{received}");
    rig.rested(1).await;
}

#[tokio::test]
async fn a_named_source_is_foreign_at_a_port_that_is_reserved_for_another_leg() {
    let mut rig = Rig::new(2);
    let source = source();
    let at = rig.open("one", &source).await.unwrap();
    let (_reservation, elsewhere) = rig.reserve();
    for seq in 0..10 {
        source.send_to(&rtp(seq), at).unwrap();
        source.send_to(&rtp(seq), elsewhere).unwrap();
    }
    rig.judged(20).await;
    assert_eq!(rig.hang_up("one").await, 10);
    assert_eq!(rig.port().counters().gate().unknown_source, 10);
}

#[tokio::test]
async fn a_leg_that_is_placed_anew_is_heard_at_its_new_port_alone() {
    let mut rig = Rig::new(2);
    let call = rig.open_bare("one");
    let (old, new) = (source(), source());
    let (reservation, at) = rig.reserve();
    rig.place(&call, &old, reservation).await.unwrap();
    old.send_to(&rtp(1), at).unwrap();
    rig.judged(1).await;
    let (reservation, anew) = rig.reserve();
    rig.place(&call, &new, reservation).await.unwrap();
    rig.rested(1).await;
    // Nobody is there any more.
    drop(UdpSocket::bind(at).unwrap());
    new.send_to(&rtp(2), anew).unwrap();
    old.send_to(&rtp(3), anew).unwrap();
    rig.judged(3).await;
    assert_eq!(rig.hang_up("one").await, 2);
    rig.rested(2).await;
}

#[tokio::test]
async fn what_was_reserved_goes_back_when_its_leg_does_not_come_about() {
    let mut rig = Rig::new(3);
    let shared = source();
    rig.open("one", &shared).await.unwrap();
    let (unused, _) = rig.reserve();
    let (refused, _) = rig.reserve();
    drop(unused);
    rig.rested(1).await;
    let call = rig.open_bare("two");
    let placed = rig.place(&call, &shared, refused).await;
    assert!(matches!(placed, Err(LegRefused::SourceTaken(_))));
    rig.rested(2).await;
    assert_eq!(rig.pool.usage(clock::now()).leased, 1);
    rig.hang_up("one").await;
}
