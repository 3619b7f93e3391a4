//! `mplug caption`: what can be typed, as the plan of a run (`mplug_bulk`), and what is said while it runs.

mod output;
mod view;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use mplug::{
    checkpoint::ModelFolder,
    config::{Language, Task},
    tasks::{CaptionRequest, Captioner},
};
use mplug_bulk::{BulkPlan, CollectOptions, Inputs, Shard, Style};

use self::{
    output::CaptionOutputArgs,
    view::{View, conclude},
};
use crate::{
    args::{BatchArg, EngineArgs, LimitArgs, OptionalModelArg, SamplingArgs, SearchArgs, between, share},
    hint, model, pool, precision,
    status::Status,
    web::WebArgs,
};

/// Describe pictures
#[derive(Args, Debug)]
#[command(after_help = "\
Text: the caption alone for one file; lines of `path<TAB>caption` for several inputs, a folder, an
archive or a list. With --captions N each picture has N lines, best first, with the score before the caption:
`[path<TAB>]score<TAB>caption`. Line breaks and other control characters of names are escaped.
JSON: {\"path\", \"caption\", \"score\", \"token_ids\"} for each input, in input order, with \"captions\"
where --captions is given and \"tags\" where --tags is, or {\"path\", \"error\"}. A name that is not UTF-8 has U+FFFD for each bad
byte in \"path\", and its exact bytes in hexadecimal in \"path_bytes\".
Pictures of a folder: files ending in jpg, png, webp, gif, bmp or tiff, by name, hidden ones left out.
Of a zip: the same by name; of a tar (WebDataset): in its order. Files with the same bytes are captioned
once. Of a .parquet (builds with the feature parquet): its rows, named FILE.parquet/0 and so on; the column
of --image-column holds files' bytes, paths from the file's folder, or both ({bytes, path}).
Parquet (--format parquet --output FILE), the same columns whatever was captioned: path string, path_bytes
binary, caption string, score float, token_ids list<uint32>, captions list<struct<caption string, score
float, token_ids list<uint32>>> (null without --captions), error string; all but path may be null.
With --output, answers are kept in FILE.part until the end: a run that was stopped goes on with
--resume. Where a failure passes (a server that is down, too many open files), FILE.part stays and
--resume tries that input again. --shard I/N takes the I-th of N parts (from 0): the parts' lines behind
each other are the whole. Exit code: 0, or 1 where inputs failed; with FILE.part gone the part is finished.

Examples:
  mplug caption photo.jpg
  mplug caption --model ./mplug_base_zh --captions 3 photo.jpg
  mplug caption photos/ --recursive --format jsonl --output captions.jsonl
  find . -name '*.png' -print0 | mplug caption - --batch-size 8
  mplug caption shards/*.tar --shard 3/64 --format jsonl --output captions.3.jsonl --resume
  mplug caption photos/ -r --format sidecar --on-existing append
  mplug caption --allow-urls https://example.org/cat.jpg")]
pub(crate) struct CaptionArgs {
    /// Picture files, folders, zip or tar archives of them, Parquet files, patterns, web addresses (--allow-urls), or `-` for a list of
    /// such names on standard input
    #[arg(required_unless_present = "dataset", value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// Caption the pictures of an annotation file (COCO and every other format of `mplug eval`)
    #[arg(long, value_name = "FILE|DIR", conflicts_with = "inputs")]
    dataset: Option<PathBuf>,
    /// Where its pictures are: a folder, a zip or a tar [default: the annotation file's folder]
    #[arg(long, value_name = "DIR|ZIP|TAR", requires = "dataset")]
    images: Option<PathBuf>,
    /// The column of Parquet files that holds the pictures [default: image, or the first that is there of img, picture, photo, jpg,
    /// jpeg, png, webp, image_bytes, bytes, image_path, file_name, filename, path]
    #[arg(long, value_name = "NAME", conflicts_with = "dataset")]
    image_column: Option<String>,
    /// Look into the subfolders of folders too
    #[arg(long, short)]
    recursive: bool,
    #[command(flatten)]
    model: OptionalModelArg,
    #[command(flatten)]
    output: CaptionOutputArgs,
    /// Text as the original spaces it, in place of joined Chinese
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    batch: BatchArg,
    #[command(flatten)]
    search: SearchArgs,
    /// Captions for each picture, best first, with their scores; at most as many as beams
    #[arg(long, value_name = "N", help_heading = "Generation", value_parser = between::<1, 64>)]
    captions: Option<usize>,
    /// Language of the captions, for a model that writes several: `zh`, `en` [default: the model's first]
    #[arg(long, value_name = "CODE", help_heading = "Generation")]
    language: Option<Language>,
    /// Begin every caption with TEXT
    #[arg(long, value_name = "TEXT", help_heading = "Generation")]
    prefix: Option<String>,
    /// Keep WORD, or several in a row, out of every caption; can be given again
    #[arg(long, value_name = "WORD", help_heading = "Generation")]
    forbid: Vec<String>,
    /// Bring WORD, or several in a row, into every caption; can be given again
    #[arg(long, value_name = "WORD", help_heading = "Generation", conflicts_with = "sample")]
    include: Vec<String>,
    /// Of --captions, leave out those that differ from a better one in less than this share of their tokens [without a share: 0.3]
    #[arg(long, value_name = "SHARE", help_heading = "Generation", requires = "captions", value_parser = share,
        num_args = 0..=1, require_equals = true, default_missing_value = "0.3")]
    diverse: Option<f32>,
    /// Add up to N keywords, weighted by the scores of the captions that have them [without N: 10]
    #[arg(long, value_name = "N", help_heading = "Generation", value_parser = between::<1, 1000>,
        num_args = 0..=1, require_equals = true, default_missing_value = "10")]
    tags: Option<usize>,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// Caption the I-th of N parts of the inputs, I from 0
    #[arg(long, value_name = "I/N", help_heading = "Bulk")]
    shard: Option<Shard>,
    /// What a picture that fails does to the run
    #[arg(long, value_enum, default_value = "skip", help_heading = "Bulk")]
    errors: OnError,
    #[command(flatten)]
    web: WebArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

impl CaptionArgs {
    /// How captions are to be written.
    fn request(&self) -> CaptionRequest {
        CaptionRequest {
            search: self.search.request(),
            language: self.language,
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
    /// It is named, and the others go on
    Skip,
    /// The run ends there; with --output it can be resumed
    Fail,
}

/// Runs the command.
pub(crate) fn run(args: CaptionArgs) -> anyhow::Result<Status> {
    args.output.check()?;
    pool::run(args.engine.threads, move || args.caption())
}

impl CaptionArgs {
    fn caption(&self) -> anyhow::Result<Status> {
        let plan = self.plan()?;
        let mut view = View::default();
        let run = plan.prepare(&mut |event| view.show(event)).map_err(hint::of_bulk)?;
        let folder = model::open_or_demo(&self.model, self.engine.image_size, Task::ImageCaptioning)?;
        let load = precision::load_options(&folder, self.engine.precision);
        let captioner = Captioner::load_with(&folder, &load)?;
        let options = self.request().resolve(&folder).map_err(hint::of_request)?;
        let model = self.model_in_words(&folder)?;
        view.listen()?;
        let summary = run.run(&captioner, &options, &model, &mut |event| view.show(event));
        drop(view);
        Ok(conclude(&summary.map_err(hint::of_bulk)?))
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
        plan.style = Style { is_raw: self.raw, captions: self.captions, keywords: self.tags, ..plan.style };
        plan.on_unfinished = self.output.on_unfinished();
        plan.stops_at_failure = self.errors == OnError::Fail;
        self.web.open(plan.inputs_mut())?;
        Ok(plan)
    }

    /// The model, in words that change with its files and with what they are read for.
    fn model_in_words(&self, folder: &ModelFolder) -> anyhow::Result<String> {
        let model = match &self.model.model {
            Some(path) => format!("model {}", model::stamp(&model::find(path)?)?),
            None => "the demo model".to_owned(),
        };
        let precision = self.engine.precision.map_or_else(|| folder.stored_precision(), Into::into);
        let column = self.image_column.as_ref().map(|name| format!(", column {name:?}")).unwrap_or_default();
        Ok(format!("{model} at {precision:?}{column}"))
    }
}
