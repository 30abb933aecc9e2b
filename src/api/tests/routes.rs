//! Each route's success, and each way in which the service can fail it.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use serde_json::json;
use tokio::sync::Semaphore;

use super::fake::{CAPTURE_BYTES, Fake, Mood};
use super::*;
use crate::metrics;
use crate::service::ServiceError;

#[tokio::test]
async fn every_route_serves_a_good_request_and_asks_the_service_once() {
    for route in ROUTES {
        let service = Arc::new(Fake::well());
        let answer = send(&router(service.clone(), &config()), good_request(route)).await;
        assert!(
            answer.status.is_success(),
            "{}: {}",
            route.path,
            answer.text
        );
        let expected = match (&route.method, route.path) {
            (&Method::GET, "/api/call/{id}/capture") => "application/x-pcapng",
            (_, "/api/call/{id}/capture/events") => "application/x-ndjson",
            (_, "/metrics") => metrics::MEDIA_TYPE,
            _ => "application/json",
        };
        assert_eq!(answer.header("content-type"), expected);
        assert_eq!(answer.header("cache-control"), "no-store");
        assert!(!answer.header("x-request-id").is_empty());
        assert_eq!(
            service.asked().len(),
            1,
            "{}: {:?}",
            route.path,
            service.asked()
        );
    }
}

#[tokio::test]
async fn creations_answer_with_their_code_and_place() {
    let router = open_router(Fake::well());
    let body = r#"{"caller_number":"+4930100","destination":"200"}"#;
    let initiated = post_json(&router, "/api/call/initiate", body).await;
    assert_eq!(
        (initiated.status.as_u16(), initiated.header("location")),
        (202, "/api/call/em-1/status")
    );
    assert_eq!(initiated.json()["call_id"], "em-1");

    let tapped = post(&router, "/api/call/1764000000.12/transcribe").await;
    assert_eq!(
        (tapped.status.as_u16(), tapped.header("location")),
        (202, "/api/call/1764000000.12/status")
    );

    let body = r#"{"source":"[2001:db8::7]:4000","leg":"callee","format":"slin16"}"#;
    let media = post_json(&router, "/api/call/demo-1/media", body).await;
    assert_eq!(
        (media.status.as_u16(), media.header("location")),
        (201, "/api/call/demo-1/status")
    );
    assert_eq!(
        media.json()["send_to"],
        json!({"host": "127.0.0.1", "port": 40000})
    );
}

#[tokio::test]
async fn what_was_asked_reaches_the_service_as_it_was_meant() {
    let service = Arc::new(Fake::well());
    let router = router(service.clone(), &config());
    post(
        &router,
        "/api/call/initiate?caller_number=%2B49301&destination=9999",
    )
    .await;
    get(&router, "/api/calls").await;
    get(&router, "/api/calls?limit=3").await;
    get(&router, "/api/call/a%2Eb/status").await;
    let lines = get(&router, "/api/call/a.b/transcript?from_seq=5").await;
    get(&router, "/api/call/a.b/transcript").await;
    post(&router, "/api/call/a.b/hangup").await;
    let back = post(&router, "/api/asterisk/take-back").await;
    assert_eq!(
        (back.status.as_u16(), &back.json()["state"]),
        (202, &json!("down"))
    );
    let asked = [
        "initiate +49301 9999",
        "calls 100",
        "calls 3",
        "status a.b",
        "transcript a.b 5",
        "transcript a.b 0",
        "hangup a.b",
        "take back",
    ];
    assert_eq!(service.asked(), asked);
    assert_eq!(lines.json()["lines"][0]["seq"], 5);
    assert_eq!(
        get(&router, "/api/calls").await.json()["calls"][0]["call_id"],
        "em-1"
    );
}

#[tokio::test]
async fn a_list_says_where_it_goes_on_and_whether_something_may_be_missing() {
    let service = Arc::new(Fake::well());
    let router = router(service.clone(), &config());
    let first = get(&router, "/api/calls?limit=1").await.json();
    assert_eq!(first["next"], "0_em-1");
    assert!(first.get("partial").is_none(), "{first}");
    get(&router, "/api/calls?before=0_em-1&limit=1").await;
    let second = get(&router, "/api/calls?limit=2").await.json();
    assert_eq!(second["partial"], true);
    assert!(second.get("next").is_none(), "{second}");
    for bad in [
        "",
        "em-1",
        "_em-1",
        "1_",
        "1_%2e%2e",
        "1.5_a",
        "1_a&before=1_a",
    ] {
        get(&router, &format!("/api/calls?before={bad}"))
            .await
            .is_problem(400, "malformed-query");
    }
    let asked = ["calls 1", "calls 1 behind 0_em-1", "calls 2"];
    assert_eq!(service.asked(), asked);
}

