//! How well a retrieval model finds texts of pictures and pictures of texts: by the contrast of all pairs, then by the
//! matching head for the best few of each query, as the research code evaluates.
//!
//! Of each picture only its features are kept (a kilobyte); likenesses are computed when they are asked for. What is ordered
//! anew needs the pictures' embeddings (megabytes each): those pictures are opened and encoded a second time, which costs
//! little beside their fusion with a score of texts.

use anyhow::{anyhow, bail, ensure};
use caption_metrics::retrieval::PairScores;
use mplug::{generate::NotANumber, preprocess::image::RgbImage, tasks::Matcher};
use rayon::prelude::*;

use super::batches::each_batch;
use crate::{pictures, progress::Progress};

/// Candidates of each query that the matching head orders where nothing else is typed.
pub(super) const DEFAULT_RERANK: usize = 16;
/// What is ordered anew stands above every likeness, whatever its odds.
const ABOVE_LIKENESS: f64 = 1e6;

/// Pictures and texts among which the model searches.
pub(super) struct Search<'a> {
    pub(super) matcher: &'a Matcher,
    /// Opens a picture at the model's size.
    pub(super) open: &'a (dyn Fn(usize) -> Result<RgbImage, String> + Sync),
    pub(super) batch_size: usize,
    /// Candidates of each query that the matching head orders.
    pub(super) rerank: usize,
}

/// Pictures that could be read, with their features.
#[derive(Default)]
pub(super) struct Pictures {
    /// The number of each.
    pub(super) numbers: Vec<usize>,
    features: Vec<Vec<f32>>,
    /// How many could not.
    pub(super) failed: usize,
}

impl Search<'_> {
    /// Encodes pictures 0 to `count - 1`; one that fails is told and left out.
    pub(super) fn encode(&self, count: usize) -> anyhow::Result<Pictures> {
        let head = self.matcher.contrastive_head()?;
        let all: Vec<usize> = (0..count).collect();
        let progress = Progress::new(count, "pictures");
        let mut found = Pictures::default();
        each_batch(
            &all,
            self.batch_size,
            &progress,
            |batch| batch.par_iter().map(|&number| (self.open)(number)).collect::<Vec<_>>(),
            |batch, opened| {
                let (images, places) = pictures::split(opened);
                let embeds = if images.is_empty() { Vec::new() } else { self.matcher.encode_images(&images) };
                let features = |(place, number): (Result<usize, String>, &usize)| {
                    let features = head.image_features(&embeds[place?]);
                    if are_numbers(&features) {
                        Ok(features)
                    } else {
                        Err(format!("picture {}: {NotANumber}", number + 1))
                    }
                };
                Ok(places.into_iter().zip(batch).map(features).collect::<Vec<_>>())
            },
            |batch, features| {
                for (&number, features) in batch.iter().zip(features) {
                    match features {
                        Ok(features) => {
                            found.numbers.push(number);
                            found.features.push(features);
                        }
                        Err(problem) => {
                            progress.message(&problem);
                            found.failed += 1;
                        }
                    }
                }
                Ok(())
            },
        )?;
        Ok(found)
    }

    /// Ranks `texts` for each of the pictures, and the pictures for each text.
    pub(super) fn rank(&self, found: Pictures, texts: &[&str]) -> anyhow::Result<Ranking> {
        let likeness = Likeness { pictures: found.features, texts: self.matcher.text_features(texts)? };
        for (text, features) in texts.iter().zip(&likeness.texts) {
            ensure!(are_numbers(features), "the text `{text}`: {NotANumber}");
        }
        let (num_pictures, num_texts) = (likeness.pictures.len(), likeness.texts.len());
        let texts_of: Vec<Vec<usize>> =
            (0..num_pictures).into_par_iter().map(|p| best(&likeness.of_texts(p), self.rerank)).collect();
        let pictures_of: Vec<Vec<usize>> =
            (0..num_texts).into_par_iter().map(|t| best(&likeness.of_images(t), self.rerank)).collect();
        let mut wanted = texts_of.clone();
        for (text, pictures) in pictures_of.iter().enumerate() {
            for &picture in pictures {
                wanted[picture].push(text);
            }
        }
        for texts in &mut wanted {
            texts.sort_unstable();
            texts.dedup();
        }
        let odds = self.match_pairs(&found.numbers, texts, &wanted)?;
        Ok(Ranking { likeness, texts_of, pictures_of, odds })
    }

    /// The odds of the pairs `wanted`, texts by picture.
    fn match_pairs(
        &self,
        numbers: &[usize],
        texts: &[&str],
        wanted: &[Vec<usize>],
    ) -> anyhow::Result<Vec<Vec<(usize, f32)>>> {
        let places: Vec<usize> = (0..wanted.len()).filter(|&place| !wanted[place].is_empty()).collect();
        let progress = Progress::new(places.len(), "pictures matched");
        let mut odds = vec![Vec::new(); wanted.len()];
        each_batch(
            &places,
            self.batch_size,
            &progress,
            |batch| batch.par_iter().map(|&place| (self.open)(numbers[place])).collect::<Vec<_>>(),
            |batch, opened| {
                // They were read a while ago.
                let images: Result<Vec<RgbImage>, String> = opened.into_iter().collect();
                let embeds = self.matcher.encode_images(&images.map_err(|problem| anyhow!(problem))?);
                let pairs: Vec<(usize, usize)> = (0..batch.len())
                    .flat_map(|row| wanted[batch[row]].iter().map(move |&text| (row, text)))
                    .collect();
                let matched = |&(row, text): &(usize, usize)| {
                    Ok((row, text, self.matcher.log_odds(embeds[row].clone(), texts[text])?))
                };
                pairs.par_iter().map(matched).collect::<anyhow::Result<Vec<_>>>()
            },
            |batch, matched| {
                for (row, text, value) in matched {
                    ensure!(value.is_finite(), "a picture and the text `{}`: {NotANumber}", texts[text]);
                    odds[batch[row]].push((text, value));
                }
                Ok(())
            },
        )?;
        Ok(odds)
    }
}

