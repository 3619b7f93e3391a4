//! Answers of a model to a dataset's questions, against people's: the official accuracy of VQA where ten people answered,
//! else the research code's soft score. A batch opens and encodes each of its pictures once, whatever is asked about it.

use std::{collections::HashMap, path::Path};

use anyhow::ensure;
use caption_metrics::vqa::{soft_score, vqa_accuracy};
use mplug::{
    checkpoint::ModelFolder,
    generate::GenerationOptions,
    preprocess::{
        image::{RgbImage, pixel_values},
        text::lowercase,
    },
    tasks::Answerer,
};
use mplug_data::{
    annotation::{Annotation, Answer},
    dataset::AnnotatedDataset,
};
use rayon::prelude::*;

use super::{
    EvalArgs,
    answers_report::{AnswerLine, AnswerReport},
    batches::each_batch,
};
use crate::{output, pictures, precision, progress::Progress, report, status::Status};

/// People whose answers the official accuracy wants.
const PEOPLE: usize = 10;

/// Asks every question of the dataset `path`, judges and reports.
pub(super) fn evaluate(args: &EvalArgs, folder: &ModelFolder, path: &Path) -> anyhow::Result<Status> {
    let dataset = args.reading.open(path, args.limits.limits())?;
    let records = &dataset.annotations().records;
    let file = dataset.annotations().path.display();
    ensure!(!records.is_empty(), "{file}: there is nothing to answer");
    ensure!(
        records.iter().all(|record| record.question.is_some()),
        "{file}: has no questions, and the model answers them: a dataset of the format `vqa` or `vqa-v2` is wanted"
    );
    ensure!(
        records.iter().all(|record| !record.answers.is_empty()),
        "{file}: its questions have no answers to score against"
    );
    let answerer = Answerer::load_with(folder, &precision::load_options(folder, args.engine.precision))?;
    let options = args.search.options(answerer.default_options())?;
    let asking = Asking { dataset: &dataset, answerer: &answerer, options: &options };
    let answers = asking.run(args.batch.batch_size)?;
    let answered =
        records.iter().zip(&answers).filter_map(|(record, answer)| Some((record, answer.as_ref()?)));
    let lines: Vec<AnswerLine<'_>> = answered.map(|(record, answer)| judged(record, answer)).collect();
    ensure!(!lines.is_empty(), "{file}: none of its questions can be answered");
    let report = AnswerReport::of(&lines, records.len() - lines.len());
    if let Some(path) = &args.output.per_image {
        output::write_whole(&AnswerLine::write_all(&lines)?, Some(path))?;
    }
    args.output.write_form(|to| report.write_text(to), || serde_json::to_value(&report))?;
    Ok(Status::of_failures(report.failed))
}

/// The questions of a dataset on their way through a model.
struct Asking<'a> {
    dataset: &'a AnnotatedDataset,
    answerer: &'a Answerer,
    options: &'a GenerationOptions,
}

/// The pictures of a batch, each once, and the place of each question's among them.
struct Opened {
    pictures: Vec<Result<RgbImage, String>>,
    picture_of_question: Vec<usize>,
}

