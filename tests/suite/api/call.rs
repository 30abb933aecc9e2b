//! One call from registration to transcript on the running server, and what is
//! left of it when the server stops or is killed.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::thread;
use std::time::Duration;

use asterscribe_testkit::host;
use asterscribe_testkit::server::Server;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use crate::api::rig::{
    BINARY, Conversation, SOON, assert_word_for_word, await_answer, await_complete, await_lines,
    get, hang_up, lines, register_leg,
};

#[test]
fn a_conversation_becomes_its_words_and_outlives_the_server() {
    let mut server = Server::start(BINARY, &[]).unwrap();
    let call = "conversation-1";
    let conversation = Conversation::register(&server, call);
    // Lines are there while the call goes on, not only after it.
    let early = thread::scope(|scope| {
        scope.spawn(|| conversation.play());
        await_lines(&server, call, 1)
    });
    hang_up(&server, call);
    let transcript = await_complete(&server, call);
    assert_word_for_word(&conversation, &transcript);
    assert_eq!(
        lines(&transcript)[..early.len()],
        early,
        "a line that was served never changes"
    );

    let status_path = format!("/api/call/{call}/status");
    let status = get(&server, &status_path);
    assert_counters(&conversation, &status);
    assert_eq!(
        (&status["status"], &status["lines"]),
        (&json!("ended"), &json!(lines(&transcript).len()))
    );
    let health = await_answer(&server, "/health", |health| {
        health["total_calls_processed"] == 1
    });
    assert_eq!(health["active_calls"], 0);
    let listed = get(&server, "/api/calls");
    assert_eq!(
        listed["calls"].as_array().map(Vec::len),
        Some(1),
        "{listed}"
    );

    let tail = get(&server, &format!("/api/call/{call}/transcript?from_seq=4"));
    assert_eq!(lines(&tail), &lines(&transcript)[4..]);

    let ended = server.terminate().unwrap().expect("it ran");
    assert!(ended.success(), "{ended}");
    server.restart().unwrap();
    assert_eq!(
        get(&server, &format!("/api/call/{call}/transcript")),
        transcript
    );
    assert_eq!(
        get(&server, &format!("/api/call/{call}/transcript?from_seq=4")),
        tail
    );
    assert_eq!(get(&server, &status_path), status);
    assert_eq!(get(&server, "/api/calls"), listed);
    let health = get(&server, "/health");
    assert_eq!(
        (&health["active_calls"], &health["total_calls_processed"]),
        (&json!(0), &json!(1))
    );
}

fn assert_counters(conversation: &Conversation, status: &Value) {
    let legs = status["legs"].as_array().unwrap();
    assert_eq!(legs.len(), 2, "{status}");
    for (name, _, packets) in conversation.legs() {
        let leg = legs.iter().find(|leg| leg["leg"] == name).unwrap();
        let stats = leg["stats"].as_object().unwrap();
        let counted = |counter: &str| stats[counter].as_u64().unwrap();
        assert_eq!(
            (counted("received"), counted("decoded")),
            (packets as u64, packets as u64)
        );
        assert_eq!(counted("utterances"), 5, "{leg}");
        assert!((29_000..=29_600).contains(&counted("audio_ms")), "{leg}");
        assert!((8_000..=16_000).contains(&counted("speech_ms")), "{leg}");
        let spoken = ["received", "decoded", "utterances", "audio_ms", "speech_ms"];
        let others = stats
            .iter()
            .filter(|(name, _)| !spoken.contains(&name.as_str()));
        for (name, value) in others {
            assert_eq!(value, 0, "{name} of {leg}");
        }
    }
}

#[test]
fn a_server_told_to_stop_in_mid_call_keeps_its_last_words() {
    let mut server = Server::start(BINARY, &[]).unwrap();
    let call = "stopped-1";
    // The recording stops in the middle of the second sentence.
    let conversation = Conversation::register_until(&server, call, Duration::from_millis(8300));
    conversation.play();
    await_lines(&server, call, 1);
    assert!(server.terminate().unwrap().expect("it ran").success());
    server.restart().unwrap();
    let status = get(&server, &format!("/api/call/{call}/status"));
    assert_eq!(
        (&status["status"], &status["lines"]),
        (&json!("ended"), &json!(2)),
        "{status}"
    );
    assert_eq!(status["end_reason"]["text"], "the server is shutting down");
    let transcript = get(&server, &format!("/api/call/{call}/transcript"));
    assert_eq!(
        (&transcript["complete"], lines(&transcript).len()),
        (&json!(true), 2)
    );
    let last = lines(&transcript)[1]["text"].as_str().unwrap();
    assert!(last.starts_with("hello the internet is"), "{last}");
}

/// Lines of the call that are in the server's database.
fn stored_lines(server: &Server, call: &str) -> usize {
    let file = server.dir().join("calls.db");
    let database = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let count = "SELECT count(*) FROM item WHERE call_id = ?1 AND kind = 'transcript'";
    let count: i64 = database.query_row(count, [call], |row| row.get(0)).unwrap();
    usize::try_from(count).unwrap()
}

#[test]
fn a_call_cut_off_by_a_crash_is_settled_and_its_lines_are_kept() {
    let mut server = Server::start(BINARY, &[]).unwrap();
    let call = "crashed-1";
    let conversation = Conversation::register(&server, call);
    let said = thread::scope(|scope| {
        scope.spawn(|| conversation.play());
        let said = await_lines(&server, call, 4);
        // Lines are stored beside the call, a moment after they can be read.
        let stored = || stored_lines(&server, call) >= said.len();
        assert!(host::wait_until(host::now() + SOON, stored));
        assert_eq!(
            get(&server, &format!("/api/call/{call}/status"))["status"],
            "active"
        );
        server.kill9().unwrap();
        said
    });

    server.restart().unwrap();
    let path = format!("/api/call/{call}/status");
    let status = await_answer(&server, &path, |status| status["status"] == "failed");
    assert_eq!(
        status["end_reason"],
        json!({"text": "the server was restarted"})
    );
    assert!(status["ended_at"].is_string(), "{status}");
    let transcript = get(&server, &format!("/api/call/{call}/transcript"));
    assert_eq!(transcript["complete"], true);
    // Those, and perhaps one that came between the last look and the crash.
    assert_eq!(lines(&transcript)[..said.len()], said);
    let health = await_answer(&server, "/health", |health| {
        health["total_calls_processed"] == 1
    });
    assert_eq!(health["active_calls"], 0);
    // Settled once and for all: another restart changes nothing.
    server.restart().unwrap();
    assert_eq!(get(&server, &path), status);
}

#[test]
fn a_call_from_which_nothing_comes_is_over() {
    let server = Server::start(BINARY, &[("MEDIA_IDLE_SECS", "5")]).unwrap();
    assert_eq!(
        register_leg(&server, "idle-1", "a", "192.0.2.7:5000".parse().unwrap()).status,
        201
    );
    await_complete(&server, "idle-1");
    let status = get(&server, "/api/call/idle-1/status");
    assert_eq!(status["status"], "ended");
    assert_eq!(status["end_reason"]["text"], "no RTP came for 5 s");
    assert_eq!(get(&server, "/health")["active_calls"], 0);
}
