//! The end of a server: calls are closed in order, in bounded time, and at once
//! for who asks twice.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::process::Command;

use asterscribe_testkit::redis::{Instance, find};
use asterscribe_testkit::server::Server;
use asterscribe_testkit::{available, host};

use crate::api::rig::{BINARY, SOON, await_answer, get, register_leg};

/// A server that cannot end quickly: it has a call, and its store hangs.
fn stuck() -> Option<(Instance, Server)> {
    let program = available(find())?;
    let mut redis = Instance::start_with(program, true).unwrap();
    let server = Server::start(BINARY, &[("REDIS_URL", &redis.url())]).unwrap();
    await_answer(&server, "/health", |health| {
        health["store"]["state"] == "ok"
    });
    let source = "192.0.2.7:5000".parse().unwrap();
    assert_eq!(register_leg(&server, "stuck-1", "a", source).status, 201);
    let stored = || {
        let mut connection = redis.connection().unwrap();
        let found: Option<String> = redis::cmd("GET")
            .arg("call:stuck-1")
            .query(&mut connection)
            .unwrap();
        found.is_some()
    };
    assert!(host::wait_until(host::now() + SOON, stored));
    redis.sigstop().unwrap();
    Some((redis, server))
}

#[test]
fn a_store_that_hangs_does_not_keep_the_server_from_ending() {
    let Some((mut redis, mut server)) = stuck() else {
        return;
    };
    let status = server.terminate().unwrap().expect("it ran");
    assert!(status.success(), "{status}");
    // What the store never heard is settled by the next start.
    redis.restart().unwrap();
    server.restart().unwrap();
    let path = "/api/call/stuck-1/status";
    let settled = await_answer(&server, path, |status| status["status"] != "active");
    assert!(settled["end_reason"]["text"].is_string(), "{settled}");
    assert_eq!(get(&server, "/health")["active_calls"], 0);
}

fn signal(server: &Server, name: &str) {
    let pid = server.id().unwrap().to_string();
    let sent = Command::new("kill").args([name, &pid]).status().unwrap();
    assert!(sent.success());
}

fn says(server: &Server, text: &str) -> bool {
    let said = |line: &serde_json::Value| {
        let message = line["fields"]["message"].as_str();
        message.is_some_and(|message| message.contains(text))
    };
    server.log().iter().any(said)
}

#[test]
fn who_tells_it_to_stop_again_after_a_while_does_not_wait() {
    let Some((_redis, mut server)) = stuck() else {
        return;
    };
    signal(&server, "-TERM");
    assert!(host::wait_until(host::now() + SOON, || says(
        &server,
        "shutting down"
    )));
    // Each of these comes a moment after the one before it: at first they are the same wish.
    let ended = || {
        signal(&server, "-TERM");
        says(&server, "ending at once")
    };
    assert!(host::wait_until(host::now() + SOON, ended));
    let status = server.terminate().unwrap().expect("it ran");
    assert_eq!(status.code(), Some(1), "{status}");
    assert!(says(&server, "it is stopping"));
}

#[test]
fn signals_to_stop_that_come_together_leave_it_its_time() {
    for signals in [["-TERM", "-TERM"], ["-INT", "-TERM"], ["-TERM", "-HUP"]] {
        let mut server = Server::start(BINARY, &[]).unwrap();
        let source = "127.0.0.1:5000".parse().unwrap();
        assert_eq!(register_leg(&server, "one", "a", source).status, 201);
        for name in signals {
            signal(&server, name);
        }
        let status = server.terminate().unwrap().expect("it ran");
        assert!(status.success(), "{signals:?}: {status}");
        assert!(says(&server, "a call has ended"));
    }
}

#[test]
fn a_hang_up_changes_nothing_and_that_is_said() {
    let mut server = Server::start(BINARY, &[]).unwrap();
    for _ in 0..3 {
        signal(&server, "-HUP");
    }
    assert!(host::wait_until(host::now() + SOON, || says(
        &server, "SIGHUP"
    )));
    assert_eq!(get(&server, "/health")["active_calls"], 0);
    assert!(server.terminate().unwrap().unwrap().success());
}
