//! Attention of one query over a few entries of a table of keys and values: a decoder's own past.
//!
//! An index says which entries, so that the beams of a search share the keys and values of their ancestors where they lie.

use super::HeadShape;
use crate::InstructionSet;
use crate::softmax::exponentials_row;

#[cfg(target_arch = "x86_64")]
mod x86;

/// One query row, `(width)` like `output`, attends to the `entries` (oldest first) of `keys` and `values`, which are
/// `(all entries, width)` each. `scores` is scratch. The result has the same bits wherever in the table the entries lie.
///
/// # Panics
/// If the lengths do not fit together, or there is no entry, or one outside of the table.
pub fn attend_entries(
    query: &[f32],
    keys: &[f32],
    values: &[f32],
    entries: &[u32],
    shape: HeadShape,
    scores: &mut Vec<f32>,
    output: &mut [f32],
) {
    let past = Past::new(keys, values, entries, shape);
    past.attend(InstructionSet::best(), query, scores, output);
}

/// Entries of a table that were found to be inside of it: the forms below no longer look.
#[derive(Clone, Copy)]
struct Past<'a> {
    keys: &'a [f32],
    values: &'a [f32],
    entries: &'a [u32],
    shape: HeadShape,
}

impl<'a> Past<'a> {
    fn new(keys: &'a [f32], values: &'a [f32], entries: &'a [u32], shape: HeadShape) -> Self {
        let (width, len) = (shape.width(), keys.len());
        assert_eq!(len, values.len(), "cached attention: keys and values differ in length");
        assert_eq!(len % width, 0, "cached attention: {len} values are no rows of {width}");
        assert!(!entries.is_empty(), "cached attention: a query without entries");
        let (last, count) = (entries.iter().fold(0, |most, &entry| most.max(entry)), len / width);
        assert!((last as usize) < count, "cached attention: entry {last} of a table of {count}");
        Self { keys, values, entries, shape }
    }

    fn attend(self, set: InstructionSet, query: &[f32], scores: &mut Vec<f32>, output: &mut [f32]) {
        let width = self.shape.width();
        assert_eq!(query.len(), width, "cached attention: a query of another width");
        assert_eq!(output.len(), width, "cached attention: an output of another width");
        #[cfg(target_arch = "x86_64")]
        if set >= InstructionSet::Avx2 {
            return x86::attend(self, set, query, scores, output);
        }
        self.attend_plain(set, query, scores, output);
    }

    /// The form for other CPUs, and the twin of the others.
    fn attend_plain(self, set: InstructionSet, query: &[f32], scores: &mut Vec<f32>, output: &mut [f32]) {
        let (width, shape) = (self.shape.width(), self.shape);
        let rows =
            |table: &'a [f32]| self.entries.iter().map(move |&e| &table[e as usize * width..][..width]);
        output.fill(0.0);
        for head in 0..shape.heads {
            let range = head * shape.head_dim..(head + 1) * shape.head_dim;
            let (query, output) = (&query[range.clone()], &mut output[range.clone()]);
            scores.clear();
            scores.extend(rows(self.keys).map(|key| dot(query, &key[range.clone()]) * shape.scale()));
            let inverse = 1.0 / exponentials_row(set, scores);
            for (score, value) in scores.iter().zip(rows(self.values)) {
                let probability = score * inverse;
                output.iter_mut().zip(&value[range.clone()]).for_each(|(o, v)| *o += probability * v);
            }
        }
    }
}

