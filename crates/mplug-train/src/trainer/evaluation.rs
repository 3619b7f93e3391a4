//! Evaluations during a run, and which is the best so far.

use super::Trainer;
use crate::checkpoint::BEST;
use crate::config::BestBy;
use crate::error::TrainError;
use crate::evaluate::{Evaluator, Plan};
use crate::log::Progress;

impl Trainer<'_> {
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
        if best {
            self.folder.write_model(BEST, self.mark(BEST), self.written(&model))?;
        }
        let metrics = found.metrics.into_iter().collect();
        let (classes, samples) = (found.classes, found.samples);
        Ok(Progress::Evaluated { step: self.progress.steps, metrics, best, classes, samples })
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
