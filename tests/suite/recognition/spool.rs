//! Speech on the disk that recognition has no time for: it survives faults of the server and of the
//! disk, and gets its words in the end.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;

use asterscribe_clock as clock;
use asterscribe_store::{CallStore, RetentionTimes, SqliteStore};
use asterscribe_testkit::redis::Instance;
use asterscribe_testkit::server::Server;
use asterscribe_testkit::{account, children, host};
use serde_json::Value;
use tempfile::TempDir;

use crate::api::rig::{
    BINARY, Conversation, SOON, assert_word_for_word, await_answer, await_complete, get, hang_up,
    lines,
};
use crate::recognition::faults::faulty_worker;

/// A server that recognises next to nothing while it is told to be slow, and keeps the rest.
struct Rig {
    server: Server,
    folder: TempDir,
}

impl Rig {
    fn start(binary: Option<PathBuf>, folder: TempDir, settings: &[(&str, &str)]) -> Self {
        fs::write(folder.path().join("slow"), "").unwrap();
        let program = format!("{} {}", faulty_worker().display(), folder.path().display());
        let spool = folder.path().join("spool.db").display().to_string();
        let own = [
            ("STT_WORKERS", "1"),
            ("STT_QUEUE", "1"),
            ("STT_PROGRAM", &program),
            ("SPOOL_PATH", &spool),
        ];
        let settings: Vec<_> = own.iter().chain(settings).copied().collect();
        let binary = binary.unwrap_or_else(|| BINARY.into());
        let server = Server::start(binary, &settings).unwrap();
        Self { server, folder }
    }

    fn plain() -> Self {
        Self::start(None, tempfile::tempdir().unwrap(), &[])
    }

    /// Lets recognition have time again.
    fn hurry(&self) {
        fs::remove_file(self.folder.path().join("slow")).unwrap();
    }

    fn await_spooled(&self, count: u64) {
        await_answer(&self.server, "/health", |health| spooled(health) >= count);
    }
}

/// Utterances that wait on the disk.
fn spooled(health: &Value) -> u64 {
    let detail = health["spool"]["detail"].as_str().unwrap();
    detail.split(' ').next().unwrap().parse().unwrap()
}

/// Waits until the database has so many lines of a call that wait for their words; their numbers.
fn stored_spooled_lines(database: &Path, call: &str, count: usize) -> Vec<u64> {
    let store = SqliteStore::open(database, RetentionTimes::default(), clock::wall).unwrap();
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().build().unwrap();
    let call = call.parse().unwrap();
    let look = || {
        let lines = runtime.block_on(store.lines(&call, 0)).unwrap();
        let waiting = lines.iter().filter(|line| line.state.place().is_some());
        let waiting: Vec<_> = waiting.map(|line| line.seq).collect();
        (waiting.len() >= count).then_some(waiting)
    };
    host::poll_until(host::now() + SOON, look).unwrap()
}

fn gaps<'a>(transcript: &'a Value, reason: &str) -> Vec<&'a Value> {
    let of_it = |line: &&Value| line["gap"] == reason;
    lines(transcript).iter().filter(of_it).collect()
}

fn transcript(server: &Server, call: &str) -> Value {
    get(server, &format!("/api/call/{call}/transcript"))
}

#[test]
fn what_waits_gets_its_words_within_the_call_and_after_it() {
    let rig = Rig::plain();
    let first = Conversation::register(&rig.server, "first");
    first.play();
    rig.await_spooled(3);
    let told = transcript(&rig.server, "first");
    assert!(!gaps(&told, "spooled").is_empty(), "{told}");
    account::assert_conserved(&get(&rig.server, "/api/call/first/status"));
    hang_up(&rig.server, "first");
    let ended = |status: &Value| status["status"] == "ended";
    let status = await_answer(&rig.server, "/api/call/first/status", ended);
    account::assert_conserved(&status);
    let told = transcript(&rig.server, "first");
    assert_eq!(told["complete"], false, "words are still to come: {told}");
    // Another call goes on while those of the first one come.
    let second = Conversation::register(&rig.server, "second");
    rig.hurry();
    second.play();
    let told = await_complete(&rig.server, "first");
    assert_word_for_word(&first, &told);
    let revised = lines(&told).iter().filter(|line| line["revision"] == 1);
    assert!(revised.count() >= 3, "{told}");
    hang_up(&rig.server, "second");
    let told = await_complete(&rig.server, "second");
    assert_word_for_word(&second, &told);
    await_answer(&rig.server, "/health", |health| {
        health["spool"]["state"] == "ok" && spooled(health) == 0
    });
    for call in ["first", "second"] {
        let status = get(&rig.server, &format!("/api/call/{call}/status"));
        for leg in status["legs"].as_array().unwrap() {
            assert_eq!(leg["stats"]["unrecognised"], 0, "{leg}");
            assert_eq!(leg["audio"]["gaps"]["spooled"], 0, "{leg}");
        }
    }
}

