//! Visual question answering: the decoder looks at picture and question after fusion.

use std::path::Path;
use std::sync::Arc;

use image::RgbImage;
use rayon::prelude::*;

use super::reader::Reader;
use super::{
    Caption, Captions, LoadOptions, OpenOptions, all, captions, default_options, load, open, resolve, write,
};
use crate::checkpoint::ModelFolder;
use crate::config::{ModelConfig, Task};
use crate::encoded_picture::EncodedPicture;
use crate::error::Error;
use crate::generate::{GenerationEngine, GenerationOptions, Hypotheses, Resolved};
use crate::model::{Head, Multimodal};
use crate::preprocess::text::{TextFit, Tokenizer};
use crate::text_decoder::TextDecoder;
use crate::visual_encoder::VisualEncoder;

/// Answers questions about pictures.
pub struct Answerer {
    reader: Reader,
    decoder: Arc<TextDecoder>,
}

impl Answerer {
    /// Opens the model folder, or the weight file in one, at `path` and loads it as it says itself.
    ///
    /// # Errors
    /// If it is no model folder, is damaged, or is of another task.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::load(&open(path, Task::VisualQuestionAnswering, &OpenOptions::default())?)
    }

    /// Loads a question-answering model.
    pub fn load(folder: &ModelFolder) -> Result<Self, Error> {
        Self::load_with(folder, &LoadOptions::default())
    }

    /// Loads a question-answering model at another precision, or observed.
    pub fn load_with(folder: &ModelFolder, options: &LoadOptions) -> Result<Self, Error> {
        let (model, tokenizer) = load(folder, Task::VisualQuestionAnswering, options)?;
        let Head::Answering(multimodal, decoder) = model.head else { unreachable!("the task was checked") };
        let (visual_encoder, config) = (model.visual_encoder, folder.config.clone());
        Ok(Self {
            reader: Reader { visual_encoder, multimodal, tokenizer, config },
            decoder: Arc::new(decoder),
        })
    }

    /// The model's shape and defaults.
    pub fn config(&self) -> &ModelConfig {
        &self.reader.config
    }

    /// The visual encoder, for those who want the stages one by one.
    pub fn visual_encoder(&self) -> &VisualEncoder {
        &self.reader.visual_encoder
    }

    /// The model's tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.reader.tokenizer
    }

    /// Text and fusion encoder, for those who want the stages one by one.
    pub fn multimodal(&self) -> &Multimodal {
        &self.reader.multimodal
    }

    /// The decoder, for those who want the stages one by one.
    pub fn decoder(&self) -> &Arc<TextDecoder> {
        &self.decoder
    }

    /// Options as the model folder sets them.
    pub fn default_options(&self) -> GenerationOptions {
        default_options(self.config())
    }

    /// Answers `questions[i]` about `images[i]`: for each, `num_return_sequences` answers, best first. Questions are
    /// lower-cased and cut to the model's text length, as the original does.
    ///
    /// # Errors
    /// For options that cannot be, and [`Error::NotANumber`] where any answer fails: [`answer_each`](Self::answer_each)
    /// gives the others.
    ///
    /// # Panics
    /// If pictures and questions differ in number.
    pub fn answer_batch(
        &self,
        images: &[RgbImage],
        questions: &[&str],
        options: &GenerationOptions,
    ) -> Result<Vec<Vec<Caption>>, Error> {
        self.answer_encoded(&self.encode(images), questions, options)
    }

    /// Answers `questions[i]` about `pictures[i]`, which are encoded already. Several questions may share a picture.
    ///
    /// # Errors
    /// As [`answer_batch`](Self::answer_batch).
    ///
    /// # Panics
    /// If pictures and questions differ in number.
    pub fn answer_encoded(
        &self,
        pictures: &[EncodedPicture],
        questions: &[&str],
        options: &GenerationOptions,
    ) -> Result<Vec<Vec<Caption>>, Error> {
        all(self.answer_each(pictures, questions, options)?)
    }

    /// Answers questions about encoded pictures, where each answer fails alone.
    ///
    /// # Errors
    /// For options that cannot be.
    ///
    /// # Panics
    /// If pictures and questions differ in number.
    pub fn answer_each(
        &self,
        pictures: &[EncodedPicture],
        questions: &[&str],
        options: &GenerationOptions,
    ) -> Result<Vec<Captions>, Error> {
        assert_eq!(pictures.len(), questions.len(), "one question for each picture");
        let read: Result<Vec<EncodedPicture>, Error> = pictures
            .par_iter()
            .zip(questions)
            .map(|(picture, question)| self.read_question(picture, question))
            .collect();
        write(&self.decoder, &self.reader.tokenizer, &read?, options)
    }

    /// Encodes pictures of any size, once for everything that is asked about them.
    pub fn encode(&self, images: &[RgbImage]) -> Vec<EncodedPicture> {
        self.reader.encode(images)
    }

    /// What the decoder sees of a picture and a question: fused image and text, one after the other.
    ///
    /// # Errors
    /// As [`check_question`](Self::check_question).
    pub fn read_question(&self, picture: &EncodedPicture, question: &str) -> Result<EncodedPicture, Error> {
        let fused = self.reader.fuse(picture, question)?;
        let joined = [fused.image, fused.text].concat(); // (image_len + text_len, hidden_size)
        let len = joined.len() / self.config().text.hidden_size;
        Ok(self.decoder.attend_to(joined, len))
    }

    /// An engine for answers that come and go: it takes what [`read_question`](Self::read_question) and [`resolve`](Self::resolve) give,
    /// and [`read`](Self::read) makes answers of its updates.
    pub fn engine(&self) -> GenerationEngine {
        GenerationEngine::new(Arc::clone(&self.decoder))
    }

    /// Options in tokens, checked.
    ///
    /// # Errors
    /// For options that cannot be.
    pub fn resolve(&self, options: &GenerationOptions) -> Result<Resolved, Error> {
        resolve(&self.decoder, &self.reader.tokenizer, options)
    }

    /// What was generated as `resolved` said, as answers.
    pub fn read(&self, resolved: &Resolved, hypotheses: Hypotheses) -> Captions {
        captions(&self.reader.tokenizer, resolved, hypotheses)
    }

    /// How questions fit the model: how many are cut at its text length or have words that its vocabulary lacks.
    pub fn text_fit(&self, questions: &[&str]) -> TextFit {
        self.reader.fit(questions)
    }

    /// Whether the model can read a question: it has an embedding for each of its tokens.
    ///
    /// # Errors
    /// With the first token that has none, as [`answer_batch`](Self::answer_batch) has for all questions together.
    pub fn check_question(&self, question: &str) -> Result<(), Error> {
        self.reader.input_ids(question).map(|_| ())
    }
}
