//! Attention of one query over a short growing cache of keys and values.
#![expect(unsafe_code, reason = "calls a form for instructions that were detected")]

use super::HeadShape;
use crate::InstructionSet;
use crate::softmax::softmax_row;

/// One query row over `len` cached key and value rows, all of `width` values. `scores` is scratch.
pub fn attend_entries(
    query: &[f32],
    keys: &[f32],
    values: &[f32],
    entries: &[u32],
    shape: HeadShape,
    scores: &mut Vec<f32>,
    output: &mut [f32],
) {
    #[cfg(target_arch = "x86_64")]
    if InstructionSet::best() >= InstructionSet::Avx2 {
        // SAFETY: the CPU has AVX2, as just checked.
        return unsafe { attend_entries_avx2(query, keys, values, entries, shape, scores, output) };
    }
    attend_entries_plain(query, keys, values, entries, shape, scores, output);
}

/// The plain form, compiled once more for AVX2.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn attend_entries_avx2(
    query: &[f32],
    keys: &[f32],
    values: &[f32],
    entries: &[u32],
    shape: HeadShape,
    scores: &mut Vec<f32>,
    output: &mut [f32],
) {
    attend_entries_plain(query, keys, values, entries, shape, scores, output);
}

#[inline(always)]
fn attend_entries_plain(
    query: &[f32],
    keys: &[f32],
    values: &[f32],
    entries: &[u32],
    shape: HeadShape,
    scores: &mut Vec<f32>,
    output: &mut [f32],
) {
    let width = shape.width();
    output.fill(0.0);
    for head in 0..shape.heads {
        let range = head * shape.head_dim..(head + 1) * shape.head_dim;
        let query = &query[range.clone()];
        scores.clear();
        scores.extend(
            entries
                .iter()
                .map(|&entry| &keys[entry as usize * width..][..width])
                .map(|key| dot(query, &key[range.clone()]) * shape.scale()),
        );
        softmax_row(scores);
        let out = &mut output[range.clone()];
        for (&probability, value) in
            scores.iter().zip(entries.iter().map(|&entry| &values[entry as usize * width..][..width]))
        {
            for (o, v) in out.iter_mut().zip(&value[range.clone()]) {
                *o += probability * v;
            }
        }
    }
}

/// A dot product in partial sums, so that it vectorises and its order is fixed.
#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    const PARTS: usize = 32;
    let mut sums = [0.0f32; PARTS];
    let (a_chunks, b_chunks) = (a.chunks_exact(PARTS), b.chunks_exact(PARTS));
    let tail: f32 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a_chunks.zip(b_chunks) {
        for (sum, (x, y)) in sums.iter_mut().zip(x.iter().zip(y)) {
            *sum += x * y;
        }
    }
    let mut len = PARTS;
    while len > 1 {
        len /= 2;
        for i in 0..len {
            sums[i] += sums[i + len];
        }
    }
    sums[0] + tail
}
