//! Evaluations during a run, and which is the best so far.

use super::Trainer;
use crate::config::BestBy;
use crate::error::TrainError;
use crate::evaluate::{Evaluator, Plan};
use crate::log::Progress;

impl Trainer<'_> {
    /// Whether the step that was just done is followed by an evaluation.
    pub(super) fn evaluation_is_due(&self) -> bool {
        let (every, step) = (self.config.evaluation.every, self.progress.steps);
        let is_at_an_end = step > 0 && (step.is_multiple_of(every) || step == self.config.run.steps);
        every > 0 && is_at_an_end && self.progress.evaluated_step != step
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
        let best = self.note_evaluation(score, loss);
        let metrics = found.metrics.into_iter().collect();
        Ok(Progress::Evaluated { step: self.progress.steps, metrics, best, samples: found.samples })
    }

    /// Whether an evaluation is the best so far.
    fn note_evaluation(&mut self, score: f64, loss: f64) -> bool {
        let progress = &mut self.progress;
        progress.evaluated_step = progress.steps;
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
