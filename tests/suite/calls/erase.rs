//! A call that is to be erased, and calls that have outlived their retention, are nowhere.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use asterscribe_testkit::redis::{Instance, find};
use asterscribe_testkit::server::Server;
use asterscribe_testkit::{Response, available};
use serde_json::json;

use crate::api::rig::{
    BINARY, Conversation, assert_problem, await_answer, await_complete, command, get, hang_up,
    lines, register_leg,
};

fn erase(server: &Server, call: &str) -> Response {
    let path = format!("/api/call/{call}");
    server.request("DELETE", &path, &[], None).unwrap()
}

fn assert_unknown(server: &Server, call: &str) {
    for part in ["status", "transcript"] {
        let path = format!("/api/call/{call}/{part}");
        let answer = server.get(&path).unwrap();
        assert_problem(&answer, &path, 404, "unknown-call");
    }
    let listed = get(server, "/api/calls");
    assert!(
        !listed.to_string().contains(&format!("\"{call}\"")),
        "{listed}"
    );
    let path = format!("/api/call/{call}");
    assert_problem(&erase(server, call), &path, 404, "unknown-call");
}

/// Files below a folder, but for the log, that hold that text.
fn files_with(dir: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for file in fs::read_dir(dir).unwrap() {
        let file = file.unwrap();
        if file.file_type().unwrap().is_dir() {
            found.extend(files_with(&file.path(), text));
            continue;
        }
        let name = file.file_name().into_string().unwrap();
        let bytes = fs::read(file.path()).unwrap();
        let has = bytes
            .windows(text.len())
            .any(|part| part == text.as_bytes());
        if name.contains(text) || (has && !name.ends_with(".log")) {
            found.push(name);
        }
    }
    found
}

/// A captured call that is over; what was said last in it.
fn speak(server: &Server, call: &str) -> String {
    let conversation = Conversation::register_until(server, call, Duration::from_secs(8));
    command(server, &format!("/api/call/{call}/capture"));
    conversation.play();
    hang_up(server, call);
    let transcript = await_complete(server, call);
    let said = lines(&transcript)
        .iter()
        .map(|line| line["text"].as_str().unwrap());
    said.max_by_key(|text| text.len()).unwrap().to_owned()
}

#[test]
fn what_is_erased_is_nowhere_in_the_folder() {
    let captures = tempfile::tempdir().unwrap();
    let folder = captures.path().to_str().unwrap().to_owned();
    let mut server = Server::start(BINARY, &[("CAPTURE_DIR", &folder)]).unwrap();
    let open = "/api/call/gone-1";
    assert_problem(&erase(&server, "gone-1"), open, 404, "unknown-call");
    assert_eq!(
        register_leg(&server, "gone-1", "a", ([192, 0, 2, 7], 5000).into()).status,
        201
    );
    assert_problem(&erase(&server, "gone-1"), open, 409, "conflict");
    hang_up(&server, "gone-1");
    await_complete(&server, "gone-1");
    assert_eq!(erase(&server, "gone-1").status, 200);
    assert_unknown(&server, "gone-1");

    for is_restarted in [false, true] {
        let call = "gone-2";
        let said = speak(&server, call);
        assert!(said.len() > 8, "{said}");
        if is_restarted {
            // Only files know it now.
            server.restart().unwrap();
        }
        assert!(!files_with(server.dir(), &said).is_empty());
        assert!(!files_with(captures.path(), call).is_empty());
        let answer = erase(&server, call);
        assert_eq!(
            (answer.status, answer.json()),
            (200, json!({"call_id": call, "erased": true}))
        );
        assert_unknown(&server, call);
        for text in [&said, call] {
            assert_eq!(
                files_with(server.dir(), text),
                Vec::<String>::new(),
                "{text}"
            );
            assert_eq!(
                files_with(captures.path(), text),
                Vec::<String>::new(),
                "{text}"
            );
        }
    }
    // Nor does it come back.
    server.restart().unwrap();
    assert_unknown(&server, "gone-2");
    assert_eq!(get(&server, "/health")["total_calls_processed"], 3);
}

#[test]
fn what_is_erased_is_not_in_redis() {
    let Some(program) = available(find()) else {
        return;
    };
    let mut redis = Instance::start_with(program, false).unwrap();
    let server = Server::start(BINARY, &[("REDIS_URL", &redis.url())]).unwrap();
    for call in ["gone-3", "kept-3"] {
        assert_eq!(
            register_leg(&server, call, "a", ([192, 0, 2, 7], 5000).into()).status,
            201
        );
        hang_up(&server, call);
        await_complete(&server, call);
    }
    // A store that is away keeps what it has, and that is said.
    redis.sigstop().unwrap();
    let path = "/api/call/gone-3";
    assert_problem(&erase(&server, "gone-3"), path, 503, "store-unavailable");
    redis.sigcont().unwrap();
    await_answer(&server, "/health", |health| {
        health["store"]["state"] == "ok"
    });
    assert_eq!(erase(&server, "gone-3").status, 200);
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg("*gone-3*")
        .query(&mut redis.connection().unwrap())
        .unwrap();
    assert_eq!(keys, Vec::<String>::new());
    for (set, command) in [
        ("calls:index", "ZSCORE"),
        ("calls:counted", "ZSCORE"),
        ("calls:open", "SISMEMBER"),
    ] {
        let mut look = redis::cmd(command);
        let found: Option<i64> = look
            .arg(set)
            .arg("gone-3")
            .query(&mut redis.connection().unwrap())
            .unwrap();
        assert!(found.is_none_or(|found| found == 0), "{set}");
    }
    let listed = get(&server, "/api/calls");
    assert_eq!(listed["calls"].as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(listed["calls"][0]["call_id"], "kept-3");
}

#[test]
fn retention_reaches_memory_too() {
    let settings = [
        ("CALL_RETENTION_SECS", "1"),
        ("TRANSCRIPT_RETENTION_SECS", "1"),
    ];
    let server = Server::start(BINARY, &settings).unwrap();
    assert_eq!(
        register_leg(&server, "short-1", "a", ([192, 0, 2, 7], 5000).into()).status,
        201
    );
    hang_up(&server, "short-1");
    await_answer(&server, "/api/calls", |list| list["calls"] == json!([]));
    assert_unknown(&server, "short-1");
}
