//! What the steps since the last log line found. Knows no trainer.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::log::StepReport;

/// What a step found.
pub(super) struct Found {
    pub(super) loss: f64,
    pub(super) parts: BTreeMap<&'static str, f64>,
    pub(super) reward: Option<f64>,
    pub(super) gradient_norm: f64,
}

/// Losses and time since the last log line.
pub(super) struct Recent {
    start: Instant,
    loss: f64,
    parts: BTreeMap<&'static str, f64>,
    reward: Option<f64>,
    gradient_norm: f64,
    pub(super) data_seconds: f64,
    steps: usize,
    examples: usize,
}

impl Recent {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            loss: 0.0,
            parts: BTreeMap::new(),
            reward: None,
            gradient_norm: 0.0,
            data_seconds: 0.0,
            steps: 0,
            examples: 0,
        }
    }

    /// Leaves out time that was not spent on steps.
    pub(super) fn leave_out(&mut self, time: Duration) {
        self.start += time;
    }

    /// Whether no step is in it: all were skipped.
    pub(super) fn is_empty(&self) -> bool {
        self.steps == 0
    }

    pub(super) fn add(&mut self, stepped: &Found, examples: usize) {
        self.loss += stepped.loss;
        for (name, value) in &stepped.parts {
            *self.parts.entry(*name).or_default() += value;
        }
        if let Some(reward) = stepped.reward {
            *self.reward.get_or_insert(0.0) += reward;
        }
        self.gradient_norm = stepped.gradient_norm;
        self.steps += 1;
        self.examples += examples;
    }

    /// The means and the speed; starts anew.
    pub(super) fn take(&mut self) -> StepReport {
        let steps = self.steps.max(1) as f64;
        let seconds = self.start.elapsed().as_secs_f64().max(1e-9);
        let report = StepReport {
            loss: self.loss / steps,
            parts: self.parts.iter().map(|(name, sum)| (*name, sum / steps)).collect(),
            gradient_norm: self.gradient_norm,
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
