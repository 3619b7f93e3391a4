//! `/v1/explain`: pictures in, which part of the picture each word of a caption stands on out.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use mplug::config::Languages;
use mplug::explain::{ExplainOptions, Explanation, Heads, Method};
use mplug::generate::Resolved;
use mplug::tasks::{Caption, CaptionRequest, Captioner};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::pass::{Answer, Pass, check_text, number};
use super::request_id::RequestId;
use crate::asked::Fields;
use crate::error::ApiError;
use crate::service::Service;
use crate::work::{Found, Work};

/// Most characters of a caption.
const MOST_CHARACTERS: usize = 1000;

/// How maps are made.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum MethodName {
    #[default]
    Ablation,
    Attention,
}

/// What can be requested.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ExplainFields {
    model: Option<String>,
    language: Languages,
    caption: Option<String>,
    method: MethodName,
}

impl Fields for ExplainFields {
    const NAMES: &'static [&'static str] = &["model", "language", "caption", "method"];
}

/// Explains captions of the pictures of a request.
pub(crate) async fn explain(
    State(service): State<Arc<Service>>,
    id: RequestId,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let pass: Pass<ExplainFields> = Pass::begin(service, request).await?;
    let fields = pass.fields.clone();
    check_text("caption", fields.caption.as_deref().unwrap_or_default(), MOST_CHARACTERS)?;
    let accepted = Arc::clone(&pass.accepted);
    let models = Arc::clone(&accepted.models);
    if fields.language.are_several() {
        return Err(ApiError::value("language", "one", fields.language));
    }
    let by = models.writers(fields.language, fields.model.as_deref())?[0];
    let model = models.get(by.model);
    let captioner = model.captioner().expect("a captioner writes captions");
    let options = models.options_of(&CaptionRequest::default(), by)?;
    let resolved = Arc::new(captioner.resolve(&options)?);
    let given = fields.caption.as_deref().map(|text| given(captioner, &resolved, text)).transpose()?;
    let method = match fields.method {
        MethodName::Ablation => Method::Ablation,
        MethodName::Attention => Method::Attention(Heads::Mean),
    };
    let options = ExplainOptions { method, ..ExplainOptions::default() };
    let size = model.image_size();
    let sizes = [size];
    let (accepted, resolved, given, options) = (&accepted, &resolved, &given, &options);
    let answers = pass.answer(&sizes, 1, |opened, mut places| async move {
        let place = places.pop().expect("a place for the picture");
        let work = Work::Explain { resolved: Arc::clone(resolved), given: given.clone(), options: *options };
        let done = accepted.run(place, by.model, opened.of_size(size), work).await?;
        let Found::Explained { caption, explanation } = done.found else {
            unreachable!("explaining gives explanations")
        };
        let mut value = value(&caption.text, &explanation);
        value.insert("language".to_owned(), by.language.code().into());
        value.insert(
            "method".to_owned(),
            if options.method == Method::Ablation { "ablation" } else { "attention" }.into(),
        );
        Ok(Answer { value, times: done.times, written: vec![caption] })
    });
    Ok(Json(answers.await?.into_reply(&id.with("exp"), &model.name)))
}

/// A caption of the client's in tokens.
fn given(captioner: &Captioner, resolved: &Resolved, text: &str) -> Result<Caption, ApiError> {
    let value = |expected: &str, found: &str| ApiError::value("caption", expected, found);
    let tokenizer = captioner.tokenizer();
    let ids = tokenizer.encode(text, usize::MAX); // [CLS] … [SEP]
    let token_ids = ids[1..ids.len() - 1].to_vec();
    if token_ids.is_empty() {
        return Err(value("a text with words", "none"));
    }
    if token_ids.contains(&tokenizer.unk_token_id()) || tokenizer.check_ids(text, &token_ids).is_err() {
        return Err(value("words that the model's vocabulary has", "others"));
    }
    let most = captioner.decoder().config().max_position_embeddings - resolved.prefix().len();
    if token_ids.len() > most {
        return Err(value(&format!("at most {most} tokens"), &token_ids.len().to_string()));
    }
    Ok(Caption { text: text.to_owned(), token_ids, ..Caption::default() })
}

fn value(caption: &str, explanation: &Explanation) -> Map<String, Value> {
    let places = places(caption, explanation.words.iter().map(|word| word.text.as_str()));
    let word = |(word, place): (&mplug::explain::WordMap, Option<(usize, usize)>)| {
        let (start, end) = place.unzip();
        let map: Vec<Value> = word.values.iter().copied().map(number).collect();
        json!({
            "text": word.text, "start": start, "end": end, "log_prob": number(word.log_prob),
            "most_lost": word.most_lost.map(number), "map": map,
        })
    };
    let words = explanation.words.iter().zip(places).map(word).collect();
    Map::from_iter([
        ("caption".to_owned(), caption.into()),
        ("grid".to_owned(), json!([explanation.grid, explanation.grid])),
        ("words".to_owned(), words),
    ])
}

/// Where each word begins and ends in the caption, in Unicode code points, one after the other.
fn places<'w>(caption: &str, words: impl Iterator<Item = &'w str>) -> Vec<Option<(usize, usize)>> {
    let lower = caption.to_lowercase();
    // Where lower case changes the number of characters, no place in one is a place in the other.
    let text = if lower.chars().count() == caption.chars().count() { lower.as_str() } else { caption };
    let mut from = 0;
    words
        .map(|word| {
            let at = from + text[from..].find(word)?;
            from = at + word.len();
            let start = text[..at].chars().count();
            Some((start, start + word.chars().count()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_their_places() {
        let found = places("一只橙色的猫，一只猫", ["橙色", "猫", "猫"].into_iter());
        assert_eq!(found, [Some((2, 4)), Some((5, 6)), Some((9, 10))]);
        let found = places("A red Cat and cats", ["red", "cat", "fish", "cats"].into_iter());
        assert_eq!(found, [Some((2, 5)), Some((6, 9)), None, Some((14, 18))]);
    }
}
