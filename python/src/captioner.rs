//! `mplug_rs._native.Captioner`: captions of a batch of pictures.

use std::sync::Arc;

use mplug::checkpoint::ModelFolder;
use mplug::config::Task;
use mplug::explain::{ExplainOptions, Heads, Method, WordMap};
use mplug::generate::NotANumber;
use mplug::keywords::keywords;
use mplug::tasks::{Caption, CaptionRequest};
use mplug_data::picture::split;
use pyo3::BoundObject;
use pyo3::prelude::*;

use crate::door;
use crate::errors::Fault;
use crate::model::ModelArguments;
use crate::pictures::{Picture, open_all};
use crate::records::{self, Row, RowOptions};
use crate::web::Fetcher;

/// Text, text as the original gives it, score, token ids, whether it ended.
pub(crate) type RawCaption = (String, String, f32, Vec<u32>, bool);

/// A word and its weight.
type RawKeyword = (String, f32);

/// What became of a picture: its captions, best first, with its keywords; or an exception.
type Found = Result<(Vec<RawCaption>, Vec<RawKeyword>), Fault>;

/// A caption, the patches a side of its maps, and each word with its log-probability, the most of it that is lost, and its map.
type Explained = (RawCaption, usize, Vec<(String, f32, Option<f32>, Vec<f32>)>);

/// What is said where words are required and no caption has them.
const NO_CAPTION: &str =
    "no caption with every required word was found; more `beams` or `max_new_tokens` may help";

/// A loaded captioning model.
#[pyclass(frozen)]
pub(crate) struct Captioner {
    inner: Arc<Inner>,
}

struct Inner {
    captioner: mplug::Captioner,
    folder: ModelFolder,
    fetcher: Option<Fetcher>,
}

#[pymethods]
impl Captioner {
    #[new]
    fn new(py: Python<'_>, arguments: ModelArguments) -> PyResult<Self> {
        let inner = door::run(py, move |_| {
            let (folder, options) = arguments.open(Task::ImageCaptioning)?;
            let captioner = mplug::Captioner::load_with(&folder, &options)?;
            let fetcher = arguments.fetcher()?;
            Ok(Inner { captioner, folder, fetcher })
        })?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Captions of each picture, or an exception in its place. `request` is a `CaptionRequest` in JSON.
    fn caption<'py>(
        &self,
        py: Python<'py>,
        pictures: Vec<Picture>,
        request: &str,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let request: CaptionRequest = parsed(py, request)?;
        let inner = Arc::clone(&self.inner);
        let found = door::run(py, move |_| inner.caption(pictures, &request))?;
        found.into_iter().map(|found| object_of(py, found)).collect()
    }

    /// The best caption of a picture, the patches a side of its maps, and for each word its text, its log-probability, the largest loss
    /// of that, and its map. `request` is a `CaptionRequest` in JSON; by `attention`, or else by ablation.
    fn explain(
        &self,
        py: Python<'_>,
        picture: Picture,
        request: &str,
        attention: bool,
    ) -> PyResult<Explained> {
        let request: CaptionRequest = parsed(py, request)?;
        let inner = Arc::clone(&self.inner);
        door::run(py, move |_| inner.explain(picture, &request, attention))
    }

    /// The record of each row, a line of JSON. A row is what its record calls it, and its picture: a path, an address, or the bytes of
    /// a file. `request` is a `CaptionRequest` in JSON; `options` are whether Chinese keeps its spaces, the pictures that pass through
    /// the model together, and the most pixels and bytes of a picture.
    fn records(
        &self,
        py: Python<'_>,
        rows: Vec<Row>,
        request: &str,
        options: RowOptions,
    ) -> PyResult<Vec<String>> {
        let request: CaptionRequest = parsed(py, request)?;
        let inner = Arc::clone(&self.inner);
        door::run(py, move |given_up| {
            let Inner { captioner, folder, fetcher } = inner.as_ref();
            let generation = request.resolve(folder)?;
            let fetcher = fetcher.as_ref().map(Fetcher::source);
            records::of_rows(rows, captioner, generation, &request, &options, fetcher, given_up)
        })
    }
}

fn parsed(py: Python<'_>, request: &str) -> PyResult<CaptionRequest> {
    serde_json::from_str(request).map_err(|error| Fault::Option(error.to_string()).into_error(py))
}

impl Inner {
    fn caption(&self, pictures: Vec<Picture>, request: &CaptionRequest) -> Result<Vec<Found>, Fault> {
        let options = request.resolve(&self.folder)?;
        let side = self.captioner.visual_encoder().image_size();
        let (images, indices) = split(open_all(pictures, side, self.fetcher.as_ref()));
        let mut captions: Vec<_> =
            self.captioner.caption_each(&images, &options)?.into_iter().map(Some).collect();
        let found = |index: Result<usize, Fault>| {
            let captions = captions[index?].take().unwrap_or_else(|| Ok(Vec::new()));
            Ok(reported(captions.map_err(not_a_number)?, request))
        };
        Ok(indices.into_iter().map(found).collect())
    }
}

impl Inner {
    fn explain(
        &self,
        picture: Picture,
        request: &CaptionRequest,
        attention: bool,
    ) -> Result<Explained, Fault> {
        let Self { captioner, folder, fetcher } = self;
        let resolved = captioner.resolve(&request.resolve(folder)?)?;
        let side = captioner.visual_encoder().image_size();
        let images: Result<Vec<_>, _> = open_all(vec![picture], side, fetcher.as_ref()).into_iter().collect();
        let pictures = captioner.encode(&images?);
        let options = request.resolve(folder)?;
        let written = captioner.caption_with(&pictures, &[options])?.pop().and_then(|mut each| each.pop());
        let captions = written.unwrap_or_else(|| Ok(Vec::new())).map_err(not_a_number)?;
        let caption = captions.into_iter().next().ok_or_else(|| Fault::Model(NO_CAPTION.to_owned()))?;
        let method = if attention { Method::Attention(Heads::Mean) } else { Method::Ablation };
        let how = ExplainOptions { method, ..ExplainOptions::default() };
        let explained = captioner.explain(&pictures[0], &caption, &resolved, &how).map_err(not_a_number)?;
        let word = |word: WordMap| (word.text, word.log_prob, word.most_lost, word.values);
        Ok((raw(caption), explained.grid, explained.words.into_iter().map(word).collect()))
    }
}

pub(crate) fn not_a_number(reason: NotANumber) -> Fault {
    Fault::Model(reason.to_string())
}

/// What a request asks to hear of all captions that were found.
fn reported(captions: Vec<Caption>, request: &CaptionRequest) -> (Vec<RawCaption>, Vec<RawKeyword>) {
    let words = request.keywords.map_or_else(Vec::new, |most| keywords(&captions, most));
    let words = words.into_iter().map(|keyword| (keyword.word, keyword.weight)).collect();
    (captions.into_iter().take(request.captions.unwrap_or(1)).map(raw).collect(), words)
}

pub(crate) fn raw(caption: Caption) -> RawCaption {
    (caption.text, caption.raw_text, caption.score, caption.token_ids, caption.is_finished)
}

/// A result, or an exception as a value.
pub(crate) fn object_of<'py, T: IntoPyObject<'py>>(
    py: Python<'py>,
    found: Result<T, Fault>,
) -> PyResult<Bound<'py, PyAny>> {
    match found {
        Ok(found) => Ok(found.into_pyobject(py).map_err(Into::into)?.into_any().into_bound()),
        Err(fault) => fault.into_object(py),
    }
}
