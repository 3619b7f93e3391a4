//! `/v1/chat/completions`, as OpenAI's clients speak it. The last message that has a picture is what a chat is about; the last text is
//! what is requested of it. What a field means here is in docs/server.md, and a test has a case for each line of that table.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use mplug::generate::sampling::SamplingOptions;
use mplug::tasks::Caption;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::request_id::RequestId;
use super::text_request::TextRequest;
use crate::asked::json_object;
use crate::body::receive;
use crate::error::{ApiError, Code};
use crate::models::Model;
use crate::pictures::Sent;
use crate::service::Service;

/// Fields that would change what is written in ways that are not served. `null`, `false`, 0 and what is empty request nothing.
const NOT_SERVED: [&str; 9] = [
    "stop",
    "tools",
    "functions",
    "tool_choice",
    "function_call",
    "logprobs",
    "top_logprobs",
    "audio",
    "logit_bias",
];

/// The fields that are read; harmless other ones are ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ChatFields {
    model: Option<String>,
    messages: Vec<Message>,
    n: Option<usize>,
    temperature: Option<f32>,
    top_p: Option<f32>,
    seed: Option<u64>,
    max_tokens: Option<usize>,
    max_completion_tokens: Option<usize>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Debug, Deserialize)]
struct Message {
    role: String,
    content: Option<Content>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part {
    Text { text: String },
    ImageUrl { image_url: ImageUrl },
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum ImageUrl {
    Object { url: String },
    Text(String),
}

impl Message {
    fn parts(&self) -> &[Part] {
        match &self.content {
            Some(Content::Parts(parts)) => parts,
            _ => &[],
        }
    }

    /// The addresses of its pictures.
    fn images(&self) -> Vec<&str> {
        let images = self.parts().iter().filter_map(|part| match part {
            Part::ImageUrl { image_url: ImageUrl::Object { url } | ImageUrl::Text(url) } => {
                Some(url.as_str())
            }
            Part::Text { .. } => None,
        });
        images.collect()
    }

    /// Its texts, a line each.
    fn text(&self) -> String {
        if let Some(Content::Text(text)) = &self.content {
            return text.clone();
        }
        let text = |part: &Part| match part {
            Part::Text { text } => Some(text.clone()),
            Part::ImageUrl { .. } => None,
        };
        self.parts().iter().filter_map(text).collect::<Vec<_>>().join("\n")
    }
}

impl ChatFields {
    fn read(body: &[u8]) -> Result<Self, ApiError> {
        let object = json_object(body)?;
        refuse_what_is_not_served(&object)?;
        let given = object.into_iter().filter(|(_, value)| !value.is_null()).collect();
        serde_path_to_error::deserialize(Value::Object(given)).map_err(|error| {
            let path = error.path().to_string();
            ApiError::new(Code::InvalidRequest, format!("{path}: {}", error.inner())).of(path)
        })
    }

    /// The picture that the chat is about.
    fn picture(&self) -> Result<Sent, ApiError> {
        let users = self.messages.iter().rev().filter(|message| message.role == "user");
        let images = users.map(Message::images).find(|images| !images.is_empty()).unwrap_or_default();
        match images.as_slice() {
            [image] => Sent::from_text(image).map_err(|error| error.of("messages")),
            [] => Err(ApiError::value("messages", "a message of the user with one image_url", "none")),
            several => {
                let message = format!("messages: expected 1 image_url, found {}", several.len());
                Err(ApiError::new(Code::TooManyImages, message).of("messages"))
            }
        }
    }

    /// The longest text that is requested, by its new name or its old one.
    fn most_tokens(&self) -> Option<usize> {
        self.max_completion_tokens.or(self.max_tokens)
    }

    fn request(&self) -> TextRequest {
        let last = self.messages.iter().rev().find(|message| message.role == "user");
        let default = SamplingOptions::default();
        let sampling = self.temperature.filter(|temperature| *temperature != 0.0).map(|temperature| {
            let (top_p, seed) = (self.top_p.unwrap_or(default.top_p), self.seed.unwrap_or(default.seed));
            SamplingOptions { temperature, top_p, seed, ..default }
        });
        TextRequest {
            model: self.model.clone(),
            text: last.map(Message::text).unwrap_or_default(),
            count: self.n,
            max_new_tokens: self.most_tokens(),
            sampling,
            tags: None,
        }
    }
}

/// Refuses fields that request what is not served.
fn refuse_what_is_not_served(object: &Map<String, Value>) -> Result<(), ApiError> {
    let requests_nothing = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty() || text == "none" || text == "auto",
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.is_empty(),
        Value::Bool(true) => false,
    };
    let refused = |name: &str| {
        let message = format!("{name}: expected none, found one: this server does not serve it");
        ApiError::new(Code::UnsupportedParameter, message).of(name)
    };
    for name in NOT_SERVED {
        if object.get(name).is_some_and(|value| !requests_nothing(value)) {
            return Err(refused(name));
        }
    }
    let format = object.get("response_format").and_then(|format| format.get("type"));
    if format.is_some_and(|kind| kind != "text") {
        return Err(refused("response_format"));
    }
    Ok(())
}

/// Answers a chat.
pub(crate) async fn complete(
    State(service): State<Arc<Service>>,
    id: RequestId,
    request: Request,
) -> Result<Response, ApiError> {
    let accepted = Arc::new(service.accept()?);
    let (parts, body) = request.into_parts();
    let received = receive(&parts.headers, body, &service.options.limits, &service.bodies).await?;
    let fields = ChatFields::read(&received.bytes)?;
    let (picture, request) = (fields.picture()?, fields.request());
    let text = request.text.clone();
    let models = Arc::clone(&accepted.models);
    let answered = request.answer(service, accepted, received, vec![Ok(picture)]).await;
    let (name, answers) = answered.map_err(in_openai_words)?;
    let answer = answers.results.into_iter().next().expect("an answer for the picture")?;
    let count = fields.n.unwrap_or(1);
    let written: Vec<Caption> = answer.written.into_iter().take(count).collect();
    let model = models.by_name(&name).expect("the model that answered is loaded");
    let most = fields.most_tokens().unwrap_or(model.folder.config.generation.max_new_tokens);
    let completion = Completion {
        id: id.with("chatcmpl"),
        created: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        usage: usage(model, &text, &written),
        choices: written
            .iter()
            .map(|caption| (caption.text.clone(), finish_reason(model, caption, most)))
            .collect(),
        model: name,
    };
    if fields.stream == Some(true) {
        let with_usage = fields.stream_options.is_some_and(|options| options.include_usage);
        return Ok(([(CONTENT_TYPE, "text/event-stream")], completion.stream(with_usage)).into_response());
    }
    Ok(Json(completion.whole()).into_response())
}

/// Errors name the fields that the client wrote.
fn in_openai_words(error: ApiError) -> ApiError {
    let theirs = match error.param.as_deref() {
        Some("captions" | "answers") => "n",
        Some("max_new_tokens") => "max_tokens",
        Some("sampling.temperature") => "temperature",
        Some("sampling.top_p") => "top_p",
        Some("question") => "messages",
        None if is_of_picture(error.code) => return error.of("messages"),
        _ => return error,
    };
    let rest = error.message.split_once(": ").map_or(error.message.as_str(), |(_, rest)| rest).to_owned();
    ApiError { message: format!("{theirs}: {rest}"), ..error }.of(theirs)
}

/// Whether an error is about the picture.
fn is_of_picture(code: Code) -> bool {
    matches!(code, Code::UnreadablePicture | Code::TooLarge | Code::UnsupportedMediaType)
}

/// `length` where the text was cut at `most` tokens, else `stop`.
fn finish_reason(model: &Model, caption: &Caption, most: usize) -> &'static str {
    let last = caption.token_ids.last().copied();
    let is_cut = caption.token_ids.len() >= most;
    if !is_cut || last == model.tokenizer().map(mplug::preprocess::text::Tokenizer::eos_token_id) {
        "stop"
    } else {
        "length"
    }
}

