//! Clients that only keep a place, or ask for too much, beside one that means well.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot be set up has failed"
)]

use std::io::Write;
use std::net::TcpStream;

use asterscribe_testkit::server::Server;
use asterscribe_testkit::{Response, host};
use serde_json::Value;

use crate::api::rig::{BINARY, SOON, assert_problem, get, raw};

const TOKEN: &str = "kT7-a-token-of-some-length-9Qx";

fn start(settings: &[(&str, &str)]) -> Server {
    let all = [&[("API_AUTH_TOKEN", TOKEN)], settings].concat();
    Server::start(BINARY, &all).unwrap()
}

/// The value of a figure, labels and all.
fn figure(server: &Server, name: &str) -> f64 {
    let text = server.get("/metrics").unwrap().text;
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    let value = value.unwrap_or_else(|| panic!("{name} is missing: {text}"));
    value.trim().parse().unwrap()
}

fn with_token(server: &Server, token: &str) -> Response {
    let value = format!("Bearer {token}");
    let headers = [("Authorization", value.as_str())];
    server.request("GET", "/api/calls", &headers, None).unwrap()
}

/// Keeps a connection on which that was said; whether it arrived does not matter.
fn keep(server: &Server, said: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.http()).unwrap();
    let _may_be_put_out = stream.write_all(said.as_bytes());
    stream
}

#[test]
fn two_thousand_connections_without_a_token_lock_nobody_out() {
    // How much they ask is another test's matter.
    let server = start(&[("HTTP_STRANGER_RATE", "1000000")]);
    let mut kept = Vec::new();
    for n in 0..2000 {
        let said = match n % 5 {
            0 => "",
            1 => "G",
            2 => "GET /api/calls HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
            // Answered, and then silent.
            3 => "GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n",
            _ => "POST /api/call/x/media HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{",
        };
        kept.push(keep(&server, said));
        if n % 50 == 49 {
            assert_eq!(server.get("/api/calls").unwrap().status, 200, "after {n}");
        }
    }
    let connections = figure(&server, "asterscribe_http_connections ");
    assert!((1.0..=513.0).contains(&connections), "{connections}");
    let name = "asterscribe_http_connections_given_up_total{reason=\"place_needed\"} ";
    // A fifth of them is closed with its answer.
    assert!(figure(&server, name) >= 1000.0);
    // The open route is there for strangers as before.
    let stranger = raw(&server, "GET /health", &["Host: localhost"]);
    assert!(stranger.starts_with("HTTP/1.1 200 "), "{stranger}");
}

#[test]
fn bodies_that_do_not_come_make_room_where_no_token_is_asked_for() {
    let server = Server::start(BINARY, &[("HTTP_CONNECTIONS_PER_ADDRESS", "20")]).unwrap();
    let said = "POST /api/call/x/media HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                Content-Length: 90\r\n\r\n{";
    let _kept: Vec<_> = (0..60).map(|_| keep(&server, said)).collect();
    assert_eq!(server.get("/api/calls").unwrap().status, 200);
    let name = "asterscribe_http_connections_given_up_total{reason=\"place_needed\"} ";
    assert!(figure(&server, name) >= 40.0);
}

#[test]
fn wrong_tokens_are_limited_and_the_right_one_is_not() {
    let server = start(&[("HTTP_WRONG_TOKENS", "3")]);
    for n in 0..3 {
        let wrong = with_token(&server, &format!("wrong-{n}"));
        assert_problem(&wrong, "/api/calls", 401, "unauthorized");
    }
    for n in 0..200 {
        let wrong = with_token(&server, &format!("wronger-{n}"));
        assert_problem(&wrong, "/api/calls", 429, "too-many-requests");
        let wait: u64 = wrong.headers["retry-after"].parse().unwrap();
        assert!((1..=20).contains(&wait), "{wait}");
    }
    // A token in the URL is one, too.
    let in_url = raw(&server, "GET /api/calls?token=x", &["Host: localhost"]);
    assert!(in_url.starts_with("HTTP/1.1 429 "), "{in_url}");
    assert_eq!(with_token(&server, TOKEN).status, 200);
    // All are counted, and few are lines of the log.
    let name = |kind: &str| format!("asterscribe_http_refusals_total{{problem=\"{kind}\"}} ");
    assert_eq!(figure(&server, &name("unauthorized")), 3.0);
    assert_eq!(figure(&server, &name("too-many-requests")), 201.0);
    let told = |line: &Value| line["fields"]["message"] == "refused";
    let all_told = || {
        let log = server.log();
        let counts = log.iter().filter(|line| told(line));
        let counts = counts.map(|line| line["fields"]["count"].as_u64().unwrap_or(1));
        counts.sum::<u64>() == 204
    };
    assert!(host::wait_until(host::now() + SOON, all_told));
    let lines = server.log().iter().filter(|line| told(line)).count();
    assert!(lines <= 100, "{lines}");
}

