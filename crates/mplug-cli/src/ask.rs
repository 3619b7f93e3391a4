//! `mplug ask`: a picture and questions in, answers out.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use mplug::config::Task;
use mplug::tasks::{Answerer, Caption};
use mplug_bulk::{Input, JsonPath, Record};
use mplug_data::message::{about, one_line};
use mplug_data::picture::PictureLoader;
use serde::Serialize;

use crate::args::{BatchArg, EngineArgs, LimitArgs, OptionalModelArg, SearchArgs};
use crate::output::OutputArgs;
use crate::progress::Progress;
use crate::status::Status;
use crate::web::WebArgs;
use crate::{hint, model, pool, precision, report, texts};

/// Answer questions about a picture
#[derive(Args, Debug)]
#[command(after_help = "\
Output:
  text  The answer for a single question, else lines of question<TAB>answer.
  json  {path, question, answer, score, token_ids} for each question; {path, question, error}
        for a question that failed; one {path, error} if the picture cannot be read.

Examples:
  mplug ask assets/examples/cars.png '图里有几辆汽车？'
  mplug ask --model ask-large-en photo.jpg 'how many cats are there?'
  mplug ask --model ask-large-en photo.jpg 'what animal is it?' 'what colour is it?' --format json")]
pub(crate) struct AskArgs {
    /// Picture file, or a web address (--allow-urls)
    #[arg(value_name = "IMAGE")]
    image: PathBuf,
    /// One or more questions about the picture
    #[arg(required = true, value_name = "QUESTION")]
    questions: Vec<String>,
    #[command(flatten)]
    model: OptionalModelArg,
    #[command(flatten)]
    output: OutputArgs,
    /// Keep the spaces between Chinese characters, as the original does
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    engine: EngineArgs,
    #[command(flatten)]
    batch: BatchArg,
    #[command(flatten)]
    search: SearchArgs,
    #[command(flatten)]
    web: WebArgs,
    #[command(flatten)]
    limits: LimitArgs,
}

/// Runs the command.
pub(crate) fn run(mut args: AskArgs) -> anyhow::Result<Status> {
    texts::check(&args.questions, "a question")?;
    let input = args.web.input(&args.image)?;
    // Without a password, if it had one.
    args.image.clone_from(&input.path);
    pool::run(args.engine.threads, move || ask(&args, &input))
}

fn ask(args: &AskArgs, input: &Input) -> anyhow::Result<Status> {
    let mut writer = args.output.create(Some(&args.image))?;
    let folder = model::open_or_demo(&args.model, args.engine.image_size, Task::VisualQuestionAnswering)?;
    let answerer = Answerer::load_with(&folder, &precision::load_options(&folder, args.engine.precision))?;
    let options = args.search.options(answerer.default_options())?;
    report::notes(&answerer.text_fit(&args.questions.iter().map(String::as_str).collect::<Vec<_>>()));
    let loader = PictureLoader {
        limits: args.limits.limits(),
        image_size: answerer.config().vision.image_size as u32,
    };
    let image = match input.load(&loader) {
        Ok(image) => image,
        Err(failure) => {
            report::message(hint::of_failure(&args.image, &failure));
            writer.write(&AnswerRecord::failed(args, None, &failure.reason))?;
            writer.finish()?;
            return Ok(Status::SomeFailed);
        }
    };
    // The picture is encoded once, whatever is asked about it.
    let pictures = answerer.encode(std::slice::from_ref(&image));
    let progress = Progress::new(args.questions.len(), "questions");
    let mut failed = 0;
    for questions in args.questions.chunks(args.batch.batch_size) {
        // A question that the model cannot read or answer leaves the others unharmed.
        let problem = |question: &String| answerer.check_question(question).err().map(|e| e.to_string());
        let problems: Vec<Option<String>> = questions.iter().map(problem).collect();
        let readable = questions.iter().zip(&problems).filter(|(_, problem)| problem.is_none());
        let texts: Vec<&str> = readable.map(|(question, _)| question.as_str()).collect();
        let answers = answerer.answer_each(&vec![pictures[0].clone(); texts.len()], &texts, &options)?;
        let mut answers = answers.into_iter();
        let found = problems.into_iter().map(|problem| match problem {
            Some(problem) => Err(problem),
            None => answers.next().unwrap_or(Ok(Vec::new())).map_err(|reason| reason.to_string()),
        });
        let found: Vec<Result<Vec<Caption>, String>> = found.collect();
        for (question, reason) in
            questions.iter().zip(&found).filter_map(|(q, found)| Some((q, found.as_ref().err()?)))
        {
            report::message(about(&args.image, &format!("{question}: {reason}")));
            failed += 1;
        }
        for (question, found) in questions.iter().zip(&found) {
            writer.write(&match found {
                Ok(answers) => AnswerRecord::new(args, Some(question), answers.first()),
                Err(reason) => AnswerRecord::failed(args, Some(question), reason),
            })?;
        }
        writer.flush()?;
        progress.advance(questions.len());
    }
    writer.finish()?;
    Ok(Status::of_failures(failed))
}

/// One question's answer.
#[derive(Serialize)]
struct AnswerRecord {
    #[serde(flatten)]
    path: JsonPath,
    #[serde(skip)]
    has_question: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    question: Option<String>,
    #[serde(flatten)]
    answer: Option<AnswerEntry>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Serialize)]
struct AnswerEntry {
    answer: String,
    score: f32,
    token_ids: Vec<u32>,
}

impl AnswerRecord {
    fn new(args: &AskArgs, question: Option<&String>, best: Option<&Caption>) -> Self {
        let answer = best.map(|best| AnswerEntry {
            answer: if args.raw { best.raw_text.clone() } else { best.text.clone() },
            score: best.score,
            token_ids: best.token_ids.clone(),
        });
        Self {
            path: args.image.as_path().into(),
            has_question: args.questions.len() > 1,
            question: question.cloned(),
            answer,
            error: None,
        }
    }

    fn failed(args: &AskArgs, question: Option<&String>, reason: &str) -> Self {
        Self { error: Some(one_line(reason)), ..Self::new(args, question, None) }
    }
}

impl Record for AnswerRecord {
    fn write_text(&self, to: &mut dyn Write) -> io::Result<()> {
        match (&self.answer, &self.question) {
            (Some(entry), Some(question)) if self.has_question => {
                writeln!(to, "{}\t{}", one_line(question), entry.answer)
            }
            (Some(entry), _) => writeln!(to, "{}", entry.answer),
            (None, _) => Ok(()),
        }
    }
}
