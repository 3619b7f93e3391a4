//! `/v1/caption`: pictures in, captions out, in every language that was requested.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use futures_util::future::try_join_all;
use mplug::config::{Language, Languages};
use mplug::generate::Resolved;
use mplug::generate::sampling::SamplingOptions;
use mplug::tasks::{Caption, CaptionRequest, SearchRequest};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::pass::{Answer, Answers, Pass, check_number, check_text, check_texts, number};
use super::request_id::RequestId;
use crate::asked::Fields;
use crate::error::{ApiError, Code};
use crate::models::{Kind, ModelIndex, Models, WrittenBy};
use crate::pictures::Opened;
use crate::queue::Place;
use crate::service::{Accepted, Service};
use crate::work::{Found, Times, Work};

/// Most captions, beams and words of a request.
const MOST: usize = 64;
/// Most keywords of a picture.
const MOST_TAGS: usize = 1000;
/// Most tokens of a caption.
const MOST_TOKENS: usize = 1024;
/// Most characters of a text that captions begin with or have in them.
const MOST_CHARACTERS: usize = 500;

/// What can be requested; the names are the command line's.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct CaptionFields {
    pub(crate) model: Option<String>,
    pub(crate) language: Languages,
    pub(crate) captions: Option<usize>,
    pub(crate) prefix: Option<String>,
    pub(crate) forbid: Vec<String>,
    pub(crate) include: Vec<String>,
    pub(crate) beams: Option<usize>,
    pub(crate) min_new_tokens: Option<usize>,
    pub(crate) max_new_tokens: Option<usize>,
    pub(crate) diverse: Option<f32>,
    pub(crate) tags: Option<usize>,
    pub(crate) sampling: Option<SamplingOptions>,
    pub(crate) check: bool,
}

impl Fields for CaptionFields {
    const NAMES: &'static [&'static str] = &[
        "model",
        "language",
        "captions",
        "prefix",
        "forbid",
        "include",
        "beams",
        "min_new_tokens",
        "max_new_tokens",
        "diverse",
        "tags",
        "sampling",
        "check",
    ];
}

impl CaptionFields {
    fn check(&self) -> Result<(), ApiError> {
        check_number("captions", self.captions, 1, MOST)?;
        check_number("beams", self.beams, 1, MOST)?;
        check_number("tags", self.tags, 1, MOST_TAGS)?;
        check_number("max_new_tokens", self.max_new_tokens, 1, MOST_TOKENS)?;
        check_number("min_new_tokens", self.min_new_tokens, 0, MOST_TOKENS)?;
        check_text("prefix", self.prefix.as_deref().unwrap_or_default(), MOST_CHARACTERS)?;
        check_texts("forbid", &self.forbid, MOST, MOST_CHARACTERS)?;
        check_texts("include", &self.include, MOST, MOST_CHARACTERS)?;
        if self.tags.is_some() && !cfg!(feature = "keywords") {
            let message = "tags: this server was built without keywords";
            return Err(ApiError::new(Code::UnsupportedParameter, message).of("tags"));
        }
        Ok(())
    }

    fn request(&self) -> CaptionRequest {
        CaptionRequest {
            search: SearchRequest {
                beams: self.beams,
                max_new_tokens: self.max_new_tokens,
                min_new_tokens: self.min_new_tokens,
            },
            languages: Languages::default(),
            prefix: self.prefix.clone().filter(|prefix| !prefix.is_empty()),
            forbidden_words: self.forbid.clone(),
            required_words: self.include.clone(),
            captions: self.captions,
            min_difference: self.diverse,
            finished_only: false,
            keywords: self.tags,
            sampling: self.sampling.clone(),
        }
    }
}

/// What is to be written about each picture, checked.
pub(crate) struct CaptionPlan {
    fields: CaptionFields,
    /// In the order of the reply.
    writers: Vec<WrittenBy>,
    /// For each of the writers.
    resolved: Vec<Arc<Resolved>>,
    /// Who says how well captions fit.
    matcher: Option<ModelIndex>,
}

