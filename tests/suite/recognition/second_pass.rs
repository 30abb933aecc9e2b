//! Second pass: a call that is over is recognised once more by another model, and gets the better
//! words.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::Duration;

use asterscribe_testkit::server::Server;
use asterscribe_testkit::{Response, account, fixture, host};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::api::rig::{
    BINARY, Conversation, SOON, assert_problem, assert_word_for_word, await_answer, await_complete,
    await_lines, get, hang_up, lines,
};
use crate::recognition::faults::faulty_worker;

const FIRST: &str = "asterscribe-demo-q5_0@fbb9855a";
const SECOND: &str = "ggml-tiny.en.bin@fbb9855a";

/// A server of which the first model loses the last word of every sentence, and which has
/// another that hears them all.
struct Rig {
    server: Server,
    folder: TempDir,
}

impl Rig {
    fn start(folder: TempDir, settings: &[(&str, &str)]) -> Self {
        fs::write(folder.path().join("mumble"), "").unwrap();
        let model = fixture::path("model/asterscribe-demo-q5_0.bin");
        symlink(model, model_file(&folder)).unwrap();
        let path = folder.path().display();
        let program = format!("{} {path}", faulty_worker().display());
        let (spool, dir) = (format!("{path}/spool.db"), path.to_string());
        let own = [
            ("STT_PROGRAM", program.as_str()),
            ("SPOOL_PATH", &spool),
            ("WHISPER_MODELS_DIR", &dir),
        ];
        let settings: Vec<_> = own.iter().chain(settings).copied().collect();
        let server = Server::start(BINARY, &settings).unwrap();
        Self { server, folder }
    }

    fn tiny() -> Self {
        let folder = folder();
        Self::start(folder, &[("SECOND_PASS_MODEL", "tiny.en")])
    }

    /// Makes the second pass wait until further notice, or lets it go on.
    fn is_slow(&self, slow: bool) {
        let file = self.folder.path().join("slow-named");
        if slow {
            fs::write(file, "").unwrap();
        } else {
            fs::remove_file(file).unwrap();
        }
    }

    fn register(&self, call: &str, recognition: &Value) -> Response {
        let body = json!({
            "source": "127.0.0.1:9", "leg": "third", "format": "ulaw", "recognition": recognition
        });
        let path = format!("/api/call/{call}/media");
        self.server.post(&path, &body).unwrap()
    }
}

/// A folder, in memory where that can be: on a busy disk an utterance may not be kept in time, and
/// then has no second pass.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

fn model_file(folder: &TempDir) -> PathBuf {
    folder.path().join("ggml-tiny.en.bin")
}

fn await_ended(server: &Server, call: &str) -> Value {
    let path = format!("/api/call/{call}/status");
    await_answer(server, &path, |status| status["status"] != "active")
}

/// Waits until the second pass is done. It gets only the time that nothing else needs, on a busy
/// machine next to none.
fn await_heard(server: &Server, call: &str) -> Value {
    let path = format!("/api/call/{call}/transcript");
    let look = || {
        let told = server.get(&path).ok()?.json();
        (told["complete"] == true).then_some(told)
    };
    let told = host::poll_until(host::now() + Duration::from_secs(180), look);
    let status = get(server, &format!("/api/call/{call}/status"));
    account::assert_conserved(&status);
    told.unwrap_or_else(|| panic!("{status}"))
}

/// Checks that the second pass has the spoken words in every line, and that the first ones are
/// kept.
fn assert_heard_again(server: &Server, conversation: &Conversation, call: &str) {
    let told = await_heard(server, call);
    assert_word_for_word(conversation, &told);
    for line in lines(&told) {
        assert_eq!(line["model"], SECOND, "{line}");
        assert!(line.get("spool").is_none(), "{line}");
        if let Some(first) = line.get("first") {
            let (text, first_text) = (line["text"].as_str(), first["text"].as_str());
            assert!(text.unwrap().starts_with(first_text.unwrap()), "{line}");
            assert_ne!(text, first_text);
            assert_eq!(first["model"], FIRST);
        }
    }
    let status = get(server, &format!("/api/call/{call}/status"));
    let second = &status["second_pass"];
    assert_eq!(second["waiting"], 0, "{second}");
    let count = |name: &str| second[name].as_u64().unwrap();
    let heard = count("changed") + count("unchanged");
    assert_eq!(heard, lines(&told).len() as u64, "{second}");
    assert!(count("changed") > 0, "{second}");
}

#[test]
fn a_call_that_is_over_has_the_words_of_the_second_model() {
    let rig = Rig::tiny();
    let conversation = Conversation::register(&rig.server, "c");
    conversation.play();
    let told = await_lines(&rig.server, "c", 9);
    assert!(told.iter().all(|line| line["model"] == FIRST), "{told:?}");
    let status = get(&rig.server, "/api/call/c/status");
    assert!(
        status["second_pass"]["waiting"].as_u64().unwrap() >= 9,
        "{status}"
    );
    hang_up(&rig.server, "c");
    assert_heard_again(&rig.server, &conversation, "c");
    let health = get(&rig.server, "/health");
    assert_eq!(health["second_pass"]["state"], "ok", "{health}");
    let detail = health["second_pass"]["detail"].as_str().unwrap();
    assert!(
        detail.starts_with("0 utterances wait in 0 bytes"),
        "{detail}"
    );
}

