//! METEOR 1.5 for English with the digits of the official jar as the reference evaluator calls it (`-l en -norm`).
//!
//! The way of a pair: `normalize` makes tokens, `words` looks them up, `matcher` lists what could match,
//! `aligner` chooses, `statistics` counts and scores. The data comes from the user's files ([`MeteorData`]); without
//! them only exact and stem matches are made and the figure has another name. Algorithm: Denkowski and Lavie 2014, with
//! what the jar does where it differs; compared with the jar by `reference/compare_meteor.py`.

mod aligner;
mod cache;
mod compile;
mod data;
mod error;
mod matcher;
mod normalize;
mod paraphrases;
mod statistics;
mod synonyms;
mod words;

use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use self::aligner::Aligner;
pub use self::data::{CacheState, MeteorData};
pub use self::error::MeteorError;
use self::matcher::{Match, find_matches};
pub use self::statistics::{ModuleStatistics, Statistics};
use self::words::{Sentence, WordCache};
use crate::{Error, Scores};

/// Images given to a thread at a time.
const IMAGES_PER_TASK: usize = 64;

/// Scores candidates, one per image, against the references of their images, on all threads of rayon's pool.
///
/// Captions are strings of tokens as the tokeniser leaves them. The corpus figure is the score of the summed statistics, not
/// the mean of the images'; what it may be called is [`MeteorData::label`]. The number of threads changes nothing.
///
/// # Errors
/// [`Error::Lengths`] and [`Error::NoReferences`] for sets that do not belong together.
pub fn meteor(data: &MeteorData, candidates: &[String], references: &[Vec<String>]) -> Result<Scores, Error> {
    if candidates.len() != references.len() {
        return Err(Error::Lengths { candidates: candidates.len(), references: references.len() });
    }
    if let Some(image) = references.iter().position(Vec::is_empty) {
        return Err(Error::NoReferences { image });
    }
    let meteor = Meteor::new(data);
    let statistics: Vec<Statistics> = candidates
        .par_chunks(IMAGES_PER_TASK)
        .zip(references.par_chunks(IMAGES_PER_TASK))
        .flat_map_iter(|(candidates, references)| meteor.score_images(candidates, references))
        .collect();
    let mut sum = Statistics::default();
    for image in &statistics {
        sum.add(image);
    }
    let images = statistics.iter().map(Statistics::score).collect();
    Ok(Scores { corpus: sum.score(), images })
}

/// A scorer; can be shared between threads.
pub struct Meteor<'a> {
    data: &'a MeteorData,
    /// Memories not in use, one per thread at most.
    scratch: Mutex<Vec<Scratch>>,
}

impl<'a> Meteor<'a> {
    /// A scorer with this data.
    pub fn new(data: &'a MeteorData) -> Self {
        Self { data, scratch: Mutex::default() }
    }

    /// The statistics of `candidate` against the reference that scores best, the first of equals.
    ///
    /// As the reference evaluator does, `|||` is removed from the candidate and then double spaces are made single,
    /// once; a reference that contains `|||` counts as several. Without references the candidate is compared with an
    /// empty one.
    pub fn score(&self, candidate: &str, references: &[&str]) -> Statistics {
        self.with_scratch(|scratch| scratch.score(self.data, candidate, references.iter().copied()))
    }

    fn score_images(&self, candidates: &[String], references: &[Vec<String>]) -> Vec<Statistics> {
        let images = candidates.iter().zip(references);
        self.with_scratch(|scratch| {
            images
                .map(|(candidate, references)| {
                    scratch.score(self.data, candidate, references.iter().map(String::as_str))
                })
                .collect()
        })
    }

    fn with_scratch<T>(&self, work: impl FnOnce(&mut Scratch) -> T) -> T {
        let free = || self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let mut scratch = free().pop().unwrap_or_else(Scratch::new);
        let result = work(&mut scratch);
        free().push(scratch);
        result
    }
}

/// The memory of one thread.
struct Scratch {
    cache: WordCache,
    candidate: Sentence,
    reference: Sentence,
    matches: Vec<Match>,
    alignment: Vec<Match>,
    aligner: Aligner,
}

impl Scratch {
    fn new() -> Self {
        Self {
            cache: WordCache::new(),
            candidate: Sentence::default(),
            reference: Sentence::default(),
            matches: Vec::new(),
            alignment: Vec::new(),
            aligner: Aligner::default(),
        }
    }

    fn score<'r>(
        &mut self,
        data: &MeteorData,
        candidate: &str,
        references: impl Iterator<Item = &'r str>,
    ) -> Statistics {
        self.cache.limit();
        let candidate = candidate.replace("|||", "").replace("  ", " ");
        self.cache.read_sentence(&candidate, data, &mut self.candidate);
        let mut best = None;
        for reference in references.flat_map(|reference| reference.split("|||")) {
            let statistics = self.compare(data, reference);
            let score = statistics.score();
            if best.is_none_or(|(_, best_score)| score > best_score) {
                best = Some((statistics, score));
            }
        }
        best.map_or_else(|| self.compare(data, ""), |(statistics, _)| statistics)
    }

    /// The candidate read last against a reference.
    fn compare(&mut self, data: &MeteorData, reference: &str) -> Statistics {
        self.cache.read_sentence(reference, data, &mut self.reference);
        let Self { cache, candidate, reference, matches, alignment, aligner } = self;
        find_matches(candidate, reference, cache, data, matches);
        aligner.align((candidate.words.len(), reference.words.len()), matches, alignment);
        count(candidate, reference, alignment)
    }
}

/// The statistics of an alignment, which is sorted by start in the reference.
fn count(candidate: &Sentence, reference: &Sentence, alignment: &[Match]) -> Statistics {
    let mut statistics = Statistics {
        candidate_length: candidate.words.len() as f64,
        reference_length: reference.words.len() as f64,
        candidate_function_words: candidate.function_words as f64,
        reference_function_words: reference.function_words as f64,
        ..Statistics::default()
    };
    let mut chunk_ends = None;
    for found in alignment {
        let module = &mut statistics.modules[found.module];
        for word in &candidate.words[found.candidate_start as usize..found.candidate_end() as usize] {
            *if word.is_function { &mut module.candidate_function } else { &mut module.candidate_content } +=
                1.0;
        }
        for word in &reference.words[found.reference_start as usize..found.reference_end() as usize] {
            *if word.is_function { &mut module.reference_function } else { &mut module.reference_content } +=
                1.0;
        }
        statistics.candidate_matches += f64::from(found.candidate_length);
        statistics.reference_matches += f64::from(found.reference_length);
        if chunk_ends != Some((found.reference_start, found.candidate_start)) {
            statistics.chunks += 1.0;
        }
        chunk_ends = Some((found.reference_end(), found.candidate_end()));
    }
    statistics
}
