//! Twice the load for ten minutes and ten times for ten seconds (R13), against the real
//! binary: it takes half an hour, so it is run by `make overload` and not with the rest.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use asterscribe_testkit::fixture::Fixture;
use asterscribe_testkit::rtp::Sender;
use asterscribe_testkit::server::Server;
use asterscribe_testkit::words::WordErrors;
use asterscribe_testkit::{account, host};
use serde_json::Value;

use crate::api::rig::{BINARY, Conversation, get, hang_up, lines, speak_for};
use crate::recognition::faults::faulty_worker;

/// Each utterance takes a second of the one worker, and what it takes itself.
const CAPACITY: f64 = 1.0;

/// How often the recorded conversation is said: ten utterances in fifteen seconds, so ten
/// minutes; `OVERLOAD_TIMES` makes it less.
fn times() -> u32 {
    let asked = host::variable("OVERLOAD_TIMES");
    asked.map_or(40, |times| times.parse().unwrap())
}

/// Words that may come out otherwise, of a thousand: a sender that this machine holds up for
/// long has its sentence cut in two.
const MISHEARD: usize = 2;

/// Below twice the nominal rate, beyond which a sender is policed.
const SPEED: f64 = 1.9;
/// Together they say two utterances a second.
const CALLS: [&str; 3] = ["twice-1", "twice-2", "twice-3"];
const BURST: usize = 10;

/// A call that says the same over and over, in one stream.
struct Long {
    call: String,
    begun: Instant,
    sender: Sender,
    targets: Vec<std::net::SocketAddr>,
    packets: usize,
}

impl Long {
    fn register(server: &Server, call: &str, fixture: &Fixture) -> Self {
        let packets = repeated(fixture);
        let begun = host::now();
        let (sender, targets) = speak_for(server, call, fixture, &packets);
        Self {
            call: call.to_owned(),
            begun,
            sender,
            targets,
            packets: packets.len(),
        }
    }

    fn play(&self) {
        let sent = self.sender.play(&self.targets, SPEED).unwrap();
        assert_eq!(sent, self.packets);
    }

    /// Follows the transcript until the call has been played; how late each line with words was.
    fn follow(&self, server: &Server, until: Instant) -> Vec<Duration> {
        let (mut late, mut next) = (Vec::new(), 0);
        while host::now() < until {
            let path = format!("/api/call/{}/transcript?from_seq={next}", self.call);
            let told = get(server, &path);
            let now = host::now() - self.begun;
            for line in lines(&told) {
                next = line["seq"].as_u64().unwrap() + 1;
                if line.get("gap").is_none() {
                    // The call's clock goes by timestamps, which are played faster.
                    let end = Duration::from_millis(line["end_ms"].as_u64().unwrap());
                    late.push(now.saturating_sub(end.div_f64(SPEED)));
                }
            }
            host::sleep_until(host::now() + Duration::from_millis(100));
        }
        late
    }
}

/// The packets of the recorded conversation, again and again, numbered on.
fn repeated(fixture: &Fixture) -> Vec<asterscribe_testkit::pcap::Packet> {
    let start = fixture.packets[0].at;
    let length = fixture.packets.last().unwrap().at - start + Duration::from_millis(20);
    let mut counts: HashMap<u16, u16> = HashMap::new();
    for packet in &fixture.packets {
        *counts.entry(packet.source.port()).or_default() += 1;
    }
    let again = |time: u32| {
        let counts = &counts;
        fixture.packets.iter().map(move |packet| {
            let mut packet = packet.clone();
            let count = counts[&packet.source.port()];
            let seq = u16::from_be_bytes([packet.payload[2], packet.payload[3]]);
            let on = u16::try_from(u32::from(count) * time % 65_536).unwrap();
            packet.payload[2..4].copy_from_slice(&seq.wrapping_add(on).to_be_bytes());
            let stamp = u32::from_be_bytes(packet.payload[4..8].try_into().unwrap());
            let stamp = stamp.wrapping_add(time * u32::from(count) * 160);
            packet.payload[4..8].copy_from_slice(&stamp.to_be_bytes());
            packet.at += length * time;
            packet
        })
    };
    (0..times()).flat_map(again).collect()
}

