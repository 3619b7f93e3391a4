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
    /// What a picture is called, by its number.
    pub(crate) name: &'a (dyn Fn(usize) -> String + Sync),
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

impl Pictures {
    /// Leaves out the pictures at these places, ascending, as ones that could not be read.
    pub(crate) fn leave_out(&mut self, places: &[usize]) {
        let left = |place: usize| places.binary_search(&place).is_err();
        let mut place = 0;
        self.numbers.retain(|_| {
            place += 1;
            left(place - 1)
        });
        let features = std::mem::take(&mut self.features).into_iter().enumerate();
        self.features = features.filter(|(place, _)| left(*place)).map(|(_, features)| features).collect();
        self.failed += places.len();
    }
}

/// The texts of a search ranked, or the places of the pictures for which there are no numbers, ascending.
pub(crate) type Ranked = Result<Ranking, Vec<usize>>;

/// The logarithm of the odds of texts, by picture.
type LogOdds = Vec<Vec<(usize, f32)>>;

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
                        Err(format!("{}: {NotANumber}", (self.name)(*number)))
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

    /// Ranks `texts` for each of the pictures, and the pictures for each text. A picture that has no number with some text is an
    /// [`Event::Failed`](crate::Event::Failed), and nothing is ranked.
    pub(crate) fn rank(
        &self,
        found: &Pictures,
        texts: &[&str],
        on_event: OnEvent<'_>,
    ) -> Result<Ranked, EvalError> {
        for note in self.plan.matcher.text_fit(texts).notes() {
            emit(on_event, Event::Note { message: &note })?;
        }
        let features =
            Features { pictures: found.features.clone(), texts: self.plan.matcher.text_features(texts)? };
        for (text, features) in texts.iter().zip(&features.texts) {
            if !are_numbers(features) {
                return Err(EvalError::not_a_number(format!("the text `{text}`")));
            }
        }
        let candidates = Candidates::of(&features, self.plan.rerank);
        let (log_odds, bad) =
            self.match_pairs(&found.numbers, texts, &candidates.texts_by_picture(), on_event)?;
        Ok(if bad.is_empty() { Ok(Ranking::new(features, candidates, log_odds)) } else { Err(bad) })
    }

    /// The logarithm of the odds of `pairs`, which are texts by picture, and the places of the pictures without a number.
    fn match_pairs(
        &self,
        numbers: &[usize],
        texts: &[&str],
        pairs: &[Vec<usize>],
        on_event: OnEvent<'_>,
    ) -> Result<(LogOdds, Vec<usize>), EvalError> {
        let indices: Vec<usize> = (0..pairs.len()).filter(|&index| !pairs[index].is_empty()).collect();
        let matcher = self.plan.matcher;
        let (mut log_odds, mut bad) = (vec![Vec::new(); pairs.len()], Vec::new());
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
                let mut messages = Vec::new();
                for (row, text, value) in matched {
                    let place = batch[row];
                    if value.is_finite() {
                        log_odds[place].push((text, value));
                    } else if bad.last() != Some(&place) {
                        let name = (self.name)(numbers[place]);
                        messages.push(format!("{name}: {NotANumber}, with the text `{}`", texts[text]));
                        bad.push(place);
                    }
                }
                Ok(messages)
            },
        )?;
        Ok((log_odds, bad))
    }
}

fn are_numbers(features: &[f32]) -> bool {
    features.iter().all(|value| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_without_numbers_is_left_out() {
        let features = |numbers: &[usize]| numbers.iter().map(|&number| vec![number as f32]).collect();
        let mut pictures =
            Pictures { numbers: vec![1, 4, 5, 9], features: features(&[1, 4, 5, 9]), failed: 2 };
        pictures.leave_out(&[1, 3]);
        assert_eq!((&pictures.numbers[..], pictures.failed), (&[1, 5][..], 4));
        assert_eq!(pictures.features, [[1.0], [5.0]]);
    }
}
