//! Datasets for mPLUG: pictures with captions, for training and for evaluation.
//!
//! Read in this order: [`dataset`] is the one interface that training sees; [`synth`] draws the pictures of the
//! demo model, writes their captions and judges captions against what was drawn. This crate knows nothing of
//! networks, tokens or gradients.

pub mod dataset;
pub mod synth;
