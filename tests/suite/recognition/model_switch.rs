//! Switch of the model while calls go on; a model that cannot be loaded takes over nothing.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use asterscribe_testkit::server::Server;
use asterscribe_testkit::{Response, children, fixture, host};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::api::rig::{
    BINARY, Conversation, SOON, assert_problem, assert_word_for_word, await_answer, await_complete,
    await_lines, get, hang_up, lines,
};

const DEMO: &str = "asterscribe-demo-q5_0@fbb9855a";
const TINY: &str = "ggml-tiny.en.bin@fbb9855a";

/// A server with a folder of models.
struct Rig {
    server: Server,
    folder: TempDir,
}

impl Rig {
    fn start(settings: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // What is started as a worker can be replaced.
        let program = folder.path().join("program");
        symlink(BINARY, &program).unwrap();
        let (program, dir) = (
            format!("{} recognise", program.display()),
            folder.path().display().to_string(),
        );
        let own = [
            ("WHISPER_MODELS_DIR", dir.as_str()),
            ("STT_PROGRAM", &program),
        ];
        let all = [&own, settings].concat();
        let server = Server::start(BINARY, &all).unwrap();
        Self { server, folder }
    }

    /// Puts a file where the model of that name is looked for.
    fn put(&self, name: &str, content: &[u8]) {
        fs::write(self.file(name), content).unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("ggml-{name}.bin"))
    }

    /// From now on that is started as a worker.
    fn start_instead(&self, program: &Path) {
        let link = self.folder.path().join("next");
        symlink(program, &link).unwrap();
        fs::rename(link, self.folder.path().join("program")).unwrap();
    }

    fn ask_for(&self, name: &str) -> Response {
        let body = json!({"name": name});
        self.server.post("/api/model", &body).unwrap()
    }

    #[track_caller]
    fn begin(&self, name: &str) {
        let answer = self.ask_for(name);
        assert_eq!(answer.status, 202, "{}", answer.text);
    }

    /// How the switch ended.
    fn outcome(&self) -> Value {
        await_answer(&self.server, "/api/model", |model| {
            model["state"] != "loading"
        })
    }

    /// The whole conversation as a call.
    fn talk(&self, call: &str) -> Vec<String> {
        let conversation = Conversation::register(&self.server, call);
        conversation.play();
        self.finish(call, &conversation)
    }

    /// No word of the call is lost; which models its lines name.
    fn finish(&self, call: &str, conversation: &Conversation) -> Vec<String> {
        hang_up(&self.server, call);
        let transcript = await_complete(&self.server, call);
        assert_word_for_word(conversation, &transcript);
        let models = lines(&transcript).iter().map(|line| &line["model"]);
        models
            .map(|model| model.as_str().unwrap().to_owned())
            .collect()
    }
}

fn demo() -> Vec<u8> {
    fs::read(fixture::path("model/asterscribe-demo-q5_0.bin")).unwrap()
}

#[test]
fn another_model_takes_over_within_a_call_and_no_word_is_lost() {
    let rig = Rig::start(&[("STT_WORKERS", "2")]);
    rig.put("tiny.en", &demo());
    let before = get(&rig.server, "/api/model");
    assert_eq!(
        (&before["state"], &before["revision"], &before["demo"]),
        (&json!("ready"), &json!(DEMO), &json!(true))
    );
    let conversation = Conversation::register(&rig.server, "c");
    thread::scope(|scope| {
        scope.spawn(|| conversation.play());
        await_lines(&rig.server, "c", 2);
        rig.begin("tiny.en");
        let after = rig.outcome();
        assert_eq!(
            (&after["state"], &after["revision"], &after["bytes"]),
            (&json!("ready"), &json!(TINY), &json!(demo().len()))
        );
    });
    let models = rig.finish("c", &conversation);
    assert_eq!(&models[..2], [DEMO, DEMO]);
    assert!(models.iter().all(|model| model == DEMO || model == TINY));
    // The old workers go when they have nothing left to do.
    let workers = || children::of(rig.server.id().unwrap()).unwrap().len();
    assert!(host::wait_until(host::now() + SOON, || workers() == 2));
    assert!(rig.talk("d").iter().all(|model| model == TINY));
    // What is recognised is a copy of the demo model, and said to be one.
    let health = get(&rig.server, "/health");
    let detail = health["model"]["detail"].as_str().unwrap();
    assert!(detail.starts_with("ggml-tiny.en.bin: a DEMO"), "{detail}");
    rig.begin("demo");
    assert_eq!(rig.outcome()["revision"], DEMO);
}

