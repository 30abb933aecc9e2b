//! Calls of a server that was killed: what the store has of them, and how they go on.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::time::Duration;

use asterscribe_testkit::account::assert_conserved;
use asterscribe_testkit::host;
use asterscribe_testkit::server::Server;
use serde_json::Value;

use crate::api::rig::{
    BINARY, Conversation, SOON, assert_problem, await_answer, await_complete, await_lines, get,
    hang_up, lines, register_leg,
};

/// Samples in a second of an account.
const SECOND: u64 = 16_000;

fn span(status: &Value, leg: usize) -> u64 {
    status["legs"][leg]["audio"]["span"].as_u64().unwrap_or(0)
}

fn ms(status: &Value) -> i64 {
    let at = |name: &str| {
        let text = status[name].as_str().unwrap();
        text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
    };
    at("ended_at") - at("started_at")
}

#[test]
fn what_status_told_is_known_after_a_kill_and_the_rest_has_a_class() {
    let mut server = Server::start(BINARY, &[]).unwrap();
    let call = "killed-1";
    let path = format!("/api/call/{call}/status");
    // Two seconds in which nobody says a word: no line brings the counters to the store.
    let silent = Conversation::register_until(&server, call, Duration::from_millis(1500));
    silent.play();
    let told = await_answer(&server, &path, |status| span(status, 0) >= SECOND);
    server.kill9().unwrap();
    server.restart().unwrap();
    let settled = await_answer(&server, &path, |status| status["status"] == "failed");
    assert_conserved(&settled);
    for leg in 0..2 {
        let (before, after) = (&told["legs"][leg], &settled["legs"][leg]);
        assert!(span(&settled, leg) >= span(&told, leg), "{before} {after}");
        let received = |leg: &Value| leg["stats"]["received"].as_u64().unwrap();
        assert!(received(after) + 50 >= received(before), "{before} {after}");
        let crashed = after["audio"]["gaps"]["node_crash"].as_u64().unwrap();
        assert!(crashed > 0, "{after}");
        // Sent faster than it was spoken, its audio may reach beyond the end.
        let end = after["audio"]["start"].as_u64().unwrap() + span(&settled, leg);
        let over = u64::try_from(ms(&settled)).unwrap() * SECOND / 1000;
        assert!(end + SECOND / 50 >= over, "{end} {over} {after}");
    }
}

#[test]
fn a_registration_goes_on_after_a_kill() {
    let mut server = Server::start(BINARY, &[]).unwrap();
    let call = "killed-2";
    let first = Conversation::register_until(&server, call, Duration::from_secs(7));
    first.play();
    let early = await_lines(&server, call, 1);
    let status = format!("/api/call/{call}/status");
    let before = get(&server, &status);
    let stored = || {
        let file = rusqlite::Connection::open(server.dir().join("calls.db")).unwrap();
        let count = file.query_row("SELECT count(*) FROM item", [], |row| row.get::<_, i64>(0));
        count.is_ok_and(|count| count.unsigned_abs() >= early.len() as u64)
    };
    assert!(host::wait_until(host::now() + SOON, stored));
    server.kill9().unwrap();
    server.restart().unwrap();
    await_answer(&server, &status, |status| status["status"] == "failed");
    // The same call, with its numbers and its clock.
    let second = Conversation::register_until(&server, call, Duration::from_secs(7));
    let now = get(&server, &status);
    assert_eq!(now["status"], "active", "{now}");
    assert_eq!(now["started_at"], before["started_at"]);
    second.play();
    await_lines(&server, call, early.len() + 1);
    hang_up(&server, call);
    let transcript = await_complete(&server, call);
    let all = lines(&transcript);
    assert!(
        all.iter().enumerate().all(|(n, line)| line["seq"] == n),
        "{transcript}"
    );
    assert_eq!(all[..early.len()], early[..]);
    assert_conserved(&get(&server, &status));
    // One that was ended is over, now and after another start.
    let media = format!("/api/call/{call}/media");
    let again = || register_leg(&server, call, "caller", ([192, 0, 2, 7], 5000).into());
    assert_problem(&again(), &media, 409, "conflict");
    let stored = || get(&server, "/health")["total_calls_processed"] == 1;
    assert!(host::wait_until(host::now() + SOON, stored));
    server.restart().unwrap();
    let again = register_leg(&server, call, "caller", ([192, 0, 2, 7], 5000).into());
    assert_problem(&again, &media, 409, "conflict");
}
