//! The calls: all callers at once, each into the server, which captures its packets.

use std::path::Path;
use std::time::Duration;

use asterscribe_testkit::asterisk::{Instance, Options, Root};
use asterscribe_testkit::server::Server;
use asterscribe_testkit::{Error, Response, Result, host, program};
use serde_json::Value;

use crate::delay::{Delays, Watch};
use crate::{failed, loss};

/// Packets lost of a hundred, where some are.
pub(crate) const LOSS: u64 = 3;

/// Some times what a caller says; of the server's own limit only sixteen calls have room at once.
const CAPTURE: &str = "16777216";

const SETUP: Duration = Duration::from_secs(60);
/// The longest caller speaks for a minute or two; recognition may lag behind.
const CALL: Duration = Duration::from_secs(300);

/// Transcripts and packet counts of a call.
pub(crate) struct Heard {
    /// Transcript of the live call.
    pub(crate) whole: String,
    /// Transcript of a replay of the call's packets with some left out.
    pub(crate) thinned: String,
    /// Packets of the live call that were received.
    pub(crate) received: u64,
    /// Packets of the live call that were lost on the network.
    pub(crate) lost: u64,
    /// Packets left out on purpose in the replay.
    pub(crate) dropped: u64,
}

/// A setting of the server, beside those that connect it with Asterisk.
pub(crate) type Setting<'a> = (&'a str, &'a str);

