//! A search among pictures and texts by a retrieval model: pictures are encoded one batch after the other, texts at once, and the
//! best pairs are read again by the matching head.
//!
//! What is ordered by the matching head needs the pictures' embeddings (megabytes each): those pictures are opened and encoded a
//! second time, which costs little beside their fusion with a score of texts.

use mplug::generate::NotANumber;
use mplug::preprocess::image::RgbImage;
use mplug::tasks::Matcher;
use mplug_data::picture::split;
use rayon::prelude::*;

use crate::error::EvalError;
use crate::event::{Event, OnEvent, each_batch, emit};
use crate::retrieval::{Candidates, Features, Ranking};

/// How a model searches.
pub struct SearchPlan<'a> {
    /// The model, which must have a contrastive head.
    pub matcher: &'a Matcher,
    /// Pictures that pass through it together; changes speed and memory, never a result.
    pub batch_size: usize,
    /// Candidates of each query that the matching head orders; 0 for the contrast's order.
    pub rerank: usize,
}

/// A model and the pictures among which it searches.
pub(crate) struct Search<'a> {
    pub(crate) plan: &'a SearchPlan<'a>,
    /// Opens a picture by its number, at the model's size.
    pub(crate) open: &'a (dyn Fn(usize) -> Result<RgbImage, String> + Sync),
}

/// Pictures that could be read, with their features.
#[derive(Default)]
pub(crate) struct Pictures {
    /// The number of each, ascending.
    pub(crate) numbers: Vec<usize>,
    features: Vec<Vec<f32>>,
    /// How many could not.
    pub(crate) failed: usize,
}

impl Search<'_> {
    /// Encodes pictures 0 to `count - 1`; one that fails is an [`Event::Failed`](crate::Event::Failed) and left out.
    pub(crate) fn encode(&self, count: usize, on_event: OnEvent<'_>) -> Result<Pictures, EvalError> {
        let all: Vec<usize> = (0..count).collect();
        let mut found = Pictures::default();
        each_batch(
            &all,
            self.plan.batch_size,
            "pictures",
            on_event,
            |batch| batch.par_iter().map(|&number| (self.open)(number)).collect::<Vec<_>>(),
            |batch, opened| {
                let (images, indices) = split(opened);
                let found = self.plan.matcher.image_features(&images)?;
                let features = |(index, number): (Result<usize, String>, &usize)| {
                    let features = found[index?].clone();
                    if are_numbers(&features) {
                        Ok(features)
                    } else {
                        Err(format!("picture {}: {NotANumber}", number + 1))
                    }
                };
                Ok(indices.into_iter().zip(batch).map(features).collect::<Vec<_>>())
            },
            |batch, features| {
                let mut messages = Vec::new();
                for (&number, features) in batch.iter().zip(features) {
                    match features {
                        Ok(features) => {
                            found.numbers.push(number);
                            found.features.push(features);
                        }
                        Err(message) => messages.push(message),
                    }
                }
                found.failed += messages.len();
                Ok(messages)
            },
        )?;
        Ok(found)
    }

    /// Ranks `texts` for each of the pictures, and the pictures for each text.
    pub(crate) fn rank(
        &self,
        found: Pictures,
        texts: &[&str],
        on_event: OnEvent<'_>,
    ) -> Result<Ranking, EvalError> {
        for note in self.plan.matcher.text_fit(texts).notes() {
            emit(on_event, Event::Note { message: &note })?;
        }
        let features = Features { pictures: found.features, texts: self.plan.matcher.text_features(texts)? };
        for (text, features) in texts.iter().zip(&features.texts) {
            if !are_numbers(features) {
                return Err(EvalError::not_a_number(format!("the text `{text}`")));
            }
        }
        let candidates = Candidates::of(&features, self.plan.rerank);
        let log_odds = self.match_pairs(&found.numbers, texts, &candidates.texts_by_picture(), on_event)?;
        Ok(Ranking::new(features, candidates, log_odds))
    }

    /// The logarithm of the odds of `pairs`, which are texts by picture.
    fn match_pairs(
        &self,
        numbers: &[usize],
        texts: &[&str],
        pairs: &[Vec<usize>],
        on_event: OnEvent<'_>,
    ) -> Result<Vec<Vec<(usize, f32)>>, EvalError> {
        let indices: Vec<usize> = (0..pairs.len()).filter(|&index| !pairs[index].is_empty()).collect();
        let matcher = self.plan.matcher;
        let mut log_odds = vec![Vec::new(); pairs.len()];
        each_batch(
            &indices,
            self.plan.batch_size,
            "pictures matched",
            on_event,
            |batch| batch.par_iter().map(|&index| (self.open)(numbers[index])).collect::<Vec<_>>(),
            |batch, opened| {
                // They were read a while ago.
                let images: Result<Vec<RgbImage>, String> = opened.into_iter().collect();
                let pictures = matcher.encode(&images.map_err(EvalError::Picture)?);
                let pairs: Vec<(usize, usize)> = (0..batch.len())
                    .flat_map(|row| pairs[batch[row]].iter().map(move |&text| (row, text)))
                    .collect();
                let matched = |&(row, text): &(usize, usize)| {
                    Ok((row, text, matcher.log_odds(&pictures[row], texts[text])?))
                };
                pairs.par_iter().map(matched).collect::<Result<Vec<_>, EvalError>>()
            },
            |batch, matched| {
                for (row, text, value) in matched {
                    if !value.is_finite() {
                        let what = format!("a picture and the text `{}`", texts[text]);
                        return Err(EvalError::not_a_number(what));
                    }
                    log_odds[batch[row]].push((text, value));
                }
                Ok(Vec::new())
            },
        )?;
        Ok(log_odds)
    }
}

fn are_numbers(features: &[f32]) -> bool {
    features.iter().all(|value| value.is_finite())
}
