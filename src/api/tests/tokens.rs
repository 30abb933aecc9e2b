//! Who is let in: token cases over every route of the table.

use std::sync::Arc;

use axum::http::HeaderValue;

use super::*;

fn with_authorization(mut request: Request<Body>, values: &[&[u8]]) -> Request<Body> {
    for value in values {
        request.headers_mut().append(
            header::AUTHORIZATION,
            HeaderValue::from_bytes(value).unwrap(),
        );
    }
    request
}

#[tokio::test]
async fn the_right_token_opens_every_route() {
    let router = token_router(Arc::new(Fake::well()));
    for scheme in ["Bearer", "bearer", "BEARER", "Bearer "] {
        let value = format!("{scheme} {TOKEN}");
        for route in ROUTES {
            let answer = send(
                &router,
                with_authorization(good_request(route), &[value.as_bytes()]),
            )
            .await;
            assert!(
                answer.status.is_success(),
                "{}: {}",
                route.path,
                answer.text
            );
        }
    }
}

#[tokio::test]
async fn every_other_token_opens_none() {
    let right = format!("Bearer {TOKEN}");
    let trailing = format!("{right} ");
    let tab = format!("Bearer\t{TOKEN}");
    let prefix = &right[..right.len() - 1];
    let longer = format!("{right}x");
    let other_case = format!("Bearer {}", TOKEN.to_uppercase());
    let huge = format!("Bearer {}", "a".repeat(8192));
    let cases: [&[&[u8]]; 14] = [
        &[b""],
        &[b"Bearer"],
        &[b"Bearer "],
        &[b"Bearer wrong"],
        &[prefix.as_bytes()],
        &[longer.as_bytes()],
        &[trailing.as_bytes()],
        &[tab.as_bytes()],
        &[other_case.as_bytes()],
        &[huge.as_bytes()],
        &[b"Bearer \xff\xfe"],
        &[TOKEN.as_bytes()],
        &[b"Basic Y29ycmVjdA=="],
        &[right.as_bytes(), right.as_bytes()],
    ];
    let service = Arc::new(Fake::well());
    let router = token_router(service.clone());
    for route in ROUTES {
        for values in cases {
            let answer = send(&router, with_authorization(good_request(route), values)).await;
            answer.is_problem(401, "unauthorized");
            assert_eq!(
                answer.header("www-authenticate"),
                r#"Bearer realm="asterscribe", error="invalid_token""#
            );
            assert!(!answer.text.contains(TOKEN));
        }
        for name in [
            "token",
            "access_token",
            "auth_token",
            "api_key",
            "acces%73_token",
        ] {
            let mut bare = good_request(route);
            *bare.uri_mut() = format!("{}?{name}={TOKEN}", bare.uri()).parse().unwrap();
            let answer = send(&router, bare).await;
            answer.is_problem(401, "unauthorized");
            assert!(!answer.text.contains(TOKEN), "the token is not echoed");
        }
    }
    assert!(service.asked().is_empty(), "{:?}", service.asked());
}

#[tokio::test]
async fn without_a_token_only_open_routes_answer_and_those_tersely() {
    let service = Arc::new(Fake::well());
    let router = token_router(service.clone());
    for route in ROUTES {
        let answer = send(&router, good_request(route)).await;
        if route.open {
            assert_eq!(
                (answer.status.as_u16(), answer.text.as_str()),
                (200, r#"{"status":"degraded"}"#)
            );
        } else {
            answer.is_problem(401, "unauthorized");
            assert_eq!(
                answer.header("www-authenticate"),
                r#"Bearer realm="asterscribe""#
            );
        }
    }
    assert_eq!(service.asked(), ["health"]);
    assert_eq!(ROUTES.iter().filter(|route| route.open).count(), 1);
    // Not even which paths and methods there are.
    get(&router, "/nowhere")
        .await
        .is_problem(401, "unauthorized");
    post(&router, "/api/calls")
        .await
        .is_problem(401, "unauthorized");
    get(&router, "/api/call/%00/status")
        .await
        .is_problem(401, "unauthorized");
}

#[tokio::test]
async fn health_tells_everything_to_who_may_know() {
    let with_token = token_router(Arc::new(Fake::well()));
    let right = format!("Bearer {TOKEN}");
    let known = send(
        &with_token,
        with_authorization(request(Method::GET, "/health"), &[right.as_bytes()]),
    )
    .await;
    let local = get(&open_router(Fake::well()), "/health").await;
    for answer in [known, local] {
        assert_eq!(answer.json()["version"], "9.9.9");
        assert_eq!(answer.json()["max_concurrent_calls"], 100);
    }
}

#[tokio::test]
async fn a_server_without_a_token_is_deaf_to_web_pages_and_rebound_names() {
    let service = Arc::new(Fake::well());
    let router = router(service.clone(), &config());
    for route in ROUTES {
        for origin in [
            "https://evil.example",
            "null",
            "http://127.0.0.1:8000",
            "\u{e9}",
        ] {
            let mut page = good_request(route);
            page.headers_mut().insert(
                header::ORIGIN,
                HeaderValue::from_bytes(origin.as_bytes()).unwrap(),
            );
            send(&router, page)
                .await
                .is_problem(403, "origin-not-allowed");
        }
        for host in [
            "evil.example",
            "127.0.0.1.evil.example:8000",
            "localhost.evil.example",
            "127.0.0.1@evil",
            "",
            "a b",
        ] {
            let mut rebound = good_request(route);
            rebound
                .headers_mut()
                .insert(header::HOST, HeaderValue::from_str(host).unwrap());
            send(&router, rebound)
                .await
                .is_problem(403, "host-not-allowed");
        }
    }
    send(&router, request(Method::GET, "http://evil.example/health"))
        .await
        .is_problem(403, "host-not-allowed");
    assert!(service.asked().is_empty());

    for host in [
        "127.0.0.1:8000",
        "[::1]:8000",
        "localhost",
        "LocalHost:8000",
        "app.localhost",
        "192.0.2.1",
    ] {
        let local = Request::get("/health")
            .header(header::HOST, host)
            .body(Body::empty())
            .unwrap();
        assert_eq!(send(&router, local).await.status, 200, "{host}");
    }
}
