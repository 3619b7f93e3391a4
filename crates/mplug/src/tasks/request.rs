//! What a user requests of a captioner, with the product's rules: what goes with what, what is the model's own where nothing is
//! said, and errors that name the field.

use serde::{Deserialize, Serialize};

use super::default_options;
use crate::checkpoint::ModelFolder;
use crate::config::{self, Language, Languages};
use crate::generate::GenerationOptions;
use crate::generate::sampling::SamplingOptions;

/// How a text is searched for; what is absent is the model's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SearchRequest {
    /// Beam width.
    pub beams: Option<usize>,
    /// Most tokens generated, the end token included.
    pub max_new_tokens: Option<usize>,
    /// Tokens before the end token may appear.
    pub min_new_tokens: Option<usize>,
}

/// How captions are written; what is absent is the model's own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CaptionRequest {
    /// Beams and lengths.
    #[serde(flatten)]
    pub search: SearchRequest,
    /// The languages; the model's first if there are none. In JSON a code, a list of codes, or `null`.
    #[serde(rename = "language")]
    pub languages: Languages,
    /// Every caption begins with this text.
    pub prefix: Option<String>,
    /// Words, or several in a row, that no caption has.
    pub forbidden_words: Vec<String>,
    /// Words, or several in a row, that every caption has; not where captions are sampled.
    pub required_words: Vec<String>,
    /// Captions of each picture, best first; at most as many as beams. The best alone if absent.
    pub captions: Option<usize>,
    /// Of several captions, leave out those that differ from a better one in less than this share of their tokens, 0 to 1.
    pub min_difference: Option<f32>,
    /// Replace captions that never ended by captions that did; not where captions are sampled.
    pub finished_only: bool,
    /// The largest number of keywords, which are taken from every caption that the search finds.
    pub keywords: Option<usize>,
    /// Draw words at random in place of the search.
    pub sampling: Option<SamplingOptions>,
}

/// What a model is to write in one language.
#[derive(Clone, Debug)]
pub struct LanguageOptions {
    /// The language; the model's first if absent.
    pub language: Option<Language>,
    /// How it is written.
    pub options: GenerationOptions,
}

/// A field of a request that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: expected {expected}, found {found}")]
pub struct RequestError {
    /// The field's name.
    pub field: &'static str,
    /// What would do.
    pub expected: String,
    /// What was given.
    pub found: String,
}

impl RequestError {
    fn new(field: &'static str, expected: impl Into<String>, found: &dyn ToString) -> Self {
        Self { field, expected: expected.into(), found: found.to_string() }
    }
}

impl SearchRequest {
    /// The options of a model with what was requested in their place.
    ///
    /// # Errors
    /// If the shortest length is above the longest.
    pub fn resolve(&self, mut options: GenerationOptions) -> Result<GenerationOptions, RequestError> {
        options.num_beams = self.beams.unwrap_or(options.num_beams);
        options.max_new_tokens = self.max_new_tokens.unwrap_or(options.max_new_tokens);
        options.min_new_tokens = match self.min_new_tokens {
            Some(min) => min,
            // A short longest length is meant, even where the model's own shortest is longer.
            None => options.min_new_tokens.min(options.max_new_tokens),
        };
        if options.min_new_tokens > options.max_new_tokens {
            let expected = format!("at most {}, the longest length", options.max_new_tokens);
            return Err(RequestError::new("min_new_tokens", expected, &options.min_new_tokens));
        }
        Ok(options)
    }
}

impl CaptionRequest {
    /// The options of the captioning model in `folder` with what was requested in their place.
    ///
    /// # Errors
    /// The first field that cannot be; several languages, for which [`resolve_each`](Self::resolve_each) has options.
    pub fn resolve(&self, folder: &ModelFolder) -> Result<GenerationOptions, RequestError> {
        if self.languages.are_several() {
            return Err(RequestError::new("language", "one", &self.languages));
        }
        self.resolve_in(folder, self.languages.iter().next())
    }

    /// What each of the captioning models in `folders` is to write. A language is written by the first model that writes it; a model's
    /// languages are in the order of the request.
    ///
    /// # Errors
    /// The first field that cannot be: a language that no model writes, or a model for which there is no language.
    pub fn resolve_each(&self, folders: &[ModelFolder]) -> Result<Vec<Vec<LanguageOptions>>, RequestError> {
        if let ([folder], true) = (folders, self.languages.is_empty()) {
            return Ok(vec![vec![LanguageOptions {
                language: None,
                options: self.resolve_in(folder, None)?,
            }]]);
        }
        let mut found: Vec<Vec<LanguageOptions>> = folders.iter().map(|_| Vec::new()).collect();
        for language in self.languages.iter() {
            let writes = |folder: &ModelFolder| languages_of(folder).contains(&language.code());
            let index = folders.iter().position(writes).ok_or_else(|| unwritten(folders, language))?;
            let options = self.resolve_in(&folders[index], Some(language))?;
            found[index].push(LanguageOptions { language: Some(language), options });
        }
        let Some(index) = found.iter().position(Vec::is_empty) else { return Ok(found) };
        let (name, writes) =
            (folders[index].checkpoint().label(), languages_of(&folders[index]).join(" or "));
        let expected = format!("a language for every model ({name}, which writes {writes}, has none)");
        let requested =
            if self.languages.is_empty() { "none".to_owned() } else { self.languages.to_string() };
        Err(RequestError::new("language", expected, &requested))
    }

