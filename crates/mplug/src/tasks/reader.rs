//! What answering and matching share: a picture and a text, read together.

use std::sync::Arc;

use image::RgbImage;
use rayon::prelude::*;

use super::encode_images;
use crate::config::ModelConfig;
use crate::encoded_picture::EncodedPicture;
use crate::error::Error;
use crate::fusion_encoder::Fused;
use crate::model::Multimodal;
use crate::preprocess::text::{TextFit, Tokenizer, lowercase};
use crate::visual_encoder::VisualEncoder;

/// The encoders of a model that reads picture and text, with its tokenizer.
pub(super) struct Reader {
    pub(super) visual_encoder: VisualEncoder,
    pub(super) multimodal: Multimodal,
    pub(super) tokenizer: Arc<Tokenizer>,
    pub(super) config: ModelConfig,
}

impl Reader {
    /// Encodes pictures of any size.
    pub(super) fn encode(&self, images: &[RgbImage]) -> Vec<EncodedPicture> {
        let embeds = encode_images(&self.visual_encoder, images);
        embeds.into_par_iter().map(|embeds| self.multimodal.fusion_encoder.attend_to(embeds)).collect()
    }

    /// The picture fused with `text`, which is lower-cased and cut to the
    /// model's text length, as the original does, but not padded: padding changes nothing.
    pub(super) fn fuse(&self, picture: &EncodedPicture, text: &str) -> Result<Fused, Error> {
        let input_ids = self.input_ids(text)?;
        Ok(self.multimodal.fuse(picture, &input_ids, input_ids.len()))
    }

    /// `text` alone, `(text_len, hidden_size)`.
    pub(super) fn encode_text(&self, text: &str) -> Result<Vec<f32>, Error> {
        let input_ids = self.input_ids(text)?;
        Ok(self.multimodal.text_encoder.forward(&input_ids, input_ids.len()))
    }

    /// How texts fit the model's length and vocabulary.
    pub(super) fn fit(&self, texts: &[&str]) -> TextFit {
        self.tokenizer.fit(texts.iter().map(|text| lowercase(text)), self.config.max_text_len)
    }

    /// The tokens of `text`; an error names one for which the model has no embedding.
    pub(super) fn input_ids(&self, text: &str) -> Result<Vec<u32>, Error> {
        let input_ids = self.tokenizer.encode(&lowercase(text), self.config.max_text_len);
        self.tokenizer.check_ids(text, &input_ids)?;
        Ok(input_ids)
    }
}