#[test]
fn what_waits_to_be_heard_once_more_survives_kill_9() {
    let key = "0123456789abcdef".repeat(4);
    let settings = [("SECOND_PASS_MODEL", "tiny.en"), ("SPOOL_KEY", &key)];
    let mut rig = Rig::start(folder(), &settings);
    rig.is_slow(true);
    let conversation = Conversation::register(&rig.server, "c");
    conversation.play();
    hang_up(&rig.server, "c");
    let status = await_ended(&rig.server, "c");
    account::assert_conserved(&status);
    assert!(status["second_pass"]["waiting"].as_u64().unwrap() > 5);
    let told = get(&rig.server, "/api/call/c/transcript");
    assert_eq!(told["complete"], false, "{told}");
    // A server that dies loses what its store does not have.
    let is_stored = || {
        let figures = rig.server.get("/metrics").unwrap().text;
        figures.contains("\nasterscribe_store_writes_waiting 0.0\n")
    };
    assert!(host::wait_until(host::now() + SOON, is_stored));
    rig.server.kill9().unwrap();
    rig.is_slow(false);
    rig.server.restart().unwrap();
    assert_heard_again(&rig.server, &conversation, "c");
}

#[test]
fn what_nobody_had_time_for_is_heard_once_more_too() {
    let folder = folder();
    fs::write(folder.path().join("slow"), "").unwrap();
    let settings = [
        ("SECOND_PASS_MODEL", "tiny.en"),
        ("STT_WORKERS", "1"),
        ("STT_QUEUE", "1"),
    ];
    let rig = Rig::start(folder, &settings);
    let conversation = Conversation::register(&rig.server, "c");
    conversation.play();
    hang_up(&rig.server, "c");
    await_ended(&rig.server, "c");
    let told = get(&rig.server, "/api/call/c/transcript");
    let spooled = |line: &&Value| line["gap"] == "spooled";
    assert!(lines(&told).iter().filter(spooled).count() > 3, "{told}");
    fs::remove_file(rig.folder.path().join("slow")).unwrap();
    assert_heard_again(&rig.server, &conversation, "c");
    let told = get(&rig.server, "/api/call/c/transcript");
    assert!(
        lines(&told).iter().any(|line| line["revision"] == 2),
        "{told}"
    );
}

#[test]
fn a_call_chooses_for_itself() {
    let rig = Rig::start(folder(), &[]);
    for bad in [json!(true), json!("large-v3"), json!("nonsense")] {
        let answer = rig.register("bad", &json!({"second_pass": bad}));
        assert_problem(&answer, "/api/call/bad/media", 422, "unprocessable");
    }
    assert_eq!(get(&rig.server, "/health")["second_pass"]["state"], "off");
    let answer = rig.register("own", &json!({"second_pass": "tiny.en"}));
    assert_eq!(answer.status, 201, "{}", answer.text);
    let conversation = Conversation::register(&rig.server, "own");
    let plain = Conversation::register(&rig.server, "plain");
    conversation.play();
    plain.play();
    for call in ["own", "plain"] {
        hang_up(&rig.server, call);
    }
    assert_heard_again(&rig.server, &conversation, "own");
    let told = await_complete(&rig.server, "plain");
    assert!(
        lines(&told).iter().all(|line| line["model"] == FIRST),
        "{told}"
    );
    let status = get(&rig.server, "/api/call/plain/status");
    assert!(status.get("second_pass").is_none(), "{status}");
}

#[test]
fn what_finds_no_room_keeps_the_words_it_has_and_says_so() {
    let folder = folder();
    let settings = [
        ("SECOND_PASS_MODEL", "tiny.en"),
        ("SPOOL_MAX_BYTES", "131072"),
    ];
    let rig = Rig::start(folder, &settings);
    let conversation = Conversation::register(&rig.server, "c");
    conversation.play();
    hang_up(&rig.server, "c");
    let told = await_heard(&rig.server, "c");
    let by = |model: &str| {
        lines(&told)
            .iter()
            .filter(|line| line["model"] == model)
            .count()
    };
    assert!(by(FIRST) > 0 && by(SECOND) > 0, "{told}");
    assert_eq!(by(FIRST) + by(SECOND), lines(&told).len());
    let status = get(&rig.server, "/api/call/c/status");
    assert_eq!(status["second_pass"]["not_kept"], by(FIRST), "{status}");
    let health = get(&rig.server, "/health");
    let detail = health["second_pass"]["detail"].as_str().unwrap();
    assert!(detail.contains("could not be kept"), "{detail}");
}

#[test]
fn a_model_that_is_gone_is_waited_for() {
    let mut rig = Rig::tiny();
    let (file, away) = (model_file(&rig.folder), rig.folder.path().join("away"));
    fs::rename(&file, &away).unwrap();
    let conversation = Conversation::register(&rig.server, "c");
    conversation.play();
    hang_up(&rig.server, "c");
    await_ended(&rig.server, "c");
    let health = await_answer(&rig.server, "/health", |health| {
        health["second_pass"]["state"] == "degraded"
    });
    let detail = health["second_pass"]["detail"].as_str().unwrap();
    assert!(detail.contains("cannot be loaded"), "{detail}");
    let told = get(&rig.server, "/api/call/c/transcript");
    assert_eq!(told["complete"], false);
    assert!(lines(&told).iter().all(|line| line["text"] != ""), "{told}");
    rig.server.terminate().unwrap();
    fs::rename(&away, &file).unwrap();
    rig.server.restart().unwrap();
    assert_heard_again(&rig.server, &conversation, "c");
}
