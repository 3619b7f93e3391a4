//! Recall of image-text retrieval, both ways: among how many first ranks the right partner is.

use std::cmp::Ordering;

use rayon::prelude::*;
use serde::Serialize;

/// The ranks that are reported.
const DEPTHS: [usize; 3] = [1, 5, 10];

/// Shares of queries, 0 to 1, whose best right answer is among the first 1, 5 and 10.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Recall {
    /// Right at once.
    pub r1: f64,
    /// Among the first five.
    pub r5: f64,
    /// Among the first ten.
    pub r10: f64,
}

/// Recall in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RetrievalReport {
    /// Finding a text of a given image.
    pub text_retrieval: Recall,
    /// Finding the image of a given text.
    pub image_retrieval: Recall,
}

/// Scores of images and texts, made when requested: those of a large set would not fit in memory together.
pub trait PairScores: Sync {
    /// How well each text fits `image`; higher is better.
    fn of_texts(&self, image: usize) -> Vec<f64>;
    /// How well each image fits `text`.
    fn of_images(&self, text: usize) -> Vec<f64>;
}

/// Recall from `scores` (images, texts), row after row, higher meaning more alike; text `t` belongs to image
/// `image_of_text[t]`.
///
/// An equal score of a wrong partner counts as a better one, so that a scorer that cannot distinguish them has no recall; so does a
/// score that is not a number. Images without texts are no queries.
///
/// # Panics
/// If the matrix is not a whole number of rows, or a text belongs to an image beyond the last: a mistake of the caller.
pub fn recalls(scores: &[f32], image_of_text: &[usize]) -> RetrievalReport {
    let num_texts = image_of_text.len();
    if num_texts == 0 {
        assert!(scores.is_empty(), "scores of no texts");
        return RetrievalReport { text_retrieval: Recall::of(&[]), image_retrieval: Recall::of(&[]) };
    }
    assert_eq!(scores.len() % num_texts, 0, "scores are (images, texts)");
    let num_images = scores.len() / num_texts;
    assert!(image_of_text.iter().all(|&image| image < num_images), "every text has its image");
    recalls_of(&Matrix { scores, num_texts }, [num_images, num_texts], |image, text| {
        image_of_text[text] == image
    })
}

/// Recall from scores that are made when requested, of the given numbers of images and texts.
///
/// `is_right(image, text)` says which belong together: a text may belong to several images.
///
/// # Panics
/// If there are not as many scores as images or texts.
pub fn recalls_of(
    scores: &impl PairScores,
    [num_images, num_texts]: [usize; 2],
    is_right: impl Fn(usize, usize) -> bool + Sync,
) -> RetrievalReport {
    let text_ranks: Vec<usize> = (0..num_images)
        .into_par_iter()
        .filter_map(|image| {
            let row = scores.of_texts(image);
            assert_eq!(row.len(), num_texts, "one score for each text");
            rank(row.into_iter().enumerate().map(|(text, score)| (score, is_right(image, text))))
        })
        .collect();
    let image_ranks: Vec<usize> = (0..num_texts)
        .into_par_iter()
        .filter_map(|text| {
            let column = scores.of_images(text);
            assert_eq!(column.len(), num_images, "one score for each image");
            rank(column.into_iter().enumerate().map(|(image, score)| (score, is_right(image, text))))
        })
        .collect();
    RetrievalReport { text_retrieval: Recall::of(&text_ranks), image_retrieval: Recall::of(&image_ranks) }
}

/// Scores that are all there.
struct Matrix<'a> {
    scores: &'a [f32],
    num_texts: usize,
}

impl PairScores for Matrix<'_> {
    fn of_texts(&self, image: usize) -> Vec<f64> {
        self.scores[image * self.num_texts..][..self.num_texts]
            .iter()
            .map(|&score| f64::from(score))
            .collect()
    }

    fn of_images(&self, text: usize) -> Vec<f64> {
        self.scores.iter().skip(text).step_by(self.num_texts).map(|&score| f64::from(score)).collect()
    }
}

/// How many wrong answers stand before the best right one; `None` where none is right.
fn rank(answers: impl Iterator<Item = (f64, bool)> + Clone) -> Option<usize> {
    let best = answers.clone().filter(|(_, is_right)| *is_right).map(|(score, _)| score).reduce(f64::max)?;
    Some(
        answers
            .filter(|&(score, is_right)| !is_right && score.partial_cmp(&best) != Some(Ordering::Less))
            .count(),
    )
}

impl Recall {
    fn of(ranks: &[usize]) -> Self {
        let [r1, r5, r10] = DEPTHS.map(|depth| {
            let found = ranks.iter().filter(|&&rank| rank < depth).count();
            found as f64 / ranks.len().max(1) as f64
        });
        Self { r1, r5, r10 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_are_counted() {
        // Two images, three texts: the first two belong to image 0.
        let scores = [0.9, 0.1, 0.5, 0.2, 0.3, 0.4];
        let report = recalls(&scores, &[0, 0, 1]);
        assert_eq!(report.text_retrieval.r1, 1.0);
        assert_eq!(report.image_retrieval.r1, 1.0 / 3.0, "text 1 prefers image 1, text 2 image 0");
        assert_eq!(report.image_retrieval.r5, 1.0);
    }

    #[test]
    fn a_scorer_that_cannot_distinguish_has_no_recall() {
        let report = recalls(&[0.5; 16], &[0, 1, 2, 3]);
        assert_eq!((report.text_retrieval.r1, report.text_retrieval.r5), (0.0, 1.0));
        let nan = recalls(&[f32::NAN; 4], &[0, 1]);
        assert_eq!(nan.text_retrieval.r1, 0.0);
        assert_eq!(recalls(&[], &[]).text_retrieval.r1, 0.0);
    }

    #[test]
    fn a_text_may_be_right_for_several_images() {
        // Text 0 is of image 0, and prefers image 1, of which it is true as well.
        let scores = Matrix { scores: &[0.5, 0.9, 0.8, 0.7], num_texts: 2 };
        let own = recalls_of(&scores, [2, 2], |image, text| image == text);
        assert_eq!((own.text_retrieval.r1, own.image_retrieval.r1), (0.0, 0.0));
        let also = recalls_of(&scores, [2, 2], |image, text| image == text || (image, text) == (1, 0));
        assert_eq!((also.text_retrieval.r1, also.image_retrieval.r1), (0.5, 0.5));
    }
}
