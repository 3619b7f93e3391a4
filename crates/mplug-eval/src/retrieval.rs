//! Which pictures and texts fit each other best: by the contrast of all pairs, then by the matching head for the best few of each
//! query, as the research code evaluates. Knows no model: whoever runs one gives its features and the odds of the pairs.
//!
//! Of each picture and text only its features are held (a kilobyte); similarities are computed when they are needed, for those of
//! all pairs of a large set would not fit in memory together.

use caption_metrics::retrieval::{PairScores, RetrievalReport, recalls_of};
use rayon::prelude::*;

/// Candidates of each query that the matching head orders where nothing else is requested.
pub const DEFAULT_RERANK: usize = 16;
/// What the matching head orders stands above every similarity, whatever its odds.
const ABOVE_SIMILARITY: f64 = 1e6;

/// Features of pictures and texts: the contrast of all pairs.
#[derive(Clone, Debug, Default)]
pub struct Features {
    /// Of each picture, `(projection_size)`, of length one.
    pub pictures: Vec<Vec<f32>>,
    /// Of each text, `(projection_size)`, of length one.
    pub texts: Vec<Vec<f32>>,
}

/// The similarity of a picture and a text is the scalar product of their features, -1 to 1.
impl PairScores for Features {
    fn of_texts(&self, image: usize) -> Vec<f64> {
        self.texts.iter().map(|text| product(&self.pictures[image], text)).collect()
    }

    fn of_images(&self, text: usize) -> Vec<f64> {
        self.pictures.iter().map(|picture| product(picture, &self.texts[text])).collect()
    }
}

/// The most similar partners of each picture and text, which the matching head orders.
#[derive(Clone, Debug)]
pub struct Candidates {
    /// By picture: indices of texts.
    texts_of: Vec<Vec<usize>>,
    /// By text: indices of pictures.
    pictures_of: Vec<Vec<usize>>,
}

impl Candidates {
    /// The `count` most similar partners of each; of equal ones the first.
    pub fn of(features: &Features, count: usize) -> Self {
        let (pictures, texts) = (0..features.pictures.len(), 0..features.texts.len());
        let texts_of = pictures.into_par_iter().map(|picture| best(&features.of_texts(picture), count));
        let pictures_of = texts.into_par_iter().map(|text| best(&features.of_images(text), count));
        Self { texts_of: texts_of.collect(), pictures_of: pictures_of.collect() }
    }

    /// The pairs of which the odds are needed, each once: by picture, the texts in ascending order.
    pub fn texts_by_picture(&self) -> Vec<Vec<usize>> {
        let mut pairs = self.texts_of.clone();
        for (text, pictures) in self.pictures_of.iter().enumerate() {
            for &picture in pictures {
                pairs[picture].push(text);
            }
        }
        for texts in &mut pairs {
            texts.sort_unstable();
            texts.dedup();
        }
        pairs
    }
}

/// All pairs in the order of their similarity, but for the candidates of each query, which stand above the others in the order of
/// the matching head.
#[derive(Clone, Debug)]
pub struct Ranking {
    features: Features,
    candidates: Candidates,
    /// By picture: texts, ascending, with the logarithm of their odds.
    log_odds: Vec<Vec<(usize, f32)>>,
}

impl Ranking {
    /// The ranking of `features`, whose `candidates` have these odds: by picture, `(text, log-odds)` of each of
    /// [`Candidates::texts_by_picture`], in that order. The logarithm of the odds, and not the probability, which many pairs beyond
    /// doubt share once it is rounded. A pair without odds, or whose odds are no number, counts as wrong.
    pub fn new(features: Features, candidates: Candidates, log_odds: Vec<Vec<(usize, f32)>>) -> Self {
        Self { features, candidates, log_odds }
    }

    /// Recall in both directions, where `is_right(picture, text)` says which belong together.
    pub fn recalls(&self, is_right: impl Fn(usize, usize) -> bool + Sync) -> RetrievalReport {
        let sizes = [self.features.pictures.len(), self.features.texts.len()];
        recalls_of(self, sizes, is_right)
    }

