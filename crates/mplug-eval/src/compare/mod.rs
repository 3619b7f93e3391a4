//! Two runs of training, or two results on the same pictures, side by side: curves, figures, what differs in the settings, whether a
//! difference could be an accident of which pictures were taken ([`Bootstrap`]), and the pictures that differ most.
//!
//! The way of the data: files become results (`results`), which are paired by picture (`pairs`); figures are computed with
//! what they are sums of (`measures`) and resampled (`bootstrap`); `result_comparison` has what is found, as `run_comparison` has of runs; `text` and
//! `page` show it. Nothing is written here.

mod bootstrap;
mod measures;
mod page;
mod pairs;
mod problem;
mod result_comparison;
mod results;
mod run_comparison;
mod text;

use std::path::{Path, PathBuf};

use mplug_data::dataset::{Language, OpenOptions, open};
use serde::Serialize;

pub use self::bootstrap::{Bootstrap, RESAMPLES};
pub use self::problem::CompareProblem;
pub use self::result_comparison::{Different, FigureDifference, ResultComparison, Said};
use self::results::{Results, ResultsFile};
pub use self::run_comparison::{RunComparison, RunFacts, RunFigure, SettingDifference};
use crate::captions::{CandidateFile, CaptionSet};
use crate::error::EvalError;
use crate::event::OnEvent;
use crate::figures::FigurePlan;
use crate::run_history::{LOG, RunHistory};

/// The form of the JSON; raised whenever a key changes its meaning or goes.
const VERSION: u32 = 1;

/// What is compared, and how.
#[derive(Clone, Debug)]
pub struct ComparePlan {
    /// References to score captions against that have no scores yet.
    pub references: Option<References>,
    /// Resamples of the bootstrap.
    pub resamples: usize,
    /// Their seed.
    pub seed: u64,
    /// How many of the pictures that differ most are shown.
    pub shown: usize,
    /// The key of the figure by which they differ; CIDEr or else the first where none is given.
    pub by: Option<String>,
    /// The folder with the pictures, for the page.
    pub images: Option<PathBuf>,
}

/// References, and what is computed against them.
#[derive(Clone, Debug)]
pub struct References {
    /// Their file.
    pub path: PathBuf,
    /// How it is read.
    pub options: OpenOptions,
    /// What is computed.
    pub figures: FigurePlan,
    /// The language of the captions in a file of document frequencies that has several.
    pub language: Option<Language>,
    /// Whether captions may be of a part of the references; see [`CandidateFile::is_of_a_part`].
    pub is_of_a_part: bool,
}

/// What a comparison found. Differences are the second's figure less the first's.
#[derive(Debug, Serialize)]
#[serde(tag = "compared", rename_all = "snake_case")]
pub enum Comparison {
    /// Two runs.
    Runs(Box<RunComparison>),
    /// Two results on the same pictures.
    Results(Box<ResultComparison>),
}

/// Compares two run folders or two files of results.
///
/// # Errors
/// [`EvalError::Compare`] for two that cannot be compared, [`EvalError::File`] for one that cannot be read, [`EvalError::NoRun`] for a
/// folder without a run, those of references, and [`EvalError::Stopped`].
pub fn compare(
    a: &Path,
    b: &Path,
    plan: &ComparePlan,
    on_event: OnEvent<'_>,
) -> Result<Comparison, EvalError> {
    let are_runs = [a, b].map(|path| path.is_dir() || path.file_name().is_some_and(|name| name == LOG));
    if let Some(references) = &plan.references {
        if let Some(folder) =
            [a, b].into_iter().zip(are_runs).find_map(|(path, is_run)| is_run.then_some(path))
        {
            let path = folder.to_owned();
            return Err(CompareProblem::NoReferencesNeeded { path, found: "a run" }.into());
        }
        let [a, b] = scored([a, b], references, on_event)?;
        return ResultComparison::of_items(a, b, plan);
    }
    let no_pictures = || -> Result<(), CompareProblem> {
        let known = "none, for nothing is known of single pictures".to_owned();
        plan.by.clone().map_or(Ok(()), |key| Err(CompareProblem::UnknownFigure { key, known }))
    };
    match are_runs {
        [true, true] => {
            no_pictures()?;
            let folder = |path: &Path| if path.is_dir() { path.to_owned() } else { path.with_file_name("") };
            let read = |path: &Path| RunHistory::read(&folder(path));
            Ok(Comparison::Runs(Box::new(RunComparison::of([a, b], [read(a)?, read(b)?]))))
        }
        [false, false] => match (results::read(a)?, results::read(b)?) {
            (ResultsFile::Items(a), ResultsFile::Items(b)) => ResultComparison::of_items(a, b, plan),
            (ResultsFile::Report(found_a), ResultsFile::Report(found_b)) => {
                no_pictures()?;
                ResultComparison::of_reports([a, b], [found_a, found_b])
            }
            (found_a, found_b) => Err(kinds([a, b], [found_a.name(), found_b.name()])),
        },
        [is_a, is_b] => {
            let name = |path: &Path, is_run: bool| {
                if is_run { Ok("a run") } else { results::read(path).map(|found| found.name()) }
            };
            Err(kinds([a, b], [name(a, is_a)?, name(b, is_b)?]))
        }
    }
}

fn kinds([a, b]: [&Path; 2], [found_a, found_b]: [&'static str; 2]) -> EvalError {
    CompareProblem::Kinds { a: a.to_owned(), b: b.to_owned(), found_a, found_b }.into()
}

/// Captions of two files scored against the references, those pictures that have a caption in both.
fn scored(
    paths: [&Path; 2],
    references: &References,
    on_event: OnEvent<'_>,
) -> Result<[Results; 2], EvalError> {
    let mut read = |path: &Path| {
        let dataset = open(&references.path, &references.options)?;
        let file = CandidateFile {
            path,
            language: references.options.language,
            is_of_a_part: references.is_of_a_part,
        };
        CaptionSet::read(dataset, &file, String::new(), on_event)
    };
    let (a, b) = (read(paths[0])?, read(paths[1])?);
    let (of_a, of_b) = (a.scored_indices().to_vec(), b.scored_indices().to_vec());
    let sets = [a.only(&of_b)?, b.only(&of_a)?];
    let evaluator = references.figures.evaluator(&sets[0], references.language, on_event)?;
    let mut results = Vec::new();
    for (set, path) in sets.iter().zip(paths) {
        let lines = String::from_utf8_lossy(&set.per_image(&set.score(&evaluator)?)?).into_owned();
        match results::parse(path, &lines)? {
            ResultsFile::Items(mut items) => {
                items.failed.extend(set.unscored().map(|id| id.as_str().to_owned()));
                results.push(items);
            }
            ResultsFile::Report(_) => unreachable!("lines are no report"),
        }
    }
    let b = results.pop().expect("two");
    Ok([results.pop().expect("two"), b])
}

impl Comparison {
    /// The page: one HTML file that needs no other.
    pub fn page(&self) -> String {
        match self {
            Self::Runs(runs) => page::runs(runs),
            Self::Results(results) => page::results(results),
        }
    }

    /// The text form.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn write_text(&self, to: &mut dyn std::io::Write) -> std::io::Result<()> {
        match self {
            Self::Runs(runs) => text::runs(runs, to),
            Self::Results(results) => text::results(results, to),
        }
    }
}
