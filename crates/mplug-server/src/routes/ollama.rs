//! Ollama's `/api/generate`, `/api/tags` and `/api/version`, as photo libraries speak them (PhotoPrism's captions and labels). Only where
//! the operator wants them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use chrono::{SecondsFormat, Utc};
use mplug::generate::sampling::SamplingOptions;
use serde::Deserialize;
use serde_json::{Value, json};

use super::text_request::TextRequest;
use crate::asked::json_object;
use crate::body::receive;
use crate::error::{ApiError, Code};
use crate::pictures::Sent;
use crate::service::Service;

/// Labels of a picture.
const MOST_LABELS: usize = 10;

/// The fields that are read; others are ignored, as Ollama ignores them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct GenerateFields {
    model: Option<String>,
    prompt: String,
    images: Vec<String>,
    stream: Option<bool>,
    format: Option<Value>,
    options: Options,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Options {
    temperature: Option<f32>,
    top_k: Option<usize>,
    top_p: Option<f32>,
    seed: Option<u64>,
    num_predict: Option<i64>,
}

/// Temperatures up to this one are a photo library's way to request the likeliest text: PhotoPrism sends no lower one than 0.1.
const LEAST_TEMPERATURE: f32 = 0.2;

/// Whether a path is one of Ollama's, whose clients read errors as texts.
pub(super) fn is_ollamas(path: &str) -> bool {
    path.starts_with("/api/")
}

/// An error as Ollama's clients read it: a text.
pub(super) struct OllamaError(pub(super) ApiError);

impl From<ApiError> for OllamaError {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl IntoResponse for OllamaError {
    fn into_response(self) -> Response {
        let body = Json(json!({ "error": self.0.message }));
        let (parts, _) = self.0.into_response().into_parts();
        let mut response = body.into_response();
        *response.status_mut() = parts.status;
        for name in [axum::http::header::RETRY_AFTER] {
            if let Some(value) = parts.headers.get(&name) {
                response.headers_mut().insert(name, value.clone());
            }
        }
        response.extensions_mut().extend(parts.extensions);
        response
    }
}

/// Adds Ollama's routes.
pub(super) fn add_to(router: Router<Arc<Service>>) -> Router<Arc<Service>> {
    router
        .route("/api/generate", post(generate))
        .route("/api/tags", get(tags))
        .route("/api/version", get(version))
}

async fn version() -> Json<Value> {
    Json(json!({ "version": env!("CARGO_PKG_VERSION") }))
}

async fn tags(State(service): State<Arc<Service>>) -> Result<Json<Value>, OllamaError> {
    let serving = service.ready()?;
    let line = |name: &str| json!({ "name": name, "model": name, "details": { "family": "mplug", "families": ["mplug"] } });
    let models: Vec<Value> = serving.models.names().map(line).collect();
    Ok(Json(json!({ "models": models })))
}

impl GenerateFields {
    fn read(body: &[u8]) -> Result<Self, ApiError> {
        let object = json_object(body)?.into_iter().filter(|(_, value)| !value.is_null()).collect();
        serde_path_to_error::deserialize(Value::Object(object)).map_err(|error| {
            let path = error.path().to_string();
            ApiError::new(Code::InvalidRequest, format!("{path}: {}", error.inner())).of(path)
        })
    }

    /// Whether labels are requested: JSON is what photo libraries want them in.
    fn wants_labels(&self) -> bool {
        match &self.format {
            Some(Value::String(format)) => format == "json",
            Some(Value::Object(_)) => true,
            _ => false,
        }
    }

    fn request(&self) -> TextRequest {
        let default = SamplingOptions::default();
        let Options { temperature, top_k, top_p, seed, num_predict } = &self.options;
        let sampling =
            temperature.filter(|temperature| *temperature > LEAST_TEMPERATURE).map(|temperature| {
                SamplingOptions {
                    temperature,
                    top_k: top_k.unwrap_or(default.top_k),
                    top_p: top_p.unwrap_or(default.top_p),
                    seed: seed.unwrap_or(default.seed),
                }
            });
        let labels = self.wants_labels();
        TextRequest {
            // The part behind the colon is a version.
            model: self.model.as_deref().map(|model| model.trim_end_matches(":latest").to_owned()),
            text: self.prompt.clone(),
            count: None,
            // Negative numbers mean no limit.
            max_new_tokens: num_predict
                .and_then(|number| usize::try_from(number).ok())
                .filter(|number| *number > 0),
            // Labels are those of every caption that the search finds.
            sampling: sampling.filter(|_| !labels),
            tags: labels.then_some(MOST_LABELS),
        }
    }
}

async fn generate(State(service): State<Arc<Service>>, request: Request) -> Result<Response, OllamaError> {
    let begun = Instant::now();
    let accepted = Arc::new(service.accept()?);
    let (parts, body) = request.into_parts();
    let received = receive(&parts.headers, body, &service.options.limits, &service.bodies).await?;
    let fields = GenerateFields::read(&received.bytes)?;
    let [image] = fields.images.as_slice() else {
        let message = format!("images: expected 1 picture, found {}", fields.images.len());
        return Err(ApiError::new(Code::InvalidValue, message).of("images").into());
    };
    let picture = Sent::from_text(image);
    let (labels, request) = (fields.wants_labels(), fields.request());
    let (model, answers) = request.answer(service, accepted, received, vec![picture]).await?;
    let answer = answers.results.into_iter().next().expect("an answer for the picture")?;
    let best = answer.written.first().cloned().unwrap_or_default();
    let text = if labels { labels_of(&answer.value).to_string() } else { best.text };
    let reply = |text: &str, is_done: bool| json!({ "model": model, "created_at": Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true), "response": text, "done": is_done });
    let mut last = reply(&text, true);
    let nanoseconds = |time: Duration| time.as_nanos() as u64;
    last["done_reason"] = "stop".into();
    last["total_duration"] = nanoseconds(begun.elapsed()).into();
    last["load_duration"] = 0.into();
    last["eval_count"] = best.token_ids.len().into();
    last["eval_duration"] = nanoseconds(answer.times.model).into();
    // Ollama streams unless it is not to.
    if fields.stream == Some(false) {
        return Ok(Json(last).into_response());
    }
    last["response"] = "".into();
    let lines = format!("{}\n{last}\n", reply(&text, false));
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], lines).into_response())
}

/// Labels as PhotoPrism reads them.
fn labels_of(value: &serde_json::Map<String, Value>) -> Value {
    let label =
        |tag: &Value| json!({ "name": tag["tag"], "confidence": tag["weight"], "topicality": tag["weight"] });
    let tags = value.get("tags").and_then(Value::as_array);
    json!({ "labels": tags.into_iter().flatten().map(label).collect::<Vec<_>>() })
}
