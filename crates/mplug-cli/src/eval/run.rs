//! Runs what was typed: a form of evaluation each, which `mplug-eval` computes and this file writes.

use std::path::Path;

use mplug::checkpoint::ModelFolder;
use mplug::config::Task;
use mplug::generate::GenerationOptions;
use mplug::tasks::{Answerer, Captioner, Matcher, prompt_for};
use mplug_data::dataset::AnnotatedDataset;
use mplug_eval::answers::{Answers, Questions};
use mplug_eval::captioning::{Captioned, Captioning, JournalPlan};
use mplug_eval::captions::CaptionSet;
use mplug_eval::drawn::{DEFAULT_COUNT, Drawn};
use mplug_eval::pairs::{Pairs, SearchPlan};
use mplug_eval::pairs_report::PairsReport;
use mplug_eval::retrieval::DEFAULT_RERANK;
use mplug_eval::{EvalError, drawn_answers, drawn_captions, drawn_pairs};

use super::events::Show;
use super::{EvalArgs, files, meaning};
use crate::interrupt::Interrupt;
use crate::status::Status;
use crate::{hint, model, output, precision, report};

/// Evaluates in the form that was typed, until Ctrl-C.
pub(super) fn run(args: &EvalArgs) -> anyhow::Result<Status> {
    let interrupt = Interrupt::listen()?;
    match evaluate(args, &interrupt) {
        Err(error) if matches!(error.downcast_ref(), Some(EvalError::Stopped)) => {
            let resume = if args.resume.is_some() { "; the same command goes on" } else { "" };
            report::message(format!("stopped by a signal{resume}"));
            Ok(Status::Interrupted)
        }
        ended => ended,
    }
}

fn evaluate(args: &EvalArgs, interrupt: &Interrupt) -> anyhow::Result<Status> {
    if let (Some(references), Some(candidates)) = (&args.references, &args.candidates) {
        return files::score(args, interrupt, references, candidates);
    }
    let folder = args.open_model()?;
    let task = folder.config.task;
    meaning::refuse_options_of_other_tasks(args, task)?;
    match (task, &args.dataset) {
        (Task::ImageCaptioning, Some(dataset)) => {
            score(args, interrupt, &caption(args, interrupt, &folder, dataset)?)
        }
        (Task::ImageCaptioning, None) => caption_drawn(args, interrupt, &folder),
        (Task::VisualQuestionAnswering, Some(dataset)) => ask(args, interrupt, &folder, dataset),
        (Task::VisualQuestionAnswering, None) => ask_drawn(args, interrupt, &folder),
        (Task::ImageTextRetrieval, Some(dataset)) => search(args, interrupt, &folder, dataset),
        (Task::ImageTextRetrieval, None) => search_drawn(args, interrupt, &folder),
    }
}

pub(super) fn open(args: &EvalArgs, path: &Path) -> anyhow::Result<AnnotatedDataset> {
    args.reading.open(path, args.limits.limits())
}

/// Computes the figures and writes every report that was typed; the page and the lines first, so that a report on standard output
/// means that all is there.
pub(super) fn score(args: &EvalArgs, interrupt: &Interrupt, set: &CaptionSet) -> anyhow::Result<Status> {
    let plan = args.figures.plan();
    let scored = Show::until(interrupt)
        .events(|on_event| set.score(&plan.evaluator(set, args.reading.language(), on_event)?))?;
    if let Some(path) = &args.output.per_image {
        output::write_whole(&set.per_image(&scored)?, Some(path))?;
    }
    if let Some(path) = &args.output.html {
        let html = set.page(&scored, args.output.worst, args.output.worst_by.as_deref())?;
        output::write_whole(html.as_bytes(), Some(path))?;
    }
    args.output.write(|to| scored.write_text(to), || serde_json::to_value(scored.report()))?;
    Ok(Status::of_failures(set.failed()))
}

fn caption(
    args: &EvalArgs,
    interrupt: &Interrupt,
    folder: &ModelFolder,
    path: &Path,
) -> anyhow::Result<CaptionSet> {
    let dataset = open(args, path)?;
    let captioner = Captioner::load_with(folder, &precision::load_options(folder, args.engine.precision))?;
    let mut options = args.search.options(captioner.default_options())?;
    // The language is that of the references, whatever the model writes.
    let prompt = args.reading.language().map(|language| prompt_for(folder, language));
    options.prompt = prompt.and_then(Result::ok).flatten();
    let captions_of = match args.resume {
        Some(_) => describe(args, folder, &options, path)?,
        None => String::new(),
    };
    let journal = args.resume.as_deref().map(|path| JournalPlan { path, captions_of: &captions_of });
    let model = args.model.model.as_ref();
    let model = model.map_or_else(|| "the demo model".to_owned(), |path| path.display().to_string());
    let title = format!("{model} on {}", path.display());
    let batch_size = args.batch.batch_size;
    let captioning = Captioning { captioner: &captioner, options: &options, batch_size, journal };
    let Captioned { set, passing, pictures } =
        Show::until(interrupt).events(|on_event| captioning.run(dataset, title, on_event))?;
    if passing > 0 {
        let how = if args.resume.is_some() { "; the same command captions these alone" } else { "" };
        report::message(format!("{passing} of {pictures} pictures not tried to the end; run again{how}"));
    }
    Ok(set)
}