    fn resolve_in(
        &self,
        folder: &ModelFolder,
        language: Option<Language>,
    ) -> Result<GenerationOptions, RequestError> {
        let mut options = self.search.resolve(default_options(&folder.config))?;
        options.finished_only = self.finished_only;
        if self.finished_only && self.search.min_new_tokens.is_none() {
            options.min_new_tokens = options.min_new_tokens.min(options.max_new_tokens.saturating_sub(1));
        }
        options.prompt = match language {
            Some(language) => prompt_for(folder, language)?,
            None => None,
        };
        options.sampling.clone_from(&self.sampling);
        // Keywords are those of every caption that the search found.
        let is_searched_for_all = self.keywords.is_some() && self.sampling.is_none();
        let found = if is_searched_for_all { options.num_beams } else { 1 };
        options.num_return_sequences = self.captions.unwrap_or(1).max(found);
        options.prefix.clone_from(&self.prefix);
        options.forbidden_words.clone_from(&self.forbidden_words);
        options.required_words.clone_from(&self.required_words);
        options.min_difference = self.min_difference.unwrap_or(0.0);
        if self.sampling.is_none() && options.num_return_sequences > options.num_beams {
            let expected = format!("at most {}, the number of beams", options.num_beams);
            return Err(RequestError::new("captions", expected, &options.num_return_sequences));
        }
        if self.sampling.is_some() && !self.required_words.is_empty() {
            let expected = "none where captions are sampled: only the search can require words";
            return Err(RequestError::new("required_words", expected, &self.required_words.join(", ")));
        }
        if self.sampling.is_some() && self.finished_only {
            let expected = "false where captions are sampled: only the search goes on until they end";
            return Err(RequestError::new("finished_only", expected, &true));
        }
        if self.min_difference.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
            return Err(RequestError::new("min_difference", "0 to 1", &options.min_difference));
        }
        Ok(options)
    }
}

/// What a captioning model is given before it writes in `language`; nothing in the language that it writes by itself.
///
/// # Errors
/// If it does not write in that language.
pub fn prompt_for(folder: &ModelFolder, language: Language) -> Result<Option<String>, RequestError> {
    let prompts = &folder.config.generation.prompts;
    if let Some(prompt) = prompts.get(language.code()) {
        return Ok((!prompt.is_empty()).then(|| prompt.clone()));
    }
    if config::language(folder.vocabulary()) == language {
        return Ok(None);
    }
    Err(unwritten(std::slice::from_ref(folder), language))
}

/// The codes of the languages of a model (`zh`, `en`): that of its vocabulary, then those of its prompts.
pub fn languages_of(folder: &ModelFolder) -> Vec<&str> {
    let first = config::language(folder.vocabulary()).code();
    let others = folder.config.generation.prompts.keys().map(String::as_str);
    std::iter::once(first).chain(others.filter(|code| *code != first)).collect()
}

