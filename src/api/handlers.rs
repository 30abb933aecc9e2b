//! Handlers of the routes: each checks the input, asks the service and shapes the answer.

use asterscribe_call::{CallChoices, CallId, CallRecord, ChannelRef, InvalidKey, LegSides};
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};

use super::ApiState;
use super::auth::AccessLevel;
use super::door::ConnectionVisit;
use super::error::{ApiProblem, ProblemKind};
use super::extract::{CallPath, ChannelPath, RawBody, number, query, query_number};
use crate::metrics::{self, MetricFamily, MetricValues};
use crate::service::{
    CallStatusView, CallsRequest, CallsView, InitiateRequest, MediaRequest, PartState,
    TranscribeRequest, TranscriptView,
};

/// `GET /health`
pub(super) async fn health(
    State(state): State<ApiState>,
    Extension(access): Extension<AccessLevel>,
) -> Response {
    /// Body of `GET /health` without a token: enough for a load balancer, nothing for a stranger.
    #[derive(Serialize)]
    struct TerseHealth {
        status: PartState,
    }

    let health = state.service.health().await;
    match access {
        AccessLevel::Full => Json(health).into_response(),
        AccessLevel::Terse => Json(TerseHealth {
            status: health.status,
        })
        .into_response(),
    }
}

/// `GET /metrics`
pub(super) async fn metrics(
    State(state): State<ApiState>,
    visit: Option<Extension<ConnectionVisit>>,
) -> Result<Response, ApiProblem> {
    let mut figures = state.service.metrics().await;
    figures.push(MetricFamily {
        name: "http_refusals",
        help: "Requests that were refused, by the problem",
        values: MetricValues::Counters("problem", state.refusals.counts()),
    });
    figures.extend(visit.iter().flat_map(|visit| visit.door().figures()));
    let text = metrics::text(figures);
    let text = text.map_err(|error| ApiProblem::new(ProblemKind::Internal, error.to_string()))?;
    let media_type = [(header::CONTENT_TYPE, metrics::MEDIA_TYPE)];
    Ok((media_type, text).into_response())
}

/// `POST /api/asterisk/take-back`
pub(super) async fn take_back(State(state): State<ApiState>) -> Result<Response, ApiProblem> {
    let health = state.service.take_back().await?;
    Ok((StatusCode::ACCEPTED, Json(health)).into_response())
}

/// `POST /api/call/initiate`
pub(super) async fn initiate(
    State(state): State<ApiState>,
    uri: Uri,
    body: RawBody,
) -> Result<Response, ApiProblem> {
    let request = initiate_request(&uri, &body)?;
    check_number("caller_number", &request.caller_number)?;
    check_number("destination", &request.destination)?;
    let call = state.service.initiate(request).await?;
    Ok(accepted(StatusCode::ACCEPTED, &call.call_id.clone(), call))
}

/// `GET /api/calls`
pub(super) async fn calls(
    State(state): State<ApiState>,
    uri: Uri,
) -> Result<Json<CallsView>, ApiProblem> {
    let mut query = query(&uri, &["limit", "before"])?;
    let before = query.remove("before").map(|before| before.parse());
    let before = before.transpose().map_err(|error: InvalidKey| {
        ApiProblem::new(ProblemKind::MalformedQuery, format!("before: {error}"))
    })?;
    let limit = number(&query, "limit", 1..=1000, 100)?;
    let limit = usize::try_from(limit).expect("1000 fits");
    let request = CallsRequest { limit, before };
    Ok(Json(state.service.calls(request).await?))
}

/// `DELETE /api/call/{id}`
pub(super) async fn erase(
    State(state): State<ApiState>,
    CallPath(id): CallPath,
) -> Result<Json<ErasedBody>, ApiProblem> {
    state.service.erase(&id).await?;
    Ok(Json(ErasedBody {
        call_id: id,
        erased: true,
    }))
}

/// `DELETE /api/call/`, which lacks the id.
pub(super) async fn no_id() -> ApiProblem {
    ApiProblem::new(ProblemKind::MalformedId, "the id is missing")
}

/// Body of `DELETE /api/call/{id}`.
#[derive(Serialize)]
pub(super) struct ErasedBody {
    call_id: CallId,
    erased: bool,
}

/// `GET /api/call/{id}/status`
pub(super) async fn status(
    State(state): State<ApiState>,
    CallPath(id): CallPath,
) -> Result<Json<CallStatusView>, ApiProblem> {
    Ok(Json(state.service.status(&id).await?))
}

/// `GET /api/call/{id}/transcript`
pub(super) async fn transcript(
    State(state): State<ApiState>,
    CallPath(id): CallPath,
    uri: Uri,
) -> Result<Json<TranscriptView>, ApiProblem> {
    // The stores' numbers are signed.
    let from_seq = query_number(&uri, "from_seq", 0..=i64::MAX as u64, 0)?;
    Ok(Json(state.service.transcript(&id, from_seq).await?))
}

