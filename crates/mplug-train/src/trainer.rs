//! The training loop: next batch, what the objective makes of it, loss and gradients, clip, step, average, log, evaluate,
//! checkpoint. One place, in order.

mod clock;
mod divergence;
mod evaluation;
mod export;
mod recent;
mod reporter;
mod resume;
mod run;
mod saving;

use std::collections::BTreeMap;
use std::time::Instant;

use burn::tensor::Device;
use mplug::checkpoint::adapter::AdapterSettings;
use mplug::config::ModelConfig;
use mplug_nn::Mplug;
use mplug_nn::parameter::Parameter;

use self::clock::Clock;
use self::divergence::Proof;
use self::recent::{Found, Recent};
use self::reporter::Reporter;
use self::resume::Entered;
pub use self::run::{Listener, Summary, check, train, train_on};
use crate::average::WeightAverage;
use crate::batch::{Batch, BatchShape, Loader};
use crate::checkpoint::{RunFolder, RunProgress};
use crate::config::TrainConfig;
use crate::device;
use crate::entry::Entry;
use crate::error::TrainError;
use crate::evaluate::CaptionFigures;
use crate::features::FeatureCache;
use crate::fine_tuning;
use crate::gradients::{Outcome, Workers};
use crate::initial_weights::InitialWeights;
use crate::log::{Progress, StepReport, peak_memory};
use crate::model_files::ModelFiles;
use crate::objective::{Ingredients, Objective};
use crate::optimizer::{Optimizer, norm};
use crate::ranks::{self, Ranks};
use crate::run_length::RunLength;
use crate::schedule::learning_rate;
use crate::training_data::TrainingData;

/// Everything that changes during a run.
struct Trainer<'a> {
    config: &'a TrainConfig,
    entry: Entry,
    data: &'a dyn TrainingData,
    length: RunLength,
    shape: ModelConfig,
    /// Longest text in tokens, the start and end tokens included.
    max_len: usize,
    folder: RunFolder,
    ranks: Box<dyn Ranks>,
    device: Device,
    workers: Workers,
    model: Mplug,
    objective: Box<dyn Objective>,
    /// What the files of an adapter say, where the model is adapted.
    adapter: Option<AdapterSettings>,
    /// Pictures that were encoded, where the recipe keeps them.
    features: Option<FeatureCache>,
    optimizer: Optimizer,
    average: Option<WeightAverage>,
    progress: RunProgress,
    /// The step of the last checkpoint.
    saved: Option<u64>,
    /// What shows whether the weights are good.
    proof: Proof,
    /// The figures of captions in evaluations.
    figures: CaptionFigures,
    /// What stands in model folders beside the weights.
    files: ModelFiles<'a>,
}

/// What became of a step.
enum Stepped {
    Applied(Found),
    /// Its loss or gradient was not finite; the event that says so.
    Skipped(Progress),
}

impl<'a> Trainer<'a> {
    fn new(
        config: &'a TrainConfig,
        initial: &'a InitialWeights,
        data: &'a dyn TrainingData,
        entry: Entry,
    ) -> Result<(Self, Entered), TrainError> {
        let length = RunLength::of(config, data.train_len())?;
        let device = device::open(&config.run)?;
        let autodiff = device.clone().autodiff();
        let (mut model, shape) = initial.model(config, data.vocabulary(), &autodiff)?;
        model.set_gradient_checkpointing(config.run.gradient_checkpointing);
        model.set_precision(config.run.precision.precision());
        divergence::check_weights(config, &model)?;
        let adapter = fine_tuning::prepare(config, initial, &mut model, &autodiff)?;
        let features = FeatureCache::open(config, &model, &shape, data)?;
        let ingredients =
            Ingredients { config, initial, model: &model, shape: &shape, data, device: &device };
        let objective = ingredients.build()?;
        let decay = config.optimizer.average_decay;
        let files = ModelFiles::new(config, initial, &shape, data.vocabulary())?;
        let resume = entry.resume;
        let mut trainer = Self {
            config,
            entry,
            data,
            length,
            shape,
            max_len: initial.max_len,
            workers: Workers::new(config.run.threads, autodiff, config.dropout())?,
            device,
            optimizer: Optimizer::new(&config.optimizer, model.parameters().len()),
            average: (decay > 0.0).then(|| WeightAverage::new(&model, decay)),
            model,
            objective,
            adapter,
            features,
            progress: RunProgress { loss_scale: config.run.precision.loss_scale(), ..RunProgress::default() },
            saved: None,
            proof: Proof::default(),
            figures: CaptionFigures::open(&config.evaluation)?,
            files,
            folder: RunFolder::create(&config.output)?,
            ranks: ranks::join()?,
        };
        let entered = trainer.enter(resume)?;
        trainer.check_export()?;
        Ok((trainer, entered))
    }

