//! Redis comes and goes; calls, and what is known of them, do not.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::thread;

use asterscribe_testkit::redis::{Instance, find};
use asterscribe_testkit::server::Server;
use asterscribe_testkit::{available, host};
use serde_json::{Value, json};

use crate::api::rig::{
    BINARY, Conversation, SOON, assert_problem, assert_word_for_word, await_answer, await_complete,
    await_lines, get, hang_up, lines, register_leg,
};

fn ask<T: redis::FromRedisValue>(redis: &Instance, command: &str) -> T {
    let (name, arguments) = command.split_once(' ').unwrap();
    let mut query = redis::cmd(name);
    for argument in arguments.split(' ') {
        query.arg(argument);
    }
    query.query(&mut redis.connection().unwrap()).unwrap()
}

/// Value of a key in Redis, as JSON; null if there is no such key.
fn stored(redis: &Instance, key: &str) -> Value {
    let text: Option<String> = ask(redis, &format!("GET {key}"));
    text.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap())
}

/// Checks that Redis has got the whole call: its end, every line once and in order, true counters.
fn assert_caught_up(redis: &Instance, call: &str, transcript: &Value) {
    let key = format!("call:{call}");
    let ended = || stored(redis, &key)["status"] == "ended";
    assert!(
        host::wait_until(host::now() + SOON, ended),
        "{}",
        stored(redis, &key)
    );
    let kept: Vec<String> = ask(redis, &format!("LRANGE {key}:transcript 0 -1"));
    let kept: Vec<Value> = kept
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(kept, lines(transcript));
    assert_eq!(ask::<u64>(redis, "GET total_calls_processed"), 1);
    assert_eq!(ask::<u64>(redis, "GET active_calls_count"), 0);
    assert!(ask::<Vec<String>>(redis, "SMEMBERS calls:open").is_empty());
}

fn await_store(server: &Server, state: &str) {
    await_answer(server, "/health", |health| {
        health["store"]["state"] == state
    });
}

#[test]
fn a_redis_that_is_away_at_start_gets_everything_when_it_comes() {
    let Some(program) = available(find()) else {
        return;
    };
    let mut redis = Instance::start_with(program, false).unwrap();
    redis.kill9().unwrap();
    let mut server = Server::start(BINARY, &[("REDIS_URL", &redis.url())]).unwrap();
    await_store(&server, "down");
    let path = "/api/call/never-heard-of/status";
    assert_problem(&server.get(path).unwrap(), path, 503, "store-unavailable");

    let call = "early-1";
    let conversation = Conversation::register(&server, call);
    conversation.play();
    hang_up(&server, call);
    let transcript = await_complete(&server, call);
    assert_word_for_word(&conversation, &transcript);
    let status = get(&server, &format!("/api/call/{call}/status"));
    assert_eq!(status["status"], "ended");
    assert_eq!(get(&server, "/api/calls")["calls"][0]["call_id"], call);

    redis.restart().unwrap();
    assert_caught_up(&redis, call, &transcript);
    await_store(&server, "ok");
    // From now on the store alone could serve it, and does after a restart.
    server.restart().unwrap();
    assert_eq!(
        get(&server, &format!("/api/call/{call}/transcript")),
        transcript
    );
    assert_eq!(get(&server, &format!("/api/call/{call}/status")), status);
}

#[test]
fn a_redis_killed_in_mid_call_catches_up_with_every_line_once() {
    let Some(program) = available(find()) else {
        return;
    };
    let mut redis = Instance::start_with(program, true).unwrap();
    let server = Server::start(BINARY, &[("REDIS_URL", &redis.url())]).unwrap();
    await_store(&server, "ok");
    let call = "through-1";
    let conversation = Conversation::register(&server, call);
    thread::scope(|scope| {
        scope.spawn(|| conversation.play());
        let before = await_lines(&server, call, 2).len();
        let arrived = || ask::<usize>(&redis, &format!("LLEN call:{call}:transcript")) >= before;
        assert!(host::wait_until(host::now() + SOON, arrived));
        redis.kill9().unwrap();
        // The call goes on, and so does the API.
        await_lines(&server, call, before + 2);
        await_store(&server, "down");
        assert_eq!(get(&server, "/api/calls")["calls"][0]["status"], "active");
    });
    hang_up(&server, call);
    let transcript = await_complete(&server, call);
    assert_word_for_word(&conversation, &transcript);

    redis.restart().unwrap();
    assert_caught_up(&redis, call, &transcript);
    await_store(&server, "ok");
}

#[test]
fn a_redis_that_hangs_holds_up_neither_health_nor_calls() {
    let Some(program) = available(find()) else {
        return;
    };
    let mut redis = Instance::start_with(program, false).unwrap();
    let server = Server::start(BINARY, &[("REDIS_URL", &redis.url())]).unwrap();
    await_store(&server, "ok");
    redis.sigstop().unwrap();
    await_store(&server, "down");
    assert_eq!(
        register_leg(&server, "hung-1", "a", "192.0.2.7:5000".parse().unwrap()).status,
        201
    );
    assert_eq!(get(&server, "/health")["active_calls"], 1);
    hang_up(&server, "hung-1");
    let transcript = await_complete(&server, "hung-1");
    assert_eq!(
        transcript,
        json!({"call_id": "hung-1", "complete": true, "revisions": 0, "lines": []})
    );
    redis.sigcont().unwrap();
    assert_caught_up(&redis, "hung-1", &transcript);
    await_store(&server, "ok");
}
