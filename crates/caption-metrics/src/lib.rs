//! Caption metrics with the digits of the reference evaluator (pycocoevalcap 1.2).
//!
//! The way of the data, which is also the order to read in:
//!
//! 1. [`tokenize`]: captions as people write them become strings of tokens with one space between.
//! 2. [`corpus`]: candidates and references as numbered words, images side by side.
//! 3. [`bleu`], [`rouge_l`], [`cider`]: a corpus into [`Scores`]; n-grams are numbers too ([`ngram`]), so no inner loop
//!    touches a string.
//! 4. [`meteor`], with its data from the user's files, and [`spice`], the user's official program.
//! 5. [`evaluation`]: all of them at once, as a command or a trainer reports them.
//! 6. [`reward`]: CIDEr as the reward of self-critical training.
//! 7. [`accuracy`], [`vqa`], [`retrieval`]: figures of the other tasks.
//!
//! Strings in, numbers out: this crate knows nothing of pictures, models or files of annotations.
//!
//! ```
//! use caption_metrics::{bleu::bleu, cider::cider, corpus::Corpus, tokenize::Tokenization};
//!
//! let candidates = Tokenization::Ptb.tokenize(&["A dog runs.", "Two cats sleep on a bed."])?;
//! let references = [vec!["a dog is running"], vec!["two cats asleep on a bed", "cats in bed"]];
//! let references = Tokenization::Ptb.tokenize_images(&references)?;
//! let corpus = Corpus::new(&candidates, &references)?;
//! assert!((bleu(&corpus).corpus[0] - 0.6959).abs() < 1e-4);
//! assert_eq!(cider(&corpus).images.len(), 2);
//! # Ok::<(), caption_metrics::Error>(())
//! ```

#![cfg_attr(test, allow(clippy::float_cmp, reason = "many a score is exact by its construction"))]

pub mod accuracy;
pub mod bleu;
pub mod cider;
pub mod corpus;
mod error;
pub mod evaluation;
pub mod meteor;
pub mod ngram;
pub mod retrieval;
pub mod reward;
pub mod rouge_l;
pub mod spice;
pub mod tokenize;
pub mod vqa;

pub use error::Error;

/// A figure for each image, and one for all.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// The figure of the whole corpus; each metric says how it comes from the images'.
    pub corpus: f64,
    /// The figures of the images, in the corpus's order.
    pub images: Vec<f64>,
}

impl Scores {
    /// Scores whose corpus figure is the mean over images, 0 of none.
    pub(crate) fn of_mean(images: Vec<f64>) -> Self {
        let corpus = if images.is_empty() { 0.0 } else { images.iter().sum::<f64>() / images.len() as f64 };
        Self { corpus, images }
    }
}
