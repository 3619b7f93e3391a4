//! CIDEr optimisation: the model writes several captions of each picture; those that agree with people more than their
//! siblings become likelier, the others less likely (self-critical training: Rennie et al. 2017; over beams as in the
//! original's `caption_mplug_scst.py`, over samples as in Luo 2020).
//!
//! The original searches with gradients; here the engine writes, and the gradient comes from scoring what it wrote: the
//! same function of the weights, at a fraction of the time and memory.

use burn::tensor::Tensor;
use caption_metrics::cider::DocumentFrequencies;
use caption_metrics::reward::{Baseline, cider_rewards};
use mplug::config::ModelConfig;
use mplug::generate::GenerationOptions;
use mplug::generate::beam_search::Hypothesis;
use mplug_eval::agreement::SuitedTokenizations;
use mplug_nn::{Mplug, Parts};

use super::writing::Writing;
use super::{Findings, Objective, Pass};
use crate::batch::{Batch, MicroBatch, TargetRows};
use crate::error::TrainError;
use crate::generation::Writer;
use crate::training_data::{EncodedExample, Split, Target, TrainingData};

/// Self-critical training.
pub struct CiderOptimisation {
    writing: Writing,
    /// The network's shape, for the engine.
    pub config: ModelConfig,
    /// How captions are written: how many of each picture, by beams or by chance.
    pub options: GenerationOptions,
    /// What a reward is compared with.
    pub baseline: Baseline,
    /// What n-grams weigh; the batch decides if absent.
    pub frequencies: Option<DocumentFrequencies>,
    /// Whether the end of a text is a token of captions and references.
    pub has_end_token: bool,
}

/// The end of a text as a token of rewards: ASCII's character of that name, which no caption has.
const END: &str = " \u{3}";

impl CiderOptimisation {
    /// With the settings of its fields.
    pub fn new(
        config: ModelConfig,
        options: GenerationOptions,
        baseline: Baseline,
        frequencies: Option<DocumentFrequencies>,
    ) -> Self {
        let writing = Writing::weighted_captions();
        Self { writing, config, options, baseline, frequencies, has_end_token: false }
    }

    /// Adds the end to a text of tokens.
    pub(super) fn end(text: &mut String) {
        text.push_str(END);
    }

    /// What the model writes about a micro-batch's pictures.
    fn write(
        &self,
        writer: &Writer,
        micro_batch: &MicroBatch,
        data: &dyn TrainingData,
    ) -> Result<Vec<Vec<Hypothesis>>, TrainError> {
        let pixels = micro_batch.pixel_values.len() / micro_batch.pictures().max(1);
        let examples: Vec<EncodedExample> = micro_batch
            .pixel_values
            .chunks_exact(pixels)
            .map(|pixels| EncodedExample { pixel_values: pixels.to_vec(), ..EncodedExample::default() })
            .collect();
        let prompts: Vec<&[u32]> =
            micro_batch.picture_ids.iter().map(|picture| data.prompt(*picture)).collect();
        if self.options.sampling.is_none() {
            return writer.write(&examples, &prompts, &self.options, data.special_ids());
        }
        let seeds: Vec<u64> = (0..examples.len() as u64).map(|i| micro_batch.seed.wrapping_add(i)).collect();
        writer.sample(&examples, &prompts, &self.options, data.special_ids(), &seeds)
    }

    /// Every caption's reward less its baseline, picture by picture, and the mean reward. `ended` says which captions have an
    /// end: one that is cut at the greatest length has none.
    fn advantages(
        &self,
        captions: &[Vec<String>],
        ended: &[Vec<bool>],
        references: &[Vec<String>],
    ) -> Result<(Vec<Vec<f64>>, f64), TrainError> {
        let suited = SuitedTokenizations::to(references);
        let (mut captions, mut references) = (suited.tokenize(captions)?, suited.tokenize(references)?);
        if self.has_end_token {
            references.iter_mut().flatten().for_each(Self::end);
            let captions = captions.iter_mut().flatten().zip(ended.iter().flatten());
            captions.filter(|(_, is_ended)| **is_ended).for_each(|(caption, _)| Self::end(caption));
        }
        let rewards = cider_rewards(&captions, &references, self.frequencies.as_ref())?;
        let count = rewards.iter().map(Vec::len).sum::<usize>().max(1);
        let mean = rewards.iter().flatten().sum::<f64>() / count as f64;
        Ok((rewards.iter().map(|of_one| self.baseline.advantages(of_one)).collect(), mean))
    }

    /// A hypothesis as a target: what its log-probability counts in the loss `-mean(p · advantage)`. By beams `p` is the
    /// penalised score over the number of ids (the start token included), as in the original; by chance the mean over all
    /// tokens drawn. `given` is what it was written after: the start token and the prompt.
    fn target(&self, ids: &[u32], advantage: f64, [captions, tokens]: [usize; 2], given: &[u32]) -> Target {
        let share = if self.options.sampling.is_some() {
            1.0 / tokens.max(1) as f64
        } else {
            let penalty = f64::from(self.options.length_penalty.divisor(ids.len()));
            1.0 / (penalty * (ids.len() + 1) as f64 * captions.max(1) as f64)
        };
        let weight = (advantage * share) as f32;
        Target { ids: [given, ids].concat(), given: given.len() - 1, weight }
    }
}

