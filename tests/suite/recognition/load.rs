//! Overload of recognition: what is given up, in which order, and that no words are lost.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::thread;

use asterscribe_testkit::host;
use asterscribe_testkit::server::Server;
use serde_json::{Value, json};

use crate::api::rig::{
    BINARY, Conversation, SOON, assert_problem, assert_word_for_word, await_answer, await_complete,
    get, hang_up, lines,
};
use crate::recognition::faults::faulty_worker;

const CALLS: [&str; 2] = ["load-1", "load-2"];

#[test]
fn what_cannot_be_recognised_in_time_is_recognised_later_and_new_calls_wait() {
    // A second for each utterance, where two calls say two a second.
    let program = format!("{} slow", faulty_worker().display());
    let settings = [("STT_WORKERS", "1"), ("STT_PROGRAM", &program)];
    let server = Server::start(BINARY, &settings).unwrap();
    let conversations = CALLS.map(|call| (call, Conversation::register(&server, call)));
    thread::scope(|scope| {
        for (_, conversation) in &conversations {
            scope.spawn(|| conversation.play());
        }
    });
    let no_partials = |health: &Value| detail(health).contains("no partial results");
    let health = await_answer(&server, "/health", no_partials);
    assert_eq!(health["model"]["state"], "degraded");
    for (call, _) in &conversations {
        hang_up(&server, call);
    }
    for (call, conversation) in &conversations {
        let transcript = await_complete_slowly(&server, call);
        assert_eq!(lines(&transcript).len(), 10, "{transcript}");
        assert_word_for_word(conversation, &transcript);
        let status = get(&server, &format!("/api/call/{call}/status"));
        for leg in status["legs"].as_array().unwrap() {
            let stats = &leg["stats"];
            assert_eq!(
                (&stats["lost"], &stats["unrecognised"]),
                (&json!(0), &json!(0))
            );
        }
    }
    await_answer(&server, "/health", |health| {
        !detail(health).contains("behind")
    });
}

#[test]
fn new_calls_are_refused_while_recognition_is_ten_seconds_behind_and_taken_again_after() {
    let program = format!("{} slow", faulty_worker().display());
    let settings = [("STT_WORKERS", "1"), ("STT_PROGRAM", &program)];
    let server = Server::start(BINARY, &settings).unwrap();
    let calls = ["a", "b", "c"];
    let conversations = calls.map(|call| (call, Conversation::register(&server, call)));
    let body = json!({"source": "127.0.0.1:9", "leg": "caller", "format": "ulaw"});
    let ask = |call: &str| {
        server
            .post(&format!("/api/call/{call}/media"), &body)
            .unwrap()
    };
    thread::scope(|scope| {
        for (_, conversation) in &conversations {
            scope.spawn(|| conversation.play());
        }
        let closed = || detail(&get(&server, "/health")).contains("no new calls");
        assert!(host::wait_until(host::now() + 3 * SOON, closed));
        assert_problem(&ask("late"), "/api/call/late/media", 503, "busy");
    });
    for (call, conversation) in &conversations {
        hang_up(&server, call);
        let transcript = await_complete_slowly(&server, call);
        assert_word_for_word(conversation, &transcript);
    }
    let open = || ask("late").status == 201;
    assert!(host::wait_until(host::now() + SOON, open));
}

fn detail(health: &Value) -> &str {
    health["model"]["detail"].as_str().unwrap()
}

/// Thirty utterances at a second each.
fn await_complete_slowly(server: &Server, call: &str) -> Value {
    let path = format!("/api/call/{call}/transcript");
    let complete = || get(server, &path)["complete"] == true;
    assert!(host::wait_until(host::now() + 4 * SOON, complete), "{call}");
    await_complete(server, call)
}