/// `POST /api/call/{id}/transcribe`
pub(super) async fn transcribe(
    State(state): State<ApiState>,
    ChannelPath(channel): ChannelPath,
    body: RawBody,
) -> Result<Response, ApiProblem> {
    let request: TranscribeRequest = if body.says_nothing() {
        TranscribeRequest::default()
    } else {
        body.json()?
    };
    let call = state.service.transcribe(&channel, request).await?;
    Ok(accepted(StatusCode::ACCEPTED, &call.call_id.clone(), call))
}

/// `POST /api/call/transcribe`
pub(super) async fn transcribe_named(
    State(state): State<ApiState>,
    body: RawBody,
) -> Result<Response, ApiProblem> {
    /// Body of `POST /api/call/transcribe`: the channel, which elsewhere is in the path, and the
    /// options.
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct NamedChannelBody {
        channel: ChannelRef,
        #[serde(default)]
        legs: Option<LegSides>,
        #[serde(default, deserialize_with = "CallChoices::from_object")]
        recognition: CallChoices,
    }

    let NamedChannelBody {
        channel,
        legs,
        recognition,
    } = body.json()?;
    let request = TranscribeRequest { legs, recognition };
    let call = state.service.transcribe(&channel, request).await?;
    Ok(accepted(StatusCode::ACCEPTED, &call.call_id.clone(), call))
}

/// `POST /api/call/{id}/hangup`
pub(super) async fn hangup(
    State(state): State<ApiState>,
    CallPath(id): CallPath,
) -> Result<Json<CallRecord>, ApiProblem> {
    Ok(Json(state.service.hangup(&id).await?))
}

/// `POST /api/call/{id}/media`
pub(super) async fn register_media(
    State(state): State<ApiState>,
    CallPath(id): CallPath,
    body: RawBody,
) -> Result<Response, ApiProblem> {
    let request: MediaRequest = body.json()?;
    check_media(&request)?;
    let grant = state.service.register_media(&id, request).await?;
    Ok(accepted(StatusCode::CREATED, &grant.call_id.clone(), grant))
}

/// Answer to a path that no route has: 404 `unknown-route`.
pub(super) async fn unknown_route() -> ApiProblem {
    ApiProblem::new(ProblemKind::UnknownRoute, "there is nothing at this path")
}

pub(super) fn accepted(status: StatusCode, id: &CallId, body: impl Serialize) -> Response {
    (
        status,
        [(header::LOCATION, format!("/api/call/{id}/status"))],
        Json(body),
    )
        .into_response()
}

/// JSON, or the predecessor's form: both values in the query, no body.
fn initiate_request(uri: &Uri, body: &RawBody) -> Result<InitiateRequest, ApiProblem> {
    let mut query = query(uri, &["caller_number", "destination"])?;
    match (query.is_empty(), body.is_empty()) {
        (true, false) => body.json(),
        (true, true) => Err(ApiProblem::new(
            ProblemKind::MalformedBody,
            "send caller_number and destination as JSON",
        )),
        (false, false) => Err(ApiProblem::new(
            ProblemKind::BadRequest,
            "send a body or a query, not both",
        )),
        (false, true) => {
            let mut take = |name: &'static str| {
                query.remove(name).ok_or_else(|| {
                    ApiProblem::new(ProblemKind::MalformedQuery, format!("{name} is missing"))
                })
            };
            Ok(InitiateRequest {
                caller_number: take("caller_number")?,
                destination: take("destination")?,
                leg: None,
                recognition: CallChoices::default(),
            })
        }
    }
}

/// Checks a number or name that becomes part of an endpoint in ARI: 1 to 64 characters out of
/// letters, digits and `+ * # . _ -`; else 422.
fn check_number(name: &str, text: &str) -> Result<(), ApiProblem> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"+*#._-".contains(&byte);
    if (1..=64).contains(&text.len()) && text.bytes().all(fits) {
        return Ok(());
    }
    // A bare + in a query is decoded to a space, so +49… arrives as one.
    let hint = if text.starts_with(' ') {
        "; in a query, + must be written %2B"
    } else {
        ""
    };
    let detail = format!("{name} must be 1 to 64 characters out of 0-9 A-Z a-z + * # . _ -{hint}");
    Err(ApiProblem::new(ProblemKind::Unprocessable, detail))
}

fn check_media(request: &MediaRequest) -> Result<(), ApiProblem> {
    let ip = request.source.ip();
    if request.source.port() == 0 || ip.is_unspecified() || ip.is_multicast() {
        let detail = "source must be the address and port that the RTP will really come from";
        return Err(ApiProblem::new(ProblemKind::Unprocessable, detail));
    }
    let format = request.format.as_bytes();
    if !(1..=16).contains(&format.len()) || !format.iter().all(u8::is_ascii_alphanumeric) {
        return Err(ApiProblem::new(
            ProblemKind::Unprocessable,
            "format must be one of Asterisk's names, such as ulaw",
        ));
    }
    Ok(())
}
