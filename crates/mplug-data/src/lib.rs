//! Datasets for mPLUG: pictures with captions, for training and for evaluation.
//!
//! Read in this order: [`dataset`] is the one interface that training and evaluation see; [`annotation`] is what
//! annotation files say, whatever their [`format`](mod@format), and `readers` (one file a format) reads them; [`source`]
//! is where pictures are: folders, archives, tables; [`candidates`] are the captions that a model wrote; [`augment`]
//! varies pictures for training; [`synth`] draws the pictures of the demo model, writes captions and questions about them
//! and judges captions and answers against what was drawn. [`mod@looks`] says which files are pictures. [`picture`], [`batches`], [`journal`] and [`message`] are what every
//! long run over pictures shares: opening them, reading ahead, going on where it was stopped, naming what failed. This crate
//! knows nothing of networks, tokens or gradients.

pub mod annotation;
pub mod augment;
pub mod batches;
pub mod candidates;
pub mod dataset;
pub mod error;
pub mod format;
pub mod journal;
pub mod looks;
pub mod machine;
mod member_names;
pub mod message;
mod names;
pub mod picture;
mod readers;
pub mod source;
pub mod synth;
mod text;
