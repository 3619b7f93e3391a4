//! The choice among matches: METEOR's beam search for an alignment in which no word is matched twice.
//!
//! Written from a description of METEOR 1.5, with what its code does rather than what its paper says: weights are
//! truncated to whole numbers, and a branch's distance is booked on the path it branched from. It knows no words.

use std::cmp::Ordering;

use super::matcher::Match;

/// Paths that survive a step.
const BEAM_SIZE: usize = 40;
/// Weights of the modules during the search; those of the score are others.
const SEARCH_WEIGHTS: [f64; 4] = [1.0, 0.5, 0.5, 0.5];
const NONE: u32 = u32::MAX;

/// One choice of a path, and the choices before it.
#[derive(Clone, Copy)]
struct Step {
    previous: u32,
    chosen: u32,
}

/// A partial alignment, up to some word of the reference.
#[derive(Clone, Copy)]
struct Path {
    /// Weighted matched words of both sides.
    matches: i64,
    chunks: u32,
    distance: u64,
    /// Where in the candidate the running chunk would continue; `NONE` if none runs.
    chunk_end: u32,
    /// First word of the reference that is free again after the last match.
    reference_end: u32,
    /// The last step, also the number of the path's set of used words.
    step: u32,
}

impl Path {
    /// Better paths first: more matches, then fewer chunks, then a smaller distance.
    fn compare(&self, other: &Self) -> Ordering {
        (other.matches.cmp(&self.matches))
            .then(self.chunks.cmp(&other.chunks))
            .then(self.distance.cmp(&other.distance))
    }

    /// Counts the running chunk unless the match continues it, and lets the match run.
    fn continue_chunk(&mut self, found: &Match) {
        if self.chunk_end != found.candidate_start {
            self.close_chunk();
        }
        self.chunk_end = found.candidate_end();
        self.reference_end = found.reference_end();
    }

    fn close_chunk(&mut self) {
        if self.chunk_end != NONE {
            self.chunks += 1;
            self.chunk_end = NONE;
        }
    }
}

/// The search's memory, reused from pair to pair.
#[derive(Default)]
pub(crate) struct Aligner {
    /// Where the matches of each word of the reference begin in the list of matches.
    starts: Vec<usize>,
    candidate_coverage: Vec<u32>,
    reference_coverage: Vec<u32>,
    /// The fixed match at each word of the reference, or `NONE`.
    fixed: Vec<u32>,
    paths: Vec<Path>,
    next_paths: Vec<Path>,
    steps: Vec<Step>,
    /// Used words of the candidate for each step, `set_words` numbers of 64 bits each.
    used: Vec<u64>,
    set_words: usize,
}

impl Aligner {
    /// Chooses from `matches` (sorted by start in the reference) into `alignment`, by start in the reference.
    pub(crate) fn align(&mut self, lengths: (usize, usize), matches: &[Match], alignment: &mut Vec<Match>) {
        alignment.clear();
        self.index(lengths, matches);
        let best = self.search(lengths, matches);
        alignment
            .extend(self.fixed.iter().filter(|index| **index != NONE).map(|index| matches[*index as usize]));
        let mut step = self.steps[best.step as usize];
        while step.previous != NONE {
            alignment.push(matches[step.chosen as usize]);
            step = self.steps[step.previous as usize];
        }
        alignment.sort_unstable_by_key(|found| found.reference_start);
    }

