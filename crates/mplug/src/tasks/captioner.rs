//! Captioning: the decoder looks at the picture alone, as in the original, whatever question is asked.

use std::path::Path;
use std::sync::Arc;

use image::RgbImage;
use rayon::prelude::*;

use super::{
    Caption, Captions, LoadOptions, OpenOptions, all, captions, default_options, encode_images, load, open,
    resolve, write,
};
use crate::checkpoint::ModelFolder;
use crate::config::{ModelConfig, Task};
use crate::encoded_picture::EncodedPicture;
use crate::error::Error;
use crate::explain::{ExplainOptions, Explanation, explain};
use crate::generate::{GenerationEngine, GenerationOptions, Hypotheses, NotANumber, Resolved};
use crate::model::Head;
use crate::preprocess::text::Tokenizer;
use crate::text_decoder::TextDecoder;
use crate::visual_encoder::VisualEncoder;

/// Writes captions.
pub struct Captioner {
    visual_encoder: VisualEncoder,
    decoder: Arc<TextDecoder>,
    tokenizer: Arc<Tokenizer>,
    config: ModelConfig,
}

impl Captioner {
    /// Opens the model folder, or the weight file in one, at `path` and loads it as it says itself.
    ///
    /// # Errors
    /// If it is no model folder, is damaged, or is of another task.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::load(&open(path, Task::ImageCaptioning, &OpenOptions::default())?)
    }

    /// The best caption of a picture of any size, with the model's own settings.
    ///
    /// # Errors
    /// [`Error::NotANumber`] where the model computes no numbers for it.
    pub fn caption(&self, image: &RgbImage) -> Result<Caption, Error> {
        let captions = self.caption_batch(std::slice::from_ref(image), &self.default_options())?;
        Ok(captions.into_iter().flatten().next().unwrap_or_default())
    }

    /// Loads a captioning model; text encoder and fusion encoder stay on the disk.
    pub fn load(folder: &ModelFolder) -> Result<Self, Error> {
        Self::load_with(folder, &LoadOptions::default())
    }

    /// Loads a captioning model at another precision, or observed.
    pub fn load_with(folder: &ModelFolder, options: &LoadOptions) -> Result<Self, Error> {
        let (model, tokenizer) = load(folder, Task::ImageCaptioning, options)?;
        let Head::Captioning(decoder) = model.head else { unreachable!("the task was checked") };
        let (visual_encoder, config) = (model.visual_encoder, folder.config.clone());
        Ok(Self { visual_encoder, decoder: Arc::new(decoder), tokenizer, config })
    }

    /// The model's shape and defaults.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The model's tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The visual encoder, for those who want the stages one by one.
    pub fn visual_encoder(&self) -> &VisualEncoder {
        &self.visual_encoder
    }

    /// The decoder, for those who want the stages one by one.
    pub fn decoder(&self) -> &Arc<TextDecoder> {
        &self.decoder
    }

    /// Options as the model folder sets them.
    pub fn default_options(&self) -> GenerationOptions {
        default_options(&self.config)
    }

    /// Captions every picture: for each, `num_return_sequences` captions, best first. A picture's captions do not depend
    /// on the other pictures.
    ///
    /// # Errors
    /// For options that cannot be, and [`Error::NotANumber`] where any picture fails: [`caption_each`](Self::caption_each)
    /// gives the others their captions.
    pub fn caption_batch(
        &self,
        images: &[RgbImage],
        options: &GenerationOptions,
    ) -> Result<Vec<Vec<Caption>>, Error> {
        all(self.caption_each(images, options)?)
    }

    /// Captions every picture, where each fails alone.
    pub fn caption_each(
        &self,
        images: &[RgbImage],
        options: &GenerationOptions,
    ) -> Result<Vec<Captions>, Error> {
        self.caption_encoded(&self.encode(images), options)
    }

    /// Encodes pictures of any size, once for everything that is asked about them.
    pub fn encode(&self, images: &[RgbImage]) -> Vec<EncodedPicture> {
        let image_len = self.config.vision.image_len();
        let embeds = encode_images(&self.visual_encoder, images);
        embeds.into_par_iter().map(|embeds| self.decoder.attend_to(embeds, image_len)).collect()
    }

    /// Captions pictures that are encoded already, where each fails alone.
    ///
    /// # Errors
    /// For options that cannot be.
    ///
    /// # Panics
    /// If a picture was encoded by a model of another shape.
    pub fn caption_encoded(
        &self,
        pictures: &[EncodedPicture],
        options: &GenerationOptions,
    ) -> Result<Vec<Captions>, Error> {
        write(&self.decoder, &self.tokenizer, pictures, options)
    }

    /// An engine for captions that come and go: it takes what [`encode`](Self::encode) and [`resolve`](Self::resolve) give, and
    /// [`read`](Self::read) makes captions of its updates.
    pub fn engine(&self) -> GenerationEngine {
        GenerationEngine::new(Arc::clone(&self.decoder))
    }

    /// Options in tokens, checked.
    ///
    /// # Errors
    /// For options that cannot be.
    pub fn resolve(&self, options: &GenerationOptions) -> Result<Resolved, Error> {
        resolve(&self.decoder, &self.tokenizer, options)
    }

    /// What was generated as `resolved` said, as captions.
    pub fn read(&self, resolved: &Resolved, hypotheses: Hypotheses) -> Captions {
        captions(&self.tokenizer, resolved, hypotheses)
    }

    /// Which part of the picture each word of a caption stands on. The caption is one of `picture` that was written as `resolved`
    /// says.
    ///
    /// # Errors
    /// [`NotANumber`] where the model computes no numbers for it.
    ///
    /// # Panics
    /// If the picture was encoded by a model of another shape, or a token is beyond the model's.
    pub fn explain(
        &self,
        picture: &EncodedPicture,
        caption: &Caption,
        resolved: &Resolved,
        options: &ExplainOptions,
    ) -> Result<Explanation, NotANumber> {
        explain(&self.decoder, &self.tokenizer, picture, &caption.token_ids, resolved, options)
    }
}
