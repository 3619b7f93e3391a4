//! `mplug eval`, in three forms: captions of a file against references, a model of any task on a dataset, and one on freshly
//! drawn pictures. This file and `figures` have what can be typed, `meaning` refuses what means nothing together, `run` and `files` hand it to
//! `mplug-eval` and writes what that returns, `events` shows how far it is.

pub(crate) mod events;
pub(crate) mod figures;
mod files;
mod meaning;
mod run;

use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use clap::{ArgGroup, Args, ValueEnum};
use mplug::checkpoint::ModelFolder;
use mplug::config::{ConfigOverrides, Task};

use self::figures::FigureArgs;
use crate::args::{BatchArg, EngineArgs, LimitArgs, OptionalModelArg, SearchArgs, between};
use crate::dataset::DatasetArgs;
use crate::status::Status;
use crate::{model, output, pool};

/// Evaluate captions, or a model on a dataset or on drawn pictures
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("captions").args(["references", "dataset"])))]
#[command(after_help = "\
Three forms:
  --references FILE --candidates FILE   score the captions, or the answers, in a file
  --dataset FILE|DIR [--model M]        run a model on a dataset and score its output
  neither                               draw pictures and run a model on them

What is computed depends on the model's task:
  captioning          scores against the references; on drawn pictures, correct captions
  question answering  VQA accuracy if ten people answered each question, else the soft score
                      of the weighted answers; on drawn pictures, correct answers
  retrieval           recall at 1, 5 and 10, pictures to texts and texts to pictures

Formats of references and datasets, detected from name and content:
  COCO captions and NoCaps, Karpathy's JSON, the research code's JSON, AI Challenger, MUGE, token
  files (Flickr8k, Flickr30k, COCO-CN, Flickr8k-CN), pycocoevalcap's dictionaries, JSON lines,
  tables with a head line (ModelScope's, Kaggle's, metadata.csv, open_clip's), everything that
  `mplug caption` writes, folders and tars of pictures with .txt or .caption files beside them;
  for questions VQA v2's pair of files and the research code's.
Candidates: COCO and VQA results, any of the above with one caption a picture, matched by id or
  file name, or one caption a line in the order of the references.

Caption scores equal the reference evaluator's (pycocoevalcap) if the tokens do; the report
names the tokenization. English is tokenized as there (ptb), Chinese into characters (char).
METEOR needs its official jar (--meteor-jar); without it \"METEOR (exact+stem)\" is reported.

Examples:
  mplug eval --references captions_val2014.json --candidates results.json --meteor-jar meteor-1.5.jar
  mplug eval --references captions_val2014.json --candidates karpathy_test.json --subset
  mplug eval --references v2_mscoco_val2014_annotations.json --candidates answers.json
  mplug eval --references test.json --candidates captions.jsonl --html report.html --images pictures/
  mplug eval --model caption-base-zh --dataset coco-cn/ --split test --resume captions.part
  mplug eval --model ask-large-en --dataset vqa_val.json --images val2014/ --per-image answers.jsonl
  mplug eval --model match-large-en --dataset flickr30k_test.json --rerank 128
  mplug eval --count 1000 --model runs/demo/best --format json
  mplug eval --task ask --language zh")]
pub(crate) struct EvalArgs {
    /// Annotation file with the reference captions, or with questions and their answers
    #[arg(long, value_name = "FILE", requires = "candidates", help_heading = "Captions")]
    references: Option<PathBuf>,
    /// File, folder or archive with one caption for each image (or one answer for each question) of the references
    #[arg(long, value_name = "FILE", requires = "references", conflicts_with_all = ["dataset", "resume"], help_heading = "Captions")]
    candidates: Option<PathBuf>,
    /// Score the images (or questions) of the candidates alone, where they are a part of the references
    #[arg(long, requires = "candidates", help_heading = "Captions")]
    subset: bool,
    /// Annotation file, folder or archive with the pictures and the reference captions or questions
    #[arg(long, value_name = "FILE|DIR", help_heading = "Captions")]
    dataset: Option<PathBuf>,
    #[command(flatten)]
    reading: DatasetArgs,
    /// Store captions in FILE while they are generated, and continue from FILE if it exists
    #[arg(long, value_name = "FILE", requires = "dataset", help_heading = "Captions")]
    resume: Option<PathBuf>,
    #[command(flatten)]
    figures: FigureArgs,
    #[command(flatten)]
    output: ReportArgs,
    /// Seed of the drawn pictures; use one that the model was not trained on
    #[arg(long, value_name = "N", conflicts_with = "captions", help_heading = "Drawn pictures")]
    synth_seed: Option<u64>,
    /// Number of pictures to draw [default: 1000]
    #[arg(long, value_name = "N", conflicts_with = "captions", help_heading = "Drawn pictures", value_parser = between::<1, 1_000_000>)]
    count: Option<usize>,
    /// Task of the demo model, or of --model [default: caption]
    #[arg(long, value_enum, help_heading = "Drawn pictures")]
    task: Option<TaskArg>,
    /// Re-rank the N most similar candidates of each query with the matching head; 0 for none [default: 16]
    #[arg(long, value_name = "N", help_heading = "Retrieval", value_parser = between::<0, 100_000>)]
    rerank: Option<usize>,
    #[command(flatten)]
    model: OptionalModelArg,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    batch: BatchArg,
    #[command(flatten)]
    search: SearchArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

/// What a model is for, as the commands have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TaskArg {
    /// Captions
    #[value(alias = "image-captioning")]
    Caption,
    /// Answers to questions
    #[value(alias = "visual-question-answering")]
    Ask,
    /// Matching and retrieval
    #[value(alias = "image-text-retrieval")]
    Match,
}

impl From<TaskArg> for Task {
    fn from(task: TaskArg) -> Self {
        match task {
            TaskArg::Caption => Self::ImageCaptioning,
            TaskArg::Ask => Self::VisualQuestionAnswering,
            TaskArg::Match => Self::ImageTextRetrieval,
        }
    }
}

/// How the report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// Lines for people
    Text,
    /// One JSON object, the same bytes for the same files
    Json,
}