/// The error of a language that no model writes.
fn unwritten(folders: &[ModelFolder], language: Language) -> RequestError {
    let mut known: Vec<&str> = Vec::new();
    for code in folders.iter().flat_map(languages_of) {
        if !known.contains(&code) {
            known.push(code);
        }
    }
    let who = if folders.len() == 1 { "this model writes" } else { "these models write" };
    RequestError::new("language", format!("{}, which {who}", known.join(" or ")), &language)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Dtype;
    use crate::checkpoint::seeded::{seeded_tensors, synthetic_vocabulary};
    use crate::config::{ModelConfig, Task};

    /// A model that writes Chinese and, after a prompt, English.
    fn folder() -> ModelFolder {
        folder_with(&[("en", "a picture of")])
    }

    fn folder_with(prompts: &[(&str, &str)]) -> ModelFolder {
        let mut config = ModelConfig::tiny(Task::ImageCaptioning);
        let owned = |(code, prompt): &(&str, &str)| ((*code).to_owned(), (*prompt).to_owned());
        config.generation.prompts.extend(prompts.iter().map(owned));
        let checkpoint = seeded_tensors(&config, 1).to_checkpoint(Dtype::F32).unwrap();
        let vocabulary = synthetic_vocabulary(config.text.vocab_size);
        ModelFolder::from_checkpoint(&config, checkpoint, vocabulary).unwrap()
    }

    #[test]
    fn nothing_requested_is_the_models_own() {
        let folder = folder();
        let options = CaptionRequest::default().resolve(&folder).unwrap();
        assert_eq!(format!("{options:?}"), format!("{:?}", default_options(&folder.config)));
    }

    #[test]
    fn a_short_longest_length_shortens_the_shortest() {
        let search = SearchRequest { max_new_tokens: Some(3), ..SearchRequest::default() };
        let options = search.resolve(GenerationOptions::default()).unwrap();
        assert_eq!((options.min_new_tokens, options.max_new_tokens), (3, 3));
    }

    #[test]
    fn errors_name_the_field() {
        let folder = folder();
        let search =
            |min, max| SearchRequest { min_new_tokens: Some(min), max_new_tokens: Some(max), beams: Some(2) };
        let good = CaptionRequest { search: search(1, 4), ..CaptionRequest::default() };
        let sampling = Some(SamplingOptions::default());
        for (request, field) in [
            (CaptionRequest { search: search(5, 4), ..good.clone() }, "min_new_tokens"),
            (CaptionRequest { captions: Some(3), ..good.clone() }, "captions"),
            (
                CaptionRequest { required_words: vec!["a".to_owned()], sampling, ..good.clone() },
                "required_words",
            ),
            (CaptionRequest { min_difference: Some(1.5), ..good.clone() }, "min_difference"),
        ] {
            assert_eq!(request.resolve(&folder).unwrap_err().field, field);
        }
        let english = CaptionRequest { languages: Language::English.into(), ..good.clone() };
        let error = english.resolve(&folder_with(&[])).unwrap_err().to_string();
        assert_eq!(error, "language: expected zh, which this model writes, found en");
        let options = CaptionRequest { keywords: Some(3), ..english }.resolve(&folder).unwrap();
        assert_eq!(options.prompt.as_deref(), Some("a picture of"));
        assert_eq!(options.num_return_sequences, 2, "keywords are of all captions found");
    }

    #[test]
    fn requests_are_read_from_json() {
        let json = r#"{"beams": 3, "language": "en", "sampling": {"top_k": 5}, "forbidden_words": ["猫"]}"#;
        let request: CaptionRequest = serde_json::from_str(json).unwrap();
        assert_eq!((request.search.beams, request.languages), (Some(3), Language::English.into()));
        let sampling = request.sampling.unwrap();
        assert_eq!((sampling.top_k, sampling.seed), (5, 0));
        let languages =
            |json: &str| serde_json::from_str::<CaptionRequest>(json).map(|found| found.languages);
        assert_eq!(languages(r#"{"language": ["en", "zh"]}"#).unwrap().to_string(), "en,zh");
        assert!(
            languages(r#"{"language": null}"#).unwrap().is_empty() && languages("{}").unwrap().is_empty()
        );
        let error = languages(r#"{"language": "fr"}"#).unwrap_err().to_string();
        assert!(error.contains("expected a language, `zh` or `en`, found `fr`"), "{error}");
    }

    #[test]
    fn a_language_is_written_by_the_first_model_that_has_it() {
        let in_words = |list: &[Vec<LanguageOptions>]| -> Vec<Vec<String>> {
            let one = |found: &LanguageOptions| format!("{:?} {:?}", found.language, found.options.prompt);
            list.iter().map(|list| list.iter().map(one).collect()).collect()
        };
        let resolve = |languages: &str, folders: &[ModelFolder]| {
            let languages = languages.parse().unwrap_or_default();
            CaptionRequest { languages, ..CaptionRequest::default() }.resolve_each(folders)
        };
        let (chinese, english) = ("Some(Chinese) None", r#"Some(English) Some("a picture of")"#);
        let one = [folder()];
        assert_eq!(in_words(&resolve("", &one).unwrap()), [["None None"]]);
        assert_eq!(in_words(&resolve("en,zh", &one).unwrap()), [[english, chinese]]);
        let two = [folder_with(&[]), folder()];
        assert_eq!(in_words(&resolve("en,zh", &two).unwrap()), [[chinese], [english]]);

        let error =
            |languages: &str, folders: &[ModelFolder]| resolve(languages, folders).unwrap_err().to_string();
        assert_eq!(
            error("zh,en", &[folder_with(&[]), folder_with(&[])]),
            "language: expected zh, which these models write, found en"
        );
        for (languages, found) in [("zh", "zh"), ("", "none")] {
            let error = error(languages, &two);
            assert!(error.starts_with("language: expected a language for every model ("), "{error}");
            assert!(error.ends_with(&format!(", has none), found {found}")), "{error}");
        }
        let several = CaptionRequest { languages: "zh,en".parse().unwrap(), ..CaptionRequest::default() };
        let error = several.resolve(&one[0]).unwrap_err().to_string();
        assert_eq!(error, "language: expected one, found zh,en");
    }
}
