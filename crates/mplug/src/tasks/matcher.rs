//! Image-text matching: the probability that a text describes a picture (the original's `itm_head`), and features of
//! pictures and texts whose similarity is a first guess of it (`vision_proj`, `text_proj`): cheap, since each is made alone.
//!
//! The original can run this for large models alone: its base models crash on a missing `visn_fc`. Here both work.

use std::path::Path;

use image::RgbImage;
use mplug_kernels::finite::are_finite;
use rayon::prelude::*;

use super::reader::Reader;
use super::{LoadOptions, OpenOptions, encode_images, load, open};
use crate::checkpoint::ModelFolder;
use crate::config::{ModelConfig, Task};
use crate::contrastive_head::ContrastiveHead;
use crate::encoded_picture::EncodedPicture;
use crate::error::Error;
use crate::model::{Head, Multimodal, RetrievalHeads};
use crate::preprocess::text::TextFit;
use crate::visual_encoder::VisualEncoder;

/// Scores how well texts fit pictures.
pub struct Matcher {
    reader: Reader,
    heads: RetrievalHeads,
}

impl Matcher {
    /// Opens the model folder, or the weight file in one, at `path` and loads it as it says itself.
    ///
    /// # Errors
    /// If it is no model folder, is damaged, or is of another task.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::load(&open(path, Task::ImageTextRetrieval, &OpenOptions::default())?)
    }

    /// Loads a retrieval model.
    pub fn load(folder: &ModelFolder) -> Result<Self, Error> {
        Self::load_with(folder, &LoadOptions::default())
    }

    /// Loads a retrieval model at another precision, or observed.
    pub fn load_with(folder: &ModelFolder, options: &LoadOptions) -> Result<Self, Error> {
        let (model, tokenizer) = load(folder, Task::ImageTextRetrieval, options)?;
        let Head::Matching(multimodal, heads) = model.head else { unreachable!("the task was checked") };
        let (visual_encoder, config) = (model.visual_encoder, folder.config.clone());
        Ok(Self { reader: Reader { visual_encoder, multimodal, tokenizer, config }, heads })
    }

    /// The model's shape and defaults.
    pub fn config(&self) -> &ModelConfig {
        &self.reader.config
    }

    /// The visual encoder, for those who want the stages one by one.
    pub fn visual_encoder(&self) -> &VisualEncoder {
        &self.reader.visual_encoder
    }

    /// Text and fusion encoder, for those who want the stages one by one.
    pub fn multimodal(&self) -> &Multimodal {
        &self.reader.multimodal
    }

    /// The probability, for each `i`, that `texts[i]` describes `images[i]`; NaN as [`score`](Self::score) gives it.
    ///
    /// # Errors
    /// With the first text that has a token without an embedding; the same goes for all that read texts.
    ///
    /// # Panics
    /// If pictures and texts differ in number.
    pub fn match_batch(&self, images: &[RgbImage], texts: &[&str]) -> Result<Vec<f32>, Error> {
        assert_eq!(images.len(), texts.len(), "one text for each picture");
        let pictures = self.encode(images);
        pictures.par_iter().zip(texts).map(|(picture, text)| self.score(picture, text)).collect()
    }

    /// The probabilities that each of `texts` describes the one picture, which is encoded once; NaN as [`score`](Self::score)
    /// gives it.
    ///
    /// # Errors
    /// As [`match_batch`](Self::match_batch).
    pub fn match_texts(&self, image: &RgbImage, texts: &[&str]) -> Result<Vec<f32>, Error> {
        let picture = self.encode(std::slice::from_ref(image)).remove(0);
        texts.par_iter().map(|text| self.score(&picture, text)).collect()
    }

    /// The probability that `text` describes an encoded picture; NaN where the model
    /// computes no number (see [`NotANumber`](crate::generate::NotANumber)), and never infinite.
    ///
    /// # Errors
    /// As [`match_batch`](Self::match_batch).
    pub fn score(&self, picture: &EncodedPicture, text: &str) -> Result<f32, Error> {
        let mut classes = self.classes(picture, text)?;
        if !are_finite(&classes) {
            return Ok(f32::NAN);
        }
        mplug_kernels::softmax::softmax_row(&mut classes);
        Ok(classes[1])
    }

    /// The logarithm of the odds that `text` describes the picture: in the order of the probability, but never rounded to
    /// an end, so that pairs beyond doubt keep their order. NaN or infinite where the model computes no number.
    ///
    /// # Errors
    /// As [`match_batch`](Self::match_batch).
    pub fn log_odds(&self, picture: &EncodedPicture, text: &str) -> Result<f32, Error> {
        let classes = self.classes(picture, text)?;
        Ok(classes[1] - classes[0])
    }

    /// How texts fit the model: how many are cut at its text length or have words that its vocabulary lacks.
    pub fn text_fit(&self, texts: &[&str]) -> TextFit {
        self.reader.fit(texts)
    }

    /// Whether the model can read a text: it has an embedding for each of its tokens.
    ///
    /// # Errors
    /// With the first token that has none.
    pub fn check_text(&self, text: &str) -> Result<(), Error> {
        self.reader.input_ids(text).map(|_| ())
    }

    /// The logits `[no match, match]`.
    fn classes(&self, picture: &EncodedPicture, text: &str) -> Result<Vec<f32>, Error> {
        let fused = self.reader.fuse(picture, text)?;
        Ok(self.heads.matching.forward(&fused.text[..self.config().text.hidden_size]))
    }

    /// Encodes pictures of any size, once for everything that is asked about them: for [`score`](Self::score), and, by their hidden
    /// states, for [`contrastive_head`](Self::contrastive_head).
    pub fn encode(&self, images: &[RgbImage]) -> Vec<EncodedPicture> {
        self.reader.encode(images)
    }

    /// The projections of pictures and texts.
    ///
    /// # Errors
    /// [`Error::NoFeatures`] if the checkpoint had none.
    pub fn contrastive_head(&self) -> Result<&ContrastiveHead, Error> {
        self.heads.contrastive.as_ref().ok_or(Error::NoFeatures)
    }

    /// The features of pictures, `(projection_size)` each, of length one: the product of a picture's and a text's is their
    /// similarity, -1 to 1.
    ///
    /// # Errors
    /// [`Error::NoFeatures`] if the checkpoint had no projections.
    pub fn image_features(&self, images: &[RgbImage]) -> Result<Vec<Vec<f32>>, Error> {
        let head = self.contrastive_head()?;
        let embeds = encode_images(&self.reader.visual_encoder, images);
        Ok(embeds.iter().map(|embeds| head.image_features(embeds)).collect())
    }

    /// The features of texts, in the same projection space.
    ///
    /// # Errors
    /// As [`image_features`](Self::image_features) and [`match_batch`](Self::match_batch).
    pub fn text_features(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, Error> {
        let head = self.contrastive_head()?;
        texts.par_iter().map(|text| Ok(head.text_features(&self.reader.encode_text(text)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::seeded::{Draw, Recipe, seeded_tensors, synthetic_vocabulary};
    use crate::checkpoint::{Dtype, Values};

    fn matcher(config: &ModelConfig) -> Matcher {
        of_recipe(config, &seeded_tensors(config, 5))
    }

    fn of_recipe(config: &ModelConfig, recipe: &Recipe) -> Matcher {
        let checkpoint = recipe.to_checkpoint(Dtype::F32).unwrap();
        let vocabulary = synthetic_vocabulary(config.text.vocab_size);
        Matcher::load(&ModelFolder::from_checkpoint(config, checkpoint, vocabulary).unwrap()).unwrap()
    }

    #[test]
    fn features_have_length_one_and_depend_on_nothing_else() {
        let matcher = matcher(&ModelConfig::tiny(Task::ImageTextRetrieval));
        let pictures = [10, 200].map(|level| RgbImage::from_pixel(40, 30, image::Rgb([level, 90, 7])));
        let (both, alone) = (
            matcher.image_features(&pictures).unwrap(),
            matcher.image_features(std::slice::from_ref(&pictures[1])).unwrap(),
        );
        assert_eq!(both[1], alone[0]);
        let texts = matcher.text_features(&["a b", "猫"]).unwrap();
        assert_eq!(texts[1], matcher.text_features(&["猫"]).unwrap()[0]);
        for features in both.iter().chain(&texts) {
            assert_eq!(features.len(), matcher.config().projection_size);
            assert!((features.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5);
        }
    }

    #[test]
    fn a_probability_is_a_number_or_nan() {
        let config = ModelConfig::tiny(Task::ImageTextRetrieval);
        let picture = RgbImage::from_pixel(40, 30, image::Rgb([1, 90, 7]));
        // A logit of minus infinity would be a probability of 0 or 1.
        for signs in [[1.0, 1.0], [-1.0, 0.0]] {
            let mut recipe = seeded_tensors(&config, 5);
            let width = config.text.hidden_size;
            let row = |sign: f32| (0..width).map(move |n| if n == 0 { sign * 3e38 } else { 0.0 });
            let weight = signs.into_iter().flat_map(row).collect();
            let norm = "fusion_encoder.encoder.layer.4.output.LayerNorm.bias";
            for (name, values) in [("itm_head.weight", weight), (norm, vec![1e5; width])] {
                let tensor = recipe.tensors.iter_mut().find(|tensor| tensor.name == name).expect(name);
                tensor.draw = Draw::Given(Values::F32(values));
            }
            let matcher = of_recipe(&config, &recipe);
            let encoded = matcher.encode(std::slice::from_ref(&picture)).remove(0);
            assert!(matcher.match_texts(&picture, &["a"]).unwrap()[0].is_nan(), "{signs:?}");
            assert!(!matcher.log_odds(&encoded, "a").unwrap().is_finite(), "{signs:?}");
        }
    }

    #[test]
    fn a_model_without_projections_matches_all_the_same() {
        let config = ModelConfig { projection_size: 0, ..ModelConfig::tiny(Task::ImageTextRetrieval) };
        let matcher = matcher(&config);
        let picture = RgbImage::from_pixel(40, 30, image::Rgb([1, 90, 7]));
        assert!((0.0..=1.0).contains(&matcher.match_texts(&picture, &["a b"]).unwrap()[0]));
        assert!(matches!(matcher.image_features(&[picture]), Err(Error::NoFeatures)));
        assert!(matches!(matcher.text_features(&["a b"]), Err(Error::NoFeatures)));
    }
}
