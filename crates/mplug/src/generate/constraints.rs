//! Words that a text must have, and words that it must not: a beam search that keeps to them.
//!
//! A forbidden word is one that never comes to stand in the text: a token that would complete it is passed over. Required words
//! follow grid beam search (Hokamp & Liu, arXiv 1704.07138) with the beams shared out as in dynamic beam allocation (Post &
//! Vilar, arXiv 1804.06609): beside the likely tokens, each beam is offered the next token of every word that it still lacks;
//! the beams are then chosen in turn from those that have most of the required tokens down to those that have none, and a text
//! may end only when it has them all.
//!
//! Knows texts through a function that the caller gives: what is read is what is judged.

use std::sync::Arc;

use super::beam_search::{BeamSearch, BeamStep, BestCandidates, Candidate};

/// A word, or several, that a text must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequiredWord {
    /// As it stands in texts.
    pub text: String,
    /// The tokens that write it.
    pub token_ids: Vec<u32>,
}

/// The text of generated tokens, as it will be returned.
pub type TextOf = Arc<dyn Fn(&[u32]) -> String + Send + Sync>;

/// What texts must and must not have.
pub struct Constraints {
    text_of: TextOf,
    /// Whether a text has a word.
    has_word: fn(&str, &str) -> bool,
    forbidden: Vec<String>,
    required: Vec<RequiredWord>,
}

impl Constraints {
    /// Constraints on the texts of `text_of`, in which `has_word(text, word)` finds words.
    pub fn new(
        text_of: TextOf,
        has_word: fn(&str, &str) -> bool,
        forbidden: Vec<String>,
        required: Vec<RequiredWord>,
    ) -> Self {
        Self { text_of, has_word, forbidden, required }
    }

    /// Whether none of the forbidden words is in the text of these tokens.
    pub(super) fn allows(&self, token_ids: &[u32]) -> bool {
        if self.forbidden.is_empty() {
            return true;
        }
        let text = (self.text_of)(token_ids);
        !self.forbidden.iter().any(|word| (self.has_word)(&text, word))
    }

    /// Whether all required words are in the text of these tokens.
    pub(super) fn are_met(&self, token_ids: &[u32]) -> bool {
        self.required.is_empty() || self.lacking(token_ids).next().is_none()
    }

    fn lacking(&self, token_ids: &[u32]) -> impl Iterator<Item = &RequiredWord> {
        let text = (self.text_of)(token_ids);
        self.required.iter().filter(move |word| !(self.has_word)(&text, &word.text))
    }

    /// How many of the required words' tokens are there, those of a word that is being written included.
    fn progress(&self, token_ids: &[u32]) -> usize {
        let all: usize = self.required.iter().map(|word| word.token_ids.len()).sum();
        let (mut missing, mut begun) = (0, 0);
        for word in self.lacking(token_ids) {
            missing += word.token_ids.len();
            begun = begun.max(begun_of(&word.token_ids, token_ids));
        }
        all - missing + begun
    }

    /// The tokens that bring a text nearer to each word that it lacks.
    fn helpful_tokens(&self, token_ids: &[u32]) -> Vec<u32> {
        let next = |word: &RequiredWord| word.token_ids[begun_of(&word.token_ids, token_ids)];
        let mut tokens: Vec<u32> = self.lacking(token_ids).map(next).collect();
        tokens.sort_unstable();
        tokens.dedup();
        tokens
    }
}

/// How many of `word`'s tokens, from its first, the text ends in; never all of them: then it is there, but not as a word.
fn begun_of(word: &[u32], text: &[u32]) -> usize {
    (0..word.len()).rev().find(|&len| text.ends_with(&word[..len])).unwrap_or(0)
}

/// A candidate, and how much of what is required it has.
struct Ranked {
    candidate: Candidate,
    progress: usize,
}

