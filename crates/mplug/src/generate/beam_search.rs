//! The original's beam search (`TextGenerator._fast_translate_batch`), for one picture, as a pure state machine:
//! log-probabilities in; parents and next tokens out; at the end the finished hypotheses. It knows no model and no text.
//!
//! Scores are `log-probability / ((5 + length) / 6)^alpha` (Wu et al., arXiv 1609.08144). Two habits of the original
//! are kept because they change tokens:
//! - a beam that emits the end token is recorded as finished, yet lives on and may grow past it;
//! - the search ends when its *best* beam ends (or at the last step); then every living beam counts as finished.
//!
//! [`BeamSearchConfig::min_ended`] leaves out what never ended: the search goes on beyond the original's end until there are enough
//! texts that did. Up to that end nothing changes.
//!
//! Ties, which PyTorch leaves open, go to the lower beam, then to the lower token id.

/// How a hypothesis's log-probability is set against its length.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LengthPenalty {
    /// `((5 + length) / 6)^alpha`.
    Gnmt {
        /// 0.6 in the original; 0 turns the penalty off.
        alpha: f32,
    },
}

impl LengthPenalty {
    /// The divisor for `length` generated tokens.
    pub fn divisor(self, length: usize) -> f32 {
        match self {
            // In f64, rounded once, as Python computes it.
            Self::Gnmt { alpha } => ((5.0 + length as f64) / 6.0).powf(f64::from(alpha)) as f32,
        }
    }
}

/// Settings of a search.
#[derive(Clone, Debug, PartialEq)]
pub struct BeamSearchConfig {
    /// Beams kept alive.
    pub num_beams: usize,
    /// Tokens that must precede the end token.
    pub min_new_tokens: usize,
    /// Most tokens generated, the end token included.
    pub max_new_tokens: usize,
    /// Length penalty of the scores.
    pub length_penalty: LengthPenalty,
    /// The token that ends a hypothesis.
    pub eos_token_id: u32,
    /// How many hypotheses that end with that token the search goes on for; all others are left out. At the last step every beam
    /// ends. 0 keeps the original's list.
    pub min_ended: usize,
}

/// A finished (or, at the last step, unfinished) sequence.
#[derive(Clone, Debug, PartialEq)]
pub struct Hypothesis {
    /// Generated tokens, without the start token or the prefix, with the end token where one was produced.
    pub token_ids: Vec<u32>,
    /// Length-penalised log-probability.
    pub score: f32,
}

/// What the caller does next: beam `i` continues beam `parent_beams[i]` with `next_token_ids[i]`.
#[derive(Clone, Debug, PartialEq)]
pub struct BeamStep {
    /// Which beam of the last step each beam continues.
    pub parent_beams: Vec<usize>,
    /// The token that each beam appends.
    pub next_token_ids: Vec<u32>,
}

struct Beam {
    token_ids: Vec<u32>,
    /// Sum of the log-probabilities.
    log_prob: f32,
}

impl Beam {
    /// Whether the end token is among its tokens, the last `but` of them left aside.
    fn has_ended(&self, eos_token_id: u32, but: usize) -> bool {
        self.token_ids.iter().rev().skip(but).any(|token| *token == eos_token_id)
    }
}

impl BeamStep {
    /// The step that goes on with these continuations.
    fn of(candidates: &[Candidate]) -> Self {
        Self {
            parent_beams: candidates.iter().map(|candidate| candidate.beam).collect(),
            next_token_ids: candidates.iter().map(|candidate| candidate.token).collect(),
        }
    }
}

/// A continuation of a beam by a token.
#[derive(Clone, Copy)]
pub(super) struct Candidate {
    pub(super) sum: f32,
    pub(super) score: f32,
    pub(super) beam: usize,
    pub(super) token: u32,
}

/// The search for one picture's caption.
pub struct BeamSearch {
    config: BeamSearchConfig,
    beams: Vec<Beam>,
    finished: Vec<Hypothesis>,
    step: usize,
    /// Whether the original's search has ended; one for ended texts may go on.
    is_past_end: bool,
    is_done: bool,
}

/// Log-probabilities that are passed over together where none of them can be among the best.
const BLOCK: usize = 128;

/// The largest of some numbers, in lanes, so that the compiler vectorises it; NaN is passed over.
fn largest(values: &[f32]) -> f32 {
    const LANES: usize = 16;
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for chunk in values.chunks(LANES) {
        for (most, value) in lanes.iter_mut().zip(chunk) {
            *most = if *value > *most { *value } else { *most };
        }
    }
    lanes.into_iter().fold(f32::NEG_INFINITY, f32::max)
}

