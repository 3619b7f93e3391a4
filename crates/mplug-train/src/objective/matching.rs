//! Image-text matching with hard negatives (Li et al. 2021, section 3.2): for every text a picture, and for every picture a
//! text, that are not its own and that the contrast finds like; the head distinguishes pairs from these. Knows no contrast.

use burn::tensor::{Int, Tensor};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::Pass;
use super::tensors::{integers, vector};
use crate::loss::weighted_cross_entropy;

/// For every picture the micro-batch's text that is its hard negative, and for every text its picture; none where all others
/// are of the same picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HardNegatives {
    /// `(pictures)`: a picture for each text.
    pub(super) pictures: Vec<Option<usize>>,
    /// `(pictures)`: a text for each picture.
    pub(super) texts: Vec<Option<usize>>,
}

impl HardNegatives {
    /// Draws from `similarity`, `(pictures, pictures)` each: of pictures to texts, and of texts to pictures.
    pub(super) fn draw(similarity: &[Vec<f32>; 2], picture_ids: &[u64], seed: u64) -> Self {
        let mut random = Pcg64::seed_from_u64(seed ^ 0x6e65_6761_7469_7665);
        let mut draw = |similarity: &[f32]| {
            let rows = similarity.chunks_exact(picture_ids.len()).zip(picture_ids);
            rows.map(|(row, own)| {
                let weight = |(weight, id): (&f32, &u64)| if id == own { 0.0 } else { f64::from(*weight) };
                let weights: Vec<f64> = row.iter().zip(picture_ids).map(weight).collect();
                pick(&weights, random.random::<f64>()).or_else(|| picture_ids.iter().position(|id| id != own))
            })
            .collect()
        };
        let pictures = draw(&similarity[1]);
        let texts = draw(&similarity[0]);
        Self { pictures, texts }
    }
}

/// The index at the share `at` (0 to 1) of the weights' sum, if they have one.
fn pick(weights: &[f64], at: f64) -> Option<usize> {
    let sum: f64 = weights.iter().sum();
    let mut left = at * sum;
    let mut last = None;
    for (index, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
        last = Some(index);
        if left < *weight {
            break;
        }
        left -= weight;
    }
    last
}

/// The mean cross-entropy over pairs and negatives of a micro-batch; `image` `(pictures, image_len, hidden)` and `text`
/// `(pictures, text_len, hidden)` are not fused yet, `text_mask` `(pictures, text_len)`. Also gives the fused texts of the
/// pairs.
pub(super) fn matching_loss(
    pass: &Pass<'_>,
    image: Tensor<3>,
    text: Tensor<3>,
    text_mask: Tensor<2>,
    negatives: &HardNegatives,
) -> Tensor<1> {
    let pairs = text.dims()[0];
    let own = 0..pairs;
    // Pairs; texts with other pictures; pictures with other texts.
    let mut rows: Vec<(usize, usize, i32)> = own.clone().map(|i| (i, i, 1)).collect();
    let swapped = |negatives: &[Option<usize>]| -> Vec<(usize, usize)> {
        negatives.iter().enumerate().filter_map(|(own, other)| Some((own, (*other)?))).collect()
    };
    rows.extend(swapped(&negatives.pictures).into_iter().map(|(text, picture)| (picture, text, 0)));
    rows.extend(swapped(&negatives.texts).into_iter().map(|(picture, text)| (picture, text, 0)));
    let indexes = |side: fn(&(usize, usize, i32)) -> usize| -> Tensor<1, Int> {
        integers(rows.iter().map(|row| side(row) as i32).collect(), pass.device)
    };
    let (of_picture, of_text) = (indexes(|row| row.0), indexes(|row| row.1));
    let image = image.select(0, of_picture);
    let text = text.select(0, of_text.clone());
    let fused = pass.model.fuse(image, text, text_mask.select(0, of_text), pass.dropout);
    let logits = pass.model.matching(fused.text); // (rows, [no match, match])
    let labels = integers(rows.iter().map(|row| row.2).collect(), pass.device);
    weighted_cross_entropy(logits, labels, vector(vec![1.0 / rows.len() as f32; rows.len()], pass.device))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negatives_are_of_other_pictures_and_follow_the_similarity() {
        let similarity =
            vec![0.1, 0.1, 0.8, 0.0, 0.4, 0.3, 0.2, 0.1, 0.25, 0.25, 0.25, 0.25, 1.0, 0.0, 0.0, 0.0];
        let ids = [7, 7, 8, 9];
        for seed in 0..200 {
            let drawn = HardNegatives::draw(&[similarity.clone(), similarity.clone()], &ids, seed);
            for (own, other) in drawn.texts.iter().chain(&drawn.pictures).enumerate() {
                let other = other.expect("there are others");
                assert_ne!(ids[own % 4], ids[other]);
            }
            assert_eq!(drawn.texts[0], Some(2), "the only other with a similarity");
            assert_eq!(drawn.texts[3], Some(0));
        }
        let alone = HardNegatives::draw(&[vec![1.0; 4], vec![1.0; 4]], &[3, 3], 1);
        assert_eq!(alone.texts, [None, None]);
    }

    #[test]
    fn picks_by_weight() {
        assert_eq!(pick(&[0.0, 1.0, 3.0], 0.2), Some(1));
        assert_eq!(pick(&[0.0, 1.0, 3.0], 0.3), Some(2));
        assert_eq!(pick(&[0.0, 1.0, 3.0], 1.0), Some(2));
        assert_eq!(pick(&[0.0, 0.0], 0.5), None);
    }
}
