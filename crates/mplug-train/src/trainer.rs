//! The training loop: next batch, what the objective makes of it, loss and gradients, clip, step, average, log, evaluate,
//! checkpoint. One place, in order.

use std::collections::BTreeMap;
use std::time::Instant;

use burn::tensor::Device;
use mplug::config::ModelConfig;
use mplug_nn::Mplug;

use crate::average::WeightAverage;
use crate::batch::{Batch, BatchShape, Loader};
use crate::checkpoint::{RunFolder, RunProgress, State};
use crate::config::{AugmentSection, BestBy, DataSection, TrainConfig};
use crate::device;
use crate::error::TrainError;
use crate::evaluate::{Evaluator, Plan};
use crate::gradients::{Outcome, Workers};
use crate::log::{Progress, RunLog, StepReport, peak_memory};
use crate::objective::{Ingredients, Objective};
use crate::optimizer::{AdamW, norm};
use crate::ranks::{self, Ranks};
use crate::schedule::learning_rate;
use crate::start::Start;
use crate::training_data::{AnnotatedPictures, DrawnPictures, TrainingData, Views};

/// Pictures that a message about a batch names.
const NAMED_PICTURES: usize = 8;

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Steps done in all.
    pub steps: u64,
    /// Mean loss since the last log line.
    pub loss: f64,
    /// The best evaluation's score (of the figure that decides; the negative loss where that is the loss) and its loss.
    pub best: Option<[f64; 2]>,
    /// Whether the run ended early, because nothing became better.
    pub stopped_early: bool,
    /// Pictures that could not be read.
    pub skipped: usize,
    /// Whether this process is the one of several that reports.
    pub leads: bool,
}

