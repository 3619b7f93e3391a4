//! From a recipe to a run: what it starts from and learns from is opened and checked, and the trainer goes its way.

use std::ops::ControlFlow;

use super::Trainer;
use super::reporter::Reporter;
use crate::checkpoint::{RunFolder, RunProgress};
use crate::config::{AugmentSection, DataSection, TrainConfig};
use crate::entry::{Entry, Resume};
use crate::error::TrainError;
use crate::initial_weights::InitialWeights;
use crate::log::{Checked, Progress};
use crate::preflight::machine::Machine;
use crate::run_length::RunLength;
use crate::training_data::{AnnotatedPictures, DataFacts, DrawnPictures, TrainingData, Views};

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Steps done in all.
    pub steps: u64,
    /// Mean loss of the last log line; none if this process took no step, because the run was finished.
    pub loss: Option<f64>,
    /// The best evaluation's score (of the figure that decides; the negative loss where that is the loss) and its loss.
    pub best: Option<[f64; 2]>,
    /// Whether the run ended early, because nothing became better.
    pub stopped_early: bool,
    /// Whether the caller ended the run; then its state is saved and it can be resumed.
    pub interrupted: bool,
    /// Pictures that could not be read.
    pub skipped: usize,
    /// Steps that changed no weight, for their loss or gradient was not finite.
    pub skipped_steps: u64,
    /// Whether this process is the one of several that reports.
    pub leads: bool,
}

/// Receives the events of a run. A break ends the run after the step at hand: its state is saved, and it can be resumed.
pub type Listener<'a> = &'a mut dyn FnMut(&Progress) -> ControlFlow<()>;

/// Runs a recipe, entered as `entry` says: an [`Entry`], a [`Resume`], or whether the run in the folder goes on. A resumed run may have
/// another recipe, but for its model.
///
/// # Errors
/// What is wrong with the recipe, the start, the data or the run folder, and [`TrainError::Diverged`].
pub fn train(
    config: &TrainConfig,
    entry: impl Into<Entry>,
    listener: Listener<'_>,
) -> Result<Summary, TrainError> {
    let entry = entry.into();
    with_data(config, |initial, data, checked| run(config, initial, data, checked, entry, listener))
}

/// Finds out what can be known before a run's first step, and tells the listener. Nothing is written.
pub fn check(config: &TrainConfig, listener: Listener<'_>) -> Result<(), TrainError> {
    with_data(config, |_, _, checked| {
        for event in checked.events() {
            let _goes_on = listener(&event);
        }
        Ok(())
    })
}

/// Opens what a recipe starts from and learns from, and finds out what can be known of it before the first step.
fn with_data<T>(
    config: &TrainConfig,
    then: impl FnOnce(&InitialWeights, &dyn TrainingData, &Checked) -> Result<T, TrainError>,
) -> Result<T, TrainError> {
    config.check()?;
    let initial = InitialWeights::open(config)?;
    let (max_len, reading) = (initial.max_len, config.objective.reading());
    let prompts = initial.prompts(config);
    let augmentation = config.augment.as_ref().map(AugmentSection::augmentation);
    let views = Views { size: initial.image_size as u32, augmentation, seed: config.seed };
    match &config.data {
        DataSection::Synth { language, seed, held_out_seed, pictures } => {
            let seeds = [*seed, *held_out_seed];
            let files = initial.tokenizer();
            let data = DrawnPictures::new(seeds, *language, reading, views, max_len, files, &prompts)?
                .limited_to(*pictures);
            let checked = checked(config, &initial, &data, None)?;
            then(&initial, &data, &checked)
        }
        DataSection::Annotations(section) => {
            let files = match (initial.tokenizer(), &section.vocabulary) {
                (Some(files), _) => files,
                (None, Some(path)) => std::fs::read_to_string(path).map_err(TrainError::file(path))?.into(),
                (None, None) => {
                    return Err(TrainError::Recipe(
                        "expected `data.vocabulary`, the file of the tokens, found none".to_owned(),
                    ));
                }
            };
            let data = AnnotatedPictures::open(section, reading, views, max_len, files, &prompts)?
                .for_rows(initial.folder().map(|folder| folder.config.text.vocab_size));
            let checked = checked(config, &initial, &data, Some(data.inspect(config, section)?))?;
            then(&initial, &data, &checked)
        }
    }
}

/// What is known of a run before its first step; `facts` of its data where they are files.
fn checked(
    config: &TrainConfig,
    initial: &InitialWeights,
    data: &dyn TrainingData,
    facts: Option<DataFacts>,
) -> Result<Checked, TrainError> {
    let facts = facts.unwrap_or_else(|| DataFacts {
        examples: data.train_len(),
        pictures: data.train_pictures(),
        held_out: config.evaluation.pictures as u64,
        ..DataFacts::default()
    });
    let (shape, machine) = (initial.shape(data.vocabulary()), Machine::here(&config.output));
    let steps = RunLength::of(config, data.train_len())?.steps;
    Checked::new(config, &shape, initial.max_len, steps, facts, &machine)
}

/// Runs a recipe on a dataset of the caller's, as [`train`] does.
///
/// # Errors
/// Those of [`train`].
pub fn train_on(
    config: &TrainConfig,
    data: &dyn TrainingData,
    entry: impl Into<Entry>,
    listener: Listener<'_>,
) -> Result<Summary, TrainError> {
    config.check()?;
    let initial = InitialWeights::open(config)?;
    let checked = checked(config, &initial, data, None)?;
    run(config, &initial, data, &checked, entry.into(), listener)
}

fn run(
    config: &TrainConfig,
    initial: &InitialWeights,
    data: &dyn TrainingData,
    checked: &Checked,
    entry: Entry,
    listener: Listener<'_>,
) -> Result<Summary, TrainError> {
    if entry.resume != Resume::Never {
        // Before the model is built: there must be a run.
        RunFolder::open(&config.output)?;
    }
    let (mut trainer, entered) = Trainer::new(config, initial, data, entry)?;
    let leads = trainer.ranks.leads();
    let mut reporter = Reporter::open(leads.then_some(&trainer.folder), entered.log, listener)?;
    if let Some((file, names)) = initial.unexpected() {
        reporter.report(&Progress::Unexpected { file: file.to_owned(), names: names.to_vec() })?;
    }
    reporter.report(&trainer.started())?;
    for event in &entered.events {
        reporter.report(event)?;
    }
    if let Some(event) = trainer.kept_features() {
        reporter.report(&event)?;
    }
    if trainer.progress.steps < trainer.length.steps && !trainer.is_out_of_patience() {
        for event in checked.events() {
            reporter.report(&event)?;
        }
    }
    let loss = trainer.run(&mut reporter)?;
    let interrupted = reporter.is_stopped || trainer.entry.is_stopped();
    if trainer.saved.is_some() || !interrupted {
        trainer.check_result()?;
    }
    if !interrupted {
        trainer.export()?;
    }
    let RunProgress { steps, best, skipped_steps, .. } = trainer.progress;
    Ok(Summary {
        steps,
        loss,
        best,
        stopped_early: trainer.is_out_of_patience(),
        interrupted,
        skipped: data.skipped(),
        skipped_steps,
        leads,
    })
}
