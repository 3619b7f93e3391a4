//! What is found for a picture: captions in each language, or the reasons why there are none.

use std::sync::Arc;

use mplug::config::Language;
use mplug::tasks::Caption;
use mplug_data::picture::Failure;

/// What one record says.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    /// The language, where a run has several and the picture could be opened.
    pub(crate) language: Option<Language>,
    /// The captions, best first, or the reason why there are none.
    pub(crate) captions: Result<Vec<Caption>, Failure>,
}

/// What is found for a picture: one entry for each language of the run, or a single one for a picture that failed.
#[derive(Clone, Debug)]
pub(crate) struct Answer(Arc<Vec<Found>>);

impl Answer {
    pub(crate) fn new(found: Vec<Found>) -> Self {
        Self(Arc::new(found))
    }

    /// The answer to a picture that has no captions in any language.
    pub(crate) fn failed(failure: Failure) -> Self {
        Self::new(vec![Found { language: None, captions: Err(failure) }])
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Found> {
        self.0.iter()
    }

    /// Every reason why there are no captions, with its language.
    pub(crate) fn failures(&self) -> impl Iterator<Item = (Option<Language>, &Failure)> {
        self.iter().filter_map(|found| Some((found.language, found.captions.as_ref().err()?)))
    }

    /// Whether captions are missing, in one language or in all.
    pub(crate) fn is_failed(&self) -> bool {
        self.failures().next().is_some()
    }

    /// Whether there are captions in a language.
    pub(crate) fn has_captions(&self) -> bool {
        self.iter().any(|found| found.captions.is_ok())
    }

    /// Whether it is no answer, because a failure passes.
    pub(crate) fn is_passing(&self) -> bool {
        self.failures().any(|(_, failure)| failure.is_passing)
    }
}
