//! Evaluations during a run, and which is the best so far.

use super::Trainer;
use super::reporter::Reporter;
use crate::checkpoint::BEST;
use crate::error::TrainError;
use crate::evaluate::{Evaluation, Evaluator, Plan};
use crate::log::Progress;

impl Trainer<'_> {
    /// Evaluates and reports before the first step, if the recipe says so: what makes an evaluation fail shows itself at once, and
    /// the model to start from may be the best. It changes nothing that training sees.
    pub(super) fn evaluate_at_start(&mut self, reporter: &mut Reporter<'_>) -> Result<(), TrainError> {
        let section = &self.config.evaluation;
        let is_due = section.at_start && section.every > 0 && self.progress.steps == 0;
        if !is_due || self.is_stopped(reporter) {
            return Ok(());
        }
        match self.evaluate_together()? {
            Some(event) => reporter.report(&event),
            None => Ok(()),
        }
    }

    /// Evaluates on the leading process; all learn what is best so far.
    pub(super) fn evaluate_together(&mut self) -> Result<Option<Progress>, TrainError> {
        let event = if self.ranks.leads() { Some(self.evaluate()?) } else { None };
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
            workers: &self.workers,
            figures: &self.figures,
            plan: Plan { examples: section.pictures, num_beams: section.num_beams, rerank: section.rerank },
        };
        let found = evaluator.run(self.config.objective.reading())?;
        let score = self.score(&found)?;
        let best = self.note_evaluation(score, found.get("loss").unwrap_or_default());
        if best {
            self.folder.write_model(BEST, self.mark(BEST), self.written(&model))?;
        }
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

    /// Whether an evaluation is the best so far. A resumed run may know of one that is still to come, and takes it again.
    fn note_evaluation(&mut self, score: f64, loss: f64) -> bool {
        let step = self.progress.steps;
        let is_better = self.progress.best.is_none_or(|[s, l]| score > s || (score >= s && loss < l));
        let is_again = self.progress.best.is_some() && self.progress.best_step == step;
        if score.is_finite() && (is_better || is_again) {
            self.progress.best = Some([score, loss]);
            self.progress.best_step = step;
            self.progress.evaluations_since_best = 0;
            return true;
        }
        self.progress.evaluations_since_best += u64::from(self.progress.best_step < step);
        false
    }

    pub(super) fn is_out_of_patience(&self) -> bool {
        let patience = self.config.evaluation.patience;
        patience > 0 && self.progress.evaluations_since_best >= patience
    }
}