impl Objective for CiderOptimisation {
    fn parts(&self) -> Parts {
        self.writing.parts()
    }

    fn prepare(
        &self,
        model: &Mplug,
        batch: &mut Batch,
        data: &dyn TrainingData,
    ) -> Result<Option<f64>, TrainError> {
        let writer = Writer::new(model, &self.config)?;
        let special = data.special_ids();
        let mut written = Vec::with_capacity(batch.micro_batches.len());
        for micro_batch in &batch.micro_batches {
            written.push(self.write(&writer, micro_batch, data)?);
        }
        let of_pictures = || written.iter().flatten();
        let text = |found: &Hypothesis| data.decode(&found.token_ids);
        let captions: Vec<Vec<String>> =
            of_pictures().map(|found| found.iter().map(text).collect()).collect();
        let is_ended = |found: &Hypothesis| found.token_ids.last() == Some(&special.end);
        let ended: Vec<Vec<bool>> = of_pictures().map(|found| found.iter().map(is_ended).collect()).collect();
        let numbers = batch.micro_batches.iter().flat_map(|micro_batch| &micro_batch.picture_ids);
        let references: Vec<Vec<String>> =
            numbers.map(|picture| data.references(Split::Train, *picture)).collect();
        let (advantages, mean) = self.advantages(&captions, &ended, &references)?;
        let counts = [
            of_pictures().map(Vec::len).sum(),
            of_pictures().flatten().map(|found| found.token_ids.len()).sum(),
        ];
        let mut advantages = advantages.into_iter();
        for (micro_batch, written) in batch.micro_batches.iter_mut().zip(&written) {
            let targets: Vec<Vec<Target>> = written
                .iter()
                .zip(&micro_batch.picture_ids)
                .zip(advantages.by_ref())
                .map(|((found, picture), advantages)| {
                    let given = [&[special.start], data.prompt(*picture)].concat();
                    let pairs = found.iter().zip(advantages);
                    pairs.map(|(f, a)| self.target(&f.token_ids, a, counts, &given)).collect()
                })
                .collect();
            let targets: Vec<&[Target]> = targets.iter().map(|targets| &targets[..]).collect();
            micro_batch.targets = TargetRows::collate(&targets, special.pad);
        }
        Ok(Some(mean))
    }

    fn loss(&self, pass: &Pass<'_>) -> (Tensor<1>, Findings) {
        self.writing.loss(pass)
    }
}

#[cfg(test)]
mod tests {
    use mplug::config::Task;

    use super::*;

    const REFERENCES: [&[&str]; 4] = [
        &[
            "a man standing in a suit",
            "a tall man in a suit",
            "a man in a dark suit with a tie",
            "a man in a suit with a bag",
        ],
        &["a man rides a horse", "a man on a brown horse", "a rider on a horse"],
        &["two cars in a street", "cars parked near a house", "two red cars"],
        &["a bowl of fruit", "apples in a bowl", "fruit in a white bowl"],
    ];

    /// What the caption that breaks off and the whole one are worth, the first of which is cut where `is_cut`.
    fn worth(has_end_token: bool, is_cut: bool) -> [f64; 2] {
        let references = REFERENCES
            .map(|of_one| of_one.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
            .to_vec();
        let mut tokenized = SuitedTokenizations::to(&references).tokenize(&references).unwrap();
        if has_end_token {
            tokenized.iter_mut().flatten().for_each(CiderOptimisation::end);
        }
        let frequencies = DocumentFrequencies::of_references(&tokenized).unwrap();
        let (config, options) = (ModelConfig::tiny(Task::ImageCaptioning), GenerationOptions::default());
        let objective = CiderOptimisation {
            has_end_token,
            ..CiderOptimisation::new(config, options, Baseline::Mean, Some(frequencies))
        };
        let captions: Vec<Vec<String>> =
            ["a man in a suit with a", "a man rides a horse", "two red cars", "a bowl of fruit"]
                .iter()
                .enumerate()
                .map(|(picture, text)| match picture {
                    0 => vec![(*text).to_owned(), "a man in a suit".to_owned()],
                    _ => vec![(*text).to_owned(); 2],
                })
                .collect();
        let ended = vec![vec![!is_cut, true], vec![true; 2], vec![true; 2], vec![true; 2]];
        let (advantages, _) = objective.advantages(&captions, &ended, &references).unwrap();
        advantages[0][..].try_into().unwrap()
    }

    #[test]
    fn with_an_end_token_breaking_off_does_not_pay() {
        let [broken, whole] = worth(false, false);
        assert!(broken > whole, "as in the original: {broken} and {whole}");
        let [broken, whole] = worth(true, false);
        assert!(broken < whole, "{broken} and {whole}");
        let ([cut, _], [ended, _]) = (worth(true, true), worth(true, false));
        assert!((cut - ended).abs() > 1e-3, "a caption that is cut has no end");
    }
}
