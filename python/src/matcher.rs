//! `mplug_rs._native.Matcher`: how well texts fit pictures, and features of both.

use std::sync::Arc;

use mplug::config::Task;
use pyo3::prelude::*;
use rayon::prelude::*;

use crate::captioner::object_of;
use crate::door;
use crate::errors::Fault;
use crate::model::ModelArguments;
use crate::pictures::{Picture, open_all};
use crate::web::Fetcher;

/// A loaded model that matches pictures and texts.
#[pyclass(frozen)]
pub(crate) struct Matcher {
    inner: Arc<Inner>,
}

struct Inner {
    matcher: mplug::Matcher,
    fetcher: Option<Fetcher>,
}

#[pymethods]
impl Matcher {
    #[new]
    fn new(py: Python<'_>, arguments: ModelArguments) -> PyResult<Self> {
        let inner = door::run(py, move |_| {
            let (folder, options) = arguments.open(Task::ImageTextRetrieval)?;
            let matcher = mplug::Matcher::load_with(&folder, &options)?;
            let fetcher = arguments.fetcher()?;
            Ok(Inner { matcher, fetcher })
        })?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// For each picture the probability of each text, or an exception.
    fn score<'py>(
        &self,
        py: Python<'py>,
        pictures: Vec<Picture>,
        texts: Vec<String>,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let inner = Arc::clone(&self.inner);
        let found = door::run(py, move |_| {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            for text in &texts {
                inner.matcher.check_text(text).map_err(|error| Fault::Option(error.to_string()))?;
            }
            let side = inner.matcher.visual_encoder().image_size();
            let scores = |picture: Result<_, Fault>| Ok(inner.matcher.match_texts(&picture?, &texts)?);
            Ok(open_all(pictures, side, inner.fetcher.as_ref())
                .into_par_iter()
                .map(scores)
                .collect::<Vec<_>>())
        })?;
        found.into_iter().map(|found| object_of(py, found)).collect()
    }

    /// The feature of each picture, or an exception.
    fn image_features<'py>(
        &self,
        py: Python<'py>,
        pictures: Vec<Picture>,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let inner = Arc::clone(&self.inner);
        let found = door::run(py, move |_| {
            inner.matcher.contrastive_head()?;
            let side = inner.matcher.visual_encoder().image_size();
            let feature = |picture: Result<_, Fault>| {
                let mut features = inner.matcher.image_features(std::slice::from_ref(&picture?))?;
                Ok(features.pop().unwrap_or_default())
            };
            Ok(open_all(pictures, side, inner.fetcher.as_ref())
                .into_par_iter()
                .map(feature)
                .collect::<Vec<_>>())
        })?;
        found.into_iter().map(|found| object_of(py, found)).collect()
    }

    /// The feature of each text.
    fn text_features(&self, py: Python<'_>, texts: Vec<String>) -> PyResult<Vec<Vec<f32>>> {
        let inner = Arc::clone(&self.inner);
        door::run(py, move |_| {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            Ok(inner.matcher.text_features(&texts)?)
        })
    }
}
