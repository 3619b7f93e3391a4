//! Evaluations during a run: when, on what, and which figure decides.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::check::ensure;
use super::objective::ObjectiveSection;
use crate::error::TrainError;

/// When and on what to evaluate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationSection {
    /// Steps between evaluations; 0 turns them off.
    pub every: u64,
    /// Whether there is one before the first step too: of the model that the run starts from.
    #[serde(default = "default_at_start")]
    pub at_start: bool,
    /// Held-out examples.
    pub pictures: usize,
    /// The figure that decides what is best; the task's own if absent.
    pub metric: Option<BestBy>,
    /// Beams of the texts that are written; those of the finished model if absent.
    pub num_beams: Option<usize>,
    /// Retrieval: how many candidates of each picture and text the matching head orders anew (the original's `k_test`).
    #[serde(default = "default_rerank")]
    pub rerank: usize,
    /// The number of evaluations in a row, none of them the best, that ends the run; 0 never does.
    #[serde(default)]
    pub patience: u64,
    /// The official `meteor-1.5.jar`, for METEOR of captions.
    pub meteor_jar: Option<PathBuf>,
    /// The official `spice-1.0.jar`, with the libraries and the Java that it needs, for SPICE of captions.
    pub spice_jar: Option<PathBuf>,
}

fn default_at_start() -> bool {
    true
}

fn default_rerank() -> usize {
    16
}

impl EvaluationSection {
    /// Checks what types cannot say.
    pub(super) fn check(&self, objective: &ObjectiveSection) -> Result<(), TrainError> {
        if let Some(beams) = self.num_beams {
            ensure((1..=256).contains(&beams), "evaluation.num_beams", || {
                ("1 to 256".to_owned(), beams.to_string())
            })?;
        }
        let writes_captions = objective.figures().contains(&BestBy::Cider);
        let jars = [("evaluation.meteor_jar", &self.meteor_jar), ("evaluation.spice_jar", &self.spice_jar)];
        for (field, jar) in jars {
            ensure(jar.is_none() || writes_captions, field, || {
                let found = jar.as_ref().map(|jar| jar.display().to_string());
                ("none where no captions are written".to_owned(), found.unwrap_or_default())
            })?;
        }
        let needs = |metric: BestBy, field, jar: &Option<PathBuf>, words: &str| {
            ensure(self.metric != Some(metric) || jar.is_some(), field, || {
                (words.to_owned(), format!("none, and evaluation.metric = \"{}\"", metric.name()))
            })
        };
        needs(
            BestBy::Meteor,
            "evaluation.meteor_jar",
            &self.meteor_jar,
            "the official meteor-1.5.jar (metric \"meteor_exact_stem\" needs no file)",
        )?;
        needs(
            BestBy::Spice,
            "evaluation.spice_jar",
            &self.spice_jar,
            "the official spice-1.0.jar, which Java 8 to 14 runs",
        )
    }
}

/// A figure of evaluations, by its name in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BestBy {
    /// The loss on held-out examples; less is better.
    #[serde(rename = "loss")]
    Loss,
    /// The share of captions that are true in full, where the data can judge it.
    #[serde(rename = "truth")]
    Truth,
    /// CIDEr-D.
    #[serde(rename = "cider")]
    Cider,
    /// BLEU-1.
    #[serde(rename = "bleu_1")]
    Bleu1,
    /// BLEU-2.
    #[serde(rename = "bleu_2")]
    Bleu2,
    /// BLEU-3.
    #[serde(rename = "bleu_3")]
    Bleu3,
    /// BLEU-4.
    #[serde(rename = "bleu_4")]
    Bleu4,
    /// ROUGE-L.
    #[serde(rename = "rouge_l")]
    RougeL,
    /// METEOR 1.5, with its official data.
    #[serde(rename = "meteor")]
    Meteor,
    /// METEOR with its exact and stem modules alone, which need no data.
    #[serde(rename = "meteor_exact_stem")]
    MeteorExactStem,
    /// SPICE, by its official program.
    #[serde(rename = "spice")]
    Spice,
    /// Accuracy of answers.
    #[serde(rename = "accuracy")]
    Accuracy,
    /// Recall at 1 of texts by pictures.
    #[serde(rename = "text_r1")]
    TextR1,
    /// Recall at 5 of texts by pictures.
    #[serde(rename = "text_r5")]
    TextR5,
    /// Recall at 10 of texts by pictures.
    #[serde(rename = "text_r10")]
    TextR10,
    /// Recall at 1 of pictures by texts.
    #[serde(rename = "image_r1")]
    ImageR1,
    /// Recall at 5 of pictures by texts.
    #[serde(rename = "image_r5")]
    ImageR5,
    /// Recall at 10 of pictures by texts.
    #[serde(rename = "image_r10")]
    ImageR10,
    /// The mean of all recalls.
    #[serde(rename = "r_mean")]
    RMean,
}