/// Has so many callers call, whose sounds lie in that folder by number, the server asking for `format`.
pub(crate) fn hear(
    root: &Root,
    folder: &Path,
    callers: usize,
    format: &str,
    settings: &[Setting<'_>],
) -> Result<Vec<Heard>> {
    let options = Options {
        extensions: dialplan(folder, callers),
        ..Options::default()
    };
    let asterisk = Instance::start(root, &options)?;
    let captures = tempfile::tempdir().map_err(failed(Path::new("a folder for captures")))?;
    let server = start(&asterisk, captures.path(), format, settings)?;
    for number in 0..callers {
        place(&asterisk, number, format)?;
    }
    (0..callers)
        .map(|number| await_call(&server, captures.path(), number, settings))
        .collect()
}

/// Has one caller call, alone, and tells how late its text could be read.
pub(crate) fn time(root: &Root, folder: &Path, settings: &[Setting<'_>]) -> Result<Delays> {
    let options = Options {
        extensions: dialplan(folder, 1),
        ..Options::default()
    };
    let asterisk = Instance::start(root, &options)?;
    let captures = tempfile::tempdir().map_err(failed(Path::new("a folder for captures")))?;
    let server = start(&asterisk, captures.path(), "ulaw", settings)?;
    place(&asterisk, 0, "ulaw")?;
    let path = format!("/api/call/{}", id(0));
    let status = await_json(&server, &format!("{path}/status"), SETUP, |status| {
        status["started_at"].is_string()
    })?;
    let mut watch = Watch::new(&status)?;
    await_json(&server, &format!("{path}/transcript"), CALL, |transcript| {
        watch.look(transcript, host::wall_now());
        transcript["complete"] == true
    })?;
    Ok(watch.delays())
}

/// Dialplan in which `voice-N` plays the sounds of caller N; the channel's format decides which of
/// them.
fn dialplan(folder: &Path, callers: usize) -> String {
    let voice = |number| {
        format!(
            "exten => voice-{number},1,Answer()\n same => n,Wait(2)\n same => n,Playback({}/{number})\n \
             same => n,Wait(2)\n same => n,Hangup()\n",
            folder.display()
        )
    };
    let voices: String = (0..callers).map(voice).collect();
    format!(
        "[kit]\n{voices}exten => stasis,1,Answer()\n same => n,Stasis(asterscribe)\n same => n,Hangup()\n"
    )
}

fn start(
    asterisk: &Instance,
    captures: &Path,
    format: &str,
    settings: &[Setting<'_>],
) -> Result<Server> {
    let (url, captures) = (asterisk.base_url(), captures.display().to_string());
    let own = [
        ("ASTERISK_ARI_URL", url.as_str()),
        ("ASTERISK_ARI_USER", asterisk.user()),
        ("ASTERISK_ARI_PASSWORD", asterisk.password()),
        ("MEDIA_FORMAT", format),
        ("CAPTURE_RULE", "stasis"),
        ("CAPTURE_DIR", captures.as_str()),
        ("CAPTURE_MAX_BYTES", CAPTURE),
    ];
    let server = Server::start(program::built()?, &[&own, settings].concat())?;
    await_json(&server, "/health", SETUP, |health| {
        health["asterisk"]["state"] == "ok"
    })?;
    Ok(server)
}

fn place(asterisk: &Instance, number: usize, format: &str) -> Result<()> {
    let (endpoint, id) = (format!("Local/voice-{number}@kit/n"), id(number));
    let query = [
        ("endpoint", endpoint.as_str()),
        ("context", "kit"),
        ("extension", "stasis"),
        ("priority", "1"),
        ("channelId", &id),
        ("formats", format),
    ];
    asterisk.ari_ok("POST", "/channels", &query, None).map(drop)
}

fn await_call(
    server: &Server,
    folder: &Path,
    number: usize,
    settings: &[Setting<'_>],
) -> Result<Heard> {
    let path = format!("/api/call/{}", id(number));
    let transcript = await_json(server, &format!("{path}/transcript"), CALL, |transcript| {
        transcript["complete"] == true
    })?;
    let status = await_json(server, &format!("{path}/status"), SETUP, |status| {
        status["capture"]["running"] == false
    })?;
    if status["capture"]["lost"] != 0 {
        return Err(Error::Failed(format!("a capture has holes: {status}")));
    }
    let capture = ok(server.get(&format!("{path}/capture"))?)?;
    // The seed is the caller's number, so that each loses others.
    let thinned = loss::thin(&capture.bytes, LOSS, number as u64)?;
    let file = folder.join(format!("{number}.pcapng"));
    let report = program::replay(&file, &thinned, settings)?;
    let stats = &status["legs"][0]["stats"];
    let count = |stats: &Value, name: &str| {
        stats[name]
            .as_u64()
            .ok_or_else(|| Error::Failed(format!("{path} has no count {name}: {stats}")))
    };
    Ok(Heard {
        whole: text(&transcript),
        thinned: text(&report),
        received: count(stats, "received")?,
        lost: count(stats, "lost")?,
        dropped: count(&report["flows"][0]["stats"], "lost")?,
    })
}

/// Text of all lines, in order.
fn text(transcript: &Value) -> String {
    let lines = transcript["lines"].as_array().into_iter().flatten();
    let texts: Vec<&str> = lines.filter_map(|line| line["text"].as_str()).collect();
    texts.join(" ")
}

fn id(number: usize) -> String {
    format!("caller-{number}")
}

fn ok(answer: Response) -> Result<Response> {
    if answer.status == 200 {
        return Ok(answer);
    }
    let (status, text) = (answer.status, answer.text);
    Err(Error::Failed(format!(
        "the server answered {status}: {text}"
    )))
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
    host::poll_until(host::now() + limit, look).ok_or_else(|| Error::TimedOut {
        what: format!("what is wanted of {path}"),
        limit,
        log: server.get(path).map_or_else(
            |error| format!("; {error}"),
            |answer| format!("; {}", answer.text),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_caller_has_an_extension() {
        let plan = dialplan(Path::new("/sounds"), 2);
        for part in [
            "[kit]\n",
            "exten => voice-1,1,Answer()",
            "Playback(/sounds/0)",
            "Stasis(asterscribe)",
        ] {
            assert!(plan.contains(part), "{part}: {plan}");
        }
    }
}
