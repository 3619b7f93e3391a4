//! What shells call: pictures and strings in, captions, answers and scores out.

mod answerer;
mod captioner;
mod matcher;
mod open;
mod reader;
mod request;
mod words;

use std::sync::Arc;

pub use answerer::Answerer;
pub use captioner::Captioner;
use image::RgbImage;
pub use matcher::Matcher;
use mplug_kernels::can_reserve;
use mplug_kernels::gemm::Precision;
pub use open::{OpenOptions, open};
use rayon::prelude::*;
pub use request::{CaptionRequest, LanguageOptions, RequestError, SearchRequest, languages_of, prompt_for};

use crate::checkpoint::expected::needed_tensors;
use crate::checkpoint::{ModelFolder, TOKENIZER_CONFIG, VOCABULARY, Weights};
use crate::config::{ModelConfig, Task};
use crate::encoded_picture::EncodedPicture;
use crate::error::Error;
use crate::generate::beam_search::Hypothesis;
use crate::generate::{GenerationOptions, Hypotheses, NotANumber, Resolved, generate_each};
use crate::model::Mplug;
use crate::preprocess::image::{pixel_values, resize_bicubic};
use crate::preprocess::text::{Tokenizer, TokenizerError, TokenizerSettings, join_chinese};
use crate::smoothing::Observer;
use crate::text_decoder::TextDecoder;
use crate::visual_encoder::VisualEncoder;

/// A text that a model wrote.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Caption {
    /// For people: Chinese without spaces between its characters.
    pub text: String,
    /// As the original gives it: one space between Chinese characters.
    pub raw_text: String,
    /// Length-penalised log-probability; the plain log-probability when sampled.
    pub score: f32,
    /// What was generated, without the start token and the prefix, with the end token where one came.
    pub token_ids: Vec<u32>,
    /// Whether the end token came last: others were cut at the longest length, or when a better one ended.
    pub is_finished: bool,
}

/// The texts of a picture, best first, or that the model computed no numbers for it.
pub type Captions = Result<Vec<Caption>, NotANumber>;

/// How a model is loaded.
#[derive(Clone, Copy, Default)]
pub struct LoadOptions<'a> {
    /// The precision of its products; the files' own by default: int8 where they are int8, else f32.
    pub precision: Option<Precision>,
    /// Records what the layers' inputs are like, to prepare an int8 model.
    pub observer: Option<&'a Observer>,
}

/// A model with its tokenizer, checked to be for `task`.
fn load(folder: &ModelFolder, task: Task, options: &LoadOptions) -> Result<(Mplug, Arc<Tokenizer>), Error> {
    let found = folder.config.task;
    if found != task {
        return Err(Error::WrongTask { expected: task, found });
    }
    // The folder was checked when it was opened: every tensor is there.
    let precision = options.precision.unwrap_or(folder.stored_precision());
    let bytes = least_bytes(&folder.config, precision);
    if !can_reserve(bytes) {
        return Err(Error::Memory { bytes, precision });
    }
    let weights = Weights::new(folder.checkpoint()).with_precision(precision).with_observer(options.observer);
    let model = Mplug::load(&weights, &folder.config)?;
    Ok((model, Arc::new(tokenizer(folder)?)))
}

/// What the weights of a model take at least.
fn least_bytes(config: &ModelConfig, precision: Precision) -> usize {
    let numbers = needed_tensors(config).into_iter().map(|(_, shape)| shape.iter().product::<usize>());
    let bytes_each = match precision {
        Precision::F32 => 4,
        Precision::Bf16 => 2,
        Precision::Int8 => 1,
    };
    numbers.sum::<usize>() * bytes_each
}

/// The tokenizer of a model: of its `vocab.txt`, with the settings of its `tokenizer_config.json` where it has one.
pub fn tokenizer(folder: &ModelFolder) -> Result<Tokenizer, TokenizerError> {
    let settings = match folder.tokenizer_config() {
        Some(text) => TokenizerSettings::from_json(text, &folder.label(TOKENIZER_CONFIG))?,
        None => TokenizerSettings::default(),
    };
    let rows = folder.config.text.vocab_size;
    Tokenizer::for_model(folder.vocabulary(), settings, &folder.label(VOCABULARY), rows)
}

/// Encodes pictures of any size: resized as the original does, then through the visual encoder.
fn encode_images(encoder: &VisualEncoder, images: &[RgbImage]) -> Vec<Vec<f32>> {
    let size = encoder.image_size() as u32;
    let encode = |image| encoder.forward(&pixel_values(&resize_bicubic(image, size, size)));
    images.par_iter().map(encode).collect() // (image_len, hidden_size) each
}

/// The model folder's own settings as options.
fn default_options(config: &ModelConfig) -> GenerationOptions {
    let defaults = &config.generation;
    GenerationOptions {
        num_beams: defaults.num_beams,
        min_new_tokens: defaults.min_new_tokens,
        max_new_tokens: defaults.max_new_tokens,
        ..GenerationOptions::default()
    }
}

