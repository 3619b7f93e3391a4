//! Which figures are computed, with which of the user's files.

use std::{
    collections::HashMap,
    fs,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, ensure};
use caption_metrics::{
    cider::DocumentFrequencies,
    evaluation::{Evaluation, Evaluator, Metric, Prepared},
    meteor::{CacheState, MeteorData},
    spice::Spice,
    tokenize::Tokenization,
};
use clap::{Args, ValueEnum};
use mplug_data::dataset::OpenOptions;
use serde::Deserialize;

use super::{captions::CaptionSet, meaning::is_typed};
use crate::{dataset::DatasetArgs, report};

/// A figure that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MetricArg {
    /// BLEU-1 to BLEU-4
    Bleu,
    /// METEOR 1.5, or "METEOR (exact+stem)" without --meteor-jar
    Meteor,
    /// ROUGE-L
    RougeL,
    /// CIDEr-D, which everybody calls CIDEr
    Cider,
    /// CIDEr without clipping and length penalty
    PlainCider,
    /// SPICE, by its official program (--spice-jar)
    Spice,
    /// Share of captions that equal a reference exactly: ModelScope's default figure
    Accuracy,
}

impl From<MetricArg> for Metric {
    fn from(metric: MetricArg) -> Self {
        match metric {
            MetricArg::Bleu => Self::Bleu,
            MetricArg::Meteor => Self::Meteor,
            MetricArg::RougeL => Self::RougeL,
            MetricArg::Cider => Self::Cider,
            MetricArg::PlainCider => Self::PlainCider,
            MetricArg::Spice => Self::Spice,
            MetricArg::Accuracy => Self::Accuracy,
        }
    }
}

/// How captions become tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TokenizeArg {
    /// As the reference evaluator does: for English
    Ptb,
    /// Chinese characters, and runs of letters or digits
    Char,
    /// Chinese words by jieba
    Jieba,
    /// The AI Challenger evaluator's way: jieba's words, then ptb
    Aic,
    /// The captions are tokens with spaces between
    None,
}

impl From<TokenizeArg> for Tokenization {
    fn from(tokenize: TokenizeArg) -> Self {
        match tokenize {
            TokenizeArg::Ptb => Self::Ptb,
            TokenizeArg::Char => Self::Char,
            TokenizeArg::Jieba => Self::Jieba,
            TokenizeArg::Aic => Self::Aic,
            TokenizeArg::None => Self::None,
        }
    }
}

/// The name of a tokenisation, as it is typed.
pub(super) fn name(tokenization: Tokenization) -> String {
    let arg = TokenizeArg::value_variants().iter().find(|arg| Tokenization::from(**arg) == tokenization);
    arg.and_then(ValueEnum::to_possible_value).map_or_else(String::new, |value| value.get_name().to_owned())
}

/// What is computed.
#[derive(Args, Debug)]
#[command(next_help_heading = "Figures")]
pub(crate) struct FigureArgs {
    /// Figures to compute [default: bleu,meteor,rouge-l,cider; without meteor for Chinese; with spice if its jar is given]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_enum, requires = "captions")]
    metrics: Option<Vec<MetricArg>>,
    /// How captions become tokens; figures of different ones cannot be compared [default: char for Chinese, else ptb]
    #[arg(long, value_enum, requires = "captions")]
    tokenize: Option<TokenizeArg>,
    /// The official meteor-1.5.jar, with data/paraphrase-en.gz beside it (pip package pycocoevalcap has both)
    #[arg(long, value_name = "FILE", env = "MPLUG_METEOR_JAR")]
    meteor_jar: Option<PathBuf>,
    /// The official spice-1.0.jar, with its libraries and models beside it; needs Java 8 to 14
    #[arg(long, value_name = "FILE", env = "MPLUG_SPICE_JAR")]
    spice_jar: Option<PathBuf>,
    /// Take CIDEr's document frequencies from the references in FILE (a training set's), or from stored ones
    /// ({"ref_len": N, "document_frequency": {"a dog": 12, ...}}), not from the references scored against
    #[arg(long, value_name = "FILE", requires = "captions")]
    document_frequencies: Option<PathBuf>,
}

