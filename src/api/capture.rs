//! A call's capture: begun, ended, downloaded.

use std::io::{self, Read};

use asterscribe_call::{CallId, CaptureState};
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;

use super::ApiState;
use super::error::{ApiProblem, ProblemKind};
use super::extract::{CallPath, RawBody};
use crate::capture::{CaptureFile, CapturePart};
use crate::service::CaptureRequest;

/// Bytes that are read from the file at a time.
const CHUNK: usize = 64 << 10;

/// `POST /api/call/{id}/capture`
pub(super) async fn start(
    State(state): State<ApiState>,
    CallPath(id): CallPath,
    body: RawBody,
) -> Result<Response, ApiProblem> {
    let request: CaptureRequest = if body.is_empty() {
        CaptureRequest::default()
    } else {
        body.json()?
    };
    let capture = state.service.start_capture(&id, request).await?;
    let place = format!("/api/call/{id}/capture");
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, place)],
        Json(capture),
    )
        .into_response())
}

/// `DELETE /api/call/{id}/capture`
pub(super) async fn stop(
    State(state): State<ApiState>,
    CallPath(id): CallPath,
) -> Result<Json<CaptureState>, ApiProblem> {
    Ok(Json(state.service.stop_capture(&id).await?))
}

/// `GET /api/call/{id}/capture`
pub(super) async fn packets(
    State(state): State<ApiState>,
    CallPath(id): CallPath,
) -> Result<Response, ApiProblem> {
    let file = state.service.capture(&id, CapturePart::Packets).await?;
    download(&id, file, "application/x-pcapng", "pcapng")
}

/// `GET /api/call/{id}/capture/events`
pub(super) async fn events(
    State(state): State<ApiState>,
    CallPath(id): CallPath,
) -> Result<Response, ApiProblem> {
    let file = state.service.capture(&id, CapturePart::Events).await?;
    download(&id, file, "application/x-ndjson", "events.jsonl")
}

/// Sends a file piece by piece, as fast as the client takes it.
fn download(
    id: &CallId,
    file: CaptureFile,
    media_type: &'static str,
    extension: &str,
) -> Result<Response, ApiProblem> {
    // A call id is safe in a header and in a file name.
    let name = format!("attachment; filename=\"{id}.{extension}\"");
    let name = HeaderValue::try_from(name)
        .map_err(|error| ApiProblem::new(ProblemKind::Internal, error.to_string()))?;
    let CaptureFile { length, body } = file;
    let chunks = stream::try_unfold(body, |mut body| async move {
        let read = tokio::task::spawn_blocking(move || {
            let mut chunk = Vec::with_capacity(CHUNK);
            let count = (&mut body).take(CHUNK as u64).read_to_end(&mut chunk)?;
            Ok::<_, io::Error>((count > 0).then(|| (Bytes::from(chunk), body)))
        });
        read.await.map_err(io::Error::other)?
    });
    let mut response = Response::new(Body::from_stream(chunks));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::CONTENT_DISPOSITION, name);
    Ok(response)
}