impl BeamSearch {
    /// [`Self::advance`] within constraints. A search that ends without a hypothesis found none that meets them.
    ///
    /// # Panics
    /// As [`Self::advance`].
    pub fn advance_within(&mut self, log_probs: &[f32], constraints: &Constraints) -> Option<BeamStep> {
        let vocab_size = log_probs.len() / self.num_live_beams();
        if self.must_end() {
            let mut ends = self.ends(log_probs);
            ends.retain(|candidate| constraints.are_met(self.token_ids(candidate.beam)));
            return self.follow(&ends, |token_ids| constraints.are_met(token_ids));
        }
        let mut offered = Vec::new();
        for (beam, row) in log_probs.chunks_exact(vocab_size).enumerate() {
            self.offer(beam, row, constraints, &mut offered);
        }
        let candidates = share_out(offered, self.num_beams());
        self.follow(&candidates, |token_ids| constraints.are_met(token_ids))
    }

    /// The continuations of one beam that may be chosen: the likeliest ones, and those that help.
    fn offer(&self, beam: usize, row: &[f32], constraints: &Constraints, offered: &mut Vec<Ranked>) {
        let so_far = self.token_ids(beam);
        // The original lets texts grow past their end; words would be hung on there.
        if !constraints.required.is_empty() && so_far.last() == Some(&self.eos_token_id()) {
            return;
        }
        let may_end = constraints.are_met(so_far);
        let mut text = so_far.to_vec();
        let mut is_allowed = |token: u32| {
            text.push(token);
            let is_allowed = (may_end || token != self.eos_token_id()) && constraints.allows(&text);
            text.pop();
            is_allowed
        };
        let mut best = BestCandidates::new(self.num_beams());
        for (token, &log_prob) in row.iter().enumerate() {
            if best.admits(self.sum(beam, token as u32, log_prob)) && is_allowed(token as u32) {
                best.insert(self.candidate(beam, token as u32, log_prob));
            }
        }
        let mut chosen = best.into_sorted();
        for token in constraints.helpful_tokens(so_far) {
            if chosen.iter().all(|candidate| candidate.token != token) && is_allowed(token) {
                chosen.push(self.candidate(beam, token, row[token as usize]));
            }
        }
        offered.extend(chosen.into_iter().map(|candidate| {
            let continued = [so_far, &[candidate.token]].concat();
            Ranked { progress: constraints.progress(&continued), candidate }
        }));
    }
}