#[tokio::test]
async fn a_call_that_is_erased_is_said_to_be() {
    let service = Arc::new(Fake::well());
    let router = router(service.clone(), &config());
    let answer = send(&router, request(Method::DELETE, "/api/call/a.b")).await;
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text);
    assert_eq!(answer.json(), json!({"call_id": "a.b", "erased": true}));
    assert_eq!(service.asked(), ["erase a.b"]);
}

#[tokio::test]
async fn a_capture_is_begun_downloaded_in_pieces_and_ended() {
    let service = Arc::new(Fake::well());
    let router = router(service.clone(), &config());
    let begun = post(&router, "/api/call/a.b/capture").await;
    assert_eq!(
        (begun.status.as_u16(), begun.header("location")),
        (201, "/api/call/a.b/capture")
    );
    assert_eq!(begun.json()["running"], true);
    post_json(&router, "/api/call/a.b/capture", r#"{"max_bytes":300000}"#).await;
    post_json(&router, "/api/call/a.b/capture", "{}").await;
    let file = get(&router, "/api/call/a.b/capture").await;
    assert_eq!(file.text.len(), CAPTURE_BYTES);
    assert_eq!(
        (
            file.header("content-length"),
            file.header("content-disposition")
        ),
        ("200000", "attachment; filename=\"a.b.pcapng\"")
    );
    let events = get(&router, "/api/call/a.b/capture/events").await;
    assert_eq!(
        events.header("content-disposition"),
        "attachment; filename=\"a.b.events.jsonl\""
    );
    let ended = send(&router, request(Method::DELETE, "/api/call/a.b/capture")).await;
    assert_eq!(ended.json()["running"], false);
    let asked = [
        "capture a.b None",
        "capture a.b Some(300000)",
        "capture a.b None",
        "read capture a.b Packets",
        "read capture a.b Events",
        "stop capture a.b",
    ];
    assert_eq!(service.asked(), asked);
    for (body, status, slug) in [
        ("[]", 422, "invalid-body"),
        (r#"{"max":1}"#, 422, "invalid-body"),
        (r#"{"max_bytes":-1}"#, 422, "invalid-body"),
        ("{", 400, "malformed-body"),
    ] {
        let answer = post_json(&router, "/api/call/a.b/capture", body).await;
        answer.is_problem(status, slug);
    }
}

#[tokio::test]
async fn the_model_is_shown_and_another_is_asked_for_by_name() {
    let service = Arc::new(Fake::well());
    let router = router(service.clone(), &config());
    let shown = get(&router, "/api/model").await;
    let expected = json!({
        "state": "ready", "name": "ggml-tiny.en.bin", "revision": "ggml-tiny.en.bin@921e4cf8",
        "sha256": "921e4cf8", "bytes": 77_704_715, "demo": false, "fits_audio_ctx": true, "engine": "whisper.cpp", "sentinel_margin": null,
        "context_margins": [256],
    });
    assert_eq!(shown.json(), expected);
    let begun = post_json(&router, "/api/model", r#"{"name":"base.en"}"#).await;
    assert_eq!(
        (begun.status.as_u16(), begun.header("location")),
        (202, "/api/model")
    );
    assert_eq!(
        (&begun.json()["state"], &begun.json()["wanted"]),
        (&json!("loading"), &json!("base.en"))
    );
    for (body, status, slug) in [
        ("", 400, "malformed-body"),
        ("{", 400, "malformed-body"),
        ("{}", 422, "invalid-body"),
        (r#"{"name":1}"#, 422, "invalid-body"),
        (r#"{"name":"tiny","path":"/x"}"#, 422, "invalid-body"),
        (r#"{"path":"/x"}"#, 422, "invalid-body"),
    ] {
        let answer = post_json(&router, "/api/model", body).await;
        answer.is_problem(status, slug);
    }
    assert_eq!(service.asked(), ["model", "switch base.en"]);
}

#[tokio::test]
async fn each_failure_of_the_service_has_its_code() {
    let id = "gone".parse().unwrap();
    let other = "bare".parse().unwrap();
    let cases = [
        (ServiceError::UnknownCall(id), 404, "unknown-call", ""),
        (ServiceError::NoCapture(other), 404, "no-capture", ""),
        (
            ServiceError::Conflict("it is over".into()),
            409,
            "conflict",
            "",
        ),
        (
            ServiceError::Unprocessable("no such format".into()),
            422,
            "unprocessable",
            "",
        ),
        (
            ServiceError::UnknownFile("a.wav".parse().unwrap()),
            404,
            "unknown-file",
            "",
        ),
        (
            ServiceError::UnknownPlayback(7),
            404,
            "unknown-playback",
            "",
        ),
        (ServiceError::Busy("full".into()), 503, "busy", "5"),
        (
            ServiceError::AtCapacity { max: 100 },
            503,
            "at-capacity",
            "30",
        ),
        (
            ServiceError::AsteriskUnavailable("no connection".into()),
            503,
            "asterisk-unavailable",
            "5",
        ),
        (
            ServiceError::AsteriskRefused("no such endpoint".into()),
            502,
            "asterisk-refused",
            "",
        ),
        (
            ServiceError::StoreUnavailable("timed out".into()),
            503,
            "store-unavailable",
            "5",
        ),
    ];
    for (error, status, slug, retry_after) in cases {
        let router = open_router(Fake::new(Mood::Fail(error.clone())));
        let never_fails = ["/health", "/metrics"];
        let may_fail = |route: &&ApiRoute| !never_fails.contains(&route.path);
        for route in ROUTES.iter().filter(may_fail) {
            let request = good_request(route);
            let path = request.uri().path().to_owned();
            let answer = send(&router, request).await;
            let document = answer.is_problem(status, slug);
            assert_eq!(document["detail"], error.to_string());
            assert_eq!(document["instance"], path);
            assert_eq!(answer.header("retry-after"), retry_after);
        }
    }
}

#[tokio::test]
async fn a_panic_and_a_hang_are_answered_too() {
    let panicking = open_router(Fake::new(Mood::Panic));
    let limits = ApiLimits {
        request_time: Duration::from_millis(20),
        ..ApiLimits::default()
    };
    let hanging = Fake::new(Mood::Wait(Semaphore::new(0)));
    let hanging = router(Arc::new(hanging), &ApiConfig { limits, ..config() });
    for route in ROUTES {
        send(&panicking, good_request(route))
            .await
            .is_problem(500, "internal");
        send(&hanging, good_request(route))
            .await
            .is_problem(504, "timeout");
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_are_told_apart() {
    let router = open_router(Fake::well());
    for path in [
        "/",
        "/api",
        "/api/",
        "/api/calls/",
        "/api/call/a/b/status",
        "/health/x",
        "//health",
    ] {
        get(&router, path).await.is_problem(404, "unknown-route");
    }
    for route in ROUTES {
        let path = route.path.replace("{id}", "a");
        for method in [
            Method::DELETE,
            Method::PUT,
            Method::PATCH,
            Method::OPTIONS,
            Method::TRACE,
        ] {
            let served = |other: &ApiRoute| other.path == route.path && other.method == method;
            if ROUTES.iter().any(served) {
                continue;
            }
            let answer = send(&router, request(method, &path)).await;
            answer.is_problem(405, "method-not-allowed");
            assert!(
                answer.header("allow").contains(route.method.as_str()),
                "{path}: {:?}",
                answer.headers
            );
        }
    }
}

#[tokio::test]
async fn a_clients_request_id_is_kept_if_it_is_harmless() {
    let router = open_router(Fake::well());
    let with = |id: &[u8]| {
        Request::get("/nowhere")
            .header("x-request-id", id)
            .body(Body::empty())
            .unwrap()
    };
    assert_eq!(
        send(&router, with(b"abc-1.2_3"))
            .await
            .header("x-request-id"),
        "abc-1.2_3"
    );
    let long = "a".repeat(65);
    for bad in [b"a b".as_slice(), b"", b"\xff", b"{x}", long.as_bytes()] {
        let answer = send(&router, with(bad)).await;
        answer.is_problem(404, "unknown-route");
        assert_eq!(answer.header("x-request-id").len(), 36, "a new UUID");
    }
}
