//! `mplug caption`: what can be typed, as the plan of a run (`mplug_bulk`), and what is said while it runs.

mod explain;
mod help;
mod output;
mod view;
mod wording;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use mplug::checkpoint::ModelFolder;
use mplug::config::{Languages, Task};
use mplug::tasks::{CaptionRequest, Captioner};
use mplug_bulk::{BulkPlan, CollectOptions, Inputs, Shard, Style, Writer};

use self::explain::ExplainArgs;
use self::output::CaptionOutputArgs;
use self::view::{View, conclude};
use self::wording::WordingArgs;
use crate::args::{
    BatchArg, EngineArgs, LimitArgs, OptionalModelsArg, SamplingArgs, SearchArgs, between, share,
};
use crate::status::Status;
use crate::web::WebArgs;
use crate::{hint, model, pool, precision};

/// Tags of a picture where no number is typed.
const DEFAULT_TAGS: usize = 10;

/// Caption pictures
#[derive(Args, Debug)]
#[command(after_help = help::AFTER)]
pub(crate) struct CaptionArgs {
    /// Picture files, folders, zip or tar archives, Parquet files, glob patterns, web addresses (--allow-urls), or `-` to read a list
    /// of these, or one picture, from standard input
    #[arg(required_unless_present = "dataset", value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// Caption the pictures of an annotation file, in COCO's format or another one of `mplug eval`
    #[arg(long, value_name = "FILE|DIR", conflicts_with = "inputs")]
    dataset: Option<PathBuf>,
    /// Folder, zip or tar with the pictures of --dataset [default: the annotation file's folder]
    #[arg(long, value_name = "DIR|ZIP|TAR", requires = "dataset")]
    images: Option<PathBuf>,
    /// Column of Parquet files with the pictures [default: the first of image, img, picture, photo, jpg, jpeg, png, webp,
    /// image_bytes, bytes, image_path, file_name, filename, path]
    #[arg(long, value_name = "NAME", conflicts_with = "dataset")]
    image_column: Option<String>,
    /// Search folders recursively
    #[arg(long, short)]
    recursive: bool,
    #[command(flatten)]
    models: OptionalModelsArg,
    #[command(flatten)]
    output: CaptionOutputArgs,
    /// Keep the spaces between Chinese characters, as the original does
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    batch: BatchArg,
    #[command(flatten)]
    search: SearchArgs,
    /// Number of captions for each picture, with scores, best first; at most the number of beams
    #[arg(long, value_name = "N", help_heading = "Generation", value_parser = between::<1, 64>)]
    captions: Option<usize>,
    /// Language of the captions, `zh` or `en`, or several: `zh,en`. Each is written by the first --model that has it, and every
    /// model reads a picture once [default: the model's first]
    #[arg(long, value_name = "CODE[,CODE]", help_heading = "Generation")]
    language: Option<Languages>,
    /// Start every caption with TEXT
    #[arg(long, value_name = "TEXT", help_heading = "Generation")]
    prefix: Option<String>,
    /// Exclude WORD or phrase from all captions; may be repeated
    #[arg(long, value_name = "WORD", help_heading = "Generation")]
    forbid: Vec<String>,
    /// Include WORD or phrase in all captions; may be repeated
    #[arg(long, value_name = "WORD", help_heading = "Generation", conflicts_with = "sample")]
    include: Vec<String>,
    /// Drop captions that differ from a better one in less than this share of their tokens [without a value: 0.3]
    #[arg(long, value_name = "SHARE", help_heading = "Generation", requires = "captions", value_parser = share,
        num_args = 0..=1, require_equals = true, default_missing_value = "0.3")]
    diverse: Option<f32>,
    /// Add up to N keywords from the captions that the search finds, weighted by their scores [without a value: 10]
    #[arg(long, value_name = "N", help_heading = "Generation", value_parser = between::<1, 1000>,
        num_args = 0..=1, require_equals = true, default_missing_value = "10")]
    tags: Option<usize>,
    /// Replace captions that never ended (`"is_finished": false`) by captions that did
    #[arg(long, help_heading = "Generation", conflicts_with = "sample")]
    finished_only: bool,
    #[command(flatten)]
    wording: WordingArgs,
    #[command(flatten)]
    explain: ExplainArgs,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// Caption part I of N of the inputs, I from 0
    #[arg(long, value_name = "I/N", help_heading = "Bulk")]
    shard: Option<Shard>,
    /// What to do if a picture fails
    #[arg(long, value_enum, default_value = "skip", help_heading = "Bulk")]
    errors: OnError,
    #[command(flatten)]
    web: WebArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

