//! Texts that a model in training writes, by the engine. Knows no gradients.

use std::collections::BTreeMap;
use std::sync::Arc;

use mplug::EncodedPicture;
use mplug::config::ModelConfig;
use mplug::generate::beam_search::Hypothesis;
use mplug::generate::{GenerationOptions, NotANumber, Resolved, generate_each};
use mplug::model::Multimodal;
use mplug::text_decoder::TextDecoder;
use mplug::visual_encoder::VisualEncoder;
use mplug_nn::Mplug;
use rayon::prelude::*;

use crate::engine_copy::EngineCopy;
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
    ///
    /// # Errors
    /// When a weight is not finite.
    pub fn new(model: &Mplug, config: &ModelConfig) -> Result<Self, TrainError> {
        let copy = EngineCopy { model, config };
        // The largest part first: while it is copied, memory holds the least.
        let decoder = Arc::new(copy.decoder()?);
        let multimodal = model.parts().fusion_encoder.then(|| copy.multimodal()).transpose()?;
        Ok(Self {
            visual_encoder: copy.visual_encoder()?,
            multimodal,
            decoder,
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
    ///
    /// # Errors
    /// For options that cannot be, and where the model computes no numbers for a picture.
    pub fn write(
        &self,
        examples: &[EncodedExample],
        prompts: &[&[u32]],
        options: &GenerationOptions,
        special: SpecialIds,
    ) -> Result<Vec<Vec<Hypothesis>>, TrainError> {
        let mut resolved = BTreeMap::new();
        for prompt in prompts {
            if !resolved.contains_key(prompt) {
                resolved.insert(prompt, Arc::new(self.resolve(prompt, options, special)?));
            }
        }
        let pictures = self.encode(examples);
        let texts = pictures.iter().zip(prompts).map(|(picture, prompt)| (picture, &resolved[prompt]));
        Ok(generate_each(&self.decoder, texts).into_iter().collect::<Result<_, NotANumber>>()?)
    }

    /// Options of texts that follow `prompt`.
    fn resolve(
        &self,
        prompt: &[u32],
        options: &GenerationOptions,
        special: SpecialIds,
    ) -> Result<Resolved, TrainError> {
        let prefix = [&[special.start], prompt].concat();
        let positions = self.decoder.config().max_position_embeddings;
        let room = (positions + 1).saturating_sub(prefix.len());
        let max_new_tokens = options.max_new_tokens.min(room);
        let min_new_tokens = options.min_new_tokens.min(max_new_tokens);
        let options = GenerationOptions { max_new_tokens, min_new_tokens, ..options.clone() };
        Resolved::new(prefix, special.end, options, None, positions)
            .map_err(|error| TrainError::Recipe(error.to_string()))
    }

    /// Texts that are drawn, each example from a seed of its own.
    ///
    /// # Errors
    /// As [`write`](Self::write).
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
