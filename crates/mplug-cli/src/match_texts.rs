//! `mplug match`: a picture and texts in, the probability that each text describes the picture out.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use mplug::config::Task;
use mplug::generate::NotANumber;
use mplug::tasks::Matcher;
use mplug_bulk::{Input, JsonPath, Record};
use mplug_data::message::{about, one_line};
use mplug_data::picture::PictureLoader;
use serde::Serialize;

use crate::args::{EngineArgs, LimitArgs, OptionalModelArg};
use crate::output::OutputArgs;
use crate::status::Status;
use crate::web::WebArgs;
use crate::{hint, model, pool, precision, report, texts};

/// Score how well texts describe a picture
#[derive(Args, Debug)]
#[command(after_help = "\
Output:
  text  A line of probability<TAB>text for each text, in the given order.
  json  {path, text, probability} for each text; {path, text, error} for a text that failed;
        one {path, error} if the picture cannot be read.

Examples:
  mplug match --model match-large-en photo.jpg 'a cat on a sofa' 'a dog in the snow'
  mplug match --model match-large-en photo.jpg 'a cat' 'a dog' | sort -rn | head -1")]
pub(crate) struct MatchArgs {
    /// Picture file, or a web address (--allow-urls)
    #[arg(value_name = "IMAGE")]
    image: PathBuf,
    /// One or more texts
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
    texts::check(&args.texts, "a text")?;
    let input = args.web.input(&args.image)?;
    // Without a password, if it had one.
    args.image.clone_from(&input.path);
    pool::run(args.engine.threads, move || match_texts(&args, &input))
}

fn match_texts(args: &MatchArgs, input: &Input) -> anyhow::Result<Status> {
    let mut writer = args.output.create(Some(&args.image))?;
    let folder = model::open_or_demo(&args.model, args.engine.image_size, Task::ImageTextRetrieval)?;
    let matcher = Matcher::load_with(&folder, &precision::load_options(&folder, args.engine.precision))?;
    report::notes(&matcher.text_fit(&args.texts.iter().map(String::as_str).collect::<Vec<_>>()));
    let loader =
        PictureLoader { limits: args.limits.limits(), image_size: matcher.config().vision.image_size as u32 };
    let image = match input.load(&loader) {
        Ok(image) => image,
        Err(failure) => {
            report::message(hint::of_failure(&args.image, &failure));
            writer.write(&MatchRecord::failed(args, None, &failure.reason))?;
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
    let mut failed = 0;
    for (text, problem) in args.texts.iter().zip(problems) {
        let found = match problem {
            Some(problem) => Err(problem),
            None => probabilities.next().filter(|p| p.is_finite()).ok_or_else(|| NotANumber.to_string()),
        };
        match found {
            Ok(probability) => writer.write(&MatchRecord {
                probability: Some(probability),
                ..MatchRecord::new(args, Some(text))
            })?,
            Err(reason) => {
                report::message(about(&args.image, &format!("{text}: {reason}")));
                writer.write(&MatchRecord::failed(args, Some(text), &reason))?;
                failed += 1;
            }
        }
    }
    writer.finish()?;
    Ok(Status::of_failures(failed))
}

/// One text's probability.
#[derive(Serialize)]
struct MatchRecord {
    #[serde(flatten)]
    path: JsonPath,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probability: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl MatchRecord {
    fn new(args: &MatchArgs, text: Option<&String>) -> Self {
        Self { path: args.image.as_path().into(), text: text.cloned(), probability: None, error: None }
    }

    fn failed(args: &MatchArgs, text: Option<&String>, reason: &str) -> Self {
        Self { error: Some(one_line(reason)), ..Self::new(args, text) }
    }
}

impl Record for MatchRecord {
    fn write_text(&self, to: &mut dyn Write) -> io::Result<()> {
        match (self.probability, &self.text) {
            (Some(probability), Some(text)) => writeln!(to, "{probability:.6}\t{}", one_line(text)),
            _ => Ok(()),
        }
    }
}