    /// Finds the matches that need no search: alone at their word of the reference, and every word of theirs covered
    /// by no other.
    fn index(&mut self, (candidate_length, reference_length): (usize, usize), matches: &[Match]) {
        refill(&mut self.candidate_coverage, candidate_length, 0);
        refill(&mut self.reference_coverage, reference_length, 0);
        refill(&mut self.fixed, reference_length, NONE);
        refill(&mut self.starts, reference_length + 1, 0);
        for found in matches {
            self.starts[found.reference_start as usize + 1] += 1;
            for covered in &mut self.candidate_coverage[candidate_span(found)] {
                *covered += 1;
            }
            for covered in &mut self.reference_coverage[reference_span(found)] {
                *covered += 1;
            }
        }
        for word in 0..reference_length {
            self.starts[word + 1] += self.starts[word];
        }
        for (index, found) in matches.iter().enumerate() {
            let is_alone = self.candidate_coverage[candidate_span(found)].iter().all(|covered| *covered == 1)
                && self.reference_coverage[reference_span(found)].iter().all(|covered| *covered == 1);
            if is_alone {
                self.fixed[found.reference_start as usize] = index as u32;
            }
        }
    }

    /// Left to right over the reference; the best path at its end.
    fn search(&mut self, (candidate_length, reference_length): (usize, usize), matches: &[Match]) -> Path {
        self.set_words = candidate_length.div_ceil(64);
        self.steps.clear();
        self.steps.push(Step { previous: NONE, chosen: NONE });
        refill(&mut self.used, self.set_words, 0);
        let start = Path { matches: 0, chunks: 0, distance: 0, chunk_end: NONE, reference_end: 0, step: 0 };
        self.next_paths.clear();
        self.next_paths.push(start);
        for word in 0..reference_length {
            std::mem::swap(&mut self.paths, &mut self.next_paths);
            self.paths.sort_by(Path::compare); // stable, as Java's
            self.paths.truncate(BEAM_SIZE);
            self.next_paths.clear();
            for rank in 0..self.paths.len() {
                self.extend(self.paths[rank], word, matches);
            }
        }
        // Ties of the end are broken by the order before the last chunks are counted.
        self.next_paths.sort_by(Path::compare);
        self.next_paths.truncate(BEAM_SIZE);
        for path in &mut self.next_paths {
            path.close_chunk();
        }
        self.next_paths.iter().copied().min_by(Path::compare).unwrap_or(start) // the first of equals
    }

    /// All continuations of `path` at a word of the reference.
    fn extend(&mut self, mut path: Path, word: usize, matches: &[Match]) {
        if path.reference_end as usize > word {
            self.next_paths.push(path); // inside a phrase
            return;
        }
        if let Some(found) = matches.get(self.fixed[word] as usize) {
            path.continue_chunk(found);
            self.next_paths.push(path);
            return;
        }
        let (start, end) = (self.starts[word], self.starts[word + 1]);
        for (index, found) in (start..).zip(&matches[start..end]) {
            if self.is_used(path.step, found) {
                continue;
            }
            let mut longer = path;
            longer.continue_chunk(found);
            longer.matches += gain(found);
            longer.step = self.use_words(path.step, index, found);
            self.next_paths.push(longer);
            // The jar adds this to the path it copied from, after copying: it weighs on later branches and the skip.
            path.distance += u64::from(found.reference_start.abs_diff(found.candidate_start));
        }
        path.close_chunk();
        self.next_paths.push(path);
    }

    fn is_used(&self, step: u32, found: &Match) -> bool {
        let set = &self.used[step as usize * self.set_words..];
        candidate_span(found).any(|word| set[word / 64] >> (word % 64) & 1 == 1)
    }

    /// A new step with the words of `found` used as well.
    fn use_words(&mut self, previous: u32, index: usize, found: &Match) -> u32 {
        let set = previous as usize * self.set_words;
        self.used.extend_from_within(set..set + self.set_words);
        let step = self.steps.len();
        for word in candidate_span(found) {
            self.used[step * self.set_words + word / 64] |= 1 << (word % 64);
        }
        self.steps.push(Step { previous, chosen: index as u32 });
        step as u32
    }
}

/// Weighted words of a match, each side truncated: a single word that matches by stem alone gains nothing.
fn gain(found: &Match) -> i64 {
    let weight = SEARCH_WEIGHTS[found.module];
    let truncated = |words: u32| (f64::from(words) * weight) as i64;
    truncated(found.reference_length) + truncated(found.candidate_length)
}

