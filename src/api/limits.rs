//! Bounds on the size of a request and on the time it takes.

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::{ApiProblem, ProblemKind};
use super::{ApiLimits, ApiRoute, ApiState, ROUTES, play};

/// Refuses what is too big before anything is read or compared.
pub(super) async fn in_size(
    State(state): State<ApiState>,
    request: Request,
    next: Next,
) -> Response {
    match oversize(&state, &request) {
        Some(problem) => problem.into_response(),
        None => next.run(request).await,
    }
}

fn oversize(state: &ApiState, request: &Request) -> Option<ApiProblem> {
    let limits = &state.limits;
    let target = request
        .uri()
        .path_and_query()
        .map_or(0, |target| target.as_str().len());
    if target > limits.uri {
        return Some(ApiProblem::new(
            ProblemKind::UriTooLong,
            format!("more than {} bytes", limits.uri),
        ));
    }
    if header_bytes(request.headers()) > limits.headers {
        return Some(ApiProblem::new(
            ProblemKind::HeadersTooLarge,
            format!("more than {} bytes", limits.headers),
        ));
    }
    // What declares itself too big is refused on every route, also where the body is not used.
    let declared = request
        .headers()
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse::<u64>()
        .ok()?;
    let limit = body_limit(state, request);
    (declared > limit as u64).then(|| body_too_large(limit))
}

/// Bound on the body in bytes: higher on routes that take a sound file.
fn body_limit(state: &ApiState, request: &Request) -> usize {
    let ApiLimits { body, upload, .. } = state.limits;
    let path = request.extensions().get::<MatchedPath>();
    let path = path.map_or("", MatchedPath::as_str);
    let takes =
        |route: &ApiRoute| route.sounds && route.path == path && route.method == *request.method();
    if play::is_sound(request.headers()) && ROUTES.iter().any(takes) {
        upload
    } else {
        body
    }
}

pub(super) fn body_too_large(limit: usize) -> ApiProblem {
    ApiProblem::new(
        ProblemKind::BodyTooLarge,
        format!("more than {limit} bytes"),
    )
}

fn header_bytes(headers: &HeaderMap) -> usize {
    headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum()
}

/// Answers 504 for a handler that does not answer within `request_time`.
pub(super) async fn in_time(
    State(state): State<ApiState>,
    request: Request,
    next: Next,
) -> Response {
    match tokio::time::timeout(state.limits.request_time, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let seconds = state.limits.request_time.as_secs();
            tracing::warn!(seconds, "a request was not answered in time");
            ApiProblem::new(
                ProblemKind::Timeout,
                format!("no answer within {seconds} s; what was asked may still happen"),
            )
            .into_response()
        }
    }
}