#[test]
#[ignore = "half an hour: make overload"]
fn twice_the_load_for_ten_minutes_and_ten_times_for_ten_seconds_lose_no_word() {
    let program = format!("{} slow", faulty_worker().display());
    let settings = [
        ("STT_WORKERS", "1"),
        ("STT_PROGRAM", program.as_str()),
        ("MEDIA_IDLE_SECS", "3600"),
    ];
    let server = Server::start(BINARY, &settings).unwrap();
    let fixture = Fixture::load("asterisk22_ulaw_snoop_pair").unwrap();
    let long = CALLS.map(|call| Long::register(&server, call, &fixture));
    // Registered before admission closes; they speak in the tenth minute.
    let names: Vec<_> = (0..BURST).map(|n| format!("burst-{n}")).collect();
    let burst: Vec<_> = names
        .iter()
        .map(|name| Conversation::register(&server, name))
        .collect();
    let end = host::now() + long[0].sender.duration().div_f64(SPEED);
    let mut late: Vec<_> = thread::scope(|scope| {
        for call in &long {
            scope.spawn(|| call.play());
        }
        scope.spawn(|| {
            host::sleep_until(end - Duration::from_secs(60));
            thread::scope(|scope| {
                for conversation in &burst {
                    scope.spawn(|| conversation.play());
                }
            });
        });
        let followed = long
            .each_ref()
            .map(|call| scope.spawn(|| call.follow(&server, end)));
        followed
            .into_iter()
            .flat_map(|one| one.join().unwrap())
            .collect()
    });
    late.sort_unstable();
    let waiting = spooled(&server);
    for call in CALLS
        .iter()
        .copied()
        .chain(names.iter().map(String::as_str))
    {
        // A registered call without packets ends by itself after two minutes.
        if get(&server, &format!("/api/call/{call}/status"))["status"] == "active" {
            hang_up(&server, call);
        }
    }
    let rate = drained(&server);
    let of = |share: f64| late[(late.len() as f64 * share) as usize];
    println!(
        "live lines {}: half within {:.1?}, 95 % within {:.1?}; {waiting} waited on the disk at the end; \
         the backlog drained at {:.1} % of capacity",
        late.len(),
        of(0.5),
        of(0.95),
        100.0 * rate / CAPACITY
    );
    for call in CALLS {
        assert_words(&server, call, &fixture, times());
    }
    for (call, conversation) in names.iter().zip(&burst) {
        let told = get(&server, &format!("/api/call/{call}/transcript"));
        crate::api::rig::assert_word_for_word(conversation, &told);
        account::assert_conserved(&get(&server, &format!("/api/call/{call}/status")));
    }
    assert!(
        rate >= 0.95 * CAPACITY * 0.94,
        "the worker itself takes some 6 % of a second: {rate}"
    );
}

fn spooled(server: &Server) -> u64 {
    let health = get(server, "/health");
    let detail = health["spool"]["detail"].as_str().unwrap();
    detail.split(' ').next().unwrap().parse().unwrap()
}

/// Waits until nothing is left; utterances a second.
fn drained(server: &Server) -> f64 {
    // What was live comes first.
    let keeps_up = || {
        let health = get(server, "/health");
        !health["model"]["detail"]
            .as_str()
            .unwrap()
            .contains("recognition is")
    };
    assert!(host::wait_until(
        host::now() + Duration::from_secs(60),
        keeps_up
    ));
    let (from, left) = (host::now(), spooled(server));
    let patience = Duration::from_secs_f64(2.0 * (left as f64 + 60.0) / CAPACITY);
    let empty = || spooled(server) == 0;
    assert!(
        host::wait_until(from + patience, empty),
        "{} left",
        spooled(server)
    );
    left as f64 / (host::now() - from).as_secs_f64()
}

/// No packet is lost, nothing is without text, and all was heard that was said.
fn assert_words(server: &Server, call: &str, fixture: &Fixture, times: u32) {
    let status: Value = get(server, &format!("/api/call/{call}/status"));
    account::assert_conserved(&status);
    for leg in status["legs"].as_array().unwrap() {
        assert_eq!(
            (&leg["stats"]["lost"], &leg["stats"]["late"]),
            (&0.into(), &0.into()),
            "{leg}"
        );
        let gaps = &leg["audio"]["gaps"];
        assert_eq!(
            (&gaps["spooled"], &gaps["overload_shed"]),
            (&0.into(), &0.into()),
            "{gaps}"
        );
    }
    let told = get(server, &format!("/api/call/{call}/transcript"));
    assert_eq!(told["complete"], true);
    for flow in &fixture.words.flows {
        let of_leg = lines(&told)
            .iter()
            .filter(|line| line["leg"] == flow.leg.as_str());
        let heard: Vec<_> = of_leg.map(|line| line["text"].as_str().unwrap()).collect();
        let said = vec![flow.text(); times as usize].join(" ");
        let errors = WordErrors::between(&said, &heard.join(" ")).total();
        let most = said.split(' ').count() * MISHEARD / 1000;
        assert!(errors <= most, "{call} {}: {errors}: {heard:?}", flow.leg);
    }
}
