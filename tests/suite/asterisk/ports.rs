//! `RTP_MODE=per-call`: Asterisk sends each leg to a port that is this leg's
//! alone, and a call for which there is none goes on without us.

use std::ops::RangeInclusive;

use asterscribe_testkit::asterisk::{self, Instance, Options, Release};
use asterscribe_testkit::scenario::{CONVERSATION, prompt_text};
use asterscribe_testkit::server::Server;
use asterscribe_testkit::{available, host, page};
use serde_json::{Value, json};

use super::{BINARY, CALL, Rig, SOON, assert_said, heard, settings};
use crate::api::rig::assert_problem;
use crate::media::rtp_ports::{range, says};

/// A caller who is still there when we are not: behind `Stasis` he waits.
const STAYS: &str =
    "exten => stays,1,Answer()\n same => n,Stasis(asterscribe)\n same => n,Wait(3600)\n";

struct OwnPorts {
    rig: Rig,
    range: RangeInclusive<u16>,
}

impl OwnPorts {
    fn start(ports: u16) -> Option<Self> {
        let root = available(asterisk::install(Release::V22))?;
        let mut options = Options::default();
        options.extensions.push_str(STAYS);
        let asterisk = Instance::start(&root, &options).unwrap();
        let text = range(ports);
        let (first, last) = text.split_once('-')?;
        let range = first.parse().unwrap()..=last.parse().unwrap();
        let own = [("RTP_MODE", "per-call"), ("RTP_PORTS", text.as_str())];
        let server = Server::start(BINARY, &[settings(&asterisk), own.to_vec()].concat()).unwrap();
        let rig = Rig { asterisk, server };
        rig.await_connected();
        Some(Self { rig, range })
    }

    /// Where Asterisk sends to: one port for each media channel, by its name.
    fn sent_to(&self) -> Vec<u16> {
        let (_, channels) = self
            .rig
            .asterisk
            .ari("GET", "/channels", &[], None)
            .unwrap();
        let mut ports: Vec<u16> = channels
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|channel| channel["name"].as_str()?.strip_prefix("UnicastRTP/"))
            .map(|name| {
                let (_, port) = name.split_once('-').unwrap().0.rsplit_once(':').unwrap();
                port.parse().unwrap()
            })
            .collect();
        ports.sort_unstable();
        for port in &ports {
            assert!(port % 2 == 0 && self.range.contains(port), "{port}");
        }
        ports
    }

    fn await_usage(&self, usage: &str) {
        self.rig
            .await_answer("/health", SOON, |health| says(health, usage));
    }

    /// A call into our application that goes on behind it.
    fn call_who_stays(&self, id: &str) {
        let query = [
            ("endpoint", "Local/hold@kit/n"),
            ("context", "kit"),
            ("extension", "stays"),
            ("priority", "1"),
            ("channelId", id),
            ("formats", "ulaw"),
        ];
        self.rig
            .asterisk
            .ari_ok("POST", "/channels", &query, None)
            .unwrap();
    }
}

fn decoded(status: &Value) -> u64 {
    status["legs"][0]["stats"]["decoded"].as_u64().unwrap_or(0)
}

#[test]
fn both_parties_of_a_call_are_heard_at_ports_of_their_own() {
    let Some(own) = OwnPorts::start(4) else {
        return;
    };
    let rig = &own.rig;
    rig.call_between_parties("pair-own");
    let path = "/api/call/pair-own/transcribe";
    let answer = rig.server.post(path, &Value::Null).unwrap();
    assert_eq!(answer.status, 202, "{}", answer.text);
    rig.await_answer("/api/call/pair-own/status", SOON, |status| {
        status["legs"]
            .as_array()
            .is_some_and(|legs| legs.len() == 2)
    });
    let mut ports = own.sent_to();
    ports.dedup();
    assert_eq!(ports.len(), 2, "{ports:?}");
    own.await_usage("2 free, 0 resting, 2 leased");
    // Looked for all the time: ports rest for 10 s, the last words may take longer.
    rig.await_answer("/health", CALL, |health| {
        says(health, "2 free, 2 resting, 0 leased")
    });
    let transcript = rig.await_complete("pair-own");
    for leg in ["caller", "callee"] {
        let turns = CONVERSATION.iter().filter(|turn| turn.leg == leg);
        let said: Vec<_> = turns
            .map(|turn| prompt_text(turn.prompt).unwrap())
            .collect();
        assert_said(&said.join(" "), &heard(&transcript, leg));
    }
    rig.assert_nothing_left();
}

