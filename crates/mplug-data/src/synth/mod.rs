//! Drawn pictures with captions whose truth can be checked.
//!
//! The way of the data: a seed and an index give a [`Scene`] (`compose`), the scene gives pixels (`draw`,
//! `objects`) and captions (`caption`); `check` parses any caption back and judges it against the scene, and
//! [`TruthReport`] adds such verdicts up. A scene also gives [`questions`] with their answers, for question answering,
//! and captions that are false in one thing ([`false_caption()`]), for matching. Our own design: the original has nothing
//! like it. Nothing here knows of a model. Training draws with [`TRAIN_SEED`], evaluation with [`EVAL_SEED`].

mod caption;
mod check;
mod chosen;
mod compose;
mod draw;
mod false_caption;
mod folder;
mod objects;
mod question;
mod random;
mod report;
mod scene;
mod vocabulary;
mod words;

pub use caption::{captions_en, captions_zh};
pub use check::{ParsedCaption, Verdict, check_caption};
pub use chosen::{chosen_caption, chosen_question};
pub use compose::compose;
pub use draw::{SynthExample, draw, draw_at, render};
pub use false_caption::{Difference, FalseCaption, false_caption};
pub use folder::{FolderOptions, write_folder};
pub use question::{Question, QuestionKind, judge_answer, questions};
pub use report::{FamilyTruth, Share, TruthReport};
pub use scene::{Background, Colour, Family, Group, Kind, Object, Place, Relation, Rgb, Scene};
pub use vocabulary::demo_vocabulary;
pub use words::Named;

/// The seed that training draws with.
pub const TRAIN_SEED: u64 = 1;
/// The seed that evaluation draws with: never train on it.
pub const EVAL_SEED: u64 = 2;
