//! `mplug eval`, in three forms: captions of a file against references, a model's captions of a dataset, and the share of true
//! captions of freshly drawn pictures. This file has what can be typed and joins the parts; `figures` chooses and computes,
//! `captions` has what is scored, from a file or by a model (`captioning`), `report` and `page` show it.

mod captioning;
mod captions;
mod drawn;
mod figures;
mod journal;
mod page;
mod report;
mod thumbnail;

use std::path::PathBuf;

use anyhow::Context;
use clap::{ArgGroup, Args, ValueEnum};

use self::{captions::CaptionSet, figures::FigureArgs, report::Scored};
use crate::{
    args::{BatchArg, EngineArgs, LimitArgs, OptionalModelArg, SearchArgs, between},
    dataset::DatasetArgs,
    output, pool,
    status::Status,
};

/// Score captions against references, or a model on a dataset
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("captions").args(["references", "dataset"])))]
#[command(after_help = "\
Three forms:
  --references FILE --candidates FILE   score the captions of a file
  --dataset FILE|DIR [--model M]        caption a dataset's pictures with a model, then score
  neither                               draw pictures and count the captions that are true

Formats of references and datasets, told from name and content: COCO captions and NoCaps, Karpathy's
JSON, the research code's JSON, Flickr30k and COCO-CN token files, AI Challenger, MUGE, JSON lines,
ModelScope CSV. Candidates: COCO results, JSON lines of `mplug caption`, or plain lines in the order
of the references.

The figures are those of the reference evaluator (pycocoevalcap), digit for digit, but for the tokens:
the report names them. English is tokenised as it is there (ptb), Chinese by characters (char).
METEOR needs its official jar (--meteor-jar); without it \"METEOR (exact+stem)\" is reported.

Examples:
  mplug eval --references captions_val2014.json --candidates results.json --meteor-jar meteor-1.5.jar
  mplug eval --references test.json --candidates captions.jsonl --html report.html --images pictures/
  mplug eval --model ./mplug_base_zh --dataset coco-cn/ --split test --resume captions.part
  mplug eval --count 1000 --model runs/demo/best --format json")]
pub(crate) struct EvalArgs {
    /// Annotation file whose references the candidates are scored against
    #[arg(long, value_name = "FILE", requires = "candidates", help_heading = "Captions")]
    references: Option<PathBuf>,
    /// Captions to score, one for each image of the references
    #[arg(long, value_name = "FILE", requires = "references", conflicts_with_all = ["dataset", "resume"], help_heading = "Captions")]
    candidates: Option<PathBuf>,
    /// Annotation file or folder whose pictures a model captions
    #[arg(long, value_name = "FILE|DIR", help_heading = "Captions")]
    dataset: Option<PathBuf>,
    #[command(flatten)]
    reading: DatasetArgs,
    /// Keep captions in FILE as they are made, and go on from there if it has some
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
    /// Write each image's captions and figures to FILE, one JSON object a line
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
        let set = match (&self.references, &self.candidates, &self.dataset) {
            (Some(references), Some(candidates), _) => {
                self.refuse_model_options()?;
                CaptionSet::read(references, candidates, &self.reading, &self.limits.limits())?
            }
            (_, _, Some(dataset)) => self.caption(dataset)?,
            _ => return drawn::evaluate(self),
        };
        self.score(&set)?;
        Ok(Status::of_failures(set.failed))
    }

    /// Options of a model mean nothing where no model runs. What the environment says is for other runs.
    fn refuse_model_options(&self) -> anyhow::Result<()> {
        let typed =
            |value: Option<String>, variable: &str| value.is_some() && value != std::env::var(variable).ok();
        let model = self.model.model.as_ref().map(|path| path.to_string_lossy().into_owned());
        let image_size = self.engine.image_size.map(|size| size.to_string());
        let precision = self.engine.precision.and_then(|precision| precision.to_possible_value());
        let precision = precision.map(|precision| precision.get_name().to_owned());
        let is_typed = [
            ("--model", typed(model, "MPLUG_MODEL")),
            ("--image-size", typed(image_size, "MPLUG_IMAGE_SIZE")),
            ("--precision", typed(precision, "MPLUG_PRECISION")),
            ("--beams", self.search.beams.is_some()),
            ("--max-new-tokens", self.search.max_new_tokens.is_some()),
            ("--min-new-tokens", self.search.min_new_tokens.is_some()),
        ];
        match is_typed.iter().find(|(_, is_typed)| *is_typed) {
            Some((option, _)) => {
                anyhow::bail!("`{option}` has no meaning with `--candidates`: no model runs")
            }
            None => Ok(()),
        }
    }

    fn caption(&self, dataset: &std::path::Path) -> anyhow::Result<CaptionSet> {
        captioning::Captioning {
            dataset,
            reading: &self.reading,
            limits: self.limits.limits(),
            model: self.model.model.as_deref(),
            engine: &self.engine,
            search: &self.search,
            batch_size: self.batch.batch_size,
            journal: self.resume.as_deref(),
        }
        .run()
    }

    /// Computes the figures and writes every report that was asked for; the page and the lines first, so that a report on
    /// standard output means that all is there.
    fn score(&self, set: &CaptionSet) -> anyhow::Result<()> {
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
        self.output.write(&scored)
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
