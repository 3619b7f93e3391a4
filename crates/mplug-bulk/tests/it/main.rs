//! A run as a program of one's own sees it: events, a stop, and a run that goes on.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use mplug::checkpoint::{ModelFolder, WriteOptions};
use mplug::config::{ConfigOverrides, Task};
use mplug::preprocess::image::{ImageFault, ImageLimits};
use mplug::tasks::Captioner;
use mplug_bulk::{
    BulkError, BulkPlan, CaptionFormat, CollectOptions, Event, Input, Inputs, OnExisting, OnUnfinished,
    Output, RecordOptions, Shard, StoppedBy, Style, Summary, Writer, caption_records,
};
use mplug_testing::model::write_tiny_model;

/// A model, and a folder of pictures of which the third is broken.
struct Desk {
    folder: tempfile::TempDir,
    captioner: Captioner,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (model, pictures) = (folder.path().join("model"), folder.path().join("pictures"));
        write_tiny_model(&model, Task::ImageCaptioning, &WriteOptions::default(), |_| ());
        fs::create_dir(&pictures).unwrap();
        for index in 0..7_u8 {
            let picture = image::RgbImage::from_fn(24, 24, |x, y| image::Rgb([30 * index, x as u8, y as u8]));
            picture.save(pictures.join(format!("{index}.png"))).unwrap();
        }
        fs::write(pictures.join("2.png"), "no picture").unwrap();
        let model = ModelFolder::open(&model, &ConfigOverrides::default()).unwrap();
        Self { folder, captioner: Captioner::load(&model).unwrap() }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn inputs(&self) -> Inputs {
        Inputs::collect(&[self.at("pictures")], &CollectOptions::default(), std::io::empty()).unwrap()
    }

    fn plan(&self, output: &str) -> BulkPlan {
        let output = Output::File { path: self.at(output), format: CaptionFormat::Jsonl };
        let mut plan = BulkPlan::new(self.inputs(), None, output).unwrap();
        plan.batch_size = 2;
        plan
    }

