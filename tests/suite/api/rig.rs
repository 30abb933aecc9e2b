//! Rig of a server without Asterisk, for the tests of its API, its RTP port and its stores.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use asterscribe_testkit::fixture::Fixture;
use asterscribe_testkit::pcap::Packet;
use asterscribe_testkit::rtp::Sender;
use asterscribe_testkit::server::Server;
use asterscribe_testkit::words::WordErrors;
use asterscribe_testkit::{Response, account, host};
use serde_json::{Value, json};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_asterscribe");

/// Bound on anything that should happen at once; generous, for a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Factor by which the conversation is played faster than recorded. Its flows never pause, so each
/// packet continues the one before it whenever it arrives. A higher factor would be policed: a
/// sender may go on at no more than twice the rate.
const SPEED: f64 = 2.4;

/// The recorded conversation of two parties, registered with a server.
pub(crate) struct Conversation {
    fixture: Fixture,
    sender: Sender,
    targets: Vec<SocketAddr>,
}

impl Conversation {
    /// Registers both parties as legs of `call`.
    pub(crate) fn register(server: &Server, call: &str) -> Self {
        Self::register_until(server, call, Duration::MAX)
    }

    /// Registers both parties as legs of `call`, of whom only what was recorded before `end` will
    /// be played.
    pub(crate) fn register_until(server: &Server, call: &str, end: Duration) -> Self {
        let mut fixture = Fixture::load("asterisk22_ulaw_snoop_pair").unwrap();
        let start = fixture.packets[0].at;
        fixture.packets.retain(|packet| packet.at - start < end);
        let (sender, targets) = speak_for(server, call, &fixture, &fixture.packets);
        Self {
            fixture,
            sender,
            targets,
        }
    }

    /// Plays the conversation from beginning to end.
    pub(crate) fn play(&self) {
        assert_eq!(
            self.sender.play(&self.targets, SPEED).unwrap(),
            self.fixture.packets.len()
        );
    }

    /// Each leg's label, words and number of packets.
    pub(crate) fn legs(&self) -> impl Iterator<Item = (&str, String, usize)> {
        self.fixture
            .words
            .flows
            .iter()
            .map(|flow| (flow.leg.as_str(), flow.text(), flow.packets))
    }
}

/// Binds a source for every flow of `packets` and registers it as the leg that the fixture names.
/// The result is the targets in the order of the flows.
pub(crate) fn speak_for(
    server: &Server,
    call: &str,
    fixture: &Fixture,
    packets: &[Packet],
) -> (Sender, Vec<SocketAddr>) {
    let sender = Sender::new(packets).unwrap();
    let register = |flow: &asterscribe_testkit::rtp::Flow| {
        let port = flow.recorded_source.port();
        let words = fixture
            .words
            .flows
            .iter()
            .find(|words| words.source_port == port)
            .unwrap();
        let answer = register_leg(server, call, &words.leg, flow.source);
        assert_eq!(answer.status, 201, "{}", answer.text);
        let send_to = answer.json()["send_to"].clone();
        format!("{}:{}", send_to["host"].as_str().unwrap(), send_to["port"])
            .parse()
            .unwrap()
    };
    let targets = sender.flows().iter().map(register).collect();
    (sender, targets)
}

pub(crate) fn register_leg(server: &Server, call: &str, leg: &str, source: SocketAddr) -> Response {
    let body = json!({"source": source, "leg": leg, "format": "ulaw"});
    server
        .post(&format!("/api/call/{call}/media"), &body)
        .unwrap()
}

/// A POST without a body.
pub(crate) fn command(server: &Server, path: &str) -> Response {
    server.request("POST", path, &[], None).unwrap()
}

pub(crate) fn hang_up(server: &Server, call: &str) -> Value {
    let answer = command(server, &format!("/api/call/{call}/hangup"));
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()
}

