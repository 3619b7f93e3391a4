//! `mplug caption`: what can be typed, as the plan of a run (`mplug_bulk`), and what is said while it runs.

mod explain;
mod output;
mod view;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use mplug::checkpoint::ModelFolder;
use mplug::config::{Languages, Task};
use mplug::tasks::{CaptionRequest, Captioner};
use mplug_bulk::{BulkPlan, CollectOptions, Inputs, Shard, Style, Writer};

use self::explain::ExplainArgs;
use self::output::CaptionOutputArgs;
use self::view::{View, conclude};
use crate::args::{
    BatchArg, EngineArgs, LimitArgs, OptionalModelsArg, SamplingArgs, SearchArgs, between, share,
};
use crate::status::Status;
use crate::web::WebArgs;
use crate::{hint, model, pool, precision};

/// Caption pictures
#[derive(Args, Debug)]
#[command(after_help = "\
Inputs:
  Folders: files with the extension jpg, jpeg, jpe, png, webp, gif, bmp, tif or tiff, sorted
  by name; hidden files are skipped.
  Archives: the same in a zip, sorted by name, and in a tar (WebDataset), in its order.
  Parquet (builds with the feature `parquet`): each row is an input, named FILE.parquet/0 and
  so on. The column of --image-column holds encoded pictures, paths relative to the file's
  folder, or {bytes, path}.
  Files with equal bytes are captioned once.

Output:
  text     The caption for a single file, else lines of path<TAB>caption. With --captions N,
           N lines for each picture, best first: [path<TAB>]score<TAB>caption. Control
           characters in names are escaped.
  json     {path, caption, score, token_ids} for each input, in the order of the inputs, with
           `captions` if --captions is given and `tags` if --tags is; {path, error} for an
           input that failed. If a name is not UTF-8, path_bytes has its bytes in hexadecimal.
  parquet  The columns path, path_bytes, caption, score, token_ids, captions (list of caption,
           score, token_ids; null without --captions), tags (null without --tags), error.

Several languages (--language zh,en):
  Each picture has a record for each language, in that order. In text the language is before
  the caption; json, csv and parquet have `language` after the path; sidecar writes NAME.zh.txt
  and NAME.en.txt, tar KEY.zh.txt and KEY.zh.json. An input that failed has one record, without
  a language.

Bulk runs:
  With --output FILE, results are kept in FILE.part until the run ends. After an interruption,
  the same command with --resume continues. Inputs with temporary failures, such as a server
  that is down, are tried again by --resume; FILE.part then stays. --shard I/N selects part I
  of N, from 0; the concatenated outputs of all parts equal the output of one run.

Explanations:
  With --explain FILE.html, a page shows which part of the picture each word of the best caption
  stands on; with FILE.png, numbered tiles do, and a message says which word has which number.

Examples:
  mplug caption photo.jpg
  mplug caption photo.jpg --explain words.html
  mplug caption --model caption-base-zh --captions 3 photo.jpg
  mplug caption --model caption-base-zh --model caption-base-en --language zh,en --format jsonl photos/
  mplug caption photos/ --recursive --format jsonl --output captions.jsonl
  find . -name '*.png' -print0 | mplug caption - --batch-size 8
  mplug caption shards/*.tar --shard 3/64 --format jsonl --output captions.3.jsonl --resume
  mplug caption photos/ -r --format sidecar --on-existing append
  mplug caption --allow-urls https://example.org/cat.jpg")]
pub(crate) struct CaptionArgs {
    /// Picture files, folders, zip or tar archives, Parquet files, glob patterns, web addresses (--allow-urls), or `-` to read a list
    /// of these from standard input
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
            keywords: self.tags,
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
        Ok(conclude(&summary))
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
        let (captions, keywords, languages) = (self.captions, self.tags, self.languages());
        plan.style = Style { is_raw: self.raw, captions, keywords, languages, ..plan.style };
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