/// What the original gives the end token while it may not come yet.
const FORBIDDEN: f32 = -1e20;

impl BeamSearch {
    /// A search that has generated nothing; it starts with one beam and forks at the first step.
    pub fn new(config: BeamSearchConfig) -> Self {
        let is_done = config.max_new_tokens == 0;
        let beams = vec![Beam { token_ids: Vec::new(), log_prob: 0.0 }];
        Self { config, beams, finished: Vec::new(), step: 0, is_past_end: false, is_done }
    }

    /// Beams alive: rows of log-probabilities that [`advance`](Self::advance) expects.
    pub fn num_live_beams(&self) -> usize {
        self.beams.len()
    }

    /// Takes one step. `log_probs` is `(num_live_beams, vocab_size)`. Returns what to decode next, or `None` when the
    /// search has ended.
    ///
    /// # Panics
    /// If the search has ended already or `log_probs` is not whole rows.
    pub fn advance(&mut self, log_probs: &[f32]) -> Option<BeamStep> {
        let candidates = if self.must_end() { self.ends(log_probs) } else { self.best_candidates(log_probs) };
        self.follow(&candidates, |_| true)
    }

    /// Goes on with these continuations, best first. Texts that `may_finish` refuses are no hypotheses.
    pub(super) fn follow(
        &mut self,
        candidates: &[Candidate],
        may_finish: impl Fn(&[u32]) -> bool,
    ) -> Option<BeamStep> {
        assert!(!self.is_done, "the search has ended");
        let divisor = self.config.length_penalty.divisor(self.step + 1);
        self.beams = candidates
            .iter()
            .map(|candidate| {
                let mut token_ids = self.beams[candidate.beam].token_ids.clone();
                token_ids.push(candidate.token);
                Beam { token_ids, log_prob: candidate.score * divisor }
            })
            .collect();
        self.step += 1;
        if self.config.min_ended > 0 {
            return self.follow_ended(candidates, may_finish);
        }
        self.collect_finished(candidates, may_finish);
        (!self.is_done).then(|| BeamStep::of(candidates))
    }

    /// What [`Self::follow`] does where texts are to end: beams past the original's end go on while they have not ended themselves.
    fn follow_ended(
        &mut self,
        candidates: &[Candidate],
        may_finish: impl Fn(&[u32]) -> bool,
    ) -> Option<BeamStep> {
        let end = self.config.eos_token_id;
        for (candidate, beam) in candidates.iter().zip(&self.beams) {
            let is_first_end = candidate.token == end && !beam.has_ended(end, 1);
            if is_first_end && candidate.score.is_finite() && may_finish(&beam.token_ids) {
                self.finished.push(Hypothesis { token_ids: beam.token_ids.clone(), score: candidate.score });
            }
        }
        self.is_past_end |= candidates.first().is_none_or(|candidate| candidate.token == end);
        let mut candidates = candidates.to_vec();
        if self.is_past_end {
            let goes_on: Vec<bool> = self.beams.iter().map(|beam| !beam.has_ended(end, 0)).collect();
            let mut kept = goes_on.iter();
            candidates.retain(|_| kept.next() == Some(&true));
            let mut kept = goes_on.iter();
            self.beams.retain(|_| kept.next() == Some(&true));
        }
        let are_enough = self.is_past_end && self.finished.len() >= self.config.min_ended;
        self.is_done = self.step == self.config.max_new_tokens || are_enough || candidates.is_empty();
        (!self.is_done).then(|| BeamStep::of(&candidates))
    }

    /// Whether the step that comes is the last one of a search for texts that end: no token but the end token is taken then.
    pub(super) fn must_end(&self) -> bool {
        self.config.min_ended > 0 && self.step + 1 == self.config.max_new_tokens
    }

    /// The end of every beam that has not ended, best first. `log_probs` is `(num_live_beams, vocab_size)`.
    pub(super) fn ends(&self, log_probs: &[f32]) -> Vec<Candidate> {
        let end = self.config.eos_token_id;
        let rows = log_probs.chunks_exact(log_probs.len() / self.beams.len()).enumerate();
        let not_ended = rows.filter(|(beam, _)| !self.beams[*beam].has_ended(end, 0));
        let mut ends: Vec<Candidate> =
            not_ended.map(|(beam, row)| self.candidate(beam, end, row[end as usize])).collect();
        ends.sort_by(|one, other| other.score.total_cmp(&one.score));
        ends
    }

