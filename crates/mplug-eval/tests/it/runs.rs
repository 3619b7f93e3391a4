//! Whole runs: what they return, what their callers hear, and what is kept when one is stopped.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use mplug::checkpoint::ModelFolder;
use mplug::checkpoint::seeded::{seeded_checkpoint, synthetic_vocabulary};
use mplug::config::{Language, ModelConfig, Task};
use mplug::generate::GenerationOptions;
use mplug::tasks::{Answerer, Captioner, Matcher};
use mplug_data::dataset::{AnnotatedDataset, OpenOptions, open};
use mplug_data::synth::{FolderOptions, write_folder};
use mplug_eval::answers::Questions;
use mplug_eval::captioning::{Captioned, Captioning, JournalPlan};
use mplug_eval::drawn::Drawn;
use mplug_eval::pairs::{Pairs, SearchPlan};
use mplug_eval::{EvalError, Event, drawn_answers, drawn_captions, drawn_pairs};

/// A model for `task` whose weights are drawn by formula.
fn folder(task: Task) -> ModelFolder {
    let config = ModelConfig::tiny(task);
    let vocabulary = synthetic_vocabulary(config.text.vocab_size);
    ModelFolder::from_checkpoint(&config, seeded_checkpoint(&config, 5).unwrap(), vocabulary).unwrap()
}

/// Five drawn pictures with captions and questions.
fn draw(to: &Path) {
    let questions = vec![Language::English];
    let options = FolderOptions { jpeg_percent: 0, questions, ..FolderOptions::default() };
    write_folder(to, 11, 5, &options, &mut |_| ()).unwrap();
}

fn read(path: &Path) -> AnnotatedDataset {
    open(path, &OpenOptions { language: Some(Language::Chinese), ..OpenOptions::default() }).unwrap()
}

fn options(default: GenerationOptions) -> GenerationOptions {
    GenerationOptions { num_beams: 2, min_new_tokens: 0, max_new_tokens: 6, ..default }
}

/// Hears everything, and stops nothing.
fn go_on(_: Event<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn a_run_that_its_caller_stops_keeps_its_captions_and_goes_on() {
    let desk = tempfile::tempdir().unwrap();
    draw(desk.path());
    let captioner = Captioner::load(&folder(Task::ImageCaptioning)).unwrap();
    let options = options(captioner.default_options());
    let path = desk.path().join("captions.part");
    let run = |journal: bool, on_event: &mut dyn FnMut(Event<'_>) -> ControlFlow<()>| {
        let journal = journal.then_some(JournalPlan { path: &path, captions_of: "a tiny model" });
        let captioning = Captioning { captioner: &captioner, options: &options, batch_size: 2, journal };
        captioning.run(read(desk.path()), "tiny".to_owned(), on_event)
    };
    let stopped = run(true, &mut |event| match event {
        Event::Progress { .. } => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    assert!(matches!(stopped, Err(EvalError::Stopped)));
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1 + 2, "the batch at hand is kept");

    let mut heard = Vec::new();
    let resumed = run(true, &mut |event| {
        heard.push(format!("{event:?}"));
        ControlFlow::Continue(())
    });
    assert_eq!(heard[..2], ["Resumed { known: 2, count: 5 }", "Started { count: 3, what: \"pictures\" }"]);
    let Captioned { set, passing, pictures } = resumed.unwrap();
    assert_eq!((set.failed(), passing, pictures), (0, 0, 5));
    let whole = run(false, &mut go_on).unwrap().set;
    assert_eq!(set.captions().candidates, whole.captions().candidates);
    assert_eq!(set.captions().references, whole.captions().references);
}

#[test]
fn a_picture_that_is_broken_is_heard_of_and_not_scored() {
    let desk = tempfile::tempdir().unwrap();
    draw(desk.path());
    fs::write(desk.path().join("images/000002.png"), "no picture").unwrap();
    let mut failed = Vec::new();
    let mut on_event = |event: Event<'_>| {
        if let Event::Failed { message } = event {
            failed.push(message.to_owned());
        }
        ControlFlow::Continue(())
    };
    let captioner = Captioner::load(&folder(Task::ImageCaptioning)).unwrap();
    let own = options(captioner.default_options());
    let captioning = Captioning { captioner: &captioner, options: &own, batch_size: 2, journal: None };
    let captioned = captioning.run(read(desk.path()), "tiny".to_owned(), &mut on_event).unwrap();
    assert_eq!(captioned.set.failed(), 1);

    let answerer = Answerer::load(&folder(Task::VisualQuestionAnswering)).unwrap();
    let own = options(answerer.default_options());
    let questions = Questions::new(read(&desk.path().join("questions_en.json"))).unwrap();
    let answers = questions.ask(&answerer, &own, 3, &mut on_event).unwrap();
    assert!(answers.failed > 0 && !answers.lines.is_empty());
    let lines = String::from_utf8(answers.per_question().unwrap()).unwrap();
    assert_eq!(lines.lines().count(), answers.lines.len());

    let matcher = Matcher::load(&folder(Task::ImageTextRetrieval)).unwrap();
    let plan = SearchPlan { matcher: &matcher, batch_size: 2, rerank: 2 };
    let report = Pairs::new(read(desk.path())).unwrap().search(&plan, &mut on_event).unwrap();
    assert_eq!(report.failed, 1);
    assert!(failed.len() >= 3 && failed.iter().all(|message| message.contains("000002")), "{failed:?}");
}

#[test]
fn drawn_pictures_need_no_files() {
    let drawn = Drawn { seed: 11, count: 4, language: None };
    let captioner = Captioner::load(&folder(Task::ImageCaptioning)).unwrap();
    let own = options(captioner.default_options());
    let captions =
        drawn_captions::evaluate(&drawn, Language::Chinese, &captioner, &own, 3, &mut go_on).unwrap();
    assert_eq!((captions.language, captions.truth.all.fully_true.judged), ("zh", 4));
    let answerer = Answerer::load(&folder(Task::VisualQuestionAnswering)).unwrap();
    let own = options(answerer.default_options());
    let answers = drawn_answers::evaluate(&drawn, &answerer, &own, 3, &mut go_on).unwrap();
    assert_eq!((answers.count, answers.languages.len()), (4, 2));
    let matcher = Matcher::load(&folder(Task::ImageTextRetrieval)).unwrap();
    let search = |batch_size, rerank| {
        let plan = SearchPlan { matcher: &matcher, batch_size, rerank };
        serde_json::to_value(drawn_pairs::search(&drawn, &plan, &mut go_on).unwrap()).unwrap()
    };
    assert_eq!(search(1, 2), search(3, 2), "the size of a batch changes no result");
    assert_eq!(search(2, 0)["rerank"], 0);
}