/// Chooses `count` candidates: the best of each degree of progress, from the highest down, then the second of each, and so on.
/// Best first.
fn share_out(mut offered: Vec<Ranked>, count: usize) -> Vec<Candidate> {
    // Stable: of equal scores the lower beam and token come first, as without constraints.
    offered.sort_by(|a, b| b.candidate.score.total_cmp(&a.candidate.score));
    let highest = offered.iter().map(|ranked| ranked.progress).max().unwrap_or(0);
    let mut seen = vec![0; highest + 1];
    let mut turns: Vec<(usize, usize, Candidate)> = offered
        .into_iter()
        .map(|Ranked { candidate, progress }| {
            seen[progress] += 1;
            (seen[progress], highest - progress, candidate)
        })
        .collect();
    turns.sort_by_key(|&(turn, behind, _)| (turn, behind));
    turns.truncate(count);
    let mut chosen: Vec<Candidate> = turns.into_iter().map(|(_, _, candidate)| candidate).collect();
    chosen.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.beam.cmp(&b.beam)).then(a.token.cmp(&b.token)));
    chosen
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::beam_search::{BeamSearchConfig, Hypothesis, LengthPenalty};
    use super::*;

    const EOS: u32 = 5;
    const VOCAB: usize = 6;
    const STEPS: usize = 6;

    /// Tokens 0 to 4 are letters; the end token is not read.
    fn letters(token_ids: &[u32]) -> String {
        token_ids.iter().filter(|id| **id != EOS).map(|id| char::from(b'a' + *id as u8)).collect()
    }

    fn required(word: &str) -> RequiredWord {
        RequiredWord { text: word.to_owned(), token_ids: word.bytes().map(|b| u32::from(b - b'a')).collect() }
    }

    fn constraints(forbidden: &[&str], wanted: &[&str]) -> Constraints {
        let forbidden = forbidden.iter().map(|word| (*word).to_owned()).collect();
        let wanted = wanted.iter().map(|word| required(word)).collect();
        Constraints::new(Arc::new(letters), |text, word| text.contains(word), forbidden, wanted)
    }

    /// Log-probabilities that depend on the step and the last token alone.
    fn row(table: &[f32], step: usize, last: Option<u32>) -> Vec<f32> {
        let first = last.map_or(0, |token| token as usize + 1) * VOCAB + step;
        let mut row: Vec<f32> = (0..VOCAB).map(|token| table[(first + 7 * token) % table.len()]).collect();
        mplug_kernels::softmax::log_softmax_row(&mut row);
        row
    }

    fn run(table: &[f32], num_beams: usize, constraints: Option<&Constraints>) -> Vec<Hypothesis> {
        let mut search = BeamSearch::new(BeamSearchConfig {
            num_beams,
            min_new_tokens: 1,
            max_new_tokens: STEPS,
            length_penalty: LengthPenalty::Gnmt { alpha: 0.6 },
            eos_token_id: EOS,
            min_ended: 0,
        });
        let mut last = vec![None];
        for step in 0..STEPS {
            let log_probs: Vec<f32> = last.iter().flat_map(|token| row(table, step, *token)).collect();
            let next = match constraints {
                Some(constraints) => search.advance_within(&log_probs, constraints),
                None => search.advance(&log_probs),
            };
            let Some(next) = next else { break };
            last = next.next_token_ids.into_iter().map(Some).collect();
        }
        search.into_hypotheses()
    }

    proptest! {
        #[test]
        fn texts_have_what_is_required_and_nothing_forbidden(
            table in prop::collection::vec(-4.0f32..4.0, 60),
            num_beams in 1usize..6,
            forbidden in prop::sample::subsequence(vec!["ab", "c", "dd"], 0..=2),
            wanted in prop::sample::subsequence(vec!["a", "bd", "ea"], 1..=2),
        ) {
            let within = constraints(&forbidden, &wanted);
            let found = run(&table, num_beams, Some(&within));
            // Where what is forbidden stands between two words, few beams may find no way round it in few tokens.
            prop_assert!(!found.is_empty() || !forbidden.is_empty());
            for hypothesis in found {
                let text = letters(&hypothesis.token_ids);
                prop_assert!(wanted.iter().all(|word| text.contains(word)), "{text} lacks one of {wanted:?}");
                prop_assert!(!forbidden.iter().any(|word| text.contains(word)), "{text} has one of {forbidden:?}");
                let end = hypothesis.token_ids.iter().position(|token| *token == EOS);
                prop_assert!(end.is_none_or(|end| end + 1 == hypothesis.token_ids.len()), "{text} goes on");
            }
        }

        /// Where nothing stands in its way, the search is the plain one, to the bit.
        #[test]
        fn idle_constraints_change_nothing(table in prop::collection::vec(-4.0f32..4.0, 60), num_beams in 1usize..6) {
            let within = constraints(&["z"], &[]);
            prop_assert_eq!(run(&table, num_beams, Some(&within)), run(&table, num_beams, None));
        }
    }

    /// With beams enough for every text, forbidding finds the best of the texts that are left.
    #[test]
    fn a_wide_search_finds_the_best_text_that_is_allowed() {
        let table: Vec<f32> =
            (0..60u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 20) as f32 / 700.0).collect();
        let all = run(&table, 500, None);
        let word: String = letters(&all[0].token_ids).chars().take(2).collect();
        let within = constraints(&[&word], &[]);
        let best = &run(&table, 500, Some(&within))[0];
        let expected = all.iter().find(|found| !letters(&found.token_ids).contains(&word)).unwrap();
        assert!(best.score >= expected.score - 1e-5, "{best:?} is worse than {expected:?}");
    }

    #[test]
    fn progress_counts_words_and_the_one_being_written() {
        let within = constraints(&[], &["abc", "d"]);
        assert_eq!(within.progress(&[]), 0);
        assert_eq!(within.progress(&[4, 0, 1]), 2);
        assert_eq!(within.progress(&[0, 1, 4]), 0, "what was begun and left counts for nothing");
        assert_eq!(within.progress(&[3, 0]), 2);
        assert_eq!(within.progress(&[0, 1, 2, 3]), 4);
        assert_eq!(within.helpful_tokens(&[0, 1]), [2, 3]);
        assert!(within.are_met(&[3, 0, 1, 2]) && !within.are_met(&[3]));
    }
}
