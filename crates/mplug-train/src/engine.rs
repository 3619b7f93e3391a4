//! The model as it is, in the engine: much faster than the trainable form for writing and judging. Knows no gradients.

use mplug::checkpoint::{Checkpoint, Dtype, Weights, safetensors_bytes};
use mplug::config::ModelConfig;
use mplug::generate::beam_search::Hypothesis;
use mplug::generate::{GenerationOptions, generate};
use mplug::model::{DecoderState, Multimodal};
use mplug::text_decoder::{CrossAttentionCache, TextDecoder};
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
    decoder: TextDecoder,
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
            decoder: TextDecoder::load(&root, config)?,
            image_len: config.vision.image_len(),
            width: config.text.hidden_size,
        })
    }

    /// What the decoder looks at, for each example.
    fn memories(&self, examples: &[EncodedExample]) -> Vec<CrossAttentionCache> {
        let pixels: Vec<f32> =
            examples.iter().flat_map(|example| example.pixel_values.iter().copied()).collect();
        let embeds = self.visual_encoder.forward(&pixels); // (image_len, hidden) each
        let memory = |(image, example): (Vec<f32>, &EncodedExample)| match &self.multimodal {
            Some(multimodal) if !example.text.is_empty() => {
                let fused = multimodal.fuse(image, &example.text, example.text.len());
                let joined = [fused.image, fused.text].concat(); // (image_len + text_len, hidden)
                self.decoder.attend_to(&joined, joined.len() / self.width)
            }
            _ => self.decoder.attend_to(&image, self.image_len),
        };
        embeds.into_par_iter().zip(examples).map(memory).collect()
    }

    /// Writes about every example: its hypotheses, best first, as `options` say.
    pub fn write(
        &self,
        examples: &[EncodedExample],
        options: &GenerationOptions,
        special: SpecialIds,
    ) -> Result<Vec<Vec<Hypothesis>>, TrainError> {
        options
            .check(self.decoder.config().max_position_embeddings, 1)
            .map_err(|error| TrainError::Recipe(error.to_string()))?;
        let memories = self.memories(examples);
        let mut state = DecoderState::new(&self.decoder, &memories, options.max_new_tokens);
        Ok(generate(&mut state, memories.len(), &[special.start], special.end, options))
    }

    /// The same where each example draws from a seed of its own.
    pub fn sample(
        &self,
        examples: &[EncodedExample],
        options: &GenerationOptions,
        special: SpecialIds,
        seeds: &[u64],
    ) -> Result<Vec<Vec<Hypothesis>>, TrainError> {
        examples
            .par_iter()
            .zip(seeds)
            .map(|(example, seed)| {
                let mut options = options.clone();
                if let Some(sampling) = &mut options.sampling {
                    sampling.seed = *seed;
                }
                Ok(self.write(std::slice::from_ref(example), &options, special)?.swap_remove(0))
            })
            .collect()
    }
}
