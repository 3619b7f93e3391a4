//! What can be wrong with a request, as the reply that says so. One table leads from a fault to its status.

use std::time::Duration;

use axum::Json;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use mplug::generate::GenerationError;
use mplug::tasks::RequestError;
use serde::Serialize;
use serde_json::json;

/// What is wrong, as programs distinguish it: the `code` of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The request is malformed.
    InvalidRequest,
    /// No key, or a wrong one.
    InvalidApiKey,
    /// The host that the client named is none of this server's.
    ForbiddenHost,
    /// A page of another site sent the request.
    ForbiddenOrigin,
    /// There is nothing at this path.
    NotFound,
    /// No loaded model has this name, or this task.
    ModelNotFound,
    /// The path takes other methods.
    MethodNotAllowed,
    /// The body did not come in time.
    RequestTimeout,
    /// The body, or what is in it, is larger than allowed.
    TooLarge,
    /// More pictures than one request may have.
    TooManyImages,
    /// The body is of a kind that is not read.
    UnsupportedMediaType,
    /// A picture cannot be had or decoded.
    UnreadablePicture,
    /// A field's value cannot be.
    InvalidValue,
    /// A parameter that is known, but not served.
    UnsupportedParameter,
    /// The queue is full.
    Overloaded,
    /// A fault of the server.
    Internal,
    /// The models are being loaded.
    Loading,
    /// The server is about to end.
    Draining,
    /// The answer was not there in time.
    Timeout,
}

impl Code {
    /// The status of a reply with this code.
    pub fn status(self) -> StatusCode {
        match self {
            Self::InvalidRequest | Self::UnsupportedParameter | Self::TooManyImages => {
                StatusCode::BAD_REQUEST
            }
            Self::InvalidApiKey => StatusCode::UNAUTHORIZED,
            Self::ForbiddenHost | Self::ForbiddenOrigin => StatusCode::FORBIDDEN,
            Self::NotFound | Self::ModelNotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::UnreadablePicture | Self::InvalidValue => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Overloaded => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Loading | Self::Draining => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The family that OpenAI's clients know it by: the `type` of an error.
    fn family(self) -> &'static str {
        match self.status().as_u16() {
            401 => "authentication_error",
            403 => "permission_error",
            404 => "not_found_error",
            408 | 504 => "timeout_error",
            429 => "rate_limit_error",
            500..=599 => "server_error",
            _ => "invalid_request_error",
        }
    }
}

/// A request that fails, or one picture of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) code: Code,
    pub(crate) message: String,
    /// The field that is meant.
    pub(crate) param: Option<String>,
    /// When it is worth another try.
    pub(crate) retry_after: Option<Duration>,
}

impl ApiError {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), param: None, retry_after: None }
    }

    /// Names the field that is meant.
    pub(crate) fn of(self, param: impl Into<String>) -> Self {
        Self { param: Some(param.into()), ..self }
    }

    pub(crate) fn after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    /// A field whose value cannot be.
    pub(crate) fn value(field: &str, expected: &str, found: impl std::fmt::Display) -> Self {
        Self::new(Code::InvalidValue, format!("{field}: expected {expected}, found {found}")).of(field)
    }

    /// The error as one of several pictures has it.
    pub(crate) fn entry(&self) -> serde_json::Value {
        json!({ "error": { "code": self.code, "message": self.message, "param": self.param } })
    }
}

/// What the fields of [`CaptionRequest`](mplug::CaptionRequest) and of `GenerationOptions` are called here.
fn field_name(field: &'static str) -> &'static str {
    match field {
        "forbidden_words" => "forbid",
        "required_words" => "include",
        "keywords" => "tags",
        "min_difference" => "diverse",
        "num_beams" => "beams",
        "num_return_sequences" => "captions",
        "temperature" => "sampling.temperature",
        "top_k" => "sampling.top_k",
        "top_p" => "sampling.top_p",
        other => other,
    }
}

impl From<RequestError> for ApiError {
    fn from(error: RequestError) -> Self {
        let RequestError { field, expected, found } = error;
        Self::value(field_name(field), &expected, found)
    }
}

/// Options that the model cannot follow: a prefix, a word or a number of its own vocabulary and positions.
impl From<mplug::Error> for ApiError {
    fn from(error: mplug::Error) -> Self {
        let param = match &error {
            mplug::Error::Prefix { .. } => Some("prefix".to_owned()),
            mplug::Error::Generation(GenerationError::Option { option, found, expected }) => {
                return Self::value(field_name(option), expected, found);
            }
            _ => None,
        };
        Self { param, ..Self::new(Code::InvalidValue, error.to_string()) }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({ "error": {
            "message": self.message,
            "type": self.code.family(),
            "param": self.param,
            "code": self.code,
        } });
        let mut response = (self.code.status(), Json(body)).into_response();
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs_f64().ceil().max(1.0) as u64;
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(self.code);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_a_reply_with_its_status() {
        let error = ApiError::value("captions", "at most 5", 9).after(Duration::from_millis(1200));
        let response = error.into_response();
        assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(response.headers()[RETRY_AFTER], "2");
        assert_eq!(serde_json::to_value(Code::InvalidApiKey).unwrap(), "invalid_api_key");
    }

    #[test]
    fn fields_have_the_names_that_clients_write() {
        let error = RequestError { field: "forbidden_words", expected: "a".into(), found: "b".into() };
        let error = ApiError::from(error);
        assert_eq!(error.message, "forbid: expected a, found b");
        assert_eq!(error.param.as_deref(), Some("forbid"));
    }
}
