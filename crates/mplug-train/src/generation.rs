//! The model as it is, in the engine: much faster than the trainable form for writing and judging. Knows no gradients.

use std::collections::BTreeSet;
use std::sync::Arc;

use mplug::EncodedPicture;
use mplug::checkpoint::{Checkpoint, Dtype, Weights, safetensors_bytes};
use mplug::config::ModelConfig;
use mplug::generate::beam_search::Hypothesis;
use mplug::generate::{GenerationOptions, NotANumber, Resolved, generate};
use mplug::model::Multimodal;
use mplug::text_decoder::TextDecoder;
use mplug::text_encoder::TextEncoder;
use mplug::visual_encoder::VisualEncoder;
use mplug_nn::Mplug;
use rayon::prelude::*;

use crate::error::TrainError;
use crate::training_data::{EncodedExample, SpecialIds};

/// The encoders and the decoder of a model in training.
pub struct Writer {
    visual_encoder: VisualEncoder,
    multimodal: Option<Multimodal>,
    decoder: Arc<TextDecoder>,
    image_len: usize,
    width: usize,
}

impl Writer {
    /// Copies `model` into the engine; its questions are read if it was built to read.
    pub fn new(model: &Mplug, config: &ModelConfig) -> Result<Self, TrainError> {
        let checkpoint = Checkpoint::from_bytes(safetensors_bytes(model.export().as_slice(), Dtype::F32)?)?;
        let root = Weights::new(&checkpoint);
        let multimodal = if model.parts().fusion_encoder {
            let fusion_encoder = mplug::fusion_encoder::FusionEncoder::load(&root, config)?;
            Some(Multimodal { text_encoder: TextEncoder::load(&root, config)?, fusion_encoder })
        } else {
            None
        };
        Ok(Self {
            visual_encoder: VisualEncoder::load(&root, config)?,
            multimodal,
            decoder: Arc::new(TextDecoder::load(&root, config)?),
            image_len: config.vision.image_len(),
            width: config.text.hidden_size,
        })
    }

    /// What the decoder looks at, for each example.
    fn encode(&self, examples: &[EncodedExample]) -> Vec<EncodedPicture> {
        examples.par_iter().map(|example| self.encode_one(example)).collect()
    }

    fn encode_one(&self, example: &EncodedExample) -> EncodedPicture {
        let image = self.visual_encoder.forward(&example.pixel_values); // (image_len, hidden)
        match &self.multimodal {
            Some(multimodal) if !example.text.is_empty() => {
                let picture = multimodal.fusion_encoder.attend_to(image);
                let fused = multimodal.fuse(&picture, &example.text, example.text.len());
                let joined = [fused.image, fused.text].concat(); // (image_len + text_len, hidden)
                let len = joined.len() / self.width;
                self.decoder.attend_to(joined, len)
            }
            _ => self.decoder.attend_to(image, self.image_len),
        }
    }

    /// Writes about every example: its hypotheses, best first, as `options` say. Before the text about example `i` the
    /// decoder gets the tokens `prompts[i]`; those that fill the model's positions leave fewer for the text.
    pub fn write(
        &self,
        examples: &[EncodedExample],
        prompts: &[&[u32]],
        options: &GenerationOptions,
        special: SpecialIds,
    ) -> Result<Vec<Vec<Hypothesis>>, TrainError> {
        let pictures = self.encode(examples);
        let mut found = vec![Vec::new(); examples.len()];
        let kinds: BTreeSet<&[u32]> = prompts.iter().copied().collect();
        for prompt in kinds {
            let rows: Vec<usize> = (0..examples.len()).filter(|row| prompts[*row] == prompt).collect();
            let pictures: Vec<_> = rows.iter().map(|row| pictures[*row].clone()).collect();
            for (row, hypotheses) in rows.iter().zip(self.continue_from(&pictures, prompt, options, special)?)
            {
                found[*row] = hypotheses;
            }
        }
        Ok(found)
    }

    /// Texts that begin with the same prompt.
    fn continue_from(
        &self,
        pictures: &[EncodedPicture],
        prompt: &[u32],
        options: &GenerationOptions,
        special: SpecialIds,
    ) -> Result<Vec<Vec<Hypothesis>>, TrainError> {
        let prefix = [&[special.start], prompt].concat();
        let positions = self.decoder.config().max_position_embeddings;
        let room = (positions + 1).saturating_sub(prefix.len());
        let max_new_tokens = options.max_new_tokens.min(room);
        let options = GenerationOptions { max_new_tokens, ..options.clone() };
        let resolved = Resolved::new(prefix, special.end, options, None, positions)
            .map_err(|error| TrainError::Recipe(error.to_string()))?;
        let found = generate(&self.decoder, pictures, &Arc::new(resolved));
        Ok(found.into_iter().collect::<Result<_, NotANumber>>()?)
    }

    /// Texts that are drawn, each example from a seed of its own.
    pub fn sample(
        &self,
        examples: &[EncodedExample],
        prompts: &[&[u32]],
        options: &GenerationOptions,
        special: SpecialIds,
        seeds: &[u64],
    ) -> Result<Vec<Vec<Hypothesis>>, TrainError> {
        examples
            .par_iter()
            .zip(prompts)
            .zip(seeds)
            .map(|((example, prompt), seed)| {
                let mut options = options.clone();
                if let Some(sampling) = &mut options.sampling {
                    sampling.seed = *seed;
                }
                Ok(self.write(std::slice::from_ref(example), &[prompt], &options, special)?.swap_remove(0))
            })
            .collect()
    }
}