fn candidate_span(found: &Match) -> std::ops::Range<usize> {
    found.candidate_start as usize..found.candidate_end() as usize
}

fn reference_span(found: &Match) -> std::ops::Range<usize> {
    found.reference_start as usize..found.reference_end() as usize
}

fn refill<T: Clone>(list: &mut Vec<T>, length: usize, value: T) {
    list.clear();
    list.resize(length, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (reference start and length, candidate start and length, module) as a match.
    fn found((reference, candidate, module): ((u32, u32), (u32, u32), usize)) -> Match {
        Match {
            reference_start: reference.0,
            reference_length: reference.1,
            candidate_start: candidate.0,
            candidate_length: candidate.1,
            module,
        }
    }

    fn exact(reference: u32, candidate: u32) -> Match {
        found(((reference, 1), (candidate, 1), 0))
    }

    fn aligned(lengths: (usize, usize), matches: &[Match]) -> Vec<Match> {
        let mut alignment = Vec::new();
        Aligner::default().align(lengths, matches, &mut alignment);
        alignment
    }

    #[test]
    fn lone_matches_are_fixed_whatever_their_weight() {
        let stem = found(((0, 1), (1, 1), 1));
        assert_eq!(aligned((2, 1), &[stem]), [stem]);
        assert_eq!(aligned((0, 0), &[]), []);
    }

    #[test]
    fn a_word_matched_in_two_ways_without_weight_stays_unmatched() {
        // "running" against "runs" by stem and by paraphrase: half a word truncated is none.
        assert_eq!(aligned((1, 1), &[found(((0, 1), (0, 1), 1)), found(((0, 1), (0, 1), 3))]), []);
    }

    #[test]
    fn fewer_chunks_win_and_no_word_is_used_twice() {
        // Reference "a b", candidate "a x a b": the second "a" makes one chunk with "b".
        let matches = [exact(0, 0), exact(0, 2), exact(1, 3)];
        assert_eq!(aligned((4, 2), &matches), [exact(0, 2), exact(1, 3)]);
        // Reference "a a", candidate "a".
        assert_eq!(aligned((1, 2), &[exact(0, 0), exact(1, 0)]).len(), 1);
    }

    #[test]
    fn candidates_of_more_than_64_words_have_longer_sets() {
        let matches: Vec<Match> =
            (0..100).flat_map(|word| [exact(word, word), exact(word, (word + 70) % 140)]).collect();
        let alignment = aligned((140, 100), &matches);
        assert_eq!(alignment, (0..100).map(|word| exact(word, word)).collect::<Vec<_>>());
    }

    /// All sets of matches without a common word, by brute force.
    fn largest(matches: &[Match], used: (u64, u64)) -> i64 {
        let Some((first, rest)) = matches.split_first() else { return 0 };
        let bits = (1 << first.reference_start, 1 << first.candidate_start);
        let without = largest(rest, used);
        if used.0 & bits.0 != 0 || used.1 & bits.1 != 0 {
            return without;
        }
        without.max(2 + largest(rest, (used.0 | bits.0, used.1 | bits.1)))
    }

    proptest::proptest! {
        #[test]
        fn small_searches_find_as_many_exact_matches_as_there_can_be(
            candidate in proptest::collection::vec(0_u8..3, 0..5),
            reference in proptest::collection::vec(0_u8..3, 0..5),
        ) {
            let mut matches = Vec::new();
            for (j, theirs) in (0..).zip(&reference) {
                for (i, _) in (0..).zip(&candidate).filter(|(_, ours)| *ours == theirs) {
                    matches.push(exact(j, i));
                }
            }
            let alignment = aligned((candidate.len(), reference.len()), &matches);
            proptest::prop_assert_eq!(alignment.len() as i64 * 2, largest(&matches, (0, 0)));
        }
    }
}
