//! Cached attention in vector registers.
//!
//! Keys are read four rows at a time, each from end to end: a head's four scores then share the loads of the query, and are
//! summed across their vectors together. Values are read a head at a time, whose sums stay in registers.
#![expect(unsafe_code, reason = "vector loads from rows that were checked once a call")]

#[allow(clippy::wildcard_imports, reason = "intrinsics: their names are their own prefix")]
use std::arch::x86_64::*;

use super::Past;
use crate::InstructionSet;

/// Keys that are read at once.
const KEYS: usize = 4;

/// [`Past::attend`] for a set that has vectors.
pub(super) fn attend(
    past: Past,
    set: InstructionSet,
    query: &[f32],
    scores: &mut Vec<f32>,
    output: &mut [f32],
) {
    assert!(set <= InstructionSet::best(), "instructions that this CPU does not have");
    // Every head has a whole number of blocks of keys.
    let stride = past.entries.len().next_multiple_of(KEYS);
    scores.resize(past.shape.heads * stride, 0.0); // (heads, stride)
    // SAFETY: the CPU has the instructions, as just checked.
    unsafe {
        if set == InstructionSet::Avx2 {
            avx2::attend(past, query, scores, output);
        } else {
            avx512::attend(past, query, scores, output);
        }
    }
}

macro_rules! form {
    ($features:literal, $vector:ident, $lanes:literal, tile $tile:literal, exponentials $exponentials:ident, set $set:ident, zero $zero:ident, load $load:ident, store $store:ident,
     mul $mul:ident, fma $fma:ident, load some $load_some:expr, store some $store_some:expr, sum four $sum_four:expr) => {
        #[target_feature(enable = $features)]
        pub(super) fn attend(past: Past, query: &[f32], scores: &mut [f32], output: &mut [f32]) {
            let (count, heads) = (past.entries.len(), past.shape.heads);
            let stride = scores.len() / heads;
            for (block, entries) in past.entries.chunks(KEYS).enumerate() {
                score_keys(past, query, entries, &mut scores[block * KEYS..], stride);
            }
            let scores = scores.chunks_exact_mut(stride).map(|scores| &mut scores[..count]);
            for (head, (scores, output)) in
                scores.zip(output.chunks_exact_mut(past.shape.head_dim)).enumerate()
            {
                let inverse = 1.0 / $exponentials::exponentials(scores, $exponentials::largest(scores));
                sum_values(past, head, scores, inverse, output);
            }
        }

        /// Scores of at most four entries by all heads; a head's stand `stride` values after those of the head before.
        #[target_feature(enable = $features)]
        fn score_keys(past: Past, query: &[f32], entries: &[u32], scores: &mut [f32], stride: usize) {
            let (width, head_dim) = (past.shape.width(), past.shape.head_dim);
            let scale = _mm_set1_ps(past.shape.scale());
            // Missing ones are the last one once more; nobody reads their scores.
            let row = |i: usize| entries[i.min(entries.len() - 1)] as usize * width;
            let keys: [_; KEYS] = std::array::from_fn(|i| past.keys[row(i)..][..width].as_ptr());
            for (head, scores) in scores.chunks_mut(stride).enumerate() {
                let (mut at, end) = (head * head_dim, (head + 1) * head_dim);
                let mut sums = [$zero(); KEYS];
                // SAFETY: the query and each key have `width` values, where the last head ends.
                unsafe {
                    while at + $lanes <= end {
                        let query = $load(query.as_ptr().add(at));
                        for (sum, key) in sums.iter_mut().zip(keys) {
                            *sum = $fma(query, $load(key.add(at)), *sum);
                        }
                        at += $lanes;
                    }
                    if at < end {
                        let query = ($load_some)(query.as_ptr().add(at), end - at);
                        for (sum, key) in sums.iter_mut().zip(keys) {
                            *sum = $fma(query, ($load_some)(key.add(at), end - at), *sum);
                        }
                    }
                    let scores: &mut [f32] = &mut scores[..KEYS];
                    _mm_storeu_ps(scores.as_mut_ptr(), _mm_mul_ps(($sum_four)(sums), scale));
                }
            }
        }

        /// The sum of one head's values, each by its weight, times `inverse`.
        #[target_feature(enable = $features)]
        fn sum_values(past: Past, head: usize, weights: &[f32], inverse: f32, output: &mut [f32]) {
            let first = head * past.shape.head_dim;
            let mut at = 0;
            // SAFETY: the columns are those of the head, which every row has.
            unsafe {
                while at + $tile * $lanes <= output.len() {
                    sum_columns::<$tile>(past, first + at, weights, inverse, &mut output[at..]);
                    at += $tile * $lanes;
                }
                while at + $lanes <= output.len() {
                    sum_columns::<1>(past, first + at, weights, inverse, &mut output[at..]);
                    at += $lanes;
                }
                if at < output.len() {
                    sum_last_columns(past, first + at, weights, inverse, &mut output[at..]);
                }
            }
        }

        /// # Safety
        /// Every row must have `VECTORS` vectors from `column` on.
        #[target_feature(enable = $features)]
        #[inline]
        unsafe fn sum_columns<const VECTORS: usize>(
            past: Past,
            column: usize,
            weights: &[f32],
            inverse: f32,
            output: &mut [f32],
        ) {
            let (width, output) = (past.shape.width(), &mut output[..VECTORS * $lanes]);
            let mut sums = [$zero(); VECTORS];
            // SAFETY: the entries are inside the table, as was checked; the rest is the caller's promise.
            unsafe {
                let values = past.values.as_ptr().add(column);
                for (&entry, &weight) in past.entries.iter().zip(weights) {
                    let (row, weight) = (values.add(entry as usize * width), $set(weight));
                    for (vector, sum) in sums.iter_mut().enumerate() {
                        *sum = $fma(weight, $load(row.add(vector * $lanes)), *sum);
                    }
                }
                for (vector, sum) in sums.into_iter().enumerate() {
                    $store(output.as_mut_ptr().add(vector * $lanes), $mul(sum, $set(inverse)));
                }
            }
        }

        /// # Safety
        /// Every row must have as many values from `column` on as `output`, and that is less than a vector.
        #[target_feature(enable = $features)]
        unsafe fn sum_last_columns(
            past: Past,
            column: usize,
            weights: &[f32],
            inverse: f32,
            output: &mut [f32],
        ) {
            let width = past.shape.width();
            let mut sum = $zero();
            // SAFETY: the entries are inside the table, as was checked; the rest is the caller's promise.
            unsafe {
                let values = past.values.as_ptr().add(column);
                for (&entry, &weight) in past.entries.iter().zip(weights) {
                    let row = values.add(entry as usize * width);
                    sum = $fma($set(weight), ($load_some)(row, output.len()), sum);
                }
                ($store_some)(output, $mul(sum, $set(inverse)));
            }
        }
    };
}

