//! `mplug_rs._native.Answerer`: answers to questions about pictures.

use std::sync::Arc;

use mplug::config::Task;
use mplug::tasks::SearchRequest;
use mplug_data::picture::split;
use pyo3::prelude::*;

use crate::captioner::{RawCaption, not_a_number, object_of, raw};
use crate::door;
use crate::errors::Fault;
use crate::model::ModelArguments;
use crate::pictures::{Picture, open_all};
use crate::web::Fetcher;

/// A loaded model that answers questions.
#[pyclass(frozen)]
pub(crate) struct Answerer {
    inner: Arc<Inner>,
}

struct Inner {
    answerer: mplug::Answerer,
    fetcher: Option<Fetcher>,
}

#[pymethods]
impl Answerer {
    #[new]
    fn new(py: Python<'_>, arguments: ModelArguments) -> PyResult<Self> {
        let inner = door::run(py, move |_| {
            let (folder, options) = arguments.open(Task::VisualQuestionAnswering)?;
            let answerer = mplug::Answerer::load_with(&folder, &options)?;
            let fetcher = arguments.fetcher()?;
            Ok(Inner { answerer, fetcher })
        })?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The answers to each `(index of a picture, question)`, best first, or an exception in their place. A picture is encoded once.
    /// `request` is a `SearchRequest` in JSON.
    fn answer<'py>(
        &self,
        py: Python<'py>,
        pictures: Vec<Picture>,
        questions: Vec<(usize, String)>,
        answers: usize,
        request: &str,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let request: SearchRequest =
            serde_json::from_str(request).map_err(|error| Fault::Option(error.to_string()).into_error(py))?;
        let inner = Arc::clone(&self.inner);
        let found = door::run(py, move |_| inner.answer(pictures, &questions, answers, &request))?;
        found.into_iter().map(|found| object_of(py, found)).collect()
    }
}

impl Inner {
    fn answer(
        &self,
        pictures: Vec<Picture>,
        questions: &[(usize, String)],
        answers: usize,
        request: &SearchRequest,
    ) -> Result<Vec<Result<Vec<RawCaption>, Fault>>, Fault> {
        let mut options = request.resolve(self.answerer.default_options())?;
        options.num_return_sequences = answers;
        let side = self.answerer.visual_encoder().image_size();
        let (images, indices) = split(open_all(pictures, side, self.fetcher.as_ref()));
        let encoded = self.answerer.encode(&images);
        // A question that the model cannot read fails alone.
        let readable = |(picture, question): &(usize, String)| {
            self.answerer.check_question(question)?;
            indices[*picture].clone()
        };
        let is_readable: Vec<Result<usize, Fault>> = questions.iter().map(readable).collect();
        let texts = questions.iter().zip(&is_readable).filter(|(_, index)| index.is_ok());
        let texts: Vec<&str> = texts.map(|((_, question), _)| question.as_str()).collect();
        let (good, order) = split(is_readable);
        let encoded: Vec<_> = good.into_iter().map(|index| encoded[index].clone()).collect();
        let mut answered: Vec<_> =
            self.answerer.answer_each(&encoded, &texts, &options)?.into_iter().map(Some).collect();
        let found = |index: Result<usize, Fault>| {
            let captions = answered[index?].take().unwrap_or_else(|| Ok(Vec::new()));
            Ok(captions.map_err(not_a_number)?.into_iter().map(raw).collect())
        };
        Ok(order.into_iter().map(found).collect())
    }
}
