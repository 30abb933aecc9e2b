//! The API against a service that is not there: what each route accepts,
//! answers and refuses.

mod channels;
mod cors;
mod docs;
mod fake;
mod input;
mod play;
mod routes;
mod tcp;
mod tokens;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use serde_json::Value;
use tower::ServiceExt;

use self::fake::Fake;
use super::{ApiConfig, ApiLimits, ApiRoute, ROUTES, router};
use crate::config::{CorsOrigins, Secret};

const TOKEN: &str = "correct-horse-battery-staple";

fn config() -> ApiConfig {
    ApiConfig {
        token: None,
        cors: CorsOrigins::List(Vec::new()),
        limits: ApiLimits::default(),
    }
}

fn open_router(service: Fake) -> Router {
    router(Arc::new(service), &config())
}

fn token_router(service: Arc<Fake>) -> Router {
    router(
        service,
        &ApiConfig {
            token: Some(Secret::new(TOKEN)),
            ..config()
        },
    )
}

/// An answer, read to its end.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// Checks that this is a problem document of that kind, whole and consistent.
    #[track_caller]
    fn is_problem(&self, status: u16, slug: &str) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{}",
            self.text
        );
        let document = self.json();
        assert_eq!(
            document["type"],
            format!("urn:asterscribe:problem:{slug}"),
            "{}",
            self.text
        );
        assert_eq!(document["status"], status);
        assert_eq!(document["request_id"], self.header("x-request-id"));
        for name in ["title", "detail", "instance", "request_id"] {
            assert!(
                document[name].as_str().is_some_and(|text| !text.is_empty()),
                "{name}: {}",
                self.text
            );
        }
        document
    }
}

async fn send(router: &Router, request: Request<Body>) -> Answer {
    let response = router
        .clone()
        .oneshot(request)
        .await
        .expect("the router is infallible");
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    Answer {
        status: parts.status,
        headers: parts.headers,
        text: String::from_utf8(bytes.to_vec()).unwrap(),
    }
}

fn request(method: Method, uri: &str) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(uri)
        .body(Body::empty())
        .unwrap()
}

async fn get(router: &Router, uri: &str) -> Answer {
    send(router, request(Method::GET, uri)).await
}

async fn post(router: &Router, uri: &str) -> Answer {
    send(router, request(Method::POST, uri)).await
}

async fn post_json(router: &Router, uri: &str, body: impl Into<Body>) -> Answer {
    let request = Request::post(uri).header(header::CONTENT_TYPE, "application/json");
    send(router, request.body(body.into()).unwrap()).await
}

/// A request to that route which a server without a token would serve.
fn good_request(route: &ApiRoute) -> Request<Body> {
    let uri = route.path.replace("{id}", "1764000000.12");
    let body = match route.path {
        "/api/call/initiate" => r#"{"caller_number":"100","destination":"200"}"#,
        "/api/call/transcribe" => r#"{"channel":"1764000000.12"}"#,
        "/api/model" if route.method == Method::POST => r#"{"name":"tiny.en"}"#,
        "/api/call/{id}/media" => r#"{"source":"192.0.2.7:4000","leg":"caller","format":"ulaw"}"#,
        "/api/call/{id}/play" if route.method == Method::POST => r#"{"file":"hello.wav"}"#,
        _ => "",
    };
    let builder = Request::builder().method(route.method.clone()).uri(uri);
    builder
        .header(header::CONTENT_TYPE, "application/json")
        .body(body.into())
        .unwrap()
}