    /// Runs until `is_end` says so; with the summary come the events in words.
    fn run_until(
        &self,
        plan: BulkPlan,
        mut is_end: impl FnMut(&Event<'_>) -> bool,
    ) -> Result<(Summary, Vec<String>), BulkError> {
        let mut events = Vec::new();
        let mut on_event = |event: Event<'_>| {
            events.push(in_words(&event));
            if is_end(&event) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let run = plan.prepare(&mut on_event)?;
        let writer = Writer::new(&self.captioner, self.captioner.default_options(), "the tiny model");
        let summary = run.run(&[writer], &mut on_event)?;
        Ok((summary, events))
    }

    fn run(&self, plan: BulkPlan) -> Result<(Summary, Vec<String>), BulkError> {
        self.run_until(plan, |_| false)
    }
}

fn in_words(event: &Event<'_>) -> String {
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    match event {
        Event::Skipped { pictures } => format!("skipped {pictures}"),
        Event::Resumed { done, inputs } => format!("resumed {done}/{inputs}"),
        Event::Started { done, inputs } => format!("started {done}/{inputs}"),
        Event::Failed { path, .. } => format!("failed {}", name(path)),
        Event::Advanced { by, failed } => format!("advanced {by}, {failed} failed"),
        _ => "another event".to_owned(),
    }
}

#[test]
fn a_run_that_was_stopped_goes_on_to_the_same_bytes() {
    let desk = Desk::new();
    let (summary, events) = desk.run(desk.plan("whole.jsonl")).unwrap();
    let expected = [
        "started 0/7",
        "advanced 2, 0 failed",
        "failed 2.png",
        "advanced 2, 1 failed",
        "advanced 2, 1 failed",
        "advanced 1, 1 failed",
    ];
    assert_eq!(events, expected);
    assert_eq!((summary.inputs, summary.done, summary.failed, summary.passing), (7, 7, 1, 0));
    assert_eq!((summary.stopped_by, summary.is_resumable), (None, true));
    assert_eq!(summary.reasons.len(), 1);

    let at_second_batch = |event: &Event<'_>| matches!(event, Event::Advanced { failed: 1, .. });
    let (summary, _) = desk.run_until(desk.plan("parts.jsonl"), at_second_batch).unwrap();
    assert_eq!((summary.stopped_by, summary.done), (Some(StoppedBy::Caller), 4));
    assert!(!desk.at("parts.jsonl").exists() && desk.at("parts.jsonl.part").exists());
    let error = desk.run(desk.plan("parts.jsonl")).unwrap_err();
    assert!(matches!(error, BulkError::Unfinished { done: 4, inputs: 7, .. }), "{error}");

    let mut plan = desk.plan("parts.jsonl");
    plan.on_unfinished = OnUnfinished::Resume;
    let (summary, events) = desk.run(plan).unwrap();
    assert_eq!(events[..2], ["resumed 4/7", "started 4/7"]);
    assert_eq!((summary.done, summary.failed, summary.advanced), (7, 1, 3));
    let read = |name: &str| fs::read(desk.at(name)).unwrap();
    assert_eq!(read("parts.jsonl"), read("whole.jsonl"));
    assert!(!desk.at("parts.jsonl.part").exists());
}

#[test]
fn a_break_before_the_first_batch_ends_the_run_there() {
    let desk = Desk::new();
    let (summary, events) =
        desk.run_until(desk.plan("out.jsonl"), |event| matches!(event, Event::Started { .. })).unwrap();
    assert_eq!(events, ["started 0/7"]);
    assert_eq!((summary.stopped_by, summary.done), (Some(StoppedBy::Caller), 0));

    let at_second_batch = |event: &Event<'_>| matches!(event, Event::Advanced { failed: 1, .. });
    desk.run_until(resuming(&desk), at_second_batch).unwrap();
    let (summary, events) =
        desk.run_until(resuming(&desk), |event| matches!(event, Event::Resumed { .. })).unwrap();
    assert_eq!(events, ["resumed 4/7", "started 4/7"]);
    assert_eq!((summary.stopped_by, summary.done, summary.advanced), (Some(StoppedBy::Caller), 4, 0));

    fs::write(desk.at("pictures/0.txt"), "there").unwrap();
    let output = Output::TextFiles { folder: None, on_existing: OnExisting::Skip, ending: None };
    let plan = BulkPlan::new(desk.inputs(), None, output).unwrap();
    let (summary, _) = desk.run_until(plan, |event| matches!(event, Event::Skipped { .. })).unwrap();
    assert_eq!((summary.stopped_by, summary.advanced), (Some(StoppedBy::Caller), 0));
}

fn resuming(desk: &Desk) -> BulkPlan {
    let mut plan = desk.plan("out.jsonl");
    plan.on_unfinished = OnUnfinished::Resume;
    plan
}

/// A server turns kinds of faults into codes: it does not read texts.
#[test]
fn the_fault_of_a_picture_reaches_the_caller_with_its_kind() {
    let desk = Desk::new();
    fs::write(desk.at("pictures/3.png"), "").unwrap();
    fs::remove_file(desk.at("pictures/4.png")).unwrap();
    std::os::unix::fs::symlink("nowhere.png", desk.at("pictures/4.png")).unwrap();
    let mut kinds = Vec::new();
    desk.run_until(desk.plan("out.jsonl"), |event| {
        if let Event::Failed { failure, .. } = event {
            kinds.push(match failure.fault.as_deref() {
                Some(ImageFault::Empty) => "empty",
                Some(ImageFault::Read(_)) => "not read",
                Some(ImageFault::NotAPicture(_)) => "no picture",
                _ => "another",
            });
        }
        false
    })
    .unwrap();
    assert_eq!(kinds, ["no picture", "empty", "not read"]);
}

#[test]
fn a_failure_ends_a_run_that_was_set_to_stop_there_and_it_is_tried_again() {
    let desk = Desk::new();
    let mut plan = desk.plan("out.jsonl");
    plan.stops_at_failure = true;
    let (summary, events) = desk.run(plan).unwrap();
    assert_eq!((summary.stopped_by, summary.done), (Some(StoppedBy::Failure), 2));
    assert_eq!(events.last().unwrap(), "advanced 0, 1 failed");
    fs::copy(desk.at("pictures/1.png"), desk.at("pictures/2.png")).unwrap();
    let mut plan = desk.plan("out.jsonl");
    plan.on_unfinished = OnUnfinished::Resume;
    let (summary, _) = desk.run(plan).unwrap();
    assert_eq!((summary.done, summary.failed), (7, 0));
}

#[test]
fn parts_behind_each_other_are_the_whole() {
    let desk = Desk::new();
    desk.run(desk.plan("whole.jsonl")).unwrap();
    let mut parts = Vec::new();
    for index in 0..3 {
        let path = desk.at(&format!("{index}.jsonl"));
        let output = Output::File { path: path.clone(), format: CaptionFormat::Jsonl };
        desk.run(BulkPlan::new(desk.inputs(), Shard::new(index, 3), output).unwrap()).unwrap();
        parts.extend(fs::read(path).unwrap());
    }
    assert_eq!(parts, fs::read(desk.at("whole.jsonl")).unwrap());
}

#[test]
fn text_files_are_written_once() {
    let desk = Desk::new();
    let plan = || {
        let output = Output::TextFiles { folder: None, on_existing: OnExisting::Skip, ending: None };
        BulkPlan::new(desk.inputs(), None, output).unwrap()
    };
    let (summary, _) = desk.run(plan()).unwrap();
    assert_eq!((summary.inputs, summary.failed, summary.is_resumable), (7, 1, false));
    assert!(desk.at("pictures/0.txt").exists() && !desk.at("pictures/2.txt").exists());
    let (summary, events) = desk.run(plan()).unwrap();
    assert_eq!((events[0].as_str(), summary.inputs), ("skipped 6", 1));
}

/// An old text that nothing can be added to is its picture's failure, and stays.
#[test]
fn an_old_text_that_cannot_be_read_harms_no_other() {
    let desk = Desk::new();
    fs::write(desk.at("pictures/0.txt"), "x".repeat((1 << 20) + 1)).unwrap();
    fs::write(desk.at("pictures/1.txt"), b"\xff\xfe").unwrap();
    fs::write(desk.at("pictures/3.txt"), "old").unwrap();
    let output = Output::TextFiles { folder: None, on_existing: OnExisting::Append, ending: None };
    let (summary, events) = desk.run(BulkPlan::new(desk.inputs(), None, output).unwrap()).unwrap();
    assert_eq!((summary.done, summary.failed), (7, 3), "{events:?}");
    assert!(events.contains(&"failed 0.png".to_owned()) && events.contains(&"failed 1.png".to_owned()));
    assert_eq!(fs::read(desk.at("pictures/0.txt")).unwrap().len(), (1 << 20) + 1);
    assert_eq!(fs::read(desk.at("pictures/1.txt")).unwrap(), b"\xff\xfe");
    assert!(fs::read_to_string(desk.at("pictures/3.txt")).unwrap().starts_with("old, "));
}

/// Records in memory are the lines of a run, whether the pictures are files or bytes at hand.
#[test]
fn records_in_memory_are_those_of_a_run() {
    let desk = Desk::new();
    desk.run(desk.plan("out.jsonl")).unwrap();
    let lines = fs::read_to_string(desk.at("out.jsonl")).unwrap();
    let writer = || [Writer::new(&desk.captioner, desk.captioner.default_options(), "")];
    let records = |inputs: &[Input], options: &RecordOptions, batches: usize| -> Vec<String> {
        let mut left = batches;
        let mut is_given_up = || {
            left -= 1;
            left == 0
        };
        let records = caption_records(inputs, &writer(), options, &mut is_given_up).unwrap();
        records.iter().map(|record| serde_json::to_string(record).unwrap()).collect()
    };
    let (style, limits) = (Style::default(), ImageLimits::default());
    let options = RecordOptions { style, limits, batch_size: 2 };
    let listed = desk.inputs().list;
    let expected: Vec<&str> = lines.lines().collect();
    assert_eq!(records(&listed, &options, usize::MAX), expected);
    assert!(expected[2].contains("\"error\"") && expected.len() == 7);

    let bytes = |input: &Input| Input::in_memory(input.path.clone(), fs::read(&input.path).ok());
    let mut at_hand: Vec<Input> = listed.iter().map(bytes).collect();
    assert_eq!(records(&at_hand, &options, usize::MAX), expected);
    assert_eq!(records(&at_hand, &options, 2), expected[..4], "given up after two batches");
    at_hand.push(Input::in_memory("none".into(), None));
    let missing = records(&at_hand[7..], &options, usize::MAX);
    assert_eq!(missing, [r#"{"path":"none","error":"cannot be read: the row has no picture (null)"}"#]);

    let small = RecordOptions { limits: ImageLimits { max_file_bytes: 10, ..limits }, ..options };
    let refused = records(&at_hand[..1], &small, usize::MAX);
    assert_eq!(refused, records(&listed[..1], &small, usize::MAX));
    assert!(refused[0].contains("\"error\""), "{refused:?}");
}
