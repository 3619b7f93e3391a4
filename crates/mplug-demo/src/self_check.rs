//! Whether the demo models answer as they should on this machine.

use mplug::checkpoint::CheckpointError;
use mplug::config::Task;
use mplug::preprocess::image::{ImageError, ImageLimits, decode_image};
use mplug::tasks::{Answerer, Captioner, Matcher};
use serde::Deserialize;

use super::open;

const PICTURE: &[u8] = include_bytes!("../self_check.png");
const EXPECTED: &str = include_str!("../self_check.json");

/// What the models should say of the picture.
#[derive(Deserialize)]
struct Expected {
    caption: String,
    question: String,
    answer: String,
    /// A text that is true of it, and one that is not.
    texts: [String; 2],
}

/// What is wrong with this build or this machine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SelfCheckError {
    /// A demo model does not open.
    #[error(transparent)]
    Open(#[from] CheckpointError),
    /// A demo model does not run.
    #[error(transparent)]
    Run(#[from] mplug::Error),
    /// The example does not open.
    #[error(transparent)]
    Picture(#[from] ImageError),
    /// What is expected is not readable.
    #[error("the demo models' expected answers: {0}")]
    Expected(#[from] serde_json::Error),
    /// A demo model says something else.
    #[error("{0}")]
    Answer(String),
}

/// Captions the built-in example, answers a question about it and scores two texts, and compares with what should come.
/// Returns what was found, in words.
///
/// # Errors
/// [`SelfCheckError::Answer`] where something else comes.
pub fn self_check() -> Result<String, SelfCheckError> {
    let expected: Expected = serde_json::from_str(EXPECTED)?;
    let Expected { caption, question, answer, texts } = &expected;
    let picture = decode_image(PICTURE, &ImageLimits::default())?;
    let found = Captioner::load(&open(Task::ImageCaptioning, None)?)?.caption(&picture)?.text;
    is(found == *caption, || format!("captions its example `{found}`, expected `{caption}`"))?;
    let answerer = Answerer::load(&open(Task::VisualQuestionAnswering, None)?)?;
    let answers = answerer.answer_batch(
        std::slice::from_ref(&picture),
        &[question.as_str()],
        &answerer.default_options(),
    )?;
    let found = answers.concat().into_iter().next().map(|answer| answer.text).unwrap_or_default();
    is(found == *answer, || format!("answers `{found}` to `{question}`, expected `{answer}`"))?;
    let matcher = Matcher::load(&open(Task::ImageTextRetrieval, None)?)?;
    let scores = matcher.match_texts(&picture, &texts.each_ref().map(String::as_str))?;
    is(scores[0] > 0.5 && scores[1] < 0.5, || {
        format!(
            "finds `{}` {:.3} likely and `{}` {:.3}, expected more and less than a half",
            texts[0], scores[0], texts[1], scores[1]
        )
    })?;
    Ok(format!("captions its example `{caption}`, answers `{answer}` to `{question}`, as expected"))
}

fn is(as_expected: bool, problem: impl FnOnce() -> String) -> Result<(), SelfCheckError> {
    if as_expected { Ok(()) } else { Err(SelfCheckError::Answer(problem())) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_demo_models_answer_as_they_should() {
        let found = super::self_check().unwrap();
        assert!(found.ends_with("as expected"), "{found}");
    }
}
