//! Sounds that the running server plays to a registered leg: what arrives,
//! from where, to whom, and what never does.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::symlink;
use std::time::Instant;

use asterscribe_codecs::g711;
use asterscribe_testkit::page;
use asterscribe_testkit::rtp::{Header, parse};
use asterscribe_testkit::scenario::prompt_file;
use asterscribe_testkit::server::Server;
use asterscribe_testkit::wav::Sound;
use asterscribe_testkit::{Response, host};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::api::rig::{
    BINARY, SOON, assert_problem, await_answer, get, hang_up, raw, register_leg,
};
use crate::media::rtp_ports;

const PROMPT: &str = "what-number";

/// Socket that speaks for a leg, and may be played to.
struct Ear(UdpSocket);

/// A packet as it came.
struct Heard {
    from: SocketAddr,
    header: Header,
    payload: Vec<u8>,
    at: Instant,
}

impl Ear {
    fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        Self(socket)
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    fn hear(&self) -> Heard {
        let mut buffer = [0; 2048];
        let (length, from) = self.0.recv_from(&mut buffer).unwrap();
        let (header, payload) = parse(&buffer[..length]).expect("plain RTP");
        Heard {
            from,
            header,
            payload: payload.to_vec(),
            at: host::now(),
        }
    }

    /// How many datagrams wait here.
    fn waiting(&self) -> usize {
        self.0.set_nonblocking(true).unwrap();
        let mut buffer = [0; 2048];
        let mut count = 0;
        loop {
            match self.0.recv_from(&mut buffer) {
                Ok(_) => count += 1,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return count,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

fn path(call: &str) -> String {
    format!("/api/call/{call}/play")
}

fn prompt() -> Vec<u8> {
    fs::read(prompt_file(PROMPT, "wav")).unwrap()
}

/// The prompt as it must come, in whole frames of µ-law.
fn prompt_in_ulaw() -> Vec<u8> {
    let sound = Sound::read(&prompt_file(PROMPT, "wav")).unwrap();
    let mut ulaw: Vec<u8> = sound
        .samples
        .iter()
        .map(|&sample| g711::encode_ulaw(sample))
        .collect();
    ulaw.resize(ulaw.len().next_multiple_of(160), 0xff);
    ulaw
}

/// A sound file of silence, so long.
fn silence(seconds: usize) -> Vec<u8> {
    let mut file = prompt()[..44].to_vec();
    let length = u32::try_from(seconds * 16_000).unwrap();
    file[40..44].copy_from_slice(&length.to_le_bytes());
    file.resize(44 + length as usize, 0);
    file
}

/// Events of the sounds, without the doctor's findings.
fn events(status: &Value) -> Vec<&str> {
    let events = status["events"].as_array().map_or(&[][..], Vec::as_slice);
    let kinds = events.iter().map(|event| event["kind"].as_str().unwrap());
    kinds.filter(|kind| kind.starts_with("playback_")).collect()
}

fn stop(server: &Server, path: &str) -> Response {
    server.request("DELETE", path, &[], None).unwrap()
}

#[test]
fn sounds_come_in_order_from_the_port_that_hears_and_go_to_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(prompt_file(PROMPT, "wav"), folder.path().join("menu.wav")).unwrap();
    let play_dir = folder.path().display().to_string();
    let server = Server::start(BINARY, &[("PLAY_DIR", &play_dir)]).unwrap();
    let (ear, other, stranger) = (Ear::new(), Ear::new(), Ear::new());
    assert_eq!(
        register_leg(&server, "c", "caller", ear.address()).status,
        201
    );
    assert_eq!(
        register_leg(&server, "d", "caller", other.address()).status,
        201
    );
    // Whoever sends to the port is answered nothing, RTP or not.
    stranger.0.send_to(&[0x80; 172], server.rtp()).unwrap();
    stranger
        .0
        .send_to(b"OPTIONS sip:x SIP/2.0\r\n\r\n", server.rtp())
        .unwrap();

    let first = server.upload(&path("c"), "audio/wav", &prompt()).unwrap();
    assert_eq!(first.status, 202, "{}", first.text);
    let playback = first.json();
    assert_eq!(playback["format"], "ulaw");
    assert_eq!(
        playback["length_ms"],
        Sound::read(&prompt_file(PROMPT, "wav"))
            .unwrap()
            .duration_ms()
    );
    let second = server
        .post(&path("c"), &json!({"file": "menu.wav", "format": "slin"}))
        .unwrap();
    assert_eq!(second.status, 202, "{}", second.text);

    let ulaw = prompt_in_ulaw();
    let frames = ulaw.len() / 160;
    let heard: Vec<Heard> = (0..2 * frames).map(|_| ear.hear()).collect();
    let start = heard[0].header;
    for (n, packet) in heard.iter().enumerate() {
        let header = Header {
            marker: n == 0,
            payload_type: if n < frames { 0 } else { 11 },
            sequence: start.sequence.wrapping_add(n as u16),
            timestamp: start
                .timestamp
                .wrapping_add(packet.header.timestamp.wrapping_sub(start.timestamp)),
            ssrc: start.ssrc,
        };
        assert_eq!(packet.from, server.rtp());
        // A machine that stalls may shift the schedule, which marks it and moves time on.
        let shifted = packet.header.marker && n > 0;
        assert_eq!(
            Header {
                marker: shifted || header.marker,
                ..header
            },
            packet.header
        );
        if n > 0 {
            let step = packet
                .header
                .timestamp
                .wrapping_sub(heard[n - 1].header.timestamp);
            assert!(
                if shifted { step > 160 } else { step == 160 },
                "{n}: {step}"
            );
        }
    }
    let of_first = heard[..frames].iter().flat_map(|packet| &packet.payload);
    assert!(of_first.eq(&ulaw), "the first sound is not the prompt");
    let of_second = heard[frames..]
        .iter()
        .flat_map(|packet| packet.payload.as_chunks::<2>().0);
    let linear: Vec<i16> = of_second.map(|pair| i16::from_be_bytes(*pair)).collect();
    let sound = Sound::read(&prompt_file(PROMPT, "wav")).unwrap();
    assert_eq!(linear[..sound.samples.len()], sound.samples);
    report_pace(&heard);

    let status = await_answer(&server, "/api/call/c/status", |status| {
        events(status).len() == 4
    });
    assert_eq!(
        events(&status),
        [
            "playback_started",
            "playback_finished",
            "playback_started",
            "playback_finished"
        ]
    );
    assert!(status.get("playing").is_none(), "{status}");
    let sent = format!(", {} sent", 2 * frames);
    await_answer(&server, "/health", |health| {
        health["media"]["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains(&sent))
    });
    assert_eq!([&ear, &other, &stranger].map(Ear::waiting), [0; 3]);
    page::assert_row(
        "docs/limits.md",
        "N16, N17",
        &[
            "sounds are played to one of two legs while a stranger sends to the same port",
            "every packet to the leg's named address, from the port that receives it, numbered without a hole; 0 bytes to anybody else",
        ],
    );
}

/// Prints how late the packets were on this machine, with `--nocapture`.
#[expect(clippy::print_stdout, reason = "for whoever looks at the pace")]
fn report_pace(heard: &[Heard]) {
    let late = heard.iter().enumerate().map(|(n, packet)| {
        let since = packet.at.saturating_duration_since(heard[0].at);
        since.as_secs_f64() * 1000.0 - 20.0 * n as f64
    });
    let mut late: Vec<f64> = late.collect();
    late.sort_by(f64::total_cmp);
    let middle = late[late.len() / 2];
    let at = |share: f64| (late[((late.len() - 1) as f64 * share) as usize] - middle).abs();
    println!(
        "{} packets: off the median by {:.2} ms at p1, {:.2} at p99, {:.2} at most",
        late.len(),
        at(0.01),
        at(0.99),
        at(1.0)
    );
}

#[test]
fn what_is_stopped_is_heard_no_more_and_the_next_sound_is() {
    let server = Server::start(BINARY, &[]).unwrap();
    let ear = Ear::new();
    register_leg(&server, "c", "caller", ear.address());
    let play = |file: &[u8]| {
        let answer = server.upload(&path("c"), "audio/wav", file).unwrap();
        assert_eq!(answer.status, 202, "{}", answer.text);
        answer.json()["id"].as_u64().unwrap()
    };
    let (long, longer) = (play(&silence(60)), play(&silence(50)));
    for _ in 0..30 {
        assert_eq!(ear.hear().payload, [0xff; 160]);
    }
    let status = await_answer(&server, "/api/call/c/status", |status| {
        status["playing"][0]["played_ms"].as_u64() >= Some(500)
    });
    let states = [0, 1].map(|n| status["playing"][n]["state"].clone());
    assert_eq!(states, ["playing", "queued"]);
    let unknown = format!("{}?id=999", path("c"));
    assert_problem(&stop(&server, &unknown), &unknown, 404, "unknown-playback");
    let stopped = stop(&server, &format!("{}?id={long}", path("c")));
    assert_eq!(stopped.json()["stopped"][0]["id"], long);
    // A minute of sound has not been sent in advance.
    let status = await_answer(&server, "/api/call/c/status", |status| {
        status["playing"][0]["id"] == longer && status["playing"][0]["state"] == "playing"
    });
    assert_eq!(
        events(&status),
        ["playback_started", "playback_stopped", "playback_started"]
    );
    let stopped = stop(&server, &path("c"));
    assert_eq!(stopped.json()["stopped"].as_array().map(Vec::len), Some(1));
    let status = await_answer(&server, "/api/call/c/status", |status| {
        events(status).len() == 4
    });
    assert!(status.get("playing").is_none(), "{status}");
    let before = ear.waiting();
    assert!(before < 3000, "a minute of sound was sent at once");
    // What comes now continues the same stream.
    ear.0.set_nonblocking(false).unwrap();
    play(&prompt());
    let next = ear.hear();
    assert_eq!(next.payload[..], prompt_in_ulaw()[..160]);
    hang_up(&server, "c");
    let status = await_answer(&server, "/api/call/c/status", |status| {
        status["status"] == "ended"
    });
    assert_eq!(events(&status).last(), Some(&"playback_stopped"));
}

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("broken.wav"), b"RIFF\0\0\0\0WAVE and then nothing").unwrap();
    fs::write(at("huge.wav"), silence(10)).unwrap();
    fs::create_dir(at("sounds")).unwrap();
    fs::write(at("sounds/secret.wav"), prompt()).unwrap();
    symlink(prompt_file(PROMPT, "wav"), at("link.wav")).unwrap();
    folder
}

#[test]
fn what_cannot_be_played_is_refused_with_the_reason() {
    let folder = folder();
    let play_dir = folder.path().display().to_string();
    let settings = [
        ("PLAY_DIR", play_dir.as_str()),
        ("PLAY_MAX_BYTES", "150000"),
    ];
    let server = Server::start(BINARY, &settings).unwrap();
    let ear = Ear::new();
    register_leg(&server, "c", "a", ear.address());
    let refused = |body: Value, status, kind| {
        let answer = server.post(&path("c"), &body).unwrap();
        assert_problem(&answer, &path("c"), status, kind);
        answer.json()["detail"].as_str().unwrap().to_owned()
    };
    for unknown in ["none.wav", "link.wav", "sounds"] {
        refused(json!({"file": unknown}), 404, "unknown-file");
    }
    for escape in ["sounds/secret.wav", "../x.wav", "/etc/passwd", ".."] {
        refused(json!({"file": escape}), 422, "invalid-body");
    }
    let told = refused(json!({"file": "huge.wav"}), 422, "unprocessable");
    assert!(told.contains("PLAY_MAX_BYTES"), "{told}");
    let told = refused(json!({"file": "broken.wav"}), 422, "unprocessable");
    assert!(told.contains("data"), "{told}");
    let told = refused(
        json!({"file": "broken.wav", "leg": "b"}),
        422,
        "unprocessable",
    );
    assert!(told.contains("it has a"), "{told}");
    let told = refused(
        json!({"file": "huge.wav", "format": "opus"}),
        422,
        "unprocessable",
    );
    assert!(told.contains("g722"), "{told}");

    // Refused by its declared length, before any of it is sent.
    let request = format!("POST {}", path("c"));
    let headers = [
        "Host: localhost",
        "Content-Type: audio/wav",
        "Content-Length: 150001",
    ];
    let large = raw(&server, &request, &headers);
    assert!(large.starts_with("HTTP/1.1 413 "), "{large}");
    let noise = server.upload(&path("c"), "audio/wav", b"no sound").unwrap();
    assert_problem(&noise, &path("c"), 422, "unprocessable");
    for call in ["nobody", "c"] {
        let path = path(call);
        if call == "c" {
            hang_up(&server, "c");
        }
        let (status, kind) = if call == "c" {
            (409, "conflict")
        } else {
            (404, "unknown-call")
        };
        let answer = server.upload(&path, "audio/wav", &prompt()).unwrap();
        assert_problem(&answer, &path, status, kind);
        assert_problem(&stop(&server, &path), &path, status, kind);
    }
    assert_eq!(ear.waiting(), 0);
}

#[test]
fn a_legs_queue_is_bounded_and_several_legs_must_be_told_apart() {
    let server = Server::start(BINARY, &[]).unwrap();
    let (first, second) = (Ear::new(), Ear::new());
    register_leg(&server, "c", "a", first.address());
    register_leg(&server, "c", "b", second.address());
    let ambiguous = server.upload(&path("c"), "audio/wav", &prompt()).unwrap();
    assert_problem(&ambiguous, &path("c"), 422, "unprocessable");
    let to_a = format!("{}?leg=a&format=alaw", path("c"));
    let long = silence(20);
    for n in 0..16 {
        let answer = server.upload(&to_a, "audio/wav", &long).unwrap();
        assert_eq!(answer.status, 202, "{n}: {}", answer.text);
    }
    let full = server.upload(&to_a, "audio/wav", &long).unwrap();
    assert_problem(&full, &to_a, 409, "conflict");
    let to_b = format!("{}?leg=b", path("c"));
    assert_eq!(
        server.upload(&to_b, "audio/wav", &prompt()).unwrap().status,
        202
    );
    assert_eq!(first.hear().header.payload_type, 8);
    assert_eq!(second.hear().header.payload_type, 0);
    assert_eq!(
        get(&server, "/api/call/c/status")["playing"]
            .as_array()
            .map(Vec::len),
        Some(17)
    );
    hang_up(&server, "c");
    let ended = await_answer(&server, "/api/call/c/status", |status| {
        status["status"] == "ended"
    });
    assert!(ended.get("playing").is_none(), "{ended}");
}

#[test]
fn without_a_folder_no_file_can_be_named() {
    let server = Server::start(BINARY, &[]).unwrap();
    let ear = Ear::new();
    register_leg(&server, "c", "a", ear.address());
    let answer = server
        .post(&path("c"), &json!({"file": "menu.wav"}))
        .unwrap();
    assert_problem(&answer, &path("c"), 422, "unprocessable");
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("PLAY_DIR"), "{detail}");
}

#[test]
fn a_leg_with_a_port_of_its_own_hears_from_that_port() {
    let server = rtp_ports::server(4);
    let (ear, other) = (Ear::new(), Ear::new());
    let own = |call: &str, ear: &Ear| {
        let grant = register_leg(&server, call, "caller", ear.address());
        assert_eq!(grant.status, 201, "{}", grant.text);
        grant.json()["send_to"]["port"].as_u64().unwrap()
    };
    let (first, second) = (own("c", &ear), own("d", &other));
    assert_ne!(first, second);
    for (call, ear, port) in [("d", &other, second), ("c", &ear, first)] {
        let answer = server.upload(&path(call), "audio/wav", &prompt()).unwrap();
        assert_eq!(answer.status, 202, "{}", answer.text);
        for _ in 0..5 {
            let heard = ear.hear();
            assert_eq!(u64::from(heard.from.port()), port);
        }
    }
}

#[test]
fn nothing_is_sent_to_addresses_that_nobody_allowed_or_to_the_server_itself() {
    let server = Server::start(BINARY, &[]).unwrap();
    for (call, address) in [
        ("a", "192.0.2.7:5000"),
        ("b", "203.0.113.7:40000"),
        ("c", "198.51.100.9:53"),
    ] {
        let source: SocketAddr = address.parse().unwrap();
        // It may speak from there.
        assert_eq!(register_leg(&server, call, "caller", source).status, 201);
        let refused = server.upload(&path(call), "audio/wav", &prompt()).unwrap();
        assert_problem(&refused, &path(call), 403, "target-not-allowed");
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        let setting = format!("PLAY_TARGETS={}", source.ip());
        assert!(detail.contains(&setting), "{detail}");
    }
    let own = server.rtp();
    for source in [
        own,
        SocketAddr::new("::ffff:127.0.0.1".parse().unwrap(), own.port()),
    ] {
        let refused = register_leg(&server, "d", "caller", source);
        assert_problem(&refused, "/api/call/d/media", 403, "target-not-allowed");
    }
    let status = "/api/call/d/status";
    assert_problem(&server.get(status).unwrap(), status, 404, "unknown-call");
    assert!(
        get(&server, "/health")["media"]["detail"]
            .as_str()
            .unwrap()
            .contains(" 0 sent")
    );
}

#[test]
fn a_port_that_a_leg_has_to_itself_is_the_servers_own_too() {
    let server = rtp_ports::server(4);
    let ear = Ear::new();
    let granted = register_leg(&server, "c", "caller", ear.address()).json();
    let port = granted["send_to"]["port"].as_u64().unwrap();
    let source = SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).unwrap()));
    let refused = register_leg(&server, "d", "caller", source);
    assert_problem(&refused, "/api/call/d/media", 403, "target-not-allowed");
    // What another program sends from is not, though it is of the range.
    let other = SocketAddr::from(([127, 0, 0, 1], source.port() + 1));
    assert_eq!(register_leg(&server, "d", "caller", other).status, 201);
}