    fn collect_finished(&mut self, candidates: &[Candidate], may_finish: impl Fn(&[u32]) -> bool) {
        let is_last_step = self.step == self.config.max_new_tokens;
        let ends = |candidate: &Candidate| candidate.token == self.config.eos_token_id;
        self.is_done = is_last_step || candidates.first().is_none_or(ends);
        for (candidate, beam) in candidates.iter().zip(&self.beams) {
            if (self.is_done || ends(candidate)) && may_finish(&beam.token_ids) {
                self.finished.push(Hypothesis { token_ids: beam.token_ids.clone(), score: candidate.score });
            }
        }
    }

    /// The `num_beams` best continuations of all beams, best first.
    fn best_candidates(&self, log_probs: &[f32]) -> Vec<Candidate> {
        let vocab_size = log_probs.len() / self.beams.len();
        assert_eq!(log_probs.len(), vocab_size * self.beams.len(), "log-probabilities are not whole rows");
        let mut best = BestCandidates::new(self.config.num_beams);
        for (beam, row) in log_probs.chunks_exact(vocab_size).enumerate() {
            for (index, block) in row.chunks(BLOCK).enumerate() {
                // Adding and rounding keep the order: where the block's largest is not admitted, none is.
                if !best.admits(largest(block) + self.beams[beam].log_prob) {
                    continue;
                }
                for (token, &log_prob) in (index * BLOCK..).zip(block) {
                    if best.admits(self.sum(beam, token as u32, log_prob)) {
                        best.insert(self.candidate(beam, token as u32, log_prob));
                    }
                }
            }
        }
        best.into_sorted()
    }

    /// The log-probability of a beam with one more token.
    pub(super) fn sum(&self, beam: usize, token: u32, log_prob: f32) -> f32 {
        let is_forbidden = self.step < self.config.min_new_tokens && token == self.config.eos_token_id;
        if is_forbidden {
            FORBIDDEN + self.beams[beam].log_prob
        } else {
            log_prob + self.beams[beam].log_prob
        }
    }

    pub(super) fn candidate(&self, beam: usize, token: u32, log_prob: f32) -> Candidate {
        let sum = self.sum(beam, token, log_prob);
        Candidate { sum, score: sum / self.config.length_penalty.divisor(self.step + 1), beam, token }
    }

    /// What a beam has generated.
    pub(super) fn token_ids(&self, beam: usize) -> &[u32] {
        &self.beams[beam].token_ids
    }

    pub(super) fn num_beams(&self) -> usize {
        self.config.num_beams
    }

    pub(super) fn eos_token_id(&self) -> u32 {
        self.config.eos_token_id
    }

    /// The hypotheses found, best first, at most `num_beams`; of equal scores the one found earlier comes first.
    pub fn into_hypotheses(mut self) -> Vec<Hypothesis> {
        self.take_hypotheses()
    }

    pub(super) fn take_hypotheses(&mut self) -> Vec<Hypothesis> {
        let mut found = std::mem::take(&mut self.finished);
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        found.truncate(self.config.num_beams);
        found
    }
}

/// The best few of a stream of candidates, without sorting the stream.
pub(super) struct BestCandidates {
    kept: Vec<Candidate>,
    capacity: usize,
}

impl BestCandidates {
    pub(super) fn new(capacity: usize) -> Self {
        Self { kept: Vec::with_capacity(capacity + 1), capacity }
    }

    /// Whether a candidate of this sum could be kept. Dividing by the penalty keeps the order of the sums, and
    /// candidates come in the order of their tie-break, so one that is not above the last kept sum never is.
    pub(super) fn admits(&self, sum: f32) -> bool {
        self.kept.len() < self.capacity || self.kept.last().is_some_and(|last| sum > last.sum)
    }

    /// Inserts behind all that are at least as good. NaN, which no healthy model gives, sorts last.
    pub(super) fn insert(&mut self, candidate: Candidate) {
        let at = self.kept.partition_point(|kept| kept.score >= candidate.score || candidate.score.is_nan());
        self.kept.insert(at, candidate);
        self.kept.truncate(self.capacity);
    }