impl FigureArgs {
    /// Its options, and whether each was typed.
    pub(super) fn typed(&self) -> [(&'static str, bool); 5] {
        let path = |path: &Option<PathBuf>, variable| {
            let text = path.as_ref().map(|path| path.to_string_lossy());
            is_typed(text.as_deref(), variable)
        };
        [
            ("--metrics", self.metrics.is_some()),
            ("--tokenize", self.tokenize.is_some()),
            ("--document-frequencies", self.document_frequencies.is_some()),
            ("--meteor-jar", path(&self.meteor_jar, "MPLUG_METEOR_JAR")),
            ("--spice-jar", path(&self.spice_jar, "MPLUG_SPICE_JAR")),
        ]
    }

    /// The evaluator meant.
    pub(super) fn evaluator(&self, set: &CaptionSet, reading: &DatasetArgs) -> anyhow::Result<Evaluator> {
        let references = set.annotations().flat_map(|annotation| &annotation.references);
        let suited = || Tokenization::suited_to(references.map(String::as_str));
        let tokenization = self.tokenize.map_or_else(suited, Tokenization::from);
        let metrics = self.metrics(tokenization);
        // Loading METEOR's tables takes a while: only where it is asked for.
        let meteor =
            if metrics.contains(&Metric::Meteor) { self.meteor()? } else { MeteorData::without_resources() };
        Ok(Evaluator {
            metrics,
            tokenization: Some(tokenization),
            meteor,
            spice: self.spice(),
            document_frequencies: self.frequencies(tokenization, reading)?,
        })
    }

    fn metrics(&self, tokenization: Tokenization) -> Vec<Metric> {
        if let Some(typed) = &self.metrics {
            let mut metrics: Vec<Metric> = Vec::new();
            for metric in typed.iter().map(|&metric| metric.into()) {
                if !metrics.contains(&metric) {
                    metrics.push(metric);
                }
            }
            return metrics;
        }
        let mut metrics = vec![Metric::Bleu, Metric::Meteor, Metric::RougeL, Metric::Cider];
        if self.spice_jar.is_some() {
            metrics.push(Metric::Spice);
        }
        if matches!(tokenization, Tokenization::Char | Tokenization::Jieba | Tokenization::Aic) {
            // METEOR has no Chinese resources, and nobody reports it.
            metrics.retain(|metric| *metric != Metric::Meteor);
        }
        metrics
    }

    fn meteor(&self) -> anyhow::Result<MeteorData> {
        let Some(jar) = &self.meteor_jar else { return Ok(MeteorData::without_resources()) };
        let cache = cache_folder().map(|folder| folder.join("meteor-paraphrases-en.bin"));
        if let Some(folder) = cache.as_deref().and_then(Path::parent) {
            // Where it cannot be made, the cache cannot be written, which is told below.
            let _ = fs::create_dir_all(folder);
        }
        let data = MeteorData::load(jar, None, cache.as_deref())?;
        if let CacheState::NotWritten(error) = data.cache_state() {
            report::message(format!("note: METEOR's table is compiled anew each time: {error}"));
        }
        Ok(data)
    }

    fn spice(&self) -> Result<Spice, String> {
        let jar = self.spice_jar.as_ref().ok_or("no official program: give it with --spice-jar")?;
        Spice::new(jar).map_err(|error| error.to_string())
    }

    fn frequencies(
        &self,
        tokenization: Tokenization,
        reading: &DatasetArgs,
    ) -> anyhow::Result<Option<DocumentFrequencies>> {
        let Some(path) = &self.document_frequencies else { return Ok(None) };
        if let Some(stored) = StoredFrequencies::read(path)? {
            let counts = stored.document_frequency.iter().map(|(ngram, count)| (ngram.as_str(), *count));
            return Ok(Some(DocumentFrequencies::from_counts(stored.ref_len, counts)?));
        }
        let annotations = reading.read_other(path)?;
        let references: Vec<Vec<String>> = annotations
            .records
            .into_iter()
            .map(|record| record.references)
            .filter(|of| !of.is_empty())
            .collect();
        let frequencies = DocumentFrequencies::of_references(&tokenization.tokenize_images(&references)?);
        frequencies.map(Some).with_context(|| path.display().to_string())
    }
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
    fn read(path: &Path) -> anyhow::Result<Option<Self>> {
        let mut beginning = [0; 4096];
        let named = || path.display().to_string();
        let mut file = fs::File::open(path).with_context(named)?;
        let len = file.read(&mut beginning).with_context(named)?;
        let beginning = String::from_utf8_lossy(&beginning[..len]);
        if !beginning.contains("\"ref_len\"") && !beginning.contains("\"document_frequency\"") {
            return Ok(None);
        }
        let (bytes, limit) =
            (file.metadata().with_context(named)?.len(), OpenOptions::default().max_annotation_bytes);
        ensure!(bytes <= limit, "{}: has {bytes} bytes, more than the limit of {limit}", path.display());
        let bytes = fs::read(path).with_context(named)?;
        let stored: Self = serde_json::from_slice(&bytes).with_context(named)?;
        ensure!(
            stored.ref_len >= 1.0,
            "{}: `ref_len` is {}: a number of images is wanted",
            path.display(),
            stored.ref_len
        );
        Ok(Some(stored))
    }
}

/// Where tables that take long to compile are kept between runs.
fn cache_folder() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = variable("XDG_CACHE_HOME").or_else(|| variable("HOME").map(|home| home.join(".cache")));
    base.map(|base| base.join("mplug"))
}

/// The figures of each domain's pictures, by the domain's name.
pub(super) fn of_domains(
    set: &CaptionSet,
    prepared: &Prepared<'_>,
) -> anyhow::Result<Vec<(String, usize, Evaluation)>> {
    let domain_of: Vec<Option<&str>> = set.annotations().map(|a| a.domain.as_deref()).collect();
    let mut domains: Vec<&str> = domain_of.iter().copied().flatten().collect();
    domains.sort_unstable();
    domains.dedup();
    domains
        .into_iter()
        .map(|domain| {
            let is_in = |image: &usize| domain_of[*image] == Some(domain);
            let images: Vec<usize> = (0..domain_of.len()).filter(is_in).collect();
            let evaluation = prepared.evaluate_subset(&images).map_err(|error| anyhow!(error))?;
            Ok((domain.to_owned(), images.len(), evaluation))
        })
        .collect()
}