#[test]
fn what_is_no_model_is_refused_at_once_and_the_old_one_goes_on() {
    let rig = Rig::start(&[]);
    let conversation = Conversation::register(&rig.server, "c");
    let whole = demo();
    let refused = |name: &str, what: &str| {
        let answer = rig.ask_for(name);
        assert_problem(&answer, "/api/model", 422, "unprocessable");
        assert!(answer.text.contains(what), "{what}: {}", answer.text);
        assert_eq!(get(&rig.server, "/api/model")["state"], "ready");
    };
    thread::scope(|scope| {
        scope.spawn(|| conversation.play());
        await_lines(&rig.server, "c", 2);
        refused("tiny.en", "No such file");
        for step in 0..64 {
            let length = step * whole.len() / 64 + step % 7;
            rig.put("tiny.en", &whole[..length]);
            refused("tiny.en", "ggml-tiny.en.bin");
        }
        for content in [&[][..], b"8 bytes.", b"<html>404</html>"] {
            rig.put("tiny.en", content);
            refused("tiny.en", "no Whisper model");
        }
        fs::remove_file(rig.file("tiny.en")).unwrap();
        fs::create_dir(rig.file("tiny.en")).unwrap();
        refused("tiny.en", "the folder has no vocabulary");
        // Nobody will ever write into it.
        let pipe = Command::new("mkfifo").arg(rig.file("small")).status();
        assert!(pipe.unwrap().success());
        refused("small", "neither a file nor a folder");
        let path = rig.file("base").display().to_string();
        rig.put("base", &whole);
        for name in [
            "",
            "huge",
            "../base",
            "ggml-base.bin",
            &path,
            "base\0",
            "Demo",
        ] {
            refused(name, "WHISPER_MODEL_SIZE");
        }
    });
    let models = rig.finish("c", &conversation);
    assert!(models.iter().all(|model| model == DEMO), "{models:?}");
    assert_eq!(get(&rig.server, "/api/model")["revision"], DEMO);
}

#[test]
fn one_at_a_time_and_what_does_not_load_is_said() {
    let rig = Rig::start(&[("STT_WORKERS", "1")]);
    rig.put("tiny.en", &demo());
    let server = rig.server.id().unwrap();
    let old = children::of(server).unwrap();
    let script = rig.folder.path().join("script");
    fs::write(&script, "#!/bin/sh\nexec sleep 600\n").unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&script, executable).unwrap();
    rig.start_instead(&script);
    rig.begin("tiny.en");
    let started = || {
        let new = children::of(server).unwrap();
        new.into_iter().find(|worker| !old.contains(worker))
    };
    let new = host::poll_until(host::now() + SOON, started).unwrap();
    assert_problem(&rig.ask_for("tiny.en"), "/api/model", 409, "conflict");
    assert_problem(&rig.ask_for("demo"), "/api/model", 409, "conflict");
    let model = get(&rig.server, "/api/model");
    assert_eq!(
        (&model["state"], &model["wanted"], &model["revision"]),
        (&json!("loading"), &json!("tiny.en"), &json!(DEMO))
    );
    let health = get(&rig.server, "/health");
    let detail = health["model"]["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("; loading tiny.en"), "{detail}");
    // Words come while it loads.
    assert!(rig.talk("c").iter().all(|model| model == DEMO));
    // What is tried next does not load either.
    rig.start_instead(Path::new("/bin/false"));
    children::kill(new).unwrap();
    let model = rig.outcome();
    assert_eq!(
        (&model["state"], &model["wanted"], &model["revision"]),
        (&json!("failed"), &json!("tiny.en"), &json!(DEMO))
    );
    assert!(
        model["reason"]
            .as_str()
            .is_some_and(|text| !text.is_empty())
    );
    let health = get(&rig.server, "/health");
    let detail = health["model"]["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("; failed tiny.en: "), "{detail}");
    assert!(rig.talk("d").iter().all(|model| model == DEMO));
    rig.start_instead(Path::new(BINARY));
    rig.begin("tiny.en");
    let model = rig.outcome();
    assert_eq!(
        (&model["state"], &model["revision"]),
        (&json!("ready"), &json!(TINY))
    );
    assert!(rig.talk("e").iter().all(|model| model == TINY));
}

#[test]
fn an_english_model_is_refused_where_another_language_is_spoken() {
    let rig = Rig::start(&[("WHISPER_LANGUAGE", "de")]);
    rig.put("tiny.en", &demo());
    let answer = rig.ask_for("tiny.en");
    assert_problem(&answer, "/api/model", 422, "unprocessable");
    assert!(answer.text.contains("English only"), "{}", answer.text);
}
