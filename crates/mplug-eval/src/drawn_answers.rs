//! Answers to questions about freshly drawn pictures: how many are right, checked by program against what was drawn. Each
//! picture is asked about once, as while training. This file only joins the drawing, the engine and the judging.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use mplug::{checkpoint::ModelFolder, preprocess::image::RgbImage, tasks::Answerer};
use mplug_data::{
    dataset::Language,
    synth::{Question, QuestionKind, Share, chosen_question, draw, judge_answer},
};
use rayon::prelude::*;
use serde::Serialize;

use super::{
    EvalArgs,
    drawn::{Drawn, code, json_name, write_share},
};
use crate::{precision, progress::Progress, status::Status};

/// Draws, asks, judges and reports.
pub(super) fn evaluate(args: &EvalArgs, folder: &ModelFolder) -> anyhow::Result<Status> {
    let answerer = Answerer::load_with(folder, &precision::load_options(folder, args.engine.precision))?;
    let options = args.search.options(answerer.default_options())?;
    let drawn = Drawn::of(args);
    let progress = Progress::new(drawn.count, "questions");
    let mut report = Report { synth_seed: drawn.seed, count: drawn.count, ..Report::default() };
    for batch in drawn.indices().chunks(args.batch.batch_size) {
        // A picture about which nothing can be asked is passed over.
        let asked: Vec<(RgbImage, Asked)> =
            batch.par_iter().filter_map(|&index| ask(&drawn, index)).collect();
        let (images, asked): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
        if !asked.is_empty() {
            let questions: Vec<&str> = asked.iter().map(|asked| asked.question.question.as_str()).collect();
            let answers = answerer.answer_batch(&images, &questions, &options)?;
            for (asked, answers) in asked.iter().zip(answers) {
                report.add(asked, answers.first().map_or("", |answer| answer.text.as_str()));
            }
        }
        progress.advance(batch.len());
    }
    args.output.write_form(|to| report.write_text(to), || serde_json::to_value(&report))?;
    Ok(Status::Good)
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
#[derive(Default, Serialize)]
struct Report {
    synth_seed: u64,
    count: usize,
    all: Share,
    /// By language; those that were asked in.
    languages: BTreeMap<&'static str, Share>,
    /// By what must be seen to answer.
    kinds: BTreeMap<QuestionKind, Share>,
}

impl Report {
    fn add(&mut self, asked: &Asked, answer: &str) {
        let is_right = Some(judge_answer(&asked.question, answer));
        self.all.add(is_right);
        self.languages.entry(code(asked.language)).or_default().add(is_right);
        self.kinds.entry(asked.question.kind).or_default().add(is_right);
    }

    fn write_text(&self, to: &mut Vec<u8>) -> io::Result<()> {
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
        let mut report = Report { synth_seed: 2, count: 12, ..Report::default() };
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
