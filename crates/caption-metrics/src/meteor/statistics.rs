//! METEOR's sufficient statistics and the score made of them.
//!
//! Parameters and formula: METEOR 1.5, English, ranking task (Denkowski and Lavie 2014). It knows nothing of words.

use std::fmt;

/// Weights of the modules exact, stem, synonym, paraphrase in precision and recall.
const MODULE_WEIGHTS: [f64; 4] = [1.0, 0.6, 0.8, 0.6];
/// Balance of precision and recall.
const ALPHA: f64 = 0.85;
/// Exponent of the fragmentation penalty.
const BETA: f64 = 0.20;
/// Weight of the fragmentation penalty.
const GAMMA: f64 = 0.60;
/// Weight of content words against function words.
const DELTA: f64 = 0.75;

/// Matched words of one module, split by their kind.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ModuleStatistics {
    /// Matched content words of the candidate.
    pub candidate_content: f64,
    /// Matched content words of the reference.
    pub reference_content: f64,
    /// Matched function words of the candidate.
    pub candidate_function: f64,
    /// Matched function words of the reference.
    pub reference_function: f64,
}

/// The 23 numbers that the official jar prints for a candidate and its best reference, or their sums over images.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Statistics {
    /// Words of the candidate.
    pub candidate_length: f64,
    /// Words of the reference.
    pub reference_length: f64,
    /// Function words of the candidate.
    pub candidate_function_words: f64,
    /// Function words of the reference.
    pub reference_function_words: f64,
    /// Matches by module: exact, stem, synonym, paraphrase.
    pub modules: [ModuleStatistics; 4],
    /// Maximal runs of matches that are contiguous in both sentences.
    pub chunks: f64,
    /// Matched words of the candidate.
    pub candidate_matches: f64,
    /// Matched words of the reference.
    pub reference_matches: f64,
}

impl Statistics {
    /// The METEOR score of these statistics, between 0 and 1.
    pub fn score(&self) -> f64 {
        let [mut candidate, mut reference] = [0.0, 0.0];
        for (module, weight) in self.modules.iter().zip(MODULE_WEIGHTS) {
            candidate += weight * weighted(module.candidate_content, module.candidate_function);
            reference += weight * weighted(module.reference_content, module.reference_function);
        }
        let precision = candidate / weighted_length(self.candidate_length, self.candidate_function_words);
        let recall = reference / weighted_length(self.reference_length, self.reference_function_words);
        let mean = 1.0 / ((1.0 - ALPHA) / precision + ALPHA / recall);
        let score = mean * (1.0 - GAMMA * self.fragmentation().powf(BETA));
        if score.is_nan() { 0.0 } else { score }
    }

    /// Adds another image's statistics. As in the jar, the one chunk of a wholly matched image does not count.
    pub fn add(&mut self, other: &Self) {
        self.candidate_length += other.candidate_length;
        self.reference_length += other.reference_length;
        self.candidate_function_words += other.candidate_function_words;
        self.reference_function_words += other.reference_function_words;
        for (sum, module) in self.modules.iter_mut().zip(&other.modules) {
            sum.candidate_content += module.candidate_content;
            sum.reference_content += module.reference_content;
            sum.candidate_function += module.candidate_function;
            sum.reference_function += module.reference_function;
        }
        if !other.is_one_whole_chunk() {
            self.chunks += other.chunks;
        }
        self.candidate_matches += other.candidate_matches;
        self.reference_matches += other.reference_matches;
    }

    /// The numbers in the order in which the jar prints them.
    pub fn to_array(&self) -> [f64; 23] {
        let mut numbers = [0.0; 23];
        numbers[0] = self.candidate_length;
        numbers[1] = self.reference_length;
        numbers[2] = self.candidate_function_words;
        numbers[3] = self.reference_function_words;
        for (four, module) in numbers[4..20].chunks_exact_mut(4).zip(&self.modules) {
            four.copy_from_slice(&[
                module.candidate_content,
                module.reference_content,
                module.candidate_function,
                module.reference_function,
            ]);
        }
        numbers[20] = self.chunks;
        numbers[21] = self.candidate_matches;
        numbers[22] = self.reference_matches;
        numbers
    }

    #[expect(clippy::float_cmp, reason = "they are whole numbers")]
    fn is_one_whole_chunk(&self) -> bool {
        self.candidate_matches == self.candidate_length
            && self.reference_matches == self.reference_length
            && self.chunks == 1.0
    }

    fn fragmentation(&self) -> f64 {
        if self.is_one_whole_chunk() {
            return 0.0;
        }
        self.chunks / f64::midpoint(self.candidate_matches, self.reference_matches)
    }
}

/// Prints the numbers as the jar does: `5.0 6.0 …`.
impl fmt::Display for Statistics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, number) in self.to_array().iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(formatter, "{space}{number:?}")?;
        }
        Ok(())
    }
}

fn weighted(content: f64, function: f64) -> f64 {
    DELTA * content + (1.0 - DELTA) * function
}

fn weighted_length(words: f64, function_words: f64) -> f64 {
    weighted(words - function_words, function_words)
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "whole numbers and an exact zero")]
mod tests {
    use super::*;

    /// "a dog running" against "a dog runs": two exact matches, one of them a function word, and a stem.
    fn dog() -> Statistics {
        let mut statistics = Statistics {
            candidate_length: 3.0,
            reference_length: 3.0,
            candidate_function_words: 1.0,
            reference_function_words: 1.0,
            chunks: 1.0,
            candidate_matches: 3.0,
            reference_matches: 3.0,
            ..Statistics::default()
        };
        statistics.modules[0] = ModuleStatistics {
            candidate_content: 1.0,
            reference_content: 1.0,
            candidate_function: 1.0,
            reference_function: 1.0,
        };
        statistics.modules[1] = ModuleStatistics {
            candidate_content: 1.0,
            reference_content: 1.0,
            ..ModuleStatistics::default()
        };
        statistics
    }

    #[test]
    fn scores_as_the_jar_does() {
        assert!((dog().score() - 0.828_571_428_571_428_4).abs() < 1e-15);
        assert_eq!(Statistics::default().score(), 0.0);
    }

    #[test]
    fn a_whole_chunk_is_not_summed() {
        let mut sum = dog();
        sum.chunks = 2.0;
        sum.add(&dog());
        assert_eq!(sum.chunks, 2.0);
        assert_eq!(sum.candidate_length, 6.0);
    }

    #[test]
    fn prints_like_the_jar() {
        let text = dog().to_string();
        assert!(text.starts_with("3.0 3.0 1.0 1.0 1.0 1.0 1.0 1.0 1.0 1.0 0.0 "), "{text}");
        assert!(text.ends_with(" 1.0 3.0 3.0"), "{text}");
    }
}
