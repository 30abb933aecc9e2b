//! The server beside a real Asterisk: what every test of it needs.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

mod capture;
mod choices;
mod dtmf;
mod formats;
mod lifecycle;
mod limit;
mod live_text;
mod parties;
mod play;
mod ports;
mod stasis;
mod stop;
mod tap;
mod two_servers;

use std::time::Duration;

use asterscribe_testkit::asterisk::{self, Instance, Options, Release};
use asterscribe_testkit::server::Server;
use asterscribe_testkit::words::WordErrors;
use asterscribe_testkit::{account, available, host};
use serde_json::Value;

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_asterscribe");

/// Bound on anything that should happen at once; generous, for a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Bound on a scripted call from first word to complete transcript.
pub(crate) const CALL: Duration = Duration::from_secs(90);

/// An Asterisk and a server connected to it.
pub(crate) struct Rig {
    pub(crate) asterisk: Instance,
    pub(crate) server: Server,
}

impl Rig {
    /// Starts both, or skips where this machine cannot have that Asterisk.
    pub(crate) fn start(release: Release) -> Option<Self> {
        Self::start_with(release, &[])
    }

    /// Starts both, the server with `settings` of its own.
    pub(crate) fn start_with(release: Release, own: &[(&str, &str)]) -> Option<Self> {
        let root = available(asterisk::install(release))?;
        let asterisk = Instance::start(&root, &Options::default()).unwrap();
        let settings = [&settings(&asterisk), own].concat();
        let server = Server::start(BINARY, &settings).unwrap();
        let rig = Self { asterisk, server };
        rig.await_connected();
        Some(rig)
    }

    pub(crate) fn await_connected(&self) {
        let connected = || {
            self.server
                .get("/health")
                .is_ok_and(|r| r.json()["asterisk"]["state"] == "ok")
        };
        assert!(
            host::wait_until(host::now() + SOON, connected),
            "{:?}",
            self.server.get("/health")
        );
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        let answer = self.server.get(path).unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.json()
    }

    /// Places a call whose channel of that id enters our application.
    pub(crate) fn call_into_stasis(&self, id: &str, speaker: &str) {
        self.call_into_stasis_in("ulaw", id, speaker);
    }

    /// Likewise, the caller's own format being `formats`.
    pub(crate) fn call_into_stasis_in(&self, formats: &str, id: &str, speaker: &str) {
        let endpoint = format!("Local/{speaker}@kit/n");
        let query = [
            ("endpoint", endpoint.as_str()),
            ("context", "kit"),
            ("extension", "stasis"),
            ("priority", "1"),
            ("channelId", id),
            ("formats", formats),
        ];
        self.asterisk
            .ari_ok("POST", "/channels", &query, None)
            .unwrap();
    }

    /// Places a call between two parties that knows nothing of us.
    pub(crate) fn call_between_parties(&self, id: &str) {
        let query = [
            ("endpoint", "Local/caller@kit/n"),
            ("context", "kit"),
            ("extension", "dial-callee"),
            ("priority", "1"),
            ("channelId", id),
            ("formats", "ulaw"),
        ];
        self.asterisk
            .ari_ok("POST", "/channels", &query, None)
            .unwrap();
        let bridged = || {
            self.asterisk
                .ari("GET", "/bridges", &[], None)
                .is_ok_and(|(_, list)| {
                    list[0]["channels"]
                        .as_array()
                        .is_some_and(|members| members.len() == 2)
                })
        };
        assert!(
            host::wait_until(host::now() + SOON, bridged),
            "the parties were not connected"
        );
    }

    /// Waits until a path of the API answers what is wanted.
    pub(crate) fn await_answer(
        &self,
        path: &str,
        limit: Duration,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let look = || {
            let answer = self.server.get(path).ok()?.json();
            wanted(&answer).then_some(answer)
        };
        host::poll_until(host::now() + limit, look).unwrap_or_else(|| {
            panic!(
                "{path} never became as wanted: {}",
                self.server.get(path).unwrap().text
            )
        })
    }

    /// Waits for the whole transcript, and holds the call to C1.
    pub(crate) fn await_complete(&self, id: &str) -> Value {
        let transcript = self.await_answer(&format!("/api/call/{id}/transcript"), CALL, |t| {
            t["complete"] == true
        });
        account::assert_conserved(&self.get(&format!("/api/call/{id}/status")));
        transcript
    }

    /// Asterisk has no channel and no bridge of ours.
    pub(crate) fn assert_asterisk_is_tidy(&self) {
        let ours = |ids: Vec<String>| {
            ids.into_iter()
                .filter(|id| id.starts_with("asterscribe-"))
                .collect::<Vec<_>>()
        };
        let look = || {
            let channels = ours(self.asterisk.channels().unwrap());
            let bridges = ours(self.asterisk.bridges().unwrap());
            (channels.is_empty() && bridges.is_empty()).then_some(())
        };
        assert!(
            host::poll_until(host::now() + SOON, look).is_some(),
            "left over: {:?} {:?}",
            self.asterisk.channels(),
            self.asterisk.bridges()
        );
    }

    /// Neither side keeps anything of a call.
    pub(crate) fn assert_nothing_left(&self) {
        self.assert_asterisk_is_tidy();
        self.await_answer("/health", SOON, |health| health["active_calls"] == 0);
        let calls = self.get("/api/calls");
        for call in calls["calls"].as_array().unwrap() {
            assert!(
                matches!(call["status"].as_str(), Some("ended" | "failed")),
                "{call}"
            );
            account::assert_conserved(call);
        }
    }
}

pub(crate) fn settings(asterisk: &Instance) -> Vec<(&'static str, &'static str)> {
    // The kit takes borrowed settings; a few strings for the life of a test may leak.
    let leak = |text: String| -> &'static str { text.leak() };
    vec![
        ("ASTERISK_ARI_URL", leak(asterisk.base_url())),
        ("ASTERISK_ARI_USER", leak(asterisk.user().to_owned())),
        (
            "ASTERISK_ARI_PASSWORD",
            leak(asterisk.password().to_owned()),
        ),
        ("ORIGINATE_ENDPOINT", "Local/{destination}@kit/n"),
        ("RUST_LOG", "info,asterscribe_ari=debug"),
    ]
}

/// Everything a leg said, in order.
pub(crate) fn heard(transcript: &Value, leg: &str) -> String {
    let lines = transcript["lines"].as_array().unwrap();
    let of_leg = lines
        .iter()
        .filter(|line| line["leg"] == leg)
        .map(|line| line["text"].as_str().unwrap());
    of_leg.collect::<Vec<_>>().join(" ")
}

/// Asserts a word error rate of at most 5 %: the demo model's own on voices it
/// was trained on is 1.0 %, and single words weigh much in sentences this short.
pub(crate) fn assert_said(said: &str, heard: &str) {
    let errors = WordErrors::between(said, heard);
    assert!(
        errors.rate() <= 0.05,
        "{:.1} % word errors\n said: {said}\nheard: {heard}",
        errors.rate() * 100.0
    );
}
