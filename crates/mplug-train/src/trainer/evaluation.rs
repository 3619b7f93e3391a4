//! Evaluations during a run, and which is the best so far.

use super::Trainer;
use crate::error::TrainError;
use crate::evaluate::{Evaluation, Evaluator, Plan};
use crate::log::Progress;

impl Trainer<'_> {
    /// Whether an evaluation is to come before the next step: one is before the first step, if the recipe says so (what makes an
    /// evaluation fail shows itself at once, and the model to start from may be the best), and after steps as it says.
    pub(super) fn evaluation_is_due(&self) -> bool {
        let (section, step) = (&self.config.evaluation, self.progress.steps);
        let is_its_time = match step {
            0 => section.at_start,
            step => step.is_multiple_of(section.every) || step == self.length.steps,
        };
        section.every > 0 && is_its_time && self.progress.evaluated_step != Some(step)
    }

    /// Evaluates on the leading process; all learn what is best so far. No event where the end of the run was requested
    /// meanwhile: then the evaluation is still to be done.
    pub(super) fn evaluate_together(&mut self) -> Result<Option<Progress>, TrainError> {
        let event = match self.ranks.leads().then(|| self.evaluate()) {
            Some(Err(TrainError::Stopped)) | None => None,
            Some(found) => Some(found?),
        };
        self.share_progress();
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
            stop: &self.entry.stop,
            workers: &self.workers,
            figures: &self.figures,
            plan: Plan { examples: section.pictures, num_beams: section.num_beams, rerank: section.rerank },
        };
        let found = evaluator.run(self.config.objective.reading())?;
        let score = self.score(&found)?;
        let best = self.note_evaluation(score, found.get("loss").unwrap_or_default());
        let metrics = found.metrics.into_iter().collect();
        let (classes, samples) = (found.classes, found.samples);
        Ok(Progress::Evaluated { step: self.progress.steps, metrics, best, classes, samples })
    }

    /// The score of an evaluation, by the figure that decides.
    fn score(&self, found: &Evaluation) -> Result<f64, TrainError> {
        let wanted = self.config.evaluation.metric.as_ref();
        let wanted = wanted.map_or(self.config.objective.best_by(), std::slice::from_ref);
        let score = wanted.iter().find_map(|metric| Some(metric.score(found.get(metric.name())?)));
        score.ok_or_else(|| {
            let names: Vec<&str> = found.metrics.iter().map(|(name, _)| *name).collect();
            TrainError::Value {
                field: "evaluation.metric",
                expected: format!("a figure of this evaluation ({})", names.join(", ")),
                found: wanted.iter().map(|metric| metric.name()).collect::<Vec<_>>().join(", "),
            }
        })
    }

    /// Whether an evaluation is the best so far.
    fn note_evaluation(&mut self, score: f64, loss: f64) -> bool {
        let progress = &mut self.progress;
        progress.evaluated_step = Some(progress.steps);
        let is_better = progress.best.is_none_or(|[s, l]| score > s || (score >= s && loss < l));
        if score.is_finite() && is_better {
            progress.best = Some([score, loss]);
            progress.best_step = progress.steps;
            progress.evaluations_since_best = 0;
            return true;
        }
        progress.evaluations_since_best += 1;
        false
    }

    pub(super) fn is_out_of_patience(&self) -> bool {
        let patience = self.config.evaluation.patience;
        patience > 0 && self.progress.evaluations_since_best >= patience
    }
}
