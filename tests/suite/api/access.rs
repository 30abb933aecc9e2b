//! Who the running server lets in: tokens, web pages, foreign host names.

use asterscribe_testkit::server::Server;
use serde_json::json;

use crate::api::rig::{BINARY, assert_problem, get, raw};

const TOKEN: &str = "kT7-a-token-of-some-length-9Qx";
const ROUTES: [(&str, &str); 14] = [
    ("GET", "/api/model"),
    ("POST", "/api/model"),
    ("POST", "/api/call/initiate"),
    ("GET", "/api/calls"),
    ("GET", "/api/call/x/status"),
    ("GET", "/api/call/x/transcript"),
    ("POST", "/api/call/x/transcribe"),
    ("POST", "/api/call/x/hangup"),
    ("POST", "/api/asterisk/take-back"),
    ("POST", "/api/call/x/media"),
    ("POST", "/api/call/x/capture"),
    ("DELETE", "/api/call/x/capture"),
    ("GET", "/api/call/x/capture"),
    ("GET", "/api/call/x/capture/events"),
];

#[test]
fn without_the_token_nothing_is_told() {
    let server = Server::start(
        BINARY,
        &[
            ("API_AUTH_TOKEN", TOKEN),
            ("RUST_LOG", "trace"),
            ("HTTP_WRONG_TOKENS", "10000"),
            ("HTTP_STRANGER_RATE", "10000"),
        ],
    )
    .unwrap();
    for (method, path) in ROUTES.into_iter().chain([("GET", "/nowhere")]) {
        let bare = raw(&server, &format!("{method} {path}"), &["Host: localhost"]);
        assert!(bare.starts_with("HTTP/1.1 401 "), "{path}: {bare}");
        assert!(
            bare.contains("urn:asterscribe:problem:unauthorized"),
            "{path}: {bare}"
        );
        let almost = &TOKEN[..TOKEN.len() - 1];
        for wrong in [
            "Bearer wrong",
            "Bearer ",
            &format!("Bearer {almost}"),
            &format!("Bearer {TOKEN}x"),
            &format!("Basic {TOKEN}"),
            TOKEN,
        ] {
            let headers = [("Authorization", wrong)];
            let answer = server.request(method, path, &headers, None).unwrap();
            assert_problem(&answer, path, 401, "unauthorized");
        }
    }
    let good = format!("Bearer {TOKEN}");
    let twice = [
        ("Authorization", good.as_str()),
        ("Authorization", good.as_str()),
    ];
    let answer = server.request("GET", "/api/calls", &twice, None).unwrap();
    assert_problem(&answer, "/api/calls", 401, "unauthorized");
    for name in ["token", "access_token", "auth_token", "api_key"] {
        let path = format!("/api/calls?{name}={TOKEN}");
        let bare = raw(&server, &format!("GET {path}"), &["Host: localhost"]);
        assert!(bare.starts_with("HTTP/1.1 401 "), "{name}: {bare}");
        assert!(!bare.contains(TOKEN), "{name}: {bare}");
    }
    let log = server.log();
    assert!(
        !log.iter().any(|line| line.to_string().contains(TOKEN)),
        "the log holds the token"
    );
}

#[test]
fn with_the_token_everything_is_and_health_tells_strangers_one_word() {
    let server = Server::start(BINARY, &[("API_AUTH_TOKEN", TOKEN)]).unwrap();
    assert_eq!(get(&server, "/api/calls"), json!({"calls": []}));
    for scheme in ["bearer", "BEARER", "Bearer  "] {
        let headers = [("Authorization", format!("{scheme} {TOKEN}"))];
        let headers = headers
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        let answer = server.request("GET", "/api/calls", &headers, None).unwrap();
        assert_eq!(answer.status, 200, "{scheme}: {}", answer.text);
    }
    assert_eq!(get(&server, "/health")["max_concurrent_calls"], 100);
    let stranger = raw(&server, "GET /health", &["Host: localhost"]);
    assert!(stranger.starts_with("HTTP/1.1 200 "), "{stranger}");
    assert!(
        stranger.ends_with("\r\n\r\n{\"status\":\"degraded\"}"),
        "{stranger}"
    );
    let wrong = server
        .request("GET", "/health", &[("Authorization", "Bearer no")], None)
        .unwrap();
    assert_problem(&wrong, "/health", 401, "unauthorized");
    // With a token the host's name does not matter: it may be a public one.
    let authorization = format!("Authorization: Bearer {TOKEN}");
    let named = raw(
        &server,
        "GET /api/calls",
        &["Host: calls.example.org", &authorization],
    );
    assert!(named.starts_with("HTTP/1.1 200 "), "{named}");
}