    fn matched(&self, picture: usize, text: usize) -> f64 {
        let of_picture = self.log_odds.get(picture).map_or(&[][..], Vec::as_slice);
        let index = of_picture.binary_search_by_key(&text, |(text, _)| *text);
        index.map_or(f64::NAN, |index| ABOVE_SIMILARITY + f64::from(of_picture[index].1))
    }
}

impl PairScores for Ranking {
    fn of_texts(&self, image: usize) -> Vec<f64> {
        let mut scores = self.features.of_texts(image);
        for &text in &self.candidates.texts_of[image] {
            scores[text] = self.matched(image, text);
        }
        scores
    }

    fn of_images(&self, text: usize) -> Vec<f64> {
        let mut scores = self.features.of_images(text);
        for &picture in &self.candidates.pictures_of[text] {
            scores[picture] = self.matched(picture, text);
        }
        scores
    }
}

/// The indices of the `count` highest scores; of equal ones the first.
fn best(scores: &[f64], count: usize) -> Vec<usize> {
    let mut indices: Vec<usize> = (0..scores.len()).collect();
    if count < indices.len() {
        indices.select_nth_unstable_by(count, |&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
        indices.truncate(count);
    }
    indices
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_are_found_in_any_order() {
        let scores = [0.1, 0.9, 0.5, 0.9, f64::NEG_INFINITY];
        let sorted = |count| {
            let mut indices = best(&scores, count);
            indices.sort_unstable();
            indices
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

    fn features() -> Features {
        Features {
            pictures: vec![vec![1.0, 0.0], vec![0.0, 1.0]],
            texts: vec![vec![0.5, 0.6], vec![0.6, 0.5], vec![-1.0, -1.0]],
        }
    }

    /// Contrast prefers the wrong text; the matching head, asked about two candidates of each query, knows better. Its odds are
    /// such that the probabilities of both texts round to 1.
    #[test]
    fn candidates_stand_above_the_others_in_the_order_of_the_matching_head() {
        let own = |image: usize, text: usize| image == text;
        let contrast = recalls_of(&features(), [2, 3], own);
        assert_eq!((contrast.text_retrieval.r1, contrast.image_retrieval.r1), (0.0, 0.0));
        let candidates = Candidates {
            texts_of: vec![vec![0, 1], vec![1, 0]],
            pictures_of: vec![vec![0, 1], vec![1, 0], vec![]],
        };
        let log_odds = vec![vec![(0, 30.0), (1, 29.999)], vec![(0, -40.0), (1, -30.0)]];
        let ranking = Ranking::new(features(), candidates, log_odds);
        let reranked = ranking.recalls(own);
        assert_eq!((reranked.text_retrieval.r1, reranked.image_retrieval.r1), (1.0, 0.5));
        assert!(ranking.of_texts(0)[2] < 0.0, "what is no candidate keeps its similarity");
    }

    #[test]
    fn pairs_are_asked_about_once_in_ascending_order() {
        let candidates = Candidates::of(&features(), 1);
        assert_eq!(
            (&candidates.texts_of[..], &candidates.pictures_of[..]),
            (&[vec![1], vec![0]][..], &[vec![1], vec![0], vec![0]][..])
        );
        assert_eq!(candidates.texts_by_picture(), [vec![1, 2], vec![0]]);
        assert_eq!(Candidates::of(&features(), 9).texts_by_picture(), [vec![0, 1, 2], vec![0, 1, 2]]);
        assert_eq!(Candidates::of(&features(), 0).texts_by_picture(), [vec![], vec![]] as [Vec<usize>; 2]);
    }

    #[test]
    fn a_pair_without_odds_counts_as_wrong() {
        let candidates = Candidates::of(&features(), 3);
        let ranking = Ranking::new(features(), candidates, Vec::new());
        assert_eq!(ranking.recalls(|image, text| image == text).text_retrieval.r1, 0.0);
    }
}
