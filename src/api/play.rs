//! Routes that play audio to a call.

use std::sync::Arc;

use asterscribe_call::{CallPlayback, InvalidName, Leg, SoundName};
use axum::Json;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedSemaphorePermit;

use super::ApiState;
use super::error::{ApiProblem, ProblemKind};
use super::extract::{CallPath, RawBody, query, query_number};
use super::handlers::accepted;
use crate::service::{PlayRequest, SoundSource};

/// `POST /api/call/{id}/play`
pub(super) async fn play(
    State(state): State<ApiState>,
    CallPath(id): CallPath,
    uri: Uri,
    body: SoundBody,
) -> Result<Response, ApiProblem> {
    let (request, _permit) = match body {
        SoundBody::Upload(raw, permit) => (uploaded(&uri, raw)?, Some(permit)),
        SoundBody::Named(raw) => (named(&uri, &raw)?, None),
    };
    let playback = state.service.play(&id, request).await?;
    Ok(accepted(StatusCode::ACCEPTED, &id, playback))
}

/// `DELETE /api/call/{id}/play`
pub(super) async fn stop(
    State(state): State<ApiState>,
    CallPath(id): CallPath,
    uri: Uri,
) -> Result<Json<StoppedPlayBody>, ApiProblem> {
    let playback = if uri.query().is_some_and(|query| !query.is_empty()) {
        Some(query_number(&uri, "id", 0..=u64::MAX, 0)?)
    } else {
        None
    };
    let stopped = state.service.stop_play(&id, playback).await?;
    Ok(Json(StoppedPlayBody { stopped }))
}

/// Body of the answer to `DELETE /api/call/{id}/play`.
#[derive(Serialize)]
pub(super) struct StoppedPlayBody {
    /// Sounds that were playing or waiting, each as it stood when it was stopped.
    stopped: Vec<CallPlayback>,
}

/// A body that is a sound or names one.
pub(super) enum SoundBody {
    /// The permit lasts until the sound has been dealt with: what waits in memory is bounded.
    Upload(RawBody, OwnedSemaphorePermit),
    /// JSON that names a file of the sounds folder.
    Named(RawBody),
}

impl FromRequest<ApiState> for SoundBody {
    type Rejection = ApiProblem;

    async fn from_request(request: Request, state: &ApiState) -> Result<Self, ApiProblem> {
        if !is_sound(request.headers()) {
            let raw = RawBody::from_request(request, state).await?;
            return Ok(Self::Named(raw));
        }
        let permit = permit(state).await?;
        let raw = RawBody::within(state.limits.upload, request, state).await?;
        Ok(Self::Upload(raw, permit))
    }
}

/// Permit to read one sound file, waited for no longer than a body may take to arrive.
async fn permit(state: &ApiState) -> Result<OwnedSemaphorePermit, ApiProblem> {
    let free = Arc::clone(&state.uploads).acquire_owned();
    match tokio::time::timeout(state.limits.body_time, free).await {
        Ok(Ok(permit)) => Ok(permit),
        Ok(Err(_)) | Err(_) => {
            let limit = state.limits.uploads;
            let detail = format!("{limit} files are on their way in already");
            Err(ApiProblem::new(ProblemKind::Busy, detail))
        }
    }
}

/// Media types of WAV files; none is registered, all are in use.
const WAV: [&str; 4] = ["audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave"];

pub(super) fn is_sound(headers: &HeaderMap) -> bool {
    let declared = headers.get(header::CONTENT_TYPE);
    let declared = declared.and_then(|value| value.to_str().ok());
    declared.is_some_and(|declared| {
        declared
            .trim_start()
            .to_ascii_lowercase()
            .starts_with("audio/")
    })
}

fn uploaded(uri: &Uri, body: RawBody) -> Result<PlayRequest, ApiProblem> {
    let declared = body.media_type()?;
    if !WAV.contains(&declared.as_str()) {
        let detail = format!("{declared} is not taken; send a WAV file as audio/wav");
        return Err(ApiProblem::new(ProblemKind::UnsupportedMediaType, detail));
    }
    let mut query = query(uri, &["leg", "format", "name"])?;
    let name = query.remove("name").unwrap_or_else(|| "upload".to_owned());
    let name = name.parse().map_err(|error| wrong(&error))?;
    let leg = query.remove("leg").map(|leg| leg.parse());
    Ok(PlayRequest {
        sound: SoundSource::Upload {
            name,
            wav: body.into_bytes().into(),
        },
        leg: leg.transpose().map_err(|error| wrong(&error))?,
        format: query.remove("format"),
    })
}

fn wrong(error: &InvalidName) -> ApiProblem {
    ApiProblem::new(ProblemKind::MalformedQuery, error.to_string())
}

fn named(uri: &Uri, body: &RawBody) -> Result<PlayRequest, ApiProblem> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct NamedSoundBody {
        file: SoundName,
        #[serde(default)]
        leg: Option<Leg>,
        #[serde(default)]
        format: Option<String>,
    }

    query(uri, &[])?;
    if body.is_empty() {
        let detail = "send a WAV file as audio/wav, or the name of one as JSON";
        return Err(ApiProblem::new(ProblemKind::MalformedBody, detail));
    }
    let NamedSoundBody { file, leg, format } = body.json()?;
    Ok(PlayRequest {
        sound: SoundSource::File(file),
        leg,
        format,
    })
}
