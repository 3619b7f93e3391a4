//! Scores a file of captions or answers against references: no model runs.

use std::path::Path;

use mplug_eval::answers::Questions;
use mplug_eval::captions::{CandidateFile, CaptionSet};

use super::events::Show;
use super::{EvalArgs, meaning, run};
use crate::interrupt::Interrupt;
use crate::status::Status;

/// Scores `candidates`: answers where the references are questions, else captions.
pub(super) fn score(
    args: &EvalArgs,
    interrupt: &Interrupt,
    references: &Path,
    candidates: &Path,
) -> anyhow::Result<Status> {
    meaning::refuse_model_options(args)?;
    let dataset = run::open(args, references)?;
    let title = format!("{} against {}", candidates.display(), references.display());
    let language = args.reading.language();
    let file = CandidateFile { path: candidates, language, is_of_a_part: args.subset };
    let show = Show::until(interrupt);
    if dataset.annotations().records.iter().any(|record| record.question.is_some()) {
        meaning::refuse_caption_options(args, "for answers")?;
        let found = show.events(|on_event| Questions::answered_in(&file, dataset, on_event))?;
        return run::write_answers(args, &found.judge());
    }
    let set = show.events(|on_event| CaptionSet::read(dataset, &file, title, on_event))?;
    run::score(args, interrupt, &set)
}