/// What captions depend on, in words: the model's and the dataset's files by size and time, and the options.
fn describe(
    args: &EvalArgs,
    folder: &ModelFolder,
    options: &GenerationOptions,
    dataset: &Path,
) -> anyhow::Result<String> {
    let model = model::in_words(args.model.model.as_ref(), args.model.adapter.as_ref())?;
    let precision = args.engine.precision.map_or_else(|| folder.stored_precision(), Into::into);
    Ok(format!(
        "{model} at {precision:?} and {} pixels, beams {}, tokens {} to {}{}, dataset {}, split {}, pictures {}",
        folder.config.vision.image_size,
        options.num_beams,
        options.min_new_tokens,
        options.max_new_tokens,
        options.prompt.as_ref().map_or_else(String::new, |prompt| format!(" after `{prompt}`")),
        model::stamp(dataset)?,
        args.reading.split().unwrap_or("all"),
        args.reading.images().map_or_else(|| "beside it".into(), |path| path.display().to_string()),
    ))
}

fn drawn(args: &EvalArgs) -> Drawn {
    Drawn {
        seed: args.synth_seed.unwrap_or(Drawn::default().seed),
        count: args.count.unwrap_or(DEFAULT_COUNT),
        language: args.reading.language(),
    }
}

fn caption_drawn(args: &EvalArgs, interrupt: &Interrupt, folder: &ModelFolder) -> anyhow::Result<Status> {
    let captioner = Captioner::load_with(folder, &precision::load_options(folder, args.engine.precision))?;
    let drawn = drawn(args);
    let language = drawn.language.unwrap_or_else(|| mplug::config::language(folder.vocabulary()));
    let mut options = args.search.options(captioner.default_options())?;
    options.prompt = prompt_for(folder, language).map_err(hint::of_request)?;
    let found = Show::until(interrupt).events(|on_event| {
        drawn_captions::evaluate(&drawn, language, &captioner, &options, args.batch.batch_size, on_event)
    })?;
    args.output.write(|to| found.write_text(to), || serde_json::to_value(&found))?;
    Ok(Status::Good)
}

fn ask(args: &EvalArgs, interrupt: &Interrupt, folder: &ModelFolder, path: &Path) -> anyhow::Result<Status> {
    let questions = Questions::new(open(args, path)?)?;
    let answerer = Answerer::load_with(folder, &precision::load_options(folder, args.engine.precision))?;
    let options = args.search.options(answerer.default_options())?;
    let answers = Show::until(interrupt)
        .events(|on_event| questions.ask(&answerer, &options, args.batch.batch_size, on_event))?;
    write_answers(args, &answers)
}

pub(super) fn write_answers(args: &EvalArgs, answers: &Answers<'_>) -> anyhow::Result<Status> {
    if let Some(path) = &args.output.per_image {
        output::write_whole(&answers.per_question()?, Some(path))?;
    }
    let report = answers.report();
    args.output.write(|to| report.write_text(to), || serde_json::to_value(&report))?;
    Ok(Status::of_failures(answers.failed))
}

fn ask_drawn(args: &EvalArgs, interrupt: &Interrupt, folder: &ModelFolder) -> anyhow::Result<Status> {
    let answerer = Answerer::load_with(folder, &precision::load_options(folder, args.engine.precision))?;
    let options = args.search.options(answerer.default_options())?;
    let drawn = drawn(args);
    let found = Show::until(interrupt).events(|on_event| {
        drawn_answers::evaluate(&drawn, &answerer, &options, args.batch.batch_size, on_event)
    })?;
    args.output.write(|to| found.write_text(to), || serde_json::to_value(&found))?;
    Ok(Status::Good)
}

fn search(
    args: &EvalArgs,
    interrupt: &Interrupt,
    folder: &ModelFolder,
    path: &Path,
) -> anyhow::Result<Status> {
    let pairs = Pairs::new(open(args, path)?)?;
    let matcher = load_matcher(args, folder)?;
    let report =
        Show::until(interrupt).events(|on_event| pairs.search(&search_plan(args, &matcher), on_event))?;
    write_pairs(args, &report)
}

fn search_drawn(args: &EvalArgs, interrupt: &Interrupt, folder: &ModelFolder) -> anyhow::Result<Status> {
    let matcher = load_matcher(args, folder)?;
    let plan = search_plan(args, &matcher);
    let report =
        Show::until(interrupt).events(|on_event| drawn_pairs::search(&drawn(args), &plan, on_event))?;
    write_pairs(args, &report)
}

fn load_matcher(args: &EvalArgs, folder: &ModelFolder) -> anyhow::Result<Matcher> {
    let matcher = Matcher::load_with(folder, &precision::load_options(folder, args.engine.precision))?;
    matcher.contrastive_head()?; // before anything is read or drawn
    Ok(matcher)
}

fn search_plan<'a>(args: &EvalArgs, matcher: &'a Matcher) -> SearchPlan<'a> {
    SearchPlan { matcher, batch_size: args.batch.batch_size, rerank: args.rerank.unwrap_or(DEFAULT_RERANK) }
}

fn write_pairs(args: &EvalArgs, report: &PairsReport) -> anyhow::Result<Status> {
    args.output.write(|to| report.write_text(to), || serde_json::to_value(report))?;
    Ok(Status::of_failures(report.failed))
}
