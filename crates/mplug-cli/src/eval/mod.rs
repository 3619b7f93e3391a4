//! `mplug eval`, in three forms: captions of a file against references, a model of any task on a dataset, and one on freshly
//! drawn pictures. This file has what can be typed and joins the parts; `meaning` refuses what means nothing together.
//!
//! Captions: `figures` chooses and computes, `captions` has what is scored, from a file or by a model (`captioning`), `report`
//! and `page` show it. Answers: `answers` and `answers_report`. Search: `pairs` has what is searched, `retrieval` ranks,
//! `pairs_report` shows it. Drawn pictures: `drawn`, `drawn_captions`, `drawn_answers`, and `pairs` again.

mod answers;
mod answers_report;
mod batches;
mod captioning;
mod captions;
mod drawn;
mod drawn_answers;
mod drawn_captions;
mod figures;
mod journal;
mod meaning;
mod page;
mod pairs;
mod pairs_report;
mod report;
mod retrieval;
mod thumbnail;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::{ArgGroup, Args, ValueEnum};
use mplug::{
    checkpoint::ModelFolder,
    config::{ConfigOverrides, Task},
};

use self::{captions::CaptionSet, figures::FigureArgs, report::Scored};
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
        let schema = serde_json::to_string_pretty(&report::schema())? + "\n";
        output::write_whole(schema.as_bytes(), args.output.output.as_deref())?;
        return Ok(Status::Good);
    }
    pool::run(args.engine.threads, move || args.evaluate())
}

impl EvalArgs {
    fn evaluate(&self) -> anyhow::Result<Status> {
        if let (Some(references), Some(candidates)) = (&self.references, &self.candidates) {
            meaning::refuse_model_options(self)?;
            return self.score(&CaptionSet::read(
                references,
                candidates,
                &self.reading,
                &self.limits.limits(),
            )?);
        }
        let folder = self.open_model()?;
        let task = folder.config.task;
        meaning::refuse_options_of_other_tasks(self, task)?;
        match (task, &self.dataset) {
            (Task::ImageCaptioning, Some(dataset)) => self.score(&self.caption(dataset, &folder)?),
            (Task::ImageCaptioning, None) => drawn_captions::evaluate(self, &folder),
            (Task::VisualQuestionAnswering, Some(dataset)) => answers::evaluate(self, &folder, dataset),
            (Task::VisualQuestionAnswering, None) => drawn_answers::evaluate(self, &folder),
            (Task::ImageTextRetrieval, Some(dataset)) => pairs::evaluate(self, &folder, dataset),
            (Task::ImageTextRetrieval, None) => pairs::evaluate_drawn(self, &folder),
        }
    }

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

    fn caption(&self, dataset: &Path, folder: &ModelFolder) -> anyhow::Result<CaptionSet> {
        captioning::Captioning {
            dataset,
            reading: &self.reading,
            limits: self.limits.limits(),
            model: self.model.model.as_deref(),
            folder,
            engine: &self.engine,
            search: &self.search,
            batch_size: self.batch.batch_size,
            journal: self.resume.as_deref(),
        }
        .run()
    }

    /// Computes the figures and writes every report that was asked for; the page and the lines first, so that a report on
    /// standard output means that all is there.
    fn score(&self, set: &CaptionSet) -> anyhow::Result<Status> {
        let evaluator = self.figures.evaluator(set, &self.reading)?;
        let prepared = evaluator.prepare(set.captions())?;
        let evaluation = prepared.evaluate()?;
        let domains = figures::of_domains(set, &prepared)?;
        let scored = Scored {
            images: set.annotations().len(),
            references: set.annotations().map(|annotation| annotation.references.len()).sum(),
            failed: set.failed,
            tokenization: figures::name(prepared.tokenization()),
            evaluation: &evaluation,
            domains: &domains,
        };
        if let Some(path) = &self.output.per_image {
            let lines = set.per_image(&evaluation)?;
            output::write_whole(&lines, Some(path))?;
        }
        if let Some(path) = &self.output.html {
            let html = set.page(&scored, self.output.worst, self.output.worst_by.as_deref())?;
            output::write_whole(html.as_bytes(), Some(path))?;
        }
        self.output.write(&scored)?;
        Ok(Status::of_failures(set.failed))
    }
}

impl ReportArgs {
    fn write(&self, scored: &Scored<'_>) -> anyhow::Result<()> {
        self.write_form(|to| scored.write_text(to), || serde_json::to_value(scored.report()))
    }

    /// Writes a report in the format asked for, from its text form and its JSON form.
    fn write_form(
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
