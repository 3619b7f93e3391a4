//! A recipe to begin with: made for a model, for annotated pictures and for this machine, with comments and an estimate. It trains
//! little, so that two cores end in an evening: small matrices beside the decoder's weights (LoRA), or the decoder alone; the
//! visual encoder is frozen, and each picture is encoded once.

mod cost;
mod held_out;
mod text;

use std::path::{Path, PathBuf};

use mplug::checkpoint::ModelFolder;
use mplug::config::{ConfigOverrides, Language, Task};
use mplug::tasks::tokenizer;
use mplug_data::annotation::Annotation;
use mplug_data::dataset::{self, AnnotatedDataset, OpenOptions};
use mplug_data::format::Format;

use self::cost::Machine;
use self::held_out::Parts;
use crate::config::{DataSection, TrainConfig};
use crate::error::TrainError;
use crate::initial_weights::InitialWeights;
use crate::training_data::{AnnotatedPictures, Split, TrainingData, Views};

/// The recipe's name in its folder.
pub const RECIPE: &str = "recipe.toml";

/// Fewer texts than this are learned by small matrices; more may move the decoder itself.
const FEW_TEXTS: usize = 1000;
/// A run of the recipe ends within this time, in seconds, by the estimate.
const EVENING: f64 = 3.0 * 3600.0;
/// How often a text is seen, where the evening is long enough.
const EPOCHS: u64 = 10;
/// Examples of a step.
const BATCH: usize = 8;
/// Most that [features] may take without a question, in bytes.
const MOST_FEATURES: u64 = 50_000_000_000;

/// What a recipe is made from.
#[derive(Clone, Debug)]
pub struct InitRequest {
    /// Where the recipe is written, and later the run.
    pub folder: PathBuf,
    /// The folder of the model to start from.
    pub model: PathBuf,
    /// The annotation file, or the folder of one.
    pub data: PathBuf,
}

/// What was found and chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// The recipe.
    pub recipe: PathBuf,
    /// Whether small matrices are trained, not the decoder itself.
    pub is_lora: bool,
    /// Pictures to learn from, and texts about them.
    pub pictures: usize,
    /// Texts about them.
    pub texts: usize,
    /// Steps of the run.
    pub steps: u64,
    /// What the run takes by the estimate, in seconds.
    pub seconds: f64,
}

/// What is known of the model and the data.
struct Found {
    model: PathBuf,
    task: Task,
    format: Format,
    language: Option<Language>,
    has_both_languages: bool,
    parts: Parts,
    pictures: usize,
    texts: usize,
    /// Tokens of the longest text, the start and end tokens included; and of the one in the middle.
    longest: usize,
    median: usize,
}

/// Writes a recipe, and where the data has no split to evaluate on, two files that divide it.
///
/// # Errors
/// When the model or the data cannot be opened or do not fit each other, and when a file is there already.
pub fn init(request: &InitRequest) -> Result<Chosen, TrainError> {
    let start = |source| TrainError::Start { path: request.model.clone(), source: Box::new(source) };
    let model = ModelFolder::open(&request.model, &ConfigOverrides::default()).map_err(start)?;
    std::fs::create_dir_all(&request.folder).map_err(TrainError::file(&request.folder))?;
    let recipe = request.folder.join(RECIPE);
    if recipe.symlink_metadata().is_ok() {
        return Err(TrainError::content(
            recipe,
            "expected no recipe, found one, which stays; choose another folder",
        ));
    }
    let found = look(request, &model)?;
    write(request, &model, &found, recipe).inspect_err(|_| found.parts.remove())
}

fn write(
    request: &InitRequest,
    model: &ModelFolder,
    found: &Found,
    recipe: PathBuf,
) -> Result<Chosen, TrainError> {
    let machine = Machine::measure();
    let plan = cost::plan(&model.config, found, &machine);
    let text = text::recipe(request, found, &machine, &plan)?;
    // What is written runs: the recipe is read, and so are its first examples.
    let config = TrainConfig::from_toml(&text, &[])?;
    check_examples(&config)?;
    mplug::checkpoint::write_text(&recipe, &text)?;
    Ok(Chosen {
        recipe,
        is_lora: plan.is_lora,
        pictures: found.pictures,
        texts: found.texts,
        steps: plan.steps,
        seconds: plan.seconds,
    })
}

