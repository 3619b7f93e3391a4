//! The report of a model's answers to a dataset's questions: as text for people, and as JSON whose form is fixed by a schema
//! ([`schema`](crate::report::schema)). Judges nothing.

use std::io::{self, Write};

use mplug_data::annotation::{Answer, PictureId};
use schemars::JsonSchema;
use serde::Serialize;

/// The form of the JSON; raised whenever a key changes its meaning or goes.
const VERSION: u32 = 1;

/// How right answers are. Higher is better.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AnswerReport {
    /// Version of this form.
    version: u32,
    /// Questions that were answered and scored.
    questions: usize,
    /// Questions whose picture cannot be read; they are not scored.
    pub failed: usize,
    /// Questions that ten people answered: the official accuracy of VQA.
    vqa_accuracy: Option<MeanScore>,
    /// Other questions: the weight of the annotated answer that equals the model's.
    soft_score: Option<MeanScore>,
}

/// A mean over some of the questions.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
struct MeanScore {
    /// How many.
    questions: usize,
    /// 0 to 1.
    score: f64,
}

/// A line of `--per-image` for answers: one question.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AnswerLine<'a> {
    /// The question's id as its file has it.
    #[schemars(with = "serde_json::Value")]
    pub question_id: &'a PictureId,
    /// The picture's name in the file, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_name: Option<&'a str>,
    /// What was asked.
    pub question: &'a str,
    /// What the model answered.
    pub answer: String,
    /// What people answered.
    pub answers: Vec<WeightedAnswer<'a>>,
    /// Whether they are ten people's: then the score is the official accuracy.
    pub has_people: bool,
    /// How right the answer is, 0 to 1.
    pub score: f64,
}

/// An annotated answer.
#[derive(Debug, Serialize, JsonSchema)]
pub struct WeightedAnswer<'a> {
    /// The answer.
    text: &'a str,
    /// How much it counts, 0 to 1.
    weight: f32,
}

impl<'a> From<&'a Answer> for WeightedAnswer<'a> {
    fn from(answer: &'a Answer) -> Self {
        Self { text: &answer.text, weight: answer.weight }
    }
}

impl AnswerLine<'_> {
    /// JSON lines.
    ///
    /// # Errors
    /// None: all of it can be written.
    pub fn write_all(lines: &[Self]) -> serde_json::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut bytes, line)?;
            bytes.push(b'\n');
        }
        Ok(bytes)
    }
}

impl AnswerReport {
    /// The report of answers, with `failed` questions that have none.
    pub fn of(lines: &[AnswerLine<'_>], failed: usize) -> Self {
        let mean = |has_people: bool| {
            let scores = lines.iter().filter(|line| line.has_people == has_people).map(|line| line.score);
            let scores: Vec<f64> = scores.collect();
            let (questions, sum) = (scores.len(), scores.iter().sum::<f64>());
            (questions > 0).then(|| MeanScore { questions, score: sum / questions as f64 })
        };
        Self {
            version: VERSION,
            questions: lines.len(),
            failed,
            vqa_accuracy: mean(true),
            soft_score: mean(false),
        }
    }

    /// The text form.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn write_text(&self, to: &mut dyn Write) -> io::Result<()> {
        writeln!(to, "{} questions", self.questions)?;
        let whose = [
            ("VQA accuracy", self.vqa_accuracy, "ten people's answers"),
            ("soft score", self.soft_score, "weighted answers"),
        ];
        for (name, mean, against) in whose {
            if let Some(mean) = mean {
                writeln!(to, "{name:<22} {:>9.4}  {} questions with {against}", mean.score, mean.questions)?;
            }
        }
        Ok(())
    }
}