/// Sends a request line with exactly these headers and no body; the result is the whole answer as
/// text.
pub(crate) fn raw(server: &Server, request: &str, headers: &[&str]) -> String {
    let mut stream = TcpStream::connect(server.http()).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let headers = headers
        .iter()
        .map(|header| format!("{header}\r\n"))
        .collect::<String>();
    write!(
        stream,
        "{request} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The JSON that a path answers with 200.
pub(crate) fn get(server: &Server, path: &str) -> Value {
    let answer = server.get(path).unwrap();
    assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    answer.json()
}

/// Waits until a path answers what is wanted.
pub(crate) fn await_answer(server: &Server, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let look = || {
        let answer = server.get(path).ok()?.json();
        wanted(&answer).then_some(answer)
    };
    host::poll_until(host::now() + SOON, look)
        .unwrap_or_else(|| panic!("{path} never became as wanted: {:?}", server.get(path)))
}

/// Waits for the whole transcript, and holds the call to C1.
pub(crate) fn await_complete(server: &Server, call: &str) -> Value {
    let path = format!("/api/call/{call}/transcript");
    let transcript = await_answer(server, &path, |transcript| transcript["complete"] == true);
    account::assert_conserved(&get(server, &format!("/api/call/{call}/status")));
    transcript
}

/// Waits until the transcript has that many lines; the result is the lines.
pub(crate) fn await_lines(server: &Server, call: &str, count: usize) -> Vec<Value> {
    let path = format!("/api/call/{call}/transcript");
    let enough = |transcript: &Value| lines(transcript).len() >= count;
    lines(&await_answer(server, &path, enough)).to_vec()
}

pub(crate) fn lines(transcript: &Value) -> &[Value] {
    transcript["lines"].as_array().map_or(&[], Vec::as_slice)
}

/// Checks that the lines are numbered without a hole, and have what each leg spoke, word for word.
pub(crate) fn assert_word_for_word(conversation: &Conversation, transcript: &Value) {
    let lines = lines(transcript);
    let numbers: Vec<_> = lines
        .iter()
        .map(|line| line["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, (0..lines.len() as u64).collect::<Vec<_>>());
    for (leg, said, _) in conversation.legs() {
        let of_leg = lines.iter().filter(|line| line["leg"] == leg);
        let heard: Vec<_> = of_leg.map(|line| line["text"].as_str().unwrap()).collect();
        let errors = WordErrors::between(&said, &heard.join(" "));
        assert_eq!(
            errors.total(),
            0,
            "{leg}\n said: {said}\nheard: {heard:?}\nlines: {lines:#?}"
        );
    }
}

/// Checks that the answer is a problem document of that kind, whole and consistent with its
/// headers.
#[track_caller]
pub(crate) fn assert_problem(answer: &Response, path: &str, status: u16, kind: &str) {
    let told = format!("{path}: {answer:?}");
    let header = |name: &str| answer.headers.get(name).map(String::as_str);
    assert_eq!(answer.status, status, "{told}");
    assert_eq!(
        header("content-type"),
        Some("application/problem+json"),
        "{told}"
    );
    assert_eq!(header("cache-control"), Some("no-store"), "{told}");
    let document = answer.json();
    assert_eq!(
        document["type"],
        format!("urn:asterscribe:problem:{kind}"),
        "{told}"
    );
    assert_eq!(document["status"], status, "{told}");
    assert_eq!(
        document["instance"],
        path.split('?').next().unwrap(),
        "{told}"
    );
    assert_eq!(
        document["request_id"].as_str(),
        header("x-request-id"),
        "{told}"
    );
    for text in ["title", "detail"] {
        assert!(
            document[text].as_str().is_some_and(|text| !text.is_empty()),
            "{told}"
        );
    }
    assert_eq!(document.as_object().unwrap().len(), 6, "{told}");
    let comes_back = matches!(status, 429 | 503);
    assert_eq!(header("retry-after").is_some(), comes_back, "{told}");
    assert_eq!(
        header("www-authenticate").is_some(),
        status == 401,
        "{told}"
    );
    assert_eq!(header("allow").is_some(), status == 405, "{told}");
}
