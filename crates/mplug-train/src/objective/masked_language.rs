//! Masked language modelling over picture and text (Devlin et al. 2019: of the tokens to predict, 80 % are masked, 10 %
//! are another token, 10 % stay). Knows neither contrast nor decoder.

use burn::tensor::Tensor;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;

use super::Pass;
use super::tensors::{integers, texts, vector};
use crate::batch::TextRows;
use crate::loss::weighted_cross_entropy;
use crate::training_data::SpecialIds;

/// The share of chosen tokens that become the mask token, and of those that become another or stay.
const MASKED_BELOW: f32 = 0.8;
const REPLACED_BELOW: f32 = 0.9;

/// Texts with gaps, and what was in them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Masked {
    /// The texts as the network sees them.
    pub(super) texts: TextRows,
    /// Positions in the flat texts.
    pub(super) positions: Vec<i32>,
    /// The tokens that belong there.
    pub(super) labels: Vec<i32>,
}

impl Masked {
    /// Chooses each token that is not special with the probability `share`; in every text at least one, if it has one.
    pub(super) fn draw(texts: &TextRows, share: f32, special: SpecialIds, vocab: usize, seed: u64) -> Self {
        let mut random = Pcg64::seed_from_u64(seed ^ 0x6d61_736b);
        let mut masked = Self { texts: texts.clone(), positions: Vec::new(), labels: Vec::new() };
        for row in 0..texts.rows {
            let is_word = |position: &usize| {
                let id = texts.input_ids[*position] as u32;
                texts.attention_mask[*position] > 0.0 && id != special.start && id != special.end
            };
            let words: Vec<usize> = (row * texts.len..(row + 1) * texts.len).filter(is_word).collect();
            if words.is_empty() {
                continue;
            }
            let sure = random.random_range(0..words.len());
            for (number, position) in words.into_iter().enumerate() {
                if random.random::<f32>() < share || number == sure {
                    masked.hide(position, special.mask, vocab, &mut random);
                }
            }
        }
        masked
    }

    fn hide(&mut self, position: usize, mask: u32, vocab: usize, random: &mut Pcg64) {
        let id = self.texts.input_ids[position];
        self.positions.push(position as i32);
        self.labels.push(id);
        let chance = random.random::<f32>();
        if chance < MASKED_BELOW {
            self.texts.input_ids[position] = mask as i32;
        } else if chance < REPLACED_BELOW {
            self.texts.input_ids[position] = random.random_range(0..vocab as i32);
        }
    }
}

/// The mean cross-entropy of a micro-batch's masked tokens, read together with `image` `(pictures, image_len, hidden)`.
pub(super) fn masked_language_loss(pass: &Pass<'_>, image: Tensor<3>, masked: &Masked) -> Tensor<1> {
    let count = masked.positions.len();
    if count == 0 {
        return Tensor::zeros([1], pass.device);
    }
    let rows = texts(&masked.texts, pass.device);
    let text = pass.model.encode_text(&rows, pass.dropout);
    let fused = pass.model.fuse(image, text, rows.attention_mask, pass.dropout).text;
    let [pictures, len, hidden] = fused.dims();
    let positions = integers(masked.positions.clone(), pass.device);
    let states = fused.reshape([pictures * len, hidden]).select(0, positions); // (count, hidden)
    let labels = integers(masked.labels.clone(), pass.device);
    let weights = vector(vec![1.0 / count as f32; count], pass.device);
    weighted_cross_entropy(pass.model.masked_tokens(states), labels, weights)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_berts_and_special_tokens_stay() {
        let special = SpecialIds { pad: 0, start: 1, end: 2, mask: 3 };
        let text: Vec<u32> = [vec![1], (10..110).collect(), vec![2]].concat();
        let texts = TextRows::collate(&vec![&text[..]; 200], 0);
        let masked = Masked::draw(&texts, 0.15, special, 1000, 4);
        let share = |what: &dyn Fn(i32, i32) -> bool| {
            let hits = masked.positions.iter().zip(&masked.labels);
            hits.filter(|(position, label)| what(masked.texts.input_ids[**position as usize], **label))
                .count() as f32
                / masked.positions.len() as f32
        };
        assert!((masked.positions.len() as f32 / 20_000.0 - 0.16).abs() < 0.01, "{}", masked.positions.len());
        assert!((share(&|now, _| now == 3) - 0.8).abs() < 0.03);
        assert!((share(&|now, was| now == was) - 0.1).abs() < 0.03);
        assert!(masked.labels.iter().all(|label| (10..110).contains(label)));
        assert_eq!(masked, Masked::draw(&texts, 0.15, special, 1000, 4));
    }
}
