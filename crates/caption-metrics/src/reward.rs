//! CIDEr as the reward of self-critical training (Rennie et al. 2017), as caption_mplug_scst.py has it.

use crate::Error;
use crate::cider::{CiderVariant, DocumentFrequencies, cider};
use crate::corpus::Corpus;

/// CIDEr-D of every candidate of every image, in the images' order: tokenised `candidates[image][candidate]` against
/// `references[image]`.
///
/// With `frequencies` n-grams weigh what they weigh there (in the training set, say). Without, the batch itself is the corpus,
/// each candidate with its image's references one document of it: what the original does.
///
/// # Errors
/// As [`Corpus::new`].
pub fn cider_rewards<C, R>(
    candidates: &[Vec<C>],
    references: &[Vec<R>],
    frequencies: Option<&DocumentFrequencies>,
) -> Result<Vec<Vec<f64>>, Error>
where
    C: AsRef<str>,
    R: AsRef<str>,
{
    if candidates.len() != references.len() {
        return Err(Error::Lengths { candidates: candidates.len(), references: references.len() });
    }
    let rows: Vec<&str> = candidates.iter().flatten().map(AsRef::as_ref).collect();
    let row_references: Vec<Vec<&str>> = candidates
        .iter()
        .zip(references)
        .flat_map(|(candidates, references)| {
            let references: Vec<&str> = references.iter().map(AsRef::as_ref).collect();
            std::iter::repeat_n(references, candidates.len())
        })
        .collect();
    let scores = match frequencies {
        Some(frequencies) => frequencies.score(&rows, &row_references, CiderVariant::CiderD)?,
        None => cider(&Corpus::new(&rows, &row_references)?),
    };
    let mut scores = scores.images.into_iter();
    Ok(candidates.iter().map(|of_image| scores.by_ref().take(of_image.len()).collect()).collect())
}

/// What a reward is compared with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Baseline {
    /// The mean over all candidates of the image: the original's.
    #[default]
    Mean,
    /// The mean over the image's other candidates (as OFA has it).
    LeaveOneOut,
}

impl Baseline {
    /// `rewards` of one image's candidates less their baselines.
    pub fn advantages(self, rewards: &[f64]) -> Vec<f64> {
        let sum: f64 = rewards.iter().sum();
        let len = rewards.len() as f64;
        let baseline = |reward: f64| match self {
            Self::Mean => sum / len,
            // A single candidate has no others to be compared with.
            Self::LeaveOneOut if rewards.len() < 2 => reward,
            Self::LeaveOneOut => (sum - reward) / (len - 1.0),
        };
        rewards.iter().map(|&reward| reward - baseline(reward)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advantages_sum_to_nothing() {
        let rewards = [1.0, 2.0, 6.0];
        assert_eq!(Baseline::Mean.advantages(&rewards), [-2.0, -1.0, 3.0]);
        assert_eq!(Baseline::LeaveOneOut.advantages(&rewards), [-3.0, -1.5, 4.5]);
        assert_eq!(Baseline::LeaveOneOut.advantages(&[5.0]), [0.0]);
        assert!(Baseline::Mean.advantages(&[]).is_empty());
    }

    #[test]
    fn every_candidate_has_its_reward() {
        let candidates = [vec!["a dog", "a cat"], vec![], vec!["two birds"]];
        let references = [vec!["a dog"], vec!["x"], vec!["two birds fly"]];
        let rewards = cider_rewards(&candidates, &references, None).unwrap();
        assert_eq!(rewards.iter().map(Vec::len).collect::<Vec<_>>(), [2, 0, 1]);
        assert!(rewards[0][0] > rewards[0][1]);
    }
}
