//! What this machine can do at most: multiplications in registers alone, and bytes read from memory. Benchmarks state their
//! figures as a share of these, measured in the same minute.
#![allow(unsafe_code, reason = "calls instructions that were detected, on x86 alone")]

use std::hint::black_box;
use std::time::Instant;

use crate::InstructionSet;
use crate::gemm::Precision;
use crate::memory::Buffer;

/// Rounds of a register loop: about ten milliseconds.
const ROUNDS: usize = 2_000_000;
/// Repetitions of which the fastest counts: the limit is what the machine can do, not what it did meanwhile.
const REPEATS: usize = 7;
/// Bytes read to measure memory: far more than caches hold.
const READ_BYTES: usize = 256 << 20;

/// Operations (a multiplication and an addition count as two) a second, on all threads of the pool together, of the
/// instructions that products of `precision` use here.
pub fn product_rate(precision: Precision) -> f64 {
    let set = InstructionSet::best();
    let per_round = operations_per_round(set, precision);
    let seconds = fastest(|| {
        rayon::broadcast(|_| multiply_in_registers(set, precision));
    });
    (per_round * ROUNDS * rayon::current_num_threads()) as f64 / seconds
}

/// Bytes a second that all threads of the pool together read from memory, in huge pages where there are any.
pub fn read_bandwidth() -> f64 {
    READ_BYTES as f64 / read_seconds(READ_BYTES)
}

/// Seconds in which all threads of the pool together read `bytes` that they have read before: what does not fit into the caches comes from
/// memory. A decoder's step cannot take less for its weights.
pub fn read_seconds(bytes: usize) -> f64 {
    let mut values = Buffer::<f32>::zeroed(bytes / 4);
    values.fill(1.0); // untouched memory is one page of zeros, read from the cache
    let parts = rayon::current_num_threads();
    fastest(|| {
        rayon::broadcast(|context| {
            let part = context.index();
            let range = part * values.len() / parts..(part + 1) * values.len() / parts;
            black_box(sum(&values[range]));
        });
    })
}

fn fastest(mut work: impl FnMut()) -> f64 {
    let timed = |_| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    (0..=REPEATS).map(timed).skip(1).fold(f64::INFINITY, f64::min)
}

/// Independent sums in a round: enough to hide the latency of any instruction used.
const CHAINS: usize = 12;

fn operations_per_round(set: InstructionSet, precision: Precision) -> usize {
    let lanes = match (set, precision) {
        (InstructionSet::Portable, _) => 4,
        (InstructionSet::Avx2, Precision::Int8) => 16,
        (InstructionSet::Avx2, _) => 8,
        (InstructionSet::Avx512 | InstructionSet::Avx512Vnni, Precision::Bf16)
        | (InstructionSet::Avx512, Precision::Int8)
        | (_, Precision::F32) => 16,
        (_, Precision::Bf16) => 32,
        (_, Precision::Int8) => 64,
    };
    2 * CHAINS * lanes
}

fn multiply_in_registers(set: InstructionSet, precision: Precision) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: each branch detects the instructions of its function first.
    unsafe {
        match precision {
            Precision::Bf16 if set.multiplies_bf16() => return x86::avx512_bf16(),
            Precision::F32 | Precision::Bf16 if set >= InstructionSet::Avx512 => return x86::avx512_f32(),
            Precision::Int8 if set >= InstructionSet::Avx512Vnni => return x86::avx512_int8(),
            Precision::Int8 if set >= InstructionSet::Avx2 => return x86::avx2_int8(),
            _ if set >= InstructionSet::Avx2 => return x86::avx2_f32(),
            _ => {}
        }
    }
    let _ = (set, precision);
    let mut sums = black_box([[1.0_f32; 4]; CHAINS]);
    for _ in 0..ROUNDS {
        for value in sums.as_flattened_mut() {
            *value = *value * 0.5 + 0.75;
        }
    }
    black_box(sums);
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    #[allow(clippy::wildcard_imports, reason = "intrinsics: their names are their own prefix")]
    use std::arch::x86_64::*;
    use std::hint::black_box;

    use super::{CHAINS, ROUNDS};

    macro_rules! register_loop {
        ($name:ident, $features:literal, $start:expr, |$sum:ident, $factor:ident| $step:expr) => {
            #[target_feature(enable = $features)]
            pub(super) fn $name() {
                let $factor = black_box($start);
                let mut sums = black_box([$start; CHAINS]);
                for _ in 0..ROUNDS {
                    for $sum in &mut sums {
                        *$sum = $step;
                    }
                }
                black_box(sums);
            }
        };
    }

    register_loop!(avx2_f32, "avx2,fma", _mm256_set1_ps(0.5), |sum, factor| _mm256_fmadd_ps(
        *sum, factor, factor
    ));
    register_loop!(avx512_f32, "avx512f", _mm512_set1_ps(0.5), |sum, factor| _mm512_fmadd_ps(
        *sum, factor, factor
    ));
    register_loop!(avx512_bf16, "avx512f,avx512bf16", _mm512_set1_ps(0.5), |sum, factor| {
        // SAFETY: both are plain vectors of 64 bytes.
        let factor: __m512bh = unsafe { std::mem::transmute(factor) };
        _mm512_dpbf16_ps(*sum, factor, factor)
    });
    register_loop!(avx512_int8, "avx512f,avx512vnni", _mm512_set1_epi32(3), |sum, factor| {
        _mm512_dpbusd_epi32(*sum, factor, factor)
    });
    // The product must differ from chain to chain, or the compiler takes it out of the loop.
    register_loop!(avx2_int8, "avx2", _mm256_set1_epi32(3), |sum, factor| {
        _mm256_add_epi32(*sum, _mm256_madd_epi16(*sum, factor))
    });
}

/// A sum in vectors, so that reading alone sets the pace.
fn sum(values: &[f32]) -> f32 {
    const LANES: usize = 32;
    let mut sums = [0.0; LANES];
    for chunk in values.chunks_exact(LANES) {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum += value;
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_positive_numbers() {
        for precision in Precision::ALL {
            let rate = product_rate(precision);
            assert!(rate.is_finite() && rate > 1e6, "{precision}: {rate}");
        }
    }
}
