//! The model as it is, in the engine: much faster than the trainable form for writing and judging. Knows no gradients.

use std::collections::BTreeSet;

use mplug::checkpoint::{Checkpoint, Dtype, Weights, safetensors_bytes};
use mplug::config::ModelConfig;
use mplug::generate::beam_search::Hypothesis;
use mplug::generate::{GenerationOptions, NotANumber, generate};
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
    fn caches(&self, examples: &[EncodedExample]) -> Vec<CrossAttentionCache> {
        let memory = |example: &EncodedExample| {
            let image = self.visual_encoder.forward(&example.pixel_values); // (image_len, hidden)
            self.memory_of(&image, example)
        };
        examples.par_iter().map(memory).collect()
    }

    fn memory_of(&self, image: &[f32], example: &EncodedExample) -> CrossAttentionCache {
        match &self.multimodal {
            Some(multimodal) if !example.text.is_empty() => {
                let fused = multimodal.fuse(image, &example.text, example.text.len());
                let joined = [fused.image, fused.text].concat(); // (image_len + text_len, hidden)
                self.decoder.attend_to(&joined, joined.len() / self.width)
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
        let mut caches: Vec<Option<CrossAttentionCache>> =
            self.caches(examples).into_iter().map(Some).collect();
        let mut found = vec![Vec::new(); examples.len()];
        let kinds: BTreeSet<&[u32]> = prompts.iter().copied().collect();
        for prompt in kinds {
            let rows: Vec<usize> = (0..examples.len()).filter(|row| prompts[*row] == prompt).collect();
            let caches: Vec<_> = rows.iter().filter_map(|row| caches[*row].take()).collect();
            for (row, hypotheses) in rows.iter().zip(self.continue_from(&caches, prompt, options, special)?) {
                found[*row] = hypotheses;
            }
        }
        Ok(found)
    }

    /// Texts that begin with the same prompt.
    fn continue_from(
        &self,
        caches: &[CrossAttentionCache],
        prompt: &[u32],
        options: &GenerationOptions,
        special: SpecialIds,
    ) -> Result<Vec<Vec<Hypothesis>>, TrainError> {
        let prefix = [&[special.start], prompt].concat();
        let positions = self.decoder.config().max_position_embeddings;
        let room = (positions + 1).saturating_sub(prefix.len());
        let max_new_tokens = options.max_new_tokens.min(room);
        let options = GenerationOptions { max_new_tokens, ..options.clone() };
        options.check(positions, prefix.len()).map_err(|error| TrainError::Recipe(error.to_string()))?;
        let mut state = DecoderState::new(&self.decoder, caches, prefix.len() + max_new_tokens - 1);
        let found = generate(&mut state, caches.len(), &prefix, special.end, &options, None);
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
