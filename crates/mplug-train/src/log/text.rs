//! What events say to a person, a line each.

use super::{Progress, StepReport};

/// Texts of an evaluation that a line shows.
const SAMPLES: usize = 4;

impl Progress {
    /// What it says to a person, in a run of `steps` steps. Nothing of what comes too often, or needs other words in each program.
    pub fn text(&self, steps: u64) -> Option<String> {
        Some(match self {
            Self::Unexpected { .. } | Self::StepDone { .. } | Self::MicroBatchDone { .. } => return None,
            Self::Checked(found) => found.to_string(),
            Self::Warning { text } => format!("warning: {text}"),
            Self::Estimated(found) => found.to_string(),
            Self::PictureSkipped { picture, reason, skipped, .. } => {
                format!("{picture}: skipped ({skipped} until now): {reason}")
            }
            Self::Started { step, steps, parameters, trained, vocab_size } => {
                let of = if trained == parameters { String::new() } else { format!(" of {parameters}") };
                format!("training {trained}{of} numbers, {vocab_size} tokens, from step {step} to {steps}")
            }
            Self::Features { folder, bytes } => {
                let (folder, gigabytes) = (folder.display(), *bytes as f64 / 1e9);
                format!("pictures are encoded once and kept in {folder}: {gigabytes:.1} GB for all of them")
            }
            Self::Resumed { step, changes, best_is_reset, set_aside } => {
                let mut notes: Vec<String> = changes.iter().map(ToString::to_string).collect();
                notes.extend(
                    best_is_reset.then(|| "the best is sought anew, for scores are others".to_owned()),
                );
                let aside: Vec<String> = set_aside.iter().map(u64::to_string).collect();
                let aside = format!("the checkpoints of the steps {} are set aside", aside.join(", "));
                notes.extend((!set_aside.is_empty()).then_some(aside));
                format!("step {step}/{steps}: resumed; {}", notes.join("; "))
            }
            Self::Mended { step, written, lost } => {
                let mut notes: Vec<String> = written.iter().map(|name| format!("{name} written")).collect();
                notes.extend(lost.iter().map(|note| format!("note: {note}")));
                format!("step {step}/{steps}: models completed; {}", notes.join("; "))
            }
            Self::Unwritten { problem } => format!("note: {problem}; the run goes on without this log"),
            Self::Step(report) => report.text(steps),
            Self::Skipped { step, loss, gradient_norm, in_a_row, pictures, .. } => format!(
                "step {step}/{steps}: skipped, no weight was changed: loss {loss}, gradient norm {gradient_norm} ({in_a_row} in a \
                 row); pictures {pictures}"
            ),
            Self::Evaluated { step, metrics, best, samples, .. } => {
                let metrics: Vec<String> =
                    metrics.iter().map(|(name, value)| format!("{name} {value:.4}")).collect();
                let best = if *best { " (best so far)" } else { "" };
                let texts: Vec<&str> = samples.iter().take(SAMPLES).map(|sample| &sample.text[..]).collect();
                let texts =
                    if texts.is_empty() { String::new() } else { format!("; e.g. {}", texts.join(" | ")) };
                format!("step {step}/{steps}: held out: {}{best}{texts}", metrics.join(", "))
            }
            Self::Saved { step } => format!("step {step}/{steps}: state saved"),
        })
    }
}

impl StepReport {
    /// What it says to a person.
    fn text(&self, steps: u64) -> String {
        let parts: Vec<String> = self.parts.iter().map(|(name, loss)| format!("{name} {loss:.4}")).collect();
        let parts = if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) };
        let reward = self.reward.map_or_else(String::new, |reward| format!(", reward {reward:.4}"));
        let memory =
            self.peak_memory.map_or_else(String::new, |bytes| format!(", {:.2} GB", bytes as f64 / 1e9));
        let skipped = match self.skipped_steps {
            0 => String::new(),
            steps => format!(", {steps} steps skipped"),
        };
        let minutes = (self.seconds_left / 60.0).ceil() as u64;
        format!(
            "step {}/{steps}: loss {:.4}{parts}{reward}, gradient {:.3}, learning rate {:.2e}, {:.1} examples/s, {}:{:02} h \
             left{memory}{skipped}",
            self.step,
            self.loss,
            self.gradient_norm,
            self.learning_rate,
            self.examples_per_second,
            minutes / 60,
            minutes % 60
        )
    }
}