#[test]
fn the_tokens_old_name_still_works_and_a_short_one_is_warned_of() {
    let server = Server::start(BINARY, &[("WEBSOCKET_AUTH_TOKEN", "short-one")]).unwrap();
    assert_problem(
        &server.get("/api/calls").unwrap(),
        "/api/calls",
        401,
        "unauthorized",
    );
    let good = [("Authorization", "Bearer short-one")];
    assert_eq!(
        server
            .request("GET", "/api/calls", &good, None)
            .unwrap()
            .status,
        200
    );
    let log = server.log();
    let warned = |line: &serde_json::Value| {
        let message = line["fields"]["message"].as_str().unwrap_or_default();
        line["level"] == "WARN" && message.contains("WEBSOCKET_AUTH_TOKEN")
    };
    assert!(log.iter().any(warned), "{log:?}");
    assert!(
        !log.iter()
            .any(|line| line.to_string().contains("short-one")),
        "{log:?}"
    );
}

#[test]
fn without_a_token_web_pages_and_foreign_names_are_kept_out() {
    let server = Server::start(BINARY, &[]).unwrap();
    for (method, path) in ROUTES.into_iter().chain([("GET", "/health")]) {
        for origin in ["https://evil.example", "http://localhost:3000", "null"] {
            let answer = server
                .request(method, path, &[("Origin", origin)], None)
                .unwrap();
            assert_problem(&answer, path, 403, "origin-not-allowed");
            assert!(
                !answer.headers.contains_key("access-control-allow-origin"),
                "{answer:?}"
            );
        }
        let rebound = raw(
            &server,
            &format!("{method} {path}"),
            &["Host: evil.example:80"],
        );
        assert!(rebound.starts_with("HTTP/1.1 403 "), "{rebound}");
        assert!(
            rebound.contains("urn:asterscribe:problem:host-not-allowed"),
            "{rebound}"
        );
    }
    for host in ["localhost", "127.0.0.1", "[::1]:8000"] {
        let local = raw(&server, "GET /health", &[&format!("Host: {host}")]);
        assert!(local.starts_with("HTTP/1.1 200 "), "{host}: {local}");
    }
}

#[test]
fn a_listed_page_is_let_in_and_no_other() {
    let page = "https://desk.example";
    let settings = [
        ("API_AUTH_TOKEN", TOKEN),
        ("CORS_ORIGINS", "https://desk.example,http://localhost:3000"),
    ];
    let server = Server::start(BINARY, &settings).unwrap();
    let preflight = |origin: &str| {
        let headers = [
            ("Origin", origin),
            ("Access-Control-Request-Method", "POST"),
            (
                "Access-Control-Request-Headers",
                "authorization,content-type",
            ),
        ];
        server
            .request("OPTIONS", "/api/call/initiate", &headers, None)
            .unwrap()
    };
    let allowed = preflight(page);
    assert_eq!(allowed.status, 200, "{}", allowed.text);
    assert_eq!(allowed.headers["access-control-allow-origin"], page);
    assert_eq!(
        allowed.headers["access-control-allow-methods"],
        "GET,POST,DELETE"
    );
    let headers = &allowed.headers["access-control-allow-headers"];
    for name in ["authorization", "content-type", "x-request-id"] {
        assert!(headers.contains(name), "{headers}");
    }
    let answer = server
        .request("GET", "/api/calls", &[("Origin", page)], None)
        .unwrap();
    assert_eq!(
        (
            answer.status,
            answer.headers["access-control-allow-origin"].as_str()
        ),
        (200, page)
    );
    assert!(answer.headers["vary"].contains("origin"), "{answer:?}");
    for answer in [allowed, answer] {
        assert!(
            !answer
                .headers
                .contains_key("access-control-allow-credentials"),
            "{answer:?}"
        );
    }
    for other in [
        "https://desk.example.evil.example",
        "http://desk.example",
        "https://DESK.example",
        "null",
    ] {
        let refused = preflight(other);
        assert!(
            !refused.headers.contains_key("access-control-allow-origin"),
            "{refused:?}"
        );
        let refused = server
            .request("GET", "/api/calls", &[("Origin", other)], None)
            .unwrap();
        assert!(
            !refused.headers.contains_key("access-control-allow-origin"),
            "{refused:?}"
        );
    }
}

#[test]
fn a_request_keeps_its_own_id_if_that_may_stand_in_a_log() {
    let server = Server::start(BINARY, &[]).unwrap();
    for (sent, kept) in [
        ("trace-1.A_z", true),
        ("two words", false),
        ("", false),
        (&"x".repeat(65), false),
    ] {
        let answer = server
            .request("GET", "/api/calls", &[("X-Request-Id", sent)], None)
            .unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.headers["x-request-id"] == sent,
            kept,
            "{sent:?}: {answer:?}"
        );
        assert!(!answer.headers["x-request-id"].is_empty());
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    }
}