/// Options in tokens, checked against a decoder.
fn resolve(
    decoder: &TextDecoder,
    tokenizer: &Arc<Tokenizer>,
    options: &GenerationOptions,
) -> Result<Resolved, Error> {
    let prompt = given_ids(tokenizer, options.prompt.as_deref())?;
    let begun = given_ids(tokenizer, options.prefix.as_deref())?;
    let prefix = [&[tokenizer.bos_token_id()], &prompt[..], &begun[..]].concat();
    // Who gives a beginning does not request fewer tokens: what it takes of the positions is no error.
    let positions = decoder.config().max_position_embeddings;
    let most = if prefix.len() == 1 { usize::MAX } else { (positions + 1).saturating_sub(prefix.len()) };
    let mut options = options.clone();
    if options.max_new_tokens > most {
        (options.max_new_tokens, options.min_new_tokens) = (most, options.min_new_tokens.min(most));
    }
    options.check(positions, prefix.len())?; // before its words are read
    let constraints = words::constraints(tokenizer, &begun, &options)?;
    let resolved = Resolved::new(prefix, tokenizer.eos_token_id(), options, constraints, positions)?;
    Ok(resolved.with_begun(begun.len()))
}

/// What people read of tokens that continue `begun`, as the original gives it.
fn raw_text_of(tokenizer: &Tokenizer, begun: &[u32], token_ids: &[u32]) -> String {
    tokenizer.decode(&[begun, token_ids].concat())
}

/// Hypotheses as texts.
fn captions(tokenizer: &Tokenizer, resolved: &Resolved, hypotheses: Hypotheses) -> Captions {
    let caption = |hypothesis: Hypothesis| {
        let raw_text = raw_text_of(tokenizer, resolved.begun(), &hypothesis.token_ids);
        let text = join_chinese(&raw_text);
        let is_finished = hypothesis.token_ids.last() == Some(&tokenizer.eos_token_id());
        Caption { text, raw_text, score: hypothesis.score, token_ids: hypothesis.token_ids, is_finished }
    };
    Ok(hypotheses?.into_iter().map(caption).collect())
}

/// Writes about each picture.
fn write(
    decoder: &Arc<TextDecoder>,
    tokenizer: &Arc<Tokenizer>,
    pictures: &[EncodedPicture],
    options: &GenerationOptions,
) -> Result<Vec<Captions>, Error> {
    Ok(write_each(decoder, tokenizer, pictures, std::slice::from_ref(options))?
        .into_iter()
        .flatten()
        .collect())
}

/// Writes about each picture as each of `options` says, all texts together; for each picture, what was written in the options' order.
fn write_each(
    decoder: &Arc<TextDecoder>,
    tokenizer: &Arc<Tokenizer>,
    pictures: &[EncodedPicture],
    options: &[GenerationOptions],
) -> Result<Vec<Vec<Captions>>, Error> {
    let resolve = |options| resolve(decoder, tokenizer, options).map(Arc::new);
    let resolved: Vec<Arc<Resolved>> = options.iter().map(resolve).collect::<Result<_, _>>()?;
    let texts = pictures.iter().flat_map(|picture| resolved.iter().map(move |resolved| (picture, resolved)));
    let mut written = generate_each(decoder, texts).into_iter();
    let mut of_picture = || -> Vec<Captions> {
        let texts = resolved.iter().zip(&mut written);
        texts.map(|(resolved, hypotheses)| captions(tokenizer, resolved, hypotheses)).collect()
    };
    Ok(pictures.iter().map(|_| of_picture()).collect())
}

/// The texts of all pictures, where none failed.
fn all(written: Vec<Captions>) -> Result<Vec<Vec<Caption>>, Error> {
    Ok(written.into_iter().collect::<Result<_, NotANumber>>()?)
}

/// The tokens of a word, without those that begin and end a text.
fn word_ids(tokenizer: &Tokenizer, word: &str) -> Vec<u32> {
    let ids = tokenizer.encode(word, usize::MAX); // [CLS] … [SEP]
    ids[1..ids.len() - 1].to_vec()
}

/// The tokens of a text that is given: a prompt, or what results begin with.
fn given_ids(tokenizer: &Tokenizer, given: Option<&str>) -> Result<Vec<u32>, Error> {
    let Some(given) = given else { return Ok(Vec::new()) };
    let ids = word_ids(tokenizer, given);
    let error = |problem| Err(Error::Prefix { prefix: given.to_owned(), problem });
    if ids.is_empty() {
        return error("has no tokens");
    }
    if ids.contains(&tokenizer.unk_token_id()) {
        return error("has a character or word that the model's vocabulary lacks");
    }
    tokenizer.check_ids(given, &ids)?;
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_bits_need_less_memory() {
        let config = ModelConfig::base_captioning_zh();
        let [f32, bf16, int8] = Precision::ALL.map(|precision| least_bytes(&config, precision));
        assert!((800_000_000..1_000_000_000).contains(&f32), "{f32}");
        assert_eq!((bf16, int8), (f32 / 2, f32 / 4));
    }
}
