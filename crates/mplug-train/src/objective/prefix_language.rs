//! Prefix language modelling (Li et al., arXiv 2205.12005, section 3.2): a text is cut; its first part is read together with
//! the picture, and the decoder writes the rest. Knows neither contrast nor masks.

use burn::tensor::Tensor;
use mplug_nn::Texts;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::Pass;
use super::tensors::{integers, texts, vector};
use crate::batch::{TargetRows, TextRows};
use crate::loss::weighted_cross_entropy;
use crate::training_data::{SpecialIds, Target};

/// Texts cut in two.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cut {
    /// What is read: the start token, the first words, the end token.
    pub(super) prefixes: TextRows,
    /// What is written: the start token, the other words, the end token.
    pub(super) rest: TargetRows,
}

impl Cut {
    /// Cuts each text behind a number of words that is drawn evenly from none to all but one.
    pub(super) fn draw(rows: &TextRows, special: SpecialIds, seed: u64) -> Self {
        let mut random = Pcg64::seed_from_u64(seed ^ 0x7072_6566_6978);
        let (mut prefixes, mut rest) = (Vec::new(), Vec::new());
        for row in 0..rows.rows {
            let text = rows.text(row);
            let words: Vec<u32> =
                text.into_iter().filter(|id| *id != special.start && *id != special.end).collect();
            let (first, last) = words.split_at(random.random_range(0..words.len().max(1)));
            prefixes.push([&[special.start], first, &[special.end]].concat());
            rest.push([Target {
                ids: [&[special.start], last, &[special.end]].concat(),
                given: 0,
                weight: 1.0,
            }]);
        }
        let prefixes: Vec<&[u32]> = prefixes.iter().map(|prefix| &prefix[..]).collect();
        let rest: Vec<&[Target]> = rest.iter().map(|rest| &rest[..]).collect();
        Self {
            prefixes: TextRows::collate(&prefixes, special.pad),
            rest: TargetRows::collate(&rest, special.pad),
        }
    }
}

/// The mean cross-entropy of the tokens of the micro-batch's second parts, given `image`
/// `(pictures, image_len, hidden)` and the first.
pub(super) fn prefix_language_loss(pass: &Pass<'_>, image: Tensor<3>, cut: &Cut) -> Tensor<1> {
    let prefixes: Texts = texts(&cut.prefixes, pass.device);
    let encoder = pass.model.read(image, &prefixes, pass.dropout);
    let logits = pass.model.decode(&texts(&cut.rest.inputs, pass.device), encoder, pass.dropout);
    let [rows, len, vocab] = logits.dims();
    let labels = integers(cut.rest.labels.clone(), pass.device);
    let share = 1.0 / cut.rest.tokens().max(1) as f32;
    let weights = cut.rest.weights.iter().map(|weight| weight * share).collect();
    weighted_cross_entropy(logits.reshape([rows * len, vocab]), labels, vector(weights, pass.device))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_parts_together_are_the_text() {
        let special = SpecialIds { pad: 0, start: 1, end: 2, mask: 3 };
        let text: Vec<u32> = vec![1, 10, 11, 12, 13, 2];
        let rows = TextRows::collate(&vec![&text[..]; 60], 0);
        let cut = Cut::draw(&rows, special, 9);
        let mut lengths = [0; 5];
        for row in 0..60 {
            let prefix = cut.prefixes.text(row);
            let rest = cut.rest.inputs.text(row);
            assert_eq!((prefix[0], rest[0], prefix.last()), (1, 1, Some(&2)));
            assert_eq!([&prefix[1..prefix.len() - 1], &rest[1..]].concat(), [10, 11, 12, 13]);
            lengths[prefix.len() - 2] += 1;
        }
        assert!(lengths[..4].iter().all(|count| *count > 5) && lengths[4] == 0, "{lengths:?}");
        let empty = TextRows::collate(&[&[1, 2]], 0);
        assert_eq!(Cut::draw(&empty, special, 9).rest.tokens(), 1);
    }
}
