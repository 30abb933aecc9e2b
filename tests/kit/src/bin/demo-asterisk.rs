//! `make demo-asterisk`: a real Asterisk 22 carries a call between two parties;
//! the server is told by one REST request to transcribe it, and the transcript
//! is shown while it grows. The dialplan of the call knows nothing of us.
//!
//! ```text
//! demo-asterisk                               synthetic voices, the demo model
//! demo-asterisk --model PATH --prompts LIST   people's voices and a real model; a list of `make real-speech`
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use asterscribe_testkit::asterisk::{self, Instance, Options, Release};
use asterscribe_testkit::scenario::{
    CONVERSATION, Turn, people_call, people_dialplan, prompt_text,
};
use asterscribe_testkit::server::Server;
use asterscribe_testkit::words::WordErrors;
use asterscribe_testkit::{Error, Result, host, spoken};
use serde_json::Value;

const CALL: &str = "demo-call";
const SETUP: Duration = Duration::from_secs(15);
const LENGTH: Duration = Duration::from_secs(90);

/// Word errors that the demo accepts: the demo model makes some, and so does a real one.
const BOUND: f64 = 0.05;
const BOUND_OF_PEOPLE: f64 = 0.1;

/// The call that is placed.
struct Call {
    dialplan: String,
    turns: Vec<Turn>,
    /// Words of each prompt.
    texts: BTreeMap<String, String>,
    /// Model for people's voices; `None` for synthetic ones.
    model: Option<String>,
}

impl Call {
    fn synthetic() -> Result<Self> {
        let text = |turn: &Turn| Ok((turn.prompt.to_owned(), prompt_text(turn.prompt)?));
        Ok(Self {
            dialplan: Options::default().extensions,
            turns: CONVERSATION.to_vec(),
            texts: CONVERSATION.iter().map(text).collect::<Result<_>>()?,
            model: None,
        })
    }

    /// `list` has lines of NAME, seconds, 8 kHz WAV file and text, separated by tabs.
    fn of_people(model: &str, list: &str) -> Result<Self> {
        let failed = |path: &str, error: io::Error| Error::Failed(format!("{path}: {error}"));
        let read = fs::read_to_string(list).map_err(|error| failed(list, error))?;
        let turns = people_call();
        let mut texts = BTreeMap::new();
        let mut folder = None;
        for line in read.lines() {
            let fields: Vec<_> = line.split('\t').collect();
            let [name, _, wav, text] = fields.as_slice() else {
                continue;
            };
            if turns.iter().any(|turn| turn.prompt == *name) {
                folder = Path::new(wav).parent().map(Path::to_owned);
                texts.insert((*name).to_owned(), (*text).to_owned());
            }
        }
        let missing = turns.iter().find(|turn| !texts.contains_key(turn.prompt));
        if let Some(turn) = missing {
            return Err(Error::Failed(format!(
                "{list} has no prompt {}",
                turn.prompt
            )));
        }
        let folder = folder.unwrap_or_default();
        let folder = fs::canonicalize(&folder).map_err(|error| failed(list, error))?;
        let model_path = fs::canonicalize(model).map_err(|error| failed(model, error))?;
        Ok(Self {
            dialplan: people_dialplan(&turns, &folder)?,
            turns,
            texts,
            model: Some(model_path.display().to_string()),
        })
    }

