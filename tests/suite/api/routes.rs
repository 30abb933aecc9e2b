//! Every route of the running server, and every error that it can give without
//! an Asterisk.

use std::net::SocketAddr;

use asterscribe_testkit::Response;
use asterscribe_testkit::server::Server;
use serde_json::{Value, json};

use crate::api::rig::{
    BINARY, assert_problem, await_answer, await_complete, command, get, hang_up, raw, register_leg,
};

const JSON: (&str, &str) = ("Content-Type", "application/json");

fn source(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 7], port))
}

#[test]
fn health_names_every_part_and_calls_the_demo_model_a_demo() {
    let server = Server::start(BINARY, &[("MAX_CONCURRENT_CALLS", "7")]).unwrap();
    let health = get(&server, "/health");
    assert_eq!(
        health["status"], "degraded",
        "a demo model is no sound state: {health}"
    );
    assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(health["asterisk"]["state"], "off");
    assert_eq!(health["store"], json!({"state": "ok", "detail": "sqlite"}));
    // A machine whose administrator keeps receive buffers small says so.
    let small = health["media"]["detail"]
        .as_str()
        .unwrap()
        .contains("net.core.rmem_max");
    assert_eq!(
        health["media"]["state"],
        if small { "degraded" } else { "ok" }
    );
    assert_eq!(health["model"]["state"], "degraded");
    let model = health["model"]["detail"].as_str().unwrap();
    assert!(model.to_lowercase().contains("demo"), "{model}");
    assert!(
        model.contains("WHISPER_MODEL"),
        "it must say what to do: {model}"
    );
    assert_eq!(
        (
            &health["active_calls"],
            &health["max_concurrent_calls"],
            &health["total_calls_processed"]
        ),
        (&json!(0), &json!(7), &json!(0))
    );
}

#[test]
fn a_registered_call_is_seen_on_every_route_until_it_is_over() {
    let server = Server::start(BINARY, &[("NODE_NAME", "node-1")]).unwrap();
    let id = "1764000000.12";
    let answer = register_leg(&server, id, "caller", source(14_002));
    assert_eq!(answer.status, 201, "{}", answer.text);
    assert_eq!(answer.headers["location"], format!("/api/call/{id}/status"));
    let rtp = server.rtp();
    let send_to = json!({"host": rtp.ip(), "port": rtp.port()});
    assert_eq!(
        answer.json(),
        json!({"call_id": id, "leg": "caller", "send_to": send_to})
    );

    let status = get(&server, &format!("/api/call/{id}/status"));
    assert_eq!(
        (&status["call_id"], &status["status"]),
        (&json!(id), &json!("active"))
    );
    assert_eq!(
        (&status["origin"], &status["node"]),
        (&json!("media"), &json!("node-1"))
    );
    assert_eq!((&status["dtmf"], &status["lines"]), (&json!([]), &json!(0)));
    let leg = &status["legs"][0];
    assert_eq!(
        (&leg["leg"], &leg["source"], &leg["format"]),
        (&json!("caller"), &json!("192.0.2.7:14002"), &json!("ulaw"))
    );
    assert_eq!(leg["stats"]["received"], 0);
    let transcript = get(&server, &format!("/api/call/{id}/transcript?from_seq=3"));
    assert_eq!(
        transcript,
        json!({"call_id": id, "complete": false, "revisions": 0, "lines": []})
    );
    assert_eq!(get(&server, "/health")["active_calls"], 1);
    assert_eq!(get(&server, "/api/calls")["calls"][0]["call_id"], id);

    hang_up(&server, id);
    await_complete(&server, id);
    let status = get(&server, &format!("/api/call/{id}/status"));
    assert_eq!(status["status"], "ended");
    assert_eq!(status["end_reason"]["text"], "ended through the API");
    assert!(
        status["ended_at"].as_str() >= status["started_at"].as_str(),
        "{status}"
    );
    let health = await_answer(&server, "/health", |health| {
        health["total_calls_processed"] == 1
    });
    assert_eq!(health["active_calls"], 0);
}

#[test]
fn calls_are_listed_newest_first_and_no_more_than_asked_for() {
    let server = Server::start(BINARY, &[]).unwrap();
    assert_eq!(get(&server, "/api/calls"), json!({"calls": []}));
    for n in 1..=3 {
        assert_eq!(
            register_leg(&server, &format!("c-{n}"), "a", source(n)).status,
            201
        );
    }
    let ids = |path: &str| -> Vec<Value> {
        let answer = get(&server, path);
        answer["calls"]
            .as_array()
            .unwrap()
            .iter()
            .map(|call| call["call_id"].clone())
            .collect()
    };
    assert_eq!(ids("/api/calls"), ["c-3", "c-2", "c-1"]);
    assert_eq!(ids("/api/calls?limit=2"), ["c-3", "c-2"]);
    assert_eq!(ids("/api/calls?limit=1000"), ["c-3", "c-2", "c-1"]);
}

