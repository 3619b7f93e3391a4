//! Drawing the next token at random, as the original's sampling branch does: temperature, then top-k, then top-p
//! (nucleus sampling: Holtzman et al., arXiv 1904.09751). Pure: logits and a random number in, a token out.

use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64;
use serde::{Deserialize, Serialize};

/// Settings of the draw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SamplingOptions {
    /// Divides the logits: below 1 sharpens, above 1 flattens.
    pub temperature: f32,
    /// The number of most probable tokens that are kept; 0 keeps all.
    pub top_k: usize,
    /// Keeps the fewest tokens whose probabilities reach this sum; 1 keeps all.
    pub top_p: f32,
    /// Same seed, same caption: every picture's draws start from it.
    pub seed: u64,
}

impl Default for SamplingOptions {
    fn default() -> Self {
        Self { temperature: 1.0, top_k: 10, top_p: 1.0, seed: 0 }
    }
}

/// Divides by the temperature and sets the logits of all tokens that may not be drawn to −∞.
pub fn filter_logits(logits: &mut [f32], options: &SamplingOptions) {
    for logit in logits.iter_mut() {
        *logit /= options.temperature;
    }
    if options.top_k > 0 && options.top_k < logits.len() {
        let mut sorted = logits.to_vec();
        let (_, kth, _) = sorted.select_nth_unstable_by(options.top_k - 1, |a, b| b.total_cmp(a));
        let threshold = *kth;
        mask(logits, |logit| logit < threshold);
    }
    if options.top_p < 1.0 {
        keep_nucleus(logits, options.top_p);
    }
}

fn mask(logits: &mut [f32], is_removed: impl Fn(f32) -> bool) {
    for logit in logits.iter_mut().filter(|logit| is_removed(**logit)) {
        *logit = f32::NEG_INFINITY;
    }
}

/// A token stays if the more probable ones do not reach `top_p` without it; the best one always stays.
fn keep_nucleus(logits: &mut [f32], top_p: f32) {
    let mut probabilities = logits.to_vec();
    mplug_kernels::softmax::softmax_row(&mut probabilities);
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
    let mut sum_before = 0.0;
    for index in order {
        if sum_before > top_p {
            logits[index] = f32::NEG_INFINITY;
        }
        sum_before += probabilities[index];
    }
}

/// The random numbers of one row of one picture.
pub struct Sampler {
    random: Pcg64,
}

impl Sampler {
    /// The stream of row `row` under `seed`; it depends on neither the picture nor its index in a batch.
    pub fn new(seed: u64, row: usize) -> Self {
        Self { random: Pcg64::seed_from_u64(seed ^ (row as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)) }
    }

    /// Draws from filtered logits, which become log-probabilities on the way. Returns the token and its log-probability.
    pub fn draw(&mut self, logits: &mut [f32]) -> (u32, f32) {
        log_softmax(logits);
        let (token, log_prob) = choose(logits, uniform(&mut self.random));
        (token, log_prob)
    }
}

fn uniform(random: &mut impl Rng) -> f32 {
    random.random::<f32>()
}

/// The token at which the cumulated probability passes `target` in [0, 1).
fn choose(log_probs: &[f32], target: f32) -> (u32, f32) {
    let mut sum = 0.0;
    let mut last = (0, f32::NEG_INFINITY);
    for (token, &log_prob) in log_probs.iter().enumerate() {
        if log_prob == f32::NEG_INFINITY {
            continue;
        }
        last = (token as u32, log_prob);
        sum += log_prob.exp();
        if sum > target {
            break;
        }
    }
    last // rounding can leave the sum below the target: then the last token that may be drawn
}

/// `x − max − ln Σ exp(x − max)` of one row, in place.
pub fn log_softmax(row: &mut [f32]) {
    mplug_kernels::softmax::log_softmax_row(row);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_keep_the_best() {
        let options = |top_k, top_p| SamplingOptions { top_k, top_p, ..SamplingOptions::default() };
        let kept = |options: &SamplingOptions| {
            let mut logits: Vec<f32> = [0.5f32, 0.3, 0.15, 0.05].iter().map(|p| p.ln()).collect();
            filter_logits(&mut logits, options);
            logits.iter().map(|logit| logit.is_finite()).collect::<Vec<_>>()
        };
        assert_eq!(kept(&options(2, 1.0)), [true, true, false, false]);
        assert_eq!(kept(&options(0, 0.6)), [true, true, false, false]);
        assert_eq!(kept(&options(0, 0.01)), [true, false, false, false]);
        assert_eq!(kept(&options(0, 1.0)), [true; 4]);
    }

    #[test]
    fn draws_follow_the_probabilities_and_the_seed() {
        let logits: Vec<f32> = [0.7f32, 0.2, 0.1].iter().map(|p| p.ln()).collect();
        let draw = |seed| {
            let mut sampler = Sampler::new(seed, 0);
            (0..3000).map(|_| sampler.draw(&mut logits.clone()).0).collect::<Vec<_>>()
        };
        let tokens = draw(1);
        let share = |token| tokens.iter().filter(|&&t| t == token).count() as f64 / 3000.0;
        assert!((share(0) - 0.7).abs() < 0.03 && (share(1) - 0.2).abs() < 0.03, "{} {}", share(0), share(1));
        assert_eq!(tokens, draw(1));
        assert_ne!(tokens, draw(2));
    }

    #[test]
    fn a_removed_token_is_never_chosen() {
        let log_probs = [f32::NEG_INFINITY, 0.0, f32::NEG_INFINITY];
        assert_eq!(choose(&log_probs, 0.0).0, 1);
        assert_eq!(choose(&log_probs, 0.999_999_9).0, 1);
    }
}
