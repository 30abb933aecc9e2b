//! The limit on open calls, and registrations that come at the same moment.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::net::SocketAddr;
use std::sync::Barrier;
use std::thread;

use asterscribe_testkit::server::Server;
use serde_json::Value;

use crate::api::rig::{
    BINARY, assert_problem, await_answer, await_complete, get, hang_up, register_leg,
};

fn source(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 7], port))
}

#[test]
fn calls_beyond_the_limit_are_told_when_to_come_back() {
    let server = Server::start(BINARY, &[("MAX_CONCURRENT_CALLS", "1")]).unwrap();
    assert_eq!(register_leg(&server, "first", "a", source(1)).status, 201);
    assert_eq!(
        register_leg(&server, "first", "b", source(2)).status,
        201,
        "a leg is no call"
    );
    let answer = register_leg(&server, "second", "a", source(3));
    assert_problem(&answer, "/api/call/second/media", 503, "at-capacity");
    assert!(answer.headers["retry-after"].parse::<u64>().unwrap() > 0);
    let path = "/api/call/second/status";
    assert_problem(&server.get(path).unwrap(), path, 404, "unknown-call");
    hang_up(&server, "first");
    await_answer(&server, "/health", |health| health["active_calls"] == 0);
    assert_eq!(register_leg(&server, "second", "a", source(3)).status, 201);
}

/// Sends one registration from each of `registrations` at the same moment.
fn at_once(server: &Server, registrations: &[(String, String, SocketAddr)]) -> Vec<u16> {
    let start = Barrier::new(registrations.len());
    let start = &start;
    thread::scope(|scope| {
        let send = |(call, leg, source): &(String, String, SocketAddr)| {
            let (call, leg, source) = (call.clone(), leg.clone(), *source);
            scope.spawn(move || {
                start.wait();
                register_leg(server, &call, &leg, source).status
            })
        };
        let sent: Vec<_> = registrations.iter().map(send).collect();
        sent.into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    })
}

#[test]
fn legs_that_are_registered_at_the_same_moment_share_one_call() {
    let server = Server::start(BINARY, &[("RTP_THREADS", "2")]).unwrap();
    for n in 1..=40 {
        let call = format!("both-{n}");
        let leg = |name: &str, port| (call.clone(), name.to_owned(), source(port));
        let pair = [leg("caller", 2 * n), leg("callee", 2 * n + 1)];
        assert_eq!(at_once(&server, &pair), [201, 201], "{call}");
        hang_up(&server, &call);
        await_complete(&server, &call);
        let status = get(&server, &format!("/api/call/{call}/status"));
        let legs = status["legs"].as_array().unwrap();
        let mut legs: Vec<_> = legs
            .iter()
            .map(|leg| leg["leg"].as_str().unwrap())
            .collect();
        legs.sort_unstable();
        assert_eq!(legs, ["callee", "caller"], "{call}");
        // What a leg held on a media thread of its own would not be free again.
        let again = format!("again-{n}");
        assert_eq!(
            register_leg(&server, &again, "a", source(2 * n)).status,
            201
        );
        assert_eq!(
            register_leg(&server, &again, "b", source(2 * n + 1)).status,
            201
        );
        hang_up(&server, &again);
        await_complete(&server, &again);
    }
    let errors = server
        .log()
        .into_iter()
        .filter(|line| line["level"] == "ERROR");
    assert_eq!(errors.collect::<Vec<_>>(), [Value::Null; 0]);
}

#[test]
fn the_limit_holds_against_calls_that_come_at_the_same_moment() {
    let server = Server::start(BINARY, &[("MAX_CONCURRENT_CALLS", "1")]).unwrap();
    for round in 0..10 {
        let call = |n: u16| (format!("r{round}-{n}"), "a".to_owned(), source(1 + n));
        let calls: Vec<_> = (0..8).map(call).collect();
        let answers = at_once(&server, &calls);
        let taken: Vec<_> = (0..8).filter(|&n| answers[n] == 201).collect();
        assert_eq!(taken.len(), 1, "round {round}: {answers:?}");
        assert!(
            answers.iter().all(|status| matches!(status, 201 | 503)),
            "{answers:?}"
        );
        hang_up(&server, &calls[taken[0]].0);
        await_answer(&server, "/health", |health| health["active_calls"] == 0);
    }
}
