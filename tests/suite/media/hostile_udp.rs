//! A call is spoken while everything that does not belong to it arrives at the
//! same port. Not a word of it may change.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::fs;
use std::net::SocketAddr;
use std::thread;

use asterscribe_testkit::fixture::{self, Fixture};
use asterscribe_testkit::server::Server;
use serde_json::Value;

use crate::api::rig::{
    BINARY, SOON, await_answer, await_complete, get, hang_up, lines, register_leg, speak_for,
};
use crate::media::hostile_traffic::{Attack, spoil};

const FIXTURE: &str = "asterisk22_ulaw_stasis";

/// Datagrams by outcome, as the server reports them.
#[derive(Debug, PartialEq, Eq)]
struct Gate {
    datagrams: u64,
    admitted: u64,
    refused: u64,
    held: u64,
}

fn gate(health: &Value) -> Gate {
    let detail = health["media"]["detail"].as_str().unwrap();
    let count = |what: &str| -> u64 {
        let part = detail.split(", ").find(|part| part.ends_with(what));
        let part = part.unwrap_or_else(|| panic!("no {what:?} in {detail:?}"));
        part.trim_end_matches(what)
            .trim()
            .rsplit(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap()
    };
    Gate {
        datagrams: count("datagrams"),
        admitted: count("admitted"),
        refused: count("from unknown sources") + count("not RTP") + count("beyond the hold"),
        held: count("held"),
    }
}

/// Datagrams that the kernel dropped because the server's socket was full
/// (last column of the kernel's table).
fn dropped_by_kernel(rtp: SocketAddr) -> u64 {
    let table = fs::read_to_string("/proc/net/udp").unwrap();
    let local = format!(":{:04X}", rtp.port());
    let of_socket = |line: &&str| {
        line.split_whitespace()
            .nth(1)
            .is_some_and(|address| address.ends_with(&local) && address.starts_with("0100007F"))
    };
    let line = table.lines().find(of_socket).unwrap();
    line.split_whitespace().last().unwrap().parse().unwrap()
}

/// Text and length of each line that the undisturbed recording gives.
fn undisturbed() -> Vec<(String, u64)> {
    let capture = fixture::pcap_path(FIXTURE).display().to_string();
    let arguments = ["replay", capture.as_str(), "--format", "json"];
    let (status, output) = Server::run_to_end(BINARY, &arguments, &[], SOON).unwrap();
    assert!(status.success(), "{output}");
    texts(&serde_json::from_str(&output).unwrap())
}

fn texts(transcript: &Value) -> Vec<(String, u64)> {
    let of_line = |line: &Value| {
        let length = line["end_ms"].as_u64().unwrap() - line["start_ms"].as_u64().unwrap();
        (line["text"].as_str().unwrap().to_owned(), length)
    };
    lines(transcript).iter().map(of_line).collect()
}

#[test]
fn a_call_under_attack_says_what_it_says_in_peace() {
    let mut server = Server::start(BINARY, &[]).unwrap();
    let (call, id) = ("besieged-1", server.id());
    let fixture = Fixture::load(FIXTURE).unwrap();
    let spoilt = spoil(&fixture.packets);
    let (sender, targets) = speak_for(&server, call, &fixture, &spoilt.packets);
    let attack = Attack::new(sender.flows()[0].source, server.rtp(), &fixture.packets);
    let (own, foreign) = thread::scope(|scope| {
        let foreign = scope.spawn(|| attack.run());
        // In real time: where the speaker pauses, time is told by arrival too.
        let own = sender.play(&targets, 1.0).unwrap() as u64;
        (own, foreign.join().unwrap())
    });

    // What was held for sources that nobody named is given up after a moment.
    let settled = |health: &Value| {
        gate(health).held == 0
            && gate(health).datagrams + dropped_by_kernel(server.rtp()) == own + foreign
    };
    let counted = gate(&await_answer(&server, "/health", settled));
    assert_eq!(
        dropped_by_kernel(server.rtp()),
        0,
        "the machine was too slow for the test"
    );
    assert_eq!(
        counted,
        Gate {
            datagrams: own + foreign,
            admitted: own,
            refused: foreign,
            held: 0
        }
    );
    attack.assert_unanswered();

    hang_up(&server, call);
    assert_eq!(texts(&await_complete(&server, call)), undisturbed());
    let status = get(&server, &format!("/api/call/{call}/status"));
    assert_eq!(status["legs"].as_array().map(Vec::len), Some(1), "{status}");
    let stats = &status["legs"][0]["stats"];
    let count = |name: &str| stats[name].as_u64().unwrap() as usize;
    let spoken = fixture.packets.len();
    assert_eq!(
        (count("received"), count("decoded")),
        (spoken + spoilt.copies, spoken)
    );
    assert_eq!(count("duplicate") + count("late"), spoilt.copies, "{stats}");
    assert_eq!(
        [count("malformed"), count("rtcp"), count("not_rtp")],
        spoilt.count,
        "{stats}"
    );
    let others = [
        "lost",
        "reordered",
        "overflow",
        "foreign_ssrc",
        "sequence_jump",
        "restarts",
        "decode_errors",
    ];
    for name in others {
        assert_eq!(count(name), 0, "{name} of {stats}");
    }

    assert!(server.is_running().unwrap());
    assert_eq!(server.id(), id);
    assert_eq!(
        register_leg(&server, "after-1", "a", "192.0.2.7:5000".parse().unwrap()).status,
        201
    );
    attack.assert_unanswered();
}
