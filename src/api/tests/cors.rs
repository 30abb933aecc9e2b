//! Which web pages a browser lets in.

use std::sync::Arc;

use super::*;

const GOOD: &str = "https://desk.example";

fn cors_router(cors: CorsOrigins) -> Router {
    router(
        Arc::new(Fake::well()),
        &ApiConfig {
            token: Some(Secret::new(TOKEN)),
            cors,
            ..config()
        },
    )
}

fn preflight(origin: &str) -> Request<Body> {
    Request::options("/api/calls")
        .header("origin", origin)
        .header("access-control-request-method", "GET")
        .header("access-control-request-headers", "authorization")
        .body(Body::empty())
        .unwrap()
}

fn page(origin: &str) -> Request<Body> {
    let request = Request::get("/api/calls").header("origin", origin);
    request
        .header("authorization", format!("Bearer {TOKEN}"))
        .body(Body::empty())
        .unwrap()
}

const ALLOW_ORIGIN: &str = "access-control-allow-origin";

#[tokio::test]
async fn a_listed_origin_is_let_in_by_exact_name() {
    let router = cors_router(CorsOrigins::List(vec![
        GOOD.to_owned(),
        "http://localhost:3000".to_owned(),
    ]));
    let answer = send(&router, preflight(GOOD)).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header(ALLOW_ORIGIN)),
        (200, GOOD)
    );
    assert!(
        answer
            .header("access-control-allow-headers")
            .contains("authorization")
    );
    assert_eq!(
        answer.header("access-control-allow-methods"),
        "GET,POST,DELETE"
    );
    assert!(answer.header("vary").contains("origin"));
    let answer = send(&router, page(GOOD)).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header(ALLOW_ORIGIN)),
        (200, GOOD)
    );
    assert!(
        answer
            .headers
            .get("access-control-allow-credentials")
            .is_none()
    );
    // A page must be able to read why it was refused.
    let refused = send(
        &router,
        Request::get("/api/calls")
            .header("origin", GOOD)
            .body(Body::empty())
            .unwrap(),
    )
    .await;
    refused.is_problem(401, "unauthorized");
    assert_eq!(refused.header(ALLOW_ORIGIN), GOOD);
}

#[tokio::test]
async fn all_other_origins_are_not() {
    let router = cors_router(CorsOrigins::List(vec![GOOD.to_owned()]));
    for origin in [
        "null",
        "https://evil-desk.example",
        "https://desk.example.evil.com",
        "http://desk.example",
        "https://desk.example:444",
        "https://sub.desk.example",
        "https://DESK.example",
        "*",
        "",
    ] {
        for request in [preflight(origin), page(origin)] {
            let answer = send(&router, request).await;
            assert!(
                answer.headers.get(ALLOW_ORIGIN).is_none(),
                "{origin:?}: {:?}",
                answer.headers
            );
        }
    }
}

#[tokio::test]
async fn without_a_list_there_is_no_cors_at_all() {
    let router = cors_router(CorsOrigins::List(Vec::new()));
    let answer = send(&router, preflight(GOOD)).await;
    answer.is_problem(401, "unauthorized");
    assert!(
        answer
            .headers
            .keys()
            .all(|name| !name.as_str().starts_with("access-control"))
    );
}

#[tokio::test]
async fn a_star_lets_every_page_try_but_never_with_credentials() {
    let router = cors_router(CorsOrigins::Any);
    for request in [preflight("https://any.example"), page("null")] {
        let answer = send(&router, request).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header(ALLOW_ORIGIN)),
            (200, "*")
        );
        assert!(
            answer
                .headers
                .get("access-control-allow-credentials")
                .is_none()
        );
    }
}

#[tokio::test]
async fn a_listed_page_may_also_use_a_server_without_a_token() {
    let cors = CorsOrigins::List(vec![GOOD.to_owned()]);
    let router = router(Arc::new(Fake::well()), &ApiConfig { cors, ..config() });
    let answer = send(
        &router,
        Request::get("/api/calls")
            .header("origin", GOOD)
            .body(Body::empty())
            .unwrap(),
    )
    .await;
    assert_eq!(
        (answer.status.as_u16(), answer.header(ALLOW_ORIGIN)),
        (200, GOOD)
    );
}
