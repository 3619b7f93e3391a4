//! What a chat's or a prompt's text means to models that caption pictures and answer questions, and what becomes of it. docs/server.md
//! has the table.

use std::sync::Arc;

use mplug::config::Language;
use mplug::generate::sampling::SamplingOptions;

use super::ask::{AskFields, ask_pass};
use super::caption::{CaptionFields, caption_pass};
use super::pass::{Answers, Pass};
use crate::body::Received;
use crate::error::ApiError;
use crate::models::Models;
use crate::pictures::Sent;
use crate::service::{Accepted, Service};

/// The name by which a client leaves the choice of the model to the server.
const ANY: &str = "mplug";

/// A text about pictures, as programs of other interfaces send it.
pub(crate) struct TextRequest {
    pub(crate) model: Option<String>,
    pub(crate) text: String,
    /// Texts that are returned.
    pub(crate) count: Option<usize>,
    pub(crate) max_new_tokens: Option<usize>,
    pub(crate) sampling: Option<SamplingOptions>,
    pub(crate) tags: Option<usize>,
}

/// What a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Question,
    /// Anything that makes a captioner write, in this language if it has it.
    Caption(Option<Language>),
}

impl TextRequest {
    /// What the text means, and the model that is meant, if one is named.
    fn meaning(&self, models: &Models) -> Result<(Meaning, Option<&str>), ApiError> {
        let named = self.model.as_deref().filter(|name| *name != ANY);
        let is_named = |task| named.is_some() && models.find(task, named).is_ok();
        let is_question = if is_named("caption") {
            false
        } else if is_named("ask") {
            true
        } else if named.is_some() {
            // The error lists the models that could be named.
            return models.find("caption", named).map(|_| (Meaning::Caption(None), named));
        } else {
            let asks = self.text.trim_end().ends_with(['?', '？']);
            models.has("ask") && (asks || !models.has("caption"))
        };
        if is_question {
            return Ok((Meaning::Question, named));
        }
        Ok((Meaning::Caption(script_of(&self.text)), named))
    }

    /// Answers the text about each of the pictures.
    ///
    /// # Errors
    /// As the route that it means.
    pub(crate) async fn answer(
        self,
        service: Arc<Service>,
        accepted: Arc<Accepted>,
        received: Received,
        pictures: Vec<Result<Sent, ApiError>>,
    ) -> Result<(String, Answers), ApiError> {
        let models = Arc::clone(&accepted.models);
        let (meaning, named) = self.meaning(&models)?;
        let model = named.map(str::to_owned);
        match meaning {
            Meaning::Question => {
                let fields = AskFields {
                    model,
                    answers: self.count,
                    max_new_tokens: self.max_new_tokens,
                    sampling: self.sampling,
                    question: self.text,
                    ..AskFields::default()
                };
                ask_pass(Pass::of(service, accepted, received, pictures, fields)?).await
            }
            Meaning::Caption(wanted) => {
                // A language that no model writes is not what the text wants.
                let writes = |language: &Language| models.writers((*language).into(), named).is_ok();
                let fields = CaptionFields {
                    model,
                    language: wanted.filter(writes).map(Into::into).unwrap_or_default(),
                    captions: self.count,
                    max_new_tokens: self.max_new_tokens,
                    sampling: self.sampling,
                    tags: self.tags,
                    ..CaptionFields::default()
                };
                caption_pass(Pass::of(service, accepted, received, pictures, fields)?).await
            }
        }
    }
}

/// The language whose script a text is written in.
fn script_of(text: &str) -> Option<Language> {
    if text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c)) {
        return Some(Language::Chinese);
    }
    text.chars().any(|c| c.is_ascii_alphabetic()).then_some(Language::English)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_the_language_of_its_script() {
        assert_eq!(script_of("描述这张图片 in detail"), Some(Language::Chinese));
        assert_eq!(script_of("Describe the image."), Some(Language::English));
        assert_eq!(script_of("123 …"), None);
    }
}
