//! Image-text matching: the probability that a text describes a picture (the original's `itm_head`).
//!
//! The original can run this for large models alone: its base models crash on a missing `visn_fc`. Here both work.

use image::RgbImage;
use rayon::prelude::*;

use super::reader::Reader;
use super::{LoadOptions, load};
use crate::checkpoint::ModelFolder;
use crate::config::{ModelConfig, Task};
use crate::engine::Linear;
use crate::error::Error;
use crate::model::{Head, Multimodal};
use crate::visual_encoder::VisualEncoder;

/// Scores how well texts fit pictures.
pub struct Matcher {
    reader: Reader,
    head: Linear,
}

impl Matcher {
    /// Loads a retrieval model.
    pub fn load(folder: &ModelFolder) -> Result<Self, Error> {
        Self::load_with(folder, &LoadOptions::default())
    }

    /// The same at another precision, or observed.
    pub fn load_with(folder: &ModelFolder, options: &LoadOptions) -> Result<Self, Error> {
        let (model, tokenizer) = load(folder, Task::ImageTextRetrieval, options)?;
        let Head::Matching(multimodal, head) = model.head else { unreachable!("the task was checked") };
        let (visual_encoder, config) = (model.visual_encoder, folder.config.clone());
        Ok(Self { reader: Reader { visual_encoder, multimodal, tokenizer, config }, head })
    }

    /// The model's shape and defaults.
    pub fn config(&self) -> &ModelConfig {
        &self.reader.config
    }

    /// The visual encoder, for those who want the stages one by one.
    pub fn visual_encoder(&self) -> &VisualEncoder {
        &self.reader.visual_encoder
    }

    /// Text and fusion encoder, likewise.
    pub fn multimodal(&self) -> &Multimodal {
        &self.reader.multimodal
    }

    /// The probability, for each `i`, that `texts[i]` describes `images[i]`.
    ///
    /// # Panics
    /// If pictures and texts differ in number.
    pub fn match_batch(&self, images: &[RgbImage], texts: &[&str]) -> Vec<f32> {
        assert_eq!(images.len(), texts.len(), "one text for each picture");
        let image_embeds = self.reader.encode_images(images);
        image_embeds.into_par_iter().zip(texts).map(|(embeds, text)| self.score(embeds, text)).collect()
    }

    /// The probabilities that each of `texts` describes the one picture, which is encoded once.
    pub fn match_texts(&self, image: &RgbImage, texts: &[&str]) -> Vec<f32> {
        let image_embeds = self.reader.encode_images(std::slice::from_ref(image)).concat();
        texts.par_iter().map(|text| self.score(image_embeds.clone(), text)).collect()
    }

    /// The probability that `text` describes the picture of `image_embeds` `(image_len, hidden_size)`.
    pub fn score(&self, image_embeds: Vec<f32>, text: &str) -> f32 {
        let fused = self.reader.fuse(image_embeds, text);
        let mut classes = self.head.forward(&fused.text[..self.config().text.hidden_size]); // [no match, match]
        mplug_kernels::softmax::softmax_row(&mut classes);
        classes[1]
    }
}