#[test]
fn strangers_are_limited_and_whoever_has_the_token_is_not() {
    let server = start(&[("HTTP_STRANGER_RATE", "5"), ("HTTP_RATE", "100000")]);
    let ask = || raw(&server, "GET /health", &["Host: localhost"]);
    let answers: Vec<_> = (0..100).map(|_| ask()).collect();
    let refused = answers
        .iter()
        .filter(|answer| answer.starts_with("HTTP/1.1 429 "));
    let refused: Vec<_> = refused.collect();
    assert!(!refused.is_empty());
    for answer in refused {
        let head = answer.to_ascii_lowercase();
        assert!(head.contains("\r\nretry-after: 1\r\n"), "{answer}");
    }
    assert!(answers[0].starts_with("HTTP/1.1 200 "), "{}", answers[0]);
    // What a client says of its address is not believed.
    let forged = "X-Forwarded-For: 192.0.2.99";
    let forged = (0..20).map(|_| raw(&server, "GET /health", &["Host: localhost", forged]));
    assert!(
        forged
            .into_iter()
            .any(|answer| answer.starts_with("HTTP/1.1 429 "))
    );
    for _ in 0..100 {
        assert_eq!(with_token(&server, TOKEN).status, 200);
    }
}

#[test]
fn requests_with_the_token_have_a_bound_of_their_own() {
    for (settings, token) in [(vec![("API_AUTH_TOKEN", TOKEN)], true), (vec![], false)] {
        let settings = [settings, vec![("HTTP_RATE", "10")]].concat();
        let server = Server::start(BINARY, &settings).unwrap();
        let statuses: Vec<_> = (0..400)
            .map(|_| server.get("/api/calls").unwrap().status)
            .collect();
        assert!(
            statuses[..10].iter().all(|status| *status == 200),
            "{token}"
        );
        assert!(statuses.contains(&429), "{token}");
    }
}

#[test]
fn the_password_of_asterisk_is_in_no_log_at_any_level() {
    const PASSWORD: &str = "hunter2-and-more";
    // As a header has it, with the user before it.
    const ENCODED: &str = "c29tZW9uZTpodW50ZXIyLWFuZC1tb3Jl";
    let asterisk = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", asterisk.local_addr().unwrap());
    // Answers anything, never as it should.
    std::thread::spawn(move || {
        for stream in asterisk.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ignored = std::io::Read::read(&mut stream, &mut [0; 4096]);
            let _ignored = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]");
        }
    });
    for filter in [
        "trace",
        "info,hyper=trace,hyper_util=trace,reqwest=trace,tungstenite=trace,tokio_tungstenite=trace",
    ] {
        let server = Server::start(
            BINARY,
            &[
                ("RUST_LOG", filter),
                ("ASTERISK_ARI_URL", &url),
                ("ASTERISK_ARI_USER", "someone"),
                ("ASTERISK_ARI_PASSWORD", PASSWORD),
            ],
        )
        .unwrap();
        let tried =
            || get(&server, "/health")["asterisk"]["detail"] != format!("connecting to {url}/");
        assert!(host::wait_until(host::now() + SOON, tried));
        for line in server.log() {
            let line = line.to_string();
            for secret in [PASSWORD, ENCODED] {
                assert!(!line.contains(secret), "{filter}: {line}");
            }
        }
    }
}
