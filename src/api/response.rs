//! The outermost layer: request id, tracing span, error bodies, headers that
//! every answer carries, and the net under panics.

use std::panic::AssertUnwindSafe;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tracing::Instrument;
use uuid::Uuid;

use super::error::{ApiProblem, ProblemKind};
use super::{ApiState, REQUEST_ID};

pub(super) async fn finish(
    State(state): State<ApiState>,
    request: Request,
    next: Next,
) -> Response {
    let id = request_id(request.headers());
    let instance = request.uri().path().to_owned();
    // The route's pattern, not the path: a path is the client's text, of any
    // length, and a query may hold a token that does not belong there.
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("none", MatchedPath::as_str)
        .to_owned();
    let span = tracing::info_span!("request", id = %id, method = known(request.method()), route);
    answer(&state, request, next, id, instance)
        .instrument(span)
        .await
}

async fn answer(
    state: &ApiState,
    request: Request,
    next: Next,
    id: String,
    instance: String,
) -> Response {
    let response = match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(_) => {
            tracing::error!("a request made the server panic; this is a fault of the server");
            ApiProblem::new(ProblemKind::Internal, "the server failed on this request")
                .into_response()
        }
    };
    let mut response = with_problem_body(state, response, &instance, &id);
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    tracing::debug!(status = response.status().as_u16(), "answered");
    response
}

fn with_problem_body(
    state: &ApiState,
    mut response: Response,
    instance: &str,
    id: &str,
) -> Response {
    let status = response.status();
    let problem = response.extensions_mut().remove::<ApiProblem>();
    let is_error = status.is_client_error() || status.is_server_error();
    match problem.or_else(|| is_error.then(|| ApiProblem::from_status(status))) {
        Some(problem) => {
            if state.refusals.count(problem.kind as usize) {
                tracing::info!(
                    status = problem.kind.status().as_u16(),
                    problem = problem.kind.slug(),
                    "refused"
                );
            }
            problem.write(response, instance, id)
        }
        None => response,
    }
}

/// The client's id if it is one that may stand in a log, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    headers
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|id| (1..=64).contains(&id.len()) && id.bytes().all(safe))
        .map_or_else(|| Uuid::new_v4().to_string(), str::to_owned)
}

/// A method may be any token; only the ones that mean something here are logged.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
