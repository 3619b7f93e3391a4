//! All ways in which words or phrases of a candidate can match those of a reference.
//!
//! Four modules in METEOR's order: exact, stem, synonym, paraphrase. Two words that match by several modules give several
//! matches; the aligner chooses. It knows nothing of the choice.

use super::data::MeteorData;
use super::paraphrases::ParaphraseTable;
use super::words::{Phrase, Phrases, Sentence, WordCache};

/// The modules, in the order of the statistics.
pub(crate) const EXACT: usize = 0;
const STEM: usize = 1;
const SYNONYM: usize = 2;
const PARAPHRASE: usize = 3;

/// A run of words of the reference and the run of the candidate that matches it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Match {
    pub(crate) reference_start: u32,
    pub(crate) reference_length: u32,
    pub(crate) candidate_start: u32,
    pub(crate) candidate_length: u32,
    /// Place in the statistics.
    pub(crate) module: usize,
}

impl Match {
    fn word(reference: usize, candidate: usize, module: usize) -> Self {
        Self {
            reference_start: reference as u32,
            reference_length: 1,
            candidate_start: candidate as u32,
            candidate_length: 1,
            module,
        }
    }

    fn phrase(reference: Phrase, candidate: Phrase) -> Self {
        Self {
            reference_start: reference.start,
            reference_length: reference.length,
            candidate_start: candidate.start,
            candidate_length: candidate.length,
            module: PARAPHRASE,
        }
    }

    pub(crate) fn reference_end(&self) -> u32 {
        self.reference_start + self.reference_length
    }

    pub(crate) fn candidate_end(&self) -> u32 {
        self.candidate_start + self.candidate_length
    }
}

/// Lists the matches into `matches`, by start in the reference; those of one start by module, in order of finding.
pub(crate) fn find_matches(
    candidate: &Sentence,
    reference: &Sentence,
    cache: &WordCache,
    data: &MeteorData,
    matches: &mut Vec<Match>,
) {
    matches.clear();
    let is_same = candidate.words.len() == reference.words.len()
        && candidate.words.iter().zip(&reference.words).all(|(a, b)| a.hash == b.hash);
    for (j, theirs) in reference.words.iter().enumerate() {
        for (i, ours) in candidate.words.iter().enumerate() {
            if ours.hash == theirs.hash {
                matches.push(Match::word(j, i, EXACT));
                continue;
            }
            if is_same {
                continue; // identical sentences are matched by the exact module alone
            }
            if ours.stem_hash == theirs.stem_hash {
                matches.push(Match::word(j, i, STEM));
            }
            if cache.are_synonyms(ours, theirs) {
                matches.push(Match::word(j, i, SYNONYM));
            }
        }
    }
    if let Some(resources) = &data.resources
        && !is_same
    {
        find_paraphrases(candidate, reference, &resources.paraphrases, matches);
    }
    matches.sort_by_key(|found| (found.reference_start, found.module)); // stable
}

/// A paraphrase may be listed under the reference's phrase or under the candidate's.
fn find_paraphrases(
    candidate: &Sentence,
    reference: &Sentence,
    table: &ParaphraseTable,
    matches: &mut Vec<Match>,
) {
    for theirs in reference.phrases.iter() {
        for ours in paraphrases_among(theirs, &candidate.phrases, table) {
            matches.push(Match::phrase(theirs, ours));
        }
    }
    for ours in candidate.phrases.iter() {
        for theirs in paraphrases_among(ours, &reference.phrases, table) {
            matches.push(Match::phrase(theirs, ours));
        }
    }
}

/// The occurrences among `phrases` of what the table lists as paraphrases of `phrase`, in the table's order.
fn paraphrases_among<'a>(
    phrase: Phrase,
    phrases: &'a Phrases,
    table: &'a ParaphraseTable,
) -> impl Iterator<Item = Phrase> + 'a {
    table.targets(phrase.node).iter().flat_map(|target| phrases.of_node(*target)).copied()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::meteor::data::Resources;
    use crate::meteor::paraphrases::tests::tiny;
    use crate::meteor::synonyms::Synonyms;

    fn matches(candidate: &str, reference: &str) -> Vec<(u32, u32, u32, u32, usize)> {
        let synsets = (Path::new("synsets"), "dog\n1 2\nhound\n2\nbig\n5\nlarge\n5\n");
        let synonyms = Synonyms::parse(synsets, (Path::new("exceptions"), "a\nb\n")).unwrap();
        let data = MeteorData::with_resources(Resources { synonyms, paraphrases: tiny() });
        let mut cache = WordCache::new();
        let [mut ours, mut theirs] = [Sentence::default(), Sentence::default()];
        cache.read_sentence(candidate, &data, &mut ours);
        cache.read_sentence(reference, &data, &mut theirs);
        let mut matches = Vec::new();
        find_matches(&ours, &theirs, &cache, &data, &mut matches);
        let spans = |m: &Match| {
            (m.reference_start, m.reference_length, m.candidate_start, m.candidate_length, m.module)
        };
        matches.iter().map(spans).collect()
    }

    #[test]
    fn each_module_finds_its_matches() {
        assert_eq!(matches("a dog", "dog"), [(0, 1, 1, 1, EXACT)]);
        assert_eq!(matches("walks", "walking"), [(0, 1, 0, 1, STEM)]);
        assert_eq!(matches("dogs", "hound"), [(0, 1, 0, 1, SYNONYM)]);
        // The table lists "very large" under "big" and "big" under "large": both directions count.
        assert_eq!(
            matches("very large", "big"),
            [(0, 1, 1, 1, SYNONYM), (0, 1, 0, 2, PARAPHRASE), (0, 1, 1, 1, PARAPHRASE)]
        );
    }

    #[test]
    fn identical_sentences_match_exactly_only() {
        assert_eq!(matches("dog hound", "dog hound"), [(0, 1, 0, 1, EXACT), (1, 1, 1, 1, EXACT)]);
        assert_eq!(matches("hound dog", "dog hound").len(), 4);
    }
}
