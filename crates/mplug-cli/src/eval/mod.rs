//! `mplug eval`, in three forms: captions of a file against references, a model of any task on a dataset, and one on freshly
//! drawn pictures. This file and `figures` have what can be typed, `meaning` refuses what means nothing together, `run` hands it to
//! `mplug-eval` and writes what that returns, `events` shows how far it is.

mod events;
mod figures;
mod meaning;
mod run;

use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use clap::{ArgGroup, Args, ValueEnum};
use mplug::{
    checkpoint::ModelFolder,
    config::{ConfigOverrides, Task},
};

use self::figures::FigureArgs;
use crate::{
    args::{BatchArg, EngineArgs, LimitArgs, OptionalModelArg, SearchArgs, between},
    dataset::DatasetArgs,
    model, output, pool,
    status::Status,
};

/// Score captions against references, or a model of any task on a dataset or on drawn pictures
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("captions").args(["references", "dataset"])))]
#[command(after_help = "\
Three forms:
  --references FILE --candidates FILE   score the captions of a file
  --dataset FILE|DIR [--model M]        run a model on a dataset, then score
  neither                               draw pictures and run a model on them

What is scored is what the model is for: captions against references, answers to questions against
people's (the official VQA accuracy where ten people answered, else the soft score of the weighted
answers), or recall at 1, 5 and 10 of a search among pictures and captions, both ways. On drawn
pictures: the share of captions that are true, of answers that are right, and recall.

Formats of references and datasets, told from name and content: COCO captions and NoCaps, Karpathy's
JSON, the research code's JSON, Flickr30k and COCO-CN token files, AI Challenger, MUGE, JSON lines,
ModelScope CSV; of questions: VQA v2's pair of files, the research code's. Candidates: COCO results,
JSON lines of `mplug caption`, or plain lines in the order of the references.

The figures of captions are those of the reference evaluator (pycocoevalcap), digit for digit, but
for the tokens: the report names them. English is tokenised as it is there (ptb), Chinese by
characters (char).
METEOR needs its official jar (--meteor-jar); without it \"METEOR (exact+stem)\" is reported.

Examples:
  mplug eval --references captions_val2014.json --candidates results.json --meteor-jar meteor-1.5.jar
  mplug eval --references test.json --candidates captions.jsonl --html report.html --images pictures/
  mplug eval --model ./mplug_base_zh --dataset coco-cn/ --split test --resume captions.part
  mplug eval --model ./mplug_vqa --dataset vqa_val.json --images val2014/ --per-image answers.jsonl
  mplug eval --model ./mplug_retrieval --dataset flickr30k_test.json --rerank 128
  mplug eval --count 1000 --model runs/demo/best --format json
  mplug eval --task ask --language zh")]
pub(crate) struct EvalArgs {
    /// Annotation file whose references the candidates are scored against
    #[arg(long, value_name = "FILE", requires = "candidates", help_heading = "Captions")]
    references: Option<PathBuf>,
    /// Captions to score, one for each image of the references
    #[arg(long, value_name = "FILE", requires = "references", conflicts_with_all = ["dataset", "resume"], help_heading = "Captions")]
    candidates: Option<PathBuf>,
    /// Annotation file or folder with the pictures, and the captions or questions, that a model is run on
    #[arg(long, value_name = "FILE|DIR", help_heading = "Captions")]
    dataset: Option<PathBuf>,
    #[command(flatten)]
    reading: DatasetArgs,
    /// Keep captions in FILE as they are made, and go on from there if it has some; no other file is taken for one
    #[arg(long, value_name = "FILE", requires = "dataset", help_heading = "Captions")]
    resume: Option<PathBuf>,
    #[command(flatten)]
    figures: FigureArgs,
    #[command(flatten)]
    output: ReportArgs,
    /// Seed of drawn pictures; never one that the model was trained on
    #[arg(long, value_name = "N", conflicts_with = "captions", help_heading = "Drawn pictures")]
    synth_seed: Option<u64>,
    /// Pictures to draw [default: 1000]
    #[arg(long, value_name = "N", conflicts_with = "captions", help_heading = "Drawn pictures", value_parser = between::<1, 1_000_000>)]
    count: Option<usize>,
    /// Which demo model runs where no --model is given [default: caption]; a --model must be of this task
    #[arg(long, value_enum, help_heading = "Drawn pictures")]
    task: Option<TaskArg>,
    /// Order the best N texts of each picture, and pictures of each text, by the matching head; 0 for the contrast's order [default: 16]
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
    Caption,
    /// Answers to questions
    Ask,
    /// Matching and searching pictures and texts
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
    /// How the report is written
    #[arg(long, value_enum, default_value = "text")]
    format: ReportFormat,
    /// Write the report to FILE, which appears whole or not at all [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write each image's captions (or each question's answers) and figures to FILE, one JSON object a line
    #[arg(long, value_name = "FILE", requires = "captions")]
    per_image: Option<PathBuf>,
    /// Write a page with figures, histograms and the worst pictures to FILE; nothing in it is fetched
    #[arg(long, value_name = "FILE", requires = "captions")]
    html: Option<PathBuf>,
    /// Pictures on the page: the N with the lowest figure
    #[arg(long, value_name = "N", default_value = "50", requires = "html", value_parser = between::<1, 10_000>)]
    worst: usize,
    /// The figure that makes a picture one of the worst, by its key in the JSON [default: cider, or the first]
    #[arg(long, value_name = "KEY", requires = "html")]
    worst_by: Option<String>,
    /// Print the JSON schema of the report and of --per-image's lines, and end
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
        let overrides = ConfigOverrides { image_size, ..ConfigOverrides::default() };
        let folder = model::open_folder(path, &overrides, self.model.strict)?;
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