impl CaptionPlan {
    /// Checks what was requested against the models.
    ///
    /// # Errors
    /// The first field that cannot be.
    pub(crate) fn new(fields: CaptionFields, models: &Models) -> Result<Self, ApiError> {
        fields.check()?;
        let writers = models.writers(fields.language, fields.model.as_deref())?;
        let request = fields.request();
        let resolve = |by: &WrittenBy| -> Result<Arc<Resolved>, ApiError> {
            let options = models.options_of(&request, *by)?;
            let captioner = models.get(by.model).captioner().expect("a captioner writes captions");
            Ok(Arc::new(captioner.resolve(&options)?))
        };
        let resolved = writers.iter().map(resolve).collect::<Result<_, _>>()?;
        let matcher = if fields.check { Some(models.find("match", None)?) } else { None };
        Ok(Self { fields, writers, resolved, matcher })
    }

    /// The models that write, each once.
    fn models(&self) -> Vec<ModelIndex> {
        let mut models: Vec<ModelIndex> = Vec::new();
        for by in &self.writers {
            if !models.contains(&by.model) {
                models.push(by.model);
            }
        }
        models
    }

    /// How often a picture goes through a model.
    pub(crate) fn places(&self) -> usize {
        self.models().len() + usize::from(self.matcher.is_some())
    }

    /// The sizes at which pictures are opened.
    pub(crate) fn sizes(&self, models: &Models) -> Vec<u32> {
        let mut sizes: Vec<u32> = self
            .models()
            .into_iter()
            .chain(self.matcher)
            .map(|model| models.get(model).image_size())
            .collect();
        sizes.sort_unstable();
        sizes.dedup();
        sizes
    }

    /// The name of the first model that writes.
    pub(crate) fn model_name<'m>(&self, models: &'m Models) -> &'m str {
        &models.get(self.writers[0].model).name
    }

    /// Captions a picture.
    ///
    /// # Errors
    /// If a model cannot.
    pub(crate) async fn caption(
        &self,
        accepted: &Accepted,
        opened: Opened,
        mut places: Vec<Place>,
    ) -> Result<Answer, ApiError> {
        let mut passes = Vec::new();
        for model in self.models() {
            let its = || self.writers.iter().enumerate().filter(move |(_, by)| by.model == model);
            let texts = its().map(|(index, _)| Arc::clone(&self.resolved[index])).collect();
            let image = opened.of_size(accepted.models.get(model).image_size());
            let place = places.pop().expect("a place for each model");
            let numbers: Vec<usize> = its().map(|(index, _)| index).collect();
            passes.push(async move {
                let done = accepted.run(place, model, image, Work::Caption(texts)).await?;
                Ok::<_, ApiError>((numbers, done))
            });
        }
        let mut times = Times::default();
        let mut written: Vec<Vec<Caption>> = self.writers.iter().map(|_| Vec::new()).collect();
        for (numbers, done) in try_join_all(passes).await? {
            times = Times { queue: times.queue.max(done.times.queue), model: times.model + done.times.model };
            let Found::Texts(texts) = done.found else { unreachable!("captions are texts") };
            for (number, captions) in numbers.into_iter().zip(texts) {
                written[number] = captions;
            }
        }
        let matches = match (self.matcher, places.pop()) {
            (Some(matcher), Some(place)) => {
                let best: Vec<&str> = written.iter().map(|captions| captions[0].text.as_str()).collect();
                let image = opened.of_size(accepted.models.get(matcher).image_size());
                let (matches, model) = matches(accepted, place, matcher, image, &best).await?;
                times.model += model;
                Some(matches)
            }
            _ => None,
        };
        let value = self.value(&written, matches.as_deref());
        Ok(Answer { value, times, written: written.swap_remove(0) })
    }

    /// A picture's entry in the reply.
    fn value(&self, written: &[Vec<Caption>], matches: Option<&[Option<f32>]>) -> Map<String, Value> {
        let texts = self.writers.iter().zip(written).enumerate();
        let mut texts = texts.map(|(index, (by, captions))| {
            self.text_value(
                by.language,
                captions,
                matches.map(|matches| matches[index].map_or(Value::Null, number)),
            )
        });
        if self.writers.len() == 1 {
            return texts.next().unwrap_or_default();
        }
        let texts: Vec<Map<String, Value>> = texts.collect();
        let mut value = Map::new();
        for name in ["caption", "score", "language"] {
            value.insert(name.to_owned(), texts[0][name].clone());
        }
        value.insert("languages".to_owned(), texts.into());
        value
    }

    fn text_value(
        &self,
        language: Language,
        captions: &[Caption],
        fits: Option<Value>,
    ) -> Map<String, Value> {
        let mut value = Map::new();
        let mut insert = |name: &str, found: Value| value.insert(name.to_owned(), found);
        insert("caption", captions[0].text.clone().into());
        insert("score", number(captions[0].score));
        insert("language", language.code().into());
        if let Some(most) = self.fields.captions {
            let entry =
                |caption: &Caption| json!({ "caption": caption.text, "score": number(caption.score) });
            insert("captions", captions.iter().take(most).map(entry).collect());
        }
        #[cfg(feature = "keywords")]
        if let Some(most) = self.fields.tags {
            let tag =
                |tag: mplug::keywords::Keyword| json!({ "tag": tag.word, "weight": number(tag.weight) });
            insert("tags", mplug::keywords::keywords(captions, most).into_iter().map(tag).collect());
        }
        if let Some(fits) = fits {
            insert("match", fits);
        }
        value
    }
}