/// Eight values at a time.
mod avx2 {
    #[allow(clippy::wildcard_imports, reason = "all that stands above")]
    use super::*;
    use crate::exponential::avx2 as exponential;

    form! {
        "avx2,fma", __m256, 8, tile 8, exponentials exponential, set _mm256_set1_ps, zero _mm256_setzero_ps, load _mm256_loadu_ps, store _mm256_storeu_ps,
        mul _mm256_mul_ps, fma _mm256_fmadd_ps,
        load some |from: *const f32, count: usize| _mm256_maskload_ps(from, first_lanes(count)),
        store some |to: &mut [f32], value: __m256| _mm256_maskstore_ps(to.as_mut_ptr(), first_lanes(to.len()), value),
        sum four |sums: [__m256; 4]| {
            let pairs = _mm256_hadd_ps(_mm256_hadd_ps(sums[0], sums[1]), _mm256_hadd_ps(sums[2], sums[3]));
            _mm_add_ps(_mm256_castps256_ps128(pairs), _mm256_extractf128_ps::<1>(pairs))
        }
    }

    /// The mask of the first `count` lanes.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn first_lanes(count: usize) -> __m256i {
        _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
    }
}

/// Sixteen values at a time.
mod avx512 {
    #[allow(clippy::wildcard_imports, reason = "all that stands above")]
    use super::*;
    use crate::exponential::avx512 as exponential;

    form! {
        "avx512f,avx512bw,avx512dq,avx512vl", __m512, 16, tile 4, exponentials exponential, set _mm512_set1_ps, zero _mm512_setzero_ps, load _mm512_loadu_ps, store _mm512_storeu_ps,
        mul _mm512_mul_ps, fma _mm512_fmadd_ps,
        load some |from: *const f32, count: usize| _mm512_maskz_loadu_ps(first_lanes(count), from),
        store some |to: &mut [f32], value: __m512| _mm512_mask_storeu_ps(to.as_mut_ptr(), first_lanes(to.len()), value),
        sum four |sums: [__m512; 4]| {
            // Halves first, then as with AVX2.
            let half = |sum: __m512| {
                _mm256_add_ps(_mm512_castps512_ps256(sum), _mm512_extractf32x8_ps::<1>(sum))
            };
            let pairs = _mm256_hadd_ps(
                _mm256_hadd_ps(half(sums[0]), half(sums[1])),
                _mm256_hadd_ps(half(sums[2]), half(sums[3])),
            );
            _mm_add_ps(_mm256_castps256_ps128(pairs), _mm256_extractf128_ps::<1>(pairs))
        }
    }

    /// The mask of the first `count` lanes.
    fn first_lanes(count: usize) -> __mmask16 {
        (1u16 << count) - 1
    }
}
