//! Findings of the media doctor: a fault of a leg's media is in its call's status while it lasts,
//! with the evidence and a way to mend it, and stays there with its end.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use asterscribe_testkit::server::Server;
use asterscribe_testkit::wav::Sound;
use asterscribe_testkit::{fixture, host};
use serde_json::{Value, json};

use crate::api::rig::{BINARY, await_answer, get, hang_up};

const PACKET: Duration = Duration::from_millis(20);

/// Somebody who sends RTP.
struct Talker {
    socket: UdpSocket,
}

impl Talker {
    fn new() -> Self {
        Self {
            socket: UdpSocket::bind("127.0.0.1:0").unwrap(),
        }
    }

    fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    /// Sends these payloads over and over, one every 20 ms, while `work` is under way.
    fn talk<T>(
        &self,
        to: SocketAddr,
        payload_type: u8,
        ticks: u32,
        payloads: &[Vec<u8>],
        work: impl FnOnce() -> T,
    ) -> T {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut next = host::now();
                for (n, payload) in (0u32..).zip(payloads.iter().cycle()) {
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                    let mut datagram = vec![0x80, payload_type];
                    datagram.extend((n as u16).to_be_bytes());
                    datagram.extend((n * ticks).to_be_bytes());
                    datagram.extend(7u32.to_be_bytes());
                    datagram.extend(payload);
                    self.socket.send_to(&datagram, to).unwrap();
                    next += PACKET;
                    host::sleep_until(next);
                }
            });
            // However the work ends, the talker must not talk on.
            let over = Over(&is_over);
            let done = work();
            drop(over);
            done
        })
    }
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn register(server: &Server, call: &str, source: SocketAddr, format: &str) {
    let body = json!({"source": source, "leg": "caller", "format": format});
    let answer = server
        .post(&format!("/api/call/{call}/media"), &body)
        .unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text);
}

/// The newest finding of a kind of the call's only leg.
fn finding<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    let findings = status["legs"][0]["findings"].as_array()?;
    findings.iter().rfind(|finding| finding["kind"] == kind)
}

fn await_finding(server: &Server, call: &str, kind: &str, lasts: bool) -> Value {
    let path = format!("/api/call/{call}/status");
    let status = await_answer(server, &path, |status| {
        finding(status, kind).is_some_and(|finding| finding["until_ms"].is_null() == lasts)
    });
    finding(&status, kind).unwrap().clone()
}

fn events(status: &Value) -> Vec<(&str, &str)> {
    let events = status["events"].as_array().map_or(&[][..], Vec::as_slice);
    events
        .iter()
        .map(|event| {
            assert_eq!(event["leg"], "caller");
            let text = event["text"].as_str().unwrap();
            (
                event["kind"].as_str().unwrap(),
                text.split(':').next().unwrap(),
            )
        })
        .collect()
}

#[test]
fn a_leg_that_hears_nothing_and_who_sends_instead() {
    let server = Server::start(BINARY, &[]).unwrap();
    let (talker, stranger) = (Talker::new(), Talker::new());
    let silence = [vec![0xff; 160]];
    register(&server, "silent", talker.address(), "ulaw");
    let missing = await_finding(&server, "silent", "no_rtp", true);
    let evidence = missing["evidence"].as_str().unwrap();
    assert!(evidence.starts_with("0 packets in 2."), "{missing}");
    assert!(missing["fix"].as_str().unwrap().contains("RTP_ADVERTISE"));

    let elsewhere = stranger.talk(server.rtp(), 0, 160, &silence, || {
        await_finding(&server, "silent", "unexpected_source", true)
    });
    let evidence = elsewhere["evidence"].as_str().unwrap();
    for address in [stranger.address(), talker.address()] {
        assert!(evidence.contains(&address.to_string()), "{elsewhere}");
    }

    talker.talk(server.rtp(), 0, 160, &silence, || {
        await_finding(&server, "silent", "no_rtp", false);
        await_finding(&server, "silent", "unexpected_source", false);
    });
    hang_up(&server, "silent");
    let path = "/api/call/silent/status";
    let status = await_answer(&server, path, |status| status["status"] == "ended");
    let told = events(&status);
    for kind in ["no_rtp", "unexpected_source"] {
        let of_kind = told.iter().filter(|(_, of)| *of == kind);
        let kinds: Vec<_> = of_kind.map(|(event, _)| *event).collect();
        assert_eq!(kinds, ["finding_began", "finding_ended"], "{told:?}");
    }
    assert!(
        server.log().iter().any(|line| line["fields"]["message"]
            .as_str()
            .is_some_and(|message| message.starts_with("no_rtp: 0 packets"))),
        "it is in the log"
    );
}

#[test]
fn another_format_than_was_asked_for_and_swapped_bytes() {
    let server = Server::start(BINARY, &[]).unwrap();
    let talker = Talker::new();
    register(&server, "as-asterisk-16", talker.address(), "slin");
    let found = talker.talk(server.rtp(), 0, 160, &[vec![0xff; 160]], || {
        await_finding(&server, "as-asterisk-16", "unexpected_payload_type", true)
    });
    assert_eq!(
        found["evidence"],
        "payload type 0 (ulaw) arrives, slin was asked for"
    );

    let talker = Talker::new();
    register(&server, "swapped", talker.address(), "slin16");
    let sound = Sound::read(&fixture::path("prompts/account-number.wav16")).unwrap();
    let payloads: Vec<Vec<u8>> = sound
        .samples
        .chunks_exact(320)
        .map(|samples| samples.iter().flat_map(|s| s.to_le_bytes()).collect())
        .collect();
    let found = talker.talk(server.rtp(), 118, 320, &payloads, || {
        await_finding(&server, "swapped", "byte_order", true)
    });
    assert!(found["fix"].as_str().unwrap().contains("Swap the bytes"));
    hang_up(&server, "swapped");
    let ended = await_finding(&server, "swapped", "byte_order", false);
    assert!(ended["until_ms"].as_u64() >= ended["since_ms"].as_u64());
    let other = get(&server, "/api/call/as-asterisk-16/status");
    assert!(finding(&other, "byte_order").is_none(), "{other}");
}
