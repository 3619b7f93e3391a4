//! What answers at each path.

mod ask;
mod caption;
mod chat;
mod explain;
mod gate;
mod match_texts;
mod ollama;
mod page;
mod pass;
mod request_id;
mod state;
mod text_request;

use std::sync::Arc;

use axum::Router;
use axum::http::Uri;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use crate::error::{ApiError, Code};
use crate::service::Service;

/// What answers where nothing is.
async fn missing(uri: Uri) -> Response {
    let error = ApiError::new(Code::NotFound, "there is nothing at this path");
    if ollama::is_ollamas(uri.path()) {
        ollama::OllamaError(error).into_response()
    } else {
        error.into_response()
    }
}

/// All routes. Bodies are bounded by ourselves, so that a form may have as many bytes as a picture.
pub(crate) fn router(service: Arc<Service>) -> Router {
    let routes = Router::new()
        .route("/v1/caption", post(caption::caption).put(caption::caption))
        .route("/v1/ask", post(ask::ask).put(ask::ask))
        .route("/v1/match", post(match_texts::match_texts).put(match_texts::match_texts))
        .route("/v1/explain", post(explain::explain).put(explain::explain))
        .route("/v1/chat/completions", post(chat::complete))
        .route("/v1/models", get(state::models))
        .route("/livez", get(state::alive))
        .route("/readyz", get(state::ready))
        .route("/health", get(state::ready))
        .route("/metrics", get(state::metrics))
        .route("/openapi.json", get(state::openapi));
    let routes = if service.options.ollama { ollama::add_to(routes) } else { routes };
    page::add_to(routes)
        .fallback(missing)
        .method_not_allowed_fallback(async || {
            ApiError::new(Code::MethodNotAllowed, "the path is there, but not with this method")
        })
        .layer(axum::extract::DefaultBodyLimit::disable())
        .layer(from_fn_with_state(Arc::clone(&service), gate::gate))
        .with_state(service)
}
