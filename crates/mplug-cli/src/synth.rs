//! `mplug synth`: draws pictures with captions and questions into a folder, the same for the same seed. The drawing is
//! `mplug-data`'s.

use std::path::PathBuf;

use clap::Args;
use mplug::config::Language;
use mplug_data::synth::{EVAL_SEED, FolderOptions, TRAIN_SEED, write_folder};

use crate::args::between;
use crate::dataset::languages;
use crate::progress::Progress;
use crate::status::Status;

/// Draw pictures with correct captions
#[derive(Args, Debug)]
#[command(after_help = format!("\
DEST gets `images/`, and `annotations.jsonl` with {{\"path\", \"captions_zh\", \"captions_en\", \"scene\"}}
for each picture.
With `--questions` also `questions_zh.json` or `questions_en.json`: a list of {{\"image\", \"question\",
\"answer\" …}} (the format `vqa`), where \"accepted\" are all answers that are right.
The demo model was trained on seed {TRAIN_SEED} and is evaluated on seed {EVAL_SEED}.

Examples:
  mplug synth drawn --count 100 --seed 7
  mplug synth drawn --questions zh,en
  mplug synth drawn && mplug caption drawn/images"))]
pub(crate) struct SynthArgs {
    /// Output folder; created if it does not exist
    #[arg(value_name = "DEST")]
    dest: PathBuf,
    /// Number of pictures
    #[arg(long, value_name = "N", default_value = "100", value_parser = between::<1, 10_000_000>)]
    count: usize,
    /// Seed of the random numbers; the same seed draws the same pictures
    #[arg(long, value_name = "N", default_value = "0")]
    seed: u64,
    /// Side of the pictures in pixels [default: various sizes and shapes]
    #[arg(long, value_name = "N", value_parser = between::<16, 2048>)]
    size: Option<usize>,
    /// Percentage of pictures stored as JPEG; the others are PNG
    #[arg(long, value_name = "N", default_value = "25", value_parser = between::<0, 100>)]
    jpeg_percent: usize,
    /// Also write questions with answers, in one or both languages (`zh,en`)
    #[arg(long, value_name = "LANGUAGE", value_parser = languages(), value_delimiter = ',')]
    questions: Vec<Language>,
}

/// Runs the command.
pub(crate) fn run(args: &SynthArgs) -> anyhow::Result<Status> {
    let side = args.size.map(|size| size as u32);
    let options = FolderOptions {
        size: side.map(|side| (side, side)),
        jpeg_percent: args.jpeg_percent as u32,
        questions: args.questions.clone(),
        ..FolderOptions::default()
    };
    let progress = Progress::new(args.count, "pictures");
    write_folder(&args.dest, args.seed, args.count as u64, &options, &mut |_| progress.advance(1))?;
    let questions = if args.questions.is_empty() { "" } else { ", questions" };
    crate::report::info(format!(
        "{}: {} pictures{questions} and annotations.jsonl",
        mplug_data::message::one_line(&args.dest.to_string_lossy()),
        args.count
    ));
    Ok(Status::Good)
}
