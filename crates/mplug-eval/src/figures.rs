//! Which figures of captions are computed, over which tokens, with which of the user's files.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use caption_metrics::cider::DocumentFrequencies;
use caption_metrics::evaluation::{Evaluator, Metric};
use caption_metrics::meteor::{CacheState, MeteorData};
use caption_metrics::spice::Spice;
use caption_metrics::tokenize::Tokenization;
use mplug_data::dataset::{Language, OpenOptions, open};
use mplug_data::error::DataError;
use serde::Deserialize;

use crate::captions::CaptionSet;
use crate::error::EvalError;
use crate::event::{Event, OnEvent, emit};

/// The file of METEOR's compiled table in the cache's folder.
const METEOR_TABLE: &str = "meteor-paraphrases-en.bin";
/// Bytes in which a file of document frequencies must name one of its fields.
const BEGINNING_BYTES: usize = 4096;

/// What is computed, and with what.
#[derive(Clone, Debug)]
pub struct FigurePlan {
    /// The metrics, in the order of the report; doubles count once. `None` for BLEU, METEOR, ROUGE-L and CIDEr, without METEOR for
    /// Chinese tokens, and with SPICE if there is its program.
    pub metrics: Option<Vec<Metric>>,
    /// How captions become tokens; suited to the references if `None`.
    pub tokenization: Option<Tokenization>,
    /// METEOR's official `meteor-1.5.jar`; without it, METEOR has its exact and stem modules alone.
    pub meteor_jar: Option<PathBuf>,
    /// SPICE's official `spice-1.0.jar`, or what a report says where SPICE is requested and there is none.
    pub spice_jar: Result<PathBuf, String>,
    /// Where CIDEr's document frequencies come from: a file of references, or of stored frequencies
    /// (`{"ref_len": 3, "document_frequency": {"a dog": 2}}`). `None` for the references that are scored against.
    pub document_frequencies: Option<PathBuf>,
    /// The folder that keeps tables which take long to compile; see [`cache_folder`].
    pub cache: Option<PathBuf>,
}

impl FigurePlan {
    /// The evaluator of `set`. `language` is that of the captions in a file of document frequencies that has several.
    ///
    /// # Errors
    /// [`EvalError::Meteor`] if its jar cannot be used, [`EvalError::Frequencies`], [`EvalError::FrequencyReferences`] and
    /// [`EvalError::Data`] if document frequencies cannot, and [`EvalError::Stopped`].
    pub fn evaluator(
        &self,
        set: &CaptionSet,
        language: Option<Language>,
        on_event: OnEvent<'_>,
    ) -> Result<Evaluator, EvalError> {
        if let Some(message) = set.note_of_languages() {
            emit(on_event, Event::Note { message })?;
        }
        let references = set.annotations().flat_map(|annotation| &annotation.references);
        let suited = || Tokenization::suited_to(references.map(String::as_str));
        let tokenization = self.tokenization.unwrap_or_else(suited);
        let metrics = self.metrics(tokenization);
        // Loading METEOR's tables takes a while: only where it is requested.
        let meteor = if metrics.contains(&Metric::Meteor) {
            self.meteor(on_event)?
        } else {
            MeteorData::without_resources()
        };
        Ok(Evaluator {
            metrics,
            tokenization: Some(tokenization),
            meteor,
            spice: self.spice(),
            document_frequencies: self.frequencies(tokenization, language)?,
        })
    }

    fn metrics(&self, tokenization: Tokenization) -> Vec<Metric> {
        if let Some(requested) = &self.metrics {
            let mut metrics: Vec<Metric> = Vec::new();
            for metric in requested {
                if !metrics.contains(metric) {
                    metrics.push(*metric);
                }
            }
            return metrics;
        }
        let mut metrics = vec![Metric::Bleu, Metric::Meteor, Metric::RougeL, Metric::Cider];
        if self.spice_jar.is_ok() {
            metrics.push(Metric::Spice);
        }
        if matches!(tokenization, Tokenization::Char | Tokenization::Jieba | Tokenization::Aic) {
            // METEOR has no Chinese resources, and nobody reports it.
            metrics.retain(|metric| *metric != Metric::Meteor);
        }
        metrics
    }

    fn meteor(&self, on_event: OnEvent<'_>) -> Result<MeteorData, EvalError> {
        let Some(jar) = &self.meteor_jar else { return Ok(MeteorData::without_resources()) };
        let table = self.cache.as_ref().map(|folder| folder.join(METEOR_TABLE));
        if let Some(folder) = &self.cache {
            // Where it cannot be made, the table cannot be written, which is reported below.
            let _ = fs::create_dir_all(folder);
        }
        let data = MeteorData::load(jar, None, table.as_deref())?;
        if let CacheState::NotWritten(error) = data.cache_state() {
            let message = format!("METEOR's table is compiled anew each time: {error}");
            emit(on_event, Event::Note { message: &message })?;
        }
        Ok(data)
    }

    fn spice(&self) -> Result<Spice, String> {
        let jar = self.spice_jar.as_ref().map_err(Clone::clone)?;
        Spice::new(jar).map_err(|error| error.to_string())
    }

