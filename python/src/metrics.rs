//! `mplug_rs._native.evaluate`: figures of captions against references.

use std::collections::BTreeMap;

use caption_metrics::evaluation::{Captions, Column, Evaluator, Metric};
use caption_metrics::meteor::MeteorData;
use caption_metrics::tokenize::Tokenization;
use pyo3::prelude::*;

use crate::door;
use crate::errors::Fault;

/// Their names in Python.
const METRICS: [(&str, Metric); 6] = [
    ("bleu", Metric::Bleu),
    ("meteor", Metric::Meteor),
    ("rouge_l", Metric::RougeL),
    ("cider", Metric::Cider),
    ("plain_cider", Metric::PlainCider),
    ("accuracy", Metric::Accuracy),
];
const TOKENIZATIONS: [Tokenization; 5] =
    [Tokenization::Ptb, Tokenization::Char, Tokenization::Jieba, Tokenization::Aic, Tokenization::None];

/// A figure for all captions and for each.
type Figures = BTreeMap<&'static str, (f64, Vec<f64>)>;

/// The name of the tokenization, and the figures by name.
#[pyfunction]
#[pyo3(signature = (candidates, references, metrics=None, tokens=None))]
pub(crate) fn evaluate(
    py: Python<'_>,
    candidates: Vec<String>,
    references: Vec<Vec<String>>,
    metrics: Option<Vec<String>>,
    tokens: Option<String>,
) -> PyResult<(&'static str, Figures)> {
    let metrics = metrics.unwrap_or_else(|| ["bleu", "rouge_l", "cider"].map(str::to_owned).to_vec());
    door::run(py, move |_| {
        let evaluator = Evaluator {
            metrics: metrics.iter().map(|name| metric(name)).collect::<Result<_, _>>()?,
            tokenization: tokens.as_deref().map(tokenization).transpose()?,
            meteor: MeteorData::without_resources(),
            spice: Err("SPICE is not computed here".to_owned()),
            document_frequencies: None,
        };
        let captions = Captions {
            candidates: candidates.iter().map(String::as_str).collect(),
            references: references.iter().map(|all| all.iter().map(String::as_str).collect()).collect(),
        };
        let prepared = evaluator.prepare(captions)?;
        let figures = |Column { figure, scores, .. }| (figure.key(), (scores.corpus, scores.images));
        Ok((prepared.tokenization().name(), prepared.evaluate()?.columns.into_iter().map(figures).collect()))
    })
}

fn metric(name: &str) -> Result<Metric, Fault> {
    let found = METRICS.iter().find(|(known, _)| *known == name).map(|(_, metric)| *metric);
    let known = METRICS.map(|(name, _)| name).join(", ");
    found.ok_or_else(|| Fault::Option(format!("metrics: expected one of {known}, found `{name}`")))
}

fn tokenization(name: &str) -> Result<Tokenization, Fault> {
    let known = TOKENIZATIONS.map(Tokenization::name).join(", ");
    TOKENIZATIONS
        .into_iter()
        .find(|known| known.name() == name)
        .ok_or_else(|| Fault::Option(format!("tokens: expected one of {known}, found `{name}`")))
}
