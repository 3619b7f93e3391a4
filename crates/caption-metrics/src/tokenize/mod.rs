//! Captions into tokens.
//!
//! [`ptb`] is compatible with the Penn Treebank tokeniser that the reference evaluator runs (Stanford CoreNLP 3.4.1).

pub mod ptb;
