//! The options with which annotation files and their pictures are found. Knows nothing of what is done with them.

use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use mplug::preprocess::image::ImageLimits;
use mplug_data::dataset::{AnnotatedDataset, Language, OpenOptions, open};
use mplug_data::format::Format;

use crate::{hint, report};

/// How a dataset is read.
#[derive(Args, Debug)]
#[command(next_help_heading = "Dataset")]
pub(crate) struct DatasetArgs {
    /// Format of the references or dataset [default: detected from name and content]
    #[arg(long, value_name = "FORMAT", requires = "captions", value_parser = format)]
    dataset_format: Option<Format>,
    /// Use only this split: train, val or test
    #[arg(long, value_name = "NAME", requires = "captions")]
    split: Option<String>,
    /// Folder, zip or tar with the pictures [default: the annotation file's folder]
    #[arg(long, value_name = "DIR|ZIP|TAR", requires = "captions")]
    images: Option<PathBuf>,
    /// Treat the CSV column or JSON key OLD as NEW (`image`, `caption`, `question`, `answer`, `language` or `split`); may be
    /// repeated
    #[arg(long, value_name = "OLD=NEW", requires = "captions", value_parser = renaming)]
    rename_column: Vec<(String, String)>,
    /// Language of the references and of the captions to generate [default: the model's first; for questions and texts about
    /// drawn pictures both in turn]
    #[arg(long, value_parser = languages())]
    language: Option<Language>,
}

/// Languages as clap wants its values.
pub(crate) fn languages() -> impl TypedValueParser<Value = Language> {
    let names = Language::ALL.map(|language| {
        PossibleValue::new(language.code()).help(match language {
            Language::Chinese => "Chinese",
            Language::English => "English",
        })
    });
    PossibleValuesParser::new(names).try_map(|code| code.parse::<Language>())
}

fn format(name: &str) -> Result<Format, String> {
    name.parse()
}

pub(crate) fn renaming(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((old, new)) if !old.is_empty() && !new.is_empty() => Ok((old.to_owned(), new.to_owned())),
        _ => Err("expected OLD=NEW".to_owned()),
    }
}

impl DatasetArgs {
    /// Opens the dataset `path`.
    pub(crate) fn open(&self, path: &Path, limits: ImageLimits) -> anyhow::Result<AnnotatedDataset> {
        let dataset = open(path, &OpenOptions { limits, ..self.options() }).map_err(hint::of_data)?;
        let left_out = dataset.annotations().left_out;
        if left_out > 0 {
            let path = path.display();
            report::message(format!(
                "note: {path}: {left_out} pictures with an error in place of a caption are left out"
            ));
        }
        Ok(dataset)
    }

    /// Where the pictures are, if it was typed.
    pub(crate) fn images(&self) -> Option<&Path> {
        self.images.as_deref()
    }

    /// The split, if one was typed.
    pub(crate) fn split(&self) -> Option<&str> {
        self.split.as_deref()
    }

    /// The language, if one was typed.
    pub(crate) fn language(&self) -> Option<Language> {
        self.language
    }

    fn options(&self) -> OpenOptions {
        OpenOptions {
            format: self.dataset_format,
            split: self.split.clone(),
            images: self.images.clone(),
            columns: self.rename_column.clone(),
            language: self.language,
            ..OpenOptions::default()
        }
    }
}