/// The data of a recipe opens, and its first examples can be made.
fn check_examples(config: &TrainConfig) -> Result<(), TrainError> {
    let DataSection::Annotations(section) = &config.data else { return Ok(()) };
    let initial = InitialWeights::open(config)?;
    let Some(folder) = initial.folder() else { return Ok(()) };
    let views = Views { size: initial.image_size as u32, augmentation: None, seed: config.seed };
    let (reading, vocabulary) = (config.objective.reading(), folder.vocabulary().to_owned());
    let prompts = initial.prompts(config);
    let data = AnnotatedPictures::open(section, reading, views, initial.max_len, vocabulary, &prompts)?
        .for_rows(Some(folder.config.text.vocab_size));
    [Split::Train, Split::HeldOut].into_iter().try_for_each(|split| data.example(split, 0).map(|_| ()))
}

fn look(request: &InitRequest, model: &ModelFolder) -> Result<Found, TrainError> {
    let (data, language, has_both_languages) = open(&request.data, model)?;
    let task = model.config.task;
    let has_text = |annotation: &&Annotation| match task {
        Task::VisualQuestionAnswering => annotation.question.is_some() && !annotation.answers.is_empty(),
        Task::ImageCaptioning | Task::ImageTextRetrieval => !annotation.references.is_empty(),
    };
    let records = &data.annotations().records;
    let with_text: Vec<&Annotation> = records.iter().filter(has_text).collect();
    if with_text.is_empty() {
        let problem = match task {
            Task::VisualQuestionAnswering => {
                "expected questions with answers for a model that answers, found none"
            }
            Task::ImageCaptioning | Task::ImageTextRetrieval => {
                "expected captions for this model, found none"
            }
        };
        return Err(TrainError::content(&request.data, problem));
    }
    let words = tokenizer(model).map_err(|error| TrainError::Recipe(error.to_string()))?;
    let of_one = |annotation: &&Annotation| -> Vec<String> {
        match task {
            Task::VisualQuestionAnswering => annotation.question.iter().cloned().collect(),
            Task::ImageCaptioning | Task::ImageTextRetrieval => annotation.references.clone(),
        }
    };
    let mut lens: Vec<usize> = with_text
        .iter()
        .flat_map(of_one)
        .map(|text| words.encode(&text, model.config.text.max_position_embeddings).len())
        .collect();
    lens.sort_unstable();
    let (pictures, texts) = (with_text.len(), lens.len());
    let (longest, median) = (lens[lens.len() - 1].max(3), lens[lens.len() / 2].max(3));
    let parts = held_out::divide(&request.folder, &request.data, &data, task)?;
    let (model, format) = (request.model.clone(), data.annotations().format);
    Ok(Found { model, task, format, language, has_both_languages, parts, pictures, texts, longest, median })
}

/// The data in the language that it is in, or, where it has two, in the one that the model writes unasked.
fn open(path: &Path, model: &ModelFolder) -> Result<(AnnotatedDataset, Option<Language>, bool), TrainError> {
    let in_language = |language| dataset::open(path, &OpenOptions { language, ..OpenOptions::default() });
    let error = match in_language(None) {
        Ok(data) => {
            let language = language_of(&data);
            let is_prompted = model.config.generation.prompts.contains_key(language.code());
            return Ok((data, is_prompted.then_some(language), false));
        }
        Err(error) => error,
    };
    let prompts = &model.config.generation.prompts;
    let unasked =
        [Language::Chinese, Language::English].into_iter().filter(|l| !prompts.contains_key(l.code()));
    let asked = [Language::Chinese, Language::English].into_iter().filter(|l| prompts.contains_key(l.code()));
    for language in unasked.chain(asked) {
        if let Ok(data) = in_language(Some(language)) {
            return Ok((data, Some(language), true));
        }
    }
    Err(error.into())
}

/// The language of most captions: Chinese has no letters of Latin.
fn language_of(data: &AnnotatedDataset) -> Language {
    let texts = || data.annotations().records.iter().take(100).flat_map(|record| &record.references);
    let latin = texts().flat_map(|text| text.chars()).filter(char::is_ascii_alphabetic).count();
    let all = texts().flat_map(|text| text.chars()).filter(|c| c.is_alphabetic()).count();
    if 2 * latin > all { Language::English } else { Language::Chinese }
}
