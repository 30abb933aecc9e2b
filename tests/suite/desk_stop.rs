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

use crate::api_rig::{BINARY, SOON, await_answer, get, register_leg};

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

#[test]
fn who_tells_it_to_stop_twice_does_not_wait() {
    let Some((_redis, mut server)) = stuck() else {
        return;
    };
    let pid = server.id().unwrap().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .unwrap()
            .success()
    );
    let began = || {
        server
            .log()
            .iter()
            .any(|line| line["fields"]["message"] == "shutting down")
    };
    assert!(host::wait_until(host::now() + SOON, began));
    let status = server.terminate().unwrap().expect("it ran");
    assert_eq!(status.code(), Some(1), "the second signal ended it");
}
