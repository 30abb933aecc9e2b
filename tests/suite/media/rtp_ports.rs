//! Ports that legs have to themselves, and what becomes of calls when ports or
//! open files run out.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::fs;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};

use asterscribe_testkit::page;
use asterscribe_testkit::ports::PortBlock;
use asterscribe_testkit::server::Server;
use serde_json::Value;

use crate::api::rig::{
    BINARY, Conversation, assert_problem, assert_word_for_word, await_answer, await_complete, get,
    hang_up, register_leg,
};

fn source(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 7], port))
}

/// A range of so many even ports that are this test's alone.
pub(crate) fn range(ports: u16) -> String {
    static BLOCK: LazyLock<PortBlock> = LazyLock::new(|| PortBlock::claim().unwrap());
    static USED: AtomicU16 = AtomicU16::new(0);
    let block = BLOCK.media();
    let first = block.start() + USED.fetch_add(2 * ports, Ordering::Relaxed);
    let last = first + 2 * ports - 1;
    assert!(block.contains(&last), "the block has no more ports");
    format!("{first}-{last}")
}

/// A range of so many even ports that nobody has now, more than can be claimed.
fn wide_range(ports: u16) -> String {
    let start = u16::try_from(std::process::id() % 2000).unwrap() * 4;
    let mut starts = (34_000 + start..60_000).step_by(usize::from(2 * ports));
    let is_free = |port| UdpSocket::bind(("127.0.0.1", port)).is_ok();
    let first = starts.find(|first| (*first..first + 2 * ports).all(is_free));
    let first = first.unwrap();
    format!("{first}-{}", first + 2 * ports - 1)
}

pub(crate) fn server(ports: u16) -> Server {
    let range = range(ports);
    Server::start(BINARY, &[("RTP_MODE", "per-call"), ("RTP_PORTS", &range)]).unwrap()
}

pub(crate) fn says(health: &Value, what: &str) -> bool {
    health["media"]["detail"].as_str().unwrap().contains(what)
}

#[test]
fn a_conversation_at_ports_of_its_own_is_understood() {
    let server = server(4);
    let conversation = Conversation::register(&server, "own");
    let health = get(&server, "/health");
    assert!(says(&health, "2 free, 0 resting, 2 leased"), "{health}");
    conversation.play();
    hang_up(&server, "own");
    assert_word_for_word(&conversation, &await_complete(&server, "own"));
    let status = get(&server, "/api/call/own/status");
    for (leg, _, packets) in conversation.legs() {
        let legs = status["legs"].as_array().unwrap();
        let own = legs.iter().find(|found| found["leg"] == leg).unwrap();
        assert_eq!(own["stats"]["received"], packets, "{own}");
    }
    await_answer(&server, "/health", |health| {
        says(health, "2 free, 2 resting, 0 leased")
    });
}

#[test]
fn without_a_free_port_a_registration_is_refused_and_leaves_nothing() {
    let server = server(3);
    let mut granted = Vec::new();
    for n in 0..3 {
        let answer = register_leg(&server, &format!("call-{n}"), "a", source(1 + n));
        assert_eq!(answer.status, 201, "{}", answer.text);
        granted.push(answer.json()["send_to"]["port"].as_u64().unwrap());
    }
    granted.dedup();
    assert_eq!(granted.len(), 3);
    assert!(granted.iter().all(|port| port % 2 == 0), "{granted:?}");
    let path = "/api/call/late/media";
    let answer = register_leg(&server, "late", "a", source(9));
    assert_problem(&answer, path, 503, "no-rtp-port");
    assert!(answer.headers["retry-after"].parse::<u64>().unwrap() > 0);
    let path = "/api/call/late/status";
    assert_problem(&server.get(path).unwrap(), path, 404, "unknown-call");
    // A source that is taken costs no port either.
    hang_up(&server, "call-0");
    await_answer(&server, "/health", |health| {
        says(health, "0 free, 1 resting, 2 leased")
    });
    assert_eq!(register_leg(&server, "call-1", "b", source(9)).status, 503);
    page::assert_row(
        "docs/limits.md",
        "L1",
        &[
            "`RTP_MODE=per-call` with three ports, a fourth leg",
            "503 `no-rtp-port` with `Retry-After` within the request; no call, no port, no file left behind",
        ],
    );
}

#[test]
fn few_open_files_mean_fewer_calls_and_a_server_that_still_answers() {
    let folder = tempfile::tempdir().unwrap();
    let narrow = folder.path().join("narrow");
    let script = format!("#!/bin/sh\nulimit -n 256\nexec '{BINARY}' \"$@\"\n");
    fs::write(&narrow, script).unwrap();
    fs::set_permissions(&narrow, fs::Permissions::from_mode(0o755)).unwrap();
    let ports = wide_range(400);
    let settings = [("RTP_MODE", "per-call"), ("RTP_PORTS", ports.as_str())];
    let server = Server::start(&narrow, &settings).unwrap();
    let max = get(&server, "/health")["max_concurrent_calls"]
        .as_u64()
        .unwrap();
    assert!((1..100).contains(&max), "{max} calls");

    // More idle connections than there are files: they wait in the backlog.
    let address = server.http();
    let idle: Vec<_> = (0..300)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    drop(idle);
    let register = |n: u64, leg: &str, port: u64| {
        let port = u16::try_from(port).unwrap();
        register_leg(&server, &format!("call-{n}"), leg, source(port))
    };
    for n in 0..max {
        let answer = register(n, "a", 1 + n);
        assert_eq!(answer.status, 201, "call {n} of {max}: {}", answer.text);
    }
    let answer = register(max, "a", 60_000);
    let path = format!("/api/call/call-{max}/media");
    assert_problem(&answer, &path, 503, "at-capacity");
    // A call has two legs as a rule. Beyond that it is the ports' own limit that refuses, not the system.
    for n in 0..max {
        let answer = register(n, "b", 1001 + n);
        assert_eq!(answer.status, 201, "call {n} of {max}: {}", answer.text);
    }
    let refused = (0..14).map(|n| register(0, &format!("more-{n}"), 60_001 + n));
    let refused = refused.into_iter().find(|answer| answer.status != 201);
    let path = "/api/call/call-0/media";
    assert_problem(&refused.unwrap(), path, 503, "no-rtp-port");
    hang_up(&server, "call-1");
    await_complete(&server, "call-1");
    let errors = server
        .log()
        .into_iter()
        .filter(|line| line["level"] == "ERROR");
    assert_eq!(errors.collect::<Vec<_>>(), [Value::Null; 0]);
    page::assert_row(
        "docs/limits.md",
        "L2",
        &[
            "`ulimit -n 256`, 300 idle connections, more calls than fit",
            "fewer calls are offered from the start; beyond them 503 `at-capacity` or `no-rtp-port`; no error, and the API answers",
        ],
    );
}
