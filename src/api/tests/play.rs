//! Audio to a call: uploads and names, and what of them never reaches the service.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::fake::{Fake, Mood};
use super::*;

const PLAY: &str = "/api/call/a/play";

fn upload(uri: &str, media_type: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(uri)
        .header(header::CONTENT_TYPE, media_type)
        .body(body.into())
        .unwrap()
}

fn small(service: &Arc<Fake>) -> Router {
    let limits = ApiLimits {
        body: 100,
        upload: 1000,
        uploads: 1,
        body_time: Duration::from_millis(50),
        ..ApiLimits::default()
    };
    router(service.clone(), &ApiConfig { limits, ..config() })
}

#[tokio::test]
async fn a_sound_is_named_or_brought_along() {
    let service = Arc::new(Fake::well());
    let router = router(service.clone(), &config());
    let answer = post_json(&router, PLAY, r#"{"file":"hello.wav"}"#).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("location")),
        (202, "/api/call/a/status")
    );
    let body = answer.json();
    assert_eq!(
        (&body["id"], &body["state"], &body["leg"]),
        (&3.into(), &"queued".into(), &"caller".into())
    );
    let body = r#"{"file":"hello.wav","leg":"callee","format":"g722"}"#;
    post_json(&router, PLAY, body).await;
    let uri = format!("{PLAY}?leg=b&format=alaw&name=menu.wav");
    for media_type in ["audio/wav", "Audio/X-WAV; codecs=1"] {
        let answer = send(&router, upload(&uri, media_type, "RIFF")).await;
        assert_eq!(answer.status.as_u16(), 202, "{}", answer.text);
    }
    send(&router, upload(PLAY, "audio/wav", "RIFF")).await;
    let stopped = send(&router, request(Method::DELETE, PLAY)).await;
    assert_eq!(stopped.json()["stopped"][0]["name"], "a.wav");
    send(
        &router,
        request(Method::DELETE, &format!("{PLAY}?id=18446744073709551615")),
    )
    .await;
    assert_eq!(
        service.asked(),
        [
            "play a hello.wav named any any",
            "play a hello.wav named callee g722",
            "play a menu.wav 4 bytes b alaw",
            "play a menu.wav 4 bytes b alaw",
            "play a upload 4 bytes any any",
            "stop a None",
            "stop a Some(18446744073709551615)",
        ]
    );
}

#[tokio::test]
async fn names_that_are_no_plain_names_never_reach_the_service() {
    let service = Arc::new(Fake::well());
    let router = router(service.clone(), &config());
    let long = "a".repeat(129);
    for name in [
        "",
        ".",
        "..",
        "../secret.wav",
        "a/b.wav",
        "/etc/passwd",
        ".hidden.wav",
        "a\\\\b",
        "a\\u0000.wav",
        "ä.wav",
        "a b.wav",
        "~root",
        "-rf",
        &long,
    ] {
        let body = format!(r#"{{"file":"{name}"}}"#);
        post_json(&router, PLAY, body)
            .await
            .is_problem(422, "invalid-body");
    }
    for body in [
        r#"{"file":"a.wav","path":"/"}"#,
        r#"{"leg":"a"}"#,
        r#"{"file":"a.wav","leg":"a/b"}"#,
    ] {
        post_json(&router, PLAY, body)
            .await
            .is_problem(422, "invalid-body");
    }
    post(&router, PLAY).await.is_problem(400, "malformed-body");
    for query in [
        "name=..",
        "name=a%2Fb",
        "leg=",
        "leg=a/b",
        "file=a.wav",
        "leg=a&leg=b",
    ] {
        let uri = format!("{PLAY}?{query}");
        send(&router, upload(&uri, "audio/wav", "RIFF"))
            .await
            .is_problem(400, "malformed-query");
    }
    post_json(&router, &format!("{PLAY}?leg=a"), r#"{"file":"a.wav"}"#)
        .await
        .is_problem(400, "malformed-query");
    for media_type in ["audio/mpeg", "audio/", "text/plain", "multipart/form-data"] {
        send(&router, upload(PLAY, media_type, "RIFF"))
            .await
            .is_problem(415, "unsupported-media-type");
    }
    for query in [
        "id=",
        "id=-1",
        "id=a",
        "id=1&id=2",
        "all=1",
        "id=18446744073709551616",
    ] {
        send(&router, request(Method::DELETE, &format!("{PLAY}?{query}")))
            .await
            .is_problem(400, "malformed-query");
    }
    assert!(service.asked().is_empty(), "{:?}", service.asked());
}

#[tokio::test]
async fn a_file_may_be_larger_than_json_and_is_bounded_all_the_same() {
    let service = Arc::new(Fake::well());
    let router = small(&service);
    let answer = send(&router, upload(PLAY, "audio/wav", vec![0; 1000])).await;
    assert_eq!(answer.status.as_u16(), 202, "{}", answer.text);
    let streamed = |length: usize| {
        let chunk = std::iter::once(Ok::<_, std::convert::Infallible>(vec![b' '; length]));
        Body::from_stream(futures_util::stream::iter(chunk))
    };
    for body in [Body::from(vec![0; 1001]), streamed(1001)] {
        let answer = send(&router, upload(PLAY, "audio/wav", body)).await;
        let detail = answer.is_problem(413, "body-too-large");
        assert_eq!(detail["detail"], "more than 1000 bytes");
    }
    // The same route takes no more JSON than any other, and the others no files.
    send(&router, upload(PLAY, "application/json", streamed(101)))
        .await
        .is_problem(413, "body-too-large");
    send(
        &router,
        upload("/api/call/a/media", "audio/wav", vec![0; 101]),
    )
    .await
    .is_problem(413, "body-too-large");
    assert_eq!(service.asked(), ["play a upload 1000 bytes any any"]);
}

#[tokio::test]
async fn files_on_their_way_in_are_bounded_in_number() {
    let service = Arc::new(Fake::new(Mood::Wait(Semaphore::new(0))));
    let router = small(&service);
    let first = {
        let router = router.clone();
        tokio::spawn(async move { send(&router, upload(PLAY, "audio/wav", "RIFF")).await })
    };
    // It is with the service, and its bytes are in memory.
    service.arrived.acquire().await.unwrap().forget();
    send(&router, upload(PLAY, "audio/wav", "RIFF"))
        .await
        .is_problem(503, "busy");
    let Mood::Wait(gate) = &service.mood else {
        unreachable!("as made above")
    };
    gate.add_permits(2);
    assert_eq!(first.await.unwrap().status.as_u16(), 202);
    let third = send(&router, upload(PLAY, "audio/wav", "RIFF")).await;
    assert_eq!(third.status.as_u16(), 202, "{}", third.text);
}