impl BestBy {
    /// Figures of captions against references.
    const OF_CAPTIONS: [Self; 10] = [
        Self::Truth,
        Self::Cider,
        Self::Bleu1,
        Self::Bleu2,
        Self::Bleu3,
        Self::Bleu4,
        Self::RougeL,
        Self::Meteor,
        Self::MeteorExactStem,
        Self::Spice,
    ];
    /// Figures of a search.
    const OF_RETRIEVAL: [Self; 7] = [
        Self::TextR1,
        Self::TextR5,
        Self::TextR10,
        Self::ImageR1,
        Self::ImageR5,
        Self::ImageR10,
        Self::RMean,
    ];

    /// Whether it compares texts with what people wrote.
    pub fn needs_references(self) -> bool {
        Self::OF_CAPTIONS.contains(&self) && self != Self::Truth
    }

    /// Its name in an evaluation.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Truth => "truth",
            Self::Cider => "cider",
            Self::Bleu1 => "bleu_1",
            Self::Bleu2 => "bleu_2",
            Self::Bleu3 => "bleu_3",
            Self::Bleu4 => "bleu_4",
            Self::RougeL => "rouge_l",
            Self::Meteor => "meteor",
            Self::MeteorExactStem => "meteor_exact_stem",
            Self::Spice => "spice",
            Self::Accuracy => "accuracy",
            Self::TextR1 => "text_r1",
            Self::TextR5 => "text_r5",
            Self::TextR10 => "text_r10",
            Self::ImageR1 => "image_r1",
            Self::ImageR5 => "image_r5",
            Self::ImageR10 => "image_r10",
            Self::RMean => "r_mean",
        }
    }

    /// The score by which an evaluation with this `value` of the figure is compared with others: more is better.
    pub fn score(self, value: f64) -> f64 {
        if self == Self::Loss { -value } else { value }
    }
}

impl ObjectiveSection {
    /// The figures that an evaluation of this objective can give. Which of them it gives depends on the data: `truth` needs
    /// drawn pictures, the other figures of captions need references.
    pub fn figures(&self) -> Vec<BestBy> {
        match self {
            Self::Captioning {} => [&[BestBy::Loss], &BestBy::OF_CAPTIONS[..]].concat(),
            Self::Cider(_) => BestBy::OF_CAPTIONS.to_vec(),
            Self::Answering(_) => vec![BestBy::Loss, BestBy::Accuracy],
            Self::Retrieval(_) | Self::Pretraining(_) => BestBy::OF_RETRIEVAL.to_vec(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_as_the_log_names_them() {
        let all = ["captioning", "answering", "retrieval"].map(|kind| {
            let text = format!("kind = \"{kind}\"");
            toml::from_str::<ObjectiveSection>(&text).expect("an objective").figures()
        });
        let all = all.concat();
        assert_eq!(all.len(), 20, "the loss is twice in it");
        for figure in all {
            let written = toml::Value::try_from(figure).expect("a name");
            assert_eq!(written.as_str(), Some(figure.name()));
            assert_eq!(written.try_into::<BestBy>().expect("a figure"), figure);
        }
    }
}
