//! `/v1/ask`: pictures and a question in, answers out.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use mplug::generate::sampling::SamplingOptions;
use mplug::tasks::{Caption, SearchRequest};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::pass::{Answer, Answers, Pass, check_number, check_text, number};
use super::request_id::RequestId;
use crate::asked::Fields;
use crate::error::ApiError;
use crate::models::Kind;
use crate::service::Service;
use crate::work::{Found, Work};

/// Most characters of a question.
const MOST_CHARACTERS: usize = 2000;
/// Most answers and beams.
const MOST: usize = 64;
/// Most tokens of an answer.
const MOST_TOKENS: usize = 1024;

/// What can be requested.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct AskFields {
    pub(crate) model: Option<String>,
    pub(crate) question: String,
    pub(crate) answers: Option<usize>,
    pub(crate) beams: Option<usize>,
    pub(crate) max_new_tokens: Option<usize>,
    pub(crate) sampling: Option<SamplingOptions>,
}

impl Fields for AskFields {
    const NAMES: &'static [&'static str] =
        &["model", "question", "answers", "beams", "max_new_tokens", "sampling"];
}

impl AskFields {
    fn check(&self) -> Result<(), ApiError> {
        if self.question.trim().is_empty() {
            return Err(ApiError::value("question", "a question", "none"));
        }
        check_text("question", &self.question, MOST_CHARACTERS)?;
        check_number("answers", self.answers, 1, MOST)?;
        check_number("beams", self.beams, 1, MOST)?;
        check_number("max_new_tokens", self.max_new_tokens, 1, MOST_TOKENS)
    }
}

/// Answers a question about the pictures of a request.
pub(crate) async fn ask(
    State(service): State<Arc<Service>>,
    id: RequestId,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let pass: Pass<AskFields> = Pass::begin(service, request).await?;
    let (name, answers) = ask_pass(pass).await?;
    Ok(Json(answers.into_reply(&id.with("ask"), &name)))
}

/// The name of the model and the answers of a request that was read.
pub(crate) async fn ask_pass(pass: Pass<AskFields>) -> Result<(String, Answers), ApiError> {
    let fields = pass.fields.clone();
    fields.check()?;
    let accepted = Arc::clone(&pass.accepted);
    let models = Arc::clone(&accepted.models);
    let index = models.find("ask", fields.model.as_deref())?;
    let model = models.get(index);
    let Kind::Answerer(answerer) = &model.kind else { unreachable!("a model for questions answers them") };
    let in_field = |error| ApiError::from(error).of("question");
    answerer.check_question(&fields.question).map_err(in_field)?;
    let search = SearchRequest {
        beams: fields.beams,
        max_new_tokens: fields.max_new_tokens,
        ..SearchRequest::default()
    };
    let mut options = search.resolve(answerer.default_options())?;
    options.num_return_sequences = fields.answers.unwrap_or(1);
    options.sampling.clone_from(&fields.sampling);
    if options.sampling.is_none() && options.num_return_sequences > options.num_beams {
        let expected = format!("at most {}, the number of beams", options.num_beams);
        return Err(ApiError::value("answers", &expected, options.num_return_sequences));
    }
    let resolved = Arc::new(answerer.resolve(&options)?);
    let size = model.image_size();
    let sizes = [size];
    let (fields, accepted, resolved) = (&fields, &accepted, &resolved);
    let answers = pass.answer(&sizes, 1, |opened, mut places| async move {
        let place = places.pop().expect("a place for the picture");
        let work = Work::Answer { question: fields.question.clone(), resolved: Arc::clone(resolved) };
        let done = accepted.run(place, index, opened.of_size(size), work).await?;
        let Found::Texts(mut texts) = done.found else { unreachable!("answers are texts") };
        let found = texts.pop().unwrap_or_default();
        Ok(Answer { value: value(&found, fields.answers), times: done.times, written: found })
    });
    Ok((model.name.clone(), answers.await?))
}

fn value(answers: &[Caption], most: Option<usize>) -> Map<String, Value> {
    let mut value = Map::new();
    let best = &answers[0];
    value.insert("answer".to_owned(), best.text.clone().into());
    value.insert("score".to_owned(), number(best.score));
    if let Some(most) = most {
        let entry = |answer: &Caption| json!({ "answer": answer.text, "score": number(answer.score) });
        value.insert("answers".to_owned(), answers.iter().take(most).map(entry).collect());
    }
    value
}
