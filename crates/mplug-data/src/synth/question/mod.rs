//! Questions about a scene with answers that the scene gives without doubt, Chinese and English.
//!
//! Our own design: `inquiry` chooses what is asked and what is the case, `chinese` and `english` word it, `judge`
//! compares answers. This file refuses to know pixels and models.

mod chinese;
mod english;
mod inquiry;
mod judge;

use serde::{Deserialize, Serialize};

use super::random::{Choices, Purpose};
use super::scene::Scene;
use crate::dataset::Language;

/// What a model must see to answer a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QuestionKind {
    /// What is there: 图中有什么？ -> 猫
    Kind,
    /// What colour a thing has: 猫是什么颜色？ -> 黑色
    Colour,
    /// How many there are: 有几只猫？ -> 两只
    Count,
    /// Where a thing is: 猫在哪里？ -> 草地上
    Place,
    /// How one thing stands to another: 猫在树的什么位置？ -> 左边
    Position,
    /// What stands so to a thing: 树的左边是什么？ -> 猫
    Neighbour,
    /// Whether a kind is there: 有猫吗？ -> 有, 没有
    Existence,
    /// Whether a thing has a colour, or one of that colour is there: 猫是黑色的吗？ -> 是, 不是
    ColourCheck,
}

impl QuestionKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Kind,
        Self::Colour,
        Self::Count,
        Self::Place,
        Self::Position,
        Self::Neighbour,
        Self::Existence,
        Self::ColourCheck,
    ];

    /// Whether the answer is yes or no. A scene has one question of such a kind with yes and one with no, or none.
    pub fn is_yes_or_no(self) -> bool {
        matches!(self, Self::Existence | Self::ColourCheck)
    }
}

/// A question about a scene.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// What is asked: Chinese joined, English in lower case.
    pub question: String,
    /// Answers that are right, each once; training uses the first, the shortest natural one. Never empty.
    pub answers: Vec<String>,
    /// What a model must see to answer it.
    pub kind: QuestionKind,
}

/// Questions about `scene` that it answers without doubt: 5 to 8 for equal things, up to 11 for two kinds.
///
/// `number` chooses phrasings and what is asked after though it is not there. The same number gives the same
/// questions, and asks the same in both languages.
pub fn questions(scene: &Scene, language: Language, number: u64) -> Vec<Question> {
    let mut choices = Choices::new(number, 0, Purpose::Questions);
    let asked = inquiry::inquiries(scene, &mut choices);
    let mut ask = |inquiry: inquiry::Inquiry| {
        let phrasing = choices.below(inquiry::PHRASINGS);
        // One question in four calls things by their other names, as people do.
        let by_synonym = choices.chance(25);
        let (question, answers) = match language {
            Language::Chinese => {
                (chinese::question(&inquiry, phrasing, by_synonym), chinese::answers(&inquiry))
            }
            Language::English => (english::question(&inquiry, phrasing), english::answers(&inquiry)),
        };
        Question { question, answers: each_once(answers), kind: inquiry.kind() }
    };
    asked.into_iter().map(&mut ask).collect()
}

/// Whether `answer` is one of those that are right: equal to one of them but for case, spaces (of Chinese), articles
/// (of English), a full stop, and how numbers are written.
pub fn judge_answer(question: &Question, answer: &str) -> bool {
    let answer = judge::normalized(answer);
    question.answers.iter().any(|right| judge::normalized(right) == answer)
}

/// Text with every Chinese character and every English word that questions and answers can have.
pub(super) fn question_words() -> String {
    let text = chinese::words() + " " + &english::words();
    // What stands in braces is filled with words of captions.
    text.split('{').map(|part| part.split_once('}').map_or(part, |(_, after)| after)).collect()
}

/// `template` with every name in `parts` replaced by its text.
fn fill(template: &str, parts: &[(&str, &str)]) -> String {
    parts.iter().fold(template.to_owned(), |text, (name, part)| text.replace(name, part))
}

/// Two things named in the same manner, in either order.
fn pairs(a: &[String], b: &[String], and: &str) -> Vec<String> {
    a.iter().zip(b).flat_map(|(a, b)| [format!("{a}{and}{b}"), format!("{b}{and}{a}")]).collect()
}

fn each_once(answers: Vec<String>) -> Vec<String> {
    let mut once: Vec<String> = Vec::with_capacity(answers.len());
    for answer in answers {
        if !once.contains(&answer) {
            once.push(answer);
        }
    }
    once
}

#[cfg(test)]
mod tests;
