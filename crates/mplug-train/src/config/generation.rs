//! How the finished model writes.

use mplug::config::GenerationDefaults;
use serde::{Deserialize, Serialize};

use super::check::ensure;
use super::objective::ObjectiveSection;
use crate::error::TrainError;
use crate::training_data::Reading;

/// How the finished model writes: its evaluations do so, and its folder says so. What is absent is the model's to start from
/// (five beams, at least one token for a fresh one); the most tokens are those that training shows. For CIDEr optimisation the
/// lengths are those of the objective.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GenerationSection {
    /// Beams (the original's `beam_size`).
    pub num_beams: Option<usize>,
    /// Fewest tokens of a text (`min_length`).
    pub min_new_tokens: Option<usize>,
    /// Most tokens of a text, the end token included (`max_length`).
    pub max_new_tokens: Option<usize>,
}

impl GenerationSection {
    /// Checks what types cannot say.
    pub(super) fn check(&self, objective: &ObjectiveSection) -> Result<(), TrainError> {
        ensure(*self == Self::default() || objective.reading() != Reading::Pairs, "generation", || {
            ("none where no texts are written".to_owned(), "settings".to_owned())
        })?;
        if let Some(beams) = self.num_beams {
            ensure((1..=256).contains(&beams), "generation.num_beams", || {
                ("1 to 256".to_owned(), beams.to_string())
            })?;
        }
        if let Some(most) = self.max_new_tokens {
            let least = self.min_new_tokens.unwrap_or(1).max(1);
            ensure(most >= least, "generation.max_new_tokens", || {
                (format!("at least {least}"), most.to_string())
            })?;
        }
        Ok(())
    }

    /// The settings of the finished model. It starts from one with the settings `start`; training shows it texts of at most
    /// `max_len` tokens, the start and end tokens included, and it has this number of `positions`.
    ///
    /// # Errors
    /// [`TrainError::Value`] for more tokens than the model has positions, and for a least number above the greatest.
    pub(crate) fn of_model(
        &self,
        objective: &ObjectiveSection,
        start: &GenerationDefaults,
        max_len: usize,
        positions: usize,
    ) -> Result<GenerationDefaults, TrainError> {
        let (least, most) = match objective {
            ObjectiveSection::Cider(cider) => (cider.min_new_tokens, cider.max_new_tokens),
            _ => (start.min_new_tokens, max_len.saturating_sub(1).max(1)),
        };
        let most = self.max_new_tokens.unwrap_or(most);
        ensure(most <= positions, "generation.max_new_tokens", || {
            (format!("at most {positions}, the positions of the model"), most.to_string())
        })?;
        let least = match self.min_new_tokens {
            Some(least) => {
                ensure(least <= most, "generation.min_new_tokens", || {
                    (format!("at most the {most} tokens of a text"), least.to_string())
                })?;
                least
            }
            None => least.min(most),
        };
        Ok(GenerationDefaults {
            num_beams: self.num_beams.unwrap_or(start.num_beams),
            min_new_tokens: least,
            max_new_tokens: most,
            prompts: start.prompts.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::CiderSection;

    #[test]
    fn lengths_are_those_that_training_shows_and_beams_the_starts() {
        let start = GenerationDefaults {
            num_beams: 3,
            min_new_tokens: 8,
            max_new_tokens: 10,
            prompts: BTreeMap::new(),
        };
        let captioning = ObjectiveSection::Captioning {};
        let numbers = |section: &GenerationSection, objective: &ObjectiveSection, max_len| {
            let found = section.of_model(objective, &start, max_len, 64)?;
            Ok::<_, TrainError>([found.num_beams, found.min_new_tokens, found.max_new_tokens])
        };
        let absent = GenerationSection::default();
        assert_eq!(numbers(&absent, &captioning, 25).expect("good"), [3, 8, 24]);
        assert_eq!(numbers(&absent, &captioning, 6).expect("good"), [3, 5, 5]);
        let cider = ObjectiveSection::Cider(CiderSection::default());
        assert_eq!(numbers(&absent, &cider, 25).expect("good"), [3, 1, 25]);
        let given =
            GenerationSection { num_beams: Some(2), min_new_tokens: Some(4), max_new_tokens: Some(16) };
        assert_eq!(numbers(&given, &captioning, 25).expect("good"), [2, 4, 16]);
        let long = GenerationSection { max_new_tokens: Some(65), ..absent.clone() };
        let error = numbers(&long, &captioning, 25).expect_err("no positions").to_string();
        assert!(error.contains("generation.max_new_tokens") && error.contains("at most 64"), "{error}");
        let least = GenerationSection { min_new_tokens: Some(30), ..absent };
        let error = numbers(&least, &captioning, 25).expect_err("too many").to_string();
        assert!(error.contains("generation.min_new_tokens"), "{error}");
    }
}