#[test]
fn what_waits_survives_kill_9_of_calls_that_were_over_and_of_calls_that_were_not() {
    let key = "0123456789abcdef".repeat(4);
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("calls.db");
    let settings = [
        ("SPOOL_KEY", key.as_str()),
        ("SQLITE_PATH", database.to_str().unwrap()),
    ];
    let mut rig = Rig::start(None, folder, &settings);
    let over = Conversation::register(&rig.server, "over");
    let open = Conversation::register(&rig.server, "open");
    thread::scope(|scope| {
        scope.spawn(|| over.play());
        scope.spawn(|| open.play());
    });
    hang_up(&rig.server, "over");
    let path = "/api/call/over/status";
    await_answer(&rig.server, path, |status| status["status"] == "ended");
    rig.await_spooled(8);
    let kept = stored_spooled_lines(&database, "open", 2);
    rig.server.kill9().unwrap();
    rig.hurry();
    rig.server.restart().unwrap();
    let complete = await_complete(&rig.server, "over");
    assert_word_for_word(&over, &complete);
    // Whatever had been put on the disk of the other one has words now.
    let complete = await_complete(&rig.server, "open");
    for seq in kept {
        let now = lines(&complete).iter().find(|now| now["seq"] == seq);
        let now = now.unwrap();
        assert!(now["text"] != "" && now.get("gap").is_none(), "{now}");
    }
    let status = get(&rig.server, "/api/call/open/status");
    assert_eq!(status["status"], "failed");
    let said: Vec<_> = open.legs().map(|(_, words, _)| words).collect();
    for line in lines(&complete) {
        let text = line["text"].as_str().unwrap();
        assert!(said.iter().any(|said| said.contains(text)), "{line}");
    }
    await_answer(&rig.server, "/health", |health| spooled(health) == 0);
}

#[test]
fn a_server_that_is_told_to_end_keeps_what_it_has_no_time_for() {
    let mut rig = Rig::start(None, tempfile::tempdir().unwrap(), &[("STT_QUEUE", "64")]);
    let conversation = Conversation::register(&rig.server, "c");
    conversation.play();
    rig.server.terminate().unwrap();
    rig.hurry();
    rig.server.restart().unwrap();
    let told = await_complete(&rig.server, "c");
    assert_word_for_word(&conversation, &told);
}

#[test]
fn a_full_disk_costs_the_words_that_found_no_room_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let redis = Instance::start().unwrap();
    // Without its signal, exceeding the limit is an error of the write, as on a full disk.
    let script = folder.path().join("server");
    let text = format!("#!/bin/bash\ntrap '' XFSZ\nulimit -S -f 160\nexec {BINARY} \"$@\"\n");
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let rig = Rig::start(Some(script), folder, &[("REDIS_URL", &redis.url())]);
    let conversation = Conversation::register(&rig.server, "full");
    conversation.play();
    hang_up(&rig.server, "full");
    let ended = |status: &Value| status["status"] == "ended";
    let status = await_answer(&rig.server, "/api/call/full/status", ended);
    account::assert_conserved(&status);
    let told = transcript(&rig.server, "full");
    let (shed, kept) = (gaps(&told, "overload_shed"), gaps(&told, "spooled"));
    assert!(!shed.is_empty() && !kept.is_empty(), "{told}");
    let health = get(&rig.server, "/health");
    let detail = health["spool"]["detail"].as_str().unwrap();
    assert!(detail.contains("could not be kept"), "{detail}");
    // With room again all is kept, and what was kept before has its words.
    children::let_files_grow(rig.server.id().unwrap()).unwrap();
    let again = Conversation::register(&rig.server, "again");
    again.play();
    hang_up(&rig.server, "again");
    rig.hurry();
    let told = await_complete(&rig.server, "again");
    assert_word_for_word(&again, &told);
    let told = await_complete(&rig.server, "full");
    assert_eq!(gaps(&told, "overload_shed").len(), shed.len());
    assert!(gaps(&told, "spooled").is_empty(), "{told}");
}

#[test]
fn a_spool_that_is_full_or_off_leaves_gaps() {
    for (setting, value) in [("SPOOL_MAX_BYTES", "65536"), ("SPOOL_PATH", "off")] {
        let rig = Rig::start(None, tempfile::tempdir().unwrap(), &[(setting, value)]);
        let conversation = Conversation::register(&rig.server, "c");
        conversation.play();
        hang_up(&rig.server, "c");
        rig.hurry();
        let told = await_complete(&rig.server, "c");
        assert!(
            !gaps(&told, "overload_shed").is_empty(),
            "{setting}: {told}"
        );
    }
}

#[test]
fn a_key_that_is_gone_is_said_and_nothing_is_lost() {
    let key = "fedcba9876543210".repeat(4);
    let folder = tempfile::tempdir().unwrap();
    let mut rig = Rig::start(None, folder, &[("SPOOL_KEY", &key)]);
    let conversation = Conversation::register(&rig.server, "c");
    conversation.play();
    hang_up(&rig.server, "c");
    rig.await_spooled(3);
    let ended = |status: &Value| status["status"] == "ended";
    await_answer(&rig.server, "/api/call/c/status", ended);
    rig.server.terminate().unwrap();
    rig.hurry();
    rig.server.set("SPOOL_KEY", &"00".repeat(32));
    rig.server.restart().unwrap();
    let cannot = |health: &Value| {
        let detail = health["spool"]["detail"].as_str().unwrap();
        detail.contains("cannot be read: SPOOL_KEY")
    };
    assert_eq!(
        await_answer(&rig.server, "/health", cannot)["spool"]["state"],
        "degraded"
    );
    rig.server.set("SPOOL_KEY", &key);
    rig.server.restart().unwrap();
    let told = await_complete(&rig.server, "c");
    assert_word_for_word(&conversation, &told);
    assert!(host::wait_until(host::now() + SOON, || spooled(&get(
        &rig.server,
        "/health"
    )) == 0));
}