/// How well each text fits, and the time that the model took. A text that the model cannot read (it has no embedding for a token) has
/// none: the caption stays.
///
/// # Errors
/// If the model cannot.
async fn matches(
    accepted: &Accepted,
    place: Place,
    matcher: ModelIndex,
    image: Arc<mplug::RgbImage>,
    texts: &[&str],
) -> Result<(Vec<Option<f32>>, Duration), ApiError> {
    let Kind::Matcher(model) = &accepted.models.get(matcher).kind else {
        unreachable!("a model for matching matches")
    };
    let is_read: Vec<bool> = texts.iter().map(|text| model.check_text(text).is_ok()).collect();
    let read: Vec<String> = texts
        .iter()
        .zip(&is_read)
        .filter(|(_, is_read)| **is_read)
        .map(|(text, _)| (*text).to_owned())
        .collect();
    if read.is_empty() {
        return Ok((vec![None; texts.len()], Duration::ZERO));
    }
    let done = accepted.run(place, matcher, image, Work::Match(read)).await?;
    let Found::Scores(scores) = done.found else { unreachable!("matching gives scores") };
    let mut scores = scores.into_iter();
    let matches = is_read.into_iter().map(|is_read| is_read.then(|| scores.next()).flatten()).collect();
    Ok((matches, done.times.model))
}

/// Captions the pictures of a request.
pub(crate) async fn caption(
    State(service): State<Arc<Service>>,
    id: RequestId,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let pass: Pass<CaptionFields> = Pass::begin(service, request).await?;
    let (plan, answers) = caption_pass(pass).await?;
    Ok(Json(answers.into_reply(&id.with("cap"), &plan)))
}

/// The name of the model and the answers of a request that was read.
pub(crate) async fn caption_pass(pass: Pass<CaptionFields>) -> Result<(String, Answers), ApiError> {
    let models = Arc::clone(&pass.accepted.models);
    let plan = CaptionPlan::new(pass.fields.clone(), &models)?;
    let name = plan.model_name(&models).to_owned();
    let sizes = plan.sizes(&models);
    let accepted = Arc::clone(&pass.accepted);
    let (plan, accepted) = (&plan, &accepted);
    let places = plan.places();
    let answers =
        pass.answer(&sizes, places, |opened, places| plan.caption(accepted, opened, places)).await?;
    Ok((name, answers))
}
