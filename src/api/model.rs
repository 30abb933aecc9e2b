//! The model that recognises, and another in its place.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::ApiState;
use super::error::ApiProblem;
use super::extract::RawBody;
use crate::service::{ModelRequest, ModelView};

/// `GET /api/model`
pub(super) async fn show(State(state): State<ApiState>) -> Result<Json<ModelView>, ApiProblem> {
    Ok(Json(state.service.model().await?))
}

/// `POST /api/model`
pub(super) async fn switch(
    State(state): State<ApiState>,
    body: RawBody,
) -> Result<Response, ApiProblem> {
    let request: ModelRequest = body.json()?;
    let view = state.service.switch_model(request).await?;
    let place = [(header::LOCATION, "/api/model")];
    Ok((StatusCode::ACCEPTED, place, Json(view)).into_response())
}
