//! `mplug match`: a picture and texts in, the probability that each text describes the picture out.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use clap::Args;
use mplug::{config::Task, tasks::Matcher};
use serde::Serialize;

use crate::{
    args::{EngineArgs, LimitArgs, OptionalModelArg},
    inputs::{Input, JsonPath},
    model,
    output::{OutputArgs, Record, RecordWriter},
    pictures::PictureLoader,
    pool, precision, report,
    status::Status,
    web::WebArgs,
};

/// Score how well texts fit a picture
#[derive(Args, Debug)]
#[command(after_help = "\
Text: a line of `probability<TAB>text` for each text, in the order typed.
JSON: {\"path\", \"text\", \"probability\"} for each text, or one {\"path\", \"error\"} for a picture that
does not open; {\"path\", \"text\", \"error\"} for a text that the model cannot read.

Examples:
  mplug match --model ./mplug_retrieval photo.jpg 'a cat on a sofa' 'a dog in the snow'
  mplug match --model ./mplug_retrieval photo.jpg 'a cat' 'a dog' | sort -rn | head -1")]
pub(crate) struct MatchArgs {
    /// Picture file, or with --allow-urls a web address
    #[arg(value_name = "IMAGE")]
    image: PathBuf,
    /// One text or more
    #[arg(required = true, value_name = "TEXT")]
    texts: Vec<String>,
    #[command(flatten)]
    model: OptionalModelArg,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    web: WebArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

/// Runs the command.
pub(crate) fn run(mut args: MatchArgs) -> anyhow::Result<Status> {
    let input = args.web.input(&args.image)?;
    // Without a password, if it had one.
    args.image.clone_from(&input.path);
    pool::run(args.engine.threads, move || match_texts(&args, &input))
}

fn match_texts(args: &MatchArgs, input: &Input) -> anyhow::Result<Status> {
    let mut writer = RecordWriter::create(&args.output)?;
    writer.refuse_inputs(std::iter::once(args.image.as_path()))?;
    let folder =
        model::open_or_demo(args.model.model.as_deref(), args.engine.image_size, Task::ImageTextRetrieval)?;
    let matcher = Matcher::load_with(&folder, &precision::load_options(&folder, args.engine.precision))?;
    let loader =
        PictureLoader { limits: args.limits.limits(), image_size: matcher.config().vision.image_size as u32 };
    let image = match loader.load(input) {
        Ok(image) => image,
        Err(reason) => {
            report::message(report::about(&args.image, &reason));
            writer.write(&MatchRecord {
                error: Some(report::one_line(&reason)),
                ..MatchRecord::new(args, None)
            })?;
            writer.finish()?;
            return Ok(Status::SomeFailed);
        }
    };
    // A text that the model cannot read leaves the others unharmed.
    let problems: Vec<Option<String>> =
        args.texts.iter().map(|text| matcher.check_text(text).err().map(|error| error.to_string())).collect();
    let readable = args.texts.iter().zip(&problems).filter(|(_, problem)| problem.is_none());
    let texts: Vec<&str> = readable.map(|(text, _)| text.as_str()).collect();
    let mut probabilities = matcher.match_texts(&image, &texts)?.into_iter();
    for (text, problem) in args.texts.iter().zip(&problems) {
        if let Some(problem) = problem {
            report::message(report::about(&args.image, problem));
        }
        let probability = if problem.is_none() { probabilities.next() } else { None };
        let error = problem.as_deref().map(report::one_line);
        let entry = Some(MatchEntry { text: text.clone(), probability });
        writer.write(&MatchRecord { error, ..MatchRecord::new(args, entry) })?;
    }
    writer.finish()?;
    Ok(Status::of_failures(problems.iter().flatten().count()))
}

/// One text's probability.
#[derive(Serialize)]
struct MatchRecord {
    #[serde(flatten)]
    path: JsonPath,
    #[serde(flatten)]
    entry: Option<MatchEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Serialize)]
struct MatchEntry {
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    probability: Option<f32>,
}

impl MatchRecord {
    fn new(args: &MatchArgs, entry: Option<MatchEntry>) -> Self {
        Self { path: args.image.as_path().into(), entry, error: None }
    }
}

impl Record for MatchRecord {
    fn write_text(&self, to: &mut dyn Write) -> io::Result<()> {
        match &self.entry {
            Some(MatchEntry { text, probability: Some(probability) }) => {
                writeln!(to, "{probability:.6}\t{}", report::one_line(text))
            }
            _ => Ok(()),
        }
    }
}
