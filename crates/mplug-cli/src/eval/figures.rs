//! Which figures of captions are computed, as it is typed. What they are `mplug-eval` knows.

use std::path::PathBuf;

use caption_metrics::evaluation::Metric;
use caption_metrics::tokenize::Tokenization;
use clap::{Args, ValueEnum};
use mplug_eval::figures::{FigurePlan, cache_folder};

use super::meaning::is_typed;

/// A figure that can be requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MetricArg {
    /// BLEU-1 to BLEU-4
    Bleu,
    /// METEOR 1.5, or "METEOR (exact+stem)" without --meteor-jar
    Meteor,
    /// ROUGE-L
    RougeL,
    /// CIDEr-D, commonly called CIDEr
    Cider,
    /// CIDEr without clipping and length penalty
    PlainCider,
    /// SPICE, with its official program (--spice-jar)
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
    /// As the reference evaluator does, for English
    Ptb,
    /// Chinese characters, and runs of letters or digits
    Char,
    /// Chinese words by jieba
    Jieba,
    /// As AI Challenger's evaluator does: jieba's words, then ptb
    Aic,
    /// The captions are tokens separated by spaces
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

/// What is computed.
#[derive(Args, Debug)]
#[command(next_help_heading = "Figures")]
pub(crate) struct FigureArgs {
    /// Scores to compute [default: bleu,meteor,rouge-l,cider; no meteor for Chinese; spice if its jar is given]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_enum, requires = "captions")]
    metrics: Option<Vec<MetricArg>>,
    /// Tokenization; scores of different ones cannot be compared [default: char for Chinese, else ptb]
    #[arg(long, value_enum, requires = "captions")]
    tokenize: Option<TokenizeArg>,
    /// The official meteor-1.5.jar, with data/paraphrase-en.gz beside it (pip package pycocoevalcap has both)
    #[arg(long, value_name = "FILE", env = "MPLUG_METEOR_JAR")]
    meteor_jar: Option<PathBuf>,
    /// The official spice-1.0.jar, with its libraries and models beside it; needs Java 8 to 14
    #[arg(long, value_name = "FILE", env = "MPLUG_SPICE_JAR")]
    spice_jar: Option<PathBuf>,
    /// Take CIDEr's document frequencies from the references in FILE, such as a training set's, or from stored ones
    /// ({"ref_len": N, "document_frequency": {"a dog": 12, ...}}) [default: from the references]
    #[arg(long, value_name = "FILE", requires = "captions")]
    document_frequencies: Option<PathBuf>,
}

impl FigureArgs {
    /// Its options, and whether each was typed.
    pub(crate) fn typed(&self) -> [(&'static str, bool); 5] {
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

    /// The figures meant.
    pub(crate) fn plan(&self) -> FigurePlan {
        let metrics = |metrics: &Vec<MetricArg>| metrics.iter().map(|&metric| metric.into()).collect();
        let no_program = || "no official program: give it with --spice-jar".to_owned();
        FigurePlan {
            metrics: self.metrics.as_ref().map(metrics),
            tokenization: self.tokenize.map(Tokenization::from),
            meteor_jar: self.meteor_jar.clone(),
            spice_jar: self.spice_jar.clone().ok_or_else(no_program),
            document_frequencies: self.document_frequencies.clone(),
            cache: cache_folder(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tokenization_is_typed_as_reports_name_it() {
        for arg in TokenizeArg::value_variants() {
            let typed = arg.to_possible_value().unwrap();
            assert_eq!(typed.get_name(), Tokenization::from(*arg).name());
        }
    }
}