impl CaptionArgs {
    /// The languages that were typed.
    fn languages(&self) -> Languages {
        self.language.unwrap_or_default()
    }

    /// The number of tags that was typed, or that --tags-only means.
    fn tags(&self) -> Option<usize> {
        self.tags.or(self.wording.tags_only.then_some(DEFAULT_TAGS))
    }

    /// How captions are to be written.
    fn request(&self) -> CaptionRequest {
        CaptionRequest {
            search: self.search.request(),
            languages: self.languages(),
            prefix: self.prefix.clone(),
            forbidden_words: self.forbid.clone(),
            required_words: self.include.clone(),
            captions: self.captions,
            min_difference: self.diverse,
            finished_only: self.finished_only,
            keywords: self.tags(),
            sampling: self.sampling.options(),
        }
    }
}

/// What a picture that fails does to the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnError {
    /// Report it and continue
    Skip,
    /// Stop the run; with --output it can be resumed
    Fail,
}

/// Runs the command.
pub(crate) fn run(args: CaptionArgs) -> anyhow::Result<Status> {
    args.output.check()?;
    pool::run(args.engine.threads, move || args.caption())
}

impl CaptionArgs {
    fn caption(&self) -> anyhow::Result<Status> {
        let mut plan = self.plan()?;
        let mut explaining = self.explain.prepare(&mut plan)?;
        let mut view = View::default();
        let run = plan.prepare(&mut |event| view.show(event)).map_err(hint::of_bulk)?;
        let folders = model::open_all_or_demo(&self.models, self.engine.image_size, Task::ImageCaptioning)?;
        let texts = self.request().resolve_each(&folders).map_err(hint::of_request)?;
        let load =
            |folder| Captioner::load_with(folder, &precision::load_options(folder, self.engine.precision));
        let captioners: Vec<Captioner> = folders.iter().map(load).collect::<Result<_, _>>()?;
        let mut writers = Vec::with_capacity(captioners.len());
        for ((number, captioner), texts) in captioners.iter().enumerate().zip(texts) {
            let model = self.model_in_words(number, &folders[number])?;
            writers.push(Writer { captioner, model, texts });
        }
        view.listen()?;
        let summary = run.run(&writers, &mut |event| {
            if let Some(explaining) = &mut explaining {
                explaining.hear(&event);
            }
            view.show(event)
        });
        drop(view);
        let summary = summary.map_err(hint::of_bulk)?;
        if let Some(explaining) = explaining.filter(|_| summary.stopped_by.is_none()) {
            explaining.write()?;
        }
        Ok(conclude(&summary, self.output.place()))
    }

    /// What is to be captioned, and how.
    fn plan(&self) -> anyhow::Result<BulkPlan> {
        let inputs = if let Some(dataset) = &self.dataset {
            Inputs::of_dataset(dataset, self.images.as_deref())
        } else {
            let options =
                CollectOptions { is_recursive: self.recursive, image_column: self.image_column.clone() };
            Inputs::collect(&self.inputs, &options, std::io::stdin())
        };
        let plan = inputs.and_then(|inputs| BulkPlan::new(inputs, self.shard, self.output.to_output()));
        let mut plan = plan.map_err(hint::of_bulk)?;
        plan.batch_size = self.batch.batch_size;
        plan.limits = self.limits.limits();
        plan.style = Style {
            is_raw: self.raw,
            has_path: plan.style.has_path,
            captions: self.captions,
            keywords: self.tags(),
            languages: self.languages(),
            wording: self.wording.wording(self.tags().is_some() || self.output.adds_to_texts())?,
            has_byte_order_mark: self.output.has_byte_order_mark(),
        };
        plan.on_unfinished = self.output.on_unfinished();
        plan.stops_at_failure = self.errors == OnError::Fail;
        self.web.open(plan.inputs_mut())?;
        Ok(plan)
    }

    /// A model, in words that change with its files and with what they are read for.
    fn model_in_words(&self, number: usize, folder: &ModelFolder) -> anyhow::Result<String> {
        let model = model::in_words(self.models.model.get(number), self.models.adapter.get(number))?;
        let precision = self.engine.precision.map_or_else(|| folder.stored_precision(), Into::into);
        let column = self.image_column.as_ref().map(|name| format!(", column {name:?}")).unwrap_or_default();
        Ok(format!("{model} at {precision:?}{column}"))
    }
}
