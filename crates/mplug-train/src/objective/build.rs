//! From a recipe to its objective.

use burn::tensor::Device;
use caption_metrics::cider::DocumentFrequencies;
use caption_metrics::reward::Baseline;
use mplug::config::ModelConfig;
use mplug::generate::GenerationOptions;
use mplug::generate::sampling::SamplingOptions;
use mplug_eval::agreement::SuitedTokenizations;
use mplug_nn::{MomentumModel, Mplug, Parts};

use super::contrastive::{Contrast, FeatureQueue};
use super::{CiderOptimisation, Distillation, Objective, PreTraining, Retrieval, Writing};
use crate::config::{
    AnsweringSection, BaselineKind, CiderSection, ContrastSection, Frequencies, ObjectiveSection,
    PretrainingSection, TrainConfig, WrittenBy,
};
use crate::error::TrainError;
use crate::initial_weights::InitialWeights;
use crate::training_data::{Split, TrainingData};

/// Pictures whose references say how rare n-grams are, where there is no end of pictures.
const FREQUENCY_PICTURES: u64 = 10_000;

/// What an objective is made from.
pub struct Ingredients<'a> {
    /// The recipe.
    pub config: &'a TrainConfig,
    /// What the run starts from.
    pub initial: &'a InitialWeights,
    /// The model.
    pub model: &'a Mplug,
    /// Its shape.
    pub shape: &'a ModelConfig,
    /// The data.
    pub data: &'a dyn TrainingData,
    /// Where the model is, without gradients.
    pub device: &'a Device,
}

impl Ingredients<'_> {
    /// The recipe's objective.
    pub fn build(&self) -> Result<Box<dyn Objective>, TrainError> {
        Ok(match &self.config.objective {
            ObjectiveSection::Captioning {} => Box::new(Writing::captions()),
            ObjectiveSection::Cider(section) => Box::new(self.cider(section)?),
            ObjectiveSection::Answering(section) => Box::new(Writing::answers(self.distillation(section)?)),
            ObjectiveSection::Retrieval(section) => Box::new(Retrieval::new(self.contrast(section)?)),
            ObjectiveSection::Pretraining(section) => Box::new(self.pre_training(section)?),
        })
    }

    fn momentum_model(&self, parts: Parts, momentum: f64) -> Result<MomentumModel, TrainError> {
        let mut weights = self.initial.weights(self.data.vocabulary());
        Ok(MomentumModel::new(self.model, self.shape, parts, momentum, &mut *weights, self.device)?)
    }

    fn distillation(&self, section: &AnsweringSection) -> Result<Option<Distillation>, TrainError> {
        if section.distillation == 0.0 {
            return Ok(None);
        }
        let momentum_model = self.momentum_model(self.model.parts(), section.momentum)?;
        Ok(Some(Distillation { momentum_model, alpha: section.distillation }))
    }

    fn contrast(&self, section: &ContrastSection) -> Result<Contrast, TrainError> {
        let momentum_model = self.momentum_model(Contrast::momentum_parts(), section.momentum)?;
        let queue = self.stored_queue(section.queue_size)?;
        let queue = queue.unwrap_or_else(|| {
            FeatureQueue::random(self.shape.projection_size, section.queue_size, self.config.seed)
        });
        let ramp = section.distillation_ramp.then_some(section.distillation);
        Ok(Contrast { momentum_model, queue, alpha: section.distillation, ramp })
    }

    /// The queue of the model to start from, if it has one of that size.
    fn stored_queue(&self, len: usize) -> Result<Option<FeatureQueue>, TrainError> {
        let Some(folder) = self.initial.folder() else { return Ok(None) };
        let (checkpoint, space) = (folder.checkpoint(), self.shape.projection_size);
        let fits = |name: &str, shape: &[usize]| checkpoint.shape(name) == Some(shape);
        let is_there = fits("image_queue", &[space, len])
            && fits("text_queue", &[space, len])
            && fits("idx_queue", &[1, len])
            && fits("queue_ptr", &[1]);
        if !is_there {
            return Ok(None);
        }
        let [image, text, ids, next] =
            ["image_queue", "text_queue", "idx_queue", "queue_ptr"].map(|name| checkpoint.read_f32(name));
        let next = next?.first().copied().unwrap_or_default() as usize % len;
        Ok(Some(FeatureQueue::from_original(space, &image?, &text?, &ids?, next)))
    }

    fn pre_training(&self, section: &PretrainingSection) -> Result<PreTraining, TrainError> {
        let PretrainingSection { queue_size, momentum, distillation, distillation_ramp, mask_share } =
            *section;
        let contrast = ContrastSection { queue_size, momentum, distillation, distillation_ramp };
        Ok(PreTraining {
            contrast: self.contrast(&contrast)?,
            mask_share,
            vocab_size: self.shape.text.vocab_size,
            special: self.data.special_ids(),
        })
    }

    fn cider(&self, section: &CiderSection) -> Result<CiderOptimisation, TrainError> {
        let sampling = match section.by {
            WrittenBy::Beams => None,
            WrittenBy::Samples => {
                Some(SamplingOptions { temperature: section.temperature, top_k: 0, top_p: 1.0, seed: 0 })
            }
        };
        let options = GenerationOptions {
            num_beams: if sampling.is_some() { 1 } else { section.candidates },
            min_new_tokens: section.min_new_tokens,
            max_new_tokens: section.max_new_tokens,
            num_return_sequences: section.candidates,
            sampling,
            ..GenerationOptions::default()
        };
        options
            .check(self.shape.text.max_position_embeddings, 1)
            .map_err(|error| TrainError::Recipe(format!("objective: {error}")))?;
        let baseline = match section.baseline {
            BaselineKind::Mean => Baseline::Mean,
            BaselineKind::LeaveOneOut => Baseline::LeaveOneOut,
        };
        let frequencies = match section.frequencies {
            Frequencies::Batch => None,
            Frequencies::Data => {
                let references = self.references(FREQUENCY_PICTURES);
                let mut references = SuitedTokenizations::to(&references).tokenize(&references)?;
                if section.end_token {
                    references.iter_mut().flatten().for_each(CiderOptimisation::end);
                }
                Some(DocumentFrequencies::of_references(&references)?)
            }
        };
        let shape = self.shape.clone();
        let mut objective = CiderOptimisation::new(shape, options, baseline, frequencies);
        objective.has_end_token = section.end_token;
        Ok(objective)
    }

    /// The references of the first pictures to learn from: all where their number is known, else `endless`.
    fn references(&self, endless: u64) -> Vec<Vec<String>> {
        let pictures = self.data.train_pictures().unwrap_or(endless);
        (0..pictures).map(|picture| self.data.references(Split::Train, picture)).collect()
    }
}