    fn frequencies(
        &self,
        tokenization: Tokenization,
        language: Option<Language>,
    ) -> Result<Option<DocumentFrequencies>, EvalError> {
        let Some(path) = &self.document_frequencies else { return Ok(None) };
        if let Some(stored) = StoredFrequencies::read(path)? {
            let counts = stored.document_frequency.iter().map(|(ngram, count)| (ngram.as_str(), *count));
            return Ok(Some(DocumentFrequencies::from_counts(stored.ref_len, counts)?));
        }
        let options = OpenOptions { language, ..OpenOptions::default() };
        let dataset = open(path, &options).map_err(|source| EvalError::FrequencyReferences { source })?;
        let references = dataset.annotations().records.iter().map(|record| record.references.clone());
        let references: Vec<Vec<String>> = references.filter(|of_one| !of_one.is_empty()).collect();
        let frequencies = DocumentFrequencies::of_references(&tokenization.tokenize_images(&references)?);
        frequencies.map(Some).map_err(|error| unusable(path, error.to_string()))
    }
}

/// METEOR's data of the official `meteor-1.5.jar`, beside which its paraphrases are; its compiled table is kept in
/// [`cache_folder`] where there is one.
///
/// # Errors
/// [`EvalError::Meteor`] if the jar cannot be used.
pub fn meteor_data(jar: &Path) -> Result<MeteorData, EvalError> {
    let cache = cache_folder();
    if let Some(folder) = &cache {
        // Where it cannot be made, the table is compiled each time.
        let _ = fs::create_dir_all(folder);
    }
    let table = cache.map(|folder| folder.join(METEOR_TABLE));
    Ok(MeteorData::load(jar, None, table.as_deref())?)
}

/// Where tables that take long to compile are kept between runs: `mplug` in `XDG_CACHE_HOME`, else in `.cache` of `HOME`; `None`
/// where the environment names neither.
pub fn cache_folder() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")));
    base.map(|base| base.join("mplug"))
}

fn unusable(path: &Path, problem: String) -> EvalError {
    EvalError::Frequencies { path: path.to_owned(), problem }
}

/// Document frequencies as the CIDEr programs store them, but as JSON and with n-grams as words between spaces.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredFrequencies {
    /// How many images were counted.
    ref_len: f64,
    /// In how many of them each n-gram occurs.
    document_frequency: HashMap<String, f64>,
}

impl StoredFrequencies {
    /// The frequencies in `path`; `None` if it begins like something else, a file of references.
    fn read(path: &Path) -> Result<Option<Self>, EvalError> {
        let io = |source: io::Error| DataError::Io { path: path.to_owned(), source };
        let mut beginning = [0; BEGINNING_BYTES];
        let mut file = fs::File::open(path).map_err(io)?;
        let len = file.read(&mut beginning).map_err(io)?;
        let beginning = String::from_utf8_lossy(&beginning[..len]);
        if !beginning.contains("\"ref_len\"") && !beginning.contains("\"document_frequency\"") {
            return Ok(None);
        }
        let (found, limit) =
            (file.metadata().map_err(io)?.len(), OpenOptions::default().max_annotation_bytes);
        if found > limit {
            return Err(DataError::TooLarge { path: path.to_owned(), found, limit }.into());
        }
        let bytes = fs::read(path).map_err(io)?;
        let stored: Self =
            serde_json::from_slice(&bytes).map_err(|error| unusable(path, error.to_string()))?;
        if stored.ref_len < 1.0 {
            let problem = format!("`ref_len`: expected a number of images, found {}", stored.ref_len);
            return Err(unusable(path, problem));
        }
        Ok(Some(stored))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> FigurePlan {
        FigurePlan {
            metrics: None,
            tokenization: None,
            meteor_jar: None,
            spice_jar: Err("no program".to_owned()),
            document_frequencies: None,
            cache: None,
        }
    }

    #[test]
    fn what_is_computed_depends_on_the_tokens_and_on_what_there_is() {
        let english = plan().metrics(Tokenization::Ptb);
        assert_eq!(english, [Metric::Bleu, Metric::Meteor, Metric::RougeL, Metric::Cider]);
        let with_spice = FigurePlan { spice_jar: Ok(PathBuf::from("spice.jar")), ..plan() };
        let chinese = with_spice.metrics(Tokenization::Char);
        assert_eq!(chinese, [Metric::Bleu, Metric::RougeL, Metric::Cider, Metric::Spice]);
        let doubled = Some(vec![Metric::Cider, Metric::Bleu, Metric::Cider]);
        let requested = FigurePlan { metrics: doubled, ..plan() };
        assert_eq!(requested.metrics(Tokenization::Char), [Metric::Cider, Metric::Bleu]);
        assert_eq!(plan().spice().unwrap_err(), "no program");
    }

    #[test]
    fn stored_frequencies_are_distinguished_from_references() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("frequencies.json");
        let read = |text: &str| {
            fs::write(&path, text).unwrap();
            StoredFrequencies::read(&path)
        };
        let stored = read("{\"ref_len\": 3, \"document_frequency\": {\"a dog\": 2}}").unwrap().unwrap();
        assert_eq!((stored.ref_len, stored.document_frequency["a dog"]), (3.0, 2.0));
        assert!(read("[{\"image\": \"a.jpg\"}]").unwrap().is_none());
        for bad in ["{\"ref_len\": 0, \"document_frequency\": {}}", "{\"ref_len\": 3, \"x\": {}}"] {
            let error = read(bad).err().unwrap().to_string();
            assert!(error.contains("frequencies.json: "), "{error}");
        }
    }
}
