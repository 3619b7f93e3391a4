//! `mplug compare`: two runs of training, or two files of results on the same pictures. The work is `mplug-eval`'s.

use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::{ArgGroup, Args};
use mplug_data::dataset::OpenOptions;
use mplug_eval::compare::{ComparePlan, CompareProblem, Comparison, RESAMPLES, References, compare};
use mplug_eval::{EvalError, Event};

use crate::args::between;
use crate::eval::events::worded;
use crate::eval::figures::FigureArgs;
use crate::status::Status;
use crate::{output, report};

/// Compare two training runs, or two files of results on the same pictures
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("captions").args(["references"])))]
#[command(after_help = "\
A and B are two of one kind:
  run folders of `mplug train`     curves, figures, settings that differ, samples
  `mplug eval --per-image`         scores of captions or answers, picture by picture
  `mplug eval --format json`       figures side by side
  `mplug caption --format jsonl`   captions; with --references they are scored first, as are
                                   COCO results; without, it is shown where they differ

Scores of pictures are resampled (paired bootstrap): a 95 % confidence interval of the
difference B - A by percentiles (Koehn 2004), and a two-sided p-value (Berg-Kirkpatrick et al.
2012). BLEU and METEOR (exact+stem) are computed anew from each resample's counts, other figures
are means over the pictures. The same --seed gives the same numbers.

Two files of other pictures, other references or other tokens are refused.

Examples:
  mplug compare runs/a runs/b --html runs.html
  mplug compare a.jsonl b.jsonl
  mplug compare a.jsonl b.jsonl --by bleu_4 --show 20 --html page.html --images val2014/
  mplug compare captions_a.jsonl captions_b.jsonl --references captions_val2014.json --json")]
pub(crate) struct CompareArgs {
    /// First run folder or file of results
    #[arg(value_name = "A")]
    a: PathBuf,
    /// Second run folder or file of results
    #[arg(value_name = "B")]
    b: PathBuf,
    /// Annotation file with reference captions, to score captions that have no scores
    #[arg(long, value_name = "FILE")]
    references: Option<PathBuf>,
    /// Use only this split of the references: train, val or test
    #[arg(long, value_name = "NAME", requires = "captions")]
    split: Option<String>,
    /// Score the images of the captions alone, where they are a part of the references
    #[arg(long, requires = "references")]
    subset: bool,
    /// Folder with the pictures, for the page [default: the paths in the results, or the references' folder]
    #[arg(long, value_name = "DIR", requires = "html")]
    images: Option<PathBuf>,
    #[command(flatten)]
    figures: FigureArgs,
    /// Number of resamples of the paired bootstrap [default: 10000]
    #[arg(long, value_name = "N", value_parser = between::<100, 1_000_000>)]
    resamples: Option<usize>,
    /// Seed of the resamples [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Number of pictures to show, those that differ most [default: 10]
    #[arg(long, value_name = "N", value_parser = between::<0, 10_000>)]
    show: Option<usize>,
    /// Figure by which pictures differ, by its key [default: cider, or the first]
    #[arg(long, value_name = "KEY")]
    by: Option<String>,
    /// Print JSON in place of text
    #[arg(long)]
    json: bool,
    /// Write an HTML page with curves or figures and the pictures that differ most to FILE; it loads nothing from the network
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Pictures that are shown.
const SHOWN: usize = 10;

impl CompareArgs {
    /// An option that was typed and that this comparison has no use for, with the reason.
    fn unused(&self, found: &Comparison) -> Option<(&'static str, &'static str)> {
        let [pictures, resamples] = match found {
            Comparison::Runs(_) => [0, 0],
            Comparison::Results(results) => [results.pictures, results.resamples],
        };
        let of_pictures = [("--show", self.show.is_some()), ("--images", self.images.is_some())];
        let of_resamples = [("--resamples", self.resamples.is_some()), ("--seed", self.seed.is_some())];
        let typed = |options: [(&'static str, bool); 2]| options.into_iter().find(|(_, is_typed)| *is_typed);
        let nothing = "nothing is known of single pictures";
        let without = typed(of_pictures).filter(|_| pictures == 0).map(|(option, _)| (option, nothing));
        let not_resampled = || {
            typed(of_resamples).filter(|_| resamples == 0).map(|(option, _)| (option, "nothing is resampled"))
        };
        without.or_else(not_resampled)
    }
}

/// Runs the command.
pub(crate) fn run(args: &CompareArgs) -> anyhow::Result<Status> {
    let ignored =
        args.figures.typed().into_iter().find(|(_, is_typed)| *is_typed && args.references.is_none());
    if let Some((option, _)) = ignored {
        anyhow::bail!("`{option}` has no meaning without `--references`: nothing is scored");
    }
    let references = args.references.as_ref().map(|path| References {
        path: path.clone(),
        options: OpenOptions { split: args.split.clone(), ..OpenOptions::default() },
        figures: args.figures.plan(),
        language: None,
        is_of_a_part: args.subset,
    });
    let beside = args.references.as_ref().and_then(|path| path.parent()).map(PathBuf::from);
    let plan = ComparePlan {
        references,
        resamples: args.resamples.unwrap_or(RESAMPLES),
        seed: args.seed.unwrap_or(0),
        shown: args.show.unwrap_or(SHOWN),
        by: args.by.clone(),
        images: args.images.clone().or(beside),
    };
    let found = compare(&args.a, &args.b, &plan, &mut |event| {
        if let Event::Note { message } | Event::Failed { message } = event {
            report::message(message);
        }
        ControlFlow::Continue(())
    });
    let found = found.map_err(|error| match error {
        EvalError::Compare(CompareProblem::UnknownFigure { .. }) => anyhow::anyhow!("`--by`: {error}"),
        EvalError::Compare(CompareProblem::NoReferencesNeeded { .. }) => {
            anyhow::anyhow!("`--references`: {error}")
        }
        error => worded(error),
    })?;
    if let Some((option, why)) = args.unused(&found) {
        anyhow::bail!("`{option}` has no meaning for these two: {why}");
    }
    if let Some(path) = &args.html {
        output::write_whole(found.page().as_bytes(), Some(path))?;
    }
    let mut bytes = Vec::new();
    if args.json {
        serde_json::to_writer_pretty(&mut bytes, &found)?;
        bytes.push(b'\n');
    } else {
        found.write_text(&mut bytes)?;
    }
    output::write_whole(&bytes, None)?;
    Ok(Status::Good)
}