impl Asking<'_> {
    /// An answer to each question; none where the picture cannot be read, which is told.
    fn run(&self, batch_size: usize) -> anyhow::Result<Vec<Option<String>>> {
        let places: Vec<usize> = (0..self.dataset.annotations().records.len()).collect();
        let progress = Progress::new(places.len(), "questions");
        let mut answers = Vec::with_capacity(places.len());
        each_batch(
            &places,
            batch_size,
            &progress,
            |batch| self.open(batch),
            |batch, opened| self.answer(batch, opened),
            |_, (batch_answers, problems)| {
                answers.extend(batch_answers);
                for problem in &problems {
                    progress.message(problem);
                }
                Ok(())
            },
        )?;
        Ok(answers)
    }

    fn open(&self, batch: &[usize]) -> Opened {
        let side = self.answerer.config().vision.image_size as u32;
        let (mut known, mut firsts) = (HashMap::new(), Vec::new());
        let place_of = |&place: &usize| {
            *known.entry(self.record(place).picture_name()).or_insert_with(|| {
                firsts.push(place);
                firsts.len() - 1
            })
        };
        let picture_of_question = batch.iter().map(place_of).collect();
        let pictures = firsts.par_iter().map(|&place| self.open_one(place, side)).collect();
        Opened { pictures, picture_of_question }
    }

    fn open_one(&self, place: usize, side: u32) -> Result<RgbImage, String> {
        pictures::open_example(self.dataset, place, side).map_err(|failure| failure.reason)
    }

    /// The answers to a batch, and what went wrong with its pictures.
    fn answer(&self, batch: &[usize], opened: Opened) -> anyhow::Result<(Vec<Option<String>>, Vec<String>)> {
        let (images, places) = pictures::split(opened.pictures);
        let embeds: Vec<Vec<f32>> = if images.is_empty() {
            Vec::new()
        } else {
            let pixels: Vec<Vec<f32>> = images.par_iter().map(pixel_values).collect();
            self.answerer.visual_encoder().forward(&pixels.concat()) // (images, image_len, hidden_size)
        };
        let place_of = |question: usize| places[opened.picture_of_question[question]].as_ref().ok();
        let question = |question: usize| self.record(batch[question]).question.as_deref().unwrap_or_default();
        let about = |of: usize, reason: &str| {
            let picture = Path::new(self.record(batch[of]).picture_name());
            report::about(picture, &format!("{}: {reason}", question(of)))
        };
        let mut problems: Vec<String> = places.iter().filter_map(|place| place.clone().err()).collect();
        let mut asked: Vec<(usize, usize)> = Vec::with_capacity(batch.len());
        for of in 0..batch.len() {
            match (place_of(of), self.answerer.check_question(question(of))) {
                (Some(&place), Ok(())) => asked.push((of, place)),
                (Some(_), Err(error)) => problems.push(about(of, &error.to_string())),
                (None, _) => {}
            }
        }
        let mut answers = vec![None; batch.len()];
        if !asked.is_empty() {
            let image_embeds = asked.iter().map(|(_, place)| embeds[*place].clone()).collect();
            let questions: Vec<&str> = asked.iter().map(|(of, _)| question(*of)).collect();
            let found = self.answerer.answer_each(image_embeds, &questions, self.options)?;
            for ((question, _), found) in asked.iter().zip(found) {
                match found {
                    Ok(found) => {
                        let best = found.into_iter().next().map(|best| best.text);
                        answers[*question] = Some(best.unwrap_or_default());
                    }
                    Err(reason) => problems.push(about(*question, &reason.to_string())),
                }
            }
        }
        Ok((answers, problems))
    }

    fn record(&self, place: usize) -> &Annotation {
        &self.dataset.annotations().records[place]
    }
}

/// An answer with how right it is.
fn judged<'a>(record: &'a Annotation, answer: &'a str) -> AnswerLine<'a> {
    let has_people = record.answers_given == PEOPLE;
    let score = if has_people {
        vqa_accuracy(answer, &people(&record.answers))
    } else {
        // The model's tokens know no capitals.
        let labels: Vec<String> = record.answers.iter().map(|label| lowercase(label.text.trim())).collect();
        let weights = record.answers.iter().map(|label| f64::from(label.weight));
        soft_score(answer, &labels.iter().map(String::as_str).zip(weights).collect::<Vec<_>>())
    };
    AnswerLine {
        question_id: &record.id,
        file_name: record.file_name.as_deref(),
        question: record.question.as_deref().unwrap_or_default(),
        answer,
        answers: record.answers.iter().map(Into::into).collect(),
        has_people,
        score,
    }
}

/// Ten people's answers, one each.
fn people(answers: &[Answer]) -> Vec<&str> {
    let given = |answer: &Answer| (answer.weight * PEOPLE as f32).round() as usize;
    answers.iter().flat_map(|answer| std::iter::repeat_n(answer.text.as_str(), given(answer))).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use mplug_data::dataset::{OpenOptions, open};

    use super::*;

    #[test]
    fn ten_people_are_judged_officially_and_others_softly() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("questions.json");
        fs::write(
            &path,
            r#"[{"image": "a.png", "question_id": 1, "question": "how many?",
                "answer": ["2", "2", "2", "3", "2", "two", "4", "5", "2", "2"]},
                {"image": "a.png", "question_id": 2, "question": "who?", "answer": "Me"},
                {"image": "a.png", "question_id": 3, "question": "who?", "answer": ["me", "me", "you"]}]"#,
        )
        .unwrap();
        let dataset = open(&path, &OpenOptions::default()).unwrap();
        let records = &dataset.annotations().records;
        assert_eq!(people(&records[0].answers).len(), 10);
        let score = |record: usize, answer| judged(&records[record], answer).score;
        // "Two." is cleaned up to "2", which six people said.
        assert!((score(0, "Two.") - 1.0).abs() < 1e-12 && (score(0, "3") - 0.3).abs() < 1e-12);
        assert!((score(1, "me") - 0.5).abs() < 1e-6 && score(1, "you").abs() < 1e-12);
        assert!((score(2, "me") - 2.0 / 3.0).abs() < 1e-6);
        let lines = [judged(&records[0], "3"), judged(&records[1], "me"), judged(&records[2], "it")];
        let report = serde_json::to_value(AnswerReport::of(&lines, 1)).unwrap();
        assert_eq!((&report["questions"], &report["failed"]), (&3.into(), &1.into()));
        assert_eq!(
            (&report["vqa_accuracy"]["questions"], &report["soft_score"]["questions"]),
            (&1.into(), &2.into())
        );
        assert!((report["soft_score"]["score"].as_f64().unwrap() - 0.25).abs() < 1e-6);
    }
}
