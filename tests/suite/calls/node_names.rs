//! Two servers of one name on one store: neither settles what the other has open.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use asterscribe_testkit::available;
use asterscribe_testkit::redis::{Instance, find};
use asterscribe_testkit::server::Server;
use serde_json::Value;

use crate::api::rig::{BINARY, await_answer, register_leg};

const CALL: &str = "/api/call/alive-1/status";

fn store_of(health: &Value) -> &str {
    health["store"]["detail"].as_str().unwrap()
}

/// Starts two with these settings, the first with a call, and ends the first.
fn two_of_one_name(settings: &[(&str, &str)]) {
    let settings = [settings, &[("NODE_NAME", "one"), ("SPOOL_PATH", "off")]].concat();
    let mut first = Server::start(BINARY, &settings).unwrap();
    let source = "127.0.0.1:5000".parse().unwrap();
    assert_eq!(register_leg(&first, "alive-1", "a", source).status, 201);
    let alone = await_answer(&first, "/health", |health| health["store"]["state"] == "ok");
    assert!(!store_of(&alone).contains("NODE_NAME"), "{alone}");

    let second = Server::start(BINARY, &settings).unwrap();
    let health = await_answer(&second, "/health", |health| {
        health["store"]["state"] == "degraded"
    });
    assert!(store_of(&health).contains("NODE_NAME=one"), "{health}");
    for server in [&first, &second] {
        await_answer(server, CALL, |call| call["status"] == "active");
    }
    // Another name is another server's, who has nothing to say about it.
    let other = [&settings[..], &[("NODE_NAME", "two")]].concat();
    let other = Server::start(BINARY, &other).unwrap();
    await_answer(&other, CALL, |call| call["status"] == "active");
    let health = await_answer(&other, "/health", |health| health["store"]["state"] == "ok");
    assert!(!store_of(&health).contains("NODE_NAME"), "{health}");

    // Whoever is left has the name, and settles what the dead one left.
    first.kill9().unwrap();
    let settled = await_answer(&second, CALL, |call| call["status"] != "active");
    assert!(settled["end_reason"]["text"].is_string(), "{settled}");
    await_answer(&second, "/health", |health| {
        health["store"]["state"] == "ok"
    });
}

#[test]
fn on_redis() {
    let Some(program) = available(find()) else {
        return;
    };
    let redis = Instance::start_with(program, false).unwrap();
    two_of_one_name(&[("REDIS_URL", &redis.url())]);
}

#[test]
fn on_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calls.db").display().to_string();
    two_of_one_name(&[("SQLITE_PATH", &path)]);
}

#[test]
fn a_server_that_is_started_again_has_its_name_at_once() {
    let Some(program) = available(find()) else {
        return;
    };
    let redis = Instance::start_with(program, false).unwrap();
    let settings = [("REDIS_URL", redis.url()), ("NODE_NAME", "one".to_owned())];
    let settings = settings
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let mut server = Server::start(BINARY, &settings).unwrap();
    for is_crash in [false, true] {
        if is_crash {
            server.kill9().unwrap();
        }
        server.restart().unwrap();
        let health = await_answer(&server, "/health", |health| {
            health["store"]["state"] == "ok"
        });
        assert!(!store_of(&health).contains("NODE_NAME"), "{health}");
    }
    let log = server.log();
    assert!(!log.iter().any(|line| line["level"] == "ERROR"), "{log:?}");
}