fn are_numbers(features: &[f32]) -> bool {
    features.iter().all(|value| value.is_finite())
}

/// The contrast of all pairs.
struct Likeness {
    pictures: Vec<Vec<f32>>,
    texts: Vec<Vec<f32>>,
}

impl PairScores for Likeness {
    fn of_texts(&self, image: usize) -> Vec<f64> {
        self.texts.iter().map(|text| product(&self.pictures[image], text)).collect()
    }

    fn of_images(&self, text: usize) -> Vec<f64> {
        self.pictures.iter().map(|picture| product(picture, &self.texts[text])).collect()
    }
}

/// All pairs in the order of their likeness, but for the candidates of each query, which stand above the others in the order
/// of the matching head.
pub(super) struct Ranking {
    likeness: Likeness,
    texts_of: Vec<Vec<usize>>,
    pictures_of: Vec<Vec<usize>>,
    /// By picture: texts, ascending, with the logarithm of their odds.
    odds: Vec<Vec<(usize, f32)>>,
}

impl Ranking {
    fn matched(&self, picture: usize, text: usize) -> f64 {
        let of_picture = &self.odds[picture];
        let place = of_picture.binary_search_by_key(&text, |(text, _)| *text);
        place.map_or(f64::NAN, |place| ABOVE_LIKENESS + f64::from(of_picture[place].1))
    }
}

impl PairScores for Ranking {
    fn of_texts(&self, image: usize) -> Vec<f64> {
        let mut scores = self.likeness.of_texts(image);
        for &text in &self.texts_of[image] {
            scores[text] = self.matched(image, text);
        }
        scores
    }

    fn of_images(&self, text: usize) -> Vec<f64> {
        let mut scores = self.likeness.of_images(text);
        for &picture in &self.pictures_of[text] {
            scores[picture] = self.matched(picture, text);
        }
        scores
    }
}

/// The places of the `count` highest scores; of equal ones the first.
fn best(scores: &[f64], count: usize) -> Vec<usize> {
    let mut places: Vec<usize> = (0..scores.len()).collect();
    if count < places.len() {
        places.select_nth_unstable_by(count, |&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
        places.truncate(count);
    }
    places
}

/// The scalar product, in an order of sums that vector instructions can follow.
fn product(a: &[f32], b: &[f32]) -> f64 {
    const LANES: usize = 8;
    let (a_lanes, a_rest) = a.as_chunks::<LANES>();
    let (b_lanes, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0_f32; LANES];
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    f64::from(sums.iter().sum::<f32>() + rest)
}

/// Places of texts and of their pictures among those that were read: texts of others fall out.
pub(super) fn of_read(pictures: &Pictures, picture_of_text: &[usize]) -> anyhow::Result<Vec<(usize, usize)>> {
    let of_read: Vec<(usize, usize)> = picture_of_text
        .iter()
        .enumerate()
        .filter_map(|(text, number)| Some((text, pictures.numbers.binary_search(number).ok()?)))
        .collect();
    if of_read.is_empty() {
        bail!("there is no text of a picture that can be read");
    }
    Ok(of_read)
}

#[cfg(test)]
mod tests {
    use caption_metrics::retrieval::recalls_of;

    use super::*;

    #[test]
    fn the_best_are_found_in_any_order() {
        let scores = [0.1, 0.9, 0.5, 0.9, f64::NEG_INFINITY];
        let sorted = |count| {
            let mut places = best(&scores, count);
            places.sort_unstable();
            places
        };
        assert_eq!((sorted(0), sorted(1), sorted(3)), (vec![], vec![1], vec![1, 2, 3]));
        assert_eq!((sorted(5).len(), sorted(9).len()), (5, 5));
    }

    #[test]
    fn products_are_products() {
        for len in [0, 1, 7, 8, 9, 256] {
            let a: Vec<f32> = (0..len).map(|n| n as f32).collect();
            let expected: f32 = a.iter().map(|x| x * 0.5).sum();
            assert!(
                (product(&a, &vec![0.5; len]) - f64::from(expected)).abs()
                    < 1e-3 * f64::from(expected.max(1.0))
            );
        }
    }

    /// Contrast prefers the wrong text; the matching head, asked about two candidates of each query, knows better.
    #[test]
    fn candidates_stand_above_the_others_in_the_order_of_the_matching_head() {
        let likeness = || Likeness {
            pictures: vec![vec![1.0, 0.0], vec![0.0, 1.0]],
            texts: vec![vec![0.5, 0.6], vec![0.6, 0.5], vec![-1.0, -1.0]],
        };
        let own = |image: usize, text: usize| image == text;
        let contrast = recalls_of(&likeness(), [2, 3], own);
        assert_eq!((contrast.text_retrieval.r1, contrast.image_retrieval.r1), (0.0, 0.0));
        let ranking = Ranking {
            likeness: likeness(),
            texts_of: vec![vec![0, 1], vec![1, 0]],
            pictures_of: vec![vec![0, 1], vec![1, 0], vec![]],
            odds: vec![vec![(0, 30.0), (1, 29.999)], vec![(0, -40.0), (1, -30.0)]],
        };
        let reranked = recalls_of(&ranking, [2, 3], own);
        assert_eq!((reranked.text_retrieval.r1, reranked.image_retrieval.r1), (1.0, 0.5));
        assert!(ranking.of_texts(0)[2] < 0.0, "what is no candidate keeps its likeness");
    }
}
