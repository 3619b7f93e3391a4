//! A fresh network that takes from another model what fits: tensors of the same name and shape, and of tables by token the
//! rows of the tokens that both know. Everything else is drawn. Knows no recipes.

use std::collections::HashMap;

use mplug::checkpoint::{ModelFolder, Weights};
use mplug::config::vocabulary_tokens;
use mplug_nn::{Initial, NnError, ParameterSource, RandomParameters};

/// What fits of a model, and chance.
pub(super) struct PartialWeights<'a> {
    weights: Weights<'a>,
    /// For each token of the new vocabulary its row in the model's tables.
    rows: Vec<Option<usize>>,
    /// Tokens of the model's vocabulary.
    known: usize,
    random: RandomParameters,
}

impl<'a> PartialWeights<'a> {
    /// What fits of `folder` in a network for `vocabulary`, one token a line; the rest is drawn from `seed`.
    pub(super) fn new(folder: &'a ModelFolder, vocabulary: &str, seed: u64) -> Self {
        let known: HashMap<&str, usize> = vocabulary_tokens(folder.vocabulary()).zip(0..).collect();
        Self {
            weights: Weights::new(folder.checkpoint()),
            rows: vocabulary_tokens(vocabulary).map(|token| known.get(token).copied()).collect(),
            known: folder.config.text.vocab_size,
            random: RandomParameters { seed },
        }
    }

    /// Whether `found` is the shape of a table with a row for each of the model's tokens, and `wanted` of one for the new.
    fn is_by_token(&self, wanted: &[usize], found: &[usize]) -> bool {
        wanted.first() == Some(&self.rows.len())
            && found.first() == Some(&self.known)
            && wanted.get(1..) == found.get(1..)
    }

    /// `drawn`, with the rows of tokens that the model knows in their places.
    fn rows_of(&self, name: &str, found: &[usize], mut drawn: Vec<f32>) -> Result<Vec<f32>, NnError> {
        let table = ParameterSource::read(&mut self.weights.clone(), name, found, Initial::Zeros)?;
        let width = found[1..].iter().product();
        for (into, row) in drawn.chunks_exact_mut(width).zip(&self.rows) {
            if let Some(row) = row.filter(|row| *row < self.known) {
                into.copy_from_slice(&table[row * width..][..width]);
            }
        }
        Ok(drawn)
    }
}

impl ParameterSource for PartialWeights<'_> {
    fn read(&mut self, name: &str, shape: &[usize], initial: Initial) -> Result<Vec<f32>, NnError> {
        let drawn = |random: &mut RandomParameters| random.read(name, shape, initial);
        match self.weights.shape(name) {
            Some(found) if self.is_by_token(shape, found) => {
                let drawn = drawn(&mut self.random)?;
                self.rows_of(name, found, drawn)
            }
            Some(found) if found == shape => ParameterSource::read(&mut self.weights, name, shape, initial),
            _ => drawn(&mut self.random),
        }
    }

    fn position_embedding(
        &mut self,
        name: &str,
        grid: usize,
        width: usize,
        initial: Initial,
    ) -> Result<Vec<f32>, NnError> {
        let fits = self.weights.shape(name).is_some_and(|shape| shape.len() == 2 && shape[1] == width);
        if fits {
            return ParameterSource::position_embedding(&mut self.weights, name, grid, width, initial);
        }
        self.random.position_embedding(name, grid, width, initial)
    }

    fn has(&self, name: &str) -> bool {
        self.weights.has(name)
    }
}
