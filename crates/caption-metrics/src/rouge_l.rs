//! ROUGE-L (Lin 2004) as the reference evaluator computes it: the best precision and the best recall are taken
//! independently over the references, and words are what stands between single spaces.

use rayon::prelude::*;

use crate::Scores;
use crate::corpus::{Corpus, Word};

/// How much recall weighs against precision.
const BETA: f64 = 1.2;

/// Scores every image's candidate; the corpus figure is the mean.
pub fn rouge_l(corpus: &Corpus) -> Scores {
    let images = (0..corpus.len())
        .into_par_iter()
        .map_init(Vec::new, |row, image| of_image(corpus, image, row))
        .collect();
    Scores::of_mean(images)
}

fn of_image(corpus: &Corpus, image: usize, row: &mut Vec<u32>) -> f64 {
    let candidate = corpus.candidate_at_spaces(image);
    let (mut precision, mut recall) = (0.0_f64, 0.0_f64);
    for reference in corpus.references_at_spaces(image) {
        let common = longest_common_subsequence(candidate, reference, row) as f64;
        precision = precision.max(common / candidate.len() as f64);
        recall = recall.max(common / reference.len() as f64);
    }
    if precision == 0.0 || recall == 0.0 {
        return 0.0;
    }
    (1.0 + BETA * BETA) * precision * recall / (recall + BETA * BETA * precision)
}

/// The length of the longest common subsequence; `row` is scratch memory.
fn longest_common_subsequence(a: &[Word], b: &[Word], row: &mut Vec<u32>) -> u32 {
    row.clear();
    row.resize(b.len() + 1, 0);
    for word in a {
        // The row above and one to the left, before it is overwritten.
        let mut diagonal = 0;
        for (column, other) in b.iter().enumerate() {
            let above = row[column + 1];
            row[column + 1] = if word == other { diagonal + 1 } else { above.max(row[column]) };
            diagonal = above;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The recursive definition.
    fn naive(a: &[Word], b: &[Word]) -> u32 {
        match (a, b) {
            ([], _) | (_, []) => 0,
            ([x, a @ ..], [y, b @ ..]) if x == y => 1 + naive(a, b),
            ([_, rest_a @ ..], [_, rest_b @ ..]) => naive(rest_a, b).max(naive(a, rest_b)),
        }
    }

    proptest! {
        #[test]
        fn the_table_equals_the_definition(
            a in proptest::collection::vec(1_u32..4, 0..7),
            b in proptest::collection::vec(1_u32..4, 0..7),
        ) {
            prop_assert_eq!(longest_common_subsequence(&a, &b, &mut Vec::new()), naive(&a, &b));
        }
    }

    #[test]
    fn two_empty_captions_are_equal() {
        let corpus = Corpus::new(&["", "a"], &[vec![""], vec![""]]).unwrap();
        assert_eq!(rouge_l(&corpus).images, [1.0, 0.0]);
    }
}
