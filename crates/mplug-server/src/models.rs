//! The models of a server, by task and by name.

use mplug::checkpoint::ModelFolder;
use mplug::config::{Language, Languages, Task, language};
use mplug::preprocess::text::Tokenizer;
use mplug::tasks::{Answerer, CaptionRequest, Captioner, LoadOptions, Matcher, RequestError, prompt_for};
use mplug::{Error, Precision};
use serde::Serialize;

use crate::error::{ApiError, Code};

/// A model that is to be served.
pub struct ModelSource {
    /// The name by which clients call it.
    pub name: String,
    /// Its files.
    pub folder: ModelFolder,
    /// The precision of its products; the files' own if absent.
    pub precision: Option<Precision>,
    /// Whether it is one of the built-in models, which know drawn pictures only.
    pub is_demo: bool,
}

/// A loaded model.
pub(crate) struct Model {
    pub(crate) name: String,
    pub(crate) folder: ModelFolder,
    pub(crate) precision: Precision,
    pub(crate) is_demo: bool,
    pub(crate) kind: Kind,
}

/// What a model does.
#[expect(clippy::large_enum_variant, reason = "there are a handful of models, and none is moved")]
pub(crate) enum Kind {
    Captioner(Captioner),
    Answerer(Answerer),
    Matcher(Matcher),
}

/// A model's index.
pub(crate) type ModelIndex = usize;

/// All models.
pub(crate) struct Models {
    list: Vec<Model>,
}

/// One line of `/v1/models`.
#[derive(Serialize)]
pub(crate) struct ModelLine<'m> {
    id: &'m str,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
    task: &'static str,
    languages: Vec<Language>,
    is_demo: bool,
    image_size: usize,
    precision: String,
}

impl Model {
    /// Loads a model.
    ///
    /// # Errors
    /// If it is damaged, or there is no memory for it.
    pub(crate) fn load(source: ModelSource) -> Result<Self, Error> {
        let ModelSource { name, folder, precision, is_demo } = source;
        let options = LoadOptions { precision, observer: None };
        let kind = match folder.config.task {
            Task::ImageCaptioning => Kind::Captioner(Captioner::load_with(&folder, &options)?),
            Task::VisualQuestionAnswering => Kind::Answerer(Answerer::load_with(&folder, &options)?),
            Task::ImageTextRetrieval => Kind::Matcher(Matcher::load_with(&folder, &options)?),
        };
        let precision = precision.unwrap_or_else(|| folder.stored_precision());
        Ok(Self { name, folder, precision, is_demo, kind })
    }

    /// The route of its task.
    pub(crate) fn task_name(&self) -> &'static str {
        match self.kind {
            Kind::Captioner(_) => "caption",
            Kind::Answerer(_) => "ask",
            Kind::Matcher(_) => "match",
        }
    }

    /// Side in pixels of the square that it reads.
    pub(crate) fn image_size(&self) -> u32 {
        self.folder.config.vision.image_size as u32
    }

    /// The languages that a captioner writes, its own first; of other models the vocabulary's.
    fn languages(&self) -> Vec<Language> {
        let own = language(self.folder.vocabulary());
        let is_other = |other: &Language| *other != own && prompt_for(&self.folder, *other).is_ok();
        let others = Language::ALL.into_iter().filter(|other| self.captioner().is_some() && is_other(other));
        std::iter::once(own).chain(others).collect()
    }

    pub(crate) fn captioner(&self) -> Option<&Captioner> {
        match &self.kind {
            Kind::Captioner(captioner) => Some(captioner),
            _ => None,
        }
    }

    /// The tokenizer of a model that writes.
    pub(crate) fn tokenizer(&self) -> Option<&Tokenizer> {
        match &self.kind {
            Kind::Captioner(captioner) => Some(captioner.tokenizer()),
            Kind::Answerer(answerer) => Some(answerer.tokenizer()),
            Kind::Matcher(_) => None,
        }
    }

    fn line(&self) -> ModelLine<'_> {
        ModelLine {
            id: &self.name,
            object: "model",
            created: 0,
            owned_by: "mplug",
            task: self.task_name(),
            languages: self.languages(),
            is_demo: self.is_demo,
            image_size: self.folder.config.vision.image_size,
            precision: self.precision.to_string(),
        }
    }
}

/// A language and the model that writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WrittenBy {
    pub(crate) language: Language,
    pub(crate) model: ModelIndex,
}

impl Models {
    pub(crate) fn new(list: Vec<Model>) -> Self {
        Self { list }
    }

    pub(crate) fn get(&self, index: ModelIndex) -> &Model {
        &self.list[index]
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<&Model> {
        self.list.iter().find(|model| model.name == name)
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|model| model.name.as_str())
    }

    pub(crate) fn lines(&self) -> Vec<ModelLine<'_>> {
        self.list.iter().map(Model::line).collect()
    }

    /// The models of a task, each with its index.
    fn of_task(&self, task: &'static str) -> impl Iterator<Item = (ModelIndex, &Model)> {
        self.list.iter().enumerate().filter(move |(_, model)| model.task_name() == task)
    }

    /// The model of that task and, if one is given, of that name.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn find(&self, task: &'static str, name: Option<&str>) -> Result<ModelIndex, ApiError> {
        let mut of_task = self.of_task(task);
        let found = of_task.find(|(_, model)| name.is_none_or(|name| model.name == name));
        found.map(|(index, _)| index).ok_or_else(|| self.not_found(task, name))
    }

    /// Whether there is a model of that task.
    pub(crate) fn has(&self, task: &'static str) -> bool {
        self.of_task(task).next().is_some()
    }

    fn not_found(&self, task: &'static str, name: Option<&str>) -> ApiError {
        let names: Vec<&str> = self.of_task(task).map(|(_, model)| model.name.as_str()).collect();
        let expected = match names.as_slice() {
            [] => format!("a model for `{task}`, of which none is loaded"),
            names => names.join(" or "),
        };
        let found = name.unwrap_or("none");
        ApiError::new(Code::ModelNotFound, format!("model: expected {expected}, found {found}")).of("model")
    }

    /// Which captioner writes each of the languages: the first that can, among those of that name if one is given. Without languages
    /// the first captioner writes in its own.
    ///
    /// # Errors
    /// For a language that none writes.
    pub(crate) fn writers(
        &self,
        languages: Languages,
        name: Option<&str>,
    ) -> Result<Vec<WrittenBy>, ApiError> {
        let first = self.find("caption", name)?;
        if languages.is_empty() {
            return Ok(vec![WrittenBy { language: self.list[first].languages()[0], model: first }]);
        }
        let named =
            || self.of_task("caption").filter(|(_, model)| name.is_none_or(|name| model.name == name));
        let writer = |wanted: Language| {
            let found = named().find(|(_, model)| model.languages().contains(&wanted));
            let known = || named().flat_map(|(_, model)| model.languages()).map(Language::code);
            let found = found.map(|(model, _)| WrittenBy { language: wanted, model });
            found.ok_or_else(|| {
                let mut known: Vec<&str> = known().collect();
                known.dedup();
                ApiError::value("language", &known.join(" or "), wanted)
            })
        };
        languages.iter().map(writer).collect()
    }

    /// What `request` means for the model that writes a language.
    ///
    /// # Errors
    /// The first field that cannot be.
    pub(crate) fn options_of(
        &self,
        request: &CaptionRequest,
        by: WrittenBy,
    ) -> Result<mplug::generate::GenerationOptions, RequestError> {
        let request = CaptionRequest { languages: by.language.into(), ..request.clone() };
        request.resolve(&self.list[by.model].folder)
    }
}
