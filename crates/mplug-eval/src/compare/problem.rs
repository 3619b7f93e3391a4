//! Why two runs or results cannot be compared.

use std::path::PathBuf;

/// Why not. Every message names the files, what was expected and what was found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompareProblem {
    /// A file that is none of what can be compared.
    #[error("{}: {problem}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A run and results, or results of two kinds.
    #[error("expected two of one kind, found {found_a} in {} and {found_b} in {}", a.display(), b.display())]
    Kinds {
        /// The first.
        a: PathBuf,
        /// The second.
        b: PathBuf,
        /// What the first is.
        found_a: &'static str,
        /// What the second is.
        found_b: &'static str,
    },
    /// References were given for what they mean nothing for.
    #[error("{}: expected captions to score against the references, found {found}", path.display())]
    NoReferencesNeeded {
        /// The first of both.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// Other pictures.
    #[error("expected the same pictures in both, found {only_a} in {} alone and {only_b} in {} alone: {first}", a.display(), b.display())]
    Pictures {
        /// The first.
        a: PathBuf,
        /// The second.
        b: PathBuf,
        /// Pictures of the first alone.
        only_a: usize,
        /// Pictures of the second alone.
        only_b: usize,
        /// The ids of the first of them.
        first: String,
    },
    /// Other references, questions or right answers for the same pictures.
    #[error("expected the same references in both, found others for {count} pictures in {} than in {}: {first}", b.display(), a.display())]
    References {
        /// The first.
        a: PathBuf,
        /// The second.
        b: PathBuf,
        /// How many pictures.
        count: usize,
        /// The ids of the first of them.
        first: String,
    },
    /// Scores of other tokens, or other facts of two reports that must agree.
    #[error("expected the same {what} in both, found {found_a} in {} and {found_b} in {}: such figures cannot be compared", a.display(), b.display())]
    Differs {
        /// The first.
        a: PathBuf,
        /// The second.
        b: PathBuf,
        /// What must agree.
        what: &'static str,
        /// What the first has.
        found_a: String,
        /// What the second has.
        found_b: String,
    },
    /// No figure is in both.
    #[error("expected a figure that both have, found {found_a} in {} and {found_b} in {}", a.display(), b.display())]
    NoFigures {
        /// The first.
        a: PathBuf,
        /// The second.
        b: PathBuf,
        /// The figures of the first.
        found_a: String,
        /// The figures of the second.
        found_b: String,
    },
    /// The pictures that differ most are wanted by a figure that is not there.
    #[error("no figure {key:?} to order the pictures by; there are {known}")]
    UnknownFigure {
        /// The key that was given.
        key: String,
        /// The keys there are.
        known: String,
    },
}