    fn started(&self) -> Progress {
        Progress::Started {
            step: self.progress.steps,
            steps: self.length.steps,
            parameters: self.count(|_| true),
            trained: self.count(|parameter| !parameter.is_frozen()),
            vocab_size: self.shape.text.vocab_size,
        }
    }

    /// The values of the parameters that `counts`.
    fn count(&self, counts: impl Fn(&Parameter) -> bool) -> usize {
        let parameters = self.model.parameters().into_iter().filter(counts);
        parameters.map(|parameter| parameter.shape().iter().product::<usize>()).sum()
    }

    /// What is kept of the pictures, and what it takes.
    fn kept_features(&self) -> Option<Progress> {
        let features = self.features.as_ref()?;
        Some(Progress::Features { folder: features.folder().to_owned(), bytes: features.need })
    }

    /// Takes all steps that are left, until the end is requested; gives the mean loss of the last log line.
    fn run(&mut self, reporter: &mut Reporter<'_>) -> Result<Option<f64>, TrainError> {
        let (run, data) = (&self.config.run, self.data);
        let (first, steps) = (self.progress.steps, self.length.steps);
        // The evaluation before the first step, or one that was given up when the run was ended.
        let mut is_over = self.is_over(reporter);
        if !is_over && self.evaluation_is_due() {
            is_over = self.conclude(reporter, &mut Clock::new())?;
        }
        let to_do = if is_over { first..first } else { first..steps };
        std::thread::scope(|scope| {
            let (seed, length) = (self.config.seed, self.length);
            let shape = BatchShape { micro_size: run.micro_batch_size, seed, length };
            let ahead = self.lookahead();
            let mut batches = Loader::start(scope, data, to_do.clone(), shape, ahead);
            let (mut recent, mut loss_now, mut clock) = (Recent::new(), None, Clock::new());
            for step in to_do {
                let waiting = Instant::now();
                let mut batch = batches.next_batch()?;
                if let Some(features) = &self.features {
                    features.fill(&mut batch)?;
                }
                recent.data_seconds += waiting.elapsed().as_secs_f64();
                let examples = batch.pictures();
                match self.step(step, batch, reporter)? {
                    Stepped::Applied(found) => recent.add(&found, examples),
                    Stepped::Skipped(event) => reporter.report(&event)?,
                }
                let (done, last) = (step + 1, step + 1 == steps);
                self.progress.examples = length.examples_of(step).end;
                clock.stepped(waiting.elapsed());
                self.report_skipped(reporter)?;
                if let Some(measured) = clock.measured(done, steps) {
                    reporter.report(&self.estimated(measured))?;
                }
                if (done % run.log_every == 0 || last) && !recent.is_empty() {
                    let found = self.report(step, recent.take());
                    loss_now = Some(found.loss);
                    reporter.report(&Progress::Step(found))?;
                }
                reporter.report(&Progress::StepDone { step: done })?;
                let working = Instant::now();
                let is_over = self.conclude(reporter, &mut clock)?;
                recent.leave_out(working.elapsed());
                if is_over {
                    break;
                }
            }
            Ok(loss_now)
        })
    }

    /// What follows a step, or comes before the first: an evaluation and a checkpoint, where they are due. Whether the run ends with it.
    fn conclude(&mut self, reporter: &mut Reporter<'_>, clock: &mut Clock) -> Result<bool, TrainError> {
        let (run, step) = (&self.config.run, self.progress.steps);
        let last = step == self.length.steps;
        let mut is_best = false;
        if self.evaluation_is_due() && !self.is_stopped(reporter) && self.has_good_weights(last)? {
            let evaluating = Instant::now();
            if let Some(event) = self.evaluate_together()? {
                reporter.report(&event)?;
            }
            clock.evaluated(evaluating.elapsed());
            is_best = self.has_new_best();
        }
        let is_over = self.is_over(reporter);
        // Before the first step there is something to keep only where an evaluation found it best.
        let is_time = step > 0 && (step.is_multiple_of(run.checkpoint_every) || last || is_over);
        if (is_time || is_best) && self.has_good_weights(last)? {
            self.save(reporter)?;
        }
        Ok(is_over)
    }

    /// Whether the run ends here: nothing became better for long, or somebody wants it.
    fn is_over(&self, reporter: &Reporter<'_>) -> bool {
        // All processes take part in the second.
        let is_stopped = self.is_stopped(reporter);
        self.is_out_of_patience() || is_stopped
    }

    /// Whether the end of the run was requested of the leading process; all processes end together.
    fn is_stopped(&self, reporter: &Reporter<'_>) -> bool {
        let is_stopped = reporter.is_stopped || self.entry.is_stopped();
        self.ranks.gather(&[f64::from(u8::from(is_stopped))])[0][0] > 0.0
    }