/// Runs a recipe. With `resume` a run folder that holds a state goes on from there; without, such a folder is an error.
pub fn train(
    config: &TrainConfig,
    resume: bool,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Summary, TrainError> {
    config.check()?;
    let start = Start::open(config)?;
    let (max_len, reading) = (start.max_len, config.objective.reading());
    let prompts = start.prompts(config);
    let augmentation = config.augment.as_ref().map(AugmentSection::augmentation);
    let views = Views { size: start.image_size as u32, augmentation, seed: config.seed };
    match &config.data {
        DataSection::Synth { language, seed, held_out_seed, pictures } => {
            let seeds = [*seed, *held_out_seed];
            let data =
                DrawnPictures::new(seeds, *language, reading, views, max_len, start.vocabulary(), &prompts)?
                    .limited_to(*pictures);
            run(config, &start, &data, resume, progress)
        }
        DataSection::Annotations(section) => {
            let vocabulary = match (start.vocabulary(), &section.vocabulary) {
                (Some(vocabulary), _) => vocabulary.to_owned(),
                (None, Some(path)) => std::fs::read_to_string(path).map_err(TrainError::file(path))?,
                (None, None) => return Err(TrainError::Recipe("data.vocabulary is wanted".to_owned())),
            };
            let data = AnnotatedPictures::open(section, reading, views, max_len, vocabulary, &prompts)?
                .for_rows(start.folder().map(|folder| folder.config.text.vocab_size));
            run(config, &start, &data, resume, progress)
        }
    }
}

/// Runs a recipe on a dataset of the caller's.
pub fn train_on(
    config: &TrainConfig,
    data: &dyn TrainingData,
    resume: bool,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Summary, TrainError> {
    config.check()?;
    run(config, &Start::open(config)?, data, resume, progress)
}

fn run(
    config: &TrainConfig,
    start: &Start,
    data: &dyn TrainingData,
    resume: bool,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Summary, TrainError> {
    let mut trainer = Trainer::new(config, start, data, resume)?;
    let leads = trainer.ranks.leads();
    let mut log = if leads { Some(RunLog::open(trainer.folder.path())?) } else { None };
    let mut report = |event: Progress| -> Result<(), TrainError> {
        if let Some(log) = &mut log {
            log.write(&event)?;
            progress(&event);
        }
        Ok(())
    };
    let (run, steps) = (&config.run, config.run.steps);
    let first = trainer.progress.steps;
    report(trainer.started())?;
    std::thread::scope(|scope| {
        let shape = BatchShape { size: run.batch_size, micro_size: run.micro_batch_size, seed: config.seed };
        let mut batches = Loader::start(scope, data, first..steps, shape, run.data_threads);
        let mut recent = Recent::new();
        let mut loss_now = 0.0;
        for step in first..steps {
            let waiting = Instant::now();
            let batch = batches.next_batch()?;
            recent.data_seconds += waiting.elapsed().as_secs_f64();
            let stepped = trainer.step(step, batch)?;
            let (done, last) = (step + 1, step + 1 == steps);
            recent.add(&stepped, run.batch_size);
            if done % run.log_every == 0 || last {
                let found = trainer.report(step, &stepped, recent.take());
                loss_now = found.loss;
                report(Progress::Step(found))?;
            }
            if config.evaluation.every > 0 && (done % config.evaluation.every == 0 || last) {
                if let Some(event) = trainer.evaluate_together()? {
                    report(event)?;
                }
                recent = Recent::new();
            }
            let stops = trainer.is_out_of_patience();
            if done % run.checkpoint_every == 0 || last || stops {
                report(trainer.save()?)?;
                recent = Recent::new();
            }
            if stops {
                break;
            }
        }
        let RunProgress { steps, best, .. } = trainer.progress;
        let stopped_early = trainer.is_out_of_patience();
        Ok(Summary { steps, loss: loss_now, best, stopped_early, skipped: data.skipped(), leads })
    })
}

/// Everything that changes during a run.
struct Trainer<'a> {
    config: &'a TrainConfig,
    data: &'a dyn TrainingData,
    shape: ModelConfig,
    /// Longest text in tokens, the start and end tokens included.
    max_len: usize,
    folder: RunFolder,
    ranks: Box<dyn Ranks>,
    device: Device,
    workers: Workers,
    model: Mplug,
    objective: Box<dyn Objective>,
    optimizer: AdamW,
    average: Option<WeightAverage>,
    progress: RunProgress,
    /// The step of the last checkpoint.
    saved: Option<u64>,
}

/// What a step found.
struct Stepped {
    loss: f64,
    parts: BTreeMap<&'static str, f64>,
    reward: Option<f64>,
    gradient_norm: f64,
}

impl<'a> Trainer<'a> {
    fn new(
        config: &'a TrainConfig,
        start: &Start,
        data: &'a dyn TrainingData,
        resume: bool,
    ) -> Result<Self, TrainError> {
        let device = device::open(&config.run)?;
        let autodiff = device.clone().autodiff();
        let (mut model, shape) = start.model(config, data.vocabulary(), &autodiff)?;
        model.set_gradient_checkpointing(config.run.gradient_checkpointing);
        model.set_precision(config.run.precision.precision());
        let ingredients = Ingredients { config, start, model: &model, shape: &shape, data, device: &device };
        let objective = ingredients.build()?;
        let decay = config.optimizer.average_decay;
        let mut trainer = Self {
            config,
            data,
            shape,
            max_len: start.max_len,
            workers: Workers::new(config.run.threads, autodiff, config.dropout())?,
            device,
            optimizer: AdamW::new(&config.optimizer, model.parameters().len()),
            average: (decay > 0.0).then(|| WeightAverage::new(&model, decay)),
            model,
            objective,
            progress: RunProgress { loss_scale: config.run.precision.loss_scale(), ..RunProgress::default() },
            saved: None,
            folder: RunFolder::create(&config.output)?,
            ranks: ranks::join()?,
        };
        if trainer.ranks.leads() {
            trainer.folder.claim()?;
        }
        if trainer.folder.has_state() {
            if !resume {
                let problem = "holds a run already; resume it or choose another output folder";
                return Err(TrainError::content(trainer.folder.path(), problem));
            }
            trainer.resume()?;
        }
        if trainer.ranks.leads() {
            trainer.folder.write_recipe(&config.to_toml())?;
        }
        Ok(trainer)
    }

    /// Takes the folder's state back, if its recipe is ours.
    fn resume(&mut self) -> Result<(), TrainError> {
        let folder = self.folder.clone();
        let differences = match folder.recipe()? {
            Some(recipe) => self.config.differences(&recipe),
            None => Vec::new(),
        };
        if !differences.is_empty() {
            let path = folder.path().to_owned();
            return Err(TrainError::OtherRecipe { path, differences: differences.join("; ") });
        }
        folder.read_state(&mut self.state())?;
        self.saved = Some(self.progress.steps);
        Ok(())
    }

    fn state(&mut self) -> State<'_> {
        State {
            model: &mut self.model,
            optimizer: &mut self.optimizer,
            average: &mut self.average,
            objective: &mut *self.objective,
            progress: &mut self.progress,
        }
    }

    fn started(&self) -> Progress {
        Progress::Started {
            step: self.progress.steps,
            steps: self.config.run.steps,
            parameters: self.model.parameters().iter().map(|p| p.shape().iter().product::<usize>()).sum(),
            vocab_size: self.shape.text.vocab_size,
        }
    }

    /// One step: the batch through the objective and the network, the gradients into the weights.
    fn step(&mut self, step: u64, mut batch: Batch) -> Result<Stepped, TrainError> {
        self.objective.begin_step(&mut self.model);
        let reward = self.objective.prepare(&self.model, &mut batch, self.data)?;
        let Outcome { loss, gradients, findings } = self.gradients(&batch);
        if !loss.is_finite() {
            return Err(self.diverged(step, loss, &batch));
        }
        let (schedule, steps) = (&self.config.schedule, self.config.run.steps);
        let rates = |peak| learning_rate(schedule, peak, step, steps);
        let parameters = self.model.parameters_mut();
        let gradient_norm = self.optimizer.step(parameters, &gradients, self.average.as_mut(), &rates);
        self.objective.end_step(&findings);
        self.progress.steps = step + 1;
        let mut parts = BTreeMap::new();
        for (name, value) in findings.iter().flat_map(|portion| &portion.parts) {
            *parts.entry(*name).or_default() += value;
        }
        Ok(Stepped { loss: f64::from(loss), parts, reward, gradient_norm })
    }

    /// The batch's gradients from all processes; where the scaled ones overflow 16 bits, once more with a smaller scale.
    fn gradients(&mut self, batch: &Batch) -> Outcome {
        let lens: Vec<usize> =
            self.model.parameters().iter().map(|parameter| parameter.shape().iter().product()).collect();
        loop {
            let mine = |portion| self.ranks.has_portion(portion);
            let scale = self.progress.loss_scale.factor();
            let own = self.workers.gradients(&self.model, &*self.objective, batch, mine, scale);
            let whole = ranks::share(&*self.ranks, own, &lens, batch.micro_batches.len());
            let overflows = scale > 1.0 && whole.loss.is_finite() && !norm(&whole.gradients).is_finite();
            if !overflows {
                self.progress.loss_scale.stepped();
                return whole;
            }
            self.progress.loss_scale.shrink();
        }
    }

    /// What a log line says of the steps up to `step`.
    fn report(&self, step: u64, stepped: &Stepped, recent: StepReport) -> StepReport {
        let (config, steps) = (self.config, self.config.run.steps);
        let examples = self.data.train_len();
        let epoch_steps = examples.map_or(steps, |len| len.div_ceil(config.run.batch_size as u64)).max(1);
        StepReport {
            step: step + 1,
            epoch: step / epoch_steps + 1,
            epoch_step: step % epoch_steps + 1,
            epoch_steps,
            gradient_norm: stepped.gradient_norm,
            learning_rate: learning_rate(&config.schedule, config.optimizer.learning_rate, step, steps),
            seconds_left: recent.step_seconds * (steps - step - 1) as f64,
            peak_memory: peak_memory(),
            ..recent
        }
    }

    fn diverged(&self, step: u64, loss: f32, batch: &Batch) -> TrainError {
        let all: Vec<u64> =
            batch.micro_batches.iter().flat_map(|portion| portion.picture_ids.iter().copied()).collect();
        let mut pictures: Vec<String> =
            all.iter().take(NAMED_PICTURES).map(|picture| self.data.name(*picture)).collect();
        if all.len() > NAMED_PICTURES {
            pictures.push(format!("and {} more", all.len() - NAMED_PICTURES));
        }
        let checkpoint = match self.saved {
            Some(step) => format!("the checkpoint of step {step} in {}", self.folder.path().display()),
            None => "the start: there is no checkpoint yet".to_owned(),
        };
        TrainError::Diverged { step, loss, pictures: pictures.join(", "), checkpoint }
    }

    /// The weights that count: the average if there is one.
    fn current(&self) -> Mplug {
        match &self.average {
            Some(average) => average.model(&self.model),
            None => self.model.without_autodiff(),
        }
    }

    /// Evaluates on the leading process; all learn what is best so far.
    fn evaluate_together(&mut self) -> Result<Option<Progress>, TrainError> {
        let event = if self.ranks.leads() { Some(self.evaluate()?) } else { None };
        let numbers = self.progress.to_numbers().into_iter().map(|number| f64::from_bits(number as u64));
        let leading = self.ranks.gather(&numbers.collect::<Vec<f64>>()).swap_remove(0);
        let numbers: Vec<i64> = leading.into_iter().map(|number| number.to_bits() as i64).collect();
        if let Some(progress) = RunProgress::from_numbers(&numbers) {
            self.progress = progress;
        }
        Ok(event)
    }

    fn evaluate(&mut self) -> Result<Progress, TrainError> {
        let model = self.current();
        let section = &self.config.evaluation;
        let evaluator = Evaluator {
            model: &model,
            config: &self.shape,
            objective: &*self.objective,
            data: self.data,
            device: &self.device,
            plan: Plan {
                examples: section.pictures,
                num_beams: section.num_beams,
                max_new_tokens: self.max_len - 1,
                rerank: section.rerank,
            },
        };
        let reading = self.config.objective.reading();
        let found = self.workers.run_on_one(|| evaluator.run(reading))?;
        let wanted = section.metric.as_ref().map_or(self.config.objective.best_by(), std::slice::from_ref);
        let score = wanted.iter().find_map(|metric| {
            let value = found.get(metric.name())?;
            Some(if *metric == BestBy::Loss { -value } else { value })
        });
        let Some(score) = score else {
            let names: Vec<&str> = found.metrics.iter().map(|(name, _)| *name).collect();
            return Err(TrainError::Value {
                field: "evaluation.metric",
                expected: format!("a figure of this evaluation ({})", names.join(", ")),
                found: wanted.iter().map(|metric| metric.name()).collect::<Vec<_>>().join(", "),
            });
        };
        let loss = found.get("loss").unwrap_or_default();
        let best = self.progress.best.is_none_or(|[s, l]| score > s || (score >= s && loss < l));
        self.progress.evaluations_since_best =
            if best { 0 } else { self.progress.evaluations_since_best + 1 };
        if best {
            self.progress.best = Some([score, loss]);
            self.folder.write_model("best", &model, &self.shape, self.data.vocabulary())?;
        }
        let metrics = found.metrics.into_iter().collect();
        Ok(Progress::Evaluated { step: self.progress.steps, metrics, best, samples: found.samples })
    }

    fn is_out_of_patience(&self) -> bool {
        let patience = self.config.evaluation.patience;
        patience > 0 && self.progress.evaluations_since_best >= patience
    }

    fn save(&mut self) -> Result<Progress, TrainError> {
        let (step, keep) = (self.progress.steps, self.config.run.keep_last);
        let folder = self.folder.clone();
        self.saved = Some(step);
        if !self.ranks.leads() {
            return Ok(Progress::Saved { step });
        }
        folder.write_state(&self.state())?;
        let (model, vocabulary) = (self.current(), self.data.vocabulary());
        folder.write_model("last", &model, &self.shape, vocabulary)?;
        if keep > 1 {
            folder.write_step(step, keep, &model, &self.shape, vocabulary)?;
        }
        Ok(Progress::Saved { step })
    }
}

/// Losses and time since the last log line.
struct Recent {
    start: Instant,
    loss: f64,
    parts: BTreeMap<&'static str, f64>,
    reward: Option<f64>,
    data_seconds: f64,
    steps: usize,
    examples: usize,
}

impl Recent {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            loss: 0.0,
            parts: BTreeMap::new(),
            reward: None,
            data_seconds: 0.0,
            steps: 0,
            examples: 0,
        }
    }

    fn add(&mut self, stepped: &Stepped, examples: usize) {
        self.loss += stepped.loss;
        for (name, value) in &stepped.parts {
            *self.parts.entry(*name).or_default() += value;
        }
        if let Some(reward) = stepped.reward {
            *self.reward.get_or_insert(0.0) += reward;
        }
        self.steps += 1;
        self.examples += examples;
    }

    /// The means and the speed; starts anew.
    fn take(&mut self) -> StepReport {
        let steps = self.steps.max(1) as f64;
        let seconds = self.start.elapsed().as_secs_f64().max(1e-9);
        let report = StepReport {
            loss: self.loss / steps,
            parts: self.parts.iter().map(|(name, sum)| (*name, sum / steps)).collect(),
            reward: self.reward.map(|sum| sum / steps),
            examples_per_second: self.examples as f64 / seconds,
            step_seconds: seconds / steps,
            data_seconds: self.data_seconds / steps,
            ..StepReport::default()
        };
        *self = Self::new();
        report
    }
}