#[test]
fn media_that_is_lost_is_made_anew_at_another_port() {
    let Some(own) = OwnPorts::start(3) else {
        return;
    };
    let rig = &own.rig;
    rig.call_into_stasis("anew", "hold");
    let path = "/api/call/anew/status";
    let before = decoded(&rig.await_answer(path, SOON, |status| decoded(status) > 0));
    let first = own.sent_to();
    let media = rig.asterisk.channels().unwrap();
    let media = media.iter().find(|id| id.ends_with("-media")).unwrap();
    rig.asterisk
        .ari_ok("DELETE", &format!("/channels/{media}"), &[], None)
        .unwrap();
    own.await_usage("1 free, 1 resting, 1 leased");
    let second = own.sent_to();
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_ne!(first, second);
    rig.await_answer(path, SOON, |status| decoded(status) > before + 50);
    rig.server
        .post("/api/call/anew/hangup", &Value::Null)
        .unwrap();
    own.await_usage("0 leased");
    rig.await_complete("anew");
    rig.assert_nothing_left();
}

#[test]
fn a_tap_that_is_taken_up_again_gets_ports_anew() {
    let Some(mut own) = OwnPorts::start(4) else {
        return;
    };
    own.rig.call_between_parties("again");
    let path = "/api/call/again/transcribe";
    let answer = own.rig.server.post(path, &Value::Null).unwrap();
    assert_eq!(answer.status, 202, "{}", answer.text);
    let path = "/api/call/again/status";
    own.rig
        .await_answer(path, SOON, |status| decoded(status) > 0);
    own.rig.server.kill9().unwrap();
    own.rig.server.restart().unwrap();
    own.rig.await_connected();
    own.await_usage("2 free, 0 resting, 2 leased");
    own.rig
        .await_answer(path, SOON, |status| decoded(status) > 0);
    own.rig.await_complete("again");
    own.await_usage("0 leased");
    own.rig.assert_nothing_left();
}

#[test]
fn a_call_for_which_there_is_no_port_goes_on_in_the_dialplan() {
    let Some(own) = OwnPorts::start(1) else {
        return;
    };
    let rig = &own.rig;
    rig.call_into_stasis("first", "hold");
    let path = "/api/call/first/status";
    rig.await_answer(path, SOON, |status| decoded(status) > 0);
    let ours = |ids: Vec<String>| {
        let ours = ids.into_iter().filter(|id| id.starts_with("asterscribe-"));
        ours.collect::<Vec<_>>()
    };
    let before = ours(rig.asterisk.channels().unwrap());
    own.call_who_stays("late");
    let waits = || {
        let channel = rig.asterisk.ari("GET", "/channels/late", &[], None);
        channel.is_ok_and(|(_, channel)| channel["dialplan"]["app_name"] == "Wait")
    };
    assert!(host::wait_until(host::now() + SOON, waits));
    let path = "/api/call/late/status";
    assert_problem(&rig.server.get(path).unwrap(), path, 404, "unknown-call");
    let said =
        rig.server.log().into_iter().any(|line| {
            line["fields"]["reason"] == "no-rtp-port" && line["fields"]["call"] == "late"
        });
    assert!(said, "{:?}", rig.server.log());
    let health = rig.get("/health");
    assert!(says(&health, "no-rtp-port"), "{health}");

    // Likewise by the API, where it is the answer.
    let path = "/api/call/late/transcribe";
    let answer = rig.server.post(path, &Value::Null).unwrap();
    assert_problem(&answer, path, 503, "no-rtp-port");
    let path = "/api/call/initiate";
    let body = json!({"caller_number": "100", "destination": "talk"});
    let answer = rig.server.post(path, &body).unwrap();
    assert_problem(&answer, path, 503, "no-rtp-port");
    assert_eq!(ours(rig.asterisk.channels().unwrap()), before);
    assert_eq!(rig.asterisk.bridges().unwrap().len(), 1);

    let status = rig.get("/api/call/first/status");
    assert_eq!(status["status"], "active");
    rig.server
        .post("/api/call/first/hangup", &Value::Null)
        .unwrap();
    own.await_usage("0 free, 1 resting, 0 leased");
    rig.await_complete("first");
    rig.assert_nothing_left();
    page::assert_row(
        "docs/limits.md",
        "L1, Asterisk",
        &[
            "`RTP_MODE=per-call` with one port, a second call of Asterisk",
            "it goes on in the dialplan and is no call of ours; through the API 503 `no-rtp-port`; nothing is asked of Asterisk for it",
        ],
    );
}
