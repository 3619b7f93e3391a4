//! Caption metrics with the digits of the reference evaluator (pycocoevalcap 1.2).
//!
//! The way of the data: captions as people write them pass a [`tokenize::Tokenization`] and become strings of tokens
//! with one space between; the scorers turn those into numbers. Strings in, numbers out: this crate knows nothing of
//! pictures, models or files of annotations.

pub mod meteor;
pub mod tokenize;