    /// Best first.
    pub(super) fn into_sorted(self) -> Vec<Candidate> {
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EOS: u32 = 2;

    fn config(num_beams: usize, max_new_tokens: usize) -> BeamSearchConfig {
        BeamSearchConfig {
            num_beams,
            min_new_tokens: 0,
            max_new_tokens,
            length_penalty: LengthPenalty::Gnmt { alpha: 0.6 },
            eos_token_id: EOS,
            min_ended: 0,
        }
    }

    fn log_probs(probabilities: &[&[f32]]) -> Vec<f32> {
        probabilities.concat().iter().map(|p| p.ln()).collect()
    }

    #[test]
    fn beams_fork_and_follow_the_best_sums() {
        let mut search = BeamSearch::new(config(2, 9));
        let step = search.advance(&log_probs(&[&[0.6, 0.3, 0.1]])).unwrap();
        assert_eq!(step, BeamStep { parent_beams: vec![0, 0], next_token_ids: vec![0, 1] });
        // 0.6 * 0.2 < 0.3 * 0.9: the second beam takes the lead.
        let step = search.advance(&log_probs(&[&[0.2, 0.6, 0.2], &[0.9, 0.05, 0.05]])).unwrap();
        assert_eq!(step, BeamStep { parent_beams: vec![0, 1], next_token_ids: vec![1, 0] });
    }

    #[test]
    fn a_finished_beam_lives_on_until_the_best_one_ends() {
        let mut search = BeamSearch::new(config(2, 9));
        search.advance(&log_probs(&[&[0.6, 0.1, 0.3]])).unwrap(); // beam 1 ends, beam 0 does not
        let step = search.advance(&log_probs(&[&[0.1, 0.1, 0.1], &[0.01, 0.97, 0.02]])).unwrap();
        assert_eq!(step.parent_beams[0], 1, "the finished beam was extended past its end");
        assert!(search.advance(&log_probs(&[&[0.0, 0.0, 1.0], &[0.3, 0.3, 0.3]])).is_none());
        let best = &search.into_hypotheses()[0];
        assert_eq!(best.token_ids, [EOS, 1, EOS], "and beats its own prefix, since the penalty grows");
    }

    #[test]
    fn the_end_token_waits_for_min_new_tokens_and_comes_at_the_last_step() {
        let mut search = BeamSearch::new(BeamSearchConfig { min_new_tokens: 2, ..config(1, 3) });
        let ends = log_probs(&[&[0.1, 0.2, 0.7]]);
        assert_eq!(search.advance(&ends).unwrap().next_token_ids, [1]);
        assert_eq!(search.advance(&ends).unwrap().next_token_ids, [1]);
        assert!(search.advance(&ends).is_none());
        assert_eq!(search.into_hypotheses()[0].token_ids, [1, 1, EOS]);

        let mut search = BeamSearch::new(config(1, 1));
        assert!(search.advance(&log_probs(&[&[0.9, 0.05, 0.05]])).is_none());
        let hypotheses = search.into_hypotheses();
        assert_eq!(hypotheses[0].token_ids, [0], "unfinished at the last step, kept all the same");
        assert!((hypotheses[0].score - 0.9f32.ln()).abs() < 1e-6);
    }

    /// Three tokens, and the end token with the probability `end`.
    fn row(end: f32) -> Vec<f32> {
        let rest = 1.0 - end;
        log_probs(&[&[rest * 0.6, rest * 0.25, end, rest * 0.15]])
    }

    #[test]
    fn texts_that_never_ended_are_replaced_by_texts_that_did() {
        let found = |min_ended: usize| {
            let mut search = BeamSearch::new(BeamSearchConfig { min_ended, ..config(3, 5) });
            for step in 0..5 {
                // The best beam ends at the second step, the others no sooner than at the last.
                let rows = (0..search.num_live_beams()).flat_map(|beam| match (step, beam) {
                    (1, 0) => row(0.98),
                    _ => row(0.001),
                });
                let rows: Vec<f32> = rows.collect();
                if search.advance(&rows).is_none() {
                    break;
                }
            }
            search.into_hypotheses()
        };
        let is_ended = |hypothesis: &Hypothesis| {
            hypothesis.token_ids.iter().position(|token| *token == EOS)
                == Some(hypothesis.token_ids.len() - 1)
        };
        let plain = found(0);
        assert_eq!(plain.iter().filter(|hypothesis| is_ended(hypothesis)).count(), 1);
        let ended = found(3);
        assert!(ended.len() == 3 && ended.iter().all(is_ended), "{ended:?}");
        assert_eq!(ended[0], plain[0], "what had ended stays");
        assert_eq!(found(1), plain[..1], "the search goes on for no more than it needs");
    }

    #[test]
    fn ties_go_to_the_lower_token() {
        let mut search = BeamSearch::new(config(2, 9));
        let step = search.advance(&log_probs(&[&[0.25, 0.25, 0.25, 0.25]])).unwrap();
        assert_eq!(step.next_token_ids, [0, 1]);
    }
}
