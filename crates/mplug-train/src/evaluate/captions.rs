//! Figures of captions against what people wrote. CIDEr-D, BLEU-4 and ROUGE-L cost little and always come; METEOR and SPICE come
//! where their files are given, any other where it decides what is best.

use caption_metrics::meteor::MeteorData;
use caption_metrics::spice::Spice;
use mplug_eval::agreement::{Agreement, PictureAgreement};
use mplug_eval::figures::meteor_data;

use crate::config::{BestBy, EvaluationSection};
use crate::error::TrainError;

/// Figures by name.
type Figures = Vec<(&'static str, f64)>;

/// Which figures of captions are computed, and with what.
#[derive(Debug)]
pub struct CaptionFigures {
    wanted: Option<BestBy>,
    meteor: Option<MeteorData>,
    spice: Option<Spice>,
}

impl CaptionFigures {
    /// Opens the files that `section` names. METEOR's tables are compiled once and kept in the user's cache.
    ///
    /// # Errors
    /// [`TrainError::Value`] for a file that cannot be used.
    pub fn open(section: &EvaluationSection) -> Result<Self, TrainError> {
        let wrong = |field, expected: &str, found: String| TrainError::Value {
            field,
            expected: expected.to_owned(),
            found,
        };
        let meteor = match &section.meteor_jar {
            Some(jar) => {
                let found = meteor_data(jar);
                let words = "the official meteor-1.5.jar beside its `data/paraphrase-en.gz`";
                let found = found.map_err(|error| format!("{}: {error}", jar.display()));
                Some(found.map_err(|found| wrong("evaluation.meteor_jar", words, found))?)
            }
            None if section.metric == Some(BestBy::MeteorExactStem) => Some(MeteorData::without_resources()),
            None => None,
        };
        let spice = section.spice_jar.as_deref().map(Spice::new).transpose();
        let words = "the official spice-1.0.jar";
        let spice = spice.map_err(|error| wrong("evaluation.spice_jar", words, error.to_string()))?;
        Ok(Self { wanted: section.metric, meteor, spice })
    }

    /// The figures of one caption a picture against that picture's references, and what is found of every picture.
    ///
    /// # Errors
    /// If captions and references do not belong together, or SPICE's program fails.
    pub(super) fn of(
        &self,
        captions: &[String],
        references: &[Vec<String>],
    ) -> Result<(Figures, Vec<PictureAgreement>), TrainError> {
        let agreement = Agreement::of(captions, references)?;
        let [bleu_1, bleu_2, bleu_3, bleu_4] = agreement.bleu();
        let mut figures = vec![
            (BestBy::Cider, agreement.cider()),
            (BestBy::Bleu4, bleu_4),
            (BestBy::RougeL, agreement.rouge_l()),
        ];
        let shorter = [(BestBy::Bleu1, bleu_1), (BestBy::Bleu2, bleu_2), (BestBy::Bleu3, bleu_3)];
        figures.extend(shorter.into_iter().filter(|(figure, _)| self.wanted == Some(*figure)));
        if let Some(data) = &self.meteor {
            let figure = if data.is_complete() { BestBy::Meteor } else { BestBy::MeteorExactStem };
            figures.push((figure, agreement.meteor(data)?));
        }
        if let Some(program) = &self.spice {
            let value = agreement.spice(program).map_err(|error| TrainError::Value {
                field: "evaluation.spice_jar",
                expected: "a program that scores these captions".to_owned(),
                found: error.to_string(),
            })?;
            figures.push((BestBy::Spice, value));
        }
        let figures = figures.into_iter().map(|(figure, value)| (figure.name(), value)).collect();
        Ok((figures, agreement.pictures()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(more: &str) -> EvaluationSection {
        toml::from_str(&format!("every = 1\npictures = 1\n{more}")).expect("a section")
    }

    #[test]
    fn cheap_figures_always_come_and_others_where_they_are_wanted() {
        let captions = ["a red car".to_owned(), "一辆车".to_owned()];
        let references = [vec!["a red car on a road".to_owned()], vec!["一辆蓝色的车".to_owned()]];
        let names = |more: &str| {
            let figures = CaptionFigures::open(&section(more)).expect("no files");
            let (found, pictures) = figures.of(&captions, &references).expect("figures");
            assert_eq!(pictures.iter().map(|one| one.reference_tokens).collect::<Vec<_>>(), [6.0, 6.0]);
            assert!(found.iter().all(|(_, value)| *value > 0.0 && value.is_finite()), "{found:?}");
            found.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(names(""), ["cider", "bleu_4", "rouge_l"]);
        assert_eq!(names("metric = \"bleu_2\""), ["cider", "bleu_4", "rouge_l", "bleu_2"]);
        assert_eq!(
            names("metric = \"meteor_exact_stem\""),
            ["cider", "bleu_4", "rouge_l", "meteor_exact_stem"]
        );
    }

    #[test]
    fn files_that_are_not_there_are_named_with_their_field() {
        for field in ["meteor_jar", "spice_jar"] {
            let error = CaptionFigures::open(&section(&format!("{field} = \"no/such.jar\"")));
            let error = error.expect_err("no file").to_string();
            assert!(
                error.contains(&format!("evaluation.{field}")) && error.contains("no/such.jar"),
                "{error}"
            );
        }
    }
}
