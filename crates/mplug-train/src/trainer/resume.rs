//! How a run enters its folder: as its own, and from a checkpoint that is there, perhaps with another recipe.

use mplug::config::vocabulary_tokens;

use super::Trainer;
use crate::checkpoint::{BEST, LAST, MODELSCOPE, RunProgress, State};
use crate::config::{Change, TrainConfig};
use crate::entry::Resume;
use crate::error::TrainError;
use crate::log::Progress;
use crate::run_length::Origin;

/// What entering a folder found.
#[derive(Default)]
pub(super) struct Entered {
    /// What there is to say, in this order.
    pub(super) events: Vec<Progress>,
    /// Bytes of the log that belong to the run so far.
    pub(super) log: u64,
}

impl Trainer<'_> {
    /// What a checkpoint is read into.
    fn state(&mut self) -> State<'_> {
        State {
            model: &mut self.model,
            optimizer: &mut self.optimizer,
            average: &mut self.average,
            objective: &mut *self.objective,
            progress: &mut self.progress,
            base: self.adapter.as_ref().map(|adapter| &adapter.base_fingerprint[..]),
        }
    }

    /// Makes the run folder ours, and goes on from a checkpoint in it.
    pub(super) fn enter(&mut self, resume: Resume) -> Result<Entered, TrainError> {
        let leads = self.ranks.leads();
        let mut chosen = None;
        if leads {
            self.folder.claim(resume != Resume::Never)?;
            chosen = self.folder.chosen(resume)?;
            if resume == Resume::Never {
                self.folder.begin_anew()?;
            }
        }
        let chosen = self.chosen_together(chosen);
        if !leads {
            self.folder.join()?;
        }
        self.progress.held_out = self.data.held_out_hash(self.config.evaluation.pictures);
        let mut entered = Entered::default();
        if let Some(step) = chosen {
            let (changes, best_is_reset) = self.take_back(step)?;
            if leads {
                entered.log = self.folder.checkpoint(step).map_or(0, |mark| mark.log);
                let set_aside = self.folder.set_aside_after(step)?;
                if !set_aside.is_empty() {
                    // It may be of one of those; the end of the run writes it anew.
                    self.folder.remove_pointer(MODELSCOPE)?;
                }
                if !changes.is_empty() || best_is_reset || !set_aside.is_empty() {
                    entered.events.push(Progress::Resumed { step, changes, best_is_reset, set_aside });
                }
                entered.events.extend(self.mend(step)?);
            }
        }
        self.share_progress();
        if leads {
            self.folder.check_steps(self.progress.steps + 1..=self.length.steps)?;
            self.folder.write_recipe(&self.config.to_toml())?;
        }
        Ok(entered)
    }

    /// The step that the leading process chose, for all.
    fn chosen_together(&self, chosen: Option<u64>) -> Option<u64> {
        let step = chosen.map_or(f64::NAN, f64::from_bits);
        let known = f64::from(u8::from(chosen.is_some()));
        let leading = self.ranks.gather(&[known, step]).swap_remove(0);
        (leading[0] > 0.0).then(|| leading[1].to_bits())
    }

    /// Takes the checkpoint of `step` back, if its model is ours. Gives what differs in the recipes, and whether the score of the best
    /// evaluation was dropped for it.
    fn take_back(&mut self, step: u64) -> Result<(Vec<Change>, bool), TrainError> {
        let folder = self.folder.clone();
        let before: TrainConfig = toml::from_str(&folder.recipe_of(step)?).map_err(|error| {
            let problem =
                format!("cannot be read ({error}); resume from another step, or start a new run folder");
            TrainError::content(folder.step_path(step).join("recipe.toml"), problem)
        })?;
        let changes = self.config.changes_since(&before);
        let refused: Vec<String> = changes
            .iter()
            .filter(|change| !self.config.allows(&before, change))
            .map(Change::to_string)
            .collect();
        if !refused.is_empty() {
            let path = folder.path().to_owned();
            return Err(TrainError::OtherModel { path, changes: refused.join("; ") });
        }
        self.check_vocabulary(step)?;
        let held_out = self.progress.held_out;
        folder.read_state(step, &mut self.state())?;
        self.saved = Some(step);
        self.go_on_in_data(&before, &changes)?;
        let progress = &mut self.progress;
        let is_another_measure =
            changes.iter().any(Change::is_of_the_measure) || progress.held_out != held_out;
        let best_is_reset = is_another_measure && progress.best.take().is_some();
        if best_is_reset {
            progress.evaluations_since_best = 0;
        }
        progress.held_out = held_out;
        if !changes.is_empty() {
            progress.skipped_in_a_row = 0;
        }
        if self.config.run.precision != before.run.precision {
            progress.loss_scale = self.config.run.precision.loss_scale();
        }
        Ok((changes, best_is_reset))
    }

    /// The data's texts are made of the checkpoint's tokens. An adapter's folder has none: its model has.
    fn check_vocabulary(&self, step: u64) -> Result<(), TrainError> {
        let path = self.folder.step_path(step).join("vocab.txt");
        let Ok(tokens) = std::fs::read_to_string(&path) else { return Ok(()) };
        if vocabulary_tokens(&tokens).eq(vocabulary_tokens(self.data.vocabulary())) {
            return Ok(());
        }
        let problem = "expected data with this vocabulary, found another; a resumed run keeps its vocabulary";
        Err(TrainError::content(path, problem))
    }

    /// Goes on in the data where the checkpoint was, with batches of another size or other data from there on.
    fn go_on_in_data(&mut self, before: &TrainConfig, changes: &[Change]) -> Result<(), TrainError> {
        let cuts = |change: &Change| {
            ["run.batch_size", "run.drop_last"].contains(&&change.field[..])
                || change.field.starts_with("data.")
        };
        let counts_otherwise = before.run.epochs.is_some() != self.config.run.epochs.is_some();
        let RunProgress { steps, examples, .. } = self.progress;
        if counts_otherwise || changes.iter().any(cuts) {
            self.progress.origin = Origin { step: steps, example: examples };
        }
        self.length = self.length.from(self.progress.origin);
        if self.length.steps >= steps {
            return Ok(());
        }
        let (field, found) = match self.config.run.epochs {
            Some(epochs) => ("run.epochs", format!("{epochs}, which are {} steps", self.length.steps)),
            None => ("run.steps", self.length.steps.to_string()),
        };
        Err(TrainError::Value { field, expected: format!("at least the {steps} steps that are done"), found })
    }

    /// Lets `last` and `best` lead where they should: a run that was ended after its checkpoint may not have come to that.
    fn mend(&mut self, step: u64) -> Result<Option<Progress>, TrainError> {
        let (folder, mut written, mut lost) = (self.folder.clone(), Vec::new(), Vec::new());
        let mut point = |name: &str, step: u64| {
            if folder.pointed(name) != Some(step) {
                folder.point(name, step)?;
                written.push(name.to_owned());
            }
            Ok::<_, TrainError>(())
        };
        point(LAST, step)?;
        let best = self.progress.best_step;
        if self.progress.best.is_some() {
            if folder.checkpoint(best).is_some() {
                point(BEST, best)?;
            } else if folder.pointed(BEST) != Some(best) {
                self.progress.best = None;
                self.progress.evaluations_since_best = 0;
                lost.push(format!("{BEST} (step {best}) is gone; the next evaluation is the best so far"));
            }
        }
        if folder.pointed(BEST).is_none() {
            folder.remove_pointer(BEST)?;
        }
        folder.remove_steps(self.config.run.keep_last)?;
        let is_whole = written.is_empty() && lost.is_empty();
        Ok(if is_whole { None } else { Some(Progress::Mended { step, written, lost }) })
    }
}