#[test]
fn what_is_wrong_with_a_request_is_told_by_kind() {
    let server = Server::start(BINARY, &[]).unwrap();
    let long_id = "a".repeat(81);
    let long_channel = "a".repeat(151);
    for path in [
        "/api/calls?limit=0",
        "/api/calls?limit=1001",
        "/api/calls?limit=ten",
        "/api/calls?limit=1&limit=2",
        "/api/calls?offset=1",
        "/api/call/x/transcript?from_seq=-1",
        "/api/call/x/transcript?from_seq=18446744073709551615",
    ] {
        assert_problem(&server.get(path).unwrap(), path, 400, "malformed-query");
    }
    for id in ["-x", "a%20b", "%FF", "a:b", "a%2Fb", long_id.as_str()] {
        for route in ["status", "transcript"] {
            let path = format!("/api/call/{id}/{route}");
            assert_problem(&server.get(&path).unwrap(), &path, 400, "malformed-id");
        }
        let path = format!("/api/call/{id}/hangup");
        assert_problem(&command(&server, &path), &path, 400, "malformed-id");
    }
    // Any text may be a channel's id, but Asterisk has none that are longer.
    for id in ["%FF", "%00", long_channel.as_str()] {
        let path = format!("/api/call/{id}/transcribe");
        assert_problem(&command(&server, &path), &path, 400, "malformed-id");
    }
    for path in ["/api/call/nobody/status", "/api/call/nobody/transcript"] {
        assert_problem(&server.get(path).unwrap(), path, 404, "unknown-call");
    }
    let path = "/api/call/nobody/hangup";
    assert_problem(&command(&server, path), path, 404, "unknown-call");
    for path in ["/", "/api", "/api/call", "/api/call/x/status/", "/figures"] {
        assert_problem(&server.get(path).unwrap(), path, 404, "unknown-route");
    }
    for (method, path) in [
        ("POST", "/health"),
        ("GET", "/api/call/initiate"),
        ("DELETE", "/api/calls"),
        ("DELETE", "/api/model"),
        ("GET", "/api/call/x"),
        ("PUT", "/api/call/x/status"),
        ("POST", "/api/call/x/transcript"),
        ("GET", "/api/call/x/transcribe"),
        ("GET", "/api/call/x/hangup"),
        ("GET", "/api/call/x/media"),
    ] {
        let answer = server.request(method, path, &[], None).unwrap();
        assert_problem(&answer, path, 405, "method-not-allowed");
    }
    let path = format!("/api/calls?limit={}", "1".repeat(9000));
    assert_problem(
        &server.get(&path).unwrap(),
        "/api/calls",
        414,
        "uri-too-long",
    );
    let headers = [("X-Much", "m".repeat(33_000))];
    let headers = headers
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    let answer = server.request("GET", "/api/calls", &headers, None).unwrap();
    assert_problem(&answer, "/api/calls", 431, "headers-too-large");
}

#[test]
fn bodies_are_judged_alike_wherever_one_is_taken() {
    let server = Server::start(BINARY, &[]).unwrap();
    for path in ["/api/call/initiate", "/api/call/x/media"] {
        let send = |headers: &[(&str, &str)], body: &str| {
            server.request("POST", path, headers, Some(body)).unwrap()
        };
        assert_problem(&send(&[JSON], "{"), path, 400, "malformed-body");
        assert_problem(&send(&[JSON], "leg=caller"), path, 400, "malformed-body");
        assert_problem(&send(&[JSON], "\u{0}"), path, 400, "malformed-body");
        assert_problem(
            &send(&[JSON], &"[".repeat(100_000)),
            path,
            400,
            "malformed-body",
        );
        // Refused by what it declares, before a byte of it is sent.
        let declared = ["Host: localhost", "Content-Length: 262145"];
        let big = raw(&server, &format!("POST {path}"), &declared);
        assert!(big.starts_with("HTTP/1.1 413 "), "{path}: {big}");
        assert!(
            big.contains("urn:asterscribe:problem:body-too-large"),
            "{path}: {big}"
        );
        assert_problem(&send(&[], "{}"), path, 415, "unsupported-media-type");
        let form = ("Content-Type", "application/x-www-form-urlencoded");
        assert_problem(&send(&[form], "a=b"), path, 415, "unsupported-media-type");
        let packed = ("Content-Encoding", "gzip");
        assert_problem(
            &send(&[JSON, packed], "{}"),
            path,
            415,
            "unsupported-media-type",
        );
        for wrong in ["{}", "[]", "null", "7", "{\"surplus\":1}"] {
            assert_problem(&send(&[JSON], wrong), path, 422, "invalid-body");
        }
    }
    assert_eq!(
        get(&server, "/api/calls"),
        json!({"calls": []}),
        "nothing may have been opened"
    );
}