/// The picture's patches and the text's tokens; the tokens of what was written.
fn usage(model: &Model, text: &str, written: &[Caption]) -> Value {
    let of_text = model.tokenizer().map_or(0, |tokenizer| tokenizer.encode(text, usize::MAX).len());
    let prompt = model.folder.config.vision.image_len() + of_text;
    let completion: usize = written.iter().map(|caption| caption.token_ids.len()).sum();
    json!({ "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion })
}

/// A chat's answer.
struct Completion {
    id: String,
    created: u64,
    model: String,
    choices: Vec<(String, &'static str)>,
    usage: Value,
}

impl Completion {
    fn object(&self, kind: &str, choices: Value) -> Map<String, Value> {
        Map::from_iter([
            ("id".to_owned(), self.id.clone().into()),
            ("object".to_owned(), kind.into()),
            ("created".to_owned(), self.created.into()),
            ("model".to_owned(), self.model.clone().into()),
            ("choices".to_owned(), choices),
        ])
    }

    fn whole(&self) -> Value {
        let choice = |(index, (text, reason)): (usize, &(String, &str))| {
            json!({
                "index": index,
                "message": { "role": "assistant", "content": text, "refusal": null },
                "logprobs": null,
                "finish_reason": reason,
            })
        };
        let choices = self.choices.iter().enumerate().map(choice).collect();
        let mut object = self.object("chat.completion", choices);
        object.insert("usage".to_owned(), self.usage.clone());
        object.into()
    }

    /// Server-sent events. A beam search may change its first word at its last step, so that each text is one chunk.
    fn stream(&self, with_usage: bool) -> String {
        let chunk = |choices: Value, usage: Option<&Value>| {
            let mut object = self.object("chat.completion.chunk", choices);
            if with_usage {
                object.insert("usage".to_owned(), usage.cloned().unwrap_or_default());
            }
            format!("data: {}\n\n", Value::Object(object))
        };
        let mut events = String::new();
        for (index, (text, reason)) in self.choices.iter().enumerate() {
            let delta = json!({ "role": "assistant", "content": text });
            events += &chunk(json!([{ "index": index, "delta": delta, "finish_reason": null }]), None);
            events += &chunk(json!([{ "index": index, "delta": {}, "finish_reason": reason }]), None);
        }
        if with_usage {
            events += &chunk(json!([]), Some(&self.usage));
        }
        events + "data: [DONE]\n\n"
    }
}
