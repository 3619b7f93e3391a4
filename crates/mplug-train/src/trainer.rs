//! The training loop: next batch, loss and gradients, clip, step, average, log, evaluate, checkpoint. One place, in order.

use std::time::Instant;

use burn::tensor::Device;
use mplug::config::ModelConfig;
use mplug_nn::CaptioningModel;

use crate::average::WeightAverage;
use crate::batch::Loader;
use crate::checkpoint::{RunFolder, State};
use crate::config::{DataSection, TrainConfig};
use crate::error::TrainError;
use crate::evaluate::{Evaluation, evaluate};
use crate::gradients::Workers;
use crate::log::{EventLog, Progress};
use crate::optimizer::AdamW;
use crate::schedule::rate_share;
use crate::start::Start;
use crate::training_data::{AnnotatedPictures, DrawnPictures, TrainingData};

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Steps done in all.
    pub steps: u64,
    /// Mean loss since the last log line.
    pub loss: f64,
    /// The best evaluation's score and loss. The score is the share of true captions, or CIDEr where the dataset cannot tell
    /// truth, or 0 where it has no references either.
    pub best: Option<[f64; 2]>,
    /// Pictures that could not be read.
    pub skipped: usize,
}

/// Runs a recipe. With `resume` a run folder that holds a state goes on from there; without, such a folder is an error.
pub fn train(
    config: &TrainConfig,
    resume: bool,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Summary, TrainError> {
    config.check()?;
    let start = Start::open(config)?;
    let sizes = [start.image_size, start.max_len];
    match &config.data {
        DataSection::Synth { language, seed, held_out_seed } => {
            let data = DrawnPictures::new([*seed, *held_out_seed], *language, sizes)?;
            train_on(config, &data, resume, progress)
        }
        DataSection::Annotations(section) => {
            let vocabulary = match (&start.folder, &section.vocabulary) {
                (Some(folder), _) => folder.vocabulary().to_owned(),
                (None, Some(path)) => std::fs::read_to_string(path).map_err(TrainError::file(path))?,
                (None, None) => return Err(TrainError::Recipe("data.vocabulary is wanted".to_owned())),
            };
            let data = AnnotatedPictures::open(section, config.seed, sizes, vocabulary)?;
            train_on(config, &data, resume, progress)
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
    let mut trainer = Trainer::new(config, data, resume)?;
    let mut log = EventLog::open(trainer.folder.path())?;
    let mut report = |event: Progress| -> Result<(), TrainError> {
        log.write(&event)?;
        progress(&event);
        Ok(())
    };
    let (run, steps) = (&config.run, config.run.steps);
    let first = trainer.optimizer.steps;
    report(trainer.started())?;
    std::thread::scope(|scope| {
        let sizes = [run.batch_size, run.micro_batch_size, run.data_threads];
        let mut batches = Loader::start(scope, data, first..steps, sizes);
        let mut recent = Recent::new();
        let mut loss_now = 0.0;
        for step in first..steps {
            let batch = batches.next_batch()?;
            let (loss, gradients) = trainer.workers.gradients(&trainer.model, &batch);
            if !loss.is_finite() {
                return Err(TrainError::Diverged { step, loss });
            }
            let share = rate_share(&config.schedule, step, steps);
            let parameters = trainer.model.parameters_mut();
            let norm = trainer.optimizer.step(parameters, &gradients, trainer.average.as_mut(), share);
            let (done, last) = (step + 1, step + 1 == steps);
            recent.add(loss, run.batch_size);
            if done % run.log_every == 0 || last {
                let learning_rate = share * config.optimizer.learning_rate;
                let (loss, examples_per_second) = recent.take();
                loss_now = loss;
                report(Progress::Step {
                    step: done,
                    loss,
                    gradient_norm: norm,
                    learning_rate,
                    examples_per_second,
                })?;
            }
            if config.evaluation.every > 0 && (done % config.evaluation.every == 0 || last) {
                report(trainer.evaluate()?)?;
                recent = Recent::new();
            }
            if done % run.checkpoint_every == 0 || last {
                report(trainer.save()?)?;
                recent = Recent::new();
            }
        }
        let steps = trainer.optimizer.steps;
        Ok(Summary { steps, loss: loss_now, best: trainer.best, skipped: data.skipped() })
    })
}

/// Everything that changes during a run.
struct Trainer<'a> {
    config: &'a TrainConfig,
    data: &'a dyn TrainingData,
    shape: ModelConfig,
    /// Longest caption in tokens, the start and end tokens included.
    max_len: usize,
    folder: RunFolder,
    device: Device,
    workers: Workers,
    model: CaptioningModel,
    optimizer: AdamW,
    average: Option<WeightAverage>,
    best: Option<[f64; 2]>,
}

impl<'a> Trainer<'a> {
    fn new(config: &'a TrainConfig, data: &'a dyn TrainingData, resume: bool) -> Result<Self, TrainError> {
        let device = Device::flex();
        let autodiff = device.clone().autodiff();
        let start = Start::open(config)?;
        let (model, shape) = start.model(config, data.vocabulary(), &autodiff)?;
        let decay = config.optimizer.average_decay;
        let folder = RunFolder::create(&config.output)?;
        let mut trainer = Self {
            config,
            data,
            shape,
            max_len: start.max_len,
            workers: Workers::new(config.run.threads, autodiff)?,
            device,
            optimizer: AdamW::new(&config.optimizer, model.parameters().len()),
            average: (decay > 0.0).then(|| WeightAverage::new(&model, decay)),
            model,
            best: None,
            folder,
        };
        if trainer.folder.has_state() {
            if !resume {
                let problem = "holds a run already; resume it or choose another output folder";
                return Err(TrainError::content(trainer.folder.path(), problem));
            }
            let folder = trainer.folder.clone();
            folder.read_state(&mut trainer.state())?;
        }
        trainer.folder.write_recipe(&config.to_toml())?;
        Ok(trainer)
    }

    fn state(&mut self) -> State<'_> {
        State {
            model: &mut self.model,
            optimizer: &mut self.optimizer,
            average: &mut self.average,
            best: &mut self.best,
        }
    }

    fn started(&self) -> Progress {
        Progress::Started {
            step: self.optimizer.steps,
            steps: self.config.run.steps,
            parameters: self.model.parameters().iter().map(|p| p.shape().iter().product::<usize>()).sum(),
            vocab_size: self.shape.text.vocab_size,
        }
    }

    /// The weights that count: the average if there is one.
    fn current(&self) -> CaptioningModel {
        match &self.average {
            Some(average) => average.model(&self.model),
            None => self.model.without_autodiff(),
        }
    }

    fn evaluate(&mut self) -> Result<Progress, TrainError> {
        let model = self.current();
        let (pictures, max_len) = (self.config.evaluation.pictures, self.max_len);
        let (data, device) = (self.data, &self.device);
        let Evaluation { loss, truth, cider, samples } =
            self.workers.run_on_one(|| evaluate(&model, data, pictures, max_len, device))?;
        let score = [truth.or(cider).unwrap_or(0.0), loss];
        let best = self.best.is_none_or(|[t, l]| score[0] > t || (score[0] >= t && loss < l));
        if best {
            self.best = Some(score);
            self.folder.write_model("best", &model, &self.shape, self.data.vocabulary())?;
        }
        Ok(Progress::Evaluated { step: self.optimizer.steps, loss, truth, cider, best, samples })
    }

    fn save(&mut self) -> Result<Progress, TrainError> {
        self.folder.write_model("last", &self.current(), &self.shape, self.data.vocabulary())?;
        let folder = self.folder.clone();
        folder.write_state(&self.state())?;
        Ok(Progress::Saved { step: self.optimizer.steps })
    }
}

/// Losses and time since the last log line.
struct Recent {
    start: Instant,
    loss: f64,
    steps: usize,
    examples: usize,
}

impl Recent {
    fn new() -> Self {
        Self { start: Instant::now(), loss: 0.0, steps: 0, examples: 0 }
    }

    fn add(&mut self, loss: f32, examples: usize) {
        self.loss += f64::from(loss);
        self.steps += 1;
        self.examples += examples;
    }

    /// The mean loss and the examples per second; starts anew.
    fn take(&mut self) -> (f64, f64) {
        let loss = self.loss / self.steps.max(1) as f64;
        let rate = self.examples as f64 / self.start.elapsed().as_secs_f64().max(1e-9);
        *self = Self::new();
        (loss, rate)
    }
}