/// A dot product in partial sums, so that it vectorises and its order is fixed.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    const PARTS: usize = 8;
    let mut sums = [0.0f32; PARTS];
    let (a_chunks, b_chunks) = (a.chunks_exact(PARTS), b.chunks_exact(PARTS));
    let tail: f32 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a_chunks.zip(b_chunks) {
        for (sum, (x, y)) in sums.iter_mut().zip(x.iter().zip(y)) {
            *sum += x * y;
        }
    }
    sums.iter().sum::<f32>() + tail
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::gemm::tests::{assert_close, values};

    /// The reference implementation, in f64.
    fn naive(query: &[f32], keys: &[f32], values: &[f32], entries: &[u32], shape: HeadShape) -> Vec<f32> {
        let width = shape.width();
        let at = |table: &[f32], entry: u32, i: usize| f64::from(table[entry as usize * width + i]);
        let feature = |i: usize| {
            let head = i / shape.head_dim * shape.head_dim..(i / shape.head_dim + 1) * shape.head_dim;
            let score = |&e: &u32| head.clone().map(|j| f64::from(query[j]) * at(keys, e, j)).sum::<f64>();
            let weights: Vec<f64> =
                entries.iter().map(|e| (score(e) / (shape.head_dim as f64).sqrt()).exp()).collect();
            let sum: f64 = entries.iter().zip(&weights).map(|(&e, weight)| weight * at(values, e, i)).sum();
            (sum / weights.iter().sum::<f64>()) as f32
        };
        (0..width).map(feature).collect()
    }

    /// `count` entries of a table, some of them twice, in no order.
    fn drawn(count: usize, table: usize, salt: u32) -> Vec<u32> {
        values(count, salt).iter().map(|x| ((x + 1.0) / 2.0 * table as f32) as u32).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

        #[test]
        fn every_form_equals_the_naive_one(heads in 1usize..5, head_dim in 1usize..150, count in 1usize..70, salt in 0u32..100) {
            let shape = HeadShape { heads, head_dim };
            let (width, table) = (shape.width(), 50);
            let query: Vec<f32> = values(width, salt).iter().map(|x| 4.0 * x).collect();
            let (keys, values) = (values(table * width, salt + 1), values(table * width, salt + 2));
            let entries = drawn(count, table, salt + 3);
            let expected = naive(&query, &keys, &values, &entries, shape);
            for set in InstructionSet::available() {
                let (mut scores, mut output) = (vec![f32::NAN; 3], vec![f32::NAN; width]);
                Past::new(&keys, &values, &entries, shape).attend(set, &query, &mut scores, &mut output);
                assert_close(&output, &expected, 1e-5);
            }
        }

        #[test]
        fn where_the_entries_lie_does_not_matter(heads in 1usize..5, head_dim in 1usize..80, count in 1usize..520, salt in 0u32..100) {
            let shape = HeadShape { heads, head_dim };
            let (width, table) = (shape.width(), 100);
            let (query, keys, values) = (values(width, salt), values(table * width, salt + 1), values(table * width, salt + 2));
            let entries = drawn(count, table, salt + 3);
            let copied = |table: &[f32]| -> Vec<f32> {
                entries.iter().flat_map(|&e| table[e as usize * width..][..width].to_vec()).collect()
            };
            let (copied_keys, copied_values) = (copied(&keys), copied(&values));
            let in_order: Vec<u32> = (0..count as u32).collect();
            for set in InstructionSet::available() {
                let attend = |past: Past| {
                    let mut output = vec![0.0; width];
                    past.attend(set, &query, &mut Vec::new(), &mut output);
                    output.into_iter().map(f32::to_bits).collect::<Vec<_>>()
                };
                prop_assert_eq!(
                    attend(Past::new(&keys, &values, &entries, shape)),
                    attend(Past::new(&copied_keys, &copied_values, &in_order, shape)),
                    "{}", set.name()
                );
            }
        }
    }

    #[test]
    #[should_panic(expected = "entry 7 of a table of 7")]
    fn entries_outside_of_the_table_are_refused() {
        let (table, mut output) = (values(7 * 6, 0), [0.0; 6]);
        let shape = HeadShape { heads: 2, head_dim: 3 };
        attend_entries(&table[..6], &table, &table, &[3, 7, 0], shape, &mut Vec::new(), &mut output);
    }
}
