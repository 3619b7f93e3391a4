//! What is asked about the server itself: whether it is alive and ready, its models, its metrics, its description.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::service::Service;

/// The description of all routes for programs, in OpenAPI 3.1.
const OPENAPI: &str = include_str!("../openapi.json");

/// `/livez`: the process answers.
pub(crate) async fn alive() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// `/readyz` and `/health`: work is accepted.
pub(crate) async fn ready(State(service): State<Arc<Service>>) -> Result<Json<Value>, ApiError> {
    service.ready().map(|_| Json(json!({ "status": "ok" })))
}

/// `/v1/models`.
pub(crate) async fn models(State(service): State<Arc<Service>>) -> Result<Json<Value>, ApiError> {
    let serving = service.ready()?;
    Ok(Json(json!({ "object": "list", "data": serving.models.lines() })))
}

/// `/metrics`.
pub(crate) async fn metrics(State(service): State<Arc<Service>>) -> impl IntoResponse {
    let text = service.metrics.text(service.queue.len(), service.bodies.held());
    ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
}

/// `/openapi.json`.
pub(crate) async fn openapi() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], OPENAPI)
}