#[test]
fn a_registration_that_cannot_be_is_refused_and_leaves_no_call() {
    let server = Server::start(BINARY, &[]).unwrap();
    let path = "/api/call/x/media";
    let send = |source: &str, leg: &str, format: &str| -> Response {
        server
            .post(
                path,
                &json!({"source": source, "leg": leg, "format": format}),
            )
            .unwrap()
    };
    for (source, leg) in [
        ("example.org:5000", "a"),
        ("192.0.2.7", "a"),
        ("192.0.2.7:70000", "a"),
        ("192.0.2.7:5000", ""),
        ("192.0.2.7:5000", "two words"),
        ("192.0.2.7:5000", "a234567890123456789012345678901234"),
    ] {
        assert_problem(&send(source, leg, "ulaw"), path, 422, "invalid-body");
    }
    for (source, format) in [
        ("192.0.2.7:0", "ulaw"),
        ("0.0.0.0:5000", "ulaw"),
        ("[::]:5000", "ulaw"),
        ("224.0.0.1:5000", "ulaw"),
        ("192.0.2.7:5000", ""),
        ("192.0.2.7:5000", "g729"),
        ("192.0.2.7:5000", "ulaw; drop"),
    ] {
        assert_problem(&send(source, "a", format), path, 422, "unprocessable");
    }
    assert_eq!(get(&server, "/api/calls"), json!({"calls": []}));
    assert_eq!(get(&server, "/health")["active_calls"], 0);
}

#[test]
fn what_contradicts_a_calls_state_is_a_conflict() {
    let server = Server::start(BINARY, &[]).unwrap();
    let path = "/api/call/one/media";
    assert_eq!(register_leg(&server, "one", "a", source(1)).status, 201);
    assert_problem(
        &register_leg(&server, "one", "a", source(2)),
        path,
        409,
        "conflict",
    );
    assert_problem(
        &register_leg(&server, "one", "b", source(1)),
        path,
        409,
        "conflict",
    );
    // The source of another call; the call that was opened for it must not stay open.
    let answer = register_leg(&server, "two", "a", source(1));
    assert_problem(&answer, "/api/call/two/media", 409, "conflict");
    await_answer(&server, "/health", |health| health["active_calls"] == 1);
    assert_eq!(get(&server, "/api/call/two/status")["status"], "failed");
    let legs = get(&server, "/api/call/one/status")["legs"].clone();
    assert_eq!(legs.as_array().map(Vec::len), Some(1), "{legs}");

    hang_up(&server, "one");
    await_complete(&server, "one");
    assert_problem(
        &register_leg(&server, "one", "c", source(3)),
        path,
        409,
        "conflict",
    );
    let path = "/api/call/one/hangup";
    assert_problem(&command(&server, path), path, 409, "conflict");
    // What the ended call held is free again.
    assert_eq!(register_leg(&server, "three", "a", source(1)).status, 201);
}

#[test]
fn without_an_asterisk_only_what_needs_one_is_refused() {
    let server = Server::start(BINARY, &[]).unwrap();
    let path = "/api/call/initiate";
    let good = json!({"caller_number": "+493012345", "destination": "200"});
    assert_problem(
        &server.post(path, &good).unwrap(),
        path,
        503,
        "asterisk-unavailable",
    );
    let query = "/api/call/initiate?caller_number=%2B493012345&destination=200";
    assert_problem(&command(&server, query), query, 503, "asterisk-unavailable");
    let tap = "/api/call/1764000000.12/transcribe";
    assert_problem(&command(&server, tap), tap, 503, "asterisk-unavailable");

    // What is wrong with the request is told before what is wrong with the server.
    let both = server
        .request("POST", query, &[JSON], Some(&good.to_string()))
        .unwrap();
    assert_problem(&both, path, 400, "bad-request");
    assert_problem(&command(&server, path), path, 400, "malformed-body");
    for query in [
        "?destination=200",
        "?caller_number=1&destination=2&destination=3",
        "?a=b",
    ] {
        let query = format!("{path}{query}");
        assert_problem(&command(&server, &query), path, 400, "malformed-query");
    }
    for number in [
        "",
        "a b",
        "200@evil",
        "Local/200",
        "2&3",
        "ä",
        &"1".repeat(65),
    ] {
        let body = json!({"caller_number": "100", "destination": number});
        assert_problem(
            &server.post(path, &body).unwrap(),
            path,
            422,
            "unprocessable",
        );
    }
    let unescaped = command(
        &server,
        "/api/call/initiate?caller_number=+49&destination=200",
    );
    assert_problem(&unescaped, path, 422, "unprocessable");
    assert!(unescaped.text.contains("%2B"), "{}", unescaped.text);
}