    /// The words of a party.
    fn said_by(&self, leg: &str) -> String {
        let turns = self.turns.iter().filter(|turn| turn.leg == leg);
        let texts: Vec<_> = turns
            .filter_map(|turn| self.texts.get(turn.prompt))
            .collect();
        texts
            .into_iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// Words of a party that are not as said, and how many may be.
    fn errors(&self, leg: &str, heard: &str) -> (WordErrors, f64) {
        let said = self.said_by(leg);
        match self.model {
            Some(_) => (spoken::word_errors("en", &said, heard), BOUND_OF_PEOPLE),
            None => (WordErrors::between(&said, heard), BOUND),
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let call = match arguments.as_slice() {
        [] => Call::synthetic(),
        ["--model", model, "--prompts", list] => Call::of_people(model, list),
        _ => Err(Error::Failed(
            "usage: demo-asterisk [--model PATH --prompts LIST]".to_owned(),
        )),
    };
    match call.and_then(|call| run(&call, &mut io::stdout())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(io::stderr(), "demo-asterisk: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(call: &Call, out: &mut impl Write) -> Result<()> {
    say(
        out,
        "Asterisk 22 is being unpacked into .cache (once; nothing is installed) …",
    );
    let root = asterisk::install(Release::V22)?;
    let options = Options {
        extensions: call.dialplan.clone(),
        ..Options::default()
    };
    let asterisk = Instance::start(&root, &options)?;
    say(
        out,
        &format!(
            "Asterisk {} runs at {}",
            root.version()?,
            asterisk.base_url()
        ),
    );
    let url = asterisk.base_url();
    let mut settings = vec![
        ("ASTERISK_ARI_URL", url.as_str()),
        ("ASTERISK_ARI_USER", asterisk.user()),
        ("ASTERISK_ARI_PASSWORD", asterisk.password()),
    ];
    if let Some(model) = &call.model {
        settings.extend([
            ("WHISPER_MODEL", model.as_str()),
            ("WHISPER_LANGUAGE", "en"),
        ]);
    }
    let server = Server::start(binary()?, &settings)?;
    await_json(&server, "/health", SETUP, |health| {
        health["asterisk"]["state"] == "ok"
    })?;
    say(
        out,
        &format!(
            "asterscribe is connected to it and serves http://{}\n",
            server.http()
        ),
    );

    place_call(&asterisk)?;
    say(
        out,
        "Two parties are talking; the dialplan of their call is Dial() and nothing else.",
    );
    let path = format!("/api/call/{CALL}");
    let answer = server.post(&format!("{path}/transcribe"), &Value::Null)?;
    say(
        out,
        &format!(
            "POST {path}/transcribe answered {}; the transcript grows:\n",
            answer.status
        ),
    );
    if answer.status != 202 {
        return Err(Error::Failed(answer.text));
    }
    let transcript = follow(out, &server, &format!("{path}/transcript"))?;
    judge(out, call, &transcript)?;

    let left = || {
        let ours = |ids: Vec<String>| ids.iter().any(|id| id.starts_with("asterscribe-"));
        Ok::<_, Error>(!ours(asterisk.channels()?) && !ours(asterisk.bridges()?))
    };
    if !host::wait_until(host::now() + SETUP, || left().unwrap_or(false)) {
        return Err(Error::Failed(
            "something of ours is left in Asterisk".to_owned(),
        ));
    }
    say(out, "Nothing of ours is left in Asterisk.");
    say(
        out,
        "\nWhat to try next:\n  deploy/asterisk/README.md   beside your own Asterisk or FreePBX, with a test extension 9999\n  \
         docker compose up --build   all of it in containers",
    );
    Ok(())
}

/// The server, built beside this program.
fn binary() -> Result<PathBuf> {
    let here = std::env::current_exe().map_err(|error| Error::Failed(error.to_string()))?;
    let path = here.with_file_name("asterscribe");
    if path.exists() {
        Ok(path)
    } else {
        Err(Error::Failed(format!(
            "{} is not built: cargo build --release",
            path.display()
        )))
    }
}

fn place_call(asterisk: &Instance) -> Result<()> {
    let query = [
        ("endpoint", "Local/caller@kit/n"),
        ("context", "kit"),
        ("extension", "dial-callee"),
        ("priority", "1"),
        ("channelId", CALL),
        ("formats", "ulaw"),
    ];
    asterisk.ari_ok("POST", "/channels", &query, None)?;
    let talking = || {
        asterisk
            .ari("GET", "/bridges", &[], None)
            .is_ok_and(|(_, list)| {
                list[0]["channels"]
                    .as_array()
                    .is_some_and(|members| members.len() == 2)
            })
    };
    if host::wait_until(host::now() + SETUP, talking) {
        Ok(())
    } else {
        Err(Error::Failed("the parties were not connected".to_owned()))
    }
}

/// Prints lines as they come until the transcript is complete.
fn follow(out: &mut impl Write, server: &Server, path: &str) -> Result<Value> {
    let mut shown = 0;
    await_json(server, path, LENGTH, |transcript| {
        let lines = transcript["lines"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        for line in lines.iter().skip(shown) {
            let seconds = |name: &str| line[name].as_f64().unwrap_or_default() / 1000.0;
            let (leg, text) = (
                line["leg"].as_str().unwrap_or("?"),
                line["text"].as_str().unwrap_or_default(),
            );
            say(
                out,
                &format!(
                    "  [{:5.1} – {:5.1} s] {leg}: {text}",
                    seconds("start_ms"),
                    seconds("end_ms")
                ),
            );
        }
        shown = lines.len();
        transcript["complete"] == true
    })
}

fn judge(out: &mut impl Write, call: &Call, transcript: &Value) -> Result<()> {
    let lines = transcript["lines"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    say(out, "");
    for leg in ["caller", "callee"] {
        let heard: Vec<&str> = lines
            .iter()
            .filter(|line| line["leg"] == leg)
            .filter_map(|line| line["text"].as_str())
            .collect();
        let heard = heard.join(" ");
        let (errors, bound) = call.errors(leg, &heard);
        let (wrong, of) = (errors.total(), errors.reference);
        say(
            out,
            &format!(
                "{leg}: {wrong} of {of} words wrong ({:.1} %)",
                errors.rate() * 100.0
            ),
        );
        if call.model.is_some() {
            say(
                out,
                &format!("  said:  {}\n  heard: {heard}", call.said_by(leg)),
            );
        }
        if errors.rate() > bound {
            return Err(Error::Failed(format!(
                "more than {} % of the {leg}'s words are wrong",
                bound * 100.0
            )));
        }
    }
    Ok(())
}

fn await_json(
    server: &Server,
    path: &str,
    limit: Duration,
    mut wanted: impl FnMut(&Value) -> bool,
) -> Result<Value> {
    let look = || {
        let answer = server.get(path).ok()?.json();
        wanted(&answer).then_some(answer)
    };
    host::poll_until(host::now() + limit, look).ok_or_else(|| {
        Error::Failed(format!(
            "{path} did not become as expected within {limit:?}"
        ))
    })
}

fn say(out: &mut impl Write, text: &str) {
    // With standard output closed there is nobody to show it to.
    drop(writeln!(out, "{text}"));
}
