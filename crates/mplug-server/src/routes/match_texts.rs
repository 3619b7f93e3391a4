//! `/v1/match`: pictures and texts in, the probability that each text describes the picture out.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::pass::{Answer, Pass, check_texts, number};
use super::request_id::RequestId;
use crate::asked::Fields;
use crate::error::ApiError;
use crate::models::Kind;
use crate::service::Service;
use crate::work::{Found, Work};

/// Most texts of a request.
const MOST_TEXTS: usize = 64;
/// Most characters of a text.
const MOST_CHARACTERS: usize = 2000;

/// What can be requested.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct MatchFields {
    model: Option<String>,
    texts: Vec<String>,
}

impl Fields for MatchFields {
    const NAMES: &'static [&'static str] = &["model", "texts"];
}

/// Scores texts against the pictures of a request.
pub(crate) async fn match_texts(
    State(service): State<Arc<Service>>,
    id: RequestId,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let pass: Pass<MatchFields> = Pass::begin(service, request).await?;
    let fields = pass.fields.clone();
    if fields.texts.is_empty() {
        return Err(ApiError::value("texts", "at least one text", "none"));
    }
    check_texts("texts", &fields.texts, MOST_TEXTS, MOST_CHARACTERS)?;
    let accepted = Arc::clone(&pass.accepted);
    let models = Arc::clone(&accepted.models);
    let index = models.find("match", fields.model.as_deref())?;
    let model = models.get(index);
    let Kind::Matcher(matcher) = &model.kind else { unreachable!("a model for matching matches") };
    for (number, text) in fields.texts.iter().enumerate() {
        let in_field = |error| ApiError::from(error).of(format!("texts[{number}]"));
        matcher.check_text(text).map_err(in_field)?;
    }
    let size = model.image_size();
    let sizes = [size];
    let (texts, accepted) = (&fields.texts, &accepted);
    let answers = pass.answer(&sizes, 1, |opened, mut places| async move {
        let place = places.pop().expect("a place for the picture");
        let done = accepted.run(place, index, opened.of_size(size), Work::Match(texts.clone())).await?;
        let Found::Scores(scores) = done.found else { unreachable!("matching gives scores") };
        let value = Map::from_iter([("scores".to_owned(), scores.into_iter().map(number).collect())]);
        Ok(Answer { value, times: done.times, written: Vec::new() })
    });
    Ok(Json(answers.await?.into_reply(&id.with("match"), &model.name)))
}