    /// One step: the batch through the objective and the network, the gradients into the weights. Where the loss or the
    /// gradient is not finite, nothing changes but a momentum model, which follows the weights before every step, as in the original.
    fn step(
        &mut self,
        step: u64,
        mut batch: Batch,
        reporter: &mut Reporter<'_>,
    ) -> Result<Stepped, TrainError> {
        if let Some(epochs) = self.length.epochs_before(step) {
            self.objective.advance_to(epochs);
        }
        self.objective.begin_step(&mut self.model);
        let scale = self.progress.loss_scale;
        let reward = match self.objective.prepare(&self.model, &mut batch, self.data) {
            // Texts that cannot be written have no loss.
            Err(TrainError::NotANumber(_)) => {
                self.progress.steps = step + 1;
                return self.skip(f32::NAN, f64::NAN, scale, &batch);
            }
            prepared => prepared?,
        };
        let Outcome { loss, gradients, findings } = self.gradients(&batch, reporter);
        self.progress.steps = step + 1;
        if !loss.is_finite() {
            return self.skip(loss, norm(&gradients), scale, &batch);
        }
        let (schedule, length) = (&self.config.schedule, &self.length);
        let rates = |peak| learning_rate(schedule, peak, step, length);
        let parameters = self.model.parameters_mut();
        let taken = self.optimizer.step(parameters, &gradients, self.average.as_mut(), &rates);
        if !taken.norm.is_finite() {
            return self.skip(loss, taken.norm, scale, &batch);
        }
        self.proof.renew(batch);
        if !taken.weights_are_finite {
            let problem = "weights are not finite after it and are not saved".to_owned();
            return Err(self.diverged(problem, loss, taken.norm, &self.proof.picture_ids));
        }
        self.progress.skipped_in_a_row = 0;
        self.progress.loss_scale.stepped();
        self.objective.end_step(&findings);
        let mut parts = BTreeMap::new();
        for (name, value) in findings.iter().flat_map(|micro_batch| &micro_batch.parts) {
            *parts.entry(*name).or_default() += value;
        }
        Ok(Stepped::Applied(Found { loss: f64::from(loss), parts, reward, gradient_norm: taken.norm }))
    }

    /// The batch's gradients from all processes; where the scaled ones overflow 16 bits, once more with a smaller scale.
    fn gradients(&mut self, batch: &Batch, reporter: &mut Reporter<'_>) -> Outcome {
        let lens: Vec<usize> =
            self.model.parameters().iter().map(|parameter| parameter.shape().iter().product()).collect();
        loop {
            let mine = |micro_batch| self.ranks.has_micro_batch(micro_batch);
            let scale = self.progress.loss_scale.factor();
            let mut done = |done, of| reporter.tell(&Progress::MicroBatchDone { done, of });
            let objective = &*self.objective;
            let own = self.workers.gradients_with(&self.model, objective, batch, mine, scale, &mut done);
            let whole = ranks::share(&*self.ranks, own, &lens, batch.micro_batches.len());
            let overflows = scale > 1.0 && whole.loss.is_finite() && !norm(&whole.gradients).is_finite();
            if !overflows {
                return whole;
            }
            self.progress.loss_scale.shrink();
        }
    }

    /// What a log line says of the steps up to `step`.
    fn report(&self, step: u64, recent: StepReport) -> StepReport {
        let (config, length) = (self.config, &self.length);
        let (epoch, epoch_step, epoch_steps) = length.place_of(step);
        StepReport {
            step: step + 1,
            epoch,
            epoch_step,
            epoch_steps,
            skipped_steps: self.progress.skipped_steps,
            learning_rate: learning_rate(&config.schedule, config.optimizer.learning_rate, step, length),
            seconds_left: recent.step_seconds * (length.steps - step - 1) as f64,
            peak_memory: peak_memory(),
            ..recent
        }
    }

    /// The weights that count: the average if there is one.
    fn current(&self) -> Mplug {
        match &self.average {
            Some(average) => average.model(&self.model),
            None => self.model.without_autodiff(),
        }
    }

    /// Gives all processes what the leading one knows of the run.
    fn share_progress(&mut self) {
        let numbers = self.progress.to_numbers().into_iter().map(|number| f64::from_bits(number as u64));
        let leading = self.ranks.gather(&numbers.collect::<Vec<f64>>()).swap_remove(0);
        let numbers: Vec<i64> = leading.into_iter().map(|number| number.to_bits() as i64).collect();
        if let Some(progress) = RunProgress::from_numbers(&numbers) {
            self.progress = progress;
        }
    }
}