/// Where the figures go.
#[derive(Args, Debug)]
#[command(next_help_heading = "Report")]
pub(crate) struct ReportArgs {
    /// Report format
    #[arg(long, value_enum, default_value = "text")]
    format: ReportFormat,
    /// Write the report to FILE, which is complete when it appears [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write the scores of each image (or question) to FILE as JSON lines
    #[arg(long, value_name = "FILE", requires = "captions")]
    per_image: Option<PathBuf>,
    /// Write an HTML report with scores, histograms and the worst pictures to FILE; it loads nothing from the network
    #[arg(long, value_name = "FILE", requires = "captions")]
    html: Option<PathBuf>,
    /// Number of pictures in the HTML report, those with the lowest scores
    #[arg(long, value_name = "N", default_value = "50", requires = "html", value_parser = between::<1, 10_000>)]
    worst: usize,
    /// Score that selects the worst pictures, by its key in the JSON report [default: cider, or the first]
    #[arg(long, value_name = "KEY", requires = "html")]
    worst_by: Option<String>,
    /// Print the JSON schema of the report and of the lines of --per-image
    #[arg(long)]
    print_schema: bool,
}

/// Runs the command.
pub(crate) fn run(args: EvalArgs) -> anyhow::Result<Status> {
    if args.output.print_schema {
        let schema = serde_json::to_string_pretty(&mplug_eval::report::schema())? + "\n";
        output::write_whole(schema.as_bytes(), args.output.output.as_deref())?;
        return Ok(Status::Good);
    }
    pool::run(args.engine.threads, move || run::run(&args))
}

impl EvalArgs {
    /// The model of `--model`, or the demo model for `--task`.
    fn open_model(&self) -> anyhow::Result<ModelFolder> {
        let (image_size, wanted) = (self.engine.image_size, self.task.map(Task::from));
        let Some(path) = &self.model.model else {
            let wanted = wanted.unwrap_or(Task::ImageCaptioning);
            let folder = model::open_or_demo(&self.model, image_size, wanted)?;
            let name = model::task_name(wanted);
            ensure!(folder.config.task == wanted, "no demo model is for {name}: give one with --model");
            return Ok(folder);
        };
        let overrides = ConfigOverrides { image_size, fallback_task: wanted, ..ConfigOverrides::default() };
        let folder = model::open_folder(path, &overrides, self.model.strict, self.model.adapter.as_ref())?;
        let found = folder.config.task;
        if let Some(typed) = self.task.filter(|_| wanted != Some(found)) {
            bail!(
                "`--task {}` does not fit `--model {}`, a model for {}: leave it out",
                typed.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned()),
                path.display(),
                model::task_name(found)
            );
        }
        Ok(folder)
    }
}

impl ReportArgs {
    /// Writes a report in the format requested, from its text form and its JSON form.
    fn write(
        &self,
        text: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>,
        json: impl FnOnce() -> serde_json::Result<serde_json::Value>,
    ) -> anyhow::Result<()> {
        let mut bytes = Vec::new();
        match self.format {
            ReportFormat::Text => text(&mut bytes)?,
            ReportFormat::Json => {
                serde_json::to_writer_pretty(&mut bytes, &json()?)?;
                bytes.push(b'\n');
            }
        }
        output::write_whole(&bytes, self.output.as_deref()).context("the report")
    }
}
