//! Hostile and mistaken input: ids, queries, bodies, sizes. Nothing of it may
//! reach the service, and nothing may panic.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use futures_util::stream;
use proptest::prelude::*;

use super::*;

const INITIATE: &str = "/api/call/initiate";
/// Bodies' `recognition`, and which error they bring.
const BAD_CHOICES: [&str; 13] = [
    r#"{"language":"klingon"}"#,
    r#"{"language":["en"]}"#,
    r#"{"language":"en,"}"#,
    r#"{"prompt":""}"#,
    r#"{"prompt":"a\u0000b"}"#,
    r#"{"partials":"on"}"#,
    r#"{"translate":1}"#,
    r#"{"numbers":"words"}"#,
    r#"{"speed":"fast"}"#,
    r#"{"language":"en","language":"de"}"#,
    "[]",
    r#"["en"]"#,
    "null",
];

#[tokio::test]
async fn choices_are_taken_at_their_word_or_refused() {
    let service = Arc::new(Fake::well());
    let router = router(service.clone(), &config());
    let good = r#"{"language":"en,de","prompt":"Kowalski","partials":false}"#;
    let bodies = |recognition: &str| {
        let rest = format!(r#""recognition":{recognition}}}"#);
        [
            (
                INITIATE,
                format!(r#"{{"caller_number":"1","destination":"2",{rest}"#),
            ),
            (
                MEDIA,
                format!(r#"{{"source":"192.0.2.1:4000","leg":"a","format":"ulaw",{rest}"#),
            ),
            ("/api/call/a/transcribe", format!("{{{rest}")),
        ]
    };
    let long = format!(r#"{{"prompt":"{}"}}"#, "a".repeat(1001));
    for bad in BAD_CHOICES.into_iter().chain([long.as_str()]) {
        for (path, body) in bodies(bad) {
            let answer = post_json(&router, path, body).await;
            answer.is_problem(422, "invalid-body");
        }
    }
    for body in [r#"{"language":"en"}"#, "[]", "1"] {
        let answer = post_json(&router, "/api/call/a/transcribe", body).await;
        answer.is_problem(422, "invalid-body");
    }
    assert!(service.asked().is_empty(), "{:?}", service.asked());
    for (path, body) in bodies(good) {
        let answer = post_json(&router, path, body).await;
        assert!(answer.status.is_success(), "{path}: {}", answer.text);
    }
    for body in ["{}", "null", r#"{"recognition":{}}"#] {
        let answer = post_json(&router, "/api/call/a/transcribe", body).await;
        assert!(answer.status.is_success(), "{body}: {}", answer.text);
    }
    let asked = [
        format!("initiate 1 2 {good}"),
        format!("media a 192.0.2.1:4000 a ulaw {good}"),
        format!("transcribe a {good}"),
        "transcribe a".to_owned(),
        "transcribe a".to_owned(),
        "transcribe a".to_owned(),
    ];
    assert_eq!(service.asked(), asked);
}

const MEDIA: &str = "/api/call/a/media";

#[tokio::test]
async fn ids_that_are_none_never_reach_the_service() {
    let service = Arc::new(Fake::well());
    let router = router(service.clone(), &config());
    let long = "a".repeat(81);
    let bad = [
        "",
        "..",
        ".",
        "%2e%2e",
        "..%2f..%2fetc",
        "%2e%2e%5c",
        "%00",
        "a%00b",
        "a;b",
        "a%3bb",
        "a:b",
        "a%0d%0aX:%20y",
        "%c3%a9",
        "%ff",
        "a%20b",
        "a+b",
        "-a",
        "%25",
        "a*",
        "call:1:transcript",
        "{id}",
        "a@b",
        "%e2%80%ae",
        &long,
    ];
    // Any text is a channel's id: see below.
    let tap = "/api/call/{id}/transcribe";
    let with_id = ROUTES.iter().filter(|route| route.path.contains("{id}"));
    for route in with_id.filter(|route| route.path != tap) {
        for id in bad {
            let path = route.path.replace("{id}", id);
            let answer = send(&router, request(route.method.clone(), &path)).await;
            answer.is_problem(400, "malformed-id");
        }
        let huge = route.path.replace("{id}", &"a".repeat(10 * 1024));
        send(&router, request(route.method.clone(), &huge))
            .await
            .is_problem(414, "uri-too-long");
    }
    assert!(service.asked().is_empty(), "{:?}", service.asked());
}

#[tokio::test]
async fn queries_are_taken_at_their_word_or_refused() {
    let service = Arc::new(Fake::well());
    let router = router(service.clone(), &config());
    for query in [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=",
        "limit=1e3",
        "limit=99999999999999999999999",
        "limit=1&limit=2",
        "Limit=1",
        "x=1",
        "limit=%ff",
    ] {
        get(&router, &format!("/api/calls?{query}"))
            .await
            .is_problem(400, "malformed-query");
    }
    for query in [
        "from_seq=-1",
        "from_seq=18446744073709551615",
        "from_seq=1.0",
        "from_seq=NaN",
        "seq=1",
    ] {
        get(&router, &format!("/api/call/a/transcript?{query}"))
            .await
            .is_problem(400, "malformed-query");
    }
    assert!(service.asked().is_empty(), "{:?}", service.asked());
}

#[tokio::test]
async fn the_old_query_form_is_checked_like_the_body() {
    let service = Arc::new(Fake::well());
    let router = router(service.clone(), &config());
    post(&router, &format!("{INITIATE}?caller_number=1"))
        .await
        .is_problem(400, "malformed-query");
    post(
        &router,
        &format!("{INITIATE}?caller_number=1&destination=2&x=3"),
    )
    .await
    .is_problem(400, "malformed-query");
    let plus = post(
        &router,
        &format!("{INITIATE}?caller_number=1&destination=+49"),
    )
    .await;
    assert!(
        plus.is_problem(422, "unprocessable")["detail"]
            .as_str()
            .unwrap()
            .contains("%2B")
    );
    let both = post_json(
        &router,
        &format!("{INITIATE}?caller_number=1&destination=2"),
        "{}",
    )
    .await;
    both.is_problem(400, "bad-request");
    post(&router, INITIATE)
        .await
        .is_problem(400, "malformed-body");
    assert!(service.asked().is_empty(), "{:?}", service.asked());
}

#[tokio::test]
async fn bodies_that_are_no_json_or_not_what_is_asked_for() {
    let service = Arc::new(Fake::well());
    let router = router(service.clone(), &config());
    let nested =
        |open: &str, close: &str| format!("{}{}", open.repeat(100_000), close.repeat(100_000));
    let in_field = |value: &str| format!(r#"{{"caller_number":"1","destination":{value}}}"#);
    let cases = [
        ("{".to_owned(), 400, "malformed-body"),
        ("\u{feff}{}".to_owned(), 400, "malformed-body"),
        (
            r#"{"caller_number":"1","destination":"2"}}"#.to_owned(),
            400,
            "malformed-body",
        ),
        (r#"{'caller_number':1}"#.to_owned(), 400, "malformed-body"),
        (in_field(r#""\ud800""#), 400, "malformed-body"),
        ("[".repeat(100_000), 400, "malformed-body"),
        (r#"{"caller_number":"#.repeat(10_000), 422, "invalid-body"),
        (nested("[", "]"), 422, "invalid-body"),
        (in_field(&nested("[", "]")), 422, "invalid-body"),
        (
            in_field(&format!("1{}", "0".repeat(100_000))),
            400,
            "malformed-body",
        ),
        (in_field("1e400"), 400, "malformed-body"),
        (in_field("200"), 422, "invalid-body"),
        (in_field("null"), 422, "invalid-body"),
        (in_field(r#"["2"]"#), 422, "invalid-body"),
        ("null".to_owned(), 422, "invalid-body"),
        (r#"["1","2"]"#.to_owned(), 422, "invalid-body"),
        ("{}".to_owned(), 422, "invalid-body"),
        (
            r#"{"caller_number":"1","destination":"2","destination":"3"}"#.to_owned(),
            422,
            "invalid-body",
        ),
        (
            r#"{"caller_number":"1","destination":"2","extra":1}"#.to_owned(),
            422,
            "invalid-body",
        ),
        (in_field(r#""""#), 422, "unprocessable"),
        (in_field(r#""200\r\nX: y""#), 422, "unprocessable"),
        (in_field(r#""200@trunk""#), 422, "unprocessable"),
        (in_field(r#""Local/200""#), 422, "unprocessable"),
        (in_field(r#""200&SIP""#), 422, "unprocessable"),
        (in_field(r#""2\u0000""#), 422, "unprocessable"),
        (in_field(r#""é""#), 422, "unprocessable"),
        (
            in_field(&format!("{:?}", "2".repeat(65))),
            422,
            "unprocessable",
        ),
    ];
    for (body, status, slug) in cases {
        let shown: String = body.chars().take(60).collect();
        let answer = post_json(&router, INITIATE, body).await;
        println!("{shown}: {}", answer.text);
        answer.is_problem(status, slug);
        assert!(answer.text.len() < 2048, "no long echo");
    }
    assert!(service.asked().is_empty(), "{:?}", service.asked());
}

#[tokio::test]
async fn media_registrations_are_checked() {
    let service = Arc::new(Fake::well());
    let router = router(service.clone(), &config());
    let body = |source: &str, leg: &str, format: &str| {
        serde_json::json!({"source": source, "leg": leg, "format": format}).to_string()
    };
    for bad in [
        body("192.0.2.7", "caller", "ulaw"),
        body("host.example:4000", "caller", "ulaw"),
        body("192.0.2.7:70000", "caller", "ulaw"),
        body("192.0.2.7:4000", "../caller", "ulaw"),
        body("192.0.2.7:4000", "", "ulaw"),
    ] {
        post_json(&router, MEDIA, bad)
            .await
            .is_problem(422, "invalid-body");
    }
    for bad in [
        body("192.0.2.7:0", "caller", "ulaw"),
        body("0.0.0.0:4000", "caller", "ulaw"),
        body("[::]:4000", "caller", "ulaw"),
        body("224.0.0.1:4000", "caller", "ulaw"),
        body("192.0.2.7:4000", "caller", ""),
        body("192.0.2.7:4000", "caller", "ulaw&x=1"),
    ] {
        post_json(&router, MEDIA, bad)
            .await
            .is_problem(422, "unprocessable");
    }
    assert!(service.asked().is_empty(), "{:?}", service.asked());
}

#[tokio::test]
async fn media_types_other_than_json_are_refused() {
    let router = open_router(Fake::well());
    let body = r#"{"caller_number":"1","destination":"2"}"#;
    let with = |name: &str, value: &[u8]| {
        let request = Request::post(INITIATE).header("content-type", "application/json");
        let mut request = request.body(Body::from(body)).unwrap();
        let name: header::HeaderName = name.parse().unwrap();
        request
            .headers_mut()
            .insert(name, header::HeaderValue::from_bytes(value).unwrap());
        request
    };
    for bad in [
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonx",
        "text/json",
        "json",
    ] {
        send(&router, with("content-type", bad.as_bytes()))
            .await
            .is_problem(415, "unsupported-media-type");
    }
    send(&router, with("content-type", b"\xff"))
        .await
        .is_problem(415, "unsupported-media-type");
    send(&router, with("content-encoding", b"gzip"))
        .await
        .is_problem(415, "unsupported-media-type");
    send(
        &router,
        Request::post(MEDIA).body(Body::from("{}")).unwrap(),
    )
    .await
    .is_problem(415, "unsupported-media-type");
    for good in [
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/vnd.x+json",
    ] {
        assert_eq!(
            send(&router, with("content-type", good.as_bytes()))
                .await
                .status,
            202,
            "{good}"
        );
    }
}

#[tokio::test]
async fn sizes_are_bounded_at_the_byte() {
    let service = Arc::new(Fake::well());
    let router = router(service.clone(), &config());
    let object = r#"{"caller_number":"1","destination":"2"}"#;
    let padded = |len: usize| format!("{object}{}", " ".repeat(len - object.len()));
    assert_eq!(
        post_json(&router, INITIATE, padded(256 * 1024))
            .await
            .status,
        202
    );
    post_json(&router, INITIATE, padded(256 * 1024 + 1))
        .await
        .is_problem(413, "body-too-large");
    let chunks = padded(300 * 1024).into_bytes();
    let chunks: Vec<_> = chunks
        .chunks(1000)
        .map(|c| Ok::<_, Infallible>(Bytes::copy_from_slice(c)))
        .collect();
    post_json(&router, INITIATE, Body::from_stream(stream::iter(chunks)))
        .await
        .is_problem(413, "body-too-large");
    for route in ROUTES {
        let mut declared = good_request(route);
        declared
            .headers_mut()
            .insert(header::CONTENT_LENGTH, 300_000.into());
        send(&router, declared)
            .await
            .is_problem(413, "body-too-large");
        let mut heavy = good_request(route);
        heavy
            .headers_mut()
            .insert("x-filler", "a".repeat(32 * 1024).parse().unwrap());
        send(&router, heavy)
            .await
            .is_problem(431, "headers-too-large");
    }
    assert_eq!(service.asked().len(), 1);
}

#[tokio::test]
async fn a_body_that_does_not_come_or_breaks_off_is_not_waited_for() {
    let limits = ApiLimits {
        body_time: Duration::from_millis(20),
        ..ApiLimits::default()
    };
    let router = router(Arc::new(Fake::well()), &ApiConfig { limits, ..config() });
    let never = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
    let answer = post_json(&router, INITIATE, never).await;
    answer.is_problem(408, "body-timeout");
    assert_eq!(answer.header("connection"), "close");
    let broken = Body::from_stream(stream::iter([
        Ok(Bytes::from_static(b"{")),
        Err(std::io::Error::other("gone")),
    ]));
    post_json(&router, INITIATE, broken)
        .await
        .is_problem(400, "malformed-body");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_target_and_any_body_get_an_answer_that_is_no_fault_of_ours(
        path in "/(api|health|calls|call|%[0-9a-f]{2}|[ -~&&[^ \"<>\\\\^`{}|#]]|/){0,12}",
        body in prop::collection::vec(any::<u8>(), 0..200),
        posting in any::<bool>(),
    ) {
        let Ok(uri) = path.parse::<axum::http::Uri>() else { return Ok(()) };
        let method = if posting { Method::POST } else { Method::GET };
        let request = Request::builder().method(method).uri(uri).header("content-type", "application/json");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let answer = runtime.block_on(send(&open_router(Fake::well()), request.body(Body::from(body)).unwrap()));
        prop_assert!(!answer.status.is_server_error(), "{}", answer.text);
        if answer.status.is_client_error() {
            prop_assert_eq!(answer.header("content-type"), "application/problem+json");
        }
    }

    #[test]
    fn mutated_bodies_are_refused_or_meant(position in 0usize..39, byte in any::<u8>()) {
        let mut body = br#"{"caller_number":"1","destination":"2"}"#.to_vec();
        body[position] = byte;
        let meant = serde_json::from_slice::<Value>(&body).ok();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let answer = runtime.block_on(post_json(&open_router(Fake::well()), INITIATE, body));
        match answer.status.as_u16() {
            202 => prop_assert!(meant.is_some_and(|json| json.as_object().is_some_and(|object| object.len() == 2))),
            400 => prop_assert!(meant.is_none()),
            other => prop_assert_eq!(other, 422),
        }
    }
}
