//! Answers to questions about freshly drawn pictures: how many are right, checked by program against what was drawn. Each
//! picture is asked about once, as while training.

use std::collections::BTreeMap;
use std::io::{self, Write};

use mplug::generate::GenerationOptions;
use mplug::preprocess::image::RgbImage;
use mplug::tasks::Answerer;
use mplug_data::dataset::Language;
use mplug_data::synth::{Question, QuestionKind, Share, chosen_question, draw, judge_answer};
use rayon::prelude::*;
use serde::Serialize;

use crate::drawn::{Drawn, json_name, write_share};
use crate::error::EvalError;
use crate::event::{OnEvent, each_batch};

/// Draws, asks and judges. A picture about which nothing can be asked is passed over.
///
/// # Errors
/// [`EvalError::Model`] for options that cannot be, and where the model computes no numbers; [`EvalError::Stopped`].
pub fn evaluate(
    drawn: &Drawn,
    answerer: &Answerer,
    options: &GenerationOptions,
    batch_size: usize,
    on_event: OnEvent<'_>,
) -> Result<DrawnAnswers, EvalError> {
    let mut report = DrawnAnswers::new(drawn);
    each_batch(
        &drawn.indices(),
        batch_size,
        "questions",
        on_event,
        |batch| batch.par_iter().filter_map(|&index| ask(drawn, index)).unzip(),
        |_, (images, asked): (Vec<RgbImage>, Vec<Asked>)| {
            let questions: Vec<&str> = asked.iter().map(|asked| asked.question.question.as_str()).collect();
            let answers = if asked.is_empty() {
                Vec::new()
            } else {
                answerer.answer_batch(&images, &questions, options)?
            };
            let best = answers.into_iter().map(|answers| answers.into_iter().next());
            let texts = best.map(|best| best.map_or_else(String::new, |answer| answer.text));
            let texts: Vec<String> = texts.collect();
            Ok((asked, texts))
        },
        |_, (asked, texts)| {
            for (asked, text) in asked.iter().zip(&texts) {
                report.add(asked, text);
            }
            Ok(Vec::new())
        },
    )?;
    Ok(report)
}

/// A question and the language in which it is asked.
struct Asked {
    language: Language,
    question: Question,
}

/// Picture `index` and what is asked about it.
fn ask(drawn: &Drawn, index: u64) -> Option<(RgbImage, Asked)> {
    let example = draw(drawn.seed, index);
    let language = drawn.language_of(index);
    let question = chosen_question(&example.scene, language, index)?;
    Some((example.image, Asked { language, question }))
}

/// How many answers are right.
#[derive(Debug, Default, Serialize)]
pub struct DrawnAnswers {
    /// The seed of the pictures.
    pub synth_seed: u64,
    /// How many pictures were drawn.
    pub count: usize,
    /// Of all answers.
    pub all: Share,
    /// By the code of the language; those that were asked in.
    pub languages: BTreeMap<&'static str, Share>,
    /// By what must be seen to answer.
    pub kinds: BTreeMap<QuestionKind, Share>,
}

impl DrawnAnswers {
    fn new(drawn: &Drawn) -> Self {
        Self { synth_seed: drawn.seed, count: drawn.count, ..Self::default() }
    }

    fn add(&mut self, asked: &Asked, answer: &str) {
        let is_right = Some(judge_answer(&asked.question, answer));
        self.all.add(is_right);
        self.languages.entry(asked.language.code()).or_default().add(is_right);
        self.kinds.entry(asked.question.kind).or_default().add(is_right);
    }

    /// The text form: a table of shares in per cent.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn write_text(&self, to: &mut dyn Write) -> io::Result<()> {
        writeln!(
            to,
            "{} questions about pictures of seed {}: per cent of answers that are right",
            self.all.judged, self.synth_seed
        )?;
        writeln!(to, "{:<14} {:>9} {:>8}", "", "questions", "right")?;
        write_row(to, "all", self.all)?;
        for (language, share) in &self.languages {
            write_row(to, language, *share)?;
        }
        for (kind, share) in &self.kinds {
            write_row(to, &json_name(kind)?, *share)?;
        }
        Ok(())
    }
}

fn write_row(to: &mut dyn Write, name: &str, share: Share) -> io::Result<()> {
    write!(to, "{name:<14} {:>9}", share.judged)?;
    write_share(to, share, 8)?;
    writeln!(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_answers_are_counted_by_language_and_kind() {
        let drawn = Drawn { seed: 2, count: 12, language: None };
        let mut report = DrawnAnswers::new(&drawn);
        for index in drawn.indices() {
            let (_, asked) = ask(&drawn, index).unwrap();
            // Right answers to Chinese questions alone.
            let answer = match asked.language {
                Language::Chinese => asked.question.answers[0].clone(),
                Language::English => "nothing of the kind".to_owned(),
            };
            report.add(&asked, &answer);
        }
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["all"]["share"], 0.5);
        assert_eq!(
            (&json["languages"]["zh"]["share"], &json["languages"]["en"]["share"]),
            (&1.0.into(), &0.0.into())
        );
        assert_eq!(report.kinds.values().map(|share| share.judged).sum::<usize>(), 12);
        let mut text = Vec::new();
        report.write_text(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("\nall                   12     50.0\n"), "{text}");
    }
}
