//! Faults of a recognition process, of which no call is the worse.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use asterscribe_testkit::server::Server;
use asterscribe_testkit::{children, host};
use serde_json::Value;
use tempfile::TempDir;

use crate::api::rig::{
    BINARY, Conversation, SOON, assert_word_for_word, await_answer, await_complete, await_lines,
    get, hang_up, lines,
};

/// A server whose recognition processes fail when told to.
struct Rig {
    server: Server,
    folder: TempDir,
}

impl Rig {
    fn start(workers: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let program = format!("{} {}", faulty_worker().display(), folder.path().display());
        // The faults are for finals.
        let settings = [
            ("STT_WORKERS", workers),
            ("STT_PROGRAM", &program),
            ("PARTIAL_RESULTS", "off"),
        ];
        let server = Server::start(BINARY, &settings).unwrap();
        Self { server, folder }
    }

    /// Sets the faults of the next jobs, one after the other.
    fn tell(&self, faults: &[&str]) {
        let whole = self.folder.path().join("whole");
        fs::write(&whole, faults.join("\n")).unwrap();
        fs::rename(whole, self.folder.path().join("next")).unwrap();
    }

    /// Whether all faults that were set have happened.
    fn is_done(&self) -> bool {
        !self.folder.path().join("next").exists()
    }

    fn workers(&self) -> Vec<u32> {
        children::of(self.server.id().unwrap()).unwrap()
    }

    fn model(&self) -> String {
        let health = get(&self.server, "/health");
        health["model"]["detail"].as_str().unwrap().to_owned()
    }

    fn await_workers(&self, count: usize) {
        assert!(
            host::wait_until(host::now() + SOON, || self.workers().len() == count
                && !self.model().contains("are up")),
            "{}",
            self.model()
        );
    }
}

/// Built with the tests of the workspace, as an example of this package.
pub(crate) fn faulty_worker() -> PathBuf {
    let folder = Path::new(BINARY).parent().unwrap();
    let program = folder.join("examples/faulty_worker");
    assert!(
        program.exists(),
        "cargo build --examples makes {}",
        program.display()
    );
    program
}

#[test]
fn workers_that_panic_abort_exit_or_are_killed_cost_no_word() {
    let rig = Rig::start("2");
    let conversation = Conversation::register(&rig.server, "c");
    // Each job that is lost is tried twice more.
    rig.tell(&["panic", "abort"]);
    thread::scope(|scope| {
        scope.spawn(|| conversation.play());
        await_lines(&rig.server, "c", 2);
        rig.await_workers(2);
        for worker in rig.workers() {
            children::kill(worker).unwrap();
        }
    });
    hang_up(&rig.server, "c");
    let transcript = await_complete(&rig.server, "c");
    assert!(rig.is_done());
    rig.await_workers(2);
    assert_word_for_word(&conversation, &transcript);
    let detail = rig.model();
    assert!(
        detail.contains("that ended: 4, of them stuck: 0"),
        "{detail}"
    );
}

#[test]
fn a_job_that_takes_its_worker_down_three_times_is_a_gap_and_nothing_else_is() {
    let rig = Rig::start("1");
    let conversation = Conversation::register(&rig.server, "c");
    rig.tell(&["panic", "exit", "abort"]);
    conversation.play();
    hang_up(&rig.server, "c");
    let transcript = await_complete(&rig.server, "c");
    assert_eq!(gaps(&transcript), ["recognition_failed"]);
    assert_eq!(lines(&transcript).len(), 10);
    let status = get(&rig.server, "/api/call/c/status");
    let unrecognised = |leg: &Value| leg["stats"]["unrecognised"].as_u64().unwrap();
    let legs = status["legs"].as_array().unwrap();
    assert_eq!(legs.iter().map(unrecognised).sum::<u64>(), 1, "{status}");
    // The next call has all its words.
    let conversation = Conversation::register(&rig.server, "d");
    conversation.play();
    hang_up(&rig.server, "d");
    let transcript = await_complete(&rig.server, "d");
    assert_word_for_word(&conversation, &transcript);
}

#[test]
fn an_error_of_the_engine_is_a_gap_at_once_and_the_worker_stays() {
    let rig = Rig::start("1");
    let conversation = Conversation::register(&rig.server, "c");
    let before = rig.workers();
    rig.tell(&["error"]);
    conversation.play();
    hang_up(&rig.server, "c");
    let transcript = await_complete(&rig.server, "c");
    assert_eq!(gaps(&transcript), ["recognition_failed"]);
    assert_eq!(rig.workers(), before);
}

#[test]
fn workers_that_hang_or_are_stopped_are_killed_and_their_jobs_done_again() {
    let rig = Rig::start("2");
    let conversation = Conversation::register(&rig.server, "c");
    let stopped = rig.workers()[0];
    children::stop(stopped).unwrap();
    rig.tell(&["hang"]);
    conversation.play();
    hang_up(&rig.server, "c");
    let transcript = await_complete(&rig.server, "c");
    assert_word_for_word(&conversation, &transcript);
    rig.await_workers(2);
    assert!(!rig.workers().contains(&stopped));
    let detail = rig.model();
    assert!(
        detail.contains("that ended: 2, of them stuck: 2"),
        "{detail}"
    );
}

#[test]
fn workers_end_with_their_server_and_a_program_that_is_not_there_stops_the_start() {
    let rig = Rig::start("1");
    let workers = rig.workers();
    // Nothing can be started in its place.
    let program = rig.folder.path().join("gone");
    let settings = [("STT_PROGRAM", program.to_str().unwrap())];
    let refused = Server::run_to_end(BINARY, &["serve"], &settings, Duration::from_secs(30));
    let (status, said) = refused.unwrap();
    assert!(!status.success() && said.contains("gone"), "{said}");
    let mut rig = rig;
    rig.server.kill9().unwrap();
    // They notice by themselves that nobody is left to work for.
    let alive = |pid: &u32| Path::new(&format!("/proc/{pid}/exe")).exists();
    assert!(host::wait_until(host::now() + SOON, || !workers
        .iter()
        .any(alive)));
}

#[test]
fn partly_up_is_said_and_all_up_again_is_too() {
    let rig = Rig::start("2");
    let [first, _] = rig.workers()[..] else {
        panic!("{:?}", rig.workers());
    };
    children::kill(first).unwrap();
    await_answer(&rig.server, "/health", |health| {
        health["model"]["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("that ended: 1"))
    });
    rig.await_workers(2);
}

fn gaps(transcript: &Value) -> Vec<&str> {
    let gaps = lines(transcript).iter().map(|line| &line["gap"]);
    gaps.filter_map(Value::as_str).collect()
}
